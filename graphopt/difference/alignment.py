"""Which node of one model is which of another, and what differs between partners."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial

from graphopt.difference.fingerprints import Fingerprints, Interner
from graphopt.difference.words import change_of_constant, type_text
from graphopt.ir import Graph, Model, Node, Value
from graphopt.ir.text import value_text

#: Constants with more elements than this are hardly the same by chance.
_MARKED = 8


class Alignment:
    """Two models, node by node.

    Attributes:
        partner: nodes of the first model to those of the second.
        back: the other way round.
        graphs: graphs that correspond, in order: main graphs, bodies of partners, functions of one name.
        places: the name of each graph in sentences; '' is the main one.
    """

    def __init__(self, a: Model, b: Model) -> None:
        intern = Interner()
        self.a, self.b = Fingerprints(a, intern), Fingerprints(b, intern)
        self.partner: dict[Node, Node] = {}
        self.back: dict[Node, Node] = {}
        self._inputs: dict[Value, Value] = {}
        self.places: dict[Graph, str] = {}
        self.graphs: list[tuple[Graph, Graph]] = []
        self._numbers = [
            {"up": x.up(x.exact), "down": x.down(x.exact), "like_up": x.up(x.loose), "like_down": x.down(x.loose)}
            for x in (self.a, self.b)
        ]
        self._align(a.graph, b.graph, "")
        for key in sorted(a.functions.keys() & b.functions.keys()):
            self._align(a.functions[key].graph, b.functions[key].graph, f"function {key[0]}::{key[1]}")

    # ----------------------------------------------------------------------------------------------------- partners
    def _align(self, ga: Graph, gb: Graph, place: str) -> None:
        self.graphs.append((ga, gb))
        self.places[ga] = self.places[gb] = place
        self._inputs.update(zip(ga.inputs, gb.inputs))
        mine = [n for n in ga if n in self.a.exact]
        theirs = [n for n in gb if n in self.b.exact]
        for kinds in (("up", "down"), ("up",), ("down",), ("like_up", "like_down")):
            keys_a, keys_b = ([numbers[kind] for kind in kinds] for numbers in self._numbers)
            self._pair_by(mine, theirs, partial(_key, keys_a), partial(_key, keys_b))
        for alike_a, alike_b in ((self.a.exact, self.b.exact), (self.a.loose, self.b.loose)):
            self._spread(ga, gb, alike_a.__getitem__, alike_b.__getitem__)
        heavy_a, heavy_b = ([n for n in nodes if _has_weights(n)] for nodes in (mine, theirs))
        self._pair_by(heavy_a, heavy_b, self.a.exact.__getitem__, self.b.exact.__getitem__, alone=True)
        self._spread(ga, gb, _operator, _operator)
        for x in mine:
            y = self.partner.get(x)
            if y is not None and x.subgraphs:
                for (name, p), (other, q) in zip(x.bodies(), y.bodies()):
                    if name == other:
                        self._align(p, q, f"{place}/{_name(x)}.{name}".lstrip("/"))

    def _pair(self, x: Node, y: Node) -> None:
        self.partner[x] = y
        self.back[y] = x

    def _pair_by(
        self,
        mine: Iterable[Node],
        theirs: Iterable[Node],
        key: Callable[[Node], Hashable],
        other_key: Callable[[Node], Hashable],
        alone: bool = False,
    ) -> None:
        """Make partners of nodes without one that have equal keys, in order. `alone`: only where there are no two of a key."""
        groups: dict[Hashable, tuple[list[Node], list[Node]]] = {}
        for n in mine:
            if n not in self.partner:
                groups.setdefault(key(n), ([], []))[0].append(n)
        for n in theirs:
            if n not in self.back and (group := groups.get(other_key(n))) is not None:
                group[1].append(n)
        for xs, ys in groups.values():
            if not alone or len(xs) == len(ys) == 1:
                for x, y in zip(xs, ys):
                    self._pair(x, y)

    def _spread(
        self, ga: Graph, gb: Graph, key: Callable[[Node], Hashable], other_key: Callable[[Node], Hashable]
    ) -> None:
        """Make partners of neighbours of partners that have equal keys, along the edges, as far as that goes."""
        todo = [(x, self.partner[x]) for x in ga if x in self.partner]

        def offer(x: Node | None, y: Node | None) -> None:
            if x not in self.a.exact or y not in self.b.exact or x in self.partner or y in self.back:
                return
            if x.graph is ga and y.graph is gb and key(x) == other_key(y):
                self._pair(x, y)
                todo.append((x, y))

        def offer_users(v: Value | None, w: Value | None) -> None:
            if v is None or w is None:
                return
            waiting: dict[Hashable, list[Node]] = {}
            for y in reversed(w.uses):
                if y in self.b.exact and y not in self.back:
                    waiting.setdefault((other_key(y), y.inputs.index(w)), []).append(y)
            for x in v.uses if waiting else ():
                if x in self.a.exact and x not in self.partner and (ys := waiting.get((key(x), x.inputs.index(v)))):
                    offer(x, ys.pop())

        for v, w in zip(ga.outputs, gb.outputs):
            offer(v.node, w.node)
        for v, w in zip(ga.inputs, gb.inputs):
            offer_users(v, w)
        while todo:
            x, y = todo.pop()
            for read, other in zip(x.inputs, y.inputs):
                offer(None if read is None else read.node, None if other is None else other.node)
            for given, other in zip(x.outputs, y.outputs):
                offer_users(given, other)

    # -------------------------------------------------------------------------------------------------- differences
    def same(self, v: Value | None, w: Value | None) -> bool:
        """Whether two values are the same, given who is whose partner."""
        if v is None or w is None:
            return v is w
        if v.const is not None or w.const is not None:
            return v.const is not None and w.const is not None and self.a.constant(v.const) == self.b.constant(w.const)
        if v.node is not None or w.node is not None:
            return v.node is not None and self.partner.get(v.node) is w.node and v.index == w.index
        return self._inputs[v] is w if v in self._inputs else self.a.sparse(v) == self.b.sparse(w)

    def follows(self, v: Value | None, w: Value | None) -> bool:
        """Whether it is told already that two values differ: one comes from a node that was added or removed."""
        gone = v is not None and v.node is not None and v.node in self.a.exact and v.node not in self.partner
        new = w is not None and w.node is not None and w.node in self.b.exact and w.node not in self.back
        return gone or new

    def changes(self) -> Iterator[tuple[Node, Node, list[str]]]:
        """Partners that differ, and in what."""
        for ga, _ in self.graphs:
            for x in ga:
                y = self.partner.get(x)
                if y is not None and (what := list(self._changes(x, y))):
                    yield x, y, what

    def _changes(self, x: Node, y: Node) -> Iterator[str]:
        mine, theirs = self.a.attributes(x), self.b.attributes(y)
        for name in sorted({*mine, *theirs}):
            if mine.get(name) != theirs.get(name):
                before, after = (value_text(n.attributes.get(name)) for n in (x, y))
                yield f"{name} {before} -> {after}" if before != after else f"{name} {before}: other values"
        if [name for name, _ in x.bodies()] != [name for name, _ in y.bodies()]:
            yield "other bodies"
        for i in range(max(len(x.inputs), len(y.inputs))):
            v, w = (n.inputs[i] if i < len(n.inputs) else None for n in (x, y))
            if self.same(v, w) or self.follows(v, w):
                continue
            if v is not None and w is not None and v.const is not None and w.const is not None:
                yield f"input {i}: {change_of_constant(v.const, w.const)}"
            else:
                yield f"input {i}: {_source(v)} -> {_source(w)}"
        given = [[v is not None and v.used for v in n.outputs] for n in (x, y)]
        if len(given[0]) != len(given[1]):
            yield f"{len(given[0])} -> {len(given[1])} outputs"

    def interface(self) -> Iterator[str]:
        """Differences of what graphs take and give."""
        for ga, gb in self.graphs:
            at = f"{self.places[ga]}: " if self.places[ga] else ""
            dims: tuple[dict[str, str], dict[str, str]] = ({}, {})
            for what, mine, theirs in (("input", ga.inputs, gb.inputs), ("output", ga.outputs, gb.outputs)):
                if len(mine) != len(theirs):
                    yield f"{at}{len(mine)} -> {len(theirs)} {what}s"
                types = zip(*(_types(g, what, d) for g, d in zip((ga, gb), dims)))
                for i, (v, (old, new)) in enumerate(zip(mine, types)):
                    if old != new:
                        yield f"{at}{what} {i} '{v.name}': {old} -> {new}"
            for i, (v, w) in enumerate(zip(ga.outputs, gb.outputs)):
                if not self.same(v, w) and not self.follows(v, w):
                    yield f"{at}output {i} '{v.name}': {_source(v)} -> {_source(w)}"
            for i, (v, w) in enumerate(zip(ga.inputs, gb.inputs)):
                x, y = ga.initializers.get(v), gb.initializers.get(w)
                if (x is None) != (y is None):
                    yield f"{at}input {i} '{v.name}': the default was {'added' if x is None else 'removed'}"
                elif x is not None and y is not None and self.a.constant(x) != self.b.constant(y):
                    yield f"{at}input {i} '{v.name}': the default: {change_of_constant(x, y)}"
        before, after = self.a.model.functions, self.b.model.functions
        for key in sorted(before.keys() ^ after.keys()):
            yield f"function {key[0]}::{key[1]}: {'removed' if key in before else 'added'}"


def _types(graph: Graph, what: str, dims: dict[str, str]) -> list[str]:
    """The declared types of a graph's inputs or outputs; those of a function have none."""
    if what == "input":
        return [type_text(graph.input_infos.get(v), dims) for v in graph.inputs]
    return [type_text(info, dims) for info in graph.output_infos] or [type_text(None, dims)] * len(graph.outputs)


def _operator(node: Node) -> tuple[str, str]:
    return node.op, node.overload


def _key(numbers: list[dict[Node, int]], node: Node) -> tuple[int, ...]:
    return tuple(n[node] for n in numbers)


def _has_weights(node: Node) -> bool:
    """Whether there is something about a node by which it is known again anywhere."""
    return any(v is not None and v.const is not None and v.const.size > _MARKED for v in node.inputs)


def _name(node: Node) -> str:
    return node.name or next((v.name for v in node.outputs if v is not None), "")


def _source(v: Value | None) -> str:
    """Where a value comes from."""
    if v is None:
        return "nothing"
    if v.const is not None:
        return value_text(v.const)
    if v.node is None:
        return f"'{v.name}'"
    return f"{v.node.op} '{_name(v.node)}'" + (f" output {v.index}" if v.index else "")
