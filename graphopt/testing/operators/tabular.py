"""Classical machine learning (domain ai.onnx.ml): what tables of features go through."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Tensor
from graphopt.testing.building.builder import Invalid
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import np_dtype

DOMAIN = "ai.onnx.ml"
_POST = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"]


def _quarters(s: Site, n: int) -> list[float]:
    """Numbers for an attribute, none of them 0."""
    random = s.random()
    return (random.integers(1, 9, n) * random.choice([-1, 1], n) / 4).tolist()


def _table(s: Site) -> Shape:
    """The shape of the first operand: rows of features."""
    s.operand(0, s.shape(0) or (s.choices.integer(1, 4), s.choices.integer(1, 5)))
    x = s.shape(0)
    if x is None or len(x) != 2 or 0 in x:
        raise Invalid(f"{s.op_type} of {x}")
    return x


@operands("ArrayFeatureExtractor", domain=DOMAIN, ranks={0: (1, 3), 1: (1, 1)})
def extract(s: Site) -> None:
    s.operand(0, s.new_shape(0, 1, 3, empty=False))
    x = s.shape(0) or (1,)
    n = s.choices.integer(1, 3)
    s.operand(1, (n,), array=s.random().integers(0, x[-1], n))


@operands("Binarizer", domain=DOMAIN, ranks={0: (1, 3)}, carries=(0,))
def binarize(s: Site) -> None:
    s.operand(0, s.new_shape(0, 1, 3, empty=False))
    s.number("threshold", -1.0, 2.0, 0.0)


@operands("Scaler", domain=DOMAIN, ranks={0: (2, 2)}, carries=(0,))
def scale(s: Site) -> None:
    n = _table(s)[1]
    for name in ("offset", "scale"):
        s.attributes[name] = _quarters(s, s.choices.one([n, 1]))
    if len(s.attributes["offset"]) != len(s.attributes["scale"]):
        s.attributes["scale"] = _quarters(s, len(s.attributes["offset"]))


@operands("Normalizer", domain=DOMAIN, ranks={0: (2, 2)}, carries=(0,))
def normalize(s: Site) -> None:
    s.operand(0, (s.choices.integer(1, 4), s.choices.integer(1, 5)), "positive")
    s.text("norm", ["MAX", "L1", "L2"], "MAX")


@operands("Imputer", domain=DOMAIN, ranks={0: (2, 2)}, carries=(0,))
def impute(s: Site) -> None:
    n = s.choices.one([_table(s)[1], 1])
    if s.dtype(0) in (TensorProto.FLOAT, TensorProto.DOUBLE):
        s.attributes.update(imputed_value_floats=_quarters(s, n), replaced_value_float=s.choices.one([0.25, 1.0]))
    else:
        s.attributes.update(imputed_value_int64s=s.random().integers(-9, 9, n).tolist(), replaced_value_int64=1)


@operands("FeatureVectorizer", domain=DOMAIN, ranks=dict.fromkeys(range(4), (2, 2)))
def vectorize(s: Site) -> None:
    rows = s.choices.integer(1, 3)
    sizes = [s.choices.integer(1, 3) for _ in range(s.count)]
    for i, n in enumerate(sizes):
        s.operand(i, (rows, n))
    s.attributes["inputdimensions"] = sizes


@operands(
    "OneHotEncoder", domain=DOMAIN, dtypes={0: frozenset({TensorProto.INT64, TensorProto.STRING, TensorProto.FLOAT})}
)
def one_hot(s: Site) -> None:
    text = s.dtype(0) == TensorProto.STRING
    s.operand(0, s.new_shape(0, 1, 2, empty=False), "whole")
    s.attributes.update({"cats_strings": ["a", "b", ""]} if text else {"cats_int64s": [0, 1, 2, -2]})


@operands("CategoryMapper", domain=DOMAIN, carries=(0,))
def map_categories(s: Site) -> None:
    s.operand(0, s.new_shape(0, 0, 3))
    s.attributes.update(cats_int64s=[0, 1, 2], cats_strings=["a", "b", "c"])
    if s.choices.integer(0, 1):
        s.attributes.update(default_int64=-7, default_string="other")


#: What labels of each dtype are.
_LABELS: dict[int, tuple[str, list[Any]]] = {
    TensorProto.INT64: ("int64s", [0, 1, -2, 3]),
    TensorProto.STRING: ("strings", ["a", "b", "", "d"]),
    TensorProto.FLOAT: ("floats", [0.25, 1.0, -0.5, 2.0]),
}


@operands("LabelEncoder", domain=DOMAIN, carries=(0,), dtypes={0: frozenset(_LABELS)})
def encode_labels(s: Site) -> None:
    s.operand(0, s.new_shape(0, 0, 3))
    given, keys = _LABELS[s.dtype(0)]
    wanted, values = _LABELS[s.choices.one([t for t in _LABELS if t != s.dtype(0) or t == TensorProto.INT64])]
    s.attributes.update({f"keys_{given}": keys, f"values_{wanted}": values[::-1]})
    if s.choices.integer(0, 1):
        s.attributes["default_" + {"int64s": "int64", "strings": "string", "floats": "float"}[wanted]] = values[0]


@operands("LinearRegressor", domain=DOMAIN, ranks={0: (2, 2)}, dtypes={0: frozenset({TensorProto.FLOAT})})
def linear_regressor(s: Site) -> None:
    n = _table(s)[1]
    targets = s.choices.integer(1, 3)
    s.attributes.update(targets=targets, coefficients=_quarters(s, n * targets))
    if s.choices.integer(0, 1):
        s.attributes["intercepts"] = _quarters(s, targets)
    s.text("post_transform", _POST if targets > 1 else ["NONE"], "NONE")


@operands("LinearClassifier", domain=DOMAIN, ranks={0: (2, 2)})
def linear_classifier(s: Site) -> None:
    n = _table(s)[1]
    classes = s.choices.integer(2, 4)
    if s.choices.integer(0, 1):
        s.attributes["classlabels_ints"] = [7, 5, 6, 9][:classes]
    else:
        s.attributes["classlabels_strings"] = list("dabc")[:classes]
    rows = classes if classes > 2 or s.choices.integer(0, 1) else 1
    s.attributes["coefficients"] = _quarters(s, n * rows)
    s.attributes["intercepts"] = [
        q + k / 64 for k, q in enumerate(_quarters(s, rows))
    ]  # no two classes come out the same
    s.text("post_transform", _POST if rows > 1 else ["NONE"], "NONE")


@operands("SVMRegressor", domain=DOMAIN, ranks={0: (2, 2)}, dtypes={0: frozenset({TensorProto.FLOAT})})
def svm_regressor(s: Site) -> None:
    n, supports = _table(s)[1], s.choices.integer(1, 3)
    s.attributes.update(
        kernel_type=s.choices.one(["LINEAR", "POLY", "RBF", "SIGMOID"]), kernel_params=[0.25, 0.5, 2.0],
        support_vectors=_quarters(s, n * supports), coefficients=_quarters(s, supports), n_supports=supports,
        rho=_quarters(s, 1), one_class=s.choices.one([0, 0, 1]),
    )  # fmt: skip


@operands("SVMClassifier", domain=DOMAIN, ranks={0: (2, 2)}, dtypes={0: frozenset({TensorProto.FLOAT})})
def svm_classifier(s: Site) -> None:
    n, classes = _table(s)[1], s.choices.integer(2, 3)
    supports = [s.choices.integer(1, 2) for _ in range(classes)]
    s.attributes.update(
        kernel_type=s.choices.one(["LINEAR", "POLY", "RBF", "SIGMOID"]), kernel_params=[0.25, 0.5, 2.0],
        support_vectors=_quarters(s, n * sum(supports)), coefficients=_quarters(s, (classes - 1) * sum(supports)),
        vectors_per_class=supports, classlabels_ints=[7, 5, 6][:classes],
        rho=[k / 64 + 1 / 128 for k in range(classes * (classes - 1) // 2)],  # scores that are hardly ever 0
    )  # fmt: skip


@operands(
    "TreeEnsemble", domain=DOMAIN, ranks={0: (2, 2)}, dtypes={0: frozenset({TensorProto.FLOAT, TensorProto.DOUBLE})}
)
def trees(s: Site) -> None:
    """Trees of one question and two answers each."""
    n = _table(s)[1]
    count, targets = s.choices.integer(1, 3), s.choices.integer(1, 2)
    dtype = np_dtype(s.dtype(0))

    def tensor(values: list[float], dtype: Any = dtype) -> Tensor:
        return Tensor(array=np.array(values, dtype))

    s.attributes.update(
        nodes_splits=tensor(_quarters(s, count)), leaf_weights=tensor(_quarters(s, 2 * count)),
        nodes_modes=tensor([s.choices.integer(0, 3) for _ in range(count)], np.uint8),
        nodes_featureids=[s.choices.integer(0, n - 1) for _ in range(count)], n_targets=targets, tree_roots=list(range(count)),
        nodes_truenodeids=[2 * k for k in range(count)], nodes_falsenodeids=[2 * k + 1 for k in range(count)],
        nodes_trueleafs=[1] * count, nodes_falseleafs=[1] * count,
        leaf_targetids=[s.choices.integer(0, targets - 1) for _ in range(2 * count)],
        aggregate_function=s.choices.one([1, 0, 2, 3]) if targets == 1 else 1,
    )  # fmt: skip
