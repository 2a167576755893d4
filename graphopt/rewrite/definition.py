"""`@function`: an operator of one's own, with a body in standard operators that any runtime can run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from onnx import AttributeProto, FunctionProto

from graphopt.errors import RuleError
from graphopt.rewrite.annotations import Kind, kinds_of
from graphopt.rewrite.terms import Alternatives, Call, Constant, Leaf, Output, Rest, Term, Var

#: What an annotation of an attribute is in a file, and how a Python value becomes it.
ATTRIBUTES: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "int": (AttributeProto.INT, int),
    "ints": (AttributeProto.INTS, lambda values: [int(v) for v in values]),
    "float": (AttributeProto.FLOAT, float),
    "floats": (AttributeProto.FLOATS, lambda values: [float(v) for v in values]),
    "str": (AttributeProto.STRING, str),
}


class Parameter(Term):
    """An attribute of the function inside its body: a number of the call, as attribute or as operand of an operator."""

    __slots__ = ("attr", "name")

    def __init__(self, name: str, attr: str) -> None:
        self.name = name
        self.attr = attr

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A function; called in a rule, it makes the call of its operator.

    Attributes:
        name, domain: of the operator.
        version: of the domain, for models that do not import it yet.
        fn: the body.
        kinds: what its parameters stand for.
        defaults: of attributes that may be left out.
        outputs: how many it gives.
    """

    name: str
    domain: str
    version: int
    fn: Callable[..., Any]
    kinds: dict[str, Kind]
    defaults: Mapping[str, Any]
    outputs: int
    where: str
    doc: str

    @property
    def key(self) -> tuple[str, str, str]:
        """As `graphopt.ir.Function` has it."""
        return self.domain, self.name, ""

    @property
    def inputs(self) -> list[str]:
        """Names of the parameters that are tensors."""
        return [n for n, k in self.kinds.items() if k.role == "tensor"]

    @property
    def attributes(self) -> list[str]:
        """Names of the parameters that are attributes."""
        return [n for n, k in self.kinds.items() if k.role == "attr"]

    def __call__(self, *args: Any, **attrs: Any) -> Any:
        """The operator applied to arguments: a term, or a tuple of them where it has several outputs."""
        try:
            given = inspect.signature(self.fn).bind(*args, **attrs).arguments
        except TypeError as e:
            raise RuleError(f"function '{self.domain}::{self.name}': {e}") from e
        call = Call(
            self.name,
            tuple(given[n] for n in self.inputs),
            {n: self._typed(n, given[n]) for n in self.attributes if n in given},
            self.domain,
            self.outputs,
        )
        call.function = self
        return call if self.outputs == 1 else tuple(Output(call, i) for i in range(self.outputs))

    def _typed(self, name: str, value: Any) -> Any:
        return value if isinstance(value, Term) else ATTRIBUTES[self.kinds[name].attr][1](value)

    def results(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """What the body gives for these inputs and attributes."""
        try:
            given = self.fn(**values)
        except Exception as e:
            raise RuleError(f"function '{self.domain}::{self.name}' failed with {type(e).__name__}: {e}") from e
        return given if isinstance(given, tuple) else (given,)

    def proto(self, opsets: Mapping[str, int]) -> tuple[FunctionProto, tuple[Definition, ...]]:
        """The function as a message for a model of these operator sets, and the functions that its body calls.

        Raises:
            Declined: the body cannot be written in these operator sets.
        """
        return _proto(self, tuple(sorted(opsets.items())))

    def __repr__(self) -> str:
        return f"<function {self.domain}::{self.name}({', '.join(self.kinds)})>"


@cache
def _proto(definition: Definition, opsets: tuple[tuple[str, int], ...]) -> tuple[FunctionProto, tuple[Definition, ...]]:
    from graphopt.rewrite.body import write_body

    return write_body(definition, dict(opsets))


def function(domain: str, *, version: int = 1) -> Callable[[Callable[..., Any]], Definition]:
    """Make an operator of a function that says, as a side of a rule does, what it computes in other operators.

        @function("com.example")
        def BiasGelu(x, b):
            return op.Gelu(x + b)

    Parameters are inputs; those annotated Int, Ints, Float, Floats or Str are attributes, which may have a default. A rule that
    writes `BiasGelu(x, b)` puts the body into the model, once, as a model-local function.

    Args:
        domain: of the operator; not one of ONNX's own.
        version: of the domain, for models that do not import it yet.

    Raises:
        RuleError: the body fails, gives no operators, or has parameters that a function cannot have.
    """
    if not isinstance(domain, str) or not domain or domain.startswith("ai.onnx"):
        raise RuleError(f"function: {domain!r} must be a domain of your own, as in @function('com.example')")
    return lambda fn: _make(fn, domain, version)


def _make(fn: Callable[..., Any], domain: str, version: int) -> Definition:
    who = f"function '{domain}::{fn.__name__}'"
    kinds = kinds_of(fn)
    parameters = inspect.signature(fn).parameters
    defaults = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
    for n, kind in kinds.items():
        attribute = kind.role == "attr" and kind.attr in ATTRIBUTES and not kind.optional
        if not attribute and (kind.role != "tensor" or kind.optional or n in defaults):
            raise RuleError(
                f"{who}: parameter '{n}' must be an input that is always there, or an attribute: "
                "annotate it Int, Ints, Float, Floats or Str"
            )
    code = fn.__code__
    made = Definition(
        fn.__name__, domain, version, fn, kinds, {n: ATTRIBUTES[kinds[n].attr][1](v) for n, v in defaults.items()},
        1, f"{code.co_filename}:{code.co_firstlineno}", inspect.getdoc(fn) or "",
    )  # fmt: skip
    results = made.results({n: Parameter(n, k.attr) if k.role == "attr" else Var(n, k) for n, k in kinds.items()})
    for r in results:
        if not isinstance(r, (Call, Output)):
            raise RuleError(f"{who}: the body must return operators applied to something, not {r!r}")
    _check(who, results)
    return replace(made, outputs=len(results))


def _check(who: str, terms: tuple[Any, ...]) -> None:
    """Raise RuleError where a term is none of those that a body may be made of."""
    stack = list(terms)
    while stack:
        t = stack.pop()
        if isinstance(t, Output):
            stack.append(t.call)
        elif isinstance(t, Call):
            stack += t.args
        elif isinstance(t, (Alternatives, Rest, Leaf, Constant)):
            raise RuleError(f"{who}: {t!r} has no place in a body, which says one thing")
