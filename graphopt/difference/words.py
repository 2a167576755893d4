"""What became of constants and types, in a few words."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, ValueInfoProto

from graphopt.ir import Tensor
from graphopt.ir.text import constant_text, numpy_name


def change_of_constant(before: Tensor, after: Tensor) -> str:
    """What became of a constant: its new form, or how far its elements moved."""
    old, new = constant_text(before), constant_text(after)
    if old != new:
        return f"{old} -> {new}"
    if before.dtype == TensorProto.STRING or before.dims != after.dims:
        return f"{old}: other values"
    wide = np.complex128 if before.dtype in (TensorProto.COMPLEX64, TensorProto.COMPLEX128) else np.float64
    with np.errstate(all="ignore"):
        moved = np.abs(np.asarray(before.numpy(), wide) - np.asarray(after.numpy(), wide))
    furthest = np.nanmax(
        moved, initial=0.0
    )  # 0 where NaN, the sign of 0 or what float64 cannot tell apart is all there is
    return f"{old}: other values" + (f", by up to {furthest:.3g}" if furthest else "")


def type_text(info: ValueInfoProto | None, dims: dict[str, str]) -> str:
    """A declared type; names of dims are replaced by others, in the order in which they come."""
    if info is None:
        return "of any type"
    t = info.type
    if t.WhichOneof("value") != "tensor_type":
        return (t.WhichOneof("value") or "any").removesuffix("_type")
    name = numpy_name(t.tensor_type.elem_type)
    if not t.tensor_type.HasField("shape"):
        return name
    shown = []
    for d in t.tensor_type.shape.dim:
        if d.HasField("dim_value"):
            shown.append(str(d.dim_value))
        else:
            shown.append(dims.setdefault(d.dim_param, f"N{len(dims)}") if d.dim_param else "?")
    return f"{name}[{', '.join(shown)}]"
