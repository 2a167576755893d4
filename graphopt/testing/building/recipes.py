"""How a value of a wanted dtype and shape may come about, other than as an input: as exporters write it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from graphopt.ir import Value
from graphopt.testing.building.builder import Builder, Invalid
from graphopt.testing.values import np_dtype

#: Makes an input (or finds a value) of a dtype and shape.
Source = Callable[[int, tuple[int, ...]], Value]
Recipe = Callable[[Builder, Source, int, tuple[int, ...]], Value]

#: Products with weights, which rules ask for that look for them in front.
WITH_WEIGHTS = frozenset({"Conv", "MatMul"})
FLOATING = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16})


def derived(
    builder: Builder, source: Source, dtype: int, shape: tuple[int, ...], wanted: frozenset[str] = frozenset()
) -> Value | None:
    """A value of this dtype and shape that some operator computes; None where nothing comes to mind.

    Args:
        source: where operands come from.
        wanted: operators to take where one of them can do it.
    """
    fitting = [(ops, make) for ops, fits, make in _RECIPES if fits(dtype, shape)]
    if (
        dtype == TensorProto.INT64
        and len(shape) == 1
        and wanted & {"Shape", "Gather", "Concat"}
        and builder.choices.integer(0, 1)
    ):
        fitting = [f for f in fitting if f[1] is dims] or fitting
    if "Range" in wanted and _is_counted(dtype, shape) and builder.choices.integer(0, 1):
        fitting = [f for f in fitting if f[1] is positions]
    if wanted >= WITH_WEIGHTS:
        fitting += [(ops, make) for ops, fits, make in _PRODUCTS if fits(dtype, shape)]
        fitting = [f for f in fitting if f[0] <= WITH_WEIGHTS] or fitting
    if "Resize" in wanted and _is_image(dtype, shape) and not builder.choices.chance(4):
        fitting = [(frozenset({"Resize"}), enlarged)]
    preferred = [make for ops, make in fitting if ops & wanted]
    options = preferred if preferred and not builder.choices.chance(3) else [make for _, make in fitting]
    if not options:
        return None
    try:
        return builder.choices.one(options)(builder, source, dtype, shape)
    except Invalid:
        return None


def _parameter(b: Builder, op: str, x: Value, name: str, values: list[int], **attributes: object) -> list[Value]:
    """A node with one list as parameter, in an attribute or in an input."""
    schema = b.schema(op)
    if name in schema.attributes:
        return b.node(op, [x], {name: values, **attributes})
    return b.node(op, [x, b.constant(np.array(values, np.int64))], dict(attributes))


def transposed(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    perm = b.choices.order(len(shape))
    x = source(dtype, tuple(shape[i] for i in np.argsort(perm)))
    return b.node("Transpose", [x], {"perm": perm})[0]


def reshaped(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    other = b.choices.one([(math.prod(shape),), (*shape, 1), (1, *shape), shape[::-1]])
    return _parameter(b, "Reshape", source(dtype, other), "shape", list(shape))[0]


def squeezed(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    k = b.choices.integer(0, len(shape))
    return _parameter(b, "Squeeze", source(dtype, (*shape[:k], 1, *shape[k:])), "axes", [k])[0]


def unsqueezed(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    k = b.choices.one([i for i, d in enumerate(shape) if d == 1])
    return _parameter(b, "Unsqueeze", source(dtype, shape[:k] + shape[k + 1 :]), "axes", [k])[0]


def flattened(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    m, n = shape
    x = source(dtype, b.choices.one([(m, 1, n), (m, n, 1)] + [(m, 2, n // 2)] * (n % 2 == 0)))
    return b.node("Flatten", [x], {"axis": 1})[0]


def expanded(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    inner = tuple(1 if b.choices.integer(0, 1) else d for d in shape)
    return b.node("Expand", [source(dtype, inner), b.constant(np.array(shape, np.int64))])[0]


def concatenated(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    axis = b.choices.integer(0, len(shape) - 1)
    cut = b.choices.integer(0, shape[axis])
    parts = [source(dtype, (*shape[:axis], n, *shape[axis + 1 :])) for n in (cut, shape[axis] - cut)]
    return b.node("Concat", parts, {"axis": axis})[0]


def sliced(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    axis = b.choices.integer(0, len(shape) - 1)
    before, after = b.choices.integer(0, 2), b.choices.integer(0, 2)
    x = source(dtype, (*shape[:axis], before + shape[axis] + after, *shape[axis + 1 :]))
    if "starts" in b.schema("Slice").attributes:
        return b.node("Slice", [x], {"starts": [before], "ends": [before + shape[axis]], "axes": [axis]})[0]
    bounds = [b.constant(np.array([k], np.int64)) for k in (before, before + shape[axis], axis)]
    return b.node("Slice", [x, *bounds])[0]


def of_split(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    axis, k = b.choices.integer(0, len(shape) - 1), b.choices.integer(0, 1)
    if 1 in shape and b.choices.integer(0, 1):  # single elements
        axis = shape.index(1)
    sizes = [shape[axis]] * 2
    if b.choices.chance(3):
        sizes[1 - k] = b.choices.integer(0, 3)
    x = source(dtype, (*shape[:axis], sum(sizes), *shape[axis + 1 :]))
    if "split" in b.schema("Split").attributes:
        return b.node("Split", [x], {"axis": axis, "split": sizes}, 2)[k]
    return b.node("Split", [x, b.constant(np.array(sizes, np.int64))], {"axis": axis}, 2)[k]


def gathered(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    k = b.choices.integer(0, len(shape))
    x = source(dtype, (*shape[:k], 2, *shape[k:]))
    index = b.constant(np.array(b.choices.integer(0, 1), np.int64))
    return b.node("Gather", [x, index], {"axis": k})[0]


def rectified(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    return b.node(b.choices.one(["Relu", "Neg", "Abs", "Identity"]), [source(dtype, shape)])[0]


def negated(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    return b.node("Not", [source(dtype, shape)])[0]


def multiplied(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    k = b.constant(np.asarray(2).astype(np_dtype(dtype)))
    return b.node(b.choices.one(["Mul", "Add"]), [source(dtype, shape), k])[0]


def dims(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    """Sizes of a tensor: all of them, one, or some put together with constants."""
    n = shape[0] if shape else 0
    x = source(TensorProto.FLOAT, tuple(b.choices.integer(1, 4) for _ in range(max(n, 2))))
    sizes = b.node("Shape", [x])[0]
    if not shape:
        return b.node("Gather", [sizes, b.constant(np.array(b.choices.integer(0, 1), np.int64))], {"axis": 0})[0]
    if n == len(b.arrays[x].shape) and not b.choices.chance(2):
        return sizes
    parts = []
    for k in range(n):
        if b.choices.chance(3):
            parts.append(b.constant(np.array([b.choices.one([1, -1, 2])], np.int64)))
            continue
        index: object = np.array([k], np.int64) if b.choices.chance(2) else np.array(k, np.int64)
        one = b.node("Gather", [sizes, b.constant(np.asarray(index))], {"axis": 0})[0]
        parts.append(one if b.arrays[one].ndim else _parameter(b, "Unsqueeze", one, "axes", [0])[0])
    return b.node("Concat", parts, {"axis": 0})[0] if parts else sizes


def counted(b: Builder, shape: tuple[int, ...], axis: int, end: Value | None = None) -> Value:
    """0, 1, 2... along an axis, the same along others. `end`: a scalar that holds the size of the axis."""
    n = shape[axis]
    if b.model.opsets[""] < 11:  # there is no Range
        v = b.constant(np.arange(n))
    else:
        zero, one, n_ = (b.constant(np.array(i, np.int64)) for i in (0, 1, n))
        v = b.node("Range", [zero, n_ if end is None else end, one])[0]
    axes = [k for k in range(len(shape)) if k != axis]
    if axes:
        v = _parameter(b, "Unsqueeze", v, "axes", axes)[0]
    if any(shape[k] != 1 for k in axes) and not b.choices.chance(8):
        dims = shape if end is None else [1 if k == axis else d for k, d in enumerate(shape)]
        v = b.node("Expand", [v, b.constant(np.array(dims, np.int64))])[0]
    return v


def size_of(b: Builder, n: int) -> Value | None:
    """A scalar that is the size of some dim; None where nothing has a dim of this size."""
    there = [(v, k) for v, a in b.arrays.items() if v.dtype and v.name for k, d in enumerate(np.shape(a)) if d == n]
    if not there:
        return None
    v, k = b.choices.one(there[:8])
    return b.node("Gather", [b.node("Shape", [v])[0], b.constant(np.array(k, np.int64))], {"axis": 0})[0]


def positions(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    return counted(b, shape, b.choices.integer(0, len(shape) - 1))


def enlarged(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    """An image of which some dims were made larger, as a rule all of them."""
    able = [k for k in range(2, len(shape)) if shape[k] > 1]
    larger = able if b.choices.integer(0, 3) else [b.choices.one(able)]
    factors = [1] * len(shape)
    for k in larger:
        factors[k] = 2 if shape[k] % 2 == 0 and b.choices.integer(0, 1) else shape[k]
    x = source(dtype, tuple(d // f for d, f in zip(shape, factors, strict=True)))
    place = b.choices.one(["asymmetric", "half_pixel", "pytorch_half_pixel"])
    attributes = {"mode": b.choices.one(["nearest", "linear", "linear"]), "coordinate_transformation_mode": place}
    scales = np.array(factors, np.float32)
    if b.model.opsets[""] < 13:  # what is not used is there, and empty
        return b.node("Resize", [x, b.constant(np.zeros(0, np.float32)), b.constant(scales)], attributes)[0]
    if b.choices.integer(0, 1):
        return b.node("Resize", [x, None, b.constant(scales)], attributes)[0]
    return b.node("Resize", [x, None, None, b.constant(np.array(shape, np.int64))], attributes)[0]


def assembled(b: Builder, numbers: np.ndarray, beside: Value | None = None) -> Value:
    """A vector of integers put together as exporters do it: sizes of tensors where there are such, and constants.

    Args:
        beside: a tensor whose own sizes are taken more often than not.
    """
    whole = [v for v, a in b.arrays.items() if v.dtype and np.shape(a) == tuple(numbers.tolist())]
    if whole and b.choices.chance(3):
        return b.node("Shape", [b.choices.one(whole[:8])])[0]
    parts: list[Value] = []
    for n in numbers.tolist():
        there = [
            (v, k) for v, a in b.arrays.items() if v.dtype and v.name for k, d in enumerate(np.shape(a)) if d == n and d
        ]
        if not there or b.choices.chance(4):
            make = b.input if b.choices.chance(3) else b.constant
            parts.append(make(np.array([n], np.int64), "n"))
            continue
        own = [(v, k) for v, k in there if v is beside]
        v, k = b.choices.one(own if own and not b.choices.chance(3) else there[:8])
        sizes = b.node("Shape", [v])[0]
        one = b.node("Gather", [sizes, b.constant(np.array(k, np.int64))], {"axis": 0})[0]
        parts.append(_parameter(b, "Unsqueeze", one, "axes", [0])[0])
    return b.node("Concat", parts, {"axis": 0})[0]


def convolved(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    """A convolution, in groups now and then; a window of 2 shows what padding does."""
    n, channels = len(shape) - 2, shape[1]
    group = b.choices.one([g for g in (1, 1, 2, channels) if channels % g == 0])
    inner = b.choices.one([1, 2])
    kernel = [b.choices.integer(1, 2) for _ in range(n)]
    x = source(dtype, (shape[0], group * inner, *(d + k - 1 for d, k in zip(shape[2:], kernel, strict=True))))
    w = b.constant(_random(b, dtype, (channels, inner, *kernel)))
    bias = [b.constant(_random(b, dtype, (channels,)))] if b.choices.integer(0, 1) else []
    return _behind(b, b.node("Conv", [x, w, *bias], {"group": group})[0], (channels, *(1,) * n))


def multiplied_by_weights(b: Builder, source: Source, dtype: int, shape: tuple[int, ...]) -> Value:
    """A product with weights."""
    inner = b.choices.integer(1, 3)
    w = b.constant(_random(b, dtype, (inner, shape[-1])))
    return _behind(b, b.node("MatMul", [source(dtype, (*shape[:-1], inner)), w])[0], shape[-1:])


def _behind(b: Builder, v: Value, shape: tuple[int, ...]) -> Value:
    """A value, or what an activation or a constant of this shape makes of it."""
    what = b.choices.one(["", "Relu", "Sigmoid", "Add", "PRelu"])
    if what in ("Add", "PRelu"):
        return b.node(what, [v, b.constant(_random(b, v.dtype, shape))])[0]
    made = b.node(what, [v])[0] if what else v
    return b.node("Mul", [v, made])[0] if what == "Sigmoid" else made


def _random(b: Builder, dtype: int, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.default_rng(b.choices.integer(0, 999))
    return generator.standard_normal(shape).astype(np_dtype(dtype))


def _any(dtype: int, shape: tuple[int, ...]) -> bool:
    return True


def _is_counted(dtype: int, shape: tuple[int, ...]) -> bool:
    return dtype == TensorProto.INT64 and len(shape) > 0


def _is_image(dtype: int, shape: tuple[int, ...]) -> bool:
    return dtype in FLOATING and len(shape) in (3, 4, 5) and 0 not in shape and any(d > 1 for d in shape[2:])


def _has_dims(dtype: int, shape: tuple[int, ...]) -> bool:
    return len(shape) > 0


#: The operators that a recipe consists of, for which dtypes and shapes it is, and the recipe.
_RECIPES: list[tuple[frozenset[str], Callable[[int, tuple[int, ...]], bool], Recipe]] = [
    (frozenset({"Relu", "Neg", "Abs", "Identity"}), lambda t, s: t in FLOATING, rectified),
    (frozenset({"Mul", "Add"}), lambda t, s: t in (*FLOATING, TensorProto.INT64, TensorProto.INT32), multiplied),
    (frozenset({"Not"}), lambda t, s: t == TensorProto.BOOL, negated),
    (frozenset({"Transpose"}), lambda t, s: len(s) > 1, transposed),
    (frozenset({"Reshape"}), lambda t, s: 0 not in s, reshaped),
    (frozenset({"Squeeze"}), _any, squeezed),
    (frozenset({"Unsqueeze"}), lambda t, s: 1 in s, unsqueezed),
    (frozenset({"Flatten"}), lambda t, s: len(s) == 2, flattened),
    (frozenset({"Expand"}), _has_dims, expanded),
    (frozenset({"Concat"}), _has_dims, concatenated),
    (frozenset({"Slice"}), _has_dims, sliced),
    (frozenset({"Split"}), _has_dims, of_split),
    (frozenset({"Gather"}), _any, gathered),
    (frozenset({"Range"}), _is_counted, positions),
    (
        frozenset({"Shape", "Gather", "Concat", "Unsqueeze"}),
        lambda t, s: t == TensorProto.INT64 and len(s) < 2 and (not s or 0 < s[0] < 5),
        dims,
    ),
]
#: The same, for rules that ask for these.
_PRODUCTS: list[tuple[frozenset[str], Callable[[int, tuple[int, ...]], bool], Recipe]] = [
    (frozenset({"Conv"}), lambda t, s: t in FLOATING and 2 < len(s) < 6 and s[1] > 0, convolved),
    (frozenset({"MatMul"}), lambda t, s: t in FLOATING and len(s) > 0, multiplied_by_weights),
]
