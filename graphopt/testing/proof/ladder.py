"""`prove`: the proof ladder for one rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from onnx import printer

from graphopt._display import html_of
from graphopt.rewrite import Rule
from graphopt.testing.proof.alarm import alarm
from graphopt.testing.proof.rungs import NO_ANSWER, RUNGS, Counterexample, Proved, refute
from graphopt.testing.proof.sides import Sides, sides_of
from graphopt.testing.proof.specimens import Specimen, chosen, specimens

#: From the lowest to the highest.
ORDER = ("refuted", "no instance", "tested", "smt", "finite field", "normal form", "structural")
#: How a rung shows that two sides are equal.
_BY = {
    "structural": "they give the same formulas",
    "normal form": "they give the same quotients of polynomials in functions",
    "finite field": "they agree at random points of a finite field",
    "smt": "Z3 finds no inputs that tell them apart",
}


@dataclass(frozen=True)
class Proof:
    """What is known of a rule beyond its tests.

    Attributes:
        rule: its name.
        rung: "structural", "normal form", "finite field" or "smt", the lowest of those by which the specimens were proved, each
            by the first one that could; "tested" where some were not; "no instance" where the rule never fired; "refuted" where
            it is wrong.
        specimens: what was looked at: variant, dtypes and shapes of the inputs, and the rung that it reached.
        variants: how many of the rule's variants are among them, and how many there are.
        tolerance: relative, of constants that the rule computes; 0: they were exact.
        remarks: what else limits the claim.
        counterexample: for a rule that is refuted: a point, what both sides give there, and the model.
    """

    rule: str
    rung: str
    specimens: tuple[str, ...] = ()
    variants: tuple[int, int] = (0, 1)
    tolerance: float = 0.0
    remarks: tuple[str, ...] = ()
    counterexample: str = ""

    @property
    def proved(self) -> bool:
        """Whether the rung is one above "tested"."""
        return self.rung in _BY

    @property
    def note(self) -> str:
        """What the claim is about, in short."""
        parts = [f"{len(self.specimens)} model{'s' * (len(self.specimens) != 1)}"]
        reached = Counter(line.rpartition(": ")[2] for line in self.specimens)
        if len(reached) > 1:
            parts.append(", ".join(f"{n} {rung}" for rung, n in reached.most_common()))
        if self.variants[0] < self.variants[1]:
            parts.append(f"{self.variants[0]} of {self.variants[1]} variants")
        if self.tolerance:
            parts.append(f"folded constants to {self.tolerance:g}")
        return "; ".join([*parts, *self.remarks])

    @property
    def claim(self) -> str:
        """What is claimed, in a sentence."""
        if not self.proved:
            return {
                "refuted": "It is wrong.",
                "no instance": "It fired on no model that was drawn for it.",
            }.get(self.rung, "It is tested; not all models that were drawn for it could be proved.")
        return (
            f"On {len(self.specimens)} small models of fixed sizes, with constants and attributes as drawn, both sides are equal "
            f"over the real numbers wherever both are defined: {_BY[self.rung]} ({self.note})."
        )

    def __str__(self) -> str:
        return "\n".join(
            [f"{self.rule}: {self.rung}. {self.claim}", *([self.counterexample] if self.counterexample else [])]
        )

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


@dataclass
class _Findings:
    rungs: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    tolerance: float = 0.0
    remarks: dict[str, None] = field(default_factory=dict)
    refuted: str = ""

    def note(self, specimen: Specimen, rung: str) -> None:
        """A specimen and the rung that it reached."""
        self.rungs.append(rung)
        self.lines.append(f"variant {specimen.variant}: {specimen.shapes}: {rung}")

    def refute(self, specimen: Specimen, answer: Counterexample) -> None:
        """A specimen that shows that the rule is wrong."""
        self.note(specimen, "refuted")
        self.refuted = f"{answer}\n{printer.to_text(specimen.model)}"


def prove(rule: Rule, each: int | None = None) -> Proof:
    """The rung of the proof ladder that a rule reaches.

    What is claimed is small: on models of fixed sizes in which the rule fires, `each` for every variant of it, both sides are
    equal over the real numbers, not in floats, wherever both are defined; for all values of the inputs, with constants and
    attributes as they were drawn. A counterexample is looked for on many more.

    Args:
        each: None: four for a rule of one variant, two for one of many.
    """
    drawn = specimens(rule)
    variants = sum(map(bool, drawn)), len(drawn)
    count = each or max(4 - len(drawn) // 2, 2)
    found = _Findings()
    for mine in drawn:
        ready = [(s, sides_of(s)) for s in mine]
        for specimen, sides in ready:
            answer = None if sides is None else refute(sides)
            if answer is not None:
                found.refute(specimen, answer)
                return _proof(rule, found, variants)
        best = chosen(mine, count)
        for specimen, sides in ready:
            if any(specimen is s for s in best):
                _climb(specimen, sides, found)
                if found.refuted:
                    return _proof(rule, found, variants)
    return _proof(rule, found, variants)


def _proof(rule: Rule, found: _Findings, variants: tuple[int, int]) -> Proof:
    rung = min(found.rungs, key=ORDER.index, default="no instance")
    remarks = tuple(sorted(found.remarks))
    return Proof(rule.name, rung, tuple(found.lines), variants, found.tolerance, remarks, found.refuted)


def catalogue(rules: Iterable[Rule]) -> dict[str, Proof]:
    """The proofs of rules by name."""
    return {r.name: prove(r) for r in rules}


def _climb(specimen: Specimen, sides: Sides | None, found: _Findings) -> None:
    """Prove a specimen by the first rung that does."""
    if sides is None:
        found.remarks["an operator has no kernel"] = None
        found.note(specimen, "tested")
        return
    rung, answer = _proved(sides, found)
    if answer is not None:
        found.refute(specimen, answer)
    else:
        found.note(specimen, rung)


def _proved(sides: Sides, found: _Findings) -> tuple[str, Counterexample | None]:
    for name, rung, seconds in RUNGS:
        try:
            with alarm(2 * seconds):
                answer = rung(sides, seconds)
        except NO_ANSWER:
            continue
        if isinstance(answer, Counterexample):
            return "refuted", answer
        if isinstance(answer, Proved):
            found.tolerance = max(found.tolerance, answer.tolerance)
            remarks = [answer.remark, "integers as drawn" if sides.fixed else ""]
            remarks.append("integers without overflow" if "whole" in sides.kinds.values() else "")
            found.remarks.update(dict.fromkeys(filter(None, remarks)))
            return name, None
    return "tested", None
