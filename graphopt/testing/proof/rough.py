"""Coefficients that were rounded on the way."""

from __future__ import annotations


class Rough:
    """A coefficient that was rounded on the way, and the sum of the magnitudes that it was made of."""

    __slots__ = ("mass", "value")

    def __init__(self, value: float, mass: float | None = None) -> None:
        self.value = value
        self.mass = abs(value) if mass is None else mass

    def __add__(self, other: Rough) -> Rough:
        return Rough(self.value + other.value, self.mass + other.mass)

    def __mul__(self, other: Rough) -> Rough:
        return Rough(self.value * other.value, self.mass * other.mass)

    def __truediv__(self, other: Rough) -> Rough:
        return Rough(self.value / other.value, self.mass / abs(other.value))

    def __neg__(self) -> Rough:
        return Rough(-self.value, self.mass)

    def __abs__(self) -> Rough:
        return Rough(abs(self.value), self.mass)

    def __gt__(self, other: float) -> bool:
        return self.value > other

    def __lt__(self, other: float) -> bool:
        return self.value < other

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return f"{self.value:.6g}"
