"""Dims as text: what exporters write is read, what is written is read back, and nothing in a file is ever evaluated."""

from __future__ import annotations

import builtins
import importlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import onnx
import pytest
import sympy
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import graphopt
from graphopt.ir import Dim
from graphopt.shapes import TypeInfo, dims, text
from graphopt.shapes.types import type_info, type_proto
from tests.ir.building import parse
from tests.shapes.test_expressions import SIZES, TREES, CannotRun, Sizes, Tree, build, compute, value

FLOAT = onnx.TensorProto.FLOAT
#: Longer than anything here may take, shorter than what a bad text can take.
SECONDS = 10


@contextmanager
def soon() -> Iterator[None]:
    """Fail where something takes too long; a text that is short may not keep anybody busy."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"not done after {SECONDS} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ------------------------------------------------------------------------------------------------------ what is written
@pytest.mark.parametrize(
    ("spelling", "dim"),
    [
        ("4", 4),
        ("batch", "batch"),
        (" batch ", "batch"),
        ("past + seq", dims.add("past", "seq")),
        ("past+seq", dims.add("past", "seq")),
        ("past_sequence_length + 1", dims.add("past_sequence_length", 1)),
        ("s0 - 1", dims.sub("s0", 1)),
        ("2*s0", dims.mul("s0", 2)),
        ("s0*s1", dims.mul("s0", "s1")),
        ("s0**2", dims.mul("s0", "s0")),
        ("-s0**2 + s1", dims.sub("s1", dims.mul("s0", "s0"))),
        ("(s0//2)", dims.floordiv("s0", 2)),
        ("((s0 + 1)//2)", dims.ceildiv("s0", 2)),
        ("s0//2//3", dims.floordiv("s0", 6)),
        ("s0 % 2", dims.mod("s0", 2)),
        ("Mod(s0, 2)", dims.mod("s0", 2)),
        ("PythonMod(s0, 2)", dims.mod("s0", 2)),
        ("floor(height/2)", dims.floordiv("height", 2)),
        ("floor(height/2 - 1/2) + 1", dims.ceildiv("height", 2)),
        ("floor(height/2 + 1/2)", dims.ceildiv("height", 2)),
        ("floor((height - 1)/2) + 1", dims.ceildiv("height", 2)),
        ("floor(floor(h/2 - 1/2)/2 + 1/2) + 1", dims.add(dims.floordiv(dims.add(dims.floordiv(dims.sub("h", 1), 2), 1), 2), 1)),
        ("ceiling(height/2)", dims.ceildiv("height", 2)),
        ("FloorToInt(h/4)", dims.floordiv("h", 4)),
        ("CeilToInt(h/4)", dims.ceildiv("h", 4)),
        ("Max(1, s0)", dims.maximum("s0", 1)),
        ("Max(1, s0, s1)", dims.maximum(dims.maximum("s0", 1), "s1")),
        ("Min(512, s0)", dims.minimum("s0", 512)),
        ("max(1, s0)", dims.maximum("s0", 1)),
        ("FloorDiv(s0, 2)", dims.floordiv("s0", 2)),
        ("CleanDiv(s0, 2)", dims.floordiv("s0", 2)),
        ("CeilDiv(s0, 2)", dims.ceildiv("s0", 2)),
        ("Max(0, s0 - 3)", dims.maximum(dims.sub("s0", 3), 0)),
        ("broadcast(a, b)", dims.broadcast_dims("a", "b")),
        ("batch*seq/4", dims.exact_div(dims.mul("batch", "seq"), 4)),
        ("batch*(seq/4)", dims.exact_div(dims.mul("batch", "seq"), 4)),
        ("a*b/b", "a"),
        ("4*seq/4", "seq"),
        ("12/4", 3),
        ("floor(7/2)", 3),
        ("ceiling(7/2)", 4),
        ("-7//2", -4),
        ("7 % 4", 3),
        ("2**3", 8),
        ("2 + 3*4", 14),
        ("(2 + 3)*4", 20),
        ("10 - 4 - 3", 3),
        ("a.b:c + 1", dims.add("a.b:c", 1)),
        ("?7 + 1", dims.add("?7", 1)),
        ("lambda + 1", dims.add("lambda", 1)),
        ("Max + 1", dims.add("Max", 1)),
    ],
)  # fmt: skip
def test_spellings(spelling: str, dim: Dim) -> None:
    found = text.parse(spelling)
    assert found == dim
    assert type(found) is type(dim)


@pytest.mark.parametrize(
    "name", ["E", "I", "N", "S", "Q", "O", "pi", "oo", "zoo", "nan", "None", "True", "lambda", "e1", "gamma", "beta"]
)
def test_words_that_mean_something_elsewhere_are_names(name: str) -> None:
    assert text.parse(name) == name
    doubled = text.parse(f"2*{name} + 1")
    assert doubled == dims.add(dims.mul(name, 2), 1)
    assert dims.names_in(doubled) == {name}
    assert dims.substitute(doubled, {name: 3}) == 7
    written = text.writable(doubled)
    assert written is not None
    assert text.parse(written) == doubled


# ---------------------------------------------------------------------------------------------------------- round trips
@settings(max_examples=200)
@given(TREES, SIZES)
@example(("broadcast", "a", "b"), {"a": 1, "b": 3, "c": 0})
@example(("mod", ("floordiv", ("sub", "a", 3), 2), 4), {"a": 0, "b": 0, "c": 0})
def test_what_is_written_is_read_as_the_same_number(tree: Tree, sizes: Sizes) -> None:
    d = build(tree)
    assume(d is not None)
    shown = text.show(d)
    again = text.parse(shown)
    assert dims.same_dims(again, d) is not False
    try:
        expected = compute(tree, sizes)
    except CannotRun:
        return
    assert value(again, sizes) == expected, f"{shown} for {sizes}"


@settings(max_examples=100)
@given(st.lists(TREES, min_size=1, max_size=3), SIZES)
def test_types_are_written_and_read(trees: list[Tree], sizes: Sizes) -> None:
    trees = [t for t in trees if (d := build(t)) is not None and dims.less(d, 0) is False]
    shape = tuple(map(build, trees))
    again = type_info(type_proto(TypeInfo(FLOAT, (*shape, "?3", "free text", 4, "N"))))
    assert (again.dtype, again.type) == (FLOAT, None)
    assert again.shape is not None
    assert again.shape[len(shape) :] == ("?3", "free text", 4, "N")
    for tree, p, q in zip(trees, shape, again.shape):
        with suppress(CannotRun):
            assert value(q, sizes) == compute(tree, sizes), f"{p} and {q} for {sizes}"


@pytest.mark.parametrize("shape", [None, (), (0,), ("N", dims.add("N", 1)), (dims.floordiv("N", 2), "?1")])
def test_shapes_are_written_and_read(shape: Any) -> None:
    assert type_info(type_proto(TypeInfo(FLOAT, shape))) == TypeInfo(FLOAT, shape)


@pytest.mark.parametrize(
    ("d", "shown", "written"),
    [
        (4, "4", None),
        (None, "?", None),
        ("batch", "batch", "batch"),
        ("batch size", "batch size", "batch size"),
        (dims.add("a", 1), "a + 1", "a + 1"),
        (dims.add(dims.floordiv("height", 2), 1), "floor(height/2) + 1", "floor(height/2) + 1"),
        (dims.add("batch size", 1), "batch size + 1", None),
        (dims.add("a-b", "a"), "a + a-b", None),
        (dims.add("?1", 1), "?1 + 1", None),
        (dims.broadcast_dims("a", "b"), "Max(a, b)*Min(1, a, b)", "Max(a, b)*Min(1, a, b)"),
        (dims.maximum("a", 1), "Max(1, a)", "Max(1, a)"),
        (dims.mod("a", 3), "a - 3*floor(a/3)", "a - 3*floor(a/3)"),
    ],
)
def test_show_and_writable(d: Dim, shown: str, written: str | None) -> None:
    assert text.show(d) == shown
    assert text.writable(d) == written


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0, 1), (1, 0), (1, 1), (1, 5), (5, 1), (5, 5)])
def test_a_broadcast_is_written_in_operators_that_others_know(a: int, b: int) -> None:
    """SymPy itself, which other programs read dims with, computes what the broadcast is."""
    d = dims.broadcast_dims("a", "b")
    written = text.writable(d)
    assert written is not None
    expected = b if a == 1 else a
    assert sympy.sympify(written).subs({"a": a, "b": b}) == expected
    assert dims.substitute(text.parse(written), {"a": a, "b": b}) == expected


# ---------------------------------------------------------------------------------------------------------------- silly
MALICIOUS = [
    '__import__("os").system("x")',
    "__import__('os')",
    "open('/etc/passwd').read()",
    "exec('x')",
    "eval(a)",
    "print(a)",
    "lambda: 0",
    "(lambda: a)()",
    "[a for a in b]",
    "a.__class__.__bases__[0]",
    "getattr(a, b)",
    "a[0]",
    "{a}",
    "a; b",
    "a\nimport os",
    "a = 1",
    "a := 1",
    "a if b else c",
    "not a",
    "a == b",
    "a < b",
    "a & b",
    "a | b",
    "~a",
    "a @ b",
    "a\\b",
    "`a`",
    "a$b",
    "'a'",
    '"a"',
    "f'a'",
    "#",
    "a # b",
    "\0",
    "a\0b",
    "a∧b",
]
UNBALANCED = [
    "(",
    ")",
    "(a",
    "a)",
    "((a)",
    "Max(a",
    "Max(a,",
    "Max(a,)",
    "Max(,a)",
    "()",
    "a +",
    "a + * b",
    "* a",
    "/",
    "**",
    "a **",
    "a b",
    "1 2",
    "1a",
    "a,b",
    ",",
]
NUMBERS = ["1.5", "1e9", "0x10", "1_000", "1j", ".5", "5.", "1/2", "7/3", "a/0", "a//0", "a % 0", "a//-2", "a % -2", "1//0", "1 % 0", "1/a", "a//b", "a % b"]  # fmt: skip
POWERS = ["9**9**9", "2**100", "a**9", "a**-1", "a**b", "2**(1/2)", "a**8**8", "2**2**2**2", "((9**8)**8)**8**8"]
FUNCTIONS = ["f(a)", "sin(a)", "sqrt(a)", "abs(a)", "floor()", "Max()", "floor(a, b)", "ceiling(a, 2)", "broadcast(a)", "broadcast(a, b, c)", "broadcast(2, 3)", "Symbol(a)", "Integer(1)", "a.b(c)", "Piecewise(a)", "(a)(b)", "2(a)", "FloorDiv(a, 0)", "Mod(a, 0)"]  # fmt: skip
DEEP = [
    "(" * 3000 + "a" + ")" * 1000,
    "(" * 200 + "a" + ")" * 200,
    "-" * 3000 + "a",
    "a" + "**1" * 500,
    "floor(" * 500 + "a" + ")" * 500,
    "Max(a, " * 300 + "a" + ")" * 300,
    "2**(" * 100 + "1" + ")" * 100,
    "9" * 4097,
    "a + " * 2000 + "a",
    "a" * 5000,
    " " * 5000,
    "", " ", "\t",
]  # fmt: skip


@contextmanager
def nothing_runs() -> Iterator[None]:
    """Whatever would evaluate text fails the test."""
    text.parse("a + floor(b/2)")  # imports what it needs

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("text was evaluated")

    with pytest.MonkeyPatch.context() as patch:
        for owner, names in (
            (builtins, ("eval", "exec", "compile")),
            (os, ("system", "popen")),
            (subprocess, ("Popen",)),
            (importlib, ("import_module",)),
            (sympy, ("sympify", "parse_expr")),
        ):
            for name in names:
                patch.setattr(owner, name, forbidden)
        yield


@pytest.mark.parametrize(
    "bad", [*MALICIOUS, *UNBALANCED, *NUMBERS, *POWERS, *FUNCTIONS, *DEEP], ids=lambda t: repr(t)[:30]
)
def test_refused(bad: str) -> None:
    with soon(), pytest.raises(ValueError, match="."), nothing_runs():
        text.parse(bad)


@pytest.mark.parametrize(
    "long",
    [
        "9" * 4000,
        "+".join(f"a{i}" for i in range(400)),
        "*".join(["a"] * 2000),
        " + ".join(f"Max(a{i}, b{i})" for i in range(100)),
        "-" * 50 + "a",
        "(" * 30 + "a" + ")" * 30,
    ],
    ids=lambda t: t[:20],
)
def test_what_is_long_but_simple_takes_no_time(long: str) -> None:
    with soon(), nothing_runs():
        assert text.parse(long) is not None


EXPLODING = [
    "*".join(f"(a{i} + b{i})" for i in range(30)),
    "((a + b + c + d)**8)**8",
    "(((a + b)**8)**8)**8",
    "*".join(["(a + b + c + d)"] * 60),
    "Max(" + ", ".join(f"a{i} + 1" for i in range(400)) + ")",
    "Max(" + ", ".join(f"a{i}*(b + {i})" for i in range(200)) + ")",
    "+".join(["floor(" * 30 + "a" + "/2 + b/3)" * 30] * 8),
    "((9**8)**8)**8",
    "*".join(["9" * 100] * 40),
]


@pytest.mark.parametrize("bad", EXPLODING, ids=lambda t: t[:20])
def test_what_explodes_when_it_is_expanded_takes_no_time(bad: str) -> None:
    """A few kilobytes in a file may not keep anybody busy for hours."""
    with soon():
        try:
            text.parse(bad)
        except ValueError:
            return


@pytest.mark.parametrize("of_file", [graphopt.infer_shapes, graphopt.optimize])
def test_a_file_that_explodes_takes_no_time(of_file: Callable[[Any], Any]) -> None:
    proto = parse("g (float[N] x) => (float[M] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = EXPLODING[0]
    with soon():
        m = of_file(proto)
    assert m.graph.inputs[0].shape == (EXPLODING[0],), "what is no expression is a name"


@settings(max_examples=300)
@given(st.text(st.sampled_from("ab1290()+-*/%,. _?:MaxinflordTD\0é"), max_size=25))
def test_any_text(anything: str) -> None:
    """A dim or ValueError, nothing else."""
    with soon():
        try:
            d = text.parse(anything)
        except ValueError:
            return
    assert d is not None
    assert not isinstance(d, float)
    assert text.show(d)


@pytest.mark.parametrize("name", ['__import__("os").system("x")', "9**9**9", "a b", "(", "a" * 5000, "floor(a, b)"])
def test_names_that_are_no_expressions_stay_names(name: str) -> None:
    """In a model, a dim whose text is no expression is a name like any other."""
    proto = parse("g (float[N, a, b] x) => (float[A, B, C] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = name
    graphopt.infer_shapes(parse("g (float[N] x) => (float[A] y) { y = Relu(x) }"))  # imports what it needs
    with nothing_runs():
        m = graphopt.infer_shapes(proto)
    assert m.graph.outputs[0].shape == (name, "a", "b")
