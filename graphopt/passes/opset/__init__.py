"""The opset as a choice: a model is written at another one, up or down."""

from graphopt.passes.opset.convert import Conversion, convert_opset, targets_of, write_out
from graphopt.passes.opset.functions import body_of, has_function
from graphopt.passes.opset.rehearsal import keeps_nodes

__all__ = [
    "Conversion", "body_of", "convert_opset", "has_function", "keeps_nodes", "targets_of", "write_out",
]  # fmt: skip
