"""Tuning: which of the optimiser's decisions pay on this machine, measured on the runtime that the model is for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import isfinite
from os import PathLike
from typing import Any

import graphopt
from graphopt.errors import ArgumentError
from graphopt.ir import Model, load
from graphopt.targets import target_of
from graphopt.tuning.cache import Cache
from graphopt.tuning.choice import Choice
from graphopt.tuning.identity import key_of, structure_of
from graphopt.tuning.race import Clock
from graphopt.tuning.ratio import Ratio
from graphopt.tuning.result import Measured, Tuning
from graphopt.tuning.search import search
from graphopt.tuning.stand import RuntimeStand, Stand, sizes_of

__all__ = ["Choice", "Measured", "Ratio", "Tuning", "check_seconds", "tune"]


def check_seconds(seconds: object) -> float:
    """A time limit.

    Raises:
        ArgumentError: it is none.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0 or not isfinite(seconds):
        raise ArgumentError(f"tune must be a number of seconds above 0, not {seconds!r}")
    return float(seconds)


def tune(
    model: Any,
    seconds: float,
    level: int,
    arguments: Mapping[str, Any],
    *,
    inputs: Mapping[str, Any] | None = None,
    cache: str | PathLike[str] | None = None,
    threads: int = 1,
    stand: Stand | None = None,
    clock: Clock = time.perf_counter,
    optimize: Callable[..., Model] | None = None,
) -> Model:
    """The fastest of several ways to optimise a model, measured; its report tells how it was found.

    Args:
        model: whatever `graphopt.optimize` takes.
        seconds: of measuring, at most. A cache hit takes none.
        level: of the analytic choice.
        arguments: the other arguments of `graphopt.optimize`, which every candidate gets.
        inputs: to measure with; None: some are found.
        cache: a file with what was learnt before.
        threads: of a session.
        stand, clock, optimize: what measures, tells the time and optimises, for tests.

    Raises:
        ArgumentError: an argument makes no sense, the runtime refuses the model or the inputs, the cache cannot be read.
        MissingDependencyError: the runtime is not installed.
    """
    began = clock()
    seconds = check_seconds(seconds)
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise ArgumentError(f"tune_threads must be a number of threads, 1 or more, not {threads!r}")
    run = optimize or graphopt.optimize
    target = str(arguments["target"])
    stand = stand or RuntimeStand(target_of(target), threads)
    base = Choice(level)
    store = Cache(cache) if cache is not None else None
    parts = _parts(model, level, arguments, inputs, target, stand)
    key = key_of(parts)

    def build(choice: Choice) -> Model:
        changed = dict(arguments)
        changed["without"] = (*_names(arguments["without"]), *sorted(choice.without))
        if choice.own_opset and arguments["opset"] is None:
            changed["opset"] = load(model).opsets.get("") or None
        return run(model, choice.level, **changed)

    record = store.get(key) if store is not None else None
    if record is not None:
        try:
            known = Tuning.from_dict(record)
        except (KeyError, TypeError, ValueError) as e:
            raise ArgumentError(f"tune_cache: '{cache}': entry {key[:12]} is no record of a tuning: {e!r}") from e
        return _with(build(known.choice), known)
    result, tuning = search(build, base, stand, seconds, inputs, clock, began)
    if store is not None:
        store.put(key, tuning.to_dict() | {"parts": parts})
    return _with(result, tuning)


def _with(model: Model, tuning: Tuning) -> Model:
    assert model.report is not None
    model.report.tuning = tuning
    return model


def _parts(
    model: Any, level: int, arguments: Mapping[str, Any], inputs: Mapping[str, Any] | None, target: str, stand: Stand
) -> dict[str, Any]:
    """What a record is about: it holds for the same structure, options, runtime and processor."""
    options = {
        "level": level,
        "without": sorted(_names(arguments["without"])),
        "only": None if arguments["only"] is None else sorted(_names(arguments["only"])),
        "rules": [r.name for r in arguments["rules"]],
        "freeze_inputs": bool(arguments["freeze_inputs"]),
        "input_shapes": repr(sorted((arguments["input_shapes"] or {}).items())),
        "opset": repr(arguments["opset"]),
        "fold_allowance": arguments["fold_allowance"],
    }
    return {
        "structure": structure_of(load(model)),
        "target": target,
        "runtime": stand.runtime,
        "processor": stand.processor,
        "threads": stand.threads,
        "options": options,
        "inputs": None if inputs is None else sizes_of(inputs),
        "graphopt": graphopt.__version__,
    }


def _names(names: Any) -> list[str]:
    return [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
