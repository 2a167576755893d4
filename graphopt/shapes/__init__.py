"""What is known of values: dtypes, shapes with symbolic dims, and the elements of shape tensors.

One walk over the model at the start, single nodes and what lies below them afterwards. Unknown is an answer, never an
exception; what a file claims about inner values is not believed.
"""

from graphopt.shapes.dims import (
    broadcast,
    divides,
    is_static,
    less,
    less_equal,
    operation_of,
    same_dims,
    same_shape,
    same_size,
)
from graphopt.shapes.facts import Facts, facts_of
from graphopt.shapes.hypotheses import decide_branches
from graphopt.shapes.inference import contradiction, infer_model, infer_node, inferred, refresh, settle, take_over
from graphopt.shapes.pin import pin_inputs, refuse_pins
from graphopt.shapes.registry import operators_on_elements, shape_function
from graphopt.shapes.site import WHOLE, Site, known_elements
from graphopt.shapes.types import TypeInfo, Unknown

__all__ = [
    "WHOLE",
    "Facts",
    "Site",
    "TypeInfo",
    "Unknown",
    "broadcast",
    "contradiction",
    "decide_branches",
    "divides",
    "facts_of",
    "infer_model",
    "infer_node",
    "inferred",
    "is_static",
    "known_elements",
    "less",
    "less_equal",
    "operation_of",
    "operators_on_elements",
    "pin_inputs",
    "refresh",
    "refuse_pins",
    "same_dims",
    "same_shape",
    "same_size",
    "settle",
    "shape_function",
    "take_over",
]
