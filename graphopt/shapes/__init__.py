"""Dtypes and shapes of values.

One pass of ONNX's own inference over the model at the start, one node at a time afterwards. Unknown is an answer, never
an exception; what a file claims about inner values is not believed.
"""

from graphopt.shapes.dims import broadcast, is_static, same_dims, same_shape
from graphopt.shapes.inference import TypeInfo, infer_model, infer_outputs
from graphopt.shapes.pin import pin_inputs

__all__ = [
    "TypeInfo",
    "broadcast",
    "infer_model",
    "infer_outputs",
    "is_static",
    "pin_inputs",
    "same_dims",
    "same_shape",
]
