"""Minimum cuts: which of many yes-or-no choices cost least together.

A choice that is 'no' lies on the source's side, one that is 'yes' on the sink's. The flow is Dinic's (1970); with capacities as
small as here its augmenting paths are few and short, and the time is close to linear in the number of edges.
"""

from __future__ import annotations

from collections.abc import Iterable

NO, _YES = 0, 1
#: Costs more than all choices together ever do.
_ENDLESS = 1 << 60


class Choices:
    """Choices, and what their combinations cost. `NO` is the choice that is made already."""

    def __init__(self) -> None:
        self._heads: list[int] = []
        self._room: list[int] = []
        self._edges: list[list[int]] = [[], []]

    def new(self) -> int:
        """One more choice."""
        self._edges.append([])
        return len(self._edges) - 1

    def _edge(self, tail: int, head: int, cost: int) -> None:
        """What it costs that `tail` is no and `head` is yes."""
        if tail == head or head == NO or cost == 0:
            return
        self._edges[tail].append(len(self._heads))
        self._edges[head].append(len(self._heads) + 1)
        self._heads += [head, tail]
        self._room += [cost, 0]

    def prefer(self, choice: int, cost: int) -> None:
        """It costs that much if the choice is yes; a negative number: if it is no."""
        if choice == NO:
            return
        if cost >= 0:
            self._edge(NO, choice, cost)
        else:
            self._edge(choice, _YES, -cost)

    def agree(self, maker: int, readers: Iterable[int], cost: int) -> None:
        """It costs that much, once, if any of the readers differs from the maker."""
        readers = set(readers) - {maker}
        if not readers:
            return
        if readers != {NO}:
            later = self.new()
            self._edge(maker, later, cost)
            for reader in readers:
                self._edge(later, reader, _ENDLESS)
        if maker != NO:
            earlier = self.new()
            self._edge(earlier, maker, cost)
            for reader in readers:
                self._edge(reader, earlier, _ENDLESS)

    def pair(self, a: int, b: int, costs: tuple[tuple[int, int], tuple[int, int]]) -> None:
        """What two choices cost together: costs[a][b]. What no cut can say counts as a little more than it is."""
        (neither, only_b), (only_a, both) = costs
        if a == NO:
            self.prefer(b, only_b - neither)
            return
        self.prefer(a, only_a - neither)
        if b != NO:
            self.prefer(b, both - only_a)
            self._edge(a, b, max(only_b + only_a - neither - both, 0))

    def best(self) -> list[bool]:
        """Whether each choice is yes where all of them cost least; no where both cost the same."""
        while self._augment():
            pass
        reaches = [False] * len(self._edges)  # the sink, with room left
        reaches[_YES] = True
        stack = [_YES]
        while stack:
            at = stack.pop()
            for e in self._edges[at]:
                before = self._heads[e]
                if self._room[e ^ 1] and not reaches[before]:
                    reaches[before] = True
                    stack.append(before)
        return reaches

    def _augment(self) -> bool:
        """Push what goes through along shortest paths; whether there was one."""
        heads, room, edges = self._heads, self._room, self._edges
        depth = [-1] * len(edges)
        depth[NO] = 0
        layer = [NO]
        while layer and depth[_YES] < 0:
            following = []
            for at in layer:
                for e in edges[at]:
                    if room[e] and depth[heads[e]] < 0:
                        depth[heads[e]] = depth[at] + 1
                        following.append(heads[e])
            layer = following
        if depth[_YES] < 0:
            return False
        untried = [0] * len(edges)
        path: list[int] = []
        at = NO
        while True:
            if at == _YES:
                least = min(room[e] for e in path)
                for e in path:
                    room[e] -= least
                    room[e ^ 1] += least
                full = next(i for i, e in enumerate(path) if not room[e])
                at = heads[path[full] ^ 1]
                del path[full:]
            while untried[at] < len(edges[at]):
                e = edges[at][untried[at]]
                if room[e] and depth[heads[e]] == depth[at] + 1:
                    path.append(e)
                    at = heads[e]
                    break
                untried[at] += 1
            else:
                if at == NO:
                    return True
                at = heads[path.pop() ^ 1]
                untried[at] += 1
