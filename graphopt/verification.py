"""Does a candidate compute what the original computes? Asked of real kernels, with inputs that both take.

A verdict of "equal" is meant to be worth something. So an output counts only if it depends on the inputs and if the
difference found is small against the way it moves with them; an output that is random, constant or too small to tell is
named as such, and where nothing else is left the verdict is "inconclusive".
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from graphopt import compare as comparing
from graphopt._display import html_of
from graphopt.compare import compare
from graphopt.errors import ArgumentError, GraphoptError, ModelError
from graphopt.exec.executors import DEFAULTS, installed, known, model_file
from graphopt.trials import Row, Trials, short

if TYPE_CHECKING:
    from rich.console import RenderableType

Verdict = Literal["equal", "different", "interface differs", "failed", "inconclusive"]


class VerificationError(GraphoptError, AssertionError):
    """Two models were found not to be equal, or could not be shown to be; `result` has the whole story."""

    def __init__(self, result: Verification) -> None:
        super().__init__(str(result))
        self.result = result


@dataclass(frozen=True)
class Verification:
    """The answer of `verify`. True where the models were shown to be equal, and only there.

    Attributes:
        verdict: "equal"; "different"; "interface differs": see problems; "failed": the original ran, the candidate did
            not; "inconclusive": nothing was compared that could have told a difference.
        rows: every output of every run.
        problems: differences of the interfaces.
        notes: what was left out or could not be compared, and why.
    """

    verdict: Verdict
    rows: tuple[Row, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Shown to be equal."""
        return self.verdict == "equal"

    def __bool__(self) -> bool:
        return self.ok

    def raise_if_different(self) -> Verification:
        """This result if it is ok.

        Raises:
            VerificationError: it is not - that nothing could be compared is no reason to go on either.
        """
        if not self.ok:
            raise VerificationError(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; infinite and missing differences are None."""
        return {
            "verdict": self.verdict,
            "rows": [
                {k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in asdict(row).items()}
                for row in self.rows
            ],
            "problems": list(self.problems),
            "notes": list(self.notes),
            "ok": self.ok,
        }

    def to_json(self, **options: Any) -> str:
        """All of it as JSON text. `options` go to json.dumps."""
        return json.dumps(self.to_dict(), **options)

    def summary(self) -> list[tuple[str, ...]]:
        """A line for each executor, output and status: these, runs, worst difference, tolerance, detail; as text."""
        grouped: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            grouped.setdefault((row.executor, row.output or "(all)", row.status), []).append(row)
        lines: list[tuple[str, ...]] = []
        for key, rows in grouped.items():
            worst = max(rows, key=lambda r: -1.0 if math.isnan(r.difference) else r.difference)
            detail = next((r.detail for r in (worst, *rows) if r.detail), "")
            lines.append((*key, str(len(rows)), *map(_number, (worst.difference, worst.tolerance)), detail))
        return lines

    def sizes(self) -> str:
        """The sizes of dynamic dims that were used, as text."""
        texts = (", ".join(f"{k}={v}" for k, v in row.sizes.items()) for row in self.rows if row.sizes)
        return "; ".join(dict.fromkeys(texts))

    def _remarks(self) -> list[str]:
        return [*([f"sizes: {self.sizes()}"] if self.sizes() else []), *self.notes]

    def __str__(self) -> str:
        lines = [f"verdict: {self.verdict}", *(f"  {p}" for p in self.problems)]
        if self.rows:
            table = [_HEAD, *self.summary()]
            widths = [max(len(line[i]) for line in table) for i in range(len(_HEAD))]
            lines += ["", *("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in table), ""]
        return "\n".join([*lines, *self._remarks()]).rstrip()

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        def coloured(text: str) -> Text:
            colours = {"equal": "green", "different": "red", "failed": "red", "interface differs": "red"}
            return Text(text, style=f"bold {colours.get(text, 'yellow')}")

        table = Table(*_HEAD, box=None)
        for executor, output, status, *rest in self.summary():
            table.add_row(Text(executor), Text(output), coloured(status), *map(Text, rest))
        remarks = (Text(remark, style="dim") for remark in self._remarks())
        return Group(coloured(self.verdict), *map(Text, self.problems), *([table] if self.rows else []), *remarks)

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


_HEAD = ("executor", "output", "status", "runs", "difference", "tolerance", "")


def verify(
    original: Any,
    candidate: Any,
    *,
    on: str | Sequence[str] | None = None,
    seeds: int = 3,
    sizes: int = 2,
    rtol: float | None = None,
    inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    seconds: float = 60.0,
) -> Verification:
    """Run both models on the same inputs and compare their outputs.

    Args:
        original: a path, bytes, an onnx.ModelProto, a graphopt.Model: anything with `proto` or `SerializeToString()`.
        candidate: likewise. Its names, order, dtypes and declared dims of inputs and outputs must be the original's.
        on: names of executors (graphopt.exec.executors). None: the reference kernels, and ONNX Runtime where it is
            installed.
        seeds: draws of random inputs for each set of sizes, two at least.
        sizes: sets of sizes of the dynamic dims. They are found by asking the original, see graphopt.sampling.
        rtol: what counts as equal: largest |a - b| over max(1, largest |a|). None: 1e-8, 1e-4 or 1e-2, by the least
            precise of float64, float32 and 16-bit floats that the original computes in (compare.TOLERANCES). Quantised
            models may need more: one step of an 8-bit scale is 1/256 of it.
        inputs: feeds to use instead of random ones, one dict or several.
        seconds: for the original's runs on one executor; past that, fewer inputs are used, and a note says so.

    The original runs first, on every executor: what it does not take is no input. Its outputs tell which comparisons mean
    something: one that stays the same for other inputs proves nothing, one that differs between two runs on the same
    inputs is not deterministic and compared in dtype and shape alone. How far the executors lie apart on the original is
    what the candidate may differ by too (with rtol=None): a rewrite is not blamed for a runtime's own noise. Inputs with an
    initializer as default are left out, then fed.

    Raises:
        ArgumentError: an unknown executor, device, input name, or kind of model; a file that is not there.
        MissingDependencyError: an executor that was asked for by name is not installed.
        ModelError: the original is no model.
    """
    names = known([on] if isinstance(on, str) else list(on or (n for n in installed() if n in DEFAULTS)))
    if seeds < 2 or sizes < 1:  # one draw cannot show what an output depends on
        raise ArgumentError(f"seeds must be 2 or more and sizes 1 or more, not {seeds} and {sizes}")
    with contextlib.ExitStack() as stack:
        a = stack.enter_context(model_file(original))
        try:
            b = stack.enter_context(model_file(candidate))
        except ModelError as e:
            return Verification("failed", problems=(f"the candidate: {short(e)}",))
        if problems := comparing.interface_differences(a.proto, b.proto):
            return Verification("interface differs", problems=tuple(problems))
        alike, floor = partial(compare, tolerance=rtol), comparing.tolerance_for(a.proto)
        trials = Trials(a, b, seeds, sizes, seconds, list(comparing.given(inputs, a.proto)), alike, floor)
        trials.run_original(names)
        if rtol is None:
            trials.measure_noise()
        rows = tuple(itertools.chain.from_iterable(trials.run_candidate(name) for name in names))
    return Verification(_verdict(rows), rows, (), tuple(trials.notes))


def _verdict(rows: Sequence[Row]) -> Verdict:
    order: tuple[Verdict, ...] = ("different", "failed", "equal")
    return next((v for v in order if any(row.status == v for row in rows)), "inconclusive")


def _number(x: float) -> str:
    return "" if math.isnan(x) else f"{x:.1e}" if x else "0"
