"""Operators on [N, C, D...], for which there are forms on [N, D..., C]."""

from __future__ import annotations

from functools import cache

from graphopt.exec import channels_last
from graphopt.exec.kernels import kernel_for
from graphopt.exec.kernels.channels_last import DOMAIN, OPERATORS, TRAINING, dims_of, form_name
from graphopt.ir import Model, Node, newest_schema
from graphopt.passes.layout.form import Form, Site, lays
from graphopt.passes.layout.permutations import Perm, to_last

#: What reads every element many times: for these executors prefer a layout.
HEAVY = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv"})


def is_pointwise(node: Node) -> bool:
    """Whether it is a convolution that looks at one pixel at a time, so that the spatial dims may have any order."""
    w = node.inputs[1] if node.op == "Conv" and len(node.inputs) > 1 else None
    return w is not None and w.shape is not None and all(d == 1 for d in w.shape[2:])


def is_training(node: Node) -> bool:
    """Whether it is in training mode, for which there is another form."""
    return node.op in TRAINING and bool(node.attributes.get("training_mode"))


@lays(*OPERATORS)
def image(site: Site, perm: Perm) -> Form | None:
    """The function of the same name, whose body is the operator between two Transposes."""
    node = site.node
    dims = len(perm) - 2
    training = is_training(node)
    if dims not in dims_of(node.op) or (any(v is not None for v in node.outputs[1:]) and not training):
        return None
    attributes: dict[str, list[int] | None] = {"training_mode": None} if training else {}
    if perm != to_last(len(perm)):
        if perm[0] != 0 or perm[-1] != 1 or not is_pointwise(node):
            return None
        attributes |= _in_order(node, [axis - 2 for axis in perm[1:-1]])
    if not _as_newest(node.op, site.version) or not has_room(site.model, node.op, dims, site.version, training):
        return None
    if site.result is None or len(site.result) != len(perm):
        return None
    if any(v is None for v in node.inputs[: 1 if site.schema is None else site.schema.min_inputs]):
        return None
    name = form_name(node.op, dims, training)
    return Form({0: perm}, {0: perm}, attributes, op=(DOMAIN, name), preferred=node.op in HEAVY)


def _in_order(node: Node, order: list[int]) -> dict[str, list[int]]:
    """The attributes that have numbers for each spatial dim, for another order of these."""
    both = [*order, *(len(order) + k for k in order)]
    given = {name: node.attributes.get(name) for name in ("dilations", "kernel_shape", "strides", "pads")}
    return {name: [a[k] for k in (both if name == "pads" else order)] for name, a in given.items() if a}


@cache
def _as_newest(op: str, version: int) -> bool:
    """Whether the operator means at this version what it means at the newest, for which the forms have kernels."""
    if op == "BatchNormalization" and version >= 9:  # what differs is about training
        return True
    newest = newest_schema(op)
    return newest is not None and kernel_for(op, version) is kernel_for(op, newest.since_version)


def has_room(model: Model, op: str, dims: int, version: int, training: bool = False) -> bool:
    """Whether the model has no other function of the name."""
    known = model.functions.get((DOMAIN, form_name(op, dims, training), ""))
    return known is None or known.source == channels_last.function(op, dims, version, training)
