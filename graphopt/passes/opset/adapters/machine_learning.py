"""Operators of ai.onnx.ml."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, up


@up("ai.onnx.ml::LabelEncoder", version=2)
def keys_and_values(site: Site) -> bool:
    """It led from a list of texts to places in it, or back."""
    texts = list(site.attribute("classes_strings") or ())
    places = list(range(len(texts)))
    to_text = site.dtype() != TensorProto.STRING
    node = site.node
    for name in ("classes_strings", "default_int64", "default_string"):
        if name in node.attributes and (name == "classes_strings" or (name == "default_string") != to_text):
            node.remove_attribute(name)
    node.set_attribute("keys_int64s" if to_text else "keys_strings", places if to_text else texts)
    node.set_attribute("values_strings" if to_text else "values_int64s", texts if to_text else places)
    return False


@up("ai.onnx.ml::TreeEnsembleClassifier", "ai.onnx.ml::TreeEnsembleRegressor", version=5, typed=False)
def as_tree_ensemble(site: Site) -> bool:
    raise Cannot("its place was taken by TreeEnsemble, which needs another table of nodes")
