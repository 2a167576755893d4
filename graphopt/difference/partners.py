"""Who is whose partner: nodes of two graphs, paired by keys and along the edges."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from graphopt.ir import Graph, Node, Value

Key = Callable[[Node], Hashable]


class Partners:
    """Partners between two models.

    Attributes:
        of: nodes of the first model to those of the second.
        back: the other way round.
    """

    def __init__(self, mine: Iterable[Node], theirs: Iterable[Node]) -> None:
        self.of: dict[Node, Node] = {}
        self.back: dict[Node, Node] = {}
        self._mine, self._theirs = set(mine), set(theirs)  # Constants apart

    def pair_unique(self, mine: Iterable[Node], theirs: Iterable[Node], key: Key, other_key: Key) -> None:
        """Pair nodes that no other one of their graph has the key of."""
        for xs, ys in self._groups(mine, theirs, key, other_key):
            if len(xs) == len(ys) == 1:
                self._pair(xs[0], ys[0])

    def pair_alike(self, mine: Iterable[Node], theirs: Iterable[Node], key: Key, other_key: Key) -> None:
        """Pair what is left of equal keys, in order; each pair decides for its neighbours before the next one is made."""
        for xs, ys in self._groups(mine, theirs, key, other_key):
            free = iter(ys)
            for x in xs:
                if x not in self.of and (y := next((y for y in free if y not in self.back), None)) is not None:
                    self._pair(x, y)
                    self._spread([(x, y)], key, other_key)

    def spread(self, ga: Graph, gb: Graph, key: Key, other_key: Key, guess: bool = False) -> None:
        """Pair neighbours of partners, and of inputs and outputs, that have equal keys, as far as that goes.

        `guess`: users of a value that are alike in order, too. What a node reads is told apart by its place.
        """
        todo = [(x, self.of[x]) for x in ga if x in self.of]
        for v, w in zip(ga.outputs, gb.outputs):
            self._offer(v.node, w.node, key, other_key, todo)
        for v, w in zip(ga.inputs, gb.inputs):
            self._offer_users(v, w, key, other_key, todo, guess)
        self._spread(todo, key, other_key, guess)

    # -------------------------------------------------------------------------------------------------------- how
    def _pair(self, x: Node, y: Node) -> None:
        self.of[x] = y
        self.back[y] = x

    def _groups(
        self, mine: Iterable[Node], theirs: Iterable[Node], key: Key, other_key: Key
    ) -> list[tuple[list[Node], list[Node]]]:
        """Nodes without a partner by key, of both sides."""
        groups: dict[Hashable, tuple[list[Node], list[Node]]] = {}
        for n in mine:
            if n not in self.of:
                groups.setdefault(key(n), ([], []))[0].append(n)
        for n in theirs:
            if n not in self.back and (group := groups.get(other_key(n))) is not None:
                group[1].append(n)
        return list(groups.values())

    def _spread(self, todo: list[tuple[Node, Node]], key: Key, other_key: Key, guess: bool = False) -> None:
        while todo:
            x, y = todo.pop()
            for v, w in zip(x.inputs, y.inputs):
                self._offer(None if v is None else v.node, None if w is None else w.node, key, other_key, todo)
            for v, w in zip(x.outputs, y.outputs):
                self._offer_users(v, w, key, other_key, todo, guess)

    def _offer(self, x: Node | None, y: Node | None, key: Key, other_key: Key, todo: list[tuple[Node, Node]]) -> None:
        """Pair two nodes if both are free, in graphs that are compared now, and have equal keys."""
        if x not in self._mine or y not in self._theirs or x in self.of or y in self.back:
            return
        if key(x) == other_key(y):
            self._pair(x, y)
            todo.append((x, y))

    def _offer_users(
        self, v: Value | None, w: Value | None, key: Key, other_key: Key, todo: list[tuple[Node, Node]], guess: bool
    ) -> None:
        """Pair users of two values that read them at the same place and have equal keys; in order, or only where there is one."""
        if v is None or w is None:
            return
        waiting: dict[Hashable, tuple[list[Node], list[Node]]] = {}
        for x in v.uses:
            if x in self._mine and x not in self.of:
                waiting.setdefault((key(x), x.inputs.index(v)), ([], []))[0].append(x)
        for y in w.uses if waiting else ():
            if y in self._theirs and y not in self.back and (group := waiting.get((other_key(y), y.inputs.index(w)))):
                group[1].append(y)
        for xs, ys in waiting.values():
            if guess or len(xs) == len(ys) == 1:
                for x, y in zip(xs, ys):
                    self._offer(x, y, key, other_key, todo)
