"""A model as TensorFlow.js's runner takes it: steps on numbered slots as JSON, and the constants as arrays.

The steps are those of `graphopt.exec.planning`, with functions written out, and slots freed after their last reader.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.errors import OpsetError, UnsupportedError
from graphopt.exec.executors import messages
from graphopt.exec.kernels.dtypes import np_dtype
from graphopt.exec.plan import Plan, Step
from graphopt.exec.planning import plan
from graphopt.exec.signature import NodeArg
from graphopt.ir import Model, Node, Value
from graphopt.passes.opset import convert_opset, write_out
from graphopt.pipeline import optimize
from graphopt.shapes import infer_model

#: Operators are written at this opset at least, so that each has one form.
OPSET = 23
#: What there is; int64 is held as int32.
TYPES = frozenset({TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL})
#: Held as int32 too, but not computed with: sums would have to wrap.
SMALL = frozenset({TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16})
#: What takes and gives small integers.
_MOVES = frozenset(
    "QuantizeLinear DequantizeLinear Cast Constant ConstantOfShape Identity Transpose Reshape Flatten Squeeze Unsqueeze Concat "
    "Split Slice Gather GatherElements GatherND Expand Tile Shape Size Where Equal Less Greater LessOrEqual GreaterOrEqual "
    "Max Min Clip If DepthToSpace SpaceToDepth".split()
)
#: The ends of int64, or numbers near them, mean 'as far as it goes' to these, and the ends of int32 mean the same.
_ORDERS = frozenset(
    "Slice Concat Unsqueeze Squeeze Reshape Identity Min Max Clip Less LessOrEqual Greater GreaterOrEqual".split()
)
_END = 2.0**62
_INT32 = np.iinfo(np.int32)
_NARROW = tuple(np.dtype(t) for t in (np.int64, np.int8, np.uint8, np.int16, np.uint16))


def translated(
    model: Model, operators: Collection[str], layout: str, *, called: str
) -> tuple[dict[str, Any], list[bytes]]:
    """The program for the runner, and the bytes of its constants.

    Args:
        model: it is changed.
        operators: those that the runner has.
        layout: 'NHWC' or 'NCHW'.
        called: what runs it, for messages.

    Raises:
        UnsupportedError: operators or types that it lacks; all are named, with their nodes.
        ModelError: the model makes no sense.
    """
    if 0 < model.opsets.get("", 0) < OPSET:
        try:
            convert_opset(model, {"": OPSET})
        except OpsetError as e:
            raise UnsupportedError(f"{called}: {e}") from e
    for _ in range(4):  # functions hold functions
        infer_model(model)
        missing = [n for n in model.nodes() if not n.domain and n.op_type not in operators and not _is_constant(n)]
        if not missing or not write_out(model, missing, lambda body: True):
            break
    if layout == "NHWC":
        model = optimize(model, level=0, layout=layout)
    infer_model(model)
    lacking: list[tuple[Node | Value, str]]
    lacking = [(n, why) for n in model.nodes() if (why := _lacks(model, n, operators))]
    lacking += [(v, why) for v in model.graph.inputs if (why := _of_type(v))]
    refuse([{"node": _name(n), "op": n.op if isinstance(n, Node) else "", "why": why} for n, why in lacking], called)
    constants = _Constants(called)
    program = constants.program(plan(model))
    names = [v.name for v in model.graph.inputs]
    defaults = [
        (v.name, constants.add(t.numpy(), f"initializer '{v.name}'"))
        for v, t in model.graph.initializers.items()
        if v.name in set(names)
    ]
    heads, buffers = messages.tensors(constants.arrays, called)
    return program | {"constants": heads, "names": names, "defaults": defaults}, buffers


def refuse(found: Iterable[Mapping[str, str]], called: str) -> None:
    """Raise UnsupportedError if anything was found, each with `op`, `node` and `why`."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in found:
        reasons.setdefault((entry["op"], entry["why"]), []).append(f"'{entry['node']}'")
    texts = []
    for (op, why), names in reasons.items():
        what = op or "input"
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        texts.append(f"{what} ({', '.join(names[:3])}{more}): {why}")
    if texts:
        raise UnsupportedError(f"{called} cannot express {'; '.join(texts)}")


def narrowed(value: Any, where: str, called: str) -> np.ndarray:
    """An array as TensorFlow.js holds it: integers as int32.

    Raises:
        UnsupportedError: a dtype that it has not, or a number that int32 cannot hold.
    """
    if not isinstance(value, (np.ndarray, np.generic)):
        raise UnsupportedError(f"{called} takes tensors; {where} is a {type(value).__name__}")
    array = np.asarray(value)
    if array.dtype not in _NARROW:
        if array.dtype not in (np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.bool_)):
            raise UnsupportedError(f"{called} has no tensors of {array.dtype} ({where}): float32, int32 and bool only")
        return array
    if array.size and (array.min() < _INT32.min or array.max() > _INT32.max):
        raise UnsupportedError(f"{called} holds {array.dtype} as int32; {where} has {array.min()} to {array.max()}")
    return array.astype(np.int32)


def widened(array: np.ndarray, declared: NodeArg) -> np.ndarray:
    """A result in the dtype that the model declares for it."""
    return array.astype(np_dtype(declared.dtype), copy=False) if declared.dtype else array


class _Constants:
    """Collects the constants of a plan and of the plans inside it."""

    def __init__(self, called: str) -> None:
        self.called = called
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, array: np.ndarray, where: str) -> int:
        """Its place."""
        place = len(self.arrays)
        self.arrays[str(place)] = narrowed(array, where, self.called)
        return place

    def program(self, p: Plan) -> dict[str, Any]:
        """A plan as JSON; `constants` of the runner are named by the places of arrays in a message."""
        reading: dict[int, list[Step]] = {}
        for s in p.steps:
            for slot in s.reads():
                reading.setdefault(slot, []).append(s)
        places = {}
        for slot, array in p.constants.items():
            if slot not in reading and slot not in p.outputs:
                continue
            where = f"a constant of {reading[slot][0]}" if slot in reading else "a constant"
            if array.dtype == np.int64 and all(s.op in _ORDERS for s in reading.get(slot, ())):
                array = np.where(np.abs(array.astype(np.float64)) >= _END, array.clip(_INT32.min, _INT32.max), array)
            places[slot] = [self.add(array, where), str(array.dtype)]
        steps = [self.step(s) for s in p.steps]
        return {
            "inputs": p.inputs, "outputs": p.outputs, "size": p.size, "steps": steps, "places": list(places.items()),
        }  # fmt: skip

    def step(self, s: Step) -> dict[str, Any]:
        bodies = {n: {"plan": self.program(b.plan), "captured": b.captured} for n, b in s.bodies.items()}
        attributes = {name: self.attribute(value, s) for name, value in s.attributes.items() if value is not None}
        return {
            "op": s.op, "node": s.node, "inputs": s.inputs, "outputs": s.outputs, "attributes": attributes,
            "bodies": bodies, "frees": s.frees,
        }  # fmt: skip

    def attribute(self, value: Any, s: Step) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, np.ndarray):
            array = narrowed(value, f"an attribute of {s}", self.called)
            return {
                "type": str(array.dtype),
                "dims": list(array.shape),
                "data": self.attribute(array.ravel().tolist(), s),
            }
        if isinstance(value, (list, tuple)):
            return [self.attribute(v, s) for v in value]
        if isinstance(value, (float, np.floating)) and not math.isfinite(value):
            return {"number": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
        return value.item() if isinstance(value, np.generic) else value


def _is_constant(n: Node) -> bool:
    return n.op == "Constant" and n.outputs[0] is not None and n.output.const is not None


def _name(n: Node | Value) -> str:
    return n.name or (next((v.name for v in n.outputs if v is not None), "") if isinstance(n, Node) else "")


def _lacks(model: Model, n: Node, operators: Collection[str]) -> str | None:
    """Why a node cannot run; None where nothing is known against it."""
    if (n.domain, n.op_type, n.overload) in model.functions and n.op not in operators:
        return None  # its body is asked
    if _is_constant(n):
        return None
    if n.op not in operators:
        return "there is no such operator here"
    for v in (*n.inputs, *n.outputs):
        if v is None:
            continue
        if v.dtype in SMALL and n.op not in _MOVES:
            return f"it does not compute with {TensorProto.DataType.Name(v.dtype).lower()}"
        if v.const is None and (why := _of_type(v)):
            return why
    return None


def _of_type(v: Value) -> str | None:
    if v.dtype and v.dtype not in TYPES and v.dtype not in SMALL:
        return f"there are no tensors of {TensorProto.DataType.Name(v.dtype).lower()}"
    return None
