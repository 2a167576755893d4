"""Computes what depends on constants alone, and what is known of shapes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from graphopt.exec.evaluate import CannotEvaluate, evaluate
from graphopt.ir import Model, Node, Reference, Tensor, Value
from graphopt.ir.tensor import byte_size
from graphopt.passes.purity import is_deterministic
from graphopt.rewrite import NodeRecord, Rewriter, Step
from graphopt.shapes import WHOLE, infer_node

#: Operators that stay although their inputs are constant: folding them would undo quantization.
BARRIERS = frozenset({"DequantizeLinear", "Constant", "DynamicQuantizeLinear"})
#: By how many bytes all folding together may make a model larger.
DEFAULT_ALLOWANCE = 1 << 20
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})
#: Nodes with more input bytes than this are not computed: that would take longer than it is worth.
_INPUT_LIMIT = 1 << 28


class ConstantFolding:
    """Two handlers for the driver, which share a budget.

    Args:
        allowance: bytes by which the constants of the model may grow in all. What folding frees is counted against it,
            so Transpose or Cast of a weight is free, but Expand or Tile of one is not.
        exact: keep every bit of what is computed from the results. The values that folding gives are always the same, but
            a product of matrices adds them up in another order when one of them lies transposed in memory.
    """

    def __init__(self, allowance: int = DEFAULT_ALLOWANCE, exact: bool = False) -> None:
        self.allowance = allowance
        self.exact = exact
        self.grown = 0
        self.refused: set[Node] = set()
        self.postponed: dict[Node, None] = {}

    def constant_inputs(self, node: Node, rewriter: Rewriter) -> bool:
        """Replace a node whose inputs are all constants by its outputs."""
        return node not in self.refused and self._fold(node, rewriter)

    def _fold(self, node: Node, rewriter: Rewriter) -> bool:
        started = time.perf_counter()
        if not self._may_fold(node, rewriter.model):
            return False
        tensors = [None if v is None else v.const for v in node.inputs]
        if sum(t.nbytes for t in tensors if t is not None) > _INPUT_LIMIT:
            return self._refuse(node, rewriter, "the inputs are too large to compute with")
        if self._rounds_below(node):
            return self._refuse(node, rewriter, "products with a transposed matrix add up in another order")
        _infer(node, rewriter.model)
        if any(v is not None and v.type is not None for v in node.outputs):
            return self._refuse(node, rewriter, "the result is no tensor")  # an optional that holds one has its value
        inputs = dict(zip(node.inputs, tensors, strict=True))
        freed = sum(t.nbytes for v, t in inputs.items() if t is not None and _only_use(v, node))
        if self.grows(sum(map(static_bytes, node.outputs)) - freed):
            return self._postpone(node, rewriter)
        assert node.graph is not None
        moved = node.op == "Transpose"  # which looks at no element, and whose result is laid out anew
        results = computed(
            rewriter.model, node, [None if t is None else t.view() if moved else t.numpy() for t in tensors]
        )
        if isinstance(results, str):
            return self._refuse(node, rewriter, results)
        growth = sum(Tensor(array=a).nbytes for a in results) - freed
        if self.grows(growth):
            return self._postpone(node, rewriter)
        outputs = [v for v in node.outputs if v is not None]
        if not put_constants(node, dict(zip(outputs, results, strict=True)), rewriter, started):
            return False
        self.grown += growth
        return True

    def belongs_to_region(self, node: Node, model: Model) -> bool:
        """Whether a node may be computed together with others."""
        return (
            self._may_fold(node, model)
            and not self._rounds_below(node)
            and all(v is None or (v.type is None and v.dtype) for v in node.outputs)
            and not (node.op == "Identity" and node.output.exits)  # a copy of a constant, whatever that is
        )

    def _may_fold(self, node: Node, model: Model) -> bool:
        if node.domain or node.op in BARRIERS or _is_the_runtimes_own(node) or not is_deterministic(model, node):
            return False
        return not any(isinstance(a, Reference) for a in node.attributes.values())

    def _rounds_below(self, node: Node) -> bool:
        """Whether a transposition must stay for what reads it to round as it did."""
        return self.exact and node.op == "Transpose" and node.inputs[0] is not None and _lies_otherwise(node)

    def grows(self, growth: int) -> bool:
        """Whether so many bytes more are more than the allowance has left."""
        return growth > 0 and self.grown + growth > self.allowance

    def _postpone(self, node: Node, rewriter: Rewriter) -> bool:
        """Leave a node that makes the model larger until it is known what it leads to."""
        self.postponed[node] = None
        return self._refuse(
            node, rewriter, f"the result is larger than what folding may add ({self.allowance} bytes in all)"
        )

    def _refuse(self, node: Node, rewriter: Rewriter, reason: str) -> bool:
        self.refused.add(node)
        rewriter.ledger.decline(
            "constant_folding", reason, node.output.name if node.outputs and node.outputs[0] is not None else node.name
        )
        return False

    @staticmethod
    def known_elements(node: Node, rewriter: Rewriter) -> bool:
        """Replace a node all of whose outputs are whole numbers that follow from shapes."""
        results: dict[Value, np.ndarray] = {}
        for v in node.outputs:
            if v is None or v.known is None or v.dtype not in WHOLE:
                return False
            elements = v.known.reshape(-1).tolist()
            if not all(isinstance(e, int) for e in elements):
                return False
            results[v] = np.array(elements, tensor_dtype_to_np_dtype(v.dtype)).reshape(v.known.shape)
        return put_constants(node, results, rewriter, time.perf_counter()) if results else False


def _infer(node: Node, model: Model) -> None:
    """Find the dtypes of outputs where nobody has yet, as in the bodies of functions: the reference is not always right."""
    if any(v is not None and not v.dtype and v.type is None for v in node.outputs):
        with contextlib.suppress(ValueError):
            infer_node(model, node)


def computed(model: Model, node: Node, arrays: Sequence[np.ndarray | None]) -> list[np.ndarray] | str:
    """What a node makes of these inputs; why not, where the reference cannot tell or contradicts what is known."""
    try:
        results = evaluate(model, node, list(arrays))
    except CannotEvaluate as e:
        return f"the reference cannot compute it: {str(e).splitlines()[0][:200] if str(e) else ''}"
    for v, array in zip([v for v in node.outputs if v is not None], results, strict=True):
        if v.dtype and array.dtype.kind not in "OUST" and Tensor(array=array).dtype != v.dtype:
            return f"the reference gives {array.dtype} here"
        if v.shape is not None and (
            len(v.shape) != array.ndim
            or any(isinstance(d, int) and d != n for d, n in zip(v.shape, array.shape, strict=True))
        ):
            return f"the reference gives shape {array.shape} here"
    return results


def put_constants(node: Node, results: dict[Value, np.ndarray], rewriter: Rewriter, started: float) -> bool:
    """Replace a node by constants."""
    graph = node.graph
    assert graph is not None
    if node.op == "Identity" and any(v.exits and not rewriter.constant_output(v, a.nbytes) for v, a in results.items()):
        return False  # a graph output that is a large constant stays a copy of it
    made = []
    for v, array in results.items():
        if not v.used:
            continue
        c = Value(rewriter.model.fresh_name(f"{v.name}_folded"), graph)
        array = np.require(array, requirements=["C", "A"]).reshape(array.shape)
        array.setflags(write=False)
        c.const = Tensor(array=array)
        c.dtype, c.shape = c.const.dtype, c.const.dims
        rewriter.add_constant(c, node)
        made.append(c)
        rewriter.replace(v, c, node)
    gone: list[NodeRecord] = []
    rewriter.erase_if_dead(node, gone, {node})
    for c in made:
        rewriter.drop_if_unused(c)
    after = tuple(rewriter.take_copies())
    rewriter.ledger.record(
        Step("constant_folding", "", graph.name, tuple(gone), after, (time.perf_counter() - started) * 1e6)
    )
    return True


def _is_the_runtimes_own(node: Node) -> bool:
    """Whether runtimes differ in what comes out: a Softmax of 16-bit floats, by a step or two, for how its steps round is
    their own; floats written as text, '1' or '1.0'."""
    v = node.inputs[0] if node.inputs else None
    if v is None or v.dtype not in _FLOATS:
        return False
    if node.op == "Cast":
        return node.attributes.get("to") == TensorProto.STRING
    return node.op in ("Softmax", "LogSoftmax") and v.dtype in (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def _lies_otherwise(node: Node) -> bool:
    """Whether a transposition gives floats, at least two dims of which are larger than 1, in another order."""
    x = node.inputs[0]
    if x is None or x.shape is None:
        return True
    kept = [a for a in node.attributes.get("perm", range(len(x.shape))[::-1]) if x.shape[a] != 1]
    return x.dtype in _FLOATS and kept != sorted(kept)


def static_bytes(v: Value | None) -> int:
    """Bytes of a value whose dtype and dims are known, else 0."""
    if v is None or not v.dtype or v.shape is None:
        return 0
    dims = [d for d in v.shape if isinstance(d, int)]
    return byte_size(v.dtype, dims) if len(dims) == len(v.shape) else 0


def _only_use(v: Value | None, node: Node) -> bool:
    return v is not None and not v.exits and len(v.uses) == 1 and node in v.uses
