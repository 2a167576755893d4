"""What a step took away, or brought, as a picture: nodes as the ledger keeps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from graphopt.rewrite import NodeRecord
from graphopt.view.families import family_of
from graphopt.view.picture import MOST, Box, Edge, Mark, Picture, value_box

#: So many nodes that have nothing to do with each other are drawn side by side.
_LOOSE = 5


def picture_of_records(records: Sequence[NodeRecord], mark: Mark, caption: str, most: int = MOST) -> Picture:
    """Nodes as the ledger keeps them, with what they read and what is read of them."""
    loose = _loose(records)
    rest = [r for r in records if r not in loose]
    shown = _in_order(rest[:most])
    note = f"{len(shown)} of {len(rest)} nodes" if len(rest) > len(shown) else ""
    made = {o for r in shown for o in (r.output, *r.more_outputs) if o}
    boxes: list[Box] = []
    at: dict[str, int] = {}
    edges: dict[tuple[int, int], None] = {}
    # a node that seems to read what it made itself read what has taken its output's name since
    read = [name for r in shown for name in r.inputs if name and (name not in made or name == r.output)]
    for name in dict.fromkeys(read):
        at[name] = len(boxes)
        boxes.append(value_box(name))
    for r in shown:
        place = len(boxes)
        boxes.append(Box(r.op.rpartition("::")[2], "node", family_of(r.op), hint=f"{r.op} '{r.name}'", mark=mark))
        for name in r.inputs:
            if name in at:
                edges[at[name], place] = None
        at.update({o: place for o in (r.output, *r.more_outputs) if o})
    inside = {name for r in shown for name in r.inputs if name != r.output}
    for r in shown:
        if r.output and r.output not in inside and r.op != "Constant":
            edges[at[r.output], len(boxes)] = None
            boxes.append(value_box(r.output))
    for op, n in Counter(r.op for r in records if r in loose).most_common():
        boxes.append(Box(f"{n}× {op.rpartition('::')[2]}", "fold", family_of(op), mark=mark))
    return Picture(tuple(boxes), tuple(Edge(a, b) for a, b in edges), caption, note)


def _loose(records: Sequence[NodeRecord]) -> set[NodeRecord]:
    """Nodes beside the others, where there are many: no other one reads them or is read by them."""
    made = {o for r in records for o in (r.output, *r.more_outputs)}
    read = {name for r in records for name in r.inputs}
    loose = {r for r in records if not made & set(r.inputs) and not read & {r.output, *r.more_outputs}}
    return loose if len(loose) > _LOOSE else set()


def _in_order(records: Collection[NodeRecord]) -> list[NodeRecord]:
    """Producers first. What two records seem to read from each other (names come back) stays as it is."""
    producer = {o: r for r in records for o in (r.output, *r.more_outputs) if o}
    done: dict[NodeRecord, None] = {}
    for first in reversed(list(records)):  # the root comes first in most entries
        stack, opened = [first], set()
        while stack:
            r = stack[-1]
            waiting = [p for name in r.inputs if (p := producer.get(name)) and p not in done and p not in opened]
            if r in done or (r in opened and not waiting):
                stack.pop()
                done.setdefault(r)
            else:
                opened.add(r)
                stack += waiting
    return list(done)
