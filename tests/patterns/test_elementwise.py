"""What patterns/_elementwise.py tells rules."""

from __future__ import annotations

from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, parser

from graphopt.ir import load
from graphopt.patterns._elementwise import FLOATS, INTEGERS, decides, filled, foldable, normal, rounds, small, within
from graphopt.shapes import infer_model

F, D, H = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=TensorProto.DataType.Name)
def test_dtypes(dtype: int) -> None:
    wanted = np.dtype(helper.tensor_dtype_to_np_dtype(dtype))
    if dtype in INTEGERS:
        info = np.iinfo(wanted)
        assert (info.bits, info.min < 0) == INTEGERS[dtype]
    else:
        f = ml_dtypes.finfo(wanted)
        assert (f.nmant + 1, float(f.smallest_normal), float(f.max)) == FLOATS[dtype]


@pytest.mark.parametrize(
    ("inner", "outer", "answer"),
    [
        ((), None, True), ((), (), True), ((), (None, 3), True),
        ((1,), None, False), ((1,), (), False), ((1, 1), (3,), False), (None, (3,), False), (None, None, False),
        ((1,), (None,), True), ((1, 1), (None, 0), True), ((3,), (2, 3), True), ((2, 1), (2, 3), True),
        ((3,), (1,), False), ((3,), (None,), False), ((3,), ("N",), False), (("N",), ("N",), True),
        (("N",), ("M",), False), ((None,), (None,), False), (("N", 1), ("N", None), True), (("N",), ("N", 2), False),
    ],
)  # fmt: skip
def test_within(inner: tuple | None, outer: tuple | None, answer: bool) -> None:
    assert within(inner, outer) is answer


def test_small() -> None:
    assert small(()) and small((1024,)) and small((0, 99999))
    assert not (small(None) or small((1025,)) or small(("N",)) or small((None, 0)))


def test_filled() -> None:
    assert filled(np.ones((2, 3)), 1) and filled(np.zeros(1 << 16, bool), False) and filled(np.float32(-0.0), 0)
    for c in (np.ones(0), np.array([1, 2]), np.array([2, 1]), np.full(3, np.nan), np.ones((1 << 16) + 1)):
        assert not filled(c, 1)


def constant(*shape: int, uses: int = 1) -> SimpleNamespace:
    return SimpleNamespace(shape=shape, size=int(np.prod(shape)), uses=uses)


def test_foldable() -> None:
    assert foldable(constant(32, 1, uses=2), None, constant(32, uses=2))
    assert not foldable(constant(33, 1), constant(32))
    assert foldable(constant(2000), constant(1, uses=9))
    assert not foldable(constant(2000, uses=2), constant(1))
    assert foldable(constant(2000, uses=2), constant(2000))
    assert not foldable(constant(2), constant(3))


def test_numbers() -> None:
    assert normal(np.array([2.0**-14, -65504.0]), H)
    for k in (0.0, 2.0**-15, 65505.0, np.inf, np.nan):
        assert not normal(np.array([1.0, k]), H)
    assert not rounds(np.array([0.75, 2.0**24 - 1, -(2.0**-100)]), F)
    for k in (1 / 3, 2.0**24 + 1):
        assert rounds(np.array([1.0, k]), F)
    assert rounds(np.array(2049.0), H)
    assert rounds(np.array(1.0), D)  # 1.0 may be what the nearest double made of a quotient


BRANCH = (
    "t = Greater(q, q) "
    "y = If(t) <then_branch = t () => (float[3] u) { THEN }, else_branch = e () => (float[3] v) { v = Exp(x) }>"
)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("y = Relu(a)", False),
        ("y = Floor(a)", True),
        ("y = MatMul(m, a)", False),
        ("b = Exp(a) y = Floor(b)", False),
        ("b = Reshape(a, s) c = Add(b, b) y = Ceil(c)", True),
        ("b = Cast<to=10>(a) y = Cast<to=1>(b)", False),
        ("b = Cast<to=7>(a) y = Cast<to=1>(b)", True),
        ("b = Greater(a, x) y = Cast<to=1>(b)", True),
        (" ".join(f"a{i + 1} = Add(a{i}, x)" for i in range(64)).replace("a0", "a", 1) + " y = Exp(a64)", False),
        (" ".join(f"a{i + 1} = Add(a{i}, x)" for i in range(65)).replace("a0", "a", 1) + " y = Exp(a65)", True),
        (BRANCH.replace("THEN", "u = Add(a, a)"), True),
        (BRANCH.replace("THEN", "w = Add(a, a) u = Exp(w)"), False),
    ],
)  # fmt: skip
def test_decides(body: str, answer: bool) -> None:
    text = f"g (float[3] x, float[3,3] m, float q) => (float[A] y) <int64[1] s = {{3}}> {{ a = Sqrt(x) {body} }}"
    model = load(parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\n{text}'))
    infer_model(model)
    (a,) = (n.output for n in model.graph if n.op == "Sqrt")
    assert decides(SimpleNamespace(value=a)) is answer
