"""A site: one node in the making. How operators like their operands is asked of `operands` functions, what the operands
are is up to whoever builds: a rule's pattern binds them to its variables, a random model takes values that it has."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import OpSchema, Value, input_of
from graphopt.testing.building.builder import Builder, Invalid
from graphopt.testing.operators.parameters import Parameters
from graphopt.testing.values import np_dtype

Shape = tuple[int, ...]
#: Enough elements for rules that want many.
_MANY = 3300
_ELEMENTS = 160
#: Ranks by how often they are drawn: of tensors, and of integers, which are mostly shapes and indices.
_TENSORS = ((3, 2), (3, 3), (3, 4), (2, 1), (1, 5), (1, 0))
_VECTORS = ((6, 1), (2, 2), (2, 0), (1, 3), (1, 4), (1, 5))
#: Operators whose output has the rank, but not the shape of the first operand.
_MOVING = frozenset("Transpose Split Slice Pad Tile Concat MatMul AveragePool MaxPool LpPool".split())


class Site(Parameters):
    """One node in the making.

    Attributes:
        inputs: operands by position, as far as they are there.
        attributes: what was decided so far.
        outputs: how many outputs the node will have.
        count: how many operands there will be, where the operator takes any number.
        empty: one of so many shapes has a dim of 0.
        flat: one of so many shapes has dims of 1 in particular.
        channels: operands with one element per channel are welcome.
        batches: leading dims of matrices had best be the same.
        whole: channels had best come in blocks of 16.
        blocks: rows and columns of an image are taken apart, or put together.
        pointwise: a convolution had best look at one place at a time.
        rows: the pixels of an image are the rows of a matrix.
        pairs: neighbours along the last axis are taken apart, or put together.
        large: few elements are not worth a rewrite.
        larger: an image had best be made larger.
        marks: indices are compared with all that they may be.
        one_output: a convolution had best have one channel for each group.
        operators: those that somebody asks for around this node.
        beside: those that will be around it.
        tame: numbers had best be such as exact arithmetic can follow.
        repeats: attributes that nobody names are mostly those that the last node has which has any of that name.
        agreed: nothing that runtimes disagree about, or decline.
        planned: shapes by position that would suit the operands, as far as that was thought of before they are made.
    """

    empty, flat = 24, 8
    channels = batches = blocks = pointwise = rows = whole = pairs = large = larger = marks = one_output = tame = False
    repeats = agreed = False
    operators: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()
    planned: Mapping[int, Shape] = {}

    def __init__(self, builder: Builder, op_type: str, domain: str = "", outputs: int = 1, count: int = 0) -> None:
        self.builder = builder
        self.choices = builder.choices
        self.op_type = op_type
        self.domain = domain
        self.schema: OpSchema = builder.schema(op_type, domain)
        self.outputs = outputs
        self.count = count
        self.inputs: dict[int, Value] = {}
        self.attributes: dict[str, Any] = {}

    # ------------------------------------------------------- up to whoever builds
    @abstractmethod
    def wants(self, i: int) -> bool:
        """Whether there is, or is to be, an operand at this place."""

    @abstractmethod
    def make(self, i: int, shape: Shape, style: str, array: np.ndarray | None) -> Value:
        """The operand for this place, of this shape; with these values where they are given."""

    @abstractmethod
    def ranks(self, i: int) -> tuple[int, int]:
        """The lowest and the highest rank that suit others who will read this operand."""

    @abstractmethod
    def decide(self, name: str, options: Callable[[], Any], default: Any) -> Any:
        """The value of a parameter: what stands written, or one of the options, or the default."""

    @abstractmethod
    def dtype(self, i: int) -> int:
        """The dtype of an operand that is to be made."""

    def known_shape(self, i: int) -> Shape | None:
        """A shape that is asked of this operand already."""
        return None

    def needs(self, name: str) -> bool:
        """Whether this parameter must not be left out."""
        return False

    def single(self, i: int) -> bool:
        """Whether this operand had best be a single number."""
        return False

    def note(self, kind: str, value: Any) -> None:
        """Remember something for `recent`."""

    def mentions(self, name: str) -> bool:
        """Whether a parameter is open to be chosen."""
        return True

    def decided(self, name: str) -> Any:
        """The value of a parameter where it is there already."""
        return None

    def output_ranks(self) -> tuple[int, int]:
        """The lowest and the highest rank of the output that suit those who will read it."""
        return 0, 5

    @property
    def wanted(self) -> Shape | None:
        """A shape of the output that would suit what stands beside it."""
        return None

    def repeated(self) -> bool:
        """Whether all operands are one and the same."""
        return False

    def pieces(self, axis: int) -> bool:
        """Let the operands be the parts of one tensor along an axis, if that is thought to be interesting."""
        return False

    def at_most(self, outputs: int) -> None:
        """More outputs than these mean something else here, or nothing that is defined: have no more."""
        self.outputs = min(self.outputs, outputs)

    def besides(self, outputs: int) -> None:
        """There may be so many outputs, though nobody asks for them: the operator does something else then."""

    def may(self, i: int, there: bool = True) -> bool:
        """Whether an operand may be there, or may be left out."""
        return self.wants(i) == there

    def insist(self, i: int, there: bool = True) -> None:
        """An operand that may be left out must be there in this case, or must not. Raises Invalid where it is otherwise."""
        if not self.may(i, there):
            raise Invalid(f"{self.op_type} {'without' if there else 'with'} operand {i}")

    # ------------------------------------------------------------------ operands
    def given(self, i: int) -> bool:
        """Whether the operand is there already."""
        return i in self.inputs

    def shape(self, i: int) -> Shape | None:
        """Sizes of an operand that is there, or is asked for in this shape; None where it is to be chosen, or a sequence."""
        if i not in self.inputs:
            return self.known_shape(i)
        array = self.builder.arrays[self.inputs[i]]
        return array.shape if isinstance(array, (np.ndarray, np.generic)) else None

    def array(self, i: int) -> Any:
        """Value of an operand that is there."""
        return self.builder.arrays[self.inputs[i]]

    def operand(self, i: int, shape: Sequence[int], style: str = "plain", array: np.ndarray | None = None) -> None:
        """Have an operand of this shape, unless it is there or left out. `array`: it must have these values."""
        if i not in self.inputs and self.wants(i):
            self.inputs[i] = self.make(i, tuple(shape), style, array)

    def take(self, i: int, v: Value) -> None:
        """Have this value as an operand, where it is open."""
        if i not in self.inputs and self.wants(i):
            self.inputs[i] = v

    def dim(self) -> int:
        """A size: small."""
        if self.builder.alike and not self.choices.chance(6):
            return self.builder.alike
        if self.builder.vague and self.choices.chance(3):  # of which nobody knows that it is to be broadcast
            return 1
        return self.choices.weighted(((6, 2), (6, 3), (5, 1), (3, 4), (2, 5), (1, 6)))

    def random(self) -> np.random.Generator:
        """Where arrays come from that no style describes."""
        return np.random.default_rng(self.choices.integer(0, 999))

    def new_shape(self, i: int, low: int = 0, high: int = 4, empty: bool = True) -> Shape:
        """A shape for an operand that is to be chosen; the rank suits those who read it too."""
        known = self.shape(i)
        if known is not None:
            return known
        least, most = self.ranks(i)
        low, high = max(low, least), min(high, most)
        if low > high:
            raise Invalid(f"no rank suits all who read operand {i} of {self.op_type}")
        if i == 0 and self.wanted is not None and low <= len(self.wanted) <= high and self._carries():
            return self.wanted
        weights = _VECTORS if self.dtype(i) in (TensorProto.INT64, TensorProto.INT32) else _TENSORS
        preferred = [(w, r) for w, r in weights if low <= r <= high]
        ones = self.choices.chance(self.flat)
        dims: list[int] = []
        left = _ELEMENTS
        for _ in range(self.choices.weighted(preferred)):
            d = 1 if ones and self.choices.integer(0, 1) else self.dim()
            if d > left:
                d = 1
            left //= d
            dims.append(d)
        blocks = self.whole and len(dims) == 4 and not self.choices.chance(6)
        if blocks:
            dims[1] = 16
        elif self.whole and len(dims) == 4 and self.choices.integer(0, 1):  # to be broadcast
            dims[1] = 1
            return tuple(dims)
        if self.large and dims and not self.choices.chance(4):
            k = self.choices.one([0, 2, 3]) if blocks else self.choices.integer(0, len(dims) - 1)
            many = _MANY // 2 if self.whole else _MANY  # of which a convolution makes more
            if blocks and self.choices.chance(2):  # others are as many as the channels
                dims[self.choices.one([i for i in (0, 2, 3) if i != k])] = 16
            dims[k] = many // max(math.prod(dims) // max(dims[k], 1), 1) + 1
            if empty and self.choices.chance(3 if blocks else 6):
                dims[self.choices.one([2, 3]) if blocks else self.choices.integer(0, len(dims) - 1)] = 0
            return tuple(dims)
        if dims and empty and self.choices.chance(self.empty):
            dims[self.choices.integer(0, len(dims) - 1)] = 0
        return tuple(dims)

    def _carries(self) -> bool:
        """Whether the output has the shape of the first operand."""
        from graphopt.testing.operators.registry import operands_of

        known = operands_of(self.schema_key)
        return known is not None and 0 in known.carries and self.op_type not in _MOVING

    @property
    def schema_key(self) -> str:
        return f"{self.domain}::{self.op_type}" if self.domain else self.op_type

    # ---------------------------------------------------------------- parameters
    def parameter(
        self, name: str, options: Callable[[], Any], default: Any = None, dtype: int = TensorProto.INT64
    ) -> Any:
        """Decide about a parameter, and put it where this opset keeps it: in an attribute, or in an input.

        Args:
            options: draws a value.
            default: where the parameter is left out.
            dtype: of the input.
        """
        i = None if name in self.schema.attributes else input_of(self.schema, name)
        if i is not None and i in self.inputs:
            found = self.array(i).tolist()
            return found[0] if isinstance(found, list) and self.op_type == "TopK" else found
        if i is None and name not in self.schema.attributes:
            value = self.decide(name, lambda: default, default)
            if value is not None and value != default:
                raise Invalid(f"{self.op_type} has no parameter '{name}' at this opset")
            return default
        if i is not None and self.wants(i):  # written as an operand
            value = options()
            if value is not None:
                array = np.asarray([value] if self.op_type == "TopK" else value, np_dtype(dtype))
                self.operand(i, array.shape, array=array)
            return default if value is None else value
        value = self.decide(name, options, default)
        if value is None:
            return default
        if i is None:
            a = self.schema.attributes[name]
            implied = default if a.default is None else a.default
            if a.required or implied is None or implied != value or self.choices.chance(4):
                self.attributes[name] = value
        else:
            shaped = [value] if self.op_type == "TopK" else value
            if default is None or value != default or self.choices.chance(4):
                self.inputs[i] = self.builder.constant(np.asarray(shaped, np_dtype(dtype)), name)
        return value

    # -------------------------------------------------------------------- emission
    def emit(self, hint: str = "") -> list[Value]:
        """Put the node in; its outputs. Raises Invalid where it cannot be."""
        positions = max(self.inputs, default=-1) + 1
        inputs = [self.inputs.get(i) for i in range(positions)]
        return self.builder.node(self.op_type, inputs, self.attributes, self.outputs, self.domain, hint)
