"""The candidates of a search: opened as sessions when they take part, few at a time where models are big."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from graphopt.compare import compare, draws_numbers
from graphopt.ir import Model
from graphopt.report import Summary
from graphopt.tuning.choice import Choice
from graphopt.tuning.identity import structure_of
from graphopt.tuning.race import Clock, reopened
from graphopt.tuning.ratio import paired
from graphopt.tuning.stand import Feeds, Stand

#: Bytes of weights in all sessions that are open together, and how many there are at most; two in any case.
_MEMORY, _MOST = 1 << 30, 16
#: What outputs may differ by from the untouched model's, relative to the largest.
_TOLERANCE = 1e-2


class Bench:
    """Models by choice; what is measured is kept as ratios to the reference.

    Attributes:
        reference: the choice that the others are compared with.
        ratios: of every candidate but the reference, one for each time that it was opened.
        refused: why candidates cannot take part.
    """

    def __init__(self, stand: Stand, feeds: Feeds, clock: Clock, untouched: Choice, model: Model) -> None:
        self.stand, self.feeds, self.clock = stand, feeds, clock
        self.untouched = self.reference = untouched
        self.models: dict[Choice, Model] = {untouched: model}
        self.ratios: dict[Choice, list[float]] = {}
        self.refused: dict[Choice, str] = {}
        self._known = {structure_of(model): untouched}
        self._seen: set[Choice] = set()
        self._expected: Mapping[str, Any] | None = None
        size = max(1, Summary.of(model).constant_bytes)
        self._together = max(1, min(_MOST, _MEMORY // size) - 1)  # beside the reference

    def add(self, choice: Choice, model: Model) -> Choice:
        """Let a model take part; the choice that led to the same model before, if one did."""
        twin = self._known.setdefault(structure_of(model), choice)
        if twin is choice:
            self.models[choice] = model
        return twin

    def works(self, choice: Choice) -> bool:
        """Whether the runtime takes the model, and it computes what the untouched one does."""
        if choice in self._seen:
            return choice not in self.refused
        self._seen.add(choice)
        try:
            outputs = self.stand.open(self.models[choice])(self.feeds)
        except Exception as e:
            self.refused[choice] = f"the runtime refuses it: {' '.join(str(e).split())[:160]}"
            return False
        if self._expected is None:
            random = draws_numbers(self.models[self.untouched].proto)
            self._expected = {} if random else dict(outputs)
        for name, want in self._expected.items():
            c = compare(want, outputs.get(name), at_least=_TOLERANCE)
            if not c.equal:
                self.refused[choice] = f"output '{name}' differs: {c.detail or f'by {c.difference:.1e}'}"
                return False
        return True

    def measure(self, choices: Sequence[Choice], openings: int, until: float) -> None:
        """Let candidates and the reference take turns, in heats where not all can be open together."""
        others = [c for c in choices if c != self.reference]
        heats = [others[i : i + self._together] for i in range(0, len(others), self._together)]
        for done, heat in enumerate(heats):
            share = self.clock() + (until - self.clock()) / (len(heats) - done)
            ready = [c for c in heat if self.works(c)]
            if ready:
                times = self.race([self.reference, *ready], openings, share)
                for c in ready:
                    self.ratios.setdefault(c, []).extend(paired(times[c], times[self.reference]))

    def race(
        self,
        choices: Sequence[Choice],
        openings: int,
        until: float,
        enough: Callable[[Mapping[Choice, Sequence[float]]], bool] = lambda times: False,
    ) -> dict[Choice, list[float]]:
        """Seconds of a run of each, one number for each time that all were opened anew."""
        openers = {c: partial(self._opened, c) for c in choices}
        return reopened(openers, self.clock, self.stand.timer, openings, until, enough)

    def _opened(self, choice: Choice) -> Callable[[], object]:
        session = self.stand.open(self.models[choice])
        return lambda: session(self.feeds)
