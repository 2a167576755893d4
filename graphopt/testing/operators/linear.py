"""Products of matrices."""

from __future__ import annotations

import numpy as np

from graphopt.testing.building.builder import Invalid
from graphopt.testing.building.recipes import WITH_WEIGHTS
from graphopt.testing.operators.elementwise import FLOATING, narrower
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Shape, Site
from graphopt.testing.values import np_dtype


def with_gaps(s: Site, i: int, shape: Shape, axis: int) -> np.ndarray | None:
    """Weights that some of the inputs along an axis meet as zeros only, for rules that look for these; None for others."""
    if not s.operators >= WITH_WEIGHTS or s.dtype(i) not in FLOATING or s.choices.chance(8):
        return None
    random = s.random()
    weights = random.standard_normal(shape)
    n = shape[axis]
    gaps = s.choices.integer(1, n - 1) if n > 1 and not s.choices.chance(8) else s.choices.one([0, n])
    np.moveaxis(weights, axis, 0)[random.permutation(n)[:gaps]] = 0
    return weights.astype(np_dtype(s.dtype(i)))


@operands("MatMul", ranks={0: (1, 4), 1: (1, 4)}, carries=(0,))
def matmul(s: Site) -> None:
    a, b = s.shape(0), s.shape(1)
    if s.wanted is not None and len(s.wanted) == 2 and not s.choices.chance(8):
        k = a[-1] if a else b[0] if b else s.dim()
        a, b = a or (s.wanted[0], k), b or (k, s.wanted[1])
    if a is None and b is None:
        a = s.new_shape(0, 1)
    if a == () or b == ():
        raise Invalid("MatMul of a scalar")
    if b is None:
        assert a is not None
        k = a[-1]
        batch = s.choices.weighted(((4, ()), (40 if s.batches else 2, a[:-2]), (1, (1,) * len(a[:-2])), (1, (2,))))
        low, high = s.ranks(1)
        b = (k,) if s.choices.chance(8) and low <= 1 else (*batch, k, s.dim())
        if not low <= len(b) <= high:
            b = (*(1,) * (low - 2), k, s.dim()) if low > 1 else (k, s.dim())
    elif a is None:
        k = b[0] if len(b) == 1 else b[-2]
        batch = s.choices.one([(), b[:-2], (2,)])
        low, high = s.ranks(0)
        beside = s.wanted is not None and len(s.wanted) > 1 and len(b) == 2 and low <= len(s.wanted) <= high
        a = (k,) if s.choices.chance(8) and low <= 1 else (*batch, s.dim(), k)
        if beside and s.wanted is not None and not s.choices.chance(3):
            a = (*s.wanted[:-1], k)
        if not low <= len(a) <= high:
            a = (*(1,) * (low - 2), s.dim(), k) if low > 1 else (s.dim(), k)
    s.operand(0, a or ())
    s.operand(1, b, array=with_gaps(s, 1, b, 0) if len(b) == 2 else None)


def _as_bias(s: Site) -> dict[int, Shape]:
    """What is added to a product had best be of its shape."""
    return {} if s.wanted is None else {2: s.wanted}


@operands("Gemm", ranks={0: (2, 2), 1: (2, 2), 2: (0, 2)}, plan=_as_bias)
def gemm(s: Site) -> None:
    left = s.parameter("transA", lambda: s.choices.one([0, 1]), 0)
    right = s.parameter("transB", lambda: s.choices.one([0, 1]), 0)
    a, b = s.shape(0), s.shape(1)
    if (a is not None and len(a) != 2) or (b is not None and len(b) != 2):
        raise Invalid("Gemm of what are no matrices")
    if a is not None:
        m, k = a[::-1] if left else a
    else:
        m, k = s.dim(), s.dim() if b is None else b[1 if right else 0]
    n = s.dim() if b is None else b[0 if right else 1]
    if s.wanted is not None and len(s.wanted) == 2:
        m, n = m if a is not None else s.wanted[0], n if b is not None else s.wanted[1]
    s.operand(0, (k, m) if left else (m, k))
    w = (n, k) if right else (k, n)
    s.operand(1, w, array=with_gaps(s, 1, w, right))
    s.operand(2, narrower(s, (m, n)))
    if s.dtype(0) in FLOATING:
        s.number("alpha", 0.5, 2.5, 1.0)
        s.number("beta", 0.5, 2.5, 1.0)
    else:  # of which something is cut off
        s.parameter("alpha", lambda: s.choices.one([0.5, 1.5, 0.5, 2.0]), None if s.asks("alpha") else 1.0)
        s.parameter("beta", lambda: s.choices.one([0.5, 1.5, 2.0]), 1.0)


@operands("MatMulInteger", ranks={0: (2, 3), 1: (2, 2)})
def matmul_integer(s: Site) -> None:
    a: Shape = s.shape(0) or s.new_shape(0, 2, 3, empty=False)  # sums of nothing are left undefined
    s.operand(0, a)
    s.operand(1, (a[-1], s.dim()))
    s.operand(2, ())
    s.operand(3, ())


@operands("Einsum")
def einsum(s: Site) -> None:
    m, k, n = s.dim(), s.dim(), s.dim()
    b = s.choices.integer(1, 3)
    known: list[tuple[str, list[Shape]]] = [
        ("ij,jk->ik", [(m, k), (k, n)]),
        ("bij,bjk->bik", [(b, m, k), (b, k, n)]),
        ("bij,kj->bik", [(b, m, k), (n, k)]),
        ("ij->ji", [(m, k)]),
        ("bij->jb", [(b, m, k)]),
        ("ij,ij->i", [(m, k), (m, k)]),
        ("ii->i", [(m, m)]),
        ("bhid,bhjd->bhij", [(b, 2, m, k), (b, 2, n, k)]),
        ("ij,jk,kl->il", [(m, k), (k, n), (n, b)]),
        ("i,j,k,l->ijkl", [(m,), (k,), (n,), (b,)]),
    ]
    options = [e for e in known if s.count in (0, len(e[1]))]
    if not options:
        raise Invalid(f"Einsum of {s.count} operands")
    equation, shapes = s.choices.one(options)
    s.parameter("equation", lambda: equation)
    for i, shape in enumerate(shapes):
        s.operand(i, shape)
