"""The structure of a model: the same for other weights and names, another for anything else."""

from __future__ import annotations

import pytest
from onnx import parser

from graphopt.ir import load
from graphopt.tuning.identity import structure_of

TEXT = """<ir_version: 8, opset_import: ["" : 18]>
g (float[N,4] x) => (float[N,3] y) <float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float k = {2}, int64[2] s = {-1,3}>
{ a = MatMul(x, w) b = Mul(a, k) c = Reshape(b, s) y = Softmax<axis=1>(c) }"""


def of(old: str = "", new: str = "") -> str:
    assert old in TEXT
    return structure_of(load(parser.parse_model(TEXT.replace(old, new) if old else TEXT)))


@pytest.mark.parametrize(
    ("old", "new"), [("1,2,3,4,", "9,2,3,4,"), ("b = Mul(a, k) c = Reshape(b, s)", "q = Mul(a, k) c = Reshape(q, s)")]
)
def test_weights_and_names_do_not_count(old: str, new: str) -> None:
    assert of(old, new) == of()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("axis=1", "axis=0"),
        ("k = {2}", "k = {3}"),
        ("s = {-1,3}", "s = {3,-1}"),
        ("Mul(a, k)", "Add(a, k)"),
        ("Mul(a, k)", "Mul(k, a)"),
        ("float[N,4] x", "float[8,4] x"),
        (': 18]', ': 17]'),
        ("float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}", "float[4,2] w = {1,2,3,4,5,6,7,8}"),
    ],
)  # fmt: skip
def test_everything_else_counts(old: str, new: str) -> None:
    assert of(old, new) != of()
