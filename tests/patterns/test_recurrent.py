"""Rules of patterns/simplifying/recurrent.py."""

from __future__ import annotations

from typing import Any

import pytest

from graphopt.patterns import rules_of
from tests.patterns.rule_cases import Case, check_fires, check_refuses

_STATES = {
    "a constant": "",
    "Expand": "s = Shape<start=1,end=2>(x) d = Concat<axis=0>(one, s, four) h = Expand(zero, d)",
    "Slice of ConstantOfShape": (
        "s = Shape<start=1,end=2>(x) d = Concat<axis=0>(two, s, four) k = ConstantOfShape(d) h = Slice(k, one, two, none)"
    ),
    "Split of Expand": (
        "s = Shape<start=1,end=2>(x) d = Concat<axis=0>(two, s, four) k = Expand(zero, d) "
        "parts = Constant<value_ints=[1,1]>() h, rest = Split<axis=0>(k, parts)"
    ),
    "another number": "s = Shape<start=1,end=2>(x) d = Concat<axis=0>(one, s, four) h = Expand(half, d)",
    "an input": "",
}
_ZERO, _OTHER = list(_STATES)[:4], list(_STATES)[4:]


def _network(name: str, state: str, outputs: str, gates: int, inputs: str = "x, w, r, , , h", y: str = "y") -> Case:
    made = _STATES[state]
    weights = ", ".join(
        f"float[1,{4 * gates},{n}] {v} = {{{', '.join(str((7 * k % 5 - 2) / 4) for k in range(4 * gates * n))}}}"
        for v, n in (("w", 3), ("r", 4))
    )
    zeros = ", float[1,2,4] h = {0,0,0,0,0,0,0,0}" if state == "a constant" else ""
    given = ", float[1,2,4] h" if state == "an input" else ""
    shape = "float[5,1,2,4]" if y == "y" else "float[1,2,4]"
    return Case(
        f"""g (float[5,2,3] x{given}) => ({shape} {y}) <{weights}, float zero = {{0}}, float half = {{0.5}},
        int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] four = {{4}}, int64[1] none = {{0}}{zeros}> {{
        {made} {outputs} = {name}<hidden_size=4>({inputs}) }}""",
        reason=None if state in _ZERO else "not known to be zeros",
    )


FIRES = [
    *[("lstm_from_zero", _network("LSTM", s, "y", 4, "x, w, r, , , h, h")) for s in _ZERO],
    ("lstm_from_zero", _network("LSTM", "a constant", ", y", 4, y="y")),
    ("lstm_from_zero", _network("LSTM", "Expand", "q, h2, c2", 4, "x, w, r, , , h, h", y="c2")),
    *[("gru_from_zero", _network("GRU", s, "y", 3)) for s in _ZERO],
    ("gru_from_zero", _network("GRU", "Expand", "q, h2", 3, y="h2")),
    *[("rnn_from_zero", _network("RNN", s, "y", 1)) for s in _ZERO],
]

FIRES[4] = ("lstm_from_zero", _network("LSTM", "a constant", "q, last", 4, y="last"))
REFUSES = [
    *[("lstm_from_zero", _network("LSTM", s, "y", 4, "x, w, r, , , h, h")) for s in _OTHER],
    *[("gru_from_zero", _network("GRU", s, "y", 3)) for s in _OTHER],
    *[("rnn_from_zero", _network("RNN", s, "y", 1)) for s in _OTHER],
]


def _pieces(
    name: str,
    gates: int,
    steps: tuple[int, int],
    reads: str,
    more: str = "",
    lengths: str = "2, 3",
    weights: str = "w, r, b",
    **options: Any,
) -> Case:
    """Two operators, the second of which starts where the first ends; `reads`: outputs among p (all states) and s (the last)."""
    n, m = steps
    given = ", ".join(
        f"float[{d}] {v} = {{{', '.join(str((5 * k % 7 - 3) / 4) for k in range(eval(d.replace(',', '*'))))}}}"
        for v, d in (
            ("w", f"1,{4 * gates},3"),
            ("r", f"1,{4 * gates},4"),
            ("b", f"1,{8 * gates}"),
            ("r2", f"1,{4 * gates},4"),
        )
    )
    cell = name == "LSTM"
    shapes = {
        "p": f"float[{n},1,2,4]",
        "s": "float[1,2,4]",
        "q": f"float[{m},1,2,4]",
        "t": "float[1,2,4]",
        "k": "float[1,2,4]",
        "l": "float[1,2,4]",
    }
    outputs = ", ".join(f"{shapes[o]} {o}" for o in reads.split())
    batch = options.pop("batch", 2)
    return Case(
        f"""g (float[{n},2,3] x, float[{m},{batch},3] z) => ({outputs}) <{given}> {{
        p, s{", k" if cell else ""} = {name}<hidden_size=4{more}>(x, w, r, b)
        q, t{", l" if cell else ""} = {name}<hidden_size=4{more}>(z, {weights}, , s{", k" if cell else ""}) }}""",
        **options,
    )


for _name, _gates, _more in (("LSTM", 4, ""), ("GRU", 3, ", linear_before_reset=1")):
    _rule = f"{_name.lower()}_then_{_name.lower()}"
    FIRES += [
        (_rule, _pieces(_name, _gates, (1, 1), "t", _more, nodes=2)),
        (_rule, _pieces(_name, _gates, (2, 3), "t", _more, nodes=2)),
        (_rule, _pieces(_name, _gates, (2, 3), "p s q t", _more, nodes=9)),
        (_rule, _pieces(_name, _gates, (3, 1), "q", _more, nodes=5)),
    ]
    REFUSES += [
        (_rule, _pieces(_name, _gates, (1, 1), "t", _more, weights="w, r2, b")),
        (_rule, _pieces(_name, _gates, (1, 1), "t", f'{_more}, direction="reverse"', reason="not forward")),
    ]
REFUSES.append(("lstm_then_lstm", _pieces("LSTM", 4, (1, 1), "t k", reason="the cell in between is read")))


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("simplifying") if r.family == "recurrent"} == {r for r, _ in FIRES}
