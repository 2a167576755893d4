"""The rewriter: changes graphs, keeps the ledger, and notes which nodes deserve another look."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from graphopt.ir import Graph, Model, Node, Value, op_schema
from graphopt.rewrite.compile import REACH, Compiled
from graphopt.rewrite.ledger import Ledger, NodeRecord
from graphopt.shapes import known_elements, take_over

#: Constants up to this many bytes may be repeated where a graph output is one.
_SMALL = 1024
#: How many nodes of a layer below a change are looked at again at once.
_WIDTH = 16
#: How much further down nodes are looked at again in the next sweep.
_FAR_REACH = 3


class Rewriter:
    """Changes graphs, keeps the ledger, and knows which nodes deserve another look.

    Attributes:
        pending: nodes to look at next.
        changed: nodes of which something is new since the last sweep, what lies below not having been looked at; 1 for those that
            have not been looked at themselves, 0 for others.
        below: nodes that have been looked at since, each with how far it is below a value that was replaced.
        tried: patterns that were tried on a node in vain since something near it changed.
        removable: whether a node that nobody reads may go.
        refuses: why the runtime that the model is for cannot run a new node, None where it can; None: any may be written.
        weigh: what a new node costs; None: every node the same.
    """

    def __init__(
        self,
        model: Model,
        ledger: Ledger,
        removable: Callable[[Node], bool] = lambda node: True,
        refuses: Callable[[Node], str | None] | None = None,
        weigh: Callable[[Node], float] | None = None,
    ) -> None:
        self.model = model
        self.ledger = ledger
        self.removable = removable
        self._lists_weights = model.lists_weights
        self.refuses = refuses
        self.weigh = weigh
        self.pending: dict[Node, None] = {}
        self.changed: dict[Node, int] = {}
        self.below: dict[Node, int] = {}
        self._copies: list[Node] = []
        self._names_given: dict[Value, str] = {}  # of graph outputs to what stands for them now
        model.resolve_shadowing()
        self.tried: dict[Node, set[Compiled]] = {}

    def look_again(self, node: Node) -> None:
        """Try everything on a node again, and on what lies below when the sweep is over."""
        self.pending[node] = None
        self.tried.pop(node, None)
        self.changed.setdefault(node, 0)

    def _retry(self, node: Node, distance: int) -> None:
        """Forget that patterns were tried in vain which reach as far as that."""
        tried = self.tried.get(node)
        if tried:
            self.tried[node] = {c for c in tried if c.size < distance}

    def below_changes(self) -> list[Node]:
        """The nodes below changes that were not looked at with the change, in order.

        A pattern does not see further than its calls reach: small ones stay tried on what is far below.
        """
        again = {n: d for n, d in self.changed.items() if d}
        for n, d in _below(self.changed, _FAR_REACH).items():
            again[n] = min(d, again.get(n, d))
        for n, d in _below(self.below, REACH + _FAR_REACH).items():
            d = max(d, REACH + 1)
            again[n] = min(d, again.get(n, d))
        self.changed.clear()
        self.below.clear()
        for n, d in again.items():
            self._retry(n, d)
        return sorted((n for n in again if n.graph is not None), key=lambda n: n.position)

    @staticmethod
    def can_replace(old: Value, new: Value, before: Node) -> bool:
        """Whether `new` may stand for `old`, whose producer is `before`: an output of a graph must have a producer there."""
        return not old.exits or before.op != "Identity" or _takes_name(old, new)

    def replace(self, old: Value, new: Value, before: Node, anchor: Node | None = None) -> None:
        """Let everybody read `new` instead of `old`, whose producer is `before`; names of graph outputs are kept.

        `anchor`: the node in front of which everything is there already, where that is not `before`.
        """
        if old.exits and not _takes_name(old, new):
            self._copy_to_output(old, new, before, anchor or before)
            return
        output = old.exits > 0
        old.replace_uses(new)
        if output:
            self._exchange_names(old, new, before)
        for node in take_over(self.model, old, new):
            self.look_again(node)
            for user in node.users():
                self.look_again(user)
        self._look_below(new)

    def _copy_to_output(self, old: Value, new: Value, before: Node, anchor: Node) -> None:
        """Let a graph output be a copy of `new`, and everybody else read `new` itself."""
        graph = old.graph
        if new.const is not None and _constant_takes(graph, new.dtype) and (new.const.nbytes <= _SMALL or not new.used):
            node = Node("Constant", [], attributes={"value": new.const})
        else:
            node = Node("Identity", [new])
        node.name = self.model.fresh_name(f"{old.name}_{node.op}")
        node.graph = graph
        copy = node.new_output(self.model.fresh_name(f"{node.name}_output"))
        copy.dtype, copy.shape, copy.type, copy.known = old.dtype, old.shape, old.type, known_elements(new)
        if node.op == "Constant":
            copy.const = new.const
        graph.insert_before(anchor, node)
        self._copies.append(node)
        for user in list(old.uses):
            for i, v in enumerate(user.inputs):
                if v is old:
                    user.set_input(i, new)
        old.replace_uses(copy)
        self._exchange_names(old, copy, before)
        self._look_below(new)

    @staticmethod
    def constant_output(v: Value, size: int) -> bool:
        """Whether a graph output may be a Constant of its own of so many bytes."""
        return size <= _SMALL and _constant_takes(v.graph, v.dtype)

    def drop_if_unused(self, v: Value) -> None:
        """Take out a constant that was added but that nobody reads after all."""
        if v.used:
            return
        if v.node is not None:
            self.erase_if_dead(v.node, matched={v.node})
        elif v in v.graph.initializers:
            v.graph.remove_initializer(v)

    def take_copies(self) -> list[NodeRecord]:
        """The copies that were made for graph outputs since the last call."""
        copies = [record(n) for n in self._copies if n.graph is not None]
        self._copies.clear()
        return copies

    def _exchange_names(self, old: Value, new: Value, before: Node) -> None:
        name = self._names_given[old] = old.name
        old.name = self.model.fresh_name(name)
        before.touch()
        new.rename(name)

    def insert(self, node: Node, before: Node) -> None:
        """Put a node in front of another one."""
        assert before.graph is not None
        before.graph.insert_before(before, node)
        self.pending[node] = None
        self.below[node] = 0

    def add_constant(self, v: Value, before: Node) -> None:
        """Give a constant that was made outside the graph its place: an initializer; a Constant node in a function, and in a
        model of IR version 3 whose weights are inputs, which it becomes version 4 for only where there can be no such node.
        """
        graph = before.graph
        assert graph is not None and v.const is not None
        if not is_function_body(graph) and not (self._lists_weights and _constant_takes(graph, v.dtype)):
            graph.model.ir_version = max(graph.model.ir_version, 4)
            graph.initializers[v] = v.const
            graph.touch()
            return
        node = Node("Constant", [], name=self.model.fresh_name(f"{v.name}_Constant"), attributes={"value": v.const})
        node.outputs.append(v)
        v.node = node
        graph.insert_before(before, node)

    def erase_if_dead(self, node: Node, gone: list[NodeRecord] | None = None, matched: Collection[Node] = ()) -> int:
        """Remove a node that nobody reads, and its producers that nobody reads then; how many Constants apart.

        `matched`: nodes that a rule has replaced; they go even if they are not `removable` otherwise.
        """
        count = 0
        stack = [node]
        while stack:
            n = stack.pop()
            if n.graph is None or any(v is not None and v.used for v in n.outputs):
                continue
            if n not in matched and not self.removable(n):
                continue
            read = list(Graph._reads(n))
            if gone is not None:
                gone.append(record(n, self._names_given))
                gone += [record(inner) for sub in n.subgraphs for inner in sub.walk()]
            n.graph.remove(n)
            self.pending.pop(n, None)
            count += n.op != "Constant"
            for v in read:
                if v.node is not None and v.node.graph is not None:
                    if not v.used:
                        stack.append(v.node)
                    else:
                        self._read_less(v)
                elif not v.used and v in v.graph.initializers and v.const is not None:
                    v.graph.remove_initializer(v)
        return count

    def note_merged(self, value: Value, read: Iterable[Value | None]) -> None:
        """Note that a value took over the users of one that was the same, whose producer read these."""
        if value.node is not None:
            self.look_again(value.node)
        self._look_below(value)
        for v in read:
            if v is not None and v.node is not None:
                self._read_less(v)

    def _read_less(self, value: Value) -> None:
        """Look again at what made a value, now that it has a user less, and at its last user."""
        assert value.node is not None
        self.look_again(value.node)
        if len(value.uses) == 1:
            self.look_again(next(iter(value.uses)))

    def _look_below(self, value: Value) -> None:
        """Queue the nodes below a value that a pattern through it may start from."""
        layer = list(value.uses)
        for distance in range(1, REACH + 1):
            below: list[Node] = []
            for n in layer[:_WIDTH]:
                self.pending[n] = None
                self._retry(n, distance)
                self.below[n] = min(distance, self.below.get(n, distance))
                below.extend(n.users())
            for n in layer[_WIDTH:]:
                self.changed[n] = 1
            layer = below


def _below(start: Mapping[Node, int], reach: int) -> dict[Node, int]:
    """The nodes below some that are a distance away from changes, each with its own, up to `reach`."""
    found: dict[Node, int] = {}
    layers: list[list[Node]] = [[] for _ in range(reach + 1)]
    for n, distance in start.items():
        if n.graph is not None:
            layers[distance].append(n)
    for distance in range(reach):
        for n in layers[distance]:
            for u in n.users():
                if found.get(u, reach + 1) > distance + 1:
                    found[u] = distance + 1
                    layers[distance + 1].append(u)
    return found


def _takes_name(old: Value, new: Value) -> bool:
    """Whether `new` can become the graph output that `old` is by taking its name."""
    return new.node is not None and new.node.graph is old.graph and not new.exits and old.exits == 1


def _constant_takes(graph: Graph, dtype: int) -> bool:
    """Whether a Constant may have this dtype; before opset 9 only floats."""
    schema = op_schema("Constant", graph.opsets.get("", 0))
    return schema is not None and dtype in schema.outputs[0].types


def is_function_body(graph: Graph) -> bool:
    g = graph
    while g.parent is not None:
        g = g.parent
    return g is not g.model.graph


def record(node: Node, names: Mapping[Value, str] | None = None) -> NodeRecord:
    """What the ledger keeps of a node; `names` are those of values that have another one by now."""
    named = names or {}
    first, *more = ["" if v is None else named.get(v, v.name) for v in node.outputs] or [""]
    inputs = tuple(["" if v is None else named.get(v, v.name) for v in node.inputs])
    return NodeRecord(node.op, node.name, first, inputs, tuple(more))
