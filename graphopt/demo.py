"""A small detector, written down the way exporters write networks: much of it is there to be optimised away.

    >>> graphopt.optimize(demo_model()).save("demo.onnx")

It has what an optimizer meets in real models: BatchNormalization after convolutions, activations and normalisations spelt
out in elementary operators, shapes computed at run time that are known beforehand, nodes that do nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

SIDE = 64  # of the image, in pixels
CLASSES = 5
HEADS = 4


def demo_model() -> ModelProto:
    """A detector with random weights, always the same ones: 259 nodes, opset 17, 0.4 MB.

    Input:
        image: float32[batch, 3, 64, 64].

    Outputs:
        boxes: float32[batch, 320, 4], centre, width and height as fractions of the image, one for each cell of a 16 x 16
            and an 8 x 8 grid.
        scores: float32[batch, 320, 5], in 0..1.
    """
    net = _Network()

    # Backbone: 64 -> 16 pixels (fine), then 8 (coarse).
    x = conv_bn_silu(net, "image", 3, 16, stride=2)
    x = conv_bn_silu(net, x, 16, 32, stride=2)
    x = residual(net, x, 32)
    fine = mobile(net, x, 32)
    x = conv_bn_silu(net, fine, 32, 64, stride=2)
    x = net("Identity", residual(net, x, 64))
    coarse = transformer(net, x, 64, cells=8)

    # Neck: what the coarse map knows goes to the fine one.
    x = net("Concat", upsample_like(net, coarse, fine), fine, axis=1)
    fine = conv_bn_silu(net, x, 96, 32, kernel=1)

    # Heads, one for each map.
    found = [head(net, fine, 32, cells=16), head(net, coarse, 64, cells=8)]
    boxes = net("Concat", *(boxes for boxes, _ in found), axis=1)
    scores = net("Concat", *(scores for _, scores in found), axis=1)
    return net.model({"boxes": boxes, "scores": net("Sigmoid", scores)})


# ------------------------------------------------------------------------------------------------------------ the parts
def conv_bn_silu(
    net: _Network, x: str, channels: int, filters: int, *, kernel: int = 3, stride: int = 1, groups: int = 1
) -> str:
    """Conv without bias, BatchNormalization, and SiLU as x * sigmoid(x)."""
    x = conv_bn(net, x, channels, filters, kernel=kernel, stride=stride, groups=groups)
    return net("Mul", x, net("Sigmoid", x))


def conv_bn(
    net: _Network, x: str, channels: int, filters: int, *, kernel: int = 3, stride: int = 1, groups: int = 1
) -> str:
    """A convolution and the statistics of its output as training left them."""
    w = net.normal(filters, channels // groups, kernel, kernel)
    pad = kernel // 2
    x = net("Conv", x, w, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=groups)
    scale, shift = net.uniform(0.6, 1.4, filters), net.uniform(-0.5, 0.5, filters)
    mean, variance = net.uniform(-0.3, 0.3, filters), net.uniform(0.3, 0.9, filters)
    return net("BatchNormalization", x, scale, shift, mean, variance, epsilon=1e-3)


def residual(net: _Network, x: str, channels: int) -> str:
    """Squeeze, look around, add; with a Dropout that training left behind."""
    y = conv_bn_silu(net, x, channels, channels // 2, kernel=1)
    y = conv_bn_silu(net, y, channels // 2, channels)
    return net("Add", x, net("Dropout", y, net.scalar(0.1)))


def mobile(net: _Network, x: str, channels: int) -> str:
    """Widen, depthwise convolution, narrow; hard-swish as x * clip(x + 3, 0, 6) / 6."""

    def hard_swish(x: str) -> str:
        gate = net("Clip", net("Add", x, net.scalar(3)), net.scalar(0), net.scalar(6))
        return net("Div", net("Mul", x, gate), net.scalar(6))

    y = hard_swish(conv_bn(net, x, channels, 2 * channels, kernel=1))
    y = hard_swish(conv_bn(net, y, 2 * channels, 2 * channels, groups=2 * channels))
    return net("Add", conv_bn(net, y, 2 * channels, channels, kernel=1), x)


def transformer(net: _Network, x: str, channels: int, *, cells: int) -> str:
    """Cells of a map as tokens: attention and a small perceptron, each normalised first and added."""
    batch = size(net, x, 0)
    tokens = net("Transpose", reshape(net, x, batch, channels, cells * cells), perm=[0, 2, 1])
    tokens = net("Add", tokens, attention(net, layer_norm(net, tokens, channels), channels))
    tokens = net("Add", tokens, perceptron(net, layer_norm(net, tokens, channels), channels))
    x = net("Cast", net("Transpose", tokens, perm=[0, 2, 1]), to=TensorProto.FLOAT)  # it is float already
    return reshape(net, x, size(net, x, 0), channels, cells, cells)


def attention(net: _Network, x: str, channels: int) -> str:
    """softmax(q k' / sqrt(d)) v, with HEADS heads."""
    each = channels // HEADS

    def heads(perm: list[int]) -> str:
        y = net("MatMul", x, net.normal(channels, channels))
        return net("Transpose", reshape(net, y, size(net, y, 0), size(net, y, 1), HEADS, each), perm=perm)

    query, key, value = heads([0, 2, 1, 3]), heads([0, 2, 3, 1]), heads([0, 2, 1, 3])
    weights = net("Div", net("MatMul", query, key), net.scalar(np.sqrt(each)))
    y = net("Transpose", net("MatMul", net("Softmax", weights, axis=-1), value), perm=[0, 2, 1, 3])
    y = reshape(net, y, size(net, y, 0), size(net, y, 1), channels)
    return linear(net, y, channels, channels)


def perceptron(net: _Network, x: str, channels: int) -> str:
    """Two layers with GELU between them, as 0.5 * x * (1 + erf(x / sqrt(2)))."""
    x = linear(net, x, channels, 2 * channels)
    erf = net("Erf", net("Div", x, net.scalar(np.sqrt(2))))
    x = net("Mul", net("Mul", x, net("Add", erf, net.scalar(1))), net.scalar(0.5))
    return linear(net, x, 2 * channels, channels)


def linear(net: _Network, x: str, channels: int, features: int) -> str:
    """x W + b."""
    return net("Add", net("MatMul", x, net.normal(channels, features)), net.uniform(-0.5, 0.5, features))


def layer_norm(net: _Network, x: str, channels: int) -> str:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift over the last axis, in nine nodes."""
    centred = net("Sub", x, net("ReduceMean", x, axes=[-1]))
    variance = net("ReduceMean", net("Pow", centred, net.scalar(2)), axes=[-1])
    y = net("Div", centred, net("Sqrt", net("Add", variance, net.scalar(1e-5))))
    return net("Add", net("Mul", y, net.uniform(0.6, 1.4, channels)), net.uniform(-0.5, 0.5, channels))


def upsample_like(net: _Network, x: str, like: str) -> str:
    """x with the height and width of `like`, which are read off at run time."""

    def part(of: str, start: int, end: int) -> str:
        return net("Slice", net("Shape", of), net.ints(start), net.ints(end), net.ints(0))

    sizes = net("Concat", part(x, 0, 2), part(like, 2, 4), axis=0)
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return net("Resize", x, "", "", sizes, **how)


def head(net: _Network, x: str, channels: int, *, cells: int) -> tuple[str, str]:
    """Boxes [batch, cells * cells, 4] and class logits [batch, cells * cells, CLASSES] of one map."""
    y = conv_bn_silu(net, x, channels, channels, kernel=1)
    w, b = net.normal(4 + CLASSES, channels, 1, 1), net.uniform(-0.5, 0.5, 4 + CLASSES)
    y = net("Conv", y, w, b, kernel_shape=[1, 1])
    y = net("Transpose", reshape(net, y, size(net, y, 0), 4 + CLASSES, -1), perm=[0, 2, 1])
    parts = net.ints(2, 2, CLASSES)
    centre, extent, classes = net.several("Split", 3, y, parts, axis=-1)
    grid = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), axis=-1).reshape(1, -1, 2).astype(np.float32)
    centre = net("Add", net("Sigmoid", centre), net.constant(grid))
    centre = net("Div", centre, net.scalar(cells))
    extent = net("Mul", net("Sigmoid", extent), net.scalar(4 / cells))
    return net("Concat", centre, extent, axis=-1), classes


# ------------------------------------------------------------------------------------- shapes, as TorchScript writes them
def size(net: _Network, x: str, axis: int) -> str:
    """x.shape[axis], a scalar."""
    return net("Gather", net("Shape", x), net.constant(np.array(axis, np.int64)), axis=0)


def reshape(net: _Network, x: str, *sizes: str | int) -> str:
    """x.reshape(sizes); those that are names were computed."""

    def single(n: str | int) -> str:
        if isinstance(n, str):
            return net("Unsqueeze", n, net.ints(0))
        return net.ints(n)

    return net("Reshape", x, net("Concat", *map(single, sizes), axis=0))


# ------------------------------------------------------------------------------------------------------------- the graph
class _Network:
    """Nodes and weights, in the order in which they are asked for. Calling it adds a node and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.rng = np.random.default_rng(0)

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self.several(op, 1, *inputs, **attributes)[0]

    def several(self, op: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with `count` outputs."""
        name = f"{op}_{len(self.nodes)}"
        outputs = [name if count == 1 else f"{name}.{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name, **attributes))
        return outputs

    def constant(self, value: np.ndarray) -> str:
        """A value as a node, which is how exporters leave them."""
        return self("Constant", value=numpy_helper.from_array(value))

    def scalar(self, value: float) -> str:
        """A float32 constant without axes."""
        return self.constant(np.array(value, np.float32))

    def ints(self, *values: int) -> str:
        """An int64 constant with one axis."""
        return self.constant(np.array(values, np.int64))

    def normal(self, *shape: int) -> str:
        """A weight that keeps the variance of what it is multiplied with: shape [out, in, ...], or [in, out]."""
        inputs = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
        return self._weight(self.rng.normal(0.0, inputs**-0.5, shape))

    def uniform(self, low: float, high: float, length: int) -> str:
        """A weight for each channel."""
        return self._weight(self.rng.uniform(low, high, length))

    def _weight(self, value: np.ndarray) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def model(self, outputs: dict[str, str]) -> ModelProto:
        """The model, checked; `outputs` gives names to values."""
        for name, value in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [name], name))
        cells = 16 * 16 + 8 * 8
        graph = helper.make_graph(
            self.nodes,
            "detector",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
            [
                helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["batch", cells, 4]),
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", cells, CLASSES]),
            ],
            self.weights,
        )
        opset = helper.make_opsetid("", 17)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="graphopt.demo")
        checker.check_model(model, full_check=True)
        return model
