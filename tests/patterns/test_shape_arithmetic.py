"""Rules of patterns/simplifying/shape_arithmetic.py."""

from __future__ import annotations

import onnx
import pytest

from graphopt.patterns import all_rules, rules_of
from tests.patterns.rule_cases import Case, apply, build, check_fires, check_refuses, compare, inputs, run_ort

FIRES = [
    # Nobody else reads what is computed; x is read by others anyway; x is an input; through several operators.
    ("shape_of_same", Case("""g (float[N,M] x) => (int64[2] y) { a = Sqrt(x) b = Clip(a) y = Shape(b) }""", nodes=1)),
    ("shape_of_same", Case("""g (float[?,?] x) => (int64[2] y) { a = Sqrt(x) b = Clip(a) y = Shape(b) }""", nodes=1)),
    ("shape_of_same", Case("""g (float[N,2] x, float[2,4] k) => (int64[2] y, float[A,B] z, float[C,D] w) {
        m = MatMul(x, k) a = Relu(m) y = Shape(a) z = Neg(a) w = Abs(m) }""", nodes=5)),
    ("shape_of_same", Case("""g (float[N,2] x, float[2,4] k) => (int64[2] y, float[A,B] z, float[C,D] m) {
        m = MatMul(x, k) a = Relu(m) y = Shape(a) z = Neg(a) }""", nodes=4)),
    ("shape_of_same", Case("""g (float[N,2] x, float[2,4] k) => (int64[2] y) {
        m = MatMul(x, k) a = Relu(m) y = Shape(a) }""", nodes=2)),
    ("shape_of_same", Case("""g (float[N,M] x, float[M] s) => (int64[1] y, float[A,B] z) {
        a = LayerNormalization(x, s) y = Shape<start=-1>(a) z = Neg(a) }""", nodes=3)),
    ("shape_of_same", Case("""g (float[N,M] x, float[M] s) => (int64[2] y) { a = Add(s, x) y = Shape(a) }""", nodes=1)),
    ("dim_of_input", Case("""g (float[N,M] x, float[4,M] k) => (int64 y, float[A,B] z) <int64 j = {0}> {
        t = Transpose(x) a = MatMul(k, t) b = Transpose(a) s = Shape(b) y = Gather(s, j) z = Relu(b) }""")),
    ("dim_of_input", Case("""g (float[4,M] k, float[N,M] x) => (int64[1] y, float[A,B] z, int64[2] w) <int64[1] j = {-1}> {
        w = Shape(x) t = Transpose(x) a = MatMul(k, t) s = Shape(a) y = Gather<axis=0>(s, j) z = Relu(a) }""", nodes=5)),
    ("dim_of_input", Case("""g (float[M,K] k, float[4,N,M] x) => (int64[1] y) <int64[1] j = {-2}> {
        a = MatMul(x, k) s = Shape(a) y = Gather(s, j) }""", nodes=2)),
    ("dim_of_input", Case("""g (float[M,K] k, float[N,4,M] x) => (int64 y) <int64 j = {-3}> {
        a = MatMul(x, k) s = Shape(a) y = Gather(s, j) }""", nodes=2)),
    ("dims_of_input", Case("""g (float[4,M] k, float[7,N,M] x) => (int64[1] y) {
        t = Transpose<perm=[0,2,1]>(x) a = MatMul(k, t) y = Shape<start=-1, end=9>(a) }""", nodes=1)),
    ("gather_shape_transpose", Case("""g (float[N,M,4] x) => (int64[2] y, float[A,B,C] z) <int64[2] i = {-1,0}> {
        t = Transpose<perm=[2,0,1]>(x) s = Shape(t) y = Gather(s, i) z = Relu(t) }""", nodes=4)),
    ("gather_shape_transpose", Case("""g (float[N,M,4] x) => (int64 y) <int64 i = {1}> {
        r = Relu(x) t = Transpose<perm=[1,2,0]>(r) s = Shape(t) y = Gather(s, i) }""", nodes=3)),
    ("gather_shape_transpose", Case("""g (float[N,M,4] x) => (int64 y, float[A,B,C] z, float[D,E,F] w) <int64 i = {-3}> {
        r = Relu(x) t = Transpose<perm=[1,2,0]>(r) s = Shape(t) y = Gather(s, i) z = Neg(t) w = Abs(r) }""", nodes=6)),
    ("shape_of_constant_of_shape", Case("""g (float[N,M] x) => (float[A,B] y) {
        s = Shape(x) c = ConstantOfShape(s) t = Shape(c) y = ConstantOfShape(t) }""", nodes=2)),
    ("slice_shape", Case("""g (float[N,M,4,K] x) => (int64[2] y) <int64[1] a = {-3}, int64[1] b = {-1}, int64[1] z = {0}> {
        s = Shape(x) y = Slice(s, a, b, z) }""", nodes=1)),
    ("slice_shape", Case("""g (float[N,M,4] x) => (int64[2] y, int64[3] s) <int64[1] a = {1}, int64[1] b = {2147483647}> {
        s = Shape(x) y = Slice(s, a, b) }""", nodes=2)),
    # From one Shape; all of one vector; a vector that is no shape.
    ("concat_of_dims", Case("""g (float[N,M,4] x) => (int64[A] y) <int64[1] i = {0}, int64 j = {1}, int64[1] o = {0}> {
        s = Shape(x) a = Gather(s, i) b = Gather(s, j) c = Unsqueeze(b, o) r = Concat<axis=0>(a, c) y = Neg(r) }""", nodes=3)),
    ("concat_of_dims", Case("""g (int64[3] v) => (int64[A] y) <int64[1] i = {0}, int64[2] j = {1,2}> {
        a = Gather(v, i) b = Gather(v, j) r = Concat<axis=0>(a, b) y = Neg(r) }""", nodes=1)),
    ("concat_of_dims", Case("""g (int64[4] v) => (int64[A] y) <int64[1] i = {-3}, int64[1] j = {2}> {
        a = Gather(v, i) b = Gather(v, j) r = Concat<axis=0>(a, b) y = Neg(r) }""", nodes=2)),
    ("reshape_of_scalar", Case("""g (float x) => (float[A] y) <int64[1] s = {-1}> { y = Reshape(x, s) }""", nodes=1)),
    ("reshape_of_scalar", Case("""g (int64[N] x) => (int64[A] y) <int64 i = {0}, int64[1] s = {1}> {
        a = Gather(x, i) y = Reshape(a, s) }""", nodes=2)),
    ("reshape_of_scalar", Case("""g (float[1] x) => (float y) <int64[0] s = {}> { y = Reshape<allowzero=1>(x, s) }""", nodes=1)),
    ("where_minus_one", Case("""g (float[N,M] x) => (int64[A] y)
        <int64[2] m = {-1,-1}, int64[2] o = {1,1}> {
        s = Shape(x) e = Equal(s, m) w = Where(e, o, s) y = Neg(w) }""", nodes=2)),
    ("where_minus_one", Case("""g (float[N,M] x) => (int64[A] y)
        <int64[1] c = {4}, int64 m = {-1}, int64[1] o = {1}, int64[2] k = {-1,5}, int64[1] t = {2}, int64[1] u = {1}> {
        a = Shape<start=1>(x) b = Div(a, t) d = Add(b, u) s = Concat<axis=0>(d, k, a, c) e = Equal(m, s) w = Where(e, o, s) y = Neg(w) }""",
        nodes=5)),
    ("where_minus_one", Case("""g (float[N,3] x) => (int64[A] y) <int64 m = {-1}, int64[2] o = {7,8}, int64[1] c = {-1}> {
        a = Shape<start=1>(x) s = Concat<axis=0>(a, c) e = Equal(s, m) w = Where(e, o, s) y = Neg(w) }""", nodes=1)),
]  # fmt: skip

REFUSES = [
    # x is read by Sqrt alone and what Sqrt makes is needed: another reader of x would only be in the way.
    ("shape_of_same", Case("""g (float[N,M] x, float[M,K] k) => (int64[2] y, float[A,B] z) {
        m = MatMul(x, k) a = Sqrt(m) y = Shape(a) z = Neg(a) }""", reason="another reader")),
    ("shape_of_same", Case("""g (float[N,M] x, float[M,K] k) => (int64[2] y, float[A,B] a) {
        m = MatMul(x, k) a = Sqrt(m) y = Shape(a) }""", reason="another reader")),
    ("shape_of_same", Case("""g (float[1,1,N,M] x) => (int64[4] y) <float[4] k = {1,1,2,2}> {
        a = Resize(x, , k) y = Shape(a) }""", reason="no earlier")),
    ("shape_of_same", Case("""g (float[?,4] x, float[4] s) => (int64[2] y) {
        a, b = LayerNormalization(x, s) c = Relu(a) y = Shape(b) }""", reason="no earlier")),
    ("shape_of_same", Case("""g (bool c, float[N,M] x) => (int64[2] y) {
        y = If (c) <then_branch = t () => (int64[2] p) { a = Relu(x) p = Shape(a) },
                    else_branch = e () => (int64[2] q) { b = Relu(x) q = Shape(b) }> }""", reason="no earlier")),
    ("shape_of_same", Case("""g (float[N,M] x) => (int64[2] y) { a = Transpose(x) y = Shape(a) }""", reason="no earlier")),
    ("shape_of_same", Case("""g (float[N,1] x, float[M] k) => (int64[2] y) { a = Add(x, k) y = Shape(a) }""", reason="no earlier")),
    ("dim_of_input", Case("""g (float[N,M] x) => (int64 y) <int64 i = {1}> { s = Shape(x) y = Gather(s, i) }""", reason="no input")),
    ("dim_of_input", Case("""g (float[N,M] x) => (int64 y) <int64 i = {0}> {
        c = Concat<axis=0>(x, x) s = Shape(c) y = Gather(s, i) }""", reason="no input")),
    ("dim_of_input", Case("""g (float[N,M] x) => (int64[2] y) <int64[2] i = {0,1}> {
        c = Relu(x) s = Shape(c) y = Gather(s, i) }""", reason="no input")),
    ("dim_of_input", Case("""g (float[N,M] x, int64[K] s) => (int64 y) <int64 i = {0}> {
        r = Reshape(x, s) t = Shape(r) y = Gather(t, i) }""", reason="no input")),
    ("dims_of_input", Case("""g (float[N,M] x, int64[K] s) => (int64[A] y) {
        r = Reshape(x, s) y = Shape<start=0,end=1>(r) }""", reason="no input")),
    ("dims_of_input", Case("""g (float[N,M] x) => (int64[A] y) { c = Relu(x) y = Shape<start=0,end=2>(c) }""", reason="several dims")),
    ("dims_of_input", Case("""g (float[N,M] x) => (int64[A] y) { y = Shape<start=0,end=1>(x) }""", reason="no input")),
    ("dims_of_input", Case("""g (float[N,M] x) => (int64[A] y) { c = Concat<axis=0>(x, x) y = Shape<start=0,end=1>(c) }""",
        reason="no input")),
    ("gather_shape_transpose", Case("""g (float[N,M] x) => (int64 y, float[A,B] z) <int64 i = {1}> {
        r = Relu(x) t = Transpose(r) s = Shape(t) y = Gather(s, i) z = Neg(t) }""", reason="another reader")),
    ("slice_shape", Case("""g (float[N,M] x) => (int64[A] y) <int64[1] a = {0}, int64[1] b = {1}> {
        s = Shape(x) y = Slice(s, a, b) }""", opset=14, reason="no parameter 'start'")),
    ("slice_shape", Case("""g (float[N,M,K] x) => (int64[A] y) <int64[1] a = {0}, int64[1] b = {3}, int64[1] z = {0}, int64[1] t = {2}> {
        s = Shape(x) y = Slice(s, a, b, z, t) }""", reason="not dims in a row")),
    ("slice_shape", Case("""g (float[N,M,K] x) => (int64[A] y) <int64[1] a = {2}, int64[1] b = {1}> {
        s = Shape(x) y = Slice(s, a, b) }""", reason="no dim at all")),
    ("slice_shape", Case("""g (float[6] x, int64[K] r) => (int64[A] y) <int64[1] a = {-1}, int64[1] b = {9}> {
        p = Reshape(x, r) s = Shape(p) y = Slice(s, a, b) }""", reason="rank is unknown")),
    ("concat_of_dims", Case("""g (float[N,M] x) => (int64[A] y) <int64[1] i = {1}, int64[1] j = {0}> {
        s = Shape(x) a = Gather(s, i) b = Gather(s, j) y = Concat<axis=0>(a, b) }""", reason="in a row")),
    ("concat_of_dims", Case("""g (float[N,M,K] x) => (int64[A] y) <int64[1] i = {0}, int64[1] j = {2}> {
        s = Shape(x) a = Gather(s, i) b = Gather(s, j) y = Concat<axis=0>(a, b) }""", reason="in a row")),
    ("concat_of_dims", Case("""g (float[N,M] x, float[K,L] z) => (int64[A] y) <int64[1] i = {0}, int64[1] j = {1}> {
        s = Shape(x) t = Shape(z) a = Gather(s, i) b = Gather(t, j) y = Concat<axis=0>(a, b) }""", reason="in a row")),
    ("concat_of_dims", Case("""g (float[N] x) => (float[A] y) { y = Concat<axis=0>(x, x) }""", reason="not an integer")),
    ("concat_of_dims", Case("""g (float[N,M] x) => (int64[A] y) <int64[1] c = {3}> {
        n = Shape<end=1>(x) y = Concat<axis=0>(n, c) }""", reason="in a row")),
    ("concat_of_dims", Case("""g (float[N,M] x) => (int64[A] y) <int64[1] c = {3}> {
        n = Shape<start=1>(x) y = Concat<axis=0>(c, n) }""", reason="in a row")),
    ("concat_of_dims", Case("""g (float[N,M,K] x) => (int64[A] y) <int64[1] c = {3}> {
        n = Shape<end=1>(x) k = Shape<start=2>(x) y = Concat<axis=0>(n, c, k) }""", reason="in a row")),
    ("concat_of_dims", Case("""g (float[N,M] x, float[N,M] z) => (int64[A] y) {
        n = Shape<end=1>(x) m = Shape<start=1>(z) y = Concat<axis=0>(n, m) }""", reason="in a row")),
    ("concat_of_dims", Case("""g (int64 k) => (int64[A] y) <int64[0] c = {}, int64[1] z = {0}> {
        n = Unsqueeze(k, z) y = Concat<axis=0>(c, n) }""", reason="out of range")),
    ("reshape_of_scalar", Case("""g (float[N] x) => (float[A] y) <int64[1] s = {-1}> { y = Reshape(x, s) }""", reason="neither")),
    ("reshape_of_scalar", Case("""g (float x) => (float[A,B] y) <int64[2] s = {1,1}> { y = Reshape(x, s) }""", reason="neither")),
    ("reshape_of_scalar", Case("""g (float[1,1] x) => (float y) <int64[0] s = {}> { y = Reshape(x, s) }""", reason="neither")),
    ("where_minus_one", Case("""g (int64[2] s) => (int64[A] y) <int64 m = {-1}, int64 o = {1}> {
        e = Equal(s, m) y = Where(e, o, s) }""", reason="may be -1")),
    ("where_minus_one", Case("""g (float[N,M] x) => (int64[A] y) <int64 m = {-1}, int64 o = {1}, int64 k = {1}> {
        n = Shape(x) s = Sub(n, k) e = Equal(s, m) y = Where(e, o, s) }""", reason="may be -1")),
    ("where_minus_one", Case("""g (int64[2,2] s) => (int64[A,B] y) <int64 m = {-1}, int64 o = {1}> {
        e = Equal(s, m) y = Where(e, o, s) }""", reason="compared with -1")),
    ("where_minus_one", Case("""g (float[N,M] x) => (int64[A] y) <int64 m = {-1}, int64 o = {1}, int64[1] c = {-1}> {
        n = Shape(x) t = Concat<axis=0>(n, c) s = Reshape(t, c) e = Equal(s, m) y = Where(e, o, s) }""", reason="no Concat")),
    ("where_minus_one", Case("""g (float[N,M] x) => (int64[A] y) <int64 m = {0}, int64 o = {1}> {
        s = Shape(x) e = Equal(s, m) y = Where(e, o, s) }""", reason="compared with -1")),
    ("where_minus_one", Case("""g (float[N,M] x) => (int64[A,B] y) <int64[1,1] m = {-1}, int64 o = {1}> {
        s = Shape(x) e = Equal(s, m) y = Where(e, o, s) }""", reason="compared with -1")),
    ("where_minus_one", Case("""g (float[N] x) => (int64[A] y) <int64 m = {-1}, int64[2] o = {1,2}> {
        s = Shape(x) e = Equal(s, m) y = Where(e, o, s) }""", reason="compared with -1")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


@pytest.mark.parametrize(("text", "read"), [
    # Exp must be computed for Abs anyway, so p keeps its one reader.
    ("p = MatMul(x, k) m = Exp(p) a = Sqrt(m) b = Relu(a) y = Shape(b) w = Abs(m)", "m"),
    ("p = MatMul(x, k) m = Exp(p) a = Sqrt(m) b = Relu(a) y = Shape(b) w = Abs(p)", "p"),
    ("p = MatMul(x, k) m = Exp(p) a = Sqrt(m) y = Shape(a) w = Abs(a)", None),
    ("p = Add(x, x) m = Exp(p) a = Sqrt(m) y = Shape(a) w = Abs(a)", "x"),
])  # fmt: skip
def test_where_a_shape_is_read(text: str, read: str | None) -> None:
    case = Case(f"g (float[N,4] x, float[4,5] k) => (int64[2] y, float[A,B] w) {{ {text} }}")
    result, ledger = apply(build(case), all_rules()["shape_of_same"])
    assert bool(ledger.steps) == (read is not None)
    assert read is None or [n.inputs[0].name for n in result.graph if n.op == "Shape" and n.inputs[0]] == [read]


@pytest.mark.parametrize(("first", "last", "shapes"), [
    ("w = Shape(x)", "", 1),
    ("", "w = Shape(x)", 2),
    ("w = Shape<start=1>(x)", "", 2),
    ("w = Shape<end=2>(x)", "", 2),
])  # fmt: skip
def test_the_shape_of_an_input_is_taken_where_it_is_known(first: str, last: str, shapes: int) -> None:
    case = Case(f"""g (float[4,M] k, float[N,M] x) => (int64 y, int64[A] w) <int64 j = {{1}}> {{
        {first} t = Transpose(x) a = MatMul(k, t) s = Shape(a) y = Gather<axis=0>(s, j) {last} }}""")
    result, ledger = apply(build(case), all_rules()["dim_of_input"])
    assert len(ledger.steps) == 1 and sum(n.op == "Shape" for n in result.graph) == shapes
    onnx.checker.check_model(result.proto, full_check=True)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("simplifying") if r.family == "shape_arithmetic"} == {r for r, _ in FIRES}


#: What exporters write for x.view(n, m, 4, -1), y.expand(n, m, -1, -1) and x[:, :m].
EXPORTED = Case("""g (float[N,M,32] x, float[1,1,4,8] y) => (float[A,B,C,D] o)
    <int64 zero = {0}, int64 one = {1}, int64[1] z = {0}, int64[1] u = {1}, int64[1] four = {4}, int64[1] left = {-1},
     int64[4] minus = {-1,-1,-1,-1}, int64[4] ones = {1,1,1,1}> {
    s = Shape(x) n = Gather(s, zero) t = Shape(x) m = Gather(t, one)
    n1 = Unsqueeze(n, z) m1 = Unsqueeze(m, z)
    f = Concat<axis=0>(n1, m1, four, left) v = Reshape(x, f)
    c = Concat<axis=0>(n1, m1, left, left) r = Reshape(c, left) e = Equal(r, minus) w = Where(e, ones, r)
    b = Expand(y, w) p = Add(v, b)
    m2 = Unsqueeze(m, z) q = Slice(p, z, m2, u, u) o = Relu(q) }""")


def test_what_exporters_write_is_gone() -> None:
    rules = [
        r
        for r in rules_of("simplifying")
        if r.family in ("reshape", "slicing", "splitting", "shape_arithmetic", "transpose")
    ]
    original = build(EXPORTED)
    result, _ = apply(original, *rules)
    result, _ = apply(result.proto, *rules)  # with what inference knows now
    onnx.checker.check_model(result.proto, full_check=True)
    assert sorted(n.op for n in result.graph) == ["Add", "Relu", "Reshape"]
    for seed in range(2):
        feeds = inputs(original, seed, EXPORTED)
        compare(run_ort(original, feeds), run_ort(result.proto, feeds), True, 0)
