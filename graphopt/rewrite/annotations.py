"""What the annotations of a rule's parameters mean."""

from __future__ import annotations
import __future__

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from graphopt.errors import RuleError

_DIM = re.compile(r"[A-Za-z_]\w*|\d+|\.\.\.")


@dataclass(frozen=True, slots=True)
class Kind:
    """One parameter: `role` is tensor, const, attr, attrs, dim or variadic.

    Attributes:
        attr: for an attribute, which values it takes: int, ints, float, floats, str, axis, perm or any.
        optional: may be absent, then it is None.
        fill: for a constant, the number that every element must be; None for any.
        dims: the shape it must have, '...' standing for any leading dims, '_' for any dim; None for any shape.
    """

    role: str = "tensor"
    attr: str = "any"
    optional: bool = False
    dims: tuple[str, ...] | None = None
    fill: float | None = None


_ANY = Kind()


class _Annotation:
    """`Const`, `Const["C 1 1"]`, `Maybe[Const]`, `Ints`..."""

    def __init__(self, kind: Kind, name: str) -> None:
        self.kind = kind
        self._name = name

    def __getitem__(self, shape: str) -> _Annotation:
        return _Annotation(
            Kind(self.kind.role, self.kind.attr, self.kind.optional, parse_dims(shape)), f"{self._name}[{shape!r}]"
        )

    def __repr__(self) -> str:
        return self._name


class _Filled:
    def __getitem__(self, number: float) -> _Annotation:
        return _Annotation(Kind("const", fill=number), f"Filled[{number!r}]")


class _Maybe:
    def __getitem__(self, inner: Any) -> _Annotation:
        kind = _kind_of(inner, {})
        return _Annotation(Kind(kind.role, kind.attr, True, kind.dims), f"Maybe[{inner!r}]")


if TYPE_CHECKING:
    # What a body sees, for type checkers and editors; the checks of arrays and terms are dynamic.
    from typing import Optional as Maybe

    Tensor = Any
    Const = Any
    Filled = Any
    Attrs = Any
    Dim = Any
    Int = int
    Axis = int
    Ints = list[int]
    Perm = list[int]
    Float = float
    Floats = list[float]
    Str = str
else:
    Tensor = _Annotation(Kind(), "Tensor")
    Const = _Annotation(Kind("const"), "Const")
    Int = _Annotation(Kind("attr", "int"), "Int")
    Ints = _Annotation(Kind("attr", "ints"), "Ints")
    Float = _Annotation(Kind("attr", "float"), "Float")
    Floats = _Annotation(Kind("attr", "floats"), "Floats")
    Str = _Annotation(Kind("attr", "str"), "Str")
    Axis = _Annotation(Kind("attr", "axis"), "Axis")
    Perm = _Annotation(Kind("attr", "perm"), "Perm")
    Attrs = _Annotation(Kind("attrs"), "Attrs")
    Dim = _Annotation(Kind("dim"), "Dim")
    Filled = _Filled()
    Maybe = _Maybe()


@cache
def parse_dims(text: str) -> tuple[str, ...]:
    """'N C H W' -> ('N', 'C', 'H', 'W'). Raises RuleError for anything else than names, numbers and a leading '...'."""
    dims = tuple(text.split())
    if not all(_DIM.fullmatch(d) for d in dims) or "..." in dims[1:]:
        raise RuleError(f"{text!r} is not a shape: write dims with spaces between, as in 'N C H W' or '... C'")
    return dims


def kinds_of(fn: Callable[..., Any]) -> dict[str, Kind]:
    """The parameters of a rule's function, in order."""
    scope = getattr(fn, "__globals__", {})
    if fn.__closure__:
        cells = zip(fn.__code__.co_freevars, fn.__closure__, strict=True)
        scope = {**scope, **{n: c.cell_contents for n, c in cells}}
    postponed = bool(fn.__code__.co_flags & __future__.annotations.compiler_flag)
    kinds: dict[str, Kind] = {}
    for name, kind, annotation in _parameters(fn):
        if kind is inspect.Parameter.VAR_POSITIONAL:
            kinds[name] = Kind("variadic")
        elif kind is inspect.Parameter.VAR_KEYWORD:
            raise RuleError(f"rule '{fn.__name__}': write {name}: Attrs instead of **{name}")
        elif annotation is inspect.Parameter.empty:
            kinds[name] = _ANY
        else:
            if postponed and isinstance(annotation, str):  # the text of an expression, a shape being in quotes
                annotation = _evaluated(fn, name, annotation, scope)
            kinds[name] = _kind_of(annotation, scope)
    return kinds


def _parameters(fn: Callable[..., Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, kind and annotation of each parameter, as `inspect.signature` has them, which takes ten times as long."""
    if type(fn) is not FunctionType or fn.__dict__:  # a decorator's, which may stand for another function
        yield from ((p.name, p.kind, p.annotation) for p in inspect.signature(fn).parameters.values())
        return
    code, annotations = fn.__code__, fn.__annotations__
    positional, named = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    starred = iter(code.co_varnames[named:])
    order: list[tuple[str, Any]] = [(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in code.co_varnames[:positional]]
    if code.co_flags & inspect.CO_VARARGS:
        order.append((next(starred), inspect.Parameter.VAR_POSITIONAL))
    order += [(n, inspect.Parameter.KEYWORD_ONLY) for n in code.co_varnames[positional:named]]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        order.append((next(starred), inspect.Parameter.VAR_KEYWORD))
    for name, kind in order:
        yield name, kind, annotations.get(name, inspect.Parameter.empty)


def _evaluated(fn: Callable[..., Any], name: str, text: str, scope: dict[str, Any]) -> Any:
    """What the text of an annotation stands for."""
    found = scope.get(text)
    if isinstance(found, _Annotation):
        return found
    try:
        found = eval(_expression(text), scope, _Letters(scope))
    except Exception as e:
        raise RuleError(f"rule '{fn.__name__}': {name}: {text} is no annotation ({e})") from e
    return text if found is ... or type(found) is int else found


@cache
def _expression(text: str) -> CodeType:
    return compile(text, "<annotation>", "eval")


class _Letters(dict[str, Any]):
    """Names in an annotation: a capital letter is a dim, also where a tool has taken the quotes off `x: "N"`."""

    def __init__(self, scope: dict[str, Any]) -> None:
        super().__init__()
        self.scope = scope

    def __missing__(self, key: str) -> str:
        if re.fullmatch("[A-Z_]", key) is None or isinstance(self.scope.get(key), _Annotation):
            raise KeyError(key)
        return key


def _kind_of(annotation: Any, scope: dict[str, Any]) -> Kind:
    if isinstance(annotation, str):
        named = scope.get(annotation)
        if not isinstance(named, _Annotation):
            return Kind(dims=parse_dims(annotation))
        annotation = named
    if isinstance(annotation, _Annotation):
        return annotation.kind
    known = "Const, Filled[...], Maybe[...], Int, Ints, Float, Floats, Str, Axis, Perm, Attrs, Dim or a shape"
    raise RuleError(f"{annotation!r} is no annotation of the rule language: use {known}")
