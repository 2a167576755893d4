"""What exporters write around TopK, ArgMax and ArgMin.

Of equal elements the first one counts in all of them (`select_last_index` apart). A monotone function under them stays, Neg
apart: rounding may make equal what was not, and then another element is the first. NaN has no place in any order.
"""

from __future__ import annotations

from onnx import TensorProto

from graphopt.rewrite import Int, Ints, any_of, op, rule

#: For which runtimes have kernels of ArgMax and ArgMin.
_SEARCHED = (TensorProto.FLOAT, TensorProto.INT32)
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


@rule
def top_1_values(x, k: Int, a: Int, largest: Int, s: Int):
    """The first of the largest is the largest."""
    values, _ = op.TopK(x, k=k, axis=a, largest=largest, sorted=s, outputs=2)
    yield values
    if k != 1:
        return "more than one"
    yield (op.ReduceMax if largest else op.ReduceMin)(x, axes=[a])


@rule
def top_1_indices(x, k: Int, a: Int, largest: Int, s: Int):
    """The index of the first of the largest is that of the largest."""
    _, indices = op.TopK(x, k=k, axis=a, largest=largest, sorted=s, outputs=2)
    yield indices
    if k != 1:
        return "more than one"
    if x.dtype not in _SEARCHED:
        return "runtimes have no kernel for this dtype"
    yield (op.ArgMax if largest else op.ArgMin)(x, axis=a)


@rule
def top_k_of_negative(x, k: Int, a: Int, largest: Int, s: Int):
    """The places of the largest are those of the smallest where the sign is changed."""
    _, indices = op.TopK(-x, k=k, axis=a, largest=largest, sorted=s, outputs=2)
    yield indices
    if x.dtype not in _FLOATS:
        return "integers have one that is its own negative"
    yield op.TopK(x, k=k, axis=a, largest=1 - largest, sorted=s, outputs=2)[1]


@rule
def arg_of_negative(x, a: Int, d: Int):
    """The place of the largest is that of the smallest where the sign is changed."""
    largest, smallest = op.ArgMax(-x, axis=a, keepdims=d), op.ArgMin(-x, axis=a, keepdims=d)
    yield any_of(largest, smallest)
    if x.dtype not in _FLOATS:
        return "integers have one that is its own negative"
    yield (op.ArgMax if largest.value is None else op.ArgMin)(x, axis=a, keepdims=d)


@rule
def maximum_of_top_k(x, k: Int, a: Int, s: Int, axes: Ints, d: Int):
    """The largest of some that are the largest is the largest of all."""
    values, _ = op.TopK(x, k=k, axis=a, largest=1, sorted=s, outputs=2)
    yield op.ReduceMax(values, axes=axes, keepdims=d)
    if x.rank is None or k < 1 or [i % x.rank for i in axes] != [a % x.rank]:
        return "the largest of others"
    yield op.ReduceMax(x, axes=axes, keepdims=d)


@rule(always=True)
def gathered_top_k(x, k: Int, a: Int, b: Int, largest: Int, s: Int):
    """What is gathered from the places of the largest are these themselves."""
    values, indices = op.TopK(x, k=k, axis=a, largest=largest, sorted=s, outputs=2)
    yield op.GatherElements(x, indices, axis=b)
    if x.rank is None or a % x.rank != b % x.rank:
        return "along other axes"
    yield values
