"""Synthetic models of any size: a chain of elementwise nodes, and a random directed acyclic graph of them.

    python -m benchmarks.graphs chain 10000 chain.onnx
    python -m benchmarks.graphs dag 500 dag.onnx --seed 7

The same arguments give the same model, on any machine. Values stay finite, however deep the graph.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 4
UNARY = ("Relu", "Abs", "Neg", "Sin", "Erf", "Tanh", "Sigmoid", "Softsign")
BOUNDED = ("Sin", "Erf", "Tanh", "Sigmoid", "Softsign")  # results lie in [-1, 1]
BINARY = ("Add", "Sub", "Mul", "Max", "Min")
LARGEST = 16.0  # a value that may be larger goes through a bounded operator first


def chain(nodes: int, batch: int | str = "N", opset: int = 17) -> onnx.ModelProto:
    """x -> Add -> Relu -> Mul -> Sigmoid -> Add ..., one after the other on [batch, 4]; there is one weight."""
    made, last = [], "x"
    for i in range(nodes):
        op = ("Add", "Relu", "Mul", "Sigmoid")[i % 4]
        made.append(helper.make_node(op, [last, "c"] if op in ("Add", "Mul") else [last], [f"v{i}"], name=f"n{i}"))
        last = f"v{i}"
    weights = {"c": np.full(WIDTH, 1.5, np.float32)}
    return _model(made, ["x"], [last], weights, batch, opset)


def random_dag(
    nodes: int, seed: int = 0, inputs: int = 3, outputs: int = 4, batch: int | str = 3, opset: int = 17
) -> onnx.ModelProto:
    """A random graph of exactly so many elementwise nodes of 13 types, none dead; some weights are neutral."""
    draw = random.Random(seed)
    weights = _weights(draw, batch)
    bounds = {f"x{i}": 4.0 for i in range(inputs)} | {
        name: float(np.abs(array).max()) for name, array in weights.items()
    }
    constants = list(weights)
    computed = [f"x{i}" for i in range(inputs)]
    unused = list(computed)  # what still needs a user, or becomes an output
    made = []

    def take() -> str:
        """An operand: one that nobody uses yet, a recent one, or any."""
        kind = draw.random()
        if unused and kind < 0.6:
            return unused[draw.randrange(len(unused))]
        return draw.choice(computed[-32:] if kind < 0.9 else computed)

    for i in range(nodes):
        name = f"v{i}"
        if (
            len(unused) - outputs >= nodes - i
        ):  # just enough nodes left to join what would otherwise be one output too many
            op, operands = "Max", draw.sample(unused, 2)
        else:
            operands = [take()]
            op = draw.choice(BINARY if draw.random() < 0.6 else UNARY)
            if bounds[operands[0]] > LARGEST:
                op = draw.choice(BOUNDED)
            elif op in BINARY:
                operands.append(draw.choice(constants) if draw.random() < 0.25 else take())
                draw.shuffle(operands)
        made.append(helper.make_node(op, operands, [name], name=f"n{i}"))
        bounds[name] = _bound(op, [bounds[operand] for operand in operands])
        unused = [value for value in unused if value not in operands] + [name]
        computed.append(name)
    live_inputs = [f"x{i}" for i in range(inputs)]
    return _model(made, live_inputs, [value for value in unused if value not in live_inputs], weights, batch, opset)


def _weights(draw: random.Random, batch: int | str) -> dict[str, np.ndarray]:
    """Scalars, rows, columns and (for a static batch) whole arrays, a few of each; zeros and ones among them."""
    shapes: list[tuple[int, ...]] = [(), (1,), (WIDTH,), (1, WIDTH)]
    if isinstance(batch, int):
        shapes += [(batch, 1), (batch, WIDTH)]
    made = {"zero": np.zeros((), np.float32), "one": np.ones((), np.float32), "zeros": np.zeros(WIDTH, np.float32)}
    for i in range(3 * len(shapes)):
        shape = shapes[i % len(shapes)]
        flat = [draw.choice((-1.5, -0.75, -0.5, 0.5, 0.75, 1.5)) for _ in range(int(np.prod(shape)))]
        made[f"c{i}"] = np.array(flat, np.float32).reshape(shape)
    return made


def _bound(op: str, of: Sequence[float]) -> float:
    """How large a result may be, given how large its operands may be."""
    if op in BOUNDED:
        return 1.0
    if op in ("Add", "Sub"):
        return of[0] + of[1]
    return of[0] * of[1] if op == "Mul" else max(of)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[str],
    outputs: Sequence[str],
    weights: dict[str, np.ndarray],
    batch: int | str,
    opset: int,
) -> onnx.ModelProto:
    """A model of these nodes; only the weights that they use are kept, and every value is declared [batch, 4]."""
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "synthetic",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, WIDTH]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, WIDTH]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items() if name in used],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="graphopt-benchmarks"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("chain", "dag"))
    parser.add_argument("nodes", type=int)
    parser.add_argument("file", help="where to write the model")
    parser.add_argument("--seed", type=int, default=0, help="of the random graph (default: 0)")
    options = parser.parse_args(arguments)
    model = chain(options.nodes) if options.kind == "chain" else random_dag(options.nodes, options.seed)
    onnx.save(model, options.file)
    print(f"{options.kind}: {len(model.graph.node)} nodes, {len(model.graph.output)} outputs, {model.ByteSize()} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
