"""Products of matrices of com.microsoft: ContribOperators.md of ONNX Runtime."""

from __future__ import annotations

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.linear import gemm
from graphopt.exec.kernels.registry import Array, kernel, kernel_for

DOMAIN = "com.microsoft"


def activated(
    xp: Backend, x: Array, name: str | None, alpha: float | None = None, beta: float | None = None,
    gamma: float | None = None,
) -> Array:  # fmt: skip
    """The activation function that fused operators name; it takes those parameters that ONNX's operator has.

    Raises:
        ValueError: ONNX has no operator of this name.
    """
    if not name:
        return x
    function = kernel_for(name, 22)
    if function is None:
        raise ValueError(f"activation '{name}' is unknown")
    given = {"alpha": alpha, "beta": beta, "gamma": gamma}
    known = function.attributes or frozenset()
    return function.function(xp, x, **{n: v for n, v in given.items() if v is not None and n in known})


@kernel("FusedMatMul", domain=DOMAIN, wide=True, products=True)
def fused_matmul(
    xp: Backend, a: Array, b: Array, *, alpha: float = 1.0, transA: int = 0, transB: int = 0, transBatchA: int = 0,
    transBatchB: int = 0,
) -> Array:  # fmt: skip
    """alpha·A·B; before that, the first axis of either may become the one of rows, and rows may become columns."""
    y = xp.matmul(_turned(xp, a, transA, transBatchA), _turned(xp, b, transB, transBatchB))
    if alpha != 1:
        y *= xp.number(alpha, y)
    return y


kernel("TransposeMatMul", domain=DOMAIN, wide=True, products=True)(fused_matmul)


def _turned(xp: Backend, x: Array, transposed: int, front: int) -> Array:
    if x.ndim < 2:
        return x
    if front and x.ndim > 2:
        x = xp.moveaxis(x, 0, -2)
    return x.swapaxes(-1, -2) if transposed else x


@kernel("FusedMatMulActivation", domain=DOMAIN, wide=True, products=True)
def fused_matmul_activation(
    xp: Backend, a: Array, b: Array, *, activation: str, activation_alpha: float | None = None,
    activation_axis: int = -1, activation_beta: float | None = None, activation_gamma: float | None = None,
    alpha: float = 1.0, transA: int = 0, transB: int = 0, transBatchA: int = 0, transBatchB: int = 0,
) -> Array:  # fmt: skip
    y = fused_matmul(
        xp, a, b, alpha=alpha, transA=transA, transB=transB, transBatchA=transBatchA, transBatchB=transBatchB
    )
    return activated(xp, y, activation, activation_alpha, activation_beta, activation_gamma)


@kernel("FusedGemm", domain=DOMAIN, wide=True, products=True)
def fused_gemm(
    xp: Backend, a: Array, b: Array, c: Array | None = None, *, activation: str = "",
    activation_alpha: float | None = None, activation_beta: float | None = None, activation_gamma: float | None = None,
    alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0,
) -> Array:  # fmt: skip
    y = gemm(xp, a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)
    return activated(xp, y, activation, activation_alpha, activation_beta, activation_gamma)
