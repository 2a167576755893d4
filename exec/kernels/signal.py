"""Fourier transforms and what goes with them. The last dim holds a real number, 1, or a complex one, 2."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.common import axis_of, ints
from graphopt.exec.kernels.dtypes import np_dtype
from graphopt.exec.kernels.registry import Array, Host, kernel


# -------------------------------------------------------------------------------------------------------------- transforms
@kernel("DFT", since=17, wide=True)
def dft_17(
    xp: Backend, x: Array, dft_length: Host = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Array:
    return _transformed(xp, x, _scalar(dft_length), axis, bool(inverse), bool(onesided))


@kernel("DFT", since=20, wide=True)
def dft(
    xp: Backend, x: Array, dft_length: Host = None, axis: Host = None, *, inverse: int = 0, onesided: int = 0
) -> Array:
    """Along one axis: frequencies, those up to the middle if one-sided; or back again."""
    along = -2 if axis is None else ints(axis)[0]
    return _transformed(xp, x, _scalar(dft_length), along, bool(inverse), bool(onesided))


def _scalar(x: np.ndarray | None) -> int | None:
    return None if x is None else ints(x)[0]


def _transformed(xp: Backend, x: Array, length: int | None, axis: int, inverse: bool, onesided: bool) -> Array:
    axis = axis_of(axis, x.ndim)
    if axis == x.ndim - 1 or x.shape[-1] not in (1, 2):
        raise ValueError(f"a tensor of shape {x.shape} cannot be transformed along axis {axis}")
    z = _numbers(xp, x)
    if inverse:
        if not onesided:
            return _parts(xp, xp.fft.ifft(z, length, axis))
        return xp.fft.irfft(z, 2 * (x.shape[axis] - 1) if length is None else length, axis)[..., None]
    return _parts(xp, _frequencies(xp, z, length, axis, onesided))


def _frequencies(xp: Backend, z: Array, length: int | None, axis: int, onesided: bool) -> Array:
    """The transform of real numbers, whose second half mirrors the first, or of complex ones."""
    before = (slice(None),) * axis
    if z.dtype.kind == "c":
        y = xp.fft.fft(z, length, axis)
        return y[(*before, slice(y.shape[axis] // 2 + 1))] if onesided else y
    y = xp.fft.rfft(z, length, axis)
    if onesided:
        return y
    count = z.shape[axis] if length is None else length
    mirrored = y[(*before, slice(1, count - count // 2))][(*before, slice(None, None, -1))]
    return xp.concatenate([y, mirrored.conj()], axis)


def _numbers(xp: Backend, x: Array) -> Array:
    """The real or complex numbers that the last dim holds."""
    return x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]


def _parts(xp: Backend, z: Array) -> Array:
    """The opposite of `_numbers`, for complex ones."""
    return xp.stack([z.real, z.imag], -1)


@kernel("STFT", since=17, wide=True)
def stft(
    xp: Backend,
    signal: Array,
    frame_step: Host,
    window: Array | None = None,
    frame_length: Host = None,
    *,
    onesided: int = 1,
) -> Array:
    """[batch, signal, 1 or 2] -> [batch, frames, frequencies, 2]; a frame is as long as the window, or as is said."""
    z = signal if signal.ndim == 2 else _numbers(xp, signal)
    (step,), total = ints(frame_step), z.shape[1]
    length = ints(frame_length)[0] if frame_length is not None else total if window is None else len(window)
    if window is not None and len(window) != length:
        raise ValueError(f"a window of {len(window)} samples does not fit frames of {length}")
    if step < 1 or not 1 <= length <= total:
        raise ValueError(f"{total} samples cannot be cut into frames of {length} with a step of {step}")
    starts = np.arange(0, total - length + 1, step)
    frames = xp.take(z, starts[:, None] + np.arange(length), axis=1)
    if window is not None:
        frames *= xp.cast(window, signal.dtype)
    return _parts(xp, _frequencies(xp, frames, None, 2, bool(onesided)))


# ----------------------------------------------------------------------------------------------------------------- windows
def _window(size: np.ndarray, periodic: int, output_datatype: int, *factors: float) -> np.ndarray:
    """A sum of cosines, each with one period more than the one before; the smallest are added first."""
    (samples,) = ints(size)
    angles = 2 * np.pi * np.arange(samples) / max(samples if periodic else samples - 1, 1)
    y = sum(factor * np.cos(k * angles) for k, factor in reversed([*enumerate(factors)]))
    return np.asarray(y).astype(np_dtype(output_datatype))


@kernel("HannWindow", since=17)
def hann_window(xp: Backend, size: Host, *, output_datatype: int = TensorProto.FLOAT, periodic: int = 1) -> Array:
    return _window(size, periodic, output_datatype, 0.5, -0.5)


@kernel("HammingWindow", since=17)
def hamming_window(xp: Backend, size: Host, *, output_datatype: int = TensorProto.FLOAT, periodic: int = 1) -> Array:
    return _window(size, periodic, output_datatype, 25 / 46, -21 / 46)


@kernel("BlackmanWindow", since=17)
def blackman_window(xp: Backend, size: Host, *, output_datatype: int = TensorProto.FLOAT, periodic: int = 1) -> Array:
    return _window(size, periodic, output_datatype, 0.42, -0.5, 0.08)


@kernel("MelWeightMatrix", since=17)
def mel_weight_matrix(
    xp: Backend,
    num_mel_bins: Host,
    dft_length: Host,
    sample_rate: Host,
    lower_edge_hertz: Host,
    upper_edge_hertz: Host,
    *,
    output_datatype: int = TensorProto.FLOAT,
) -> Array:
    """What each frequency contributes to each band [frequencies, bands]: triangles whose tops are evenly spaced mels."""
    (bands,), (length,), (rate,) = ints(num_mel_bins), ints(dft_length), ints(sample_rate)
    low, high = (2595 * np.log10(1 + float(np.asarray(x).item()) / 700) for x in (lower_edge_hertz, upper_edge_hertz))
    mels = low + np.arange(bands + 2) * (high - low) / (bands + 2)
    corners = np.floor((length + 1) * 700 * (10 ** (mels / 2595) - 1) / rate)
    left, top, right = corners[:-2], corners[1:-1], corners[2:]
    i = np.arange(length // 2 + 1)[:, None]
    rising = (i - left) / np.where(top > left, top - left, 1)
    falling = (right - i) / np.where(right > top, right - top, 1)
    y = np.where((left <= i) & (i < top), rising, np.where((top < i) & (i < right), falling, i == top))
    return y.astype(np_dtype(output_datatype))
