"""Questions about dims. Equal means provably equal: the same number or the same name."""

from __future__ import annotations

from graphopt.ir.graph import Dim, Shape

#: Names that exporters write for "I do not know"; they say nothing about equality.
ANONYMOUS = frozenset({"?", "None", "-1", "unknown", "*"})


def same_dims(a: Dim, b: Dim) -> bool | None:
    """Whether two dims are equal: True, False, or None where nobody can tell."""
    if a is None or b is None:
        return None
    if a == b:
        return True
    return False if isinstance(a, int) and isinstance(b, int) else None


def same_shape(a: Shape | None, b: Shape | None) -> bool | None:
    """Whether two shapes are equal: True, False, or None where nobody can tell."""
    if a is None or b is None:
        return None
    if len(a) != len(b):
        return False
    answers = [same_dims(p, q) for p, q in zip(a, b, strict=True)]
    if False in answers:
        return False
    return None if None in answers else True


def is_static(shape: Shape | None) -> bool:
    """Whether every dim is a number."""
    return shape is not None and all(isinstance(d, int) for d in shape)


def broadcast(a: Shape | None, b: Shape | None) -> Shape | None:
    """The shape of an elementwise result (ONNX multidirectional broadcasting); None where the rank is unknown.

    A named or unknown dim against a number above 1 is that number, since anything else could not run.
    Raises ValueError where the shapes can never be broadcast.
    """
    if a is None or b is None:
        return None
    if a == b and None not in a:
        return a
    n = max(len(a), len(b))
    out: list[Dim] = []
    for p, q in zip((1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b, strict=True):
        if p == q or q == 1:
            out.append(p)
        elif p == 1:
            out.append(q)
        elif isinstance(p, int):
            if isinstance(q, int):
                raise ValueError(f"shapes {a} and {b} cannot be broadcast")
            out.append(p)
        else:
            out.append(q if isinstance(q, int) else None)
    return tuple(out)
