"""Ensembles of decision trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.ml import DOMAIN
from graphopt.exec.kernels.ml.forest import MODES, Forest, grown, scores
from graphopt.exec.kernels.ml.scores import TRANSFORMS, completed, labels_of, pick, rows_of, transformed
from graphopt.exec.kernels.registry import Array, kernel


def _examples(xp: Backend, x: Array) -> Array:
    """Rows as trees compare them: as float64 where they are that, else as float32."""
    return rows_of(xp, x, np.float64 if x.dtype == np.float64 else np.float32)


def _regressed(xp: Backend, x: Array, forest: Forest, base: np.ndarray, post_transform: str) -> Array:
    y = scores(xp, forest, x)
    if base.size:
        y = y + xp.constant(base, y)
    return transformed(xp, y, post_transform)


# ------------------------------------------------------------------------------------------------------- TreeEnsemble 5
def _ensemble(
    *,
    aggregate_function: int = 1,
    leaf_targetids: Sequence[int],
    leaf_weights: np.ndarray,
    membership_values: np.ndarray | None = None,
    n_targets: int = 1,
    nodes_falseleafs: Sequence[int],
    nodes_falsenodeids: Sequence[int],
    nodes_featureids: Sequence[int],
    nodes_hitrates: np.ndarray | None = None,
    nodes_missing_value_tracks_true: Sequence[int] | None = None,
    nodes_modes: np.ndarray,
    nodes_splits: np.ndarray,
    nodes_trueleafs: Sequence[int],
    nodes_truenodeids: Sequence[int],
    post_transform: int = 0,
    tree_roots: Sequence[int],
) -> dict[str, Any]:
    count = len(nodes_featureids)
    wide = np.float64 if leaf_weights.dtype == np.float64 else np.float32
    forest = grown(
        feature=np.array(nodes_featureids, int),
        split=nodes_splits.astype(wide),
        mode=nodes_modes.astype(int),
        missing=nodes_missing_value_tracks_true,
        false=np.array(nodes_falsenodeids, int) + count * np.array(nodes_falseleafs, bool),
        true=np.array(nodes_truenodeids, int) + count * np.array(nodes_trueleafs, bool),
        roots=np.array(tree_roots, int),
        weights=(np.arange(len(leaf_weights)), np.array(leaf_targetids, int), leaf_weights.astype(wide)),
        leaves=len(leaf_weights),
        targets=n_targets,
        aggregate=("AVERAGE", "SUM", "MIN", "MAX")[aggregate_function],
        members=membership_values,
    )
    return {"forest": forest, "post_transform": TRANSFORMS[post_transform]}


@kernel("TreeEnsemble", domain=DOMAIN, since=5, wide=True, prepare=_ensemble)
def tree_ensemble(xp: Backend, x: Array, *, forest: Forest, post_transform: str) -> Array:
    """What the trees give together for each target."""
    return _regressed(xp, _examples(xp, x), forest, np.empty(0), post_transform)


# ---------------------------------------------------------------------------------------------- nodes and leaves in one
def _numbers(floats: Sequence[float], tensor: np.ndarray | None) -> np.ndarray:
    """The attribute that is there."""
    return np.array(floats, np.float32) if tensor is None else tensor.reshape(-1)


def _positions(trees: np.ndarray, nodes: np.ndarray, of_trees: np.ndarray, of_nodes: np.ndarray) -> np.ndarray:
    """Where the nodes that are named by tree and number stand among all.

    Raises:
        ValueError: there is no such node.
    """
    if not len(of_nodes):
        return np.zeros(0, int)
    base = 1 + max(int(nodes.max(initial=0)), int(of_nodes.max()))
    keys, wanted = trees * base + nodes, of_trees * base + of_nodes
    order = np.argsort(keys, kind="stable")
    found = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    if (keys[found] != wanted).any():
        i = np.flatnonzero(keys[found] != wanted)[0]
        raise ValueError(f"there is no node {of_nodes[i]} in tree {of_trees[i]}")
    return found


def _listed(
    weights: tuple[Sequence[int], Sequence[int], Sequence[int], np.ndarray],
    targets: int,
    aggregate: str,
    *,
    nodes_falsenodeids: Sequence[int] = (),
    nodes_featureids: Sequence[int] = (),
    nodes_hitrates: Sequence[float] = (),
    nodes_hitrates_as_tensor: np.ndarray | None = None,
    nodes_missing_value_tracks_true: Sequence[int] = (),
    nodes_modes: Sequence[str] = (),
    nodes_nodeids: Sequence[int] = (),
    nodes_treeids: Sequence[int] = (),
    nodes_truenodeids: Sequence[int] = (),
    nodes_values: Sequence[float] = (),
    nodes_values_as_tensor: np.ndarray | None = None,
) -> Forest:
    """A forest from one list of nodes and leaves, where a tree's root comes first.

    Args:
        weights: trees, nodes, targets and values; those of nodes that are no leaves do not count.
    """
    codes = {name: i for i, name in enumerate(MODES[:-1])} | {"LEAF": -1}
    if unknown := set(nodes_modes) - set(codes):
        raise ValueError(f"unknown nodes_modes {unknown.pop()!r}; known: {', '.join(codes)}")
    trees, nodes = np.array(nodes_treeids, int), np.array(nodes_nodeids, int)
    mode = np.array([codes[m] for m in nodes_modes], int)
    split = _numbers(nodes_values, nodes_values_as_tensor)
    false, true, feature = (np.array(a, int) for a in (nodes_falsenodeids, nodes_truenodeids, nodes_featureids))
    if len({len(a) for a in (trees, nodes, mode, split, false, true, feature)}) != 1:
        raise ValueError("the attributes nodes_* differ in length")
    is_leaf = mode < 0
    inner = np.flatnonzero(~is_leaf)
    new = np.empty(len(mode), int)
    new[inner] = np.arange(len(inner))
    new[is_leaf] = np.arange(len(inner), len(mode))
    missing = None
    if nodes_missing_value_tracks_true:
        missing = np.array(nodes_missing_value_tracks_true)[inner] == 1
    given = _positions(trees, nodes, np.array(weights[0], int), np.array(weights[1], int))
    counts = is_leaf[given]
    return grown(
        feature=feature[inner],
        split=split[inner],
        mode=mode[inner],
        missing=missing,
        false=new[_positions(trees, nodes, trees[inner], false[inner])],
        true=new[_positions(trees, nodes, trees[inner], true[inner])],
        roots=new[np.flatnonzero(np.diff(trees, prepend=trees[:1] - 1))],
        weights=(new[given][counts] - len(inner), np.array(weights[2], int)[counts], weights[3][counts]),
        leaves=len(mode) - len(inner),
        targets=targets,
        aggregate=aggregate,
    )


def _regressor(
    *,
    aggregate_function: str = "SUM",
    base_values: Sequence[float] = (),
    base_values_as_tensor: np.ndarray | None = None,
    n_targets: int = 1,
    post_transform: str = "NONE",
    target_ids: Sequence[int] = (),
    target_nodeids: Sequence[int] = (),
    target_treeids: Sequence[int] = (),
    target_weights: Sequence[float] = (),
    target_weights_as_tensor: np.ndarray | None = None,
    **nodes: Any,
) -> dict[str, Any]:
    weights = _numbers(target_weights, target_weights_as_tensor)
    forest = _listed((target_treeids, target_nodeids, target_ids, weights), n_targets, aggregate_function, **nodes)
    base = _numbers(base_values, base_values_as_tensor)
    if base.size not in (0, n_targets):
        raise ValueError(f"{base.size} base_values for {n_targets} targets")
    return {"forest": forest, "base": base, "post_transform": post_transform}


@kernel("TreeEnsembleRegressor", domain=DOMAIN, prepare=_regressor)
def tree_ensemble_regressor(xp: Backend, x: Array, *, forest: Forest, base: np.ndarray, post_transform: str) -> Array:
    """What the trees give together for each target."""
    return xp.cast(_regressed(xp, _examples(xp, x), forest, base, post_transform), np.float32)


# ------------------------------------------------------------------------------------------------------- classification
@dataclass(frozen=True, eq=False)
class Classes:
    """What makes labels and probabilities of scores.

    Attributes:
        labels: of the classes.
        base: what is added to the scores; empty: nothing.
        post_transform: of the scores.
        seen: whether a class gets scores; None: that depends on the example, and the forest counts them.
        single: of two classes, leaves give scores to the same one.
        positive: no leaf gives a negative score.
    """

    labels: np.ndarray
    base: np.ndarray
    post_transform: str
    seen: np.ndarray | None
    single: bool
    positive: bool


def _classifier(
    *,
    base_values: Sequence[float] = (),
    base_values_as_tensor: np.ndarray | None = None,
    class_ids: Sequence[int] = (),
    class_nodeids: Sequence[int] = (),
    class_treeids: Sequence[int] = (),
    class_weights: Sequence[float] = (),
    class_weights_as_tensor: np.ndarray | None = None,
    classlabels_int64s: Sequence[int] | None = None,
    classlabels_strings: Sequence[str] | None = None,
    post_transform: str = "NONE",
    **nodes: Any,
) -> dict[str, Any]:
    labels = labels_of(classlabels_int64s, classlabels_strings)
    weights = _numbers(class_weights, class_weights_as_tensor)
    forest = _listed((class_treeids, class_nodeids, class_ids, weights), len(labels), "SUM", **nodes)
    base = _numbers(base_values, base_values_as_tensor)
    if base.size not in (0, len(labels)) and not base.size == 1 < len(labels) == 2:
        raise ValueError(f"{base.size} base_values for {len(labels)} classes")
    # A class is always seen where all leaves of a tree see it.
    assert forest.tree is not None  # nodes are named by their trees
    lacks = np.zeros((len(forest.roots), len(labels)), bool)
    np.logical_or.at(lacks, forest.tree[forest.tree >= 0], ~forest.given[forest.tree >= 0])
    always, ever = ~lacks.all(axis=0), forest.given.any(axis=0)
    seen: np.ndarray | None = np.asarray(always)
    if (always != ever).any():
        counted = np.concatenate([forest.values, forest.given], axis=1).astype(forest.values.dtype)
        forest, seen = replace(forest, values=counted, groups=None), None
    single = len(labels) == 2 and len(set(class_ids)) == 1
    classes = Classes(labels, base, post_transform, seen, single, bool((weights >= 0).all()))
    return {"forest": forest, "classes": classes}


@kernel("TreeEnsembleClassifier", domain=DOMAIN, prepare=_classifier)
def tree_ensemble_classifier(xp: Backend, x: Array, *, forest: Forest, classes: Classes) -> tuple[Array, Array]:
    """The label of the highest score, and scores of all classes."""
    x = _examples(xp, x)
    y = scores(xp, forest, x)
    count = len(classes.labels)
    seen = xp.asarray(np.broadcast_to(classes.seen, y.shape)) if classes.seen is not None else y[:, count:] > 0
    y = y[:, :count]
    if count == 2:
        return _binary(xp, y, seen, classes)
    if classes.base.size:
        y, seen = y + xp.constant(classes.base, y), xp.ones_like(seen)
    if count == 1:
        best = xp.cast(y[:, 0] > 0, np.int64)
        label = best if classes.labels.dtype != object else pick(xp, classes.labels, 0 * best)
    else:
        label = pick(xp, classes.labels, xp.argmax(xp.where(seen, y, xp.lowest(y.dtype)), axis=1))
    return label, transformed(xp, xp.cast(y, np.float32), classes.post_transform)


def _binary(xp: Backend, y: Array, seen: Array, classes: Classes) -> tuple[Array, Array]:
    """Labels and scores of two classes, of which one may be seen alone: all as in ONNX Runtime, oddities included."""
    base = xp.constant(classes.base, y)
    first, second = y[:, 0], y[:, 1]
    has_first, has_second = seen[:, 0], seen[:, 1]
    if base.size == 2:
        second = xp.where(has_second, first, second) + base[1]
        first = xp.where(has_second, -second, first + base[0])
    elif base.size:
        first = first + base[0]
    first, second = xp.where(has_first, first, 0), xp.where(has_second, second, 0)
    score = xp.where(has_second, second, first)
    best = xp.cast(score > xp.number(0.5 if classes.single and classes.positive else 0, y), np.int64)
    # Where both classes are seen, the label is the number of the class.
    label = pick(xp, classes.labels, best) if classes.single or classes.labels.dtype == object else best
    first, second = xp.cast(first, np.float32), xp.cast(second, np.float32)
    both = transformed(xp, xp.stack([first, second], axis=-1), classes.post_transform)
    if base.size == 2:
        return label, both
    if classes.single or not base.size or classes.post_transform == "PROBIT":
        alone = completed(xp, first, classes.post_transform, classes.single and classes.positive)
    else:
        alone = xp.stack([first, xp.zeros_like(first)], axis=-1)
    return label, xp.where(has_second[:, None], both, alone)
