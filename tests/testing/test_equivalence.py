"""assert_equivalent, for users' regression suites."""

from __future__ import annotations

import numpy as np
import pytest

import graphopt
from graphopt.errors import ArgumentError
from graphopt.testing import assert_equivalent
from tests.ir.building import parse

HEAD = "g "
MODEL = HEAD + "(float[N,3] x) => (float[N,3] y) <float k = {2}> { a = Mul(x, k) b = Neg(a) y = Relu(b) }"
OTHER = HEAD + "(float[N,3] x) => (float[N,3] y) <float k = {2}> { a = Mul(x, k) y = Relu(a) }"
CLOSE = HEAD + "(float[N,3] x) => (float[N,3] y) <float k = {2.0002}> { a = Mul(x, k) b = Neg(a) y = Relu(b) }"
X = {"x": np.float32([[1, -2, 3]])}


def test_equal_models_pass() -> None:
    model = parse(MODEL)
    assert_equivalent(model, graphopt.optimize(model))
    assert_equivalent(model, graphopt.optimize(model), X)
    assert_equivalent(model, graphopt.optimize(model, level=1), [X, {"x": np.ones((2, 3), np.float32)}], exact=True)


def test_others_do_not() -> None:
    with pytest.raises(AssertionError, match="different"):
        assert_equivalent(parse(MODEL), parse(OTHER))
    with pytest.raises(AssertionError, match="output 'y' of reference"):
        assert_equivalent(parse(MODEL), parse(OTHER), X)
    with pytest.raises(AssertionError, match="output 'y'"):  # 1e-4 apart: more than rounding does
        assert_equivalent(parse(MODEL), parse(CLOSE), X)


def test_another_interface_is_told() -> None:
    with pytest.raises(AssertionError, match="lost 'y'"):
        assert_equivalent(parse(MODEL), parse(MODEL.replace(" y", " z")), X)


def test_exact_needs_inputs() -> None:
    with pytest.raises(ArgumentError, match="feeds="):
        assert_equivalent(parse(MODEL), parse(MODEL), exact=True)


def test_nothing_compared_is_no_success() -> None:
    with pytest.raises(AssertionError, match="nothing was compared"):
        assert_equivalent(parse(MODEL), parse(MODEL), {"x": np.ones((2, 4), np.int8)})
