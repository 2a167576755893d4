"""Elements of shape tensors: whatever the sizes turn out to be, what is known of them is what a session computes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

import graphopt
from graphopt import load
from graphopt.ir import Model, Value
from graphopt.shapes import dims, infer_model, known_elements, operators_on_elements, text
from tests.ir.building import parse

INT64, INT32, FLOAT, DOUBLE, BOOL = (
    TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.BOOL,
)  # fmt: skip
NUMPY = {INT64: np.int64, INT32: np.int32, FLOAT: np.float32, DOUBLE: np.float64, BOOL: np.bool_}
#: Sizes of N, M and K that models are run with.
SIZES = [(2, 5, 4), (1, 1, 1), (0, 3, 2), (7, 1, 0), (12, 8, 9)]
INPUTS = "float[N, M, 3] x, float[K] z"


def run_all(proto: ModelProto, n: int, m: int, k: int) -> dict[str, np.ndarray] | None:
    """What a session computes for every value; None where the model cannot run with these sizes."""
    import onnxruntime as ort

    whole = ModelProto()
    whole.CopyFrom(proto)
    names = [o for node in proto.graph.node for o in node.output if o]
    del whole.graph.output[:]
    whole.graph.output.extend([ValueInfoProto(name=name) for name in names])
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    feeds = {"x": np.zeros((n, m, 3), np.float32), "z": np.zeros(k, np.float32)}
    try:
        session = ort.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return dict(zip(names, session.run(None, {i.name: feeds[i.name] for i in session.get_inputs()}), strict=True))
    except Exception:  # onnxruntime raises many types
        return None


def show(proto: ModelProto) -> str:
    """The constants and nodes of a model, for what Hypothesis reports."""
    graph = proto.graph
    constants = {t.name: numpy_helper.to_array(t).tolist() for t in graph.initializer}
    return "\n".join([str(constants), *(onnx.printer.to_text(n) for n in graph.node)])


def check(m: Model, real: dict[str, np.ndarray], sizes: tuple[int, int, int]) -> None:
    """What was inferred of each value is what it is. Skips the example where something was too large for its dtype."""
    names: dict[str, Any] = dict(zip(("N", "M", "K"), sizes))
    for v in all_values(m):
        array = real[v.name]
        what = f"{v.node} for {names}"
        assert v.dtype == helper.np_dtype_to_tensor_dtype(array.dtype), what
        assert v.shape is not None and len(v.shape) == array.ndim, what
        for d, size in zip(v.shape, array.shape, strict=True):
            assert dims.is_anonymous(d) or dims.substitute(d, names) == size, f"{v.shape} of {what}"
        known = known_elements(v)
        if known is None:
            continue
        assert known.shape == array.shape, what
        for e, element in zip(known.reshape(-1), array.reshape(-1).tolist(), strict=True):
            found = dims.substitute(e, names)
            if found is None or dims.is_anonymous(found):
                continue
            limit = 1 << {INT64: 63, INT32: 31, FLOAT: 24, DOUBLE: 53, BOOL: 1}[v.dtype]
            if not isinstance(e, (int, Fraction)) and not -limit <= found < limit:
                assume(False)
            assert found == (Fraction(element) if isinstance(element, float) else int(element)), f"{e} of {what}"


def all_values(m: Model) -> list[Value]:
    return [v for node in m.graph for v in node.outputs if v is not None]


def inferred(proto: ModelProto) -> Model:
    m = load(proto)
    facts = infer_model(m)
    assert not facts.conflicts, facts.conflicts
    return m


# ------------------------------------------------------------------------------------------------- operator by operator
#: For each operator lines that end with a `y`, and the elements of it: '?' is one that is not known, '*' one that is.
#: `k1` is the vector [1], `k_1` the scalar 1, `k1n2` the vector [1, -2].
CASES: list[tuple[str, str, str]] = [
    ("Shape", "y = Shape(x)", "N; M; 3"),
    ("Shape", "y = Shape<start=1>(x)", "M; 3"),
    ("Shape", "y = Shape<start=-2, end=-1>(x)", "M"),
    ("Shape", "y = Shape<start=-9, end=9>(x)", "N; M; 3"),
    ("Shape", "y = Shape<start=2, end=1>(x)", ""),
    ("Size", "y = Size(x)", "3*M*N"),
    ("ConstantOfShape", "y = ConstantOfShape<value = int64[1] {-7}>(k3)", "-7; -7; -7"),
    ("ConstantOfShape", "y = ConstantOfShape(k2)", "0; 0"),
    ("ConstantOfShape", "r = Shape(z) q = Shape(r) y = ConstantOfShape<value = int64[1] {-1}>(q)", "-1"),
    ("Range", "y = Range(k_1, k_7, k_2)", "1; 3; 5"),
    ("Range", "y = Range(k_7, k_1, k_n2)", "7; 5; 3"),
    ("Range", "y = Range(k_1, k_1, k_2)", ""),
    ("Identity", "s = Shape(x) y = Identity(s)", "N; M; 3"),
    ("Reshape", "s = Shape(x) y = Reshape(s, k1n1)", "N; M; 3"),
    ("Squeeze", "s = Shape<end=1>(x) y = Squeeze(s, k0)", "N"),
    ("Unsqueeze", "s = Shape(x) a = Gather(s, k_1) y = Unsqueeze(a, k0)", "M"),
    ("Flatten", "s = Shape(x) y = Flatten<axis=0>(s)", "N; M; 3"),
    ("Expand", "s = Shape<end=1>(x) y = Expand(s, k3)", "N; N; N"),
    ("Tile", "s = Shape<end=2>(x) y = Tile(s, k2)", "N; M; N; M"),
    ("Transpose", "s = Shape<end=2>(x) a = Unsqueeze(s, k0) b = Concat<axis=0>(a, a) y = Transpose(b)", "N; N; M; M"),
    ("Concat", "s = Shape(x) r = Shape(z) y = Concat<axis=0>(r, s, k1n2)", "K; N; M; 3; 1; -2"),
    ("Concat", "s = Shape(x) a = NonZero(x) c = Shape(a) y = Concat<axis=-1>(s, c)", "N; M; 3; 3; ?"),
    ("Slice", "s = Shape(x) y = Slice(s, k1, k3)", "M; 3"),
    ("Slice", "s = Shape(x) y = Slice(s, kn1, kn9, k0, kn1)", "3; M; N"),
    ("Slice", "s = Shape(x) y = Slice(s, k9, kn9, k0, kn2)", "3; N"),
    ("Slice", "s = Shape(x) y = Slice(s, kn1, kmin, k0, kn1)", "3; M; N"),
    ("Slice", "s = Shape(x) y = Slice(s, kn2, kmax)", "M; 3"),
    ("Slice", "s = Shape(x) y = Slice(s, k2, k1)", ""),
    ("Slice", "s = Shape(x) y = Slice(s, k2, k0, kn1, kn1)", "3; M"),
    ("Split", "s = Shape(x) y, a = Split(s, k2v1)", "N; M"),
    ("Gather", "s = Shape(x) y = Gather(s, k_1)", "M"),
    ("Gather", "s = Shape(x) y = Gather(s, k_n1)", "3"),
    ("Gather", "s = Shape(x) y = Gather<axis=0>(s, k1n2)", "M; M"),
    ("Gather", "s = Shape(x) a = Unsqueeze(s, k0) b = Concat<axis=0>(a, a) y = Gather<axis=1>(b, k1n2)", "M; M; M; M"),
    ("GatherElements", "s = Shape(x) y = GatherElements(s, k1n2)", "M; M"),
    ("GatherND", "s = Shape(x) i = Unsqueeze(k1n2, k1) y = GatherND(s, i)", "M; M"),
    ("ScatterElements", "s = Shape(x) y = ScatterElements(s, kn1, k9)", "N; M; 9"),
    ("ScatterND", "s = Shape(x) r = Shape(z) i = Unsqueeze(k1, k1) y = ScatterND(s, i, r)", "N; K; 3"),
    ("Pad", "s = Shape<end=2>(x) y = Pad(s, k2v1, kn_4)", "-4; -4; N; M; -4"),
    ("Pad", "s = Shape<end=2>(x) y = Pad(s, k2v1)", "0; 0; N; M; 0"),
    ("Add", "s = Shape(x) y = Add(s, k1)", "N + 1; M + 1; 4"),
    ("Sub", "s = Shape(x) y = Sub(k_1, s)", "1 - N; 1 - M; -2"),
    ("Mul", "s = Shape(x) r = Shape(z) y = Mul(s, r)", "K*N; K*M; 3*K"),
    ("Div", "s = Shape(x) y = Div(s, k2)", "floor(N/2); floor(M/2); 1"),
    ("Div", "s = Shape(x) t = Neg(s) y = Div(t, k2)", "?; ?; -1"),
    ("Div", "s = Shape(x) t = Sub(s, k1) y = Div(t, k2)", "floor(Max(0, N - 1)/2); floor(Max(0, M - 1)/2); 1"),
    ("Div", "y = Div(knumbers, k2)", "-3; -1; 0; 0; 0; 1; 3"),
    ("Div", "y = Div(knumbers, kn2)", "3; 1; 0; 0; 0; -1; -3"),
    ("Div", "s = Shape(x) t = Mul(s, kn4) y = Div(t, k2)", "-2*N; -2*M; -6"),
    ("Pow", "s = Shape(x) y = Pow(s, k2)", "N**2; M**2; 9"),
    ("Pow", "y = Pow(knumbers, k3)", "-343; -8; -1; 0; 1; 8; 343"),
    ("Min", "s = Shape(x) y = Min(s, k2, k9)", "Min(2, N); Min(2, M); 2"),
    ("Max", "s = Shape(x) y = Max(s, k2)", "Max(2, N); Max(2, M); 3"),
    ("Sum", "s = Shape(x) f = Cast<to=1>(s) y = Sum(f, f)", "2*N; 2*M; 6"),
    ("Mod", "s = Shape(x) y = Mod(s, k2)", "N - 2*floor(N/2); M - 2*floor(M/2); 1"),
    ("Mod", "y = Mod(knumbers, k3)", "2; 1; 2; 0; 1; 2; 1"),
    ("Mod", "y = Mod<fmod=1>(knumbers, k3)", "?"),
    ("Neg", "s = Shape(x) y = Neg(s)", "-N; -M; -3"),
    ("Abs", "y = Abs(knumbers)", "7; 2; 1; 0; 1; 2; 7"),
    ("Abs", "s = Shape(x) t = Sub(s, k1) y = Abs(t)", "?; ?; 2"),
    ("Sign", "y = Sign(knumbers)", "-1; -1; -1; 0; 1; 1; 1"),
    ("Sign", "s = Shape(x) t = Add(s, k1) y = Sign(t)", "1; 1; 1"),
    ("Floor", "s = Shape(x) f = Cast<to=1>(s) h = Mul(f, half) y = Floor(h)", "floor(N/2); floor(M/2); 1"),
    ("Ceil", "s = Shape(x) f = Cast<to=1>(s) h = Mul(f, half) y = Ceil(h)", "*; *; 2"),
    ("Round", "h = Mul(fnumbers, half) y = Round(h)", "-4; -1; 0; 0; 0; 1; 4"),
    ("Sqrt", "h = Mul(fnumbers, fnumbers) y = Sqrt(h)", "7; 2; 1; 0; 1; 2; 7"),
    ("Cast", "s = Shape(x) y = Cast<to=6>(s)", "N; M; 3"),
    ("Cast", "s = Shape(x) f = Cast<to=1>(s) h = Mul(f, half) y = Cast<to=7>(h)", "floor(N/2); floor(M/2); 1"),
    ("Cast", "h = Mul(fnumbers, half) y = Cast<to=7>(h)", "-3; -1; 0; 0; 0; 1; 3"),
    ("Cast", "h = Mul(fnumbers, half) y = Cast<to=9>(h)", "1; 1; 1; 0; 1; 1; 1"),
    ("Cast", "s = Shape(x) t = Add(s, k1) y = Cast<to=9>(t)", "1; 1; 1"),
    ("CastLike", "s = Shape(x) y = CastLike(s, half)", "N; M; 3"),
    ("Equal", "s = Shape(x) t = Concat<axis=0>(s, kn1) y = Equal(t, kn1)", "0; 0; 0; 1"),
    ("Equal", "s = Shape(x) y = Equal(s, k1)", "?; ?; 0"),
    ("Less", "s = Shape(x) y = Less(s, k_n1)", "0; 0; 0"),
    ("LessOrEqual", "s = Shape(x) y = LessOrEqual(k0, s)", "1; 1; 1"),
    ("Greater", "s = Shape(x) t = Add(s, k2) y = Greater(t, k1)", "1; 1; 1"),
    ("GreaterOrEqual", "s = Shape(x) y = GreaterOrEqual(s, k1)", "?; ?; 1"),
    ("And", "s = Shape(x) c = Equal(s, k3) d = Equal(s, k_n1) y = And(c, d)", "0; 0; 0"),
    ("Or", "s = Shape(x) c = Equal(s, k3) d = GreaterOrEqual(s, k0) y = Or(c, d)", "1; 1; 1"),
    ("Xor", "s = Shape(x) c = Equal(s, k3) d = Less(s, k0) y = Xor(c, d)", "?; ?; 1"),
    ("Not", "s = Shape(x) c = Less(s, k0) y = Not(c)", "1; 1; 1"),
    ("Where", "s = Shape(x) t = Concat<axis=0>(s, kn1) c = Equal(t, kn1) y = Where(c, k9, t)", "N; M; 3; 9"),
    ("Where", "s = Shape(x) c = Equal(s, k1) y = Where(c, k9, s)", "?; ?; 3"),
    ("Where", "s = Shape(x) c = Equal(s, k1) y = Where(c, s, s)", "N; M; 3"),
    ("ReduceSum", "s = Shape(x) y = ReduceSum<keepdims=0>(s, k0)", "M + N + 3"),
    ("ReduceProd", "s = Shape(x) y = ReduceProd<axes=[0], keepdims=1>(s)", "3*M*N"),
    ("ReduceMin", "s = Shape(x) y = ReduceMin(s)", "Min(3, M, N)"),
    ("ReduceMax", "s = Shape(x) y = ReduceMax(s)", "Max(3, M, N)"),
    ("CumSum", "s = Shape(x) y = CumSum(s, k_0)", "N; M + N; M + N + 3"),
    ("CumSum", "s = Shape(x) y = CumSum<exclusive=1, reverse=1>(s, k_0)", "M + 3; 3; 0"),
    # as exporters write it
    ("Floor", """s = Shape(x) a = Slice(s, k1, k2) f = Cast<to=1>(a) h = Mul(f, f_2) y = Floor(h)""", "2*M"),
    ("Concat", """s = Shape(x) a = Gather(s, k_0) b = Gather(s, k_1) c = Mul(a, b) d = Unsqueeze(c, k0)
        y = Concat<axis=0>(d, kn1)""", "M*N; -1"),
    ("Cast", """s = Shape(x) a = Gather(s, k_1) b = Cast<to=11>(a) c = Mul(b, dhalf) d = Floor(c) y = Cast<to=7>(d)""", "floor(M/2)"),
    ("Cast", """s = Shape(x) a = Gather(s, k_1) i = Cast<to=6>(a) b = Cast<to=1>(i) c = Div(b, f_4) d = Ceil(c) e = Cast<to=6>(d)
        y = Cast<to=7>(e)""", "*"),
    ("Concat", """s = Shape(x) a = Gather(s, k_1) b = Sub(a, k_1) c = Div(b, k_2) d = Add(c, k_1) e = Unsqueeze(d, k0)
        y = Concat<axis=0>(e, k1)""", "floor(Max(0, M - 1)/2) + 1; 1"),
    ("Where", """s = Shape(x) n = ConstantOfShape<value = int64[1] {1}>(k3) m = Mul(n, k_n1) c = Equal(kwish, m) y = Where(c, s, kwish)""",
     "N; M; 4"),
    ("Slice", """s = Shape(x) a = Concat<axis=0>(k0, k1) p = Reshape(a, k2n1) q = Slice(p, kn1, kmin, k0, kn1) r = Transpose(q)
        t = Reshape(r, kn1) y = Cast<to=7>(t)""", "1; 0"),
    ("Sub", "s = Shape(x) r = Shape(z) a = Gather(s, k_1) b = Gather(r, k_0) y = Sub(a, b)", "-K + M"),
    ("ScatterND", """s = Shape(x) e = ConstantOfShape<value = int64[1] {1}>(k3) i = Unsqueeze(k1, k1) u = Slice(s, k0, k1)
        y = ScatterND(e, i, u)""", "1; N; 1"),
]  # fmt: skip
CONSTANTS: dict[str, Any] = {
    **{f"k{i}": np.array([i]) for i in (0, 1, 2, 3, 9)},
    **{f"kn{i}": np.array([-i]) for i in (1, 2, 4, 9)},
    **{f"k_{i}": np.array(i) for i in (0, 1, 2, 7)},
    **{f"k_n{i}": np.array(-i) for i in (1, 2)},
    "k1n1": np.array([-1]),
    "k2n1": np.array([2, -1]),
    "k1n2": np.array([1, -2]),
    "k2v1": np.array([2, 1]),
    "kn_4": np.array(-4),
    "kmin": np.array([-(1 << 63)]),
    "kmax": np.array([(1 << 63) - 1]),
    "kwish": np.array([-1, -1, 4]),
    "knumbers": np.array([-7, -2, -1, 0, 1, 2, 7]),
    "fnumbers": np.float32([-7, -2, -1, 0, 1, 2, 7]),
    "half": np.float32(0.5),
    "dhalf": np.float64(0.5),
    "f_2": np.float32(2),
    "f_4": np.float32(4),
}


def case(lines: str, opset: int = 17) -> ModelProto:
    proto = parse(f"g ({INPUTS}) => (int64[R] y) {{ {lines} }}", opset, check=False)
    used = {i for n in proto.graph.node for i in n.input}
    proto.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in CONSTANTS.items() if name in used)
    proto.graph.output[0].type.Clear()
    return proto


def elements(proto: ModelProto, name: str = "y") -> list[str] | None:
    """The elements that are known of a value, as text."""
    (v,) = [v for v in all_values(inferred(proto)) if v.name == name]
    array = known_elements(v)
    return None if array is None else ["?" if dims.is_anonymous(e) else text.show(e) for e in array.reshape(-1)]


@pytest.mark.parametrize(("op", "lines", "known"), CASES, ids=[f"{op}-{i}" for i, (op, _, _) in enumerate(CASES)])
def test_each_operator(op: str, lines: str, known: str) -> None:
    proto = case(lines)
    assert op in {n.op_type for n in proto.graph.node}
    m = inferred(proto)
    ran = 0
    for sizes in SIZES:
        real = run_all(proto, *sizes)
        if real is not None:
            ran += 1
            check(m, real, sizes)
    assert ran >= 3, "the case is no model"
    found = elements(proto)
    if known == "?":
        assert found is None
        return
    assert found is not None
    expected = [e for e in known.split("; ") if e]
    assert [("*" if e == "*" and f != "?" else f) for e, f in zip(expected, found)] == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("factor", [0.1, 4 / 3, 1.7, 1 / 3, 0.9999])
@pytest.mark.parametrize(
    "lines", ["h = Mul(f, factor)", "h = Mul(factor, f)", "h = Div(f, factor)", "h = Add(f, factor)"]
)
def test_floats_that_a_session_rounds(factor: float, lines: str) -> None:
    """A factor with many digits: the product with a dim may lie on either side of a whole number."""
    proto = case(f"s = Shape(x) f = Cast<to=1>(s) {lines} y = Floor(h)")
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(factor), "factor"))
    found = elements(proto)
    assert found is None or found[:2] == ["?", "?"]


def test_every_operator_has_a_case() -> None:
    missing = set(operators_on_elements()) - {op for op, _, _ in CASES}
    assert missing <= {"Scatter"}, "Scatter is ScatterElements before opset 11"


@pytest.mark.parametrize(
    ("opset", "lines", "known"),
    [
        (9, "s = Shape(x) y = Slice<starts=[1], ends=[9]>(s)", "M; 3"),
        (9, "s = Shape(x) y = Slice<starts=[-2], ends=[-1], axes=[0]>(s)", "M"),
        (11, "s = Shape(x) a = Gather(s, k_1) b = Unsqueeze<axes=[0]>(a) y = Squeeze<axes=[0]>(b)", "M"),
        (11, "s = Shape(x) y = ReduceSum<axes=[0], keepdims=0>(s)", "M + N + 3"),
        (11, "s = Shape(x) y, a = Split<axis=0, split=[2, 1]>(s)", "N; M"),
        (10, "s = Shape(x) y = Scatter(s, kn1, k9)", "N; M; 9"),
        (18, "s = Shape(x) y = ReduceProd<keepdims=0>(s, k0)", "3*M*N"),
        (18, "s = Shape(x) y, a = Split<num_outputs=2>(s)", "N; M"),
        (21, "s = Shape(x) y = Reshape(s, k1n1)", "N; M; 3"),
    ],
)
def test_other_opsets(opset: int, lines: str, known: str) -> None:
    proto = case(lines, opset)
    m = inferred(proto)
    for sizes in SIZES:
        real = run_all(proto, *sizes)
        assert real is not None
        check(m, real, sizes)
    assert elements(proto) == known.split("; ")


def test_a_reduction_over_no_axes() -> None:
    """Not every session runs it."""
    assert elements(case("s = Shape(x) y = ReduceSum<noop_with_empty_axes=1>(s)", 13)) == ["N", "M", "3"]


@pytest.mark.parametrize(
    "lines",
    [
        "y = Mul(big, k9)",
        "y = Add(big, big)",
        "y = Sub(small, k9)",
        "y = Neg(smallest)",
        "y = Abs(smallest)",
        "a = Cast<to=6>(big) y = Add(a, a)",
        "a = Cast<to=1>(big) b = Mul(a, f_4) y = Cast<to=7>(b)",
        "y = Pow(big, k2)",
        "y = ReduceSum(both)",
        "y = ReduceProd(both)",
        "a = Cast<to=1>(odd) y = Cast<to=7>(a)",
        "a = Cast<to=1>(odd) b = Add(a, f_2) y = Cast<to=7>(b)",
        "a = Cast<to=1>(k1) b = Mul(a, tenth) c = Mul(b, tenth) y = Floor(c)",
        "a = Cast<to=1>(k9) b = Div(a, tenth) y = Floor(b)",
    ],
)
def test_what_a_dtype_cannot_hold(lines: str) -> None:
    """Whole numbers come round, floats are rounded: what is known is what a session computes, or nothing is."""
    m, real = overflowing(lines)
    for v in all_values(m):
        known = known_elements(v)
        for e, element in zip(known.reshape(-1) if known is not None else (), real[v.name].reshape(-1).tolist()):
            assert e is None or e == element, v.node


def overflowing(lines: str) -> tuple[Model, dict[str, np.ndarray]]:
    big = {"big": [1 << 62], "small": [-(1 << 63) + 1], "smallest": [-(1 << 63)], "both": [1 << 62, 1 << 62], "odd": [(1 << 24) + 1]}  # fmt: skip
    proto = case(lines)
    used = {i for n in proto.graph.node for i in n.input}
    for name, array in {**{n: np.array(a) for n, a in big.items()}, "tenth": np.float32(0.1)}.items():
        if name in used:
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
    real = run_all(proto, 2, 2, 2)
    assert real is not None
    graphopt.optimize(proto)
    return inferred(proto), real


def test_sums_that_come_round() -> None:
    m, real = overflowing("s = Shape<start=2>(x) t = Concat<axis=0>(s, both) y = CumSum(t, k_0)")
    known = known_elements(m.graph.outputs[0])
    for e, element in zip(() if known is None else known, real["y"].tolist()):
        assert e is None or e == element


@pytest.mark.parametrize(
    "lines",
    [
        "s = Shape(x) y = Slice(s, kn9, kmin, k0, kn1)",
        "a = Slice(x, kn9, kmin, k2, kn1) y = Shape(a)",
        "s = Shape(x) y = Slice(s, kn1, kmax, k0, kn1)",
        "a = Slice(x, kn1, kmax, k2, kn1) y = Shape(a)",
    ],
)
def test_slices_backwards_with_ends_outside(lines: str) -> None:
    """Runtimes differ here, so that nothing should be known."""
    proto = case(lines)
    real = run_all(proto, 2, 5, 4)
    assert real is not None
    check(inferred(proto), real, (2, 5, 4))


# --------------------------------------------------------------------------------------------------------------- chains
Draw = Callable[[st.SearchStrategy[Any]], Any]
WHOLE = (INT64, INT32)
REAL = (FLOAT, DOUBLE)


class Chain:
    """Random operators on small tensors that begin as shapes and constants."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.pool: list[tuple[str, int, tuple[int, ...]]] = []
        self.count = 0

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def one(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def node(self, op: str, inputs: list[str], dtype: int, shape: tuple[int, ...], **attributes: Any) -> None:
        name = self.name()
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.pool.append((name, dtype, shape))

    def constant(self, values: Any, dtype: int = INT64) -> str:
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.array(values, NUMPY[dtype]), name))
        return name

    def pick(self, dtypes: Any = None, where: Callable[[tuple[int, ...]], bool] = lambda shape: True) -> Any:
        fits = [v for v in self.pool if (dtypes is None or v[1] in dtypes) and where(v[2])]
        return self.one(fits) if fits else None

    def number(self, dtype: int) -> Any:
        if dtype in REAL:
            return self.one([0.5, 2.0, -1.0, 0.0, 1.0, 0.25, 3.0, 1.5, -0.5, 0.1])
        return self.one([0, 1, 2, -1, 3, -2, 5])

    # ------------------------------------------------------------------------------------------------------------ steps
    def step(self) -> None:
        steps = [self.source, self.literal, self.unary, self.binary, self.binary, self.divide, self.cast, self.cast]
        steps += [self.compare, self.choose, self.gather, self.slice, self.concat, self.rank, self.reduce, self.move]
        self.one(steps)()

    def source(self) -> None:
        start, end = self.one([0, 0, 1, -1, -2, 5]), self.one([None, None, 1, 2, -1, 9])
        size = len(range(3)[start:end])
        attributes = {"start": start} | ({} if end is None else {"end": end})
        self.node("Shape", ["x"], INT64, (size,), **attributes)
        if self.draw(st.booleans()):
            self.node("Shape", ["z"], INT64, (1,))
        else:
            self.node("Size", [self.one(["x", "z"])], INT64, ())

    def literal(self) -> None:
        dtype = self.one([INT64, INT64, INT32, FLOAT, DOUBLE])
        shape = self.one([(), (1,), (2,), (3,)])
        size = int(np.prod(shape))
        values = np.array([self.number(dtype) for _ in range(size)]).reshape(shape)
        self.pool.append((self.constant(values, dtype), dtype, shape))

    def unary(self) -> None:
        x = self.pick((*WHOLE, *REAL))
        if x is not None:
            ops = ["Neg", "Abs", "Sign", "Identity", *(["Floor", "Ceil", "Round", "Sqrt"] if x[1] in REAL else [])]
            self.node(self.one(ops), [x[0]], x[1], x[2])

    def binary(self) -> None:
        x = self.pick((*WHOLE, *REAL))
        if x is None:
            return
        if self.draw(st.booleans()):
            z = (self.constant(self.number(x[1]), x[1]), x[1], ())
        else:
            z = self.pick(
                (x[1],), lambda s: len(s) < 2 and len(x[2]) < 2 and (s == x[2] or 1 in (*s, *x[2]) or not s or not x[2])
            )
        if z is not None:
            pair = [x, z] if self.draw(st.booleans()) else [z, x]
            self.node(
                self.one(["Add", "Sub", "Mul", "Min", "Max"]),
                [v[0] for v in pair],
                x[1],
                np.broadcast_shapes(x[2], z[2]),
            )

    def divide(self) -> None:
        x = self.pick((*WHOLE, *REAL))
        if x is None:
            return
        by = self.one([2, 3, 4, -2, 1]) if x[1] in WHOLE else self.one([2.0, 4.0, 3.0, 0.5, -2.0])
        if x[1] in WHOLE and self.draw(st.booleans()):
            self.node(self.one(["Mod", "Mod", "Pow"]), [x[0], self.constant(abs(by), x[1])], x[1], x[2])
        else:
            self.node("Div", [x[0], self.constant(by, x[1])], x[1], x[2])

    def cast(self) -> None:
        x = self.pick()
        to = self.one([INT64, INT64, INT32, FLOAT, DOUBLE, BOOL])
        self.node("Cast", [x[0]], to, x[2], to=to)

    def compare(self) -> None:
        truth = self.pick((BOOL,))
        if truth is not None and self.draw(st.booleans()):
            other = self.pick((BOOL,), lambda s: s == truth[2])
            if self.draw(st.booleans()):
                self.node("Not", [truth[0]], BOOL, truth[2])
            else:
                self.node(self.one(["And", "Or", "Xor"]), [truth[0], other[0]], BOOL, truth[2])
            return
        x = self.pick((*WHOLE, *REAL))
        if x is not None:
            z = self.pick((x[1],), lambda s: s in (x[2], ()))
            other = z[0] if z is not None and self.draw(st.booleans()) else self.constant(self.one([-1, 0, 1, 3]), x[1])
            self.node(
                self.one(["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]), [x[0], other], BOOL, x[2]
            )

    def choose(self) -> None:
        c, x = self.pick((BOOL,)), self.pick((*WHOLE, *REAL))
        if c is not None and x is not None and x[2] in (c[2], ()):
            z = self.pick((x[1],), lambda s: s in (c[2], ()))
            self.node("Where", [c[0], x[0], z[0]], x[1], c[2])

    def gather(self) -> None:
        x = self.pick(None, lambda s: len(s) > 0 and s[0] > 0)
        if x is None:
            return
        n = x[2][0]
        if self.draw(st.booleans()):
            index = self.constant(self.draw(st.integers(-n, n - 1)))
            self.node("Gather", [x[0], index], x[1], x[2][1:])
        else:
            places = self.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=3))
            op = self.one(["Gather", "GatherElements"]) if len(x[2]) == 1 else "Gather"
            self.node(op, [x[0], self.constant(places)], x[1], (len(places), *x[2][1:]))

    def slice(self) -> None:
        x = self.pick(None, lambda s: len(s) > 0)
        if x is None:
            return
        axis = self.draw(st.integers(0, len(x[2]) - 1))
        n = x[2][axis]
        step = self.one([1, 1, 2, -1, -2])
        start, end = self.draw(st.integers(-4, 4)), self.one([*range(-4, 5), (1 << 63) - 1, -(1 << 63)])
        if step < 0 and (start < -n or end > n):
            return  # tests of their own, above
        size = len(range(*slice(start, None if step < 0 and end < -n else end, step).indices(n)))
        inputs = [self.constant([k]) for k in (start, end, self.one([axis, axis - len(x[2])]), step)]
        self.node("Slice", [x[0], *inputs], x[1], (*x[2][:axis], size, *x[2][axis + 1 :]))

    def concat(self) -> None:
        x = self.pick(None, lambda s: len(s) == 1)
        if x is not None:
            parts = [x, *(self.pick((x[1],), lambda s: len(s) == 1) for _ in range(self.draw(st.integers(0, 2))))]
            total = sum(p[2][0] for p in parts)
            if total <= 8:
                self.node("Concat", [p[0] for p in parts], x[1], (total,), axis=self.one([0, -1]))

    def rank(self) -> None:
        x = self.pick()
        size = int(np.prod(x[2]))
        kind = self.one(["Unsqueeze", "Squeeze", "Reshape", "Flatten"])
        if kind == "Unsqueeze" and len(x[2]) < 2:
            self.node("Unsqueeze", [x[0], self.constant([self.one([0, -1])])], x[1], (1, *x[2]))
            if x[2]:
                self.nodes[-1].input[1] = self.constant([0])
        elif kind == "Squeeze" and x[2][:1] == (1,):
            self.node("Squeeze", [x[0], self.constant([0])], x[1], x[2][1:])
        elif kind == "Reshape" and size:
            target = self.one([(size,), (1, size), (size, 1), *([()] if size == 1 else [])])
            written = [-1 if d == size and self.draw(st.booleans()) else d for d in target[:1]] + list(target[1:])
            self.node("Reshape", [x[0], self.constant(np.array(written, np.int64))], x[1], target)
        elif kind == "Flatten" and x[1] != BOOL:
            self.node("Flatten", [x[0]], x[1], (1, size), axis=0)

    def reduce(self) -> None:
        x = self.pick(WHOLE, lambda s: len(s) > 0 and int(np.prod(s)) > 0)
        if x is None:
            return
        if len(x[2]) == 1 and self.draw(st.booleans()):
            flags = {k: self.draw(st.integers(0, 1)) for k in ("exclusive", "reverse")}
            self.node("CumSum", [x[0], self.constant(self.one([0, -1]))], x[1], x[2], **flags)
            return
        keep = self.draw(st.integers(0, 1))
        op = self.one(["ReduceSum", "ReduceProd", "ReduceMin", "ReduceMax"])
        axis = self.draw(st.integers(0, len(x[2]) - 1))
        shape = (*x[2][:axis], *((1,) if keep else ()), *x[2][axis + 1 :])
        if op == "ReduceSum":
            self.node(op, [x[0], self.constant([axis])], x[1], shape, keepdims=keep)
        else:
            self.node(op, [x[0]], x[1], shape, keepdims=keep, axes=[axis])

    def move(self) -> None:
        x = self.pick((INT64, FLOAT), lambda s: len(s) > 0)
        if x is None:
            return
        kind = self.one(["Transpose", "Tile", "Expand", "Pad", "ScatterElements", "GatherND"])
        n = x[2][0]
        if kind == "Transpose":
            self.node("Transpose", [x[0]], x[1], x[2][::-1])
        elif kind == "Tile" and int(np.prod(x[2])) < 5:
            self.node("Tile", [x[0], self.constant([2] + [1] * (len(x[2]) - 1))], x[1], (2 * n, *x[2][1:]))
        elif kind == "Expand" and len(x[2]) == 1 and n < 5:
            self.node("Expand", [x[0], self.constant([2, 1])], x[1], (2, n))
        elif kind == "Pad" and len(x[2]) == 1 and n < 5:
            value = [self.constant(self.number(x[1]), x[1])] if self.draw(st.booleans()) else []
            self.node("Pad", [x[0], self.constant([1, 2]), *value], x[1], (n + 3,))
        elif kind == "ScatterElements" and len(x[2]) == 1 and n:
            z = self.pick((x[1],), lambda s: s == (1,))
            if z is not None:
                self.node(
                    "ScatterElements", [x[0], self.constant([self.draw(st.integers(-n, n - 1))]), z[0]], x[1], x[2]
                )
        elif kind == "GatherND" and len(x[2]) == 1 and n:
            self.node("GatherND", [x[0], self.constant([[self.draw(st.integers(-n, n - 1))]])], x[1], (1,))

    def model(self) -> ModelProto:
        x = helper.make_tensor_value_info("x", FLOAT, ["N", "M", 3])
        z = helper.make_tensor_value_info("z", FLOAT, ["K"])
        outputs = [ValueInfoProto(name=self.nodes[-1].output[0])]
        graph = helper.make_graph(self.nodes, "g", [x, z], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@st.composite
def chains(draw: Draw) -> ModelProto:
    c = Chain(draw)
    c.source()
    for _ in range(draw(st.integers(3, 14))):
        c.step()
    return c.model()


@settings(max_examples=250)
@given(chains(), st.tuples(st.integers(0, 5), st.integers(0, 70), st.integers(0, 3)))
def test_chains(proto: ModelProto, sizes: tuple[int, int, int]) -> None:
    note(show(proto))
    m = inferred(proto)
    for s in (sizes, (2, 4, 1)):
        real = run_all(proto, *s)
        if real is not None:
            check(m, real, s)


@settings(max_examples=60)
@given(chains())
def test_most_is_known(proto: ModelProto) -> None:
    """With numbers for all dims every whole number and truth value is known, overflow and what is rounded apart."""
    note(show(proto))
    for info, shape in zip(proto.graph.input, ((2, 4, 3), (1,))):
        info.type.CopyFrom(helper.make_tensor_type_proto(FLOAT, shape))
    real = run_all(proto, 2, 4, 1)
    assume(real is not None)
    m = inferred(proto)
    below: set[str] = set()
    for v in all_values(m):
        assert v.node is not None
        known = known_elements(v)
        if (
            known is None
            or None in known.reshape(-1).tolist()
            or below & {i.name for i in v.node.inputs if i is not None}
        ):
            assert (
                below or v.dtype in REAL or not real[v.name].size or np.abs(real[v.name].astype(float)).max() > 1e9
            ), v.node
            below.add(v.name)
