"""Decision trees as tables, and all examples' way through all trees, one level at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array

#: What sends an example to the true side: functions of feature and split, in the order of TreeEnsemble's numbers.
_COMPARISONS = {
    "BRANCH_LEQ": "less_equal",
    "BRANCH_LT": "less",
    "BRANCH_GTE": "greater_equal",
    "BRANCH_GT": "greater",
    "BRANCH_EQ": "equal",
    "BRANCH_NEQ": "not_equal",
}
MODES = (*_COMPARISONS, "BRANCH_MEMBER")
_MEMBER = MODES.index("BRANCH_MEMBER")
#: What a target holds before the values of trees are added to it, or compared with it.
_NOTHING = {"SUM": 0.0, "AVERAGE": 0.0, "MIN": np.inf, "MAX": -np.inf}


@dataclass(frozen=True, eq=False)
class Members:
    """Sets of values that nodes look for.

    Attributes:
        values: of all sets, in ascending order.
        of: the set of each node.
        table: whether a set has a value; a last column for what is no value of any set.
    """

    values: np.ndarray
    of: np.ndarray
    table: np.ndarray


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees. Inner nodes are numbered first, leaves after them, and a leaf is its own child.

    Attributes:
        feature: which element of an example a node looks at.
        split: what it compares it with.
        mode: how, as a position in MODES.
        modes: the modes that occur.
        missing: NaN goes to the true side; None: nowhere.
        members: sets that nodes of BRANCH_MEMBER look for.
        children: of node i, 2 i where it goes to the false side and 2 i + 1 where to the true side.
        roots: of the trees.
        inner: number of inner nodes.
        depth: of the deepest tree.
        features: how many an example must have.
        tree: of each leaf, -1 where no tree has it; None: some are shared between trees.
        values: of each leaf (in rows) for each target.
        given: whether a leaf has a value for a target.
        groups: for each target its trees, where each tree has a single target; None: there is no such order.
        aggregate: what is done with the values from all trees.
    """

    feature: np.ndarray
    split: np.ndarray
    mode: np.ndarray
    modes: tuple[int, ...]
    missing: np.ndarray | None
    members: Members | None
    children: np.ndarray
    roots: np.ndarray
    inner: int
    depth: int
    features: int
    tree: np.ndarray | None
    values: np.ndarray
    given: np.ndarray
    groups: tuple[np.ndarray, ...] | None
    aggregate: str


# -------------------------------------------------------------------------------------------------------------- building
def grown(
    feature: np.ndarray,
    split: np.ndarray,
    mode: np.ndarray,
    missing: Sequence[int] | None,
    false: np.ndarray,
    true: np.ndarray,
    roots: np.ndarray,
    weights: tuple[np.ndarray, np.ndarray, np.ndarray],
    leaves: int,
    targets: int,
    aggregate: str,
    members: np.ndarray | None = None,
) -> Forest:
    """A forest.

    Args:
        feature, split, mode, missing: see `Forest`, of the inner nodes.
        false, true: children of the inner nodes, leaves with the number of inner nodes added.
        roots: of the trees, in the same way.
        weights: leaves, targets, and what a leaf gives to a target.
        leaves: how many there are.
        targets: how many there are.
        aggregate: SUM, AVERAGE, MIN or MAX.
        members: of all sets, NaN after each.

    Raises:
        ValueError: the tables are no trees, or name a target or an aggregate that does not exist.
    """
    if aggregate not in _NOTHING:
        raise ValueError(f"unknown aggregate_function {aggregate!r}; known: {', '.join(_NOTHING)}")
    inner, total = len(feature), len(feature) + leaves
    for nodes in (false, true, roots):
        if nodes.size and not 0 <= nodes.min() <= nodes.max() < total:
            raise ValueError(f"there is no node or leaf {nodes.max()} among {inner} nodes and {leaves} leaves")
    leaf, target, weight = weights
    if target.size and not 0 <= target.min() <= target.max() < targets:
        raise ValueError(f"target {target.max()} is none of {targets}")
    children = np.empty(2 * total, np.intp)
    children[0::2] = np.concatenate([false, np.arange(inner, total)])
    children[1::2] = np.concatenate([true, np.arange(inner, total)])
    values = np.full((leaves, targets), _NOTHING[aggregate], weight.dtype)
    {"MIN": np.minimum, "MAX": np.maximum}.get(aggregate, np.add).at(values, (leaf, target), weight)
    given = np.zeros((leaves, targets), bool)
    given[leaf, target] = True
    tree_of, depth = _explored(children, roots, inner)
    tree = None if tree_of is None else tree_of[inner:]
    nan_is_true = np.zeros(total, bool)
    if missing is not None:
        nan_is_true[: len(missing)] = np.array(missing, bool)
    return Forest(
        feature=np.concatenate([feature, np.zeros(leaves)]).astype(np.intp),
        split=np.concatenate([split, np.zeros(leaves, split.dtype)]),
        mode=np.concatenate([mode, np.full(leaves, -1)]).astype(np.int8),
        modes=tuple(m for m in range(len(MODES)) if (mode == m).any()),
        missing=nan_is_true if nan_is_true.any() else None,
        members=_members(mode, total, members, split.dtype),
        children=children,
        roots=roots.astype(np.intp),
        inner=inner,
        depth=depth,
        features=int(feature.max(initial=-1)) + 1,
        tree=tree,
        values=values,
        given=given,
        groups=None if tree is None else _groups(tree, given, len(roots)),
        aggregate=aggregate,
    )


def _explored(children: np.ndarray, roots: np.ndarray, inner: int) -> tuple[np.ndarray | None, int]:
    """The tree of each node, -1 where no tree leads to it (None: some are shared between trees), and the depth."""
    tree_of = np.full(len(children) // 2, -1)
    node, tree, depth, shared = roots, np.arange(len(roots)), 0, False
    while True:
        shared = shared or bool(((tree_of[node] >= 0) & (tree_of[node] != tree)).any())
        tree_of[node] = tree
        shared = shared or bool((tree_of[node] != tree).any())
        goes_on = node < inner
        if not goes_on.any():
            return None if shared else tree_of, depth
        if depth > inner:
            raise ValueError("a tree leads back into itself")
        depth += 1
        node, tree = node[goes_on], tree[goes_on]
        pairs = np.concatenate([children[2 * node], children[2 * node + 1]]) * len(roots) + np.concatenate([tree, tree])
        pairs.sort()
        node, tree = np.divmod(pairs[np.diff(pairs, prepend=-1) != 0], len(roots))


def _groups(tree: np.ndarray, given: np.ndarray, trees: int) -> tuple[np.ndarray, ...] | None:
    """The trees of each target, where each tree has a single target; see `Forest`."""
    tree, given = tree[tree >= 0], given[tree >= 0]
    target = np.argmax(given, axis=1)
    only = np.zeros(trees, int)
    only[tree] = target  # of any leaf
    if (given.sum(axis=1) != 1).any() or (only[tree] != target).any():
        return None
    return tuple(np.flatnonzero(only == t) for t in range(given.shape[1]))


def _members(mode: np.ndarray, total: int, members: np.ndarray | None, dtype: Any) -> Members | None:
    where = np.flatnonzero(mode == _MEMBER)
    if not where.size:
        return None
    ends = np.flatnonzero(np.isnan(members)) if members is not None else np.zeros(0, int)
    if members is None or len(ends) != len(where):
        raise ValueError(f"membership_values has {len(ends)} sets for {len(where)} nodes of BRANCH_MEMBER")
    owner = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    number = ~np.isnan(members[: len(owner)])
    values, place = np.unique(members[: len(owner)][number].astype(dtype), return_inverse=True)
    table = np.zeros((len(ends), len(values) + 1), bool)
    table[owner[number], place] = True
    of = np.zeros(total, np.intp)
    of[where] = np.arange(len(where))
    return Members(values, of, table)


# --------------------------------------------------------------------------------------------------------------- running
def scores(xp: Backend, forest: Forest, x: Array) -> Array:
    """What all trees give together: a row for each example, a column for each target.

    Args:
        x: examples in rows; sums have their dtype.
    """
    if forest.features > x.shape[1]:
        raise ValueError(f"feature {forest.features - 1} is none of an example's {x.shape[1]}")
    width = len(forest.roots) * (1 if forest.groups is not None else forest.values.shape[1])
    return xp.blockwise(lambda rows: _scores(xp, forest, rows), x, width)


def _scores(xp: Backend, forest: Forest, x: Array) -> Array:
    leaf = _reached(xp, forest, x) - forest.inner
    values = xp.cast(forest.values, x.dtype)
    if forest.groups is None:
        y = _aggregated(xp, forest.aggregate, xp.take(values, leaf, axis=0))
    else:
        columns = [xp.zeros(x.shape[0], x.dtype)] * len(forest.groups)
        for t, trees in enumerate(forest.groups):
            if len(trees):
                columns[t] = _aggregated(xp, forest.aggregate, xp.take(values[:, t], leaf[trees]))
        y = xp.stack(columns, axis=-1)
    return y / len(forest.roots) if forest.aggregate == "AVERAGE" else y


def _aggregated(xp: Backend, aggregate: str, values: Array) -> Array:
    """Values of trees, along the leading axis, as one. Sums are taken in the trees' order, as runtimes round them."""
    if aggregate in ("MIN", "MAX"):
        y = (xp.min if aggregate == "MIN" else xp.max)(values, axis=0)
        return xp.where(xp.isinf(y), 0, y)
    if xp.traces:
        return xp.sum(values, axis=0)
    if values[0].size == 1:  # NumPy would sum in pairs what is one column
        return np.add.accumulate(values, axis=0)[-1]
    return np.add.reduce(values, axis=0)


def _reached(xp: Backend, forest: Forest, x: Array) -> Array:
    """The leaf of each tree (in rows) that each example (in columns) comes to."""
    count, features = x.shape
    flat = x.reshape(-1)
    start = np.arange(count) * features
    known = None if forest.members is None else _places(xp, forest.members, flat)

    def below(node: Array, start: Array) -> Array:
        """The children that examples go to, given by where they start in `flat`."""
        at = start + xp.take(forest.feature, node)
        value = xp.take(flat, at)
        goes = _compared(xp, forest, node, value, None if known is None else xp.take(known, at))
        if forest.missing is not None:
            goes = goes | (xp.take(forest.missing, node) & xp.isnan(value))
        return xp.take(forest.children, 2 * node + goes)

    if not xp.traces:
        return _walked(below, forest, start).reshape(len(forest.roots), count)
    node = xp.zeros((len(forest.roots), count), np.int64) + forest.roots[:, None]
    (node,), _ = xp.scan(lambda state, _: ((below(state[0], start),), ()), (node,), np.arange(forest.depth))
    return node


def _walked(below: Callable[[Array, Array], Array], forest: Forest, start: np.ndarray) -> np.ndarray:
    """The leaves, where those that have arrived are left behind as soon as they are many."""
    node = np.repeat(forest.roots, len(start))
    start = np.tile(start, len(forest.roots))
    leaf, index = node, np.arange(len(node))
    for _ in range(forest.depth):
        node = below(node, start)
        going = node < forest.inner
        if np.count_nonzero(going) < 0.7 * len(node):
            leaf[index] = node
            going = np.flatnonzero(going)
            node, start, index = node[going], start[going], index[going]
    leaf[index] = node
    return leaf


def _compared(xp: Backend, forest: Forest, node: Array, value: Array, known: Array | None) -> Array:
    """Which go to the true side."""
    split = xp.take(forest.split, node)
    if len(forest.modes) != 1:
        mode = xp.take(forest.mode, node)
    goes: Any = False
    for m in forest.modes:
        if m == _MEMBER:
            assert forest.members is not None
            table = forest.members.table
            here = xp.take(table.reshape(-1), xp.take(forest.members.of, node) * table.shape[1] + known)
        else:
            here = getattr(xp, _COMPARISONS[MODES[m]])(value, split)
        goes = here if len(forest.modes) == 1 else goes | ((mode == m) & here)
    return goes


def _places(xp: Backend, members: Members, x: Array) -> Array:
    """Where each number stands among the values of all sets; past the end where it is none of them."""
    count = len(members.values)
    place = xp.minimum(xp.searchsorted(members.values, x), count - 1)
    return xp.where(xp.take(members.values, place) == x, place, count)
