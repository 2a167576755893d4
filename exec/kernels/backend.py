"""What a kernel computes with: an array namespace, and the few functions that array libraries spell differently."""

from __future__ import annotations

import contextlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np


class Backend(ABC):
    """An array namespace. Every function that is not defined here is the namespace's own: `xp.concatenate`, `xp.where`...

    What is the same everywhere is here; what is abstract, a backend's class in `graphopt.exec.backends` has to say. Literals
    that are no integers go through `number`, which keeps the dtype (and exactness, where elements are exact).

    Attributes:
        name: as executors are called.
        namespace: the module of functions on arrays.
        exact: elements are objects of exact arithmetic (symbols, rationals) instead of floats.
        lifts: what kernels get and give goes through `lift`, but for the inputs that they need on the host.
        traces: arrays may stand for values that nobody knows yet; arrays of the host are computed with on the host.
    """

    name: str
    namespace: ModuleType
    exact = False
    traces = False
    lifts = False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.namespace, name)
        setattr(self, name, value)  # found at once the next time
        return value

    @property
    def multiplies_narrow(self) -> bool:
        """Whether it has units for products of floats of 16 bits, which add up in float32."""
        return False

    @staticmethod
    def holds(x: Any) -> bool:
        """Whether a value lives on the backend's device, in whole or in part."""
        return True

    def lift(self, value: Any) -> Any:
        """A value of the host as the backend computes with it."""
        return value

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
        return function(x)

    @abstractmethod
    def saturate(self, x: Any, dtype: Any, zero_point: Any = None) -> Any:
        """A float32 temporary as integers of up to 16 bits: rounded half to even, plus the zero point, clipped.

        NumPy writes over `x`.
        """

    @abstractmethod
    def pad(self, x: Any, widths: Sequence[tuple[int, int]], value: Any = 0, mode: str = "constant") -> Any:
        """`numpy.pad`; the value is cast to the array's dtype."""

    def held(self, x: Any) -> Any:
        """`x`, which counts as a constant where something is differentiated: the result does not depend on it."""
        return x

    def cutter(self, sizes: Sequence[int], axis: int) -> Callable[[Any], Sequence[Any]]:
        """A function that cuts an array along an axis into parts of these sizes, which make up the whole."""
        bounds = [0, *itertools.accumulate(sizes)]
        places = [(*(slice(None),) * axis, slice(a, b)) for a, b in itertools.pairwise(bounds)]
        return lambda x: [x[place] for place in places]

    # -------------------------------------------------------------------------------------------------- special functions
    @abstractmethod
    def erf(self, x: Any) -> Any:
        """The error function, to a few units in the last place."""

    def sigmoid(self, x: Any) -> Any:
        """1 / (1 + exp(-x))"""
        y = self.exp(-x)
        y += 1
        return 1 / y

    def gated(self, x: Any, strength: Any) -> Any:
        """x * sigmoid(strength), rounded once less."""
        y = self.exp(-strength)
        y += 1
        return x / y

    @abstractmethod
    def uniform(self, shape: Sequence[int], seed: float | None) -> Any:
        """Random float64 numbers from 0 to before 1, the same for the same seed; None: others each time."""

    # ------------------------------------------------------------------------------------------------ sums and products
    @abstractmethod
    def sum(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        """`numpy.sum` in the array's own dtype (booleans are counted), exact to a few units in the last place."""

    @abstractmethod
    def max(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        """`numpy.max`."""

    @abstractmethod
    def min(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        """`numpy.min`."""

    @abstractmethod
    def prod(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        """`numpy.prod` in the array's own dtype."""

    @abstractmethod
    def matmul(self, a: Any, b: Any, dtype: Any = None) -> Any:
        """`numpy.matmul` of arrays of one dtype, whichever that is; the result's dtype may be a wider one."""

    @abstractmethod
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
        """The convolution of [N, C, D...] with [M, C/group, K...], in the arrays' own dtype.

        Args:
            x: the input.
            w: the weights.
            strides: a number for each spatial dim, as for the dilations.
            dilations: from one element of the kernel to the next.
            pads: zeros in front of each spatial dim and behind it; a negative number takes elements away.
            group: channels and outputs in so many groups, each by itself.
            bias: a number for each output, which is added.
        """

    def convolve_channels_last(
        self,
        x: Any,
        w: Any,
        strides: Sequence[int],
        dilations: Sequence[int],
        pads: Sequence[tuple[int, int]],
        group: int,
        bias: Any = None,
    ) -> Any:
        """The same of [N, D..., C], which gives [N, D..., M]; the weights are as for `convolve`."""
        first, last = (0, x.ndim - 1, *range(1, x.ndim - 1)), (0, *range(2, x.ndim), 1)
        y = self.convolve(self.transpose(x, first), w, strides, dilations, pads, group, bias)
        return self.transpose(y, last)

    @abstractmethod
    def fold_windows(self, combine: Any, x: Any, windows: Any, nothing: Any, first: int = 2) -> Any:
        """What a function for which order does not matter makes of the elements in windows; a new array.

        Args:
            combine: of two arrays: `xp.maximum`, `xp.add`.
            x: [N, C, D...].
            windows: over the spatial dims, a `Windows`.
            nothing: what padding holds, which changes no result.
            first: the first spatial dim; 1: the channels are last.
        """

    def unabridged(self) -> Any:
        """A context in which float32 products keep all bits of their factors, which devices may cut otherwise."""
        return contextlib.nullcontext()

    # -------------------------------------------------------------------------------------------------- heavy machinery
    def blockwise(self, function: Callable[[Any], Any], x: Any, size: int) -> Any:
        """`function(x)`, which treats each entry of the leading axis by itself: in blocks that stay in the cache.

        Args:
            size: elements of the result for one entry.
        """
        return function(x)

    @abstractmethod
    def scan(
        self, step: Callable[[Any, Any], tuple[Any, Any]], state: Any, xs: Any, reverse: bool = False
    ) -> tuple[Any, Any]:
        """Run `state, y = step(state, x)` over the leading axis of the arrays in `xs`.

        Args:
            step: takes and gives states (tuples of arrays that keep their shapes) and gives one array or tuple per turn.
            state: the first one.
            xs: an array or a tuple of arrays with the same number of turns.
            reverse: from the last turn to the first; what comes out stands where its x stood.

        Returns:
            The last state, and the ys stacked along a new leading axis (None on NumPy where there were no turns).
        """

    def recur(self, step: Callable[..., Any], weights: Sequence[Any], state: Any, xs: Any) -> tuple[Any, Any]:
        """`scan` of `step(weights, state, x)`, for networks that multiply what they remember with matrices.

        Args:
            step: as in `scan`; it uses each weight once, as `weight @ h`, and does nothing else with it.
            weights: [directions, rows, hidden], or what can be multiplied like such.
            state: arrays [directions, hidden, batch]; what a weight is multiplied with has these dims too.
            xs: as in `scan`.
        """
        return self.scan(partial(step, weights), state, xs)

    @abstractmethod
    def top_k(self, x: Any, k: int, largest: bool) -> tuple[Any, Any]:
        """The k largest (or smallest) along the last axis, in order, and where they stand (int64).

        Of equal ones the one in front comes first; NaN counts as larger than any number.
        """

    @abstractmethod
    def gradient(self, function: Callable[..., Any], inputs: Sequence[Any], count: int) -> tuple[Any, ...]:
        """Derivatives of the sum of a function's elements by the first `count` inputs."""

    @abstractmethod
    def differentiable(self) -> Backend:
        """The backend that can differentiate what it computes: JAX's.

        Raises:
            MissingDependencyError: it is not installed.
        """

    @abstractmethod
    def put(self, x: Any, index: Any, values: Any, combine: str = "set") -> Any:
        """A copy of `x` with `values` at `index` (as in x[index] = values).

        Args:
            combine: 'set', or what to do with what is there, repeated indices included: 'add', 'mul', 'max', 'min'.
        """
