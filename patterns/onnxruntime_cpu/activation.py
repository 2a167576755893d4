"""Activations whose own kernels are slow, in operators whose kernels are vectorized."""

from __future__ import annotations

from graphopt.patterns.onnxruntime_cpu._sizes import refuses
from graphopt.rewrite import Const, op, rule


@rule
def mish_in_exponentials(x):
    """tanh(log(1 + e)) with e = exp(x) is n / (n + 2) with n = e (e + 2), which is 1 from 20 on; 1.1 ns instead of 12.9."""
    yield op.Mish(x)
    if why := refuses(x, 11.8, 6):
        return why
    e = op.Exp(op.Min(x, 20.0))
    n = e * (e + 2.0)
    yield x * (n / (n + 2.0))


@rule
def prelu_as_maximum(x, slope: Const):
    """With slopes between 0 and 1 the larger of both lines; 0.4 ns instead of 4.5."""
    yield op.PRelu(x, slope)
    if why := refuses(x, 4.1, 1):
        return why
    if not ((slope > 0) & (slope <= 1)).all():
        return "slopes that are not between 0 and 1"
    yield op.Max(x, x * slope)
