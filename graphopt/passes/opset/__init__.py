"""The opset as a choice: a model is written at another one, up or down."""

from graphopt.passes.opset.convert import Conversion, convert_opset, targets_of
from graphopt.passes.opset.functions import has_function
from graphopt.passes.opset.rehearsal import keeps_nodes
from graphopt.passes.opset.writing_out import stands_for, write_out

__all__ = [
    "Conversion", "convert_opset", "has_function", "keeps_nodes", "stands_for", "targets_of", "write_out",
]  # fmt: skip
