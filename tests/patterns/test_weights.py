"""Weights times factors, which rules about convolutions and products share."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

from graphopt.patterns._windows import times

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(
    ("shape", "kept"), [((6, 5), (1,)), ((6, 5), (0,)), ((2, 3, 4, 9), (0, 1)), ((2, 3, 4, 9), (0, 2))]
)
def test_float32_is_multiplied_as_float64(shape: tuple[int, ...], kept: tuple[int, ...]) -> None:
    a = RNG.normal(size=shape).astype(np.float32)
    f = RNG.normal(size=[d if i in kept else 1 for i, d in enumerate(shape)])
    got = times(a, f, kept, TensorProto.FLOAT)
    assert got is not None and got.dtype == np.float32
    assert np.array_equal(got, (a.astype(np.float64) * f).astype(np.float32))
    assert not np.array_equal(got, a * f.astype(np.float32)), "the sizes must be able to tell"


def test_what_leaves_the_range_stays_wide() -> None:
    """So that whoever writes it down as float32 sees it."""
    a, f = np.float32([[1e30, -2e30], [0, 1]]), np.array([1.0, 1e20])
    got = times(a, f, (1,), TensorProto.FLOAT)
    assert got is not None and np.array_equal(got, a.astype(np.float64) * f)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    assert times(np.float32([[1, bad]]), np.array([2.0, 2.0]), (1,), TensorProto.FLOAT) is None
    assert times(np.float32([[1, 2]]), np.array([2.0, bad]), (1,), TensorProto.FLOAT) is None


def test_channels_that_become_too_small_are_refused() -> None:
    a = np.float32([[1e-20, 1], [1e-30, 0]])
    assert times(a, np.array([1e-20, 1.0]), (1,), TensorProto.FLOAT) is None
    assert times(a, np.array([1.0, 0.0]), (1,), TensorProto.FLOAT) is not None, "all zeros are no loss"


@pytest.mark.parametrize(
    ("dtype", "code"), [(np.float16, TensorProto.FLOAT16), (ml_dtypes.bfloat16, TensorProto.BFLOAT16)]
)
def test_narrow_floats(dtype: type, code: int) -> None:
    a, f = RNG.normal(size=(4, 3)).astype(dtype), np.array([0.5, 3.0, 1.1])
    got = times(a, f, (1,), code)
    assert got is not None and np.array_equal(got, a.astype(np.float64) * f)
