"""Takes out of a Loop or Scan what is the same in each round: values that are carried and never change, and nodes that
read nothing but what is outside."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from onnx import TensorProto

from graphopt.ir import Graph, Model, Node, Shape, Value
from graphopt.passes.hoisting import copies_in_front, source_of, stand_in
from graphopt.passes.purity import is_deterministic, is_pure
from graphopt.rewrite import NodeRecord, Rewriter, Step
from graphopt.rewrite.rewriter import record
from graphopt.shapes import same_dims

#: Operators that cannot fail where what they read broadcasts, and cost little: they may run where the body never does.
_CHEAP = frozenset(
    "Abs Add And Cast Ceil Cos Equal Exp Floor Greater Less Max Min Mul Neg Not Or Relu Shape Sigmoid Sign Sin Sqrt Sub Tanh "
    "Transpose Unsqueeze Where".split()
)
#: Those of them that read one tensor, whatever its shape is.
_OF_ONE = frozenset(
    "Abs Cast Ceil Cos Exp Floor Neg Not Relu Shape Sigmoid Sign Sin Sqrt Tanh Transpose Unsqueeze".split()
)
#: Inputs in front of the values that are carried, inputs of the body there, and outputs of the body in front of theirs.
_LOOP, _SCAN = (2, 2, 1), (0, 0, 0)
#: Since this opset Scan has no batches, nor lengths of sequences in front.
_SCAN_WITHOUT_LENGTHS = 9


def simplify_loop(node: Node, rewriter: Rewriter) -> bool:
    """A handler for the driver: one thing that makes less of the body of a Loop or Scan, if there is any."""
    body = node.attributes.get("body") if node.op in ("Loop", "Scan") and node.graph is not None else None
    if not isinstance(body, Graph) or (body.source is not None and body.source.sparse_initializer):
        return False
    if node.op == "Scan" and body.opsets.get("", 0) < _SCAN_WITHOUT_LENGTHS:
        return False
    return _drop_unchanged(node, body, rewriter) or _hoist(node, body, rewriter)


def _drop_unchanged(node: Node, body: Graph, rewriter: Rewriter) -> bool:
    """A value that each round hands on as it got it is the same inside, behind, and in front."""
    started = time.perf_counter()
    first, inner, out = _LOOP if node.op == "Loop" else _SCAN
    scanned = node.attributes.get("num_scan_inputs", 0)
    carried = len(node.inputs) - first - (scanned if isinstance(scanned, int) else 0)
    fits = len(body.inputs) == len(node.inputs) - first + inner and len(node.outputs) <= len(body.outputs) - out
    if not fits or carried > len(body.outputs) - out or any(v in body.initializers for v in body.inputs):
        return False
    whole = len(node.outputs) == len(body.outputs) - out
    given = [
        k
        for k in range(carried)
        if (v := node.inputs[first + k]) is not None
        and v.type is None
        and body.inputs[inner + k].type is None
        and source_of(body.outputs[out + k]) is body.inputs[inner + k]
    ]
    if not whole or len(given) == len(node.outputs):  # a node has to give something
        given = given[1:] if whole else []
    if not given:
        return False
    gone = [record(node)]
    for k in reversed(given):
        v, initial, behind = body.inputs[inner + k], node.inputs[first + k], node.outputs[k]
        assert initial is not None
        if behind is not None and behind.used:
            rewriter.replace(behind, initial, node)
        result = body.outputs.pop(out + k)
        result.exits -= 1
        if body.output_infos:
            body.output_infos.pop(out + k)
        if result.node is not None:
            rewriter.erase_if_dead(result.node, gone, {result.node} if result.node.op == "Identity" else ())
        users = list(v.uses)
        exits = v.exits
        for u in users:
            for i, x in enumerate(u.inputs):
                if x is v:
                    u.set_input(i, initial)
            rewriter.look_again(u)
        if exits:  # given out in another place, too
            _copy_out(body, v, initial, rewriter)
        body.inputs.pop(inner + k)
        body.input_infos.pop(v, None)
        _without_input(node, first + k)
        node.outputs.pop(k)
    for k, o in enumerate(node.outputs):
        if o is not None:
            o.index = k
    node.touch()
    body.touch()
    return _done(node, rewriter, started, gone, [node], "carried on unchanged")


def _copy_out(body: Graph, v: Value, initial: Value, rewriter: Rewriter) -> None:
    """Let a body give out copies of a value from outside where it gave an input of its own; each its own copy."""
    for i, w in enumerate(body.outputs):
        if w is v:
            copy = Node("Identity", [initial], name=rewriter.model.fresh_name(f"{initial.name}_Identity"))
            copy.graph = body
            result = copy.new_output(rewriter.model.fresh_name(f"{copy.name}_output"))
            result.dtype, result.shape = v.dtype, v.shape
            body.append(copy)
            body.set_output(i, result)


def _without_input(node: Node, i: int) -> None:
    """Read one input less; those behind it move up."""
    for k in range(i, len(node.inputs) - 1):
        node.set_input(k, node.inputs[k + 1])
    node.set_input(len(node.inputs) - 1, None)
    node.inputs.pop()


def _hoist(node: Node, body: Graph, rewriter: Rewriter) -> bool:
    """What reads nothing that changes from round to round is computed once. Where it may be that no round would have computed
    it, only what is cheap and cannot fail is."""
    started = time.perf_counter()
    numbers: dict[Node, int] = {}
    runs = _runs(node)
    for n in body:
        if (runs or _is_harmless(n)) and _is_invariant(n, body, numbers, rewriter.model):
            numbers[n] = len(numbers)
    if not numbers:
        return False
    new = copies_in_front(node, {k: n for n, k in numbers.items()}, numbers, rewriter)
    if new is None:
        return False
    gone: list[NodeRecord] = []
    for n, k in reversed(numbers.items()):
        stand_in(n, new[k], rewriter)
        rewriter.erase_if_dead(n, gone, {n})
    return _done(node, rewriter, started, gone, new.values(), "the same in each round")


def _runs(node: Node) -> bool:
    """Whether a Loop certainly goes round once."""
    limit, condition = (*node.inputs, None, None)[:2]
    if node.op != "Loop":
        return False
    starts = condition is None or (condition.const is not None and bool(condition.const.item()))
    return starts and (limit is None or (limit.const is not None and int(limit.const.item()) > 0))


def _is_harmless(n: Node) -> bool:
    """Whether a node may run that would not have run."""
    shapes = [v.shape for v in n.inputs if v is not None]
    if n.op not in _CHEAP or any(v is not None and v.dtype in (0, TensorProto.STRING) for v in n.inputs):
        return False
    return n.op in _OF_ONE or all(_broadcasts(s, n.output.shape) for s in shapes)


def _broadcasts(inner: Shape | None, outer: Shape | None) -> bool:
    """Whether broadcasting a shape certainly gives the outer one."""
    if inner is None or outer is None or len(inner) > len(outer):
        return False
    return all(d == 1 or same_dims(d, n) for d, n in zip(inner[::-1], outer[::-1]))


def _is_invariant(n: Node, body: Graph, numbers: Mapping[Node, int], model: Model) -> bool:
    """Whether a node gives the same in each round, and not as what the body gives."""
    if n.op in ("Constant", "Identity") or not is_pure(model, n) or not is_deterministic(model, n):
        return False
    if any(v is not None and (v.exits or v.type is not None) for v in n.outputs):
        return False
    sources = [source_of(v) for v in n.inputs if v is not None]
    fixed = all(v.const is not None or v.graph is not body or v.node in numbers for v in sources)
    return fixed and any(v.const is None for v in sources) and all(v.type is None for v in sources)


def _done(
    node: Node, rewriter: Rewriter, started: float, gone: list[NodeRecord], new: Iterable[Node], note: str
) -> bool:
    assert node.graph is not None
    rewriter.look_again(node)
    after = (*(record(n) for n in new), *rewriter.take_copies())
    seconds = time.perf_counter() - started
    rewriter.ledger.record(Step("loop_invariants", "", node.graph.name, tuple(gone), after, seconds * 1e6, note))
    return True
