"""Which nodes are written for another layout: what costs fewest transpositions.

From the operators for which all this is done, layouts spread to whatever can go along (`Spread`). Every node that can is a
choice then: as it is, or laid out otherwise. Where two neighbours differ, there is a Transpose between them; one that is there
already may go. A minimum cut finds the choices that cost least.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from graphopt.ir import Graph, Model, Node, Value
from graphopt.passes.layout.cut import NO, Choices
from graphopt.passes.layout.form import Form, form_of
from graphopt.passes.layout.permutations import Perm, inverse, is_identity, moves_nothing, reordered, then

#: The costs of a Transpose; of one at an input or output, which `change_interface` can take away; of one that moves nothing but
#: dims of 1; and of an operator that prefers the other layout but does not get it.
TRANSPOSE, INTERFACE, RESHAPE, HEAVY = 16, 15, 1, 16
#: They read whatever is at hand.
AGNOSTIC = frozenset({"Shape", "Size"})


@dataclass(slots=True)
class Regions:
    """What is laid out otherwise.

    Attributes:
        perms: how values are laid there.
        forms: the nodes that are written otherwise, in any order.
        turned: Transposes: whether each reads, and whether it gives, what is laid out otherwise.
    """

    perms: dict[Value, Perm] = field(default_factory=dict)
    forms: dict[Node, Form] = field(default_factory=dict)
    turned: dict[Node, tuple[bool, bool]] = field(default_factory=dict)


class Spread:
    """Spreads layouts over a graph: `lay` says where to begin, `run` does it.

    Args:
        left_alone: nodes that must stay as they are.
        functions: nodes may become calls of functions, the channels-last forms.
    """

    def __init__(self, model: Model, graph: Graph, left_alone: frozenset[Node], functions: bool = True) -> None:
        self.model = model
        self.graph = graph
        self.left_alone = left_alone
        self.functions = functions
        self.perms: dict[Value, Perm] = {}
        self.forms: dict[Node, Form] = {}
        self._todo: deque[Value] = deque()

    def lay(self, v: Value | None, perm: Perm) -> None:
        """Let a value have this layout, where it has none."""
        if v is None or v.graph is not self.graph or v.const is not None or v in self.perms or is_identity(perm):
            return
        if v.shape is None or len(v.shape) != len(perm):
            return
        self.perms[v] = perm
        self._todo.append(v)

    def run(self) -> None:
        """Let all that can follow have such layouts, too, what is near first."""
        while self._todo:
            self._follow(self._todo.popleft())

    def cross(self) -> None:
        """Let what a Transpose gives be laid as what it reads is, if that has the channels last."""
        for node in _transposes(self):
            x, y, perm = node.inputs[0], node.output, perm_of(node)
            if x in self.perms and perm is not None:
                laid = then(inverse(perm), self.perms[x])
                if laid[0] == 0 and laid[-1] == 1:
                    self.lay(y, laid)
        self.run()

    def _follow(self, v: Value) -> None:
        perm = self.perms[v]
        maker = v.node
        if maker is not None and maker.graph is self.graph and self._free(maker):
            form = form_of(self.model, maker, perm, output=True)
            if form is not None and form.gives.get(v.index) == perm:
                self._take(maker, form)
        for user in v.uses:
            if user.graph is self.graph and self._free(user):
                form = form_of(self.model, user, perm)
                if form is not None and any(form.reads.get(i) == perm for i, u in enumerate(user.inputs) if u is v):
                    self._take(user, form)

    def _free(self, node: Node) -> bool:
        return node not in self.forms and node not in self.left_alone and node.op != "Transpose"

    def _take(self, node: Node, form: Form) -> None:
        """Let a node have a form, where all that it reads and gives can be laid as it says."""
        if form.op is not None and form.op[0] and not self.functions:
            return
        laid = [(node.inputs[i], p) for i, p in form.reads.items()] + [
            (node.outputs[i], p) for i, p in form.gives.items()
        ]
        for v, p in laid:
            if v is None or v.shape is None or len(v.shape) != len(p) or self.perms.get(v, p) != p:
                return
        self.forms[node] = form
        for v, p in laid:
            assert v is not None
            if v not in self.perms:
                self.perms[v] = p
                if v.graph is self.graph:
                    self._todo.append(v)


def perm_of(node: Node) -> Perm | None:
    """The permutation of a Transpose of known rank."""
    x = node.inputs[0]
    if x is None or x.shape is None:
        return None
    perm = node.attributes.get("perm") or list(range(len(x.shape)))[::-1]
    return tuple(perm) if sorted(perm) == list(range(len(x.shape))) else None


def choose(spread: Spread) -> Regions:
    """What costs least."""
    choices = Choices()
    nodes = {node: choices.new() for node in spread.forms}
    sides: dict[Node, tuple[int, int]] = {}
    for node in _transposes(spread):
        x, y = node.inputs[0], node.output
        reads = choices.new() if x in spread.perms else NO
        gives = choices.new() if y in spread.perms else NO
        sides[node] = reads, gives
        costs = [[_turning(node, bool(a), bool(b), spread) for b in (0, 1)] for a in (0, 1)]
        choices.pair(reads, gives, ((costs[0][0], costs[0][1]), (costs[1][0], costs[1][1])))
    for node, choice in nodes.items():
        if spread.forms[node].preferred:
            choices.prefer(choice, -HEAVY)
    for v, perm in spread.perms.items():
        maker = _maker(v, nodes, sides, spread)
        outside = v.graph.owner is None and (v.node is None or v.exits > 0)
        cost = RESHAPE if moves_nothing(v.shape, perm) else INTERFACE if outside else TRANSPOSE
        choices.agree(maker, _readers(v, nodes, sides, spread), cost)
    taken = choices.best()
    return Regions(
        spread.perms,
        {node: spread.forms[node] for node, choice in nodes.items() if taken[choice]},
        {node: (taken[a], taken[b]) for node, (a, b) in sides.items() if taken[a] or taken[b]},
    )


def _transposes(spread: Spread) -> Iterable[Node]:
    """The Transposes of the graph that read, or give, what may be laid out otherwise."""
    found: dict[Node, None] = {}
    for v in spread.perms:
        for node in (v.node, *v.uses):
            if node is None or node.op != "Transpose" or node.graph is not spread.graph or node in spread.left_alone:
                continue
            if perm_of(node) is not None:
                found[node] = None
    return found


def turning(node: Node, reads: bool, gives: bool, perms: dict[Value, Perm]) -> Perm:
    """What is left of a Transpose that reads, or gives, what is laid out otherwise."""
    perm, x = perm_of(node), node.inputs[0]
    assert perm is not None and x is not None
    if gives:
        perm = then(perm, perms[node.output])
    return then(inverse(perms[x]), perm) if reads else perm


def _turning(node: Node, reads: bool, gives: bool, spread: Spread) -> int:
    x = node.inputs[0]
    assert x is not None and x.shape is not None
    if (reads and x not in spread.perms) or (gives and node.output not in spread.perms):
        return 0  # is not asked for
    perm = turning(node, reads, gives, spread.perms)
    if is_identity(perm):
        return 0
    shape = reordered(x.shape, spread.perms[x]) if reads else x.shape
    return RESHAPE if moves_nothing(shape, perm) else TRANSPOSE


def _maker(v: Value, nodes: dict[Node, int], sides: dict[Node, tuple[int, int]], spread: Spread) -> int:
    """Who decides how a value is made."""
    if v.node in sides:
        return sides[v.node][1]
    return nodes[v.node] if v.node in nodes and v.index in spread.forms[v.node].gives else NO


def _readers(v: Value, nodes: dict[Node, int], sides: dict[Node, tuple[int, int]], spread: Spread) -> set[int]:
    """Who decides how a value is read."""
    found = {NO} if v.exits else set()
    for user in v.uses:
        if user in sides:
            found.add(sides[user][0])
        elif user in nodes:
            reads = spread.forms[user].reads
            found |= {nodes[user] if i in reads else NO for i, u in enumerate(user.inputs) if u is v}
        elif user.op not in AGNOSTIC or user.graph is not v.graph:
            found.add(NO)
    return found
