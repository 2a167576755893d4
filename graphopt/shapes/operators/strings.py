"""Operators on tensors of strings."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo


@infers("StringConcat")
def string_concat(node: Site) -> TypeInfo:
    """Strings put together, the inputs broadcast."""
    return TypeInfo(TensorProto.STRING, node.broadcast(node.shape(0), node.shape(1)))


@infers("StringNormalizer")
def string_normalizer(node: Site) -> TypeInfo:
    """[C] or [1, C]; stop words go, and some runtimes drop empty strings too."""
    x = node.shape(0)
    if x is None:
        return TypeInfo(TensorProto.STRING, None)
    if len(x) not in (1, 2):
        raise ValueError(f"StringNormalizer takes 1 or 2 dims, not {len(x)}")
    if len(x) == 2:
        node.equate(x[0], 1)
    return TypeInfo(TensorProto.STRING, (1, node.fresh())[2 - len(x) :])


@infers("StringSplit")
def string_split(node: Site) -> list[TypeInfo]:
    """The parts of each string, as many as the one with the most has, and how many each has."""
    x = node.shape(0)
    parts = None if x is None else (*x, node.fresh())
    return [TypeInfo(TensorProto.STRING, parts), TypeInfo(TensorProto.INT64, x)]


@infers("RegexFullMatch")
def regex_full_match(node: Site) -> TypeInfo:
    """A truth value for each string."""
    return TypeInfo(TensorProto.BOOL, node.shape(0))


@infers("TfIdfVectorizer")
def tf_idf_vectorizer(node: Site) -> TypeInfo:
    """Counts of n-grams in place of the last dim."""
    x = node.shape(0)
    if x is None:
        return TypeInfo(TensorProto.FLOAT, None)
    if len(x) not in (1, 2):
        raise ValueError(f"TfIdfVectorizer takes 1 or 2 dims, not {len(x)}")
    return TypeInfo(TensorProto.FLOAT, (*x[:-1], max(node.attribute("ngram_indexes")) + 1))
