"""What nothing reads goes; what may have an effect stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from graphopt import load
from graphopt.ir import Model
from graphopt.passes import remove_dead_code
from graphopt.rewrite import Ledger
from tests.ir import invariants
from tests.ir.building import everything, ops, parse, with_constants


def clean(model: ModelProto) -> tuple[Model, int]:
    before = model.SerializeToString(deterministic=True)
    m = load(model)
    ledger = Ledger()
    gone = remove_dead_code(m, ledger)
    invariants.check(m)
    onnx.checker.check_model(m.proto)
    assert model.SerializeToString(deterministic=True) == before
    assert gone == sum(len(s.before) for s in ledger.steps)
    assert list(m.proto.graph.input) == list(model.graph.input)
    assert list(m.proto.graph.output) == list(model.graph.output)
    again = Ledger()
    assert remove_dead_code(m, again) == 0
    assert again.steps == []
    return m, gone


def test_chains_that_end_nowhere() -> None:
    m, gone = clean(parse("g (float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) c = Neg(b) y = Sin(a) d = Cos(y) }"))
    assert ops(m) == ["Relu", "Sin"]
    assert gone == 3


def test_initializers_and_constants() -> None:
    text = "g (float[2] x) => (float[2] y) { k = Constant<value_float = 1.0>() a = Add(x, u) y = Add(x, w) }"
    m, _ = clean(with_constants(text, w=np.float32([1, 2]), u=np.float32([1, 2]), v=np.float32([1, 2])))
    assert [v.name for v in m.graph.initializers] == ["w"]
    assert ops(m) == ["Add"]
    assert len(m.graph) == 1


def test_inputs_outputs_and_overridable_initializers_stay() -> None:
    m, gone = clean(
        parse("g (float[2] x, float[2] u, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Relu(x) }")
    )
    assert gone == 0
    assert [v.name for v in m.graph.initializers] == ["w"]


def test_initializers_that_are_outputs_stay() -> None:
    m, _ = clean(with_constants("g (float[2] x) => (float[2] w) { y = Relu(x) }", w=np.float32([1, 2])))
    assert ops(m) == []
    assert len(m.graph.initializers) == 1


def test_unknown_operators_stay() -> None:
    text = "g (float[2] x) => (float[2] y) { a = Relu(x) b = my.Log(a) y = Neg(x) c = Abs(b) }"
    m, gone = clean(parse(text, imports=', "my": 1'))
    assert ops(m) == ["Relu", "Log", "Neg"]
    assert gone == 1


def test_nodes_without_outputs_stay() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Neg(x) }", imports=', "my": 1')
    model.graph.node.append(helper.make_node("Log", ["x"], [], domain="my"))
    m, gone = clean(model)
    assert gone == 0
    assert ops(m) == ["Neg", "Log"]


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.ml"])
def test_known_domains_go(domain: str) -> None:
    version = 3 if domain == "ai.onnx.ml" else 1
    model = parse("g (float[2] x) => (float[2] y) { y = Neg(x) }", imports=f', "{domain}": {version}')
    op = "Gelu" if domain == "com.microsoft" else "Binarizer"
    model.graph.node.append(helper.make_node(op, ["x"], ["z"], domain=domain))
    assert ops(clean(model)[0]) == ["Neg"]


def test_random_numbers_go() -> None:
    assert ops(clean(parse("g (float[2] x) => (float[2] y) { y = Neg(x) r = RandomNormalLike(x) }"))[0]) == ["Neg"]


BRANCH = """g (bool c, float[2] x) => (float[2] y) {
    only = Abs(x)
    z = If (c) <
        then_branch = t () => (float[2] u) { dead = Neg(only) u = Sin(x) },
        else_branch = e () => (float[2] v) { %s v = Cos(x) }
    >
    y = Relu(%s)
}"""


def test_inside_branches() -> None:
    """The last reader of an outer value may be a dead node in a branch."""
    m, gone = clean(parse(BRANCH % ("", "z")))
    assert ops(m) == ["If", "Relu"]
    assert gone == 2


def test_branches_that_nobody_needs() -> None:
    m, _ = clean(parse(BRANCH % ("", "x")))
    assert ops(m) == ["Relu"]


def test_branches_with_effects_stay() -> None:
    """An If is as pure as what lies in its branches."""
    m, _ = clean(parse(BRANCH % ("p = my.Print(x)", "x"), imports=', "my": 1'))
    assert ops(m) == ["If", "Relu"]
    loop = """g (int64 n, bool go, float[2] x) => (float[2] y) {
        z = Loop (n, go, x) <body = b (int64 i, bool k, float[2] w) => (bool l, float[2] o) { l = Identity(k) o = Relu(w) %s }>
        y = Neg(x)
    }"""
    assert ops(clean(parse(loop % "p = my.Print(w)", imports=', "my": 1'))[0]) == ["Loop", "Neg"]
    assert ops(clean(parse(loop % ""))[0]) == ["Neg"]


def test_initializers_of_branches() -> None:
    model = parse(BRANCH % ("", "z"))
    for a in model.graph.node[1].attribute:
        a.g.initializer.append(numpy_helper.from_array(np.float32([1]), f"w_{a.g.name}"))
    m, _ = clean(model)
    assert not any(g.initializers for g in m.graphs())


def function(name: str, *body: Any, opsets: dict[str, int] | None = None) -> onnx.FunctionProto:
    imports = [helper.make_opsetid(d, v) for d, v in ({"": 17} | (opsets or {})).items()]
    return helper.make_function("local", name, ["v"], ["w"], list(body), imports)


def call(name: str, x: str, y: str) -> onnx.NodeProto:
    return helper.make_node(name, [x], [y], domain="local")


def test_functions_that_nobody_calls() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = local.f(x) }", imports=', "local": 1', check=False)
    local = {"local": 1}
    relu = helper.make_node("Relu", ["v"], ["w"])
    model.functions.extend(
        [
            function("f", call("g", "v", "w"), opsets=local),
            function("g", relu),
            function("unused", relu),
            function("calls_h", call("h", "v", "w"), opsets=local),
            function("h", relu),
        ]
    )
    m, gone = clean(model)
    assert gone == 0
    assert [f.name for f in m.proto.functions] == ["f", "g"]


def test_functions_that_only_dead_nodes_call() -> None:
    model = parse("g (float[2] x) => (float[2] y) { z = local.f(x) y = Neg(x) }", imports=', "local": 1', check=False)
    model.functions.append(function("f", helper.make_node("Relu", ["v"], ["w"])))
    m, gone = clean(model)
    assert gone == 1
    assert not m.proto.functions


def test_functions_with_effects() -> None:
    model = parse(
        "g (float[2] x) => (float[2] y) { z = local.f(x) y = Neg(x) }", imports=', "local": 1, "my": 1', check=False
    )
    body = [helper.make_node("Print", ["v"], ["p"], domain="my"), helper.make_node("Relu", ["v"], ["w"])]
    model.functions.extend(
        [function("f", call("g", "v", "w"), opsets={"local": 1}), function("g", *body, opsets={"my": 1})]
    )
    m, gone = clean(model)
    assert gone == 0
    assert [f.name for f in m.proto.functions] == ["f", "g"]


def test_functions_that_call_themselves() -> None:
    """Not allowed, but no reason to hang."""
    model = parse("g (float[2] x) => (float[2] y) { z = local.f(x) y = Neg(x) }", imports=', "local": 1', check=False)
    model.functions.extend(
        [
            function("f", call("g", "v", "w"), opsets={"local": 1}),
            function("g", call("f", "v", "w"), opsets={"local": 1}),
        ]
    )
    m = load(model)
    remove_dead_code(m, Ledger())
    invariants.check(m)


def test_overloads() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = local.f(x) }", imports=', "local": 1', ir=10, check=False)
    model.graph.node[0].overload = "b"
    for overload in ("a", "b"):
        f = function("f", helper.make_node("Relu", ["v"], ["w"]))
        f.overload = overload
        model.functions.append(f)
    m, _ = clean(model)
    assert [f.overload for f in m.proto.functions] == ["b"]


def test_dead_code_in_functions() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = local.f(x) }", imports=', "local": 1', check=False)
    model.functions.append(function("f", helper.make_node("Neg", ["v"], ["p"]), helper.make_node("Relu", ["v"], ["w"])))
    m, gone = clean(model)
    assert gone == 1
    assert [n.op_type for n in m.proto.functions[0].node] == ["Relu"]


def test_sparse_initializers_are_kept() -> None:
    model = everything()
    m, _ = clean(model)
    assert list(m.proto.graph.sparse_initializer) == list(model.graph.sparse_initializer)


def test_what_training_refers_to_is_kept() -> None:
    model = with_constants(
        "g (float[2] x) => (float[2] y) { y = Relu(x) }", rate=np.float32(0.1), other=np.float32(0.2)
    )
    info = model.training_info.add()
    info.algorithm.CopyFrom(
        helper.make_graph(
            [helper.make_node("Neg", ["rate"], ["next"])], "step", [], [helper.make_tensor_value_info("next", 1, [])]
        )
    )
    info.update_binding.add(key="rate", value="next")
    m, _ = clean(model)
    assert [t.name for t in m.proto.graph.initializer] == ["rate"]


def test_a_long_dead_chain() -> None:
    lines = " ".join(f"p{i} = Neg({f'p{i - 1}' if i else 'x'})" for i in range(5000))
    m, gone = clean(parse(f"g (float[2] x) => (float[2] y) {{ y = Relu(x) {lines} }}"))
    assert gone == 5000
    assert ops(m) == ["Relu"]
