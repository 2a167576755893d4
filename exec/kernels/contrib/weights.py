"""Operators of com.microsoft whose weights are packed numbers of a few bits, with a scale for each block of them.

ContribOperators.md of ONNX Runtime. The first number of a byte is in its lowest bits.
"""

from __future__ import annotations

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of
from graphopt.exec.kernels.dtypes import is_float
from graphopt.exec.kernels.registry import Array, kernel

DOMAIN = "com.microsoft"
#: Numbers that are unpacked at once: as float32 they fit into the second-level cache.
_BLOCK = 1 << 17


def unpacked(xp: Backend, x: Array, bits: int) -> Array:
    """The numbers that bytes hold, along the last axis."""
    if bits == 8:
        return x
    fields = [_field(x, i, bits) for i in range(8 // bits)]
    return xp.stack(fields, axis=-1).reshape(*x.shape[:-1], x.shape[-1] * len(fields))


def _field(x: Array, i: int, bits: int) -> Array:
    """The number at a place in each byte."""
    if i:
        x = x >> np.uint8(i * bits)
    return x & np.uint8((1 << bits) - 1) if (i + 1) * bits < 8 else x


@kernel("MatMulNBits", domain=DOMAIN, wide=True)
def matmul_n_bits(
    xp: Backend, a: Array, b: Array, scales: Array, zero_points: Array | None = None, g_idx: Array | None = None,
    bias: Array | None = None, *, K: int, N: int, accuracy_level: int = 0, bits: int = 4, block_size: int,
    weight_prepacked: int = 0,
) -> Array:  # fmt: skip
    """A times a matrix [N, blocks of K, bytes], turned.

    Rather than to put the numbers of bytes side by side, those at the same place in all bytes are multiplied with the
    columns of A that they go with. What zero points take away is the same for all of a block, so it is done at the end.
    """
    if weight_prepacked:
        raise ValueError("weights in an order of some device's own are not supported")
    rows = a.reshape(a.size // max(K, 1), K)
    shape = (*a.shape[:-1], N)
    if not b.size:
        y = xp.zeros((len(rows), N), a.dtype)
        return (y if bias is None else y + bias).reshape(shape)
    blocks = -(-K // block_size)
    b, scales = b.reshape(N, blocks, block_size * bits // 8), scales.reshape(N, blocks)
    zeros = xp.number(1 << (bits - 1), a)
    if zero_points is not None:
        zeros = zero_points.reshape(N, zero_points.size // N)
        zeros = zeros if is_float(zeros.dtype) else xp.cast(unpacked(xp, zeros, bits)[:, :blocks], a.dtype)
    if g_idx is not None:
        weights = xp.cast(unpacked(xp, b, bits).reshape(N, -1)[:, :K], a.dtype)
        zeros = zeros if zero_points is None else xp.take(zeros, g_idx, axis=1)
        y = xp.matmul(rows, ((weights - zeros) * xp.take(scales, g_idx, axis=1)).T)
        return (y if bias is None else y + bias).reshape(shape)
    rows = xp.pad(rows, [(0, 0), (0, blocks * block_size - K)]).reshape(len(rows), blocks, block_size)
    fields = 8 // bits
    parts = [rows[:, :, i::fields].reshape(len(rows), blocks * block_size // fields) for i in range(fields)]
    step = N if xp.traces else max(16, _BLOCK * fields // (blocks * block_size))
    ys = []
    for start in range(0, N, step):
        some, scale = b[start : start + step], scales[start : start + step, :, None]
        y = None
        for i, part in enumerate(parts):
            weights = xp.cast(_field(some, i, bits), a.dtype)
            weights *= scale
            product = xp.matmul(part, weights.reshape(len(some), part.shape[1]).T)
            y = product if y is None else y + product
        ys.append(y)
    y = xp.concatenate(ys, axis=1) if len(ys) > 1 else ys[0]
    y -= xp.matmul(xp.sum(rows, axis=2), (scales * zeros).T)
    if bias is not None:
        y += bias
    return y.reshape(shape)


# fmt: off
#: The numbers that four bits stand for: floats of four bits, and the quantiles of a normal distribution (bitsandbytes).
_BNB4 = (
    (
        0.0, 5.208333333e-03, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25,
        0.0, -5.208333333e-03, -0.66666667, -1.0, -0.33333333, -0.5, -0.16666667, -0.25,
    ),
    (
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ),
)
# fmt: on


@kernel("MatMulBnb4", domain=DOMAIN, wide=True)
def matmul_bnb4(
    xp: Backend, a: Array, b: Array, absmax: Array, *, K: int, N: int, block_size: int, quant_type: int,
    training_mode: int = 0, transB: int = 1,
) -> Array:  # fmt: skip
    """A times a matrix [N, K], turned unless it is told otherwise; a byte's first number is in its highest bits."""
    table = xp.constant(np.array(_BNB4[quant_type]), a)
    numbers = xp.stack([b.reshape(-1) >> np.uint8(4), b.reshape(-1) & np.uint8(15)], axis=1).reshape(-1)[: N * K]
    weights = xp.take(table, numbers, axis=0)
    weights *= xp.repeat(absmax.reshape(-1), block_size)[: N * K]
    weights = weights.reshape(N, K)
    return xp.matmul(a, weights.T if transB else weights)


@kernel("GatherBlockQuantized", domain=DOMAIN)
def gather_block_quantized(
    xp: Backend, data: Array, indices: Array, scales: Array, zero_points: Array | None = None, *,
    bits: int = 4, block_size: int = 128, gather_axis: int = 0, quantize_axis: int = 1,
) -> Array:  # fmt: skip
    """Gather of quantised data, which gives what they stand for; zeros where an index is none of the axis."""
    gathered, blocked = axis_of(gather_axis, data.ndim), axis_of(quantize_axis, data.ndim)
    packed = data.dtype == np.uint8
    size = data.shape[gathered]
    known = (indices >= -size) & (indices < size)
    places = xp.where(known, indices % size, 0)
    dtype = scales.dtype

    def picked(x: Array, places: Array) -> Array:
        return x if x.shape[gathered] == 1 < size else xp.take(x, places, axis=gathered)

    def spread(x: Array, places: Array) -> Array:
        """Something of each block, for all of it."""
        if blocked == gathered:
            return xp.take(x, places // block_size, axis=gathered)
        length = data.shape[blocked] * (8 // bits if packed and blocked == data.ndim - 1 else 1)
        return picked(
            xp.repeat(x, block_size or length, axis=blocked)[(slice(None),) * blocked + (slice(0, length),)], places
        )

    values = xp.take(data, places, axis=gathered)
    values = xp.cast(unpacked(xp, values, bits) if packed else values, np.float32)
    if zero_points is not None:
        zeros = unpacked(xp, zero_points, bits)[..., : scales.shape[-1]] if packed else zero_points
        values = values - xp.cast(spread(zeros, places), np.float32)
    elif packed:
        values -= xp.number(1 << (bits - 1), values)
    scale = xp.cast(spread(scales, places), np.float32)
    if scale.ndim == data.ndim and indices.ndim != 1:  # one scale for all along the axis that is gathered from
        scale = scale.reshape((*scale.shape[:gathered], *[1] * indices.ndim, *scale.shape[gathered + 1 :]))
    values = values * scale
    fits = known.reshape((*known.shape, *[1] * (data.ndim - gathered - 1)))
    return xp.cast(xp.where(fits, values, xp.number(0, values)), dtype)
