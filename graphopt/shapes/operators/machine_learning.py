"""Classical machine learning: the domain ai.onnx.ml."""

from __future__ import annotations

from onnx import TensorProto, TypeProto

from graphopt.ir import Dim
from graphopt.shapes.dims import product
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo

DOMAIN = "ai.onnx.ml"
FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


@infers("Binarizer", "Imputer", domain=DOMAIN)
def like_first(node: Site) -> TypeInfo:
    """The type of the input."""
    return node.like(0)


@infers("Normalizer", "Scaler", domain=DOMAIN)
def floats_like_first(node: Site) -> TypeInfo:
    """A float for each element."""
    return TypeInfo(FLOAT, node.shape(0))


@infers("CategoryMapper", "LabelEncoder", domain=DOMAIN)
def mapped(node: Site) -> TypeInfo:
    """A number for each string, or a string for each number."""
    other: dict[int, int] = {STRING: INT64, INT64: STRING}
    return TypeInfo(other.get(node.dtype(0), 0), node.shape(0))


@infers("LabelEncoder", domain=DOMAIN, since=2)
def label_encoder(node: Site) -> TypeInfo:
    """One of the values for each element."""
    values = node.attribute("values_tensor")
    dtype = 0 if values is None else values.dtype
    for name, kind in (("values_strings", STRING), ("values_int64s", INT64), ("values_floats", FLOAT)):
        dtype = dtype or (kind if node.attribute(name) else 0)
    return TypeInfo(dtype, node.shape(0))


@infers("OneHotEncoder", domain=DOMAIN)
def one_hot_encoder(node: Site) -> TypeInfo:
    """A row for each element, as long as there are categories."""
    x = node.shape(0)
    categories = len(node.attribute("cats_int64s") or node.attribute("cats_strings") or ())
    return TypeInfo(FLOAT, None if x is None else (*x, categories or node.fresh()))


@infers("ArrayFeatureExtractor", domain=DOMAIN)
def array_feature_extractor(node: Site) -> TypeInfo:
    """As many of the last axis as there are indices; a vector becomes a matrix of one row."""
    x, indices = node.shape(0), node.shape(1)
    if x is None:
        return TypeInfo(node.dtype(0), None)
    rows = (1,) if len(x) == 1 else x[:-1]
    return TypeInfo(node.dtype(0), node.or_fresh((*rows, None if indices is None else product(indices))))


@infers("FeatureVectorizer", domain=DOMAIN)
def feature_vectorizer(node: Site) -> TypeInfo:
    """Rows put side by side, each input cut or filled up to its size."""
    known = [s for i in range(len(node.inputs)) if (s := node.shape(i)) is not None and len(s) > 1]
    sizes = node.attribute("inputdimensions")
    width = sum(sizes) if sizes else None
    return TypeInfo(FLOAT, node.or_fresh((known[0][0] if known else None, width)))


# ----------------------------------------------------------------------------------------------------------------- models
def _rows(node: Site) -> Dim:
    """How many rows the input has; a vector is one."""
    x = node.shape(0)
    if not x:
        return node.fresh()
    return 1 if len(x) == 1 else x[0]


def _classified(node: Site, labels: str, classes: Dim) -> list[TypeInfo]:
    """A label for each row, and scores for all classes."""
    rows = _rows(node)
    dtype = STRING if node.attribute("classlabels_strings") else INT64 if node.attribute(labels) else 0
    return [TypeInfo(dtype, (rows,)), TypeInfo(FLOAT, node.or_fresh((rows, classes)))]


def _labels(node: Site, name: str) -> int:
    return len(node.attribute("classlabels_strings") or node.attribute(name) or ())


@infers("LinearClassifier", domain=DOMAIN)
def linear_classifier(node: Site) -> list[TypeInfo]:
    """One score for each class; a single one is completed by that of the other class."""
    labels, intercepts = _labels(node, "classlabels_ints"), len(node.attribute("intercepts") or ())
    agree = intercepts in (0, labels) or (intercepts, labels) == (1, 2)
    return _classified(node, "classlabels_ints", labels if labels and agree else None)


@infers("SVMClassifier", domain=DOMAIN)
def svm_classifier(node: Site) -> list[TypeInfo]:
    """A score for each class, or where there are no probabilities for each pair of classes; a single one is completed."""
    labels, vectors = _labels(node, "classlabels_ints"), len(node.attribute("vectors_per_class") or ())
    scores: Dim = labels or None
    if vectors and not node.attribute("prob_a"):
        pairs = labels * (labels - 1) // 2
        scores = 2 if pairs == 1 else pairs
    return _classified(node, "classlabels_ints", scores if vectors in (0, labels) else None)


@infers("TreeEnsembleClassifier", domain=DOMAIN)
def tree_ensemble_classifier(node: Site) -> list[TypeInfo]:
    """A score for each class."""
    return _classified(node, "classlabels_int64s", _labels(node, "classlabels_int64s") or None)


@infers("LinearRegressor", domain=DOMAIN)
def linear_regressor(node: Site) -> TypeInfo:
    """One number for each row and target."""
    return TypeInfo(FLOAT, (_rows(node), int(node.attribute("targets", 1))))


@infers("SVMRegressor", domain=DOMAIN)
def svm_regressor(node: Site) -> TypeInfo:
    """One number for each row."""
    return TypeInfo(FLOAT, (_rows(node), 1))


@infers("TreeEnsemble", "TreeEnsembleRegressor", domain=DOMAIN)
def tree_ensemble(node: Site) -> TypeInfo:
    """One number for each row and target."""
    dtype = node.dtype(0) if node.op_type == "TreeEnsemble" else FLOAT
    return TypeInfo(dtype, node.or_fresh((_rows(node), node.attribute("n_targets"))))


# ------------------------------------------------------------------------------------------------------------------- maps
@infers("ZipMap", domain=DOMAIN)
def zip_map(node: Site) -> TypeInfo:
    """A map from labels to scores for each row."""
    t = TypeProto()
    entry = t.sequence_type.elem_type.map_type
    entry.key_type = STRING if node.attribute("classlabels_strings") else INT64
    entry.value_type.tensor_type.elem_type = FLOAT
    return TypeInfo(0, None, t)


@infers("CastMap", domain=DOMAIN)
def cast_map(node: Site) -> TypeInfo:
    """A row of the map's values, or one that has a place for each possible key."""
    dtype = {"TO_FLOAT": FLOAT, "TO_STRING": STRING, "TO_INT64": INT64}[node.attribute("cast_to", "TO_FLOAT")]
    sparse = node.attribute("map_form", "DENSE") == "SPARSE"
    return TypeInfo(dtype, (1, int(node.attribute("max_map", 1)) if sparse else node.fresh()))


@infers("DictVectorizer", domain=DOMAIN)
def dict_vectorizer(node: Site) -> TypeInfo:
    """The values of a map in the order of the vocabulary: a vector by the specification, in runtimes a row."""
    t = node.info(0).type
    return TypeInfo(0 if t is None else t.map_type.value_type.tensor_type.elem_type, None)
