"""Constants, attributes and types in a few characters, for people."""

from __future__ import annotations

from typing import Any

from onnx import TensorProto, TypeProto

from graphopt.ir.graph import Graph
from graphopt.ir.tensor import Tensor, dtype_name

#: Longer texts are cut off, or replaced by what they are of.
_TEXT = 60
#: Constants with more elements are not written out.
_FEW = 8


def value_text(value: Any, most: int = _TEXT) -> str:
    """An attribute or constant in so many characters: what it holds where that is short; 'left out' for None."""
    if value is None:
        return "left out"
    if isinstance(value, Tensor):
        return constant_text(value)
    if isinstance(value, Graph):
        return f"a body of {len(value)} nodes"
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, list):
        text = f"[{', '.join(value_text(v, most) for v in value)}]"
    elif hasattr(value, "SerializeToString"):
        return type(value).__name__
    else:
        text = " ".join(str(value).split())
    return shortened(text, most)


def shortened(text: str, most: int) -> str:
    """The text, or its beginning in so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


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


def type_text(t: TypeProto) -> str:
    """A type as in 'float32[batch, 3, ?]' or 'sequence of int64[?]'; without brackets where no rank is declared."""
    kind = t.WhichOneof("value")
    if kind is None:
        return "undeclared"
    if kind in ("tensor_type", "sparse_tensor_type"):
        tensor = getattr(t, kind)
        name = numpy_name(tensor.elem_type) if tensor.elem_type else "?"
        sparse = "sparse " if kind == "sparse_tensor_type" else ""
        if not tensor.HasField("shape"):
            return sparse + name
        dims = (str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim)
        return f"{sparse}{name}[{', '.join(dims)}]"
    if kind in ("sequence_type", "optional_type"):
        return f"{kind.removesuffix('_type')} of {type_text(getattr(t, kind).elem_type)}"
    if kind == "map_type":
        return f"map from {numpy_name(t.map_type.key_type)} to {type_text(t.map_type.value_type)}"
    return kind.removesuffix("_type")  # one that ONNX has gained since
