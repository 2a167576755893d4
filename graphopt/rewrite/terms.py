"""Terms: what rule bodies build. `op.Relu(x)` and `x * 2` are terms, whatever x stands for.

The same body is read with variables (a pattern), with matched values (a replacement) and with arrays (a test); only the
leaves differ, so nothing here knows which reading is going on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from graphopt.errors import RuleError
from graphopt.ir import Shape, Value
from graphopt.ir.node import op_key

_NARROW_FLOATS = frozenset({"float16", "bfloat16"})


class Term:
    """An expression. Arithmetic on terms makes ONNX's Add, Sub, Mul, Div, Pow, Neg and MatMul."""

    __slots__ = ()
    __array_ufunc__ = None  # so that array * term asks the term

    def __add__(self, other: Any) -> Call:
        return Call("Add", (self, other))

    def __radd__(self, other: Any) -> Call:
        return Call("Add", (other, self))

    def __sub__(self, other: Any) -> Call:
        return Call("Sub", (self, other))

    def __rsub__(self, other: Any) -> Call:
        return Call("Sub", (other, self))

    def __mul__(self, other: Any) -> Call:
        return Call("Mul", (self, other))

    def __rmul__(self, other: Any) -> Call:
        return Call("Mul", (other, self))

    def __truediv__(self, other: Any) -> Call:
        return Call("Div", (self, other))

    def __rtruediv__(self, other: Any) -> Call:
        return Call("Div", (other, self))

    def __pow__(self, other: Any) -> Call:
        return Call("Pow", (self, other))

    def __rpow__(self, other: Any) -> Call:
        return Call("Pow", (other, self))

    def __matmul__(self, other: Any) -> Call:
        return Call("MatMul", (self, other))

    def __rmatmul__(self, other: Any) -> Call:
        return Call("MatMul", (other, self))

    def __neg__(self) -> Call:
        return Call("Neg", (self,))

    def __bool__(self) -> bool:
        raise RuleError("a tensor has no truth value in a rule: test its shape, dtype or a Const instead")


class Var(Term):
    """A parameter of a rule in the reading that makes the pattern. `kind` is its annotation."""

    __slots__ = ("kind", "name")

    def __init__(self, name: str, kind: Any) -> None:
        self.name = name
        self.kind = kind

    def keys(self) -> list[str]:
        """Lets a body write `**attrs`."""
        return [f"**{self.name}"]

    def __getitem__(self, key: str) -> Var:
        return self

    def __iter__(self) -> Iterator[Any]:
        """Lets a body write `*xs`."""
        return iter([Rest(self)])

    def __repr__(self) -> str:
        return self.name


class Rest(Term):
    """All remaining inputs of a variadic operator, from `*xs` in a pattern."""

    __slots__ = ("var",)

    def __init__(self, var: Var) -> None:
        self.var = var


class Leaf(Term):
    """A matched value, as guards and replacements see it."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value

    @property
    def shape(self) -> Shape | None:
        """Dims (int, name or None), None where the rank is unknown."""
        return self.value.shape

    @property
    def rank(self) -> int | None:
        return self.value.rank

    @property
    def dtype(self) -> int:
        """`onnx.TensorProto.DataType`, 0 where unknown."""
        return self.value.dtype

    @property
    def is_const(self) -> bool:
        return self.value.const is not None

    @property
    def uses(self) -> int:
        """How many nodes read it, graph outputs included."""
        return len(self.value.uses) + self.value.exits

    def __repr__(self) -> str:
        return f"Leaf({self.value.name!r})"


class Constant(NDArrayOperatorsMixin):
    """A matched constant: behaves as a NumPy array, but its values are read only when something asks for them.

    float16 and bfloat16 values appear as float32, so that rules compute in enough precision; what is built from them is
    rounded to the model's dtype again.
    """

    __slots__ = ("_array", "value")

    def __init__(self, value: Value) -> None:
        self.value = value
        self._array: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        assert self.value.const is not None
        return self.value.const.dims

    @property
    def ndim(self) -> int:
        return len(self.shape)

    rank = ndim

    @property
    def size(self) -> int:
        assert self.value.const is not None
        return self.value.const.size

    @property
    def onnx_dtype(self) -> int:
        return self.value.dtype

    @property
    def uses(self) -> int:
        return len(self.value.uses) + self.value.exits

    @property
    def array(self) -> np.ndarray:
        """The values."""
        if self._array is None:
            assert self.value.const is not None
            array = self.value.const.view()  # NumPy computes with what is not aligned, a part at a time
            self._array = array.astype(np.float32) if array.dtype.name in _NARROW_FLOATS else array
        return self._array

    def item(self) -> Any:
        """The only element as a Python scalar, None where there is not exactly one."""
        assert self.value.const is not None
        return self.value.const.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array if dtype is None else self.array.astype(dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, Term) for x in inputs):
            return NotImplemented
        return getattr(ufunc, method)(*(x.array if isinstance(x, Constant) else x for x in inputs), **kwargs)

    def __matmul__(self, other: Any) -> Any:
        return NotImplemented if isinstance(other, Term) else np.matmul(self.array, np.asarray(other))

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.array, name)

    def __repr__(self) -> str:
        return f"Constant({self.value.name!r}, shape={self.shape})"


class Call(Term):
    """An operator applied to arguments: terms, arrays, numbers, None for an input left out.

    Attributes:
        value: in the second reading, what a call of the left side was matched with.
        outputs: how many outputs; more than one come as `Output` terms.
        function: the definition of an operator that brings its body along (`@function`), None for others.
    """

    __slots__ = ("args", "attrs", "domain", "function", "op", "op_type", "outputs", "value")

    def __init__(
        self,
        op_type: str,
        args: tuple[Any, ...],
        attrs: dict[str, Any] | None = None,
        domain: str = "",
        outputs: int = 1,
    ) -> None:
        self.op_type = op_type
        self.domain = domain
        self.op = op_key(op_type, domain)
        self.args = args
        self.attrs = attrs or {}
        self.outputs = outputs
        self.value: Value | None = None
        self.function: Any = None

    @property
    def shape(self) -> Shape | None:
        """Dims of the matched value; only calls of the left side have one."""
        return self._matched().shape

    @property
    def rank(self) -> int | None:
        return self._matched().rank

    @property
    def dtype(self) -> int:
        return self._matched().dtype

    @property
    def uses(self) -> int:
        """How many nodes read the matched value, graph outputs included."""
        v = self._matched()
        return len(v.uses) + v.exits

    def _matched(self) -> Value:
        if self.value is None:
            raise RuleError(f"{self.op} is not part of what was matched, so nothing is known about it")
        return self.value

    def __repr__(self) -> str:
        from graphopt.rewrite.equation import show

        return show(self)


class Output(Term):
    """Output `index` of a call with several."""

    __slots__ = ("call", "index", "value")

    def __init__(self, call: Call, index: int) -> None:
        self.call = call
        self.index = index
        self.value: Value | None = None


class Alternatives(Term):
    """Any of several terms, tried in order."""

    __slots__ = ("choices",)

    def __init__(self, choices: tuple[Any, ...]) -> None:
        self.choices = choices


class _Operators:
    """`op.Conv(x, w, strides=[2, 2])`: attribute access makes the operators of a domain."""

    def __init__(self, domain: str = "") -> None:
        self._domain = domain

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        if op_type.startswith("_"):
            raise AttributeError(op_type)
        domain = self._domain

        def call(*args: Any, outputs: int = 1, **attrs: Any) -> Any:
            term = Call(op_type, args, attrs, domain, outputs)
            return term if outputs == 1 else tuple(Output(term, i) for i in range(outputs))

        call.__name__ = op_type
        return call


op = _Operators()
"""ONNX's own operators: `op.Relu(x)`. `outputs=n` asks for several outputs and gives a tuple."""


def domain(name: str) -> _Operators:
    """The operators of another domain: `domain("com.microsoft").Gelu(x)`."""
    return _Operators(name)


def any_of(*choices: Any) -> Alternatives:
    """Match any of these. A variable that only another choice has is None in the body."""
    return Alternatives(choices)


def maybe(operator: Callable[..., Any]) -> Callable[..., Alternatives]:
    """An operator that may be there or not: `maybe(op.Cast)(x)` matches `Cast(x)` and `x`."""
    return lambda x, *args, **attrs: Alternatives((operator(x, *args, **attrs), x))
