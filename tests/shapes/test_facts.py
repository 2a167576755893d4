"""What a model teaches about its dims: which are equal, where that holds, and what is never concluded."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt import load
from graphopt.ir import Dim, Model
from graphopt.shapes import Facts, dims, infer_model
from tests.ir.building import parse, with_constants


# ---------------------------------------------------------------------------------------------------------- by itself
@pytest.mark.parametrize(
    ("a", "b", "better"),
    [
        (3, 3, 3),
        ("N", "N", "N"),
        (None, 3, 3),
        ("N", None, "N"),
        (None, None, None),
        ("?1", 3, 3),
        ("?1", "N", "N"),
        ("?1", dims.add("N", 1), dims.add("N", 1)),
        ("N", dims.mul("M", 2), "N"),
        (dims.add("N", 1), dims.add(dims.mul("M", 2), 1), dims.add("N", 1)),
    ],
)
def test_the_one_that_tells_more(a: Dim, b: Dim, better: Dim) -> None:
    assert Facts().equate(a, b) == better
    assert Facts().equate(b, a) == better


def test_what_was_made_up_becomes_what_it_is() -> None:
    facts = Facts()
    a, b, c = facts.fresh(), facts.fresh(), facts.fresh()
    assert len({a, b, c}) == facts.made == 3
    assert not facts.learnt
    assert not facts.knows_anything
    facts.equate(a, 4)
    facts.equate(b, "N")
    facts.equate(c, dims.floordiv("N", 2))
    assert facts.learnt
    assert facts.knows_anything
    assert facts.canonical_shape((a, b, c, 7, "M", None)) == (4, "N", dims.floordiv("N", 2), 7, "M", None)
    assert facts.canonical(dims.add(dims.mul(a, "M"), b)) == dims.add(dims.mul("M", 4), "N")


def test_chains() -> None:
    """What stands for something that stands for something else, in any order."""
    facts = Facts()
    a, b, c = facts.fresh(), facts.fresh(), facts.fresh()
    facts.equate(a, b)
    facts.equate(b, c)
    facts.equate(a, 5)
    assert facts.canonical_shape((a, b, c)) == (5, 5, 5)
    facts = Facts()
    a, b = facts.fresh(), facts.fresh()
    facts.equate(a, dims.add(b, 1))
    facts.equate(b, "N")
    assert facts.canonical(a) == dims.add("N", 1)


def test_expressions_that_are_others() -> None:
    facts = Facts()
    facts.equate(dims.mul("M", 2), "N")
    assert facts.canonical(dims.mul("M", 2)) == "N"
    assert facts.canonical("N") == "N"


def test_an_expression_is_not_put_into_itself() -> None:
    facts = Facts()
    a = facts.fresh()
    facts.equate(a, dims.floordiv(dims.add(a, 3), 2))
    assert dims.names_in(facts.canonical(a)) == {a}
    facts.equate(a, 3)
    assert facts.canonical(a) == 3


def test_declared_names_never_become_numbers() -> None:
    """A model that can run with one size only may still declare that it takes any; callers are not told otherwise."""
    facts = Facts()
    assert facts.equate("N", 4) == 4
    assert facts.canonical("N") == "N"
    assert facts.canonical_shape(("N", dims.add("N", 1))) == ("N", dims.add("N", 1))


def test_declared_names_never_become_numbers_by_and_by() -> None:
    facts = Facts()
    a = facts.fresh()
    facts.equate(dims.add(a, "N"), 3)
    facts.equate(a, 0)
    assert facts.canonical("N") == "N"


@pytest.mark.parametrize(
    ("a", "b"), [(2, 3), ("N", -1), (dims.add("N", 1), 0), (dims.add("N", 1), "N"), (dims.mod("N", 4), 4)]
)
def test_contradictions(a: Dim, b: Dim) -> None:
    facts = Facts()
    for pair in ((a, b), (b, a)):
        with pytest.raises(ValueError, match="must be equal"):
            facts.equate(*pair)
    assert not facts.learnt
    assert not facts.conflicts


def test_contradictions_that_come_with_what_is_known() -> None:
    facts = Facts()
    a, b = facts.fresh(), facts.fresh()
    facts.equate(a, 2)
    facts.equate(b, dims.add("N", 5))
    for other in (3, b):
        with pytest.raises(ValueError, match="must be equal"):
            facts.equate(a, other)
    assert facts.canonical(a) == 2


@pytest.mark.contradicts
def test_a_copy_knows_the_same_and_keeps_to_itself() -> None:
    facts = Facts()
    a, b = facts.fresh(), facts.fresh()
    facts.equate(a, 2)
    facts.conflict("one")
    other = facts.copy()
    other.equate(b, 3)
    other.conflict("two")
    other.fresh()
    assert other.canonical_shape((a, b)) == (2, 3)
    assert facts.canonical_shape((a, b)) == (2, b)
    assert (facts.conflicts, other.conflicts) == (["one"], ["one", "two"])
    assert facts.made == 2


def test_inside_a_scope_only_what_was_made_in_it_is_bound() -> None:
    facts = Facts()
    outer = facts.fresh()
    facts.scope = facts.made
    inner = facts.fresh()
    assert facts.equate(outer, 2) == 2
    assert facts.equate(dims.mul("M", 2), "N") == "N"
    facts.equate("M", "N")
    facts.equate(inner, 3)
    facts.scope = None
    assert facts.canonical_shape((outer, inner, "M", dims.mul("M", 2))) == (outer, 3, "M", dims.mul("M", 2))


def test_a_scope_binds_its_own_to_what_is_outside() -> None:
    facts = Facts()
    outer = facts.fresh()
    facts.scope = facts.made
    inner = facts.fresh()
    facts.equate(outer, inner)
    facts.scope = None
    assert facts.canonical_shape((outer, inner)) == (outer, outer)


def test_names_that_escape() -> None:
    facts = Facts()
    before = facts.fresh()
    since = facts.made
    after = facts.fresh()
    assert [facts.escapes(d, since) for d in (1, "N", before, dims.add(before, "N"))] == [False] * 4
    assert [facts.escapes(d, since) for d in (after, dims.mul(after, before), None)] == [True] * 3


def test_elements() -> None:
    facts = Facts()
    a = facts.fresh()
    array = np.array([[a, 1], [None, dims.add(a, 1)]], object)
    assert facts.canonical_elements(array) is array, "nothing is copied where nothing changes"
    facts.equate(a, 4)
    assert facts.canonical_elements(array).tolist() == [[4, 1], [None, 5]]
    assert array[0, 0] == a


Equation = tuple[Dim, Dim]
PARTS: st.SearchStrategy[Dim] = st.one_of(
    st.sampled_from(["?1", "?2", "?3", "?4", "N", "M"]),
    st.integers(0, 4),
    st.sampled_from(
        [dims.add("?1", 1), dims.mul("?2", 2), dims.floordiv("?3", 2), dims.add("N", "?4"), dims.mul("N", 2), dims.maximum("?1", "M")]
    ),
)  # fmt: skip


@settings(max_examples=300)
@given(
    st.lists(st.tuples(PARTS, PARTS), max_size=8),
    st.fixed_dictionaries({n: st.integers(0, 4) for n in ("?1", "?2", "?3", "?4", "N", "M")}),
    st.lists(PARTS, max_size=4),
)
def test_what_is_learnt_holds_where_the_equations_hold(
    equations: list[Equation], sizes: dict[str, int], asked: list[Dim]
) -> None:
    """For sizes that solve all equations no dim changes its number, and nothing is contradicted."""

    def number(d: Dim) -> Dim:
        return dims.substitute(d, dict(sizes))

    facts = Facts()
    for _ in range(4):
        facts.fresh()
    for a, b in equations:
        if number(a) == number(b):
            better = facts.equate(a, b)
            assert number(better) == number(a)
    for d in (*asked, *sizes, *(d for e in equations for d in e)):
        found = facts.canonical(d)
        assert number(found) == number(d), f"{d} became {found}"
        assert d not in ("N", "M") or not isinstance(found, int)


# ------------------------------------------------------------------------------------------------------------ in models
def shapes(proto: ModelProto) -> tuple[Model, dict[str, Any]]:
    """The model, and the shapes of its inputs and of what its nodes compute."""
    m = load(proto)
    infer_model(m)
    return m, {v.name: v.shape for v in m.graph.inputs} | {
        v.name: v.shape for g in m.graph.subgraphs() for n in g for v in n.outputs if v is not None
    }


def test_operands_teach() -> None:
    """MatMul, Concat and the like can only run where dims are equal; whatever was made of them before learns it too."""
    m, found = shapes(
        with_constants(
            "g (float[?, ?] x, float[?, 5] z) => (float[A, B] y, float[C, D] w) { a = Transpose(x) y = MatMul(x, k) w = Concat<axis=0>(x, z) }",
            k=np.ones((3, 4), np.float32),
        )
    )
    assert m.facts is not None
    assert m.facts.refused or m.facts.conflicts, "3 is not 5"
    m, found = shapes(
        with_constants(
            "g (float[?, ?] x, float[?, 3] z) => (float[A, B] y, float[C, D] w) { a = Transpose(x) w = Concat<axis=0>(x, z) y = MatMul(x, k) }",
            k=np.ones((3, 4), np.float32),
        )
    )
    assert m.facts is not None
    assert not m.facts.refused and not m.facts.conflicts
    assert found["x"][1] == found["w"][1] == 3
    assert found["a"] == (3, found["x"][0])


@pytest.mark.parametrize("name", ["N", "batch"])
def test_names_of_inputs_stay(name: str) -> None:
    m, found = shapes(
        with_constants(
            f"g (float[M, {name}] x) => (float[A, B] y) {{ a = Relu(x) y = MatMul(x, k) }}",
            k=np.ones((3, 4), np.float32),
        )
    )
    assert found["x"] == found["a"] == ("M", name)
    assert found["y"] == ("M", 4)


def test_names_of_inputs_may_turn_out_to_be_the_same() -> None:
    m, found = shapes(
        parse("g (float[N, 2] x, float[M, 3] y) => (float[A, B] z) { z = Concat<axis=1>(x, y) a = Relu(y) }")
    )
    assert found["z"][1] == 5
    assert found["z"][0] == found["a"][0] in ("N", "M")


BRANCHES = """g (bool c, float[?, ?] x) => (float[?, ?] y, float[?, ?] z) <float[3, 4] k = {1,1,1,1,1,1,1,1,1,1,1,1}> {
    a = Relu(x)
    y = If (c) <
        then_branch = t () => (float[E, F] t_out) { t_out = MatMul(a, k) },
        else_branch = e () => (float[G, H] e_out) { e_out = Neg(x) }
    >
    z = Abs(a)
}"""


def test_what_a_branch_teaches_does_not_leave_it() -> None:
    """The other branch runs with any size."""
    m, found = shapes(parse(BRANCHES))
    assert m.facts is not None
    x = found["x"]
    assert all(isinstance(d, str) for d in x)
    assert found["a"] == found["e_out"] == found["z"] == x
    assert found["t_out"] == (x[0], 4)
    assert found["y"][0] == x[0] and not isinstance(found["y"][1], int)
    assert not m.facts.conflicts


def test_branches_may_teach_opposite_things() -> None:
    proto = parse(BRANCHES.replace("e_out = Neg(x)", "e_out = MatMul(x, j)"), check=False)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((7, 4), np.float32), "j"))
    onnx.checker.check_model(proto)
    m, found = shapes(proto)
    x = found["x"]
    assert m.facts is not None
    assert not m.facts.conflicts and not m.facts.refused
    assert all(isinstance(d, str) for d in x)
    assert found["y"] == (x[0], 4)


def test_what_the_outside_teaches_holds_in_branches() -> None:
    proto = parse(BRANCHES.replace("z = Abs(a)", "z = MatMul(a, k)"))
    m, found = shapes(proto)
    x = found["x"]
    assert x[1] == 3
    assert found["e_out"] == (x[0], 3)
    assert found["a"] == (x[0], 3)


def test_a_loop_that_may_not_run_teaches_nothing() -> None:
    m, found = shapes(
        with_constants(
            """g (int64 n, bool go, float[?, ?] x) => (float[?, ?] y, float[?, ?] z) {
            y = Loop (n, go, x) <body = b (int64 i, bool cond, float[E, F] v) => (bool cond_out, float[G, H] v_out) {
                cond_out = Identity(cond) p = MatMul(v, k) q = MatMul(x, k) s = Add(p, q) v_out = Identity(s)
            }>
            z = Relu(x)
        }""",
            k=np.ones((3, 3), np.float32),
        )
    )
    x = found["x"]
    assert all(isinstance(d, str) for d in x)
    assert found["z"] == x
    assert found["y"] is None or not isinstance(found["y"][1], int)


def test_nothing_is_learnt_from_what_may_broadcast() -> None:
    m, found = shapes(parse("g (float[?, ?] x, float[?, ?] z) => (float[A, B] y) { y = Add(x, z) a = Relu(x) }"))
    assert m.facts is not None
    assert not m.facts.knows_anything
    assert not set(found["x"]) & set(found["z"])


def test_declared_names_of_outputs_are_taken_where_nothing_else_is_known() -> None:
    proto = parse("g (float[N] x) => (int64[R, found] y) { y = NonZero(x) }")
    _, out = shapes(proto)
    assert out["y"] == (1, "found")
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "N"
    _, out = shapes(proto)
    assert out["y"][1] != "N", "a name of an input may be a mistake"


def test_contradictions_in_a_model_are_noted_and_nothing_is_raised() -> None:
    m, found = shapes(
        parse(
            "g (float[2, N] x, float[3, N] z) => (float[A, B] y) { a = Concat<axis=1>(x, z) y = Relu(a) }", check=False
        )
    )
    assert m.facts is not None
    (node,) = m.facts.refused
    assert node.op == "Concat"
    assert found["y"] is None or len(found["y"]) == 2
    assert any("Concat" in r for r in m.facts.reasons.values())


def test_broadcasts_that_turn_out_to_be_impossible_raise_nothing() -> None:
    """What x and z broadcast to is part of a sum when it is learnt that they are 2 and 3."""
    m, found = shapes(
        with_constants(
            """g (float[?, ?] x, float[?, ?] z) => (float[?, ?] u, float[?, ?] v, float[?, ?] w) {
            a = Add(x, z) w = Concat<axis=1>(a, a) b = Concat<axis=0>(w, w) u = MatMul(x, k) v = MatMul(z, j) }""",
            k=np.ones((2, 2), np.float32),
            j=np.ones((3, 3), np.float32),
        )
    )
    assert found["u"][1] == 2
    assert found["v"][1] == 3


@pytest.mark.parametrize(
    "op",
    ["Relu", "Add", "MatMul", "Reshape", "Concat", "Shape", "Cast<to=1>", "Transpose", "If", "Conv", "Where", "Slice"],
)
@pytest.mark.parametrize("inputs", ["", ", x", "x, ,"])
def test_nodes_that_lack_an_input_raise_nothing(op: str, inputs: str) -> None:
    """A checker refuses them; here nothing is known of what they give."""
    m, found = shapes(parse(f"g (float[2] x) => (float[2] y) {{ y = {op}({inputs}) z = Relu(x) }}", check=False))
    assert found["z"] == (2,)
