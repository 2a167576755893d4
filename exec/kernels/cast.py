"""From one dtype to another: https://onnx.ai/onnx/operators/onnx__Cast.html."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.dtypes import SUB_BYTE, is_float, is_narrow, np_dtype
from graphopt.exec.kernels.registry import Array, kernel

_TEXT = np.dtype(object)
#: Powers of two, which have no sign and no zero.
_POWER = np.dtype(ml_dtypes.float8_e8m0fnu)
#: Floats that end at a largest number on demand; the others that are as narrow have nothing beyond it anyway.
_SATURATING = frozenset(
    map(
        np.dtype,
        (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz),
    )
)

#: What, added to the fraction of a float32, carries into its exponent where it is to be rounded up.
_CARRIES = {"up": 0x7FFFFF, "down": 0, "nearest": 0x400000}


@kernel("Cast")
def cast_1(xp: Backend, x: Array, *, to: str) -> Array:
    """At first the dtype was a name."""
    if to.upper() not in TensorProto.DataType.keys():  # noqa: SIM118 - protobuf's enum is no dict
        raise ValueError(f"unknown dtype {to!r}")
    return converted(xp, x, np_dtype(TensorProto.DataType.Value(to.upper())))


@kernel("Cast", since=6)
def cast(xp: Backend, x: Array, *, to: int, saturate: int = 1, round_mode: str = "up") -> Array:
    return converted(xp, x, np_dtype(to), saturate, round_mode)


@kernel("CastLike", since=15)
def cast_like(xp: Backend, x: Array, target_type: Array, *, saturate: int = 1, round_mode: str = "up") -> Array:
    """The dtype is that of another tensor."""
    return converted(xp, x, target_type.dtype, saturate, round_mode)


@kernel("BitCast", since=26)
def bit_cast(xp: Backend, x: Array, *, to: int) -> Array:
    """The same bits."""
    dtype = np_dtype(to)
    if _bits(dtype) != _bits(x.dtype):
        raise ValueError(f"{x.dtype} has not as many bits as {dtype}")
    return x.view(dtype)


def converted(xp: Backend, x: Array, dtype: Any, saturate: int = 1, round_mode: str = "up") -> Array:
    """An array in another dtype.

    Args:
        saturate: what is beyond the largest number of a float of 8 bits becomes that, instead of inf or NaN.
        round_mode: where to round to a power of two: 'up', 'down' or 'nearest' (ties up).
    """
    if x.dtype == dtype:
        return x
    if not xp.exact:
        if x.dtype.kind in "OUS":
            return _parsed(np.asarray(x), dtype)
        if dtype == _TEXT:
            return _written(np.asarray(x))
        if dtype == _POWER:
            return _power_of_two(xp, x, saturate, round_mode)
        if saturate and dtype in _SATURATING:
            x = x if is_float(x.dtype) and not is_narrow(x.dtype) else xp.cast(x, np.float32)
            largest = float(ml_dtypes.finfo(dtype).max)
            x = x.clip(-largest, largest)
        if dtype in SUB_BYTE and is_float(x.dtype):
            x = xp.cast(x, np.int32)  # of which the lowest bits count
    return xp.cast(x, dtype)


def _power_of_two(xp: Backend, x: Array, saturate: int, round_mode: str) -> Array:
    """The exponent alone, with the bias that float32 has. The sign is dropped."""
    if round_mode not in _CARRIES:
        raise ValueError(f"unknown round_mode {round_mode!r}; known: {', '.join(_CARRIES)}")
    bits = xp.cast(x, np.float32).view(np.uint32) & 0x7FFFFFFF
    carry = _CARRIES[round_mode]
    exponent = (bits + xp.where(bits < 0x800000, carry >> 1, carry)) >> 23  # the smallest power is subnormal in float32
    if saturate:
        exponent = xp.where(bits > 0x7F800000, 255, xp.minimum(exponent, 254))
    else:  # neither what is beyond the largest nor what is below the smallest
        exponent = xp.where(bits < 0x400000, 255, xp.minimum(exponent, 255))
    return xp.cast(exponent, np.uint8).view(_POWER)


# --------------------------------------------------------------------------------------------------------------- text
def _elements(function: Callable[[Any], Any], x: np.ndarray, dtype: Any) -> np.ndarray:
    out = np.empty(x.shape, dtype)
    out.reshape(-1)[:] = [function(v) for v in x.reshape(-1).tolist()]
    return out


def _parsed(x: np.ndarray, dtype: Any) -> np.ndarray:
    """The numbers that texts stand for."""
    if is_float(dtype):
        return _elements(float, x, np.float64).astype(dtype)
    integers = _elements(_integer, x, np.uint64)
    return integers != 0 if dtype == np.bool_ else integers.astype(dtype)


def _integer(text: str) -> int:
    """The bits of 64 that an integer has, or of the integer part of a number."""
    try:
        number = int(text)
    except ValueError:
        number = int(float(text))
    return number % 2**64


def _written(x: np.ndarray) -> np.ndarray:
    """The shortest decimals that say which number it is, without exponents."""
    if not is_float(x.dtype):
        return _elements(lambda v: str(int(v)), x, object)
    if x.dtype not in (np.float16, np.float32, np.float64):
        x = x.astype(np.float32)
    return _elements(functools.partial(_decimal, x.dtype.type), x, object)


def _decimal(kind: type[np.floating[Any]], value: float) -> str:
    if value != value:
        return "NaN"
    if value in (np.inf, -np.inf):
        return "INF" if value > 0 else "-INF"
    return np.format_float_positional(kind(value), trim="0")


@functools.cache
def _bits(dtype: np.dtype[Any]) -> int:
    """How many bits an element has in ONNX; here the narrow ones fill bytes."""
    number = dtype.name.partition("_")[0].lstrip("abcdefghijklmnopqrstuvwxyz")
    return int(number) if number else 8
