"""What a model tells about its dims: which names and expressions must be the same number for it to run at all."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Dim, Graph, Model, Node, Shape, Value
from graphopt.shapes.dims import FRESH, complexity, is_anonymous, names_in, same_dims, substitute


class Facts:
    """Equalities that were learnt, and why what is unknown is unknown.

    What was learnt in a body that may not run holds inside it: `scope` is the number of the first name that was made up in
    it, and only such names are replaced meanwhile.

    Attributes:
        reasons: why nothing is known of a value.
        conflicts: contradictions that were met: what one node says against what another says.
        refused: nodes that cannot take their inputs, and why.
        unrunnable: bodies with such a node in them: a session may look into them, but cannot get there.
        left_alone: producers of outputs that have another shape than the file says, and what computes their shapes: a
            checker that saw more of them would refuse the model.
        decided: the branch that an If must take: 0 for the first, 1 for the second.
        learnt: something was learnt since the last `settle`.
    """

    def __init__(self) -> None:
        self.reasons: dict[Value, str] = {}
        self.conflicts: list[str] = []
        self.refused: dict[Node, str] = {}
        self.unrunnable: frozenset[Graph] = frozenset()
        self.left_alone: frozenset[Node] = frozenset()
        self.decided: dict[Node, int] = {}
        self.learnt = False
        self.scope: int | None = None
        self._made = 0
        self._names: dict[str, Dim] = {}  # what a name stands for
        self._same: dict[Dim, Dim] = {}  # an expression that is another one

    def copy(self) -> Facts:
        """The same knowledge, to try something out."""
        other = Facts()
        for name, value in vars(self).items():
            setattr(other, name, value.copy() if isinstance(value, (dict, list)) else value)
        return other

    @property
    def knows_anything(self) -> bool:
        """Whether any equality was learnt."""
        return bool(self._names or self._same)

    def conflict(self, message: str) -> None:
        """Note a contradiction; what was known before stays."""
        self.conflicts.append(message)

    def fresh(self) -> str:
        """A new name for a dim of which nothing is known."""
        self._made += 1
        return f"{FRESH}{self._made}"

    @property
    def equalities(self) -> list[tuple[Dim, Dim]]:
        """What was learnt about dims that the model declares: pairs that are the same number whenever it runs."""
        pairs = [*self._names.items(), *self._same.items()]
        return [(a, b) for a, b in pairs if not is_anonymous(a) and not is_anonymous(b)]

    @property
    def made(self) -> int:
        """How many names were made up."""
        return self._made

    def canonical(self, d: Dim) -> Dim:
        """A dim in the terms that tell most."""
        if isinstance(d, int) or d is None:
            return d
        if self._names:
            d = substitute(d, self._names)
        return self._same.get(d, d) if self._same else d

    def canonical_shape(self, shape: Shape | None) -> Shape | None:
        """A shape in the terms that tell most."""
        if shape is None or not (self._names or self._same):
            return shape
        return tuple([d if isinstance(d, int) else self.canonical(d) for d in shape])

    def canonical_elements(self, array: np.ndarray) -> np.ndarray:
        """The same for the elements of a shape tensor."""
        flat = [e if e is None or isinstance(e, int) else self.canonical(e) for e in array.reshape(-1)]
        if all(p is q for p, q in zip(flat, array.reshape(-1), strict=True)):
            return array
        out = np.empty(array.shape, object)
        out.reshape(-1)[:] = flat
        return out

    def equate(self, a: Dim, b: Dim) -> Dim:
        """Learn that two dims are the same number, since the model could not run otherwise; the one that tells more.

        Raises ValueError where they cannot be.
        """
        a, b = self.canonical(a), self.canonical(b)
        if a is None or b is None:
            return b if a is None else a
        if a == b:
            return a
        if same_dims(a, b) is False:
            raise ValueError(f"{a} and {b} must be equal and are not")
        if complexity(b) < complexity(a):
            a, b = b, a
        if isinstance(b, str):  # a: the better of the two
            if self._may_replace(b) and b not in names_in(a) and not (isinstance(a, int) and not b.startswith(FRESH)):
                self._bind(b, a)
        elif isinstance(a, str) and a.startswith(FRESH) and self._may_replace(a) and a not in names_in(b):
            self._bind(a, b)
            return b
        elif self.scope is None:
            self._same[b] = a
            self.learnt = True
        return a

    def _may_replace(self, name: str) -> bool:
        if self.scope is None:
            return True
        return name.startswith(FRESH) and name[1:].isdigit() and int(name[1:]) > self.scope

    def _bind(self, name: str, d: Dim) -> None:
        """Let a name stand for something else from now on."""
        binding = {name: d}
        self._names = {n: substitute(old, binding) for n, old in self._names.items()}
        self._names[name] = d
        self.learnt = self.learnt or self.scope is None
        before, self._same = self._same, {}
        for p, q in before.items():
            self.equate(substitute(p, binding), substitute(q, binding))

    def escapes(self, d: Dim, since: int) -> bool:
        """Whether a dim has a name in it that was made up after `since`."""
        if not is_anonymous(d):
            return False
        return d is None or any(n.startswith(FRESH) and n[1:].isdigit() and int(n[1:]) > since for n in names_in(d))


def merged(old: Shape | None, new: Shape | None) -> Shape | None:
    """What two descriptions of one tensor know together; None where they know no rank, or contradict each other."""
    if old is None or new is None:
        return new if old is None else old
    if len(old) != len(new):
        return None
    return tuple([p if p == q or complexity(p) <= complexity(q) else q for p, q in zip(old, new, strict=True)])


def facts_of(model: Model) -> Facts:
    """What is known about the dims of a model."""
    if model.facts is None:
        model.facts = Facts()
    facts: Facts = model.facts
    return facts
