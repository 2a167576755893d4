"""A call of a pattern as a site: operands are the rule's parameters and calls, the node's parameters likewise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.ir import Value
from graphopt.rewrite.terms import Call, Output, Rest, Term, Var
from graphopt.testing.building import recipes
from graphopt.testing.building.builder import Invalid
from graphopt.testing.declarations.signature import HIGHEST_RANK
from graphopt.testing.operators import Site, operands_of
from graphopt.testing.operators.elementwise import FLOATING
from graphopt.testing.values import np_dtype

if TYPE_CHECKING:
    from graphopt.testing.declarations.left_side import LeftSide

Shape = tuple[int, ...]
_RESHAPING = frozenset("Transpose Split Slice Pad Tile".split())


class PatternSite(Site):
    """A call of a pattern as a site: operands are the rule's parameters and calls, parameters of the node likewise."""

    def __init__(self, left: LeftSide, call: Call, args: Sequence[Any], bag: bool = False) -> None:
        self.larger = any("become larger" in w or "made larger" in w for w in left.hints.words)
        expanded: list[Any] = []
        for a in args:
            if not isinstance(a, Rest):
                expanded.append(a)
            elif a.var.name in left.bound:
                expanded += left.bound[a.var.name]
            else:
                count = left.choices.weighted(((4, 2), (2, 3), (2, 1), (1, 4))) - (
                    len(args) > 1 and left.choices.integer(0, 1)
                )
                own = [int(n) for n in left.hints.numbers[: left.hints.own_numbers] if n in (1, 2, 3, 4)]
                if self.larger:  # some of them
                    own = [2, 3, 3]
                if own and not left.choices.chance(3):
                    count = left.choices.one(own)
                expanded += [(a.var, k) for k in range(count)]
        super().__init__(left.builder, call.op_type, call.domain, call.outputs, len(expanded))
        self.left = left
        self.call = call
        self.args = expanded
        self.bag = bag
        self.operators = left.hints.operators
        self.tame = left.tame
        self.beside = frozenset(c.op for c in left.variant.calls)
        self.marks = "OneHot" in left.hints.operators or {"Unsqueeze", "Equal", "Cast", "MatMul"} <= self.beside
        if left.hints.shapes:
            doubted = any("empty" in w or "padding alone" in w or w == "allowzero" for w in left.hints.words)
            self.empty = 4 if doubted else 10
            self.flat = 12 if left.hints.channels else 4
        self.channels = left.hints.channels
        self.batches = left.hints.batches
        self.large = left.hints.large
        self.rows = {(0, 3, 1, 2), (0, 2, 1)} <= set(left.hints.lists)
        self.whole = any("whole blocks of 16" in w for w in left.hints.words)
        self.pointwise = any("not pointwise" in w for w in left.hints.words)
        self.one_output = any("more than one output" in w for w in left.hints.words)
        self.blocks = not self.whole and any("blocks" in w.lower() for w in left.hints.words)
        self.pairs = any("neighbours" in w or "twice in a row" in w for w in left.hints.words)
        known = operands_of(call.op)
        if known is not None and known.plan is not None and any(isinstance(a, (Call, Output)) for a in expanded):
            self.planned = known.plan(self)
        for i, a in enumerate(expanded):
            if isinstance(a, (Call, Output)):
                suits = self.planned[i] if i in self.planned else self._beside()
                if suits is not None:
                    left.wanted[id(a.call if isinstance(a, Output) else a)] = suits
                self.inputs[i] = left.value(a)
            elif isinstance(a, Value):
                self.inputs[i] = a
            elif isinstance(a, Var):
                p = self.schema.input_param(0 if bag else i)
                if p is None:
                    if not a.kind.optional:
                        raise Invalid(f"{call.op} takes no input {i} at this opset")
                    left.bound.setdefault(a.name, None)
                if (
                    a.kind.optional
                    and a.name not in left.bound
                    and p is not None
                    and p.optional
                    and left.choices.chance(3)
                ):
                    left.bound[a.name] = None
                if isinstance(left.bound.get(a.name), Value):
                    self.inputs[i] = left.bound[a.name]

        for i, a in enumerate(expanded):  # what another operand needed, too
            if isinstance(a, Var) and isinstance(left.bound.get(a.name), Value):
                self.inputs.setdefault(i, left.bound[a.name])

    def _beside(self) -> Shape | None:
        """The shape of an operand that is there, where the operator is elementwise and others should fit."""
        known = operands_of(self.call.op)
        if known is None or len(known.carries) < 2 or self.call.op == "Concat":
            return (
                self.wanted if known is not None and known.carries == (0,) and self.call.op not in _RESHAPING else None
            )
        shapes = [s for i in self.inputs if (s := self.shape(i)) is not None]
        asked = [a for a in self.args if isinstance(a, Var) and a.kind.dims and a.kind.dims[:1] != ("...",)]
        if asked and not shapes and self.wanted is None:  # as another operand has to be
            dims = [self.dim() for _ in asked[0].kind.dims]
            parts = [len(a.args) for a in self.args if isinstance(a, Call) and a.op == "Concat"]
            if parts:  # which are put together
                dims[-1] = parts[0] * self.choices.integer(1, 6)
            shapes = [self.left.annotated(asked[0], tuple(dims))]
        return max(shapes, key=len) if shapes else self.wanted

    def emit(self, hint: str = "") -> list[Value]:
        rest: dict[str, list[Value]] = {}
        for i, a in enumerate(self.args):
            if isinstance(a, tuple):
                rest.setdefault(a[0].name, []).append(self.inputs[i])
        self.left.bound.update({name: tuple(values) for name, values in rest.items()})
        return super().emit(hint)

    def at_most(self, outputs: int) -> None:
        if self.outputs > outputs:
            raise Invalid(f"{self.op_type} has no such output here")

    def besides(self, outputs: int) -> None:
        if self.choices.chance(16):
            self.outputs = max(self.outputs, outputs)

    def wants(self, i: int) -> bool:
        if i >= len(self.args) or self.args[i] is None:
            return False
        a = self.args[i]
        return not (isinstance(a, Var) and a.name in self.left.bound and self.left.bound[a.name] is None)

    def may(self, i: int, there: bool = True) -> bool:
        a = self.args[i] if i < len(self.args) else None
        undecided = isinstance(a, Var) and a.kind.optional and a.name not in self.left.bound
        return (undecided and not there) or super().may(i, there)

    def insist(self, i: int, there: bool = True) -> None:
        super().insist(i, there)
        a = self.args[i] if i < len(self.args) else None
        if not there and isinstance(a, Var) and a.kind.optional:
            self.left.bound.setdefault(a.name, None)

    def known_shape(self, i: int) -> Shape | None:
        a = self.args[i] if i < len(self.args) else None
        if isinstance(a, Var):
            dims = a.kind.dims
            settled = dims is not None and all(d.isdigit() or d in self.left.letters for d in dims)
            return self.left.annotated(a, ()) if settled else None
        if isinstance(a, (Term, tuple, type(None))):
            return None
        return None if isinstance(a, (bool, int, float)) else np.shape(a)

    def take(self, i: int, v: Value) -> None:
        a = self.args[i] if i < len(self.args) else None
        if i not in self.inputs and isinstance(a, Var) and a.kind.role == "tensor" and a.name not in self.left.bound:
            self.inputs[i] = self.left.bound[a.name] = v

    def make(self, i: int, shape: Shape, style: str, array: np.ndarray | None) -> Value:
        a = self.args[i]
        dtype = self.dtype(i)
        if isinstance(a, Var):
            return self.left.tensor(a, dtype, shape, style, array, self.inputs.get(0))
        if isinstance(a, tuple):
            often = 1 if "Resize" in self.operators and len(shape) > 2 and shape[1] != 1 else 2 if self.operators else 6
            if array is None and self.choices.chance(often):
                found = recipes.derived(self.builder, self.left.source, dtype, shape, self.operators)
                if found is not None:
                    return found
            return self.builder.input(self.left.numbers(dtype, shape, style) if array is None else array, a[0].name)
        if isinstance(a, Term):
            raise Invalid(f"{a!r} cannot stand here")
        return self._literal(i, a, dtype)

    def _literal(self, i: int, written: Any, dtype: int) -> Value:
        """A constant that the rule writes as a number or an array; a number may have any rank that adds no dims."""
        value = np.asarray(written)
        with np.errstate(all="ignore"):
            cast = value.astype(np_dtype(dtype))
        if dtype not in FLOATING and cast.astype(value.dtype) != value:
            raise Invalid(f"{written} is no number of this dtype")
        if not value.ndim:
            others = [len(s) for k in range(len(self.args)) if k != i and (s := self.shape(k)) is not None]
            cast = cast.reshape(
                (1,) * self.choices.weighted(((3, 0), (1, self.choices.integer(0, max(others, default=0)))))
            )
        return self.builder.constant(cast)

    def ranks(self, i: int) -> tuple[int, int]:
        a = self.args[i]
        var = a[0] if isinstance(a, tuple) else a
        if isinstance(var, (bool, int, float)):
            return 0, 0
        key = var.name if isinstance(var, Var) else id(var.call if isinstance(var, Output) else var)
        return self.left.signature.ranks.get(key, (0, HIGHEST_RANK))

    def output_ranks(self) -> tuple[int, int]:
        return self.left.signature.ranks.get(id(self.call), (0, HIGHEST_RANK))

    @property
    def wanted(self) -> Shape | None:
        return self.left.wanted.get(id(self.call))

    def mentions(self, name: str) -> bool:
        return name in self.call.attrs or any(k.startswith("**") for k in self.call.attrs)

    def written(self, name: str) -> bool:
        return name in self.call.attrs and not isinstance(self.call.attrs[name], Var)

    def decided(self, name: str) -> Any:
        written = self.call.attrs.get(name)
        return self.left.bound.get(written.name) if isinstance(written, Var) else written

    def note(self, kind: str, value: Any) -> None:
        self.left.kinds.setdefault(kind, []).append(value)

    def dtype(self, i: int) -> int:
        return self.left.signature.dtype(self.call, 0 if self.bag else i)

    def needs(self, name: str) -> bool:
        written = self.call.attrs.get(name)
        return isinstance(written, Var) and not written.kind.optional

    def asks(self, name: str) -> bool:
        return name in self.left.hints.nearby

    def single(self, i: int) -> bool:
        a = self.args[i]
        return self.left.hints.single and isinstance(a, Var) and a.kind.role == "const"

    def recent(self, kind: str) -> list[Any]:
        return self.left.kinds.get(kind, [])

    def hinted(self, length: int) -> list[list[int]]:
        return [list(found) for found in self.left.hints.lists if len(found) == length]

    def numbers(self) -> list[float]:
        hints = self.left.hints
        around = self.left.around()
        if around and self.choices.chance(4):
            return around
        own = hints.numbers[: hints.own_numbers]
        return list(own if own and not self.choices.chance(3) else hints.numbers)

    def decide(self, name: str, options: Callable[[], Any], default: Any) -> Any:
        left = self.left
        written = self.call.attrs.get(name)
        if isinstance(written, Var):
            key = written.name
            if key not in left.bound:
                if written.kind.optional and self.choices.chance(3):
                    left.bound[key] = None
                else:
                    asked = left.hints.values.get(key, ())
                    if name == "perm":  # of as many dims as there are
                        asked = tuple(p for p in asked if len(p) == len(self.shape(0) or p))
                    if name == "to":
                        left.bound[key] = left.signature.output_dtype(self.call)
                    else:
                        left.bound[key] = self.choices.one(asked) if asked and self.choices.integer(0, 1) else options()
            value = left.bound[key]
        elif name in self.call.attrs:
            value = written
        elif (rest := self._rest()) is not None:
            decided = self._attributes_of(rest.name)
            if name not in decided:
                recent = self.recent(name) if self.repeats else []
                other = left.bound.get(left.hints.alike.get(rest.name, ""), {})
                if recent:
                    decided[name] = options() if self.choices.chance(4) else recent[-1]
                elif name in other and not self.choices.chance(6):
                    decided[name] = other[name]
                elif name == "to":
                    decided[name] = left.signature.output_dtype(self.call)
                else:
                    decided[name] = self._sometimes(name, options, default)
            value = decided[name]
        else:
            return default
        if value is not None:
            self.note(name, value)
        return value

    def _rest(self) -> Var | None:
        """The parameter that stands for all attributes that the pattern does not name."""
        return next((v for k, v in self.call.attrs.items() if k.startswith("**")), None)

    def _attributes_of(self, rest: str) -> dict[str, Any]:
        """What was decided for it so far; mostly as where the operator stands a second time."""
        bound = self.left.bound
        if rest not in bound:
            twins = [v for op, v in self.left.attributes if op == self.call.op]
            bound[rest] = dict(twins[0]) if twins and not self.choices.chance(3) else {}
            self.left.attributes.append((self.call.op, bound[rest]))
        found: dict[str, Any] = bound[rest]
        return found

    def _sometimes(self, name: str, options: Callable[[], Any], default: Any) -> Any:
        """Attributes that nobody names are defaults more often than not, now and then all of them."""
        rarely = not self.choices.chance(3) and not (name in self.left.hints.nearby and self.choices.integer(0, 1))
        plain = default is not None and (self.left.plain or rarely)
        return default if plain else options()

    def repeated(self) -> bool:
        return len(self.args) > 1 and all(isinstance(a, Var) and a.name == self.args[0].name for a in self.args)

    def pieces(self, axis: int) -> bool:
        """Parts of one tensor: a Split, Slices next to each other, or elements one by one."""
        free = [i for i in range(self.count) if not self.given(i)]
        able = self.operators & {"Split", "Slice", "Gather", "Shape", "Unsqueeze"}
        if len(free) < self.count or not free or not able or self.repeated() or not self.choices.chance(2):
            return False
        return _pieces(self, free, axis, able)


def _pieces(s: PatternSite, free: list[int], axis: int, able: frozenset[str]) -> bool:
    shape = s.new_shape(0, axis + 1)
    if {"Gather", "Unsqueeze"} <= able and s.choices.integer(0, 1):
        return _elements(s, free, axis, shape)
    sizes = [max(s.dim(), 1) for _ in free]
    whole = (*shape[:axis], sum(sizes), *shape[axis + 1 :])
    b = s.builder
    x = s.left.source(s.dtype(0), whole)
    if "Split" in able and s.choices.integer(0, 1):
        by_attribute = "split" in b.schema("Split").attributes
        given = [] if by_attribute else [b.constant(np.array(sizes, np.int64))]
        parts = b.node("Split", [x, *given], {"axis": axis, **({"split": sizes} if by_attribute else {})}, len(sizes))
    else:
        parts = []
        another = s.choices.integer(0, len(free) - 1) if s.choices.chance(8) else -1
        for k, (start, end) in enumerate(_cuts(s, sizes)):
            from_ = s.left.source(s.dtype(0), whole) if k == another else x
            parts.append(_slice(s, from_, start, end, axis))
    s.inputs.update(zip(free, parts, strict=True))
    return True


def _slice(s: PatternSite, x: Value, start: int, end: int, axis: int) -> Value:
    b = s.builder
    if "starts" in b.schema("Slice").attributes:
        return b.node("Slice", [x], {"starts": [start], "ends": [end], "axes": [axis]})[0]
    return b.node("Slice", [x, *(b.constant(np.array([i], np.int64)) for i in (start, end, axis))])[0]


def _elements(s: PatternSite, free: list[int], axis: int, shape: Shape) -> bool:
    """Elements of one tensor, taken one by one along any axis, with their dim as the axis of the operator."""
    b, n = s.builder, max(s.dim(), len(free))
    rest = [*shape[:axis], *shape[axis + 1 :]]
    along = axis if s.choices.integer(0, 1) else s.choices.integer(0, len(rest))
    x = s.left.source(s.dtype(0), (*rest[:along], n, *rest[along:]))
    first, step = s.choices.one([(0, 1), (s.choices.integer(0, n - len(free)), 1), (n - 1, -1)])
    sliced = along == axis and s.choices.integer(0, 1)
    for k, i in enumerate(free):
        at = first + k * step
        if sliced:
            s.inputs[i] = _slice(s, x, at, at + 1, axis)
            continue
        (element,) = b.node("Gather", [x, b.constant(np.array(at, np.int64))], {"axis": along})
        if "axes" in b.schema("Unsqueeze").attributes:
            (s.inputs[i],) = b.node("Unsqueeze", [element], {"axes": [axis]})
        else:
            (s.inputs[i],) = b.node("Unsqueeze", [element, b.constant(np.array([axis], np.int64))])
    return True


def _cuts(s: PatternSite, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Where slices next to each other start and end; now and then they are not quite next to each other, or go back."""
    whole = sum(sizes)
    cuts = [0, *np.cumsum(sizes).tolist()]
    if len(sizes) > 1 and s.choices.chance(4):
        cuts[s.choices.integer(1, len(cuts) - 2)] = s.choices.integer(0, whole)
    written = [c - whole if 0 < c < whole and s.choices.chance(4) else c for c in cuts]
    if s.choices.integer(0, 1):
        written[-1] = 2**31 - 1
    found = list(pairwise(written))
    if s.choices.chance(3):
        k = s.choices.integer(0, len(found) - 1)
        start, end = found[k]
        before = found[k - 1][1]
        found[k] = s.choices.one([(start + 1, end), (end, end), (before - 1, before)])
    return found
