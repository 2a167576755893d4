"""What rules about convolutions, pools and matrix products share: weights by channel, constants by channel, padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from graphopt.ir import Node
from graphopt.patterns._elementwise import FLOATS, filled
from graphopt.rewrite import op
from graphopt.rewrite.terms import Call, Constant

#: The largest shift that may move behind weights, where sums that it kept small may grow by it before it is taken off.
_MODERATE = {int(TensorProto.FLOAT16): 4.0, int(TensorProto.BFLOAT16): 1.0}
#: Weights larger than this are not copied when something else reads them too.
SMALL_WEIGHTS = 4096


def wide(a: Any) -> np.ndarray:
    """As float64, in which rules compute what they fold."""
    return np.asarray(a, np.float64)


def finite(a: Any) -> bool:
    return bool(np.isfinite(a).all())


def refuses_weights(x: Any, *weights: Constant) -> str | None:
    """Why new weights must not be made out of these, which `x` meets."""
    if not all(w.size for w in weights):
        return "there are no weights"
    if any(w.onnx_dtype not in FLOATS or x.dtype != w.onnx_dtype for w in weights):
        return "not known to be of one float dtype"
    if any(w.uses > 1 and w.size > SMALL_WEIGHTS for w in weights):
        return "the weights are used elsewhere too, a copy would cost more than it saves"
    return None


def survives(w: np.ndarray, kept: tuple[int, ...], dtype: int) -> bool:
    """Whether new weights are finite, and large enough in every channel (of the axes `kept`) to be precise."""
    largest = np.abs(w).max(axis=tuple(i for i in range(w.ndim) if i not in kept), initial=0)
    return finite(largest) and not ((largest > 0) & (largest < FLOATS[dtype].smallest)).any()


def times(a: np.ndarray, f: np.ndarray, kept: tuple[int, ...], dtype: int) -> np.ndarray | None:
    """Weights times factors, one for each place on the axes `kept`; None where the dtype cannot hold the products well.

    They are multiplied in float64. Of float32 weights no copy is made for that: rounding keeps the order, so the largest
    product of each channel tells what `survives` asks.
    """
    others = tuple(i for i in range(a.ndim) if i not in kept)
    if dtype == TensorProto.FLOAT and all(d == 1 for i, d in enumerate(f.shape, a.ndim - f.ndim) if i in others):
        largest = np.maximum(a.max(others, initial=0, keepdims=True), -a.min(others, initial=0, keepdims=True))
        products = wide(largest) * np.abs(f)
        if (products <= FLOATS[dtype].largest).all():
            if not survives(products, kept, dtype):
                return None
            return np.multiply(a, f, out=np.empty(a.shape, np.float32), dtype=np.float64, casting="same_kind")
    product = wide(a) * f
    return product if survives(product, kept, dtype) else None


def moderate(c: np.ndarray, dtype: int) -> bool:
    """Whether a shift may move behind weights without much loss."""
    return bool(np.abs(c).max(initial=0) <= _MODERATE.get(dtype, 1000.0))


def along(k: Constant, axis: int, rank: int, size: int) -> np.ndarray | None:
    """A constant as one number for each place on an axis; None unless it broadcasts over a tensor of this rank, and of this
    size there, without changing its shape, and along that axis only."""
    if k.ndim > rank or any(d not in (1, size if i == axis else 1) for i, d in enumerate(k.shape, rank - k.ndim)):
        return None
    return np.broadcast_to(wide(k).reshape(-1), (size,))


def belongs_in_front(k: Constant, x: Any) -> bool:
    """Whether a constant beside `x` is the gain or shift of a normalisation that is spelled out, or the half of a Gelu.

    Runtimes, and rules for a target, know them by it, and then do in one step what would take many.
    """
    if k.size == 1:
        return filled(k, 0.5) and _made_of(x.value.node, ("Mul", "Add"), ("Erf", "Tanh"))
    return _made_of(x.value.node, ("Mul", "Div", "Cast", "Reciprocal"), ("Sqrt",))


def _made_of(node: Node | None, through: tuple[str, ...], ops: tuple[str, ...]) -> bool:
    """Whether one of `ops` is found from a node upwards, on a short way through others."""
    nodes = [node]
    for _ in range(4):
        nodes = [v.node for n in nodes if n is not None and n.op in through for v in n.inputs if v is not None]
        if any(n is not None and n.op in ops for n in nodes):
            return True
    return False


def normalisation(
    scale: Constant, shift: Constant, mean: Constant, var: Constant, eps: float, size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """k and c of the `x * k + c` that a normalisation by constants is; None where they are not finite numbers per channel."""
    if any(p.shape != (size,) for p in (scale, shift, mean, var)):
        return None
    spread = wide(var) + eps
    if not (spread > 0).all():
        return None
    k = wide(scale) / np.sqrt(spread)
    c = wide(shift) - wide(mean) * k
    return (k, c) if finite(k) and finite(c) else None


def only_first_output(call: Call) -> bool:
    """Whether the matched node computes nothing besides: a normalisation with statistics, a pool with indices."""
    assert call.value is not None and call.value.node is not None
    return not any(v is not None and v.name for v in call.value.node.outputs[1:])


class Kernel:
    """The weights of Conv [out, in / group, ...] or ConvTranspose [in, out / group, ...], by channel.

    Attributes:
        op: the operator that they are for.
        outputs, inputs: channels.
    """

    def __init__(self, w: Any, attrs: Mapping[str, Any], transposed: Call | None = None) -> None:
        self.w = w
        self.rank = len(w.shape)
        self.group = attrs.get("group", 1)
        self.transposed = transposed is not None and transposed.value is not None
        self.op = op.ConvTranspose if self.transposed else op.Conv
        first, second = w.shape[:2]
        self.outputs, self.inputs = (second * self.group, first) if self.transposed else (first, second * self.group)

    def taps(self, w: np.ndarray) -> np.ndarray:
        """Weights as [group, outputs of a group, inputs of a group, taps]."""
        first, second = w.shape[:2]
        a = w.reshape(self.group, first // self.group, second, -1)
        return a.swapaxes(1, 2) if self.transposed else a

    def weights(self, taps: np.ndarray) -> np.ndarray:
        """Back from `taps`."""
        return (taps.swapaxes(1, 2) if self.transposed else taps).reshape(self.w.shape)

    def times_outputs(self, f: np.ndarray) -> np.ndarray | None:
        """Weights of `f * conv(x)`; None where the dtype cannot hold them well."""
        return self._times(f.reshape(self.group, -1, 1, 1), (0, 1))

    def times_inputs(self, f: np.ndarray) -> np.ndarray | None:
        """Weights of `conv(x * f)`; None where the dtype cannot hold them well."""
        return self._times(f.reshape(self.group, 1, -1, 1), (0, 2))

    def _times(self, f: np.ndarray, kept: tuple[int, ...]) -> np.ndarray | None:
        taps = times(self.taps(self.w.array), f, kept, self.w.onnx_dtype)
        return None if taps is None else self.weights(taps)

    def answer(self, c: np.ndarray) -> np.ndarray:
        """What each output channel adds up to where every window lies in an input of `c`, one number per channel."""
        return np.einsum("goit,gi->go", self.taps(wide(self.w)), c.reshape(self.group, -1)).reshape(-1)


def unpadded(attrs: Mapping[str, Any], kernel: Sequence[int]) -> bool:
    """Whether no window reaches over the border."""
    if attrs.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return all(k == 1 for k in kernel)
    return not any(attrs.get("pads") or ())


def pointwise(w: Constant, attrs: Mapping[str, Any]) -> bool:
    """Whether a convolution mixes the channels of each place by itself."""
    steps = [*w.shape[2:], *(attrs.get("strides") or ())]
    return all(d == 1 for d in steps) and unpadded(attrs, w.shape[2:]) and attrs["group"] == 1


def added_pads(pads: list[int], axes: list[int] | None, rank: int, attrs: Mapping[str, Any]) -> list[int] | str:
    """The pads of an operator with windows after it has taken over those of a Pad in front; why not, where it cannot."""
    if attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "auto_pad depends on the padded size"
    where = [a % rank for a in axes] if axes is not None else list(range(rank))
    n = len(where)
    if len(pads) != 2 * n or len(set(where)) != n:
        return "the pads do not fit the rank"
    if min(pads, default=0) < 0:
        return "a negative pad cuts off"
    full = [0] * (2 * rank)
    for i, a in enumerate(where):
        full[a], full[rank + a] = pads[i], pads[n + i]
    if any(full[i] for i in (0, 1, rank, rank + 1)):
        return "batch or channels are padded"
    own = attrs.get("pads") or [0] * (2 * rank - 4)
    return [p + q for p, q in zip(own, full[2:rank] + full[rank + 2 :], strict=True)]
