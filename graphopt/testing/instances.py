"""From a rule's declaration to models in which it should fire: its left side, built, with something around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto

from graphopt.ir import COMMUTATIVE_OPS, Node, Value, op_schema
from graphopt.rewrite import Rule
from graphopt.rewrite.compile import _BAG_LIMIT, _BAG_OPS
from graphopt.rewrite.rule import Variant, Walker
from graphopt.rewrite.terms import Call, Output, Rest, Term, Var
from graphopt.testing import recipes
from graphopt.testing.builder import Builder, Invalid
from graphopt.testing.choices import Choices, Draw
from graphopt.testing.hints import Hints, hints_of
from graphopt.testing.operators import Site, operands_of
from graphopt.testing.operators.elementwise import FLOATING, broadcasting
from graphopt.testing.signature import HIGHEST_RANK, Signature, arguments, opsets_of
from graphopt.testing.values import array as draw_array
from graphopt.testing.values import np_dtype

Shape = tuple[int, ...]
_RESHAPING = frozenset("Transpose Split Slice Pad Tile".split())
_KINDS = ((5, "array"), (4, "number"), (2, "dims"))
_STYLES = ((5, "plain"), (2, "positive"), (1, "large"), (1, "small"), (2, "whole"), (1, "binary"))


@dataclass(frozen=True)
class Instance:
    """A model in which a rule should fire.

    Attributes:
        model: it is valid.
        feeds: inputs for it.
        variant: which of the rule's variants it was made from.
        finite: whether all values in it are numbers of moderate size.
    """

    model: ModelProto
    feeds: dict[str, Any]
    variant: int
    finite: bool


@st.composite
def instances(
    draw: Draw, rule: Rule, decoys: bool = True, style: str | None = None, variant: int | None = None
) -> Instance | str:
    """A strategy for instances of a rule; text where what was drawn is no valid model, which says why.

    Args:
        decoys: put something around the left side: inner values that escape, other users, an If with the same inside.
        variant: which of the rule's variants; None: any.
        style: of all numbers (see `tensors`); None: now this, now that, and NaN and infinities where the rule is exact.
    """
    choices = Choices(draw)
    k = choices.integer(0, len(rule.variants) - 1) if variant is None else variant
    try:
        return _instance(choices, rule, k, decoys, style)
    except Invalid as e:
        return str(e)


def _instance(choices: Choices, rule: Rule, k: int, decoys: bool, style: str | None) -> Instance:
    variant = rule.variants[k]
    versions = opsets_of(variant)
    if not versions:
        raise Invalid("no opset has all these operators")
    domains = {c.domain: 1 for c in variant.calls if c.domain}
    builder = Builder(choices, _opset(choices, rule, versions), domains)
    for size, name in ((2, "N"), (3, "M"), (4, "K")):
        if choices.chance(2):
            builder.names[size] = name
    builder.vague = choices.chance(8)
    special = rule.exact and style is None and choices.chance(3)
    style = style or choices.weighted(_STYLES)
    left = LeftSide(builder, rule, variant, style, special)
    if decoys and choices.chance(8):
        roots = _inside_if(left)
    else:
        roots = left.build()
    _surround(builder, left, roots, decoys)
    model = builder.finish()
    arrays = [a for v, a in builder.arrays.items() if isinstance(a, np.ndarray) and a.dtype.kind in "fV" and v.dtype]
    return Instance(model, builder.feeds, k, all(map(_moderate, arrays)))


def _opset(choices: Choices, rule: Rule, versions: Sequence[int]) -> int:
    """An opset, mostly one that has every operator which the rule's body mentions: it may be going to write it."""
    all_there = [v for v in versions if all(op_schema(name, v) is not None for name in hints_of(rule).own_operators)]
    options = all_there if all_there and not choices.chance(8) else versions
    return choices.weighted([(3 if i < 4 else 1, v) for i, v in enumerate(options)])


def _moderate(array: np.ndarray) -> bool:
    wide = np.abs(array.astype(np.float64))
    return bool((wide < (1e3 if array.dtype.itemsize == 2 else 1e6)).all())


# ------------------------------------------------------------------------------------------------------- the left side
class LeftSide:
    """Builds a variant of a rule's left side, and binds its parameters on the way.

    Attributes:
        bound: values and attributes by parameter.
        letters: sizes by the letters of shape annotations.
        made: outputs by call.
        kinds: what parameters of nodes were, by name; and notes of the operators' functions.
        wanted: the shape that would suit what stands beside a call.
    """

    def __init__(self, builder: Builder, rule: Rule, variant: Variant, style: str, special: bool) -> None:
        self.builder = builder
        self.choices = builder.choices
        self.rule = rule
        self.variant = variant
        self.style = style
        self.special = special
        self.hints: Hints = hints_of(rule)
        self.walker = Walker(variant.choices)
        for r in rule.left:
            self.walker.resolve(r)
        found: list[Call] = []
        for r in variant.roots:
            self.walker.walk(r, found)
        self.signature = Signature(rule, variant, self.walker, builder.model.opsets)
        self.signature.choose_dtypes(self.choices, self.hints.dtypes)
        self._favour_permutations()
        self.bound: dict[str, Any] = {}
        self.kinds: dict[str, list[Any]] = {}
        self.letters: dict[str, int] = {}
        self.made: dict[int, list[Value]] = {}
        self.wanted: dict[int, Shape] = {}
        self.uses = self._uses()

    def _favour_permutations(self) -> None:
        """Ask for the rank of a permutation that the rule mentions."""
        mentioned = [p for p in self.hints.lists if len(p) > 1 and sorted(p) == list(range(len(p)))]
        if mentioned and not self.choices.chance(3):
            rank = len(self.choices.one(mentioned))
            for call in self.variant.calls:
                if call.op == "Transpose":
                    self.signature.narrow(self.walker.resolve(call.args[0]), rank, rank)

    def build(self) -> list[Value]:
        """Put everything in; the values that the rule is to replace."""
        return [self.value(root) for root in self.variant.roots]

    def value(self, term: Any) -> Value:
        """The value of a call, or of an output of one."""
        if isinstance(term, Output):
            return self.call(term.call)[term.index]
        return self.call(term)[0]

    def call(self, call: Call) -> list[Value]:
        if id(call) not in self.made:
            bag = self._operands(call)
            self.made[id(call)] = [self._sum(call, bag)] if bag is not None else self._single(call)
        return self.made[id(call)]

    def site(self, call: Call, args: Sequence[Any], bag: bool = False) -> PatternSite:
        """Where the node for a call is made."""
        return PatternSite(self, call, args, bag)

    def _single(self, call: Call) -> list[Value]:
        args = arguments(call, self.walker)
        known = operands_of(call.op)
        if known is None:
            raise Invalid(f"how {call.op} likes its operands is not known")
        site = self.site(call, args)
        known.choose(site)
        if call.op in COMMUTATIVE_OPS and len(args) == 2 and set(site.inputs) == {0, 1} and self.choices.integer(0, 1):
            site.inputs = {0: site.inputs[1], 1: site.inputs[0]}
        return site.emit()

    def _sum(self, call: Call, operands: list[Any]) -> Value:
        """A sum or product of several, put together in any order."""
        site = self.site(call, operands, bag=True)
        broadcasting(site, range(len(operands)))
        values = [site.inputs[i] for i in range(len(operands))]
        while len(values) > 1:
            a = values.pop(self.choices.integer(0, len(values) - 1))
            b = values.pop(self.choices.integer(0, len(values) - 1))
            values.insert(0, self.builder.node(call.op_type, [a, b])[0])
        return values[0]

    def _operands(self, call: Call) -> list[Any] | None:
        """The operands of a sum or product of three or more, where the rule takes them in any order."""
        if call.op not in _BAG_OPS or self.rule.exact or len(call.args) != 2:
            return None
        out: list[Any] = []

        def flatten(c: Call) -> None:
            for a in arguments(c, self.walker):
                if isinstance(a, Call) and a.op == call.op and len(a.args) == 2 and self.uses[id(a)] == 1:
                    flatten(a)
                else:
                    out.append(a)

        flatten(call)
        return out if 3 <= len(out) <= _BAG_LIMIT else None

    def _uses(self) -> dict[int, int]:
        uses: dict[int, int] = {}
        for term in [a for c in self.variant.calls for a in arguments(c, self.walker)] + list(self.variant.roots):
            if isinstance(term, (Call, Output)):
                key = id(term.call if isinstance(term, Output) else term)
                uses[key] = uses.get(key, 0) + 1
        return uses

    # ---------------------------------------------------------------- variables
    def tensor(self, var: Var, dtype: int, shape: Shape, style: str, array: np.ndarray | None) -> Value:
        """What a parameter that is a tensor or a constant stands for, made when it is first asked for."""
        if var.name not in self.bound:
            if array is None:
                shape = self.annotated(var, shape)
                array = self._constant(var, dtype, shape, style) if var.kind.role == "const" else None
            elif var.kind.dims is not None and self.annotated(var, array.shape) != array.shape:
                raise Invalid(f"'{var.name}' has another shape")
            self.bound[var.name] = self._made(var, dtype, shape, style, array)
        found = self.bound[var.name]
        assert isinstance(found, Value)
        return found

    def _made(self, var: Var, dtype: int, shape: Shape, style: str, array: np.ndarray | None) -> Value:
        if var.kind.role == "const":
            assert array is not None
            return self.builder.constant(array, var.name)
        if array is not None:
            dims = array.dtype == np.int64 and array.ndim == 1 and array.size > 0
            if dims and any(d in self.builder.names for d in array.tolist()) and not self.choices.chance(4):
                return recipes.assembled(self.builder, array)
            make = self.builder.input if self.choices.chance(3) else self.builder.constant
            return make(array, var.name)
        vector = dtype == TensorProto.INT64 and len(shape) == 1 and bool(self.hints.operators)
        if vector or self.choices.chance(2 if len(self.variant.calls) < 3 else 3 if self.hints.operators else 8):
            found = recipes.derived(self.builder, self.source, dtype, shape, self.hints.operators)
            if found is not None:
                return found
        if self.choices.chance(12):
            return self.builder.constant(self.numbers(dtype, shape, style), var.name)
        return self.builder.input(self.numbers(dtype, shape, style), var.name)

    def source(self, dtype: int, shape: Shape) -> Value:
        """An input, or one that is there already."""
        same = [v for v in self.builder.model.graph.inputs if v.dtype == dtype and self.builder.arrays[v].shape == shape]
        if same and self.choices.chance(2):
            return self.choices.one(same)
        return self.builder.input(self.numbers(dtype, shape, "plain"))

    def numbers(self, dtype: int, shape: Shape, style: str) -> np.ndarray:
        """Values of a tensor that is no constant."""
        style = self.style if style == "plain" else style
        return draw_array(self.choices, dtype, shape, style, self.special and dtype in FLOATING)

    def _constant(self, var: Var, dtype: int, shape: Shape, style: str) -> np.ndarray:
        """Values of a constant: any, or one number everywhere, which the rule may be waiting for."""
        if var.kind.fill is not None:
            signed = not var.kind.fill and dtype in FLOATING and self.choices.chance(3)
            return np.full(shape, -0.0 if signed else var.kind.fill).astype(np_dtype(dtype))
        special = self.special and dtype in FLOATING
        whole = dtype in (TensorProto.INT64, TensorProto.INT32)
        kind = self.choices.weighted(((3, "array"), (5, "number"), (1, "dims")) if whole else _KINDS)
        if kind == "array" or dtype == TensorProto.STRING:
            if style == "plain":
                style = "fraction" if self.choices.chance(6) and self.style == "plain" else self.style
            return draw_array(self.choices, dtype, shape, style, special)
        number = np.asarray(self.number() if kind == "number" else self.choices.one(self._counts()))
        if dtype == TensorProto.BOOL:
            return np.full(shape, bool(number))
        if dtype not in FLOATING and number != np.round(number):
            number = np.asarray(1)
        with np.errstate(all="ignore"):
            return np.full(shape, number).astype(np_dtype(dtype))

    def number(self) -> float:
        """A number that the rule may be waiting for: more often than not one that its own body mentions."""
        around = self.around()
        if around and self.choices.chance(3):
            return self.choices.one(around)
        own = self.hints.numbers[: self.hints.own_numbers or 2]
        return self.choices.one(self.hints.numbers if self.choices.chance(3) else own)

    def around(self) -> list[float]:
        """Numbers that parameters stand for already, and their reciprocals: a rule may ask for two that fit together."""
        found: list[float] = []
        for v in self.bound.values():
            if isinstance(v, float):
                found.append(v)
            elif isinstance(v, Value) and v.const is not None and v.const.size == 1 and v.dtype in FLOATING:
                found.append(float(self.builder.arrays[v].reshape(())))
        return [n for v in found if v and abs(v) < 1e4 for n in (1 / v, v)]

    def _counts(self) -> list[float]:
        """How many elements of one tensor there are for one of another, as means divide by; sizes; their roots."""
        arrays = [a for a in self.builder.arrays.values() if isinstance(a, np.ndarray)][-4:]
        sizes = [max(a.size, 1) for a in arrays]
        found = [p / q for p in sizes for q in sizes[::-1] if p > q]
        found += [float(d) for a in arrays[-1:] for d in a.shape if d]
        options = [f(n) for n in dict.fromkeys(found) for f in (float, lambda n: 1 / n)]
        return [*options, *(f(n) for n in found[:2] for f in (math.sqrt, lambda n: 1 / math.sqrt(n)))] or [1.0]

    def annotated(self, var: Var, shape: Shape) -> Shape:
        """The shape that a parameter's annotation asks for, as close to a proposed one as can be."""
        dims = var.kind.dims
        if dims is None:
            return shape
        lead: Shape = ()
        if dims[:1] == ("...",):
            dims = dims[1:]
            lead = shape[: max(len(shape) - len(dims), 0)]
        proposed = (*shape[len(lead) :], *[2] * len(dims))
        out = []
        for letter, d in zip(dims, proposed):
            if letter.isdigit():
                out.append(int(letter))
            elif letter == "_":
                out.append(d)
            else:
                out.append(self.letters.setdefault(letter, d))
        return (*lead, *out)


class PatternSite(Site):
    """A call of a pattern as a site: operands are the rule's parameters and calls, parameters of the node likewise."""

    def __init__(self, left: LeftSide, call: Call, args: Sequence[Any], bag: bool = False) -> None:
        expanded: list[Any] = []
        for a in args:
            if not isinstance(a, Rest):
                expanded.append(a)
            elif a.var.name in left.bound:
                expanded += left.bound[a.var.name]
            else:
                count = left.choices.weighted(((4, 2), (2, 3), (2, 1), (1, 4))) - (len(args) > 1 and left.choices.integer(0, 1))
                own = [int(n) for n in left.hints.numbers[: left.hints.own_numbers] if n in (1, 2, 3, 4)]
                if own and left.choices.integer(0, 1):
                    count = left.choices.one(own)
                expanded += [(a.var, k) for k in range(count)]
        super().__init__(left.builder, call.op_type, call.domain, call.outputs, len(expanded))
        self.left = left
        self.call = call
        self.args = expanded
        self.bag = bag
        self.operators = left.hints.operators
        for i, a in enumerate(expanded):
            if isinstance(a, (Call, Output)):
                if (beside := self._beside()) is not None:
                    left.wanted[id(a.call if isinstance(a, Output) else a)] = beside
                self.inputs[i] = left.value(a)
            elif isinstance(a, Value):
                self.inputs[i] = a
            elif isinstance(a, Var):
                p = self.schema.input_param(0 if bag else i)
                if p is None:
                    if not a.kind.optional:
                        raise Invalid(f"{call.op} takes no input {i} at this opset")
                    left.bound.setdefault(a.name, None)
                if a.kind.optional and a.name not in left.bound and p is not None and p.optional and left.choices.chance(3):
                    left.bound[a.name] = None
                if isinstance(left.bound.get(a.name), Value):
                    self.inputs[i] = left.bound[a.name]

    def _beside(self) -> Shape | None:
        """The shape of an operand that is there, where the operator is elementwise and others should fit."""
        known = operands_of(self.call.op)
        if known is None or len(known.carries) < 2 or self.call.op == "Concat":
            return self.wanted if known is not None and known.carries == (0,) and self.call.op not in _RESHAPING else None
        shapes = [s for i in self.inputs if (s := self.shape(i)) is not None]
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

    def wants(self, i: int) -> bool:
        if i >= len(self.args) or self.args[i] is None:
            return False
        a = self.args[i]
        return not (isinstance(a, Var) and a.name in self.left.bound and self.left.bound[a.name] is None)

    def known_shape(self, i: int) -> Shape | None:
        a = self.args[i] if i < len(self.args) else None
        if isinstance(a, Var) and a.kind.dims is not None and a.kind.dims[:1] != ("...",):
            if all(d.isdigit() or d in self.left.letters for d in a.kind.dims):
                return self.left.annotated(a, ())
        if isinstance(a, (Term, tuple, type(None))):
            return None
        return None if isinstance(a, (bool, int, float)) else np.shape(a)

    def make(self, i: int, shape: Shape, style: str, array: np.ndarray | None) -> Value:
        a = self.args[i]
        dtype = self.dtype(i)
        if isinstance(a, Var):
            return self.left.tensor(a, dtype, shape, style, array)
        if isinstance(a, tuple):
            if array is None and self.choices.chance(2 if self.operators else 6):
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
            cast = cast.reshape((1,) * self.choices.weighted(((3, 0), (1, self.choices.integer(0, max(others, default=0))))))
        return self.builder.constant(cast)

    def ranks(self, i: int) -> tuple[int, int]:
        a = self.args[i]
        var = a[0] if isinstance(a, tuple) else a
        if isinstance(var, (bool, int, float)):
            return 0, 0
        return self.left.signature.ranks.get(var.name if isinstance(var, Var) else id(var), (0, HIGHEST_RANK))

    def output_ranks(self) -> tuple[int, int]:
        return self.left.signature.ranks.get(id(self.call), (0, HIGHEST_RANK))

    @property
    def wanted(self) -> Shape | None:
        return self.left.wanted.get(id(self.call))

    def mentions(self, name: str) -> bool:
        return name in self.call.attrs or any(k.startswith("**") for k in self.call.attrs)

    def decided(self, name: str) -> Any:
        written = self.call.attrs.get(name)
        return self.left.bound.get(written.name) if isinstance(written, Var) else written

    def note(self, kind: str, value: Any) -> None:
        self.left.kinds.setdefault(kind, []).append(value)

    def dtype(self, i: int) -> int:
        return self.left.signature.dtype(self.call, 0 if self.bag else i)

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
                    value = left.signature.output_dtype(self.call) if name == "to" else options()
                    left.bound[key] = value
            value = left.bound[key]
        elif name in self.call.attrs:
            value = written
        elif (rest := next((v for k, v in self.call.attrs.items() if k.startswith("**")), None)) is not None:
            decided = left.bound.setdefault(rest.name, {})
            if name not in decided:
                decided[name] = left.signature.output_dtype(self.call) if name == "to" else self._sometimes(options, default)
            value = decided[name]
        else:
            return default
        if value is not None:
            self.note(name, value)
        return value

    def _sometimes(self, options: Callable[[], Any], default: Any) -> Any:
        """Attributes that nobody names are defaults more often than not."""
        return default if default is not None and not self.choices.chance(3) else options()

    def pieces(self, axis: int) -> bool:
        """Parts of one tensor: a Split, Slices next to each other, or elements one by one."""
        free = [i for i in range(self.count) if not self.given(i)]
        able = self.operators & {"Split", "Slice", "Gather", "Shape"}
        if len(free) < self.count or len(free) < 2 or not able or not self.choices.chance(2):
            return False
        return _pieces(self, free, axis, able)


def _pieces(s: PatternSite, free: list[int], axis: int, able: frozenset[str]) -> bool:
    shape = s.new_shape(0, axis + 1)
    sizes = [max(s.dim(), 1) for _ in free]
    whole = (*shape[:axis], sum(sizes), *shape[axis + 1 :])
    b = s.builder
    x = s.left.source(s.dtype(0), whole)
    if "Split" in able and s.choices.integer(0, 1):
        by_attribute = "split" in b.schema("Split").attributes
        given = [] if by_attribute else [b.constant(np.array(sizes, np.int64))]
        parts = b.node("Split", [x, *given], {"axis": axis, **({"split": sizes} if by_attribute else {})}, len(sizes))
    else:
        ends = np.cumsum(sizes).tolist()
        parts = []
        for start, end in zip([0, *ends], ends, strict=False):
            stop = 2**31 - 1 if end == ends[-1] and s.choices.integer(0, 1) else end
            if "starts" in b.schema("Slice").attributes:
                parts += b.node("Slice", [x], {"starts": [start], "ends": [stop], "axes": [axis]})
            else:
                parts += b.node("Slice", [x, *(b.constant(np.array([k], np.int64)) for k in (start, stop, axis))])
    s.inputs.update(zip(free, parts, strict=True))
    return True


# ------------------------------------------------------------------------------------------------------------- around it
def _surround(builder: Builder, left: LeftSide, roots: Sequence[Value], decoys: bool) -> None:
    """Outputs, and other users of what is there."""
    choices = builder.choices
    for root in roots:
        shown = root
        if decoys and choices.chance(3):
            shown = _used(builder, root)
            if choices.chance(3):
                builder.output(root)
        builder.output(shown)
    if not decoys:
        return
    inner = [v for values in left.made.values() for v in values if v not in roots and v.graph is builder.model.graph]
    if inner and choices.chance(5):  # it escapes
        v = choices.one(inner)
        builder.output(v if choices.integer(0, 1) else _used(builder, v))
    given = [v for v in left.bound.values() if isinstance(v, Value) and v.graph is builder.model.graph]
    if given and choices.chance(4):
        builder.output(_used(builder, choices.one(given)))


def _used(builder: Builder, v: Value) -> Value:
    """Something that reads a value."""
    numeric = v.dtype in (TensorProto.FLOAT, TensorProto.DOUBLE)
    return builder.node(builder.choices.one(["Abs", "Neg"]) if numeric else "Identity", [v])[0]


def _nothing(a: np.ndarray) -> np.ndarray:
    """Zeros, or empty texts."""
    return np.full(a.shape, "", object) if a.dtype == object else np.zeros_like(a)


def _inside_if(left: LeftSide) -> list[Value]:
    """The left side in a branch of an If; what it reads lies around it."""
    builder = left.builder
    condition = builder.input(np.array(not builder.choices.chance(6)), "condition")
    with builder.body("then") as then:
        roots = left.build()
        arrays = [builder.arrays[r] for r in roots]
        builder.end_body(then, roots)
    with builder.body("otherwise") as otherwise:
        zeros = [builder.constant(_nothing(a)) for a in arrays]
        builder.end_body(otherwise, zeros)
    node = Node("If", [condition], attributes={"then_branch": then, "else_branch": otherwise})
    node.subgraphs = [then, otherwise]
    made = builder.add(node, len(roots), "y")
    taken = arrays if bool(builder.arrays[condition]) else list(map(_nothing, arrays))
    for v, a in zip(made, taken, strict=True):
        builder.settle(v, a)
    return made
