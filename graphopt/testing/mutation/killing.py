"""Whether the generated test of a rule finds the mistake in a mutant of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto

from graphopt.rewrite import Rule
from graphopt.testing.checking import Found, RuleCheck, apply_rule, check_one, variants_by_seed
from graphopt.testing.declarations.instances import Instance
from graphopt.testing.judging import Judge
from graphopt.testing.mutation.mutants import Mutant
from graphopt.testing.profiles import Profile

#: Executors on which mutants are tried; those that compile every model find no more mistakes.
EXECUTORS = ("reference", "onnxruntime")
#: Few models for those who wait, and as many as a thorough test takes.
BRIEF = Profile("mutants, brief", fired=48, least=5, attempts=300)
THOROUGH = Profile("mutants", fired=240, least=8, attempts=900, seed=1000)


@dataclass(frozen=True)
class Killed:
    """The test failed.

    Attributes:
        how: "differs", "is invalid", "fails", "loops" or, where only that was noticed, "never fires" or "seldom fires".
        why: what was found.
        after: models drawn until then.
    """

    how: str
    why: str
    after: int


@dataclass(frozen=True)
class Survived:
    """The test passed, or said nothing.

    Attributes:
        fired: on so many models nothing was found.
        drawn: of so many.
        why: what kept it from saying anything, '' where the test passed.
    """

    fired: int
    drawn: int
    why: str = ""


class Pool:
    """Models drawn from a rule's declaration, which serve all of its mutants: they share it.

    A mutant is tested on them as `check_rule` tests a rule, up to the first mistake.

    Attributes:
        rule: as it should be.
        drawn: the models; text where what was drawn is none.
        fires: whether the rule fires on enough of them to be called tested.
    """

    def __init__(self, original: Rule, profile: Profile = THOROUGH) -> None:
        self.rule = original
        self.drawn: list[Instance | str | None] = []
        self._ran: dict[tuple[str, int], Any] = {}
        self._least = profile.least
        fired, draw = 0, variants_by_seed(original)
        for seed in range(profile.seed, profile.seed + profile.attempts):
            if fired >= profile.fired:
                break
            instance = draw[seed % len(draw)](seed)
            self.drawn.append(instance)
            fired += isinstance(instance, Instance) and apply_rule(original, instance.model)[0] is not None
        self.fires = fired >= profile.least

    def kill(self, mutant: Mutant) -> Killed | Survived:
        """Test a mutant. That it hardly ever fires counts where its rule does fire: the test fails then."""
        check = RuleCheck(mutant.rule.name)
        judge = _Remembering(EXECUTORS, mutant.rule.exact, ran=self._ran)
        try:
            for instance in self.drawn:
                check_one(mutant.rule, instance, [judge], check)
        except Found as found:
            told = "; ".join(map(str, found.differences))
            return Killed(_how(told, bool(found.differences[0].executor)), told[:300], check.drawn)
        except Exception as e:  # the engine stumbles over what the rule makes; the test fails all the same
            return Killed("fails", f"{type(e).__name__}: {' '.join(str(e).split())[:300]}", check.drawn)
        if check.fired < self._least:
            if not self.fires:
                return Survived(check.fired, check.drawn, "its rule hardly fires either")
            return Killed("seldom fires" if check.fired else "never fires", "", check.drawn)
        return Survived(check.fired, check.drawn)


@dataclass
class _Remembering(Judge):
    """A judge that runs each model of a pool once."""

    ran: dict[tuple[str, int], Any] = field(default_factory=dict)

    def _original(self, name: str, model: ModelProto, feeds: Mapping[str, Any]) -> dict[str, Any] | str:
        key = name, id(model)
        if key not in self.ran:
            self.ran[key] = super()._original(name, model, feeds)
        return self.ran[key]


def _how(told: str, ran: bool) -> str:
    if ran:
        return "differs"
    if told.startswith("RewriteLoopError"):
        return "loops"
    return "fails" if told.startswith("RuleError") else "is invalid"


# ------------------------------------------------------------------------------------------------- known survivors
#: Why a mutant survives, by rule and what was done to it. A reason starts with "equivalent:" where no test can tell, otherwise
#: with "the test lacks:".
Known = Mapping[tuple[str, str], str]


def known_of(entries: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Survivors that somebody looked at, as they stand in a file: reasons, and for each what was done to which rules."""
    return {
        (rule, what): entry["reason"] for entry in entries for what, rules in entry["mutants"].items() for rule in rules
    }


@dataclass
class Tally:
    """Counts of some mutants."""

    mutants: int = 0
    killed: int = 0
    equivalent: int = 0
    lacking: int = 0
    new: int = 0

    @property
    def rate(self) -> float:
        """Share of those killed among those that can be."""
        able = self.mutants - self.equivalent
        return self.killed / able if able else 1.0


def tally(results: Iterable[tuple[str, str, str, bool]], known: Known) -> dict[str, Tally]:
    """Counts by family, "" for all, from (family, rule, what, whether it was killed)."""
    found: dict[str, Tally] = {}
    for family, rule, what, killed in results:
        reason = known.get((rule, what), "")
        for name in ("", family):
            t = found.setdefault(name, Tally())
            t.mutants += 1
            t.killed += killed
            t.equivalent += not killed and reason.startswith("equivalent:")
            t.lacking += not killed and reason.startswith("the test lacks:")
            t.new += not killed and not reason
    return found


def by_kind(results: Iterable[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    """Mutants and those killed, by kind of mistake, from (kind, whether it was killed)."""
    made, killed = Counter[str](), Counter[str]()
    for kind, dead in results:
        made[kind] += 1
        killed[kind] += dead
    return {kind: (made[kind], killed[kind]) for kind in made}
