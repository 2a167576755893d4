"""Constant and ConstantOfShape."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Tensor
from graphopt.passes.opset.parameters import check_types
from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down
from graphopt.rewrite.rewriter import is_function_body


@down("Constant", version=12)
def as_tensor(site: Site) -> bool:
    """Before, a constant was a tensor."""
    node = site.node
    if "value" in node.attributes or "sparse_value" in node.attributes:
        return False
    if not node.output.used:
        return site.leave()
    if node.output.const is None:
        raise Cannot("its value is decided by the call of a function")
    for name in list(node.attributes):
        node.remove_attribute(name)
    node.set_attribute("value", node.output.const)
    return False


@down("Constant", version=9)
def as_initializer(site: Site) -> bool:
    """Before, only floats; others become initializers."""
    v, schema = site.node.output, site.step.new
    assert schema is not None
    try:
        check_types(site.node, schema)
    except Cannot:
        if v.const is None or is_function_body(site.graph) or v.exits:
            raise
        return site.store(v, v.const)
    return False


@down("ConstantOfShape", version=9)
def as_expand(site: Site) -> bool:
    if site.target < 8:
        raise Cannot("there is no such operator")
    value = site.attribute("value")
    array = value.numpy().reshape(()) if isinstance(value, Tensor) else np.zeros((), np.float32)
    return site.instead("Expand", [site.constant(array, Tensor(array=array).dtype), site.given(0)])
