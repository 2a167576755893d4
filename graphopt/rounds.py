"""Rounds over a model: rules and passes in order, until nothing changes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial

from graphopt.cost import Machine, weigher
from graphopt.ir import Model
from graphopt.passes import (
    WRITTEN_ANEW,
    ConstantFolding,
    batch_scan,
    fold_regions,
    inline_constant_if,
    merge_common_subexpressions,
    merge_duplicate_initializers,
    move_initializers_inwards,
    remove_dead_code,
    remove_unread_initializers,
    simplify_if,
    simplify_loop,
    simplify_shape_computation,
    unroll_constant_loop,
)
from graphopt.passes.purity import is_pure
from graphopt.rewrite import Driver, Handlers, Ledger, LimitReached, Rewriter, RuleSet
from graphopt.selection import Selection, phases_of
from graphopt.shapes import decide_branches, infer_model, operators_on_elements, settle
from graphopt.targets import Kernels

#: How often it is looked for branches that a model must take.
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Rounds:
    """What all rounds over a model share. Nothing is done at level 0, which has no phases."""

    selection: Selection
    exact: bool
    phases: list[RuleSet]
    folding: ConstantFolding | None
    kernels: Kernels | None
    machine: Machine | None
    ledger: Ledger

    def run_again(self, m: Model) -> None:
        """Another round over a model that was changed from outside, unless enough steps have been done."""
        if self.phases and not self.ledger.full:
            infer_model(m)
            self.run(m)

    def lay(self, m: Model, layout: str) -> None:
        """Write the model for a layout; exact rules take away what that leaves."""
        from graphopt.passes.layout import change_layout

        infer_model(m)
        self.ledger.begin("layout")
        with contextlib.suppress(LimitReached):
            rewriter = Rewriter(m, self.ledger, removable=lambda node: is_pure(m, node))
            if change_layout(m, layout, rewriter):
                Driver(rewriter, phases_of(1, self.selection, ())[0]).resume()
                if "dead_code" in self.selection:
                    remove_dead_code(m, self.ledger)

    def localize(self, m: Model) -> None:
        """Let bodies hold the initializers that they alone read."""
        if "local_initializers" in self.selection and not self.ledger.full:
            self.ledger.begin("cleaning up")
            with contextlib.suppress(LimitReached):
                move_initializers_inwards(m, self.ledger)

    def run(self, m: Model) -> None:
        """One round over an inferred model."""
        try:
            _run(m, self)
        except LimitReached:
            if "dead_code" in self.selection:  # what the last step left over is no step of its own
                for graph in m.graphs():
                    remove_unread_initializers(graph)


def _run(m: Model, work: Rounds) -> None:
    selection, folding, ledger = work.selection, work.folding, work.ledger
    handlers = _handlers(selection, folding, work.exact)
    ledger.begin("cleaning up")
    if "dead_code" in selection:
        remove_dead_code(m, ledger)
    if "duplicate_initializers" in selection:
        merge_duplicate_initializers(m, ledger)
    if "common_subexpressions" in selection:
        merge_common_subexpressions(m, ledger)
    weigh = None if work.machine is None else weigher(m, work.machine)
    refuses = None if work.kernels is None else partial(work.kernels.refuses, m)
    rewriter = Rewriter(m, ledger, lambda node: is_pure(m, node), refuses, weigh)
    for rules in work.phases:
        ledger.begin(rules.name)
        driver = Driver(rewriter, rules, handlers)
        changed = driver.run() > 0
        folded = folding is not None and fold_regions(folding, rewriter) > 0
        changed = changed or folded
        if not changed and rules is not work.phases[0]:
            continue
        if changed and "duplicate_initializers" in selection:
            merge_duplicate_initializers(m, ledger, WRITTEN_ANEW)
        merged = (
            changed and "common_subexpressions" in selection and merge_common_subexpressions(m, ledger, rewriter) > 0
        )
        shorter = "shape_computation" in selection and simplify_shape_computation(m, rewriter) > 0
        if shorter and "common_subexpressions" in selection:  # what reads the same shape now
            merge_common_subexpressions(m, ledger, rewriter)
        if settle(m):
            rewriter.tried.clear()
            driver.run()
        elif merged or shorter or folded:
            driver.resume()
        for _ in range(_ROUNDS):
            if "constant_if" not in selection or not decide_branches(m):
                break
            rewriter.tried.clear()
            driver.run()
    if "dead_code" in selection and ledger.steps:
        ledger.begin("cleaning up")
        remove_dead_code(m, ledger)


def _handlers(selection: Selection, folding: ConstantFolding | None, exact: bool) -> Handlers:
    handlers = Handlers()
    if folding is not None:
        handlers.constant.append(folding.constant_inputs)
        handlers.by_op.update({op: [folding.known_elements] for op in operators_on_elements()})
    if "constant_if" in selection:
        handlers.by_op["If"] = [inline_constant_if]
    if "if_branches" in selection:
        handlers.by_op.setdefault("If", []).append(simplify_if)
    if "constant_loop" in selection:
        handlers.by_op["Loop"] = [unroll_constant_loop]
    if "loop_invariants" in selection:
        for operator in ("Loop", "Scan"):
            handlers.by_op.setdefault(operator, []).append(simplify_loop)
    if "batched_scan" in selection and not exact:  # kernels may sum another layout in another order
        handlers.by_op.setdefault("Scan", []).append(batch_scan)
    return handlers
