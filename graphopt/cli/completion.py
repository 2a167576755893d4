"""What a shell offers for values of options. A shell asks a new process each time; only what the values need is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from graphopt.errors import MissingDependencyError


def targets(incomplete: str) -> Iterator[str]:
    """Runtimes that a model may be for."""
    from graphopt.targets import TARGETS

    return (name for name in TARGETS if name.startswith(incomplete))


def rules(incomplete: str) -> Iterator[str]:
    """Rules and passes."""
    from graphopt.passes import PASSES
    from graphopt.patterns import all_rules

    return _last_of(incomplete, [*all_rules(), *PASSES])


def rules_and_families(incomplete: str) -> Iterator[str]:
    """Rules, families of rules and passes; the last of a comma list."""
    from graphopt.passes import PASSES
    from graphopt.patterns import all_rules

    found = all_rules()
    return _last_of(incomplete, [*found, *sorted({r.family for r in found.values()}), *PASSES])


def families(incomplete: str) -> Iterator[str]:
    """Families of rules."""
    from graphopt.patterns import all_rules

    return (name for name in sorted({r.family for r in all_rules().values()}) if name.startswith(incomplete))


def phases(incomplete: str) -> Iterator[str]:
    """Phases of the pipeline."""
    from graphopt.patterns import PHASES, TARGET_PHASES

    return (name for name in (*PHASES, *TARGET_PHASES) if name.startswith(incomplete))


def executors(incomplete: str) -> Iterator[str]:
    """Who can run models here; the last of a comma list."""
    from graphopt.exec.executors import installed

    return _last_of(incomplete, list(installed()))


def levels(incomplete: str) -> Iterator[tuple[str, str]]:
    """Levels, each with what it promises."""
    from graphopt.pipeline import LEVELS

    return ((str(n), text) for n, text in LEVELS.items() if str(n).startswith(incomplete))


def precisions(incomplete: str) -> Iterator[str]:
    """Precisions that a model may be converted to."""
    from graphopt.precision import KINDS

    return (name for name in KINDS if name.startswith(incomplete))


def losses(incomplete: str) -> Iterator[str]:
    """Losses by name."""
    with suppress(MissingDependencyError):
        from graphopt.exec.training.losses import LOSSES

        yield from (name for name in LOSSES if name.startswith(incomplete))


def optimizers(incomplete: str) -> Iterator[str]:
    """Optimizers by name."""
    with suppress(MissingDependencyError):
        from graphopt.exec.training.optimizers import OPTIMIZERS

        yield from (name for name in OPTIMIZERS if name.startswith(incomplete))


def layouts(incomplete: str) -> Iterator[str]:
    """Layouts of images."""
    return (name for name in ("NHWC", "NCHW") if name.startswith(incomplete))


def _last_of(incomplete: str, names: list[str]) -> Iterator[str]:
    before, comma, last = incomplete.rpartition(",")
    return (f"{before}{comma}{name}" for name in names if name.startswith(last))
