"""The search, on a runtime whose clock it moves itself: what is chosen, when it ends, what it says."""

from __future__ import annotations

from typing import Any

import pytest

from graphopt.errors import ArgumentError
from graphopt.passes import COST
from graphopt.patterns import all_rules
from graphopt.tuning.choice import UNTOUCHED, Choice
from graphopt.tuning.search import search
from tests.tuning.fakes import Builder, Clock, Stand

BASE = Choice(3)
#: Two families that move work, by a rule of each.
A, B = "gelu", "product_plus_bias"
FAMILY = {name: all_rules()[name].family for name in (A, B)}
#: Nodes of the models that the choices lead to.
NODES = {
    UNTOUCHED: 20, BASE: 10, Choice(1): 18, Choice(2): 16, Choice(3, True): 14,
    Choice(3, False, frozenset({FAMILY[A]})): 11, Choice(3, False, frozenset({FAMILY[B]})): 12,
    Choice(3, False, frozenset({FAMILY[A], FAMILY[B]})): 13, Choice(3, False, frozenset({COST})): 10,
}  # fmt: skip
EVEN = dict.fromkeys(range(30), 0.010)


def found(seconds: float = 60.0, noise: float = 0.02, given: Any = None, **times: Any) -> Any:
    """What the search finds where models of some sizes (n10=...) take some time, the others 10 ms."""
    clock = Clock()
    special = {int(name[1:]): t for name, t in times.items() if name[0] == "n" and name[1:].isdigit()}
    options = {name: frozenset(times[name]) for name in ("refuses", "wrong") if name in times}
    stand = Stand(clock, EVEN | special, noise, **options)
    builder = Builder(clock, lambda c: NODES.get(c, 13), [A, B])
    model, tuning = search(builder, BASE, stand, seconds, given, clock, 0.0)
    return model, tuning, clock, stand


def test_the_analytic_choice_stays_where_nothing_is_faster() -> None:
    model, tuning, _, _ = found(n10=0.008)
    assert tuning.choice == BASE and model.node_count() == 10
    assert tuning.to_input.faster and tuning.to_input.median == pytest.approx(0.8, abs=0.02)
    assert tuning.to_analytic is None


def test_what_is_faster_without_a_family_is_found() -> None:
    _, tuning, _, _ = found(n10=0.009, n11=0.008)
    assert tuning.choice == Choice(3, False, frozenset({FAMILY[A]}))
    assert tuning.to_analytic.faster and tuning.to_analytic.median == pytest.approx(8 / 9, abs=0.02)
    assert tuning.to_input.median == pytest.approx(0.8, abs=0.02)


def test_what_helps_alone_is_tried_together() -> None:
    _, tuning, _, _ = found(n10=0.009, n11=0.0085, n12=0.0086, n13=0.0081)
    assert tuning.choice == Choice(3, False, frozenset({FAMILY[A], FAMILY[B]}))


@pytest.mark.parametrize("option", [Choice(1), Choice(2), Choice(3, True)], ids=str)
def test_levels_and_opsets_are_candidates(option: Choice) -> None:
    _, tuning, _, _ = found(n10=0.009, **{f"n{NODES[option]}": 0.007})
    assert tuning.choice == option


def test_the_untouched_model_is_returned_where_it_is_the_fastest() -> None:
    model, tuning, _, _ = found(n20=0.005)
    assert tuning.choice == UNTOUCHED and model.node_count() == 20
    assert any("returned instead" in note for note in tuning.notes)


@pytest.mark.parametrize("seconds", [1.2, 2.0, 5.0, 60.0])
@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("run", [0.0101, 0.0102, 0.0105, 0.011])
def test_what_seems_slower_than_the_input_is_not_returned_for_want_of_certainty(
    seconds: float, noise: float, run: float
) -> None:
    _, tuning, _, _ = found(seconds, noise, n10=run)
    assert tuning.to_input is None or tuning.to_input.median <= 1.005


def test_a_difference_within_the_noise_changes_nothing() -> None:
    _, tuning, _, _ = found(noise=0.5, n10=0.0099, n11=0.0099)
    assert tuning.choice in (BASE, UNTOUCHED)


@pytest.mark.parametrize("seconds", [2.0, 10.0, 60.0])
@pytest.mark.parametrize("run", [0.0001, 0.01, 1.0])
def test_the_time_limit_is_kept(seconds: float, run: float) -> None:
    times = {f"n{n}": run for n in range(30)}
    _, tuning, clock, _ = found(seconds, **times)
    assert clock.now <= seconds + 5 * run + 0.2  # a first run of each finalist can always come late
    assert tuning.seconds == clock.now


def test_it_ends_early_where_nothing_is_left_to_learn() -> None:
    _, tuning, clock, _ = found(60.0, noise=0.0, n20=0.012)
    assert clock.now < 20 and tuning.choice == BASE


def test_without_time_the_analytic_choice_is_taken_and_it_is_said() -> None:
    _, tuning, _, _ = found(1.5, **{f"n{n}": 1.0 for n in range(30)})
    assert tuning.choice == BASE and tuning.to_input is None
    assert any("no time was left" in note for note in tuning.notes)


def test_a_candidate_that_the_runtime_refuses_is_left_out() -> None:
    _, tuning, _, _ = found(n10=0.009, n11=0.001, refuses={11})
    assert tuning.choice == BASE
    assert any("refuses it: no such kernel" in note for note in tuning.notes)


def test_a_candidate_that_computes_something_else_is_left_out() -> None:
    _, tuning, _, _ = found(n10=0.009, n11=0.001, wrong={11})
    assert tuning.choice == BASE
    assert any("output 'y' differs" in note for note in tuning.notes)


def test_without_the_analytic_choice_the_others_are_compared_with_the_untouched_model() -> None:
    _, tuning, _, _ = found(n11=0.005, refuses={10})
    assert tuning.choice == Choice(3, False, frozenset({FAMILY[A]}))


def test_a_model_that_the_runtime_refuses_as_it_is() -> None:
    with pytest.raises(ArgumentError, match=r"fake 1\.0 does not take the model as it is: no such kernel"):
        found(refuses={20})


def test_inputs_that_the_model_does_not_take() -> None:
    with pytest.raises(ArgumentError, match="tune_inputs: the model does not take them: x is missing"):
        found(given={"z": 1})


def test_few_sessions_are_alive_at_once_for_big_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphopt.tuning.bench._MEMORY", 1)
    _, tuning, _, stand = found(n10=0.009, n11=0.008)
    assert stand.most_alive <= 4  # untouched, analytic and two finalists
    assert tuning.choice == Choice(3, False, frozenset({FAMILY[A]}))
