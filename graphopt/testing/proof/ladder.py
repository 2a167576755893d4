"""`prove`: the proof ladder for one rule."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from onnx import printer

from graphopt.rewrite import Rule
from graphopt.testing.proof.rungs import NO_ANSWER, RUNGS, Counterexample, refute
from graphopt.testing.proof.sides import Sides, sides_of
from graphopt.testing.proof.specimens import Specimen, specimens

#: From the lowest rung to the highest.
ORDER = ("refuted", "no instance", "tested", "smt", "finite field", "normal form", "structural")


@dataclass(frozen=True)
class Proof:
    """What is known of a rule beyond its tests.

    Attributes:
        rule: its name.
        rung: "structural", "normal form", "finite field" or "smt", the first one by which every specimen was proved; "tested"
            where some were not; "no instance" where the rule never fired; "refuted" where it is wrong.
        specimens: what was looked at: variant, dtypes and shapes of the inputs, and the rung that it reached.
        variants: how many of the rule's variants are among them, and how many there are.
        note: what the claim is about, and what stands against it.
        counterexample: for a rule that is refuted: a model, a point, and what both sides give.
    """

    rule: str
    rung: str
    specimens: tuple[str, ...] = ()
    variants: tuple[int, int] = (0, 1)
    note: str = ""
    counterexample: str = ""

    @property
    def proved(self) -> bool:
        """Whether the rung is one above "tested"."""
        return ORDER.index(self.rung) > ORDER.index("tested")


@dataclass
class _Findings:
    rungs: list[str] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    refuted: str = ""


def prove(rule: Rule, each: int = 2) -> Proof:
    """The highest rung of the proof ladder that a rule reaches.

    What is claimed is small: on models of fixed sizes in which the rule fires, two for each variant of it, both sides are
    equal over the real numbers, not in floats, wherever both are defined; for all values of the inputs, with constants and
    attributes as they were drawn.

    Args:
        rule: which.
        each: specimens for each variant.
    """
    drawn = specimens(rule, each)
    count = len({s.variant for s in drawn}), len(rule.variants)
    if not drawn:
        return Proof(rule.name, "no instance", variants=count, note="the rule fired on none of the models drawn for it")
    found = _Findings()
    for specimen in drawn:
        _climb(specimen, found)
        if found.refuted:
            return Proof(rule.name, "refuted", tuple(found.lines), count, "", found.refuted)
    lowest = min(found.rungs, key=ORDER.index)
    return Proof(rule.name, lowest, tuple(found.lines), count, _note(found, count))


def _climb(specimen: Specimen, found: _Findings) -> None:
    """Refute a specimen, or prove it by the first rung that does."""
    sides = sides_of(specimen)
    rung = "tested"
    if sides is None:
        found.notes["an operator has no kernel"] = None
    else:
        wrong = refute(sides)
        if wrong is None:
            rung, wrong = _proved(sides, found)
        if wrong is not None:
            rung, found.refuted = "refuted", f"{wrong}\n{printer.to_text(specimen.model)}"
        elif sides.fixed and rung != "tested":
            found.notes["integers as drawn"] = None
        if "whole" in sides.kinds.values():
            found.notes["integers without overflow"] = None
    found.rungs.append(rung)
    found.lines.append(f"variant {specimen.variant}: {specimen.shapes}: {rung}")


def _proved(sides: Sides, found: _Findings) -> tuple[str, Counterexample | None]:
    for name, rung, seconds in RUNGS:
        try:
            answer = rung(sides, time.monotonic() + seconds)
        except NO_ANSWER:
            continue
        if isinstance(answer, Counterexample):
            return "refuted", answer
        if answer is not None:
            if answer:
                found.notes[answer] = None
            return name, None
    return "tested", None


def _note(found: _Findings, count: tuple[int, int]) -> str:
    parts = list(found.notes)
    rungs = Counter(found.rungs)
    if len(rungs) > 1:
        parts.insert(0, ", ".join(f"{n} {rung}" for rung, n in rungs.most_common()))
    if count[0] < count[1]:
        parts.append(f"{count[0]} of {count[1]} variants")
    return "; ".join(parts)
