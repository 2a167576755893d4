"""Which node of one model is which of another, and what differs between partners."""

from __future__ import annotations

from collections.abc import Iterator

from graphopt.difference.fingerprints import Fingerprints, Interner
from graphopt.difference.partners import Key, Partners
from graphopt.difference.words import change_of_constant, type_text
from graphopt.ir import Graph, Model, Node, Value
from graphopt.ir.text import value_text

#: Constants with more elements than this are hardly the same by chance.
_MARKED = 8


class Alignment:
    """Two models, node by node.

    Attributes:
        a: the numbers of the first model.
        b: those of the second.
        partner: nodes of the first model to those of the second.
        back: the other way round.
        graphs: graphs that correspond, in order: main graphs, bodies of partners, functions of one name.
        places: the name of each graph in sentences; '' is the main one.
    """

    def __init__(self, a: Model, b: Model) -> None:
        intern = Interner()
        self.a, self.b = Fingerprints(a, intern), Fingerprints(b, intern)
        self._partners = Partners(self.a.exact, self.b.exact)
        self.partner, self.back = self._partners.of, self._partners.back
        self._inputs: dict[Value, Value] = {}
        self.places: dict[Graph, str] = {}
        self.graphs: list[tuple[Graph, Graph]] = []
        self._keys = list(zip(_keys(self.a), _keys(self.b)))
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
        pairs = self._partners
        for keys in self._keys:
            pairs.pair_unique(mine, theirs, *keys)
        for keys in self._keys:
            pairs.spread(ga, gb, *keys)
        for keys in self._keys:
            pairs.pair_alike(mine, theirs, *keys)
        exact, loose = ((getattr(self.a, k).__getitem__, getattr(self.b, k).__getitem__) for k in ("exact", "loose"))
        pairs.spread(ga, gb, *exact, guess=True)
        pairs.spread(ga, gb, *loose, guess=True)
        pairs.pair_unique(filter(_has_weights, mine), filter(_has_weights, theirs), *exact)
        pairs.spread(ga, gb, _operator, _operator, guess=True)
        for x in mine:
            y = self.partner.get(x)
            if y is not None and x.subgraphs:
                for (name, p), (other, q) in zip(x.bodies(), y.bodies()):
                    if name == other:
                        self._align(p, q, f"{place}/{x.label}.{name}".lstrip("/"))

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
        if len(x.outputs) != len(y.outputs):
            yield f"{len(x.outputs)} -> {len(y.outputs)} outputs"

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


def _keys(f: Fingerprints) -> list[Key]:
    """What nodes are paired by, the surest first."""
    up, down, like_up, like_down = f.up(f.exact), f.down(f.exact), f.up(f.loose), f.down(f.loose)
    return [
        lambda n: (up[n], down[n]),
        up.__getitem__,
        down.__getitem__,
        lambda n: (like_up[n], like_down[n]),
    ]


def _has_weights(node: Node) -> bool:
    """Whether there is something about a node by which it is known again anywhere."""
    return any(v is not None and v.const is not None and v.const.size > _MARKED for v in node.inputs)


def _source(v: Value | None) -> str:
    """Where a value comes from."""
    if v is None:
        return "nothing"
    if v.const is not None:
        return value_text(v.const)
    if v.node is None:
        return f"'{v.name}'"
    return f"{v.node.op} '{v.node.label}'" + (f" output {v.index}" if v.index else "")
