"""Candidates take turns."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from graphopt.tuning.race import race
from tests.tuning.fakes import Clock


def runner(clock: Clock, seconds: float, log: list[str], name: str) -> Callable[[], None]:
    def run() -> None:
        log.append(name)
        clock.now += seconds

    return run


def test_each_runs_once_a_round_in_an_order_that_changes() -> None:
    clock, log = Clock(), []  # type: Clock, list[str]
    runs = {name: runner(clock, 0.01, log, name) for name in "abc"}
    times = race(runs, clock, clock, 4, 100.0)
    rounds = ["".join(log[i : i + 3]) for i in range(0, len(log), 3)]
    assert rounds == ["abc", "abc", "acb", "cab", "cba"]  # the first does not count
    assert {n: len(t) for n, t in times.items()} == {"a": 4, "b": 4, "c": 4}


def test_short_runs_are_repeated() -> None:
    clock, log = Clock(), []  # type: Clock, list[str]
    times = race({"a": runner(clock, 0.0001, log, "a")}, clock, clock, 2, 100.0)
    assert len(log) == 1 + 2 * (1 + 10)
    assert times["a"] == pytest.approx([0.0001, 0.0001])


def test_no_round_begins_that_would_end_late() -> None:
    clock, log = Clock(), []  # type: Clock, list[str]
    times = race({name: runner(clock, 1.0, log, name) for name in "ab"}, clock, clock, 100, 9.0)
    assert len(times["a"]) == len(times["b"]) == 3 and clock.now <= 9.0


def test_it_stops_when_that_is_enough() -> None:
    clock, log = Clock(), []  # type: Clock, list[str]
    times = race({"a": runner(clock, 1.0, log, "a")}, clock, clock, 100, 1e9, lambda t: len(t["a"]) == 7)
    assert len(times["a"]) == 7


def test_the_garbage_collector_is_off_meanwhile_and_on_afterwards() -> None:
    seen: list[bool] = []
    clock = Clock()

    def run() -> None:
        seen.append(gc.isenabled())
        clock.now += 1.0
        if len(seen) == 3:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        race({"a": run}, clock, clock, 9, 100.0)
    assert not any(seen) and gc.isenabled()
