"""The walk: infers nodes in order, and puts what is found with what is known already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from graphopt.ir import Graph, Model, Node, OpSchema, Shape, Value, op_schema
from graphopt.ir.attributes import decode
from graphopt.shapes import text
from graphopt.shapes.dims import complexity, same_dims, too_long
from graphopt.shapes.facts import Facts
from graphopt.shapes.fallback import infer_by_onnx
from graphopt.shapes.registry import ShapeFunction, ValueFunction, is_described, shape_function_for, value_function_for
from graphopt.shapes.site import FLOATS, LARGEST_KNOWN, WHOLE, Site, known_elements
from graphopt.shapes.types import TypeInfo, Unknown, type_info

#: Calls of functions inside functions.
_DEEPEST_CALL = 32

_FOLLOWED = WHOLE | FLOATS
#: So many nodes are looked through for the first of them.
_FEW = 16

_Entry = tuple[ShapeFunction | None, "ValueFunction | None", int, "OpSchema | None"]


class Walk:
    """Infers nodes in order.

    Args:
        call: inside the body of a function, the attributes of the node that calls it.
    """

    def __init__(self, model: Model, facts: Facts, call: dict[str, Any] | None = None, depth: int = 0) -> None:
        self.model = model
        self.facts = facts
        self.depth = depth
        self._call = call
        self._free: list[Site] = []
        self._entries: dict[int, dict[str, _Entry]] = {}

    def graph(self, graph: Graph) -> None:
        """Infer all nodes of a graph."""
        for node in graph:
            self.node(node)

    def below(self, changed: Iterable[Value]) -> list[Node]:
        """Infer what reads these values, and what lies below as far as something new is found; where it was found."""
        waiting: dict[Node, None] = {}
        for value in changed:
            _add_readers(value, waiting)
        found: list[Node] = []
        outer = self.facts.scope
        while waiting:
            node = min(waiting, key=lambda n: n.position) if len(waiting) < _FEW else next(iter(waiting))
            del waiting[node]
            if node.graph is None:
                continue
            # what a body teaches holds inside it alone
            self.facts.scope = outer if node.graph is self.model.graph else self.facts.made
            if self.node(node):
                found.append(node)
                for v in node.outputs:
                    if v is not None:
                        _add_readers(v, waiting)
        self.facts.scope = outer
        return found

    def node(self, node: Node, strict: bool = False) -> bool:
        """Infer one node; whether more is known of its outputs now.

        With `strict`, inputs that the operator cannot take raise ValueError.
        """
        if node.op == "Constant" and node.outputs and node.outputs[0] is not None and node.outputs[0].const is not None:
            return False
        graph = node.graph
        assert graph is not None
        entries = self._entries.get(id(graph.opsets))
        if entries is None:
            entries = self._entries[id(graph.opsets)] = {}
        entry = entries.get(node.op)
        if entry is None:
            entry = entries[node.op] = self._entry(node, graph)
        function, value_function, version, schema = entry
        site = self._free.pop() if self._free else Site(self, self.facts, self._call)
        site.at(node, version, schema)
        made = self.facts.made
        try:
            found = self._without_function(node, schema) if function is None else function(site)
            if isinstance(found, TypeInfo):
                news = self._assign_new(node.outputs[0], found) or self._assign(node, [found], made)
            else:
                news = self._assign(node, found, made)
            if value_function is not None:
                news = self._follow(site, value_function) or news
            return news
        except Unknown as e:
            self._not_known(node, str(e))
            return _set_dtypes(node, schema)
        except ValueError as e:
            if strict:
                raise
            self.facts.refused[node] = str(e)
            self._not_known(node, f"{node.op} cannot take these inputs: {e}")
        except (AttributeError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError) as e:
            # attributes or inputs of a kind that the checker would refuse
            if strict:
                raise ValueError(f"{type(e).__name__}: {e}") from e
            self._not_known(node, f"{node.op} is not valid: {type(e).__name__}: {e}")
        finally:
            self._free.append(site)
        return False

    def body(self, graph: Graph, inputs: Sequence[TypeInfo], elements: Sequence[Any] = ()) -> list[TypeInfo]:
        """The types of a body's outputs, given the types (and elements) of its inputs.

        What it teaches holds inside it alone, since it may not run.
        """
        forget(graph)
        for v, info, known in zip_longest(graph.inputs, inputs[: len(graph.inputs)], elements[: len(graph.inputs)]):
            v.dtype, v.shape, v.type = info or (0, None, None)
            v.known = known
        facts = self.facts
        outer, facts.scope = facts.scope, facts.made
        try:
            self.graph(graph)
        finally:
            facts.scope = outer
        return [TypeInfo(v.dtype, facts.canonical_shape(v.shape), v.type) for v in graph.outputs]

    def _entry(self, node: Node, graph: Graph) -> _Entry:
        version = graph.opsets.get(node.domain, 0)
        called = (node.domain, node.op_type, node.overload) in self.model.functions
        if called and not is_described(node.op, version):
            return self._call_of, None, version, None
        schema = op_schema(node.op_type, version, node.domain) if version else None
        if schema is not None and schema.deprecated:
            schema = None
        return shape_function_for(node.op, version), value_function_for(node.op), version, schema

    def _without_function(self, node: Node, schema: OpSchema | None) -> Sequence[TypeInfo]:
        if schema is not None:  # an operator that is newer than this table
            return infer_by_onnx(self.model, node, schema)
        claimed = _claims(node)
        if claimed is None:
            raise Unknown(f"no shape function for the operator {node.op}")
        return claimed

    def _call_of(self, site: Site) -> Sequence[TypeInfo]:
        """The types that a call of one of the model's functions gives."""
        node = site.node
        function = self.model.functions[node.domain, node.op_type, node.overload]
        if self.depth >= _DEEPEST_CALL:
            raise Unknown("calls of functions are nested too deeply")
        defaults = {a.name: a for a in getattr(function.source, "attribute_proto", ())}
        call = dict(node.attributes)
        if defaults:
            for name, a in defaults.items():
                call.setdefault(name, decode(a, iter(()), self.model.base_dir))
        inner = Walk(self.model, self.facts, call, self.depth + 1)
        graph = function.graph
        inputs = [site.info(i) for i in range(len(graph.inputs))]
        try:
            return inner.body(graph, inputs, [site.known(i) for i in range(len(graph.inputs))])
        finally:
            forget(graph)
            for v in graph.inputs:
                v.dtype, v.shape, v.type, v.known = 0, None, None, None

    # ------------------------------------------------------------------------------------------------------ results
    def _assign_new(self, v: Value | None, info: TypeInfo) -> bool:
        """The short way for a value of which nothing is known yet, in a model that taught nothing; whether it was that."""
        if v is None or v.dtype or v.shape is not None or v.type is not None or v.const is not None:
            return False
        if not info.dtype or self.facts.knows_anything:
            return False
        v.dtype, v.shape, v.type = info.dtype, self._bounded(info.shape), info.type
        return True

    def _assign(self, node: Node, infos: Sequence[TypeInfo], made: int) -> bool:
        """Put what was found with what is known already; whether it adds something."""
        news = False
        facts = self.facts
        for v, info in zip(node.outputs, infos, strict=False):
            if v is None or v.const is not None:
                continue
            if v.shape is None and not v.dtype and v.type is None:
                v.dtype, v.type = info.dtype, info.type
                v.shape = self._bounded(facts.canonical_shape(info.shape))
                news = news or bool(v.dtype) or v.type is not None
                continue
            if not v.dtype and info.dtype and v.type is None:
                v.dtype, news = info.dtype, True
            elif v.dtype and info.dtype and v.dtype != info.dtype:
                self._conflict(v, f"dtype {info.dtype} and {v.dtype}")
                continue
            if v.type is None and info.type is not None and not v.dtype:
                v.type, news = info.type, True
            if info.shape is not None and info.shape != v.shape:
                news = self._merge(v, info.shape, made) or news
        return news

    def _merge(self, v: Value, shape: Shape, made: int) -> bool:
        facts = self.facts
        old = v.shape
        shape = self._bounded(facts.canonical_shape(shape)) or ()
        if old is None:
            v.shape = shape
            return True
        if len(old) != len(shape):
            self._conflict(v, f"{len(shape)} dims and {len(old)}")
            return False
        dims = list(old)
        for i, (p, q) in enumerate(zip(old, shape, strict=True)):
            if p == q or q is None or facts.escapes(q, made):
                continue
            if p is None:
                dims[i] = q
            elif same_dims(p, q) is False:
                self._conflict(v, f"{text.show(q)} and {text.show(p)} for dim {i}")
            elif complexity(q) < complexity(p):
                dims[i] = q
                facts.equate(p, q)
        changed = tuple(dims) != old
        v.shape = tuple(dims)
        return changed

    def _bounded(self, shape: Shape | None) -> Shape | None:
        """A shape with names for expressions that have grown too long."""
        if shape is None:
            return None
        for d in shape:
            if d.__class__ is not int and d.__class__ is not str and too_long(d):
                break
        else:
            return shape
        return tuple([self.facts.fresh() if too_long(d) else d for d in shape])

    def _follow(self, site: Site, function: ValueFunction) -> bool:
        """Compute the elements of small outputs from those of the inputs."""
        outputs = site.node.outputs
        v = outputs[0]
        if v is None or v.dtype not in _FOLLOWED or not _may_be_small(v.shape):
            return False
        inputs = [None if i is None else known_elements(i) for i in site.inputs]
        found = function(site, inputs, TypeInfo(v.dtype, v.shape))
        if found is None:
            return False
        news = False
        for v, elements in zip(outputs, found if isinstance(found, list) else [found], strict=False):
            if v is not None and v.const is None:
                news = self._assign_elements(v, elements) or news
        return news

    def _assign_elements(self, v: Value, found: np.ndarray) -> bool:
        if found.size > LARGEST_KNOWN or (found.size and all(e is None for e in found.reshape(-1))):
            return False
        if self.facts.knows_anything:
            found = self.facts.canonical_elements(found)
        if v.shape is None:
            v.shape = found.shape
        elif v.shape != found.shape:
            if len(v.shape) != found.ndim:
                self._conflict(v, f"elements of shape {found.shape}, dims {v.shape}")
                return False
            for d, n in zip(v.shape, found.shape, strict=True):
                self.facts.equate(d, n)
            v.shape = found.shape
        if v.known is not None and v.known.shape == found.shape:
            return self._merge_elements(v, v.known, found)
        v.known = found
        return True

    def _merge_elements(self, v: Value, old: np.ndarray, new: np.ndarray) -> bool:
        changed = False
        merged = old.copy()
        for i, (p, q) in enumerate(zip(old.reshape(-1), new.reshape(-1), strict=True)):
            if q is None or p == q:
                continue
            if p is not None and same_dims(p, q) is False:
                self._conflict(v, f"{text.show(q)} and {text.show(p)} for element {i}")
            elif p is None or complexity(q) < complexity(p):
                merged.reshape(-1)[i] = q
                changed = True
        if changed:
            v.known = merged
        return changed

    def _conflict(self, v: Value, what: str) -> None:
        self.facts.conflict(f"'{v.name}': {what}")

    def _not_known(self, node: Node, reason: str) -> None:
        for v in node.outputs:
            if v is not None and v.shape is None and v.type is None:
                self.facts.reasons[v] = reason


def _set_dtypes(node: Node, schema: OpSchema | None) -> bool:
    """Give outputs the dtypes that follow from the schema and the inputs' alone; whether one did."""
    if schema is None:
        return False
    bound: dict[str, int] = {}
    for i, v in enumerate(node.inputs):
        p = schema.input_param(i)
        if v is not None and v.dtype and p is not None and not p.heterogeneous:
            bound.setdefault(p.type_var, v.dtype)
    news = False
    for v, p in zip(node.outputs, schema.outputs, strict=False):
        if v is None or v.dtype or v.type is not None or p.heterogeneous or not p.types:
            continue
        v.dtype = bound.get(p.type_var) or (next(iter(p.types)) if len(p.types) == 1 else 0)
        news = news or bool(v.dtype)
    return news


def _add_readers(v: Value, waiting: dict[Node, None]) -> None:
    waiting.update(dict.fromkeys(v.uses))
    if v.exits and v.graph.owner is not None:
        waiting[v.graph.owner] = None


def forget(graph: Graph) -> None:
    """Drop what was inferred in a graph and below, as before it is inferred for other inputs."""
    for g in graph.subgraphs():
        for node in g:
            for v in node.outputs:
                if v is not None and v.const is None:
                    v.dtype, v.shape, v.type, v.known = 0, None, None, None


def _may_be_small(shape: Shape | None) -> bool:
    """Whether a tensor may have so few elements that they are followed."""
    if not shape:
        return True
    size = 1
    for d in shape:
        if d.__class__ is int:
            size *= d
        elif len(shape) > 1:
            return False
    return size <= LARGEST_KNOWN


def _claims(node: Node) -> list[TypeInfo] | None:
    """What the file says about the outputs of a node with an operator that nobody knows; None where it says nothing."""
    graph = node.graph
    source = graph.source if graph is not None else None
    wanted = {v.name for v in node.outputs if v is not None}
    if source is None or not hasattr(source, "output"):
        return None
    said = {i.name: type_info(i.type) for i in getattr(source, "value_info", ()) if i.name in wanted}
    if not said:
        return None
    return [said.get(v.name, TypeInfo(0, None)) if v is not None else TypeInfo(0, None) for v in node.outputs]
