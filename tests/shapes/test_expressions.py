"""Dims that are expressions: whatever the names turn out to be, they compute what the same steps compute on numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from itertools import product
from typing import Any

import pytest
import sympy
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from graphopt.ir import Dim
from graphopt.shapes import dims, divides, less, less_equal, operation_of, same_dims

NAMES = ("a", "b", "c")
Sizes = dict[str, int]
#: An expression in the making: a number, a name, or an operation with its operands.
Tree = Any


class CannotRun(Exception):
    """No model runs with these sizes."""


def broadcast(a: int, b: int) -> int:
    """Of ONNX: one of them is 1, or they are equal."""
    if min(a, b) < 0 or (a != b and 1 not in (a, b)):
        raise CannotRun
    return b if a == 1 else a


#: Each operation on dims, and what it means for numbers.
OPERATIONS: dict[str, tuple[Callable[[Dim, Dim], Dim], Callable[[int, int], int]]] = {
    "add": (dims.add, lambda a, b: a + b),
    "sub": (dims.sub, lambda a, b: a - b),
    "mul": (dims.mul, lambda a, b: a * b),
    "minimum": (dims.minimum, min),
    "maximum": (dims.maximum, max),
    "floordiv": (dims.floordiv, lambda a, b: a // b),
    "ceildiv": (dims.ceildiv, lambda a, b: -(-a // b)),
    "mod": (dims.mod, lambda a, b: a % b),
    "broadcast": (dims.broadcast_dims, broadcast),
}
DIVISIONS = ("floordiv", "ceildiv", "mod")

LEAVES: st.SearchStrategy[Tree] = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(-3, 6))


def _deeper(below: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    divided = st.tuples(st.sampled_from(DIVISIONS), below, st.integers(1, 6))
    sums = st.tuples(st.sampled_from(["add", "sub", "mul", "minimum", "maximum"]), divided, st.one_of(divided, below))
    return st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul", "minimum", "maximum", "broadcast"]), below, below),
        st.tuples(st.sampled_from(["add", "sub", "floordiv"]), below, below),
        divided,
        st.tuples(st.sampled_from(DIVISIONS), sums, st.integers(2, 6)),
    )


TREES: st.SearchStrategy[Tree] = st.recursive(LEAVES, _deeper, max_leaves=8)
SIZES = st.fixed_dictionaries(dict.fromkeys(NAMES, st.one_of(st.integers(0, 3), st.integers(0, 40))))
#: What every definite answer is held against.
GRID = [dict(zip(NAMES, sizes)) for sizes in product((0, 1, 2, 3, 7), repeat=len(NAMES))]


def build(tree: Tree) -> Dim:
    """A tree as a dim."""
    if not isinstance(tree, tuple):
        return tree
    operation, left, right = tree
    try:
        return OPERATIONS[operation][0](build(left), build(right))
    except ValueError:  # can never be broadcast
        return None


def compute(tree: Tree, sizes: Sizes) -> int:
    """The number that a tree is."""
    if not isinstance(tree, tuple):
        return sizes[tree] if isinstance(tree, str) else tree
    operation, left, right = tree
    a, b = compute(left, sizes), compute(right, sizes)
    if operation in DIVISIONS and b <= 0:
        raise CannotRun
    return OPERATIONS[operation][1](a, b)


def value(d: Dim, sizes: Sizes) -> Dim:
    return dims.substitute(d, dict(sizes))


def computable(*trees: Tree) -> list[tuple[Sizes, tuple[int, ...]]]:
    """The sizes of the grid for which the trees can be computed, with their numbers."""
    found = []
    for sizes in GRID:
        try:
            found.append((sizes, tuple(compute(t, sizes) for t in trees)))
        except CannotRun:
            continue
    return found


# ---------------------------------------------------------------------------------------------------------- arithmetic
@settings(max_examples=400)
@given(TREES, SIZES)
@example(("floordiv", ("sub", "a", 1), 2), {"a": 0, "b": 0, "c": 0})
@example(("broadcast", ("minimum", "a", 512), "a"), {"a": 0, "b": 0, "c": 0})
@example(("broadcast", "a", "b"), {"a": 0, "b": 1, "c": 0})
def test_names_replaced_by_numbers(tree: Tree, sizes: Sizes) -> None:
    d = build(tree)
    assume(d is not None)
    try:
        expected = compute(tree, sizes)
    except CannotRun:
        assume(False)
    found = value(d, sizes)
    assert found == expected, f"{d} for {sizes}"
    assert isinstance(found, int)


@settings(max_examples=100, deadline=None)
@given(TREES, SIZES)
def test_sympy_reads_them(tree: Tree, sizes: Sizes) -> None:
    """What SymPy makes of an expression, and of its text, has the same value."""
    d = build(tree)
    assume(d is not None)
    symbols = {n: sympy.Symbol(n, integer=True, nonnegative=True) for n in NAMES}
    expected = value(d, sizes)
    assume(expected is not None)  # cannot be broadcast
    values = [(symbols[n], sizes[n]) for n in NAMES]
    assert sympy.sympify(d, locals=symbols).subs(values) == expected
    assert sympy.sympify(str(d), locals=symbols).subs(values) == expected


@settings(max_examples=100)
@given(TREES, TREES, st.sampled_from(["add", "sub", "mul"]))
def test_sympy_computes_the_same(tree: Tree, other: Tree, operation: str) -> None:
    """Sums and products are those of SymPy, whose own expansion knows nothing of this one."""
    p, q = build(tree), build(other)
    assume(p is not None and q is not None)
    r = OPERATIONS[operation][0](p, q)
    assume(r is not None)
    opaque = [
        sympy.sympify(d) if not isinstance(d, str) else sympy.Symbol(d, integer=True, nonnegative=True)
        for d in (p, q, r)
    ]
    made = {"add": sympy.Add, "sub": lambda a, b: a - b, "mul": sympy.Mul}[operation](*opaque[:2])
    assert sympy.expand(made - opaque[2]) == 0


@settings(max_examples=100)
@given(TREES, SIZES, st.sampled_from(NAMES))
def test_names_replaced_one_after_the_other(tree: Tree, sizes: Sizes, first: str) -> None:
    d = build(tree)
    assume(d is not None)
    try:
        expected = compute(tree, sizes)
    except CannotRun:
        assume(False)
    part = dims.substitute(d, {first: sizes[first]})
    assert first not in dims.names_in(part)
    assert value(part, sizes) == expected, f"{d}, then {part}, for {sizes}"


@settings(max_examples=100)
@given(TREES, TREES, SIZES)
def test_a_name_replaced_by_an_expression(tree: Tree, inner: Tree, sizes: Sizes) -> None:
    d, replacement = build(tree), build(inner)
    assume(d is not None and replacement is not None)
    try:
        middle = compute(inner, sizes)
        expected = compute(tree, {**sizes, "a": middle})
    except CannotRun:
        assume(False)
    assume(middle >= 0)  # a name stands for a dim
    found = dims.substitute(d, {"a": replacement})
    if found is not None:  # it grew too long, or cannot be broadcast
        assert value(found, sizes) == expected, f"{found} for {sizes}"


@pytest.mark.parametrize("sizes", [{"a": 2, "b": 3}, {"a": 0, "b": 2}])
@pytest.mark.parametrize("around", ["alone", "add", "mul", "maximum", "floordiv", "mod", "broadcast"])
def test_what_cannot_be_broadcast_has_no_number(sizes: Sizes, around: str) -> None:
    d = dims.broadcast_dims("a", "b")
    if around != "alone":
        d = OPERATIONS[around][0](d, "c" if around in ("maximum", "broadcast") else 3)
    assert dims.substitute(d, dict(sizes)) is None


@settings(max_examples=100)
@given(st.lists(TREES, min_size=2, max_size=3), SIZES)
def test_products(trees: list[Tree], sizes: Sizes) -> None:
    total = dims.product(map(build, trees))
    assume(total is not None)
    try:
        expected = math.prod(compute(t, sizes) for t in trees)
    except CannotRun:
        assume(False)
    assert value(total, sizes) == expected


@settings(max_examples=150)
@given(TREES, TREES, SIZES)
def test_exact_quotients(tree: Tree, by: Tree, sizes: Sizes) -> None:
    """Where the rest is 0 the quotient is right; where it is not, no model runs."""
    d, k = build(tree), build(by)
    try:
        a, b = compute(tree, sizes), compute(by, sizes)
    except CannotRun:
        assume(False)
    assume(b != 0)
    for top, wanted in ((dims.mul(d, k), a), (d, a // b if a % b == 0 else None)):
        q = dims.exact_div(top, k)
        if q is not None and wanted is not None:
            assert value(q, sizes) == wanted, f"{top} / {k} = {q} for {sizes}"


@settings(max_examples=100)
@given(TREES, st.integers(1, 6), SIZES)
def test_quotients_of_fractions_are_rounded_down(tree: Tree, k: int, sizes: Sizes) -> None:
    """floor(x/k), as floats compute it: a product with 1/k first."""
    d = build(tree)
    assume(d is not None)
    try:
        expected = compute(tree, sizes) // k
    except CannotRun:
        assume(False)
    quotient = dims.mul(d, Fraction(1, k))
    assume(quotient is not None)  # None: it grew too long
    assert value(dims.floor(quotient), sizes) == expected


@pytest.mark.parametrize("operation", ["add", "sub", "floordiv", "minimum", "maximum", "broadcast"])
@pytest.mark.parametrize("other", [2, 5, "a"])
def test_nothing_follows_from_what_is_not_known(operation: str, other: Dim) -> None:
    function = OPERATIONS[operation][0]
    for pair in ((None, other), (other, None), (None, None)):
        found = function(*pair)
        # a number above 1 wins a broadcast whatever the other one is
        assert found is None or (operation == "broadcast" and found in (2, 5))


@pytest.mark.parametrize("d", ["a", dims.add("a", 1), None])
def test_nothing_times_zero(d: Dim) -> None:
    assert dims.mul(d, 0) == dims.mul(0, d) == 0
    assert dims.mul(d, 1) == dims.mul(1, d) == d


@pytest.mark.parametrize("operation", ["floordiv", "ceildiv", "mod"])
@pytest.mark.parametrize("by", [0, -2, "b", None])
@pytest.mark.parametrize("d", [6, "a", dims.mul("a", "b")])
def test_divisors_that_may_be_zero(operation: str, by: Dim, d: Dim) -> None:
    assert OPERATIONS[operation][0](d, by) is None


def test_a_divisor_that_is_above_zero() -> None:
    more = dims.add("b", 1)
    assert dims.floordiv(dims.mul("a", more), more) == "a"
    assert dims.floordiv(more, more) == 1
    assert dims.floordiv(0, more) == 0
    half = dims.floordiv(dims.mul("a", more), dims.mul(more, 2))
    assert half in (None, dims.floordiv("a", 2)), "a/2 need not be whole"
    assert dims.floordiv("a", more) is None


@pytest.mark.parametrize(
    "tree",
    [
        ("mod", ("sub", 8, ("mod", "a", 8)), 8),  # what is lacking to a whole number of windows
        ("mod", ("mul", 2, ("mod", "a", 3)), 3),
        ("mod", ("mul", "b", ("mod", "a", 3)), 4),
        ("mod", ("mul", 5, ("mod", ("mod", "a", 6), 5)), 3),
        ("floordiv", ("mod", ("mul", 3, ("mod", "a", 4)), 4), 2),
    ],
)
def test_rests_of_rests(tree: Tree) -> None:
    d = build(tree)
    for a in range(20):
        sizes = {"a": a, "b": 3, "c": 1}
        assert value(d, sizes) == compute(tree, sizes), f"{d} for {a}"
        assert recomputed(d, sizes) in (None, compute(tree, sizes))


@pytest.mark.parametrize(
    "tree",
    [
        ("floordiv", ("add", ("floordiv", "a", 2), ("floordiv", "b", 2)), 2),
        ("ceildiv", ("add", ("floordiv", "a", 5), ("ceildiv", "b", 4)), 3),
        ("floordiv", ("add", ("floordiv", "a", 2), ("floordiv", "a", 3)), 4),
    ],
)
def test_quotients_of_sums_of_quotients(tree: Tree) -> None:
    """Two roundings in a sum cannot both be left to the one around it."""
    d = build(tree)
    for a, b in product(range(20), range(6)):
        sizes = {"a": a, "b": b, "c": 0}
        assert value(d, sizes) == compute(tree, sizes), f"{d} for {sizes}"


@pytest.mark.parametrize(
    "tree",
    [
        ("floordiv", ("maximum", ("mul", "a", 2), 2), 6),
        ("floordiv", ("minimum", ("mul", "a", 2), ("mul", "b", 2)), 6),
    ],
)
def test_quotients_of_choices(tree: Tree) -> None:
    d = build(tree)
    for a, b in product(range(20), range(6)):
        sizes = {"a": a, "b": b, "c": 0}
        assert value(d, sizes) == compute(tree, sizes), f"{d} for {sizes}"


def chain(d: Dim, *steps: tuple[Callable[..., Dim], Any]) -> Dim:
    return reduce(lambda d, step: step[0](d, step[1]), steps, d)


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (chain("a", (dims.floordiv, 2), (dims.floordiv, 3)), dims.floordiv("a", 6)),
        (chain("a", (dims.floordiv, 2), (dims.add, 1), (dims.floordiv, 2)), chain("a", (dims.add, 2), (dims.floordiv, 4))),
        (chain("a", (dims.mul, 4), (dims.floordiv, 2)), dims.mul("a", 2)),
        (chain("a", (dims.mul, 4), (dims.add, 3), (dims.floordiv, 4)), "a"),
        (chain("a", (dims.add, 4), (dims.floordiv, 2)), chain("a", (dims.floordiv, 2), (dims.add, 2))),
        (chain("a", (dims.sub, 1), (dims.floordiv, 2), (dims.add, 1)), dims.ceildiv("a", 2)),
        (dims.mul(dims.add("a", 1), dims.add("a", -1)), dims.sub(dims.mul("a", "a"), 1)),
        (chain("a", (dims.mul, 6), (dims.mod, 3)), 0),
        (chain("a", (dims.mul, 7), (dims.add, 4), (dims.mod, 3)), chain("a", (dims.add, 1), (dims.mod, 3))),
        (dims.maximum("a", 0), "a"),
        (dims.maximum(dims.add("a", "b"), "a"), dims.add("a", "b")),
        (dims.maximum(dims.maximum("a", "b"), "a"), dims.maximum("b", "a")),
        (dims.minimum(dims.sub("a", 1), "a"), dims.sub("a", 1)),
        (dims.broadcast_dims("a", "b"), dims.broadcast_dims("b", "a")),
        (dims.broadcast_dims(dims.broadcast_dims("a", "b"), "a"), dims.broadcast_dims("a", "b")),
        (dims.broadcast_dims(dims.add("a", 2), "b"), dims.add("a", 2)),
        (dims.broadcast_dims(dims.minimum("a", 512), "a"), "a"),
        (dims.exact_div(dims.mul(dims.mul("a", "b"), 6), dims.mul("b", 2)), dims.mul("a", 3)),
        (dims.exact_div(dims.add(dims.mul("a", "a"), dims.add(dims.mul("a", 2), 1)), dims.add("a", 1)), dims.add("a", 1)),
        (dims.floor(chain("a", (dims.floordiv, 2))), dims.floordiv("a", 2)),
    ],
)  # fmt: skip
def test_one_form(p: Dim, q: Dim) -> None:
    """What means the same is the same, however it was computed."""
    assert p == q
    assert same_dims(p, q) is True


# ----------------------------------------------------------------------------------------------------------- questions
QUESTIONS: dict[Callable[[Dim, Dim], bool | None], Callable[[int, int], bool]] = {
    same_dims: lambda p, q: p == q,
    less: lambda p, q: p < q,
    less_equal: lambda p, q: p <= q,
}


def check_answers(tree: Tree, other: Tree) -> None:
    p, q = build(tree), build(other)
    for question, truth in QUESTIONS.items():
        answer = question(p, q)
        if answer is not None:
            for sizes, (m, n) in computable(tree, other):
                assert truth(m, n) is answer, f"{question.__name__}({p}, {q}) for {sizes}"


@settings(max_examples=200)
@given(TREES, TREES)
def test_answers_hold_for_every_size(tree: Tree, other: Tree) -> None:
    check_answers(tree, other)


@settings(max_examples=200)
@given(TREES, LEAVES, st.sampled_from(["add", "sub", "minimum", "maximum", "mul"]), st.integers(-2, 2))
def test_answers_about_what_is_close(tree: Tree, leaf: Tree, operation: str, k: int) -> None:
    """Where one side is made from the other there is more to prove."""
    check_answers(tree, ("add", (operation, tree, leaf), k))


@settings(max_examples=150)
@given(TREES, TREES, st.sampled_from([1, 2, 3, "a", ("add", "a", 1), ("mul", "a", 2)]))
def test_divisibility_holds_for_every_size(tree: Tree, other: Tree, by: Tree) -> None:
    for top in (tree, ("mul", tree, by), ("add", ("mul", by, other), tree)):
        answer = divides(build(by), build(top))
        if answer is not None:
            for sizes, (k, n) in computable(by, top):
                assert k == 0 or (n % k == 0) is answer, f"{build(by)} | {build(top)} for {sizes}"


@pytest.mark.parametrize(
    ("a", "b", "is_less"),
    [
        ("a", dims.add("a", 1), True), (dims.add("a", 1), "a", False), ("a", dims.add("a", "b"), None), (dims.add("a", "b"), "a", False),
        (dims.floordiv("a", 2), dims.add("a", 1), True), (dims.add("a", 1), dims.floordiv("a", 2), False), (-1, dims.mul("a", "b"), True),
        (dims.mod("a", 3), 3, True), (3, dims.mod("a", 3), False), (2, dims.maximum("a", 3), True), (dims.minimum("a", 3), 4, True),
        ("a", 0, False), ("a", 1, None), ("a", "b", None), (0, dims.add(dims.floordiv("a", 2), 1), True), (dims.sub("a", 1), 0, None),
        (dims.broadcast_dims("a", "b"), -1, False), (dims.mul(dims.add("a", 1), dims.add("b", 1)), 1, False),
        (dims.mul(dims.add("a", 1), "b"), 1, None),
        (0, dims.mul(dims.add("a", 1), dims.add("b", 1)), True), (dims.sub("a", "b"), dims.add("a", 1), True),
    ],
)  # fmt: skip
def test_less(a: Dim, b: Dim, is_less: bool | None) -> None:
    assert less(a, b) is is_less
    assert less_equal(b, a) is (None if is_less is None else not is_less)


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        (2, dims.mul("a", 4), True), (2, dims.add(dims.mul("a", 4), 1), False), (2, "a", None), ("a", dims.mul("a", "b"), True),
        (dims.add("a", 1), dims.sub(dims.mul("a", "a"), 1), True), (0, "a", None), ("a", 0, True), (1, "a", True), ("a", "a", True),
        (3, dims.mul(dims.floordiv("a", 2), 6), True), (2, dims.floordiv(dims.mul("a", 3), 2), None), (6, 12, True), (6, 13, False),
        (None, 2, None), (2, None, None),
    ],
)  # fmt: skip
def test_divides(a: Dim, b: Dim, answer: bool | None) -> None:
    assert divides(a, b) is answer


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        ("a", dims.add("a", 1), False), (dims.add("a", "b"), "a", None), (dims.mul("a", 2), 3, None), ("a", -1, False), (-1, "a", False),
        (dims.add("a", 1), 0, False), (dims.sub("a", 1), 0, None), (dims.mod("a", 3), 5, False), (dims.maximum("a", 4), 3, False),
        (dims.minimum("a", 4), 5, False), (dims.floordiv("a", 2), -1, False), (dims.broadcast_dims("a", "b"), -1, False),
    ],
)  # fmt: skip
def test_equal(a: Dim, b: Dim, answer: bool | None) -> None:
    assert same_dims(a, b) is answer
    assert same_dims(b, a) is answer


# ------------------------------------------------------------------------------------------------------------- reading
ONNX: dict[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: math.trunc(a / b),
    "Max": max,
    "Min": min,
}


def recomputed(d: Dim, sizes: Sizes) -> int | None:
    """What the operators of `operation_of` compute; None where it finds none for some part."""
    if isinstance(d, int):
        return d
    if isinstance(d, str):
        return sizes[d]
    found = operation_of(d)
    if found is None:
        return None
    op, operands = found
    values = [recomputed(o, sizes) for o in operands]
    assert len(values) > 1, f"{op} of {operands}"
    known = [v for v in values if v is not None]
    return reduce(ONNX[op], known) if len(known) == len(values) else None


@settings(max_examples=250)
@given(TREES, SIZES)
@example(("floordiv", ("sub", "a", 1), 2), {"a": 0, "b": 0, "c": 0})
@example(("mod", ("sub", "a", 1), 3), {"a": 0, "b": 0, "c": 0})
def test_operators_compute_the_expression(tree: Tree, sizes: Sizes) -> None:
    d = build(tree)
    assume(d is not None)
    try:
        expected = compute(tree, sizes)
    except CannotRun:
        assume(False)
    found = recomputed(d, sizes)
    assert found is None or found == expected, f"{d} for {sizes}"


@settings(max_examples=100)
@given(TREES, st.sampled_from([2, 3, 6, "b", ("mul", "b", 2), ("add", "b", 1)]), st.sampled_from([1, 2, "b"]))
def test_operators_compute_exact_quotients(tree: Tree, by: Tree, times: Tree) -> None:
    """Where there is a rest no model runs."""
    top = ("mul", tree, times)
    q = dims.exact_div(build(top), build(by))
    for sizes, (a, b) in computable(top, by):
        if q is not None and b and a % b == 0:
            found = recomputed(q, sizes)
            assert found is None or found == a // b, f"{q} for {sizes}"


@pytest.mark.parametrize(
    ("d", "operation"),
    [
        (4, None), ("a", None), (None, None),
        (dims.add("a", 1), ("Add", ("a", 1))),
        (dims.sub("a", 1), ("Add", ("a", -1))),
        (dims.sub("a", "b"), ("Sub", ("a", "b"))),
        (dims.mul("a", 2), ("Mul", ("a", 2))),
        (dims.mul("a", "a"), ("Mul", ("a", "a"))),
        (dims.floordiv("a", 2), ("Div", ("a", 2))),
        (dims.floordiv(dims.sub("a", 1), 2), ("Add", (dims.floordiv(dims.add("a", 1), 2), -1))),  # of -1 Div makes 0
        (dims.floordiv(dims.sub("a", "b"), 2), None),
        (dims.exact_div(dims.mul("a", "b"), 2), ("Div", (dims.mul("a", "b"), 2))),
        (dims.mod("a", 3), ("Sub", ("a", dims.mul(3, dims.floordiv("a", 3))))),
        (dims.maximum("a", 1), ("Max", (1, "a"))),
        (dims.minimum("a", "b"), ("Min", ("a", "b"))),
        (dims.broadcast_dims("a", "b"), None),
    ],
)  # fmt: skip
def test_operation_of(d: Dim, operation: Any) -> None:
    found = operation_of(d)
    if found is not None and found[0] in ("Max", "Min"):
        found = found[0], tuple(sorted(found[1], key=str))
    assert found == operation


def test_long_expressions() -> None:
    short = dims.floordiv(dims.add("a", 3), 2)
    long: Dim = 0
    for i in range(300):
        long = dims.add(long, f"n{i}")
    assert not dims.too_long(short)
    assert dims.too_long(long)
    assert not any(map(dims.too_long, (None, 3, "a")))


def test_order_of_what_tells_most() -> None:
    order = [3, "a", dims.add("a", 1), dims.add(dims.floordiv("a", 2), "b"), "?1", dims.add("?1", 1), None]
    assert sorted(order, key=dims.complexity) == order


@pytest.mark.parametrize(
    ("d", "anonymous", "names"),
    [
        (3, False, ""), ("a", False, "a"), ("?1", True, "?1"), (dims.add("a", "b"), False, "a b"), (dims.add("?2", "b"), True, "?2 b"),
        (None, True, ""),
    ],
)  # fmt: skip
def test_names(d: Dim, anonymous: bool, names: str) -> None:
    assert dims.is_anonymous(d) is anonymous
    assert dims.names_in(d) == set(names.split())
