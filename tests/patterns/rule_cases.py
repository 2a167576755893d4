"""Every rule is tried on models written in ONNX's text form: it must fire there, and the outputs must stay the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, parser

from graphopt.ir import Model, load
from graphopt.patterns import all_rules
from graphopt.rewrite import Driver, Ledger, Rewriter, Rule, RuleSet
from graphopt.shapes import infer_model


@dataclass(frozen=True)
class Case:
    """A graph in ONNX's text form (https://onnx.ai/onnx/repo-docs/Syntax.html).

    text: 'g (float[2,3] x) => (float[2,3] y) <float[1] c = {1.0}> { y = Mul(x, c) }'
    opset: of ONNX's own domain.
    nodes: how many nodes must be left, Constants apart; None: fewer than before, or as many.
    reason: for a refusal, a part of the reason; None: the pattern does not match at all.
    special: feed NaN, infinities and signed zeros too (exact rules are always fed them).
    low, high: range of float inputs. tolerance: relative to the largest output.
    """

    text: str
    opset: int = 17
    nodes: int | None = None
    reason: str | None = None
    special: bool = False
    low: float = -3.0
    high: float = 3.0
    tolerance: float = 1e-5


def build(case: Case) -> ModelProto:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": {case.opset}, "ai.onnx.ml": 3]>\n{case.text}')
    onnx.checker.check_model(model, full_check=True)
    return model


def apply(model: ModelProto, *rules: Rule) -> tuple[Model, Ledger]:
    """Run these rules alone."""
    m = load(model)
    infer_model(m)
    ledger = Ledger()
    Driver(Rewriter(m, ledger), RuleSet(rules)).run()
    if ledger.warnings:
        raise AssertionError(ledger.warnings)
    return m, ledger


def check_fires(name: str, case: Case) -> None:
    """The rule fires, the result is valid, and both models agree on the reference and on ONNX Runtime."""
    rule = all_rules()[name]
    original = build(case)
    result, ledger = apply(original, rule)
    fired = [s for s in ledger.steps if s.rule == name]
    assert fired, f"{name} did not fire; refusals: {dict(ledger.declined)}\n{rule.equation}"
    rewritten = result.proto
    onnx.checker.check_model(rewritten, full_check=True)
    assert [str(o) for o in rewritten.graph.output] == [str(o) for o in original.graph.output]
    before = sum(n.op_type != "Constant" for n in original.graph.node)
    if case.nodes is None:
        assert result.node_count() <= before or rule.always, onnx.printer.to_text(rewritten)
    else:
        assert result.node_count() == case.nodes, onnx.printer.to_text(rewritten)
    for seed in range(3):
        feeds = inputs(original, seed, case, special=(case.special or rule.exact) and seed == 2)
        for run in (run_reference, run_ort):
            compare(run(original, feeds), run(rewritten, feeds), rule.exact, case.tolerance)


def check_refuses(name: str, case: Case) -> None:
    """The rule does not fire, and says why."""
    rule = all_rules()[name]
    _, ledger = apply(build(case), rule)
    assert not ledger.steps, f"{name} fired: {ledger.steps}"
    if case.reason is not None:
        reasons = [reason for (r, reason) in ledger.declined if r == name]
        assert any(case.reason in r for r in reasons), f"reasons: {reasons}"


def inputs(model: ModelProto, seed: int, case: Case, special: bool = False) -> dict[str, np.ndarray]:
    """Random inputs; a named dim is 3, or 5 for odd seeds."""
    rng = np.random.default_rng(seed)
    out = {}
    constants = {t.name for t in model.graph.initializer}
    for i in model.graph.input:
        if i.name in constants:
            continue
        t = i.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else (3, 5)[seed % 2] for d in t.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(t.elem_type)
        if t.elem_type == TensorProto.BOOL:
            a = rng.random(shape) < 0.5
        elif np.dtype(dtype).kind in "iu":
            a = rng.integers(0 if np.dtype(dtype).kind == "u" else -4, 5, shape)
        else:
            a = rng.uniform(case.low, case.high, shape)
            if special:
                for k, x in enumerate((np.nan, np.inf, -np.inf, -0.0, 0.0)):
                    a.flat[k::7] = x
        out[i.name] = np.asarray(a).astype(dtype)
    return out


def run_reference(model: ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    with np.errstate(all="ignore"):
        return [np.asarray(o) for o in ReferenceEvaluator(model).run(None, feeds)]


def run_ort(model: ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feeds)


def compare(want: list[np.ndarray], got: list[np.ndarray], exact: bool, tolerance: float) -> None:
    assert len(want) == len(got)
    for w, g in zip(want, got, strict=True):
        assert w.dtype == g.dtype
        assert w.shape == g.shape
        if w.dtype.kind not in "fc":
            np.testing.assert_array_equal(w, g)
            continue
        np.testing.assert_array_equal(np.isnan(w), np.isnan(g))
        if exact:
            np.testing.assert_array_equal(w, g)
            known = ~np.isnan(w)
            np.testing.assert_array_equal(np.signbit(w[known]), np.signbit(g[known]))
            continue
        np.testing.assert_array_equal(w[np.isinf(w)], g[np.isinf(w)])
        finite = np.isfinite(w)
        scale = max(1.0, float(np.abs(w[finite]).max(initial=0)))
        np.testing.assert_allclose(
            g[finite] / scale, w[finite] / scale, rtol=0, atol=tolerance if w.dtype != np.float16 else 5e-3
        )
