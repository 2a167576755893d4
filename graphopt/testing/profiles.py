"""How much to try: a quick profile for every commit, a nightly one for the time in between."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """How many models a rule is checked on. The same profile draws the same models everywhere.

    Attributes:
        name: of the profile.
        fired: so many on which it fires are wanted.
        least: with fewer, after all attempts, the rule counts as not tested.
        attempts: models to draw in all.
        slow: comparisons wanted on each executor that compiles.
        seed: of the first model.
    """

    name: str
    fired: int
    least: int
    attempts: int
    slow: int = 2
    seed: int = 0


QUICK = Profile("quick", fired=32, least=8, attempts=1200)
NIGHTLY = Profile("nightly", fired=400, least=100, attempts=40_000, slow=40)
PROFILES = {p.name: p for p in (QUICK, NIGHTLY)}
