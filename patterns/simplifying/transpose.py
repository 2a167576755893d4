"""Transpositions: compose, cancel, drop, and meet across elementwise operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.ir import Shape
from graphopt.patterns._shapes import axes_of, ones_besides, target_of
from graphopt.rewrite import Attrs, Const, Int, Ints, Maybe, Perm, Rule, Tensor, op, rule
from graphopt.shapes import same_shape

#: Operators that may swap places with a transposition. Of those that are exact, where an element stands cannot change a
#: bit. The others round, and kernels round the last elements of a row differently from those that fill a vector register;
#: or they pick one of 0.0 and -0.0 by the order of the operands, which a pattern forgets (Max and Min).
EXACT_UNARY = "Abs Cast Ceil Floor Neg Not Relu Round Sign".split()
ROUNDING_UNARY = (
    "Cos Elu Erf Exp Gelu HardSigmoid HardSwish LeakyRelu Log Mish Reciprocal Selu Sigmoid Sin Softplus Softsign Sqrt Tanh"
).split()
_EXACT_BINARY = "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Mul Or Sub".split()
_OTHER_BINARY = "Max Min Pow".split()
_WITH_CONSTANT = "Add Div Max Min Mul Pow Sub".split()
_CONSTANT_FIRST = "Div Sub".split()
_REDUCE = "L2 Max Mean Min Prod Sum".split()
#: Constants with more elements are not rearranged.
_LARGEST = 1 << 16


@rule(exact=True)
def transpose_transpose(x, p: Perm, q: Perm):
    """Two transpositions are one."""
    yield op.Transpose(op.Transpose(x, perm=p), perm=q)
    yield op.Transpose(x, perm=compose(p, q))


@rule(exact=True)
def transpose_nothing(x, p: Perm):
    """A transposition that keeps the order does nothing."""
    yield op.Transpose(x, perm=p)
    if p != sorted(p):
        return "the order changes"
    yield x


@rule(exact=True)
def transpose_of_ones(x, p: Perm):
    """A transposition that moves nothing but dims of 1 is a Reshape: no data moves."""
    yield op.Transpose(x, perm=p)
    if x.shape is None or len(x.shape) != len(p):
        return "the rank is unknown"
    if p == sorted(p) or not _keeps_data(x.shape, p):
        return "a dim that may be larger than 1 moves"
    shape = target_of(x.shape, tuple(x.shape[i] for i in p))
    if shape is None:
        return "a constant shape cannot say where the dims of unknown size go"
    yield op.Reshape(x, shape=shape)


@rule(exact=True, always=True)
def reshape_of_moved_ones(x, p: Perm, shape, allowzero: Maybe[Int]):
    """A Reshape of a transposition that moves nothing but dims of 1 is a Reshape, or a Squeeze, of the tensor itself."""
    moved = op.Transpose(x, perm=p)
    y = op.Reshape(moved, shape, allowzero=allowzero)
    yield y
    if x.shape is None or y.shape is None or not _keeps_data(x.shape, p):
        return "a dim that may be larger than 1 moves, or the rank is not known"
    gone = ones_besides(x.shape, y.shape)
    if gone is not None:
        yield op.Squeeze(x, axes=gone)
    elif (target := target_of(x.shape, y.shape)) is not None:
        yield op.Reshape(x, shape=target)
    return "the shape of the result is not known well enough"


@rule(exact=True)
def reshape_transpose_reshape(x, first, p: Perm, last, y: Maybe[Int], z: Maybe[Int]):
    """To fold the leading dims into one, swap the last two and unfold again is to swap the last two."""
    inner = op.Reshape(x, first, allowzero=y)
    result = op.Reshape(op.Transpose(inner, perm=p), last, allowzero=z)
    yield result
    if p != [0, 2, 1] or x.rank is None or x.rank < 2 or inner.shape is None:
        return "not two dims behind one"
    *lead, m, n = x.shape
    if not same_shape(inner.shape[1:], (m, n)) or not same_shape(result.shape, (*lead, n, m)):
        return "the dims are not those of x"
    yield op.Transpose(x, perm=[*range(len(lead)), len(lead) + 1, len(lead)])


@rule(exact=True)
def transpose_reshape_transpose_reshape(x, first, p: Perm, last, q: Perm, y: Maybe[Int], z: Maybe[Int]):
    """Rows that become an image, channels first, and rows again are what they were."""
    pixels = op.Reshape(x, first, allowzero=y)
    rows = op.Reshape(op.Transpose(pixels, perm=p), last, allowzero=z)
    yield op.Transpose(rows, perm=q)
    if p != [0, 3, 1, 2] or q != [0, 2, 1] or x.rank != 3 or pixels.shape is None:
        return "not rows, or not an image, channels first"
    batch, places, channels = x.shape
    kept = same_shape((pixels.shape[0], pixels.shape[3]), (batch, channels))
    if not kept or not same_shape(rows.shape, (batch, channels, places)):
        return "not known to have as many channels, or as many places"
    yield x


@rule(exact=True)
def transpose_clip_transpose(x, low: Maybe[Tensor], high: Maybe[Tensor], p: Perm, q: Perm, attrs: Attrs):
    """Transpositions on both sides of a Clip are one."""
    yield op.Transpose(op.Clip(op.Transpose(x, perm=p), low, high, **attrs), perm=q)
    yield transposed(op.Clip(x, low, high, **attrs), compose(p, q))


@rule(exact=True)
def squeeze_transpose(x, p: Perm, axes: Ints):
    """A transposition that only moves what Squeeze takes away does nothing."""
    yield op.Squeeze(op.Transpose(x, perm=p), axes=axes)
    gone = axes_of(axes, len(p))
    if gone is None:
        return "the axes are not valid"
    rest = [p[i] for i in range(len(p)) if i not in gone]
    if rest != sorted(rest):
        return "the order of the dims that stay changes"
    yield op.Squeeze(x, axes=sorted(p[i] for i in gone))


@rule(exact=True)
def transpose_unsqueeze(x, axes: Ints, q: Perm):
    """A transposition that only moves what Unsqueeze has put in puts it elsewhere."""
    yield op.Transpose(op.Unsqueeze(x, axes=axes), perm=q)
    new = axes_of(axes, len(q))
    if new is None:
        return "the axes are not valid"
    rest = [i for i in q if i not in new]
    if rest != sorted(rest):
        return "the order of the dims of x changes"
    yield op.Unsqueeze(x, axes=[k for k, i in enumerate(q) if i in new])


def _keeps_data(x: Shape, p: Sequence[int]) -> bool:
    """Whether a transposition moves nothing but dims of 1."""
    moving = [i for i in p if x[i] != 1]
    return len(x) == len(p) and moving == sorted(moving)


def compose(p: Sequence[int], q: Sequence[int]) -> list[int]:
    """The permutation that does p, then q."""
    return [p[i] for i in q]


def transposed(x: Any, perm: list[int]) -> Any:
    """A transposition, or nothing where it would keep the order."""
    return x if perm == sorted(perm) else op.Transpose(x, perm=perm)


def below(c: Any, p: Sequence[int], largest: int = _LARGEST) -> Any:
    """The constant k for which f(Transpose(x, p), c) = Transpose(f(x, k), p); None where it would add dims or is large."""
    if c.ndim > len(p) or c.size > largest:
        return None
    if c.size == 1:
        return c
    full = np.asarray(c).reshape((1,) * (len(p) - c.ndim) + c.shape)
    return np.ascontiguousarray(np.transpose(full, np.argsort(p)))


def _unary(name: str, exact: bool) -> Rule:
    unary = getattr(op, name)

    def body(x, p: Perm, q: Perm, attrs: Attrs):
        yield op.Transpose(unary(op.Transpose(x, perm=p), **attrs), perm=q)
        yield transposed(unary(x, **attrs), compose(p, q))

    return _named(body, f"transpose_{name}_transpose", f"Transpositions on both sides of {name} are one.", exact)


def _binary(name: str, exact: bool) -> Rule:
    binary = getattr(op, name)

    def body(x, y, p: Perm):
        yield binary(op.Transpose(x, perm=p), op.Transpose(y, perm=p))
        if x.value is y.value:
            return "nothing would be saved"
        yield op.Transpose(binary(x, y), perm=p)

    doc = f"{name} of two tensors that are transposed alike is transposed once, behind it."
    return _named(body, f"{name}_of_transposes", doc, exact)


def _binary_constant(name: str, exact: bool) -> Rule:
    binary = getattr(op, name)
    largest = 1 if name == "Pow" else _LARGEST

    def body(x, c: Const, p: Perm, q: Perm):
        yield op.Transpose(binary(op.Transpose(x, perm=p), c), perm=q)
        k = below(c, p, largest)
        if k is None:
            return "the constant adds dims or is too large"
        yield transposed(binary(x, k), compose(p, q))

    doc = f"Transpositions on both sides of {name} with a constant are one."
    return _named(body, f"transpose_{name}_constant_transpose", doc, exact)


def _constant_binary(name: str, exact: bool) -> Rule:
    binary = getattr(op, name)

    def body(x, c: Const, p: Perm, q: Perm):
        yield op.Transpose(binary(c, op.Transpose(x, perm=p)), perm=q)
        k = below(c, p)
        if k is None:
            return "the constant adds dims or is too large"
        yield transposed(binary(k, x), compose(p, q))

    doc = f"Transpositions on both sides of {name} of a constant are one."
    return _named(body, f"transpose_constant_{name}_transpose", doc, exact)


def _reduce(name: str) -> Rule:
    reduce = getattr(op, f"Reduce{name}")

    def body(x, p: Perm, axes: Maybe[Ints]):
        yield reduce(op.Transpose(x, perm=p), axes=axes, keepdims=0)
        gone = axes_of(axes or range(len(p)), len(p))
        if gone is None:
            return "the axes are not valid"
        rest = [p[i] for i in range(len(p)) if i not in gone]
        if rest != sorted(rest):
            return "the order of the dims that stay changes"
        yield reduce(x, axes=sorted(p[i] for i in gone) if axes else None, keepdims=0)

    doc = f"Reduce{name} over transposed dims reduces the dims where they were."
    return _named(body, f"reduce_{name}_of_transpose", doc, False)


def _named(body: Any, name: str, doc: str, exact: bool) -> Rule:
    body.__name__ = body.__qualname__ = name.lower()
    body.__doc__ = doc
    return rule(exact=exact)(body)


def _family() -> list[Rule]:
    rules = [_unary(n, n in EXACT_UNARY) for n in EXACT_UNARY + ROUNDING_UNARY]
    rules += [_binary(n, n in _EXACT_BINARY) for n in _EXACT_BINARY + _OTHER_BINARY]
    rules += [_binary_constant(n, n in _EXACT_BINARY) for n in _WITH_CONSTANT]
    rules += [_constant_binary(n, n in _EXACT_BINARY) for n in _CONSTANT_FIRST]
    return rules + [_reduce(n) for n in _REDUCE]


# A pattern starts from one operator, so each elementwise operator has its own copy of the rule.
globals().update({r.name: r for r in _family()})
