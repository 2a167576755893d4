"""Rules of patterns/simplifying/slicing.py and splitting.py."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from graphopt.patterns import all_rules, rules_of
from tests.patterns.rule_cases import Case, apply, check_fires, check_refuses

_END = 9223372036854775807


#: Makes r, which is x at run time, a tensor of which inference knows not even the rank.
_UNKNOWN_RANK = "s0 = Shape(x) s1 = Compress(s0, all) r = Reshape(x, s1)"
_UNKNOWN_AXES = "bool[2] all = {1,1}, int64[1] a = {-1}, int64[1] b = {1}"


def _slice(starts: str, ends: str, axes: str, x: str = "float[2,N,4]", steps: str = "") -> Case:
    n = starts.count(",") + 1
    step = f", int64[{n}] t = {{{steps}}}" if steps else ""
    text = f"""g ({x} x) => (float[A,B,C] y) <int64[{n}] s = {{{starts}}}, int64[{n}] e = {{{ends}}}, int64[{n}] a = {{{axes}}}{step}> {{
        q = Slice(x, s, e, a{", t" if steps else ""}) y = Relu(q) }}"""
    return Case(text, nodes=1)


def _two(first: str, then: str, x: str = "float[9,N,4]", nodes: int = 1) -> Case:
    """Two slices, each 'start end axis step'."""
    names = "seat"
    values = [dict(zip(names, part.split(), strict=True)) for part in (first, then)]
    constants = ", ".join(f"int64[1] {n}{k} = {{{v[n]}}}" for k, v in enumerate(values) for n in names)
    text = f"""g ({x} x) => (float[A,B,C] y) <{constants}> {{
        p = Slice(x, s0, e0, a0, t0) y = Slice(p, s1, e1, a1, t1) }}"""
    return Case(text, nodes=nodes)


FIRES = [
    ("slice_nothing", _slice("0", str(_END), "1")),
    ("slice_nothing", _slice("0", "2147483647", "-2")),
    ("slice_nothing", _slice("-9223372036854775808,-2,0", f"{_END},2,4", "1,0,-1")),
    ("slice_nothing", _slice("0,0", "7,5", "0,2", steps="1,1")),
    ("slice_nothing", Case("""g (float[2,N] x) => (float[2,N] y) {
        q = Slice<starts=[0,0], ends=[2,2147483647]>(x) y = Relu(q) }""", opset=9, nodes=1)),
    ("slice_nothing", Case("""g (float[2,N] x) => (float[2,N] y) <int32[1] s = {0}, int32[1] e = {2147483647}> {
        q = Slice(x, s, e) y = Relu(q) }""", nodes=1)),
    ("slice_nothing", Case(f"""g (float[9,4] x) => (float[A,B] y) <int64[1] s = {{0}}, int64[1] e = {{2147483647}}, bool[2] all = {{1,1}}> {{
        {_UNKNOWN_RANK} q = Slice(r, s, e) y = Relu(q) }}""", nodes=4)),
    ("slice_to_own_size", Case("""g (float[2,N,4] x, float[N] z) => (float[2,N,4] y)
        <int64[1] s = {0}, int64[1] a = {-2}, int64[1] t = {1}> {
        e = Shape(z) q = Slice(x, s, e, a, t) y = Relu(q) }""", nodes=1)),
    ("slice_to_own_size", Case("""g (float[N,M,4] x) => (float[N,M,4] y)
        <int64[2] s = {0,0}, int64[2] a = {1,0}, int64[1] c = {9223372036854775807}> {
        m = Shape<start=1,end=2>(x) e = Concat<axis=0>(m, c) q = Slice(x, s, e, a) y = Relu(q) }""", nodes=1)),
    ("slice_slice", _two("1 8 0 1", "2 4 0 1")),
    ("slice_slice", _two("1 8 0 2", "1 9 0 2")),
    ("slice_slice", _two("1 -1 0 1", "-3 -1 0 1")),
    ("slice_slice", _two(f"1 {_END} 1 1", f"1 {_END} 1 1")),
    ("slice_slice", _two("0 4 1 1", "1 9 1 1")),
    ("slice_slice", _two("1 8 0 1", "1 2 -1 1")),
    ("slice_slice", _two("8 1 0 -1", "1 2 -1 1")),
    ("slice_slice", _two("7 8 0 1", "3 4 0 1")),
    ("slice_slice", Case("""g (float[2,N] x) => (float[A,B] y) {
        p = Slice<axes=[0], starts=[1], ends=[2]>(x) y = Slice<axes=[1], starts=[1], ends=[-1]>(p) }""", opset=9, nodes=1)),
    ("squeeze_slice", Case("""g (float[2,N,4] x) => (float[A,B] y) <int64[1] s = {1}, int64[1] e = {2}, int64[1] a = {1}> {
        p = Slice(x, s, e, a) y = Squeeze(p, a) }""", nodes=1)),
    ("squeeze_slice", Case("""g (float[2,N,4] x) => (float[A,B] y)
        <int64[1] s = {-1}, int64[1] e = {9223372036854775807}, int64[1] a = {-1}, int64[1] t = {2}> {
        p = Slice(x, s, e, a, t) y = Squeeze(p, a) }""", nodes=1)),
    ("squeeze_slice", Case("""g (float[2,N,4] x) => (float[A,B] y)
        <int64[1] s = {1}, int64[1] e = {3}, int64[1] a = {2}, int64[1] t = {2}> {
        p = Slice(x, s, e, a, t) y = Squeeze(p, a) }""", nodes=1)),
    ("flat_column", Case("""g (float[N,3] x) => (float[A] y) <int64[1] s = {2}, int64[1] e = {3}, int64[1] a = {1}, int64[1] f = {-1}> {
        p = Slice(x, s, e, a) y = Reshape(p, f) }""", nodes=1)),
    ("flat_column", Case("""g (float[N,3] x) => (float[A] y) <int64[1] s = {-1}, int64[1] e = {3}, int64[1] a = {1}, int64[1] f = {0}> {
        p = Slice(x, s, e, a) y = Reshape(p, f) }""", nodes=1)),
    ("gather_nothing", Case("""g (float[2,3] x) => (float[2,3] y) <int64[3] i = {0,-2,2}> {
        p = Gather<axis=-1>(x, i) y = Relu(p) }""", nodes=1)),
    ("gather_nothing", Case("""g (float[1,N] x) => (float[1,N] y) <int64[1] i = {0}> { p = Gather(x, i) y = Relu(p) }""", nodes=1)),
    ("gather_only_element", Case("""g (float[N,1,3] x) => (float[A,B] y) <int32 i = {-1}> {
        y = Gather<axis=1>(x, i) }""", nodes=1)),
    ("unsqueeze_gather", Case("""g (float[N,5,3] x) => (float[A,B,C] y) <int64 i = {-2}, int64[1] a = {-2}> {
        p = Gather<axis=1>(x, i) y = Unsqueeze(p, a) }""", nodes=1)),
    ("unsqueeze_gather", Case("""g (float[N,5,3] x) => (float[A,B,C] y, float[D,E] p) <int64 i = {2}> {
        p = Gather<axis=1>(x, i) y = Unsqueeze<axes=[1]>(p) }""", opset=11, nodes=2)),
    ("squeeze_gather", Case("""g (float[N,5,3] x) => (float[A,B] y) <int64[1] i = {-2}, int64[1] a = {-2}> {
        p = Gather<axis=1>(x, i) y = Squeeze(p, a) }""", nodes=1)),
    ("squeeze_gather", Case("""g (float[7] x) => (float y) <int64[1] i = {3}> {
        p = Gather(x, i) y = Squeeze(p) }""", nodes=1)),
    ("gather_slice", Case("""g (float[N,9] x) => (float[A,B,C] y)
        <int64[1] s = {1}, int64[1] e = {-1}, int64[1] a = {1}, int64[1] t = {2}, int64[1,2] i = {-1,1}> {
        p = Slice(x, s, e, a, t) y = Gather<axis=-1>(p, i) }""", nodes=1)),
    ("gather_slice", Case("""g (float[N,9] x) => (float[A] y) <int64[1] s = {1}, int64[1] e = {9}, int32 i = {1}> {
        p = Slice(x, s, e) y = Gather(p, i) }""", nodes=1)),
    ("squeeze_of_split", Case("""g (float[N,3] x) => (float[A] y, float[B] z) <int64[3] s = {1,1,1}, int64[1] a = {1}, int64[1] last = {-1}> {
        p, q, r = Split<axis=-1>(x, s) y = Squeeze(p, a) z = Squeeze(r, last) }""", nodes=2)),
    ("squeeze_of_split", Case("""g (float[2,N] x) => (float[A] y, float[B] z) {
        p, q = Split(x) y = Squeeze<axes=[0]>(p) z = Squeeze<axes=[0]>(q) }""", opset=11, nodes=2)),
    ("gather_by_slice", Case("""g (float[N] x) => (float[A,B,C] y)
        <float[3,2] w = {1,2,3,4,5,6}, int64[1,3] i = {0,-1,1}, int64[1] s = {0}, int64[1] a = {1}> {
        e = Shape(x) p = Slice(i, s, e, a) y = Gather(w, p) }""", nodes=2)),
    ("gather_concat", Case("""g (float[2,3] x, float[2,2] z, float[2,N] w) => (float[A] y) <int64 i = {4}> {
        c = Concat<axis=1>(x, z, w) y = Gather<axis=-1>(c, i) }""", nodes=1)),
    ("gather_concat", Case("""g (float[2,3] x, float[2,2] z, float[2,N] w) => (float[A,B] y) <int64[1] i = {6}> {
        c = Concat<axis=1>(x, z, w) y = Gather<axis=1>(c, i) }""", nodes=1)),
    ("gather_concat", Case("""g (float[N,3] x, float[2,3] z, float[2,3] w) => (float[A,B,C] y) <int64[1,1] i = {-4}> {
        c = Concat<axis=0>(x, z, w) y = Gather(c, i) }""", nodes=1)),
    ("slice_concat", Case("""g (float[2,3] x, float[2,4] z, float[2,N] w) => (float[A,B] y)
        <int64[1] s = {3}, int64[1] e = {7}, int64[1] a = {1}> {
        c = Concat<axis=1>(x, z, w) q = Slice(c, s, e, a) y = Relu(q) }""", nodes=1)),
    ("slice_concat", Case("""g (float[2,3] x, float[2,4] z) => (float[A,B] y)
        <int64[1] s = {-3}, int64[1] e = {-1}, int64[1] a = {-1}> {
        c = Concat<axis=1>(x, z) q = Slice(c, s, e, a) y = Relu(q) }""", nodes=2)),
    ("slice_concat", Case("""g (float[2,3] x, float[2,N] z) => (float[A,B] y)
        <int64[1] s = {3}, int64[1] e = {9223372036854775807}, int64[1] a = {1}> {
        c = Concat<axis=1>(x, z) q = Slice(c, s, e, a) y = Relu(q) }""", nodes=1)),
    ("slice_concat", Case("""g (float[2,3] x, float[2,N] z) => (float[A,B] y)
        <int64[1] s = {4}, int64[1] e = {7}, int64[1] a = {1}, int64[1] t = {2}> {
        c = Concat<axis=1>(x, z) q = Slice(c, s, e, a, t) y = Relu(q) }""", nodes=2)),
    ("slice_concat", Case("""g (float[N,3] x, float[4,3] z) => (float[A,B] y)
        <int64[1] s = {-2}, int64[1] e = {9223372036854775807}, int64[1] a = {0}> {
        c = Concat<axis=0>(x, z) q = Slice(c, s, e, a) y = Relu(q) }""", nodes=2)),
    ("slice_concat", Case("""g (float[N,3] x, float[4,3] z) => (float[A,B] y)
        <int64[1] s = {-4}, int64[1] e = {9223372036854775807}, int64[1] a = {0}> {
        c = Concat<axis=0>(x, z) q = Slice(c, s, e, a) y = Relu(q) }""", nodes=1)),
    ("concat_concat", Case("""g (float[N,3] x, float[4,3] z, float[1,3] w) => (float[A,B] y) {
        c = Concat<axis=0>(x, z) y = Concat<axis=-2>(w, c, w) }""", nodes=1)),
    ("concat_concat", Case("""g (float[N,3] x, float[4,3] z) => (float[A,B] y) {
        c = Concat<axis=-2>(x, z) d = Concat<axis=0>(z, z) y = Concat<axis=0>(c, d) }""", nodes=1)),
    ("slices_are_split", Case("""g (float[N,6] x) => (float[A,B] y, float[C,D] z)
        <int64[1] o = {0}, int64[1] m = {2}, int64[1] e = {9}, int64[1] a = {-1}> {
        p = Slice(x, o, m, a) q = Slice(x, m, e, a) y = Relu(p) z = Neg(q) }""", nodes=3)),
    ("slices_are_split", Case("""g (float[N,6] x) => (float[A,B] y, float[C,D] z)
        <int64[1] o = {0}, int64[1] m = {-2}, int64[1] e = {6}, int64[1] a = {1}, int64[1] t = {1}> {
        p = Slice(x, m, e, a, t) q = Slice(x, o, m, a) y = Relu(p) z = Neg(q) }""", nodes=3)),
    ("squeeze_split_of_2", Case("""g (float[N,2] x) => (float[A] y, float[B] z) <int64[1] a = {1}> {
        p, q = Split<axis=1, num_outputs=2>(x) y = Squeeze(p, a) z = Squeeze(q, a) }""", opset=18, nodes=2)),
    ("squeeze_split_of_3", Case("""g (float[3,N] x) => (float[A] y, float[B] z) <int64[3] s = {1,1,1}, int64[1] a = {-2}> {
        p, q, r = Split(x, s) y = Squeeze(p, a) z = Squeeze(r, a) }""", nodes=2)),
    ("squeeze_split_of_4", Case("""g (float[4,N] x) => (float[A] y) <int64[4] s = {2,0,1,1}, int64[1] a = {0}> {
        p, q, r, t = Split(x, s) y = Squeeze(r, a) }""", nodes=1)),
    ("concat_split", Case("""g (float[N,6] x) => (float[N,6] y) <int64[3] s = {1,2,3}> {
        a, b, c = Split<axis=1>(x, s) d = Concat<axis=-1>(a, b, c) y = Relu(d) }""", nodes=1)),
    ("concat_split", Case("""g (float[N,6] x) => (float[N,6] y) {
        a, b = Split<axis=-1>(x) d = Concat<axis=1>(a, b) y = Relu(d) }""", opset=11, nodes=1)),
    ("concat_split", Case("""g (float[6,N] x) => (float[6,N] y) {
        a, b = Split(x) d = Concat<axis=0>(a, b) y = Relu(d) }""", opset=11, nodes=1)),
    ("concat_slices", Case("""g (float[N,6] x) => (float[A,B] y)
        <int64[1] a = {0}, int64[1] b = {2}, int64[1] c = {-1}, int64[1] d = {9223372036854775807}, int64[1] x1 = {1}> {
        p = Slice(x, a, b, x1) q = Slice(x, b, c, x1) r = Slice(x, c, d, x1) y = Concat<axis=-1>(p, q, r) }""", nodes=1)),
    ("concat_slices", Case("""g (float[N,6] x) => (float[A,B] y) <int64[1] a = {1}, int64[1] b = {2}, int64[1] c = {9}> {
        p = Slice(x, a, b) q = Slice(x, b, c) y = Concat<axis=0>(p, q) }""", nodes=1)),
    ("concat_slices", Case("""g (float[N,6] x) => (float[A,B] y) <int64[1] a = {-4}, int64[1] b = {-2}, int64[1] c = {-1}> {
        p = Slice(x, a, b) q = Slice(x, b, c) y = Concat<axis=0>(p, q) }""", nodes=1)),
    ("split_concat_of_2", Case("""g (float[N,3] x, float[N,2] z) => (float[A,B] y, float[C,D] w) <int64[2] s = {3,2}> {
        c = Concat<axis=1>(x, z) p, q = Split<axis=-1>(c, s) y = Relu(p) w = Neg(q) }""", nodes=2)),
    ("split_concat_of_2", Case("""g (float[N,3] x, float[N,3] z) => (float[A,B] y, float[C,D] w, float[E,F] c) {
        c = Concat<axis=1>(x, z) p, q = Split<axis=1, num_outputs=2>(c) y = Relu(p) w = Neg(q) }""", opset=18, nodes=3)),
    ("split_concat_of_3", Case("""g (float[2,3] x, float[1,3] z) => (float[A,B] y, float[C,D] w, float[E,F] v) {
        c = Concat<axis=0>(z, x, z) p, q, r = Split<axis=0, split=[1,2,1]>(c) y = Relu(p) w = Neg(q) v = Abs(r) }""",
        opset=11, nodes=3)),
    ("split_concat_of_4", Case("""g (float[2,3] x) => (float[A,B] y) {
        c = Concat<axis=0>(x, x, x, x) p, q, r, s = Split(c) t = Add(p, q) u = Add(r, s) y = Mul(t, u) }""", opset=11, nodes=3)),
]  # fmt: skip

REFUSES = [
    ("squeeze_slice", Case("""g (string[2,4,3] x) => (string[A,B] y) <int64[1] s = {1}, int64[1] e = {2}, int64[1] a = {1}> {
        p = Slice(x, s, e, a) y = Squeeze(p, a) }""", reason="text")),
    ("squeeze_of_split", Case("""g (string[2,3,2] x) => (string[A,B] y) <int64[3] s = {1,1,1}, int64[1] a = {1}> {
        p, q, r = Split<axis=1>(x, s) y = Squeeze(p, a) }""", reason="text")),
    ("squeeze_split_of_2", Case("""g (string[N,2,3] x) => (string[A,B] y) <int64[1] a = {1}> {
        p, q = Split<axis=1, num_outputs=2>(x) y = Squeeze(p, a) }""", opset=18, reason="text")),
    ("squeeze_of_split", Case("""g (float[N,4] x) => (float[A,B] y, float[C] z) <int64[2] s = {3,1}, int64[1] a = {1}> {
        y, q = Split<axis=1>(x, s) z = Squeeze(q, a) }""", reason="single elements")),
    ("squeeze_of_split", Case("""g (float[N,2] x) => (float[A,B] y, float[C] z) <int64[2] s = {1,1}, int64[1] a = {1}> {
        y, q = Split<axis=1>(x, s) z = Squeeze(q, a) }""", reason="with its dim")),
    ("gather_by_slice", Case("""g (float[N] x) => (float[A,B] y)
        <float[3,2] w = {1,2,3,4,5,6}, int64[4] i = {0,-1,1,2}, int64[1] s = {0}, int64[1] a = {0}> {
        e = Shape(x) p = Slice(i, s, e, a) y = Gather(w, p) }""", reason="larger")),
    ("gather_by_slice", Case("""g (float[N] x) => (float[A,B] y)
        <float[3,2] w = {1,2,3,4,5,6}, int64[3] i = {0,-1,1}, int64[1] s = {0}, int64[1] a = {-1}> {
        e = Shape(x) p = Slice(i, s, e, a) y = Gather(w, p) }""", reason="from the end")),
    ("slice_nothing", Case(_slice("0", "3", "1").text, reason="left out")),
    ("slice_nothing", Case(_slice("1", str(_END), "1").text, reason="left out")),
    ("slice_nothing", Case(_slice("-9", str(_END), "1").text, reason="left out")),
    ("slice_nothing", Case(_slice("0,0", f"{_END},3", "1,2").text, reason="left out")),
    ("slice_nothing", Case(_slice("0", "-1", "0").text, reason="left out")),
    ("slice_nothing", Case(_slice("0", str(_END), "1", steps="2").text, reason="left out")),
    ("slice_nothing", Case("""g (float[6] x, int64[K] r) => (float[A] y) <int64[1] s = {0}, int64[1] e = {9}, int64[1] m = {-1}> {
        p = Reshape(x, r) q = Slice(p, s, e, m) y = Reshape(q, m) }""", reason="left out")),
    # Backwards through a dim: the same shape, another order.
    ("slice_to_own_size", Case("""g (float[2,4] x) => (float[A,B] y)
        <int64[1] s = {-1}, int64[1] e = {-9}, int64[1] a = {1}, int64[1] t = {-1}> {
        y = Slice(x, s, e, a, t) }""", reason="skipped")),
    ("slice_to_own_size", Case("""g (float[N,M] x) => (float[A,B] y) <int64[1] s = {0}, int64[1] a = {1}> {
        e = Shape<end=1>(x) y = Slice(x, s, e, a) }""", reason="may be left out")),
    ("slice_to_own_size", Case("""g (float[N,M] x) => (float[A,B] y) <int64[1] s = {1}> {
        e = Shape<end=1>(x) y = Slice(x, s, e) }""", reason="may be left out")),
    ("slice_to_own_size", Case("""g (float[N,M] x, int64[1] s) => (float[A,B] y) {
        e = Shape<end=1>(x) y = Slice(x, s, e) }""", reason="may be left out")),
    ("slice_slice", Case(_two("0 -1 1 1", "0 -1 1 1").text, reason="from the end")),
    ("slice_slice", Case(_two("8 0 0 -1", "1 3 0 1").text, reason="backwards")),
    ("slice_slice", Case(_two("0 4 0 1", "3 0 0 -1").text, reason="backwards")),
    ("slice_slice", Case(f"""g (float[9,4] x) => (float[A,B] y) <int64[1] s = {{1}}, int64[1] e = {{8}}, {_UNKNOWN_AXES}> {{
        {_UNKNOWN_RANK} p = Slice(r, s, e, a) y = Slice(p, s, e, b) }}""", reason="not valid")),
    ("slice_slice", Case(f"""g (float[9,4] x) => (float[A,B] y) <int64[1] s = {{1}}, int64[1] e = {{8}}, {_UNKNOWN_AXES}> {{
        {_UNKNOWN_RANK} p = Slice(r, s, e, b) y = Slice(p, s, e, a) }}""", reason="not valid")),
    ("slice_slice", Case("""g (float[9,4] x) => (float[A,B] y, float[C,D] p)
        <int64[1] s = {1}, int64[1] e = {8}, int64[1] f = {2}> {
        p = Slice(x, s, e) y = Slice(p, s, f) }""", reason="nothing would be saved")),
    ("squeeze_slice", Case("""g (float[2,N] x) => (float[A] y) <int64[1] s = {-1}, int64[1] e = {9223372036854775807}, int64[1] a = {1}> {
        p = Slice(x, s, e, a) y = Squeeze(p, a) }""", reason="from the end")),
    ("flat_column", Case("""g (float[2,4] x) => (float[A] y) <int64[1] s = {1}, int64[1] e = {3}, int64[1] a = {1}, int64[1] f = {-1}> {
        p = Slice(x, s, e, a) y = Reshape(p, f) }""", reason="several")),
    ("flat_column", Case("""g (float[2,N] x) => (float[A] y) <int64[1] s = {-1}, int64[1] e = {9223372036854775807}, int64[1] a = {1}, int64[1] f = {-1}> {
        p = Slice(x, s, e, a) y = Reshape(p, f) }""", reason="from the end")),
    ("squeeze_slice", Case("""g (float[4,N] x) => (float y) <int64[2] s = {1,1}, int64[2] e = {2,2}, int64[2] a = {0,1}> {
        p = Slice(x, s, e, a) y = Squeeze(p, a) }""", reason="not one dim")),
    ("squeeze_slice", Case(f"""g (float[9,4] x) => (float[A] y) <int64[1] s = {{1}}, int64[1] e = {{2}}, {_UNKNOWN_AXES}> {{
        {_UNKNOWN_RANK} p = Slice(r, s, e, a) y = Squeeze(p, a) }}""", reason="not one dim")),
    ("squeeze_slice", Case("""g (float[1,N] x) => (float[A] y) <int64[1] s = {0}, int64[1] e = {1}, int64[1] a = {1}, int64[1] b = {0}> {
        p = Slice(x, s, e, a) y = Squeeze(p, b) }""", reason="not one dim")),
    ("squeeze_slice", Case("""g (float[2,N] x) => (float[A] y) <int64[1] s = {0}, int64[1] e = {2}, int64[1] a = {1}> {
        p = Slice(x, s, e, a) y = Squeeze(p, a) }""", reason="several elements")),
    ("gather_nothing", Case("""g (float[3] x) => (float[A] y) <int64[3] i = {0,2,1}> { y = Gather(x, i) }""", reason="in order")),
    ("gather_nothing", Case("""g (float[3] x) => (float[A] y) <int64[2] i = {0,1}> { y = Gather(x, i) }""", reason="not all")),
    ("gather_nothing", Case("""g (float[N] x) => (float[A] y) <int64[1] i = {0}> { y = Gather(x, i) }""", reason="not all")),
    ("gather_only_element", Case("""g (float[N,2] x) => (float[A] y) <int64 i = {0}> { y = Gather<axis=1>(x, i) }""",
        reason="not one element")),
    ("gather_only_element", Case("""g (float[N,1] x) => (float[A,B] y) <int64[1] i = {0}> { y = Gather<axis=1>(x, i) }""",
        reason="not one element")),
    ("unsqueeze_gather", Case("""g (float[N,5] x) => (float[A,B] y) <int64 i = {2}, int64[1] a = {0}> {
        p = Gather<axis=1>(x, i) y = Unsqueeze(p, a) }""", reason="another dim")),
    ("unsqueeze_gather", Case("""g (float[N,5] x) => (float[A,B,C] y) <int64[1] i = {2}, int64[1] a = {1}> {
        p = Gather<axis=1>(x, i) y = Unsqueeze(p, a) }""", reason="not one element")),
    ("squeeze_gather", Case("""g (float[1,5] x) => (float[A] y) <int64[1] i = {2}, int64[1] a = {0}> {
        p = Gather<axis=1>(x, i) y = Squeeze(p, a) }""", reason="another dim")),
    ("squeeze_gather", Case("""g (float[3,5] x) => (float[A] y) <int64[1] i = {2}> {
        p = Gather<axis=1>(x, i) y = Squeeze(p) }""", reason="another dim")),
    ("squeeze_gather", Case("""g (float[N,5] x) => (float[A,B] y) <int64[1,1] i = {2}, int64[1] a = {1}> {
        p = Gather<axis=1>(x, i) y = Squeeze(p, a) }""", reason="not a list of one")),
    ("gather_slice", Case("""g (float[N,9] x) => (float[A] y) <int64[1] s = {1}, int64[1] e = {9}, int64 i = {-1}> {
        p = Slice(x, s, e) y = Gather(p, i) }""", reason="from the end")),
    ("gather_slice", Case("""g (float[N,9] x) => (float[A] y) <int64[1] s = {-2}, int64[1] e = {9}, int64 i = {1}> {
        p = Slice(x, s, e) y = Gather(p, i) }""", reason="from the end")),
    ("gather_slice", Case(f"""g (float[9,4] x) => (float[A] y) <int64[1] s = {{1}}, int64[1] e = {{9}}, int64 i = {{1}}, {_UNKNOWN_AXES}> {{
        {_UNKNOWN_RANK} p = Slice(r, s, e, a) y = Gather(p, i) }}""", reason="another dim")),
    ("gather_slice", Case("""g (float[7,9] x) => (float[A] y) <int64[1] s = {1}, int64[1] e = {9}, int64 i = {1}> {
        p = Slice(x, s, e) y = Gather<axis=1>(p, i) }""", reason="another dim")),
    ("gather_slice", Case("""g (float[7,9] x) => (float[A] y)
        <int64[2] s = {1,1}, int64[2] e = {6,6}, int64 i = {1}> {
        p = Slice(x, s, e) y = Gather<axis=1>(p, i) }""", reason="another dim")),
    ("gather_nothing", Case(f"""g (float[4097] x) => (float[A] y) <int64[4097] i = {{{",".join(map(str, range(4097)))}}}> {{
        y = Gather(x, i) }}""", reason="not all")),
    ("gather_slice", Case(f"""g (float[N] x) => (float[A] y)
        <int64[1] s = {{1}}, int64[1] e = {{9}}, int64[4097] i = {{{",".join(["0"] * 4097)}}}> {{
        p = Slice(x, s, e) y = Gather(p, i) }}""", reason="another dim")),
    ("gather_concat", Case("""g (float[N,3] x, float[4,3] z) => (float[A] y) <int64 i = {4}> {
        c = Concat<axis=0>(x, z) y = Gather(c, i) }""", reason="sizes")),
    ("gather_concat", Case("""g (float[4,3] x, float[4,2] z) => (float[A] y) <int64 i = {3}> {
        c = Concat<axis=1>(x, z) y = Gather<axis=0>(c, i) }""")),
    ("gather_concat", Case("""g (float[4,3] x, float[N,3] z) => (float[A] y) <int64 i = {-2}> {
        c = Concat<axis=0>(x, z) y = Gather(c, i) }""", reason="sizes")),
    ("gather_concat", Case("""g (float[4,3] x, float[4,3] z) => (float[A,B] y) <int64[2] i = {1,5}> {
        c = Concat<axis=0>(x, z) y = Gather(c, i) }""", reason="several elements")),
    ("slice_concat", Case("""g (float[2,3] x, float[2,4] z) => (float[A,B] y) <int64[1] s = {2}, int64[1] e = {4}, int64[1] a = {1}> {
        c = Concat<axis=1>(x, z) y = Slice(c, s, e, a) }""", reason="more than one part")),
    ("slice_concat", Case("""g (float[2,3] x, float[2,N] z) => (float[A,B] y) <int64[1] s = {0}, int64[1] e = {-1}, int64[1] a = {1}> {
        c = Concat<axis=1>(x, z) y = Slice(c, s, e, a) }""", reason="more than one part")),
    ("slice_concat", Case("""g (float[N,3] x, float[4,3] z) => (float[A,B] y)
        <int64[1] s = {-6}, int64[1] e = {9223372036854775807}, int64[1] a = {0}> {
        c = Concat<axis=0>(x, z) y = Slice(c, s, e, a) }""", reason="sizes")),
    ("slice_concat", Case("""g (float[N,3] x, float[4,3] z) => (float[A,B] y)
        <int64[1] s = {0}, int64[1] e = {9223372036854775807}, int64[1] a = {0}> {
        c = Concat<axis=0>(x, z, z) y = Slice(c, s, e, a) }""", reason="sizes")),
    ("slice_concat", Case("""g (float[3,3] x, float[4,3] z) => (float[A,B] y)
        <int64[1] s = {1}, int64[1] e = {9223372036854775807}, int64[1] a = {0}> {
        c = Concat<axis=0>(x, z) y = Slice(c, s, e, a) }""", reason="more than one part")),
    ("slice_concat", Case("""g (float[3,3] x, float[4,3] z) => (float[A,B] y)
        <int64[1] s = {6}, int64[1] e = {3}, int64[1] a = {0}, int64[1] t = {-1}> {
        c = Concat<axis=0>(x, z) y = Slice(c, s, e, a, t) }""", reason="more than one part, or nothing")),
    ("slice_concat", Case("""g (float[3,3] x, float[4,3] z) => (float[A,B] y) <int64[1] s = {1}, int64[1] e = {3}, int64[1] a = {1}> {
        c = Concat<axis=0>(x, z) y = Slice(c, s, e, a) }""", reason="another dim")),
    ("concat_concat", Case("""g (float[N,M] x, float[N,M] z, float[K,L] w) => (float[A,B] y) {
        c = Concat<axis=0>(x, z) y = Concat<axis=1>(c, w) }""", reason="no part")),
    ("concat_concat", Case("""g (float[3,3] x, float[3,3] z) => (float[A,B] y) {
        c = Concat<axis=0>(x, z) d = Concat<axis=-2>(z, z) y = Concat<axis=1>(c, d) }""", reason="no part")),
    ("concat_concat", Case("""g (float[3,3] x, float[3,3] z) => (float[A,B] y, float[C,D] c) {
        c = Concat<axis=0>(x, z) y = Concat<axis=0>(c, z) }""", reason="no part")),
    ("concat_concat", Case(f"""g (float[9] x) => (float[A] y) <bool[1] all = {{1}}> {{
        {_UNKNOWN_RANK} c = Concat<axis=-1>(r, r) y = Concat<axis=0>(c, r) }}""", reason="no part")),
    ("concat_concat", Case("""g (float[N,M] x, float[N,M] z) => (float[A,B] y) {
        c = Max(x, z) y = Concat<axis=0>(c, x) }""", reason="no part")),
    ("concat_concat", Case("""g (bool b, float[N,M] x) => (float[A,B] y) {
        c = Concat<axis=0>(x, x)
        y = If (b) <then_branch = t () => (float[P,Q] p) { p = Concat<axis=0>(c, x) },
                    else_branch = e () => (float[R,S] q) { q = Neg(x) }> }""", reason="no part")),
    ("slices_are_split", Case("""g (float[N,6] x) => (float[A,B] y, float[C,D] z)
        <int64[1] o = {0}, int64[1] m = {2}, int64[1] n = {3}, int64[1] e = {9}, int64[1] a = {-1}> {
        y = Slice(x, o, m, a) z = Slice(x, n, e, a) }""", reason="not side by side")),
    ("slices_are_split", Case("""g (float[N,6] x) => (float[A,B] y, float[C,D] z)
        <int64[1] o = {0}, int64[1] m = {2}, int64[1] e = {9}, int64[1] a = {0}> {
        y = Slice(x, o, m, a) z = Slice(x, m, e, a) }""", reason="of known size")),
    ("slices_are_split", Case("""g (float[4,6] x) => (float[A,B] y, float[C,D] z)
        <int64[1] o = {0}, int64[1] m = {2}, int64[1] e = {9}, int64[1] a = {0}, int64[1] b = {1}> {
        y = Slice(x, o, m, a) z = Slice(x, m, e, b) }""", reason="not side by side")),
    ("squeeze_split_of_2", Case("""g (float[1,N,2] x) => (float[A,B] y) <int64[1] a = {0}> {
        p, q = Split<axis=2, num_outputs=2>(x) y = Squeeze(p, a) }""", opset=18, reason="another axis")),
    ("squeeze_split_of_3", Case("""g (float[4] x) => (float y) <int64[3] s = {1,1,2}, int64[1] a = {0}> {
        p, q, r = Split(x, s) y = Squeeze(q, a) z = Neg(r) }""", reason="element")),
    ("concat_split", Case("""g (float[N,6] x) => (float[A,B] y) { y = Concat<axis=1>(x, x) }""", reason="not all parts")),
    ("concat_split", Case("""g (float[N,6] x) => (float[A,B] y) {
        a, b = Split<axis=1>(x) y = Concat<axis=1>(b, a) }""", opset=11, reason="not all parts")),
    ("concat_split", Case("""g (float[6,6] x) => (float[A,B] y) {
        a, b = Split<axis=1>(x) y = Concat<axis=0>(a, b) }""", opset=11, reason="not all parts")),
    ("concat_split", Case("""g (float[N,6] x) => (float[A,B] y, float[C,D] c) {
        a, b, c = Split<axis=1>(x) y = Concat<axis=1>(a, b) }""", opset=11, reason="not all parts")),
    ("concat_split", Case("""g (float[N,6] x) => (float[A,B] y, float[C,D] z) {
        a, b, c = Split<axis=1>(x) y = Concat<axis=1>(a, b, b) z = Neg(c) }""", opset=11, reason="not all parts")),
    ("concat_slices", Case("""g (float[N,6] x) => (float[A,B] y) { y = Concat<axis=0>(x, x) }""", reason="not all slices")),
    ("concat_slices", Case("""g (float[N,6] x) => (float[A,B] y) <int64[1] a = {1}, int64[1] b = {2}, int64[1] c = {4}, int64[1] d = {3}> {
        p = Slice(x, a, b) q = Slice(x, d, c) y = Concat<axis=0>(p, q) }""", reason="next to each other")),
    ("concat_slices", Case("""g (float[N,6] x, float[N,6] z) => (float[A,B] y) <int64[1] a = {1}, int64[1] b = {2}, int64[1] c = {4}> {
        p = Slice(x, a, b) q = Slice(z, b, c) y = Concat<axis=0>(p, q) }""", reason="not all slices")),
    ("concat_slices", Case("""g (float[3,3] x) => (float[A,B] y) <int64[1] a = {0}, int64[1] b = {2}, int64[1] c = {3}> {
        p = Slice(x, a, b) q = Slice(x, b, c) y = Concat<axis=1>(p, p) }""", reason="not all slices")),
    ("concat_slices", Case("""g (float[N,6] x) => (float[A,B] y) <int64[1] a = {1}, int64[1] b = {-2}, int64[1] c = {9}> {
        p = Slice(x, a, b) q = Slice(x, b, c) y = Concat<axis=0>(p, q) }""", reason="behind its end")),
    ("concat_slices", Case("""g (float[N,6] x) => (float[A,B] y) <int64[1] a = {2}, int64[1] b = {1}, int64[1] c = {9}> {
        p = Slice(x, a, b) q = Slice(x, b, c) y = Concat<axis=0>(p, q) }""", reason="behind its end")),
    ("concat_slices", Case("""g (float[9] x) => (float[A] y)
        <int64[1] a = {0}, int64[1] b = {4}, int64[1] c = {9}, int64[1] z = {0}, int64[1] t = {2}> {
        p = Slice(x, a, b, z, t) q = Slice(x, b, c, z, t) y = Concat<axis=0>(p, q) }""", reason="not all slices")),
    ("split_concat_of_2", Case("""g (float[N,3] x, float[N,3] z) => (float[A,B] y, float[C,D] w) <int64[2] s = {2,4}> {
        c = Concat<axis=1>(x, z) p, q = Split<axis=1>(c, s) y = Relu(p) w = Neg(q) }""", reason="sizes")),
    ("split_concat_of_2", Case("""g (float[4,4] x, float[4,4] z) => (float[A,B] y, float[C,D] w) <int64[2] s = {2,2}> {
        c = Concat<axis=1>(x, z) p, q = Split<axis=0>(c, s) y = Relu(p) w = Neg(q) }""")),
    ("split_concat_of_2", Case("""g (float[N,2] x, float[N,2] z, float[N,2] u) => (float[A,B] y, float[C,D] w) <int64[2] s = {2,4}> {
        c = Concat<axis=1>(x, z, u) p, q = Split<axis=1>(c, s) y = Relu(p) w = Neg(q) }""", reason="number of parts")),
    ("split_concat_of_2", Case("""g (float[N,2] x, float[N,4] z) => (float[A,B] y, float[C,D] w, float[E,F] v)
        <int64[3] s = {2,2,2}> {
        c = Concat<axis=1>(x, z) p, q, r = Split<axis=1>(c, s) y = Relu(p) w = Neg(q) v = Abs(r) }""")),
    ("split_concat_of_2", Case("""g (float[N] x, float[M] z) => (float[A] y, float[C] w) {
        c = Concat<axis=0>(x, z) p, q = Split<axis=0>(c) y = Relu(p) w = Neg(q) }""", opset=11, reason="sizes")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("simplifying") if r.family in ("slicing", "splitting")} == {r for r, _ in FIRES}


_SIZES = (0, 1, 2, 3, 4, 7)
_BOUNDS = (0, 1, 2, 4, -1, -2, -4, _END)


def _check(rules: list[str], nodes: list[NodeProto], constants: dict[str, Any], inputs: dict[str, int | None]) -> bool:
    """Whether the rules fire on a graph that makes y of vectors (None: of unknown size). What they write must be right for
    all sizes for which the graph runs."""
    tensors = [helper.make_tensor(k, TensorProto.INT64, np.shape(v), np.ravel(v)) for k, v in constants.items()]
    made = [
        helper.make_tensor_value_info(k, TensorProto.INT64, ["N" + k if n is None else n]) for k, n in inputs.items()
    ]
    out = helper.make_tensor_value_info("y", TensorProto.INT64, None)
    graph = helper.make_graph(nodes, "g", made, [out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result, ledger = apply(model, *(all_rules()[r] for r in rules))
    if not ledger.steps:
        return False
    for sizes in itertools.product(*(_SIZES if n is None else (n,) for n in inputs.values())):
        starts = itertools.accumulate((0, *sizes[:-1]))
        feeds = {k: np.arange(n) + start for k, n, start in zip(inputs, sizes, starts, strict=True)}
        want = _run(model.graph, feeds)
        if want is not None:
            got = _run(result.proto.graph, feeds)
            assert got is not None and want.shape == got.shape and want.tolist() == got.tolist(), (constants, sizes)
    return True


def _run(graph: GraphProto, feeds: dict[str, np.ndarray]) -> np.ndarray | None:
    """Slice, Gather, Squeeze, Concat and Identity on vectors; None where they are not valid."""
    values = {**feeds, **{t.name: numpy_helper.to_array(t) for t in graph.initializer}}
    for node in graph.node:
        x, *rest = (values[i] for i in node.input)
        if node.op_type == "Slice":
            s, e, _, *t = (v.item() for v in rest)
            x = x[s : e : t[0] if t else 1]
        elif node.op_type == "Gather":
            if x.ndim != 1 or not ((-len(x) <= rest[0]) & (rest[0] < len(x))).all():
                return None
            x = x[rest[0]]
        elif node.op_type == "Squeeze":
            if x.shape != (1,):
                return None
            x = x[0]
        elif node.op_type == "Concat":
            x = np.concatenate([x, *rest])
        else:
            assert node.op_type == "Identity"
        values[node.output[0]] = x
    return np.asarray(values["y"])


def _cut(x: str, y: str, k: str = "") -> NodeProto:
    return helper.make_node("Slice", [x, "s" + k, "e" + k, "a", "t" + k], [y])


# The numbers say how often a rule fires: neither less often, nor where nobody can know.


def test_slices_of_any_size() -> None:
    fired = Counter[str]()
    for n, s, e, t in itertools.product((None, 1, 4), _BOUNDS, _BOUNDS, (1, 2, -1)):
        c = {"s": [s], "e": [e], "a": [0], "t": [t]}
        cut = _cut("x", "p")
        fired["slice"] += _check(["slice_nothing"], [_cut("x", "y")], c, {"x": n})
        squeeze = helper.make_node("Squeeze", ["p", "a"], ["y"])
        fired["squeeze"] += _check(["squeeze_slice"], [cut, squeeze], c, {"x": n})
        for i in (0, 1, -1, [1, 0]):
            gather = helper.make_node("Gather", ["p", "i"], ["y"])
            fired["gather"] += _check(["gather_slice"], [cut, gather], {**c, "i": i}, {"x": n})
    assert fired == {"slice": 21, "squeeze": 63, "gather": 970}


def test_joined_slices_of_any_size() -> None:
    fired = Counter[str]()
    few = (0, 1, 3, -2, _END)
    for n, s, e, s1, e1, t in itertools.product((None, 4), few, few, few, few, ((1, 1), (2, 3))):
        c = {"s": [s], "e": [e], "s1": [s1], "e1": [e1], "a": [0], "t": [t[0]], "t1": [t[1]]}
        fired["nested"] += _check(["slice_slice"], [_cut("x", "p"), _cut("p", "y", "1")], c, {"x": n})
        concat = helper.make_node("Concat", ["p", "q"], ["y"], axis=0)
        fired["beside"] += _check(["concat_slices"], [_cut("x", "p"), _cut("x", "q", "1"), concat], c, {"x": n})
    assert fired == {"nested": 1879, "beside": 61}


def test_parts_of_any_size() -> None:
    fired = Counter[str]()
    for sizes in ((None, 2), (2, None), (2, 3), (0, 3, None), (3, 2, 2), (None, 2, 3), (2, None, 3)):
        parts = dict(zip("uvw", sizes, strict=False))
        concat = helper.make_node("Concat", list(parts), ["p"], axis=0)
        for i in (0, 1, 2, 3, 5, -1, -2, -3, -4, -6, [1]):
            gather = helper.make_node("Gather", ["p", "i"], ["y"])
            fired["gather"] += _check(["gather_concat"], [concat, gather], {"i": i}, parts)
        for s, e, t in itertools.product((0, 1, 2, 3, 5, -2, -3, -5), (*_BOUNDS, 3, 5), (1, 2)):
            c = {"s": [s], "e": [e], "a": [0], "t": [t]}
            fired["slice"] += _check(["slice_concat"], [concat, _cut("p", "y")], c, parts)
    assert fired == {"gather": 44, "slice": 152}
