"""What the table of operators makes: valid nodes, of which the kernels and ONNX Runtime give the same."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from onnx import defs

from graphopt.compare import compare
from graphopt.exec.executors import create
from graphopt.exec.kernels import operators
from graphopt.testing.operators import known_operators, operands_of
from graphopt.testing.operators.free import SingleNode, single_nodes
from graphopt.testing.schemas import written_schemas

_FULL, _BRIEF = 30, 6
_OLDEST = 7

#: What ONNX Runtime says where it has no kernel for what it is given: it has none, or not for this dtype or attribute, or
#: it puts the operator's function in its place, for a part of which it has none. Locales are up to the machine.
_NO_KERNEL = re.compile(
    "NOT_IMPLEMENTED|not supported|does not support|Type '.*' of input parameter|bound to different types|construct locale"
)

#: Operators with a kernel that nothing is drawn for.
_LEFT_OUT = {
    "a constant and what has a body: models are built of these by themselves": "Constant If Loop Scan SequenceMap",
    "gives other numbers each time": (
        "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike com.microsoft::BiasDropout"
    ),
    "takes a file": "ImageDecoder",
    "no checker lets it pass, as it claims to be ONNX's own": "SimplifiedLayerNormalization",
    "takes or gives a map": "ai.onnx.ml::CastMap ai.onnx.ml::DictVectorizer ai.onnx.ml::ZipMap",
    "its place was taken by TreeEnsemble": "ai.onnx.ml::TreeEnsembleClassifier ai.onnx.ml::TreeEnsembleRegressor",
}
#: Those of ONNX Runtime that neither exporters nor rules write: what it puts in itself, for one model or one device.
_RARE = """
    Attention BranchwiseRMSNorm CDist CausalConvWithState ConvTransposeWithDynamicPads CropAndResize
    DecoderMaskedMultiHeadAttention DynamicQuantizeLSTM DynamicTimeWarping EmbedLayerNormalization EngramGate
    FusedMatMulActivation GatedAdd GatedDeltaNet GatedRMSNorm GatherBlockQuantized GatherND GridSample GroupQueryAttention
    HyperConnectionPostMix HyperConnectionPreMix LinearAttention LinearAttentionGate MRotaryEmbedding MatMulBnb4
    MatMulInteger16 MatMulNBits MaxpoolWithMask MoE MoEGroupRouter MulInteger MultiHeadAttention NhwcMaxPool Pad QAttention
    QEmbedLayerNormalization QGemm QLinearAveragePool QLinearConcat QLinearConv QLinearReduceMean QLinearSoftmax QLinearWhere
    Range ReduceSumInteger SampleOp ScaledSiLU UnfoldTensor Unique VarlenCausalConvWithState WordConvEmbedding
"""


@dataclass
class Tally:
    """What became of the models of one operator."""

    counts: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def _try(op: str, opset: int | None, count: int) -> Tally:
    tally = Tally()

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(single_nodes(op, opset))
    def run(drawn: SingleNode | str) -> None:
        if isinstance(drawn, str):
            tally.counts["invalid"] += 1
            tally.invalid[drawn] += 1
            return
        tally.counts["valid"] += 1
        problem = _misplaced(op, drawn) or _problem(drawn)
        if problem is None:
            tally.counts["no kernel"] += 1
        elif problem:
            tally.wrong.append(f"{problem}\n{onnx.printer.to_text(drawn.model)}\n{drawn.feeds}")

    run()
    return tally


def _problem(drawn: SingleNode) -> str | None:
    """What is wrong with a model; '' where all agree, None where ONNX Runtime has no kernel."""
    source = drawn.model.SerializeToString()
    with np.errstate(all="ignore"):
        want = create("reference", source).run(drawn.feeds)
    for info in drawn.model.graph.output:
        if (text := _undeclared(info, want[info.name])) is not None:
            return f"{info.name} is declared otherwise: {text}"
    try:
        got = create("onnxruntime", source).run(drawn.feeds)
    except Exception as e:  # its errors have no class in common
        return None if _NO_KERNEL.search(str(e)) else f"ONNX Runtime: {e}"
    for name, value in want.items():
        c = compare(value, got[name], at_least=1e-6)  # its attributes are float32
        if not c.equal:
            return f"{name}: {c.detail or c.difference}; {value!r} for {got[name]!r}"
    return ""


def _undeclared(info: onnx.ValueInfoProto, value: Any) -> str | None:
    """How a tensor differs from its declaration, whose dims were inferred."""
    t = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not t.HasField("shape"):
        return None
    dims = [d.dim_value if d.HasField("dim_value") else None for d in t.shape.dim]
    same = len(dims) == value.ndim and all(d in (None, n) for d, n in zip(dims, value.shape, strict=True))
    return None if same else f"{dims} for {value.shape}"


def _misplaced(op: str, drawn: SingleNode) -> str | None:
    """An operand whose rank is another than the table says, to those who choose operands before the node."""
    graph, known = drawn.model.graph, operands_of(op)
    assert known is not None
    ranks = {t.name: len(t.dims) for t in graph.initializer} | {name: np.ndim(a) for name, a in drawn.feeds.items()}
    node = next(n for n in reversed(graph.node) if n.op_type == op.rpartition("::")[2])
    for i, (low, high) in known.ranks.items():
        if i < len(node.input) and not low <= ranks.get(node.input[i], low) <= high:
            return f"operand {i} has rank {ranks[node.input[i]]}, not {low} to {high}"
    return None


def _opsets(op: str) -> list[int | None]:
    """The opsets at which an operator changes, without those too old to matter; None: the newest."""
    domain, _, op_type = op.rpartition("::")
    if domain or not (found := [s for s in defs.get_all_schemas_with_history() if s.name == op_type and not s.domain]):
        return [None]
    versions = sorted({max(s.since_version, _OLDEST) for s in found})
    there = [v for v in versions if not defs.get_schema(op_type, v).deprecated]
    return [*there, *([] if defs.get_schema(op_type).deprecated else [None])]


@pytest.mark.parametrize("op", known_operators())
def test_what_is_drawn_is_valid_and_means_the_same_to_all(op: str) -> None:
    compared = 0
    *older, last = _opsets(op)
    for opset in (*older, last):
        tally = _try(op, opset, _FULL if opset is last else _BRIEF)
        assert not tally.wrong, (
            f"{op} at opset {opset or 'newest'}: {len(tally.wrong)} differ. {min(tally.wrong, key=len)}"
        )
        if opset is last:
            tried = tally.counts["valid"] + tally.counts["invalid"]
            assert tally.counts["valid"] >= 0.6 * tried, tally.invalid.most_common(3)
        compared += tally.counts["valid"] - tally.counts["no kernel"]
    if not compared:
        pytest.skip("ONNX Runtime has no kernel on this machine")


def test_every_operator_with_a_kernel_is_drawn_or_left_out_for_a_reason() -> None:
    left_out = {op for listed in _LEFT_OUT.values() for op in listed.split()} | {
        f"com.microsoft::{op}" for op in _RARE.split()
    }
    # the optimizer's own operators, and previews of operators that are to come
    public = [op for op in operators() if not op.startswith(("graphopt.", "ai.onnx.preview"))]
    drawn = set(known_operators())
    assert [op for op in public if op not in drawn | left_out] == []
    assert sorted(left_out & drawn) == []
    assert sorted(left_out - set(public)) == []
    assert sorted(drawn - set(public)) == []


def test_written_schemas_are_those_of_onnx_runtime() -> None:
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    theirs = {(s.domain, s.name): s for s in state.get_all_operator_schema()}
    for s in written_schemas():
        declared = theirs[s.domain, s.op_type]
        for ours, formal in ((s.inputs, declared.inputs), (s.outputs, declared.outputs)):
            assert [p.name for p in ours] == [p.name for p in formal], s.op_type
            assert [p.optional for p in ours] == [str(p.option).endswith("Optional") for p in formal], s.op_type
        allowed = {c.type_param_str: set(c.allowed_type_strs) for c in declared.type_constraints}
        for ours, formal in zip((*s.inputs, *s.outputs), (*declared.inputs, *declared.outputs), strict=True):
            names = {f"tensor({onnx.TensorProto.DataType.Name(t).lower()})" for t in ours.types}
            assert names <= allowed.get(formal.typeStr, {formal.typeStr}), (s.op_type, ours.name)
        assert set(s.attributes) <= set(declared.attributes), s.op_type


def test_all_options_of_an_operand_are_drawn() -> None:
    """Optional operands are there and left out, dtypes differ, operands are inputs and constants."""
    seen = Counter[str]()

    @settings(max_examples=60, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(single_nodes("Clip"))
    def look(drawn: SingleNode | str) -> None:
        if isinstance(drawn, SingleNode):
            graph = drawn.model.graph
            node = graph.node[-1]
            seen[f"{len([i for i in node.input if i])} operands"] += 1
            seen[f"dtype {graph.output[0].type.tensor_type.elem_type}"] += 1
            seen["constant" if graph.initializer else "inputs only"] += 1

    look()
    assert {"1 operands", "2 operands", "3 operands", "constant", "inputs only"} <= set(seen)
    assert sum(name.startswith("dtype") for name in seen) >= 4
