"""From a rule's declaration to models in which it should fire: its left side, built, with something around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto

from graphopt.ir import Node, Value, op_schema
from graphopt.rewrite import Rule
from graphopt.testing.building.builder import Builder, Invalid
from graphopt.testing.choices import Choices, Draw
from graphopt.testing.declarations.hints import hints_of
from graphopt.testing.declarations.left_side import LeftSide
from graphopt.testing.declarations.signature import older_opsets_of, opsets_of

_STYLES = ((5, "plain"), (2, "positive"), (1, "large"), (1, "small"), (1, "mixed"), (2, "whole"), (1, "binary"))


@dataclass(frozen=True)
class Instance:
    """A model in which a rule should fire.

    Attributes:
        model: it is valid.
        feeds: inputs for it.
        variant: which of the rule's variants it was made from.
        finite: whether all values in it are numbers of moderate size.
    """

    model: ModelProto
    feeds: dict[str, Any]
    variant: int
    finite: bool


@st.composite
def instances(
    draw: Draw, rule: Rule, decoys: bool = True, style: str | None = None, variant: int | None = None
) -> Instance | str:
    """A strategy for instances of a rule; text where what was drawn is no valid model, which says why.

    Args:
        decoys: put something around the left side: inner values that escape, other users, an If with the same inside.
        variant: which of the rule's variants; None: any.
        style: of all numbers (see `tensors`); None: now this, now that, and NaN and infinities where the rule is exact.
    """
    choices = Choices(draw)
    k = choices.integer(0, len(rule.variants) - 1) if variant is None else variant
    try:
        return draw_instance(choices, rule, k, decoys, style)
    except Invalid as e:
        return str(e)


#: What masks go through, and what they end in. Where a result is not moderate either, its own readers are asked.
_MASKING = frozenset(
    "Add Concat Expand Gather Identity IsNaN Max Reshape Slice Softmax Squeeze Tile Transpose Unsqueeze Where".split()
)
#: Operators that ONNX Runtime refuses to run on nothing; no rule can tell that a dim with a name is not 0.
_WITHOUT_EMPTY = frozenset({"Attention"})


def draw_instance(choices: Choices, rule: Rule, k: int, decoys: bool, style: str | None) -> Instance:
    """An instance of a rule's variant `k`, by any choices.

    Raises:
        Invalid: what was drawn is no valid model.
    """
    variant = rule.variants[k]
    versions = opsets_of(variant)
    older = older_opsets_of(variant, hints_of(rule).words)
    if older and choices.chance(4):
        versions = older
    if any(v >= rule.since for v in versions) and not choices.chance(8):
        versions = [v for v in versions if v >= rule.since]
    if not versions:
        raise Invalid("no opset has all these operators")
    domains = {c.domain: 1 for c in variant.calls if c.domain}
    builder = Builder(choices, _opset(choices, rule, versions), domains)
    asks, counted = hints_of(rule).shapes, hints_of(rule).channels  # channels that count are numbers
    # of which all have to be known
    many = sum(kind.role == "tensor" for kind in rule.kinds.values()) > 6 or any(
        "larger" in w or "padding alone" in w for w in hints_of(rule).words
    )
    for size, name in ((2, "N"), (3, "M"), (4, "K")):
        if choices.chance(8 if many else 4 if counted else 2) or (
            asks and not counted and not many and choices.chance(3)
        ):
            builder.names[size] = name
    if asks:  # a dim that is known by name may be empty, or of one element
        ones = 3 if any("broadcast the image" in w for w in hints_of(rule).words) else 12
        builder.names.update({size: name for size, name, of in ((0, "E", 2), (1, "B", ones)) if choices.chance(of)})
        if not _WITHOUT_EMPTY.isdisjoint(hints_of(rule).own_operators):
            builder.names.pop(0, None)
    doubts = any("known" in w or "rank" in w for w in hints_of(rule).words)  # the rule tells of a rank that it needs
    builder.vague = choices.chance(8 if many else 2 if doubts else 4 if asks else 8)
    turned = "transA" in hints_of(rule).words  # which is not seen where it is forgotten, unless matrices are square
    builder.alike = choices.one((2, 3)) if choices.chance(2 if turned else 4) else None
    special = rule.exact and style is None and choices.chance(2)
    any_style = style is None
    style = style or choices.weighted(_STYLES)
    left = LeftSide(builder, rule, variant, style, special, tame=not any_style)
    if any_style and TensorProto.FLOAT8E4M3FN in left.signature.dtypes.values():
        left.style = "ends"
    if any_style and TensorProto.FLOAT16 in left.signature.dtypes.values() and choices.chance(2 if left.narrow else 3):
        # towards the end of its range
        left.style, left.generic = choices.one(("small", "mixed")), True
        left.uneven = left.narrow and not choices.chance(3)
    if any_style and any("would be rounded" in w for w in hints_of(rule).nearby) and choices.chance(4):
        left.style, left.beyond = "small", True
    if decoys and choices.chance(8):
        roots = _inside_if(left)
    else:
        roots = left.build()
    _surround(builder, left, roots, decoys)
    model = builder.finish()
    arrays = [
        (v, a) for v, a in builder.arrays.items() if isinstance(a, np.ndarray) and a.dtype.kind in "fV" and v.dtype
    ]
    return Instance(model, builder.feeds, k, all(_moderate(a) or _masks(v) for v, a in arrays))


def _opset(choices: Choices, rule: Rule, versions: Sequence[int]) -> int:
    """An opset, mostly one that has every operator which the rule's body mentions: it may be going to write it."""
    all_there = [v for v in versions if all(op_schema(name, v) is not None for name in hints_of(rule).own_operators)]
    options = all_there if all_there and not choices.chance(8) else versions
    return choices.weighted([(3 if i < 4 else 1, v) for i, v in enumerate(options)])


def _moderate(array: np.ndarray) -> bool:
    wide = np.abs(array.astype(np.float64))
    return bool((wide < (1e3 if array.dtype.itemsize == 2 else 1e6)).all())


def _masks(v: Value) -> bool:
    """Whether a value is only read by what makes moderate numbers of others: masks hide by minus infinity."""
    return not v.exits and all(n.op in _MASKING or (n.op == "Attention" and v not in n.inputs[:3]) for n in v.uses)


# ------------------------------------------------------------------------------------------------------------- around it
def _surround(builder: Builder, left: LeftSide, roots: Sequence[Value], decoys: bool) -> None:
    """Outputs, and other users of what is there."""
    choices = builder.choices
    for root in roots:
        shown = root
        if decoys and choices.chance(3):
            shown = _used(builder, root)
            if choices.chance(3):
                builder.output(root)
        if left.uneven:
            _show_parts(builder, root, 1 if any(c.op == "Conv" for c in left.variant.calls) else -1)
        elif decoys and choices.chance(6):
            builder.output(_part(builder, root))
        builder.output(shown)
    if not decoys:
        return
    inner = [v for values in left.made.values() for v in values if v not in roots and v.graph is builder.model.graph]
    if inner and choices.chance(5):  # it escapes
        v = choices.one(inner)
        builder.output(v if choices.integer(0, 1) else _used(builder, v))
    given = [v for v in left.bound.values() if isinstance(v, Value) and v.graph is builder.model.graph]
    if given and choices.chance(4):
        builder.output(_used(builder, choices.one(given)))


def _used(builder: Builder, v: Value) -> Value:
    """Something that reads a value."""
    numeric = v.dtype in (TensorProto.FLOAT, TensorProto.DOUBLE)
    return builder.node(builder.choices.one(["Abs", "Neg"]) if numeric else "Identity", [v])[0]


def _part(builder: Builder, v: Value) -> Value:
    """One place of a tensor along an axis: what is wrong there is not hidden by larger numbers beside it."""
    array, choices = builder.arrays[v], builder.choices
    if not isinstance(array, np.ndarray) or not array.size or not array.ndim:
        return v
    axis = choices.integer(0, array.ndim - 1)
    return _place(builder, v, axis, choices.integer(0, array.shape[axis] - 1))


def _show_parts(builder: Builder, v: Value, axis: int) -> None:
    """Some places of a tensor along an axis, each as an output."""
    array = builder.arrays[v]
    if isinstance(array, np.ndarray) and array.size and -array.ndim <= axis < array.ndim:
        for index in range(min(array.shape[axis], 6)):
            builder.output(_place(builder, v, axis, index))


def _place(builder: Builder, v: Value, axis: int, index: int) -> Value:
    return builder.node("Gather", [v, builder.constant(np.array(index, np.int64))], {"axis": axis})[0]


def _nothing(a: np.ndarray) -> np.ndarray:
    """Zeros, or empty texts."""
    return np.full(a.shape, "", object) if a.dtype == object else np.zeros_like(a)


def _inside_if(left: LeftSide) -> list[Value]:
    """The left side in a branch of an If; what it reads lies around it."""
    builder = left.builder
    condition = builder.input(np.array(not builder.choices.chance(6)), "condition")
    with builder.body("then") as then:
        roots = left.build()
        arrays = [builder.arrays[r] for r in roots]
        builder.end_body(then, roots)
    with builder.body("otherwise") as otherwise:
        zeros = [builder.constant(_nothing(a)) for a in arrays]
        builder.end_body(otherwise, zeros)
    node = Node("If", [condition], attributes={"then_branch": then, "else_branch": otherwise})
    node.subgraphs = [then, otherwise]
    made = builder.add(node, len(roots), "y")
    taken = arrays if bool(builder.arrays[condition]) else list(map(_nothing, arrays))
    for v, a in zip(made, taken, strict=True):
        builder.settle(v, a)
    return made
