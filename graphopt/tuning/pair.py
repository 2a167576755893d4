"""Two models timed beside each other, without a search."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from graphopt.errors import ArgumentError
from graphopt.ir import Model
from graphopt.targets import target_of
from graphopt.tuning.race import Clock, reopened
from graphopt.tuning.stand import RuntimeStand, Stand

#: Sessions are opened anew so often, at most.
_OPENINGS = 25


@dataclass(frozen=True, slots=True)
class Pair:
    """Seconds of a run of two models, medians, and where they were measured."""

    before: float
    after: float
    where: str


def time_both(
    before: Model,
    after: Model,
    seconds: float,
    *,
    target: str = "onnx",
    threads: int = 1,
    stand: Stand | None = None,
    clock: Clock = time.perf_counter,
) -> Pair:
    """Let two models take turns on a runtime, on inputs of usual sizes that the first one takes.

    Args:
        before, after: models of one interface.
        seconds: of measuring, about; opening the first model and finding inputs apart.
        target: whose runtime; ONNX Runtime where it names none.
        threads: of a session.
        stand, clock: what measures and tells the time, for tests.

    Raises:
        ArgumentError: the runtime refuses a model, or the time is too short for one round.
        MissingDependencyError: the runtime is not installed.
    """
    if not seconds > 0:
        raise ArgumentError(f"the time to measure must be a number of seconds above 0, not {seconds!r}")
    runtime = target_of(target)
    stand = stand or RuntimeStand(runtime if runtime.executor is not None else target_of("onnxruntime"), threads)
    try:
        feeds = stand.find_inputs(before, stand.open(before), seconds)

        def opener(model: Model) -> Callable[[], Callable[[], object]]:
            def opened() -> Callable[[], object]:
                session = stand.open(model)
                return lambda: session(feeds)

            return opened

        times = reopened({0: opener(before), 1: opener(after)}, clock, stand.timer, _OPENINGS, clock() + seconds)
    except (ArgumentError, ImportError):
        raise
    except Exception as e:
        raise ArgumentError(f"{stand.runtime} does not run the models: {str(e).splitlines()[0][:200]}") from e
    if not times[0]:
        raise ArgumentError(f"{seconds:g} s are not enough to run both models once; give more")
    plural = "s" * (stand.threads != 1)
    where = f"{stand.runtime}, {stand.threads} thread{plural}, {stand.processor}"
    return Pair(statistics.median(times[0]), statistics.median(times[1]), where)
