"""LSTM and GRU that exporters unrolled: a group of nodes for each step.

A step becomes an operator on a sequence of one, where the steps beside it do so too; the simplifying rules of this name
join them. ONNX Runtime has kernels for single precision alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Node, Value
from graphopt.patterns._recurrent import bias_of, columns, is_zero
from graphopt.patterns._shapes import leaf
from graphopt.rewrite import Axis, Const, Dim, Filled, Int, Ints, Maybe, Rule, Tensor, any_of, op, rule
from graphopt.rewrite.terms import Alternatives, Call, Constant
from graphopt.shapes import same_shape

#: By how the gates lie in the weights, where each of those of ONNX is found: input, output, forget, cell; update, reset, hidden.
_IFGO = (0, 3, 1, 2)
_RZN = (1, 0, 2)
_ZRN = (0, 1, 2)
#: Elements of weights of zeros that a rule may add to the model.
_ZEROS = 1 << 16
_PRODUCTS = ("Gemm", "MatMul")
_ALONE = "one step by itself is no faster as an operator, unless its batch is 1"


# -------------------------------------------------------------------------------------------------------------- helpers
def _weights(order: Sequence[int], beside: Node | None, *weights: tuple[Const, int | None]) -> list[Any]:
    """Weights and whether they are transposed, as operators have them: those of a step beside this one where they are the same.

    Args:
        order: where each gate of ONNX lies in the weights.
    """
    return [_known(_blocks(_rows(w, t), order), _input(beside, 1 + i)) for i, (w, t) in enumerate(weights)]


def _biases(order: Sequence[int], beside: Node | None, rows: int, *biases: np.ndarray | None) -> Any:
    """The same of biases: that of what comes in, and one of the state by itself; None where there is none."""
    if all(b is None for b in biases):
        return None
    both = [np.zeros(rows, np.float32) if b is None else b for b in (*biases, None)[:2]]
    return _known([block for b in both for block in _blocks(b, order)], _input(beside, 3))


def _rows(w: Const, transposed: int | None) -> np.ndarray:
    """Weights with a row for each column of the product."""
    return np.asarray(w) if transposed else np.asarray(w).T


def _blocks(m: np.ndarray, order: Sequence[int]) -> list[np.ndarray]:
    parts = np.split(m, len(order))
    return [parts[k] for k in order]


def _known(blocks: list[np.ndarray], like: Value | None) -> Any:
    """Blocks in a row, after an axis of directions; a constant that is the same, so that many steps share their weights."""
    if like is not None and like.const is not None:
        there = like.const.numpy()[0]
        cuts = np.cumsum([len(b) for b in blocks])
        if len(there) == cuts[-1] and all(map(np.array_equal, np.split(there, cuts[:-1]), blocks)):
            return Constant(like)
    return np.concatenate(blocks)[None]


def _input(node: Node | None, i: int) -> Value | None:
    return node.inputs[i] if node is not None and i < len(node.inputs) else None


def _beside(h: Tensor | None, new: Value | None, operator: str) -> Node | None:
    """The operator of the step before, or else that of the step behind."""
    before = _maker(h, operator)
    if before is not None or new is None:
        return before
    taken = [u.output for u in new.uses if u.op == "Unsqueeze"]
    return next((n for v in taken for n in v.uses if n.op == operator and n.inputs[5:6] == [v]), None)


def _maker(state: Tensor | None, operator: str) -> Node | None:
    """The operator that a state comes from."""
    node = None if state is None else state.value.node
    if node is not None and node.op == "Squeeze" and node.inputs[0] is not None:
        node = node.inputs[0].node
    return node if node is not None and node.op == operator else None


def _next(state: Value, w: Value) -> Node | None:
    """The product of a state with weights, in the step that follows: it is added to a product with `w`."""
    for product in [u for u in state.uses if u.op in _PRODUCTS and u.inputs[0] is state]:
        beside = [_input(product, 2)]
        parts = [product.output]
        for v in parts:
            for user in v.uses:
                if user.op == "Split" or (user.op == "Add" and _other(user) is v):
                    parts += [o for o in user.outputs if o is not None]
                elif user.op in ("Add", "Gemm"):
                    beside += [*user.inputs, user.output]
        found = [_product(v) for v in beside]
        if any(p is not None and p is not product and p.inputs[1] is w for p in found):
            return product
    return None


def _product(v: Value | None) -> Node | None:
    """The product that a value is, but for a bias, or is a part of."""
    node = None if v is None else v.node
    for _ in range(2):
        if node is not None and node.op in ("Split", "Add"):
            v = node.inputs[0] if node.op == "Split" else _other(node)
            node = None if v is None else v.node
    return node if node is not None and node.op in _PRODUCTS else None


def _other(add: Node) -> Value | None:
    """What a constant is added to."""
    a, b = add.inputs
    return a if b is not None and b.const is not None else b if a is not None and a.const is not None else None


def _refuses(gates: int, x: Tensor, hidden: Any, w: Const, transposed: int | None) -> str | None:
    """Why this is no step of an operator with so many gates and a state of this size."""
    if x.dtype != TensorProto.FLOAT:
        return "not of single precision: runtimes have no kernel"
    if 0 in x.shape or not hidden:
        return "empty"
    if hidden * gates != columns(w, transposed):
        return "not as many columns as there are gates"
    return None


def _initial(h: Tensor | None) -> Any:
    """A state as an operator takes it; none where it is zeros."""
    return None if h is None or is_zero(h.value) else _row(h)


def _row(x: Tensor) -> Any:
    """A sequence, or a layer, of one; what it was taken from where that is one."""
    node = x.value.node
    whole = node.inputs[0] if node is not None and node.op == "Squeeze" and node.graph is x.value.graph else None
    if whole is not None and whole.shape and same_shape(whole.shape, (1, *(x.shape or ()))):
        return leaf(whole)
    return op.Unsqueeze(x, axes=[0])


def _refuses_alone(x: Tensor, r: Value, same: bool, product: Node | None, *states: Tensor | None) -> str | None:
    """Why a step is left as it is that no other one follows or precedes.

    Measured with ONNX Runtime on one thread: up to 1.08 of the time of an LSTM's nodes, 1.14 of a GRU's; less than theirs
    where a state is one of several layers'.

    Args:
        r: the weights of the state.
        same: whether the operator beside this step has the same weights.
        product: that of the new state with weights, in the step that follows.
    """
    followed = product is not None and _input(product, 1) is r
    if same or followed or x.shape[0] == 1 or any(s is not None and _of_layers(s.value) for s in states):
        return None
    return _ALONE


def _of_layers(state: Value) -> bool:
    """Whether a state is taken from those of several layers, which have its elements in a row."""
    node = state.node
    if node is None or node.op != "Gather" or node.attributes.get("axis", 0):
        return False
    i = node.inputs[1]
    return i is not None and i.const is not None and i.const.size == 1


def _of_state(product: Node | None, beside: Node | None, order: Sequence[int], rows: int, hidden: int) -> Any:
    """The weights of the state as the step that follows has them, zeros where there is none; None where they do not fit."""
    r = _input(beside, 2) if beside is not None else _input(product, 1)
    if r is None or r.const is None:
        return np.zeros((1, rows, hidden), np.float32) if rows * hidden <= _ZEROS else None
    if beside is not None:
        return Constant(r) if r.const.dims == (1, rows, hidden) else None
    transposed = product is not None and product.attributes.get("transB", 0)
    fits = r.const.dims == ((rows, hidden) if transposed else (hidden, rows))
    return _known(_blocks(_rows(Constant(r), transposed), order), None) if fits else None


# ----------------------------------------------------------------------------------------------------------------- LSTM
def _gates(x: Any, h: Any, w: Any, r: Any, b: Any, c: Any, tw: Any, tr: Any) -> Alternatives:
    """Both products of a step added up, or one as the bias of the other."""
    given, kept = op.Gemm(x, w, b, transB=tw), op.Gemm(h, r, c, transB=tr)
    return any_of(given + kept, op.Gemm(h, r, given, transB=tr), op.Gemm(x, w, kept, transB=tw))


@rule(since=7)
def lstm_step(
    x: "B I",
    h: "B H",
    c: "B H",
    w: Const["_ _"],
    r: Const["_ _"],
    b: Maybe[Const],
    b2: Maybe[Const],
    zeros: Filled[0],
    tw: Int,
    tr: Int,
    axis: Axis,
    split: Maybe[Ints],
    num_outputs: Maybe[Int],
    H: Dim,
):
    """A step of an LSTM with gates for input, forgetting, the cell and output."""
    gates = _gates(x, h, w, r, b, b2, tw, tr)
    i, f, g, o = op.Split(gates, axis=axis, split=split, num_outputs=num_outputs, outputs=4)
    cell = op.Sigmoid(f) * any_of(c, zeros) + op.Sigmoid(i) * op.Tanh(g)
    state = op.Tanh(cell) * op.Sigmoid(o)
    yield state, cell
    if reason := _refuses(4, x, H, w, tw) or _refuses(4, h, H, r, tr):
        return reason
    if axis != 1 or not same_shape(f.value.shape, h.shape) or not same_shape(cell.shape, h.shape):
        return "not four gates of the size of the state"
    beside = _beside(c, state.value, "LSTM")
    if _is_state(x, c, state.value, w, r, tr, beside) and not _is_state(h, c, state.value, r, w, tw, beside):
        return "the other tensor is the state"
    if isinstance(bias := bias_of(4 * H, b, b2), str):
        return bias
    weights = [*_weights(_IFGO, beside, (w, tw), (r, tr)), _biases(_IFGO, beside, 4 * H, bias)]
    follows = _next(state.value, w.value) if _only_steps_read(cell.value) else None
    if reason := _refuses_alone(x, r.value, isinstance(weights[1], Constant), follows, h, c):
        return reason
    yield _lstm(x, _initial(h), _initial(c), weights, H)


def _only_steps_read(cell: Value) -> bool:
    """Whether nobody reads a cell but its step and the one that follows; others are not joined."""
    return not cell.exits and len(cell.uses) <= 2


def _is_state(h: Tensor, c: Tensor | None, new: Value, r: Const, w: Const, tw: int, beside: Node | None) -> bool:
    """Whether something tells a state from what comes in: it is zeros, or made with the cell; or its weights come up in
    the steps beside this one."""
    made = h.value.node
    product = _next(new, w.value)
    return (
        is_zero(h.value)
        or (_maker(h, "LSTM") is not None and _maker(h, "LSTM") is _maker(c, "LSTM"))
        or (
            c is not None
            and any(
                v is not None and v.node is not None and v.node.op == "Tanh" and v.node.inputs[0] is c.value
                for v in (made.inputs if made is not None else ())
            )
        )
        or (product is not None and product.inputs[1] is r.value)
        or (beside is not None and isinstance(_known(_blocks(_rows(w, tw), _IFGO), beside.inputs[1]), Constant))
    )


def _lstm(x: Tensor, h: Any, c: Any, weights: list[Any], hidden: int) -> tuple[Call, Call]:
    """One step: the new state and cell."""
    w, r, b = weights
    _, state, cell = op.LSTM(_row(x), w, r, b, None, h, c, hidden_size=hidden, outputs=3)
    return op.Squeeze(state, axes=[0]), op.Squeeze(cell, axes=[0])


@rule(since=7)
def lstm_first_step(
    x: "B I",
    w: Const["_ _"],
    b: Maybe[Const],
    zeros: Filled[0],
    tw: Int,
    axis: Axis,
    split: Maybe[Ints],
    num_outputs: Maybe[Int],
):
    """The first step, in which the product of a state of zeros was folded away: the step that follows has its weights."""
    gates = op.Gemm(x, w, b, transB=tw)
    i, f, g, o = op.Split(gates, axis=axis, split=split, num_outputs=num_outputs, outputs=4)
    added = op.Sigmoid(i) * op.Tanh(g)
    cell = any_of(op.Sigmoid(f) * zeros + added, added)
    shown = op.Tanh(cell)
    state = shown * op.Sigmoid(o)
    yield state, cell
    n = columns(w, tw)
    if reason := _refuses(4, x, n // 4, w, tw):
        return reason
    if axis != 1 or i.value.shape[1] != n // 4 or not same_shape(i.value.shape, state.shape):
        return "not four gates of one size"
    if isinstance(bias := bias_of(n, b), str):
        return bias
    beside = _beside(None, state.value, "LSTM")
    follows = _next(state.value, w.value) if _only_steps_read(shown.value.node.inputs[0]) else None
    if follows is None and beside is None and x.shape[0] != 1:
        return _ALONE
    if (r := _of_state(follows, beside, _IFGO, n, n // 4)) is None:
        return "the weights of the state are not known"
    yield _lstm(x, None, None, [*_weights(_IFGO, beside, (w, tw)), r, _biases(_IFGO, beside, n, bias)], n // 4)


# ------------------------------------------------------------------------------------------------------------------ GRU
def _gru(x: Tensor, h: Any, weights: list[Any], hidden: int) -> Call:
    """One step: the new state."""
    w, r, b = weights
    _, state = op.GRU(_row(x), w, r, b, None, h, hidden_size=hidden, linear_before_reset=1, outputs=2)
    return op.Squeeze(state, axes=[0])


def _gru_step(name: str, doc: str, order: Sequence[int], new: Callable[..., Any]) -> Rule:
    def body(
        x: "B I",
        h: "B H",
        w: Const["_ _"],
        r: Const["_ _"],
        b: Maybe[Const],
        c: Maybe[Const],
        zeros: Filled[0],
        tw: Maybe[Int],
        tr: Maybe[Int],
        axis: Axis,
        split: Maybe[Ints],
        num_outputs: Maybe[Int],
        H: Dim,
    ):
        given = any_of(op.Gemm(x, w, b, transB=tw), x @ w, x @ w + b)
        kept = any_of(op.Gemm(h, r, c, transB=tr), h @ r, h @ r + c)
        i = op.Split(given, axis=axis, split=split, num_outputs=num_outputs, outputs=3)
        k = op.Split(kept, axis=axis, split=split, num_outputs=num_outputs, outputs=3)
        update, reset = (op.Sigmoid(i[n] + k[n]) for n in order[:2])
        state = new(any_of(h, zeros), update, op.Tanh(i[2] + reset * k[2]))
        yield state
        if reason := _refuses(3, x, H, w, tw) or _refuses(3, h, H, r, tr):
            return reason
        if zeros is not None and not is_zero(h.value):
            return "a state, and zeros in its place"
        if axis != 1 or not same_shape(i[0].value.shape, h.shape) or not same_shape(i[1].value.shape, h.shape):
            return "not three gates of the size of the state"
        if isinstance(ours := bias_of(3 * H, b), str) or isinstance(own := bias_of(3 * H, c), str):
            return "a bias that is none per column"
        beside = _beside(h, state.value, "GRU")
        weights = [*_weights(order, beside, (w, tw), (r, tr)), _biases(order, beside, 3 * H, ours, own)]
        if reason := _refuses_alone(x, r.value, isinstance(weights[1], Constant), _next(state.value, w.value), h):
            return reason
        yield _gru(x, _initial(h), weights, H)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return rule(since=7)(body)


def _towards(h: Any, update: Any, new: Any) -> Any:
    return (h - new) * update + new


def _mixed(h: Any, update: Any, new: Any) -> Any:
    return update * h + (1 - update) * new


gru_step = _gru_step("gru_step", "A step of a GRU with gates for reset, update and the new state.", _RZN, _towards)
gru_step_update_first = _gru_step(
    "gru_step_update_first", "A step of a GRU with gates for update, reset and the new state.", _ZRN, _mixed
)
