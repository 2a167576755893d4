"""What a rule's left side says about its variables before anything is drawn: dtypes that must be equal, ranks that fit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from onnx import TensorProto

from graphopt.ir import input_of
from graphopt.rewrite.rule import Rule, Variant, Walker
from graphopt.rewrite.terms import Call, Output, Rest, Term, Var
from graphopt.testing.building.builder import Invalid
from graphopt.testing.choices import Choices
from graphopt.testing.operators import operands_of
from graphopt.testing.schemas import schema_of

#: Dtypes by how often they are drawn, among those that the operators take.
DTYPES = (
    (10, TensorProto.FLOAT), (4, TensorProto.DOUBLE), (3, TensorProto.INT64), (2, TensorProto.FLOAT16),
    (2, TensorProto.INT32), (2, TensorProto.BOOL), (1, TensorProto.UINT8), (1, TensorProto.INT8), (1, TensorProto.STRING),
    (1, TensorProto.BFLOAT16), (1, TensorProto.INT16), (1, TensorProto.UINT64), (1, TensorProto.UINT32),
)  # fmt: skip
#: What only a cast has something to say about.
_TINY = (3, TensorProto.FLOAT8E4M3FN)
HIGHEST_RANK = 5
#: Opsets that models in the wild have, the frequent ones first.
_USUAL = (18, 20, 17, 13, 23, 21, 11, 16, 14, 19, 12, 22, 10, 9, 8, 7)
_OLD = 6

Key = tuple[Any, str]


@cache
def newest_opset() -> int:
    """The newest version of ONNX's own domain that both the installed onnx and its runtimes are sure to know."""
    from onnx import defs

    return min(defs.onnx_opset_version(), 23)


def arguments(call: Call, walker: Walker) -> list[Any]:
    """A call's arguments, alternatives decided."""
    return [walker.resolve(a) for a in call.args]


def opsets_of(variant: Variant) -> list[int]:
    """Opsets at which every operator of a left side exists with its parameters, usual ones first."""
    return [v for v in _USUAL if v <= newest_opset() and all(exists(c, v) for c in variant.calls if not c.domain)]


def older_opsets_of(variant: Variant, words: frozenset[str]) -> list[int]:
    """Opsets before the usual ones that have an attribute which a rule asks for, and no later one has."""
    own = [c for c in variant.calls if not c.domain]
    found = [s for c in own if (s := schema_of(c.op_type, _OLD)) is not None]
    newest = frozenset[str]().union(*(_newest_parameters(c.op_type) for c in own))
    asked = any(words & (s.attributes.keys() - newest) for s in found)
    return [_OLD] if asked and all(exists(c, _OLD) for c in own) else []


def _newest_parameters(op_type: str) -> frozenset[str]:
    schema = schema_of(op_type, newest_opset())
    return frozenset() if schema is None else frozenset([*schema.attributes, *(p.name for p in schema.inputs)])


def exists(call: Call, version: int) -> bool:
    """Whether an operator of ONNX's own domain exists at an opset, with the inputs and parameters that a call asks for."""
    schema = schema_of(call.op_type, version)
    if schema is None or schema.deprecated:
        return False
    asked = [name for name, a in call.attrs.items() if isinstance(a, Var) and not a.kind.optional and name[0] != "*"]
    needed = [i for i, a in enumerate(call.args) if isinstance(a, Var) and not a.kind.optional]
    return all(name in schema.attributes or input_of(schema, name) is not None for name in asked) and all(
        schema.input_param(i) is not None for i in needed
    )


class Signature:
    """A left side at one opset.

    Attributes:
        dtypes: the dtype of each variable and of each type variable of each call.
        ranks: the lowest and highest rank of each term that suit the operators that read it.
    """

    def __init__(self, rule: Rule, variant: Variant, walker: Walker, versions: dict[str, int]) -> None:
        self.rule = rule
        self.variant = variant
        self.walker = walker
        self.versions = versions
        self.dtypes: dict[Key, int] = {}
        self.ranks: dict[Any, tuple[int, int]] = {}
        self._parents: dict[Key, Key] = {}
        self._allowed: dict[Key, frozenset[int]] = {}
        for call in variant.calls:
            self._read(call)
        for call in reversed(variant.calls):  # operands first
            self._offer(call)
        self.demand()

    # ------------------------------------------------------------------- dtypes
    def choose_dtypes(self, choices: Choices, asked_for: frozenset[int] = frozenset()) -> None:
        """Decide about every dtype, mostly for one of those that the rule asks for.

        Raises:
            Invalid: operators that are to take the same tensor have no dtype in common.
        """
        chosen: dict[Key, int] = {}
        products = {self._find((id(c), "T")) for c in self.variant.calls if c.op == "MatMul"}
        for key in list(self._parents):
            root = self._find(key)
            if root not in chosen:
                allowed = self._allowed.get(root)
                known = (*DTYPES, _TINY) if any(c.op == "CastLike" for c in self.variant.calls) else DTYPES
                options = [(w, t) for w, t in known if allowed is None or t in allowed]
                if not options:
                    raise Invalid("the operators have no dtype in common")
                if asked_for:
                    right = not choices.chance(4)  # otherwise one that it should refuse
                    asked = _FLOATS if root in products and not _FLOATS & asked_for else asked_for
                    options = [(min(w, 5) + 1, t) for w, t in options if (t in asked) is right] or options
                before = [t for t in dict.fromkeys(chosen.values()) if any(t == o for _, o in options)]
                again = before and len(options) > 1 and choices.integer(0, 1)
                chosen[root] = choices.one(before) if again else choices.weighted(options)
            self.dtypes[key] = chosen[root]

    def _read(self, call: Call) -> None:
        schema = schema_of(call.op_type, self.versions.get(call.domain, 1), call.domain)
        if schema is None:
            raise Invalid(f"{call.op} does not exist at opset {self.versions}")
        for i, a in enumerate(self._expanded(call)):
            p = schema.input_param(i)
            if p is None:
                if isinstance(a, Var) and a.kind.optional:
                    continue  # it will be left out
                raise Invalid(f"{call.op} takes no input {i} at this opset")
            key = (id(call), p.type_var)
            self._limit(key, p.types)
            if p.heterogeneous:
                key = (id(call), f"{p.type_var}.{i}")
            if isinstance(a, Var):
                self._unite(key, (a.name, ""))
            elif isinstance(a, (Call, Output)):
                inner, index = (a.call, a.index) if isinstance(a, Output) else (a, 0)
                self._unite(key, self._output_key(inner, index))
            elif isinstance(a, bool):
                self._limit(key, frozenset({TensorProto.BOOL}))
            elif isinstance(a, float) and a != int(a):
                self._limit(key, _FLOATS)
        if call.op == "RMSNormalization":  # onnx's checker takes the output's dtype for the input's
            self._unite((id(call), "T"), (id(call), "V"))
        if call.op == "Attention":  # ONNX Runtime refuses values of another dtype
            self._unite((id(call), "T1"), (id(call), "T2"))
        for i, p in enumerate(schema.outputs):
            self._limit((id(call), p.type_var), p.types)
            if i >= call.outputs:
                break
        to = call.attrs.get("to")
        if call.op == "Cast" and isinstance(to, int):
            self._limit(self._output_key(call, 0), frozenset({to}))

    def _expanded(self, call: Call) -> Iterator[Any]:
        for a in arguments(call, self.walker):
            yield a.var if isinstance(a, Rest) else a

    def _output_key(self, call: Call, index: int) -> Key:
        schema = schema_of(call.op_type, self.versions.get(call.domain, 1), call.domain)
        if schema is None:
            raise Invalid(f"{call.op} does not exist at opset {self.versions}")
        p = schema.outputs[min(index, len(schema.outputs) - 1)]
        return id(call), p.type_var

    def output_dtype(self, call: Call) -> int:
        """The dtype of a call's first output."""
        return self.dtypes[self._output_key(call, 0)]

    def dtype(self, call: Call, i: int) -> int:
        """The dtype of a call's operand."""
        schema = schema_of(call.op_type, self.versions.get(call.domain, 1), call.domain)
        p = schema.input_param(i) if schema is not None else None
        if p is None:
            return TensorProto.FLOAT
        found = self.dtypes.get((id(call), p.type_var))
        if found is None:
            found = min(p.types, default=TensorProto.FLOAT) if len(p.types) == 1 else TensorProto.INT64
        return found

    def _find(self, key: Key) -> Key:
        parent = self._parents.setdefault(key, key)
        if parent != key:
            parent = self._parents[key] = self._find(parent)
        return parent

    def _unite(self, a: Key, b: Key) -> None:
        p, q = self._find(a), self._find(b)
        if p != q:
            self._parents[q] = p
            if q in self._allowed:
                self._limit(p, self._allowed.pop(q))

    def _limit(self, key: Key, types: frozenset[int]) -> None:
        root = self._find(key)
        if types:
            self._allowed[root] = self._allowed[root] & types if root in self._allowed else types

    # -------------------------------------------------------------------- ranks
    def _offer(self, call: Call) -> None:
        """What has the rank of one operand has a rank that is known where that of the operand is."""
        known, args = operands_of(call.op), arguments(call, self.walker)
        if known is None or known.carries != (0,) or not args:
            return
        a = args[0]
        if isinstance(a, Var):
            self.narrow(a, 0, HIGHEST_RANK)
        key = a.name if isinstance(a, Var) else id(a.call if isinstance(a, Output) else a)
        low, high = self.ranks.get(key, (0, HIGHEST_RANK))
        if low == high:
            self.narrow(call, low, high)

    def demand(self) -> None:
        """Ask operands for the ranks that what is made of them should have."""
        for call in self.variant.calls:  # parents first
            self._demand(call)

    def _demand(self, call: Call) -> None:
        known = operands_of(call.op)
        given = self.ranks.get(id(call), (0, HIGHEST_RANK))
        args = list(self._expanded(call))
        main = next((i for i, a in enumerate(args) if isinstance(a, Term) and not _is_constant(a)), 0)
        for i, a in enumerate(args):
            low, high = known.ranks.get(i, (0, HIGHEST_RANK)) if known is not None else (0, HIGHEST_RANK)
            if known is not None and i in known.carries:
                high = min(high, given[1])
                if i == main or len(known.carries) == 1 or call.op == "Concat":
                    low = max(low, given[0])
            self.narrow(a, low, high)

    def narrow(self, term: Any, low: int, high: int) -> None:
        """Ask for a rank between two bounds."""
        key: Any = term.name if isinstance(term, Var) else id(term.call if isinstance(term, Output) else term)
        if isinstance(term, Var) and term.kind.dims is not None and term.kind.dims[:1] != ("...",):
            low = high = len(term.kind.dims)
        before = self.ranks.get(key, (0, HIGHEST_RANK))
        self.ranks[key] = max(before[0], low), min(before[1], high)


def _is_constant(term: Any) -> bool:
    return isinstance(term, Var) and term.kind.role == "const"


_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})
