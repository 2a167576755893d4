"""Normalization, and the losses of classifiers."""

from __future__ import annotations

from onnx import TensorProto

from graphopt.ir import Dim, Shape
from graphopt.shapes.dims import less
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site
from graphopt.shapes.types import TypeInfo

#: One output of the first input's type.
_LIKE_FIRST = "LRN LpNormalization MeanVarianceNormalization".split()


@infers(*_LIKE_FIRST)
def like_first(node: Site) -> TypeInfo:
    """The type of the first input."""
    return node.like(0)


# ---------------------------------------------------------------------------------------------------------- per channel
def _per_channel(node: Site, vectors: range) -> Shape | None:
    """The dims of the first input, [batch, channels, *space], with these vectors holding an element for each channel."""
    x = node.shape(0)
    if x is None or len(x) < 2:
        return x
    channels = x[1]
    for i in vectors:
        vector = node.shape(i)
        if vector is not None and len(vector) == 1:
            channels = node.equate(channels, vector[0])
    return (x[0], channels, *x[2:])


@infers("BatchNormalization")
def batch_normalization(node: Site) -> list[TypeInfo]:
    """The input's type, and when training, statistics like those that come in: a mean and a variance, or two of each."""
    x = _per_channel(node, range(1, 5))
    statistics = []
    for i in (3, 4):
        shape = node.shape(i)
        if shape is None and node.version >= 9:
            shape = (x[1],) if x is not None and len(x) > 1 else node.unknown_dims(1)
        statistics.append(TypeInfo(node.dtype(i), shape))
    return [TypeInfo(node.dtype(0), x), *statistics, *statistics]


@infers("InstanceNormalization")
def instance_normalization(node: Site) -> TypeInfo:
    """The input's type."""
    return TypeInfo(node.dtype(0), _per_channel(node, range(1, 3)))


@infers("GroupNormalization")
def group_normalization(node: Site) -> TypeInfo:
    """The input's type; scale and bias are per group before opset 21."""
    return TypeInfo(node.dtype(0), _per_channel(node, range(1, 3 if node.version >= 21 else 1)))


# ------------------------------------------------------------------------------------------------------ over the last dims
def broadcast_into(node: Site, d: Dim, other: Dim) -> Dim:
    """A dim that another one broadcasts into without changing it: above 1, that is the same."""
    return node.equate(d, other) if less(1, other) else d


def _scaled(node: Site, vectors: range) -> Shape | None:
    """The dims of the first input, into which these inputs broadcast."""
    x = node.shape(0)
    if x is None:
        return None
    out = list(x)
    for i in vectors:
        vector = node.shape(i) or ()
        if len(vector) > len(x):
            raise ValueError(f"{node.op_type}: {vector} does not broadcast into {x}")
        for k in range(1, len(vector) + 1):
            out[-k] = broadcast_into(node, out[-k], vector[-k])
    return tuple(out)


@infers("LayerNormalization")
def layer_normalization(node: Site) -> list[TypeInfo]:
    """The input's type; mean and inverse deviation have 1 for each dim from the axis on."""
    x = _scaled(node, range(1, 3))
    stashed = int(node.attribute("stash_type", TensorProto.FLOAT))
    kept: Shape | None = None
    if x is not None:
        axis = node.axis(len(x), default=-1)
        kept = x[:axis] + (1,) * (len(x) - axis)
    return [TypeInfo(node.dtype(0), x), TypeInfo(stashed, kept), TypeInfo(stashed, kept)]


@infers("RMSNormalization")
def rms_normalization(node: Site) -> TypeInfo:
    """The shape of the input, with the dtype of the scale."""
    return TypeInfo(node.dtype(1), _scaled(node, range(1, 2)))


# --------------------------------------------------------------------------------------------------------------- losses
@infers("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(node: Site) -> list[TypeInfo]:
    """One number, or without a reduction one for each label; cross entropy may give the logarithms of its softmax too."""
    scores, labels = node.shape(0), node.shape(1)
    shape: Shape | None = ()
    if node.attribute("reduction", "mean") == "none":
        shape = labels
        if scores is not None and len(scores) > 1:
            shape = (scores[0], *scores[2:])
            if labels is not None:
                if len(labels) != len(shape):
                    raise ValueError(f"{node.op_type}: {labels} are no labels for scores {scores}")
                shape = tuple([node.equate(p, q) for p, q in zip(labels, shape, strict=True)])
    return [TypeInfo(node.dtype(0), shape), TypeInfo(node.dtype(0), scores)]
