"""An If whose condition is known becomes its branch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from graphopt import load, optimize
from graphopt.ir import Model
from tests.ir import invariants
from tests.ir.building import ops, parse, run, same_bits

X = np.float32([-1, 0.5])


def inline(model: ModelProto, level: int = 1, **kwargs: Any) -> Model:
    """Optimise with this pass alone; the outputs stay the same."""
    before = model.SerializeToString(deterministic=True)
    m = optimize(model, level=level, **({"only": "constant_if"} | kwargs))
    assert model.SerializeToString(deterministic=True) == before
    invariants.check(m)
    onnx.checker.check_model(m.proto, full_check=True)
    feeds = {i.name: X if i.type.tensor_type.elem_type == 1 else np.array(True) for i in model.graph.input}
    assert same_bits(run(m, **feeds), run(model, **feeds))
    return m


def conditional(
    then: str, other: str = "else_branch = e () => (float[2] v) { v = Sin(x) }", yes: bool = True, more: str = ""
) -> ModelProto:
    return parse(
        f"""g (float[2] x, bool c) => (float[2] y) <bool yes = {{{int(yes)}}}> {{
            a = Abs(x)
            z = If (yes) <then_branch = t () => (float[2] u) {{ {then} }}, {other}>
            {more} y = Relu(z)
        }}""",
        check=False,
    )


@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_either_branch(yes: bool, shape: tuple[int, ...]) -> None:
    model = conditional("u = Neg(x)", yes=yes)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full(shape, yes), "yes"))
    m = inline(model)
    assert ops(m) == ["Abs", "Neg" if yes else "Sin", "Relu"]
    (step,) = m.report.steps
    taken, other = ("Neg", "Sin") if yes else ("Sin", "Neg")
    assert step.rule == "constant_if"
    assert [n.op for n in step.before] == ["If", other, taken]
    assert [n.op for n in step.after] == [taken]
    assert step.saved == 2


def test_conditions_that_are_nodes() -> None:
    model = conditional("u = Neg(x)")
    del model.graph.initializer[:]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))))
    assert "If" not in ops(inline(model))


def test_conditions_that_are_computed_from_constants() -> None:
    model = parse(
        """g (float[2] x) => (float[2] y) <int64 k = {3}> {
            s = Size(x) q = Equal(s, k) no = Not(q)
            y = If (no) <then_branch = t () => (float[2] u) { u = Neg(x) }, else_branch = e () => (float[2] v) { v = Sin(x) }>
        }"""
    )
    assert ops(inline(model, only=None)) == ["Neg"]


def test_conditions_that_callers_decide() -> None:
    model = conditional("u = Neg(x)")
    model.graph.node[1].input[0] = "c"
    del model.graph.initializer[:]
    assert ops(inline(model)) == ["Abs", "If", "Relu"]
    overridable = conditional("u = Neg(x)")
    overridable.graph.input.append(helper.make_tensor_value_info("yes", onnx.TensorProto.BOOL, []))
    assert "If" in ops(optimize(overridable, level=1))
    assert "If" not in ops(optimize(overridable, level=1, freeze_inputs=True))


def test_captured_values_and_initializers() -> None:
    model = conditional("p = Add(a, w) u = Mul(p, x)", "else_branch = e () => (float[2] v) { v = Add(a, w2) }")
    for name, branch in (("w", 0), ("w2", 1)):
        g = model.graph.node[1].attribute[branch].g
        if g.name != ("t", "e")[branch]:
            g = model.graph.node[1].attribute[1 - branch].g
        g.initializer.append(numpy_helper.from_array(np.float32([1, branch]), name))
    onnx.checker.check_model(model)
    m = inline(model)
    assert ops(m) == ["Abs", "Add", "Mul", "Relu"]
    assert len(m.graph.initializers) == 1 + ("yes" in {v.name for v in m.graph.initializers})


def test_names_that_both_branches_use() -> None:
    """Each branch may use a name for itself; put side by side they would clash."""
    text = """g (float[2] x) => (float[2] y) <bool yes = {1}> {
        z1 = If (yes) <then_branch = t () => (float[2] u) { p = Neg(x) u = Abs(p) }, else_branch = e () => (float[2] u) { p = Sin(x) u = Cos(p) }>
        z2 = If (yes) <then_branch = t () => (float[2] u) { p = Exp(z1) u = Sqrt(p) }, else_branch = e () => (float[2] u) { p = Sin(x) u = Cos(p) }>
        y = Relu(z2)
    }"""
    m = inline(parse(text))
    assert ops(m) == ["Neg", "Abs", "Exp", "Sqrt", "Relu"]


def test_initializers_of_one_name() -> None:
    text = """g (float[2] x) => (float[2] y) <bool yes = {1}> {
        z1 = If (yes) <then_branch = t () => (float[2] u) { u = Add(x, w) }, else_branch = e () => (float[2] v) { v = Sin(x) }>
        z2 = If (yes) <then_branch = t () => (float[2] u) { u = Add(z1, w) }, else_branch = e () => (float[2] v) { v = Sin(x) }>
        y = Relu(z2)
    }"""
    model = parse(text, check=False)
    for node, value in zip(model.graph.node[:2], (1, 10)):
        branch = next(a.g for a in node.attribute if a.name == "then_branch")
        branch.initializer.append(numpy_helper.from_array(np.float32([value] * 2), "w"))
    onnx.checker.check_model(model)
    m = inline(model)
    assert ops(m) == ["Add", "Add", "Relu"]
    assert sorted(float(t.numpy()[0]) for v, t in m.graph.initializers.items() if v.name != "yes") == [1, 10]


def test_nested() -> None:
    inner = "u = If (%s) <then_branch = tt () => (float[2] p) { q = Neg(a) p = Exp(q) }, else_branch = te () => (float[2] r) { r = Cos(a) }>"
    assert ops(inline(conditional(inner % "yes"))) == ["Abs", "Neg", "Exp", "Relu"]
    m = inline(conditional(inner % "c"))
    assert ops(m) == ["Abs", "If", "Relu"]
    assert m.graph.holders and all(sub.parent is m.graph for n in m.graph.holders for sub in n.subgraphs)
    other = "else_branch = e () => (float[2] v) { v = If (yes) <then_branch = et () => (float[2] s) { s = Tan(a) }, else_branch = ee () => (float[2] w) { w = Cos(a) }> }"
    assert ops(inline(conditional("u = Neg(x)", other, yes=False))) == ["Abs", "Cos", "Relu"]


def test_outputs_of_the_model() -> None:
    text = """g (float[2] x) => (float[2] y, float[2] z) <bool yes = {1}> {
        y, z = If (yes) <then_branch = t () => (float[2] u, float[2] v) { u = Neg(x) v = %s }, else_branch = e () => (float[2] p, float[2] q) { p = Sin(x) q = Cos(x) }>
    }"""
    m = inline(parse(text % "Abs(u)"))
    assert ops(m) == ["Neg", "Abs"]
    assert [n.output[0] for n in m.proto.graph.node] == ["y", "z"]
    m = inline(parse(text % "Identity(x)"))
    assert [o.name for o in m.proto.graph.output] == ["y", "z"]


def test_one_value_that_a_branch_gives_out_twice() -> None:
    text = """g (float[2] x) => (float[2] y, float[2] z) <bool yes = {1}> {
        y, z = If (yes) <then_branch = t () => (float[2] u, float[2] v) { u = Neg(x) v = Identity(u) }, else_branch = e () => (float[2] p, float[2] q) { p = Sin(x) q = Cos(x) }>
    }"""
    model = parse(text)
    branch = next(a.g for a in model.graph.node[0].attribute if a.name == "then_branch")
    del branch.node[1]
    branch.output[1].name = "u"
    m = load(model)
    invariants.check(m)
    out = optimize(model, level=1)
    invariants.check(out)
    onnx.checker.check_model(out.proto)
    assert same_bits(run(out, x=X), [-X, -X])


def test_initializers_that_a_branch_gives_out() -> None:
    model = conditional("u = Neg(x)")
    branch = next(a.g for a in model.graph.node[1].attribute if a.name == "then_branch")
    del branch.node[:]
    branch.initializer.append(numpy_helper.from_array(np.float32([1, 2]), "u"))
    m = inline(model)
    assert ops(m) == ["Abs", "Relu"]


def test_values_of_the_outside_that_a_branch_gives_out() -> None:
    model = conditional("u = Neg(x)")
    branch = next(a.g for a in model.graph.node[1].attribute if a.name == "then_branch")
    del branch.node[:]
    branch.output[0].name = "a"
    out = optimize(model, level=1)
    invariants.check(out)
    onnx.checker.check_model(out.proto)
    assert same_bits(run(out, x=X, c=np.array(True)), [np.abs(X)])


def test_what_only_the_other_branch_read_goes() -> None:
    model = conditional("u = Neg(x)", "else_branch = e () => (float[2] v) { v = Add(a, big) }")
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1, 2]), "big"))
    m = inline(model)
    assert ops(m) == ["Neg", "Relu"]
    assert "big" not in {v.name for v in m.graph.initializers}


def test_inside_bodies() -> None:
    text = """g (int64 n, bool go, float[2] x, bool c) => (float[2] y) <bool yes = {1}> {
        y = Loop (n, go, x) <body = b (int64 i, bool k, float[2] w) => (bool l, float[2] o) {
            l = Identity(k)
            o = If (yes) <then_branch = t () => (float[2] u) { p = Relu(w) u = Add(p, x) }, else_branch = e () => (float[2] v) { v = Sin(w) }>
        }>
    }"""
    model = parse(text)
    m = optimize(model, level=1, only="constant_if")
    invariants.check(m)
    onnx.checker.check_model(m.proto, full_check=True)
    body = m.proto.graph.node[0].attribute[0].g
    assert [n.op_type for n in body.node] == ["Identity", "Relu", "Add"]
    assert [o.name for o in body.output] == [n.output[0] for n in body.node if n.op_type in ("Identity", "Add")]
    feeds = {"n": np.array(3), "go": np.array(True), "x": X, "c": np.array(True)}
    assert same_bits(run(m, **feeds), run(model, **feeds))


def test_inside_functions() -> None:
    """A function has no initializers: those of the branch become Constant nodes."""
    branch = parse(
        """g (float[2] v) => (float[2] w) <bool yes = {1}> {
            w = If (yes) <then_branch = t () => (float[2] u) { u = Add(v, k) }, else_branch = e () => (float[2] r) { r = Sin(v) }>
        }""",
        check=False,
    ).graph.node[0]
    next(a.g for a in branch.attribute if a.name == "then_branch").initializer.append(
        numpy_helper.from_array(np.float32([5, 7]), "k")
    )
    yes = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    model = parse("g (float[2] x) => (float[2] y) { y = local.f(x) }", imports=', "local": 1', check=False)
    model.functions.append(
        helper.make_function("local", "f", ["v"], ["w"], [yes, branch], [helper.make_opsetid("", 17)])
    )
    onnx.checker.check_model(model)
    m = optimize(model, level=1)
    invariants.check(m)
    onnx.checker.check_model(m.proto)
    assert "If" not in [n.op_type for n in m.proto.functions[0].node]
    assert same_bits(run(m, x=X), run(model, x=X))


def test_old_files() -> None:
    model = conditional("u = Add(x, w)")
    branch = next(a.g for a in model.graph.node[1].attribute if a.name == "then_branch")
    branch.initializer.append(numpy_helper.from_array(np.float32([1, 2]), "w"))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))))
    del model.graph.initializer[:]
    model.ir_version = 3
    m = inline(model)
    assert ops(m) == ["Abs", "Add", "Relu"]


def test_sparse_initializers_stay_where_they_are() -> None:
    model = conditional("u = Add(x, w)")
    branch = next(a.g for a in model.graph.node[1].attribute if a.name == "then_branch")
    sparse = branch.sparse_initializer.add(dims=[2])
    sparse.values.CopyFrom(numpy_helper.from_array(np.float32([1]), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0]), "w_indices"))
    m = optimize(model, level=1, only="constant_if")
    invariants.check(m)
    assert "If" in ops(m)


def test_if_without_readers() -> None:
    model = parse(
        """g (float[2] x) => (float[2] y) <bool yes = {1}> {
            z = If (yes) <then_branch = t () => (float[2] u) { u = Neg(x) }, else_branch = e () => (float[2] v) { v = Sin(x) }>
            y = Relu(x)
        }"""
    )
    assert ops(inline(model)) == ["Relu"]


def test_impure_nodes_of_the_branch_that_runs_stay() -> None:
    model = parse(
        """g (float[2] x) => (float[2] y) <bool yes = {1}> {
            y = If (yes) <then_branch = t () => (float[2] u) { d = my.Print(x) u = Neg(x) }, else_branch = e () => (float[2] v) { v = Sin(x) }>
        }""",
        imports=', "my": 1',
    )
    m = optimize(model, level=1)
    invariants.check(m)
    assert sorted(ops(m)) == ["Neg", "Print"]


def test_many_nodes() -> None:
    """Thousands of nodes moved in front of one."""
    lines = " ".join(f"p{i} = Neg({f'p{i - 1}' if i else 'x'})" for i in range(3000))
    model = conditional(f"{lines} u = Abs(p2999)")
    m = optimize(model, level=1, only="constant_if")
    invariants.check(m)
    assert len(m.graph) == 3003
