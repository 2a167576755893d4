"""What a rule or a function writes, as nodes built beside the graph.

Every node is checked against the operator schema at the model's opset; only a whole and valid replacement is handed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from onnx import AttributeProto, TensorProto, defs, helper

from graphopt.errors import RuleError
from graphopt.ir import (
    Function,
    Graph,
    Model,
    Node,
    OpSchema,
    Tensor,
    Value,
    as_input,
    dtype_name,
    input_of,
    newest_schema,
    op_schema,
)
from graphopt.ir.load import read_function
from graphopt.rewrite.definition import Definition
from graphopt.rewrite.rule import Rule
from graphopt.rewrite.terms import Call, Constant, Leaf, Output, Term
from graphopt.shapes import contradiction, facts_of, infer_node, same_shape


class Declined(Exception):
    """A rule does not apply here; the message says why."""


@dataclass(slots=True)
class Replacement:
    """What a rule writes: nodes in order, constants that they read, and the values that take over from `roots`; operator sets and
    functions that the model lacks."""

    roots: list[Value]
    results: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    constants: list[Value] = field(default_factory=list)
    domains: dict[str, int] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)


def known_function(model: Model, definition: Definition) -> Function | None:
    """The model's function that has this definition. Raises Declined where it has another one of the name."""
    known = model.functions.get(definition.key)
    if known is not None and known.source != definition.proto(model.opsets)[0]:
        raise Declined(f"the model has another function {definition.domain}::{definition.name}")
    return known


class Builder:
    """Builds one replacement. `hint`: how the names of what is new begin."""

    def __init__(
        self, model: Model, graph: Graph, rule: Rule | Definition, hint: str, places: Sequence[Value | None] = ()
    ) -> None:
        self.model = model
        self.graph = graph
        self.rule = rule
        self.places = places  # None for an output that the matched node leaves out
        self.out = Replacement([v for v in places if v is not None])
        self.done: dict[int, Node] = {}
        self.keep: list[Any] = []  # keeps terms alive, since `done` knows them by id
        self.hint = hint

    def build(self, offer: Any) -> Replacement:
        """Build what a rule offers: a term for each output of the pattern, and maybe a dict of terms by other values."""
        offers = offer if isinstance(offer, tuple) else (offer,)
        others: dict[Any, Any] = offers[-1] if isinstance(offers[-1], dict) else {}
        if others is offers[-1]:
            offers = offers[:-1]
        if len(offers) != len(self.places):
            where = f"rule '{self.rule.name}' ({self.rule.where})"
            raise RuleError(f"{where}: the pattern has {len(self.places)} outputs, the replacement {len(offers)}")
        facts = facts_of(self.model)
        beside = [self.value(v) for v in others]
        self.out.roots += beside
        for old, term in zip([*self.places, *beside], [*offers, *others.values()], strict=True):
            if term is None:
                raise RuleError(f"rule '{self.rule.name}' ({self.rule.where}): None cannot stand in a replacement")
            if old is None:
                continue
            new = (
                self.value(term)
                if isinstance(term, (Term, Constant))
                else self.constant(term, old.dtype, not old.dtype)
            )
            if old.dtype and new.dtype and old.dtype != new.dtype:
                raise Declined(f"the replacement is {dtype_name(new.dtype)}, the original {dtype_name(old.dtype)}")
            if (what := contradiction(old, new)) is not None:
                facts.conflict(f"rule '{self.rule.name}' at '{old.name}': {what}")
                raise Declined(what)
            self.out.results.append(new)
        if self.out.roots == self.out.results:
            raise Declined("the replacement is what was there")
        for old, term in zip(self.places[::-1], offers[::-1], strict=True):
            if old is not None or not self._leave_out(term):
                break
        return self.out

    def _leave_out(self, term: Any) -> bool:
        """Leave out the last output of a new node, which the matched one leaves out too; whether it was that."""
        node = self.done.get(id(term.call)) if isinstance(term, Output) else None
        if node is None or len(node.outputs) != term.index + 1:
            return False
        node.outputs.pop()
        return True

    # ------------------------------------------------------------------ values
    def value(self, term: Any) -> Value:
        if isinstance(term, (Leaf, Constant)):
            return term.value
        if isinstance(term, Output):
            if term.value is not None:
                return term.value
            matched = term.call.value
            node = self.node(term.call) if matched is None or matched.node is None else matched.node
            made = node.outputs[term.index] if term.index < len(node.outputs) else None
            if made is None:
                raise Declined(f"output {term.index} of {term.call.op} is left out")
            return made
        if isinstance(term, Call):
            return term.value if term.value is not None else self.node(term).output
        raise RuleError(f"rule '{self.rule.name}' ({self.rule.where}): {term!r} cannot stand in a replacement")

    def constant(self, data: Any, dtype: int, unknown: bool = False) -> Value:
        """A new constant of this dtype (0: the data's own). `unknown`: it should have one that nobody knows."""
        if unknown:
            raise Declined("the dtype of a new constant is not known")
        array = self._as_dtype(data, dtype)
        v = Value(self.model.fresh_name(f"{self.hint}_const"), self.graph)
        v.const = Tensor(array=array)
        v.dtype, v.shape = v.const.dtype, v.const.dims
        self.out.constants.append(v)
        return v

    def _as_dtype(self, data: Any, dtype: int) -> np.ndarray:
        array = np.asarray(data)
        if not dtype:
            if not isinstance(data, (np.ndarray, np.generic)) and array.dtype.kind == "f":
                raise Declined("the dtype of a new constant is not known")
            return array
        if (dtype == TensorProto.STRING) != (array.dtype.kind in "OUST"):
            what = f"{data!r} as {dtype_name(dtype)}; text stays text, and numbers are no text"
            raise RuleError(f"rule '{self.rule.name}' ({self.rule.where}) builds a constant of {what}")
        if dtype == TensorProto.STRING:
            return array.astype(object)
        wanted = np.dtype(helper.tensor_dtype_to_np_dtype(dtype))
        if array.dtype == wanted:
            return array
        with np.errstate(all="ignore"):
            cast = array.astype(wanted)
        if dtype in _WHOLE_NUMBERS and not np.array_equal(cast.astype(array.dtype), array):
            raise Declined(f"a new constant does not fit into {dtype_name(dtype)}")
        if dtype not in _WHOLE_NUMBERS and array.dtype.kind in "fiu" and _overflowed(array, cast):
            raise Declined(f"a new constant overflows {dtype_name(dtype)}")
        return cast

    # ------------------------------------------------------------------- nodes
    def node(self, call: Call) -> Node:
        if id(call) in self.done:
            return self.done[id(call)]
        schema = self._schema(call)
        args, attributes = self._arguments(call, schema)
        self._check_counts(call, schema, args, attributes)
        dtypes: dict[str, int] = {}
        values: list[Value | None] = []
        for i, a in enumerate(args):
            v = self.value(a) if self.is_value(a) else None
            values.append(v)
            if (
                v is not None
                and schema is not None
                and (p := schema.input_param(i)) is not None
                and not p.heterogeneous
            ):
                if not v.dtype:
                    dtypes.setdefault(p.type_var, 0)
                    continue
                if not dtypes.get(p.type_var):
                    dtypes[p.type_var] = v.dtype
                if dtypes[p.type_var] != v.dtype:
                    raise Declined(f"{call.op} would mix {dtype_name(dtypes[p.type_var])} and {dtype_name(v.dtype)}")
                if p.types and v.dtype not in p.types:
                    raise Declined(f"{call.op} takes no {dtype_name(v.dtype)} at this opset")
        for i, a in enumerate(args):
            if values[i] is None and a is not None:
                wanted = self._dtype_of(schema, i, dtypes, isinstance(a, float))
                values[i] = self.operand(a, wanted, self._beside(schema, i, values))
        if schema is not None and schema.since_version < 7 and "broadcast" in schema.attributes:
            shapes = [v.shape if v is not None else None for v in values]
            if not all(same_shape(shapes[0], s) for s in shapes[1:]):
                raise Declined(f"{call.op} does not broadcast at this opset")
        node = Node(
            call.op_type,
            values,
            domain=call.domain,
            name=self.model.fresh_name(f"{self.hint}_{call.op_type}"),
            attributes=attributes,
        )
        node.graph = self.graph
        for _ in range(call.outputs):
            node.new_output(self.model.fresh_name(f"{self.hint}_{call.op_type}_output"))
        if schema is not None or call.function is not None:
            try:
                with self.model.with_functions(self.out.functions):
                    infer_node(self.model, node)
            except ValueError as e:
                raise Declined(f"{call.op}: {e}") from e
        self.done[id(call)] = node
        self.keep.append(call)
        self.out.nodes.append(node)
        return node

    def is_value(self, a: Any) -> bool:
        """Whether an argument stands for a value that is there, or that nodes give; others become constants."""
        return isinstance(a, (Term, Constant))

    def operand(self, a: Any, dtype: int | None, beside: Value | None) -> Value:
        """What stands for an argument that is no value. `dtype`: 0: its own, None: that of `beside`, which is not known."""
        return self.constant(a, dtype or 0, dtype is None)

    @staticmethod
    def _beside(schema: OpSchema | None, i: int, values: list[Value | None]) -> Value | None:
        """An operand whose dtype input i must have."""
        p = schema.input_param(i) if schema is not None else None
        if schema is None or p is None or p.heterogeneous:
            return None
        others = ((v, schema.input_param(k)) for k, v in enumerate(values))
        return next((v for v, q in others if v is not None and q is not None and q.type_var == p.type_var), None)

    def _define(self, definition: Definition) -> None:
        """Bring the body of a function along, and those that it calls, where the model does not have them."""
        with self.model.with_functions(self.out.functions):
            known = known_function(self.model, definition)
        proto, needed = definition.proto(self.model.opsets)
        for d in needed:
            self._define(d)
        if known is None:
            self.out.functions.append(read_function(self.model, proto))
        elif self.model.leads_to(known, self.graph):
            raise Declined(f"{definition.domain}::{definition.name} would call itself")

    def _schema(self, call: Call) -> OpSchema | None:
        version = self.graph.opsets.get(call.domain)
        if call.function is not None:
            if version is None:
                self.out.domains[call.domain] = self.model.opsets.get(call.domain, call.function.version)
            self._define(call.function)
            return None
        if version is None:
            if call.domain == "ai.onnx.ml":
                raise Declined("the model does not import ai.onnx.ml")
            self.out.domains[call.domain] = 1
            return None
        schema = op_schema(call.op_type, version, call.domain)
        if schema is None or schema.deprecated:
            if call.domain in ("", "ai.onnx.ml") and newest_schema(call.op_type, call.domain) is None:
                raise RuleError(
                    f"rule '{self.rule.name}' ({self.rule.where}) builds {call.op}, which no opset of the installed onnx has"
                )
            if call.domain in ("", "ai.onnx.ml"):
                raise Declined(f"{call.op} does not exist at opset {version}")
        return schema

    def _arguments(self, call: Call, schema: OpSchema | None) -> tuple[list[Any], dict[str, Any]]:
        """Positional inputs, and attributes; named parameters go where this opset keeps them."""
        args: list[Any] = list(call.args)
        attributes: dict[str, Any] = {}
        for name, value in call.attrs.items():
            if value is None:
                continue
            if schema is None:
                attributes[name] = self.attribute(value, 0)
            elif name in schema.attributes:
                a = schema.attributes[name]
                try:
                    typed = self.attribute(value, a.type)
                except (TypeError, ValueError) as e:
                    where = f"rule '{self.rule.name}' ({self.rule.where})"
                    raise RuleError(f"{where}: {call.op} takes no {value!r} as attribute '{name}'") from e
                if a.default is None or typed != a.default:
                    attributes[name] = typed
            elif (i := input_of(schema, name)) is not None:
                args += [None] * (i + 1 - len(args))
                args[i] = as_input(call.op, value)
            elif _known_parameter(call.op_type, call.domain, name):
                raise Declined(f"{call.op} has no parameter '{name}' at opset {self.graph.opsets[call.domain]}")
            else:
                raise RuleError(
                    f"rule '{self.rule.name}' ({self.rule.where}): {call.op} has no parameter '{name}' at any opset"
                )
        while args and args[-1] is None:
            args.pop()
        if call.op == "Split" and schema is not None and "num_outputs" in schema.attributes and len(args) < 2:
            attributes.setdefault("num_outputs", call.outputs)
        return args, attributes

    def attribute(self, value: Any, kind: int) -> Any:
        """A Python value as an attribute of this kind has it (0: of any)."""
        return _typed(value, kind)

    def _dtype_of(self, schema: OpSchema | None, i: int, dtypes: dict[str, int], is_float: bool) -> int | None:
        """The dtype that a constant must have as input i; 0: its own, None: that of an operand which nobody knows."""
        p = schema.input_param(i) if schema is not None else None
        if p is None:
            return 0
        if len(p.types) == 1:
            return next(iter(p.types))
        if p.type_var in dtypes:
            return dtypes[p.type_var] or None
        return next((d for d in (*dtypes.values(), TensorProto.FLOAT) if d in p.types), 0) if is_float else 0

    def _check_counts(self, call: Call, schema: OpSchema | None, values: list[Any], attributes: dict[str, Any]) -> None:
        if schema is None:
            return
        where = f"rule '{self.rule.name}' ({self.rule.where}) builds {call.op}"
        needed = [
            p.name
            for i, p in enumerate(schema.inputs)
            if not p.optional and not p.variadic and (i >= len(values) or values[i] is None)
        ]
        if needed or len(values) < schema.min_inputs:
            newest = newest_schema(call.op_type, call.domain)
            if needed and newest is not None and all(p.optional for p in newest.inputs if p.name in needed):
                raise Declined(f"{call.op} needs its input {', '.join(needed)} at this opset")
            raise RuleError(f"{where} without its input {', '.join(needed) or 'list'}")
        if len(values) > schema.max_inputs:
            newest = newest_schema(call.op_type, call.domain)
            if newest is not None and len(values) <= newest.max_inputs:
                raise Declined(f"{call.op} takes {schema.max_inputs} inputs at this opset")
            raise RuleError(f"{where} with {len(values)} inputs, it takes {schema.max_inputs}")
        if not schema.min_outputs <= call.outputs <= schema.max_outputs:
            raise RuleError(f"{where} with {call.outputs} outputs, it has {schema.min_outputs} to {schema.max_outputs}")
        missing = [n for n, a in schema.attributes.items() if a.required and n not in attributes]
        if missing:
            raise RuleError(f"{where} without its attribute {', '.join(missing)}")


#: Dtypes into which a number must fit as it is.
_WHOLE_NUMBERS = frozenset(
    n for name, n in TensorProto.DataType.items() if name == "BOOL" or name.removeprefix("U").startswith("INT")
)


def _overflowed(array: np.ndarray, cast: np.ndarray) -> bool:
    """Whether a finite element became infinite (or NaN, which some small formats have instead)."""
    finite = np.isfinite(cast if cast.dtype.kind == "f" else cast.astype(np.float32))
    return not finite.all() and bool((np.isfinite(array) & ~finite).any())


def _typed(value: Any, kind: int) -> Any:
    """A Python value as the attribute's type has it."""
    if kind == AttributeProto.FLOAT:
        return float(value)
    if kind == AttributeProto.INT:
        return int(value)
    if kind == AttributeProto.INTS:
        return [int(v) for v in value]
    if kind == AttributeProto.FLOATS:
        return [float(v) for v in value]
    return value


@cache
def _known_parameter(op_type: str, domain: str, name: str) -> bool:
    """Whether any version of an operator has an attribute or input of this name."""
    version = defs.onnx_opset_version() if not domain else 100
    while version > 0:
        schema = op_schema(op_type, version, domain)
        if schema is None:
            return False
        if name in schema.attributes or schema.input_index(name) is not None:
            return True
        version = schema.since_version - 1
    return False
