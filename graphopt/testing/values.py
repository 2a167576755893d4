"""Arrays: few draws each, so that examples are found fast and shrink well, yet every element differs from its neighbours.

Numbers are multiples of a quarter as long as nothing else is asked for: whoever reads a shrunk example can follow it, and
sums and products of a few of them are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper

from graphopt.testing.choices import Choices, Draw

#: What `tensors` can be asked for: how numbers are distributed, beside explicit bounds.
STYLES = ("plain", "positive", "fraction", "small", "large", "mixed", "whole", "binary", "distinct", "ends")
_SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0)
_WORDS = ("a", "b", "", "three words here", "Ünïcode")


def np_dtype(dtype: int) -> np.dtype[Any]:
    """The NumPy (or ml_dtypes) dtype of a TensorProto.DataType; strings are objects."""
    return np.dtype(object) if dtype == TensorProto.STRING else np.dtype(helper.tensor_dtype_to_np_dtype(dtype))


@st.composite
def tensors(
    draw: Draw,
    dtype: Any = np.float32,
    shape: Sequence[int] = (),
    style: str = "plain",
    special: bool = False,
    numbers: Sequence[float] = (),
) -> np.ndarray:
    """A strategy for arrays.

    Args:
        dtype: NumPy's or ml_dtypes', or a TensorProto.DataType.
        shape: of the array.
        style: "plain": multiples of 1/4 up to 2 (integers: up to 4, with a sign where there is one); "positive": the same,
            above 0; "fraction": between 0 and 1; "small": below 1e-3; "large": around 100 (integers of 16 bits and fewer: the
            smallest and the largest are among them, as now and then in "plain"; matrices of more bits: numbers that no
            float can hold); "mixed": from 1e-4 to 100; "whole": integers; "binary": powers of two; "distinct": multiples of
            1/4 (integers: of 1), no two the same as far as the dtype has so many; "ends": up to 1024; of integers of any size the
            smallest and the largest are among them.
        special: NaN, infinities and both zeros may be among them.
        numbers: some elements are these.
    """
    return array(Choices(draw), dtype, shape, style, special, numbers)


def array(
    choices: Choices,
    dtype: Any,
    shape: Sequence[int],
    style: str = "plain",
    special: bool = False,
    numbers: Sequence[float] = (),
) -> np.ndarray:
    """An array of the kind that `tensors` describes."""
    wanted = np_dtype(dtype) if isinstance(dtype, int) else np.dtype(dtype)
    shape, size = tuple(shape), math.prod(shape)
    rng = np.random.default_rng(choices.integer(0, 999) if size else 0)
    if wanted.kind in "OUST":
        words = [_WORDS[i] for i in rng.integers(0, len(_WORDS), size)]
        return np.array([*words, None], object)[:-1].reshape(shape)
    if wanted == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if wanted.kind in "iu" or wanted.name.startswith(("int", "uint")):
        few = size and wanted.itemsize <= 2  # those of more bits are sizes, and some kernels die of their overflow
        ends = few and (style == "large" or (style == "plain" and choices.chance(4)))
        return _integers(rng, wanted, shape, style, bool(size and (ends or style == "ends")))
    if style == "distinct":
        return _distinct(rng, wanted, shape)
    quarters = rng.integers(1, 9, shape) / 4
    if style in ("plain", "whole", "large", "small", "mixed", "binary", "ends"):
        quarters = quarters * rng.choice([-1, 1], shape)
    values = {
        "fraction": lambda: quarters / 4 + 0.125,
        "small": lambda: quarters * 3.3e-4,
        "large": lambda: quarters * 64,
        "ends": lambda: quarters * 512,
        "mixed": lambda: quarters * 1.1 * 2.0 ** rng.integers(-12, 6, shape),
        "whole": lambda: quarters * 4,
        "binary": lambda: np.sign(quarters) * 2.0 ** np.round(np.log2(np.abs(quarters))),
    }.get(style, lambda: quarters)()
    values = np.asarray(values, np.float64)
    if size and numbers and choices.chance(2):
        values.flat[rng.integers(0, size, (size + 1) // 2)] = choices.one(list(numbers))
    if size and special:
        some = _SPECIAL if choices.integer(0, 1) else [choices.one(_SPECIAL)]
        values.flat[rng.integers(0, size, (size + 1) // 2)] = np.resize(rng.permutation(some), (size + 1) // 2)
    if wanted.kind == "c":
        values = values + 1j * rng.permutation(values.ravel()).reshape(shape)
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(wanted)


def _distinct(rng: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    size = math.prod(shape)
    return ((rng.permutation(size) - size // 2) / 4).reshape(shape).astype(dtype)


def _integers(
    rng: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...], style: str, ends: bool
) -> np.ndarray:
    info: Any = ml_dtypes.iinfo(dtype)
    low = 1 if style in ("positive", "fraction") else max(-4, int(info.min))
    size = math.prod(shape)
    if style == "distinct" and size <= int(info.max) - int(info.min):
        start = max(int(info.min), min(-(size // 2), int(info.max) - size))
        return (rng.permutation(size) + start).reshape(shape).astype(dtype)
    values = rng.integers(low, min(5, int(info.max)) + 1, shape)
    if ends:
        n, values = (size + 1) // 2, values.astype(dtype)
        values.flat[rng.integers(0, size, n)] = rng.choice(np.array([info.min, info.max, info.max // 2], dtype), n)
    elif style == "large" and len(shape) > 1 and dtype.itemsize > 2:  # no sizes, and no kernel dies of these
        values = values * (int(info.max) // 1000 | 1)
    return values.astype(dtype)
