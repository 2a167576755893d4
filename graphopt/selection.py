"""Which rules and passes take part: of a level, of a target, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphopt.errors import ArgumentError
from graphopt.passes import PASSES
from graphopt.patterns import PHASES, all_rules, rules_of
from graphopt.rewrite import Rule, RuleSet


@dataclass(frozen=True, slots=True)
class Selection:
    """Names of rules, rule families and passes: the only ones that run (None: all), and those that do not."""

    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        return name not in self.without and (self.only is None or name in self.only)

    def takes(self, r: Rule) -> bool:
        """Whether a rule runs."""
        if not self.without and self.only is None:
            return True
        if r.name in self.without or r.family in self.without:
            return False
        return self.only is None or r.name in self.only or r.family in self.only


def phases_of(level: int, selection: Selection, own: tuple[Rule, ...], of_target: Sequence[str] = ()) -> list[RuleSet]:
    """The rule sets of a level in order. The exact rules of the first three phases take part in every one of them, and what
    raises in the one that simplifies: an operator may come to light only when what is written around its parts is gone.

    Args:
        own: the user's rules.
        of_target: phases that come after the others, whose rules write what the target runs best. No others take part in them,
            since these would restore the canonical form.
    """
    exact = [r for phase in PHASES for r in rules_of(phase) if r.exact and selection.takes(r)]
    if level == 1:
        return [RuleSet([*(r for r in own if r.exact), *exact], "exact")]
    raising, simplifying, lowering, *further = (
        [r for r in rules_of(phase) if (phase not in PHASES or not r.exact) and selection.takes(r)]
        for phase in (*PHASES, *of_target)
    )
    return [
        RuleSet([*own, *exact, *raising], "raising"),
        RuleSet([*exact, *simplifying, *raising], "simplifying"),
        RuleSet([*lowering, *exact, *own], "lowering"),
        *map(RuleSet, further, of_target),
    ]


def names_in(names: str | Iterable[str], own: Sequence[Rule], argument: str) -> frozenset[str]:
    """Names of rules, families and passes, one by one or with commas between.

    Raises:
        ArgumentError: there is nothing of a name.
    """
    wanted = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
    if not wanted:
        return frozenset()
    known = all_rules()
    valid = {*PASSES, *known, *(r.family for r in known.values()), *(r.name for r in own)}
    for n in wanted:
        if n not in valid:
            close = difflib.get_close_matches(str(n), valid, 3)
            hint = f"did you mean {' or '.join(close)}?" if close else "`graphopt rules` lists them all"
            raise ArgumentError(f"{argument}: no rule, family or pass is named '{n}'; {hint}")
    return frozenset(wanted)
