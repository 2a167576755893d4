"""Rules of patterns/simplifying/transpose.py."""

from __future__ import annotations

import pytest

from graphopt.patterns import all_rules, rules_of
from tests.patterns.rule_cases import Case, check_fires, check_refuses

#: Opsets at which operators came that are younger than 17, and operand ranges where they are defined.
_SINCE = {"Gelu": 20, "Mish": 18}
_POSITIVE = ("Log", "Reciprocal", "Sqrt", "Pow")


def _unary(name: str) -> Case:
    attribute = "<to=10>" if name == "Cast" else ""
    dtype = "bool" if name == "Not" else "float"
    out = "float16" if name == "Cast" else dtype
    text = f"""g ({dtype}[2,N,4] x) => ({out}[A,B,C] y) {{
        a = Transpose<perm=[2,0,1]>(x) b = {name}{attribute}(a) y = Transpose<perm=[0,2,1]>(b) }}"""
    return Case(text, opset=_SINCE.get(name, 17), nodes=2, low=0.1 if name in _POSITIVE else -3.0)


def _binary(name: str) -> Case:
    dtype = "bool" if name in ("And", "Or") else "float"
    out = "bool" if name in ("And", "Or", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual") else "float"
    text = f"""g ({dtype}[2,N,4] x, {dtype}[1,N,4] z) => ({out}[A,B,C] y) {{
        a = Transpose<perm=[2,0,1]>(x) b = Transpose<perm=[2,0,1]>(z) y = {name}(a, b) }}"""
    return Case(text, nodes=2, low=0.1 if name in _POSITIVE else -3.0)


def _constant(name: str, shape: str, values: str, operands: str, nodes: int = 1) -> Case:
    text = f"""g (float[2,N,4] x) => (float[A,B,C] y) <float{shape} c = {{{values}}}> {{
        a = Transpose<perm=[0,2,1]>(x) b = {name}({operands}) y = Transpose<perm=[0,2,1]>(b) }}"""
    return Case(text, nodes=nodes, low=0.1 if name in _POSITIVE else -3.0)


def _reduce(name: str, attribute: str, opset: int, inputs: str = "a") -> Case:
    text = f"""g (float[2,N,4,5] x) => (float[A,B] y) <int64[2] axes = {{1, -2}}> {{
        a = Transpose<perm=[0,2,3,1]>(x) y = Reduce{name}<{attribute}>({inputs}) }}"""
    return Case(text, opset=opset, nodes=1)


FIRES = [
    ("transpose_transpose", Case("""g (float[2,3,4] x) => (float[N,M,K] y) {
        a = Transpose<perm=[1,2,0]>(x) y = Transpose(a) }""", nodes=1)),
    ("transpose_transpose", Case("""g (float[2,3,4,5] x) => (float[A,B,C,D] y) {
        a = Transpose<perm=[1,2,0,3]>(x) y = Transpose<perm=[3,0,1,2]>(a) }""", nodes=1)),
    ("transpose_nothing", Case("""g (float[2,3] x) => (float[2,3] y) {
        a = Transpose<perm=[0,1]>(x) y = Relu(a) }""", nodes=1)),
    ("transpose_nothing", Case("""g (float[N] x) => (float[N] y) { a = Transpose(x) y = Relu(a) }""", nodes=1)),
    ("transpose_of_ones", Case("""g (float[2,1,N,3] x) => (float[A,B,C,D] y) {
        y = Transpose<perm=[0,2,1,3]>(x) }""", nodes=1)),
    ("transpose_of_ones", Case("""g (float[N,1,7] x) => (float[A,B,C] y) { y = Transpose<perm=[0,2,1]>(x) }""", nodes=1)),
    ("transpose_of_ones", Case("""g (float[N,M,1,1] x) => (float[A,B,C,D] y) {
        y = Transpose<perm=[0,1,3,2]>(x) }""", nodes=1)),
    ("transpose_of_ones", Case("""g (float[1,2,3] x) => (float[A,B,C] y) {
        a = Transpose<perm=[1,0,2]>(x) y = Relu(a) }""", nodes=2)),
    ("reshape_transpose_reshape", Case("""g (float[N,3,S,8] x) => (float[A,B,C,D] y) <int64[1] t = {-1}, int64[1] e = {8}> {
        n = Shape<start=2,end=3>(x) l = Shape<end=2>(x)
        i = Concat<axis=0>(t, n, e) o = Concat<axis=0>(l, e, n)
        a = Reshape(x, i) b = Transpose<perm=[0,2,1]>(a) y = Reshape(b, o) }""", nodes=1)),
    ("reshape_transpose_reshape", Case("""g (float16[2,3,4,8] x) => (float16[A,B,C,D] y)
        <int64[3] i = {-1,4,8}, int64[4] o = {2,3,8,4}> {
        a = Reshape(x, i) b = Transpose<perm=[0,2,1]>(a) y = Reshape<allowzero=1>(b, o) }""", nodes=1)),
    ("reshape_of_moved_ones", Case("""g (float[S,1,N,8] x) => (float[A,B,C] y) <int64[1] e = {8}> {
        l = Shape<end=1>(x) n = Shape<start=2,end=3>(x) s = Concat<axis=0>(l, n, e)
        a = Transpose<perm=[0,2,1,3]>(x) y = Reshape(a, s) }""", nodes=1)),
    ("reshape_of_moved_ones", Case("""g (float[1,4,N] x) => (float[A,B] y) <int64[2] s = {2,-1}> {
        a = Transpose<perm=[1,0,2]>(x) y = Reshape(a, s) }""", nodes=1)),
    ("reshape_transpose_reshape", Case("""g (float[4,8] x) => (float[A,B] y) <int64[3] i = {-1,4,8}, int64[2] o = {8,4}> {
        a = Reshape(x, i) b = Transpose<perm=[0,2,1]>(a) y = Reshape(b, o) }""", nodes=1)),
    ("transpose_reshape_transpose_reshape", Case("""g (float[N,6,4] x) => (float[A,B,C] y)
        <int64[4] i = {0,2,3,4}, int64[3] o = {0,4,-1}> {
        a = Reshape(x, i) b = Transpose<perm=[0,3,1,2]>(a) c = Reshape(b, o) d = Transpose<perm=[0,2,1]>(c)
        y = Relu(d) }""", nodes=1)),
    ("transpose_clip_transpose", Case("""g (float[2,3,N] x) => (float[A,B,C] y) <float l = {-1.0}, float h = {0.5}> {
        a = Transpose<perm=[2,0,1]>(x) b = Clip(a, l, h) y = Transpose<perm=[1,2,0]>(b) }""", nodes=1)),
    ("transpose_clip_transpose", Case("""g (float[2,3,N] x) => (float[A,B,C] y) {
        a = Transpose<perm=[2,0,1]>(x) b = Clip<min=-1.0>(a) y = Transpose<perm=[0,2,1]>(b) }""", opset=10, nodes=2)),
    ("squeeze_transpose", Case("""g (float[N,1,3,1] x) => (float[A,B] y) <int64[2] axes = {0, -3}> {
        a = Transpose<perm=[1,3,0,2]>(x) y = Squeeze(a, axes) }""", nodes=1)),
    ("squeeze_transpose", Case("""g (float[N,1,3,4] x) => (float[A,B,C] y) {
        a = Transpose<perm=[0,2,3,1]>(x) y = Squeeze<axes=[3]>(a) }""", opset=11, nodes=1)),
    ("transpose_unsqueeze", Case("""g (float[N,M] x) => (float[A,B,C,D] y) <int64[2] axes = {0, -1}> {
        a = Unsqueeze(x, axes) y = Transpose<perm=[1,3,2,0]>(a) }""", nodes=1)),
    ("transpose_unsqueeze", Case("""g (float[N,M] x) => (float[A,B,C] y) {
        a = Unsqueeze<axes=[2]>(x) y = Transpose<perm=[2,0,1]>(a) }""", opset=11, nodes=1)),
    # Where the order is the old one, no transposition is left.
    ("transpose_relu_transpose", Case("""g (float[2,3,N] x) => (float[A,B,C] y) {
        a = Transpose<perm=[2,0,1]>(x) b = Relu(a) y = Transpose<perm=[1,2,0]>(b) }""", nodes=1)),
    # The transposition below is used elsewhere; the two that meet cancel, so one node is saved.
    ("transpose_neg_transpose", Case("""g (float[2,3] x) => (float[A,B] y, float[B,A] z) {
        a = Transpose(x) b = Neg(a) y = Transpose(b) z = Relu(a) }""", nodes=3)),
    ("transpose_leakyrelu_transpose", Case("""g (float[2,3] x) => (float[A,B] y) {
        a = Transpose(x) b = LeakyRelu<alpha=0.3>(a) y = Transpose(b) }""", nodes=1)),
    # One element, whatever its rank; a vector along an axis that moves; more dims; broadcasting x up.
    ("transpose_add_constant_transpose", _constant("Add", "", "2", "c, a")),
    ("transpose_mul_constant_transpose", Case("""g (float[2,N,4] x) => (float[A,B,C] y) <float[1,4,1] c = {1,2,3,4}> {
        a = Transpose<perm=[1,2,0]>(x) b = Mul(a, c) y = Transpose<perm=[2,0,1]>(b) }""", nodes=1)),
    ("transpose_sub_constant_transpose", Case("""g (float[2,N,4] x) => (float[A,B,C] y) <float[2] c = {5,7}> {
        a = Transpose<perm=[1,2,0]>(x) b = Sub(a, c) y = Transpose<perm=[1,0,2]>(b) }""", nodes=2)),
    ("transpose_constant_sub_transpose", Case("""g (float16[2,N,1] x) => (float16[A,B,C] y) <float16[3,1] c = {5,7,9}> {
        a = Transpose<perm=[1,2,0]>(x) b = Sub(c, a) y = Transpose<perm=[2,0,1]>(b) }""", nodes=1)),
    ("transpose_constant_div_transpose", Case("""g (int32[2,3] x) => (int32[A,B] y) <int32 o = {9}, int32[2] c = {60,90}> {
        p = Add(x, o) a = Transpose(p) b = Div(c, a) y = Transpose(b) }""", nodes=2)),
    # All axes; axes from attribute, input and left out.
    ("reduce_mean_of_transpose", _reduce("Mean", "axes=[1,2], keepdims=0", 13)),
    ("reduce_mean_of_transpose", _reduce("Mean", "keepdims=0", 18, "a, axes")),
    ("reduce_sum_of_transpose", _reduce("Sum", "keepdims=0", 13, "a, axes")),
    ("reduce_max_of_transpose", Case("""g (float[2,N] x) => (float y) {
        a = Transpose(x) y = ReduceMax<keepdims=0>(a) }""", nodes=1)),
]  # fmt: skip
FIRES += [(f"transpose_{n.lower()}_transpose", _unary(n)) for n in (
    "Abs Cast Ceil Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu "
    "Sigmoid Sign Sin Softplus Softsign Sqrt Tanh").split()]  # fmt: skip
FIRES += [(f"{n.lower()}_of_transposes", _binary(n)) for n in (
    "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mul Or Pow Sub").split()]  # fmt: skip
FIRES += [(f"transpose_{n.lower()}_constant_transpose", _constant(n, "[1]", "2", "a, c"))
          for n in "Add Div Max Min Mul Pow Sub".split()]  # fmt: skip
FIRES += [(f"transpose_constant_{n.lower()}_transpose", _constant(n, "[1]", "2", "c, a")) for n in ("Div", "Sub")]
FIRES += [(f"reduce_{n.lower()}_of_transpose", _reduce(n, "axes=[1,-2], keepdims=0", 11))
          for n in "L2 Max Mean Min Prod Sum".split()]  # fmt: skip

REFUSES = [
    ("transpose_nothing", Case("g (float[2,3] x) => (float[3,2] y) { y = Transpose(x) }", reason="order changes")),
    ("transpose_transpose", Case("""g (float[2,3] x) => (float[2,3] y, float[3,2] a) {
        a = Transpose(x) b = Transpose(a) y = Relu(b) }""", reason="nothing would be saved")),
    ("transpose_of_ones", Case("""g (float[2,1,N,3] x) => (float[A,B,C,D] y) {
        y = Transpose<perm=[2,1,0,3]>(x) }""", reason="may be larger than 1")),
    ("transpose_of_ones", Case("""g (float[2,N,M,3] x) => (float[A,B,C,D] y) {
        y = Transpose<perm=[0,2,1,3]>(x) }""", reason="may be larger than 1")),
    ("transpose_of_ones", Case("""g (float[N,1,M] x) => (float[A,B,C] y) {
        y = Transpose<perm=[0,2,1]>(x) }""", reason="constant shape")),
    ("transpose_of_ones", Case("""g (float[0,1,N] x) => (float[A,B,C] y) {
        y = Transpose<perm=[0,2,1]>(x) }""", reason="constant shape")),
    ("transpose_of_ones", Case("""g (float[2,3] x, int64[K] s) => (float[A,B] y) {
        a = Reshape(x, s) y = Transpose<perm=[1,0]>(a) }""", reason="rank is unknown")),
    # Another permutation; heads and rows exchanged; a dim that is only named like it.
    ("reshape_of_moved_ones", Case("""g (float[S,2,N,8] x) => (float[A,B] y) <int64[2] s = {-1,8}> {
        a = Transpose<perm=[0,2,1,3]>(x) y = Reshape(a, s) }""", reason="moves")),
    ("reshape_of_moved_ones", Case("""g (float[S,1,N,M] x, int64[3] s) => (float[A,B,C] y) {
        a = Transpose<perm=[0,2,1,3]>(x) y = Reshape(a, s) }""", reason="well enough")),
    ("reshape_transpose_reshape", Case("""g (float[2,3,4,8] x) => (float[A,B,C,D] y)
        <int64[3] i = {-1,4,8}, int64[4] o = {2,3,4,8}> {
        a = Reshape(x, i) b = Transpose<perm=[1,0,2]>(a) y = Reshape(b, o) }""", reason="behind one")),
    ("reshape_transpose_reshape", Case("""g (float[2,3,4,8] x) => (float[A,B,C,D] y)
        <int64[3] i = {-1,4,8}, int64[4] o = {3,2,8,4}> {
        a = Reshape(x, i) b = Transpose<perm=[0,2,1]>(a) y = Reshape(b, o) }""", reason="not those of x")),
    ("reshape_transpose_reshape", Case("""g (float[2,3,4,8] x) => (float[A,B,C,D] y)
        <int64[3] i = {-1,8,4}, int64[4] o = {2,3,4,8}> {
        a = Reshape(x, i) b = Transpose<perm=[0,2,1]>(a) y = Reshape(b, o) }""", reason="not those of x")),
    ("reshape_transpose_reshape", Case("""g (float[2,N,4,8] x) => (float[A,B,C,D] y)
        <int64[3] i = {-1,4,8}, int64[4] o = {-1,3,8,4}> {
        a = Reshape(x, i) b = Transpose<perm=[0,2,1]>(a) y = Reshape(b, o) }""", reason="not those of x")),
    ("reshape_transpose_reshape", Case("""g (float[2,3,4,8] x) => (float[A,B,C,D] y)
        <int64[3] i = {-1,2,16}, int64[4] o = {2,3,8,4}> {
        a = Reshape(x, i) b = Transpose<perm=[0,2,1]>(a) y = Reshape(b, o) }""", reason="not those of x")),
    ("reshape_transpose_reshape", Case("""g (float[32] x) => (float[A] y) <int64[3] i = {1,4,8}, int64[1] o = {-1}> {
        a = Reshape(x, i) b = Transpose<perm=[0,2,1]>(a) y = Reshape(b, o) }""", reason="behind one")),
    ("reshape_transpose_reshape", Case("""g (float[2,3,4] x, int64[K] i) => (float[A,B,C] y) <int64[3] o = {2,4,3}> {
        a = Reshape(x, i) b = Transpose<perm=[0,2,1]>(a) y = Reshape(b, o) }""", reason="behind one")),
    ("reshape_transpose_reshape", Case("""g (float[24] z, int64[K] r) => (float[A,B] y)
        <int64[3] i = {-1,4,3}, int64[2] o = {6,4}> {
        x = Reshape(z, r) a = Reshape(x, i) b = Transpose<perm=[0,2,1]>(a) y = Reshape(b, o) }""", reason="behind one")),
    ("transpose_reshape_transpose_reshape", Case("""g (float[2,6,4] x) => (float[A,B,C] y)
        <int64[4] i = {0,2,3,4}, int64[3] o = {0,8,-1}> {
        a = Reshape(x, i) b = Transpose<perm=[0,3,1,2]>(a) c = Reshape(b, o) y = Transpose<perm=[0,2,1]>(c) }""",
        reason="as many channels")),
    ("transpose_reshape_transpose_reshape", Case("""g (float[2,6,4] x) => (float[A,B,C] y)
        <int64[4] i = {0,2,3,4}, int64[3] o = {0,3,-1}> {
        a = Reshape(x, i) b = Transpose<perm=[0,2,1,3]>(a) c = Reshape(b, o) y = Transpose<perm=[0,2,1]>(c) }""",
        reason="not an image")),
    ("transpose_of_ones", Case("""g (float[2,3] x) => (float[2,3] y) { y = Transpose<perm=[0,1]>(x) }""",
        reason="may be larger than 1")),
    ("squeeze_transpose", Case("""g (float[N,1,3] x) => (float[A,B] y) <int64[1] axes = {1}> {
        a = Transpose<perm=[2,1,0]>(x) y = Squeeze(a, axes) }""", reason="order of the dims")),
    ("transpose_unsqueeze", Case("""g (float[N,M] x) => (float[A,B,C] y) <int64[1] axes = {0}> {
        a = Unsqueeze(x, axes) y = Transpose<perm=[2,0,1]>(a) }""", reason="order of the dims")),
    ("transpose_relu_transpose", Case("""g (float[2,3,4] x) => (float[A,B,C] y, float[D,E,F] z) {
        a = Transpose<perm=[2,0,1]>(x) b = Relu(a) y = Transpose<perm=[0,2,1]>(b) z = Neg(b) }""",
        reason="nothing would be saved")),
    ("transpose_relu_transpose", Case("""g (float[2,3,4] x) => (float[A,B,C] y, float[D,E,F] b) {
        a = Transpose<perm=[2,0,1]>(x) b = Relu(a) y = Transpose<perm=[0,2,1]>(b) }""",
        reason="nothing would be saved")),
    ("transpose_clip_transpose", Case("""g (float[2,3,4] x) => (float[A,B,C] y, float[D,E,F] b) <float h = {1.0}> {
        a = Transpose<perm=[2,0,1]>(x) b = Clip(a, h) y = Transpose<perm=[0,2,1]>(b) }""",
        reason="nothing would be saved")),
    # Different permutations, or only one side transposed, are no match; the same tensor twice is one transposition already.
    ("add_of_transposes", Case("""g (float[3,3,3] x, float[3,3,3] z) => (float[A,B,C] y) {
        a = Transpose<perm=[2,0,1]>(x) b = Transpose<perm=[1,2,0]>(z) y = Add(a, b) }""")),
    ("add_of_transposes", Case("""g (float[3,3] x, float[3] z) => (float[A,B] y) {
        a = Transpose(x) b = Transpose(z) y = Add(a, b) }""")),
    ("mul_of_transposes", Case("""g (float[2,3] x) => (float[A,B] y) {
        a = Transpose(x) y = Mul(a, a) }""", reason="nothing would be saved")),
    ("sub_of_transposes", Case("""g (float[2,3] x, float[2,3] z) => (float[A,B] y, float[C,D] a, float[C,D] b) {
        a = Transpose(x) b = Transpose(z) y = Sub(a, b) }""", reason="nothing would be saved")),
    # A constant with more dims than x would move them.
    ("transpose_add_constant_transpose", Case("""g (float[2,3] x) => (float[A,B,C] y) <float[2,1,1] c = {1,2}> {
        a = Transpose(x) b = Add(a, c) y = Transpose<perm=[0,2,1]>(b) }""", reason="adds dims")),
    ("transpose_add_constant_transpose", Case("""g (float[2,3] x) => (float[A,B,C] y) <float[1,1,1] c = {1}> {
        a = Transpose(x) b = Add(a, c) y = Transpose<perm=[0,2,1]>(b) }""", reason="adds dims")),
    ("transpose_constant_sub_transpose", Case("""g (float[2,3] x) => (float[A,B,C] y) <float[2,1,1] c = {1,2}> {
        a = Transpose(x) b = Sub(c, a) y = Transpose<perm=[0,2,1]>(b) }""", reason="adds dims")),
    ("transpose_pow_constant_transpose", Case("""g (float[2,3] x) => (float[A,B] y) <float[2] c = {1,2}> {
        a = Transpose(x) b = Pow(a, c) y = Transpose(b) }""", reason="too large")),
    # Dims that stay would change their order; dims of 1 that stay.
    ("reduce_mean_of_transpose", Case("""g (float[2,3,4,5] x) => (float[A,B] y) {
        a = Transpose<perm=[3,2,1,0]>(x) y = ReduceMean<axes=[1,2], keepdims=0>(a) }""", reason="order of the dims")),
    ("reduce_mean_of_transpose", Case("""g (float[2,3,4,5] x) => (float[A,B,C,D] y) {
        a = Transpose<perm=[0,2,3,1]>(x) y = ReduceMean<axes=[1,2]>(a) }""")),
    ("reduce_sum_of_transpose", Case("""g (float[2,3] x) => (float[A,B] y) {
        a = Transpose(x) y = ReduceSum<keepdims=0, noop_with_empty_axes=1>(a) }""")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_large_constants_are_not_rearranged() -> None:
    def case(rows: int) -> Case:
        values = ",".join(["1.5"] * (rows * 256))
        text = f"""g (float[256,{rows}] x) => (float[256,{rows}] y) <float[{rows},256] c = {{{values}}}> {{
            a = Transpose(x) b = Add(a, c) y = Transpose(b) }}"""
        return Case(text, nodes=1, reason="too large")

    check_fires("transpose_add_constant_transpose", case(256))
    check_refuses("transpose_add_constant_transpose", case(257))


def test_exact_where_no_rounding_depends_on_the_place() -> None:
    rules = all_rules()
    assert rules["transpose_relu_transpose"].exact and rules["sub_of_transposes"].exact
    assert not rules["transpose_exp_transpose"].exact and not rules["max_of_transposes"].exact
    assert rules["transpose_add_constant_transpose"].exact and not rules["transpose_max_constant_transpose"].exact
    assert rules["transpose_constant_sub_transpose"].exact and not rules["reduce_max_of_transpose"].exact


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("simplifying") if r.family == "transpose"} == {r for r, _ in FIRES}
