"""What runtimes have kernels for, and what `graphopt.optimize` makes of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper, parser

import graphopt
from graphopt.errors import ArgumentError
from graphopt.exec.executors import create, installed
from graphopt.ir import load
from graphopt.patterns import TARGET_PHASES
from graphopt.shapes import infer_model
from graphopt.targets import TARGETS, Kernel, Kernels, Target, target_of
from graphopt.testing.operators.free import SingleNode, single_nodes
from graphopt.testing.seeds import Seeded

FLOAT, DOUBLE, HALF = int(TensorProto.FLOAT), int(TensorProto.DOUBLE), int(TensorProto.FLOAT16)


def model(text: str, opset: int = 17) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]>\n{text}')


def refusals(kernels: Kernels, proto: onnx.ModelProto) -> list[str | None]:
    m = load(proto)
    infer_model(m)
    return [kernels.refuses(m, n) for n in m.nodes()]


# ------------------------------------------------------------------------------------------------------------- kernels
@pytest.mark.parametrize(
    ("kernel", "since", "implements"),
    [
        (Kernel(13), 13, True), (Kernel(13), 14, False), (Kernel(13), 7, False), (Kernel(7, 12), 7, True),
        (Kernel(7, 12), 9, True), (Kernel(7, 12), 13, False), (Kernel(7, 12), 6, False),
    ],
)  # fmt: skip
def test_an_open_end_knows_nothing_of_later_versions(kernel: Kernel, since: int, implements: bool) -> None:
    assert kernel.implements(since) is implements


@pytest.mark.parametrize("resized", ["", 'r = Resize <mode = "nearest"> (y, roi, scales)'])
def test_openvino_is_written_hard_swish(resized: str) -> None:
    """Of which it makes one kernel, and of HardSigmoid and Mul two."""
    text = """g (float[1,4,6,6] x) => (float[1,4,h,w] {out}) <float[0] roi = {{}}, float[4] scales = {{1, 1, 2, 2}}, float zero = {{0}},
        float three = {{3}}, float six = {{6}}> {{ a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six) {resized} }}"""
    m = graphopt.optimize(
        model(text.format(out="r" if resized else "y", resized=resized), 12), target="openvino", level=3
    )
    assert m.opsets[""] == 17 and "HardSwish" in {n.op for n in m.nodes()}


#: A Gelu of h, which has an operator of its own from opset 20 on.
CONSTANTS = "float r = {1.4142135}, float one = {1}, float half = {0.5}"
GELU = "d = Div(h, r) e = Erf(d) s = Add(e, one) p = Mul(h, s) y = Mul(p, half)"
NORM = """g (float[2,8] x, float[8,8] w) => (float[2,8] y) <float two = {2}, float eps = {0.00001}> {
    m = ReduceMean <axes = [-1]> (x) d = Sub (x, m) c = MatMul (d, w) y = Softmax (c) }"""


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "web"])
def test_a_model_that_gains_nothing_stays_at_its_opset(name: str) -> None:
    """It is raised for the rules, and goes back with its IR version, attributes and report."""
    m = graphopt.optimize(model(NORM, 13), target=name)
    assert m.opsets[""] == 13 and m.ir_version == 8
    assert [n.attributes["axes"] for n in m.nodes() if n.op == "ReduceMean"] == [[-1]]
    assert not m.graph.initializers, "nor is what it read as an input left behind"
    assert m.report is not None and not any("opset" in note for note in m.report.notes)
    onnx.checker.check_model(m.proto, full_check=True)


def test_a_model_stays_raised_where_its_own_opset_has_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels({key: [Kernel(1, 99)] for key in ("MatMul", "Sub", "Softmax")} | {"ReduceMean": [Kernel(18)]})
    monkeypatch.setitem(TARGETS, "web", Target("web", "a test", lambda: kernels, opset=18))
    assert graphopt.optimize(model(NORM, 13), target="web").opsets[""] == 18


def test_a_model_stays_at_its_opset_where_a_newer_one_has_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even for an operator that it would gain there."""
    names = ("Div", "Erf", "Add", "Mul", "Gelu")
    kernels = Kernels({op: [Kernel(1, 99)] for op in names} | {"ReduceMax": [Kernel(1, 17)]})
    monkeypatch.setitem(TARGETS, "web", Target("web", "a test", lambda: kernels, opset=20))
    text = f"g (float[2,8] x) => (float[2,1] y) <{CONSTANTS}> {{ h = ReduceMax <axes = [1]> (x) {GELU} }}"
    assert graphopt.optimize(model(text), target="web").opsets[""] == 17
    kernels = Kernels({op: [Kernel(1, 99)] for op in (*names, "ReduceMax")})
    assert graphopt.optimize(model(text), target="web").opsets[""] == 20


def test_why_a_node_is_refused() -> None:
    kernels = Kernels({"Add": [Kernel(7, 13, {"T": frozenset({FLOAT})}), Kernel(14, types={"T": frozenset({FLOAT})})]})
    text = "g ({0}[2] x) => ({0}[2] y) {{ y = {1}(x, x) }}"
    assert refusals(kernels, model(text.format("float", "Add"))) == [None]
    assert refusals(kernels, model(text.format("float16", "Add"))) == [None], "runs in float32, between Casts"
    assert refusals(kernels, model(text.format("double", "Add"))) == ["there is no kernel for Add of double"]
    assert refusals(kernels, model(text.format("float", "Mul"))) == ["there is no kernel for Mul"]
    old = Kernels({"Add": [Kernel(13)]})
    assert refusals(old, model(text.format("float", "Add"))) == ["there is no kernel for Add of version 14"]


def test_targets_are_what_they_say() -> None:
    for name, target in TARGETS.items():
        assert target.name == name
        assert target.about
        assert set(target.phases) <= set(TARGET_PHASES)
        if name == "onnxruntime-cuda":
            with pytest.raises(ArgumentError, match="onnxruntime-gpu"):
                target.kernels()
        elif name != "onnx":
            kernels = target.kernels()
            assert kernels is not None
            assert all(op in kernels for op in ("Add", "Conv", "MatMul", "Reshape"))
            for op in kernels.table:
                domain, _, operator = op.rpartition("::")
                assert domain.startswith("com.microsoft") or onnx.defs.has(operator, domain) or name == "onnxruntime"


def test_a_target_that_does_not_exist() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'onnxruntime'"):
        target_of("onnxrutime")
    with pytest.raises(ArgumentError, match="the targets are onnx, onnxruntime"):
        graphopt.optimize(model("g (float[2] x) => (float[2] y) { y = Relu(x) }"), target=None)


# --------------------------------------------------------------------------------------------------- tables are honest
@cache
def _loader(name: str) -> Callable[[bytes], Any]:
    if name == "web":
        one = create("web", model("g (float[2] x) => (float[2] y) { y = Relu(x) }").SerializeToString())
        return one.load
    return partial(create, name)


_NO_KERNEL = re.compile("Could not find an implementation|[Nn]o conversion rule|not been converted")
#: A spread over the families of operators.
OPERATORS = (
    "Add Attention AveragePool BatchNormalization Cast Clip Concat Conv ConvTranspose CumSum Einsum Erf Expand Gather GatherND Gelu "
    "Gemm GridSample HardSwish InstanceNormalization IsNaN LSTM LayerNormalization MatMul MatMulInteger Max Mish Mod NonZero "
    "OneHot PRelu Pad Pow QuantizeLinear RMSNormalization Range ReduceMean Reshape Resize RotaryEmbedding ScatterND Sign Slice "
    "Softmax Split Swish TopK Transpose Trilu Unique Where Xor"
).split()


@pytest.mark.slow
@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("target", ["onnxruntime", "web"])
def test_what_a_target_is_said_to_run_it_loads(target: str, op: str) -> None:
    """And what it is said not to run it refuses. Operators that a runtime writes out by itself count as run."""
    if target not in installed():
        pytest.skip(f"{target} is not installed")
    kernels = TARGETS[target].kernels()
    assert kernels is not None
    load_there = _loader(target)
    example = Seeded(single_nodes(op, 21 if onnx.defs.get_schema(op).since_version <= 21 else None))
    tried = 0
    for seed in range(100, 112):
        drawn = example(seed)
        if not isinstance(drawn, SingleNode):
            continue
        m = load(drawn.model)
        infer_model(m)
        if len(drawn.model.graph.node) != 1 or (target != "onnxruntime" and _is_mixed(drawn.model)):
            continue
        refused = [why for n in m.nodes() if (why := kernels.refuses(m, n))]
        lacks = None
        try:
            load_there(drawn.model.SerializeToString())
        except Exception as e:
            lacks = str(e)
        if lacks is None:
            schema: Any = onnx.defs.get_schema(op)
            written_out = schema.has_function or schema.has_context_dependent_function
            assert not refused or written_out or _between_casts(drawn.model), f"it runs, though {refused[0]}"
        elif _NO_KERNEL.search(lacks):
            assert refused, f"said to run it, but: {lacks}"
        tried += 1
    assert tried


@pytest.mark.slow
@pytest.mark.skipif("openvino" not in installed(), reason="openvino is not installed")
def test_the_table_of_openvino_is_what_it_says_now() -> None:
    """Asked in processes of their own, since OpenVINO ends some."""
    ops = ["Add", "Conv", "Gelu", "IsInf", "MatMul", "Softmax", "Unique", "com.microsoft::Gelu"]
    command = [sys.executable, "-m", "benchmarks.targets", "openvino", "--only", *ops]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    fresh = json.loads(done.stdout)
    kept = json.loads((Path(str(graphopt.__file__)).parent / "targets" / "openvino.json").read_text())
    if fresh["runtime"] != kept["runtime"]:
        pytest.skip(f"{fresh['runtime']} is installed, the table is of {kept['runtime']}")
    assert fresh["kernels"] == {op: kept["kernels"][op] for op in ops if op in kept["kernels"]}


def _is_mixed(proto: onnx.ModelProto) -> bool:
    """Whether there are several float dtypes: tables say what each variable may be, not what goes together."""
    types = {i.type.tensor_type.elem_type for i in (*proto.graph.input, *proto.graph.output)}
    types |= {t.data_type for t in proto.graph.initializer}
    return len(types & {FLOAT, DOUBLE, HALF, int(TensorProto.BFLOAT16)}) > 1


def _between_casts(proto: onnx.ModelProto) -> bool:
    return any(i.type.tensor_type.elem_type == HALF for i in (*proto.graph.input, *proto.graph.output))


# ----------------------------------------------------------------------------------------------------------- optimizing
pytest_ort = pytest.mark.skipif("onnxruntime" not in installed(), reason="onnxruntime is not installed")


@pytest_ort
def test_the_opset_is_raised_where_no_kernel_is_lost() -> None:
    original = model(f"g (float[2,8] h) => (float[2,8] y) <{CONSTANTS}> {{ {GELU} }}")
    m = graphopt.optimize(original, target="onnxruntime")
    assert m.opsets[""] == 23 and [n.op for n in m.nodes()] == ["Gelu"]
    assert m.report is not None
    assert m.report.level == 3
    assert any(note.startswith("opset 17 -> 23") for note in m.report.notes)
    assert graphopt.optimize(original, target="onnxruntime", opset=17).opsets[""] == 17
    text = "g (float16[2,8] x) => (float16[2,8] y) { y = Softmax(x) }"
    assert graphopt.optimize(model(text, 24), target="onnxruntime").opsets[""] == 24


@pytest_ort
def test_an_operator_without_a_kernel_is_written_out() -> None:
    original = model("g (float[2,8] x) => (float[2,8] y) { y = HardSwish(x) }")
    m = graphopt.optimize(original, target="onnxruntime")
    assert sorted(n.op for n in m.graph) == ["HardSigmoid", "Mul"]
    assert m.report is not None
    assert any("written out: 1 HardSwish" in note for note in m.report.notes)
    assert [n.op for n in graphopt.optimize(original, level=3).graph] == ["HardSwish"]
    spelt = model("g (float[2,8] x) => (float[2,8] y) { a = HardSigmoid<alpha = 0.16666667>(x) y = Mul(a, x) }")
    assert len(graphopt.optimize(spelt).graph) == 1
    assert len(graphopt.optimize(spelt, target="onnxruntime").graph) == 2, "no rule restores what the target lacks"
    graphopt.verify(original, m).raise_if_different()


@pytest_ort
def test_operators_that_cannot_be_written_out_are_named() -> None:
    original = model("g (double[2] x) => (double[2] y) { y = Acos(x) }")
    m = graphopt.optimize(original, target="onnxruntime")
    assert m.report is not None
    assert "onnxruntime has no kernel for 1 Acos" in m.report.notes
    assert m.opsets[""] == 17, "it is no better off at another opset"


def test_a_newer_opset_than_a_target_reads() -> None:
    m = graphopt.optimize(model("g (float[2,8] x) => (float[2,8] y) { y = Relu(x) }", 22), target="tensorrt")
    assert m.opsets[""] == 20


def test_levels_below_three_keep_the_canonical_form() -> None:
    constants = "float[8] s = {1, 1, 1, 1, 1, 1, 1, 1}"
    text = f"g (float[N,4,8] x, float[N,4,8] k) => (float[N,4,8] y) <{constants}> {{ a = Add(x, k) y = LayerNormalization(a, s) }}"
    if "onnxruntime" in installed():
        assert {n.op for n in graphopt.optimize(model(text), target="onnxruntime").graph} == {
            "Sum",
            "LayerNormalization",
        }
        assert "Add" in {n.op for n in graphopt.optimize(model(text), 2, target="onnxruntime").graph}
    assert "Add" in {n.op for n in graphopt.optimize(model(text), 3).graph}


def test_a_table_holds_versions_and_dtypes() -> None:
    from graphopt.targets.tables import kernels_in

    kernels = kernels_in({"kernels": {"Relu": [[1, 13, {}], [14, None, {"T": ["float"]}]]}})
    text = "g ({0}[2] x) => ({0}[2] y) {{ y = Relu(x) }}"
    assert refusals(kernels, model(text.format("double"), 13)) == [None]
    assert refusals(kernels, model(text.format("double"))) == ["there is no kernel for Relu of double"]
    assert helper.tensor_dtype_to_np_dtype(DOUBLE) == "float64"


@pytest_ort
def test_models_that_a_newer_opset_would_spoil_stay() -> None:
    """Weights that are inputs count as constants before IR version 4 only; another rank than is declared shows to newer inference."""
    weight = "float[8] w = {1, 2, 3, 4, 5, 6, 7, 8}"
    text = f"g (float[2,8] x, float[8] w) => (float[2,8] y) <{weight}, {CONSTANTS}> {{ h = Mul(x, w) {GELU} }}"
    old = parser.parse_model(f'<ir_version: 3, opset_import: ["": 9]>\n{text}')
    assert [i.name for i in old.graph.input] == ["x", "w"]
    for i in old.graph.initializer:
        if i.name != "w":
            old.graph.input.append(helper.make_tensor_value_info(i.name, FLOAT, []))
    assert graphopt.optimize(old, target="onnxruntime").opsets[""] == 9
    del old.graph.input[2:]
    old.ir_version = 4
    assert graphopt.optimize(old, target="onnxruntime").opsets[""] == 23
    reshaped = "k = Concat<axis = 0>(t, t, t) h = Reshape(x, k)"
    wrong = model(f"g (float[2,8] x, int64[1] t) => (float[16] y) <{CONSTANTS}> {{ {reshaped} {GELU} }}", 13)
    assert graphopt.optimize(wrong, target="onnxruntime").opsets[""] == 13
    del wrong.graph.output[0].type.tensor_type.shape.dim[:]
    for _ in range(3):
        wrong.graph.output[0].type.tensor_type.shape.dim.add()
    assert graphopt.optimize(wrong, target="onnxruntime").opsets[""] == 23
