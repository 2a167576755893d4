"""Where states and batches lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.errors import ArgumentError
from graphopt.exec import providers as providing
from graphopt.exec.backends.devices import find
from graphopt.exec.backends.jax_program import configure

import jax  # isort: skip - the back end says what to install where it is missing
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Placement:
    """Where states and batches lie: on one device, or a batch's rows shared out among several, and states on each.

    Args:
        devices: of JAX.
    """

    def __init__(self, devices: Sequence[Any]) -> None:
        self.devices = list(devices)
        self.default = self.devices == [jax.devices()[0]]
        if len(self.devices) > 1:
            mesh = Mesh(np.array(self.devices), ("batch",))
            self._shared = NamedSharding(mesh, PartitionSpec("batch"))
            self.everywhere: Any = NamedSharding(mesh, PartitionSpec())
        else:
            self.everywhere = jax.sharding.SingleDeviceSharding(self.devices[0])

    def state(self, state: Any) -> Any:
        """A state on the devices."""
        return jax.device_put(state, self.everywhere)

    def batch(self, batch: Mapping[str, Any], rows: int | None, strict: bool = True) -> Mapping[str, Any]:
        """A batch on the devices.

        Args:
            batch: arrays by name.
            rows: of the batch; arrays with another first dim go to all devices as they are.
            strict: rows that do not divide are an error; else they go to all devices.

        Raises:
            ArgumentError: the rows do not divide among the devices.
        """
        if len(self.devices) == 1:
            return batch if self.default else jax.device_put(dict(batch), self.everywhere)
        even = rows is not None and rows % len(self.devices) == 0
        if strict and not even:
            raise ArgumentError(
                f"a batch of {rows} rows does not divide among {len(self.devices)} devices: choose another size, leave out "
                "the last batch (drop_last=True), or pass devices=1"
            )
        share = {n: even and getattr(a, "ndim", 0) > 0 and a.shape[0] == rows for n, a in batch.items()}
        return {n: jax.device_put(a, self._shared if share[n] else self.everywhere) for n, a in batch.items()}


def devices_of(providers: Sequence[Any] | None, count: int | None) -> list[Any]:
    """The devices that a session uses.

    Args:
        providers: see `TrainingSession`.
        count: how many; None: all of their kind, or the one that `device_id` names.

    Raises:
        ArgumentError: another provider than JAX, an option that training has not, more devices than there are.
    """
    if isinstance(providers, str):
        raise ArgumentError(f"providers must be a list: [{providers!r}]")
    provider = providing.choose(providers or ["jax"])
    if provider.names[0] != providing.JAX_PROVIDER:
        raise ArgumentError(f"training runs on JAX: providers=['jax'], not {provider.names[0]}")
    if unknown := [name for name in provider.options if name not in ("device", "device_id", "cache_dir")]:
        raise ArgumentError(f"training takes the options device, device_id and cache_dir, not '{unknown[0]}'")
    configure(provider.options.get("cache_dir"))
    kind = provider.options.get("device", jax.default_backend())
    first = find(kind, int(provider.options.get("device_id", 0)))
    there = jax.devices(first.platform)
    if "device_id" in provider.options and count is None:
        return [first]
    if count is not None and (not isinstance(count, int) or not 1 <= count <= len(there)):
        raise ArgumentError(f"devices must be a number from 1 to {len(there)}, not {count!r}")
    start = there.index(first)
    return list(there[start : start + (count or len(there))])
