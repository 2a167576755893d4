"""Candidates that take turns: each once a round, in an order that changes, so that what disturbs one disturbs all."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
Clock = Callable[[], float]

#: Seconds that are timed at once, at least: a shorter run is repeated.
_LEAST = 0.001
#: Rounds before candidates are opened anew.
_MOST_ROUNDS = 12


def race(
    runs: Mapping[K, Callable[[], object]],
    clock: Clock,
    timer: Clock,
    rounds: int,
    until: float,
    enough: Callable[[Mapping[K, Sequence[float]]], bool] = lambda times: False,
) -> dict[K, list[float]]:
    """Seconds of a run of each candidate, round by round; only whole rounds count.

    Args:
        runs: what each candidate does.
        clock, timer: the time of day, and what runs are timed with.
        rounds: how many at most.
        until: no round begins that would probably end later, by the clock.
        enough: asked after each round whether to stop.
    """
    names = list(runs)
    times: dict[K, list[float]] = {name: [] for name in names}
    lasted: float | None = None
    repeats = 0
    enabled = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds):
            if clock() + (lasted or 0.0) > until:
                break
            began = clock()
            if not repeats:
                fastest = min(
                    _timed(runs[name], timer, 1) for name in names
                )  # a first run of each, which does not count
                repeats = max(1, min(1000, round(_LEAST / fastest))) if fastest > 0 else 1
                lasted = repeats * (clock() - began)
                if clock() + lasted > until:
                    break
                began = clock()
            found = {}
            for name in _order(names, turn):
                if repeats > 1:
                    runs[name]()  # brings what it works on back into the caches
                found[name] = _timed(runs[name], timer, repeats)
            for name, seconds in found.items():
                times[name].append(seconds)
            lasted = clock() - began
            if enough(times):
                break
    finally:
        if enabled:
            gc.enable()
    return times


def reopened(
    openers: Mapping[K, Callable[[], Callable[[], object]]],
    clock: Clock,
    timer: Clock,
    openings: int,
    until: float,
    enough: Callable[[Mapping[K, Sequence[float]]], bool] = lambda times: False,
) -> dict[K, list[float]]:
    """Seconds of a run of each candidate, one number for each time that all were opened anew.

    Where a session's weights come to lie in memory makes the same model faster or slower by a per cent for as long as the
    session lives, which no number of rounds would tell.

    Args:
        openers: give what each candidate does.
        clock, timer, until, enough: see `race`.
        openings: how many at most.
    """
    names = list(openers)
    times: dict[K, list[float]] = {name: [] for name in names}
    rounds, lasted = 1, 0.0
    for turn in range(openings):
        began = clock()
        if began + lasted > until:
            break
        runs = {name: openers[name]() for name in _order(names, turn)}
        opened = clock()
        found = race(runs, clock, timer, rounds, until)
        del runs
        if not found[names[0]]:
            break
        for name, seconds in found.items():
            times[name].append(statistics.median(seconds))
        ran = clock() - opened
        if rounds == 1:  # as much time for running as for opening
            rounds = max(1, min(_MOST_ROUNDS, round((opened - began) / max(ran, 1e-9))))
            ran *= rounds
        lasted = opened - began + ran
        if enough(times):
            break
    return times


def _order(names: Sequence[K], turn: int) -> list[K]:
    """Another one begins each round, and every second round goes backwards."""
    k = turn % len(names)
    turned = [*names[k:], *names[:k]]
    return turned[::-1] if turn % 2 else turned


def _timed(run: Callable[[], object], timer: Clock, repeats: int) -> float:
    began = timer()
    for _ in range(repeats):
        run()
    return (timer() - began) / repeats
