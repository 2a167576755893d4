"""`bisect`: which rewrite changed the outputs? Optimised with fewer and fewer rewrites, compared each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from graphopt.errors import ArgumentError, GraphoptError
from graphopt.ir import Model, load
from graphopt.pipeline import optimize
from graphopt.rewrite import Step
from graphopt.shapes.annotate import infer_shapes
from graphopt.verification import Verification, verify


@dataclass(frozen=True)
class Bisection:
    """What `bisect` found.

    Attributes:
        steps: how many rewrites optimising takes in all.
        at: the number of the first one after which the outputs differ, from 1 on; 0 where none does.
        step: that rewrite: rule, where it is written, nodes before and after.
        verification: of the model after it against the original.
        before: a model on which this one rewrite changes the outputs, cut down to the nodes around it where that shows
            the difference too.
        after: the same model with the rewrite applied.
        cut: before and after are parts of the model, not the whole.
    """

    steps: int
    at: int = 0
    step: Step | None = None
    verification: Verification | None = None
    before: onnx.ModelProto | None = None
    after: onnx.ModelProto | None = None
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
            lines.append(f"  shown by {what}: {len(self.before.graph.node)} nodes")
        return "\n".join(lines)

    def save(self, path: str | Path) -> list[Path]:
        """Write `before` to a file and `after` beside it, as <name>.after.onnx; whole or not at all.

        Raises:
            ArgumentError: there is nothing to write.
            SaveError: the folder is missing or not writable.
        """
        if self.before is None or self.after is None:
            raise ArgumentError("there is no failing model to save: no rewrite changes the outputs")
        first = Path(path)
        paths = [first, first.with_name(f"{first.stem}.after.onnx")]
        for target, proto in zip(paths, (self.before, self.after), strict=True):
            load(proto).save(target)
        return paths


def bisect(
    model: Any,
    level: int = 2,
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
        options: further arguments of `graphopt.optimize`: without, only, rules.

    Returns:
        What was found; false where the optimised model computes the same.

    Raises:
        ModelError, ArgumentError: as `graphopt.optimize` and `graphopt.verify`.
        GraphoptError: no comparison could have told a difference.
    """
    if unsuited := {"freeze_inputs", "input_shapes", "verify", "steps"} & options.keys():
        raise ArgumentError(f"bisect compares models with one interface: '{min(unsuited)}' makes no sense here")

    def compared(candidate: Model) -> Verification:
        return verify(model, candidate, on=on, rtol=rtol, seeds=seeds)

    whole = optimize(model, level, **options)
    assert whole.report is not None
    total = len(whole.report.ledger.steps)
    verdict = compared(whole)
    if verdict.ok:
        return Bisection(total)
    if verdict.verdict == "inconclusive":
        raise GraphoptError(f"nothing to bisect: {verdict}")
    good, bad = 0, total
    while bad - good > 1:
        middle = (good + bad) // 2
        found = compared(optimize(model, level, steps=middle, **options))
        if found.verdict in ("equal", "inconclusive"):
            good = middle
        else:
            bad, verdict = middle, found
    before, after = (optimize(model, level, steps=n, **options) for n in (bad - 1, bad))
    assert after.report is not None
    step = after.report.ledger.steps[-1]
    part = _cut_out(before, after, step, on, rtol)
    if part is None:
        return Bisection(total, bad, step, verdict, before.proto, after.proto)
    return Bisection(total, bad, step, verdict, *part, cut=True)


def _cut_out(
    before: Model, after: Model, step: Step, on: Any, rtol: float | None
) -> tuple[onnx.ModelProto, onnx.ModelProto] | None:
    """The nodes that a step replaced, as a model, and what they became; None where these do not differ by themselves."""
    gone = {n.output for n in (*step.before, *step.after)}  # a root leaves its name to what stands for it
    nodes = [n for n in before.graph if any(v is not None and v.name in gone for v in n.outputs)]
    inside = {v for n in nodes for v in n.outputs if v is not None}
    read = dict.fromkeys(v for n in nodes for v in n.inputs if v is not None and v not in inside)
    left = {v.name for n in after.graph for v in n.outputs if v is not None}
    ends = [v.name for v in inside if v.name in left and (v.exits or any(u not in nodes for u in v.uses))]
    starts = [v.name for v in read if v.const is None]
    if not nodes or not ends or any(n.subgraphs for n in nodes):
        return None
    try:
        parts = [_extract(m, starts, ends) for m in (before, after)]
        shown = verify(*parts, on=on, rtol=rtol, seeds=2)
    except (GraphoptError, ValueError, KeyError, onnx.checker.ValidationError):
        return None
    return (parts[0], parts[1]) if shown.verdict in ("different", "failed") else None


def _extract(model: Model, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    """The part of a model between values."""
    return onnx.utils.Extractor(infer_shapes(model).proto).extract_model(inputs, outputs)
