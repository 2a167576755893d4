"""Proofs for all sizes: where both sides compute shapes, inference says which dims the elements of these are."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto

from graphopt.ir import load
from graphopt.shapes import infer_model, known_elements, same_dims

_INTEGERS = frozenset({TensorProto.INT64, TensorProto.INT32})


def computes_shapes(model: ModelProto) -> bool:
    """Whether all outputs are integers, as shapes are."""
    return all(o.type.tensor_type.elem_type in _INTEGERS for o in model.graph.output)


def names_in_outputs(before: ModelProto, after: ModelProto) -> list[str] | None:
    """The declared dims that the outputs of both models consist of, where these are provably the same on both sides.

    None where inference does not know all elements, or they differ, or have no declared dim among them.
    """
    left, right = _known(before), _known(after)
    if left is None or right is None or len(left) != len(right):
        return None
    if any(a.shape != b.shape for a, b in zip(left, right, strict=True)):
        return None
    pairs = [p for a, b in zip(left, right, strict=True) for p in zip(a.reshape(-1), b.reshape(-1), strict=True)]
    if not all(a is not None and b is not None and same_dims(a, b) is True for a, b in pairs):
        return None
    return sorted({str(a) for a, _ in pairs if not isinstance(a, (int, np.integer))}) or None


def _known(model: ModelProto) -> list[np.ndarray[Any, Any]] | None:
    loaded = load(model)
    infer_model(loaded)
    found = [known_elements(v) for v in loaded.graph.outputs]
    return None if any(a is None for a in found) else [a for a in found if a is not None]
