"""What patterns/_shapes.py finds out about integer vectors and the shapes that they make."""

from __future__ import annotations

import pytest

from graphopt.ir import Value, load
from graphopt.patterns._shapes import axes_of, described, entries, shape_to_write, slices_of, target_of
from graphopt.shapes import infer_model
from graphopt.shapes.dims import mul
from graphopt.shapes.text import parse
from tests.patterns.rule_cases import Case, build

_MANY = ",".join(["1"] * 65)


def value(body: str, inputs: str = "float[N,3,?] x", constants: str = "") -> Value:
    """The value v of a graph."""
    text = f"g ({inputs}) => (int64[A] y) <int64[1] one = {{1}}, int64[1] zero = {{0}}{constants}> {{ {body} y = Shape(v) }}"
    model = load(build(Case(text, opset=20)))
    infer_model(model)
    return next(o for n in model.graph for o in n.outputs if o is not None and o.name == "v")


def keys(v: Value) -> list[object] | None:
    """The elements of v: a number, a dim ('?1' is one without a name), 'k:0' for an element of a value."""
    found = entries(v)
    if found is None:
        return None
    return [f"{e.key[1].name}:{e.key[2]}" if isinstance(e.key, tuple) else e.key for e in found]


@pytest.mark.parametrize(("body", "wanted"), [
    ("v = Shape(x)", ["N", 3, "?1"]),
    ("v = Shape<start=1>(x)", [3, "?1"]),
    ("v = Shape<start=-3, end=-1>(x)", ["N", 3]),
    ("s = Shape(x) i = Identity(s) r = Reshape(i, minus) v = Cast<to=7>(r)", ["N", 3, "?1"]),
    ("s = Shape(x) v = Gather(s, index)", ["?1", "N", "N"]),
    ("s = Shape(x) v = Gather(s, k)", ["v:0", "v:1"]),
    ("s = Shape(x) g = Gather(s, scalar) v = Unsqueeze(g, zero)", ["?1"]),
    ("s = Shape(x) g = Gather(s, one) q = Squeeze(g) r = Cast<to=6>(q) c = Cast<to=7>(r) v = Reshape(c, minus)", [3]),
    ("g = Gather(k, one) q = Squeeze(g) r = Cast<to=6>(q) c = Cast<to=7>(r) v = Reshape(c, minus)", ["r:0"]),
    ("s = Shape(x) v = Slice(s, zero, minus)", ["N", 3]),
    ("s = Shape(x) v = Slice(s, zero, three, zero, two)", ["N", "?1"]),
    ("s = Shape(x) v = Slice(s, minus, low, zero, minus)", ["?1", 3, "N"]),
    ("u = Concat<axis=0>(k, one) v = Slice(u, minus, low, zero, minus)", [1, "v:1", "v:2"]),
    ("s = Shape(x) v = Slice(s, zero, two, zero, k1)", None),
    ("s = Shape(x) v = Concat<axis=0>(k, s, two)", ["k:0", "k:1", "N", 3, "?1", 2]),
    ("s = Shape(x) v = Mul(s, two)", [parse("2*N"), 6, mul("?1", 2)]),
    ("s = Shape<end=2>(x) m = Mul(k, two) v = Add(s, m)", ["v:0", "v:1"]),
    ("s = Shape<end=1>(x) g = Gather(k, one) c = Concat<axis=0>(s, g, two) v = Mul(c, c)", [parse("N*N"), "v:1", 4]),
    # Longer than anybody would write; a matrix; no integers; of unknown length.
    ("v = Concat<axis=0>(many)", None),
    ("c = Concat<axis=0>(many, one) v = Neg(c)", None),
    ("u = Unsqueeze(k, zero) v = Neg(u)", None),
    ("r = Reshape(x, k0) v = Shape(r)", None),
    ("s = Shape(x) v = Compress(s, b)", None),
    ("f = Cast<to=1>(k) v = Cast<to=7>(f)", ["v:0", "v:1"]),
    ("s = Shape(x) m = Reshape(s, square) g = Gather(m, zero) v = Reshape(g, minus)", ["N"]),
    ("m = Concat<axis=0>(k, k1) q = Reshape(m, square) g = Gather(q, zero) v = Reshape(g, minus)", ["v:0"]),
])  # fmt: skip
def test_entries(body: str, wanted: list[object] | None) -> None:
    constants = (
        f", int64[1] minus = {{-1}}, int64[1] two = {{2}}, int64[1] three = {{3}}, int64[1] low = {{-9}}, int64[3] index = {{-1,0,-3}}, "
        f"int64 scalar = {{2}}, int64[2] square = {{3,1}}, bool[3] b = {{1,1,0}}, int64[65] many = {{{_MANY}}}"
    )
    assert keys(value(body, "float[N,3,?] x, int64[2] k, int64[1] k1, int64[K] k0", constants)) == wanted


@pytest.mark.parametrize(("body", "sizes"), [
    ("v = Shape(x)", True),
    ("s = Shape(x) v = Mul(s, two)", True),
    ("s = Shape(x) a = Add(s, s) v = Div(a, two)", True),
    ("s = Shape(x) v = Max(s, s)", True),
    ("n = Size(x) u = Unsqueeze(n, zero) v = Add(u, zero)", True),
    ("s = Shape(x) m = Mul(s, two) v = Gather(m, one)", True),
    ("s = Shape(x) m = Mul(s, two) g = Slice(m, zero, one) c = Cast<to=7>(g) i = Identity(c) v = Concat<axis=0>(i, one)", True),
    ("s = Shape(x) m = Mul(s, two) v = Sub(m, s)", True),
    ("s = Shape(x) v = Sub(s, one)", False),
    ("s = Shape(x) v = Mul(s, minus)", False),
    ("s = Shape(x) v = Add(s, minus)", False),
    ("s = Shape(x) v = Div(s, minus)", False),
    ("s = Shape(x) v = Div(s, zero)", False),
    ("s = Shape(x) v = Div(s, s)", True),
    ("s = Shape(x) t = Concat<axis=0>(two, two, two) v = Div(s, t)", True),
    ("s = Shape(x) v = Div(s, k)", False),
    ("s = Shape(x) t = Concat<axis=0>(two, minus, two) v = Div(s, t)", False),
    ("s = Shape(x) v = Neg(s)", False),
    ("s = Shape(x) c = Cast<to=6>(s) m = Mul(c, c) v = Cast<to=7>(m)", False),
    ("v = Mul(k, k)", False),
    ("f = Cast<to=1>(k) v = Cast<to=7>(f)", False),
    ("s = Shape(x) v = Max(s, k)", False),
    ("s = Shape(x) m = Mul(s, two) v = Concat<axis=0>(m, minus)", False),
])  # fmt: skip
def test_sizes_are_not_negative(body: str, sizes: bool) -> None:
    found = entries(value(body, "float[N,3,?] x, int64[3] k", ", int64[1] two = {2}, int64[1] minus = {-1}"))
    assert found is not None and all(e.is_size for e in found) == sizes


@pytest.mark.parametrize(("x", "shape", "zero", "result", "wanted"), [
    # (the shape is made of numbers, n = x's first dim, m = x's second, k = a number that nobody knows)
    ("N,3,?", "0 3 -1", 0, None, [0, 3, 0]),
    ("N,3,?", "0 0 0", 0, (None, 3, None), [0, 3, 0]),
    ("N,3,4", "0 -1", 0, ("N", 12), [0, 12]),
    ("N,M,4", "0 -1", 0, ("N", None), [0, -1]),
    ("N,M,4", "-1 0 2 2", 0, None, [0, 0, 2, 2]),
    ("5,0", "5 0", 1, (5, 0), [5, 0]),
    ("N,0", "0 7", 1, (0, 7), [None, 7]),
    ("N,M", "n m k 1", 0, None, [0, 0, None, 1]),
    ("?,?", "n m n", 1, None, [0, 0, None]),
    ("N,M", "m n", 0, None, [None, None]),
    ("N,M", "k k", 0, ("N", "K"), [0, None]),
    ("N,M", "k k k", 0, ("N", "K", "M"), [0, None, None]),
    ("N,M", "k k", 0, (6, 0), [6, None]),
    ("0,N", "2 -1", 0, (2, 0), [2, -1]),
    ("1,M,4", "k -1 4", 0, None, [None, -1, 4]),
    ("N,M", "k n", 0, (4, "K", 9), [None, None]),
    ("N,M", "2 -2", 0, None, None),
])  # fmt: skip
def test_described(
    x: str, shape: str, zero: int, result: tuple[object, ...] | None, wanted: list[int | None] | None
) -> None:
    words = shape.split()
    numbers = "".join(f", int64[1] c{i} = {{{w}}}" for i, w in enumerate(words) if w not in ("n", "m", "k"))
    parts = ", ".join(w if w in ("n", "m", "k") else f"c{i}" for i, w in enumerate(words))
    body = f"n = Shape<start=0,end=1>(x) m = Shape<start=1,end=2>(x) v = Concat<axis=0>({parts})"
    v = value(body, f"float[{x}] x, int64[1] k", numbers)
    tensor = next(i for i in v.graph.inputs if i.name == "x")
    assert described(tensor, v, zero, result) == wanted


def test_described_without_a_rank() -> None:
    v = value(
        "s = Compress(k, b) z = Reshape(x, s) v = Concat<axis=0>(one, k)",
        "float[N,M] x, int64[2] k",
        ", bool[2] b = {1,1}",
    )
    z = next(o for n in v.graph for o in n.outputs if o is not None and o.name == "z")
    assert z.shape is None
    assert described(z, v, 0, None) == [1, None, None]
    assert described(v, z, 0, None) is None


@pytest.mark.parametrize(("target", "x", "wanted"), [
    ([2, 3], (6,), [2, 3]),
    ([0, 0, 4], ("N", "M", 4), [0, 0, 4]),
    ([0, -1, 4], ("N", "M", 4), [0, -1, 4]),
    ([-1, -1], ("N", "M"), None),
    ([None, 3], (3, "N"), [-1, 3]),
    ([None, 3], ("N", 3), [0, 3]),
    ([None, 2, 2], ("N", 4), [0, 2, 2]),
    ([None, 2, 2], ("N", "M"), [-1, 2, 2]),
    ([2, 2, None], ("N", 4), [2, 2, -1]),
    ([2, 2, None], (4,), [2, 2, -1]),
    ([None, 4], None, [-1, 4]),
    ([None, 0], ("N", "M"), None),
    ([None, -1], ("N", "M"), None),
    ([None, None], ("N", "M"), None),
    ([], (1,), []),
    (None, (1,), None),
])  # fmt: skip
def test_shape_to_write(
    target: list[int | None] | None, x: tuple[object, ...] | None, wanted: list[int] | None
) -> None:
    assert shape_to_write(target, x) == wanted


@pytest.mark.parametrize(("x", "y", "wanted"), [
    (("N", "M", 4), ("N", "M", 2, 2), [0, 0, 2, 2]),
    (("N", 4), ("K", 2), [-1, 2]),
    ((2, "N"), ("N", 2), [-1, 2]),
    (("N", "M"), ("M", "N"), None),
    ((0, 4), (0, 4), [0, 4]),
    ((2, 0), (0, 3), [-1, 3]),
    (None, ("N", 3), [-1, 3]),
    (("N", 3), None, None),
    ((), (1, 1), [1, 1]),
])  # fmt: skip
def test_target_of(x: tuple[object, ...] | None, y: tuple[object, ...] | None, wanted: list[int] | None) -> None:
    assert target_of(x, y) == wanted


def test_axes_of() -> None:
    assert axes_of([2, 0], None) == [0, 2]
    assert axes_of([-1, 0], 3) == [0, 2]
    assert axes_of([-1, 0], None) is None
    assert axes_of([1, -1], 2) is None
    assert axes_of([-3], 2) is None
    assert axes_of([], None) == []


def test_slices_of() -> None:
    assert slices_of([1, 2], [3, 4], None, None, None) == {0: (1, 3, 1), 1: (2, 4, 1)}
    assert slices_of([1, 2], [3, 4], [-1, 0], [5, -6], 3) == {0: (2, 4, -6), 2: (1, 3, 5)}
    assert slices_of([1, 2], [3, 4], [-1, 0], None, None) is None
    assert slices_of([1, 2], [3, 4], [1, -1], None, 2) is None
    assert slices_of([1], [3, 4], None, None, 2) is None
    assert slices_of([1, 2], [3, 4], [0], None, 2) is None
    assert slices_of([1, 2], [3, 4], None, [1], 2) is None
    assert slices_of([1], [3], None, [0], 2) is None
    assert slices_of(None, [3], None, None, 2) is None
    assert slices_of([1], None, None, None, 2) is None
