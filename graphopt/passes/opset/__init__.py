"""The opset as a choice: a model is written at another one, up or down."""

from graphopt.passes.opset.convert import Conversion, convert_opset, targets_of, write_out
from graphopt.passes.opset.rehearsal import keeps_nodes

__all__ = ["Conversion", "convert_opset", "keeps_nodes", "targets_of", "write_out"]
