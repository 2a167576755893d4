"""Products of matrices, and sums over products of tensors."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.ir import Dim, Shape
from graphopt.shapes.dims import broadcast_dims
from graphopt.shapes.operators.normalization import broadcast_into
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo, Unknown


@infers("MatMul")
def matmul(node: Site) -> TypeInfo:
    """The inputs' dtype."""
    return TypeInfo(node.dtype(0) or node.dtype(1), _product(node, 0, 1))


@infers("MatMulInteger")
def matmul_integer(node: Site) -> TypeInfo:
    """Sums are kept in 32 bits."""
    return TypeInfo(TensorProto.INT32, _product(node, 0, 1))


@infers("QLinearMatMul")
def quantized_matmul(node: Site) -> TypeInfo:
    """The dtype of the result's zero point."""
    return TypeInfo(node.dtype(7), _product(node, 0, 3))


def _product(node: Site, i: int, j: int) -> Shape | None:
    """[*batch, m, k] x [*batch, k, n]; a vector is a row on the left and a column on the right, without its 1."""
    a, b = node.shape(i), node.shape(j)
    if a == () or b == ():
        raise ValueError(f"{node.op_type}: a scalar is no matrix")
    if a is None or b is None:
        return None
    node.equate(a[-1], b[-2] if len(b) > 1 else b[0])
    batch = node.broadcast(a[:-2], b[:-2])
    assert batch is not None
    return batch + a[-2:-1] + (b[-1:] if len(b) > 1 else ())


@infers("Gemm")
def gemm(node: Site) -> TypeInfo:
    """[m, k] x [k, n], each of them transposed or not; from opset 7 on what is added broadcasts into the product."""
    (m, k), (other, n) = _matrix(node, 0, "transA"), _matrix(node, 1, "transB")
    node.equate(k, other)
    added = node.shape(2) if node.version >= 7 else None
    if added is not None:
        if len(added) > 2:
            raise ValueError(f"Gemm: {added} does not broadcast into a matrix")
        for d in added[-1:]:
            n = broadcast_into(node, n, d)
        for d in added[:-1]:
            m = broadcast_into(node, m, d)
    return TypeInfo(node.dtype(0) or node.dtype(1), node.or_fresh((m, n)))


def _matrix(node: Site, i: int, transposed: str) -> tuple[Dim, Dim]:
    x = node.shape(i)
    if x is None:
        return None, None
    if len(x) == 1 and node.op_type == "Gemm":  # against the specification, but a runtime takes it for a row
        raise Unknown("an input is a vector")
    if len(x) != 2:
        raise ValueError(f"{node.op_type} takes matrices, not {x}")
    return (x[1], x[0]) if node.attribute(transposed, 0) else (x[0], x[1])


@infers("Det")
def determinant(node: Site) -> TypeInfo:
    """One number for each matrix; they are square."""
    x = node.shape(0)
    if x is None:
        return TypeInfo(node.dtype(0), None)
    if len(x) < 2:
        raise ValueError(f"Det takes matrices, not {x}")
    node.equate(x[-2], x[-1])
    return TypeInfo(node.dtype(0), x[:-2])


# --------------------------------------------------------------------------------------------------------------- Einsum
@infers("Einsum")
def einsum(node: Site) -> TypeInfo:
    """A dim for each letter right of the arrow. Runtimes broadcast a letter's dims where one is 1, as those of ellipses."""
    equation = str(node.attribute("equation")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(node.inputs):
        raise ValueError(f"Einsum: '{equation}' for {len(node.inputs)} inputs")
    dims: dict[str, Dim] = {}
    between: Shape | None = ()  # what the ellipses stand for
    for i, term in enumerate(terms):
        own, ellipsis = _letters(node, i, term)
        dims |= {letter: broadcast_dims(dims[letter], d) if letter in dims else d for letter, d in own.items()}
        between = node.broadcast(between, ellipsis)
    if not arrow:
        once = "".join(sorted(c for c in dims if left.count(c) == 1))
        right = f"...{once}" if "..." in left else once
    before, dots, after = right.partition("...")
    if not dims.keys() >= set(before + after):
        raise ValueError(f"Einsum: '{equation}' has letters on the right only")
    if dots and between is None:
        return TypeInfo(node.dtype(0), None)
    ellipsis = between if dots else ()
    assert ellipsis is not None
    return TypeInfo(node.dtype(0), node.or_fresh((*map(dims.get, before), *ellipsis, *map(dims.get, after))))


def _letters(node: Site, i: int, term: str) -> tuple[dict[str, Dim], Shape | None]:
    """The dims that the letters of a term stand for in input i, and those of its ellipsis. A letter twice: a diagonal."""
    before, dots, after = term.partition("...")
    x = node.shape(i)
    if x is None:
        return dict.fromkeys(before + after), None if dots else ()
    rest = len(x) - len(before) - len(after)
    if rest < 0 or (rest and not dots):
        raise ValueError(f"Einsum: '{term}' for {len(x)} dims")
    own: dict[str, Dim] = {}
    for letter, d in zip(before + after, x[: len(before)] + x[len(x) - len(after) :], strict=True):
        own[letter] = node.equate(own[letter], d) if letter in own else d
    return own, x[len(before) : len(before) + rest]
