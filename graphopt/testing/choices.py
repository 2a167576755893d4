"""Choices: what generators ask of Hypothesis, in few words. The first option is the one that examples shrink to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
T = TypeVar("T")


class Choices:
    """Draws by name; `draw` is what `hypothesis.strategies.composite` hands out."""

    __slots__ = ("draw",)

    def __init__(self, draw: Draw) -> None:
        self.draw = draw

    def one(self, options: Sequence[T]) -> T:
        """One of these."""
        return options[0] if len(options) == 1 else options[self.draw(_integers(0, len(options) - 1))]

    def weighted(self, options: Sequence[tuple[int, T]]) -> T:
        """One of these, each as often as the number in front of it says."""
        k = self.draw(_integers(0, sum(weight for weight, _ in options) - 1))
        for weight, option in options:
            if k < weight:
                return option
            k -= weight
        raise AssertionError

    def integer(self, low: int, high: int) -> int:
        """An integer in low..high."""
        return low if low == high else self.draw(_integers(low, high))

    def chance(self, of: int) -> bool:
        """Yes, once in `of` times."""
        return bool(self.draw(_integers(0, of - 1)) == of - 1)

    def order(self, n: int) -> list[int]:
        """A permutation of 0..n-1."""
        left, out = list(range(n)), []
        while left:
            out.append(left.pop(self.integer(0, len(left) - 1)))
        return out

    def some(self, options: Sequence[T], least: int = 0) -> list[T]:
        """A subset, in order; of `least` elements or more."""
        taken = [bool(self.integer(0, 1)) for _ in options]
        for i in range(len(options)):
            if sum(taken) >= least:
                break
            taken[i] = True
        return [o for o, t in zip(options, taken, strict=True) if t]


@cache
def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)
