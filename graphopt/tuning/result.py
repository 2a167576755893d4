"""What tuning found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphopt._display import html_of
from graphopt.tuning.choice import Choice
from graphopt.tuning.ratio import Ratio


@dataclass(frozen=True, slots=True)
class Measured:
    """A candidate of the search. `ratio`: its time over that of the analytic choice."""

    choice: Choice
    ratio: Ratio


@dataclass(slots=True)
class Tuning:
    """What was chosen, and on what grounds.

    Attributes:
        choice: the options of the model that was returned.
        analytic: the options that would have been taken without measuring.
        to_input: its time over that of the untouched model, from rounds of their own after the search; None: not measured.
        to_analytic: the same over the analytic choice; None where that was chosen, or not measured.
        seconds_per_run: of the model that was returned, the median; 0 where it was not measured.
        candidates: what the search measured, the fastest first.
        runtime, processor, threads: where it was measured.
        sizes: of the inputs that were measured with.
        seconds: what tuning took, or had taken where it comes from a cache.
        cached: it was known from a cache.
        notes: what the user should know.
    """

    choice: Choice
    analytic: Choice
    to_input: Ratio | None
    to_analytic: Ratio | None
    seconds_per_run: float
    candidates: list[Measured]
    runtime: str
    processor: str
    threads: int
    sizes: Mapping[str, list[int]]
    seconds: float
    cached: bool = False
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "choice": self.choice.to_dict(),
            "analytic": self.analytic.to_dict(),
            "to_input": None if self.to_input is None else self.to_input.to_dict(),
            "to_analytic": None if self.to_analytic is None else self.to_analytic.to_dict(),
            "seconds_per_run": self.seconds_per_run,
            "candidates": [{"choice": m.choice.to_dict(), "ratio": m.ratio.to_dict()} for m in self.candidates],
            "runtime": self.runtime,
            "processor": self.processor,
            "threads": self.threads,
            "sizes": dict(self.sizes),
            "seconds": self.seconds,
            "cached": self.cached,
            "notes": self.notes,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Tuning:
        """What `to_dict` made.

        Raises:
            KeyError, TypeError, ValueError: it did not.
        """
        ratios = {key: None if data[key] is None else Ratio.from_dict(data[key]) for key in ("to_input", "to_analytic")}
        return cls(
            Choice.from_dict(data["choice"]),
            Choice.from_dict(data["analytic"]),
            ratios["to_input"],
            ratios["to_analytic"],
            float(data["seconds_per_run"]),
            [Measured(Choice.from_dict(m["choice"]), Ratio.from_dict(m["ratio"])) for m in data["candidates"]],
            str(data["runtime"]),
            str(data["processor"]),
            int(data["threads"]),
            {str(name): [int(d) for d in dims] for name, dims in data["sizes"].items()},
            float(data["seconds"]),
            True,
            [str(note) for note in data["notes"]],
        )

    def lines(self) -> list[str]:
        """For people."""
        sizes = ", ".join(f"{name} {dims}" for name, dims in self.sizes.items())
        where = f"{self.runtime}, {self.threads} thread{'s' * (self.threads != 1)}"
        how = "from the cache" if self.cached else f"in {self.seconds:.1f} s, {len(self.candidates)} candidates"
        lines = [f"tuned on {where}, {how}: {self.choice}"]
        if self.to_input is not None:
            lines.append(
                f"  time over the untouched model's: {self.to_input}; {self.seconds_per_run * 1e3:.3g} ms a run"
            )
        if self.to_analytic is not None:
            lines.append(f"  time over that of {self.analytic}: {self.to_analytic}")
        if sizes:
            lines.append(f"  measured with {sizes}")
        return [*lines, *(f"  note: {note}" for note in self.notes)]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))
