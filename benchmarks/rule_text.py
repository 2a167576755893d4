"""From a function's body to a rule as text: the body is what to see, the operator what to write."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from onnx import AttributeProto, defs

from graphopt.ir import Model, Node, OpSchema, Value, op_schema
from graphopt.rewrite.equation import _INFIX

#: How strongly Python's operators bind; a call binds strongest.
_BINDS = {"Add": 1, "Sub": 1, "Mul": 2, "Div": 2, "MatMul": 2, "Neg": 3, "Pow": 4}
_CALL = 5
_MIRRORED = {"Less": "Greater", "Greater": "Less", "LessOrEqual": "GreaterOrEqual", "GreaterOrEqual": "LessOrEqual"}
_KINDS = {
    AttributeProto.INT: "Int",
    AttributeProto.INTS: "Ints",
    AttributeProto.FLOAT: "Float",
    AttributeProto.FLOATS: "Floats",
    AttributeProto.STRING: "Str",
}


class CannotDerive(Exception):
    """There is no rule in this body; the message says why."""


@dataclass(frozen=True)
class Body:
    """A function's body, canonical, as a model.

    Attributes:
        model: its inputs are those of the function, and its attributes as far as the body computes with them.
        schema: of the operator.
        inputs: names of the operator's inputs in order, '' for one that is left out.
        computed: attributes that the body computes with; each is an input of the model.
        passed: attributes that the body passes on, by (first output of the node, attribute there).
        fixed: attributes that have this value.
        listed: attributes that are a list's only element in the body, and what stands for them there.
        tensors: inputs that the graph computes, though they were attributes once.
        also: another form that a value of the body may have, by its name: what other rules make of it first.
        mirrored: comparisons may stand the other way round.
    """

    model: Model
    schema: OpSchema
    inputs: tuple[str, ...]
    computed: tuple[str, ...]
    passed: Mapping[tuple[str, str], str]
    fixed: Mapping[str, Any]
    listed: Mapping[str, int]
    tensors: tuple[str, ...] = ()
    also: Mapping[str, str] = field(default_factory=dict)
    mirrored: bool = True


def rule_text(body: Body, name: str, doc: str, guards: Iterable[str] = (), decorator: str = "rule") -> str:
    """The rule as source.

    Raises:
        CannotDerive: something in the body has no place in a pattern.
    """
    return _Writer(body).rule(name, doc, list(guards), decorator)


class _Writer:
    def __init__(self, body: Body) -> None:
        self.body = body
        self.graph = body.model.graph
        self.opset = body.model.opsets[""]
        self.uses = Counter({v: sum(v.uses.values()) + v.exits for n in self.graph for v in n.outputs if v is not None})
        self.kinds: dict[str, str] = {}
        self.lines: list[str] = []
        self.named: dict[Value, str] = {}
        self.marks = dict(body.passed)
        self.taken: set[str] = set()
        self.derived: dict[str, str] = {}
        self.listed = {(v,): a for a, v in body.listed.items()}

    # -------------------------------------------------------------------------------------------------------- the rule
    def rule(self, name: str, doc: str, guards: list[str], decorator: str) -> str:
        if any(n.subgraphs for n in self.graph):
            raise CannotDerive("a subgraph")
        self.taken |= {_lower(v.name) for v in self.graph.inputs}
        self.find_parameters()
        roots = [self.term(v)[0] for v in self.graph.outputs]
        if self.marks:
            raise CannotDerive(f"attribute {', '.join(self.marks.values())} is lost on the way to the canonical form")
        first = next(_lower(n) for n in self.body.inputs if n)
        given = [_lower(n) if n else "None" for n in self.body.inputs]
        while given and given[-1] == "None":
            given.pop()
        written = [g for g, n in zip(given, self.body.inputs) if self.kinds.get(n) not in ("Ints", "Maybe[Ints]")]
        written += [f"{n}={_lower(n)}" for n in self.body.inputs if self.kinds.get(n) in ("Ints", "Maybe[Ints]")]
        numbers = [a for a in self.body.computed if self.kinds[a] == "Const"]
        written += [f"{a}={_lower(a)}_" if len(numbers) + len(self.derived) > 1 else f"{a}=given" for a in numbers]
        written += [f"{a}={_lower(a)}" for a in self.body.computed if a not in numbers]
        written += [f"{a}={_lower(a)}[0]" for a in self.body.listed]
        written += [f"{a}={_lower(a)}" for a in dict.fromkeys(self.body.passed.values())]
        written += [f"{a}={v!r}" for a, v in self.body.fixed.items() if v != self.body.schema.attributes[a].default]
        count = f", outputs={len(roots)}" if len(roots) > 1 else ""
        parameters = [
            f"{_lower(n)}: {kind}" if (kind := self.kinds.get(n)) else _lower(n)
            for n in dict.fromkeys(
                [
                    *filter(None, self.body.inputs),
                    *self.body.computed,
                    *self.derived,
                    *self.body.listed,
                    *self.body.passed.values(),
                ]
            )
        ]
        checks = [f'if len({_lower(a)}) != 1:\n        return "several axes"' for a in self.body.listed]
        if numbers:
            names = [_lower(n) for n in (*numbers, *self.derived)]
            one = len(names) == 1
            checks += [
                f"given = {'single' if one else 'singles'}({first}, {', '.join(names)})",
                "if given is None:",
                f'    return "{names[0]} is not a single number of single precision"'
                if one
                else f'    return "{", ".join(names)} are not single numbers of single precision"',
            ]
            if not one:
                checks += [f"{', '.join(f'{n}_' for n in names)} = given"]
        for n, text in self.derived.items():
            checks += [
                f"if not close({_lower(n)}_, {text}, {first}.dtype):",
                f'    return "{_lower(n)} is not {text.replace("_", "")}"',
            ]
        return "\n".join(
            [
                f"@{decorator}",
                f"def {name}({', '.join(parameters)}):",
                f'    """{doc}"""',
                *(f"    {line}" for line in self.lines),
                f"    yield {', '.join(roots)}",
                *(f"    {line}" for line in (*guards, *checks)),
                f"    yield op.{self.body.schema.op_type}({', '.join(written)}{count})",
                "",
            ]
        )

    def find_parameters(self) -> None:
        """What the parameters of the rule stand for."""
        for a in self.body.computed:
            many = self.body.schema.attributes[a].type == AttributeProto.INTS
            self.kinds[a] = "Ints" if many else "Const"
        for a in self.body.listed:
            self.kinds[a] = "Ints"
        for a in self.body.passed.values():
            self.kinds[a] = _KINDS[self.body.schema.attributes[a].type]
        for v in self.graph.inputs:
            asked = {self.moved(n, i) for n in v.uses for i, x in enumerate(n.inputs) if x is v}
            if v.name in self.body.inputs and v.name not in self.body.tensors and asked and all(asked):
                optional = any(p.name == v.name and p.optional for p in self.body.schema.inputs)
                self.kinds[v.name] = "Maybe[Ints]" if optional else "Ints"

    # -------------------------------------------------------------------------------------------------------- its terms
    def term(self, v: Value) -> tuple[str, int]:
        """A value as text, and how strongly that binds."""
        if v in self.named:
            return self.named[v], _CALL
        if v.const is not None:
            return self.number(v), _CALL
        if v.node is None:
            return _lower(v.name), _CALL
        if self.is_constant(v):
            name = self.fresh(v.name)
            self.named[v], self.derived[name], self.kinds[name] = name, self.arithmetic(v)[0], "Const"
            return name, _CALL
        text, binds = self.call(v.node)
        if v.name in self.body.also:
            text, binds = f"any_of({text}, {self.body.also[v.name]})", _CALL
        if len(v.node.outputs) > 1 or v.index:
            raise CannotDerive(f"{v.node.op} has several outputs")
        if self.uses[v] > 1:
            name = self.named[v] = self.fresh(v.name)
            self.lines.append(f"{name} = {text}")
            return name, _CALL
        return text, binds

    def call(self, node: Node) -> tuple[str, int]:
        op = node.op_type
        if node.domain:
            raise CannotDerive(f"{node.op} is no operator of ONNX itself")
        schema = op_schema(op, self.opset)
        assert schema is not None
        attributes = self.attributes(node, schema)
        args = list(node.inputs)
        if op == "Mul" and args[0] is args[1] and not attributes and self.is_named(args[0]):
            x = self.term(args[0])[0]
            return f"any_of({x} * {x}, {x}**2)", _CALL
        if op == "Pow" and self.is_named(args[0]) and args[1].const is not None and args[1].const.item() == 2:
            x = self.term(args[0])[0]
            return f"any_of({x} * {x}, {x}**2)", _CALL
        if op in _INFIX and not attributes and len(args) == 2:
            (a, p), (b, q) = (self.term(v) for v in args)
            own = _BINDS[op]
            a = a if p > own or (p == own and op != "Pow") else f"({a})"
            b = b if q > own else f"({b})"
            return f"{a}**{b}" if op == "Pow" else f"{a} {_INFIX[op]} {b}", own
        if op == "Neg":
            a, p = self.term(args[0])
            return f"-{a if p > _BINDS[op] else f'({a})'}", _BINDS[op]
        texts = []
        for i, v in enumerate(args):
            if v is None:
                texts.append("None")
            elif (name := self.moved(node, i)) and (v.const is not None or self.kinds.get(v.name)):
                attributes.append(f"{name}={self.parameter(v)}")
            elif len(texts) < i:
                raise CannotDerive(f"'{v.name}', a parameter of an operator, is computed")
            else:
                texts.append(self.term(v)[0])
        while texts and texts[-1] == "None":
            texts.pop()
        if op in _MIRRORED and self.body.mirrored:
            return f"any_of(op.{op}({', '.join(texts)}), op.{_MIRRORED[op]}({', '.join(texts[::-1])}))", _CALL
        return f"op.{op}({', '.join([*texts, *attributes])})", _CALL

    def attributes(self, node: Node, schema: OpSchema) -> list[str]:
        out = []
        for name, value in node.attributes.items():
            mark = self.marks.pop((_first(node), name), None)
            if mark is not None:
                out.append(f"{name}={_lower(mark)}")
            elif name not in schema.attributes or value != schema.attributes[name].default:
                out.append(f"{name}={_literal(value)}")
        return out

    def is_constant(self, v: Value) -> bool:
        """Whether a value is computed from nothing but numbers: it is folded before a rule sees it."""
        if v.node is None or v.const is not None:
            return v.const is not None or v.name in self.body.computed
        return bool(v.node.inputs) and all(i is not None and self.is_constant(i) for i in v.node.inputs)

    def arithmetic(self, v: Value) -> tuple[str, int]:
        """A constant as an expression over numbers."""
        if v.node is None or v.const is not None:
            return (f"{_lower(v.name)}_" if v.const is None else self.number(v)), _CALL
        parts = [self.arithmetic(i) for i in v.node.inputs if i is not None]
        own = _BINDS.get(v.node.op)
        if own is None or v.node.op == "MatMul":
            raise CannotDerive(f"{v.node.op} of an attribute")
        texts = [t if p > own else f"({t})" for t, p in parts]
        return (f"-{texts[0]}" if len(texts) == 1 else f" {_INFIX[v.node.op]} ".join(texts)), own

    def is_named(self, v: Value | None) -> bool:
        """Whether a value is a parameter, or gets a name of its own."""
        return v is not None and v.const is None and (v.node is None or self.uses[v] > 1)

    def parameter(self, v: Value) -> str:
        if v.const is not None:
            value = v.const.numpy().tolist()
            listed = self.listed.get(tuple(value)) if isinstance(value, list) else None
            return _lower(listed) if listed is not None else _literal(value)
        return _lower(v.name)

    def number(self, v: Value) -> str:
        assert v.const is not None
        array = v.const.numpy()
        if array.size != 1:
            raise CannotDerive(f"a constant of {array.size} elements")
        value = array.reshape(()).item()
        if isinstance(value, float):
            return repr(float(str(np.float32(value)))) if np.isfinite(value) else f'float("{value}")'
        return repr(value)

    @staticmethod
    def moved(node: Node, i: int) -> str | None:
        """The name of an input that was an attribute once, None for any other."""
        return _moved(node.op_type, i)

    def fresh(self, hint: str) -> str:
        name = base = _lower(hint)
        k = 1
        while name in self.taken:
            k += 1
            name = f"{base}{k}"
        self.taken.add(name)
        return name


@cache
def _moved(op_type: str, i: int) -> str | None:
    newest = defs.get_schema(op_type)
    if i >= len(newest.inputs) or newest.inputs[i].option == defs.OpSchema.FormalParameterOption.Variadic:
        return None
    name = newest.inputs[i].name
    older = defs.get_schema(op_type, 1) if _exists(op_type) else None
    return name if older is not None and name in older.attributes else None


def _exists(op_type: str) -> bool:
    try:
        defs.get_schema(op_type, 1)
    except defs.SchemaError:
        return False
    return True


def _literal(value: Any) -> str:
    return repr(float(str(np.float32(value)))) if isinstance(value, float) else repr(value)


def _first(node: Node) -> str:
    return node.outputs[0].name if node.outputs[0] is not None else ""


def _lower(name: str) -> str:
    """A name of a function as Python has it: X_ReduceMax is x_reduce_max."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.sub(r"\W", "_", name)).lower().strip("_")
    text = _RENAMED.get(text, text)
    return f"{text}_" if keyword.iskeyword(text) else text


_RENAMED = {"input": "x", "data": "x", "min": "low", "max": "high"}
