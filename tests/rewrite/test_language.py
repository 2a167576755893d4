"""`@rule`: what a body may say, how it is read, and what is refused at once."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphopt.errors import GraphoptError, RuleError
from graphopt.rewrite import (
    Attrs,
    Axis,
    Const,
    Dim,
    Float,
    Floats,
    Int,
    Ints,
    Maybe,
    Perm,
    Rule,
    Str,
    Tensor,
    any_of,
    domain,
    maybe,
    op,
    rule,
)
from graphopt.rewrite.annotations import Kind, parse_dims
from graphopt.rewrite.terms import Call, Constant, Leaf
from tests.ir.building import parse, rewrite, with_constants

#: What a rule's module has imported.
NAMES: dict[str, Any] = {
    "Attrs": Attrs, "Axis": Axis, "Const": Const, "Dim": Dim, "Float": Float, "Floats": Floats, "Int": Int, "Ints": Ints,
    "Maybe": Maybe, "Perm": Perm, "Str": Str, "Tensor": Tensor, "any_of": any_of, "domain": domain, "maybe": maybe, "op": op,
    "rule": rule, "np": np,
}  # fmt: skip


def make(text: str, future: bool = True, **names: Any) -> Rule:
    """A rule from its source, with or without postponed annotations."""
    scope = {**NAMES, **names, "__name__": __name__}
    exec(compile(text, "<rule>", "exec", flags=0x1000000 if future else 0, dont_inherit=True), scope)
    return next(r for r in scope.values() if isinstance(r, Rule))


def kind(annotation: str, future: bool = True, **names: Any) -> Kind:
    body = f"@rule\ndef r(x: {annotation}):\n    yield op.Relu(x)\n    yield x"
    return make(body, future, **names).kinds["x"]


# ------------------------------------------------------------------- annotations
@pytest.mark.parametrize("future", [False, True])
@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("Tensor", Kind()),
        ("Const", Kind("const")),
        ("Maybe[Const]", Kind("const", optional=True)),
        ("Maybe[Tensor]", Kind(optional=True)),
        ("'N C H W'", Kind(dims=("N", "C", "H", "W"))),
        ("'N'", Kind(dims=("N",))),
        ("'1'", Kind(dims=("1",))),
        ("'1 C 1 1'", Kind(dims=("1", "C", "1", "1"))),
        ("'... C'", Kind(dims=("...", "C"))),
        ("'...'", Kind(dims=("...",))),
        ("'_ _ C'", Kind(dims=("_", "_", "C"))),
        ("''", Kind(dims=())),
        ("'np'", Kind(dims=("np",))),
        ("'rule op'", Kind(dims=("rule", "op"))),
        ("Const['C 1 1']", Kind("const", dims=("C", "1", "1"))),
        ("Maybe[Const['C']]", Kind("const", optional=True, dims=("C",))),
        ("Maybe['N C']", Kind(optional=True, dims=("N", "C"))),
        ("Maybe['1']", Kind(optional=True, dims=("1",))),
        ("Tensor['N C']", Kind(dims=("N", "C"))),
        ("'Const'", Kind("const")),
    ],
)
def test_annotations_of_tensors(annotation: str, expected: Kind, future: bool) -> None:
    assert kind(annotation, future) == expected


@pytest.mark.parametrize("future", [False, True])
@pytest.mark.parametrize("name", ["Int", "Ints", "Float", "Floats", "Str", "Axis", "Perm"])
def test_annotations_of_attributes(name: str, future: bool) -> None:
    text = f"@rule\ndef r(x, a: {name}, b: Maybe[{name}]):\n    yield op.Foo(x, a=a, b=b)\n    yield x"
    expected = name.lower()
    assert make(text, future).kinds == {
        "x": Kind(),
        "a": Kind("attr", expected),
        "b": Kind("attr", expected, optional=True),
    }


@pytest.mark.parametrize("future", [False, True])
def test_the_other_annotations(future: bool) -> None:
    text = (
        "@rule\ndef r(x: 'N C', N: Dim, attrs: Attrs, *xs):\n    yield op.Concat(op.Foo(x, **attrs), *xs)\n    yield x"
    )
    assert [k.role for k in make(text, future).kinds.values()] == ["tensor", "dim", "attrs", "variadic"]


@pytest.mark.parametrize("future", [False, True])
@pytest.mark.parametrize(
    "annotation",
    [
        "int",
        "np.ndarray",
        "3.5",
        "True",
        "None",
        "'N-C'",
        "'N ... C'",
        "'N, C'",
        "'(N)'",
        "[Const]",
        "Maybe[int]",
        "'2x'",
    ],
)
def test_no_annotations(annotation: str, future: bool) -> None:
    with pytest.raises(RuleError):
        kind(annotation, future)


@pytest.mark.parametrize(("annotation", "dims"), [("N", "N"), ("_", "_"), ("...", "..."), ("1", "1")])
def test_shapes_without_quotes(annotation: str, dims: str) -> None:
    """Where annotations are postponed, formatters take quotes off what reads like an expression."""
    assert kind(annotation, N=3).dims == (dims,)
    if dims not in ("...", "1"):
        assert kind(f"Const[{annotation}]", N=3) == Kind("const", dims=(dims,))
        assert kind(f"Maybe[{annotation}]", N=3) == Kind(optional=True, dims=(dims,))


def test_names_that_nobody_knows() -> None:
    """A slip of the pen may not become the shape of a vector."""
    with pytest.raises(RuleError, match="Consst"):
        kind("Consst")
    with pytest.raises(RuleError, match="Foo"):
        kind("Maybe[Foo]")
    with pytest.raises(NameError):
        kind("Consst", future=False)


def test_shapes_do_not_depend_on_names_in_the_module() -> None:
    for future in (False, True):
        assert kind("'N'", future, N=3).dims == ("N",)
        assert kind("'N C'", future, N=3, C=Const).dims == ("N", "C")


def test_annotations_that_a_closure_holds() -> None:
    mine = Const["C"]

    @rule
    def r(x, w: mine):
        yield op.Add(x, w)
        yield mine and x

    assert r.kinds["w"].dims == ("C",)


@pytest.mark.parametrize("text", ["N C H W", "...", "... 1", "_", "batch_size 3 224", ""])
def test_shapes(text: str) -> None:
    assert parse_dims(text) == tuple(text.split())


# ------------------------------------------------------------------------- bodies
def test_what_a_rule_knows() -> None:
    @rule
    def gelu(x):
        """Recognises the exact form of Gelu."""
        yield 0.5 * x * (1 + op.Erf(x / np.sqrt(2)))
        yield op.Gelu(x)

    assert gelu.name == "gelu"
    assert gelu.doc == "Recognises the exact form of Gelu."
    assert not gelu.exact and not gelu.always and not gelu.builtin
    assert gelu.family == "test_language"
    assert gelu.where.startswith(__file__)
    assert gelu.equation == "((0.5 * x) * (1 + Erf((x / 1.41421))))  ->  Gelu(x)"
    assert repr(gelu) == f"<rule gelu: {gelu.equation}>"
    assert [v.op for v in gelu.variants] == ["Mul"]


def test_arguments_of_the_decorator() -> None:
    @rule(exact=True, always=True)
    def r(x):
        yield op.Relu(x)
        yield x

    assert r.exact and r.always


def test_equations() -> None:
    ms = domain("com.microsoft")

    @rule
    def several(x, w: Const, p: Ints, attrs: Attrs, *xs):
        a, b = op.Split(x, axis=1, outputs=2)
        yield op.Concat(-a, b - w, any_of(x, op.Neg(x)), ms.Gelu(x, **attrs), op.Transpose(x, perm=p), *xs, axis=-1)
        if x.rank == 2:
            return
        yield op.Foo(x)
        yield op.Bar(x) + w

    left = (
        "Concat(-Split(x, axis=1)[0], (Split(x, axis=1)[1] - w), (x | -x), "
        "com.microsoft::Gelu(x, **attrs), Transpose(x, perm=p), *xs, axis=-1)"
    )
    assert several.equation == f"{left}  ->  Foo(x)  or  Bar(x) + w"


def test_equation_without_source() -> None:
    text = "@rule\ndef r(x):\n    yield op.Relu(op.Relu(x))\n    yield op.Relu(x)"
    assert make(text).equation == "Relu(Relu(x))  ->  ..."


def test_all_arithmetic() -> None:
    @rule
    def r(x, y):
        yield -(((x + y) - 1) * (2 / x) ** (y @ x) + (1 - y) * (3 + y) / (x**2) + (2**x) + 4 * y)
        yield x

    assert {c.op for c in r.variants[0].calls} == {"Neg", "Add", "Sub", "Mul", "Div", "Pow", "MatMul"}


def test_arrays_on_the_left_of_a_term() -> None:
    w = np.array([1.0, 2.0])

    @rule
    def r(x):
        yield w * x + op.Foo(w - x, w / x, w**x, w @ x, np.float32(2) * x, w + x)
        yield x

    assert [c.op for c in r.variants[0].calls] == ["Add", "Mul", "Foo", "Sub", "Div", "Pow", "MatMul", "Mul", "Add"]
    assert all(c.args[0] is w for c in r.variants[0].calls if c.op in ("Sub", "Div", "Pow", "MatMul"))


def test_alternatives_are_written_out() -> None:
    @rule
    def r(x, y):
        yield op.Add(any_of(op.Relu(x), op.Neg(x), x), maybe(op.Cast)(y, to=1))
        yield x

    assert len(r.variants) == 6
    wanted = {("Add", *a, *b) for a in (("Relu",), ("Neg",), ()) for b in (("Cast",), ())}
    assert {tuple(c.op for c in v.calls) for v in r.variants} == wanted


def test_one_alternative_used_twice_is_decided_once() -> None:
    @rule
    def r(x):
        a = any_of(op.Relu(x), op.Neg(x))
        yield op.Add(a, a)
        yield x

    assert [tuple(c.op for c in v.calls) for v in r.variants] == [("Add", "Relu"), ("Add", "Neg")]


def test_alternatives_at_the_root_and_within_each_other() -> None:
    @rule
    def r(x):
        yield any_of(op.Relu(any_of(op.Sin(x), op.Cos(x))), op.Neg(x))
        yield x

    assert sorted(tuple(c.op for c in v.calls) for v in r.variants) == [("Neg",), ("Relu", "Cos"), ("Relu", "Sin")]
    assert {v.op for v in r.variants} == {"Relu", "Neg"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("(x):\n    return op.Relu(x)", "generator"),
        ("(x):\n    return\n    yield x", "before its first yield"),
        ("(x):\n    yield x\n    yield x", "must be an operator applied to something"),
        ("(x):\n    yield 3\n    yield x", "must be an operator"),
        ("(x):\n    yield ()\n    yield x", "must be an operator"),
        ("(x):\n    yield None\n    yield x", "must be an operator"),
        ("(x, y):\n    yield op.Relu(x)\n    yield y", "'y' does not appear"),
        ("(x, n: Dim):\n    yield op.Relu(x)\n    yield x", "'n' does not appear"),
        ("(x, a: Ints):\n    yield op.Relu(x)\n    yield x", "'a' does not appear"),
        ("(x, **kw):\n    yield op.Relu(x)\n    yield x", "Attrs instead of"),
        ("(x):\n    if x:\n        yield op.Relu(x)\n    yield x", "truth value"),
        ("(x):\n    n = x.shape\n    yield op.Relu(x)\n    yield x", "shape"),
        ("(x):\n    yield op.Relu(x) + 1 / 0\n    yield x", "division by zero"),
    ],
)
def test_bodies_that_are_refused(body: str, message: str) -> None:
    with pytest.raises(RuleError, match=message) as e:
        make(f"@rule\ndef r{body}")
    assert "rule" in str(e.value)
    assert isinstance(e.value, GraphoptError)


def test_private_names_are_no_operators() -> None:
    with pytest.raises(AttributeError):
        _ = op.__wrapped__
    with pytest.raises(AttributeError):
        _ = domain("x")._hidden


# -------------------------------------------------------------------- the matched
def test_matched_values() -> None:
    seen: dict[str, Any] = {}

    @rule
    def r(x: "N C", w: Const, N: Dim):
        inner = op.Mul(x, w)
        yield op.Relu(inner)
        seen.update(x=(x.shape, x.rank, x.dtype, x.is_const, x.uses), n=N, types=(type(x), type(w), type(inner)))
        seen.update(inner=(inner.shape, inner.rank, inner.dtype, inner.uses), leaf=repr(x), text=repr(w))
        seen.update(w=(w.shape, w.ndim, w.rank, w.size, w.onnx_dtype, w.uses, w.item(), len(w)))
        return "seen"
        yield x

    rewrite(parse("g (float[N, 2] a) => (float[N, 2] y) <float[2] k = {1, 3}> { b = Mul(a, k) y = Relu(b) }"), r)
    assert seen["x"] == (("N", 2), 2, 1, False, 1)
    assert seen["n"] == "N"
    assert seen["inner"] == (("N", 2), 2, 1, 1)
    assert seen["w"] == ((2,), 1, 1, 2, 1, 1, None, 2)
    assert seen["types"] == (Leaf, Constant, Call)
    assert (seen["leaf"], seen["text"]) == ("Leaf('a')", "Constant('k', shape=(2,))")


def calculate(v: Any, w: Any) -> list[Any]:
    return [
        v + w, 2 * v, v - 1, 1 - v, v / w, v**2, v @ w, w @ np.ones(2, np.float32), np.ones(2, np.float32) @ w, -v, abs(v), v[0],
        np.sqrt(v), v > 1, (v == w).all(), (v == v).all(), v.sum(), v.T, v.reshape(1, 2), np.maximum(v, w), v.mean(), np.asarray(v),
        np.asarray(v, np.float64), np.array(v), list(v), np.concatenate([v, w]), np.add.reduce(v), v.astype(np.float16),
    ]  # fmt: skip


def test_constants_calculate_like_arrays() -> None:
    seen: list[Any] = []

    @rule
    def r(x, v: Const, w: Const):
        yield op.Add(op.Mul(x, v), w)
        seen.extend(calculate(v, w))
        return "seen"
        yield x

    text = "g (float[2] a) => (float[2] y) <float[2] k = {1, 3}, float[2] l = {2, 4}> { b = Mul(a, k) y = Add(b, l) }"
    rewrite(parse(text), r)
    for got, wanted in zip(seen, calculate(np.float32([1, 3]), np.float32([2, 4])), strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert np.asarray(got).dtype == np.asarray(wanted).dtype


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats_appear_as_float32(dtype: str) -> None:
    seen: list[Any] = []

    @rule
    def r(x, w: Const):
        yield op.Mul(x, w)
        seen.append((np.asarray(w).dtype, (w + 1).dtype, w.onnx_dtype, w.item()))
        return "seen"
        yield x

    k = np.array(1.5).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16)
    rewrite(with_constants(f"g ({dtype}[2] a) => ({dtype}[2] y) {{ y = Mul(a, k) }}", k=k), r)
    assert seen[0][:2] == (np.float32, np.float32)
    assert seen[0][3] == 1.5
    assert seen[0][2] == {"float16": 10, "bfloat16": 16}[dtype]


def test_what_nothing_is_known_about() -> None:
    call = op.Relu(Call("Neg", ()))
    for ask in ("shape", "rank", "dtype", "uses"):
        with pytest.raises(RuleError, match="not part of what was matched"):
            getattr(call, ask)
    with pytest.raises(RuleError, match="truth value"):
        bool(call)
