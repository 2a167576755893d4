"""The reference backend: NumPy on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.exec.backends import numpy_convolution, numpy_pooling
from graphopt.exec.kernels import convolution, pooling, products, rounding, special, sums
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.random import stream
from graphopt.exec.kernels.selection import first_k

#: Elements that fit into the second-level cache beside a few temporaries.
_BLOCK = 1 << 14


class NumPyBackend(Backend):
    """See `Backend`."""

    name = "numpy"
    namespace = np

    def into(self, function: Callable[[Any], Any], x: Any) -> Any:
        return function(x, out=x) if isinstance(function, np.ufunc) and isinstance(x, np.ndarray) else function(x)

    def saturate(self, x: Any, dtype: Any, zero_point: Any = None) -> Any:
        return rounding.saturate(x, dtype, zero_point)

    def pad(self, x: Any, widths: Sequence[tuple[int, int]], value: Any = 0, mode: str = "constant") -> Any:
        if not any(a or b for a, b in widths):
            return x
        if mode != "constant":
            library: Any = self.namespace
            return library.pad(x, widths, mode=mode)
        y = np.empty([a + n + b for n, (a, b) in zip(x.shape, widths, strict=True)], x.dtype)
        for axis, (a, b) in enumerate(widths):
            front = (slice(None),) * axis
            if a:
                y[(*front, slice(0, a))] = value
            if b:
                y[(*front, slice(y.shape[axis] - b, None))] = value
        y[tuple([slice(a, a + n) for n, (a, _) in zip(x.shape, widths, strict=True)])] = x
        return y

    def erf(self, x: Any) -> Any:
        return special.erf(x)

    def uniform(self, shape: Sequence[int], seed: float | None) -> Any:
        return np.asarray(stream(seed).random_sample(shape))

    def sum(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        return sums.total(x, axis, keepdims)

    def max(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        return sums.folded(np.maximum, x, axis, keepdims)

    def min(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        return sums.folded(np.minimum, x, axis, keepdims)

    def prod(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        return sums.folded(np.multiply, x, axis, keepdims)

    def matmul(self, a: Any, b: Any, dtype: Any = None) -> Any:
        return products.matmul(a, b) if dtype is None else products.matmul(self.cast(a, dtype), self.cast(b, dtype))

    def convolve(
        self,
        x: Any,
        w: Any,
        strides: Sequence[int],
        dilations: Sequence[int],
        pads: Sequence[tuple[int, int]],
        group: int,
        bias: Any = None,
    ) -> Any:
        if x.dtype.char in "fd":
            return numpy_convolution.convolve(x, w, strides, dilations, pads, group, bias)
        return convolution.convolve(self, x, w, strides, dilations, tuple(pads), group, bias)

    def fold_windows(self, combine: Any, x: Any, windows: Any, nothing: Any, first: int = 2) -> Any:
        if first == 2 and isinstance(combine, np.ufunc) and x.dtype.kind in "fiu":
            return numpy_pooling.fold_windows(combine, x, windows, nothing)
        return pooling.gathered(self, combine, x, windows, nothing, first)

    def blockwise(self, function: Callable[[Any], Any], x: Any, size: int) -> Any:
        step = max(1, _BLOCK // max(size, 1))
        if len(x) <= step:
            return function(x)
        first = function(x[:step])
        y = np.empty((len(x), *first.shape[1:]), first.dtype)
        y[:step] = first
        for i in range(step, len(x), step):
            y[i : i + step] = function(x[i : i + step])
        return y

    def scan(
        self, step: Callable[[Any, Any], tuple[Any, Any]], state: Any, xs: Any, reverse: bool = False
    ) -> tuple[Any, Any]:
        several = isinstance(xs, tuple)
        turns = len(xs[0] if several else xs)
        ys: Any = None
        for t in range(turns)[::-1] if reverse else range(turns):
            state, y = step(state, tuple([x[t, ...] for x in xs]) if several else xs[t, ...])
            if ys is None:  # now it is known what comes out: room for all turns
                parts = [np.empty((turns, *part.shape), part.dtype) for part in (y if isinstance(y, tuple) else (y,))]
                ys = tuple(parts) if isinstance(y, tuple) else parts[0]
            if isinstance(y, tuple):
                for all_turns, part in zip(ys, y, strict=True):
                    all_turns[t] = part
            else:
                ys[t] = y
        return state, ys

    def top_k(self, x: Any, k: int, largest: bool) -> tuple[Any, Any]:
        return first_k(x, k, largest)

    def gradient(self, function: Callable[..., Any], inputs: Sequence[Any], count: int) -> tuple[Any, ...]:
        return tuple(np.asarray(g) for g in self.differentiable().gradient(function, inputs, count))

    def differentiable(self) -> Backend:
        from graphopt.exec.backends.jax import JAX  # an extra

        return JAX

    def put(self, x: Any, index: Any, values: Any, combine: str = "set") -> Any:
        y = np.array(x, order="C")
        if combine == "set":
            y[index] = values
        else:
            ufunc = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[combine]
            if y.ndim > 1 and isinstance(index, np.ndarray) and index.ndim == 1:  # rows, for which `at` is slow
                if len(np.unique(index % max(len(y), 1))) == len(index):
                    y[index] = ufunc(y[index], values)
                    return y
                size = math.prod(y.shape[1:])
                values = np.broadcast_to(values, (len(index), *y.shape[1:])).reshape(-1)
                ufunc.at(y.reshape(-1), (index[:, None] * size + np.arange(size)).reshape(-1), values)
            else:
                ufunc.at(y, index, values)
        return y


#: What kernels run on where nothing else is said.
REFERENCE = NumPyBackend()
