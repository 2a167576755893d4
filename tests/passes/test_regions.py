"""Constants that are cut up and put together again: folded as a whole, within the allowance."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import optimize
from tests.ir import invariants
from tests.ir.building import ops, run, same_bits, with_constants

W = np.arange(4 * 300 * 300, dtype=np.float32).reshape(1200, 300) / 1e5
PARTS = """a = Slice(w, k0, k1) b = Slice(w, k1, k2) c = Slice(w, k2, k3) d = Slice(w, k3, k4)
    v = Concat<axis=0>(a, d, b, c) u = Unsqueeze(v, k0)"""


def model(lines: str, outputs: str = "float[N,M,K] y", x: str = "float[1200,300] x", **more: np.ndarray):
    bounds = {f"k{i}": np.array([300 * i]) for i in range(5)}
    return with_constants(f"g ({x}) => ({outputs}) {{ {lines} }}", w=W, **bounds, **more)


def folded(proto, level: int = 1, **kwargs: object):
    m = optimize(proto, level=level, only="constant_folding", **kwargs)
    invariants.check(m)
    x = np.ones((1200, 300), np.float32)
    assert same_bits(run(m, x=x), run(proto, x=x))
    return m


@pytest.mark.parametrize("allowance", [0, 1 << 18, 1 << 20])
def test_gates_in_another_order(allowance: int) -> None:
    """The result is as large as the weights, which go; no part of it is."""
    m = folded(model(f"{PARTS} y = Add(x, u)"), fold_allowance=allowance)
    assert ops(m) == ["Add"]


def test_weights_that_stay() -> None:
    """The weights are read elsewhere too, so there would be twice as many."""
    proto = model(f"{PARTS} z = Add(x, u) y = Add(z, w)")
    assert "Concat" in ops(folded(proto, fold_allowance=0))
    assert ops(folded(proto, fold_allowance=W.nbytes)) == ["Add", "Add"]


def test_what_is_larger_in_the_end_stays() -> None:
    proto = model("e = Expand(w, s) t = Neg(e) y = Add(x, t)", s=np.array([8, 1200, 300]))
    assert ops(folded(proto)) == ["Expand", "Neg", "Add"]


def test_several_results() -> None:
    proto = model(f"{PARTS} p = Neg(v) y = Add(x, u) z = Add(x, p)", "float[N,M,K] y, float[N,M] z")
    m = folded(proto, fold_allowance=0)
    assert "Concat" in ops(m)
    assert ops(folded(proto, fold_allowance=W.nbytes)) == ["Add", "Add"]


def test_a_result_that_is_an_output() -> None:
    proto = model(f"{PARTS} y = Identity(u)")
    assert set(ops(folded(proto, fold_allowance=0))) <= {"Identity"}


def test_inside_a_branch() -> None:
    text = f"""g (float[1200,300] x, bool condition) => (float[N,M,K] y) {{
        y = If(condition) <then_branch = t () => (float[A,B,C] p) {{ {PARTS} p = Add(x, u) }},
                   else_branch = e () => (float[D,E,F] q) {{ q = Unsqueeze(x, k0) }}> }}"""
    proto = with_constants(text, w=W, **{f"k{i}": np.array([300 * i]) for i in range(5)})
    m = optimize(proto, level=1, only="constant_folding", fold_allowance=0)
    x = np.ones((1200, 300), np.float32)
    for c in (True, False):
        assert same_bits(run(m, x=x, condition=np.array(c)), run(proto, x=x, condition=np.array(c)))
    assert "Concat" not in [n.op for n in m.nodes()]


def test_transposed_weights_stay_at_level_one() -> None:
    """Products with a transposed matrix add up in another order."""
    lines = "a = Slice(w, k0, k1) b = Slice(w, k1, k2) t = Transpose(a) s = Transpose(b) v = Concat<axis=0>(t, s) y = MatMul(x, v)"
    proto = model(lines, "float[N,M] y", x="float[1200,600] x")
    m = optimize(proto, level=1, only="constant_folding", fold_allowance=0)
    assert "Transpose" in ops(m)
