"""The left side of a rule, built: its calls become nodes, its parameters what they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import COMMUTATIVE_OPS, Value
from graphopt.rewrite import Rule
from graphopt.rewrite.outline import BAG_LIMIT, BAG_OPS
from graphopt.rewrite.rule import Variant, Walker
from graphopt.rewrite.terms import Call, Output, Var
from graphopt.testing.building import recipes
from graphopt.testing.building.builder import Builder, Invalid
from graphopt.testing.declarations.hints import Hints, hints_of
from graphopt.testing.declarations.pattern_site import PatternSite, Shape
from graphopt.testing.declarations.signature import Signature, arguments
from graphopt.testing.operators import operands_of
from graphopt.testing.operators.elementwise import FLOATING, broadcasting
from graphopt.testing.values import array as draw_array
from graphopt.testing.values import np_dtype

#: How often a constant is any array, one number everywhere, or a number of elements; and one of integers.
_KINDS = ((5, "array"), (4, "number"), (2, "dims"))
_WHOLE_KINDS = ((3, "array"), (5, "number"), (1, "dims"))
_COUNTING_KINDS = ((2, "array"), (3, "number"), (4, "dims"))
_SINGLE_KINDS = ((3, "array"), (8, "number"), (1, "dims"))
#: Dtypes that rules about positions ask for: theirs, and that of marks.
_OF_POSITIONS = frozenset({TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT})
#: Operators for which the ends of an integer dtype's range are numbers like others.
_BOUNDING = frozenset("Clip Relu Min Max Abs".split())


class LeftSide:
    """Builds a variant of a rule's left side, and binds its parameters on the way.

    Attributes:
        bound: values and attributes by parameter.
        letters: sizes by the letters of shape annotations.
        made: outputs by call.
        kinds: what parameters of nodes were, by name; and notes of the operators' functions.
        attributes: what parameters that stand for all other attributes are, and of which operator.
        wanted: the shape that would suit what stands beside a call.
        bounding: all operators compare and bound: integers may lie at the ends of their dtype's range.
        tame: numbers had best be such as exact arithmetic can follow.
        given: shapes and the like may be inputs of the model, which nobody can look into; None: not decided yet.
        plain: attributes that nobody names are defaults.
        narrow: the rule declines where weights would become too small.
        uneven: constants are small, but for some at one place along an axis.
        doubled: in constants neighbours had best be equal.
        beyond: some constants are larger than 16 bits can hold, and what meets them is small.
        generic: constants are any numbers, none that the rule may be waiting for: where there are many, each special one hides
            something.
    """

    def __init__(
        self, builder: Builder, rule: Rule, variant: Variant, style: str, special: bool, tame: bool = False
    ) -> None:
        self.builder = builder
        self.choices = builder.choices
        self.rule = rule
        self.variant = variant
        self.style = style
        self.special = special
        self.tame = tame
        self.hints: Hints = hints_of(rule)
        self.walker = Walker(variant.choices)
        for r in rule.left:
            self.walker.resolve(r)
        found: list[Call] = []
        for r in variant.roots:
            self.walker.walk(r, found)
        self.signature = Signature(rule, variant, self.walker, builder.model.opsets)
        self.bounding = all(c.op in _BOUNDING for c in variant.calls)
        asked = self.hints.dtypes
        positions = "Range" in self.hints.operators and asked <= _OF_POSITIONS
        if positions and self.choices.integer(0, 1):
            asked = frozenset({TensorProto.INT64})
        if asked == {TensorProto.STRING} and not self.choices.chance(4):  # what names text alone refuses it
            asked = frozenset()
        if not asked and self.hints.operators >= recipes.WITH_WEIGHTS:
            asked = recipes.FLOATING
        if self.bounding:  # wide integers are where bounds that are read as floats go wrong
            asked = frozenset({TensorProto.INT64} if self.choices.chance(2) else ())
        self.narrow = any("become too small" in w for w in self.hints.nearby)
        if self.narrow and self.choices.chance(4):
            asked = frozenset({TensorProto.FLOAT16})
        self.signature.choose_dtypes(self.choices, asked)
        self._favour_permutations()
        self._favour_ranks()
        terms = [a for c in variant.calls for a in arguments(c, self.walker)]
        constants = {a.name for a in terms if isinstance(a, Var) and a.kind.role == "const"}
        self.generic = self.choices.chance(2 if len(constants) > 2 else 5)
        plainly = any("not pointwise" in w or "does more" in w for w in self.hints.words)
        self.plain = self.choices.chance(3) != plainly
        self.uneven = self.beyond = False
        self.doubled = any("neighbours are not equal" in w for w in self.hints.words)
        self.bound: dict[str, Any] = {}
        self.kinds: dict[str, list[Any]] = {}
        self.attributes: list[tuple[str, dict[str, Any]]] = []
        self.letters: dict[str, int] = {}
        self.made: dict[int, list[Value]] = {}
        self.wanted: dict[int, Shape] = {}
        self.given: bool | None = None
        self.uses = self._uses()

    def _favour_permutations(self) -> None:
        """Ask for the rank of a permutation that the rule mentions."""
        mentioned = [p for p in self.hints.lists if len(p) > 1 and sorted(p) == list(range(len(p)))]
        if mentioned and not self.choices.chance(3):
            rank = len(self.choices.one(mentioned))
            for call in self.variant.calls:
                if call.op == "Transpose":
                    perm = call.attrs.get("perm")
                    own = self.hints.values.get(perm.name, ()) if isinstance(perm, Var) else ()
                    own_rank = len(own[0]) if own else rank
                    self.signature.narrow(self.walker.resolve(call.args[0]), own_rank, own_rank)
            self.signature.demand()

    def _favour_ranks(self) -> None:
        """Ask for the ranks that the rule asks its parameters for."""
        for term in [a for c in self.variant.calls for a in arguments(c, self.walker)]:
            if isinstance(term, Var) and (ranks := self.hints.ranks.get(term.name)) and not self.choices.chance(3):
                rank = self.choices.one(ranks)
                low, high = self.signature.ranks.get(term.name, (rank, rank))
                if low <= rank <= high:
                    self.signature.narrow(term, rank, rank)
                    for call in self.variant.calls:
                        if call.op == "Conv" and term in call.args[1:2]:  # whose image has the rank of the weights
                            self.signature.narrow(self.walker.resolve(call.args[0]), rank, rank)
                            self.signature.demand()

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
        if call.op not in BAG_OPS or self.rule.exact or len(call.args) != 2:
            return None
        out: list[Any] = []

        def flatten(c: Call) -> None:
            for a in arguments(c, self.walker):
                if isinstance(a, Call) and a.op == call.op and len(a.args) == 2 and self.uses[id(a)] == 1:
                    flatten(a)
                else:
                    out.append(a)

        flatten(call)
        return out if 3 <= len(out) <= BAG_LIMIT else None

    def _uses(self) -> dict[int, int]:
        uses: dict[int, int] = {}
        for term in [a for c in self.variant.calls for a in arguments(c, self.walker)] + list(self.variant.roots):
            if isinstance(term, (Call, Output)):
                key = id(term.call if isinstance(term, Output) else term)
                uses[key] = uses.get(key, 0) + 1
        return uses

    # ---------------------------------------------------------------- variables
    def tensor(
        self, var: Var, dtype: int, shape: Shape, style: str, array: np.ndarray | None, beside: Value | None = None
    ) -> Value:
        """What a parameter that is a tensor or a constant stands for, made when it is first asked for.

        Args:
            beside: the first operand of who asks for it.
        """
        if var.name not in self.bound:
            if array is None:
                shape = self.annotated(var, shape)
                array = self._constant(var, dtype, shape, style) if var.kind.role == "const" else None
            elif var.kind.dims is not None and self.annotated(var, array.shape) != array.shape:
                raise Invalid(f"'{var.name}' has another shape")
            self.bound[var.name] = self._made(var, dtype, shape, style, array, beside)
        found = self.bound[var.name]
        assert isinstance(found, Value)
        return found

    def _made(
        self, var: Var, dtype: int, shape: Shape, style: str, array: np.ndarray | None, beside: Value | None
    ) -> Value:
        if var.kind.role == "const":
            assert array is not None
            return self.builder.constant(array, var.name)
        if array is not None:
            dims = array.dtype == np.int64 and array.ndim == 1 and array.size > 0
            told = self.builder.vague or (dims and any(d in self.builder.names for d in array.tolist()))
            if dims and told and not self.choices.chance(4):
                return recipes.assembled(self.builder, array, beside)
            if self.given is None:
                self.given = self.choices.chance(2)
            make = self.builder.input if self.given and self.choices.integer(0, 1) else self.builder.constant
            return make(array, var.name)
        vector = dtype == TensorProto.INT64 and len(shape) == 1 and bool(self.hints.operators)
        behind = self.hints.operators >= recipes.WITH_WEIGHTS and not self.choices.chance(4)
        if (
            vector
            or behind
            or self.choices.chance(2 if len(self.variant.calls) < 3 else 3 if self.hints.operators else 8)
        ):
            found = recipes.derived(self.builder, self.source, dtype, shape, self.hints.operators)
            if found is not None:
                return found
        if self.choices.chance(12):
            return self.builder.constant(self.numbers(dtype, shape, style), var.name)
        return self.builder.input(self.numbers(dtype, shape, style), var.name)

    def source(self, dtype: int, shape: Shape) -> Value:
        """An input, or one that is there already."""
        same = [
            v for v in self.builder.model.graph.inputs if v.dtype == dtype and self.builder.arrays[v].shape == shape
        ]
        if same and self.choices.chance(2):
            return self.choices.one(same)
        return self.builder.input(self.numbers(dtype, shape, "plain"))

    def numbers(self, dtype: int, shape: Shape, style: str) -> np.ndarray:
        """Values of a tensor that is no constant."""
        style = self._beside_small(dtype, self.style) if style == "plain" else style
        if self.uneven or (
            style == "small" and not self.beyond and self.choices.integer(0, 1)
        ):  # beside constants that are
            style = "large"
        if self.bounding and dtype not in FLOATING and self.choices.chance(2):
            style = "ends"
        return draw_array(self.choices, dtype, shape, style, self.special and dtype in FLOATING)

    def _constant(self, var: Var, dtype: int, shape: Shape, style: str) -> np.ndarray:
        """Values of a constant: any, or one number everywhere, which the rule may be waiting for."""
        if var.kind.fill is not None:
            signed = not var.kind.fill and dtype in FLOATING and self.choices.chance(3)
            with np.errstate(all="ignore"):
                return np.full(shape, -0.0 if signed else var.kind.fill).astype(np_dtype(dtype))
        if var.name in self.hints.fills and dtype != TensorProto.STRING and not self.choices.chance(3):
            with np.errstate(all="ignore"):
                return np.full(shape, self.hints.fills[var.name]).astype(np_dtype(dtype))
        special = self.special and dtype in FLOATING
        whole = dtype in (TensorProto.INT64, TensorProto.INT32)
        counting = whole and any(c.op == "ReduceSum" for c in self.variant.calls)
        kinds = _WHOLE_KINDS if whole else _SINGLE_KINDS if self.hints.single else _KINDS
        kinds = _COUNTING_KINDS if counting else kinds
        kind = "array" if self.generic else self.choices.weighted(kinds)
        if self.uneven and dtype == TensorProto.FLOAT16 and len(shape) > 1:
            return self._uneven(shape)
        if self.beyond and dtype == TensorProto.FLOAT and self.choices.integer(0, 1):
            return draw_array(self.choices, dtype, shape, "ends") * np.float32(500)
        if kind == "array" or dtype == TensorProto.STRING:
            if style == "plain":
                style = "fraction" if self.choices.chance(6) and self.style == "plain" else self.style
            found = draw_array(self.choices, dtype, shape, self._beside_small(dtype, style), special)
            found = np.abs(found) if style == "positive" and dtype in FLOATING else found
            if self.doubled and shape and shape[-1] % 2 == 0 and not self.choices.chance(4):
                found = np.repeat(found[..., ::2], 2, -1)
                if found.size and self.choices.chance(4):  # but for the last one
                    found[..., -1] += 1
            return found / 3 if dtype == TensorProto.DOUBLE and self.choices.chance(2) else found  # no float32
        number = np.asarray(self.number() if kind == "number" else self.choices.one(self._counts()))
        if dtype == TensorProto.BOOL:
            return np.full(shape, bool(number))
        if dtype not in FLOATING and number != np.round(number):
            number = np.asarray(1)
        with np.errstate(all="ignore"):
            return np.full(shape, number).astype(np_dtype(dtype))

    def _uneven(self, shape: Shape) -> np.ndarray:
        """Weights that get too small for 16 bits when they are multiplied, as a rule all but those of one channel."""
        found = draw_array(self.choices, TensorProto.DOUBLE, shape, "small") * self.choices.one([8.0, 2.0, 0.125])
        outputs = 0 if len(shape) > 2 else 1
        axis = self.choices.integer(0, len(shape) - 1) if self.choices.chance(4) else outputs
        if shape[axis] > 1 and not self.choices.chance(3):
            np.moveaxis(found, axis, 0)[self.choices.integer(0, shape[axis] - 1)] *= 2.0**10
        return found.astype(np.float16)

    def _beside_small(self, dtype: int, style: str) -> str:
        """Small numbers are divided by large ones now and then; small integers are large ones."""
        if dtype not in FLOATING:
            return "large" if style in ("small", "mixed", "binary") else style
        small = style == "positive" and self.style in ("small", "mixed")
        return "large" if small and self.choices.integer(0, 1) else style

    def number(self) -> float:
        """A number that the rule may be waiting for: more often than not one that its own body mentions."""
        around = self.around()
        if around and self.choices.chance(2 if self.hints.single else 3):
            return self.choices.one(around[-2:] if self.choices.integer(0, 1) else around)  # the latest ones often
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
                asked = self.hints.values.get(letter)
                if asked and letter not in self.letters and self.choices.integer(0, 1):
                    d = self.choices.one(asked)
                out.append(self.letters.setdefault(letter, d))
        return (*lead, *out)
