"""Reports, tunings and verifications as matplotlib plots, to be put into figures of one's own.

    from graphopt.view import plots
    plots.operators(fast.report)

Each takes the axes to draw on, or makes a figure, and returns the axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphopt.errors import ArgumentError, MissingDependencyError
from graphopt.view.colours import BAD, FILLS, FRAME, GOOD, GREY, UNSURE
from graphopt.view.families import family_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from graphopt.report import Report
    from graphopt.tracing import Trace
    from graphopt.tuning.result import Tuning
    from graphopt.verification import Verification

_BEFORE, _LINE = "#b9bec6", "#4a78b8"


def operators(report: Report, ax: Axes | None = None, most: int = 20) -> Axes:
    """How many nodes of each operator there were and are, those that changed most first.

    Args:
        report: of an optimisation.
        ax: where to draw; None: a new figure.
        most: so many operators.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    names = {*report.before.operators, *report.after.operators}
    counts = [(op, report.before.operators[op], report.after.operators[op]) for op in names]
    rows = sorted(counts, key=lambda r: (-abs(r[2] - r[1]), -max(r[1:]), r[0]))[:most]
    ax = ax or _axes(6.4, 0.9 + 0.32 * len(rows))
    places = range(len(rows))
    ax.barh([p - 0.2 for p in places], [b for _, b, _ in rows], 0.38, color=_BEFORE, label="before")
    colours = [FILLS[family_of(op)] for op, _, _ in rows]
    ax.barh(
        [p + 0.2 for p in places],
        [a for _, _, a in rows],
        0.38,
        color=colours,
        label="after",
        edgecolor=FRAME,
        linewidth=0.6,
    )
    ax.set_yticks(list(places), [op for op, _, _ in rows])
    ax.invert_yaxis()
    ax.set_xlabel("nodes")
    ax.set_title(f"{report.nodes_before:,} → {report.nodes_after:,} nodes, level {report.level}")
    ax.legend(loc="lower right", frameon=False)
    return ax


def nodes(report: Report | Trace, ax: Axes | None = None, label: str = "") -> Axes:
    """How many nodes are left after each step; in a figure of its own also where the phases begin.

    Args:
        report: of an optimisation, or its trace.
        ax: where to draw; None: a new figure.
        label: of the line, for plots of several reports.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    from graphopt.tracing import Trace

    found = report.report if isinstance(report, Trace) else report
    left = [found.nodes_before]
    for step in found.steps:
        left.append(left[-1] - step.saved)
    new = ax is None
    ax = ax or _axes(7.2, 3.4)
    ax.step(range(len(left)), left, where="post", color=_LINE if new else None, label=label or None)
    if new:
        for phase in found.phases():
            ax.axvline(phase.first - 1, color=_BEFORE, linewidth=0.8)
            name = ax.text(phase.first - 1, left[0], f" {phase.name}", fontsize=7, color=GREY)
            name.set(rotation=90, va="top", ha="left")
    ax.set_xlabel("step")
    ax.set_ylabel("nodes left")
    ax.set_ylim(bottom=0)
    if label:
        ax.legend(frameon=False)
    return ax


def tuning(result: Tuning, ax: Axes | None = None) -> Axes:
    """The candidates that were measured: time over that of the analytic choice, with its interval.

    Args:
        result: `report.tuning`.
        ax: where to draw; None: a new figure.

    Raises:
        ArgumentError: nothing was measured.
        MissingDependencyError: matplotlib is not installed.
    """
    rows = result.candidates
    if not rows:
        raise ArgumentError("nothing was measured, so there is nothing to plot")
    ax = ax or _axes(6.4, 0.9 + 0.34 * len(rows))
    for place, measured in enumerate(rows):
        r = measured.ratio
        colour = GOOD if r.faster else BAD if r.slower else UNSURE
        ax.plot([r.low, r.high], [place, place], color=colour, linewidth=2.5, solid_capstyle="round")
        ax.plot([r.median], [place], "o", color=colour)
    ax.axvline(1.0, color=_BEFORE, linewidth=1)
    ax.set_yticks(range(len(rows)), [str(m.choice) for m in rows])
    ax.invert_yaxis()
    ax.set_xlabel("time over that of the analytic choice")
    return ax


def verification(result: Verification, ax: Axes | None = None) -> Axes:
    """The largest difference of each output on each executor, beside what was allowed, on a logarithmic scale.

    Args:
        result: of `graphopt.verify`.
        ax: where to draw; None: a new figure.

    Raises:
        ArgumentError: no output was compared in numbers.
        MissingDependencyError: matplotlib is not installed.
    """
    worst: dict[str, tuple[float, float, bool]] = {}
    for row in result.rows:
        key = f"{row.output or '(all)'} on {row.executor}"
        known = worst.get(key, (0.0, 0.0, True))
        if math.isfinite(row.difference):
            ok = known[2] and row.status == "equal"
            worst[key] = (max(known[0], row.difference), max(known[1], row.tolerance, row.noise), ok)
    if not worst:
        raise ArgumentError("no output was compared in numbers, so there is nothing to plot")
    ax = ax or _axes(6.4, 0.9 + 0.34 * len(worst))
    least = min((v for d, t, _ in worst.values() for v in (d, t) if v > 0), default=1e-12) / 10
    for place, (difference, tolerance, ok) in enumerate(worst.values()):
        ax.plot([max(difference, least)], [place], "o", color=GOOD if ok else BAD)
        ax.plot([max(tolerance, least)], [place], "|", color=GREY, markersize=14)
    ax.set_xscale("log")
    ax.set_yticks(range(len(worst)), list(worst))
    ax.invert_yaxis()
    ax.set_xlabel("largest difference (dot; none at the left edge) and what is allowed (line)")
    ax.set_title(f"verdict: {result.verdict}")
    return ax


def bars(numbers: Mapping[str, float], ax: Axes | None = None, what: str = "") -> Axes:
    """Numbers to be compared, such as nodes or times, as bars; the smallest is marked.

    Args:
        numbers: by name.
        ax: where to draw; None: a new figure.
        what: they count or measure.

    Raises:
        ArgumentError: there are none.
        MissingDependencyError: matplotlib is not installed.
    """
    if not numbers:
        raise ArgumentError("there are no numbers, so there is nothing to plot")
    ax = ax or _axes(6.4, 0.9 + 0.34 * len(numbers))
    least = min(numbers.values())
    drawn = ax.barh(
        list(numbers), list(numbers.values()), color=[GOOD if n == least else _BEFORE for n in numbers.values()]
    )
    ax.bar_label(drawn, labels=[f"{n:.4g}" for n in numbers.values()], padding=3, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel(what)
    ax.margins(x=0.12)
    return ax


def _axes(width: float, height: float) -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as e:
        raise MissingDependencyError("plots need matplotlib: pip install 'graphopt[view]'") from e
    _, ax = pyplot.subplots(figsize=(width, height), layout="constrained")
    return ax
