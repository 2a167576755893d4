"""Which steps of a plan run on the host, and which are traced together as a segment for a device.

A step's values decide where it can run. Shapes must be known when a segment is traced: a value that an operator needs
on the host (the target of a Reshape) either follows from shapes alone, which tracing knows, or from what was computed on
the host before the segment begins. So the plan is cut into stages: in each, steps of the host come first, then one
segment, which reads whatever earlier stages gave.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from graphopt.exec.plan import EMPTY, Plan, Step

#: Operators that compute shapes from small integers: what a host input needs is computed on the host through these.
_SHAPE_ARITHMETIC = frozenset(
    "Abs Add And Cast CastLike Ceil Concat ConstantOfShape Div Equal Expand Flatten Floor Gather GatherElements GatherND "
    "Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg Not Or Range ReduceMax ReduceMin ReduceProd "
    "ReduceSum Reshape Round ScatterElements ScatterND Sign Slice Split Sqrt Squeeze Sub Sum Tile Transpose Unsqueeze "
    "Where Xor SequenceAt SequenceConstruct SequenceLength OptionalGetElement OptionalHasElement".split()
)
_OF_SHAPES = frozenset({"Shape", "Size"})


@dataclass(slots=True)
class Segment:
    """Steps that are traced together.

    Attributes:
        steps: in order.
        reads: slots that earlier stages or the caller filled and that become arguments.
        fixed: likewise, but needed on the host while the segment is traced.
        writes: slots that later stages or the caller read.
    """

    steps: list[Step]
    reads: tuple[int, ...]
    fixed: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(slots=True)
class Stage:
    """What runs one after the other: steps on the host, then a segment."""

    host: list[Step]
    segment: Segment | None
    frees: tuple[int, ...] = ()


def partition(plan: Plan, forced: Collection[int] = ()) -> list[Stage]:
    """Cut a plan into stages.

    Args:
        plan: of a model.
        forced: indices of steps that have to run on the host, for reasons found out by trying.
    """
    steps = plan.steps
    producer = {slot: i for i, step in enumerate(steps) for slot in step.outputs if slot != EMPTY}
    on_host = _steps_on_host(plan, producer, forced)
    stage_of = _stages(plan, producer, on_host)
    count = max(stage_of, default=0) + 1
    last_use = dict.fromkeys(plan.outputs, count)
    for i, step in enumerate(steps):
        for slot in step.reads():
            last_use[slot] = max(last_use.get(slot, 0), stage_of[i])
    stages = [Stage([], None) for _ in range(count)]
    traced: list[list[Step]] = [[] for _ in range(count)]
    read_on_host: list[set[int]] = [set() for _ in range(count)]
    for i, step in enumerate(steps):
        if i in on_host:
            stages[stage_of[i]].host.append(step)
            read_on_host[stage_of[i]].update(step.reads())
        else:
            traced[stage_of[i]].append(step)
    for s, group in enumerate(traced):
        if group:
            stages[s].segment = _segment(group, plan, last_use, s)
    for slot, s in last_use.items():
        if s < count and slot not in plan.constants and slot != EMPTY:
            stages[s].frees += (slot,)
    return stages


def host_inputs(step: Step) -> Iterable[int]:
    """The slots that a step needs on the host."""
    marked = step.kernel.host
    for position, slot in enumerate(step.inputs):
        if slot != EMPTY and position in marked:
            yield slot


def _steps_on_host(plan: Plan, producer: dict[int, int], forced: Collection[int]) -> set[int]:
    """Steps that cannot be traced, and those that compute what must be known before tracing."""
    steps = plan.steps
    static = _known_while_tracing(plan)
    on_host = {i for i, step in enumerate(steps) if i in forced or step.kernel.on_host}
    on_host -= {i for i in on_host if i not in forced and all(s in static for s in steps[i].outputs if s)}
    todo = [slot for i, step in enumerate(steps) for slot in host_inputs(step) if slot not in static]
    todo += [slot for i in on_host for slot in steps[i].reads() if slot in static]
    seen: set[int] = set()
    while todo:
        slot = todo.pop()
        i = producer.get(slot)
        if slot in seen or i is None or slot in plan.constants:
            continue
        seen.add(slot)
        step = steps[i]
        if step.op in _OF_SHAPES or step.op in _SHAPE_ARITHMETIC or step.kernel.on_host:
            on_host.add(i)
            if step.op not in _OF_SHAPES:
                todo += step.reads()
    return on_host


def _known_while_tracing(plan: Plan) -> set[int]:
    """Slots whose values follow from constants and from the shapes of traced arrays."""
    known = {EMPTY, *plan.constants}
    for step in plan.steps:
        if step.bodies or step.op.startswith("Random") or step.op in ("Bernoulli", "Multinomial"):
            continue
        if step.op in _OF_SHAPES or all(slot in known for slot in step.inputs):
            known.update(step.outputs)
    return known


def _stages(plan: Plan, producer: dict[int, int], on_host: set[int]) -> list[int]:
    """The stage of each step: a step of the host waits for the segments that it reads from."""
    stage = [0] * len(plan.steps)
    for i, step in enumerate(plan.steps):
        for slot in step.reads():
            j = producer.get(slot)
            if j is not None:
                waits = i in on_host and j not in on_host
                stage[i] = max(stage[i], stage[j] + waits)
    return stage


def _segment(steps: list[Step], plan: Plan, last_use: dict[int, int], stage: int) -> Segment:
    own = {slot for step in steps for slot in step.outputs}
    read: dict[int, None] = {}
    fixed: dict[int, None] = {}
    for step in steps:
        needed = set(host_inputs(step))
        for slot in step.reads():
            if slot != EMPTY and slot not in own and slot not in plan.constants:
                (fixed if slot in needed else read)[slot] = None
    writes = [
        slot
        for step in steps
        for slot in step.outputs
        if slot != EMPTY and (last_use.get(slot, -1) > stage or slot in plan.outputs)
    ]
    reads = tuple(slot for slot in read if slot not in fixed)
    return Segment(steps, reads, tuple(fixed), tuple(dict.fromkeys(writes)))
