"""Reductions: several in one, dims kept or dropped by the reduction itself, none over dims of size 1.

Sums of squares, of absolute values and of exponentials stay written out: runtimes are slower at ReduceL1, ReduceL2,
ReduceSumSquare, ReduceLogSum and ReduceLogSumExp than at their parts.
"""

from __future__ import annotations

from math import prod
from typing import Any

from onnx import TensorProto

from graphopt.patterns._elementwise import chosen, decides
from graphopt.patterns.raising._constants import close, scalar
from graphopt.rewrite import Attrs, Const, Int, Ints, Maybe, Tensor, any_of, op, rule
from graphopt.rewrite.terms import Alternatives, Call

#: Reductions that leave a single element as it is.
_PLAIN = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
_ALL = (*_PLAIN, "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


# -------------------------------------------------------------------------------------------------------------- helpers
def _each(names: tuple[str, ...], *args: Any, **attrs: Any) -> dict[str, Call]:
    """The same call of several operators, by name."""
    return {n: getattr(op, n)(*args, **attrs) for n in names}


def _any(calls: dict[str, Call]) -> Alternatives:
    return any_of(*calls.values())


def _name(calls: dict[str, Call]) -> str:
    """The operator whose call was matched."""
    return next(n for n, c in calls.items() if c.value is not None)


def _positions(axes: list[int] | None, rank: int | None) -> set[int] | None:
    """Axes counted from the front, all of them where none is given; None where the rank would have to be known."""
    if not axes:
        return None if rank is None else set(range(rank))
    if rank is None:
        return set(axes) if min(axes) >= 0 else None
    return {a % rank for a in axes} if rank else None


def _reduced(x: Tensor, axes: list[int] | None) -> dict[int, Any] | None:
    """The dims that a reduction over these axes goes over, by axis; None where the rank is not known."""
    positions = _positions(axes, x.rank)
    return None if x.shape is None or positions is None else {i: x.shape[i] for i in sorted(positions)}


def _same_axes(a: list[int] | None, b: list[int], rank: int | None) -> bool:
    """Whether both surely name the same axes of a tensor of this rank."""
    p, q = _positions(a, rank), _positions(b, rank)
    if p is not None and q is not None:
        return p == q and len(q) == len(b)  # Unsqueeze may put in more dims than were there
    return a is not None and len(a) > 0 and set(a) == set(b)


def _both(
    a: list[int] | None, keep_a: int, b: list[int] | None, keep_b: int, rank: int | None
) -> tuple[list[int] | None, int] | str:
    """Axes and keepdims of one reduction in place of one over `a` and then one over `b`; a string says why not."""
    if keep_a:
        first, second = _positions(a, rank), _positions(b, rank)
        if first is None or second is None:
            return "the rank is not known"
        if not keep_b and not first <= second:
            return "the first reduction keeps dims that the second does not drop"
        return sorted(first | second) or None, keep_b
    if keep_b:
        return "the first reduction drops dims and the second keeps them"
    first = _positions(a, rank)
    if first is None or rank is None:
        return "the rank is not known"
    left = [i for i in range(rank) if i not in first]
    second = _positions(b, len(left))
    return "the rank is not known" if second is None else (sorted(first | {left[i] for i in second}) or None, 0)


# ---------------------------------------------------------------------------------------------------------------- rules
@rule
def reduce_of_reduce(x, a: Maybe[Ints], ka: Int, b: Maybe[Ints], kb: Int):
    """Two reductions of one kind are one, over the axes of both."""
    kinds = {n: getattr(op, n) for n in _PLAIN}
    calls = {n: k(k(x, axes=a, keepdims=ka), axes=b, keepdims=kb) for n, k in kinds.items()}
    yield _any(calls)
    name = _name(calls)
    if name == "ReduceMean" and x.dtype not in _FLOATS:
        return "means of integers are rounded"
    both = _both(a, ka, b, kb, x.rank)
    if isinstance(both, str):
        return both
    yield kinds[name](x, axes=both[0], keepdims=both[1])


@rule
def reduce_single(x, a: Maybe[Ints], k: Int):
    """A reduction over dims of size 1 changes the shape at most."""
    calls = _each(_PLAIN, x, axes=a, keepdims=k)
    yield _any(calls)
    dims = _reduced(x, a)
    if dims is None:
        return "the rank is not known"
    if any(d != 1 for d in dims.values()):
        return "a dim is not 1"
    yield op.Squeeze(x, axes=list(dims)) if dims and not k else x


@rule
def reduce_nothing(x, a: Maybe[Ints], k: Int):
    """A reduction over no axes does nothing."""
    calls = _each(_PLAIN, x, axes=a, keepdims=k, noop_with_empty_axes=1)
    yield _any(calls)
    if a:
        return "there are axes"
    yield x


@rule(exact=True)
def reduce_with_axes(x, a: Ints, k: Int):
    """Where there are axes, it does not matter what a reduction without axes would do."""
    calls = _each(_ALL, x, axes=a, keepdims=k, noop_with_empty_axes=1)
    yield _any(calls)
    if not a:
        return "there are no axes"
    yield getattr(op, _name(calls))(x, axes=a, keepdims=k)


@rule(exact=True)
def reduce_unsqueeze(x, a: Maybe[Ints], b: Ints):
    """A reduction can keep the dims that would be put back."""
    calls = _each(_ALL, x, axes=a, keepdims=0)
    yield op.Unsqueeze(_any(calls), axes=b)
    if not _same_axes(a, b, x.rank):
        return "not the same axes, or the rank is not known"
    yield getattr(op, _name(calls))(x, axes=a, keepdims=1)


@rule(exact=True)
def reduce_squeeze(x, a: Maybe[Ints], b: Ints):
    """A reduction can drop the dims itself."""
    calls = _each(_ALL, x, axes=a, keepdims=1)
    yield op.Squeeze(_any(calls), axes=b)
    if not _same_axes(a, b, x.rank):
        return "not the same axes, or the rank is not known"
    yield getattr(op, _name(calls))(x, axes=a, keepdims=0)


@rule(exact=True)
def arg_unsqueeze(x, attrs: Attrs, b: Ints):
    """ArgMax and ArgMin can keep the dim that would be put back."""
    calls = _each(("ArgMax", "ArgMin"), x, keepdims=0, **attrs)
    yield op.Unsqueeze(_any(calls), axes=b)
    if not _same_axes([attrs["axis"]], b, x.rank):
        return "not the same axis, or the rank is not known"
    yield getattr(op, _name(calls))(x, keepdims=1, **attrs)


@rule(exact=True)
def arg_squeeze(x, attrs: Attrs, b: Ints):
    """ArgMax and ArgMin can drop the dim themselves."""
    calls = _each(("ArgMax", "ArgMin"), x, keepdims=1, **attrs)
    yield op.Squeeze(_any(calls), axes=b)
    if not _same_axes([attrs["axis"]], b, x.rank):
        return "not the same axis, or the rank is not known"
    yield getattr(op, _name(calls))(x, keepdims=0, **attrs)


@rule
def mean_of_sum(x, a: Maybe[Ints], k: Int, n: Const, c: Const):
    """A sum divided by the number of its terms is the mean."""
    s = op.ReduceSum(x, axes=a, keepdims=k)
    mean = any_of(s / n, s * c)
    yield mean
    if x.dtype not in _FLOATS:
        return "not a float"
    dims = _reduced(x, a)
    if dims is None or not all(isinstance(d, int) for d in dims.values()):
        return "the number of terms is not known"
    terms = prod(dims.values())
    number = scalar(n if n is not None else c, s)
    if number is None or not (close(number * terms, 1, x.dtype) if n is None else number == terms):
        return "not the number of terms"
    if decides(chosen(mean)):
        return "a step follows, and the quotient may be exact"
    yield op.ReduceMean(x, axes=a, keepdims=k)
