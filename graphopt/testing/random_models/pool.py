"""What a random model has made so far, and sites that take their operands from there."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Graph, Tensor, Value
from graphopt.ir.schema import Param
from graphopt.rewrite import Rule
from graphopt.rewrite.rule import Variant
from graphopt.rewrite.terms import Call, Var
from graphopt.testing.building import recipes
from graphopt.testing.building.builder import Builder, Invalid
from graphopt.testing.choices import Choices
from graphopt.testing.declarations.left_side import LeftSide
from graphopt.testing.declarations.pattern_site import PatternSite
from graphopt.testing.operators.free import FreeSite
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import array as draw_array
from graphopt.testing.values import np_dtype

#: Numbers of a model that is to stay moderate are below this.
_LARGEST = 1e6
#: In types of two bytes or less the rounding of larger ones is felt.
_LARGEST_NARROW = 1e3
_CASTABLE = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT16)
_SHOWN = 10


class ModelBuilder(Builder):
    """A builder whose values can be taken as operands again.

    Attributes:
        wild: numbers may become large, infinite or NaN; otherwise what makes them so is not put in.
    """

    def __init__(self, choices: Choices, opset: int, domains: dict[str, int] | None = None, wild: bool = False) -> None:
        super().__init__(choices, opset, domains)
        self.wild = wild

    def compute(self, node: Any) -> list[Any]:
        found = super().compute(node)
        if not self.wild and node.op != "Constant" and not all(map(moderate, found)):
            raise Invalid(f"{node.op_type} gives large numbers")
        return found

    # ------------------------------------------------------------------ values
    def values(self) -> list[Value]:
        """Tensors that a node put in here may read, the newest first."""
        return [
            v for v, a in reversed(self.arrays.items()) if isinstance(a, np.ndarray) and v.graph.encloses(self.graph)
        ]

    def fitting(self, dtype: int, shape: Shape | None = None, style: str = "plain") -> list[Value]:
        """Tensors of this dtype and shape whose numbers are of a style."""
        return [
            v
            for v in self.values()
            if v.dtype == dtype
            and (shape is None or self.arrays[v].shape == shape)
            and _has_style(self.arrays[v], style)
        ]

    def taken(self, dtype: int, shape: Shape, style: str = "plain") -> Value | None:
        """A tensor that is there already, or one made of such; None where there is nothing of the kind."""
        fits = self.fitting(dtype, shape, style)[:_SHOWN]
        if fits and not self.choices.chance(8):
            return self.choices.one(fits)
        return self._made_to_fit(dtype, shape) if style == "plain" and self.choices.integer(0, 1) else None

    def _made_to_fit(self, dtype: int, shape: Shape) -> Value | None:
        """A tensor with other dims or of another dtype, reshaped, transposed, broadcast or cast."""
        size = math.prod(shape)
        ways: list[Callable[[], Value]] = []
        for v in self.values():
            a = self.arrays[v]
            if v.dtype == dtype and a.size == size and size and a.shape != shape:
                ways.append(partial(self._reshaped, v, shape))
                if a.ndim == len(shape) == 2:
                    ways.append(partial(self._only, "Transpose", v))
            elif a.shape == shape and v.dtype != dtype and v.dtype in _CASTABLE and dtype in _CASTABLE:
                ways.append(partial(self._only, "Cast", v, to=dtype))
            if len(ways) >= _SHOWN:
                break
        try:
            return self.choices.one(ways)() if ways else None
        except Invalid:
            return None

    def _reshaped(self, v: Value, shape: Shape) -> Value:
        target = np.array(shape, np.int64)
        made = recipes.assembled(self, target) if shape and self.choices.chance(3) else self.constant(target, "shape")
        return self.node("Reshape", [v, made])[0]

    def _only(self, op_type: str, v: Value, **attributes: Any) -> Value:
        """The output of a node with one input."""
        return self.node(op_type, [v], attributes)[0]

    def source(self, dtype: int, shape: Shape) -> Value:
        """A tensor of this dtype and shape from anywhere."""
        return self.taken(dtype, shape) or self.fresh(dtype, shape)

    def fresh(self, dtype: int, shape: Shape, style: str = "plain", hint: str = "x") -> Value:
        """A new input, now and then with an initializer that it may be run without; or a new constant."""
        array = draw_array(self.choices, dtype, shape, style)
        kind = self.choices.weighted(((6, "input"), (5, "constant"), (1, "default")))
        if kind == "constant":
            return self.constant(array, "w")
        if kind == "input":
            return self.input(array, hint)
        names, self.names = self.names, {}
        v = self.input(array, hint)
        self.names = names
        self.model.graph.initializers[v] = Tensor(array=draw_array(self.choices, dtype, shape, style))
        return v

    # ------------------------------------------------------------------ bodies
    @contextlib.contextmanager
    def scope(self, name: str, inputs: Sequence[tuple[str, int, Any, Shape | None]] = ()) -> Iterator[Graph]:
        """A subgraph with inputs, given as name, dtype, value and dims; `close` it when its node is there."""
        with self.body(name) as inner:
            for hint, dtype, array, dims in inputs:
                v = Value(self.name(hint), inner)
                v.dtype, v.shape = dtype, dims
                inner.inputs.append(v)
                self.arrays[v] = array
                inner.input_infos[v] = self.declared(v, named=False)
            yield inner

    def close(self, body: Graph) -> None:
        """Nothing outside may read what a body made."""
        for v in [v for v in self.arrays if body.encloses(v.graph)]:
            del self.arrays[v]

    def abandon(self, body: Graph) -> None:
        """Take back all that a body reads: its node will not be put in."""
        self.close(body)
        for v in body.outputs:
            v.exits -= 1
        body.outputs = []
        for node in reversed(list(body)):
            body.remove(node)


def moderate(value: Any) -> bool:
    """Whether the numbers of a value are finite, and not large."""
    if isinstance(value, (list, tuple)):
        return all(map(moderate, value))
    if not isinstance(value, np.ndarray) or value.dtype.kind in "bOUS":
        return True
    if value.dtype.kind in "iu":
        return value.itemsize < 4 or bool((np.abs(value.astype(np.float64)) < _LARGEST).all())
    wide = np.abs(value.astype(np.complex128 if value.dtype.kind == "c" else np.float64))
    return bool((wide < (_LARGEST_NARROW if value.itemsize <= 2 else _LARGEST)).all())


def _has_style(array: np.ndarray, style: str) -> bool:
    if style in ("positive", "fraction") and array.dtype.kind not in "bOUS":
        wide = array.astype(np.float64)
        return bool((wide > 0).all() and (style == "positive" or (wide < 1).all()))
    return True


def _shape_like(site: Site, builder: ModelBuilder, i: int, low: int, high: int, empty: bool) -> Shape | None:
    """The shape of a tensor that is there, where it can be an operand; None now and then."""
    known = site.shape(i)
    if known is not None or builder.choices.chance(6):
        return known
    least, most = site.ranks(i)
    low, high = max(low, least), min(high, most)
    shapes = [builder.arrays[v].shape for v in builder.fitting(site.dtype(i))[:_SHOWN]]
    shapes = [
        s for s in dict.fromkeys(shapes) if low <= len(s) <= high and (empty or 0 not in s) and math.prod(s) <= 160
    ]
    return builder.choices.one(shapes) if shapes else None


class PoolSite(FreeSite):
    """Any operator; its operands are values that are there, as far as they fit."""

    builder: ModelBuilder

    def _drawn_dtype(self, p: Param, allowed: frozenset[int]) -> int:
        there = {v.dtype for v in self.builder.values()[: 2 * _SHOWN]}
        fits = [t for t in sorted(there) if t in p.types and (not allowed or t in allowed)]
        return self.choices.one(fits) if fits and not self.choices.chance(8) else super()._drawn_dtype(p, allowed)

    def new_shape(self, i: int, low: int = 0, high: int = 4, empty: bool = True) -> Shape:
        found = _shape_like(self, self.builder, i, low, high, empty)
        return super().new_shape(i, low, high, empty) if found is None else found

    def make(self, i: int, shape: Shape, style: str, array: np.ndarray | None) -> Value:
        dtype, p = self.dtype(i), self.schema.input_param(i)
        if p is None or not p.types:  # a sequence or an optional
            return super().make(i, shape, style, array)
        if array is not None:
            wanted = np.asarray(array).astype(np_dtype(dtype))
            if wanted.dtype == np.int64 and wanted.ndim == 1 and wanted.size and self.choices.chance(4):
                return recipes.assembled(self.builder, wanted)
            if self.choices.chance(8):
                return self.builder.input(wanted, p.name.lower())
            return self.builder.constant(wanted, p.name.lower())
        found = self.builder.taken(dtype, shape, style)
        if found is None and style == "plain" and self.choices.chance(4):
            found = recipes.derived(self.builder, self.builder.source, dtype, shape)
        return found or self.builder.fresh(dtype, shape, style)


class PoolPatternSite(PatternSite):
    """A call of a rule's left side; shapes of values that are there are tried first."""

    builder: ModelBuilder

    def new_shape(self, i: int, low: int = 0, high: int = 4, empty: bool = True) -> Shape:
        if i == 0 and self.wanted is not None:
            return super().new_shape(i, low, high, empty)
        found = _shape_like(self, self.builder, i, low, high, empty)
        return super().new_shape(i, low, high, empty) if found is None else found


class PoolLeftSide(LeftSide):
    """A rule's left side whose parameters are values that are there, as far as they fit."""

    builder: ModelBuilder

    def __init__(self, builder: ModelBuilder, rule: Rule, variant: Variant) -> None:
        super().__init__(builder, rule, variant, "plain", special=False)

    def site(self, call: Call, args: Sequence[Any], bag: bool = False) -> PatternSite:
        return PoolPatternSite(self, call, args, bag)

    def source(self, dtype: int, shape: Shape) -> Value:
        return self.builder.source(dtype, shape)

    def _made(
        self, var: Var, dtype: int, shape: Shape, style: str, array: np.ndarray | None, beside: Value | None
    ) -> Value:
        if array is None and var.kind.role != "const" and not self.choices.chance(6):
            found = self.builder.taken(dtype, shape, style)
            if found is not None:
                return found
        return super()._made(var, dtype, shape, style, array, beside)
