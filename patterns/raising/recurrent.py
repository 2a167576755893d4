"""LSTM, GRU and RNN that exporters unrolled: a group of nodes for each step.

First the gates get one form: two products of which one is the bias of the other. Then each step becomes an operator on a
sequence of one; the simplifying rules of this name join them. ONNX Runtime has kernels for single precision alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Node, Value
from graphopt.patterns._elementwise import FLOATS
from graphopt.patterns._recurrent import is_zero
from graphopt.rewrite import Axis, Const, Dim, Filled, Int, Ints, Maybe, Rule, Tensor, any_of, op, rule
from graphopt.rewrite.terms import Alternatives, Call, Constant
from graphopt.shapes import same_dims, same_shape

#: By how the gates lie in the weights, where each of those of ONNX is found: input, output, forget, cell; update, reset, hidden.
_IFGO = (0, 3, 1, 2)
_RZN = (1, 0, 2)
_ZRN = (0, 1, 2)
#: Elements of weights of zeros that a rule may add to the model.
_ZEROS = 1 << 16
#: Elements of a state up to which ONNX Runtime's RNN is faster than its Gemm and Tanh.
_QUICK = 256
_PRODUCTS = ("Gemm", "MatMul")


# ---------------------------------------------------------------------------------------------------------------- gates
def _row(c: Const, n: int) -> np.ndarray | None:
    """A constant beside a product of n columns as one number each, None where it varies over rows."""
    if c.rank > 2 or c.size not in (1, n, n * (c.shape[0] if c.rank == 2 else 1)) or not c.size:
        return None
    rows = np.reshape(c, (-1, c.shape[-1] if c.rank else 1))
    return np.broadcast_to(rows[0], (n,)) if (rows == rows[0]).all() else None


def _bias(n: int, *parts: Const | None) -> np.ndarray | str | None:
    """Biases of n columns as one, None where there is none; what is wrong where one varies over rows."""
    found = [_row(p, n) for p in parts if p is not None]
    rows = [r for r in found if r is not None]
    if len(rows) < len(found):
        return "a bias that is none per column"
    return sum(rows[1:], rows[0]) if rows else None


def _shared(bias: Any, w: Const) -> Any:
    """A bias that stands beside these weights already, as that of the step before."""
    for user in islice(reversed(w.value.uses), 2):
        b = user.inputs[2] if user.op == "Gemm" and len(user.inputs) > 2 else None
        if bias is not None and b is not None and b.const is not None and np.array_equal(b.const.numpy(), bias):
            return Constant(b)
    return bias


def _columns(w: Const, transposed: int | None) -> int:
    return int(w.shape[0 if transposed else 1])


@rule
def sum_of_gemms(
    x: "B _", w: Const["_ _"], b: Maybe[Const], y: "B _", v: Const["_ _"], c: Maybe[Const], s: Int, t: Int
):
    """A product is the bias of another that it is added to."""
    yield op.Gemm(x, w, b, transB=s) + op.Gemm(y, v, c, transB=t)
    n = _columns(w, s)
    if x.dtype not in FLOATS or n != _columns(v, t):
        return "not floats, or one is broadcast"
    if isinstance(bias := _bias(n, b, c), str):
        return bias
    yield op.Gemm(y, v, op.Gemm(x, w, _shared(bias, w), transB=s), transB=t)


@rule
def sum_of_products(x: "B _", w: Const["_ _"], y: "B _", v: Const["_ _"], b: Const):
    """The same without a bias, or with one behind them."""
    product = x @ w + y @ v
    yield any_of(product + b, product)
    n = _columns(w, 0)
    if x.dtype not in FLOATS or n != _columns(v, 0):
        return "not floats, or one is broadcast"
    if isinstance(bias := _bias(n, b), str):
        return bias
    yield op.Gemm(y, v, op.Gemm(x, w, _shared(bias, w)))


@rule
def sum_of_products_plus_bias(
    x: "B _", w: Const["_ _"], b: Maybe[Const], y: "B _", v: Const["_ _"], c: Const, s: Int, t: Int
):
    """A bias behind two products belongs to the first."""
    yield op.Gemm(y, v, op.Gemm(x, w, b, transB=s), transB=t) + c
    n = _columns(w, s)
    if x.dtype not in FLOATS or n != _columns(v, t):
        return "not floats, or one is broadcast"
    if isinstance(bias := _bias(n, b, c), str):
        return bias
    yield op.Gemm(y, v, op.Gemm(x, w, _shared(bias, w), transB=s), transB=t)


@rule
def gemm_plus_rows(x: "B _", w: Const["_ _"], b: Maybe[Const], c: Const["_ _"], s: Int):
    """What is left of a product of zeros and the weights of a state: a constant with its bias in each row."""
    yield op.Gemm(x, w, b, transB=s) + c
    if x.dtype not in FLOATS or not (c.shape[0] == 1 or same_dims(c.shape[0], x.shape[0])):
        return "not floats, or the product is broadcast"
    if (bias := _bias(_columns(w, s), b, c)) is None or isinstance(bias, str):
        return bias or "no bias"
    yield op.Gemm(x, w, _shared(bias, w), transB=s)


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
    if hidden * gates != _columns(w, transposed):
        return "not as many columns as there are gates"
    return None


def _initial(h: Tensor | None) -> Any:
    """A state as an operator takes it; none where it is zeros."""
    return None if h is None or is_zero(h.value) else op.Unsqueeze(h, axes=[0])


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
def _gates(x: Any, h: Any, w: Any, r: Any, b: Any, tw: Any, tr: Any) -> Alternatives:
    """Both products of a step, one as the bias of the other."""
    return any_of(
        op.Gemm(h, r, op.Gemm(x, w, b, transB=tw), transB=tr), op.Gemm(x, w, op.Gemm(h, r, b, transB=tr), transB=tw)
    )


@rule(since=7)
def lstm_step(
    x: "B I",
    h: "B H",
    c: "B H",
    w: Const["_ _"],
    r: Const["_ _"],
    b: Maybe[Const],
    zeros: Filled[0],
    tw: Int,
    tr: Int,
    axis: Axis,
    split: Maybe[Ints],
    num_outputs: Maybe[Int],
    H: Dim,
):
    """A step of an LSTM with gates for input, forgetting, the cell and output."""
    gates = _gates(x, h, w, r, b, tw, tr)
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
    if isinstance(bias := _bias(4 * H, b), str):
        return bias
    weights = [*_weights(_IFGO, beside, (w, tw), (r, tr)), _biases(_IFGO, beside, 4 * H, bias)]
    yield _lstm(x, _initial(h), _initial(c), weights, H)


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
    _, state, cell = op.LSTM(op.Unsqueeze(x, axes=[0]), w, r, b, None, h, c, hidden_size=hidden, outputs=3)
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
    state = op.Tanh(cell) * op.Sigmoid(o)
    yield state, cell
    n = _columns(w, tw)
    if reason := _refuses(4, x, n // 4, w, tw):
        return reason
    if axis != 1 or i.value.shape[1] != n // 4 or not same_shape(i.value.shape, state.shape):
        return "not four gates of one size"
    if isinstance(bias := _bias(n, b), str):
        return bias
    beside = _beside(None, state.value, "LSTM")
    if (r := _of_state(_next(state.value, w.value), beside, _IFGO, n, n // 4)) is None:
        return "the weights of the state are not known"
    yield _lstm(x, None, None, [*_weights(_IFGO, beside, (w, tw)), r, _biases(_IFGO, beside, n, bias)], n // 4)


# ------------------------------------------------------------------------------------------------------------------ GRU
def _gru(x: Tensor, h: Any, weights: list[Any], hidden: int) -> Call:
    """One step: the new state."""
    w, r, b = weights
    _, state = op.GRU(op.Unsqueeze(x, axes=[0]), w, r, b, None, h, hidden_size=hidden, linear_before_reset=1, outputs=2)
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
        if isinstance(ours := _bias(3 * H, b), str) or isinstance(own := _bias(3 * H, c), str):
            return "a bias that is none per column"
        beside = _beside(h, state.value, "GRU")
        weights = [*_weights(order, beside, (w, tw), (r, tr)), _biases(order, beside, 3 * H, ours, own)]
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


# ------------------------------------------------------------------------------------------------------------------ RNN
def _rnn_step(x: Any, h: Any, w: Any, r: Any, b: Any, tw: Any, tr: Any) -> Call:
    return op.Tanh(_gates(x, h, w, r, b, tw, tr))


def _step_before(h: Tensor, weights: set[Value]) -> bool:
    """Whether a state is made by a step with these weights that is no operator yet."""
    tanh = h.value.node
    return tanh is not None and tanh.op == "Tanh" and weights <= set(_summed(tanh.inputs[0]))


def _summed(v: Value | None, depth: int = 3) -> Iterator[Value]:
    """The weights of the products of which a value is the sum."""
    node = None if v is None else v.node
    if node is not None and node.op in _PRODUCTS:
        yield from (w for w in node.inputs[1:2] if w is not None)
    if node is not None and depth and node.op in ("Add", "Gemm"):
        for part in node.inputs if node.op == "Add" else node.inputs[2:]:
            yield from _summed(part, depth - 1)


def _step_after(state: Value | None, w: Const, r: Const) -> Value | None:
    """The state that another step with these weights makes of this one."""
    node = None if state is None else _next(state, w.value)
    if node is None or node.inputs[1] is not r.value:
        return None
    for _ in range(3):
        users = {u.op: u for u in node.output.uses}
        if "Tanh" in users:
            return users["Tanh"].output
        if (node := users.get("Add", users.get("Gemm"))) is None:
            break
    return None


def _rnn(
    xs: Sequence[Tensor],
    h: Tensor,
    states: Sequence[Call],
    hidden: Any,
    w: Const,
    tw: int,
    r: Const,
    tr: int,
    b: Const | None,
) -> Any:
    """All steps in one operator, the last state first; why not where it is refused."""
    if reason := _refuses(1, xs[0], hidden, w, tw) or _refuses(1, h, hidden, r, tr):
        return reason
    if hidden * (xs[0].shape[0] if isinstance(xs[0].shape[0], int) else 1) > _QUICK:
        return "runtimes are faster without the operator"
    if _step_before(h, {w.value, r.value}):
        return "the steps before come first"
    after = _step_after(states[-1].value, w, r)
    if after is not None and (len(xs) > 2 or _step_after(after, w, r) is None):
        return "one step would be left" if len(xs) == 2 else "not the last steps"
    if isinstance(bias := _bias(hidden, b), str):
        return bias
    beside = _beside(h, states[-1].value, "RNN")
    weights = [*_weights((0,), beside, (w, tw), (r, tr)), _biases((0,), beside, hidden, bias)]
    x = op.Concat(*(op.Unsqueeze(x, axes=[0]) for x in xs), axis=0)
    y, last = op.RNN(x, *weights, None, _initial(h), hidden_size=hidden, outputs=2)
    every = op.Squeeze(y, axes=[1])
    inner = [op.Gather(every, np.array(k), axis=0) for k in range(len(xs) - 1)]
    seen = any(s.uses > 1 for s in states[:-1])
    final = op.Gather(every, np.array(len(xs) - 1), axis=0) if seen and after is None else op.Squeeze(last, axes=[0])
    return (final, *reversed(inner))


@rule(since=7)
def rnn_two_steps(
    x: "B I", y: "B I", h: "B H", w: Const["_ _"], r: Const["_ _"], b: Maybe[Const], tw: Int, tr: Int, H: Dim
):
    """Two steps of a plain network, which alone would not be worth an operator."""
    first = _rnn_step(x, h, w, r, b, tw, tr)
    second = _rnn_step(y, first, w, r, b, tw, tr)
    yield second, first
    found = _rnn([x, y], h, [first, second], H, w, tw, r, tr, b)
    if isinstance(found, str):
        return found
    yield found


@rule(since=7)
def rnn_three_steps(
    x: "B I", y: "B I", z: "B I", h: "B H", w: Const["_ _"], r: Const["_ _"], b: Maybe[Const], tw: Int, tr: Int, H: Dim
):
    """The last three steps of an odd number."""
    first = _rnn_step(x, h, w, r, b, tw, tr)
    second = _rnn_step(y, first, w, r, b, tw, tr)
    third = _rnn_step(z, second, w, r, b, tw, tr)
    yield third, second, first
    found = _rnn([x, y, z], h, [first, second, third], H, w, tw, r, tr, b)
    if isinstance(found, str):
        return found
    yield found
