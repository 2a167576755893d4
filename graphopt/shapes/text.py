"""Dims as text, as files hold them. What a file says is parsed by the grammar below, never evaluated.

    sum      = product {("+" | "-") product}
    product  = factor {("*" | "/" | "//" | "%") factor}
    factor   = ["-"] power
    power    = atom ["**" factor]
    atom     = number | name | name "(" sum {"," sum} ")" | "(" sum ")"

A name is letters, digits, "_", and "." or ":" inside. The functions are those that exporters and SymPy write: floor,
ceiling, Max, Min, Mod, FloorDiv, CeilDiv... ; "/" must leave no rest, except inside floor and ceiling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

from graphopt.ir.node import Dim, Value
from graphopt.ir.text import numpy_name
from graphopt.shapes import dims

_TOKEN = re.compile(r"\s*(?:(\d+)|(\?\d+|[A-Za-z_][\w.:]*)|(\*\*|//|[-+*/%(),]))")
_NAME = re.compile(r"[A-Za-z_][\w.:]*")
_DEEPEST = 64
_LONGEST = 4096
_LARGEST_POWER = 8


def show(d: Dim) -> str:
    """The text of a dim: '4', 'batch', 'floor(height/2) + 1'; '?' where nothing is known of it."""
    if d is None:
        return "?"
    return d if isinstance(d, str) else str(d)


def show_shape(shape: Iterable[Dim] | None) -> str:
    """The text of a shape: '[batch, 3, ?1]'; '[...]' where the rank is unknown."""
    return "[...]" if shape is None else f"[{', '.join(map(show, shape))}]"


def show_type(v: Value) -> str:
    """What is known of a value: 'float32[batch, 3]'; the kind where it is no tensor, '' where nothing is known."""
    if v.dtype:
        return numpy_name(v.dtype) + show_shape(v.shape)
    kind = None if v.type is None else v.type.WhichOneof("value")
    return "" if kind is None else kind.removesuffix("_type")


def writable(d: Dim) -> str | None:
    """The text of a named dim that another program would read as the same dim; None where there is none.

    In an expression, names must be such that they can be told from operators.
    """
    if d is None or isinstance(d, int):
        return None
    if isinstance(d, str):
        return d
    return str(d) if all(_NAME.fullmatch(n) for n in dims.names_in(d)) else None


def parse(text: str) -> Dim:
    """The dim that a text stands for: a number, a name, or an expression over names.

    Raises ValueError where it is no expression of the grammar.
    """
    if len(text) > _LONGEST:
        raise ValueError("too long for a dim")
    tokens = _tokens(text)
    p = _Parser(tokens)
    value = p.sum(0)
    if p.at < len(tokens):
        raise ValueError(f"'{text}': '{tokens[p.at]}' is not expected there")
    found = value.dim()
    if found is None:
        raise ValueError(f"'{text}' is no whole number")
    return found


def _tokens(text: str) -> list[Any]:
    out: list[Any] = []
    position = 0
    while text[position:].strip():
        m = _TOKEN.match(text, position)
        if m is None:
            raise ValueError(f"'{text}': '{text[position:].strip()[0]}' is not part of an expression")
        number, name, sign = m.groups()
        out.append(int(number) if number else _Name(name) if name else sign)
        position = m.end()
    return out


class _Name(str):
    """A token that is a name."""


class _Ratio:
    """A dim over a number: what stands between a division and the rounding around it."""

    def __init__(self, top: Dim, bottom: int = 1) -> None:
        self.top = top
        self.bottom = bottom

    def dim(self) -> Dim:
        """The quotient where there is no rest."""
        return self.top if self.bottom == 1 else dims.exact_div(self.top, self.bottom)

    def combine(self, other: _Ratio, sign: int) -> _Ratio:
        a, b = dims.mul(self.top, other.bottom), dims.mul(other.top, self.bottom)
        return _Ratio(dims.add(a, b) if sign > 0 else dims.sub(a, b), self.bottom * other.bottom)


class _Parser:
    def __init__(self, tokens: list[Any]) -> None:
        self.tokens = tokens
        self.at = 0

    def take(self, *wanted: str) -> str | None:
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        if token not in wanted or isinstance(token, _Name):
            return None
        self.at += 1
        return str(token)

    def sum(self, depth: int) -> _Ratio:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply for a dim")
        value = self.product(depth + 1)
        while sign := self.take("+", "-"):
            value = value.combine(self.product(depth + 1), 1 if sign == "+" else -1)
        return value

    def product(self, depth: int) -> _Ratio:
        value = self.factor(depth)
        while sign := self.take("*", "/", "//", "%"):
            other = self.factor(depth)
            if sign == "*":
                value = _Ratio(dims.mul(value.top, other.top), value.bottom * other.bottom)
            elif sign == "/" and isinstance(d := other.dim(), int) and d > 0:
                value = _Ratio(value.top, value.bottom * d)
            elif sign == "/":
                value = _Ratio(_known(dims.exact_div(value.dim(), other.dim())))
            else:
                value = _Ratio(_known((dims.floordiv if sign == "//" else dims.mod)(value.dim(), other.dim())))
        return value

    def factor(self, depth: int) -> _Ratio:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply for a dim")
        if self.take("-"):
            value = self.factor(depth + 1)
            return _Ratio(dims.mul(-1, value.top), value.bottom)
        value = self.atom(depth)
        if self.take("**"):
            power = self.factor(depth + 1).dim()
            if not isinstance(power, int) or not 0 <= power <= _LARGEST_POWER:
                raise ValueError("only small numbers may be powers")
            value = _Ratio(reduce(dims.mul, [value.top] * power, 1), value.bottom**power)
        return value

    def atom(self, depth: int) -> _Ratio:
        if self.take("("):
            value = self.sum(depth + 1)
            self.close()
            return value
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        if not isinstance(token, (int, _Name)):
            raise ValueError(f"a number or a name is expected, not {'the end' if token is None else repr(token)}")
        self.at += 1
        if isinstance(token, int):
            return _Ratio(token)
        if not self.take("("):
            return _Ratio(str(token))
        arguments = [self.sum(depth + 1)]
        while self.take(","):
            arguments.append(self.sum(depth + 1))
        self.close()
        function = _FUNCTIONS.get(str(token))
        if function is None:
            raise ValueError(f"'{token}' is no function of dims")
        return _Ratio(_known(function(arguments)))

    def close(self) -> None:
        if not self.take(")"):
            raise ValueError("a ')' is missing")


def _known(d: Dim) -> Dim:
    if d is None:
        raise ValueError("the result is not known to be a whole number")
    return d


def _floor(arguments: list[_Ratio]) -> Dim:
    (x,) = arguments
    return dims.floordiv(x.top, x.bottom)


def _ceiling(arguments: list[_Ratio]) -> Dim:
    (x,) = arguments
    return dims.ceildiv(x.top, x.bottom)


def _of_dims(operation: Callable[[Dim, Dim], Dim]) -> Callable[[list[_Ratio]], Dim]:
    return lambda arguments: reduce(operation, [a.dim() for a in arguments])


def _broadcast(arguments: list[_Ratio]) -> Dim:
    a, b = (x.dim() for x in arguments)
    return dims.broadcast_dims(a, b)


_FUNCTIONS: dict[str, Callable[[list[_Ratio]], Dim]] = {
    **dict.fromkeys(("floor", "Floor", "FloorToInt"), _floor),
    **dict.fromkeys(("ceil", "ceiling", "Ceil", "CeilToInt"), _ceiling),
    **dict.fromkeys(("Max", "max"), _of_dims(dims.maximum)),
    **dict.fromkeys(("Min", "min"), _of_dims(dims.minimum)),
    **dict.fromkeys(("Mod", "PythonMod"), _of_dims(dims.mod)),
    **dict.fromkeys(("FloorDiv", "floordiv", "CleanDiv"), _of_dims(dims.floordiv)),
    **dict.fromkeys(("CeilDiv", "ceildiv"), _of_dims(dims.ceildiv)),
    "broadcast": _broadcast,
}
