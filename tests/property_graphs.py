"""Small random graphs for Hypothesis, with inputs that they can be run on.

Every value has a shape known here, though the model may declare dims of its inputs by name only. Values stay finite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Draw = Callable[[st.SearchStrategy[Any]], Any]

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
UNARY = ["Relu", "Neg", "Abs", "Sin", "Tanh", "Identity", "Floor", "Sign", "Sigmoid", "Identity", "Neg", "Relu"]
BINARY = ["Add", "Sub", "Mul", "Max", "Min", "Add", "Mul"]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0]


@dataclass(frozen=True)
class Known:
    """A value and what is known of it."""

    name: str
    dtype: int
    shape: tuple[int, ...]


@dataclass
class Builder:
    """A graph in the making; `outer` are the values of the graphs around it."""

    draw: Draw
    opset: int
    names: list[int]
    outer: list[Known] = field(default_factory=list)
    own: list[Known] = field(default_factory=list)
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    depth: int = 0

    def name(self) -> str:
        self.names[0] += 1
        return f"v{self.names[0]}"

    def one(self, options: list[Any]) -> Any:
        return self.draw(st.sampled_from(options))

    def floats(self) -> list[Known]:
        return [v for v in (*self.outer, *self.own) if v.dtype == FLOAT]

    def node(self, op: str, inputs: list[str], shape: tuple[int, ...], dtype: int = FLOAT, **attributes: Any) -> Known:
        v = Known(self.name(), dtype, shape)
        self.nodes.append(helper.make_node(op, inputs, [v.name], f"n_{v.name}", **attributes))
        self.own.append(v)
        return v

    def constant(self, array: Any) -> str:
        """An initializer or a Constant node; now and then an equal one is there already."""
        array, name = np.asarray(array), self.name()
        if self.draw(st.integers(0, 3)):
            self.constants.append(numpy_helper.from_array(array, name))
        else:
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
        return name

    # ----------------------------------------------------------------- operators
    def step(self) -> None:
        kinds = [self.unary, self.unary, self.binary, self.binary, self.with_number, self.transpose, self.reshape]
        kinds += [
            self.concat,
            self.slice,
            self.squeeze,
            self.dims,
            self.constants_only,
            self.twice,
            self.with_vector,
            self.gather,
        ]
        if self.depth < 2:
            kinds.append(self.choice)
        self.one(kinds)()

    def unary(self) -> None:
        x = self.one(self.floats())
        self.node(self.one(UNARY), [x.name], x.shape)

    def twice(self) -> None:
        """The same node once more, for common subexpressions."""
        copies = [n for n in self.nodes if n.op_type in UNARY or n.op_type in BINARY]
        if copies:
            n = self.one(copies)
            known = {v.name: v for v in (*self.outer, *self.own)}
            first = known[n.output[0]]
            self.node(n.op_type, list(n.input), first.shape, first.dtype)

    def binary(self) -> None:
        x = self.one(self.floats())
        fits = [v for v in self.floats() if v.shape == x.shape or v.shape in ((), (1,), x.shape[-1:])]
        z = self.one(fits)
        pair = [x.name, z.name] if self.draw(st.booleans()) else [z.name, x.name]
        self.node(self.one(BINARY), pair, np.broadcast_shapes(x.shape, z.shape))

    def with_number(self) -> None:
        x = self.one(self.floats())
        rank = self.draw(st.integers(0, len(x.shape) + (self.draw(st.integers(0, 5)) == 0)))
        k = self.constant(np.full((1,) * rank, self.one(NUMBERS), np.float32))
        pair = [x.name, k] if self.draw(st.booleans()) else [k, x.name]
        self.node(self.one([*BINARY, "Sub"]), pair, np.broadcast_shapes(x.shape, (1,) * rank))

    def with_vector(self) -> None:
        x = self.one(self.floats())
        shape = x.shape[-1:] if self.draw(st.booleans()) else x.shape
        k = self.constant(np.resize(np.float32([1, -2, 0.5, 0]), shape))
        self.node(self.one(BINARY), [x.name, k], x.shape)

    def transpose(self) -> None:
        x = self.one(self.floats())
        perm = list(self.draw(st.permutations(range(len(x.shape)))))
        attributes = {"perm": perm} if perm and (perm != sorted(perm, reverse=True) or self.draw(st.booleans())) else {}
        self.node("Transpose", [x.name], tuple(x.shape[p] for p in perm), **attributes)

    def reshape(self) -> None:
        x = self.one(self.floats())
        size = int(np.prod(x.shape))
        other = self.one(self.floats())
        if int(np.prod(other.shape)) == size and self.draw(st.booleans()):
            shape = self.node("Shape", [other.name], (len(other.shape),), INT64)
            self.node("Reshape", [x.name, shape.name], other.shape)
            return
        splits = [(size,), (1, size), (size, 1), *((d, size // d) for d in (2, 3) if size % d == 0), x.shape]
        target = self.one(splits)
        written = list(target)
        if written and size and self.draw(st.booleans()):
            written[self.draw(st.integers(0, len(written) - 1))] = -1
        self.node("Reshape", [x.name, self.constant(np.array(written, np.int64))], target)

    def concat(self) -> None:
        x = self.one([v for v in self.floats() if v.shape] or self.floats())
        if not x.shape:
            return
        axis = self.draw(st.integers(0, len(x.shape) - 1))
        fits = [
            v
            for v in self.floats()
            if len(v.shape) == len(x.shape)
            and v.shape[:axis] + v.shape[axis + 1 :] == x.shape[:axis] + x.shape[axis + 1 :]
        ]
        parts = [x, *self.draw(st.lists(st.sampled_from(fits), max_size=2))]
        total = sum(p.shape[axis] for p in parts)
        if total <= 12:
            shape = (*x.shape[:axis], total, *x.shape[axis + 1 :])
            self.node("Concat", [p.name for p in parts], shape, axis=self.one([axis, axis - len(x.shape)]))

    def slice(self) -> None:
        x = self.one(self.floats())
        if not x.shape:
            return
        axis = self.draw(st.integers(0, len(x.shape) - 1))
        start, end, step = self.one([0, 1, -2, -9]), self.one([1, 2, -1, 9, 2**62]), self.one([1, 1, 1, 2, -1])
        if step < 0:
            start, end = self.one([-1, 9, 2]), self.one([0, -9, -3])
        taken = len(range(x.shape[axis])[slice(start, end, step)])
        if not taken:
            return
        inputs = [self.constant(np.array([k], np.int64)) for k in (start, end, self.one([axis, axis - len(x.shape)]))]
        if step != 1 or self.draw(st.booleans()):
            inputs.append(self.constant(np.array([step], np.int64)))
        self.node("Slice", [x.name, *inputs], (*x.shape[:axis], taken, *x.shape[axis + 1 :]))

    def gather(self) -> None:
        x = self.one(self.floats())
        if not x.shape:
            return
        axis = self.draw(st.integers(0, len(x.shape) - 1))
        index = np.array(self.one([0, -1, [0], [0, 0], [-1, 0]]), np.int64)
        self.node(
            "Gather", [x.name, self.constant(index)], (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), axis=axis
        )

    def squeeze(self) -> None:
        x = self.one(self.floats())
        ones = [i for i, d in enumerate(x.shape) if d == 1]
        if ones and self.draw(st.booleans()):
            axis = self.one(ones)
            self.node(
                "Squeeze", [x.name, self.constant(np.array([axis], np.int64))], x.shape[:axis] + x.shape[axis + 1 :]
            )
        elif len(x.shape) < 4:
            axis = self.draw(st.integers(0, len(x.shape)))
            axes = self.constant(np.array([self.one([axis, axis - len(x.shape) - 1])], np.int64))
            self.node("Unsqueeze", [x.name, axes], (*x.shape[:axis], 1, *x.shape[axis:]))

    def dims(self) -> None:
        """Arithmetic on a shape that ends as a float."""
        x = self.one([v for v in self.floats() if v.shape] or self.floats())
        if not x.shape:
            return
        s = self.node("Shape", [x.name], (len(x.shape),), INT64)
        if self.draw(st.booleans()):
            i = self.draw(st.integers(-len(x.shape), len(x.shape) - 1))
            s = self.node("Gather", [s.name, self.constant(np.array(i, np.int64))], (), INT64)
        elif self.draw(st.booleans()):
            pair = [self.constant(np.array([k], np.int64)) for k in (0, 1)]
            s = self.node("Slice", [s.name, *pair], (1,), INT64)
        if self.draw(st.booleans()):
            s = self.node(
                self.one(["Add", "Mul", "Sub"]),
                [s.name, self.constant(np.array(self.one([0, 1, 2]), np.int64))],
                s.shape,
                INT64,
            )
        self.node("Cast", [s.name], s.shape, to=FLOAT)

    def constants_only(self) -> None:
        a = self.constant(np.float32([1, -2, 3]))
        self.node(self.one([*UNARY, "Exp"]), [a], (3,))

    def choice(self) -> None:
        """An If with a condition that is constant, or depends on an input."""
        outer = [*self.outer, *self.own]
        x = self.one(self.floats())
        branches = []
        for _ in range(2):
            b = Builder(self.draw, self.opset, self.names, outer, depth=self.depth + 1)
            for _ in range(self.draw(st.integers(0, 3))):
                b.step()
            same = [v for v in b.own if v.dtype == FLOAT and v.shape == x.shape]
            result = self.one(same) if same else b.node("Neg", [x.name], x.shape)
            branches.append(b.graph(f"b{self.name()}", [result]))
        if self.draw(st.booleans()):
            condition = self.constant(np.array(self.draw(st.booleans())))
        else:
            condition = "c"
        self.node("If", [condition], x.shape, then_branch=branches[0], else_branch=branches[1])

    def graph(self, name: str, outputs: list[Known]) -> GraphProto:
        infos = [helper.make_tensor_value_info(o.name, o.dtype, [None] * len(o.shape)) for o in outputs]
        return helper.make_graph(self.nodes, name, [], infos, self.constants)


@st.composite
def models(draw: Draw, most: int = 12) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """A valid model and inputs for it."""
    opset = draw(st.sampled_from([13, 17, 18, 21]))
    b = Builder(draw, opset, [0])
    shapes = draw(st.lists(st.sampled_from([(2, 3), (3,), (1, 3), (2, 1, 3), (4,), ()]), min_size=1, max_size=2))
    inputs, feeds = [], {}
    for i, shape in enumerate(shapes):
        named = draw(st.booleans())
        declared = [("N" if d == 2 else "M" if d == 4 else d) if named else d for d in shape]
        inputs.append(helper.make_tensor_value_info(f"x{i}", FLOAT, declared))
        values = draw(st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.5, 0.25, 7.0]), min_size=1, max_size=6))
        feeds[f"x{i}"] = np.resize(np.float32(values), shape)
        b.own.append(Known(f"x{i}", FLOAT, shape))
    inputs.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    feeds["c"] = np.array(draw(st.booleans()))
    given = list(b.own)
    for _ in range(draw(st.integers(most // 4, most))):
        b.step()
    made = [v for v in b.own if v not in given]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True)) if made else []
    if not outputs:
        outputs = [b.node("Identity", ["x0"], shapes[0])]
    graph = b.graph("g", outputs)
    graph.input.extend(inputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10)
    onnx.checker.check_model(model)
    return model, feeds
