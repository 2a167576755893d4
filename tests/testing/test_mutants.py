"""Mutants: rules with one mistake, and whether the generated tests find it."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("hypothesis")
pytest.importorskip("onnxruntime")

from graphopt.patterns import all_rules
from graphopt.rewrite import Attrs, Const, Int, Maybe, Perm, Rule, Tensor, op, rule
from graphopt.testing.mutation.edits import EDITS
from graphopt.testing.mutation.killing import BRIEF, Killed, Pool, Survived, known_of, tally
from graphopt.testing.mutation.mutants import Mutant, mutants_of

pytestmark = pytest.mark.contradicts  # a mutant may give another shape than there was; the engine declines that

KNOWN = known_of(json.loads((Path(__file__).parent / "mutants_survivors.json").read_text(encoding="utf-8")))


SHORT = dataclasses.replace(BRIEF, fired=30, least=3, attempts=200)


@pytest.fixture(scope="module")
def made() -> dict[str, list[Mutant]]:
    """The mutants of every rule of the package."""
    return {name: mutants_of(r) for name, r in all_rules().items()}


def along(k, rank):
    """A constant as a row for the columns of a tensor."""
    return np.asarray(k).reshape((1,) * (rank - 1) + (-1,))


@rule
def scaled_difference(x, y, c: Const):
    yield op.Identity((x - y) * c)
    if x.dtype != 1 or c.ndim > 0:
        return "not float, or several factors"
    yield (x - y) * along(c, 1).reshape(())


@rule(exact=True)
def twice(x, p: Perm, q: Perm):
    yield op.Transpose(op.Transpose(x, perm=p), perm=q)
    yield op.Transpose(x, perm=[p[i] for i in q])


@rule(exact=True)
def clip_again(x, low: Maybe[Tensor], high: Maybe[Tensor]):
    yield op.Identity(op.Clip(x, low, high))
    yield op.Clip(x, low, high)


@rule(exact=True)
def soft_again(x, axis: Int, a: Attrs):
    yield op.Identity(op.Softmax(x, axis=axis, **a))
    yield op.Softmax(x, axis=axis, **a)


def made_in_a_factory(name):
    binary = getattr(op, name)

    def body(x, y):
        yield op.Identity(binary(x, y))
        if name == "Pow":
            return "not now"
        yield binary(x, y)

    body.__name__ = body.__qualname__ = f"{name.lower()}_again"
    return rule(exact=True)(body)


def whats(r: Rule) -> dict[str, set[str]]:
    """What was done, by kind of mistake."""
    found: dict[str, set[str]] = {}
    for m in mutants_of(r):
        found.setdefault(m.kind, set()).add(m.what)
    return found


def test_guards_and_numbers_are_changed():
    found = whats(scaled_difference)
    test = "x.dtype != 1 or c.ndim > 0"
    assert found["guard dropped"] == {f"guard '{test}' dropped"}
    assert found["operand of a condition dropped"] == {
        f"'x.dtype != 1' dropped from '{test}'",
        f"'c.ndim > 0' dropped from '{test}'",
    }
    assert found["condition negated"] == {f"'{test}' negated"}
    assert {"1 made 2 in 'x.dtype != 1'", "0 made 1 in 'c.ndim > 0'"} <= found["number changed"]


def test_operands_are_changed():
    found = whats(scaled_difference)
    assert found["operands swapped"] == {"operands of 'x - y' swapped"}, "a product is the same the other way round"
    assert found["broadcast forgotten"] == {
        "'along(c, 1).reshape(())' made 'along(c, 1)'",
        "'along(c, 1)' made 'c'",
    }
    assert found["other variable"] == {"y for x in 'x - y'", "x for y in 'x - y'"}
    assert whats(clip_again)["optional operand left out"] == {
        "low left out of 'op.Clip(x, low, high)'",
        "high left out of 'op.Clip(x, low, high)'",
    }


def test_attributes_are_ignored_and_permutations_reversed():
    assert whats(soft_again)["attribute ignored"] == {
        "axis left out of 'op.Softmax(x, axis=axis, **a)'",
        "**a left out of 'op.Softmax(x, axis=axis, **a)'",
    }
    assert whats(twice)["permutation reversed"] == {"perm=[p[i] for i in q] reversed"}
    assert {
        "p for q in '[p[i] for i in q]'",
        "perm left out of 'op.Transpose(x, perm=[p[i] for i in q])'",
    } <= {w for some in whats(twice).values() for w in some}


def test_every_kind_of_mistake_is_made_in_the_package(made):
    assert {m.kind for some in made.values() for m in some} == set(EDITS)


def test_a_rule_from_a_factory_keeps_what_its_body_closes_over():
    power, product = made_in_a_factory("Pow"), made_in_a_factory("Mul")
    assert "operands swapped" in whats(power), "binary is Pow here"
    assert "operands swapped" not in whats(product)
    dropped = next(m for m in mutants_of(power) if m.kind == "guard dropped")
    assert dropped.rule.name == "pow_again" and "not now" not in dropped.source
    assert inspect.getclosurevars(dropped.rule.fn).nonlocals == {
        "binary": inspect.getclosurevars(power.fn).nonlocals["binary"]
    }


def test_a_mutant_says_where_and_what():
    m = mutants_of(twice)[0]
    lines, first = inspect.getsourcelines(twice.fn)
    assert m.line == first + len(lines) - 1
    assert str(m) == f"twice, line {m.line}: {m.what}"
    assert m.rule.equation.startswith("Transpose(Transpose(x, perm=p), perm=q)  ->  ")
    assert m.rule.exact and m.rule.kinds == twice.kinds


def test_mutants_differ_from_each_other_and_are_told_apart():
    for r in (scaled_difference, all_rules()["reshape_nothing"]):
        made = mutants_of(r)
        assert (
            len({m.what for m in made}) == len({m.digest for m in made}) == len({m.source for m in made}) == len(made)
        )
        assert [m.digest for m in mutants_of(r)] == [m.digest for m in made]


@pytest.mark.parametrize(
    ("r", "kind", "how"),
    [
        (scaled_difference, "operands swapped", {"differs", "fails"}),
        (scaled_difference, "condition negated", {"differs", "fails"}),
        (twice, "permutation reversed", {"differs", "fails"}),
        (twice, "attribute ignored", {"differs", "fails"}),
        (clip_again, "optional operand left out", {"differs", "fails"}),
        (soft_again, "attribute ignored", {"differs", "fails"}),
        (all_rules()["transpose_nothing"], "guard dropped", {"differs", "fails"}),
        (all_rules()["gemm_times_factor"], "operands swapped", {"differs", "fails"}),
        (all_rules()["cast_nothing"], "condition negated", {"never fires"}),
    ],
    ids=lambda v: v.name if isinstance(v, Rule) else v if isinstance(v, str) else "",
)
def test_a_mistake_is_found(r, kind, how):
    pool = Pool(r, SHORT)
    found = [pool.kill(m) for m in mutants_of(r) if m.kind == kind]
    assert {k.how for k in found if isinstance(k, Killed)} & how, found


def test_the_rules_themselves_survive():
    for r in (scaled_difference, twice, clip_again, soft_again):
        same = Mutant(r, "none", "nothing", 0, r, mutants_of(r)[0].tree)
        found = Pool(r, SHORT).kill(same)
        assert isinstance(found, Survived) and found.fired >= SHORT.least, (r.name, found)


def test_rates_leave_out_what_no_test_can_tell():
    entries = [
        {"reason": "equivalent: the same", "mutants": {"'x' dropped": ["ab", "c"]}},
        {"reason": "the test lacks: something", "mutants": {"y": ["b"]}},
    ]
    known = known_of(entries)
    table = tally(
        [("f", "ab", "'x' dropped", False), ("f", "b", "y", False), ("g", "c", "z", False), ("g", "c", "w", True)],
        known,
    )
    assert (table[""].mutants, table[""].killed, table[""].equivalent, table[""].lacking, table[""].new) == (
        4,
        1,
        1,
        1,
        1,
    )
    assert table["f"].rate == 0 and table["g"].rate == 0.5
    assert table[""].rate == 1 / 3


def test_listed_survivors_exist(made):
    there = {(name, m.what) for name, some in made.items() for m in some}
    assert not KNOWN.keys() - there
    assert all(reason.startswith(("equivalent: ", "the test lacks: ")) for reason in KNOWN.values())


def test_a_sample_over_all_families_is_killed(made):
    by_family: dict[str, list[Rule]] = {}
    for r in all_rules().values():
        by_family.setdefault(r.family, []).append(r)
    told, strange = [], []
    for rules in by_family.values():
        r = max(rules[:: max(len(rules) // 3, 1)], key=lambda r: len(made[r.name]))
        pool = Pool(r, BRIEF)
        for m in made[r.name][:: max(len(made[r.name]) // 3, 1)][:3]:
            found = pool.kill(m)
            told.append(isinstance(found, Killed) or (r.name, m.what) in KNOWN)
            if not told[-1]:
                strange.append(str(m))
    assert len(told) >= 40
    assert sum(told) >= 0.95 * len(told), strange
