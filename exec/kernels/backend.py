"""What a kernel computes with: an array namespace, and the few functions that array libraries spell differently."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

#: Elements that fit into the second-level cache beside a few temporaries.
_BLOCK = 1 << 14


class Backend:
    """An array namespace. Every function that is not defined here is the namespace's own: `xp.concatenate`, `xp.where`...

    This class is the NumPy one, the reference; the others derive from it and say what differs. Literals that are no
    integers go through `number`, which keeps the dtype (and exactness, where elements are exact).

    Attributes:
        name: as executors are called.
        namespace: the module of functions on arrays.
        exact: elements are objects of exact arithmetic (symbols, rationals) instead of floats.
        traces: arrays may stand for values that nobody knows yet; arrays of the host are computed with on the host.
    """

    name = "numpy"
    namespace: ModuleType = np
    exact = False
    traces = False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.namespace, name)
        setattr(self, name, value)  # found at once the next time
        return value

    @staticmethod
    def holds(x: Any) -> bool:
        """Whether a value lives on the backend's device, in whole or in part."""
        return True

    # ------------------------------------------------------------------------------------------- constants and dtypes
    def number(self, value: float, like: Any) -> Any:
        """A scalar in the dtype of an array."""
        return like.dtype.type(value)

    def constant(self, array: np.ndarray, like: Any) -> Any:
        """An array that was computed on the host, in the dtype of another."""
        return self.cast(array, like.dtype)

    def cast(self, x: Any, dtype: Any) -> Any:
        """An array in another dtype; the array itself where it has it already."""
        return x if x.dtype == dtype else x.astype(dtype)

    def lowest(self, dtype: Any) -> Any:
        """What no element is below: -inf, or the smallest integer."""
        return dtype.type(-math.inf) if dtype.kind == "f" or dtype.kind == "V" else np.iinfo(dtype).min

    def into(self, function: Callable[[Any], Any], x: Any) -> Any:
        """`function(x)` of a temporary that its caller made and needs no more: NumPy writes the result over it."""
        return function(x, out=x) if isinstance(function, np.ufunc) and isinstance(x, np.ndarray) else function(x)

    def pad(self, x: Any, widths: Sequence[tuple[int, int]], value: Any = 0, mode: str = "constant") -> Any:
        """`numpy.pad`; the value is cast to the array's dtype."""
        if not any(a or b for a, b in widths):
            return x
        if mode != "constant":
            return self.namespace.pad(x, widths, mode=mode)
        y = np.empty([a + n + b for n, (a, b) in zip(x.shape, widths, strict=True)], x.dtype)
        y[...] = value
        y[tuple(slice(a, a + n) for n, (a, b) in zip(x.shape, widths, strict=True))] = x
        return y

    # -------------------------------------------------------------------------------------------------- special functions
    def erf(self, x: Any) -> Any:
        """The error function, to about one unit in the last place of float32 and 1e-15 in float64."""
        from graphopt.exec.kernels.special import erf

        return erf(x)

    # -------------------------------------------------------------------------------------------------- heavy machinery
    def scan(self, step: Callable[[Any, Any], tuple[Any, Any]], state: Any, xs: Any, reverse: bool = False) -> tuple[Any, Any]:
        """Run `state, y = step(state, x)` over the leading axis of the arrays in `xs`.

        Args:
            step: takes and gives states (tuples of arrays that keep their shapes) and gives one array or tuple per turn.
            state: the first one.
            xs: an array or a tuple of arrays with the same number of turns.
            reverse: from the last turn to the first; what comes out stands where its x stood.

        Returns:
            The last state, and the ys stacked along a new leading axis.
        """
        several = isinstance(xs, tuple)
        turns = len(xs[0] if several else xs)
        ys: list[Any] = [None] * turns
        for t in range(turns)[::-1] if reverse else range(turns):
            state, ys[t] = step(state, tuple(x[t] for x in xs) if several else xs[t])
        if ys and isinstance(ys[0], tuple):
            return state, tuple(self.stack(part) for part in zip(*ys, strict=True))
        return state, self.stack(ys) if ys else None

    def put(self, x: Any, index: Any, values: Any, combine: str = "set") -> Any:
        """A copy of `x` with `values` at `index` (as in x[index] = values).

        Args:
            combine: 'set', or what to do with what is there, repeated indices included: 'add', 'mul', 'max', 'min'.
        """
        y = np.array(x)
        if combine == "set":
            y[index] = values
        else:
            {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[combine].at(y, index, values)
        return y


REFERENCE = Backend()
