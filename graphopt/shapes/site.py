"""A node as shape functions see it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Dim, Graph, Node, OpSchema, Reference, Shape, Tensor, Value
from graphopt.shapes import text
from graphopt.shapes.dims import broadcast, same_dims
from graphopt.shapes.facts import Facts
from graphopt.shapes.types import TypeInfo, Unknown

if TYPE_CHECKING:
    from graphopt.shapes.walk import Walk

#: Elements are followed in tensors of at most so many.
LARGEST_KNOWN = 128
#: The dtypes whose elements are followed.
WHOLE = frozenset({TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL})
FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE})


class Site:
    """A node, what is known of its inputs, and what a shape function may say about them.

    Attributes:
        node: the node.
        op_type: its operator.
        version: the version of the operator set that is in force for it.
        inputs: its input values, None where one is left out.
        facts: what is known about the dims of the model.
    """

    __slots__ = ("_schema", "call", "facts", "inputs", "node", "version", "walk")

    def __init__(self, walk: Walk, facts: Facts, call: dict[str, Any] | None = None) -> None:
        self.walk = walk
        self.facts = facts
        self.call = call or {}  # attributes of the call of the function whose body this is
        self.node: Node
        self.inputs: list[Value | None]
        self.version = 0
        self._schema: OpSchema | None = None

    def at(self, node: Node, version: int, schema: OpSchema | None) -> Site:
        """Go to a node."""
        self.node = node
        self.inputs = node.inputs
        self.version = version
        self._schema = schema
        return self

    @property
    def op_type(self) -> str:
        return self.node.op_type

    # -------------------------------------------------------------------------------------------------------- inputs
    def value(self, i: int) -> Value | None:
        """Input i, None where it is left out."""
        return self.inputs[i] if i < len(self.inputs) else None

    def has(self, i: int) -> bool:
        """Whether input i is given."""
        return i < len(self.inputs) and self.inputs[i] is not None

    def dtype(self, i: int = 0) -> int:
        """`onnx.TensorProto.DataType` of input i, 0 where it is unknown or left out."""
        v = self.value(i)
        return 0 if v is None else v.dtype

    def shape(self, i: int = 0) -> Shape | None:
        """The dims of input i, None where the rank is unknown."""
        v = self.value(i)
        return None if v is None else v.shape

    def needed(self, i: int = 0) -> Shape:
        """The dims of input i. Where the rank is unknown nothing can be told: raises Unknown."""
        v = self.value(i)
        if v is None:
            raise Unknown(f"input {i} is left out")
        if v.shape is None:
            raise Unknown(f"the rank of '{v.name}' is unknown")
        return v.shape

    def rank(self, i: int = 0) -> int | None:
        shape = self.shape(i)
        return None if shape is None else len(shape)

    def info(self, i: int = 0) -> TypeInfo:
        """Everything about the type of input i."""
        v = self.value(i)
        return TypeInfo(0, None) if v is None else TypeInfo(v.dtype, v.shape, v.type)

    def known(self, i: int) -> np.ndarray | None:
        """The elements of input i: an array of dims, None for those that are not known; None where nothing is."""
        v = self.value(i)
        return None if v is None else known_elements(v)

    def numbers(self, i: int) -> list[Dim] | None:
        """The elements of a small input, in a row; None where not even their count is known."""
        v = self.value(i)
        if v is None:
            return None
        array = known_elements(v)
        if array is not None:
            return list(array.reshape(-1))
        if v.shape is None or len(v.shape) > 1:
            return None
        length = v.shape[0] if v.shape else 1
        return [None] * length if isinstance(length, int) and length <= LARGEST_KNOWN else None

    def element(self, i: int) -> Dim:
        """The only element of input i, None where it is not known."""
        array = self.known(i)
        return array.reshape(-1)[0] if array is not None and array.size == 1 else None

    # ---------------------------------------------------------------------------------------------------- attributes
    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute: its value, the schema's default, or `default`."""
        value = self.node.attributes.get(name)
        if isinstance(value, Reference):
            value = self.call.get(value.name)
            if isinstance(value, Reference):
                raise Unknown(f"attribute '{name}' comes from the call of a function")
        if value is None:
            schema = self._schema
            if schema is not None and name in schema.attributes:
                value = schema.attributes[name].default
        return default if value is None else value

    def parameter(self, name: str) -> list[Dim] | None:
        """Numbers that are an attribute at some versions and an input at others; None where they are left out.

        Raises Unknown where they are computed by the graph, and not even their count is known.
        """
        value = self.attribute(name)
        if value is not None:
            return list(value) if isinstance(value, (list, tuple)) else [value]
        i = self._schema.input_index(name) if self._schema is not None else None
        if i is None or not self.has(i):
            return None
        found = self.numbers(i)
        if found is None:
            raise Unknown(f"'{name}' is computed, and its length is unknown")
        return found

    def ints(self, name: str) -> list[int] | None:
        """The same where each must be an int. Raises Unknown where one is not known."""
        found = self.parameter(name)
        if found is None:
            return None
        if not all(isinstance(i, int) for i in found):
            raise Unknown(f"'{name}' is computed, and its values are not known")
        return found

    def axis(self, rank: int, name: str = "axis", default: int = 0) -> int:
        """An axis, counted from the front. Raises ValueError where a tensor of this rank has no such axis."""
        return one_axis(int(self.attribute(name, default)), rank)

    # --------------------------------------------------------------------------------------------------------- dims
    def fresh(self) -> Dim:
        """A dim of which nothing is known."""
        return self.facts.fresh()

    def unknown_dims(self, rank: int) -> Shape:
        return tuple([self.fresh() for _ in range(rank)])

    def or_fresh(self, dims: Iterable[Dim]) -> Shape:
        """Dims with names for those that are not known."""
        return tuple([self.fresh() if d is None else d for d in dims])

    def equate(self, a: Dim, b: Dim) -> Dim:
        """Say that two dims are equal whenever the node runs; the one that tells more.

        Raises ValueError where they cannot be.
        """
        if a == b:
            return a
        if same_dims(a, b) is False:
            raise ValueError(f"{self.op_type}: {text.show(a)} and {text.show(b)} must be equal")
        return self.facts.equate(a, b)

    def broadcast(self, *shapes: Shape | None) -> Shape | None:
        """The shape of an elementwise result."""
        out: Shape | None = ()
        for s in shapes:
            out = broadcast(out, s)
        if out is None:
            return None
        return tuple([self.fresh() if d is None else d for d in out]) if None in out else out

    # ------------------------------------------------------------------------------------------------------- results
    def like(self, i: int = 0) -> TypeInfo:
        """The type of input i."""
        return self.info(i)

    def body(self, graph: Graph, inputs: Sequence[TypeInfo]) -> list[TypeInfo]:
        """The types of a body's outputs, given those of its inputs."""
        return self.walk.body(graph, inputs)


def one_axis(axis: int, rank: int) -> int:
    """An axis counted from the front. Raises ValueError where there is no such axis."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} is out of range for {rank} dims")
    return axis % rank if rank else 0


def all_axes(axes: Iterable[Any], rank: int) -> list[int]:
    """Axes counted from the front. Raises ValueError where one is out of range or there twice."""
    found = [one_axis(int(a), rank) for a in axes]
    if len(set(found)) != len(found):
        raise ValueError(f"an axis is named twice in {list(axes)}")
    return found


# -------------------------------------------------------------------------------------------------------------- elements
def known_elements(v: Value) -> np.ndarray | None:
    """The elements of a value as an array of dims; None where it is too large or nothing is known."""
    if v.known is None and v.const is not None:
        v.known = _of_constant(v.const)
    return v.known


def _of_constant(t: Tensor) -> np.ndarray | None:
    if (t.dtype not in WHOLE and t.dtype not in FLOATS) or t.size > LARGEST_KNOWN:
        return None
    array = t.numpy()
    out = np.empty(array.shape, object)
    out.reshape(-1)[:] = [plain_number(x) for x in array.reshape(-1).tolist()]
    return out


def plain_number(x: Any) -> Dim:
    """A number as elements are kept: an int, where it is no whole number a fraction; None for infinities and NaN."""
    if isinstance(x, (bool, int)):
        return int(x)
    if isinstance(x, float):
        if x.is_integer():
            return int(x)
        return Fraction(*x.as_integer_ratio()) if x - x == 0 else None
    return x
