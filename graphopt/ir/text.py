"""Constants, attributes and types in a few characters, for people."""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from graphopt.ir.graph import Graph
from graphopt.ir.tensor import Tensor, dtype_name

#: Longer texts are cut off, or replaced by what they are of.
_TEXT = 60
#: Constants with more elements are not written out.
_FEW = 8


def value_text(value: Any) -> str:
    """An attribute or constant: what it holds where that is short; 'left out' for None."""
    if value is None:
        return "left out"
    if isinstance(value, Tensor):
        return constant_text(value)
    if isinstance(value, Graph):
        return f"a body of {len(value)} nodes"
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, list):
        text = f"[{', '.join(value_text(v) for v in value)}]"
    elif hasattr(value, "SerializeToString"):
        return type(value).__name__
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"


def constant_text(t: Tensor) -> str:
    """The elements of a constant where they are few, else its dtype and dims."""
    if t.size <= _FEW and len(t.dims) < 2 and t.dtype != TensorProto.STRING:
        elements = [f"{x:.6g}" if isinstance(x, float) else str(x) for x in t.numpy().reshape(-1).tolist()]
        text = ", ".join(elements)
        if len(text) <= _TEXT:
            return f"[{text}]" if t.dims else text
    return f"{numpy_name(t.dtype)}{list(t.dims)}"


def numpy_name(dtype: int) -> str:
    """'float32', 'int64'..."""
    name = dtype_name(dtype)
    return {"float": "float32", "double": "float64"}.get(name, name)
