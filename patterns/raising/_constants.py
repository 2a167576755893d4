"""What rules that restore operators ask about constants and dtypes."""

from __future__ import annotations

import math
from collections.abc import Callable

from onnx import TensorProto

from graphopt.ir import op_schema
from graphopt.patterns._elementwise import SINGLE
from graphopt.rewrite import Const, Tensor
from graphopt.rewrite.terms import Call

#: For which ONNX Runtime has kernels of ONNX's transformer operators.
SHARED = (TensorProto.FLOAT, TensorProto.FLOAT16)

_CLOSE = {int(TensorProto.FLOAT16): 2e-3, int(TensorProto.BFLOAT16): 8e-3}


def scalar(c: Const, beside: Tensor) -> float | None:
    """The only element of a constant, None where there are several or where it would add dims to the tensor beside it."""
    if c.size != 1 or (c.rank and (beside.rank is None or c.rank > beside.rank)):
        return None
    value = float(c.item())
    return value if math.isfinite(value) else None


def single(beside: Tensor, c: Const) -> float | None:
    """The only element of a constant, as an attribute holds it; None beside what is not of single precision."""
    return scalar(c, beside) if beside.dtype in SINGLE else None


def singles(beside: Tensor, *constants: Const) -> list[float] | None:
    """The same of several constants, None where one has none."""
    found = [scalar(c, beside) for c in constants]
    numbers = [n for n in found if n is not None]
    return numbers if beside.dtype in SINGLE and len(numbers) == len(found) else None


def as_factor(x: Tensor, factor: Const | None, divisor: Const | None) -> float | None:
    """The one of a factor and a divisor that is there, as a factor of the tensor; None where it is not a single number."""
    if factor is not None:
        return scalar(factor, x)
    assert divisor is not None
    d = scalar(divisor, x)
    return 1 / d if d else None


def close(value: float, wanted: float, dtype: int) -> bool:
    """Whether two numbers are equal up to a few roundings of constants of this dtype."""
    return abs(value - wanted) <= _CLOSE.get(dtype, 1e-6) * abs(wanted)


def refuses(x: Tensor, operator: Callable[..., Call]) -> str | None:
    """Why this tensor cannot go into an operator of transformers; what only prepares for one asks the same."""
    if x.dtype not in SHARED:
        return "not a float of 32 or 16 bits"
    if op_schema(operator.__name__, x.value.graph.opsets.get("", 0)) is None:
        return f"{operator.__name__} does not exist at this opset"
    return None
