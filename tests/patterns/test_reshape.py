"""Rules of patterns/simplifying/reshape.py."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.patterns import all_rules, rules_of
from tests.patterns.rule_cases import Case, apply, build, check_fires, check_refuses, compare, run_ort

_LOGIC = ("And", "Or")
_COMPARE = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")

#: Makes r, which is x at run time, a tensor of which inference knows not even the rank. Needs <bool[...] all = {1,...}>.
_UNKNOWN_RANK = "s0 = Shape(x) s1 = Compress(s0, all) r = Reshape(x, s1)"


def _of_expand(name: str, left: bool) -> Case:
    dtype = "bool" if name in _LOGIC else "float"
    out = "bool" if name in _LOGIC + _COMPARE else "float"
    operands = "e, z" if left else "z, e"
    text = f"""g ({dtype}[N,1] x, {dtype}[2,N,4] z) => ({out}[A,B,C] y) <int64[2] s = {{1, 4}}> {{
        e = Expand(x, s) y = {name}({operands}) }}"""
    return Case(text, nodes=1, low=0.1)


FIRES = [
    # The same shape, from numbers, from copies, from the one that is left, and from the tensor's own dims.
    ("reshape_nothing", Case("""g (float[2,3] x) => (float[2,3] y) <int64[2] s = {2,3}> {
        a = Reshape(x, s) y = Relu(a) }""", nodes=1)),
    ("reshape_nothing", Case("""g (float[2,N] x) => (float[2,N] y) <int64[2] s = {2,-1}> {
        a = Reshape(x, s) y = Relu(a) }""", nodes=1)),
    ("reshape_nothing", Case("""g (float[N,M] x) => (float[N,M] y) <int64[2] s = {0,-1}> {
        a = Reshape(x, s) y = Relu(a) }""", nodes=1)),
    ("reshape_nothing", Case("""g (float[N,M] x) => (float[N,M] y) {
        s = Shape(x) a = Reshape(x, s) y = Relu(a) }""", nodes=1)),
    ("reshape_nothing", Case("""g (float[N,M,4] x, float[M] z) => (float[N,M,4] y) <int64 i = {0}, int64[1] c = {4}, int64[1] o = {0}> {
        s = Shape(x) t = Shape(z) d = Gather(s, i) e = Unsqueeze(d, o) f = Concat<axis=0>(e, t, c)
        a = Reshape<allowzero=1>(x, f) y = Relu(a) }""", opset=14, nodes=1)),
    ("reshape_nothing", Case("""g (float[N,4] x, int64[1] n) => (float[N,4] y) <int64[1] c = {4}> {
        b = Shape<end=1>(x) s = Concat<axis=0>(b, c) a = Reshape(x, s) y = Relu(a) }""", nodes=1)),
    ("reshape_nothing", Case("""g (float x) => (float y) <int64[0] s = {}> { a = Reshape(x, s) y = Relu(a) }""", nodes=1)),
    ("reshape_nothing", Case("""g (string[2,3] x) => (int64[2] y) <int64[2] s = {2,3}> {
        a = Reshape(x, s) y = Shape(a) }""", nodes=1)),
    # One that nobody knows beside sizes above 0 has no choice.
    ("reshape_nothing", Case("""g (float[N,1,6] x) => (float[A,B,C] y) <int64[2] c = {1,6}> {
        s = Shape<end=1>(x) n = ReduceMax(s) t = Concat<axis=0>(n, c) a = Reshape(x, t) y = Relu(a) }""", nodes=1)),
    ("reshape_nothing", Case("""g (float[?,?] x) => (float[A,B] y) { s = Shape(x) a = Reshape(x, s) y = Relu(a) }""", nodes=1)),
    ("reshape_reshape", Case("""g (float[2,3,4] x) => (float[A,B] y) <int64[2] a = {6,4}, int64[2] b = {-1,3}> {
        r = Reshape(x, a) y = Reshape(r, b) }""", nodes=1)),
    # 0 copies from the inner shape: a number, the one that it infers, or a dim that x has at the same place.
    ("reshape_reshape", Case("""g (float[2,3,4] x) => (float[A,B] y) <int64[2] a = {6,4}, int64[2] b = {0,-1}> {
        r = Reshape(x, a) y = Reshape(r, b) }""", nodes=1)),
    ("reshape_reshape", Case("""g (float[N,3,4] x) => (float[A,B,C,D] y) <int64[2] a = {0,12}, int64[4] b = {0,2,-1,3}> {
        r = Reshape(x, a) y = Reshape(r, b) }""", nodes=1)),
    ("reshape_reshape", Case("""g (float[N,3,4] x) => (float[A,B,C] y) <int64[2] a = {-1,4}, int64[3] b = {0,2,2}> {
        r = Reshape(x, a) y = Reshape(r, b) }""", nodes=1)),
    ("reshape_reshape", Case("""g (float[0,4] x) => (float[A,B,C] y) <int64[2] a = {4,0}, int64[3] b = {2,0,3}> {
        r = Reshape<allowzero=1>(x, a) y = Reshape<allowzero=1>(r, b) }""", nodes=1)),
    ("reshape_reshape", Case("""g (float[N,6] x, int64[2] s) => (float[A,B] y) <int64[2] b = {3,-1}> {
        n = Shape(x) r = Reshape(x, n) y = Reshape(r, b) }""", nodes=1)),
    ("reshape_computed_shape", Case("""g (float[N,M,32] x) => (float[A,B,C,D] y)
        <int64 i = {0}, int64 j = {1}, int64[1] o = {0}, int64[1] h = {4}, int64[1] d = {-1}> {
        s = Shape(x) n = Gather(s, i) n1 = Unsqueeze(n, o) t = Shape(x) m = Gather(t, j) m1 = Unsqueeze(m, o)
        f = Concat<axis=0>(n1, m1, h, d) y = Reshape(x, f) }""", nodes=1)),
    ("reshape_computed_shape", Case("""g (float[N,M,32] x) => (float[A,B,C,D] y) <int64[2] c = {8,4}> {
        s = Shape<end=2>(x) f = Concat<axis=0>(s, c) y = Reshape<allowzero=1>(x, f) }""", nodes=1)),
    ("reshape_computed_shape", Case("""g (float[N,8] x) => (float[A,B,C] y)
        <int64[2] c = {2,4}, int64[1] k = {1}, int64[1] o = {0}> {
        r = Shape(x) q = Slice(r, o, k) w = Concat<axis=0>(q, c) y = Reshape(x, w) }""", nodes=1)),
    # One dim of unknown size, at another place than in x: -1; at the same place between the same sizes: 0.
    ("reshape_computed_shape", Case("""g (float[4,N,6] x) => (float[A,B,C] y) <int64[2] c = {8,3}, int64[1] i = {1}> {
        s = Shape(x) n = Gather(s, i) f = Concat<axis=0>(n, c) y = Reshape(x, f) }""", nodes=1)),
    ("reshape_computed_shape", Case("""g (float[2,N,6] x) => (float[A,B,C] y) <int64[2] c = {3,4}> {
        s = Shape<start=1,end=2>(x) n = ReduceMax(s) f = Concat<axis=0>(c, n) y = Reshape(x, f) }""", nodes=1)),
    ("reshape_computed_shape", Case("""g (float[3,N,4] x) => (float[A,B,C] y) <int64[1] c = {2}, int64[1] d = {6}> {
        s = Shape<start=1,end=2>(x) n = ReduceMax(s) f = Concat<axis=0>(c, n, d) y = Reshape(x, f) }""", nodes=1)),
    ("reshape_own_dim", Case("""g (float[N,M,64] x) => (float[A,B,C,D] y) <int64[4] s = {0,-1,8,8}> {
        y = Reshape(x, s) }""", nodes=1)),
    ("reshape_own_dim", Case("""g (float[4,N,6] x) => (float[A,B,C] y) <int64[3] s = {8,-1,3}> {
        y = Reshape<allowzero=1>(x, s) }""", nodes=1)),
    ("flatten_nothing", Case("""g (float[N,3] x) => (float[N,3] y) { a = Flatten(x) y = Relu(a) }""", nodes=1)),
    ("flatten_nothing", Case("""g (float[N,3] x) => (float[N,3] y) { a = Flatten<axis=-1>(x) y = Relu(a) }""", nodes=1)),
    ("flatten_flatten", Case("""g (float[N,3,M] x) => (float[A,B] y) {
        a = Flatten<axis=2>(x) y = Flatten<axis=0>(a) }""", nodes=1)),
    ("flatten_flatten", Case("""g (float[N,3,M] x) => (float[A,B] y) {
        a = Flatten(x) y = Flatten<axis=2>(a) }""", nodes=1)),
    ("squeeze_squeeze", Case("""g (float[1,N,1,1,M] x) => (float[A,B] y) <int64[2] a = {0,3}, int64[1] b = {1}> {
        s = Squeeze(x, a) y = Squeeze(s, b) }""", nodes=1)),
    ("squeeze_squeeze", Case("""g (float[1,N,1,1,M] x) => (float[A,B] y) <int64[1] a = {-2}, int64[2] b = {-2, 0}> {
        s = Squeeze(x, a) y = Squeeze(s, b) }""", nodes=1)),
    ("squeeze_squeeze", Case("""g (float[1,3,1] x) => (float[A] y) { s = Squeeze<axes=[0]>(x) y = Squeeze(s) }""",
        opset=12, nodes=1)),
    ("unsqueeze_unsqueeze", Case("""g (float[N,M] x) => (float[A,B,C,D,E] y) <int64[1] a = {1}, int64[2] b = {0,2}> {
        u = Unsqueeze(x, a) y = Unsqueeze(u, b) }""", nodes=1)),
    ("unsqueeze_unsqueeze", Case("""g (float[N,M] x) => (float[A,B,C,D,E] y) <int64[2] a = {-1,0}, int64[1] b = {-3}> {
        u = Unsqueeze(x, a) y = Unsqueeze(u, b) }""", nodes=1)),
    ("unsqueeze_unsqueeze", Case("""g (float[N,M] x) => (float[A,B,C,D] y) {
        u = Unsqueeze<axes=[2]>(x) y = Unsqueeze<axes=[0]>(u) }""", opset=11, nodes=1)),
    ("squeeze_unsqueeze", Case("""g (float[N,M] x) => (float[N,M] y) <int64[2] a = {0,3}, int64[2] b = {-1,0}> {
        u = Unsqueeze(x, a) s = Squeeze(u, b) y = Relu(s) }""", nodes=1)),
    ("squeeze_unsqueeze", Case("""g (float[N,1] x) => (float[A,B,C] y) <int64[3] a = {0,2,3}, int64[2] b = {0,3}> {
        u = Unsqueeze(x, a) y = Squeeze(u, b) }""", nodes=1)),
    ("squeeze_unsqueeze", Case("""g (float[1,N,1] x) => (float[A] y) <int64[1] a = {1}, int64[3] b = {0,1,3}> {
        u = Unsqueeze(x, a) y = Squeeze(u, b) }""", nodes=1)),
    # Without the rank: axes from the front, or the same axes.
    ("squeeze_squeeze", Case(f"""g (float[1,N,1] x) => (float[A] y) <bool[3] all = {{1,1,1}}, int64[1] a = {{0}}, int64[1] b = {{1}}> {{
        {_UNKNOWN_RANK} p = Squeeze(r, a) y = Squeeze(p, b) }}""", nodes=4)),
    ("unsqueeze_unsqueeze", Case(f"""g (float[N] x) => (float[A,B,C] y) <bool[1] all = {{1}}, int64[1] a = {{0}}, int64[1] b = {{2}}> {{
        {_UNKNOWN_RANK} p = Unsqueeze(r, a) y = Unsqueeze(p, b) }}""", nodes=4)),
    ("squeeze_unsqueeze", Case(f"""g (float[N] x) => (float[A] y) <bool[1] all = {{1}}, int64[2] a = {{-1,0}}, int64[2] b = {{0,-1}}> {{
        {_UNKNOWN_RANK} p = Unsqueeze(r, a) q = Squeeze(p, b) y = Relu(q) }}""", nodes=4)),
    ("squeeze_unsqueeze", Case(f"""g (float[1,N] x) => (float[A] y) <bool[2] all = {{1,1}}, int64[1] a = {{0}}, int64[2] b = {{0,1}}> {{
        {_UNKNOWN_RANK} p = Unsqueeze(r, a) y = Squeeze(p, b) }}""", nodes=4)),
    ("unsqueeze_squeeze", Case(f"""g (float[N,1] x) => (float[A,B] y) <bool[2] all = {{1,1}}, int64[1] a = {{-1}}> {{
        {_UNKNOWN_RANK} p = Squeeze(r, a) q = Unsqueeze(p, a) y = Relu(q) }}""", nodes=4)),
    ("unsqueeze_squeeze", Case(f"""g (float[N,1] x) => (float[A,B] y) <bool[2] all = {{1,1}}, int64[1] a = {{1}}> {{
        {_UNKNOWN_RANK} p = Squeeze(r, a) q = Unsqueeze(p, a) y = Relu(q) }}""", nodes=4)),
    ("unsqueeze_squeeze", Case("""g (float[1,N,1] x) => (float[1,N,1] y) <int64[2] a = {0,2}, int64[2] b = {-1,0}> {
        s = Squeeze(x, a) u = Unsqueeze(s, b) y = Relu(u) }""", nodes=1)),
    ("squeeze_nothing", Case("""g (float[2,3] x) => (float[2,3] y) { s = Squeeze(x) y = Relu(s) }""", nodes=1)),
    # Two operators that move no data are one Reshape; also where it would not be said with one of the two.
    ("reshape_of_view", Case("""g (float[1,N,3,4] x) => (float[A,B] y) <int64[1] a = {0}, int64[2] s = {-1,6}> {
        q = Squeeze(x, a) y = Reshape(q, s) }""", nodes=1)),
    ("reshape_of_view", Case("""g (float[N,3,4] x) => (float[A,B,C] y) <int64[3] s = {0,2,6}> {
        q = Flatten(x) y = Reshape(q, s) }""", nodes=1)),
    ("reshape_of_view", Case("""g (float[N,M,4] x) => (float[A,B,C] y) <int64[1] a = {1}, int64[3] s = {-1,2,2}> {
        q = Unsqueeze(x, a) y = Reshape(q, s) }""", nodes=1)),
    ("reshape_of_view", Case("""g (float[1,0,M] x) => (float[A,B,C] y) <int64[3] s = {0,2,2}, int64[1] a = {0}> {
        q = Squeeze(x, a) y = Reshape<allowzero=1>(q, s) }""", nodes=1)),
    ("flatten_of_view", Case("""g (float[N,12] x) => (float[A,B] y) <int64[3] s = {-1,3,4}> {
        r = Reshape(x, s) y = Flatten(r) }""", nodes=1)),
    ("flatten_of_view", Case("""g (float[2,1,3,4] x) => (float[A,B] y) <int64[1] a = {1}> {
        r = Squeeze(x, a) y = Flatten<axis=2>(r) }""", nodes=1)),
    ("squeeze_of_view", Case("""g (float[N,12] x) => (float[A,B,C] y) <int64[4] s = {-1,1,3,4}, int64[1] a = {1}> {
        r = Reshape(x, s) y = Squeeze(r, a) }""", nodes=1)),
    ("squeeze_of_view", Case("""g (float[2,3] x) => (float[A] y) {
        r = Flatten<axis=0>(x) y = Squeeze(r) }""", nodes=1)),
    ("unsqueeze_of_view", Case("""g (float[2,N] x) => (float[A,B,C] y) <int64[2] s = {-1,2}, int64[1] a = {1}> {
        r = Reshape(x, s) y = Unsqueeze(r, a) }""", nodes=1)),
    ("unsqueeze_of_view", Case("""g (float[1,N] x) => (float[A,B] y) <int64[1] b = {0}, int64[1] a = {1}> {
        r = Squeeze(x, b) y = Unsqueeze(r, a) }""", nodes=1)),
    ("unsqueeze_of_view", Case("""g (float[1,1] x) => (float[A] y) <int64[0] s = {}, int64[1] a = {0}> {
        r = Reshape(x, s) y = Unsqueeze(r, a) }""", nodes=1)),
    ("expand_nothing", Case("""g (float[N,M] x) => (float[N,M] y) <int64[2] s = {1,1}> {
        e = Expand(x, s) y = Relu(e) }""", nodes=1)),
    ("expand_nothing", Case("""g (float[N,3] x) => (float[N,3] y) <int64[1] s = {3}> {
        e = Expand(x, s) y = Relu(e) }""", nodes=1)),
    ("expand_nothing", Case("""g (float[N,M] x) => (float[N,M] y) {
        s = Shape(x) e = Expand(x, s) y = Relu(e) }""", nodes=1)),
    ("expand_nothing", Case("""g (float[N,M] x, float[M] z) => (float[N,M] y) {
        s = Shape(z) e = Expand(x, s) y = Relu(e) }""", nodes=1)),
    ("expand_nothing", Case("""g (float[N] x) => (float[N] y) <int64[0] s = {}> { e = Expand(x, s) y = Relu(e) }""", nodes=1)),
    ("expand_nothing", Case("""g (float[?,?] x) => (float[A,B] y) { s = Shape(x) e = Expand(x, s) y = Relu(e) }""", nodes=1)),
    ("expand_nothing", Case("""g (float[?,?] x) => (float[A,B] y) { s = Shape<start=1>(x) e = Expand(x, s) y = Relu(e) }""", nodes=1)),
    ("expand_nothing", Case("""g (float[?,?] x) => (float[A,B] y) <int64[1] o = {1}> {
        e = Expand(x, o) y = Relu(e) }""", nodes=1)),
    ("expand_expand", Case("""g (float[N,1,1] x) => (float[A,B,C,D] y) <int64[2] a = {4,1}, int64[4] b = {2,1,1,5}> {
        e = Expand(x, a) y = Expand(e, b) }""", nodes=1)),
    ("expand_computed_shape", Case("""g (float[N,1,M] x) => (float[A,B,C,D] y) <int64[1] c = {4}, int64[1] d = {2}> {
        n = Shape<end=1>(x) m = Shape<start=2>(x) s = Concat<axis=0>(d, n, c, m) y = Expand(x, s) }""", nodes=1)),
    ("expand_computed_shape", Case("""g (float[N,1] x) => (float[A,B] y) <int64[1] z = {0}> {
        n = Shape<end=1>(x) s = Concat<axis=0>(n, z) y = Expand(x, s) }""", nodes=1)),
    ("expand_computed_shape", Case("""g (float[?,1,?] x) => (float[A,B,C,D] y) <int64[1] c = {4}, int64[1] d = {2}> {
        n = Shape<end=1>(x) m = Shape<start=2>(x) s = Concat<axis=0>(d, n, c, m) y = Expand(x, s) }""", nodes=1)),
    # A size that nobody knows: that of x, as x is larger than 1.
    ("expand_computed_shape", Case("""g (float[4,N] x) => (float[A,B] y) {
        n = Shape<end=1>(x) k = ReduceMax(n) m = Shape<start=1>(x) t = Concat<axis=0>(k, m) y = Expand(x, t) }""",
        nodes=1)),
    ("expand_computed_shape", Case("""g (float[4,N] x, float[N] z) => (float[A,B] y) {
        n = Shape(z) y = Expand(x, n) }""", nodes=1)),
    ("where_of_expand", Case("""g (bool[N,1] c, float[N,4] x, float[1] z) => (float[A,B] y) <int64[2] s = {1,4}> {
        e = Expand(c, s) y = Where(e, x, z) }""", nodes=1)),
    ("where_of_expand", Case("""g (bool[N,4] c, float[N,1] x, float[1] z) => (float[A,B] y) <int64[2] s = {1,4}> {
        e = Expand(x, s) y = Where(c, e, z) }""", nodes=1)),
    ("where_of_expand", Case("""g (bool[N,1] c, float[N,4] x, float z) => (float[A,B] y) {
        s = Shape(x) e = Expand(z, s) y = Where(c, x, e) }""", nodes=1)),
    # Both expanded: one of them is needed.
    ("mul_of_expand", Case("""g (float[N,1] x, float[1,M] z) => (float[A,B] y) {
        s = Shape<end=1>(x) t = Shape<start=1>(z) u = Concat<axis=0>(s, t) e = Expand(z, u) y = Mul(e, x) }""", nodes=1)),
    ("tile_nothing", Case("""g (float[N,3] x) => (float[N,3] y) <int64[2] r = {1,1}> { t = Tile(x, r) y = Relu(t) }""", nodes=1)),
    ("pad_nothing", Case("""g (float[N,3] x) => (float[N,3] y) <int64[4] p = {0,0,0,0}> {
        t = Pad(x, p) y = Relu(t) }""", nodes=1)),
    ("pad_nothing", Case("""g (float[N,3] x, float v) => (float[N,3] y) <int64[4] p = {0,0,0,0}> {
        t = Pad<mode="constant">(x, p, v) y = Relu(t) }""", nodes=1)),
    ("pad_nothing", Case("""g (float[N,3] x, float v) => (float[N,3] y) <int64[2] p = {0,0}, int64[1] a = {1}> {
        t = Pad<mode="edge">(x, p, v, a) y = Relu(t) }""", opset=18, nodes=1)),
    ("pad_nothing_attribute", Case("""g (float[N,3] x) => (float[N,3] y) {
        t = Pad<pads=[0,0,0,0], value=2.0>(x) y = Relu(t) }""", opset=10, nodes=1)),
    ("concat_one", Case("""g (float[N,3] x) => (float[N,3] y) { t = Concat<axis=-1>(x) y = Relu(t) }""", nodes=1)),
    ("split_one", Case("""g (float[N,3] x) => (float[N,3] y) { t = Split<axis=1>(x) y = Relu(t) }""", nodes=1)),
    ("split_one", Case("""g (float[N,3] x) => (float[N,3] y) <int64[1] s = {3}> {
        t = Split<axis=1>(x, s) y = Relu(t) }""", nodes=1)),
    ("split_one", Case("""g (float[N,3] x) => (float[N,3] y) { t = Split<num_outputs=1>(x) y = Relu(t) }""", opset=18, nodes=1)),
]  # fmt: skip
FIRES += [(f"{n.lower()}_of_expand", _of_expand(n, left)) for left in (True, False) for n in (
    "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mul Or Pow Sub").split()]  # fmt: skip

REFUSES = [
    ("reshape_nothing", Case("""g (float[?,?] x, int64[2] s) => (float[A,B] y) { y = Reshape(x, s) }""", reason="two dims")),
    ("reshape_nothing", Case("""g (float[2,3] x) => (float[A,B] y) <int64[2] s = {3,2}> { y = Reshape(x, s) }""",
        reason="two dims")),
    ("reshape_nothing", Case("""g (float[2,3] x) => (float[A,B,C] y) <int64[3] s = {2,3,1}> { y = Reshape(x, s) }""",
        reason="the rank changes")),
    ("reshape_nothing", Case("""g (float[2,3] x, int64[K] s) => (float[A] y) <int64[1] t = {-1}> {
        a = Reshape(x, s) y = Reshape(a, t) }""", reason="the rank changes")),
    ("reshape_nothing", Case("""g (float[N,M] x) => (float[A,B] y) <int64[1] i = {1}, int64[1] j = {0}> {
        s = Shape(x) n = Gather(s, i) m = Gather(s, j) t = Concat<axis=0>(n, m) y = Reshape(x, t) }""", reason="two dims")),
    # With N = 0 any last dim will do.
    ("reshape_nothing", Case("""g (float[N,M] x, int64[1] k) => (float[A,B] y) {
        s = Shape<end=1>(x) t = Concat<axis=0>(s, k) y = Reshape(x, t) }""", reason="where the tensor is empty")),
    # A 0 that is meant: not a copy.
    ("reshape_nothing", Case("""g (float[N,M] x) => (float[A,B] y) <int64[2] s = {0,5}> {
        y = Reshape<allowzero=1>(x, s) }""", reason="two dims")),
    # 0 copies the inner dim, which x lacks.
    ("reshape_reshape", Case("""g (float[N,M,4] x) => (float[A,B,C] y) <int64[2] a = {-1,8}, int64[3] b = {0,2,-1}> {
        r = Reshape(x, a) y = Reshape(r, b) }""", reason="is no shape")),
    ("reshape_reshape", Case("""g (float[N,8] x, int64[2] s) => (float[A,B] y) <int64[2] b = {0,-1}> {
        r = Reshape(x, s) y = Reshape(r, b) }""", reason="not known")),
    ("reshape_reshape", Case("""g (float[2,3] x) => (float[A,B] y, float[C] r) <int64[1] a = {-1}, int64[2] b = {3,2}> {
        r = Reshape(x, a) y = Reshape(r, b) }""", reason="nothing would be saved")),
    ("reshape_reshape", Case(f"""g (float[N,8] x) => (float[A,B] y) <bool[2] all = {{1,1}}, int64[2] b = {{0,-1}}> {{
        {_UNKNOWN_RANK} y = Reshape(r, b) }}""", reason="not known")),
    ("reshape_computed_shape", Case("""g (float[2,3] x) => (float[A,B] y) <int64[2] s = {3,2}> { y = Reshape(x, s) }""",
        reason="a constant")),
    # Exchanged; two unknown; a copy beside one that is unknown (an empty tensor has any).
    ("reshape_computed_shape", Case("""g (float[N,M] x) => (float[A,B] y) <int64[1] i = {1}, int64[1] j = {0}> {
        s = Shape(x) n = Gather(s, i) m = Gather(s, j) t = Concat<axis=0>(n, m) y = Reshape(x, t) }""", reason="no constant")),
    ("reshape_computed_shape", Case("""g (float[N,M,6] x, int64[1] k) => (float[A,B,C] y) <int64[1] c = {2}> {
        s = Shape<end=1>(x) t = Concat<axis=0>(s, k, c) y = Reshape(x, t) }""", reason="no constant")),
    ("reshape_computed_shape", Case("""g (float[N,6] x, int64[1] k) => (float[A,B,C] y) <int64[2] c = {0,2}> {
        t = Concat<axis=0>(k, c) y = Reshape<allowzero=1>(x, t) }""", reason="no constant")),
    # Other sizes around; another place; two that are not copied.
    ("reshape_own_dim", Case("""g (float[N,M,64] x) => (float[A,B,C,D] y) <int64[4] s = {0,-1,8,4}> {
        y = Reshape(x, s) }""", reason="not x's own")),
    ("reshape_own_dim", Case("""g (float[N,6,4] x) => (float[A,B,C] y) <int64[3] s = {4,-1,6}> {
        y = Reshape(x, s) }""", reason="not x's own")),
    ("reshape_own_dim", Case("""g (float[N,M,64] x) => (float[A,B] y) <int64[2] s = {-1,64}> {
        y = Reshape(x, s) }""", reason="not x's own")),
    ("reshape_own_dim", Case("""g (float[N,M,K] x) => (float[A,B,C] y) <int64[3] s = {0,-1,1}> {
        y = Reshape(x, s) }""", reason="not x's own")),
    ("reshape_own_dim", Case("""g (float[N,4] x) => (float[A,B] y) <int64[2] s = {0,4}> {
        y = Reshape(x, s) }""", reason="nothing is inferred")),
    ("reshape_own_dim", Case("""g (float[0,N] x) => (float[A,B] y) <int64[2] s = {2,-1}> {
        y = Reshape(x, s) }""", reason="not x's own")),
    ("flatten_nothing", Case("""g (float[N,3] x) => (float[A,B] y) { y = Flatten<axis=2>(x) }""", reason="not a matrix")),
    ("flatten_nothing", Case("""g (float[N,3,2] x) => (float[A,B] y) { y = Flatten(x) }""", reason="not a matrix")),
    ("flatten_flatten", Case("""g (float[N,3,2] x) => (float[A,B] y) { a = Flatten<axis=2>(x) y = Flatten(a) }""",
        reason="does nothing")),
    ("squeeze_squeeze", Case("""g (float[1,N,1] x) => (float y) <int64[1] b = {0}> {
        s = Squeeze(x) y = Squeeze(s, b) }""", reason="cannot be counted")),
    ("squeeze_squeeze", Case(f"""g (float[1,N,1] x) => (float[A] y) <bool[3] all = {{1,1,1}}, int64[1] a = {{0}}, int64[1] b = {{-1}}> {{
        {_UNKNOWN_RANK} p = Squeeze(r, a) y = Squeeze(p, b) }}""", reason="cannot be counted")),
    ("squeeze_squeeze", Case(f"""g (float[1,N,1] x) => (float[A] y) <bool[3] all = {{1,1,1}}, int64[1] a = {{-3}}, int64[1] b = {{1}}> {{
        {_UNKNOWN_RANK} p = Squeeze(r, a) y = Squeeze(p, b) }}""", reason="cannot be counted")),
    ("unsqueeze_unsqueeze", Case(f"""g (float[N] x) => (float[A,B,C] y) <bool[1] all = {{1}}, int64[1] a = {{0}}, int64[1] b = {{-1}}> {{
        {_UNKNOWN_RANK} p = Unsqueeze(r, a) y = Unsqueeze(p, b) }}""", reason="cannot be counted")),
    ("unsqueeze_unsqueeze", Case(f"""g (float[N] x) => (float[A,B,C] y) <bool[1] all = {{1}}, int64[1] a = {{-2}}, int64[1] b = {{1}}> {{
        {_UNKNOWN_RANK} p = Unsqueeze(r, a) y = Unsqueeze(p, b) }}""", reason="cannot be counted")),
    ("squeeze_unsqueeze", Case(f"""g (float[1] x) => (float[A] y) <bool[1] all = {{1}}, int64[1] a = {{0}}, int64[1] b = {{-1}}> {{
        {_UNKNOWN_RANK} p = Unsqueeze(r, a) y = Squeeze(p, b) }}""", reason="cannot be counted")),
    ("squeeze_unsqueeze", Case(f"""g (float[1] x) => (float[A] y) <bool[1] all = {{1}}, int64[1] a = {{-1}}, int64[1] b = {{0}}> {{
        {_UNKNOWN_RANK} p = Unsqueeze(r, a) y = Squeeze(p, b) }}""", reason="cannot be counted")),
    ("squeeze_unsqueeze", Case(f"""g (float[N] x) => (float[A] y) <bool[1] all = {{1}}, int64[2] a = {{0,-1}}, int64[1] b = {{-1}}> {{
        {_UNKNOWN_RANK} p = Unsqueeze(r, a) y = Squeeze(p, b) }}""", reason="cannot be counted")),
    ("unsqueeze_squeeze", Case(f"""g (float[1,1] x) => (float[A,B] y) <bool[2] all = {{1,1}}, int64[1] a = {{-1}}, int64[1] b = {{0}}> {{
        {_UNKNOWN_RANK} p = Squeeze(r, a) y = Unsqueeze(p, b) }}""", reason="other axes")),
    ("squeeze_nothing", Case(f"""g (float[2,3] x) => (float[A,B] y) <bool[2] all = {{1,1}}> {{
        {_UNKNOWN_RANK} y = Squeeze(r) }}""", reason="may be dims of 1")),
    ("flatten_flatten", Case(f"""g (float[2,3] x) => (float[A,B] y) <bool[2] all = {{1,1}}> {{
        {_UNKNOWN_RANK} p = Flatten(r) y = Flatten<axis=2>(p) }}""", reason="rank is unknown")),
    ("expand_nothing", Case(f"""g (float[2,3] x) => (float[A,B] y) <bool[2] all = {{1,1}}, int64[2] s = {{1,1}}> {{
        {_UNKNOWN_RANK} y = Expand(r, s) }}""", reason="dims may be added")),
    ("expand_nothing", Case("""g (float[2,3] x, int64[K] s) => (float[A,B] y) { y = Expand(x, s) }""", reason="dims may be added")),
    ("expand_nothing", Case("""g (float[?,?] x) => (float[A,B] y) <int64[2] i = {1,0}> {
        s = Shape(x) t = Gather(s, i) y = Expand(x, t) }""", reason="may be enlarged")),
    ("expand_nothing", Case("""g (float[?,?] x) => (float[A,B] y) <int64[1] i = {0}> {
        s = Shape(x) t = Gather(s, i) y = Expand(x, t) }""", reason="may be enlarged")),
    ("expand_computed_shape", Case(f"""g (float[2,3] x) => (float[A,B] y) <bool[2] all = {{1,1}}> {{
        {_UNKNOWN_RANK} s = Shape(x) t = Mul(s, s) y = Expand(r, t) }}""", reason="nothing is known")),
    ("expand_computed_shape", Case("""g (float[2,3] x, int64[K] s) => (float[A,B] y) { y = Expand(x, s) }""",
        reason="nothing is known")),
    # x's dim in front of x: it is x's last one, but that is not the place.
    ("expand_computed_shape", Case("""g (float[N] x) => (float[A,B] y) <int64[1] c = {1}> {
        n = Shape(x) s = Concat<axis=0>(n, c) y = Expand(x, s) }""", reason="neither a number")),
    ("expand_computed_shape", Case("""g (float[?] x) => (float[A,B] y) <int64[1] c = {1}> {
        n = Shape(x) s = Concat<axis=0>(n, c) y = Expand(x, s) }""", reason="neither a number")),
    ("squeeze_unsqueeze", Case("""g (float[1,N] x) => (float[A,B] y) <int64[2] a = {0,1}, int64[2] b = {0,2}> {
        u = Unsqueeze(x, a) y = Squeeze(u, b) }""", reason="other axes")),
    ("unsqueeze_squeeze", Case("""g (float[1,N] x) => (float[A,B] y) <int64[1] a = {0}, int64[1] b = {1}> {
        s = Squeeze(x, a) y = Unsqueeze(s, b) }""", reason="other axes")),
    ("unsqueeze_squeeze", Case("""g (float[1,N,1] x) => (float[A,B,C] y) <int64[2] a = {0,-1}, int64[2] b = {0,1}> {
        s = Squeeze(x, a) y = Unsqueeze(s, b) }""", reason="other axes")),
    ("unsqueeze_squeeze", Case("""g (float[1,N] x) => (float[A,B] y) <int64[1] b = {0}> {
        s = Squeeze(x) y = Unsqueeze(s, b) }""")),
    ("squeeze_nothing", Case("""g (float[2,N] x) => (float[A,B] y) { y = Squeeze(x) }""", reason="may be dims of 1")),
    ("squeeze_nothing", Case("""g (float[2,1] x) => (float[A] y) { y = Squeeze(x) }""", reason="may be dims of 1")),
    ("reshape_of_view", Case("""g (float[N,M,K] x) => (float[A,B,C] y) <int64[3] s = {0,2,-1}> {
        q = Flatten<axis=2>(x) y = Reshape(q, s) }""", reason="not known well enough")),
    ("flatten_of_view", Case("""g (float[N,M,4] x) => (float[A,B] y) <int64[1] a = {0}> {
        r = Unsqueeze(x, a) y = Flatten<axis=2>(r) }""", reason="not known well enough")),
    ("flatten_of_view", Case("""g (float[2,0,N] x) => (float[A,B] y) <int64[1] a = {0}> {
        r = Unsqueeze(x, a) y = Flatten<axis=3>(r) }""", reason="not known well enough")),
    ("squeeze_of_view", Case("""g (float[N,M,K] x) => (float[A,B] y) <int64[3] s = {0,1,-1}, int64[1] a = {1}> {
        q = Reshape(x, s) y = Squeeze(q, a) }""", reason="not known well enough")),
    ("unsqueeze_of_view", Case("""g (float[N,M] x) => (float[A,B,C] y, float[D,E] q) <int64[2] s = {-1,1}, int64[1] a = {1}> {
        q = Reshape(x, s) y = Unsqueeze(q, a) }""", reason="nothing would be saved")),
    ("expand_nothing", Case("""g (float[N,M] x) => (float[A,B,C] y) <int64[3] s = {1,1,1}> { y = Expand(x, s) }""",
        reason="dims may be added")),
    ("expand_nothing", Case("""g (float[N,M] x) => (float[A,B] y) <int64[2] s = {3,1}> { y = Expand(x, s) }""",
        reason="may be enlarged")),
    ("expand_nothing", Case("""g (float[N,M] x, float[N] z) => (float[A,B] y) {
        s = Shape(z) y = Expand(x, s) }""", reason="may be enlarged")),
    ("expand_nothing", Case("""g (float[N] x, float[M] z) => (float[A] y) { s = Shape(z) y = Expand(x, s) }""",
        reason="may be enlarged")),
    ("expand_expand", Case("""g (float[N,1] x) => (float[A,B] y, float[C,D] e) <int64[2] a = {1,4}, int64[2] b = {3,1}> {
        e = Expand(x, a) y = Expand(e, b) }""", reason="nothing would be saved")),
    ("expand_computed_shape", Case("""g (float[N,1] x, float[M] z) => (float[A,B] y) {
        n = Shape<end=1>(x) m = Shape(z) s = Concat<axis=0>(n, m) y = Expand(x, s) }""", reason="neither a number")),
    # x's dims, but not at their places; x's dim in front of x.
    ("expand_computed_shape", Case("""g (float[N,1] x) => (float[A,B] y) <int64[1] c = {1}> {
        n = Shape<end=1>(x) s = Concat<axis=0>(c, n) y = Expand(x, s) }""", reason="neither a number")),
    ("expand_computed_shape", Case("""g (float[N,1] x) => (float[A,B,C] y) <int64[1] c = {1}> {
        n = Shape<end=1>(x) s = Concat<axis=0>(n, c, c) y = Expand(x, s) }""", reason="neither a number")),
    ("expand_computed_shape", Case("""g (float[N,1] x) => (float[A,B] y) <int64[1] c = {-1}> {
        n = Shape<end=1>(x) s = Concat<axis=0>(n, c) y = Expand(x, s) }""", reason="negative")),
    # The expanded operand is what makes the result large.
    ("add_of_expand", Case("""g (float[1,1] x, float[4] z) => (float[A,B] y) <int64[2] s = {5,1}> {
        e = Expand(x, s) y = Add(e, z) }""", reason="may become smaller")),
    ("add_of_expand", Case("""g (float[1] x, float[N] z) => (float[A] y) <int64[1] s = {3}> {
        e = Expand(x, s) y = Add(e, z) }""", reason="may become smaller")),
    ("add_of_expand", Case("""g (float[1] x, float[N] z) => (float[A,B] y) <int64[2] s = {1,1}> {
        e = Expand(x, s) y = Add(e, z) }""", reason="may become smaller")),
    ("where_of_expand", Case("""g (bool[1] c, float[1] x, float z) => (float[A] y) <int64[1] s = {4}> {
        e = Expand(c, s) y = Where(e, x, z) }""", reason="may become smaller")),
    ("tile_nothing", Case("""g (float[N,3] x) => (float[A,B] y) <int64[2] r = {1,2}> { y = Tile(x, r) }""",
        reason="repeated")),
    ("tile_nothing", Case("""g (float[N,3] x) => (float[A,B] y) <int64[2] r = {1,0}> { y = Tile(x, r) }""",
        reason="repeated")),
    ("pad_nothing", Case("""g (float[N,3] x) => (float[A,B] y) <int64[4] p = {0,0,0,1}> { y = Pad(x, p) }""",
        reason="there is padding")),
    ("pad_nothing", Case("""g (float[N,3] x) => (float[A,B] y) <int64[4] p = {0,-1,0,1}> { y = Pad(x, p) }""",
        reason="there is padding")),
    ("pad_nothing_attribute", Case("""g (float[N,3] x) => (float[A,B] y) { y = Pad<pads=[0,0,0,1]>(x) }""", opset=10,
        reason="there is padding")),
    ("concat_one", Case("""g (float[N,3] x) => (float[A,B] y) { y = Concat<axis=0>(x, x) }""")),
    ("split_one", Case("""g (float[N,4] x) => (float[A,B] y, float[C,D] z) { y, z = Split<axis=1>(x) }""", opset=11)),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("simplifying") if r.family == "reshape"} == {r for r, _ in FIRES}


@pytest.mark.parametrize(("rule", "x", "shape", "written"), [
    ("reshape_own_dim", "N,M,64", "{0,-1,8,8}", [0, 0, 8, 8]),
    ("reshape_own_dim", "4,N,6", "{8,-1,3}", [8, 0, 3]),
    ("reshape_reshape", "N,3,4", "{-1,0,2}", [-1, 12, 2]),
    ("reshape_reshape", "N,M,4", "{0,-1,2}", [0, -1, 2]),
])  # fmt: skip
def test_what_is_copied(rule: str, x: str, shape: str, written: list[int]) -> None:
    n = len(written)
    nodes = "y = Reshape(x, s)" if rule == "reshape_own_dim" else "r = Reshape(x, t) y = Reshape(r, s)"
    text = f"g (float[{x}] x) => (float[A,B,C{',D' * (n - 3)}] y) <int64[{n}] s = {shape}, int64[2] t = {{0,-1}}> {{ {nodes} }}"
    result, _ = apply(build(Case(text)), all_rules()[rule])
    (node,) = result.graph
    made = node.inputs[1]
    assert made is not None and made.const is not None and made.const.numpy().tolist() == written


@pytest.mark.parametrize("n", [0, 2])
@pytest.mark.parametrize("text", [
    # What comes out of these must still run with no rows at all.
    """g (float[N,M,32] x) => (float[A,B,C,D] y) <int64[2] c = {8,4}> {
        s = Shape<end=2>(x) f = Concat<axis=0>(s, c) y = Reshape<allowzero=1>(x, f) }""",
    """g (float[N,4,6] x) => (float[A,B,C] y) <int64[2] c = {8,3}> {
        s = Shape<end=1>(x) f = Concat<axis=0>(s, c) y = Reshape(x, f) }""",
    """g (float[N,3,4] x) => (float[A,B] y) <int64[1] a = {1}, int64[2] b = {-1,6}> {
        q = Unsqueeze(x, a) r = Flatten(q) y = Reshape(r, b) }""",
    """g (float[1,N,6] x) => (float[A,B,C] y) { a = Transpose<perm=[1,0,2]>(x) y = Relu(a) }""",
    """g (float[N,1,4] x, float[N,4,4] z) => (float[A,B,C] y) {
        s = Shape(z) e = Expand(x, s) y = Add(e, z) }""",
])  # fmt: skip
def test_empty_tensors(text: str, n: int) -> None:
    original = build(Case(text))
    result, ledger = apply(original, *all_rules().values())
    assert ledger.steps
    feeds = {}
    for i in original.graph.input:
        dims = [d.dim_value if d.HasField("dim_value") else n for d in i.type.tensor_type.shape.dim]
        feeds[i.name] = np.random.default_rng(0).standard_normal(dims).astype(np.float32)
    compare(run_ort(original, feeds), run_ort(result.proto, feeds), True, 0)
