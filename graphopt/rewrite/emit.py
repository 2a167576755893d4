"""The second reading of a rule: the body runs on what was matched, and its replacement becomes nodes.

Nothing here touches the graph: a replacement is built beside it, and the driver puts it in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from graphopt.errors import RuleError
from graphopt.ir import Graph, Model, Node
from graphopt.rewrite.compile import Compiled, Match
from graphopt.rewrite.replacement import Builder, Declined, Replacement, known_function


def instantiate(
    model: Model,
    compiled: Compiled,
    match: Match,
    graph: Graph,
    refuses: Callable[[Node], str | None] | None = None,
    weigh: Callable[[Node], float] | None = None,
) -> Replacement:
    """Run a rule's body on a match.

    Args:
        refuses: why a node may not be written, None where it may.
        weigh: what a node costs: of several replacements the cheapest is taken; None: the one with fewest nodes.

    Raises:
        Declined: the guard said no, or the replacement is not valid at this opset or for these dtypes, or refused.
        RuleError: the rule itself is wrong: its body failed, or it builds what no opset has.
    """
    rule = compiled.rule
    if rule.since and graph.opsets.get("", 0) < rule.since:
        raise Declined(f"not before opset {rule.since}")
    bind = compiled.bind
    for function in bind.functions:
        known_function(model, function)
    values, nodes, _ = match
    body = bind.read(values)
    offers: list[Any] = []
    try:
        values_of_roots = bind(next(body), nodes)
        reason = yield_all(body, offers)
    except Declined:
        raise
    except RuleError as e:
        raise RuleError(f"rule '{rule.name}' ({rule.where}): {e}") from e
    except Exception as e:
        raise RuleError(f"rule '{rule.name}' ({rule.where}) failed with {type(e).__name__}: {e}") from e
    replaced = [v for v in values_of_roots if v is not None]
    if not replaced:
        raise Declined("all outputs that would be replaced are left out")
    if not offers:
        raise Declined(reason or "the guard says no")
    if len(replaced) > 1 and len(set(replaced)) < len(replaced):
        raise Declined("two outputs that would be replaced are one value")
    valid: list[Replacement] = []
    refused: Declined | None = None
    for offer in offers:
        try:
            r = Builder(model, graph, rule, replaced[0].name, values_of_roots).build(offer)
            if refuses is not None and (why := next(filter(None, map(refuses, r.nodes)), None)) is not None:
                raise Declined(why)
        except Declined as d:
            refused = d
            continue
        valid.append(r)
    if not valid:
        assert refused is not None
        raise refused
    if weigh is None or len(valid) == 1:
        return min(valid, key=lambda r: len(r.nodes))
    return min(valid, key=lambda r: (sum(map(weigh, r.nodes)), len(r.nodes)))


def yield_all(body: Generator[Any, None, str | None], offers: list[Any]) -> str | None:
    """Collect the remaining yields of a body; what it returns."""
    while True:
        try:
            offers.append(next(body))
        except StopIteration as stop:
            return stop.value
