"""Which nodes before became which nodes after, and by what: from the ledger, or from two models alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphopt.rewrite.ledger import NodeRecord, Step
from graphopt.view.data import ModelData


@dataclass(slots=True)
class Change:
    """One thing that was done.

    Attributes:
        rule: of the rule or pass; '' where two models were compared.
        note: what it said about it.
        graph: the graph that was changed.
        removed, added: operator and name of nodes that went and came, those included that others replaced afterwards.
        before: nodes of the model before that it goes back to.
        after: nodes of the model after that it led to.
    """

    rule: str
    note: str
    graph: str
    removed: list[tuple[str, str]]
    added: list[tuple[str, str]]
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Lineage:
    """What two models have in common, and how they differ.

    Attributes:
        kept: nodes of the model after that are the same in the one before, with their numbers there.
        changes: what was done, in order.
    """

    kept: dict[int, int]
    changes: list[Change]


def from_steps(before: ModelData, after: ModelData, steps: Sequence[Step]) -> Lineage:
    """Follow nodes through the steps of an optimisation, also those that came and went on the way."""
    changes: list[Change] = []
    made = _Made()
    parents: list[set[int]] = []
    for number, s in enumerate(steps):
        origins: set[int] = set()
        makers: set[int] = set()
        for r in s.before:
            maker = made.take(r)
            if maker is not None:
                makers.add(maker)
                origins.update(changes[maker].before)
            elif (n := _find(before, r.op, r.output, r.name)) is not None:
                origins.add(n)
        for r in s.after:
            made.put(r, number)
        parents.append(makers)
        removed, added = ([(r.op, r.label) for r in records] for records in (s.before, s.after))
        changes.append(Change(s.rule, s.note, s.graph, removed, added, sorted(origins)))
    led_to: list[set[int]] = [set() for _ in steps]
    kept: dict[int, int] = {}
    for n, node in enumerate(after.nodes):
        output = next((after.values[v].name for v in node.outputs if v >= 0), "")
        record = NodeRecord(node.op, node.name if node.name != output else "", output)
        maker = made.take(record)
        if maker is not None:
            led_to[maker].add(n)
        elif (same := _find(before, record.op, record.output, record.name)) is not None:
            kept[n] = same
    for number in range(len(steps) - 1, -1, -1):
        for parent in parents[number]:
            led_to[parent] |= led_to[number]
        changes[number].after = sorted(led_to[number])
    return Lineage(kept, changes)


class _Made:
    """The nodes that some step has written and none has taken yet, with the numbers of these steps."""

    def __init__(self) -> None:
        self.by_output: dict[tuple[str, str], tuple[NodeRecord, int]] = {}
        self.by_name: dict[tuple[str, str], tuple[NodeRecord, int]] = {}

    def put(self, r: NodeRecord, step: int) -> None:
        self.by_output[r.op, r.output] = r, step
        if r.name:
            self.by_name[r.op, r.name] = r, step

    def take(self, r: NodeRecord) -> int | None:
        """The step that wrote this node, which is not told a second time."""
        found = self.by_output.get((r.op, r.output)) or (self.by_name.get((r.op, r.name)) if r.name else None)
        if found is None:
            return None
        record, step = found
        self.by_output.pop((record.op, record.output), None)
        self.by_name.pop((record.op, record.name), None)
        return step


def _find(data: ModelData, op: str, output: str, name: str) -> int | None:
    """The node of a model that a ledger speaks of."""
    found = data.places.get((op, output))
    return data.named.get((op, name)) if found is None and name else found


def from_models(before: ModelData, after: ModelData) -> Lineage:
    """Match nodes of two models by names and by structure; what is left over, in connected pieces, are the changes."""
    kept = _Matching(before, after).kept
    return Lineage(kept, _pieces(before, after, kept))


class _Matching:
    """Pairs of nodes that do the same: of one name, then of one history, then what pairs read and what reads pairs."""

    def __init__(self, before: ModelData, after: ModelData) -> None:
        self.before, self.after = before, after
        self.kept: dict[int, int] = {}
        self.taken: set[int] = set()
        for place, n in after.places.items():
            if place in before.places:
                self.pair(n, before.places[place])
        self.by_history()
        self.spread()

    def pair(self, after: int, before: int) -> bool:
        if after in self.kept or before in self.taken or not self.alike(after, before):
            return False
        self.kept[after] = before
        self.taken.add(before)
        return True

    def alike(self, after: int, before: int) -> bool:
        a, b = self.after.nodes[after], self.before.nodes[before]
        return a.op == b.op and len(a.outputs) == len(b.outputs)

    def by_history(self) -> None:
        """Pair nodes that compute the same from the same inputs, whatever they are called."""
        known: dict[object, int] = {}
        earlier: dict[int, list[int]] = {}
        for number, h in enumerate(_histories(self.before, known)):
            earlier.setdefault(h, []).append(number)
        for number, h in enumerate(_histories(self.after, known)):
            for candidate in earlier.get(h, ()):
                if self.pair(number, candidate):
                    break

    def spread(self) -> None:
        """From pairs to what they read, and to what alone reads them."""
        readers_before, readers_after = self.before.readers(), self.after.readers()
        todo = list(self.kept.items())
        while todo:
            a, b = todo.pop()
            node_a, node_b = self.after.nodes[a], self.before.nodes[b]
            near = [
                (self.after.values[x].node, self.before.values[y].node)
                for x, y in zip(node_a.inputs, node_b.inputs)
                if x >= 0 and y >= 0
            ]
            for x, y in zip(node_a.outputs, node_b.outputs):
                users_a = {n for n in readers_after.get(x, ()) if n not in self.kept}
                users_b = {n for n in readers_before.get(y, ()) if n not in self.taken}
                if len(users_a) == len(users_b) == 1:
                    near.append((users_a.pop(), users_b.pop()))
            for c, d in near:
                if c < 0 or d < 0 or self.after.nodes[c].attributes != self.before.nodes[d].attributes:
                    continue
                if self.pair(c, d):
                    todo.append((c, d))


def _histories(data: ModelData, known: dict[object, int]) -> list[int]:
    """A number for what each node computes: the same one for the same operators on the same inputs."""
    of_value: dict[int, int] = {}

    def value(v: int) -> object:
        if v in of_value:
            return of_value[v]
        x = data.values[v] if v >= 0 else None
        return None if x is None else (x.constant, x.type) if x.constant else x.name

    found = []
    for node in data.nodes:
        key = (node.op, tuple(sorted(node.attributes.items())), tuple(map(value, node.inputs)))
        number = known.setdefault(key, len(known))
        found.append(number)
        for i, v in enumerate(node.outputs):
            of_value[v] = known.setdefault((number, i), len(known))
    return found


def _pieces(before: ModelData, after: ModelData, kept: dict[int, int]) -> list[Change]:
    """What has no partner, as pieces: nodes that read each other, and pieces on both sides that the same nodes read."""
    parent: dict[tuple[str, int], tuple[str, int]] = {}

    def root(x: tuple[str, int]) -> tuple[str, int]:
        parent.setdefault(x, x)
        while parent[x] != x:
            parent[x] = x = parent[parent[x]]
        return x

    sides = {"before": (before, set(kept.values())), "after": (after, set(kept))}
    for side, (data, paired) in sides.items():
        for n, node in enumerate(data.nodes):
            if n in paired:
                continue
            root((side, n))
            for v in node.inputs:
                producer = data.values[v].node if v >= 0 else -1
                if producer >= 0 and producer not in paired:
                    parent[root((side, n))] = root((side, producer))

    def join(x: int, y: int) -> None:
        """Two values that stand for each other: of the model before, and of the one after."""
        b, a = (before.values[x].node if x >= 0 else -1), (after.values[y].node if y >= 0 else -1)
        if b >= 0 and a >= 0 and ("before", b) in parent and ("after", a) in parent:
            parent[root(("before", b))] = root(("after", a))

    for a, b in kept.items():
        for x, y in zip(before.nodes[b].inputs, after.nodes[a].inputs):
            join(x, y)
    for x, y in zip(before.graphs[0].outputs, after.graphs[0].outputs):
        join(x, y)
    pieces: dict[tuple[str, int], Change] = {}
    for side, n in sorted(parent, key=lambda x: (x[0] != "before", x[1])):
        change = pieces.setdefault(root((side, n)), Change("", "", "", [], []))
        node = sides[side][0].nodes[n]
        (change.before if side == "before" else change.after).append(n)
        (change.removed if side == "before" else change.added).append((node.op, node.name))
    return list(pieces.values())
