"""Operators on images: other sizes, samples at given places, and files that are decoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Dim, Shape
from graphopt.shapes.dims import floordiv, mul
from graphopt.shapes.operators.convolution import possible
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site, all_axes
from graphopt.shapes.types import TypeInfo

#: A dim that is no number is scaled where numerator and denominator are at most this: float32 then holds the product
#: exactly for any size that an image has.
_LARGEST_FACTOR = 4096


# -------------------------------------------------------------------------------------------------------------- sizes
@infers("Resize", "Upsample")
def scaled(node: Site) -> TypeInfo:
    """Each dim times its scale; the scales are an attribute before opset 9."""
    scales = node.attribute("scales") or node.numbers(1)
    return TypeInfo(node.dtype(0), _resized(node, scales, by_scale=True))


@infers("Upsample")
def upsample_image(node: Site) -> TypeInfo:
    """Opset 1: [N, C, H, W], and scales for the last two."""
    scales = (1, 1, node.attribute("height_scale"), node.attribute("width_scale"))
    return TypeInfo(node.dtype(0), _resized(node, scales, by_scale=True))


infers("Upsample", since=7)(scaled)


@infers("Resize", since=11)
def resize(node: Site) -> TypeInfo:
    """By scales or to sizes; before opset 13 the one that is not meant is an empty tensor."""
    sizes = node.numbers(3) if node.has(3) else []
    if sizes == []:
        return TypeInfo(node.dtype(0), _resized(node, node.numbers(2), by_scale=True))
    return TypeInfo(node.dtype(0), _resized(node, sizes, by_scale=False))


def _resized(node: Site, numbers: Sequence[Any] | None, by_scale: bool) -> Shape | None:
    """The dims, those of the axes (all where none are named) changed by a number each; None: not even their count."""
    x, named = node.shape(0), node.attribute("axes")
    if x is None:
        if named or numbers is None:
            return None
        x = (None,) * len(numbers)
    axes = all_axes(named, len(x)) if named else list(range(len(x)))
    if numbers is None:
        numbers = [None] * len(axes)
    if len(numbers) != len(axes):
        raise ValueError(f"{node.op_type}: {len(numbers)} {'scales' if by_scale else 'sizes'} for {len(axes)} axes")
    old = [x[a] for a in axes]
    if by_scale:
        new = [_scaled_dim(d, s) for d, s in zip(old, numbers, strict=True)]
    else:
        policy = node.attribute("keep_aspect_ratio_policy", "stretch")
        if policy == "stretch":
            new = list(numbers)
        elif named and min(named) < 0:  # runtimes forget to count them from the front
            new = [None] * len(axes)
        else:
            new = _in_proportion(old, numbers, policy == "not_larger")
    out = list(x)
    for a, d in zip(axes, new, strict=True):
        out[a] = possible(d)
    return node.or_fresh(out)


def _scaled_dim(d: Dim, scale: Any) -> Dim:
    """A dim times a scale, rounded down. Runtimes multiply in float32, which may round 60.99999 up to 61."""
    if d is None or not isinstance(scale, (int, float, Fraction)) or not 0 < scale < math.inf:
        return None
    factor = np.float32(float(scale))
    if float(factor) != scale:  # was computed, and may have been rounded on the way
        return None
    if isinstance(d, int):
        return int(factor * np.float32(d))
    exact = Fraction(scale)
    if max(exact.numerator, exact.denominator) > _LARGEST_FACTOR:
        return None
    return floordiv(mul(d, exact.numerator), exact.denominator)


def _in_proportion(old: Sequence[Dim], sizes: Sequence[Dim], not_larger: bool) -> list[Dim]:
    """All dims by one scale: the smallest that a size asks for, or the largest."""
    if len(old) == 1 or (None not in old and len(set(zip(old, sizes, strict=True))) == 1):
        return list(sizes)
    if not all(isinstance(d, int) and d > 0 for d in old) or not all(isinstance(s, int) for s in sizes):
        return [None] * len(old)
    choose = min if not_larger else max
    results = []
    for number in (np.float32, np.float64):  # as ONNX Runtime computes, and as the specification
        scale = choose(number(s) / number(d) for d, s in zip(old, sizes, strict=True))
        results.append([math.floor(float(scale * number(d)) + 0.5) for d in old])
    return [p if p == q else None for p, q in zip(*results, strict=True)]


# ------------------------------------------------------------------------------------------------------------- samples
@infers("GridSample")
def grid_sample(node: Site) -> TypeInfo:
    """[N, C, D...] at the places [N, E..., one number for each of D] -> [N, C, E...]."""
    x, grid = node.shape(0), node.shape(1)
    known = x if x is not None else grid
    if known is None:
        return TypeInfo(node.dtype(0), None)
    rank = len(known)
    x, grid = (None,) * rank if x is None else x, (None,) * rank if grid is None else grid
    if len(grid) != len(x) or rank < 3:
        raise ValueError(f"GridSample: {x} cannot be sampled at {grid}")
    node.equate(grid[-1], rank - 2)
    return TypeInfo(node.dtype(0), node.or_fresh((node.equate(x[0], grid[0]), x[1], *grid[1:-1])))


@infers("AffineGrid")
def affine_grid(node: Site) -> TypeInfo:
    """Matrices [N, 2, 3] or [N, 3, 4] and sizes N, C, D... -> [N, D..., 2 or 3]."""
    theta, size = node.shape(0), node.numbers(1)
    if theta is not None and len(theta) != 3:
        raise ValueError(f"AffineGrid: theta has 3 dims, not {len(theta)}")
    n, rows, columns = theta or (None,) * 3
    if size is None:
        if not isinstance(rows, int) and isinstance(columns, int):
            rows = columns - 1
        if not isinstance(rows, int):
            return TypeInfo(node.dtype(0), None)
        size = [None] * (rows + 2)
    if len(size) not in (4, 5):
        raise ValueError(f"AffineGrid: {len(size)} sizes, where 4 or 5 are needed")
    spatial = len(size) - 2
    node.equate(rows, spatial)
    node.equate(columns, spatial + 1)
    return TypeInfo(
        node.dtype(0), node.or_fresh((node.equate(n, possible(size[0])), *map(possible, size[2:]), spatial))
    )


@infers("ImageDecoder")
def image_decoder(node: Site) -> TypeInfo:
    """[H, W, channels]; empty where the file cannot be decoded, so that the pixel format does not tell the last one."""
    return TypeInfo(TensorProto.UINT8, node.unknown_dims(3))
