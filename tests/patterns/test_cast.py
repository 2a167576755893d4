"""Rules of patterns/simplifying/cast.py."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from onnx import TensorProto, helper, parser

from graphopt.patterns import all_rules
from graphopt.patterns._elementwise import FLOATS, INTEGERS
from graphopt.patterns.simplifying.cast import _second_is_enough
from tests.patterns.elementwise_cases import flat
from tests.patterns.rule_cases import Case, apply, build, check_fires, check_refuses, run_ort, run_reference

F, D, H = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16
E4 = TensorProto.FLOAT8E4M3FN
I8, U8, I32, I64, U64, B, S = (
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT64,
    TensorProto.BOOL,
    TensorProto.STRING,
)


def two(source: str, a: int, b: int, target: str, **options: object) -> Case:
    text = f"g ({source}[N] x) => ({target}[N] y) {{ m = Cast<to={a}>(x) y = Cast<to={b}>(m) }}"
    return Case(text, **options)


FIRES = {
    "cast_nothing": [
        Case(f"g (float[N] x) => (float[N] y) {{ a = Cast<to={F}>(x) y = Relu(a) }}", nodes=1),
        Case(f"g (float[N] x) => (float[N] y) {{ a = Cast<to={F}>(x) y = Relu(a) }}", opset=7, nodes=1),
    ],
    "cast_cast": [
        two("float16", F, H, "float16", nodes=1),
        two("float16", F, D, "double", nodes=1),
        two("int32", I64, F, "float", nodes=1),
        two("int32", D, I64, "int64", nodes=1),
        two("int64", I32, I8, "int8", nodes=1),
        two("uint8", I32, B, "bool", nodes=1),
        two("bool", F, I64, "int64", nodes=1),
        two("bool", I32, B, "bool", nodes=1),
        # the first cast is needed elsewhere, but what was there before it is as good
        Case(
            f"g (float16[N] x) => (float16[N] y, float[N] z) "
            f"{{ m = Cast<to={F}>(x) z = Relu(m) n = Cast<to={H}>(m) y = Relu(n) }}",
            nodes=3,
        ),
    ],
    "cast_like": [
        Case("g (float[N] x, int64 z) => (int64[N] y) { y = CastLike(x, z) }", nodes=1, low=0.0),
        Case("g (float[N] x, float z) => (float[N] y) { a = CastLike(x, z) y = Relu(a) }", nodes=1),
        Case("g (int32[N] x) => (float[N] y) <float[0] c = {}> { y = CastLike(x, c) }", nodes=1),
    ],
}  # fmt: skip

MAY_CHANGE = "may change values"
REFUSES = {
    "cast_nothing": [
        Case(f"g (float[N] x) => (double[N] y) {{ y = Cast<to={D}>(x) }}", reason="dtype changes"),
        Case(f"g (int32[N] x) => (float[N] y) {{ y = Cast<to={F}>(x) }}", reason="dtype changes"),
    ],
    "cast_cast": [
        two("int16", F, H, "float16", reason=MAY_CHANGE),
        two("float", I32, F, "float", reason=MAY_CHANGE),
        two("float", H, F, "float", reason=MAY_CHANGE),
        two("double", F, D, "double", reason=MAY_CHANGE),
        two("int64", I32, I64, "int64", reason=MAY_CHANGE),
        two("int32", F, I32, "int32", reason=MAY_CHANGE),
        two("int32", U64, F, "float", reason=MAY_CHANGE),
        two("uint8", I8, I32, "int32", reason=MAY_CHANGE),
        two("int64", I32, B, "bool", reason=MAY_CHANGE),
        two("int32", B, I32, "int32", reason=MAY_CHANGE),
        two("float", B, F, "float", reason=MAY_CHANGE),
        two("float", D, I8, "int8", reason=MAY_CHANGE),
        two("int64", S, I64, "int64", reason=MAY_CHANGE),
        Case(
            f"g (float16[N] x) => (double[N] y, float[N] m) {{ m = Cast<to={F}>(x) y = Cast<to={D}>(m) }}",
            reason="nothing would be saved",
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), flat(FIRES))
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), flat(REFUSES))
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


# Strings and floats of 8 bits, which the harness cannot feed to every executor.
WRITTEN = [
    ("cast_nothing", Case(f"g (string[N] x) => (string[N] y) {{ a = Cast<to={S}>(x) y = Identity(a) }}"), {}),
    (
        "cast_nothing",
        Case(
            f"g (float8e4m3fn[N] x) => (float8e4m3fn[N] y) {{ a = Cast<to={E4}, saturate=0>(x) y = Identity(a) }}",
            opset=19,
        ),
        {},
    ),
    (
        "cast_like",
        Case("g (float[N] x, float8e4m3fn z) => (float8e4m3fn[N] y) { y = CastLike<saturate=0>(x, z) }", opset=19),
        {"to": E4, "saturate": 0},
    ),
]


@pytest.mark.parametrize(("rule", "case", "attributes"), WRITTEN)
def test_writes(rule: str, case: Case, attributes: dict[str, int]) -> None:
    result, ledger = apply(build(case), all_rules()[rule])
    assert [s.rule for s in ledger.steps] == [rule]
    (node,) = result.proto.graph.node
    assert {a.name: a.i for a in node.attribute} == attributes


#: How many of the 169 pairs of casts need only the second, by the dtype that they start from.
CLAIMED = dict(zip([*INTEGERS, *FLOATS, int(B)], [102, 64, 52, 43, 141, 79, 57, 43, 15, 15, 10, 5, 169], strict=True))
ORDINARY = [*INTEGERS, *FLOATS, int(B)]


def edges(dtype: int) -> np.ndarray:
    """Numbers at which conversions differ, as this dtype."""
    wanted = np.dtype(helper.tensor_dtype_to_np_dtype(dtype))
    powers = [2**k + d for k in range(64) for d in (-1, 0, 1)]
    whole = np.array([*powers, *(-p for p in powers), *range(-260, 261)], dtype=object)
    if dtype in INTEGERS:
        info = np.iinfo(wanted)
        return np.array([w for w in whole if info.min <= w <= info.max], dtype=wanted)
    if dtype == B:
        return np.array([False, True])
    numbers = [0.1, -0.1, 1 / 3, 1e-8, -1e-40, 65504.0, 65520.0, 3e38, np.nan, np.inf, -np.inf, -0.0]
    with np.errstate(all="ignore"):
        return np.array([*(float(w) for w in whole), *numbers]).astype(wanted)


@pytest.mark.parametrize("source", ORDINARY, ids=TensorProto.DataType.Name)
def test_second_cast_is_enough(source: int) -> None:
    """Whatever is claimed holds for NumPy's conversions, number by number."""
    x = edges(source)
    claimed = 0  # how many are claimed, so that none gets lost either
    for a, b in product(ORDINARY, repeat=2):
        if not _second_is_enough(source, a, b):
            continue
        claimed += 1
        first, second = (helper.tensor_dtype_to_np_dtype(t) for t in (a, b))
        with np.errstate(all="ignore"):
            want, got = x.astype(first).astype(second), x.astype(second)
        same(want, got, f"{a} {b}")
    assert claimed == CLAIMED[source]


@pytest.mark.parametrize("source", [t for t in ORDINARY if t != TensorProto.BFLOAT16], ids=TensorProto.DataType.Name)
def test_second_cast_is_enough_for_executors(source: int) -> None:
    """The same, all pairs in one model, on the reference and on ONNX Runtime (whose results NumPy must know)."""
    pairs = [p for p in product(ORDINARY, repeat=2) if _second_is_enough(source, *p) and p[1] != TensorProto.BFLOAT16]
    nodes, outputs = [], []
    for k, (a, b) in enumerate(pairs):
        nodes.append(helper.make_node("Cast", ["x"], [f"m{k}"], to=a))
        nodes.append(helper.make_node("Cast", [f"m{k}"], [f"w{k}"], to=b))
        nodes.append(helper.make_node("Cast", ["x"], [f"g{k}"], to=b))
        outputs += [helper.make_tensor_value_info(f"{n}{k}", b, ["N"]) for n in "wg"]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", source, ["N"])], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = edges(source)
    for run in (run_reference, run_ort):
        found = run(model, {"x": x})
        for pair, want, got in zip(pairs, found[::2], found[1::2], strict=True):
            same(want, got, f"{run.__name__}: {pair}")


def same(want: np.ndarray, got: np.ndarray, what: str) -> None:
    """Equal, NaN and the sign of zero included."""
    assert want.dtype == got.dtype
    if want.dtype.kind not in "iub":
        want, got = want.astype(np.float64), got.astype(np.float64)
        known = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(want[known]), np.signbit(got[known]), err_msg=what)
    np.testing.assert_array_equal(want, got, err_msg=what)


@pytest.mark.parametrize(
    "body", ["y = CastLike(x, u)", "y = CastLike(u, u)", "y = Cast<to=1>(u)", "a = Cast<to=11>(u) y = Cast<to=1>(a)"]
)
def test_unknown_dtype(body: str) -> None:
    """Of what other domains compute, nothing is known."""
    text = f'<ir_version: 8, opset_import: ["": 17, "other": 1]> g (float x) => (float y) {{ u = other.Op(x) {body} }}'
    _, ledger = apply(parser.parse_model(text), *(all_rules()[r] for r in FIRES))
    assert not ledger.steps
    assert ledger.declined
