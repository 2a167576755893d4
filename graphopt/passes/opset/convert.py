"""From one opset to another: every node is led from version to version of its operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import defs, helper

from graphopt.errors import ArgumentError, ModelError, OpsetError
from graphopt.ir import Graph, Model, Node, OpSchema, Value, op_schema
from graphopt.ir.inlining import inline
from graphopt.passes.opset.functions import body_of
from graphopt.passes.opset.parameters import check_types, move
from graphopt.passes.opset.site import Site, Workshop
from graphopt.passes.opset.transitions import Cannot, Step, path
from graphopt.shapes import infer_model

#: The oldest opset that models are converted to.
OLDEST = {"": 7, "ai.onnx.ml": 1}


@dataclass(slots=True)
class Conversion:
    """What was done.

    Attributes:
        before, after: versions by domain, of those that changed.
        changed: how many nodes of each operator were written otherwise.
        expanded: how many were written out by the function that defines their operator.
    """

    before: dict[str, int]
    after: dict[str, int]
    changed: Counter[str] = field(default_factory=Counter)
    expanded: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        moved = ", ".join(f"{d or 'opset'} {self.before[d]} -> {self.after[d]}" for d in self.after)
        parts = [f"{sum(self.changed.values())} nodes written otherwise{_listed(self.changed)}"]
        if self.expanded:
            parts.append(f"{sum(self.expanded.values())} written out as functions{_listed(self.expanded)}")
        return f"{moved}: {', '.join(parts)}"


def _listed(counts: Counter[str]) -> str:
    return f" ({', '.join(f'{n} {op}' for op, n in sorted(counts.items()))})" if counts else ""


def targets_of(opset: int | Mapping[str, int]) -> dict[str, int]:
    """Versions by domain, from a number for ONNX's own domain or from several.

    Raises:
        ArgumentError: a domain or a version that the installed onnx does not know.
    """
    asked: Mapping[str, int] = opset if isinstance(opset, Mapping) else {"": opset}
    out = {}
    for name, version in asked.items():
        domain = "" if name == "ai.onnx" else name
        if domain not in OLDEST:
            raise ArgumentError(f"opset: the domains with versions to choose from are '' and ai.onnx.ml, not {name!r}")
        newest = _newest(domain)
        if not isinstance(version, int) or isinstance(version, bool) or not OLDEST[domain] <= version <= newest:
            what = f"opset of {domain}" if domain else "opset"
            raise ArgumentError(
                f"{what} must be a number from {OLDEST[domain]} to {newest}, the newest of the installed onnx "
                f"{onnx.__version__}, not {version!r}"
            )
        out[domain] = version
    return out


def _newest(domain: str) -> int:
    if not domain:
        return defs.onnx_opset_version()
    return max(s.since_version for s in defs.get_all_schemas_with_history() if s.domain == domain)


def convert_opset(model: Model, targets: Mapping[str, int]) -> Conversion | None:
    """Write a model at other opsets, up or down, in place; None where it is at these already.

    Names, inputs and outputs stay as they are. Bodies of If, Loop and Scan and model-local functions are converted too:
    all of them import one opset afterwards, as the checker and ONNX Runtime want it.

    Raises:
        OpsetError: a node cannot be written there; some of the model has been changed by then.
    """
    roots = [model.graph, *(f.graph for f in model.functions.values())]
    before: dict[str, int] = {}
    for root in roots:
        for domain, version in targets.items():
            if root.opsets.get(domain, version) != version:
                before.setdefault(domain, root.opsets[domain])
    if not before:
        return None
    done = Conversion(before, {d: targets[d] for d in before})
    typed = any(step.typed for root in roots for n in root.walk() for step in path_of(model, root, n, targets))
    if typed:
        infer_model(model)
    shop = Workshop(model, dict(targets), typed)
    unread = set(_unread(roots))
    for root in roots:
        nodes = [(n, root.opsets.get(n.domain, 0)) for n in root.walk() if path_of(model, root, n, targets)]
        nodes.sort(key=lambda entry: _decided_by_call(entry[0]))  # those that read these may take it from the call, too
        for node, version in nodes:
            shop.pending.append((node, version))
            while shop.pending:
                n, v = shop.pending.popleft()
                if n.graph is not None:
                    lead(shop, n, v, done, original=n is node)
        changed = {d: v for d, v in targets.items() if d in root.opsets}
        root.opsets.update(changed)
        root.touch()
    for value in [value for value in _unread(roots) if value not in unread]:  # they are attributes now
        value.graph.remove_initializer(value)
    ids = [helper.make_opsetid(d, v) for d, v in model.opsets.items() if d in OLDEST]
    model.ir_version = max(model.ir_version, helper.find_min_ir_version_for(ids, ignore_unknown=True))
    return done


def _unread(roots: Iterable[Graph]) -> Iterator[Value]:
    """Constant initializers that nothing reads."""
    for root in roots:
        for graph in root.subgraphs():
            yield from (v for v in graph.initializers if v.const is not None and not v.used)


def _decided_by_call(node: Node) -> bool:
    return node.op == "Constant" and node.outputs[0] is not None and node.output.const is None


def path_of(model: Model, root: Graph, node: Node, targets: Mapping[str, int]) -> tuple[Step, ...]:
    """The steps that a node has to take, as far as there is something to do."""
    version, target = root.opsets.get(node.domain), targets.get(node.domain)
    if version is None or target is None or version == target:
        return ()
    if model.functions and (node.domain, node.op_type, node.overload) in model.functions:
        return ()
    return path(node.op_type, node.domain, version, target)


def lead(shop: Workshop, node: Node, version: int, done: Conversion, original: bool) -> None:
    """Take a node from its version to the one asked for."""
    target = shop.targets[node.domain]
    steps = path(node.op_type, node.domain, version, target)
    op, schema, changed = node.op, op_schema(node.op_type, version, node.domain), False
    for step in steps:
        was = node.attributes, list(node.inputs)
        try:
            if take(Site(shop, node, step)):
                changed = True
                break
            if (node.attributes, node.inputs) != was:
                schema, changed = step.new, True
        except Cannot as e:
            assert schema is not None
            try:
                if (node.attributes, node.inputs) != was:
                    raise
                expand(shop, node, schema, target, e)
            except Cannot as final:
                raise OpsetError(_message(node, target, str(final))) from final
            done.expanded[op] += 1
            return
    if changed and original:
        done.changed[op] += 1


def take(site: Site) -> bool:
    """Take one step; whether other nodes stand for the node now."""
    step = site.step
    if step.strange:
        raise Cannot(f"what changed at version {max(step.old.since_version, step.version)} is not known here")
    if step.adapter is not None and step.adapter(site):
        return True
    if step.new is None:
        raise Cannot("there is no such operator")
    if step.narrower:
        check_types(site.node, step.new)
    if step.moves:
        move(site)
    return False


def expand(shop: Workshop, node: Node, schema: OpSchema, target: int, reason: Cannot) -> None:
    """Put the function that defines an operator in the place of a node; what it holds is pending in the workshop then.

    Raises:
        Cannot: there is none.
    """
    function = body_of(node, schema, target)
    if function is None:
        raise reason
    defaults = {name: a.default for name, a in schema.attributes.items() if a.default is not None}
    graph = node.graph
    assert graph is not None
    imports = {o.domain: o.version for o in function.opset_import}
    try:
        nodes = inline(node, function, {**defaults, **node.attributes})
    except ModelError:  # what it holds reads values around it
        raise reason from None
    for n in nodes:
        written = imports.get(n.domain, target)
        shop.infer(n, written)
        if (known := op_schema(n.op_type, written, n.domain)) is not None:
            check_types(n, known)  # some functions hold for a part of the dtypes
        inner = (m for sub in n.subgraphs for m in sub.walk())
        shop.pending.extend((m, imports.get(m.domain, target)) for m in (n, *inner) if m.domain in shop.targets)


def _message(node: Node, target: int, reason: str) -> str:
    output = next((v.name for v in node.outputs if v is not None), "")
    return f"node '{node.name}' ({node.op}, output '{output}') cannot be written at {node.domain or 'opset'} {target}: {reason}"
