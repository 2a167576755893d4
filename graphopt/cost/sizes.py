"""Dims as numbers, for costs: those that nobody knows count as a usual size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from graphopt.ir import Dim, Model, Value
from graphopt.shapes.dims import names_in, substitute

#: What symbolic dims count as: the first of an input is a batch, the last ones of an input of four or more are pixels.
BATCH, PIXELS, LENGTH = 1, 224, 64


def usual_sizes(model: Model) -> dict[str, int]:
    """A number for every name that the dims of the model's inputs have."""
    sizes: dict[str, int] = {}
    for v in model.graph.inputs:
        dims = v.shape or ()
        for axis, d in enumerate(dims):
            if isinstance(d, str):
                sizes.setdefault(d, BATCH if axis == 0 else PIXELS if len(dims) >= 4 and axis >= 2 else LENGTH)
    return sizes


def elements_of(dims: Sequence[Dim]) -> int:
    """Elements of a tensor of which nothing but its dims is known: the first of several counts as a batch if it is symbolic."""
    numbers = Numbers()
    first = BATCH if len(dims) > 1 and not isinstance(dims[0], int) else None
    return prod(first if i == 0 and first is not None else numbers.dim(d) for i, d in enumerate(dims))


class Numbers:
    """Dims as numbers. `hints`: by name; other names count as `LENGTH`."""

    def __init__(self, hints: Mapping[str, int] | None = None) -> None:
        self.hints: dict[Any, int] = dict(hints or {})

    def dim(self, d: Dim) -> int:
        """One dim."""
        if isinstance(d, int):
            return d
        known = self.hints.get(d)
        if known is None:
            known = LENGTH
            if d is not None and not isinstance(d, str):
                found = substitute(d, {name: self.hints.get(name, LENGTH) for name in names_in(d)})
                known = max(0, int(found)) if isinstance(found, int) else LENGTH
            self.hints[d] = known
        return known

    def of(self, v: Value | None) -> tuple[int, ...]:
        """The dims of a value; () where it is left out, no tensor, or of unknown rank."""
        return () if v is None or v.shape is None else tuple(map(self.dim, v.shape))
