"""One operator alone: every operand is a new input or constant of a drawn dtype and shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, defs

from graphopt.ir import Value
from graphopt.ir.schema import Param
from graphopt.testing.building.builder import Builder, Invalid
from graphopt.testing.choices import Choices, Draw
from graphopt.testing.declarations.signature import DTYPES, HIGHEST_RANK
from graphopt.testing.operators.registry import operands_of
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import array as draw_array
from graphopt.testing.values import np_dtype


@dataclass(frozen=True)
class SingleNode:
    """A model of one operator (and of what makes sequences and optionals for it), with inputs for it."""

    model: ModelProto
    feeds: dict[str, Any]


@st.composite
def single_nodes(draw: Draw, op: str, opset: int | None = None) -> SingleNode | str:
    """A strategy for models of an operator; text where what was drawn is no valid model, which says why.

    Args:
        op: the operator, with its domain in front unless that is ONNX's own.
        opset: of ONNX's own domain; None: the newest that the installed onnx knows.
    """
    choices = Choices(draw)
    domain, _, op_type = op.rpartition("::")
    known = operands_of(op)
    if known is None:
        return f"how {op} likes its operands is not known"
    newest = defs.onnx_opset_version() if opset is None else opset
    builder = Builder(choices, newest, {domain: _VERSIONS.get(domain, 1)} if domain else None)
    try:
        site = FreeSite(builder, op_type, domain)
        known.choose(site)
        for v in site.emit("y"):
            builder.output(v)
        return SingleNode(builder.finish(), builder.feeds)
    except Invalid as e:
        return str(e)


_VERSIONS = {"ai.onnx.ml": 5}


class FreeSite(Site):
    """A site whose operands are all new, and whose dtypes are drawn, one for each of the operator's type variables."""

    agreed = True

    def __init__(self, builder: Builder, op_type: str, domain: str = "") -> None:
        super().__init__(builder, op_type, domain)
        known = operands_of(f"{domain}::{op_type}" if domain else op_type)
        self._ranks = known.ranks if known is not None else {}
        self._allowed = known.dtypes if known is not None else {}
        least = max(self.schema.min_outputs, 1)
        self.outputs = self.choices.integer(least, max(least, min(self.schema.max_outputs, 3)))
        formal = self.schema.inputs
        self.count = len(formal)
        if formal and formal[-1].variadic:
            self.count = max(self.schema.min_inputs, self.choices.weighted(((3, 2), (2, 3), (2, 1), (1, 4))))
        self._dtypes: dict[str, int] = {}
        self._wanted: dict[int, bool] = {}

    def wants(self, i: int) -> bool:
        p = self.schema.input_param(i)
        if p is None:
            return False
        if p.variadic:
            return i < self.count
        if i not in self._wanted:
            self._wanted[i] = not p.optional or self.choices.integer(0, 1) == 1
        return self._wanted[i]

    def may(self, i: int, there: bool = True) -> bool:
        p = self.schema.input_param(i)
        return (p is not None and p.optional and i not in self.inputs) or super().may(i, there)

    def insist(self, i: int, there: bool = True) -> None:
        p = self.schema.input_param(i)
        if p is not None and p.optional and i not in self.inputs:
            self._wanted[i] = there
        super().insist(i, there)

    def dtype(self, i: int) -> int:
        p = self.schema.input_param(i)
        if p is None:
            return TensorProto.FLOAT
        key = f"{p.type_var}.{i}" if p.heterogeneous else p.type_var
        if key not in self._dtypes:
            self._dtypes[key] = self._drawn_dtype(p, self._allowed.get(i, p.types))
        return self._dtypes[key]

    def _drawn_dtype(self, p: Param, allowed: frozenset[int]) -> int:
        """One of the dtypes that an operand may have, a usual one if there is one; any where it is a sequence."""
        options = [(w, t) for w, t in DTYPES if not allowed or (t in allowed and (t in p.types or not p.types))]
        if not options:
            return self.choices.one(sorted(p.types))
        before = [t for t in dict.fromkeys(self._dtypes.values()) if any(t == o for _, o in options)]
        return self.choices.one(before) if before and not self.choices.chance(3) else self.choices.weighted(options)

    def make(self, i: int, shape: Shape, style: str, array: np.ndarray | None) -> Value:
        dtype = self.dtype(i)
        p = self.schema.input_param(i)
        assert p is not None
        if array is None:
            made, constant = draw_array(self.choices, dtype, shape, style), self.choices.chance(4)
        else:  # sizes, axes, indices
            made, constant = np.asarray(array), not self.choices.chance(3)
            if made.dtype != np_dtype(dtype):
                made = made.astype(np_dtype(dtype))
        hint = p.name.lower()
        return self.builder.constant(made, hint) if constant else self.builder.input(made, hint)

    def ranks(self, i: int) -> tuple[int, int]:
        return self._ranks.get(i, (0, HIGHEST_RANK))

    def decide(self, name: str, options: Callable[[], Any], default: Any) -> Any:
        a = self.schema.attributes.get(name)
        if a is None:
            return default
        if not a.required and self.choices.integer(0, 3) == 0:
            return default
        return options()
