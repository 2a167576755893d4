"""What the annotations of a rule's parameters mean."""

from __future__ import annotations
import __future__

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
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


def parse_dims(text: str) -> tuple[str, ...]:
    """'N C H W' -> ('N', 'C', 'H', 'W'). Raises RuleError for anything else than names, numbers and a leading '...'."""
    dims = tuple(text.split())
    if not all(_DIM.fullmatch(d) for d in dims) or "..." in dims[1:]:
        raise RuleError(f"{text!r} is not a shape: write dims with spaces between, as in 'N C H W' or '... C'")
    return dims


def kinds_of(fn: Callable[..., Any]) -> dict[str, Kind]:
    """The parameters of a rule's function, in order."""
    scope = dict(getattr(fn, "__globals__", {}))
    if fn.__closure__:
        scope.update((n, c.cell_contents) for n, c in zip(fn.__code__.co_freevars, fn.__closure__, strict=True))
    postponed = bool(fn.__code__.co_flags & __future__.annotations.compiler_flag)
    kinds: dict[str, Kind] = {}
    for name, p in inspect.signature(fn).parameters.items():
        if p.kind is p.VAR_POSITIONAL:
            kinds[name] = Kind("variadic")
        elif p.kind is p.VAR_KEYWORD:
            raise RuleError(f"rule '{fn.__name__}': write {name}: Attrs instead of **{name}")
        else:
            annotation = p.annotation
            if postponed and isinstance(annotation, str):  # the text of an expression, a shape being in quotes
                try:
                    annotation = eval(annotation, scope, _Letters(scope))
                except Exception as e:
                    raise RuleError(f"rule '{fn.__name__}': {name}: {p.annotation} is no annotation ({e})") from e
                if annotation is ... or type(annotation) is int:
                    annotation = p.annotation
            kinds[name] = Kind() if annotation is p.empty else _kind_of(annotation, scope)
    return kinds


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
