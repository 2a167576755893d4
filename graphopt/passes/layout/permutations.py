"""Permutations of axes: `laid = transpose(x, p)`, so that axis k of what is laid is axis p[k] of x."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.exec.kernels.channels_last import to_first, to_last
from graphopt.ir import Shape

Perm = tuple[int, ...]

__all__ = ["Perm", "inverse", "is_identity", "moved", "moves_nothing", "reordered", "then", "to_first", "to_last"]


def inverse(p: Sequence[int]) -> Perm:
    """What takes p back."""
    out = [0] * len(p)
    for k, axis in enumerate(p):
        out[axis] = k
    return tuple(out)


def then(p: Sequence[int], q: Sequence[int]) -> Perm:
    """p, then q."""
    return tuple([p[k] for k in q])


def is_identity(p: Sequence[int]) -> bool:
    """Whether it keeps the order."""
    return all(k == axis for k, axis in enumerate(p))


def moved(axis: int, p: Perm) -> int:
    """Where an axis, which may be counted from the end, is afterwards."""
    return p.index(axis % len(p))


def reordered(shape: Shape, p: Perm) -> Shape:
    """The dims of what is laid."""
    return tuple([shape[axis] for axis in p])


def moves_nothing(shape: Shape | None, p: Sequence[int]) -> bool:
    """Whether it moves nothing but dims of 1, so that no element goes elsewhere in memory."""
    if shape is None or len(shape) != len(p):
        return False
    large = [axis for axis in p if shape[axis] != 1]
    return large == sorted(large)
