"""How plans are cut for a device: what runs on the host, in which stages, and what segments read, fix and write."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.exec.partition import Stage, host_inputs, partition
from graphopt.exec.plan import EMPTY, Plan
from graphopt.exec.planning import plan
from graphopt.ir import load
from tests.ir.building import parse, with_constants
from tests.property_graphs import models

#: A stage in words: the nodes on the host, and those of the segment.
Words = tuple[str, str]


def words(stages: list[Stage]) -> list[Words]:
    return [
        (" ".join(s.node for s in stage.host), " ".join(s.node for s in stage.segment.steps) if stage.segment else "")
        for stage in stages
    ]


def cut(model: ModelProto, forced: Collection[str] = ()) -> list[Words]:
    """The stages of a model, in which the forced nodes have to run on the host."""
    steps = plan(load(model))
    stages = partition(steps, [i for i, s in enumerate(steps.steps) if s.node in forced])
    check(steps, stages)
    return words(stages)


def check(steps: Plan, stages: list[Stage]) -> None:
    """Every step runs once, when all that it reads is there; what it needs on the host is known before it is traced."""
    ran: list[int] = []
    place = {id(s): i for i, s in enumerate(steps.steps)}
    there = {*steps.inputs, *steps.constants, EMPTY}
    on_device: set[int] = set()
    for stage in stages:
        for step in stage.host:
            assert set(step.reads()) <= there, f"{step} runs before its inputs"
            there.update(step.outputs)
            ran.append(place[id(step)])
        segment = stage.segment
        if segment is not None:
            assert segment.steps, "an empty segment"
            arguments = {*segment.reads, *segment.fixed}
            assert len(arguments) == len(segment.reads) + len(segment.fixed), "given twice"
            assert arguments <= there and not arguments & {EMPTY, *steps.constants}
            inside: set[int] = set()
            for step in segment.steps:
                assert set(step.reads()) <= arguments | inside | steps.constants.keys() | {EMPTY}, f"{step} reads more"
                assert not set(host_inputs(step)) & set(segment.reads), f"{step} needs on the host what is traced"
                inside.update(step.outputs)
                ran.append(place[id(step)])
            used = {slot for step in segment.steps for slot in step.reads()}
            assert arguments <= used, "an argument that nobody reads"
            assert EMPTY not in segment.writes and set(segment.writes) <= inside
            there.update(segment.writes)
            on_device.update(inside)
        remaining = {id(s) for s in steps.steps} - {id(steps.steps[i]) for i in ran}
        read_later = {slot for s in steps.steps if id(s) in remaining for slot in s.reads()} | set(steps.outputs)
        assert not set(stage.frees) & (read_later | steps.constants.keys() | {EMPTY}), "freed too early"
        there -= set(stage.frees)
        left = (there & on_device) - read_later
        assert not left, "what nobody reads later is kept"
    assert sorted(ran) == list(range(len(steps.steps)))
    assert set(steps.outputs) <= there


# ------------------------------------------------------------------------------------------------- a table of what goes where
X = "float[2,3] x"
CASES: dict[str, tuple[str, list[Words]]] = {
    "all together": (f"g ({X}) => (float[2,3] y) {{ a = Neg(x) b = Exp(a) y = Add(a, b) }}", [("", "a b y")]),
    "nothing at all": (f"g ({X}) => ({X}) {{ }}", [("", "")]),
    "a shape that is fed": (f"g ({X}, int64[2] s) => (float[a,b] y) {{ a = Neg(x) y = Reshape(a, s) }}", [("", "a y")]),
    "arithmetic with a shape that is fed": (
        f"g ({X}, int64[1] n) => (float[a,b] y) {{ m = Neg(n) one = Neg(m) s = Concat<axis = 0>(one, n) a = Exp(x) y = Reshape(a, s) }}",
        [("m one s", "a y")],
    ),
    "a shape follows from shapes": (
        f"g ({X}) => (float[a] y) {{ a = Exp(x) t = Transpose(a) s = Shape(t) p = ReduceProd(s) y = Reshape(a, p) }}",
        [("", "a t s p y")],
    ),
    "a shape follows from shapes and what is fed": (
        f"g ({X}, int64[2] n) => (float[a,b] y) {{ a = Exp(x) s = Shape(a) p = Max(s, n) y = Expand(a, p) }}",
        [("", "a"), ("s p", "y")],
    ),
    "a shape follows from elements": (
        (
            f"g ({X}) => (float[a] y, float[2,3] z) {{ a = Exp(x) m = ReduceMax<keepdims = 0>(a) i = Cast<to = 7>(m) s = Neg(i) "
            "t = Unsqueeze(i, zero) y = Expand(m, t) z = Neg(a) }"
        ),
        [("", "a z"), ("m i t", "s y")],
    ),
    "elements that no arithmetic of shapes leads to": (
        f"g ({X}) => (float[a] y) {{ a = Exp(x) b = Hardmax(a) i = ArgMax<keepdims = 0>(b) y = Expand(x, i) z = Neg(y) }}",
        [("", "a b i y z")],  # tried, and moved where it cannot be traced
    ),
    "NonZero of a weight": (
        f"g ({X}) => (float[n] y) {{ i = NonZero(k) t = Squeeze(i, zero) y = Gather(x, t) }}",
        [("", "i t y")],
    ),
    "NonZero of an input": (
        f"g ({X}) => (float[n] y) {{ i = NonZero(x) t = Transpose(i) y = GatherND(x, t) }}",
        [("i", "t y")],
    ),
    "NonZero in the middle": (
        f"g ({X}) => (float[n] y) {{ a = Exp(x) i = NonZero(a) t = Transpose(i) b = Neg(a) y = GatherND(b, t) }}",
        [("", "a b"), ("i", "t y")],
    ),
    "one after the other": (
        f"g ({X}) => (int64[2,m] y) {{ a = Exp(x) i = NonZero(a) b = Neg(i) j = NonZero(b) c = Neg(j) y = Neg(c) }}",
        [("", "a"), ("i", "b"), ("j", "c y")],
    ),
    "from host to host": (
        f"g ({X}) => (int64[2,m] y) {{ i = NonZero(x) j = NonZero(i) y = Neg(j) }}",
        [("i j", "y")],
    ),
    "branches of their own": (
        f"g ({X}) => (int64[2,m] y, float[2,3] z) {{ a = Exp(x) i = NonZero(a) y = Neg(i) b = Neg(x) c = Abs(b) z = Add(c, a) }}",
        [("", "a b c z"), ("i", "y")],
    ),
    "text": (
        f"g ({X}, string[2] s) => (string[2] u, float[2,3] y) {{ t = StringConcat(s, s) u = StringConcat(t, t) y = Exp(x) }}",
        [("t u", "y")],
    ),
    "a condition that is fed": (
        (
            f"g ({X}, bool c) => (float[2,3] y) {{ a = Exp(x) y = If (c) <then_branch = t () => (float[2,3] p) {{ p = Neg(a) }}, "
            "else_branch = e () => (float[2,3] q) { q = Neg(x) }> }"
        ),
        [("", "a y")],
    ),
    "a condition that depends on elements": (
        (
            f"g ({X}) => (float[2,3] y) {{ a = Exp(x) m = ReduceMax<keepdims = 0>(a) c = Greater(m, two) y = If (c) <"
            "then_branch = t () => (float[2,3] p) { p = Neg(a) }, else_branch = e () => (float[2,3] q) { q = Neg(x) }> }"
        ),
        [("", "a"), ("m c", "y")],
    ),
    "a loop that is counted": (
        (
            f"g ({X}, int64 n) => (float[2,3] y) {{ a = Exp(x) y = Loop (n, , a) <body = b (int64 i, bool go, float[2,3] s) => "
            "(bool on, float[2,3] t) { on = Identity(go) t = Add(s, x) }> }"
        ),
        [("", "a y")],
    ),
    "a loop whose number of turns depends on elements": (
        (
            f"g ({X}) => (float[2,3] y) {{ a = Exp(x) m = ReduceMax<keepdims = 0>(a) n = Cast<to = 7>(m) y = Loop (n, , a) <"
            "body = b (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] t) { on = Identity(go) t = Add(s, x) }> }"
        ),
        [("", "a"), ("m n", "y")],
    ),
    "random numbers are not constants": (
        "g () => (int64[2,n] i) { r = RandomUniform<shape = [2, 3]>() i = NonZero(r) }",
        [("r i", "")],  # drawn on the host each time
    ),
    "the host needs what tracing knows": (
        f"g ({X}) => (float[2,n] y) {{ a = Exp(x) s = Shape(a) c = Cast<to = 9>(s) y = Compress<axis = 1>(a, c) }}",
        [("", "a"), ("s c y", "")],
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_what_runs_where(what: str) -> None:
    text, stages = CASES[what]
    constants = {"zero": np.array([0]), "k": np.array([1, 0, 2]), "two": np.float32(2)}
    read = {name: v for name, v in constants.items() if f"{name})" in text}
    assert cut(with_constants(text, 20, 9, **read) if read else parse(text, 20, 9, check=False)) == stages


def test_forced_steps() -> None:
    text = f"g ({X}) => (float[2,3] y) {{ a = Exp(x) b = Neg(a) c = Abs(b) y = Add(c, a) }}"
    assert cut(parse(text), ["a"]) == [("a", "b c y")]
    assert cut(parse(text), ["b"]) == [("", "a"), ("b", "c y")]
    assert cut(parse(text), ["y"]) == [("", "a b c"), ("y", "")]
    assert cut(parse(text), ["b", "c"]) == [("", "a"), ("b c", "y")]
    assert cut(parse(text), ["a", "b", "c", "y"]) == [("a b c y", "")]


def test_forced_steps_of_constants_and_shapes() -> None:
    """Also what tracing knows can be forced; what it reads of that comes with it."""
    text = f"g ({X}) => (float[2,3] y, int64[2] t) {{ a = Exp(x) s = Shape(a) t = Add(s, s) y = Reshape(a, t) }}"
    assert cut(parse(text)) == [("", "a s t y")]
    assert cut(parse(text), ["t"]) == [("", "a"), ("s t", "y")]
    assert cut(parse(text), ["s"]) == [("", "a"), ("s", "t y")]


# ---------------------------------------------------------------------------------------------------------- the slots
def test_reads_fixed_writes_and_frees() -> None:
    """y = Reshape(Exp(x), s), z = Compress(Neg(Exp(x)) * w): slots of x, s, w and all others."""
    steps = plan(
        load(
            parse(
                "g (float[2,3] x, int64[2] s, float[2,3] w) => (float[a,b] y, float[n] z) "
                "{ e = Exp(x) y = Reshape(e, s) m = Neg(e) i = NonZero(m) p = Mul(m, w) t = Transpose(i) z = GatherND(p, t) }"
            )
        )
    )
    stages = partition(steps)
    check(steps, stages)
    assert words(stages) == [("", "e y m p"), ("i", "t z")]
    x, s, w = steps.inputs
    slot = {step.node: step.outputs[0] for step in steps.steps}
    first, second = (stage.segment for stage in stages)
    assert first is not None and second is not None
    assert (first.reads, first.fixed) == ((x, w), (s,))
    assert set(first.writes) == {slot[n] for n in ("y", "m", "p")}, (
        "m is read on the host, p and m later, y is an output"
    )
    assert (set(second.reads), second.fixed, second.writes) == ({slot["i"], slot["p"]}, (), (slot["z"],))
    assert set(stages[0].frees) == {x, s, w, slot["e"]}
    assert set(stages[1].frees) == {slot[n] for n in ("m", "i", "p", "t")}


def test_what_bodies_capture_is_read() -> None:
    steps = plan(
        load(
            parse(
                "g (float[2] x, bool c) => (float[2] y) { a = Neg(x) i = NonZero(a) b = Cast<to = 1>(i) r = ReduceSum<keepdims = 0>(b) "
                "y = If (c) <then_branch = t () => (float[2] p) { p = Add(a, r) }, else_branch = e () => (float[2] q) { q = Identity(x) }> }"
            )
        )
    )
    stages = partition(steps)
    check(steps, stages)
    assert words(stages) == [("", "a"), ("i", "b r y")]
    x, c = steps.inputs
    last = stages[1].segment
    assert last is not None
    assert {x, steps.steps[0].outputs[0]} <= set(last.reads) and last.fixed == (c,)
    assert x not in stages[0].frees


def test_a_value_that_is_needed_on_the_host_and_traced_is_fixed_once() -> None:
    model = parse(
        "g (float[2,3] x, int64[2] s) => (float[a,b] y, int64[2] z) { y = Reshape(x, s) z = Exp(s) }", check=False
    )
    steps = plan(load(model))
    (stage,) = partition(steps)
    check(steps, [stage])
    assert stage.segment is not None
    assert (stage.segment.reads, stage.segment.fixed) == ((steps.inputs[0],), (steps.inputs[1],))


def test_which_inputs_are_needed_on_the_host() -> None:
    model = with_constants(
        "g (float[2,3] x, int64[2] s, float[1,1,2,3] i, int64[4] sizes) => (float[a,b] y, float[1,1,a,b] z, float[2,3] w) "
        "{ y = Reshape(x, s) z = Resize(i, , , sizes) w = Add(x, x) k = Tile(x, two) }",
        two=np.array([2, 2]),
    )
    steps = plan(load(model))
    x, s, i, sizes = steps.inputs
    assert [tuple(host_inputs(step)) for step in steps.steps[:3]] == [(s,), (sizes,), ()]
    assert set(host_inputs(steps.steps[3])) <= steps.constants.keys()


# ----------------------------------------------------------------------------------------------------------- whatever comes
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(models(), st.data())
def test_random_graphs_with_any_steps_forced(
    example: tuple[ModelProto, dict[str, np.ndarray]], data: st.DataObject
) -> None:
    steps = plan(load(example[0]))
    forced = data.draw(st.sets(st.sampled_from(range(len(steps.steps)))) if steps.steps else st.just(set()))
    stages = partition(steps, forced)
    check(steps, stages)
    on_host = {id(s) for stage in stages for s in stage.host}
    assert {id(steps.steps[i]) for i in forced} <= on_host
