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
        pytest.param("d = Less(i, n0) w = Sin(v)", {}, id="condition not known inside"),
        pytest.param("d = And(c, c0) w = Sin(v)", {}, id="condition given outside"),
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


#: Counts in `k`, from 0 in steps of 1, beside what is computed; there is no other end than the condition.
COUNTER = "(int64 i, bool c, int64 k, float[2] v) => (bool d, int64 k1, float[2] w)"
COUNTS = {"interface": COUNTER, "outputs": "last, z", "given": ", yes, start, a"}
STEPS = "int64 start = {0}, bool yes = {1}"


@pytest.mark.parametrize(
    ("nodes", "inner", "rounds"),
    [
        ("k1 = Add(k, s) d = Less(k1, n) w = Sin(v)", "int64 s = {1}, int64 n = {3}", 3),
        ("k1 = Add(k, s) d = Less(k1, n) w = Sin(v)", "int64 s = {2}, int64 n = {3}", 2),
        ("k1 = Add(k, s) d = Less(k, n) w = Sin(v)", "int64 s = {1}, int64 n = {3}", 4),
        ("k1 = Sub(k, s) q = Abs(k1) e = Greater(q, n) d = Not(e) w = Sin(v)", "int64 s = {1}, int64 n = {2}", 3),
        (
            "k1 = Add(k, s) e = LessOrEqual(k1, n) d = And(e, t) w = Sin(v)",
            "int64 s = {1}, int64 n = {1}, bool t = {1}",
            2,
        ),
        ("k1 = Identity(k) e = Less(i, n) d = And(c, e) w = Sin(v)", "int64 n = {2}", 3),
        ("k1 = Identity(k) d = Not(c) w = Sin(v)", "", 1),
        ("k1 = Identity(k) w = Sin(v)", "bool d = {0}", 1),
    ],
)
def test_conditions_that_are_computed(nodes: str, inner: str, rounds: int) -> None:
    """While loops, as TensorFlow and TorchScript write them."""
    for options in (COUNTS, COUNTS | {"given": "most, yes, start, a"}):
        constants = STEPS + f", int64 most = {{{2**63 - 1}}}"
        m = unroll(loop(nodes, inner=f"<{inner}>" if inner else "", constants=constants, **options))
        assert "Loop" not in ops(m)
        assert ops(m).count("Sin") == rounds
    m = unroll(loop(nodes, inner=f"<{inner}>" if inner else "", constants=constants, **options), only=None, level=2)
    assert [op for op in ops(m) if op != "Constant"] == ["Abs", *["Sin"] * rounds, "Relu"]


def test_the_last_number() -> None:
    """What counts the rounds is a constant behind them."""
    nodes = "k1 = Add(k, s) d = Less(k1, n) w = Sin(v)"
    model = loop(
        nodes,
        inner="<int64 s = {1}, int64 n = {3}>",
        constants=STEPS,
        after="f = Cast<to=1>(last) y = Add(z, f)",
        **COUNTS,
    )
    assert ops(unroll(model, only=None, level=2)) == ["Abs", *["Sin"] * 3, "Add"]


def test_the_trip_count_comes_first() -> None:
    nodes, inner = "k1 = Add(k, s) d = Less(k1, n) w = Sin(v)", "<int64 s = {1}, int64 n = {3}>"
    options = COUNTS | {"given": "most, yes, start, a"}
    m = unroll(loop(nodes, inner=inner, constants=STEPS + ", int64 most = {2}", **options))
    assert ops(m).count("Sin") == 2
    once = "k1 = Add(k, k) d = Less(i, n0) w = Sin(v)"  # of which nobody asks whether there would be another one
    assert ops(unroll(loop(once, constants=STEPS + ", int64 most = {1}", **options))).count("Sin") == 1


@pytest.mark.parametrize(
    ("nodes", "inner", "options"),
    [
        pytest.param("k1 = Add(k, s) d = Less(k1, n) w = Sin(v)", "int64 s = {0}, int64 n = {3}", {}, id="never"),
        pytest.param("k1 = Add(k, s) d = Less(k1, n) w = Sin(v)", "int64 s = {1}, int64 n = {17}", {}, id="too often"),
        pytest.param("k1 = Add(k, s) d = Less(k1, n0) w = Sin(v)", "int64 s = {1}", {}, id="end not known"),
        pytest.param("k1 = Add(k, n0) d = Less(k1, n) w = Sin(v)", "int64 n = {3}", {}, id="step not known"),
        pytest.param(
            "k1 = Add(k, s) d = Less(k1, n) w = Sin(v)", "int64 s = {1}, int64 n = {3}", {"given": ", yes, n0, a"}, id="start"
        ),
        pytest.param(
            "k1 = Add(k, s) d = Less(k1, n) w = Sin(v)", "int64 s = {1}, int64 n = {3}", {"given": "n0, yes, start, a"}, id="limit"
        ),
        pytest.param(
            "k1 = Add(k, s) q = ReduceSum<keepdims=0>(w) e = Less(k1, n) p = Greater(q, z0) d = And(e, p) w = Sin(v)",
            "int64 s = {1}, int64 n = {3}, float z0 = {0}", {}, id="data",
        ),
    ],
)  # fmt: skip
def test_computed_conditions_that_nobody_knows(nodes: str, inner: str, options: dict[str, Any]) -> None:
    m = optimize(loop(nodes, inner=f"<{inner}>", constants=STEPS, **(COUNTS | options)), level=1, only="constant_loop")
    assert "Loop" in ops(m)


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


def test_sequences_that_are_carried() -> None:
    """Only tensors are written out."""
    body = (
        "b (int64 i, bool c, seq(float[2]) v) => (bool d, seq(float[2]) w) { d = Identity(c) w = SequenceInsert(v, x) }"
    )
    lines = f"a = Abs(x) q = SequenceConstruct(a) z = Loop(n, yes, q) <body = {body}> y = ConcatFromSequence<axis=0>(z)"
    model = parse(
        f"g (float[2] x, bool c0, int64 n0) => (float[N] y) <int64 n = {{3}}, bool yes = {{1}}> {{ {lines} }}",
        check=False,
    )
    m = optimize(model, level=1, only="constant_loop")
    assert "Loop" in ops(m) and not m.report.steps


def test_metadata_of_the_body_stays() -> None:
    model = loop("d = Identity(c) w = Sin(v)")
    (node,) = (n for n in model.graph.node if n.op_type == "Loop")
    body = node.attribute[0].g
    (sine,) = (n for n in body.node if n.op_type == "Sin")
    sine.metadata_props.add(key="from", value="layer 3")
    copies = [n for n in unroll(model).proto.graph.node if n.op_type == "Sin"]
    assert len(copies) == 3 and all(n.metadata_props[0].value == "layer 3" for n in copies)
