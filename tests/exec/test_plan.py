"""Plans: every node finds its kernel and its slots, values are let go after their last reader, failures name the node."""

from __future__ import annotations

import dataclasses
import importlib.util
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import graphopt.exec as own
from benchmarks import conformance, suite
from graphopt.errors import GraphoptError, ModelError, RunError, UnsupportedError
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.evaluate import CannotEvaluate, evaluate
from graphopt.exec.kernels import kernel
from graphopt.exec.plan import EMPTY, Plan, Step, describe, run_step
from graphopt.exec.planning import plan, plan_node
from graphopt.ir import Node, load
from tests.ir.building import parse, same_bits, with_constants
from tests.property_graphs import models

needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")


def f32(*values: Any) -> np.ndarray:
    return np.array(values, np.float32)


def planned(model: ModelProto) -> Plan:
    return plan(load(model))


def outputs(model: ModelProto, *inputs: Any) -> list[Any]:
    return planned(model).run(REFERENCE, inputs)


def every_plan(steps: Plan) -> Iterator[Plan]:
    """A plan and those of its subgraphs."""
    yield steps
    for step in steps.steps:
        for body in step.bodies.values():
            yield from every_plan(body.plan)


def step_of(steps: Plan, name: str) -> Step:
    """The step of a node, wherever it is."""
    (found,) = [s for p in every_plan(steps) for s in p.steps if s.node == name]
    return found


def check_lifetimes(steps: Plan) -> None:
    """Whatever is read is there; whatever nobody reads any more is let go at once; nothing else ever is."""
    for p in every_plan(steps):
        reads = [set(step.reads()) - {EMPTY} for step in p.steps]
        kept = {EMPTY, *p.outputs, *p.constants}
        there = {*p.inputs, *p.constants}
        for i, step in enumerate(p.steps):
            later = set().union(*reads[i + 1 :])
            written = set(step.outputs) - {EMPTY}
            assert reads[i] <= there, f"{step} reads what is not there"
            assert not written & there, f"{step} writes over a value"
            there |= written
            assert len(set(step.frees)) == len(step.frees)
            assert set(step.frees) == (reads[i] | written) - later - kept, f"after {step}"
            there -= set(step.frees)
            for body in step.bodies.values():
                assert len(body.plan.inputs) >= len(body.inputs) + len(body.captured)
        assert set(p.outputs) - {EMPTY} <= there
        assert max([*there, EMPTY]) < p.size


# ---------------------------------------------------------------------------------------------------- order, lifetimes
DIAMOND = parse("g (float[2] x) => (float[2] y) { a = Exp(x) b = Neg(a) c = Abs(a) d = Add(b, c) y = Mul(d, a) }")
TWO_LEVELS = parse(
    "g (bool c, bool d, float[2] x, float[2] w) => (float[2] y) { a = Neg(x) b = Exp(w) y = If (c) <"
    "then_branch = t () => (float[2] p) { i = Add(a, w) p = If (d) <"
    "then_branch = tt () => (float[2] q) { q = Add(i, b) }, else_branch = te () => (float[2] r) { r = Sub(i, a) }> }, "
    "else_branch = e () => (float[2] s) { s = Identity(x) }> }"
)
LOOP_OF_IF = parse(
    "g (int64 n, bool c, float[2] x) => (float[2] y, float[k,2] z) { k = Neg(x) two = Add(x, x) y, z = Loop (n, , x) <"
    "body = b (int64 i, bool go, float[2] s) => (bool on, float[2] t, float[2] u) { on = Identity(go) h = Mul(s, two) "
    "t = If (c) <then_branch = bt () => (float[2] p) { p = Add(h, k) }, else_branch = be () => (float[2] q) { q = Sub(s, k) }> "
    "u = Identity(t) }> }"
)
SCAN_WITH_CAPTURES = parse(
    "g (float[2] x, float[4,2] xs, bool c) => (float[2] y, float[4,2] z) { k = Neg(x) y, z = Scan <num_scan_inputs = 1, "
    "body = b (float[2] s, float[2] v) => (float[2] t, float[2] u) { t = Add(s, v) "
    "u = If (c) <then_branch = bt () => (float[2] p) { p = Mul(t, k) }, else_branch = be () => (float[2] q) { q = Mul(s, x) }> }>"
    " (x, xs) }"
)
UNREAD = parse(
    "g (float[2] x, float[2] unused) => (float[2] y) { dead = Exp(x) y = Neg(x) k = Constant<value_float = 1.0>() }"
)


@pytest.mark.parametrize("model", [DIAMOND, TWO_LEVELS, LOOP_OF_IF, SCAN_WITH_CAPTURES, UNREAD])
def test_values_are_freed_right_after_their_last_reader(model: ModelProto) -> None:
    check_lifetimes(planned(model))


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(models())
def test_lifetimes_in_random_graphs(example: tuple[ModelProto, dict[str, np.ndarray]]) -> None:
    check_lifetimes(planned(example[0]))


def test_steps_keep_the_order_of_the_nodes() -> None:
    steps = planned(DIAMOND)
    assert [s.op for s in steps.steps] == ["Exp", "Neg", "Abs", "Add", "Mul"]
    assert [str(s) for s in steps.steps][:2] == ["node 'a' (Exp)", "node 'b' (Neg)"]
    (x,), (b, c), (d, a) = (steps.steps[i].inputs for i in (0, 3, 4))
    assert [s.frees for s in steps.steps] == [(x,), (), (), (b, c), (d, a)]


def test_what_subgraphs_capture_lives_until_they_have_run() -> None:
    steps = planned(TWO_LEVELS)
    negated, exponential, choice = steps.steps
    assert not negated.frees and not exponential.frees, "both are read inside"
    assert set(choice.frees) == {*steps.inputs, negated.outputs[0], exponential.outputs[0]}
    then = choice.bodies["then_branch"]
    assert set(then.captured) == {negated.outputs[0], exponential.outputs[0], steps.inputs[3], steps.inputs[1]}
    add, inner = then.plan.steps
    a, w = add.inputs
    assert add.frees == (w,), "the inner branches still read the other one"
    assert a in inner.frees


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (DIAMOND, [f32(1, 2)]),
        (TWO_LEVELS, [np.array(True), np.array(True), f32(1, 2), f32(3, 4)]),
        (LOOP_OF_IF, [np.array(3), np.array(True), f32(1, 2)]),
        (SCAN_WITH_CAPTURES, [f32(1, 2), np.ones((4, 2), np.float32), np.array(False)]),
    ],
)
def test_arrays_are_let_go(model: ModelProto, inputs: list[Any]) -> None:
    """After each step just those arrays are alive that a later one reads."""
    steps = planned(model)
    made: dict[int, Any] = {}

    def tracking(step: Step) -> Callable[..., Any]:
        function = step.kernel.function

        def call(*values: Any, **attributes: Any) -> Any:
            result = function(*values, **attributes)
            copies = tuple(np.array(r) for r in (result if isinstance(result, tuple) else (result,)))
            made.update((slot, weakref.ref(array)) for slot, array in zip(step.outputs, copies))
            return copies

        return call

    for step in steps.steps:
        step.kernel = dataclasses.replace(step.kernel, function=tracking(step))
    seen = []

    def watch(step: Step, began: int) -> None:
        i = steps.steps.index(step)
        later = {slot for s in steps.steps[i + 1 :] for slot in s.reads()} | set(steps.outputs)
        alive = {slot for slot, ref in made.items() if ref() is not None}
        assert alive == made.keys() & later, f"after {step}"
        seen.append(step)

    steps.run(REFERENCE, inputs, watch)
    assert seen == steps.steps


def test_slots_can_be_kept() -> None:
    steps = planned(DIAMOND)
    slots = steps.slots([f32(1, 2)])
    for step in steps.steps:
        run_step(step, REFERENCE, slots, free=False)
    assert all(v is not None for v in slots[1:]) and slots[EMPTY] is None
    with pytest.raises(ValueError, match="zip"):
        steps.slots([])


def test_values_in_place_of_the_outputs() -> None:
    model = load(DIAMOND)
    asked = [v for node in model.graph for v in node.outputs if v is not None and v.name in ("b", "d")]
    b, d = plan(model, asked).run(REFERENCE, [f32(0, 1)])
    np.testing.assert_allclose(b, [-1, -np.e], rtol=1e-6)
    np.testing.assert_allclose(d, [0, 0])
    check_lifetimes(plan(model, asked))


# ------------------------------------------------------------------------------------------------------------ subgraphs
@pytest.mark.parametrize("c", [True, False])
@pytest.mark.parametrize("d", [True, False])
def test_branches_with_captures_at_two_levels(c: bool, d: bool) -> None:
    x, w = f32(1, 2), f32(3, 4)
    (y,) = outputs(TWO_LEVELS, np.array(c), np.array(d), x, w)
    np.testing.assert_allclose(y, (-x + w + np.exp(w) if d else w) if c else x, rtol=1e-6)


@pytest.mark.parametrize("c", [True, False])
@pytest.mark.parametrize("n", [0, 1, 4])
def test_loops_with_captures_at_two_levels(c: bool, n: int) -> None:
    x = f32(1, 2)
    state, rows = x, []
    for _ in range(n):
        state = state * (x + x) - x if c else state + x
        rows.append(state)
    y, z = outputs(LOOP_OF_IF, np.array(n), np.array(c), x)
    np.testing.assert_allclose(y, state)
    np.testing.assert_allclose(z, np.reshape(rows, (n, 2)))


@pytest.mark.parametrize("c", [True, False])
def test_scans_with_captures_at_two_levels(c: bool) -> None:
    x, xs = f32(1, 2), np.arange(8, dtype=np.float32).reshape(4, 2)
    sums = x + np.cumsum(xs, axis=0)
    y, z = outputs(SCAN_WITH_CAPTURES, x, xs, np.array(c))
    np.testing.assert_allclose(y, sums[-1])
    np.testing.assert_allclose(z, sums * -x if c else np.concatenate([x[None], sums[:-1]]) * x)


def test_constants_of_all_levels() -> None:
    """Weights of the main graph that a subgraph reads, its own, and Constant nodes in both."""
    model = with_constants(
        "g (bool c, float[2] x) => (float[2] y) { five = Constant<value_floats = [5.0, 5.0]>() y = If (c) <"
        "then_branch = t () => (float[2] p) <float[2] own = {1, 2}> "
        "{ two = Constant<value_float = 2.0>() a = Mul(own, two) b = Add(a, k) d = Add(b, five) p = Add(d, x) }, "
        "else_branch = e () => (float[2] q) { q = Sub(k, x) }> }",
        k=f32(10, 20),
    )
    steps = planned(model)
    check_lifetimes(steps)
    for _ in range(2):  # constants survive a run
        assert steps.run(REFERENCE, [np.array(True), f32(0, 1)])[0].tolist() == [17, 30]
        assert steps.run(REFERENCE, [np.array(False), f32(0, 1)])[0].tolist() == [10, 19]


def test_a_branch_may_give_what_it_captures() -> None:
    model = parse(
        "g (bool c, float[2] x) => (float[2] y) { n = Neg(x) y = If (c) <then_branch = t () => (float[2] n) { }, "
        "else_branch = e () => (float[2] x) { }> }",
        check=False,
    )
    assert outputs(model, np.array(True), f32(1, 2))[0].tolist() == [-1, -2]
    assert outputs(model, np.array(False), f32(1, 2))[0].tolist() == [1, 2]


def test_what_bodies_declare() -> None:
    model = parse(
        "g (int64 n, float[2] x) => (float[2] y, float[k,2,m] z) { y, z = Loop (n, , x) <body = b (int64 i, bool go, float[2] s)"
        " => (bool on, float[2] t, float[2,m] u) { on = Identity(go) t = Neg(s) u = Unsqueeze(t, one) }> }".replace(
            "{ y, z", "<int64[1] one = {1}> { y, z"
        )
    )
    body = planned(model).steps[0].bodies["body"]
    assert body.inputs == ((np.int64, ()), (np.bool_, ()), (np.float32, (2,)))
    assert body.outputs == ((np.bool_, ()), (np.float32, (2,)), (np.float32, (2, None)))


# ------------------------------------------------------------------------------------------------------------ functions
def functions(main: str, *bodies: str, imports: str = "", check: bool = True) -> ModelProto:
    """A model that calls functions of the domain 'local'; a body may start with the imports of its own."""
    texts = [b if b.startswith("<") else f'<domain: "local", opset_import: ["": 17, "local": 1]> {b}' for b in bodies]
    return parse("\n".join([main, *texts]), imports=f', "local": 1{imports}', check=check)


SCALE = "scale <factor> (v) => (w) { k = Constant<value_float: float = @factor>() w = Mul(v, k) }"


def test_functions_are_written_out_where_they_are_called() -> None:
    model = functions(
        "g (float[2] x) => (float[2] y, float[2] z) { y = local.twice(x) z = local.twice(y) }",
        "twice (v) => (w) { h = Add(v, v) w = Identity(h) }",
    )
    steps = planned(model)
    assert [s.op for s in steps.steps] == ["Add", "Identity"] * 2
    check_lifetimes(steps)
    y, z = steps.run(REFERENCE, [f32(1, 2)])
    assert (y.tolist(), z.tolist()) == ([2, 4], [4, 8])


def test_attribute_references_and_defaults_through_nested_functions() -> None:
    model = functions(
        "g (float[2] x) => (float[2] y, float[2] z) { y = local.both<alpha = 3.0>(x) z = local.both(x) }",
        "both <alpha: float = 2.0> (v) => (w) { h = local.scale<factor: float = @alpha>(v) w = local.scale<factor = 10.0>(h) }",
        SCALE,
    )
    y, z = outputs(model, f32(1, 2))
    assert (y.tolist(), z.tolist()) == ([30, 60], [20, 40])


def test_a_reference_without_a_value_leaves_the_attribute_out() -> None:
    body = "bent <slope> (v) => (w) { w = LeakyRelu<alpha: float = @slope>(v) }"
    model = functions(
        "g (float[2] x) => (float[2] y, float[2] z) { y = local.bent<slope = 0.5>(x) z = local.bent(x) }", body
    )
    y, z = outputs(model, f32(-1, 1))
    assert y.tolist() == [-0.5, 1]
    np.testing.assert_allclose(z, [-0.01, 1])


def test_references_inside_subgraphs_of_functions() -> None:
    model = functions(
        "g (bool c, float[2] x) => (float[2] y) { y = local.branch<slope = 0.5>(c, x) }",
        "branch <slope> (c, v) => (w) { n = Neg(v) w = If (c) <then_branch = t () => (float[2] p) "
        "{ p = LeakyRelu<alpha: float = @slope>(n) }, else_branch = e () => (float[2] q) { q = local.scale<factor: float = @slope>(v) }> }",
        SCALE,
    )
    check_lifetimes(planned(model))
    assert outputs(model, np.array(True), f32(1, 2))[0].tolist() == [-0.5, -1]
    assert outputs(model, np.array(False), f32(1, 2))[0].tolist() == [0.5, 1]


def test_functions_called_in_subgraphs() -> None:
    model = functions(
        "g (bool c, float[2] x) => (float[2] y) { n = Neg(x) y = If (c) <then_branch = t () => (float[2] p) "
        "{ p = local.scale<factor = 4.0>(n) }, else_branch = e () => (float[2] q) { q = Identity(n) }> }",
        SCALE,
    )
    assert outputs(model, np.array(True), f32(1, 2))[0].tolist() == [-4, -8]


def test_inputs_and_outputs_that_a_call_leaves_out() -> None:
    model = functions(
        "g (float[3] x, float h) => (float[3] y, float[3] z, float[3] u) { y = local.within(x) z, = local.within(x, , h) "
        ", u = local.within(x, h) }",
        "within (v, low, high) => (w, n) { w = Clip(v, low, high) n = Neg(w) }",
    )
    y, z, u = outputs(model, f32(1, 2, 3), np.float32(2))
    assert (y.tolist(), z.tolist(), u.tolist()) == ([1, 2, 3], [1, 2, 2], [-2, -2, -3])


def test_functions_compute_in_the_opset_that_they_import() -> None:
    """Before opset 13, Softmax normalised over all axes from 1 on."""
    old = '<domain: "local", opset_import: ["": 11]> soft (v) => (w) { w = Softmax(v) }'
    model = functions(
        "g (float[1,2,2] x) => (float[1,2,2] y, float[1,2,2] z) { y = local.soft(x) z = Softmax(x) }", old, check=False
    )
    y, z = outputs(model, np.zeros((1, 2, 2), np.float32))
    np.testing.assert_allclose(y, np.full((1, 2, 2), 0.25))
    np.testing.assert_allclose(z, np.full((1, 2, 2), 0.5))


def test_overloads() -> None:
    model = functions(
        "g (float[2] x) => (float[2] y, float[2] z) { y = local.f(x) z = local.f:fast(x) }",
        "f (v) => (w) { w = Neg(v) }",
        '<domain: "local", overload: "fast", opset_import: ["": 17]> f (v) => (w) { w = Exp(v) }',
    )
    y, z = outputs(model, f32(0, 0))
    assert (y.tolist(), z.tolist()) == ([0, 0], [1, 1])


def test_a_function_goes_before_a_kernel_of_its_name_except_our_own() -> None:
    """What the model says an operator means counts; a form of graphopt's own is what its kernel computes."""

    def model(domain: str, call: str, body: str) -> ModelProto:
        text = f'g (float[1,2,2,1] x) => (float[1,1,1,1] y) {{ y = {domain}.{call}(x) }}\n<domain: "{domain}", opset_import: ["": 17]> {call} {body}'
        return parse(text, imports=f', "{domain}": 1', check=False)

    x = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    theirs = model("com.microsoft", "Gelu", "(v) => (w) { w = GlobalMaxPool(v) }")
    assert [s.op for s in planned(theirs).steps] == ["GlobalMaxPool"]
    ours = model("graphopt.channels_last", "GlobalAveragePool2d", "(v) => (w) { w = GlobalMaxPool(v) }")
    assert [s.op for s in planned(ours).steps] == ["graphopt.channels_last::GlobalAveragePool2d"]
    assert outputs(ours, x)[0].tolist() == [[[[1.5]]]]
    unknown = model("graphopt.unheard", "Of", "(v) => (w) { w = GlobalMaxPool(v) }")
    assert [s.op for s in planned(unknown).steps] == ["GlobalMaxPool"]


# ------------------------------------------------------------------------------------------------- inputs and constants
def test_optional_inputs_and_outputs_that_are_left_out() -> None:
    model = with_constants(
        "g (float[4] x) => (float[4] y, float[1] d) { n, , d = LayerNormalization(x, scale) y = Clip(x, , high) }",
        high=np.float32(2),
        scale=f32(1, 1, 1, 1),
    )
    steps = planned(model)
    norm, clip = steps.steps
    assert clip.inputs[1] == EMPTY and EMPTY not in (clip.inputs[0], clip.inputs[2])
    assert norm.outputs[1] == EMPTY and EMPTY not in (norm.outputs[0], norm.outputs[2])
    y, d = steps.run(REFERENCE, [f32(1, 4, 3, 2)])
    assert y.tolist() == [1, 2, 2, 2]
    np.testing.assert_allclose(d, [1.25**-0.5], rtol=1e-4)


def test_kernels_are_told_how_many_outputs_there_are() -> None:
    text = "g (float[6] x) => (float[m] y, float[n] z) { y, w, z = Split<axis = 0>(x) }"
    steps = planned(parse(text))
    assert steps.steps[0].attributes == {"axis": 0, "outputs": 3}
    assert steps.run(REFERENCE, [np.arange(6)])[1].tolist() == [4, 5]


def test_initializers_that_callers_may_override() -> None:
    model = with_constants(
        "g (float[2] x, float[2] k, bool c) => (float[2] y) { a = Mul(x, k) y = If (c) <then_branch = t () => (float[2] p) "
        "{ p = Add(a, k) }, else_branch = e () => (float[2] q) { q = Sub(a, k) }> }",
        k=f32(2, 3),
    )
    steps = planned(model)
    assert not steps.constants and len(steps.inputs) == 3
    assert steps.run(REFERENCE, [f32(1, 1), f32(5, 7), np.array(True)])[0].tolist() == [10, 14]
    options = own.SessionOptions()
    options.graph_optimization_level = own.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = own.InferenceSession(model, options)
    feeds = {"x": f32(1, 1), "c": np.array(True)}
    assert session.run(None, feeds)[0].tolist() == [4, 6]
    assert session.run(None, {**feeds, "k": f32(5, 7)})[0].tolist() == [10, 14]
    assert session.run(None, feeds)[0].tolist() == [4, 6]


def sparse(graph: onnx.GraphProto, name: str, values: list[float], indices: Any, dims: list[int]) -> None:
    tensor = graph.sparse_initializer.add(dims=dims)
    tensor.values.CopyFrom(numpy_helper.from_array(np.array(values, np.float32), name))
    tensor.indices.CopyFrom(numpy_helper.from_array(np.array(indices, np.int64), f"{name}_indices"))


def test_sparse_initializers() -> None:
    """Both ways to give the places; also read in a subgraph; of those that nobody reads nothing is made."""
    model = parse(
        "g (float[4] x, bool c) => (float[4] y, float[2,2] z) { a = Add(x, s) z = Identity(q) y = If (c) <"
        "then_branch = t () => (float[4] p) { p = Add(a, s) }, else_branch = e () => (float[4] r) { r = Identity(s) }> }",
        check=False,
    )
    sparse(model.graph, "s", [1, 2], [0, 3], [4])
    sparse(model.graph, "q", [1, 2], [[0, 1], [1, 0]], [2, 2])
    sparse(model.graph, "unread", [1], [7], [1 << 40])
    steps = planned(model)
    check_lifetimes(steps)
    assert len(steps.constants) == 2
    y, z = steps.run(REFERENCE, [np.zeros(4, np.float32), np.array(True)])
    assert (y.tolist(), z.tolist()) == ([2, 0, 0, 4], [[0, 1], [2, 0]])
    assert steps.run(REFERENCE, [np.zeros(4, np.float32), np.array(False)])[0].tolist() == [1, 0, 0, 2]


CONSTANTS = [
    ("value_float = 1.5", np.array(1.5, np.float32)),
    ("value_floats = [1.0, 2.0]", np.array([1, 2], np.float32)),
    ("value_int = 3", np.array(3, np.int64)),
    ("value_ints = [3, 4]", np.array([3, 4], np.int64)),
    ('value_string = "x"', np.array("x", object)),
    ('value_strings = ["x", "yy"]', np.array(["x", "yy"], object)),
    ("value = double[1,2] {1, 2}", np.array([[1, 2]], np.float64)),
]


@pytest.mark.parametrize(("attribute", "value"), CONSTANTS)
def test_constant_nodes_are_no_steps(attribute: str, value: np.ndarray) -> None:
    steps = planned(parse(f"g () => (float y) {{ y = Constant<{attribute}>() }}", check=False))
    assert not steps.steps
    assert same_bits(steps.run(REFERENCE, [])[0], value)


@pytest.mark.parametrize(("attribute", "value"), CONSTANTS)
def test_constants_that_a_call_decides(attribute: str, value: np.ndarray) -> None:
    name, given = attribute.split(" = ")
    kind = {"value_float": "float", "value_floats": "floats", "value_int": "int", "value_ints": "ints"}.get(name, "")
    kind = kind or {"value_string": "string", "value_strings": "strings", "value": "tensor"}[name]
    model = functions(
        f"g (float x) => (float y) {{ y = local.give<what = {given}>(x) }}",
        f"give <what> (x) => (w) {{ w = Constant<{name}: {kind} = @what>() }}",
    )
    assert same_bits(outputs(model, np.float32(0))[0], value)


def test_sparse_constant_nodes() -> None:
    model = parse("g () => (float[3] y) { y = Neg(k) }", check=False)
    value = onnx.SparseTensorProto(dims=[3])
    value.values.CopyFrom(numpy_helper.from_array(f32(5), "v"))
    value.indices.CopyFrom(numpy_helper.from_array(np.array([1]), "i"))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["k"], sparse_value=value))
    assert outputs(model)[0].tolist() == [0, -5, 0]


# --------------------------------------------------------------------------------------------------------------- errors
def test_all_operators_without_kernels_are_named_at_once() -> None:
    model = functions(
        "g (bool c, float[2] x) => (float[2] y) { a = other.Far(x) b = other.Far(a) z = local.f(b) y = If (c) <"
        "then_branch = t () => (float[2] p) { p = other.Away(z) }, else_branch = e () => (float[2] q) { q = Frob(z) }> }",
        '<domain: "local", opset_import: ["": 17, "other": 5]> f (v) => (w) { w = other.Deep(v) }',
        imports=', "other": 3',
        check=False,
    )
    with pytest.raises(UnsupportedError) as caught:
        planned(model)
    assert str(caught.value).split("; ") == [
        "no kernel for other::Far at opset 3",
        "no kernel for other::Deep at opset 5",
        "no kernel for other::Away at opset 3",
        "no kernel for Frob at opset 17",
    ]


def failing(text: str, **constants: Any) -> Callable[..., str]:
    """What a run of this model says."""
    steps = planned(with_constants(text, **constants) if constants else parse(text))

    def run(*inputs: Any) -> str:
        with pytest.raises(RunError) as caught:
            steps.run(REFERENCE, inputs)
        assert caught.value.__cause__ is not None and not isinstance(caught.value.__cause__, RunError)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


def test_a_failing_node_is_named_with_its_inputs() -> None:
    message = failing("g (float[2,3] x, int64[1] s) => (float[n] y) { a = Neg(x) y = Reshape(a, s) }")
    said = message(np.zeros((2, 3), np.float32), np.array([4]))
    assert said.startswith("node 'y' (Reshape): ValueError: ")
    assert said.endswith("; its inputs: float32[2, 3], int64[1]")


def test_failures_inside_bodies_name_the_inner_node() -> None:
    text = "g (bool c, float[2,3] x, int64[1] s) => (float[n] y) { y = If (c) <then_branch = t () => (float[n] p) { p = Reshape(x, s) }, else_branch = e () => (float[n] q) { q = Reshape(x, s) }> }"
    said = failing(text)(np.array(False), np.zeros((2, 3), np.float32), np.array([4]))
    assert said.startswith("node 'q' (Reshape): ValueError")


def test_failures_name_domains_nodes_and_what_is_no_array() -> None:
    node = helper.make_node("FusedMatMul", ["x", "x"], ["y"], "the product", domain="com.microsoft")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
    )
    with pytest.raises(
        RunError, match=r"^node 'the product' \(com.microsoft::FusedMatMul\): .*float32\[2, 3\], float32\[2, 3\]$"
    ):
        outputs(model, np.zeros((2, 3), np.float32))
    said = failing("g (seq(float[2]) s, float[2] x) => (float[2] y) { y = Clip(x, , x) z = Concat<axis = 9>(x, x) }")(
        [], f32(1, 2)
    )
    assert said.startswith("node 'y' (Clip)") and said.endswith("float32[2], nothing, float32[2]")
    said = failing("g (seq(float[2]) s, int64 i) => (float[2] y) { y = SequenceAt(s, i) }")([f32(1)], np.array(3))
    assert said.startswith("node 'y' (SequenceAt)") and said.endswith("list, int64[]")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (ValueError(), "ValueError"),
        (GraphoptError("as it is"), "as it is"),
        (GraphoptError(), "GraphoptError"),
    ],
)
def test_errors_in_one_line(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_attributes_of_a_node_that_make_no_sense() -> None:
    node = helper.make_node(
        "LabelEncoder", ["x"], ["y"], "code", domain="ai.onnx.ml", keys_int64s=[1, 2], values_int64s=[1]
    )
    ends = [helper.make_tensor_value_info(n, TensorProto.INT64, [None]) for n in "xy"]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]), opset_imports=opsets)
    with pytest.raises(ModelError, match=r"^node 'code' \(ai.onnx.ml::LabelEncoder\): "):
        planned(model)


def test_attributes_that_the_operator_does_not_have_are_dropped() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = LeakyRelu<alpha = 0.5, axis = 3>(x) }", check=False)
    assert planned(model).steps[0].attributes == {"alpha": 0.5}
    assert outputs(model, f32(-1, 1))[0].tolist() == [-0.5, 1]


@pytest.mark.usefixtures("no_new_kernels")
def test_attributes_that_only_the_kernel_does_not_know_are_reported() -> None:
    @kernel("LeakyRelu", "Elu", since=16)
    def deaf(xp: Any, x: Any) -> Any:
        return x

    @kernel("Mine", domain="my.domain")
    def mine(xp: Any, x: Any, *, known: int = 0) -> Any:
        return x * known

    text = "g (float[2] x) => (float[2] y) {{ a = {}(x) y = {}(a) }}"
    one = text.format("LeakyRelu<alpha = 0.5>", "Elu<alpha = 0.5, axis = 1>")
    with pytest.raises(UnsupportedError) as caught:
        planned(parse(one, check=False))
    assert str(caught.value) == (
        "the kernel of LeakyRelu does not take attribute 'alpha'; the kernel of Elu does not take attribute 'alpha'"
    )
    two = text.format("my.domain.Mine<known = 2>", "my.domain.Mine<known = 2, other = 1>")
    with pytest.raises(UnsupportedError, match="^the kernel of my.domain::Mine does not take attribute 'other'$"):
        planned(parse(two, imports=', "my.domain": 1', check=False))
    fine = text.format("my.domain.Mine<known = 2>", "my.domain.Mine<known = 3>")
    assert outputs(parse(fine, imports=', "my.domain": 1', check=False), f32(1, 2))[0].tolist() == [6, 12]


# ------------------------------------------------------------------------------------------- nobody writes into inputs
def freeze(value: Any) -> None:
    """Make arrays read-only, and what they are views of."""
    if isinstance(value, list):
        for v in value:
            freeze(v)
    while isinstance(value, np.ndarray):
        value.flags.writeable = False
        value = value.base


def run_frozen(steps: Plan, inputs: list[Any]) -> list[Any]:
    """Run step by step; what a step has given, no later one can write into."""

    def frozen(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(xp: Any, *values: Any, **attributes: Any) -> Any:
            for v in values:
                freeze(v)
            return function(xp, *values, **attributes)

        return call

    for p in every_plan(steps):
        for array in p.constants.values():
            freeze(array)
        for step in p.steps:
            step.kernel = dataclasses.replace(step.kernel, function=frozen(step.kernel.function))
    with np.errstate(all="ignore"):
        return steps.run(REFERENCE, inputs)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(models())
def test_kernels_never_write_into_inputs(example: tuple[ModelProto, dict[str, np.ndarray]]) -> None:
    model, feeds = example
    arrays = [feeds[v.name].copy() for v in model.graph.input]
    before = [a.copy() for a in arrays]
    with np.errstate(all="ignore"):
        want = planned(model).run(REFERENCE, arrays)
    got = run_frozen(planned(model), arrays)
    assert all(map(same_bits, arrays, before))
    assert all(map(same_bits, want, got))


@pytest.mark.slow
def test_kernels_of_the_suite_never_write_into_inputs() -> None:
    """Every operator of the ONNX backend suite, in several of its cases."""
    wrote, count = {}, 0
    names = [n for n in suite.exported() if n.startswith("node/") and "expanded" not in n]
    for name in names:
        case = conformance.load(suite.exported()[name])
        model = onnx.load_model_from_string(case.model)
        if len(case.sets[0][0]) != len(model.graph.input):
            continue
        try:
            steps = planned(model)
        except GraphoptError:
            continue
        count += 1
        try:
            run_frozen(steps, case.sets[0][0])
        except RunError as e:
            if "read-only" in str(e):
                wrote[name] = str(e)
    assert count > 1000
    assert not wrote


def test_a_kernel_that_writes_into_its_input_is_noticed() -> None:
    """The test above tested."""
    steps = planned(parse("g (float[2] x) => (float[2] y) { a = Exp(x) y = Neg(a) }"))

    def wrong(xp: Any, x: Any) -> Any:
        return np.negative(x, out=x)

    steps.steps[1].kernel = dataclasses.replace(steps.steps[1].kernel, function=wrong)
    with pytest.raises(RunError, match="read-only"):
        run_frozen(steps, [f32(1, 2)])


# ------------------------------------------------------------------------------------------------------------ gradients
@needs_jax
def test_gradients_of_a_part_of_the_graph() -> None:
    """The derivative by one input, of what depends on a weight, a constant node and two other inputs as well."""
    model = with_constants(
        "g (float[2] x, float[2] w, float[2] v) => (float s, float[2] dx) { a = Mul(x, w) k = Constant<value_float = 3.0>() b = Mul(a, x) "
        "c = Mul(b, k) d = Mul(c, v) e = Mul(d, two) s = ReduceSum<keepdims = 0>(e) "
        'dx = ai.onnx.preview.training.Gradient<xs = ["x"], zs = ["w"], y = "s">(x, w) }',
        imports=', "ai.onnx.preview.training": 1',
        two=np.float32(2),
    )
    steps = planned(model)
    s, dx = steps.run(REFERENCE, [f32(1, 2), f32(5, 7), f32(1, 0.5)])
    assert float(s) == 6 * (5 + 4 * 7 * 0.5)
    np.testing.assert_allclose(dx, [2 * 6 * 5, 2 * 6 * 2 * 7 * 0.5])
    check_lifetimes(steps)


# ------------------------------------------------------------------------------------------------------ one node alone
def node_of(model: ModelProto, name: str) -> tuple[Any, Node]:
    m = load(model)
    return m, next(n for n in m.graph if any(v is not None and v.name == name for v in n.outputs))


def computed(text: str | ModelProto, name: str, *inputs: Any, **constants: Any) -> list[np.ndarray]:
    model = text if isinstance(text, ModelProto) else with_constants(text, **constants) if constants else parse(text)
    return evaluate(*node_of(model, name), inputs)


def test_one_node() -> None:
    (y,) = computed(
        "g (float[3] x) => (float[3] y) { a = Exp(x) y = Clip(a, , x) }", "y", f32(1, 2, 3), None, np.float32(2)
    )
    assert y.tolist() == [1, 2, 2]
    (y,) = computed("g (float[2] x) => (float[2] y) { y = Add(x, x) }", "y", f32(1, 2), f32(1, 2))
    assert y.tolist() == [2, 4]
    values = computed(
        "g (float[4] x, int64[1] k) => (float[2] v, int64[2] i) { v, i = TopK(x, k) }",
        "i",
        f32(1, 4, 3, 2),
        np.array([2]),
    )
    assert [v.tolist() for v in values] == [[4, 3], [1, 2]]
    only = computed(
        "g (float[2] x, float[2] s) => (float[1] d) { y, , d = LayerNormalization<epsilon = 0.0>(x, s) }",
        "d",
        f32(1, 5),
        f32(1, 1),
    )
    assert [v.tolist() for v in only] == [[-1, 1], [0.5]]


def test_one_node_gives_arrays_and_says_nothing_of_numbers(recwarn: pytest.WarningsRecorder) -> None:
    (y,) = computed("g (float[2] x) => (float s) { s = ReduceSum<keepdims = 0>(x) }", "s", f32(1, 2))
    assert type(y) is np.ndarray and y.shape == () and y == 3
    (y,) = computed("g (float[2] x) => (float[2] y) { y = Log(x) }", "y", f32(0, -1))
    assert y[0] == -np.inf and np.isnan(y[1])
    assert not recwarn


def test_one_node_with_bodies() -> None:
    text = "g (bool c, float[2] x) => (float[2] y) { y = If (c) <then_branch = t () => (float[2] p) { p = Add(k, k) }, else_branch = e () => (float[2] q) { q = Neg({}) }> }"
    assert computed(text.replace("{}", "k"), "y", np.array(True), k=f32(1, 2))[0].tolist() == [2, 4]
    with pytest.raises(CannotEvaluate):  # it reads what is not known here
        computed(text.replace("{}", "x"), "y", np.array(True), k=f32(1, 2))


def test_nodes_that_cannot_be_computed() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = other.Op(x) }", imports=', "other": 2')
    with pytest.raises(CannotEvaluate, match="^no kernel for other::Op at opset 2$"):
        computed(model, "y", f32(1, 2))
    with pytest.raises(CannotEvaluate, match="^cannot reshape array of size 2"):
        computed("g (float[2] x, int64[1] s) => (float[3] y) { y = Reshape(x, s) }", "y", f32(1, 2), np.array([3]))
    with pytest.raises(CannotEvaluate, match="^gives a list, not a tensor$"):
        computed("g (float[2] x) => (seq(float[2]) y) { y = SequenceConstruct(x) }", "y", f32(1, 2))
    with pytest.raises(UnsupportedError, match="no kernel for other::Op at opset 2"):
        plan_node(*node_of(model, "y"))


def test_the_message_for_a_node_of_a_protobuf() -> None:
    """Names of nodes come first, then those of outputs."""
    nodes: list[NodeProto] = [helper.make_node("Neg", ["x"], ["a"], "named"), helper.make_node("Exp", ["a"], ["y"])]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 17)]
    )
    assert [s.node for s in planned(model).steps] == ["named", "y"]
    assert step_of(planned(model), "named").op == "Neg"
