"""Steps that need no adapter: parameters move between attributes and inputs, and defaults are written out."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import AttributeProto, TensorProto, TypeProto

from graphopt.ir import Node, OpSchema, Reference, Value, as_input, dtype_name, input_of
from graphopt.passes.opset.site import Site, referred
from graphopt.passes.opset.transitions import IDLE, Cannot, type_texts

_FLOATS = (AttributeProto.FLOAT, AttributeProto.FLOATS)
#: The attribute of Constant that a function's attribute of a kind can be given to, since opset 12.
_CONSTANT_ATTRIBUTES: dict[int, str] = {
    AttributeProto.INT: "value_int", AttributeProto.INTS: "value_ints",
    AttributeProto.FLOAT: "value_float", AttributeProto.FLOATS: "value_floats",
}  # fmt: skip


def move(site: Site) -> None:
    """Write the parameters of a node where the new version keeps them.

    Raises:
        Cannot: there is no place for one, or it would have to be known and is not. The node is as it was then.
    """
    node, old, new = site.node, site.step.old, site.step.new
    assert new is not None
    gone, to_inputs = _attributes(node, old, new)
    to_attributes, inputs = _inputs(site, old, new)
    written = {
        name: a.default
        for name, a in old.attributes.items()
        if name not in node.attributes
        and name in new.attributes
        and a.default is not None
        and new.attributes[name].default != a.default
    }
    written |= {name: value for name, value in to_attributes.items() if value != new.attributes[name].default}
    for name, a in new.attributes.items():
        if a.required and name not in node.attributes and name not in written and name not in to_attributes:
            raise Cannot(f"attribute '{name}' is needed")
    for i, p in enumerate(new.inputs):
        there = i in to_inputs or (i < len(inputs) and inputs[i] is not None)
        if not there and not p.optional and not p.variadic:
            raise Cannot(f"input '{p.name}' is needed")
    if max(len(inputs), *[i + 1 for i in to_inputs], 0) < new.min_inputs:
        raise Cannot(f"{new.min_inputs} inputs are needed")
    if any(v is not None and v.used for v in node.outputs[new.max_outputs :]):
        raise Cannot(f"output {new.max_outputs} is read, and there is none")
    made = {i: _as_input(site, new, i, name, value) for i, (name, value) in to_inputs.items()}
    for name in (*gone, *(name for name, _ in to_inputs.values())):
        node.remove_attribute(name)
    for name, value in written.items():
        node.set_attribute(name, value)
    for i, v in enumerate(inputs):
        if i < len(node.inputs) and node.inputs[i] is not v:  # they get fewer where the last ones go
            node.put_input(i, v)
    for i, v in made.items():
        node.put_input(i, v)
    while len(node.inputs) > new.max_inputs and node.inputs[-1] is None:
        node.inputs.pop()
        node.touch()
    if len(node.outputs) > new.max_outputs:
        del node.outputs[new.max_outputs :]
        node.touch()


def check_types(node: Node, schema: OpSchema) -> None:
    """See that a version of an operator takes what a node reads and gives, as far as that is known.

    Raises:
        Cannot: it does not.
    """
    bound: dict[str, str] = {}
    for outputs, values, formal in ((False, node.inputs, schema.inputs), (True, node.outputs, schema.outputs)):
        texts = type_texts(schema, outputs)
        for i, v in enumerate(values):
            at = min(i, len(formal) - 1)
            if v is None or at < 0 or (i > at and not formal[at].variadic):
                continue
            text = _type_text(v)
            if text is None:
                continue
            p = formal[at]
            if text not in texts[at]:
                raise Cannot(f"it has no {text.removeprefix('tensor(').removesuffix(')')} as '{p.name}'")
            if not p.heterogeneous and p.type_var != text and bound.setdefault(p.type_var, text) != text:
                raise Cannot(f"it takes no {text} as '{p.name}' beside {bound[p.type_var]}")


def _attributes(node: Node, old: OpSchema, new: OpSchema) -> tuple[list[str], dict[int, tuple[str, Any]]]:
    """The attributes that are left out, and those that become inputs."""
    gone: list[str] = []
    to_inputs: dict[int, tuple[str, Any]] = {}
    for name, value in node.attributes.items():
        if name in new.attributes or name not in old.attributes:  # exporters leave some that no version has
            continue
        i = input_of(new, name)
        if i is not None:
            to_inputs[i] = (name, value)
        elif name in IDLE or (not isinstance(value, Reference) and value == old.attributes[name].default):
            gone.append(name)
        else:
            raise Cannot(f"its attribute '{name}' is {value!r}, and there is no such attribute")
    return gone, to_inputs


def _inputs(site: Site, old: OpSchema, new: OpSchema) -> tuple[dict[str, Any], list[Value | None]]:
    """The inputs that become attributes, and all inputs without these."""
    node = site.node
    inputs = list(node.inputs)
    found: dict[str, Any] = {}
    for name, a in new.attributes.items():
        i = None if name in old.attributes else input_of(old, name)
        if i is None or i >= len(inputs) or (v := inputs[i]) is None:
            continue
        found[name] = referred(v) or _as_attribute(a.type, site.needed(i), name)
        inputs[i] = None
    for i, v in enumerate(inputs):
        p = old.input_param(i)
        if v is not None and new.input_param(i) is None and p is not None:
            raise Cannot(f"its input '{p.name}' is given, and there is no such input")
    return found, inputs


def _as_attribute(kind: int, array: np.ndarray, name: str) -> Any:
    if kind in (AttributeProto.INTS, AttributeProto.FLOATS):
        return array.reshape(-1).tolist()
    if array.size != 1:
        raise Cannot(f"'{name}' is not one number but {array.size}")
    value = array.reshape(()).item()
    if kind == AttributeProto.FLOAT and float(np.float32(value)) != value and value == value:
        raise Cannot(f"'{name}' is {value}, which an attribute cannot hold")
    return float(value) if kind == AttributeProto.FLOAT else int(value)


def _as_input(site: Site, schema: OpSchema, i: int, name: str, value: Any) -> Value:
    """What was an attribute, as an input."""
    dtype = _dtype_of(site, schema, i, site.step.old.attributes[name].type)
    if isinstance(value, Reference):
        return _from_call(site, value, dtype)
    return site.constant(as_input(schema.op_type, value), dtype)


def _from_call(site: Site, value: Reference, dtype: int) -> Value:
    """A parameter that the call of a function decides: a Constant that takes it from there."""
    attribute = _CONSTANT_ATTRIBUTES.get(value.type)
    own = TensorProto.FLOAT if value.type in _FLOATS else TensorProto.INT64
    if attribute is None or site.target < 12 or site.node.op == "TopK" or dtype != own:
        raise Cannot(f"'{value.name}' is decided by the call of a function")
    return site.before("Constant", [], {attribute: value})


def _dtype_of(site: Site, schema: OpSchema, i: int, kind: int) -> int:
    p = schema.inputs[i]
    if len(p.types) == 1:
        return next(iter(p.types))
    same = [j for j, q in enumerate(schema.inputs) if j != i and q.type_var == p.type_var and site.input(j) is not None]
    if same:
        return site.dtype(same[0])
    return TensorProto.FLOAT if kind in _FLOATS else TensorProto.INT64


def _type_text(v: Value) -> str | None:
    """The type of a value as ONNX writes it; None where it is not known."""
    if v.dtype:
        return f"tensor({dtype_name(v.dtype)})"
    return None if v.type is None else _text(v.type)


def _text(t: TypeProto) -> str | None:
    kind = t.WhichOneof("value")
    if kind == "tensor_type":
        return f"tensor({dtype_name(t.tensor_type.elem_type)})" if t.tensor_type.elem_type else None
    if kind == "sparse_tensor_type":
        return f"sparse_tensor({dtype_name(t.sparse_tensor_type.elem_type)})"
    if kind == "map_type":
        inner = _text(t.map_type.value_type)
        return inner and f"map({dtype_name(t.map_type.key_type)},{inner})"
    if kind in ("sequence_type", "optional_type"):
        inner = _text(getattr(t, kind).elem_type)
        return inner and f"{'seq' if kind == 'sequence_type' else 'optional'}({inner})"
    return None
