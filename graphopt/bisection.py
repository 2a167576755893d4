"""`bisect`: which rewrite changed the outputs? Optimised with fewer and fewer rewrites, compared each time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from graphopt._display import html_of
from graphopt.errors import ArgumentError, GraphoptError, ModelError, SaveError
from graphopt.ir import Model, load
from graphopt.passes import remove_dead_code
from graphopt.pipeline import optimize
from graphopt.rewrite import Ledger, Step
from graphopt.shapes.annotate import infer_shapes
from graphopt.verification import Verification, VerificationError, verify


@dataclass(frozen=True)
class Bisection:
    """What `bisect` found.

    Attributes:
        steps: how many rewrites optimising takes in all, None where it was not found out.
        at: the number of the first one after which the outputs differ, from 1 on; 0 where none does.
        step: that rewrite: rule, where it is written, nodes before and after.
        verification: of the model after it against the original; where there is none, of the optimised model.
        before: a model on which this one rewrite changes the outputs, cut down to the nodes that it replaces and as few
            around them as show the difference too.
        after: the same model with the rewrite applied; if it is cut down, as `graphopt.optimize(before, only=...)` makes it.
        cut: before and after are parts of the model, not the whole.
    """

    steps: int | None
    at: int = 0
    step: Step | None = None
    verification: Verification | None = None
    before: Model | None = None
    after: Model | None = None
    cut: bool = False

    def __bool__(self) -> bool:
        return self.step is not None

    def __str__(self) -> str:
        if self.step is None:
            return f"no rewrite of {self.steps} changes the outputs"
        where = f" ({self.step.where})" if self.step.where else ""
        before, after = (" ".join(n.op for n in nodes) or "nothing" for nodes in (self.step.before, self.step.after))
        lines = [
            f"rewrite {self.at} of {self.steps} changes the outputs: {self.step.rule}{where} at '{self.step.location}'",
            f"  {before} -> {after}",
        ]
        if self.before is not None:
            what = "the nodes around it" if self.cut else "the whole model"
            nodes = len(self.before.graph)
            lines.append(f"  shown by {what}: {nodes} node{'s' * (nodes != 1)}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "steps": self.steps,
            "at": self.at,
            "step": None if self.step is None else self.step.to_dict(),
            "cut": self.cut,
            "nodes": None if self.before is None else len(self.before.graph),
            "verification": None if self.verification is None else self.verification.to_dict(),
        }

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def save(self, path: str | Path) -> list[Path]:
        """Write `before` to a file and `after` beside it, as <name>.after.onnx; whole or not at all.

        Raises:
            ArgumentError: there is nothing to write.
            SaveError: the folder is missing or not writable.
        """
        if self.before is None or self.after is None:
            raise ArgumentError("there is no failing model to save: no rewrite changes the outputs")
        first, second = files(path)
        self.before.save(first)
        try:
            self.after.save(second)
        except SaveError:
            for half in (first, first.parent / f"{first.name}.data"):
                half.unlink(missing_ok=True)
            raise
        return [first, second]


def files(path: str | Path) -> tuple[Path, Path]:
    """Where `Bisection.save` writes: `path` itself, and <name>.after.onnx beside it."""
    first = Path(path)
    return first, first.parent / f"{first.stem}.after.onnx"


def bisect(
    model: Any,
    level: int | None = None,
    *,
    on: str | Sequence[str] | None = None,
    rtol: float | None = None,
    seeds: int = 2,
    **options: Any,
) -> Bisection:
    """Find the first rewrite that changes what a model computes.

    Args:
        model: as for `graphopt.optimize`.
        level: likewise.
        on: executors that compare, as for `graphopt.verify`.
        rtol: what counts as equal, likewise.
        seeds: draws of random inputs, likewise.
        options: further arguments of `graphopt.optimize`: without, only, rules, opset, target.

    Returns:
        What was found; false where the optimised model computes the same.

    Raises:
        ModelError, ArgumentError: as `graphopt.optimize` and `graphopt.verify`.
        VerificationError: no comparison could have told a difference.
        GraphoptError: the outputs differ before any rewrite: reading the model and writing it again changes them.
    """
    if unsuited := {"freeze_inputs", "input_shapes", "io_layout", "verify", "steps"} & options.keys():
        raise ArgumentError(f"bisect compares models with one interface: '{min(unsuited)}' makes no sense here")

    def compared(candidate: Model) -> Verification:
        return verify(model, candidate, on=on, rtol=rtol, seeds=seeds)

    whole = optimize(model, level, **options)
    assert whole.report is not None
    total = len(whole.report.ledger.steps)
    verdict = compared(whole)
    if verdict.ok:
        return Bisection(total, verification=verdict)
    if verdict.verdict == "inconclusive":
        raise VerificationError(verdict)
    good, bad = 0, total
    while bad - good > 1:
        middle = (good + bad) // 2
        found = compared(optimize(model, level, steps=middle, **options))
        if found.verdict in ("equal", "inconclusive"):
            good = middle
        else:
            bad, verdict = middle, found
    before = optimize(model, level, steps=good, **options)
    if not good and (total == 0 or compared(before).verdict not in ("equal", "inconclusive")):
        raise GraphoptError(f"the outputs differ before any rewrite, at level 0 already: {verdict.verdict}")
    after = optimize(model, level, steps=bad, **options)
    assert after.report is not None
    step = after.report.ledger.steps[-1]
    alone = {**options, "only": [step.rule], "without": ()}
    part = _cut_out(before, after, step.rule, lambda m: optimize(m, level, **alone), on, rtol)
    if part is None:
        return Bisection(total, bad, step, verdict, before, after)
    return Bisection(total, bad, step, verdict, *part, cut=True)


# --------------------------------------------------------------------------------------------------- cutting it smaller
#: How far around the nodes of a rewrite others are taken along, where these alone do not show the difference.
_REACH = 3
#: How many of them are left out again, one by one, to see whether it goes without.
_TRIED = 32


def _cut_out(
    before: Model, after: Model, rule: str, rewritten: Callable[[Model], Model], on: Any, rtol: float | None
) -> tuple[Model, Model] | None:
    """The nodes that a rewrite changed, with few around them, as a model, and what the rule makes of it.

    None where no such part shows the difference.
    """
    whole = _Whole(before)

    def shown(nodes: set[int]) -> tuple[Model, Model] | None:
        with contextlib.suppress(GraphoptError, ValueError):  # what was cut out is no model for itself
            part = whole.cut(nodes)
            result = rewritten(part)
            fired = result.report is not None and any(s.rule == rule for s in result.report.ledger.steps)
            if fired and verify(part, result, on=on, rtol=rtol, seeds=2).verdict in ("different", "failed"):
                return part, result
        return None

    nodes = whole.changed(before.proto, after.proto)
    found = shown(nodes)
    for k in range(2 * _REACH):
        if found is None:
            wider = nodes | (whole.producers(nodes) if k % 2 else whole.users(nodes))
            found = shown(wider) if wider != nodes else None
            nodes = wider
    for i in sorted(nodes)[:_TRIED] if found is not None else ():
        if len(nodes) > 1 and (less := shown(nodes - {i})) is not None:
            found, nodes = less, nodes - {i}
    return found


class _Whole:
    """A model to cut from: its main graph as messages, types inferred, nodes by number.

    Attributes:
        infos: types by name.
        producer: for a value the node that makes it.
        reads: for a node the values that it reads, in subgraphs too.
    """

    def __init__(self, model: Model) -> None:
        self.base_dir = model.base_dir
        self.proto = infer_shapes(model).proto
        graph = self.graph = self.proto.graph
        self.infos = {info.name: info for info in (*graph.value_info, *graph.output, *graph.input)}
        self.producer = {o: i for i, n in enumerate(graph.node) for o in n.output if o}
        fed = {info.name for info in graph.input}
        self.constants = {t.name: t for t in graph.initializer if t.name not in fed}
        known = {*self.producer, *fed, *self.constants}
        self.reads = [dict.fromkeys(r for inner in _within(n) for r in inner.input if r in known) for n in graph.node]

    @staticmethod
    def changed(before: onnx.ModelProto, after: onnx.ModelProto) -> set[int]:
        """The nodes that are not there any more as they were."""
        left = {n.SerializeToString() for n in after.graph.node}
        functions = {f.SerializeToString() for f in after.functions}
        others = {(f.domain, f.name) for f in before.functions if f.SerializeToString() not in functions}
        return {
            i
            for i, node in enumerate(before.graph.node)
            if node.SerializeToString() not in left or any((n.domain, n.op_type) in others for n in _within(node))
        }

    def users(self, nodes: set[int]) -> set[int]:
        made = {o for i in nodes for o in self.graph.node[i].output}
        return {i for i, read in enumerate(self.reads) if made & read.keys()}

    def producers(self, nodes: set[int]) -> set[int]:
        return {self.producer[r] for i in nodes for r in self.reads[i] if r in self.producer}

    def cut(self, nodes: set[int]) -> Model:
        """Nodes as a model: what they read from outside is its inputs, what is read outside its outputs.

        Raises:
            ModelError: the type of one of these is not known.
        """
        made = [o for i in sorted(nodes) for o in self.graph.node[i].output if o]
        read = dict.fromkeys(r for i in sorted(nodes) for r in self.reads[i] if r not in made)
        constants = {self.producer[r] for r in read if self._is_made_constant(r)}
        wanted = {o.name for o in self.graph.output}
        wanted.update(r for i, elsewhere in enumerate(self.reads) if i not in nodes for r in elsewhere)
        inputs = [r for r in read if r not in self.constants and not self._is_made_constant(r)]
        outputs = [o for o in made if o in wanted]
        if lost := [name for name in (*inputs, *outputs) if name not in self.infos]:
            raise ModelError(f"the type of '{lost[0]}' is not known")
        graph = helper.make_graph(
            [self.graph.node[i] for i in sorted(nodes | constants)],
            self.graph.name,
            [self.infos[name] for name in inputs],
            [self.infos[name] for name in outputs],
            [self.constants[r] for r in read if r in self.constants],
        )
        version = max(self.proto.ir_version, 4)  # from there on initializers are no inputs
        opsets, functions = self.proto.opset_import, self.proto.functions
        made_of = helper.make_model(graph, ir_version=version, opset_imports=opsets, functions=functions)
        model = load(made_of, self.base_dir)
        remove_dead_code(model, Ledger())  # functions that nothing calls
        return model

    def _is_made_constant(self, name: str) -> bool:
        return name in self.producer and self.graph.node[self.producer[name]].op_type == "Constant"


def _within(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """A node, and those in its subgraphs."""
    yield node
    for a in node.attribute:
        for graph in (a.g,) if a.HasField("g") else a.graphs:
            for inner in graph.node:
                yield from _within(inner)
