"""Medians of paired ratios: the interval holds as often as it says."""

from __future__ import annotations

import random

import pytest

from graphopt.tuning.ratio import Ratio, paired, ratio_of


def test_nothing_is_said_without_pairs() -> None:
    assert ratio_of([]) is None


@pytest.mark.parametrize(
    ("n", "confidence"), [(1, 0.0), (3, 0.75), (5, 0.9375), (6, 0.96875), (9, 0.9609375), (15, 0.96484375)]
)
def test_the_confidence_is_that_of_the_sign_test(n: int, confidence: float) -> None:
    r = ratio_of([1.0 + i / 100 for i in range(n)])
    assert r is not None and r.confidence == pytest.approx(confidence) and r.rounds == n


def test_the_interval_lies_around_the_median() -> None:
    r = ratio_of([0.9, 0.8, 1.1, 0.7, 1.0, 0.85, 0.95])
    assert r is not None and (r.low, r.median, r.high) == (0.7, 0.9, 1.1)


def test_the_interval_holds_as_often_as_it_says() -> None:
    draw = random.Random(1)
    held = 0
    for _ in range(2000):
        r = ratio_of([draw.lognormvariate(0, 0.3) for _ in range(21)])
        assert r is not None
        held += r.low <= 1 <= r.high
    assert 0.94 < held / 2000 < 0.99


def test_few_rounds_decide_nothing() -> None:
    r = ratio_of([0.5, 0.5, 0.5])
    assert r is not None and not r.faster and not r.settled(0.1)
    more = ratio_of([0.5] * 5)
    assert more is not None and more.faster and more.settled(0.0)


def test_pairs_are_of_one_round() -> None:
    assert paired([2.0, 3.0, 1.0], [1.0, 2.0, 0.0]) == [2.0, 1.5]


def test_there_and_back() -> None:
    r = ratio_of([0.9, 0.95, 1.0])
    assert r is not None and Ratio.from_dict(r.to_dict()) == r
