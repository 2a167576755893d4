"""The search: candidates beside the analytic choice, fewer and fewer of them, then what helped together, then a final.

The final is measured anew, so that a candidate does not win by the luck that brought it there, and the untouched model
takes part in it.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping, Sequence

from graphopt.errors import ArgumentError, GraphoptError
from graphopt.ir import Model
from graphopt.tuning.bench import Bench
from graphopt.tuning.choice import UNTOUCHED, Choice, alternatives, finer, together
from graphopt.tuning.race import Clock
from graphopt.tuning.ratio import Ratio, paired, ratio_of
from graphopt.tuning.result import Measured, Tuning
from graphopt.tuning.stand import Feeds, Stand, sizes_of

#: The share of the time that is kept for the final, and of that for finding inputs.
_FINAL, _INPUTS = 0.35, 0.2
#: How often candidates are opened in the first rung, and in all.
_FIRST, _LIMIT = 3, 40
#: The final may end early after a multiple of so many openings (who looks after each one finds what he hopes for), and ends
#: after so many.
_STRETCH, _MOST_FINAL = 12, 60
#: How sure it must be that a candidate is faster than the analytic choice: several are compared with it.
_SURE = 0.99
#: Differences that are not looked for: half of a per cent is what a run can be told from another.
_EQUAL = 0.005

Build = Callable[[Choice], Model]


def search(
    build: Build, base: Choice, stand: Stand, seconds: float, given: Feeds | None, clock: Clock, began: float
) -> tuple[Model, Tuning]:
    """The fastest model that was found, and what was learnt.

    Args:
        build: optimises the model by a choice; `UNTOUCHED` gives it as it is.
        base: the analytic choice.
        stand: where to measure.
        seconds: when to be done.
        given: inputs; None: the stand finds some.
        clock: seconds, from any start.
        began: when the time began to count.
    """
    return _Search(build, base, stand, seconds, clock, began).run(given)


class _Search:
    def __init__(self, build: Build, base: Choice, stand: Stand, seconds: float, clock: Clock, began: float) -> None:
        self.build, self.base, self.stand, self.clock = build, base, stand, clock
        self.began = began
        self.seconds = seconds
        self.end = self.began + seconds
        self.notes: list[str] = []
        self.left_out = 0
        self.building = 0.0  # seconds that the last one took to build

    def run(self, given: Feeds | None) -> tuple[Model, Tuning]:
        untouched = self.build(UNTOUCHED)
        try:
            session = self.stand.open(untouched)
        except Exception as e:
            raise ArgumentError(f"tune: {self.stand.runtime} does not take the model as it is: {_short(e)}") from e
        feeds = self.stand.find_inputs(untouched, session, _INPUTS * self.seconds) if given is None else given
        try:
            session(feeds)
        except Exception as e:
            raise ArgumentError(f"tune_inputs: the model does not take them: {_short(e)}") from e
        del session
        bench = Bench(self.stand, feeds, self.clock, UNTOUCHED, untouched)
        bench.works(UNTOUCHED)
        analytic = self._built(bench, self.base)
        if analytic is None or not bench.works(analytic):
            self.notes.append(f"{self.base}: {bench.refused.get(self.base, 'could not be built')}")
            analytic = UNTOUCHED
        bench.reference = analytic
        gc.collect()  # once: it stays off while runs are timed
        finalists = self._explore(bench)
        chosen, to_input, to_analytic, per_run = self._final(bench, finalists)
        measured = [Measured(c, r) for c in bench.ratios if (r := ratio_of(bench.ratios[c])) is not None]
        if self.left_out:
            self.notes.append(f"{self.left_out} candidates were not looked at for want of time")
        self.notes += [f"left out: {c}: {why}" for c, why in bench.refused.items() if c != self.base]
        result = Tuning(
            chosen, self.base, to_input, to_analytic, per_run, sorted(measured, key=lambda m: m.ratio.median),
            self.stand.runtime, self.stand.processor, self.stand.threads, sizes_of(feeds), self.clock() - self.began,
            notes=self.notes,
        )  # fmt: skip
        return bench.models[chosen], result

    # -------------------------------------------------------------------------------------------------- exploring
    def _explore(self, bench: Bench) -> list[Choice]:
        """Up to two candidates that seem to be faster than the analytic choice, the fastest first."""
        until = self.end - _FINAL * self.seconds
        if self.base not in bench.models or bench.models[self.base].report is None:
            return []
        report = bench.models[self.base].report
        assert report is not None
        other_opset = bench.models[self.base].opsets.get("") != bench.models[UNTOUCHED].opsets.get("")
        first = self._try(bench, alternatives(self.base, report, other_opset), until)
        mattering = sorted(first, key=lambda c: -abs(statistics.median(bench.ratios[c]) - 1))
        families = [name for c in mattering for name in c.without - self.base.without]
        self._try(bench, [c for family in families for c in finer(self.base, report, family)], until)
        helpful = self._helpful(bench)
        if len(helpful) > 1:
            unions = [together(self.base, helpful[:n]) for n in (len(helpful), 2)]
            self._try(bench, unions, until)
        return self._helpful(bench, any_kind=True)[:2]

    def _helpful(self, bench: Bench, any_kind: bool = False) -> list[Choice]:
        """Candidates that were faster so far, the fastest first; only those that can go together, unless `any_kind`."""
        found = [(_expected(r), c) for c in bench.ratios if (r := ratio_of(bench.ratios[c])) is not None]
        found = [(m, c) for m, c in found if m < 1 - _EQUAL / 2 and c != UNTOUCHED]
        return [c for _, c in sorted(found, key=lambda t: t[0]) if any_kind or c.level == self.base.level]

    def _try(self, bench: Bench, candidates: Sequence[Choice], until: float) -> list[Choice]:
        """Build and measure candidates, as many together as can be built in half of the time; those that were measured."""
        todo = [c for c in dict.fromkeys(candidates) if c not in bench.models]
        measured: list[Choice] = []
        while todo and self.clock() + self.building < until:
            half = self.clock() + (until - self.clock()) / 2
            live: list[Choice] = []
            while todo and (not live or self.clock() + self.building < half):
                c = todo.pop(0)
                if self._built(bench, c) is c and c not in bench.refused:
                    live.append(c)
            if live:
                share = len(live) / (len(live) + len(todo))
                self._halve(bench, live, self.clock() + (until - self.clock()) * share)
                measured += [c for c in live if bench.ratios.get(c)]
        if todo:
            self.left_out += len(todo)
        return measured

    def _halve(self, bench: Bench, live: list[Choice], until: float) -> None:
        """Successive halving: twice as many openings each time, and half of those go of which more would be worth knowing."""
        openings = _FIRST
        while live and self.clock() < until:
            before = {c: len(bench.ratios.get(c, ())) for c in live}
            bench.measure(live, openings, until)
            live = [c for c in live if c not in bench.refused]
            if all(len(bench.ratios.get(c, ())) == before[c] for c in live):
                break  # no time for a round
            now = {c: ratio_of(bench.ratios.get(c, ())) for c in live}
            open_ = {c: r for c, r in now.items() if r is not None and not r.settled(_EQUAL) and r.rounds < _LIMIT}
            live = sorted(open_, key=lambda c: open_[c].median)
            live = live[: max(2, (len(live) + 1) // 2)]
            openings *= 2

    def _built(self, bench: Bench, choice: Choice) -> Choice | None:
        """Build a candidate; the choice that had led to the same model, or itself. None where it cannot be built."""
        began = self.clock()
        try:
            model = self.build(choice)
        except GraphoptError as e:
            bench.refused[choice] = f"cannot be built: {_short(e)}"
            return None
        self.building = self.clock() - began
        return bench.add(choice, model)

    # ------------------------------------------------------------------------------------------------------ final
    def _final(self, bench: Bench, finalists: list[Choice]) -> tuple[Choice, Ratio | None, Ratio | None, float]:
        """What is chosen, its ratios to the untouched model and to the analytic choice, and the seconds of a run."""
        analytic = bench.reference
        if analytic == UNTOUCHED and not finalists:
            return UNTOUCHED, None, None, 0.0
        names = list(dict.fromkeys([UNTOUCHED, analytic, *(c for c in finalists if c not in bench.refused)]))

        def decided(times: Mapping[Choice, Sequence[float]]) -> bool:
            if len(times[UNTOUCHED]) % _STRETCH:
                return False
            pairs = [(c, analytic) for c in names if c not in (UNTOUCHED, analytic)]
            pairs.append((self._best(times, analytic), UNTOUCHED))
            found = (ratio_of(paired(times[a], times[b])) for a, b in pairs if a != b)
            return all(r is not None and r.settled(_EQUAL) for r in found)

        times = bench.race(names, _MOST_FINAL, self.end, decided)
        best = self._best(times, analytic)
        to_input = ratio_of(paired(times[best], times[UNTOUCHED])) if best != UNTOUCHED else None
        if not times[UNTOUCHED]:
            self.notes.append("no time was left to compare with the untouched model: the analytic choice was taken")
            return analytic, None, None, 0.0
        if to_input is not None and (to_input.slower or to_input.median > 1 + _EQUAL):
            self.notes.append(
                f"{best} took {to_input.median:.3f} of the untouched model's time, which is returned instead"
            )
            best = UNTOUCHED
            to_input = None
        to_analytic = None if best == analytic else ratio_of(paired(times[best], times[analytic]))
        return best, to_input, to_analytic, statistics.median(times[best])

    @staticmethod
    def _best(times: Mapping[Choice, Sequence[float]], analytic: Choice) -> Choice:
        """The fastest of those that are faster than the analytic choice beyond doubt; else the analytic choice."""
        others = [(c, t) for c, t in times.items() if c not in (UNTOUCHED, analytic)]
        found = [(ratio_of(paired(t, times[analytic]), _SURE), c) for c, t in others]
        faster = [(r.median, c) for r, c in found if r is not None and r.faster and r.median < 1 - _EQUAL]
        return min(faster, key=lambda pair: pair[0])[1] if faster else analytic


def _expected(r: Ratio) -> float:
    """The median, nearer to 1 the fewer rounds there were."""
    return 1 + (r.median - 1) * r.rounds / (r.rounds + _FIRST)


def _short(e: Exception) -> str:
    text = " ".join(str(e).split()) or type(e).__name__
    return text if len(text) <= 200 else text[:197] + "..."
