"""The kernels on real numbers of 50 digits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from graphopt.exec.backends.digits import Digits, digits, number
from graphopt.exec.backends.numpy import REFERENCE
from tests.exec.test_exact import CASES, Real, ids, lifted, run


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_digits_give_what_floats_give(case: Any) -> None:
    op, version, inputs, attributes = case
    rng = np.random.default_rng(1)
    xp, exact, numeric = digits(), [], []
    for i, given in enumerate(inputs):
        if isinstance(given, Real):
            given = np.asarray(rng.uniform(0.2 if given.positive else -2, 2, given.shape))
        exact.append(lifted(xp, op, version, i, given))
        numeric.append(given)
    want = run(op, version, REFERENCE, numeric, attributes)
    got = run(op, version, xp, exact, attributes)
    for a, b in zip(want, got, strict=True):
        b = np.asarray(b)
        assert b.shape == np.shape(a)
        assert b.dtype == (object if np.asarray(a).dtype == np.float64 else a.dtype)
        np.testing.assert_allclose(b.astype(np.float64), np.asarray(a, np.float64), 1e-9, 1e-11)


@pytest.mark.parametrize("op", ["ArgMax", "Hardmax", "Round"])
def test_what_needs_an_order(op: str) -> None:
    x = np.array([[0.5, -1.5, 2.5], [3.0, 1.0, 3.0]])
    attributes = {} if op == "Round" else {"axis": 1}
    (want,), (got,) = (run(op, 13, xp, [xp.lift(x)], attributes) for xp in (REFERENCE, digits()))
    assert np.asarray(got).astype(np.float64).tolist() == np.asarray(want).tolist()


def test_nothing_is_rounded_that_anyone_would_notice() -> None:
    x = digits().lift(np.array([1.0]))
    y = x / 3 * 3 - x
    assert abs(float(y[0])) < 1e-45 and float((x / 3 - 1 / 3)[0]) != 0


@pytest.mark.parametrize(
    ("op", "value"),
    [("Log", -1.0), ("Log", 0.0), ("Sqrt", -1.0), ("Reciprocal", 0.0), ("Acos", 2.0), ("Atanh", 1.5), ("Acosh", 0.5)],
)
def test_what_is_no_real_number(op: str, value: float) -> None:
    (result,) = run(op, 13, digits(), [digits().lift(np.array([value]))], {})
    assert not result[0].finite and math.isnan(float(result[0]))


def test_borders() -> None:
    inf, one, nan = number(math.inf), number(1), number(math.nan)
    assert (inf - inf).finite is False and float(inf + one) == math.inf and one / 0 != one / 0
    assert (
        float(number(-8) ** number(3)) == -512
        and math.isnan(float(number(-8) ** number(0.5)))
        and math.isnan(float(number(0) ** number(-1)))
    )
    xp = digits()
    x = xp.lift(np.array([math.nan, 1.0, 3.0]))
    assert [float(e) for e in xp.maximum(x, number(2))[1:]] == [2, 3] and math.isnan(float(xp.maximum(number(2), x)[0]))
    assert math.isnan(float(xp.minimum(x, number(2))[0])) and xp.isnan(x).tolist() == [True, False, False]
    assert float(xp.exp(xp.lift(np.array([1e9])))[0]) == math.inf and float(xp.exp(xp.lift(np.array([-1e9])))[0]) == 0
    assert one < inf and one <= 1 and inf > 2 and inf >= inf and nan != nan and hash(number(2)) == hash(number(2))
    assert repr(number(0.5)) == "0.5"


def test_whole_numbers_of_digits() -> None:
    """Cut off towards zero; what an integer cannot hold loses its high bits."""
    x = digits().lift(np.array([1.9, -1.9, 300.0, math.nan]))
    assert digits().cast(x, np.int64).tolist() == [1, -1, 300, 0]
    assert digits().cast(x, np.int8).tolist() == [1, -1, 44, 0]
    assert digits().cast(x, np.bool_).tolist() == [True, True, True, True]
    assert digits().cast(x, np.float32) is not None and digits().cast(x, np.float32).dtype == object


def test_numbers() -> None:
    from fractions import Fraction

    assert isinstance(number(np.int64(3)), Digits) and float(number(True)) == 1
    assert abs(float(number(Fraction(1, 3)) * 3 - 1)) < 1e-48
    with pytest.raises(TypeError):
        number(1) + "x"
