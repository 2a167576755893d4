"""Which nodes stay in float32 where the rest becomes float16 or bfloat16, and why.

A conversion goes wrong in five ways, and each has its part here: an operator is not defined for the dtype, or adds up what
does not fit (`STAYING`); a constant does not fit (`_unfit`); numbers that are counted with, positions and sizes, lose their
last digits (`counting`); squares overflow before they are averaged (`averages_of_squares`); a value is too large on inputs
that were tried (`large`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto

from graphopt.ir import Model, Node, Param, Tensor, Value

FLOAT = TensorProto.FLOAT
FLOAT16 = TensorProto.FLOAT16

_SUMS = "sums of many terms pass float16's largest number"
_DRAWS = "random numbers would be others"
_POSITIONS = "positions and sizes need the digits"
_QUANTIZED = "quantized already: scales stay exact"
_ORDER = "rounding would change the order of what is nearly equal"
_TABLES = "computes a table of numbers once"
OVERFLOW = "its values were near float16's largest number"
UNDEFINED = "not defined for this dtype at the model's opset"
#: Operators that are not converted. Those that float16 and bfloat16 are not defined for need not be listed.
STAYING = {
    **dict.fromkeys(("NonMaxSuppression", "TopK", "Unique"), _ORDER),
    **dict.fromkeys(("CumProd", "CumSum", "Range", "RoiAlign", "MaxRoiPool", "AffineGrid"), _POSITIONS),
    **dict.fromkeys(("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"), _DRAWS),
    "RandomUniformLike": _DRAWS,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"), _QUANTIZED),
    **dict.fromkeys(("MelWeightMatrix", "HannWindow", "HammingWindow", "BlackmanWindow"), _TABLES),
    "MeanVarianceNormalization": "a function with numbers in float32",
}  # fmt: skip
#: Operators that float16 lacks the range for; bfloat16 has float32's.
STAYING_IN_FLOAT16 = {
    **dict.fromkeys(("ReduceSumSquare", "ReduceL2", "ReduceLogSumExp", "ReduceLogSum", "ReduceProd", "Det"), _SUMS),
    **dict.fromkeys(("LpNormalization", "LpPool", "GlobalLpPool", "LRN"), _SUMS),
    **dict.fromkeys(("DFT", "STFT"), _SUMS),
}  # fmt: skip

#: Operators that hand on numbers: what is counted is still counted behind them.
_MOVES = "Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather Concat Split Expand Tile Identity Where Pad"
_COMPUTES = (
    "Add Sub Mul Div Neg Abs Exp Log Pow Sqrt Reciprocal Floor Ceil Round Mod Min Max Clip Cast ReduceSum ReduceMax"
)
_COUNTS = frozenset(
    [*_MOVES.split(), *_COMPUTES.split(), "ReduceMin", "ReduceMean", "CumSum", "Range", "Sin", "Cos", "Atan"]
)
_PRODUCTS = frozenset({"MatMul", "Gemm", "Einsum"})
#: Operators that read numbers to count with, each with the inputs that are such.
_READERS = {
    "Floor": (0,),
    "Ceil": (0,),
    "Round": (0,),
    "Mod": (0, 1),
    "Sin": (0,),
    "Cos": (0,),
    "Range": (0, 1, 2),
    "Resize": (1, 2),
}
_WHOLE = frozenset({TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT16, TensorProto.UINT32})
_INTEGERS = _WHOLE | {TensorProto.UINT64, TensorProto.INT8, TensorProto.UINT8}
#: How far back from such a reader its numbers are followed.
_DISTANCE = 12
#: Float operators that decide their outputs' dtype by an attribute, which is known how to change.
BY_ATTRIBUTE = frozenset({"Cast", "ConstantOfShape"})

#: What a mask adds or writes where it hides, any number from here on, is written as the second.
HIDDEN, HIDING = 1e8, 3e4
_MASKING = frozenset(
    "Add Sub Mul Where Max Min Clip Pad Concat Expand Slice Gather Unsqueeze Reshape Transpose Attention".split()
)
_TINY = float(np.finfo(np.float16).tiny)
_LARGEST = float(np.finfo(np.float16).max)
#: A constant with more elements is a table or a weight: small numbers in it are small in effect.
_FEW = 16


@dataclass
class Staying:
    """The nodes that stay in float32, each with the reason; what else was decided on the way.

    Attributes:
        reasons: by node.
        masks: nodes that compute masks: what hides in them becomes a number that float16 has.
    """

    reasons: dict[Node, str] = field(default_factory=dict)
    masks: set[Node] = field(default_factory=set)

    def add(self, nodes: Iterable[Node], reason: str) -> None:
        for node in nodes:
            self.reasons.setdefault(node, reason)


def staying(model: Model, dtype: int, keep: Iterable[str] = (), large: frozenset[str] = frozenset()) -> Staying:
    """Decide for every node of a model whose dtypes have been inferred.

    `large`: names of values that were seen to be near float16's largest number, or past it.
    """
    found = Staying()
    kept, narrow = frozenset(keep), dtype == FLOAT16
    nodes = [n for g in model.graph.subgraphs() for n in g]
    whole = counted_from(nodes)
    found.masks = _masks(nodes, whole) if narrow else set()
    for node in nodes:
        why = _own_reason(model, node, dtype, kept, whole, found.masks)
        if why:
            found.reasons[node] = why
    found.add(counting(nodes, whole, found.masks), _POSITIONS)
    if narrow:
        found.add(_around(nodes, large), OVERFLOW)
        found.add(averages_of_squares(nodes), "squares pass float16's largest number before they are averaged")
    return found


def slots(model: Model, node: Node) -> tuple[list[Param | None], list[Param | None]]:
    """The formal parameter of each input and output; None where the operator is unknown."""
    schema = model.schema(node)
    if schema is None:
        return [None] * len(node.inputs), [None] * len(node.outputs)
    outputs = schema.outputs
    return (
        [schema.input_param(i) for i in range(len(node.inputs))],
        [outputs[min(i, len(outputs) - 1)] if outputs else None for i in range(len(node.outputs))],
    )


def variables(model: Model, node: Node, dtype: int) -> frozenset[str]:
    """The type variables of an operator that float32 stands for here and `dtype` may."""
    ins, outs = slots(model, node)
    pairs = [*zip(ins, node.inputs), *zip(outs, node.outputs)]
    return frozenset(
        p.type_var for p, v in pairs if p is not None and v is not None and v.dtype == FLOAT and dtype in p.types
    )


def _own_reason(model: Model, node: Node, dtype: int, kept: frozenset[str], whole: set[Value], masks: set[Node]) -> str:
    values = [v for v in (*node.inputs, *node.outputs) if v is not None]
    if node.op == "Constant" or not any(v.dtype == FLOAT for v in values):
        return "no float32" if not node.subgraphs else "holds graphs"
    if node.op in kept or (node.name and node.name in kept):
        return "kept on request"
    if node.subgraphs:
        return "what goes into and out of its graphs stays"
    schema = model.schema(node)
    if schema is None:
        return "a function of the model" if _is_function(model, node) else "an operator that onnx does not define"
    if (why := STAYING.get(node.op)) or (dtype == FLOAT16 and (why := STAYING_IN_FLOAT16.get(node.op))):
        return why
    if node.domain or any(isinstance(a, Tensor) for a in node.attributes.values() if node.op not in BY_ATTRIBUTE):
        return "its attributes are float32"  # thresholds of trees, tables of labels
    if any(v.type is not None or not v.dtype for v in values):
        return "reads or gives something whose dtype is not known"
    free = variables(model, node, dtype)
    ins, outs = slots(model, node)
    given = {p.type_var for p in ins if p is not None}
    if any(p is None or (p.type_var in free and p.type_var not in given) for p in outs) and node.op not in BY_ATTRIBUTE:
        return "an attribute says what dtype it gives"
    if not free:
        return UNDEFINED
    if dtype == FLOAT16:
        if _turns_batches(node):
            return "ONNX Runtime crashes on it on CPUs"
        epsilon = node.attributes.get("epsilon")
        wide = (
            node.attributes.get("stash_type", schema.attributes["stash_type"].default)
            if "stash_type" in schema.attributes
            else 0
        )
        if isinstance(epsilon, float) and 0 < epsilon < 2.0**-24 and wide != FLOAT:
            return "its epsilon is below float16's smallest number"
        numbers = [
            v
            for p, v in zip(ins, node.inputs)
            if v is not None and v.const is not None and p is not None and p.type_var in free
        ]
        return next((why for v in numbers if (why := _unfit(node, v, whole, masks))), "")
    return ""


def _turns_batches(node: Node) -> bool:
    """Whether a MatMul reads the first axis from further back by this node, which ONNX Runtime 1.24 to 1.32 fuse with it.

    In float16 the fusion leaves a node without an operator, and a session's making ends in a crash
    (https://github.com/microsoft/onnxruntime/issues/28392).
    """
    if node.op != "Transpose" or not any(user.op == "MatMul" for user in node.output.uses):
        return False
    perm = node.attributes.get("perm", [])
    return len(perm) >= 3 and list(perm[:-2]) == list(range(1, len(perm) - 1))


def _is_function(model: Model, node: Node) -> bool:
    return (node.domain, node.op_type, node.overload) in model.functions


# ------------------------------------------------------------------------------------------------------------- numbers
def _unfit(node: Node, v: Value, whole: set[Value], masks: set[Node]) -> str:
    """Why a constant of a node cannot be a float16; '' where it can."""
    assert v.const is not None
    if v.dtype != FLOAT or not v.const.size:
        return ""
    a = np.abs(v.const.view())
    largest = float(a.max(initial=0.0, where=np.isfinite(a)))
    if largest > _LARGEST:
        hides = node.op in _MASKING and (node.op != "Mul" or node in masks)
        between = hides and bool(((a > _LARGEST) & (a < HIDDEN)).any())
        if not hides or between:
            return "a constant passes float16's largest number"
    if a.size <= _FEW and bool(((a > 0) & (a < _TINY)).any()):
        return "a constant is below float16's smallest number"
    return ""


def fitted(a: np.ndarray, op: str) -> np.ndarray:
    """An array without numbers past float16's range: what hides as a number that hides, infinities as they are."""
    finite = np.isfinite(a)
    if op in ("Clip", "Max", "Min"):
        return np.where(finite, np.clip(a, -_LARGEST, _LARGEST), a)
    hidden = finite & (np.abs(a) >= HIDDEN)
    return np.where(hidden, np.copysign(np.float32(HIDING), a), a) if hidden.any() else a


# ------------------------------------------------------------------------------------------------------------ counting
def counted_from(nodes: Iterable[Node]) -> set[Value]:
    """Floats that are computed from whole numbers alone: positions, lengths, sizes."""
    found: set[Value] = set()
    for node in nodes:
        if node.op == "Cast":
            x = node.inputs[0]
            counts = x in found or (x is not None and x.dtype in _WHOLE and x.const is None)
            if counts and node.output.dtype == FLOAT:
                found.add(node.output)
        elif node.op == "Range" and node.output.dtype == FLOAT:
            found.add(node.output)
        elif node.op in _COUNTS or node.op in _PRODUCTS:
            floats = [v for v in node.inputs if v is not None and v.dtype == FLOAT and v.const is None]
            if floats and all(v in found for v in floats):
                found.update(v for v in node.outputs if v is not None and v.dtype == FLOAT)
    return found


def _masks(nodes: list[Node], whole: set[Value]) -> set[Node]:
    """What computes a mask from whole numbers, 0 and 1: a constant that hides is multiplied with it or written over it."""
    found: set[Node] = set()
    for node in nodes:
        if node.op in ("Mul", "Where") and any(_hides(v) for v in node.inputs):
            others = [v for v in node.inputs if v is not None and v.const is None and v.dtype == FLOAT]
            if node.op == "Where" or all(v in whole or _is_truth(v) for v in others):
                found.add(node)
                stack = [v.node for v in others if v in whole]
                while stack:
                    n = stack.pop()
                    if n is not None and n not in found:
                        found.add(n)
                        stack += [v.node for v in n.inputs if v is not None and v in whole]
    for node in nodes:  # forward, as long as nothing else comes in
        if node not in found and node.op in _COUNTS:
            floats = [v for v in node.inputs if v is not None and v.dtype == FLOAT and v.const is None]
            if floats and all(v in whole and v.node in found for v in floats):
                found.add(node)
    return found


def _hides(v: Value | None) -> bool:
    if v is None or v.const is None or v.dtype != FLOAT:
        return False
    number = v.const.fill
    return number is not None and np.isfinite(number) and abs(number) >= HIDDEN


def _is_truth(v: Value) -> bool:
    """Whether a value is 0 or 1, or 1 minus that, made of booleans."""
    for _ in range(_DISTANCE):
        node = v.node
        if node is None:
            return False
        if node.op == "Cast":
            x = node.inputs[0]
            return x is not None and x.dtype == TensorProto.BOOL
        floats = [i for i in node.inputs if i is not None and i.dtype == FLOAT and i.const is None]
        if node.op not in _COUNTS or len(floats) != 1:
            return False
        v = floats[0]
    return False


def counting(nodes: Iterable[Node], whole: set[Value], masks: set[Node]) -> set[Node]:
    """Nodes whose floats are counted with: all that is computed from whole numbers, and what becomes whole numbers."""
    found: set[Node] = set()
    for node in nodes:
        if node not in masks and any(v in whole for v in node.outputs if v is not None):
            found.add(node)
        for v in _counted(node):
            if node.op != "Resize":
                found.add(node)
            _follow(v, found)
    return found - masks


def _counted(node: Node) -> Iterator[Value]:
    """Float inputs of a node that are counted with."""
    if node.op == "Cast":
        positions: tuple[int, ...] = (0,) if node.attributes.get("to") in _INTEGERS else ()
    else:
        positions = _READERS.get(node.op, ())
    for i in positions:
        v = node.inputs[i] if i < len(node.inputs) else None
        if v is not None and v.dtype == FLOAT and v.const is None:
            yield v


def _follow(v: Value, found: set[Node]) -> None:
    """Collect what computes a value one number at a time, back to what is no counting."""
    stack = [(v, 0)]
    while stack:
        v, far = stack.pop()
        node = v.node
        if node is None or node in found or node.op not in _COUNTS or far > _DISTANCE or node.graph is None:
            continue
        floats = [i for i in node.inputs if i is not None and i.dtype == FLOAT and i.const is None]
        if node.op == "Add" and len(floats) > 1 and far:  # where a network adds to what it carries on
            continue
        found.add(node)
        stack += [(i, far + 1) for i in floats]


# -------------------------------------------------------------------------------------------------------------- ranges
def _around(nodes: Iterable[Node], large: frozenset[str]) -> set[Node]:
    """What gives or reads one of these values."""
    if not large:
        return set()
    return {n for n in nodes if any(v is not None and v.name in large for v in (*n.inputs, *n.outputs))}


def averages_of_squares(nodes: Iterable[Node]) -> set[Node]:
    """A square, its mean or sum, and what makes a norm of that, up to the division."""
    found: set[Node] = set()
    for node in nodes:
        if node.op not in ("ReduceMean", "ReduceSum", "GlobalAveragePool"):
            continue
        square = node.inputs[0].node if node.inputs[0] is not None else None
        if square is None or square.output.dtype != FLOAT or not _is_square(square):
            continue
        found |= {square, node}
        stack = list(node.output.uses)
        while stack:
            n = stack.pop()
            if n not in found and n.op in ("Add", "Sqrt", "Reciprocal", "Pow", "Div", "Max", "Clip"):
                found.add(n)
                stack += [] if n.op in ("Div", "Reciprocal") else list(n.users())
    return found


def _is_square(node: Node) -> bool:
    if node.op == "Pow":
        exponent = node.inputs[1]
        return exponent is not None and exponent.const is not None and exponent.const.fill not in (None, 0.5, 1.0)
    return node.op == "Mul" and node.inputs[0] is node.inputs[1]
