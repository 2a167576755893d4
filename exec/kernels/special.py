"""Special functions that array libraries lack, and what makes chains of simple ones fast on NumPy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array

#: Bytes of a block: with a few temporaries of its size it fits into the second-level cache.
_BLOCK = 1 << 17


def elementwise(function: Callable[..., Array]) -> Callable[..., Array]:
    """A kernel of one output that computes element by element, and overflows on purpose, as a decorator.

    Each of its steps passes over the whole array; on NumPy, large ones go through it in blocks that stay in the cache.
    The output has the first input's dtype.
    """

    @functools.wraps(function)
    def blocked(xp: Backend, *xs: Array, **attributes: Any) -> Array:
        if xp.exact or xp.namespace is not np:
            return function(xp, *xs, **attributes)
        with np.errstate(all="ignore"):
            dtype = xs[0].dtype
            size = _BLOCK // dtype.itemsize
            if max([x.size for x in xs]) <= 2 * size:
                return function(xp, *xs, **attributes)
            # Whatever the layouts, the iterator hands out contiguous blocks, and copies only where it must.
            roles: list[Any] = [["readonly"]] * len(xs) + [["writeonly", "allocate"]]
            dtypes = [*[x.dtype for x in xs], dtype]
            iterator = np.nditer([*xs, None], ["external_loop", "buffered"], roles, dtypes, buffersize=size)
            with iterator:
                for *block, out in iterator:
                    out[...] = function(xp, *block, **attributes)
                return iterator.operands[-1]

    return blocked


def clamp(xp: Backend, x: Array, low: Any = None, high: Any = None) -> Array:
    """`x` within bounds, numbers or arrays, and at the upper one where they cross; NaN stays."""
    if x.dtype.kind == "f":  # one clip takes NumPy a quarter of the time of one maximum with a number
        low, high = -math.inf if low is None else low, math.inf if high is None else high
        return x.clip(low, high) if xp.namespace is np else xp.clip(x, low, high)
    if low is not None:
        x = xp.maximum(x, xp.number(low, x) if isinstance(low, int) else low)
    if high is not None:
        x = xp.minimum(x, xp.number(high, x) if isinstance(high, int) else high)
    return x


def expm1(xp: Backend, x: Array) -> Array:
    """exp(x) - 1, for a small x too."""
    return xp.exp(x) - 1 if xp.exact else xp.expm1(x)


def log1p(xp: Backend, x: Array) -> Array:
    """log(1 + x), for a small x too."""
    return xp.log(1 + x) if xp.exact else xp.log1p(x)


#: erf(x) = tanh(x / (a + b1 / (t + c1 + b2 / (t + c2 + ...)))) where t = x * x: the b and c from the inside out, and a.
#: The fraction is the rational minimax approximation of x / artanh(erf(x)), as seen in the relative error of erf.
_ERF = {
    "float32": (  # to 3.4e-9
        274.111880667, 18.7226087273, -5.48490291832, -12.0772024749, 7.9551423889, 12.9326769282, 0.149165368184,
    ),
    "float64": (  # to 1.7e-16
        42.330024688257180, 2.1191261868682660, 2.8481304887576816, 2.7698560881898860, 51.638387989949627,
        2.7670071967231828, 26.196005825574663, 0.37798962625157283, 82.609896294162446, 12.376296291673770,
        -58.451737210471035, 4.0573768780621329, -2481.4429189271004, 46.724868341054953, 24.165511813224416,
        89.677604489757419, 0.053199622672093334,
    ),
}  # fmt: skip
#: The same as arrays of rank 0, which NumPy takes faster than scalars.
_COEFFICIENTS = {np.dtype(name): [np.array(v, name) for v in values] for name, values in _ERF.items()}


def erf(x: np.ndarray) -> np.ndarray:
    """The error function of float32 or float64, to about 4 units in the last place."""
    if not x.ndim:
        return erf(x.reshape(1)).reshape(())
    *pairs, a = _COEFFICIENTS[x.dtype]
    t = x * x
    y = t + pairs[1]
    np.divide(pairs[0], y, out=y)
    for b, c in zip(pairs[2::2], pairs[3::2]):
        y += t
        y += c
        np.divide(b, y, out=y)
    y += a
    np.divide(x, y, out=y)
    return np.tanh(y, out=y)
