"""What rules about shapes share: which dims an integer vector holds, how to write a shape, which operators keep one.

Everything here only reads the graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import TensorProto

from graphopt.ir import Dim, Node, Shape, Value
from graphopt.rewrite import op
from graphopt.rewrite.matching import params
from graphopt.rewrite.terms import Leaf
from graphopt.shapes import less, same_dims

#: Operators whose first output has the shape of their first input.
KEEPS_SHAPE = frozenset(
    (
        "Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh CumSum "
        "DequantizeLinear Dropout Elu Erf Exp Floor Gelu GroupNormalization HardSigmoid HardSwish Hardmax Identity "
        "InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization "
        "MeanVarianceNormalization Mish Neg Not QuantizeLinear RMSNormalization Reciprocal Relu Round Selu Sigmoid Sign Sin "
        "Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Trilu"
    ).split()
)

#: The end of a dim of any size: what the specification of Slice recommends, and larger numbers.
TO_THE_END = 2**31 - 1
_INTEGERS = (TensorProto.INT64, TensorProto.INT32)
_LONGEST = 64
_DEEPEST = 16


@dataclass(slots=True)  # not frozen: that takes three times as long to make
class Entry:
    """One element of an integer tensor.

    Attributes:
        key: entries with the same key are the same number: the number itself, a name or expression, or what it is an
            element of.
        vector: a value that holds the element at `index`, None for a constant.
    """

    key: Dim | tuple[str, Value, int]
    vector: Value | None = None
    index: int = 0

    @property
    def is_size(self) -> bool:
        """Whether it cannot be negative."""
        if not isinstance(self.key, tuple):
            return less(self.key, 0) is False
        return self.vector is not None and no_minus(self.vector)


def entries(v: Value, depth: int = _DEEPEST) -> list[Entry] | None:
    """The elements of an integer vector or scalar, as far back as they can be followed; None where it is none."""
    if v.dtype not in _INTEGERS or v.shape is None or len(v.shape) > 1:
        return None
    if v.const is not None:
        return [Entry(i) for i in v.const.numpy().reshape(-1).tolist()] if v.const.size <= _LONGEST else None
    found = _followed(v, v.node, depth - 1) if v.node is not None and depth else None
    if found is None:
        length = v.shape[0] if v.shape else 1
        if not isinstance(length, int) or length > _LONGEST:
            return None
        found = [Entry(("element", v, i), v, i) for i in range(length)]
    if v.known is not None and v.known.size == len(found):
        return [
            e if d is None else Entry(d, e.vector, e.index) for d, e in zip(v.known.reshape(-1), found, strict=True)
        ]
    return found


def _followed(v: Value, node: Node, depth: int) -> list[Entry] | None:
    """Elements that come unchanged from the inputs of `node`; None where they do not."""
    first = node.inputs[0] if node.inputs else None
    if first is None:
        return None
    if node.op in ("Identity", "Reshape", "Squeeze", "Unsqueeze"):
        return entries(first, depth)
    if node.op == "Cast":
        return entries(first, depth) if v.dtype == TensorProto.INT64 else None
    if node.op == "Concat":
        parts = [entries(p, depth) if p is not None else None for p in node.inputs]
        return None if None in parts else [e for p in parts if p is not None for e in p]
    if node.op == "Gather":
        indices, inner = node.inputs[1], entries(first, depth)
        if inner is None or indices is None or indices.const is None or indices.const.size > _LONGEST:
            return None
        wanted = [int(i) for i in indices.const.numpy().reshape(-1)]
        return [inner[i] for i in wanted] if all(-len(inner) <= i < len(inner) for i in wanted) else None
    if node.op == "Slice":
        inner, named = entries(first, depth), params(node, 1, ("starts", "ends", "axes", "steps"), False)
        cut = slices_of(named[0], named[1], named[2], named[3], 1) if named is not None else None
        if inner is None or cut is None or cut[0][2] < 1:
            return None
        return inner[cut[0][0] : cut[0][1] : cut[0][2]]
    return None


def no_minus(v: Value, depth: int = _DEEPEST) -> bool:
    """Whether no element of an integer tensor can be negative: it is computed from dims without subtraction.

    Products are taken to fit into their dtype; a larger one is the size of no tensor.
    """
    if v.const is not None:
        return v.dtype in _INTEGERS and v.const.size <= _LONGEST and bool((v.const.numpy() >= 0).all())
    node = v.node
    if node is None or not depth or v.dtype != TensorProto.INT64:
        return False
    if node.op in ("ArgMax", "ArgMin", "NonZero", "Shape", "Size") or (node.op == "TopK" and v is node.outputs[1]):
        return True
    if node.op in ("Cast", "Expand", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"):
        checked = node.inputs[:1]
    elif node.op == "Range":
        checked = [node.inputs[0], node.inputs[2]]
    elif node.op in ("Add", "Concat", "Max", "Mul"):
        checked = node.inputs
    elif (
        node.op == "Div" and (by := node.inputs[1]) is not None and by.const is not None and (by.const.item() or 0) > 0
    ):
        checked = node.inputs[:1]
    else:
        return False
    return all(i is not None and no_minus(i, depth - 1) for i in checked)


def dim(e: Entry) -> Dim:
    """An entry as a size; None where it is only known what it is an element of."""
    return None if isinstance(e.key, tuple) else e.key


def dim_key(v: Value, axis: int) -> Dim | tuple[str, Value, int]:
    """The key of the entry that is the size of this axis."""
    assert v.shape is not None
    d = v.shape[axis]
    return ("dim", v, axis) if d is None else d


def described(x: Value, shape: Value, allowzero: int | None, result: Shape | None) -> list[int | None] | None:
    """What Reshape(x, shape) makes of each dim: a size above 0, 0 for a copy of x's dim at the same place, -1 for the one
    that is inferred, None where nobody can tell. None where the rank is unknown."""
    wanted = entries(shape)
    if wanted is None or shape.rank != 1:
        return None
    if result is None or len(result) != len(wanted):
        result = (None,) * len(wanted)
    rank = x.rank or 0
    out: list[int | None] = []
    for k, (e, d) in enumerate(zip(wanted, result, strict=True)):
        if e.key == 0 and not allowzero:
            out.append(size if isinstance(size := d, int) and size > 0 else 0)
        elif isinstance(e.key, int) and e.key < -1:
            return None
        elif isinstance(e.key, int) and e.key:
            out.append(d if e.key < 0 and isinstance(d, int) and d > 0 else e.key)
        elif isinstance(d, int) and d > 0:
            out.append(d)
        elif k < rank and x.shape is not None and (e.key == dim_key(x, k) or same_dims(d, x.shape[k])):
            out.append(0)
        else:
            out.append(None)
    if out.count(-1) == 1 and None not in out and _is_copy(out.index(-1), out, x.shape):
        out[out.index(-1)] = 0
    return out


def _is_copy(k: int, target: Sequence[int | None], x: Shape | None) -> bool:
    """Whether the dim that Reshape infers at k is x's dim at k: what is copied cancels, the other sizes have the same product."""
    if x is None or k >= len(x):
        return False
    copied = {i for i, d in enumerate(target) if d == 0}
    around = [d for i, d in enumerate(x) if i != k and i not in copied]
    sizes = [d for i, d in enumerate(target) if i != k and i not in copied]
    if not all(isinstance(d, int) for d in around):
        return False
    return math.prod(d for d in around if isinstance(d, int)) == math.prod(d for d in sizes if d is not None)


def shape_to_write(target: Sequence[int | None] | None, x: Shape | None) -> list[int] | None:
    """A constant shape for Reshape (allowzero=0) from what `described` says of its result, where x is the shape that it
    starts from; None where none does the same for all inputs.

    A dim of unknown size becomes a copy of x's dim where the sizes around both leave it no choice, otherwise -1. Both need
    sizes above 0 around: with an empty tensor, -1 beside a copied 0 is an error.
    """
    if target is None:
        return None
    unknown = target.count(None)
    if unknown == 0:
        return [d for d in target if d is not None] if target.count(-1) <= 1 else None
    sizes = [d for d in target if d is not None]
    if unknown > 1 or any(d < 1 for d in sizes):
        return None
    own = 0 if _is_copy(target.index(None), target, x) else -1
    return [own if d is None else d for d in target]


def target_of(x: Shape | None, y: Shape | None) -> list[int] | None:
    """A constant shape for Reshape that turns a tensor of shape x into one of shape y; None where none does for all inputs."""
    if y is None:
        return None
    source: Sequence[Dim] = x or ()
    target: list[int | None] = []
    for k, d in enumerate(y):
        if isinstance(d, int) and d > 0:
            target.append(d)
        else:
            target.append(0 if k < len(source) and same_dims(d, source[k]) else None)
    return shape_to_write(target, x)


def ones_besides(x: Shape, y: Shape) -> list[int] | None:
    """The axes of x, all of size 1, without which it has the shape y; None where there are none."""
    gone: list[int] = []
    for k, d in enumerate(x):
        left = y[k - len(gone)] if k - len(gone) < len(y) else None
        if not same_dims(d, left):
            if d != 1:
                return None
            gone.append(k)
    return gone if gone and len(x) - len(gone) == len(y) else None


def axes_of(axes: Iterable[int], rank: int | None) -> list[int] | None:
    """Axes counted from the front, in order; None where that takes an unknown rank, or one is there twice."""
    found = [a + rank if a < 0 and rank is not None else a for a in axes]
    return sorted(found) if len(set(found)) == len(found) and min(found, default=0) >= 0 else None


def slices_of(
    starts: Any, ends: Any, axes: Any, steps: Any, rank: int | None
) -> dict[int, tuple[int, int, int]] | None:
    """Start, end and step by axis; None where that cannot be told."""
    if not isinstance(starts, list) or not isinstance(ends, list) or len(starts) != len(ends):
        return None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    ordered = axes_of(axes, rank)
    if ordered is None or len(axes) != len(starts) or len(steps) != len(starts) or 0 in steps:
        return None
    front = [a + (rank or 0) if a < 0 else a for a in axes]
    return dict(sorted(zip(front, zip(starts, ends, steps, strict=True), strict=True)))


def size_of(x: Any, axis: int) -> Dim:
    """How long an axis is; None where that, or the rank, is not known."""
    return x.shape[axis] if x.shape is not None and axis < len(x.shape) else None


def from_the_front(cut: tuple[int, int, int], dim: Dim) -> tuple[int, int, int] | None:
    """The same slice counted from the front; None where that takes an unknown size, or it runs backwards."""
    start, end, step = cut
    if step < 1:
        return None
    if isinstance(dim, int):
        start, end = (min(max(i + dim if i < 0 else i, 0), dim) for i in (start, end))
    return (start, end, step) if start >= 0 and end >= 0 else None


def piece_of(x: Value, starts: Any, ends: Any, axes: Any, steps: Any) -> tuple[int, int, int] | None:
    """Axis, start and end of a Slice that takes elements in a row along one axis of known size; None where it does not."""
    cut = slices_of(starts, ends, axes, steps, x.rank)
    if cut is None or len(cut) != 1 or x.shape is None:
        return None
    ((axis, (start, end, step)),) = cut.items()
    size = x.shape[axis]
    if step != 1 or not isinstance(size, int):
        return None
    start, end = (min(max(i + size if i < 0 else i, 0), size) for i in (start, end))
    return (axis, start, end) if start < end else None


def refuses_text(x: Any) -> str | None:
    """Why Gather should not be written for what other operators move: ONNX Runtime (1.32) repeats what it gathers of text."""
    return "text would be gathered" if x.dtype == TensorProto.STRING else None


def leaf(v: Value | None) -> Leaf:
    """A value of the graph as replacements name it."""
    assert v is not None
    return Leaf(v)


def others_know_last(v: Value, depth: int = _DEEPEST) -> bool:
    """Whether ONNX's own inference, which follows no computed shapes, certainly knows the size of the last axis too.

    For the values of Attention with packed heads it takes an unknown size for 0, and then refuses the model.
    """
    if not v.shape or not isinstance(v.shape[-1], int):
        return False
    node, size = v.node, v.shape[-1]
    if v.const is not None or node is None:
        return v.const is not None or (v in v.graph.inputs and v.graph.parent is None)
    consts = [i.const for i in node.inputs[1:] if i is not None]
    if node.op == "Reshape":
        target = node.inputs[1]
        if target is None or target.graph is not node.graph or target.const is None or not target.const.size:
            return False
        return int(target.const.numpy()[-1]) == size > 0
    if node.op in ("MatMul", "Gemm"):
        return consts[0] is not None
    if node.op in ("Add", "Sub", "Mul", "Div"):
        dims = [i.const.dims for i in node.inputs if i is not None and i.const is not None]
        if size > 1 and any(d[-1:] == (size,) for d in dims):
            return True
        return bool(dims) and any(
            i is not None and i.const is None and i.rank == v.rank and others_know_last(i, depth - 1)
            for i in node.inputs
            if depth
        )
    first = node.inputs[0] if node.inputs else None
    if first is None or not depth:
        return False
    if node.op == "Split":
        sizes = node.inputs[1] if len(node.inputs) > 1 else None
        told = sizes is not None and sizes.graph is node.graph and sizes.const is not None
        return node.attributes.get("axis", 0) in (-1, len(v.shape) - 1) and (told or others_know_last(first, depth - 1))
    if node.op == "Transpose":
        perm = node.attributes.get("perm")
        return perm is not None and perm[-1] == len(perm) - 1 and others_know_last(first, depth - 1)
    return (node.op in KEEPS_SHAPE or node.op == "RotaryEmbedding") and others_know_last(first, depth - 1)


def holds_last(y: Value, x: Value) -> bool:
    """Whether only y, and not x, tells ONNX's own inference the size of the last axis of an Attention's values."""
    return any(u.op == "Attention" and y is u.inputs[2] for u in y.uses) and not others_know_last(x)


def matched(*calls: Any) -> Value:
    """The value that stands for whichever of these alternatives was found."""
    return next(c.value for c in calls if c.value is not None)


def made_by(v: Any, operator: str, like: Value) -> Node | None:
    """The producer of a matched value if it is this operator and stands in the same graph as `like`."""
    node: Node | None = v.value.node
    return node if node is not None and node.op == operator and node.graph is like.graph else None


def shape_of(v: Value, before: Node | None) -> Any:
    """The shape of a value: a node that computes it already, otherwise a new one."""
    for user in v.uses:
        known = user.op == "Shape" and not user.attributes.get("start") and "end" not in user.attributes
        if known and before is not None and user.graph is before.graph and user.position < before.position:
            return leaf(user.output)
    return op.Shape(leaf(v))


def made_split(x: Value, axis: int, sizes: Sequence[int], k: int, before: Value) -> Leaf | None:
    """Part `k` of a Split of x into these sizes that is there already, in front of the producer of `before`."""
    for node in x.uses:
        if node.op != "Split" or before.node is None or node.graph is not before.node.graph:
            continue
        if node.position < before.node.position and parts_of(node) == (axis, list(sizes)):
            part = node.outputs[k]
            return None if part is None else Leaf(part)
    return None


def parts_of(split: Node) -> tuple[int, list[int]] | None:
    """The axis of a Split, counted from the front, and the sizes of its parts; None where they are not known."""
    x, axis = split.inputs[0], split.attributes.get("axis", 0)
    if x is None or x.shape is None or not isinstance(axis, int):
        return None
    axis %= len(x.shape)
    sizes = [v.shape[axis] for v in split.outputs if v is not None and v.shape is not None]
    whole = [n for n in sizes if isinstance(n, int)]
    return (axis, whole) if len(whole) == len(split.outputs) else None
