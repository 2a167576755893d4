"""The rungs of the ladder: ways to prove that both sides of a rule are equal on a specimen, and one to see that they are not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from graphopt.errors import MissingDependencyError, RunError
from graphopt.exec.backends.digits import Digits, digits, number
from graphopt.exec.backends.exact import ExactBackend, NotExact, field, residues
from graphopt.exec.kernels.dtypes import is_integer
from graphopt.testing.proof.formulas import mapped, terms
from graphopt.testing.proof.normal import Truth, normal_forms
from graphopt.testing.proof.polynomials import Table
from graphopt.testing.proof.sides import Maker, Sides, Unequal, elements
from graphopt.testing.proof.sizes import computes_shapes, names_in_outputs
from graphopt.testing.proof.smt import Condition, Formulas

#: At how many points of the field two sides must agree. Each misses a difference with a probability of about 1e-16.
_POINTS = 3
#: Differences at a point beyond so many tolerances, relative to the largest element, are none of rounded constants.
_REFUTES = 5.0


@dataclass(frozen=True)
class Counterexample:
    """Where two sides differ.

    Attributes:
        point: the inputs.
        before, after: an element of an output.
        where: which one.
    """

    point: dict[str, Any]
    before: str
    after: str
    where: str

    def __str__(self) -> str:
        return f"{self.where} is {self.before} before and {self.after} after, at {self.point}"


# ------------------------------------------------------------------------------------------------------------ refutation
def refute(s: Sides) -> Counterexample | None:
    """Look for a point at which the sides differ in 50 digits."""
    for k, draw in enumerate(_DRAWS):
        rng = np.random.default_rng(k)
        point = {n: draw(rng, np.asarray(a)) if s.kinds[n] != "fixed" else a for n, a in s.specimen.feeds.items()}
        found = differs_at(s, point)
        if found is not None:
            return found
    return None


def _as_drawn(rng: np.random.Generator, a: np.ndarray) -> np.ndarray:
    return a


def _drawn(reals: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]) -> Callable[..., np.ndarray]:
    def draw(rng: np.random.Generator, a: np.ndarray) -> np.ndarray:
        if a.dtype == bool:
            return rng.integers(0, 2, a.shape).astype(bool)
        if is_integer(a.dtype):
            return rng.integers(0 if a.dtype.kind == "u" else -3, 4, a.shape).astype(a.dtype)
        return reals(rng, a.shape)

    return draw


_DRAWS: tuple[Callable[[np.random.Generator, np.ndarray], np.ndarray], ...] = (
    _as_drawn,
    _drawn(lambda rng, shape: rng.normal(0, 1.5, shape)),
    _drawn(lambda rng, shape: rng.uniform(0.1, 3, shape)),
    _drawn(lambda rng, shape: rng.normal(0, 30, shape)),
    _drawn(lambda rng, shape: rng.integers(-2, 3, shape).astype(float)),
    _drawn(lambda rng, shape: rng.uniform(-1, 1, shape)),
)


def differs_at(s: Sides, point: dict[str, Any]) -> Counterexample | None:
    """Whether the sides differ at a point; elements count that are numbers before."""

    def make(kind: str, name: str, array: np.ndarray) -> np.ndarray:
        return mapped(number, _objects(point[name])) if kind == "real" else np.asarray(point[name])

    try:
        pairs = s.run(digits(), make)
    except RunError:
        return None
    except Unequal as e:
        return Counterexample(_shown(point), str(e.before), str(e.after), e.where)
    reals = [np.abs(np.asarray(a, np.float64)).reshape(-1) for name, a in point.items() if s.kinds[name] == "real"]
    largest = float(max([r.max(initial=0.0, where=np.isfinite(r)) for r in reals], default=0.0))
    for i, (a, b) in enumerate(pairs):
        if a.dtype != object or not all(isinstance(e, Digits) for e in (*a.reshape(-1), *b.reshape(-1))):
            continue
        finite = [abs(float(e)) for e in (*a.reshape(-1), *b.reshape(-1)) if e.finite]
        scale = _REFUTES * s.tolerance * max([*finite, 1e-2 * (1 + largest)])
        for at in np.ndindex(a.shape):
            x: Any = a[at]
            y: Any = b[at]
            if x.finite and not (y.finite and abs(float(x - y)) <= scale):
                return Counterexample(_shown(point), str(x), str(y), f"output {i}{list(at)}")
    return None


def _objects(a: Any) -> np.ndarray:
    a = np.asarray(a)
    return a if a.dtype == object else a.astype(np.float64).astype(object)


def _shown(point: dict[str, Any]) -> dict[str, Any]:
    return {name: [float(v) for v in a.reshape(-1)] if a.dtype == object else a.tolist() for name, a in point.items()}


# ---------------------------------------------------------------------------------------------------------------- proofs
@dataclass(frozen=True)
class Proved:
    """Both sides are equal.

    Attributes:
        tolerance: relative, of constants that the rule computed; 0: none was needed.
        remark: what else is to be said of the proof.
    """

    tolerance: float = 0.0
    remark: str = ""


def structural(s: Sides, seconds: float) -> Proved | None:
    """Both sides give equal formulas as they come."""
    import sympy

    xp = terms(time.monotonic() + seconds)

    def make(kind: str, name: str, array: np.ndarray) -> np.ndarray:
        known = {"integer": True, "nonnegative": array.dtype.kind == "u" or None} if kind == "whole" else {"real": True}
        made = [sympy.Symbol(f"{name}_{i}", **known) for i in range(array.size)]
        if kind == "truth":
            made = [sympy.Gt(v, 0) for v in made]
        return np.array([*made, None], object)[:-1].reshape(array.shape)

    return Proved() if all(_is_same(a, b) for a, b in _formulas(s, xp, make)) else None


def _formulas(s: Sides, xp: ExactBackend, make: Maker) -> list[tuple[Any, Any]]:
    """The elements of both sides. What is no formula on either says nothing but of the sizes and inputs that were drawn."""
    found = list(elements(s.run(xp, make)))
    if not found:
        raise NotExact("no formula comes out")
    return found


def for_all_sizes(s: Sides, seconds: float) -> Proved | None:
    """Both sides compute shapes, of which inference says that they are the same for all sizes."""
    if not computes_shapes(s.specimen.model):
        return None
    names = names_in_outputs(s.specimen.model, s.specimen.rewritten)
    return None if names is None else Proved(remark="for all sizes, by shape inference")


def _is_same(a: Any, b: Any) -> bool:
    return bool(a == b)


def normal_form(s: Sides, seconds: float) -> Proved | None:
    """The difference of the two sides has no term left."""
    deadline = time.monotonic() + seconds
    for tolerance in sorted({0.0, 1e-12, 2e-6, s.tolerance}):
        table = Table(tolerance, deadline)

        def make(kind: str, name: str, array: np.ndarray, table: Table = table) -> np.ndarray:
            made: list[Any] = [table.symbol(f"{name}_{i}") for i in range(array.size)]
            if kind == "truth":
                made = [Truth(v) for v in made]
            return np.array([*made, None], object)[:-1].reshape(array.shape)

        if all(_is_equal(table, a, b) for a, b in _formulas(s, normal_forms(table), make)):
            return Proved(tolerance)
    return None


def _is_equal(table: Table, a: Any, b: Any) -> bool:
    if isinstance(a, (bool, np.bool_, Truth)) or isinstance(b, (bool, np.bool_, Truth)):
        return bool(a == b)
    return table.same(a, b)


def finite_field(s: Sides, seconds: float) -> Proved | None:
    """Both sides are the same element of a finite field at random points, functions being uninterpreted."""
    if any(kind == "truth" for kind in s.kinds.values()):
        return None
    for k in range(_POINTS):
        seeds = {name: 100 * k + i for i, name in enumerate(s.names)}

        def make(kind: str, name: str, array: np.ndarray, seeds: dict[str, int] = seeds) -> np.ndarray:
            return residues(array.shape, seeds[name])

        pairs = _formulas(s, field(), make)
        if not all(_is_same(a, b) for a, b in pairs):
            return None
    return Proved(remark=f"at {_POINTS} random points of the field")


def smt(s: Sides, seconds: float) -> Proved | Counterexample | None:
    """Z3 shows that there are no inputs for which the sides differ; or finds some, and 50 digits agree."""
    deadline = time.monotonic() + seconds
    try:
        formulas = Formulas()
    except MissingDependencyError:
        return None
    made: dict[str, list[Any]] = {}

    def make(kind: str, name: str, array: np.ndarray) -> np.ndarray:
        symbols = made.setdefault(name, [formulas.symbol(f"{name}_{i}") for i in range(array.size)])
        items = [Condition(v > 0) for v in symbols] if kind == "truth" else symbols
        return np.array([*items, None], object)[:-1].reshape(array.shape)

    pairs = _formulas(s, formulas.backend, make)
    within = []
    for name, symbols in made.items():
        low, high = (formulas.number(v) for v in _bounds(s.kinds[name], np.asarray(s.specimen.feeds[name]).dtype))
        within += [c for v in symbols for c in (v >= low, v <= high)]
    for tolerance in (0.0, s.tolerance):
        found = formulas.differ(pairs, within, tolerance, deadline - time.monotonic())
        if found is None:
            return Proved(tolerance)
        if found is False:
            return None
        if formulas.interpreted and "whole" not in s.kinds.values():
            point = dict(s.specimen.feeds)
            for name, symbols in made.items():
                values = np.array([*(formulas.value(found, v) for v in symbols), None], object)[:-1]
                values = values.reshape(np.shape(point[name]))
                point[name] = values > 0 if s.kinds[name] == "truth" else values
            if (refuted := differs_at(s, point)) is not None:
                return refuted
    return None


def _bounds(kind: str, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The numbers that SMT looks at: those that a dtype holds; of floats, those that float32 holds."""
    if kind == "whole":
        return int(ml_dtypes.iinfo(dtype).min), int(ml_dtypes.iinfo(dtype).max)
    largest = float(np.finfo(np.float32).max)
    return -largest, largest


Rung = Callable[[Sides, float], "Proved | Counterexample | None"]
#: The rungs above "tested", the first one first: its name, how to reach it, and about how many seconds a specimen may take.
RUNGS: tuple[tuple[str, Rung, float], ...] = (
    ("structural", structural, 2.0),
    ("structural", for_all_sizes, 5.0),
    ("normal form", normal_form, 5.0),
    ("finite field", finite_field, 5.0),
    ("smt", smt, 5.0),
)
#: What a rung raises where it has no answer.
NO_ANSWER = (RunError, NotExact, Unequal, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
