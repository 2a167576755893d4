"""Branches and loops: the types of what bodies give, in terms of what is known around them.

A name that was made up in a body stands for another number at each run of it, so it is replaced on the way out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from onnx import TensorProto

from graphopt.ir import Dim, Graph, Shape, Value
from graphopt.shapes.dims import less, maximum, same_dims
from graphopt.shapes.operators.sequences import alike, length_of, same_dtype
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site, known_elements, one_axis
from graphopt.shapes.types import TypeInfo, Unknown, sequence_of, together, without

#: How often the body of a loop is inferred with types that hold for more and more iterations.
_ROUNDS = 8


class Outside:
    """Dims on their way out of a body: those that mean something only inside get new names, equal ones the same.

    Create it before the body is inferred.
    """

    def __init__(self, node: Site) -> None:
        self.node = node
        self.since = node.facts.made
        self._names: dict[Hashable, Dim] = {}

    def escapes(self, d: Dim) -> bool:
        """Whether a dim says nothing outside."""
        return d is None or self.node.facts.escapes(d, self.since)

    def named(self, key: Hashable) -> Dim:
        """A name for the dim that comes from these ones inside."""
        if key not in self._names:
            self._names[key] = self.node.fresh()
        return self._names[key]

    def dims(self, shape: Shape) -> Shape:
        return tuple([self.named(d) if self.escapes(d) else d for d in shape])

    def type(self, info: TypeInfo) -> TypeInfo:
        """A type with names for its dims; in what a sequence or an optional holds they are left out."""
        if info.type is not None:
            return without(info, self.escapes)
        return info if info.shape is None else TypeInfo(info.dtype, self.dims(info.shape))


# --------------------------------------------------------------------------------------------------------------- branches
@infers("If")
def if_(node: Site) -> list[TypeInfo]:
    """What both branches agree about; where the condition is known, what the branch gives that is taken."""
    outside = Outside(node)
    branches = [node.body(node.attribute(name), ()) for name in ("then_branch", "else_branch")]
    if len({len(b) for b in branches}) != 1:
        raise ValueError(f"If: the branches have {len(branches[0])} and {len(branches[1])} outputs")
    decided = node.facts.decided.get(node.node)
    condition = node.element(0) if decided is None else 1 - decided
    if isinstance(condition, int):
        taken, other = branches if condition else branches[::-1]
        return [outside.type(_with_dtype(p, q)) for p, q in zip(taken, other, strict=True)]
    return [_either(outside, p, q) for p, q in zip(*branches, strict=True)]


def _with_dtype(info: TypeInfo, other: TypeInfo) -> TypeInfo:
    """A type with the dtype of another one, which must be the same, where it has none."""
    return info if info.dtype or info.type is not None else info._replace(dtype=other.dtype)


def _either(outside: Outside, a: TypeInfo, b: TypeInfo) -> TypeInfo:
    if a.type is not None or b.type is not None:
        return without(alike(a, b), outside.escapes)
    dtype = same_dtype(a, b)
    if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return TypeInfo(dtype, None)
    pairs = zip(a.shape, b.shape, strict=True)
    return TypeInfo(
        dtype,
        tuple([p if same_dims(p, q) and not outside.escapes(p) else outside.named((p, q)) for p, q in pairs]),
    )


# ------------------------------------------------------------------------------------------------------------------ loops
@infers("Loop")
def loop(node: Site) -> list[TypeInfo]:
    """The carried values after the last iteration, and what the iterations gave, stacked."""
    body: Graph = node.attribute("body")
    count = max(len(node.inputs) - 2, 0)
    if len(body.inputs) != count + 2:
        raise ValueError(f"Loop: {count} values are carried, and the body has {len(body.inputs)} inputs")
    outside = Outside(node)
    number = TypeInfo(TensorProto.INT64, _declared_scalar(body, 0))
    start = [TypeInfo(TensorProto.BOOL, _declared_scalar(body, 1)), *[node.info(i + 2) for i in range(count)]]
    before, after = _fixpoint(node, body, number, _with_elements(node, body, number, start))

    once, forever = _first_runs(node), _goes_on(node, body)
    trips = maximum(node.element(0), 0) if node.has(0) else None
    at_least_once = once is True and (not node.has(0) or less(0, trips) is True)
    if once is False or trips == 0:
        final, trips = start[1:], 0
    elif at_least_once:
        final = [outside.type(i) for i in after[1 : count + 1]]
    else:
        final = [outside.type(i) for i in before[1:]]
    if trips != 0 and not (once and forever):
        trips = None
    stacked = []
    for info in after[count + 1 :]:
        shape = info.shape
        if shape is not None:
            # without any iteration runtimes give zeros for what is no plain number
            kept = outside.dims(shape) if at_least_once else [d if isinstance(d, int) else None for d in shape]
            shape = node.or_fresh((trips, *kept))
        stacked.append(TypeInfo(info.dtype, shape))
    return [*final, *stacked]


def _declared_scalar(body: Graph, i: int) -> Shape:
    """The shape of the iteration number or the condition: runtimes give one element where a body declares a vector."""
    info = body.input_infos.get(body.inputs[i])
    return (1,) if info is not None and len(info.type.tensor_type.shape.dim) == 1 else ()


def _first_runs(node: Site) -> bool | None:
    """Whether the condition lets the first iteration run."""
    if not node.has(1):
        return True
    condition = node.element(1)
    return bool(condition) if isinstance(condition, int) else None


def _goes_on(node: Site, body: Graph) -> bool:
    """Whether the body never ends the loop: it gives true, or the condition that it got."""
    v: Value | None = body.outputs[0]
    while v is not None:
        if v is body.inputs[1]:
            return True
        array = known_elements(v)
        if array is not None and array.size == 1 and isinstance(array.reshape(-1)[0], int):
            return bool(array.reshape(-1)[0])
        v = v.node.inputs[0] if v.node is not None and v.node.op in ("Identity", "Cast") else None
    return False


def _with_elements(node: Site, body: Graph, number: TypeInfo, start: list[TypeInfo]) -> list[TypeInfo]:
    """Carried sequences that are empty at first are sequences of anything: let it be what the body puts in."""
    empty = [i for i in range(1, len(start)) if length_of(node.value(i + 1)) == 0]
    if not empty:
        return start
    outside = Outside(node)
    node.body(body, [number, *start])
    out = list(start)
    for i in empty:
        v: Value | None = body.outputs[i]
        while v is not None and v.node is not None and v.node.op in ("SequenceInsert", "Identity"):
            if v.node.op == "SequenceInsert" and (new := v.node.inputs[1]) is not None:
                out[i] = sequence_of(without(TypeInfo(new.dtype, new.shape, new.type), outside.escapes))
                break
            v = v.node.inputs[0]
    return out


def _fixpoint(
    node: Site, body: Graph, number: TypeInfo, start: Sequence[TypeInfo]
) -> tuple[list[TypeInfo], list[TypeInfo]]:
    """Types that the carried values have before each iteration, and those of what the body then gives."""
    before = list(start)
    varying: set[Dim] = set()
    for rounds in range(2 * _ROUNDS):
        after = node.body(body, [number, *before])
        if len(after) < len(before):
            raise ValueError(f"Loop: {len(before) - 1} values are carried, and the body has {len(after)} outputs")
        wider = _wider(node, before, after[: len(before)], varying)
        if wider == before:
            return before, after
        before = wider if rounds < _ROUNDS else [_nothing_but_dtypes(i) for i in wider]
    raise Unknown("the types of the carried values change from iteration to iteration")


def _nothing_but_dtypes(info: TypeInfo) -> TypeInfo:
    return together(lambda t: TypeInfo(t.dtype, None), info)


def _wider(node: Site, before: Sequence[TypeInfo], after: Sequence[TypeInfo], varying: set[Dim]) -> list[TypeInfo]:
    """Types for what comes in and for what goes out.

    A dim that differs gets a name (they are collected in `varying`). Dims that were equal and are equal afterwards share
    theirs: past keys and values grow alike.
    """
    becomes: dict[Dim, set[Dim]] = {}
    for _, pairs in map(_dims_of, before, after):
        for old, new in pairs:
            becomes.setdefault(old, set()).add(new)
    names: dict[tuple[Dim, Dim], Dim] = {}

    def wider(old: Dim, new: Dim) -> Dim:
        if old in varying:
            if len(becomes[old]) == 1:
                return old
        elif same_dims(old, new):
            return old
        if (old, new) not in names:
            names[old, new] = node.fresh()
            varying.add(names[old, new])
        return names[old, new]

    out = []
    for a, b in zip(before, after, strict=True):
        dense, pairs = _dims_of(a, b)
        if not dense:
            out.append(alike(a, b))
            continue
        same_rank = a.shape is not None and b.shape is not None and len(a.shape) == len(b.shape)
        shape = tuple([wider(old, new) for old, new in pairs]) if same_rank else None
        out.append(TypeInfo(same_dtype(a, b), shape))
    return out


def _dims_of(a: TypeInfo, b: TypeInfo) -> tuple[bool, list[tuple[Dim, Dim]]]:
    """Whether two types are of dense tensors, and their dims in pairs."""
    if a.type is not None or b.type is not None:
        return False, []
    if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return True, []
    return True, list(zip(a.shape, b.shape, strict=True))


# ------------------------------------------------------------------------------------------------------------------ scans
@infers("Scan", since=9)
def scan(node: Site) -> list[TypeInfo]:
    """The states after the last element, and what the body gave for each, stacked along an axis."""
    count = int(node.attribute("num_scan_inputs"))
    states = len(node.inputs) - count
    axes = node.attribute("scan_input_axes") or [0] * count
    length: Dim = None
    elements = []
    for i, axis in zip(range(states, len(node.inputs)), axes, strict=True):
        x = node.shape(i)
        if x is not None:
            a = one_axis(axis, len(x))
            length = node.equate(length, x[a])
            x = x[:a] + x[a + 1 :]
        elements.append(TypeInfo(node.dtype(i), x))
    length = node.fresh() if length is None else length
    return _scanned(node, length, [node.info(i) for i in range(states)], elements)


def _scanned(
    node: Site, length: Dim, states: list[TypeInfo], elements: list[TypeInfo], batch: Shape = ()
) -> list[TypeInfo]:
    """States keep their shapes: the operator wants them to."""
    outside = Outside(node)
    found = node.body(node.attribute("body"), [*states, *elements])
    if len(found) < len(states):
        raise ValueError(f"Scan: {len(states)} states, and the body has {len(found)} outputs")
    runs = less(0, length) is True and not batch
    out = [_with_batch(batch, _kept(node, outside, p, q, runs)) for p, q in zip(states, found, strict=False)]
    rest = found[len(states) :]
    axes = node.attribute("scan_output_axes") or [0] * len(rest)
    for info, axis in zip(rest, axes, strict=True):
        shape = info.shape
        if shape is not None:
            a = one_axis(axis, len(shape) + 1)
            shape = outside.dims(shape)
            shape = (*shape[:a], length, *shape[a:])
        out.append(_with_batch(batch, TypeInfo(info.dtype, shape)))
    return out


def _with_batch(batch: Shape, info: TypeInfo) -> TypeInfo:
    return info if info.shape is None or not batch else TypeInfo(info.dtype, batch + info.shape)


def _kept(node: Site, outside: Outside, before: TypeInfo, after: TypeInfo, runs: bool) -> TypeInfo:
    """A state, which has one shape before and after each element."""
    if before.type is not None or after.type is not None:
        return before
    dtype = same_dtype(before, after)
    if before.shape is None or after.shape is None or not runs:
        shape = before.shape
        if shape is None and after.shape is not None and runs:
            shape = outside.dims(after.shape)
        return TypeInfo(dtype, shape)
    if len(before.shape) != len(after.shape):
        raise ValueError(f"Scan: a state has {len(before.shape)} dims before and {len(after.shape)} after")
    pairs = zip(before.shape, after.shape, strict=True)
    return TypeInfo(dtype, tuple([node.equate(p, q) if not outside.escapes(q) else p for p, q in pairs]))


@infers("Scan")
def batched_scan(node: Site) -> list[TypeInfo]:
    """Opset 8: everything has a batch dim in front, then the one that is scanned; the lengths are the first input."""
    count = int(node.attribute("num_scan_inputs"))
    first = len(node.inputs) - count
    batch: Dim = None
    length: Dim = None
    if node.has(0) and node.rank(0) == 1:
        batch = node.needed(0)[0]
    inner: list[TypeInfo] = []
    for i in range(1, len(node.inputs)):
        shape, outer = node.shape(i), 1 if i < first else 2
        if shape is not None:
            if len(shape) < outer:
                raise ValueError(f"Scan: input {i} has {len(shape)} dims")
            batch = node.equate(batch, shape[0])
            if outer == 2:
                length = node.equate(length, shape[1])
            shape = shape[outer:]
        inner.append(TypeInfo(node.dtype(i), shape))
    batch, length = node.or_fresh((batch, length))
    return _scanned(node, length, inner[: first - 1], inner[first - 1 :], (batch,))
