"""Cases with weights, in ONNX's text form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from graphopt.patterns import all_rules
from tests.patterns.rule_cases import Case, apply, build, compare, inputs, run_ort


def floats(name: str, *dims: int, seed: int = 0, low: float = -1.0, high: float = 1.0, dtype: str = "float") -> str:
    """Random numbers: floats("w", 2, 3) is 'float[2,3] w = {...}'."""
    values = np.random.default_rng([seed, *dims]).uniform(low, high, math.prod(dims))
    return listed(name, dims, [round(float(v), 4) for v in values], dtype)


def listed(name: str, dims: Sequence[int], values: Sequence[float], dtype: str = "float") -> str:
    """These numbers: listed("k", (1,), [2.0]) is 'float[1] k = {2.0}'. The text form has float16 as bits."""
    numbers = np.asarray(values, np.float16).view(np.uint16).tolist() if dtype == "float16" else list(values)
    shape = f"[{','.join(map(str, dims))}]" if dims else ""
    return f"{dtype}{shape} {name} = {{{', '.join(map(repr, numbers))}}}"


def norm(channels: int, variances: Sequence[float] = (0.5, 2.0, 0.1, 1.0, 0.7, 1.5)) -> str:
    """Scale s, shift o, mean m and variance v of a normalisation."""
    parts = [floats(n, channels, seed=i) for i, n in enumerate("som")]
    return ", ".join([*parts, listed("v", (channels,), variances[:channels])])


def small_norm(channels: int) -> str:
    """A normalisation that makes numbers too small for float16, in that."""
    scale = listed("s", (channels,), [3e-5] * channels, "float16")
    return ", ".join([scale, *(listed(n, (channels,), [1.0] * channels, "float16") for n in "omv")])


def graph(
    body: str,
    constants: str | Sequence[str],
    x: str,
    y: str,
    more: str = "",
    also: str = "",
    dtype: str = "float",
    **options: object,
) -> Case:
    """A graph of x (and more inputs) to y (and other outputs), x and y of these shapes."""
    given = constants if isinstance(constants, str) else ", ".join(filter(None, constants))
    ins, outs = (f"{dtype}{x} x", more), (f"{dtype}{y} y", also)
    text = f"g ({', '.join(filter(None, ins))}) => ({', '.join(filter(None, outs))})"
    return Case(f"{text} {f'<{given}>' if given else ''} {{ {body} }}", **options)


def cases(table: dict[str, list[Case]]) -> list[object]:
    """The parameters of a test: each rule with each of its cases."""
    return [pytest.param(rule, c, id=f"{rule}-{i}") for rule, group in table.items() for i, c in enumerate(group)]


def check_fires_on_ort(name: str, case: Case) -> None:
    """As check_fires, where onnx's reference is wrong about the operators and only ONNX Runtime can be asked."""
    model = build(case)
    rule = all_rules()[name]
    result, ledger = apply(model, rule)
    assert name in [s.rule for s in ledger.steps], dict(ledger.declined)
    if case.nodes is not None:
        assert result.node_count() == case.nodes
    for seed in range(2):
        feeds = inputs(model, seed, case)
        compare(run_ort(model, feeds), run_ort(result.proto, feeds), rule.exact, case.tolerance)


def check_unknown_rank(name: str, case: Case, fires: bool) -> None:
    """The same with an x of which nobody knows the rank. It is not run: text cannot say what would fit."""
    head, _, body = case.text.rpartition("{ ")
    text = f"{head.replace(' x', ' given, int64[R] to', 1)}{{ x = Reshape(given, to) {body}"
    _, ledger = apply(build(replace(case, text=text)), all_rules()[name])
    assert bool(ledger.steps) == fires, (ledger.steps, dict(ledger.declined))
