"""Examples by number: a strategy as a function of seeds, and the smallest example for which a test fails.

Hypothesis looks for trouble near what it has seen, so a short run of it tries many examples that are nearly the same. Here
each seed stands for bytes that are as random as can be, and Hypothesis reads its decisions from these; where a test fails, it
shrinks from there.
"""

from __future__ import annotations

import random
import unittest
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.errors import HypothesisException
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
_BYTES = 8192


class Seeded(Generic[T]):
    """A strategy whose examples have numbers. The same number gives the same example everywhere."""

    def __init__(self, strategy: SearchStrategy[T]) -> None:
        self.strategy = strategy
        self._drawn: list[T] = []

        @settings(database=None, deadline=None)
        @given(strategy)
        def collect(example: T) -> None:
            self._drawn.append(example)

        hypothesis: Any = collect  # which @given gives an attribute of this name
        self._read: Callable[[bytes], Any] = hypothesis.hypothesis.fuzz_one_input

    def __call__(self, seed: int) -> T | None:
        """The example of a seed; None where the strategy rejects what it draws, or wants more than there is."""
        self._drawn.clear()
        self._read(stretched(seed))
        return self._drawn.pop() if self._drawn else None

    def shrink(self, seed: int, test: Callable[[T], None], failure: type[BaseException]) -> None:
        """Run a test that fails on the example of a seed on smaller ones, as long as it raises this error for them.

        Raises:
            BaseException: that error, for the smallest example found.
        """
        last: list[BaseException] = []

        def remembering(example: T) -> None:
            try:
                test(example)
            except failure as e:
                last.append(e)
                raise

        smaller: Any = settings(
            phases=[Phase.reuse, Phase.shrink], database=InMemoryExampleDatabase(), deadline=None, print_blob=False,
            report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
        )(given(self.strategy)(remembering))  # fmt: skip
        for attempt in (lambda: smaller.hypothesis.fuzz_one_input(stretched(seed)), smaller):
            try:
                attempt()
            except (failure, HypothesisException, unittest.SkipTest):  # the last: it does not fail any more
                continue
        if last:
            raise last[-1]


def stretched(seed: int) -> bytes:
    """Random bytes from a number."""
    return random.Random(seed).randbytes(_BYTES)
