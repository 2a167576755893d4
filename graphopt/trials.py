"""Running two models on the same inputs, executor by executor: what `graphopt.verify` judges."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from graphopt import compare as comparing
from graphopt import sampling
from graphopt.compare import Comparison, compare, layout, spread
from graphopt.errors import ArgumentError, GraphoptError, MissingDependencyError, UnsupportedError
from graphopt.exec.executors import Executor, Feeds, ModelFile
from graphopt.sampling import Plan

Status = Literal[
    "equal", "different", "failed", "constant output: proves nothing", "too small to tell", "not deterministic"
]

#: Executors that lie further apart than this on the original are no measure of rounding: one of them is wrong.
_MOST_NOISE = 0.05


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
        noise: the largest difference between executors on the original, as far as the tolerance allows for it.
    """

    executor: str
    seed: int | None
    sizes: Mapping[str, int]
    output: str
    status: Status
    difference: float = math.nan
    absolute: float = math.nan
    tolerance: float = math.nan
    noise: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class _Case:
    """A run of the original."""

    seed: int | None
    sizes: Mapping[str, int]
    feeds: Mapping[str, Any]
    outputs: Mapping[str, Any]
    detail: str = ""


@dataclass(frozen=True)
class _Original:
    """The original on one executor: its runs, the outputs that differ from run to run, how far each output moves."""

    cases: list[_Case]
    unstable: dict[str, bool]
    moves: dict[str, float]


@dataclass
class Trials:
    """What `verify` was asked for: the original on every executor, then the candidate; notes what could not be done."""

    original: ModelFile
    candidate: ModelFile
    seeds: int
    sizes: int
    seconds: float
    given: list[Feeds]
    compare: Callable[..., Comparison]
    floor: float
    plans: list[Plan] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    originals: dict[str, _Original] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inputs, self.optional = sampling.inputs_of(self.original.proto)
        self.random = comparing.draws_numbers(self.original.proto)
        if any(node.op_type == "If" for node in comparing.nodes_of(self.original.proto)):
            self.notes.append("the model branches: what no input led to was not compared")

    def run_original(self, names: Sequence[str]) -> None:
        """Run the original on each executor; those that do not run it are left out, with a note.

        Raises:
            ArgumentError, MissingDependencyError: an executor's device is not there, or its package.
        """
        for name in names:
            session: Executor | None = None
            try:
                session = self.original.on(name)
                cases = [self._case(session, feeds) for feeds in self.given] or self._random_cases(name, session)
            except Exception as e:
                if session is None and isinstance(e, (ArgumentError, MissingDependencyError)):
                    raise  # not for the model's sake
                self.notes.append(f"not comparable: {name}: the original does not run: {short(e)}")
                continue
            self.originals[name] = _Original(cases, self._unstable(session, cases), self._moves(name, session, cases))

    def measure_noise(self) -> None:
        """How far executors lie apart on the original, output by output: by so much the candidate may differ as well."""
        seen: dict[Any, list[tuple[str, _Case]]] = {}
        between: dict[str, str] = {}
        for name, original in self.originals.items():
            for case in original.cases:
                key = (id(case.feeds),) if case.seed is None else (case.seed, *case.sizes.items(), case.detail)
                runs = seen.setdefault(key, [])
                twin = next((run for run in runs if _same_feeds(run[1].feeds, case.feeds)), None)
                if twin is None:
                    runs.append((name, case))
                    continue
                unstable = original.unstable.keys() | self.originals[twin[0]].unstable.keys()
                for output, value in case.outputs.items():
                    if output in unstable or output not in twin[1].outputs:
                        continue
                    difference = self.compare(twin[1].outputs[output], value, at_least=self.floor).difference
                    if difference > self.noise.get(output, 0.0):
                        self.noise[output], between[output] = difference, f"{twin[0]} and {name}"
        for output, noise in self.noise.items():
            if noise > _MOST_NOISE:
                self.notes.append(
                    f"{between[output]} disagree on {output!r} of the original by {noise:.1e}: too much to allow for"
                )
                self.noise[output] = 0.0

    def run_candidate(self, name: str) -> list[Row]:
        """The rows of one executor; none where the models could not be compared on it."""
        original = self.originals.get(name)
        if original is None:
            return []
        try:
            session = self.candidate.on(name)
        except UnsupportedError as e:
            self.notes.append(f"not comparable: {name}: {e}")
            return []
        except Exception as e:
            return [Row(name, None, {}, "", "failed", detail=f"does not load: {short(e)}")]
        rows = []
        for case in original.cases:
            try:
                got = session.run(case.feeds)
                rows += [self._row(name, case, out, got[out], original.unstable.get(out)) for out in case.outputs]
            except UnsupportedError as e:
                self.notes.append(f"not comparable: {name}: {e}")
                return []
            except Exception as e:
                rows.append(Row(name, case.seed, case.sizes, "", "failed", detail=short(e)))
        moves = original.moves
        weighed = (_weighed([r for r in rows if r.output == output], moves[output]) for output in moves)
        return [*(row for row in rows if not row.output), *itertools.chain.from_iterable(weighed)]

    def _row(self, name: str, case: _Case, output: str, got: Any, unstable: bool | None) -> Row:
        want = case.outputs[output]
        noise = self.noise.get(output, 0.0)
        c = self.compare(want, got, at_least=max(self.floor, noise))
        status: Status = "equal"
        if unstable is not None:
            wrong = f"{layout(got)} for {layout(want)}" if unstable and layout(got) != layout(want) else ""
            status = "different" if wrong else "not deterministic"
            c = replace(c, difference=math.nan, detail=wrong)
        elif not c.equal:
            status = "different"
        allowed = noise if c.tolerance else 0.0  # numbers that are no floats must be the same all the same
        detail = "; ".join(filter(None, (c.detail, case.detail)))
        return Row(name, case.seed, case.sizes, output, status, c.difference, c.absolute, c.tolerance, allowed, detail)

    def _unstable(self, session: Executor, cases: Sequence[_Case]) -> dict[str, bool]:
        """Outputs that differ between two runs on the same inputs, and whether at least dtype and shape agree.

        Without random operators one repetition will do.
        """
        found: dict[str, bool] = {}
        for case in cases if self.random else cases[:1]:
            again = session.run(case.feeds)
            for output, value in case.outputs.items():
                if not self.compare(value, again[output], at_least=self.floor).equal:
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
                return short(e)
            return ""

        found = sampling.search(self.inputs, refuses, self.sizes, first=self.plans, seconds=self.seconds / 2)
        if not found.plans:
            raise GraphoptError(f"it refuses all inputs that were tried, the first because: {found.refusal}")
        if not self.plans:
            found = replace(found, plans=sampling.lively(found, session.run))
        self.inputs, self.plans = found.inputs, found.plans
        cases = self._run(name, session)
        return cases + self._fed(name, session, cases[0].feeds)

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

    def _fed(self, name: str, session: Executor, feeds: Feeds) -> list[_Case]:
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
            self.notes.append(
                f"{name}: optional inputs were left out only: the original takes no other values for them"
            )
        return cases


def _same_feeds(a: Feeds, b: Feeds) -> bool:
    """Whether two executors got the same; of some seeds each takes the first inputs that it does not refuse."""
    return a is b or (a.keys() == b.keys() and all(compare(a[name], b[name], 0.0).equal for name in a))


def _weighed(rows: list[Row], moves: float) -> list[Row]:
    """All rows of one output; equality counts only if the largest difference is small against the output's moves."""
    worst = max((row.absolute for row in rows if row.status == "equal"), default=0.0)
    if worst <= moves / 10 and moves:
        return rows
    status: Status = "too small to tell" if moves else "constant output: proves nothing"
    detail = f"the output moves by {moves:.1e} only" if moves else ""
    return [replace(r, status=status, detail=r.detail or detail) if r.status == "equal" else r for r in rows]


def short(e: Exception) -> str:
    text = " ".join(str(e).split()) or type(e).__name__
    return text if len(text) <= 240 else text[:237] + "..."
