"""Questions about dims: equal means provably equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.ir import Dim, Shape
from graphopt.shapes import broadcast, is_static, same_dims, same_shape
from graphopt.shapes.dims import broadcast_dims, substitute

#: What "N" and "M" broadcast to.
BOTH = broadcast_dims("N", "M")
DIMS = st.one_of(st.integers(0, 4), st.sampled_from(["N", "M"]), st.none())
SHAPES = st.one_of(st.none(), st.lists(DIMS, max_size=4).map(tuple))


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        (1, 1, True), (1, 2, False), (0, 0, True), ("N", "N", True), ("N", "M", None), ("N", 3, None),
        (None, None, None), (None, 1, None), ("N", None, None),
    ],
)  # fmt: skip
def test_same_dims(a: Dim, b: Dim, answer: bool | None) -> None:
    assert same_dims(a, b) is answer
    assert same_dims(b, a) is answer


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        ((), (), True), ((1,), (), False), ((1, "N"), (1, "N"), True), ((1, "N"), (2, "N"), False),
        ((1, "N"), (1, None), None), ((2, None), (3, None), False), (None, (1,), None), (None, None, None), ((None,), (None,), None),
    ],
)  # fmt: skip
def test_same_shape(a: Shape | None, b: Shape | None, answer: bool | None) -> None:
    assert same_shape(a, b) is answer
    assert same_shape(b, a) is answer


@pytest.mark.parametrize(
    ("shape", "answer"), [((), True), ((1, 0), True), ((1, "N"), False), ((None,), False), (None, False)]
)
def test_is_static(shape: Shape | None, answer: bool) -> None:
    assert is_static(shape) is answer


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ((2, 3), (3,), (2, 3)), ((), (2,), (2,)), ((1,), (0,), (0,)), ((2, 1), (1, 3), (2, 3)),
        (("N", 3), ("N", 3), ("N", 3)), (("N",), (1,), ("N",)), (("N",), (5,), (5,)), ((None,), (4,), (4,)),
        ((None,), (1,), (None,)), ((None,), (None,), (None,)), (None, (1,), None), (("N",), ("N", 1), ("N", "N")), ((0,), ("N",), (0,)),
        (("N",), ("M",), (BOTH,)), (("N", 1), ("M",), ("N", "M")), ((BOTH,), ("M",), (BOTH,)), ((BOTH,), (1,), (BOTH,)), ((BOTH,), (7,), (7,)),
    ],
)  # fmt: skip
def test_broadcast(a: Shape | None, b: Shape | None, result: Shape | None) -> None:
    assert broadcast(a, b) == result
    assert broadcast(b, a) == result


@pytest.mark.parametrize(("a", "b"), [((2,), (3,)), ((2, 3), (2,)), ((0,), (2,))])
def test_shapes_that_cannot_be_broadcast(a: Shape, b: Shape) -> None:
    with pytest.raises(ValueError, match="cannot be broadcast"):
        broadcast(a, b)


@given(st.lists(st.integers(0, 3), max_size=4).map(tuple), st.lists(st.integers(0, 3), max_size=4).map(tuple))
def test_known_shapes_broadcast_as_in_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(ValueError, match="cannot be broadcast"):
            broadcast(a, b)
    else:
        assert broadcast(a, b) == expected


@given(SHAPES, SHAPES, st.dictionaries(st.sampled_from(["N", "M"]), st.integers(0, 4), min_size=2), st.data())
def test_answers_hold_for_every_size(
    a: Shape | None, b: Shape | None, sizes: dict[str, int], data: st.DataObject
) -> None:
    """Whatever the unknown dims turn out to be, what was proved is true."""

    def concrete(shape: Shape | None) -> tuple[int, ...]:
        if shape is None:
            return tuple(data.draw(st.lists(st.integers(0, 4), max_size=4)))
        return tuple(
            d if isinstance(d, int) else sizes[d] if d is not None else data.draw(st.integers(0, 4)) for d in shape
        )

    p, q = concrete(a), concrete(b)
    answer = same_shape(a, b)
    assert answer is None or answer == (p == q)
    try:
        expected = np.broadcast_shapes(p, q)
    except ValueError:
        return
    result = broadcast(a, b)
    assert result is None or len(result) == len(expected)
    for d, n in zip(result or (), expected, strict=False):
        assert d is None or substitute(d, dict(sizes)) == n
