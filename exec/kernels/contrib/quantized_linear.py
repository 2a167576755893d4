"""Operators of com.microsoft that multiply quantised matrices: ContribOperators.md of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.contrib.attention import projected_attention
from graphopt.exec.kernels.quantization import dynamic_quantize_linear, real, single
from graphopt.exec.kernels.quantized_linear import centred, exact_sum, integer_matmul, per_column, per_row, requantized
from graphopt.exec.kernels.recurrent import lstm
from graphopt.exec.kernels.registry import Array, kernel

DOMAIN = "com.microsoft"


@kernel("MatMulInteger16", domain=DOMAIN)
def matmul_integer16(xp: Backend, a: Array, b: Array) -> Array:
    """int32 from int16, uint32 from uint16."""
    wide = np.uint32 if a.dtype == b.dtype == np.uint16 else np.int32
    return xp.cast(xp.cast(integer_matmul(xp, a, b), np.int32), wide)


@kernel("MatMulIntegerToFloat", domain=DOMAIN)
def matmul_integer_to_float(
    xp: Backend, a: Array, b: Array, a_scale: Array, b_scale: Array, a_zero_point: Array | None = None,
    b_zero_point: Array | None = None, bias: Array | None = None,
) -> Array:  # fmt: skip
    y = single(xp, integer_matmul(xp, a, b, per_row(a_zero_point), per_column(b_zero_point)))
    y *= single(xp, per_row(a_scale)) * single(xp, per_column(b_scale))
    if bias is not None:
        y += single(xp, bias)
    return xp.cast(y, a_scale.dtype)


@kernel("DynamicQuantizeMatMul", domain=DOMAIN)
def dynamic_quantize_matmul(
    xp: Backend, a: Array, b: Array, b_scale: Array, b_zero_point: Array | None = None, bias: Array | None = None
) -> Array:
    """a is quantised by its range first."""
    a, a_scale, a_zero_point = dynamic_quantize_linear(xp, a)
    return matmul_integer_to_float(xp, a, b, a_scale, b_scale, a_zero_point, b_zero_point, bias)


@kernel("QGemm", domain=DOMAIN)
def qgemm(
    xp: Backend, a: Array, a_scale: Array, a_zero_point: Array, b: Array, b_scale: Array, b_zero_point: Array,
    c: Array | None = None, y_scale: Array | None = None, y_zero_point: Array | None = None, *,
    alpha: float = 1.0, transA: int = 0, transB: int = 0,
) -> Array:  # fmt: skip
    """alpha (a b + c), c being of the products' scale; a float where there is no scale of the output."""
    a, b = a.T if transA else a, b.T if transB else b
    y = integer_matmul(xp, a, b, per_column(a_zero_point), per_column(b_zero_point), c)
    scale = single(xp, per_column(a_scale)) * single(xp, per_column(b_scale))
    if alpha != 1:
        scale = xp.number(alpha, scale) * scale
    if y_scale is None:
        return single(xp, y) * scale
    return requantized(
        xp, y, scale, per_column(y_scale), np.zeros((), a.dtype) if y_zero_point is None else y_zero_point
    )


@kernel("QAttention", domain=DOMAIN)
def qattention(
    xp: Backend, x: Array, weights: Array, bias: Array, x_scale: Array, weights_scale: Array,
    mask_index: Array | None = None, x_zero_point: Array | None = None, weights_zero_point: Array | None = None,
    past: Array | None = None, *, do_rotary: int = 0, mask_filter_value: float = -10000.0, num_heads: int,
    past_present_share_buffer: int = 0, scale: float = 0.0, unidirectional: int = 0,
) -> tuple[Array, Array]:  # fmt: skip
    """Attention after a quantised projection."""
    qkv = matmul_integer_to_float(xp, x, weights, x_scale, weights_scale, x_zero_point, weights_zero_point, bias)
    return projected_attention(
        xp, qkv, mask_index, past, do_rotary=do_rotary, mask_filter_value=mask_filter_value, num_heads=num_heads,
        scale=scale, unidirectional=unidirectional,
    )  # fmt: skip


@kernel("QEmbedLayerNormalization", domain=DOMAIN)
def qembed_layer_normalization(
    xp: Backend, ids: Array, segments: Array | None, words: Array, positions: Array, segment: Array | None,
    gamma: Array, beta: Array, mask: Array | None, words_scale: Array, positions_scale: Array,
    segment_scale: Array | None, gamma_scale: Array, beta_scale: Array, words_zero: Array, positions_zero: Array,
    segment_zero: Array | None, gamma_zero: Array, beta_zero: Array, *, epsilon: float = 1e-12,
) -> tuple[Array, Array]:  # fmt: skip
    """Sum of embeddings, which are made real after they are picked, normalised; and the number of ones in the mask."""
    batch, length = ids.shape
    x = real(xp, xp.take(words, ids, axis=0), per_column(words_scale), per_column(words_zero))
    x += real(xp, positions[:length], per_column(positions_scale), per_column(positions_zero))
    if segments is not None:
        x += real(xp, xp.take(segment, segments, axis=0), per_column(segment_scale), per_column(segment_zero))
    size = xp.number(x.shape[-1], x)
    x -= xp.sum(x, axis=-1, keepdims=True) / size
    x /= xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True) / size + xp.number(epsilon, x))
    x *= real(xp, gamma, per_column(gamma_scale), per_column(gamma_zero))
    x += real(xp, beta, per_column(beta_scale), per_column(beta_zero))
    if mask is None:
        return x, xp.zeros((batch,), np.int32)
    return x, xp.sum(xp.cast(mask == 1, np.int32), axis=1)


# ---------------------------------------------------------------------------------------------------- recurrent network
@kernel("DynamicQuantizeLSTM", domain=DOMAIN)
def dynamic_quantize_lstm(
    xp: Backend, x: Array, w: Array, r: Array, b: Array | None, sequence_lens: Array | None, initial_h: Array | None,
    initial_c: Array | None, p: Array | None, w_scale: Array, w_zero_point: Array, r_scale: Array, r_zero_point: Array,
    *, activation_alpha: Sequence[float] = (), activation_beta: Sequence[float] = (),
    activations: Sequence[str] | None = None, clip: float | None = None, direction: str = "forward",
    hidden_size: int | None = None, input_forget: int = 0,
) -> tuple[Array, ...]:  # fmt: skip
    """LSTM whose inputs and, at each turn, states are quantised by their range before they meet the weights."""
    if sequence_lens is not None:  # what follows the longest sequence has no part in the range
        x = xp.where(np.arange(len(x))[:, None, None] < xp.max(sequence_lens), x, xp.number(0, x))
    inputs = _QuantizedWeights.of(xp, w, w_scale, w_zero_point)
    states = _QuantizedWeights.of(xp, r, r_scale, r_zero_point)
    return lstm(
        xp, x, inputs, states, b, sequence_lens, initial_h, initial_c, p, activation_alpha=activation_alpha,
        activation_beta=activation_beta, activations=activations, clip=clip, direction=direction,
        input_forget=input_forget,
    )  # fmt: skip


class _QuantizedWeights:
    """Weights [directions, outputs, inputs]; a factor is quantised by its range, for each direction as a whole."""

    __array_ufunc__ = None  # NumPy leaves products with these to the methods here

    def __init__(self, xp: Backend, weights: Array, scale: Array, most: int) -> None:
        self.xp, self.weights, self.scale, self.most = xp, weights, scale, most
        self.shape = weights.shape

    @classmethod
    def of(cls, xp: Backend, weights: Array, scale: Array, zero_point: Array) -> _QuantizedWeights:
        """From weights [directions, inputs, outputs], and a scale and zero point for each direction or output."""
        rows = (len(weights), 1, -1)
        values, most = centred(xp, weights, zero_point.reshape(rows))
        return cls(xp, xp.swapaxes(values, 1, 2), xp.swapaxes(single(xp, scale).reshape(rows), 1, 2), most)

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, part: slice) -> _QuantizedWeights:
        return _QuantizedWeights(self.xp, self.weights[part], self.scale[part], self.most)

    def swapaxes(self, *axes: int) -> _QuantizedWeights:
        """Itself, to be multiplied from the left."""
        return self

    def __matmul__(self, x: Array) -> Array:
        """Times [directions, inputs, n]."""
        x, scale = self._quantized(x)
        y = exact_sum(self.xp, lambda k, dtype: self.weights[..., k] @ x[:, k], x.shape[1], 1, 255 * self.most)
        return self.xp.cast(y, np.float32) * (self.scale * scale)

    def __rmatmul__(self, x: Array) -> Array:
        """[directions, n, inputs] times the transposed weights."""
        xp = self.xp
        x, scale = self._quantized(x)
        weights = xp.swapaxes(self.weights, 1, 2)
        y = exact_sum(xp, lambda k, dtype: x[..., k] @ weights[:, k], x.shape[2], 1, 255 * self.most)
        return xp.cast(y, np.float32) * xp.swapaxes(self.scale * scale, 1, 2)

    def _quantized(self, x: Array) -> tuple[Any, Any]:
        """x as whole numbers around a zero point in 0 to 255, and their scale."""
        xp = self.xp
        flat, most = x.reshape(len(x), -1), xp.number(255, x)
        low, high = flat.min(axis=1, initial=0), flat.max(axis=1, initial=0)
        scale = xp.maximum(xp.divide(high - low, most), xp.number(2.0**-126, x))
        last = most - xp.rint(xp.divide(low, -scale))  # as a number around the zero point; the first needs no care
        scale, last = scale[:, None, None], last[:, None, None]
        return xp.minimum(xp.into(xp.rint, xp.divide(x, scale)), last), scale
