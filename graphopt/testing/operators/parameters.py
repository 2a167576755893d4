"""Parameters of a node in the making by kind: numbers, words, axes, permutations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import OpSchema
from graphopt.testing.building.builder import Invalid
from graphopt.testing.choices import Choices


class Parameters(ABC):
    """What a site decides about parameters; where they go is up to `parameter`."""

    choices: Choices
    op_type: str
    schema: OpSchema
    attributes: dict[str, Any]

    @abstractmethod
    def parameter(
        self, name: str, options: Callable[[], Any], default: Any = None, dtype: int = TensorProto.INT64
    ) -> Any:
        """Decide about a parameter."""

    # -------------------------------------------------------------------- what others have to say
    def recent(self, kind: str) -> list[Any]:
        """Values that parameters of this kind ('axis', 'axes', 'perm') have elsewhere."""
        return []

    def numbers(self) -> list[float]:
        """Numbers that are worth a try as parameters."""
        return []

    def hinted(self, length: int) -> list[list[int]]:
        """Lists of integers of this length that are worth a try as parameters."""
        return []

    def asks(self, name: str) -> bool:
        """Whether somebody will ask for this parameter, or for this word."""
        return False

    def written(self, name: str) -> bool:
        """Whether a parameter stands written as it has to be."""
        return False

    # ------------------------------------------------------------------------------------ by kind
    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A float parameter between two bounds (or one of the numbers that are worth a try)."""

        def options() -> float:
            tried = [n for n in self.numbers() if low <= n <= high]
            if tried and not self.choices.chance(3):
                return float(self.choices.one(tried))
            return low + (high - low) * self.choices.integer(0, 16) / 16

        return self.parameter(name, options, default)

    def integer(self, name: str, options: Sequence[int], default: int | None = None) -> int:
        """An integer parameter."""
        return self.parameter(name, lambda: self.choices.one(options), default)

    def text(self, name: str, options: Sequence[str], default: str | None = None) -> str:
        """A parameter that is one of some words, those that somebody asks for more often."""
        asked = [o for o in options if self.asks(o)]
        return self.parameter(
            name, lambda: self.choices.one(asked if asked and self.choices.integer(0, 1) else options), default
        )

    def axis(
        self,
        rank: int,
        name: str = "axis",
        default: int | None = None,
        low: int = 0,
        signed: bool = True,
        suits: int | None = None,
    ) -> int:
        """An axis of `rank` dims, mostly the one that suits; not negative here, though it may be written so."""
        if rank <= low:
            raise Invalid(f"{self.op_type}: no axis to choose")

        def options() -> int:
            if suits is not None and not self.choices.chance(4):
                return suits
            recent = [a for a in self.recent("axis") if low <= a < rank]
            recent += [a[0] % rank for a in self.recent("axes") if len(a) == 1 and low <= a[0] % rank]
            if recent and not self.choices.chance(3):
                return int(self.choices.one(recent))
            asked_for = [int(n) for n in self.numbers() if n in range(max(low, 1), rank)]
            if asked_for and self.choices.chance(3):
                return self.choices.one(asked_for)
            return self.choices.integer(low, rank - 1)

        value = self.parameter(name, options, default)
        if value is None:
            raise Invalid(f"{self.op_type} without {name}")
        if not -rank <= value < rank:
            raise Invalid(f"{self.op_type}: axis {value} of {rank} dims")
        if (
            signed
            and value >= 0
            and name in self.attributes
            and self.schema.since_version >= 11
            and not self.written(name)
            and self.choices.chance(4)
        ):
            self.attributes[name] = value - rank
        return value % rank

    def axes(
        self, rank: int, name: str = "axes", default: list[int] | None = None, least: int = 1, signed: bool = True
    ) -> list[int] | None:
        """Some axes of `rank` dims, as they are written: possibly negative, each once; None where they are left out."""

        def options() -> list[int]:
            recent = [a for a in self.recent("axes") if all(-rank <= i < rank for i in a) and len(a) >= least]
            recent += [[a] for a in self.recent("axis") if a < rank and least <= 1]
            if not least and self.choices.integer(0, 1):
                return []
            if recent and not self.choices.chance(2 if len(recent) == 1 else 6):
                return list(self.choices.one(recent))
            if rank > 2 and self.choices.chance(4):
                return list(range(2, rank))  # all positions of an image
            # the last ones, as normalizations do; the last one, as softmax does
            if rank > 1 and self.choices.chance(3):
                last = range(self.choices.one([rank - 1, self.choices.integer(0, rank - 2)]), rank)
                return [a - rank for a in last] if signed and self.schema.since_version >= 11 else list(last)
            # later ones first: most operators of real models work on the last dims
            chosen = self.choices.some(range(rank)[::-1], min(least, rank))
            negative = signed and self.schema.since_version >= 11 and self.choices.chance(3)
            return [a - rank if negative else a for a in sorted(chosen)]

        value = self.parameter(name, options, default)
        if value is None:
            return None
        if sorted({a % rank for a in value} if rank else set()) != sorted(a % rank for a in value if rank):
            raise Invalid(f"{self.op_type}: axes {value} of {rank} dims")
        return [int(a) for a in value]

    def perm(self, rank: int) -> list[int]:
        """A permutation of `rank` dims; left out, it reverses them."""

        def options() -> list[int]:
            hinted = [p for p in self.hinted(rank) if sorted(p) == list(range(rank))]
            recent = [p for p in self.recent("perm") if sorted(p) == list(range(rank))] + hinted
            recent += [np.argsort(p).tolist() for p in recent]
            if recent and (self.choices.chance(2) or (hinted and self.choices.chance(2))):
                return [int(i) for i in self.choices.one(recent)]
            return self.choices.order(rank)

        value = self.parameter("perm", options, list(range(rank))[::-1])
        if sorted(value) != list(range(rank)):
            raise Invalid(f"perm {value} of {rank} dims")
        return value
