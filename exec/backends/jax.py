"""The JAX back end: the same kernels, on arrays that may be traced.

Arrays of the host (NumPy) and of the device mix: what is computed from the host's alone stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphopt.errors import MissingDependencyError
from graphopt.exec.kernels.backend import Backend

try:
    import jax
    import jax.numpy as jnp
except ImportError as e:
    raise MissingDependencyError("jax is not installed: pip install graphopt[jax]") from e

jax.config.update("jax_enable_x64", True)  # otherwise int64 and float64 silently become 32 bits wide


class JaxBackend(Backend):
    """See `Backend`; what differs under JAX."""

    name = "jax"
    namespace = jnp
    traces = True

    @staticmethod
    def holds(x: Any) -> bool:
        return isinstance(x, jax.Array) or (isinstance(x, (list, dict)) and any(map(JaxBackend.holds, x)))

    def pad(self, x: Any, widths: Sequence[tuple[int, int]], value: Any = 0, mode: str = "constant") -> Any:
        if not any(a or b for a, b in widths):
            return x
        if mode != "constant":
            return jnp.pad(x, widths, mode=mode)
        return jnp.pad(x, widths, constant_values=jnp.asarray(value, x.dtype))

    def erf(self, x: Any) -> Any:
        return jax.scipy.special.erf(x)

    def scan(self, step: Callable[[Any, Any], tuple[Any, Any]], state: Any, xs: Any, reverse: bool = False) -> tuple[Any, Any]:
        return jax.lax.scan(step, state, xs, reverse=reverse)

    def put(self, x: Any, index: Any, values: Any, combine: str = "set") -> Any:
        at = jnp.asarray(x).at[index]
        if combine == "mul":
            return at.multiply(values)
        return getattr(at, combine)(values)


JAX = JaxBackend()
