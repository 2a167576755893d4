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
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from graphopt import compare as comparing
from graphopt import sampling
from graphopt.compare import Comparison, compare, layout, spread
from graphopt.errors import ArgumentError, GraphoptError, MissingDependencyError, ModelError, UnsupportedError
from graphopt.exec.executors import DEFAULTS, Executor, Feeds, ModelFile, installed, known, model_file
from graphopt.sampling import Plan

if TYPE_CHECKING:
    from rich.console import RenderableType

Verdict = Literal["equal", "different", "interface differs", "failed", "inconclusive"]
Status = Literal[
    "equal", "different", "failed", "constant output: proves nothing", "too small to tell", "not deterministic"
]


class VerificationError(GraphoptError, AssertionError):
    """Two models were found not to be equal, or could not be shown to be; `result` has the whole story."""

    def __init__(self, result: Verification) -> None:
        super().__init__(str(result))
        self.result = result


@dataclass(frozen=True)
class Row:
    """One output of one run.

    Attributes:
        executor: who ran both models.
        seed: of the random inputs; None: inputs that were given.
        sizes: of the dynamic dims.
        output: its name; '' where the candidate failed altogether.
        status: see Status.
        difference, absolute, tolerance, detail: of the comparison, see `graphopt.compare.Comparison`.
    """

    executor: str
    seed: int | None
    sizes: Mapping[str, int]
    output: str
    status: Status
    difference: float = math.nan
    absolute: float = math.nan
    tolerance: float = math.nan
    detail: str = ""


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

    def to_json(self, **options: Any) -> str:
        """All of it as JSON text; infinite and missing differences are null. `options` go to json.dumps."""
        rows = json.loads(json.dumps([asdict(row) for row in self.rows]), parse_constant=lambda inf_or_nan: None)
        return json.dumps({**vars(self), "ok": self.ok, "rows": rows}, **options)

    def summary(self) -> list[tuple[str, ...]]:
        """A line for each executor, output and status: these, runs, worst difference, tolerance, detail; as text."""
        grouped: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            grouped.setdefault((row.executor, row.output or "(all)", row.status), []).append(row)
        lines: list[tuple[str, ...]] = []
        for key, rows in grouped.items():
            worst = max(rows, key=lambda r: -1.0 if math.isnan(r.difference) else r.difference)
            detail = next((r.detail for r in (worst, *rows) if r.detail), "")
            lines.append((*key, str(len(rows)), _number(worst.difference), _number(worst.tolerance), detail))
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

    The original runs first: what it does not take is no input. Its outputs tell which comparisons mean something: one
    that stays the same for other inputs proves nothing, one that differs between two runs on the same inputs is not
    deterministic and compared in dtype and shape alone. Inputs with an initializer as default are left out, then fed.

    Raises:
        ArgumentError: an unknown executor, input name, or kind of model; a file that is not there.
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
            return Verification("failed", problems=(f"the candidate: {_short(e)}",))
        if problems := comparing.interface_differences(a.proto, b.proto):
            return Verification("interface differs", problems=tuple(problems))
        alike = partial(compare, tolerance=rtol, at_least=comparing.tolerance_for(a.proto))
        trials = _Trials(a, b, seeds, sizes, seconds, list(comparing.given(inputs, a.proto)), alike)
        rows = tuple(itertools.chain.from_iterable(trials.on(name) for name in names))
    return Verification(_verdict(rows), rows, (), tuple(trials.notes))


def _verdict(rows: Sequence[Row]) -> Verdict:
    order: tuple[Verdict, ...] = ("different", "failed", "equal")
    return next((v for v in order if any(row.status == v for row in rows)), "inconclusive")


@dataclass(frozen=True)
class _Case:
    """A run of the original."""

    seed: int | None
    sizes: Mapping[str, int]
    feeds: Mapping[str, Any]
    outputs: Mapping[str, Any]
    detail: str = ""


@dataclass
class _Trials:
    """What `verify` was asked for; `on` does it on one executor after the other, and notes what could not be done."""

    original: ModelFile
    candidate: ModelFile
    seeds: int
    sizes: int
    seconds: float
    given: list[Feeds]
    compare: Callable[[Any, Any], Comparison]
    plans: list[Plan] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inputs, self.optional = sampling.inputs_of(self.original.proto)
        self.random = comparing.draws_numbers(self.original.proto)
        if any(node.op_type == "If" for node in comparing.nodes_of(self.original.proto)):
            self.notes.append("the model branches: what no input led to was not compared")

    def on(self, name: str) -> list[Row]:
        """The rows of one executor; none where the models could not be compared on it."""
        try:
            session = self.original.on(name)
            cases = [self._case(session, feeds) for feeds in self.given] or self._random_cases(name, session)
        except MissingDependencyError:
            raise
        except Exception as e:
            self.notes.append(f"not comparable: {name}: the original does not run: {_short(e)}")
            return []
        unstable = self._unstable(session, cases)
        moves = self._moves(name, session, cases)
        del session  # at no time are both models loaded
        try:
            session = self.candidate.on(name)
        except UnsupportedError as e:
            self.notes.append(f"not comparable: {name}: {e}")
            return []
        except Exception as e:
            return [Row(name, None, {}, "", "failed", detail=f"does not load: {_short(e)}")]
        rows = []
        for case in cases:
            try:
                got = session.run(case.feeds)
                rows += [self._row(name, case, output, got[output], unstable.get(output)) for output in case.outputs]
            except UnsupportedError as e:
                self.notes.append(f"not comparable: {name}: {e}")
                return []
            except Exception as e:
                rows.append(Row(name, case.seed, case.sizes, "", "failed", detail=_short(e)))
        weighed = (_weighed([r for r in rows if r.output == output], moves[output]) for output in moves)
        return [*(row for row in rows if not row.output), *itertools.chain.from_iterable(weighed)]

    def _row(self, name: str, case: _Case, output: str, got: Any, unstable: bool | None) -> Row:
        want = case.outputs[output]
        c = self.compare(want, got)
        status: Status = "equal"
        if unstable is not None:
            wrong = f"{layout(got)} for {layout(want)}" if unstable and layout(got) != layout(want) else ""
            status = "different" if wrong else "not deterministic"
            c = replace(c, difference=math.nan, detail=wrong)
        elif not c.equal:
            status = "different"
        detail = "; ".join(filter(None, (c.detail, case.detail)))
        return Row(name, case.seed, case.sizes, output, status, c.difference, c.absolute, c.tolerance, detail)

    def _unstable(self, session: Executor, cases: Sequence[_Case]) -> dict[str, bool]:
        """Outputs that differ between two runs on the same inputs, and whether at least dtype and shape agree.

        Without random operators one repetition will do.
        """
        found: dict[str, bool] = {}
        for case in cases if self.random else cases[:1]:
            again = session.run(case.feeds)
            for output, value in case.outputs.items():
                if not self.compare(value, again[output]).equal:
                    found[output] = found.get(output, True) and layout(value) == layout(again[output])
        return found

    def _moves(self, name: str, session: Executor, cases: Sequence[_Case]) -> dict[str, float]:
        """How much each output moves with the inputs; inf where there are none that could move it."""
        runs = [case.outputs for case in cases]
        if not self.inputs:
            return dict.fromkeys(runs[0], math.inf)
        if self.given:  # which may be too little to go by
            try:
                runs.append(session.run(sampling.resampled(self.given[0])))
            except Exception:
                if len(runs) == 1:
                    self.notes.append(f"{name}: one set of inputs, no telling whether the outputs depend on them")
                    return dict.fromkeys(runs[0], math.inf)
        seen = {output: [run[output] for run in runs] for output in runs[0]}
        for output in filter(lambda o: comparing.saturated(seen[o]), seen):
            self.notes.append(f"{name}: {output!r} takes two values only, a weak test; better inputs would help")
        return {output: spread(values) for output, values in seen.items()}

    def _case(self, session: Executor, feeds: Feeds, seed: int | None = None, detail: str = "") -> _Case:
        return _Case(seed, sampling.sizes_of(self.inputs, feeds), feeds, session.run(feeds), detail)

    def _random_cases(self, name: str, session: Executor) -> list[_Case]:
        def refuses(feeds: Feeds) -> str:
            try:
                session.run(feeds)
            except UnsupportedError:
                raise
            except Exception as e:
                return _short(e)
            return ""

        found = sampling.search(self.inputs, refuses, self.sizes, first=self.plans, seconds=self.seconds / 2)
        if not found.plans:
            raise GraphoptError(f"it refuses all inputs that were tried, the first because: {found.refusal}")
        if not self.plans:
            found = replace(found, plans=sampling.lively(found, session.run))
        self.inputs, self.plans = found.inputs, found.plans
        cases = self._run(name, session)
        return cases + self._fed(session, cases[0].feeds)

    def _run(self, name: str, session: Executor) -> list[_Case]:
        """Two seeds of each plan, then the other seeds, for as long as there is time; those refused are passed over."""
        cases: list[_Case] = []
        refused, until = 0, time.perf_counter() + self.seconds
        seeds = range(self.seeds if self.inputs else 1)
        todo = sorted(itertools.product(self.plans, seeds), key=lambda t: (t[1] // 2, self.plans.index(t[0])))
        for done, (plan, seed) in enumerate(todo):
            if len(cases) >= 2 and time.perf_counter() > until:
                self.notes.append(f"{name}: out of time after {done} of {len(todo)} runs")
                break
            before = len(cases)
            for feeds in sampling.draws(self.inputs, plan, seed):
                with contextlib.suppress(Exception):
                    cases.append(self._case(session, feeds, seed))
                    break
            refused += len(cases) == before
        if refused:
            self.notes.append(f"{name}: the original refuses {refused} of {len(todo)} inputs, left out")
        return cases

    def _fed(self, session: Executor, feeds: Feeds) -> list[_Case]:
        """With inputs fed that have a default: all together, or where the original refuses that one at a time."""
        cases = []
        for some in (self.optional, *([one] for one in self.optional[:16])) if self.optional else ():
            detail = f"fed {', '.join(one.name for one in some[:4])}{', ...' * (len(some) > 4)}"
            with contextlib.suppress(Exception):
                drawn = sampling.draw(some, self.plans[0], 1)
                cases.append(self._case(session, {**feeds, **drawn}, 1, detail))
                if some is self.optional:
                    break
        if self.optional and not cases:
            self.notes.append("optional inputs were left out only: the original takes no other values for them")
        return cases


def _weighed(rows: list[Row], moves: float) -> list[Row]:
    """All rows of one output; equality counts only if the largest difference is small against the output's moves."""
    worst = max((row.absolute for row in rows if row.status == "equal"), default=0.0)
    if worst <= moves / 10 and moves:
        return rows
    status: Status = "too small to tell" if moves else "constant output: proves nothing"
    detail = f"the output moves by {moves:.1e} only" if moves else ""
    return [replace(r, status=status, detail=r.detail or detail) if r.status == "equal" else r for r in rows]


def _short(e: Exception) -> str:
    text = " ".join(str(e).split()) or type(e).__name__
    return text if len(text) <= 240 else text[:237] + "..."


def _number(x: float) -> str:
    return "" if math.isnan(x) else f"{x:.1e}" if x else "0"
