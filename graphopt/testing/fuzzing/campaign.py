"""Fuzzing: one random model for each seed; what is found is shrunk, grouped and written down."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onnx import printer

from graphopt.testing.fuzzing.corpus import Corpus, Group, Run, tally
from graphopt.testing.fuzzing.examining import Examiner, Finding, Optimizer, Outcome, RemoteExaminer
from graphopt.testing.fuzzing.reducing import reduced
from graphopt.testing.random_models.graphs import Example, models
from graphopt.testing.seeds import Seeded

#: So many of a group are shrunk, in case that they are not the same mistake after all.
_PER_GROUP = 3
#: After so many a call has half the time for each of the next, then a third...
_MANY = 8
_SAVE_EVERY = 10.0

Examine = Callable[[Example], Outcome]
Watch = Callable[[Run], None]


@dataclass
class Campaign:
    """What a call of `fuzz` did.

    Attributes:
        run: everything from the first seed on, earlier calls included.
        seeds: those of this call.
        found: groups that this call met, by name.
    """

    run: Run
    seeds: range = range(0)
    found: dict[str, Group] = field(default_factory=dict)


def fuzz(
    optimizer: str | Optimizer = "",
    level: int = 2,
    on: Sequence[str] = ("reference", "onnxruntime"),
    *,
    seed: int = 0,
    seeds: int | None = None,
    minutes: float | None = None,
    corpus: Path | None = None,
    nodes: int = 12,
    options: Mapping[str, Any] = MappingProxyType({}),
    shrink_seconds: float = 30.0,
    watch: Watch | None = None,
) -> Campaign:
    """Let an optimizer loose on random models, and see what it gets wrong.

    Args:
        optimizer: "" for graphopt, or "module:function", either of which runs in a process of its own, so that it, or an
            executor, may hang or die; or a function from ModelProto to ModelProto.
        level: of graphopt. At level 1 all bits must agree on the reference, otherwise outputs up to rounding.
        on: executors.
        seed: the first seed; each gives one model, the same one every time.
        seeds: stop when so many seeds are done, those of earlier calls with this corpus among them.
        minutes: stop after that.
        corpus: a folder for what is found; a second call with it goes on where the first stopped.
        nodes: about how many a model has at most.
        options: further arguments of `graphopt.optimize`: opset, target.
        shrink_seconds: for each finding.
        watch: told after each seed how far it is.
    """
    name = optimizer if isinstance(optimizer, str) else getattr(optimizer, "__name__", "optimizer")
    kept = Corpus(corpus) if corpus is not None else None
    at = "".join(f", {name} {value}" for name, value in options.items())
    key = f"{name or 'graphopt'} at level {level}{at} on {', '.join(on)}, {nodes} nodes"
    run = kept.run(key, seed) if kept is not None else Run(seed)
    remote = isinstance(optimizer, str)
    examiner: Any = RemoteExaminer if remote else Examiner
    examine = examiner(optimizer, level, on, options)
    command = [*(["--optimizer", name] if name else []), "--level", str(level), "--on", ",".join(on)]
    command += [word for option, value in options.items() for word in (f"--{option}", str(value))]
    loop = _Loop(examine, run, kept, command, name or "graphopt", nodes, shrink_seconds)
    first, started, saved = run.seed + run.done, time.monotonic(), time.monotonic()
    try:
        while (seeds is None or run.done < seeds) and (minutes is None or time.monotonic() - started < 60 * minutes):
            before = time.monotonic()
            loop.one(run.seed + run.done)
            run.done += 1
            run.seconds += time.monotonic() - before
            if watch is not None:
                watch(run)
            if kept is not None and time.monotonic() - saved > _SAVE_EVERY:
                kept.save()
                saved = time.monotonic()
    finally:
        if remote:
            examine.close()
        if kept is not None:
            kept.save()
    return Campaign(run, range(first, run.seed + run.done), loop.found)


class _Found(Exception):
    """What Hypothesis shrinks."""


class _Enough(BaseException):
    """The time for shrinking is over."""


@dataclass
class _Loop:
    """The state of a campaign."""

    examine: Examine
    run: Run
    corpus: Corpus | None
    options: list[str]
    name: str
    nodes: int
    shrink_seconds: float
    found: dict[str, Group] = field(default_factory=dict)
    shrinks: int = 0

    def one(self, seed: int) -> None:
        """Try one seed."""
        run = self.run
        example = drawn(seed, self.nodes)
        if example is None:
            run.invalid += 1
            return
        outcome = self.examine(example)
        for counts, more in ((run.compared, outcome.compared), (run.left_out, outcome.left_out)):
            for name, n in more.items():
                counts[name] = counts.get(name, 0) + n
        if outcome.finding is None:
            run.silent += not outcome.compared
            return
        self._note(seed, example, outcome.finding)

    def _note(self, seed: int, example: Example, finding: Finding) -> None:
        run = self.run
        run.findings[finding.kind] = run.findings.get(finding.kind, 0) + 1
        known = self._known(finding)
        if known is None:
            self.shrinks += 1
            example, finding = self._shrunk(seed, example, finding)
            known = _group_name(finding)
            if known not in run.groups:
                file = self._written(seed, example, finding)
                run.groups[known] = Group(finding.kind, list(finding.features), file, finding.detail, 0, 0)
            run.groups[known].shrunk += 1
        run.groups[known].count += 1
        self.found[known] = run.groups[known]

    def _known(self, finding: Finding) -> str | None:
        """The group that a finding is counted for without another look."""
        text = _text(finding.detail, finding.kind)
        for name, g in self.run.groups.items():
            same = g.kind == finding.kind and _text(g.detail, g.kind) == text and g.shrunk >= _PER_GROUP
            if same and (g.kind != "values" or set(g.features) <= set(finding.features)):
                return name
        return None

    def _shrunk(self, seed: int, example: Example, finding: Finding) -> tuple[Example, Finding]:
        """The smallest model that Hypothesis finds in which the same goes wrong."""
        best = [(_size(example), example, finding)]
        until = time.monotonic() + self.shrink_seconds / (1 + self.shrinks // _MANY)

        def still(smaller: Example) -> bool:
            """Whether the same goes wrong."""
            if time.monotonic() > until:
                raise _Enough
            now = self.examine(smaller).finding
            if (
                now is None
                or now.kind != finding.kind
                or _text(now.detail, now.kind) != _text(finding.detail, now.kind)
            ):
                return False
            if _size(smaller) < best[0][0]:
                best[0] = (_size(smaller), smaller, now)
            return True

        def test(smaller: Example) -> None:
            if still(smaller):
                raise _Found

        with contextlib.suppress(_Found, _Enough):
            _seeded(self.nodes).shrink(seed, test, _Found)
        until += self.shrink_seconds / 4
        with contextlib.suppress(_Enough):
            reduced(best[0][1], still)
        return best[0][1:]

    def _written(self, seed: int, example: Example, finding: Finding) -> str:
        if self.corpus is None:
            return ""
        by = f" (rules: {', '.join(finding.features)})" if self.name == "graphopt" else ""
        story = f"{self.name}, seed {seed}: {finding.kind}{by}\n{finding.detail}\n\n{printer.to_text(example.model)}"
        return self.corpus.add(f"{self.name.rpartition(':')[2]}-{finding.kind}-{seed}", example, story, self.options)


def drawn(seed: int, nodes: int = 12) -> Example | None:
    """The model of a seed; None where there is none."""
    return _seeded(nodes)(seed)


@cache
def _seeded(nodes: int) -> Seeded[Example]:
    return Seeded(models(nodes))


def _size(example: Example) -> tuple[int, int, int]:
    feeds = sum(getattr(a, "size", 1) for a in example.feeds.values())
    return tally(example.model), example.model.ByteSize(), feeds


def _text(detail: str, kind: str) -> str:
    """What findings of one mistake have in common: the message without names and numbers; nothing where values differ."""
    if kind == "values":
        return ""
    told = re.sub(r"'[^']*'|\"[^\"]*\"|\(.*?\)|\[.*?\]|[\w.]*\d[\w.]*", "_", detail)
    return re.sub(r"_(?:[, ]*_)+", "_", told)[:90]


def _group_name(finding: Finding) -> str:
    parts = [
        finding.kind,
        _text(finding.detail, finding.kind),
        ", ".join(finding.features) if finding.kind == "values" else "",
    ]
    return ": ".join(filter(None, parts))
