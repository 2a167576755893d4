"""Mini-batches: arrays cut into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from graphopt.errors import ArgumentError


class Batches:
    """Arrays in mini-batches, in another order in each epoch, always the same ones for a seed.

    Args:
        arrays: by name, all with the same number of rows along their first axis.
        size: rows of a batch; the last one of an epoch may have fewer.
        shuffle: draw the order anew for each epoch.
        seed: of the order.
        drop_last: leave out a last batch that is smaller.

    Raises:
        ArgumentError: no arrays, other numbers of rows, or a size that makes no sense.
    """

    def __init__(
        self, arrays: Mapping[str, Any], size: int, *, shuffle: bool = True, seed: int = 0, drop_last: bool = False
    ) -> None:
        self.arrays = {name: np.asarray(a) for name, a in arrays.items()}
        self.rows = rows_of(self.arrays)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ArgumentError(f"the size of a batch must be a number of rows, 1 or more, not {size!r}")
        self.size, self.shuffle, self.seed, self.drop_last = size, shuffle, seed, drop_last
        if not len(self):
            raise ArgumentError(f"{self.rows} rows make no batch of {size}; choose a smaller size")

    def __len__(self) -> int:
        return self.rows // self.size if self.drop_last else -(-self.rows // self.size)

    def __call__(self, epoch: int) -> Iterator[dict[str, np.ndarray]]:
        """The batches of one epoch."""
        order = (
            np.random.default_rng([self.seed, epoch]).permutation(self.rows) if self.shuffle else np.arange(self.rows)
        )
        for i in range(len(self)):
            rows = order[i * self.size : (i + 1) * self.size]
            yield {name: a[rows] for name, a in self.arrays.items()}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self(0)


def rows_of(arrays: Mapping[str, np.ndarray]) -> int:
    """How many rows arrays have, all the same.

    Raises:
        ArgumentError: there are none, or they differ.
    """
    if not arrays:
        raise ArgumentError("there are no arrays to make batches of")
    rows = {name: a.shape[0] if a.ndim else None for name, a in arrays.items()}
    if None in rows.values() or len(set(rows.values())) > 1:
        told = ", ".join(f"{name} {'is a single number' if n is None else n}" for name, n in rows.items())
        raise ArgumentError(f"all arrays must have the same number of rows along their first axis: {told}")
    return int(next(iter(arrays.values())).shape[0])
