"""LSTM and GRU that exporters unrolled: a group of nodes for each step.

The last step is recognised; those before it are made of the same nodes with the same weights. All become one operator, so
that no step is changed by itself: as operators they are no faster. ONNX Runtime has kernels for single precision alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Node, Value
from graphopt.patterns._recurrent import Step, bias_of, columns, is_zero, steps_until
from graphopt.patterns._shapes import leaf
from graphopt.rewrite import Axis, Const, Dim, Filled, Int, Ints, Maybe, Rule, Tensor, any_of, op, rule
from graphopt.rewrite.terms import Alternatives, Constant
from graphopt.shapes import same_shape

#: By how the gates lie in the weights, where each of those of ONNX is found: input, output, forget, cell; update, reset, hidden.
_IFGO = (0, 3, 1, 2)
_RZN = (1, 0, 2)
_ZRN = (0, 1, 2)
_ALONE = "one step by itself is no faster as an operator, unless its batch is 1"
_LATER = "the last step comes first"


# -------------------------------------------------------------------------------------------------------------- helpers
def _weights(order: Sequence[int], beside: Node | None, i: int, *parts: np.ndarray) -> Any:
    """Weights with a row for each column of the product, one below the other, as an operator has them as input `i`.

    Args:
        order: where each gate of ONNX lies in the weights.
        beside: an operator that may have the same weights already.
    """
    gates = [np.split(p, len(order)) for p in parts]
    made = np.concatenate([g[k] for g in gates for k in order])[None]
    known = _input(beside, i)
    if known is not None and known.const is not None and np.array_equal(known.const.numpy(), made):
        return Constant(known)
    return made


def _rows(w: Const, transposed: int | None) -> np.ndarray:
    return np.asarray(w) if transposed else np.asarray(w).T


def _biases(order: Sequence[int], beside: Node | None, rows: int, *biases: np.ndarray | None) -> Any:
    """The biases of what comes in, and of the state by itself; None where there is none."""
    if all(b is None for b in biases):
        return None
    return _weights(order, beside, 3, *(np.zeros(rows, np.float32) if b is None else b for b in (*biases, None)[:2]))


def _input(node: Node | None, i: int) -> Value | None:
    return node.inputs[i] if node is not None and i < len(node.inputs) else None


def _beside(operator: str, h: Value | None, new: Value | None) -> Node | None:
    """The operator that a state comes from, or else that the new state goes to."""
    before = None if h is None else h.node
    if before is not None and before.op == "Squeeze" and before.inputs[0] is not None:
        before = before.inputs[0].node
    if before is not None and before.op == operator:
        return before
    taken = [] if new is None else [u.output for u in new.uses if u.op == "Unsqueeze"]
    return next((n for v in taken for n in v.uses if n.op == operator and n.inputs[5:6] == [v]), None)


def _goes_on(state: Value, r: Value) -> bool:
    """Whether a step follows that has these weights of the state."""
    return any(u.op in ("Gemm", "MatMul") and u.inputs[:2] == [state, r] for u in state.uses)


def _refuses(gates: int, x: Tensor, hidden: Any, *products: int) -> str | None:
    """Why this is no step of an operator with so many gates and a state of this size, from products of so many columns."""
    if x.dtype != TensorProto.FLOAT:
        return "not of single precision: runtimes have no kernel"
    if 0 in x.shape or not hidden:
        return "empty"
    if not isinstance(hidden, int) or any(n != hidden * gates for n in products):
        return "not as many columns as there are gates, or not known"
    return None


def _refuses_alone(x: Tensor, steps: Sequence[Step], weights: Sequence[Any]) -> str | None:
    """Why a step is left as it is that no other one follows or precedes.

    Measured with ONNX Runtime on one thread: up to 1.08 of the time of an LSTM's nodes, 1.14 of a GRU's; less than theirs
    where its state is one of several layers', which have its elements in a row.
    """
    shared = all(isinstance(w, Constant) for w in weights)  # with an operator beside this step
    fits = len(steps) > 1 or shared or x.shape[0] == 1 or _of_layers(steps[0].h)
    return None if fits else _ALONE


def _of_layers(state: Value | None) -> bool:
    node = None if state is None else state.node
    if node is None or node.op != "Gather" or node.attributes.get("axis", 0):
        return False
    i = node.inputs[1]
    return i is not None and i.const is not None and i.const.size == 1


def _initial(h: Value | None) -> Any:
    """A state as an operator takes it; none where it is zeros."""
    return None if h is None or is_zero(h) else _row(h)


def _row(x: Value) -> Any:
    """A sequence, or a layer, of one; what it was taken from where that is one."""
    node = x.node
    whole = node.inputs[0] if node is not None and node.op == "Squeeze" and node.graph is x.graph else None
    if whole is not None and whole.shape and same_shape(whole.shape, (1, *(x.shape or ()))):
        return leaf(whole)
    return op.Unsqueeze(leaf(x), axes=[0])


def _operator(name: str, steps: Sequence[Step], weights: list[Any], **attributes: Any) -> tuple[Any, ...]:
    """Steps as one operator: the last state (and cell), and by value the states before it that others read."""
    w, r, b = weights
    rows = [_row(s.x) for s in steps]
    x = op.Concat(*rows, axis=0) if len(rows) > 1 else rows[0]
    first = steps[0]
    states = (_initial(first.h), _initial(first.c)) if name == "LSTM" else (_initial(first.h),)
    y, *ends = getattr(op, name)(x, w, r, b, None, *states, outputs=len(states) + 1, **attributes)
    last = [op.Squeeze(v, axes=[0]) for v in ends]
    every = op.Squeeze(y, axes=[1])
    between = {leaf(s.state): op.Gather(every, np.array(k), axis=0) for k, s in enumerate(steps[:-1]) if s.is_read}
    if between:
        last[0] = op.Gather(every, np.array(len(steps) - 1), axis=0)
    return (*last, between) if between else tuple(last)


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
    """The last step of an LSTM with gates for input, forgetting, the cell and output, and all steps before it."""
    gates = _gates(x, h, w, r, b, b2, tw, tr)
    i, f, g, o = op.Split(gates, axis=axis, split=split, num_outputs=num_outputs, outputs=4)
    cell = op.Sigmoid(f) * any_of(c, zeros) + op.Sigmoid(i) * op.Tanh(g)
    state = op.Tanh(cell) * op.Sigmoid(o)
    yield state, cell
    if reason := _refuses(4, x, H, columns(w, tw), columns(r, tr)):
        return reason
    if not same_shape(cell.shape, h.shape):  # which gates of other sizes, or along another axis, would make larger
        return "not four gates of the size of the state"
    if _goes_on(state.value, r.value) and len(cell.value.uses) <= 2 and not cell.value.exits:
        return _LATER
    last = Step(x.value, h.value, None if c is None else c.value, state.value, cell.value)
    steps = steps_until(last)
    if len(steps) == 1 and _is_other_state(last):
        return "the other tensor is the state"
    if isinstance(bias := bias_of(x, 4 * H, b, b2), str):
        return bias
    beside = _beside("LSTM", steps[0].c, state.value)
    weights = [_weights(_IFGO, beside, n, _rows(v, t)) for n, v, t in ((1, w, tw), (2, r, tr))]
    if reason := _refuses_alone(x, steps, weights):
        return reason
    yield _operator("LSTM", steps, [*weights, _biases(_IFGO, beside, 4 * H, bias)], hidden_size=H)


def _is_other_state(step: Step) -> bool:
    """Whether what comes in is the state: it is zeros, or made with the cell, or a step before it gave it."""
    x, h, c = step.x, step.h, step.c
    assert h is not None
    return (
        (is_zero(x) and not is_zero(h))
        or (c is not None and _is_made_with(x, c) and not _is_made_with(h, c))
        or len(steps_until(step._replace(x=h, h=x))) > 1
    )


def _is_made_with(state: Value, cell: Value) -> bool:
    made = state.node
    makers = [] if made is None else [v.node for v in made.inputs if v is not None]
    return any(n is not None and n.op == "Tanh" and n.inputs[0] is cell for n in makers)


# ------------------------------------------------------------------------------------------------------------------ GRU
def _gru_step(name: str, doc: str, order: Sequence[int], new: Callable[..., Any]) -> Rule:
    def body(
        x: "B I",
        h: "B H",
        w: Const["_ _"],
        r: Const["_ _"],
        b: Maybe[Const],
        c: Maybe[Const],
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
        state = new(h, update, op.Tanh(i[2] + reset * k[2]))
        yield state
        if reason := _refuses(
            3, x, H, columns(w, tw), columns(r, tr)
        ):  # gates of other sizes would make a larger state
            return reason
        if _goes_on(state.value, r.value):
            return _LATER
        steps = steps_until(Step(x.value, h.value, None, state.value, None))
        biases: list[Any] = [bias_of(x, 3 * H, p) for p in (b, c)]
        if any(isinstance(p, str) for p in biases):
            return "a bias that is none per column"
        beside = _beside("GRU", steps[0].h, state.value)
        weights = [_weights(order, beside, n, _rows(v, t)) for n, v, t in ((1, w, tw), (2, r, tr))]
        if reason := _refuses_alone(x, steps, weights):
            return reason
        weights.append(_biases(order, beside, 3 * H, *biases))
        yield _operator("GRU", steps, weights, hidden_size=H, linear_before_reset=1)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return rule(since=7)(body)


def _towards(h: Any, update: Any, new: Any) -> Any:
    return (h - new) * update + new


def _mixed(h: Any, update: Any, new: Any) -> Any:
    return update * h + (1 - update) * new


gru_step = _gru_step(
    "gru_step",
    "The last step of a GRU with gates for reset, update and the new state, and all before it.",
    _RZN,
    _towards,
)
gru_step_update_first = _gru_step(
    "gru_step_update_first", "The same with gates for update, reset and the new state.", _ZRN, _mixed
)
