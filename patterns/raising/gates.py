"""What the gates of a recurrent step are computed from: two products of which one is the bias of the other."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from graphopt.patterns._elementwise import FLOATS
from graphopt.patterns._recurrent import bias_of, columns
from graphopt.rewrite import Const, Int, Maybe, any_of, op, rule
from graphopt.rewrite.terms import Constant


def _shared(bias: Any, w: Const) -> Any:
    """A bias that stands beside these weights already, as that of the step before."""
    for user in islice(reversed(w.value.uses), 2):
        b = user.inputs[2] if user.op == "Gemm" and len(user.inputs) > 2 else None
        if bias is not None and b is not None and b.const is not None and np.array_equal(b.const.numpy(), bias):
            return Constant(b)
    return bias


@rule
def sum_of_products(x: "B _", w: Const["_ _"], y: "B _", v: Const["_ _"], b: Const):
    """A product is the bias of another that it is added to, and has the bias behind them."""
    product = x @ w + y @ v
    yield any_of(product + b, product)
    if x.dtype not in FLOATS:
        return "not floats"
    if isinstance(bias := bias_of(x, columns(w, 0), b), str):
        return bias
    yield op.Gemm(y, v, op.Gemm(x, w, _shared(bias, w)))


@rule
def sum_of_products_plus_bias(
    x: "B _", w: Const["_ _"], b: Maybe[Const], y: "B _", v: Const["_ _"], c: Const, s: Int, t: Int
):
    """A bias behind two products belongs to the first."""
    yield op.Gemm(y, v, op.Gemm(x, w, b, transB=s), transB=t) + c
    if isinstance(bias := bias_of(x, columns(w, s), b, c), str):
        return bias
    yield op.Gemm(y, v, op.Gemm(x, w, _shared(bias, w), transB=s), transB=t)
