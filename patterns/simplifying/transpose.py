"""Transpositions: compose, cancel, drop."""

from __future__ import annotations

from graphopt.rewrite import Perm, op, rule


@rule(exact=True)
def transpose_transpose(x, p: Perm, q: Perm):
    """Two transpositions are one."""
    yield op.Transpose(op.Transpose(x, perm=p), perm=q)
    yield op.Transpose(x, perm=[p[i] for i in q])


@rule(exact=True)
def transpose_nothing(x, p: Perm):
    """A transposition that keeps the order does nothing."""
    yield op.Transpose(x, perm=p)
    if p != sorted(p):
        return "the order changes"
    yield x
