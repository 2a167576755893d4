"""A Loop that runs a small, known number of times is written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from graphopt import optimize
from graphopt.ir import Model
from tests.ir import invariants
from tests.ir.building import ops, parse, run, same_bits

X = np.float32([-1, 0.5])
BODY = "(int64 i, bool c, float[2] v) => (bool d, float[2] w)"


def loop(
    nodes: str,
    interface: str = BODY,
    outputs: str = "z",
    given: str = "n, yes, a",
    constants: str = "int64 n = {3}, bool yes = {1}",
    after: str = "y = Relu(z)",
    inner: str = "",
    opset: int = 17,
) -> onnx.ModelProto:
    """Abs, a Loop, and what comes after it."""
    return parse(
        f"""g (float[2] x, bool c0, int64 n0) => (float[N] y) <{constants}> {{
            a = Abs(x) {outputs} = Loop({given}) <body = b {interface} {inner} {{ {nodes} }}> {after}
        }}""",
        opset=opset,
        check=False,
    )


def unroll(model: onnx.ModelProto, level: int = 1, only: str | None = "constant_loop", rounds: int = 2) -> Model:
    """Optimise with this pass alone; the outputs stay the same."""
    before = model.SerializeToString(deterministic=True)
    m = optimize(model, level=level, **({"only": only} if only else {}))
    assert model.SerializeToString(deterministic=True) == before
    invariants.check(m)
    onnx.checker.check_model(m.proto, full_check=True)
    feeds = {"x": X, "c0": np.array(True), "n0": np.array(rounds)}
    assert same_bits(run(m, **feeds), run(model, **feeds))
    return m


def test_carried_values() -> None:
    m = unroll(loop("d = Identity(c) w = Sin(v)"))
    assert ops(m) == ["Abs", "Sin", "Sin", "Sin", "Relu"]
    (step,) = m.report.steps
    assert step.rule == "constant_loop"
    assert [n.op for n in step.before] == ["Loop", "Identity", "Sin"]
    assert [n.op for n in step.after] == ["Sin"] * 3


def test_level_2_sees_through_it() -> None:
    assert ops(unroll(loop("d = Identity(c) w = Neg(v)"), only=None, level=2)) == ["Abs", "Neg", "Relu"]


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_collected_values(opset: int) -> None:
    interface = "(int64 i, bool c, float[2] v) => (bool d, float[2] w, float[2] s)"
    model = loop(
        "d = Identity(c) w = Sin(v) s = Neg(w)",
        interface,
        "z, q",
        after="t = ReduceMax<keepdims=0>(q) y = Add(z, t)",
        opset=opset,
    )
    m = unroll(model)
    assert ops(m).count("Unsqueeze") == 3
    assert ops(m).count("Concat") == 1
    model = loop(
        "d = Identity(c) w = Sin(v) s = Neg(w)",
        interface,
        "z, q",
        constants="int64 n = {1}, bool yes = {1}",
        after="t = ReduceMax<keepdims=0>(q) y = Add(z, t)",
        opset=opset,
    )
    assert "Concat" not in ops(unroll(model))


def test_numbers_of_rounds_and_what_lies_outside() -> None:
    m = unroll(
        loop("d = Identity(c) f = Cast<to=1>(i) g = Mul(f, x) h = Add(g, k) w = Add(v, h)", inner="<float k = {2}>")
    )
    assert ops(m).count("Cast") == 3
    assert sum(v.name.startswith("k") for v in m.graph.initializers) == 1


def test_values_that_change_places() -> None:
    interface = "(int64 i, bool c, float[2] v, float[2] u) => (bool d, float[2] w, float[2] s)"
    m = unroll(
        loop("d = Identity(c) w = Sin(u) s = Identity(v)", interface, "z, q", "n, yes, a, x", after="y = Sub(z, q)")
    )
    assert "Loop" not in ops(m)


def test_names_that_the_body_shares_with_others() -> None:
    model = loop("d = Identity(c) b0 = Sin(v) w = Cos(b0)", after="b0 = Neg(z) y = Relu(b0)")
    assert ops(unroll(model)).count("Cos") == 3


def test_outputs_of_the_model() -> None:
    model = loop("d = Identity(c) w = Sin(v)", outputs="y", after="")
    assert ops(unroll(model)) == ["Abs", "Sin", "Sin", "Sin"]


@pytest.mark.parametrize(
    ("constants", "given"),
    [
        ("int64 n = {0}, bool yes = {1}", "n, yes, a"),
        ("int64 n = {-2}, bool yes = {1}", "n, yes, a"),
        ("int64 n = {5}, bool yes = {0}", "n, yes, a"),
        ("bool yes = {0}", ", yes, a"),
        ("bool yes = {0}", "n0, yes, a"),
    ],
)
def test_no_round_at_all(constants: str, given: str) -> None:
    assert ops(unroll(loop("d = Identity(c) w = Sin(v)", constants=constants, given=given))) == ["Abs", "Relu"]


@pytest.mark.parametrize(
    ("nodes", "inner", "given"),
    [
        ("d = Identity(c) w = Sin(v)", "", "n, , a"),
        ("w = Sin(v)", "<bool d = {1}>", "n, yes, a"),
        ("d = Constant<value = bool {1}>() w = Sin(v)", "", "n, yes, a"),
        ("e = Identity(c) d = Identity(e) w = Sin(v)", "", "n, yes, a"),
    ],
)
def test_conditions_that_stay_true(nodes: str, inner: str, given: str) -> None:
    assert ops(unroll(loop(nodes, inner=inner, given=given))).count("Sin") == 3


@pytest.mark.parametrize(
    ("nodes", "options"),
    [
        pytest.param("d = Identity(c) w = Sin(v)", {"given": "n0, yes, a"}, id="number not known"),
        pytest.param("d = Identity(c) w = Sin(v)", {"given": "n, c0, a"}, id="condition not known"),
        pytest.param("d = Not(c) w = Sin(v)", {}, id="condition changes"),
        pytest.param("w = Sin(v)", {"inner": "<bool d = {0}>"}, id="condition becomes false"),
        pytest.param("d = Identity(c) w = Sin(v)", {"constants": "int64 n = {17}, bool yes = {1}"}, id="too often"),
        pytest.param(
            "d = Identity(c) w = If (c) <then_branch = t () => (float[2] u) { u = Neg(v) }, else_branch = e () => (float[2] r) { r = Sin(v) }>",
            {},
            id="subgraphs",
        ),
    ],
)  # fmt: skip
def test_stays(nodes: str, options: dict[str, Any]) -> None:
    m = unroll(loop(nodes, **options))
    assert "Loop" in ops(m)
    assert not m.report.steps


def test_random_numbers_are_drawn_anew() -> None:
    model = loop("d = Identity(c) r = RandomUniformLike(v) w = Add(v, r)")
    assert "Loop" in ops(optimize(model, level=1, only="constant_loop"))


def test_shapes_of_what_was_never_collected() -> None:
    interface = "(int64 i, bool c, float[2] v) => (bool d, float[2] w, float[2] s)"
    model = loop(
        "d = Identity(c) w = Sin(v) s = Neg(w)",
        interface,
        "z, q",
        constants="int64 n = {0}, bool yes = {1}",
        after="t = Shape(q) r = Cast<to=1>(t) p = ReduceMax<keepdims=0>(r) y = Add(z, p)",
    )
    assert "Loop" in ops(optimize(model, level=1, only="constant_loop"))
