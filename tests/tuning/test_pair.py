"""Two models timed beside each other."""

from __future__ import annotations

import pytest

from graphopt.errors import ArgumentError
from graphopt.tuning.pair import time_both
from tests.tuning.fakes import Clock, Stand, chain


def test_medians_of_both() -> None:
    clock = Clock()
    stand = Stand(clock, {3: 0.02, 1: 0.01})
    pair = time_both(chain(3), chain(1), 5.0, stand=stand, clock=clock)
    assert (pair.before, pair.after) == (pytest.approx(0.02), pytest.approx(0.01))
    assert pair.where == "fake 1.0, 1 thread, a processor"
    assert clock.now <= 5.1


def test_errors() -> None:
    clock = Clock()
    with pytest.raises(ArgumentError, match="above 0"):
        time_both(chain(3), chain(1), 0.0, stand=Stand(clock, {3: 1.0, 1: 1.0}), clock=clock)
    with pytest.raises(ArgumentError, match=r"fake 1.0 does not run the models: no such kernel"):
        time_both(chain(3), chain(1), 1.0, stand=Stand(clock, {3: 0.1}, refuses=frozenset({1})), clock=clock)
    with pytest.raises(ArgumentError, match="not enough to run both models once"):
        time_both(chain(3), chain(1), 1.0, stand=Stand(clock, {3: 5.0, 1: 5.0}), clock=clock)
