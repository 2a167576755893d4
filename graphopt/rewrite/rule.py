"""`@rule`: a generator function with two yields. The first says what to see, the second what to write."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from graphopt._display import html_of, svg_of
from graphopt.errors import RuleError
from graphopt.rewrite.annotations import Kind, kinds_of
from graphopt.rewrite.equation import right_side, show
from graphopt.rewrite.terms import Alternatives, Call, Output, Rest, Term, Var


@dataclass(frozen=True, slots=True)
class Variant:
    """The left side with one choice made in every `any_of`.

    Attributes:
        roots: the calls whose outputs are replaced, the first one being where matching starts.
        calls: every call of the left side, each once, in the order in which `walk` finds them.
        walker: knows what stands for each alternative.
    """

    roots: tuple[Any, ...]
    choices: tuple[int, ...]
    calls: tuple[Call, ...]
    walker: Walker

    @property
    def op(self) -> str:
        """Operator of the node that matching starts from."""
        return self.calls[0].op


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A rewrite rule.

    Attributes:
        name: the function's name.
        fn: its body.
        exact: claims equality of every bit; otherwise up to rounding.
        kinds: what its parameters stand for.
        left: the first yield with variables in the parameters' places, a tuple where several outputs are replaced.
        variants: `left` with its alternatives written out.
        always: fires although an inner value is used elsewhere and no node is saved.
        since: the first version of ONNX's operator set at which it holds.
        keeps_gradients: both sides have the same derivatives too; training leaves out rules that say otherwise.
    """

    name: str
    fn: Callable[..., Any]
    exact: bool
    always: bool
    kinds: dict[str, Kind]
    left: tuple[Any, ...]
    variants: tuple[Variant, ...]
    where: str
    builtin: bool = field(default=False)
    since: int = 0
    keeps_gradients: bool = True

    @property
    def doc(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.fn) or ""

    @property
    def equation(self) -> str:
        """The rule in one line: left side, arrow, right side."""
        return f"{show(self.left)}  ->  {right_side(self.fn)}"

    @property
    def family(self) -> str:
        """The file that holds the rule: 'convolution', 'activation'..."""
        return self.fn.__module__.rpartition(".")[2]

    def __repr__(self) -> str:
        return f"<rule {self.name}: {self.equation}>"

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_svg_(self) -> str | None:
        return svg_of(self)


@overload
def rule(fn: Callable[..., Any]) -> Rule: ...
@overload
def rule(
    *, exact: bool = False, always: bool = False, since: int = 0, keeps_gradients: bool = True
) -> Callable[[Callable[..., Any]], Rule]: ...
def rule(
    fn: Callable[..., Any] | None = None,
    *,
    exact: bool = False,
    always: bool = False,
    since: int = 0,
    keeps_gradients: bool = True,
) -> Rule | Callable[..., Rule]:
    """Make a rule of a generator function.

    The first `yield` is the pattern, and takes no branch. Python between the yields is the guard: it may read shapes, dtypes
    and attributes, compute on constants with NumPy, and `return` a string that says why the rule does not apply; the next
    binding is tried then. The second `yield` is the replacement; where there are several, the cheapest is taken.

    Args:
        exact: the two sides agree in every bit, so the rule may run at level 1.
        always: apply even where an inner value has other users, so that no node is saved.
        since: the first version of ONNX's operator set at which the operators mean what the rule says.
        keeps_gradients: False: the two sides give the same, but not the same derivatives everywhere. Models are then trained
            without the rule.

    Raises:
        RuleError: the body is no generator, has no pattern, or uses an annotation wrongly.

    >>> @rule(exact=True)
    ... def double_negation(x):
    ...     yield -(-x)
    ...     yield x
    """
    if fn is None:
        return lambda f: _make(f, exact, always, since, keeps_gradients)
    return _make(fn, exact, always, since, keeps_gradients)


def _make(fn: Callable[..., Any], exact: bool, always: bool, since: int, keeps_gradients: bool) -> Rule:
    name = fn.__name__
    if not inspect.isgeneratorfunction(fn):
        raise RuleError(
            f"rule '{name}': write a generator function, with one yield for the pattern and one for the replacement"
        )
    kinds = kinds_of(fn)
    try:
        left = next(
            call_body(fn, kinds, [(Rest(Var(n, k)),) if k.role == "variadic" else Var(n, k) for n, k in kinds.items()])
        )
    except StopIteration:
        raise RuleError(f"rule '{name}': the body ends before its first yield, the pattern") from None
    except RuleError as e:
        raise RuleError(f"rule '{name}': {e}") from e
    except Exception as e:
        hint = "nothing is known of its parameters before the first yield"
        raise RuleError(f"rule '{name}': the pattern failed with {type(e).__name__}: {e}; {hint}") from e
    roots = left if isinstance(left, tuple) else (left,)
    if not roots or not all(isinstance(r, (Call, Output, Alternatives)) for r in roots):
        raise RuleError(f"rule '{name}': the first yield must be an operator applied to something, not {show(left)}")
    variants = tuple(_variants(roots))
    used = _variables(roots)
    for p, kind in kinds.items():
        if p not in used and not (kind.role == "dim" and any(p in k.dims for k in kinds.values() if k.dims)):
            raise RuleError(f"rule '{name}': parameter '{p}' does not appear in the pattern")
    code = fn.__code__
    return Rule(
        name, fn, exact, always, kinds, roots, variants, f"{code.co_filename}:{code.co_firstlineno}",
        fn.__module__.startswith("graphopt.patterns"), since, keeps_gradients,
    )  # fmt: skip


def call_body(
    fn: Callable[..., Any], kinds: dict[str, Kind], values: Sequence[Any]
) -> Generator[Any, None, str | None]:
    """Start a rule's body with these arguments, in the order of its parameters; a variadic one's is a tuple."""
    code = fn.__code__
    if not code.co_flags & inspect.CO_VARARGS and not code.co_kwonlyargcount:
        return fn(*values)
    before: list[Any] = []
    named: dict[str, Any] = {}
    for (name, kind), value in zip(kinds.items(), values, strict=True):
        if kind.role == "variadic":
            before, named = [*named.values(), *value], {}
        else:
            named[name] = value
    return fn(*before, **named)


def _variants(roots: tuple[Any, ...]) -> list[Variant]:
    """All ways to decide the alternatives, found by deciding one more each time one is met."""
    done: list[Variant] = []
    todo: list[tuple[int, ...]] = [()]
    while todo:
        choices = todo.pop(0)
        walker = Walker(choices)
        calls: list[Call] = []
        decided = tuple(walker.resolve(r) for r in roots)
        for r in decided:
            walker.walk(r, calls)
        if walker.open is not None:
            todo.extend((*choices, i) for i in range(len(walker.open.choices)))
        else:
            done.append(Variant(decided, choices, tuple(calls), walker))
    return done


class Walker:
    """Walks the left side in a fixed order, taking the given choice at each alternative, so that the left sides of two
    readings of one body can be laid side by side."""

    def __init__(self, choices: tuple[int, ...]) -> None:
        self.choices = choices
        self.taken: dict[int, int] = {}
        self.open: Alternatives | None = None
        self.uses: dict[int, int] = {}  # how often each call is read, by id; being a root counts

    def resolve(self, term: Any) -> Any:
        """The term itself, or the choice of an alternative (and of one inside it)."""
        while isinstance(term, Alternatives):
            if id(term) not in self.taken:
                k = len(self.taken)
                if k == len(self.choices):
                    if self.open is None:
                        self.open = term
                    return term.choices[0]
                self.taken[id(term)] = self.choices[k]
            term = term.choices[self.taken[id(term)]]
        return term

    def walk(self, term: Any, calls: list[Call]) -> None:
        """Append every call below `term`, each once, parents first."""
        term = self.resolve(term)
        call = term.call if isinstance(term, Output) else term
        if self.open is not None or not isinstance(call, Call):
            return
        self.uses[id(call)] = uses = self.uses.get(id(call), 0) + 1
        if uses > 1:
            return
        calls.append(call)
        for a in call.args:
            self.walk(a, calls)


def _variables(terms: tuple[Any, ...]) -> set[str]:
    """The names of all variables in these terms."""
    found: set[str] = set()
    stack = list(terms)
    while stack:
        t = stack.pop()
        if isinstance(t, Var):
            found.add(t.name)
        elif isinstance(t, Call):
            stack += t.args
            if t.attrs:
                stack += t.attrs.values()
        elif isinstance(t, Output):
            stack.append(t.call)
        elif isinstance(t, Rest):
            found.add(t.var.name)
        elif isinstance(t, Alternatives):
            stack += t.choices
        elif isinstance(t, Term):
            raise RuleError(f"unexpected {t!r} in a pattern")
    return found
