"""`check_rule`: a rule is its own property test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, printer

from graphopt._display import html_of
from graphopt.errors import GraphoptError, RuleError
from graphopt.exec.executors import installed, known
from graphopt.ir import load
from graphopt.rewrite import Driver, Ledger, Rewriter, Rule, RuleSet
from graphopt.shapes import facts_of, infer_model
from graphopt.testing.declarations.instances import Instance, instances
from graphopt.testing.judging import Difference, Judge
from graphopt.testing.profiles import QUICK, Profile
from graphopt.testing.seeds import Seeded

#: Executors that a rule is checked on, where they are installed. JAX compiles every model, so it gets a share of them.
EXECUTORS = ("reference", "onnxruntime", "jax")
_SLOW = frozenset({"jax", "openvino"})


class RuleFailure(GraphoptError, AssertionError):
    """A rule does not do what it says.

    Attributes:
        rule: which.
        instance: the smallest model that was found in which it does something wrong, None where it hardly ever fires.
        rewritten: what it made of that model.
        differences: what is wrong.
        check: what had been done until then.
    """

    def __init__(
        self,
        rule: Rule,
        check: RuleCheck,
        differences: Sequence[Difference] = (),
        instance: Instance | None = None,
        rewritten: ModelProto | None = None,
        reason: str = "",
    ) -> None:
        self.rule = rule
        self.check = check
        self.differences = tuple(differences)
        self.instance = instance
        self.rewritten = rewritten
        super().__init__("\n".join(_story(self, reason)))


@dataclass
class RuleCheck:
    """What `check_rule` did.

    Attributes:
        rule: its name.
        drawn: models that were drawn, valid or not.
        invalid: how many were not, by reason.
        fired: how often the rule fired.
        refused: how often it did not, by its reason; "no match" where the pattern did not match.
        variants: the variants that fired, of how many.
        compared: outputs compared, by executor.
        left_out: comparisons that could not be made, by executor and reason.
    """

    rule: str
    drawn: int = 0
    invalid: Counter[str] = field(default_factory=Counter)
    fired: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    variants: set[int] = field(default_factory=set)
    of_variants: int = 1
    compared: Counter[str] = field(default_factory=Counter)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "rule": self.rule,
            "drawn": self.drawn,
            "invalid": dict(self.invalid),
            "fired": self.fired,
            "refused": dict(self.refused),
            "variants": {"fired": len(self.variants), "of": self.of_variants},
            "compared": dict(self.compared),
            "left_out": [{"executor": e, "reason": why, "count": n} for (e, why), n in self.left_out.most_common()],
        }

    def __str__(self) -> str:
        on = ", ".join(f"{name} {n}" for name, n in self.compared.items()) or "nothing"
        return (
            f"{self.rule}: fired on {self.fired} of {self.drawn} models ({self.invalid.total()} invalid), "
            f"{len(self.variants)} of {self.of_variants} variants; outputs compared: {on}"
        )

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def apply_rule(rule: Rule, model: ModelProto) -> tuple[ModelProto | None, Ledger]:
    """Run one rule alone over a model: what it makes of it, None where it does not fire; and the ledger.

    Raises:
        RuleError, RewriteLoopError: the rule is wrong.
    """
    loaded, ledger = load(model), Ledger()
    infer_model(loaded)
    conflicts = facts_of(loaded).conflicts
    before = len(conflicts)
    Driver(Rewriter(loaded, ledger), RuleSet([rule])).run()
    if ledger.warnings:  # a rule of the package that fails is left out, with a warning
        raise RuleError(ledger.warnings[0])
    if told := conflicts[before:]:  # it declines then, but where shapes are not known nobody notices
        raise RuleError(f"what it writes cannot be: {told[0]}")
    return loaded.proto if ledger.steps else None, ledger


def check_rule(
    rule: Rule, profile: Profile = QUICK, on: Sequence[str] | None = None, *, shrink: bool = True
) -> RuleCheck:
    """Test a rule from its own declaration.

    Models are drawn that hold the rule's left side: every variant of it, at opsets where its operators exist, with dtypes,
    ranks, sizes (1 and 0 among them), attributes, constants and operand orders that the declaration allows, and with other
    things around it. Where the rule fires, the rewritten model must be valid, have the same interface, and compute the same on
    every executor: the same bits where the rule claims that, otherwise up to what rounding can do.

    Args:
        rule: which.
        profile: how many models.
        on: names of executors; None: the reference, ONNX Runtime and JAX, as far as they are installed.
        shrink: look for the smallest model that shows a mistake.

    Returns:
        What was done.

    Raises:
        RuleFailure: the rule is wrong, with the smallest model found; or it fires too seldom to be called tested.
    """
    names = known(list(on)) if on is not None else [n for n in EXECUTORS if n in installed()]
    check = RuleCheck(rule.name, of_variants=len(rule.variants))
    fast, slow = ([n for n in names if (n in _SLOW) is late] for late in (False, True))
    judges = [Judge(some, rule.exact, compared=check.compared, left_out=check.left_out) for some in (fast, slow)]
    draw = variants_by_seed(rule)
    for seed in range(profile.seed, profile.seed + profile.attempts):
        lacking = [n for n in slow if _seen(check, n) < profile.slow]
        if check.fired >= profile.fired and not lacking:
            break
        used = judges if lacking else judges[:1]
        drawn = draw[seed % len(draw)]
        try:
            check_one(rule, drawn(seed), used, check)
        except Found as first:
            raise _smallest(rule, drawn, seed, used, check, first, shrink) from None
    if check.fired < profile.least:
        reason = f"it fired {check.fired} times on {check.drawn} models, {profile.least} are asked for"
        raise RuleFailure(rule, check, reason=reason)
    return check


def variants_by_seed(rule: Rule) -> list[Seeded[Instance | str]]:
    """For each variant of a rule its instances by number."""
    return [Seeded(instances(rule, variant=k)) for k in range(len(rule.variants))]


def _seen(check: RuleCheck, executor: str) -> int:
    """How often something was compared, or could not be, on an executor."""
    return check.compared[executor] + sum(n for (name, _), n in check.left_out.items() if name == executor)


def _smallest(
    rule: Rule,
    drawn: Seeded[Instance | str],
    seed: int,
    judges: Sequence[Judge],
    check: RuleCheck,
    first: Found,
    shrink: bool,
) -> RuleFailure:
    """What to tell of a mistake."""
    found = first
    if shrink:
        aside = RuleCheck(rule.name)
        try:
            drawn.shrink(seed, lambda instance: check_one(rule, instance, judges, aside), Found)
        except Found as smaller:
            found = smaller
    return RuleFailure(rule, check, found.differences, found.instance, found.rewritten)


class Found(Exception):
    """A mistake; what Hypothesis shrinks."""

    def __init__(self, instance: Instance, rewritten: ModelProto | None, differences: Sequence[Difference]) -> None:
        super().__init__("; ".join(map(str, differences)))
        self.instance = instance
        self.rewritten = rewritten
        self.differences = differences


def check_one(rule: Rule, instance: Instance | str | None, judges: Sequence[Judge], check: RuleCheck) -> None:
    """Try a rule on one model, and count.

    Raises:
        Found: it does something wrong.
    """
    check.drawn += 1
    if instance is None or isinstance(instance, str):
        check.invalid[instance or "too many decisions"] += 1
        return
    try:
        rewritten, ledger = apply_rule(rule, instance.model)
    except GraphoptError as e:
        raise Found(instance, None, [Difference("", "", f"{type(e).__name__}: {e}")]) from e
    if rewritten is None:
        reasons = [reason for (name, reason) in ledger.declined if name == rule.name]
        check.refused.update(reasons or ["no match"])
        return
    check.fired += 1
    check.variants.add(instance.variant)
    try:
        onnx.checker.check_model(rewritten, full_check=True)
    except Exception as e:
        raise Found(instance, rewritten, [Difference("", "", f"the checker refuses the result: {e}")]) from e
    numbers = rule.exact or instance.finite
    for judge in judges:
        if found := judge.differences(instance.model, rewritten, instance.feeds, numbers):
            raise Found(instance, rewritten, found)


def _story(failure: RuleFailure, reason: str) -> list[str]:
    rule, instance = failure.rule, failure.instance
    lines = [f"rule '{rule.name}' ({rule.where})", f"  {rule.equation}"]
    if instance is None:
        told = Counter({f"invalid: {k}": n for k, n in failure.check.invalid.items()}) + failure.check.refused
        return [*lines, f"is not tested: {reason}", *(f"  {n} x {why}" for why, n in told.most_common(8))]
    claim = "claims that every bit agrees" if rule.exact else "claims equality up to rounding"
    lines += [claim + ", and is wrong:", *(f"  {d}" for d in failure.differences), "on this model:"]
    lines += [*_indented(printer.to_text(instance.model)), "with these inputs:"]
    lines += [f"  {name} = {_shown(value)}" for name, value in instance.feeds.items()]
    for d in failure.differences:
        if d.output:
            lines += [f"{d.executor}, '{d.output}':", f"  original  {_shown(d.want)}", f"  rewritten {_shown(d.got)}"]
    if failure.rewritten is not None:
        lines += ["which became:", *_indented(printer.to_text(failure.rewritten))]
    return lines


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _shown(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    text = np.array2string(value, separator=", ", threshold=64, max_line_width=110)
    return f"{value.dtype}{list(value.shape)} {' '.join(text.split())}"
