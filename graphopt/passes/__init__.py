"""Passes that are not equations: folding, dead code, common subexpressions, duplicate initializers, known If and Loop, shapes."""

from graphopt.passes.batched_scan import batch_scan
from graphopt.passes.common_subexpressions import merge_common_subexpressions
from graphopt.passes.constant_folding import ConstantFolding
from graphopt.passes.constant_if import inline_constant_if
from graphopt.passes.constant_loop import unroll_constant_loop
from graphopt.passes.constant_regions import fold_regions
from graphopt.passes.dead_code import remove_dead_code, remove_unread_initializers
from graphopt.passes.duplicate_initializers import WRITTEN_ANEW, merge_duplicate_initializers
from graphopt.passes.if_branches import simplify_if
from graphopt.passes.local_initializers import move_initializers_inwards
from graphopt.passes.loop_invariants import simplify_loop
from graphopt.passes.shape_computation import simplify_shape_computation

#: No pass, but a decision that can be switched off like one: of several forms the cheapest, else the one with fewest nodes.
COST = "cost"

#: Every pass by the name under which `only=` and `without=` know it, and what it does.
PASSES = {
    "batched_scan": "a Scan that carries nothing from round to round computes all rounds at once",
    "common_subexpressions": "nodes that compute the same from the same inputs become one",
    "constant_folding": "what depends on constants alone is computed now, and shapes that are known",
    "constant_if": "an If whose condition is known becomes its branch",
    "constant_loop": "a Loop that runs a small, known number of times becomes that many copies of its body",
    COST: "of the forms that a rule offers, the one that costs least on the target is taken, not the one with fewest nodes",
    "dead_code": "nodes, initializers and functions that nothing reads are removed",
    "duplicate_initializers": "constants that are equal in every bit become one",
    "if_branches": "what both branches of an If compute, or give, is taken out of it; a choice between small values is a Where",
    "local_initializers": "an initializer that one body alone reads lies in it, where a runtime hands in what lies outside",
    "loop_invariants": "what is the same in each round of a Loop or Scan is taken out of it",
    "layout": "channels go last, or first, where that is asked for (layout=) and takes few transpositions",
    "shape_computation": "shapes that the graph computes are computed from as little as possible, each once",
}

__all__ = [
    "COST", "PASSES", "WRITTEN_ANEW", "ConstantFolding", "batch_scan", "fold_regions", "inline_constant_if",
    "merge_common_subexpressions", "merge_duplicate_initializers", "move_initializers_inwards", "remove_dead_code",
    "remove_unread_initializers", "simplify_if", "simplify_loop", "simplify_shape_computation", "unroll_constant_loop",
]  # fmt: skip
