"""How much one thing takes beside another, from pairs of times that were taken in turn, and how sure that is."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

#: How often an interval that is stated must hold.
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of paired ratios: below 1 is faster.

    Attributes:
        median: of the rounds.
        low, high: where the true median lies, as often as `confidence` says.
        confidence: of the interval; below 0.95 where there were too few rounds for that.
        rounds: how many pairs.
    """

    median: float
    low: float
    high: float
    confidence: float
    rounds: int

    @property
    def faster(self) -> bool:
        """Whether the interval lies below 1."""
        return self.high < 1 and self.confidence >= _ENOUGH

    @property
    def slower(self) -> bool:
        """Whether the interval lies above 1."""
        return self.low > 1 and self.confidence >= _ENOUGH

    def settled(self, width: float) -> bool:
        """Whether more rounds would say little: one is faster, or they are as good as equal."""
        return self.faster or self.slower or (self.high - self.low < width and self.confidence >= _ENOUGH)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "median": self.median, "low": self.low, "high": self.high, "confidence": self.confidence, "rounds": self.rounds,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Ratio:
        """What `to_dict` made."""
        median, low, high, confidence = (float(data[key]) for key in ("median", "low", "high", "confidence"))
        return cls(median, low, high, confidence, int(data["rounds"]))

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f}, {self.confidence:.0%}, {self.rounds} rounds)"


#: An interval that holds less often decides nothing: five rounds that all agree are the fewest that do.
_ENOUGH = 0.93


def ratio_of(ratios: Iterable[float], confidence: float = CONFIDENCE) -> Ratio | None:
    """The median with the interval of the sign test, which asks nothing of how the noise is distributed; None without pairs.

    It is the narrowest interval between two of the ratios, as far from both ends, that holds as often as asked.
    """
    found = sorted(ratios)
    n = len(found)
    if not n:
        return None
    outside, k = 0.5**n, 0  # the chance that the true median lies below the k-th smallest
    while k + 1 < n - k - 1 and 2 * (further := outside + comb(n, k + 1) * 0.5**n) <= 1 - confidence:
        outside, k = further, k + 1
    return Ratio(statistics.median(found), found[k], found[n - 1 - k], max(0.0, 1 - 2 * outside), n)


def paired(times: Sequence[float], reference: Sequence[float]) -> list[float]:
    """The ratio of each round."""
    return [a / b for a, b in zip(times, reference, strict=True) if b > 0]
