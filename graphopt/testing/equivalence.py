"""`assert_equivalent`: two models compute the same, or the test fails and says where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.exec.executors import DEFAULTS, installed, known, model_file
from graphopt.testing.judging import Judge
from graphopt.verification import verify


def assert_equivalent(
    original: Any,
    candidate: Any,
    feeds: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    *,
    on: Sequence[str] | None = None,
    exact: bool = False,
) -> None:
    """Fail unless two models have the same interface and compute the same.

    Args:
        original: a path, bytes, an onnx.ModelProto, a graphopt.Model: anything with `proto` or `SerializeToString()`.
        candidate: likewise.
        feeds: inputs, one dict or several. None: random ones, found by asking the original (`graphopt.verify`); outputs that
            do not depend on them count as not compared then.
        on: names of executors; None: the reference kernels, and ONNX Runtime where it is installed.
        exact: every bit must agree on the reference kernels and on ONNX Runtime. Otherwise outputs may differ by what
            rounding can do to the original's. Needs feeds.

    Raises:
        AssertionError: they do not, or nothing could be compared; the message says where.
        ArgumentError: an unknown executor, or exact without feeds.
    """
    names = known(list(on)) if on is not None else [n for n in installed() if n in DEFAULTS]
    if feeds is None and not exact:
        verify(original, candidate, on=names).raise_if_different()
        return
    if feeds is None:
        from graphopt.errors import ArgumentError

        raise ArgumentError("exact=True compares on given inputs: pass feeds=")
    with model_file(original) as a, model_file(candidate) as b:
        judge = Judge(names, exact)
        for one in [feeds] if isinstance(feeds, Mapping) else feeds:
            if found := judge.differences(a.proto, b.proto, one):
                raise AssertionError("\n".join(["the models are not equivalent:", *(f"  {d}" for d in found)]))
    if not judge.compared:
        reasons = "; ".join(f"{name}: {why}" for name, why in judge.left_out)
        raise AssertionError(f"nothing was compared: {reasons or 'no inputs'}")
