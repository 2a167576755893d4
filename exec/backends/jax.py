"""The JAX back end: the same kernels, on arrays that may be traced.

Arrays of the host (NumPy) and of the device mix: what is computed from the host's alone stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.errors import MissingDependencyError
from graphopt.exec.kernels import pooling
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.convolution import convolve
from graphopt.exec.kernels.dtypes import is_narrow
from graphopt.exec.kernels.random import stream
from graphopt.exec.kernels.rounding import limits

try:
    import jax
    import jax.numpy as jnp
    from jax.experimental import io_callback
except ImportError as e:
    raise MissingDependencyError("jax is not installed: pip install graphopt[jax]") from e

from graphopt.exec.backends.jax_convolution import channels_last, on_accelerator, on_cpu  # these import jax too
from graphopt.exec.backends.jax_scan import recur

jax.config.update("jax_cpu_enable_async_dispatch", False)  # on the CPU a thread of its own costs more than it hides
jax.config.update("jax_enable_x64", True)  # otherwise int64 and float64 silently become 32 bits wide


class JaxBackend(Backend):
    """See `Backend`; what differs under JAX.

    Args:
        platform: where it runs; None: JAX's default.
    """

    name = "jax"
    namespace = jnp
    traces = True

    def __init__(self, platform: str | None = None) -> None:
        self._platform = platform

    @property
    def platform(self) -> str:
        """'cpu', 'gpu', 'tpu': where what is traced will run; JAX's default where nothing else was said."""
        return self._platform or jax.default_backend()

    @property
    def multiplies_narrow(self) -> bool:
        return self.platform != "cpu"

    @staticmethod
    def holds(x: Any) -> bool:
        return isinstance(x, jax.Array) or (isinstance(x, (list, dict)) and any(map(JaxBackend.holds, x)))

    def pad(self, x: Any, widths: Sequence[tuple[int, int]], value: Any = 0, mode: str = "constant") -> Any:
        if not any(a or b for a, b in widths):
            return x
        if mode != "constant":
            return jnp.pad(x, widths, mode=mode)
        return jnp.pad(x, widths, constant_values=jnp.asarray(value, x.dtype))

    def saturate(self, x: Any, dtype: Any, zero_point: Any = None) -> Any:
        y = jnp.round(x)
        if zero_point is not None:
            y = y + zero_point.astype(jnp.float32)
        return jnp.clip(y, *limits(dtype)).astype(dtype)

    def divide(self, x: Any, y: Any) -> Any:
        """The quotient rounded once: XLA would multiply with the reciprocal of a scalar, which moves what is quantised."""
        if x.dtype == y.dtype == jnp.float32:
            return (jnp.asarray(x, jnp.float64) / jnp.asarray(y, jnp.float64)).astype(jnp.float32)
        return jnp.divide(x, y)

    def mod(self, x: Any, y: Any) -> Any:
        """A remainder that is 0 has the sign of the divisor, as with NumPy."""
        r = jnp.mod(x, y)
        return jnp.where(r == 0, jnp.copysign(r, y), r) if jnp.issubdtype(r.dtype, jnp.floating) else r

    def held(self, x: Any) -> Any:
        return jax.lax.stop_gradient(x)

    def cutter(self, sizes: Sequence[int], axis: int) -> Callable[[Any], Sequence[Any]]:
        on_host = super().cutter(
            sizes, axis
        )  # of arrays: gradients of parts are then put together, not filled up and added
        return lambda x: jax.lax.split(x, tuple(sizes), axis) if self.holds(x) else on_host(x)

    def unabridged(self) -> Any:
        return jax.default_matmul_precision("highest")

    def erf(self, x: Any) -> Any:
        return jax.scipy.special.erf(x)

    def sigmoid(self, x: Any) -> Any:
        return jax.nn.sigmoid(x)  # which has a derivative where exp(-x) is infinite

    def gated(self, x: Any, strength: Any) -> Any:
        return x * jax.nn.sigmoid(strength)

    def uniform(self, shape: Sequence[int], seed: float | None) -> Any:
        def draw() -> Any:
            return stream(seed).random_sample(shape)

        # Without a seed a compiled program asks for them whenever it runs.
        return io_callback(draw, jax.ShapeDtypeStruct(shape, jnp.float64)) if seed is None else draw()

    def sum(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        return jnp.sum(x, axis=axis, dtype=None if x.dtype == bool else x.dtype, keepdims=keepdims)

    def max(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        return jnp.max(x, axis=axis, keepdims=keepdims)

    def min(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        return jnp.min(x, axis=axis, keepdims=keepdims)

    def prod(self, x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
        return jnp.prod(x, axis=axis, dtype=x.dtype, keepdims=keepdims)

    def matmul(self, a: Any, b: Any, dtype: Any = None) -> Any:
        if not is_narrow(a.dtype):
            return jnp.matmul(a, b, preferred_element_type=dtype)
        return jnp.matmul(a, b, preferred_element_type=jnp.float32).astype(dtype or a.dtype)

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
        if not jnp.issubdtype(x.dtype, jnp.floating):  # XLA has no fast ones of integers
            return convolve(self, x, w, strides, dilations, tuple(pads), group, bias)
        given = x.dtype
        if self.platform == "cpu":
            y = on_cpu(self, x, w, strides, dilations, tuple(pads), group)
        else:
            y = on_accelerator(x, w, strides, dilations, tuple(pads), group)
        return (y if bias is None else y + bias.reshape(-1, *[1] * (y.ndim - 2))).astype(given)

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
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return super().convolve_channels_last(x, w, strides, dilations, pads, group, bias)
        y = channels_last(self, x, w, strides, dilations, tuple(pads), group, self.platform == "cpu")
        return (y if bias is None else y + bias).astype(x.dtype)

    def fold_windows(self, combine: Any, x: Any, windows: Any, nothing: Any, first: int = 2) -> Any:
        return pooling.gathered(self, combine, x, windows, nothing, first)

    def scan(
        self, step: Callable[[Any, Any], tuple[Any, Any]], state: Any, xs: Any, reverse: bool = False
    ) -> tuple[Any, Any]:
        return jax.lax.scan(step, state, xs, reverse=reverse)

    def recur(self, step: Callable[..., Any], weights: Sequence[Any], state: Any, xs: Any) -> tuple[Any, Any]:
        if not all(isinstance(w, (jax.Array, np.ndarray)) for w in weights):  # quantised ones
            return super().recur(step, weights, state, xs)
        return recur(step, weights, state, xs)

    def top_k(self, x: Any, k: int, largest: bool) -> tuple[Any, Any]:
        if largest:
            keys = jnp.where(x == 0, jnp.zeros_like(x), x)  # JAX would take -0 for smaller than 0
            keys = jnp.where(x != x, jnp.abs(x), keys)  # and NaN with a sign for smaller than all
            where = jax.lax.top_k(keys, k)[1].astype(jnp.int64)
        else:
            where = jnp.argsort(x, axis=-1, stable=True)[..., :k]
        return jnp.take_along_axis(x, where, -1), where

    def differentiable(self) -> Backend:
        return self

    def gradient(self, function: Callable[..., Any], inputs: Sequence[Any], count: int) -> tuple[Any, ...]:
        derivative = jax.grad(lambda *xs: jnp.sum(function(*xs)), argnums=tuple(range(count)))
        gradients: tuple[Any, ...] = derivative(*map(jnp.asarray, inputs))
        return gradients

    def put(self, x: Any, index: Any, values: Any, combine: str = "set") -> Any:
        at = jnp.asarray(x).at[index]
        if combine == "mul":
            return at.multiply(values)
        return getattr(at, combine)(values)


JAX = JaxBackend()
