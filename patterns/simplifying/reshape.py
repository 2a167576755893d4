"""Reshape, Flatten, Squeeze, Unsqueeze, Expand, and operators that turn out to do nothing to a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.patterns._shapes import (
    axes_of,
    described,
    entries,
    holds_last,
    matched,
    ones_besides,
    shape_to_write,
    target_of,
)
from graphopt.rewrite import Axis, Const, Float, Int, Ints, Maybe, Rule, Str, Tensor, any_of, op, rule
from graphopt.shapes import broadcast, same_dims, same_shape

_BROADCASTING = "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Mul Or Sub".split()
_BROADCASTING_ROUGHLY = "Max Min Pow".split()


def placed(axes: list[int], among: list[int]) -> list[int]:
    """Where axes are once dims are put in at `among`."""
    out = []
    for a in axes:
        for put in sorted(among):
            a += put <= a
        out.append(a)
    return out


# ---------------------------------------------------------------------------------- Reshape, Squeeze, Unsqueeze, Flatten
@rule(exact=True)
def reshape_nothing(x, shape, allowzero: Maybe[Int]):
    """A Reshape to the shape that is there does nothing."""
    y = op.Reshape(x, shape, allowzero=allowzero)
    yield y
    if x.rank is None or x.rank != y.rank:
        return "the rank changes or is unknown"
    target = described(x.value, shape.value, allowzero, y.shape)
    if target is None:
        return "the shape is unknown"
    other = [k for k, d in enumerate(target) if not (d == 0 or (d is not None and d == x.shape[k]))]
    if len(other) > 1:
        return "two dims may change"
    if other and target[other[0]] != -1 and 0 in target:
        return "a dim may change where the tensor is empty"
    if holds_last(y.value, x.value):
        return "others learn the size of the values from it"
    yield x


@rule(exact=True)
def reshape_reshape(x, first, z: Maybe[Int], second: Ints, allowzero: Maybe[Int]):
    """Of two Reshapes the last one counts."""
    inner = op.Reshape(x, first, allowzero=z)
    yield op.Reshape(inner, shape=second, allowzero=allowzero)
    if allowzero:
        yield op.Reshape(x, shape=second, allowzero=allowzero)
        return
    made = described(x.value, first.value, z, inner.shape) or [None] * len(second)
    shape = [made[k] if d == 0 and k < len(made) else d for k, d in enumerate(second)]
    if None in shape:
        return "a 0 copies a dim of the inner shape that is not known"
    yield op.Reshape(x, shape=shape)


@rule(exact=True)
def reshape_computed_shape(x, shape, allowzero: Maybe[Int]):
    """A shape that the graph puts together from x's own dims is a constant one: 0 copies, -1 infers."""
    y = op.Reshape(x, shape, allowzero=allowzero)
    yield y
    if shape.is_const:
        return "the shape is a constant"
    constant = shape_to_write(described(x.value, shape.value, allowzero, y.shape), x.shape)
    if constant is None:
        return "no constant shape does the same for all inputs"
    yield op.Reshape(x, shape=constant)


@rule(exact=True)
def reshape_own_dim(x, shape: Const, allowzero: Maybe[Int]):
    """A dim that is inferred and cannot be but x's own is a copy of it, which tells what it is."""
    y = op.Reshape(x, shape, allowzero=allowzero)
    yield y
    if not (shape.array == -1).any():
        return "nothing is inferred"
    target = described(x.value, shape.value, allowzero, y.shape)
    if target is None or not any(d == -1 and t == 0 for d, t in zip(shape.array, target, strict=True)):
        return "it is not x's own dim that is inferred"
    yield op.Reshape(x, shape=target)


@rule(exact=True)
def squeeze_squeeze(x, a: Maybe[Ints], b: Maybe[Ints]):
    """Two Squeezes are one."""
    inner = op.Squeeze(x, axes=a)
    yield op.Squeeze(inner, axes=b)
    if b is None:
        yield op.Squeeze(x)
        return
    first, then = axes_of(a or (), x.rank), axes_of(b, inner.rank)
    if not first or not then:
        return "the axes cannot be counted without the rank"
    yield op.Squeeze(x, axes=sorted(first + placed(then, first)))


@rule(exact=True)
def unsqueeze_unsqueeze(x, a: Ints, b: Ints):
    """Two Unsqueezes are one."""
    inner = op.Unsqueeze(x, axes=a)
    y = op.Unsqueeze(inner, axes=b)
    yield y
    first, then = axes_of(a, inner.rank), axes_of(b, y.rank)
    if first is None or then is None:
        return "the axes cannot be counted without the rank"
    yield op.Unsqueeze(x, axes=sorted(then + placed(first, then)))


@rule(exact=True)
def squeeze_unsqueeze(x, a: Ints, b: Ints):
    """Squeeze takes away what Unsqueeze put in."""
    inner = op.Unsqueeze(x, axes=a)
    yield op.Squeeze(inner, axes=b)
    put, gone = axes_of(a, inner.rank), axes_of(b, inner.rank)
    if put == gone and (put is not None or sorted(a) == sorted(b)):
        yield x
        return
    if put is None or gone is None:
        return "the axes cannot be counted without the rank"
    if set(gone) < set(put):
        yield op.Unsqueeze(x, axes=[i - sum(g < i for g in gone) for i in put if i not in gone])
    elif set(put) < set(gone):
        yield op.Squeeze(x, axes=[i - sum(p < i for p in put) for i in gone if i not in put])
    else:
        return "other axes"


@rule(exact=True)
def unsqueeze_squeeze(x, a: Ints, b: Ints):
    """Unsqueeze puts back what Squeeze took away."""
    inner = op.Squeeze(x, axes=a)
    y = op.Unsqueeze(inner, axes=b)
    yield y
    gone, put = axes_of(a, x.rank), axes_of(b, y.rank)
    if sorted(a) != sorted(b) and (gone is None or gone != put):
        return "other axes"
    yield x


@rule(exact=True)
def squeeze_nothing(x):
    """Squeeze of a tensor without dims of 1 does nothing."""
    y = op.Squeeze(x)
    yield y
    if not same_shape(x.shape, y.shape):
        return "there may be dims of 1"
    yield x


@rule(exact=True)
def flatten_nothing(x, axis: Axis):
    """A matrix is flat already."""
    yield op.Flatten(x, axis=axis)
    if x.rank != 2 or axis != 1:
        return "not a matrix flattened at axis 1"
    yield x


@rule(exact=True)
def flatten_flatten(x, a: Axis, b: Axis):
    """Of two Flattens, one is enough where the second gathers everything into one dim."""
    yield op.Flatten(op.Flatten(x, axis=a), axis=b)
    if b == 0:
        yield op.Flatten(x, axis=0)
    elif b == 2 and x.rank:
        yield op.Flatten(x, axis=x.rank)
    else:
        return "the second one does nothing, or the rank is unknown"


# ----------------------------------------------------------------------------------- any two operators that move no data
def view(x: Any, s: Any, z: Any, k: Any, a: Any, b: Any) -> Any:
    """Any operator that leaves the data as they are."""
    return any_of(op.Reshape(x, s, allowzero=z), op.Flatten(x, axis=k), op.Squeeze(x, axes=a), op.Unsqueeze(x, axes=b))


@rule(exact=True)
def reshape_of_view(x, s, z: Maybe[Int], k: Maybe[Int], a: Maybe[Ints], b: Maybe[Ints], shape, allowzero: Maybe[Int]):
    """A Reshape of a flattened, squeezed or unsqueezed tensor is a Reshape of the tensor itself."""
    y = op.Reshape(view(x, s, z, k, a, b), shape, allowzero=allowzero)
    yield y
    if (target := target_of(x.shape, y.shape)) is not None:
        yield op.Reshape(x, shape=target)
    elif x.shape is not None and y.shape is not None and (put := ones_besides(y.shape, x.shape)):
        yield op.Unsqueeze(x, axes=put)
    elif x.shape is not None and y.shape is not None and (gone := ones_besides(x.shape, y.shape)):
        yield op.Squeeze(x, axes=gone)
    return "the shape of the result is not known well enough"


@rule(exact=True)
def flatten_of_view(x, s, z: Maybe[Int], k: Maybe[Int], a: Maybe[Ints], b: Maybe[Ints], axis: Int):
    """Flatten of a reshaped, squeezed or unsqueezed tensor is a Reshape."""
    y = op.Flatten(view(x, s, z, k, a, b), axis=axis)
    yield y
    if (target := target_of(x.shape, y.shape)) is None:
        return "the shape of the result is not known well enough"
    yield op.Reshape(x, shape=target)


@rule(exact=True)
def squeeze_of_view(x, s, z: Maybe[Int], k: Maybe[Int], a: Maybe[Ints], b: Maybe[Ints], axes: Maybe[Ints]):
    """Squeeze of a reshaped, flattened or unsqueezed tensor is a Reshape."""
    y = op.Squeeze(view(x, s, z, k, a, b), axes=axes)
    yield y
    if (target := target_of(x.shape, y.shape)) is None:
        return "the shape of the result is not known well enough"
    yield op.Reshape(x, shape=target)


@rule(exact=True)
def unsqueeze_of_view(x, s, z: Maybe[Int], k: Maybe[Int], a: Maybe[Ints], b: Maybe[Ints], axes: Ints):
    """Unsqueeze of a reshaped, flattened or squeezed tensor is a Reshape."""
    y = op.Unsqueeze(view(x, s, z, k, a, b), axes=axes)
    yield y
    if (target := target_of(x.shape, y.shape)) is None:
        return "the shape of the result is not known well enough"
    yield op.Reshape(x, shape=target)


# -------------------------------------------------------------------------------------------------------------- Expand
@rule(exact=True)
def expand_nothing(x, shape):
    """An Expand that enlarges nothing does nothing."""
    y = op.Expand(x, shape)
    yield y
    if not same_shape(x.shape, y.shape):
        return "a dim may be enlarged, or dims may be added"
    yield x


@rule(exact=True)
def expand_expand(x, a: Ints, b: Ints):
    """Two Expands are one."""
    yield op.Expand(op.Expand(x, shape=a), shape=b)
    try:
        shape = np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        return "the shapes do not broadcast"
    yield op.Expand(x, shape=list(shape))


@rule(exact=True)
def expand_computed_shape(x, shape):
    """A shape for Expand that the graph puts together from x's own dims and numbers is a constant: 1 for x's own dims."""
    y = op.Expand(x, shape)
    yield y
    wanted = entries(shape.value)
    if shape.is_const or wanted is None or x.shape is None or y.shape is None:
        return "the shape is a constant, or nothing is known about it"
    n = len(wanted)
    own = (*[None] * (n - len(x.shape)), *x.shape)
    constant: list[int] = []
    for e, d, o in zip(wanted, y.shape[-n:], own[-n:]):
        if isinstance(e.key, int):
            constant.append(e.key)
        elif isinstance(d, int):
            constant.append(d)
        elif same_dims(d, o):
            constant.append(1)
        else:
            return "a dim is neither a number nor x's own"
    if min(constant, default=0) < 0:
        return "a dim is negative"
    yield op.Expand(x, shape=constant)


@rule  # ONNX Runtime's Where keeps the sign of a zero, or not, by how the shapes broadcast
def where_of_expand(c, x, y, s, t, u):
    """Where broadcasts by itself."""
    a = op.Where(op.Expand(c, s), x, y)
    b = op.Where(c, op.Expand(x, t), y)
    d = op.Where(c, x, op.Expand(y, u))
    yield any_of(a, b, d)
    try:
        shape = broadcast(broadcast(c.shape, x.shape), y.shape)
    except ValueError:
        return "the shapes do not broadcast"
    if not same_shape(shape, matched(a, b, d).shape):
        return "the result may become smaller"
    yield op.Where(c, x, y)


def _of_expand(name: str, exact: bool) -> Rule:
    binary = getattr(op, name)

    def body(x, y, s, t):
        a, b = binary(op.Expand(x, s), y), binary(x, op.Expand(y, t))
        yield any_of(a, b)
        try:
            shape = broadcast(x.shape, y.shape)
        except ValueError:
            return "the shapes do not broadcast"
        if not same_shape(shape, matched(a, b).shape):
            return "the result may become smaller"
        yield binary(x, y)

    body.__name__ = body.__qualname__ = f"{name.lower()}_of_expand"
    body.__doc__ = f"{name} broadcasts by itself."
    return rule(exact=exact, always=True)(body)


# A pattern starts from one operator, so each has its own copy of the rule.
globals().update({r.name: r for r in [_of_expand(n, True) for n in _BROADCASTING]})
globals().update({r.name: r for r in [_of_expand(n, False) for n in _BROADCASTING_ROUGHLY]})


# --------------------------------------------------------------------------------------------------- nothing to be done
@rule(exact=True)
def tile_nothing(x, repeats: Ints):
    """Once is no repetition."""
    yield op.Tile(x, repeats=repeats)
    if any(r != 1 for r in repeats):
        return "something is repeated"
    yield x


@rule(exact=True)
def pad_nothing(x, pads: Const, value: Maybe[Tensor], axes: Maybe[Tensor], mode: Str):
    """Padding of width 0 adds nothing."""
    yield op.Pad(x, pads, value, axes, mode=mode)
    if np.any(np.asarray(pads)):
        return "there is padding"
    yield x


@rule(exact=True)
def pad_nothing_attribute(x, pads: Ints, value: Float, mode: Str):
    """Padding of width 0 adds nothing, as it was written before opset 11."""
    yield op.Pad(x, pads=pads, value=value, mode=mode)
    if any(pads):
        return "there is padding"
    yield x


@rule(exact=True)
def concat_one(x, axis: Int):
    """A Concat of one tensor is that tensor."""
    yield op.Concat(x, axis=axis)
    yield x


@rule(exact=True)
def split_one(x, axis: Int, split: Maybe[Ints], num_outputs: Maybe[Int]):
    """A Split into one part is the tensor itself."""
    yield op.Split(x, axis=axis, split=split, num_outputs=num_outputs)
    yield x
