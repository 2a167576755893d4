"""Rules of patterns/raising/recurrent.py and gates.py, and whole networks that exporters unrolled."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import graphopt
from graphopt.patterns import rules_of
from tests.patterns.rule_cases import Case, check_fires, check_refuses, compare, run_ort, run_reference


def _weights(text: str) -> str:
    """Initializers 'w 16,3; r 16,4' in ONNX's text form."""
    out = []
    for k, part in enumerate(text.split(";")):
        name, dims = part.split()
        n = int(np.prod([int(d) for d in dims.split(",")]))
        out.append(f"float[{dims}] {name} = {{{', '.join(str(((5 + k) * i % 7 - 3) / 4) for i in range(n))}}}")
    return ", ".join(out)


_SPLIT4 = "i, f, g, o = Split<axis=1>(z, four)"
_CELL = (
    "si = Sigmoid(i) sf = Sigmoid(f) tg = Tanh(g) so = Sigmoid(o) "
    "m = Mul(sf, c) n = Mul(si, tg) cell = Add(m, n) tc = Tanh(cell) state = Mul(so, tc)"
)
_SUMS = "q = Gemm<transB=1>(x, w, b) k = Gemm<transB=1>(h, r, c) z = Add(q, k)"
_RZN = (
    "a0, a1, a2 = Split<axis=1>(q, three) k0, k1, k2 = Split<axis=1>(k, three) s0 = Add(a0, k0) s1 = Add(k1, a1) "
    "s2 = Sigmoid(s0) s3 = Sigmoid(s1)"
)
_TOWARDS = "m = Mul(s2, k2) n = Add(a2, m) t = Tanh(n) d = Sub(h, t) e = Mul(d, s3) state = Add(e, t)"
_MIXED = "m = Mul(s3, k2) n = Add(a2, m) t = Tanh(n) e = Mul(s2, h) u = Sub(one, s2) v = Mul(u, t) state = Add(e, v)"


def _step(body: str, weights: str, out: str = "float[1,4] state", batch: int = 1, **options: Any) -> Case:
    """A step from x [batch, 3] and a state h [batch, 4] with a cell c."""
    rest = "int64[4] four = {4, 4, 4, 4}, int64[3] three = {4, 4, 4}, float one = {1}, float zero = {0}"
    return Case(
        f"g (float[{batch},3] x, float[{batch},4] h, float[{batch},4] c) => ({out}) <{_weights(weights)}, {rest}> {{ {body} }}",
        **options,
    )


_LSTM = "z1 = Gemm<transB=1>(x, w, b) z = Gemm<transB=1>(h, r, z1)"
_OF_LSTM, _OF_GRU = "w 16,3;r 16,4;b 16", "w 9,3;r 12,4"
FIRES = [
    (
        "sum_of_products",
        _step("p = MatMul(x, w) q = MatMul(h, r) z = Add(p, q)", "w 3,8;r 4,8", "float[1,8] z", nodes=2),
    ),
    (
        "sum_of_products",
        _step(
            "p = MatMul(x, w) e = Add(p, b) q = MatMul(h, r) z = Add(e, q)", "w 3,8;r 4,8;b 8", "float[1,8] z", nodes=2
        ),
    ),
    (
        "sum_of_products_plus_bias",
        _step("p = Gemm(x, w) q = Gemm(h, r, p) z = Add(q, b)", "w 3,8;r 4,8;b 8", "float[1,8] z", nodes=2),
    ),
    ("lstm_step", _step(f"{_LSTM} {_SPLIT4} {_CELL}", _OF_LSTM, "float[1,4] state, float[1,4] cell", nodes=6)),
    ("lstm_step", _step(f"{_LSTM} {_SPLIT4} {_CELL}", _OF_LSTM, nodes=5)),
    ("lstm_step", _step(f"{_LSTM} {_SPLIT4} {_CELL.replace('sf, c', 'sf, zero')}", _OF_LSTM, nodes=4)),
    (
        "gru_step",
        _step(
            f"q = Gemm<transB=1>(x, w, b) k = Gemm<transB=1>(h, r, y) {_RZN} {_TOWARDS}",
            "w 12,3;r 12,4;b 12;y 12",
            nodes=4,
        ),
    ),
    ("gru_step", _step(f"q = MatMul(x, w) k = MatMul(h, r) {_RZN} {_TOWARDS}", "w 3,12;r 4,12", nodes=4)),
    (
        "gru_step_update_first",
        _step(
            f"q0 = MatMul(x, w) q = Add(q0, b) k0_ = MatMul(h, r) k = Add(k0_, y) {_RZN} {_MIXED}",
            "w 3,12;r 4,12;b 12;y 12",
            nodes=4,
        ),
    ),
]
_KNOWN_BY_WEIGHTS = Case(  # where the size of the state is not known in a branch
    f"g (float[1,3] x, float[1,N] u, float[1,1] v, float[1,4] c, bool q) => (float[1,4] y) <{_weights(_OF_LSTM)}, "
    f"int64[4] four = {{4, 4, 4, 4}}, float zero = {{0}}> {{ y = If (q) <then_branch = t () => (float[1,4] state) "
    f"{{ h = Concat<axis=1>(u, v) {_LSTM} {_SPLIT4} {_CELL.replace('sf, c', 'sf, zero')} }}, else_branch = e () => (float[1,4] k) {{ k = Identity(c) }}> }}",
    reason="gates, or not known",
)
_MORE_ROWS = Case(
    f"g (float[B,3] x, float[B,4] h) => (float[3,2] z) <{_weights('w 3,2;r 4,2')}, float[3,2] b = {{1, 2, 1, 2, 1, 2}}> "
    "{ p = Gemm(x, w) q = Gemm(h, r, p) z = Add(q, b) }",
    reason="other rows",
)
REFUSES = [
    ("lstm_step", _KNOWN_BY_WEIGHTS),
    ("sum_of_products_plus_bias", _MORE_ROWS),
    ("lstm_step", _step(f"{_LSTM} {_SPLIT4} {_CELL}", _OF_LSTM, "float[2,4] state", 2, reason="one step by itself")),
    ("lstm_step", _step(f"{_LSTM} {_SPLIT4} {_CELL}".replace("si = Sigmoid", "si = Tanh"), _OF_LSTM)),
    (
        "gru_step",
        _step(
            f"q = Gemm<transB=1>(x, w) k = Gemm<transB=1>(h, r) {_RZN} {_TOWARDS.replace('Sub(h, t)', 'Sub(c, t)')}",
            "w 12,3;r 12,4",
        ),
    ),
]


@pytest.mark.parametrize(("rule", "case"), FIRES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(FIRES)])
def test_fires(rule: str, case: Case) -> None:
    check_fires(rule, case)


@pytest.mark.parametrize(("rule", "case"), REFUSES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REFUSES)])
def test_refuses(rule: str, case: Case) -> None:
    check_refuses(rule, case)


def test_every_rule_is_tried() -> None:
    assert {r.name for r in rules_of("raising") if r.family in ("recurrent", "gates")} == {r for r, _ in FIRES}


# ------------------------------------------------------------------------------------------------------- whole networks
_GATES = {"LSTM": 4, "GRU": 3}
_HIDDEN = 4


class _Exporter:
    """Writes a network as exporters do that unroll it: a group of nodes a step."""

    def __init__(self, kind: str, bias: bool, inputs: int) -> None:
        self.kind, self.bias, self.inputs = kind, bias, inputs
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(7)

    def node(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"v{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, values: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def layer(self, inputs: int) -> list[str]:
        """Weights of a layer, and its biases."""
        n = _GATES[self.kind] * _HIDDEN
        sizes = [(n, inputs), (n, _HIDDEN), *[(n,)] * (2 * self.bias)]
        return [self.constant(self.rng.normal(size=s).astype(np.float32) / 2) for s in sizes]

    def step(self, x: str, h: str, c: str, layer: list[str]) -> tuple[str, str]:
        w, r, *biases = layer
        ours = self.node("Gemm", x, w, *biases[:1], transB=1)
        own = self.node("Gemm", h, r, *biases[1:], transB=1)
        if self.kind == "LSTM":
            gates = self.node("Add", ours, own)
            i, f, g, o = self.node("Split", gates, self.constant([_HIDDEN] * 4), outputs=4, axis=1)
            i, f, o = (self.node("Sigmoid", v) for v in (i, f, o))
            c = self.node("Add", self.node("Mul", f, c), self.node("Mul", i, self.node("Tanh", g)))
            return self.node("Mul", o, self.node("Tanh", c)), c
        sizes = self.constant([_HIDDEN] * 3)
        a, k = (self.node("Split", v, sizes, outputs=3, axis=1) for v in (ours, own))
        reset, update = (self.node("Sigmoid", self.node("Add", a[n], k[n])) for n in range(2))
        new = self.node("Tanh", self.node("Add", a[2], self.node("Mul", reset, k[2])))
        return self.node("Add", self.node("Mul", self.node("Sub", h, new), update), new), c

    def model(self, steps: int, layers: int, batch: Any, every: bool, zeros: bool) -> ModelProto:
        """A network on x [batch, steps, inputs]. `every`: all states are read. `zeros`: it starts from a constant."""
        weights = [self.layer(self.inputs if k == 0 else _HIDDEN) for k in range(layers)]
        if zeros:
            start = self.constant(np.zeros((batch, _HIDDEN), np.float32))
        else:
            size = self.node(
                "Unsqueeze", self.node("Gather", self.node("Shape", "x"), self.constant(0)), self.constant([0])
            )
            start = self.node("ConstantOfShape", self.node("Concat", size, self.constant([_HIDDEN]), axis=0))
        states = [(start, start)] * layers
        found = []
        for t in range(steps):
            v = self.node("Gather", "x", self.constant(t), axis=1)
            for k in range(layers):
                states[k] = self.step(v, *states[k], weights[k])
                v = states[k][0]
            found.append(v)
        if every:
            y = self.node("Concat", *(self.node("Unsqueeze", v, self.constant([1])) for v in found), axis=1)
        else:
            y = self.node("Identity", found[-1])
        shape = [batch, steps, _HIDDEN] if every else [batch, _HIDDEN]
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, steps, self.inputs])],
            [helper.make_tensor_value_info(y, TensorProto.FLOAT, shape)],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("every", [True, False], ids=["every state", "last state"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(("steps", "inputs"), [(6, 3), (7, 4), (2, 4)])
@pytest.mark.parametrize("kind", list(_GATES))
def test_unrolled(kind: str, steps: int, inputs: int, bias: bool, every: bool) -> None:
    """Two layers that were unrolled end as one operator each."""
    original = _Exporter(kind, bias, inputs).model(steps, 2, "N", every, zeros=False)
    result = graphopt.optimize(original, level=2)
    assert Counter(n.op for n in result.graph) <= Counter({kind: 2, "Squeeze": 2, "Transpose": 2})
    _agree(original, result.proto, steps, inputs)


@pytest.mark.parametrize("kind", list(_GATES))
def test_unrolled_from_constant_zeros(kind: str) -> None:
    """The product of a state of zeros is folded to its bias."""
    original = _Exporter(kind, True, 3).model(6, 2, 2, True, zeros=True)
    result = graphopt.optimize(original, level=2)
    assert Counter(n.op for n in result.graph) <= Counter({kind: 2, "Squeeze": 2, "Transpose": 2})
    _agree(original, result.proto, 6, 3)


@pytest.mark.parametrize("kind", list(_GATES))
def test_one_step_does_not_grow(kind: str) -> None:
    original = _Exporter(kind, True, 3).model(1, 1, 2, False, zeros=False)
    result = graphopt.optimize(original, level=2)
    assert result.node_count() <= graphopt.load(original).node_count()
    _agree(original, result.proto, 1, 3)


def _changed(original: ModelProto, change: Any) -> ModelProto:
    model = ModelProto()
    model.CopyFrom(original)
    change(model.graph)
    return model


def _operators(model: ModelProto, kind: str) -> int:
    return sum(n.op == kind for n in graphopt.optimize(model, level=2).graph)


def _read(value: str, shape: list[Any]) -> Any:
    """Let a value be an output of the model."""

    def change(graph: onnx.GraphProto) -> None:
        graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, shape))

    return change


@pytest.mark.parametrize("kind", list(_GATES))
def test_one_step_of_many_rows_stays(kind: str) -> None:
    assert not _operators(_Exporter(kind, True, 3).model(1, 1, "N", False, zeros=False), kind)


@pytest.mark.parametrize("inner", ["Sigmoid", "Tanh", "Add", "Mul"])
@pytest.mark.parametrize("kind", list(_GATES))
def test_values_in_between_that_are_read(kind: str, inner: str) -> None:
    """A gate or the cell of a step is an output too: what becomes an operator, if anything, leaves it there."""
    exporter = _Exporter(kind, True, 4)
    plain = exporter.model(5, 1, "N", True, zeros=False)
    names = [n.output[0] for n in plain.graph.node if n.op_type == inner]
    for name in (names[0], names[len(names) // 2], names[-1]):
        width = (
            4 * _HIDDEN
            if kind == "LSTM" and any(n.op_type == "Split" and name in n.input for n in plain.graph.node)
            else 4
        )
        original = _changed(plain, _read(name, ["N", width]))
        _agree(original, graphopt.optimize(original, level=2).proto, 5, 4)


@pytest.mark.parametrize("kind", list(_GATES))
def test_a_network_that_feeds_itself(kind: str) -> None:
    """What comes in is the state of the step before: there is no sequence before the network has run."""
    plain = _Exporter(kind, True, 4).model(5, 1, "N", True, zeros=False)
    states = list(plain.graph.node[-1].input)
    of = {n.output[0]: n for n in plain.graph.node}
    taken = [n.output[0] for n in plain.graph.node if n.op_type == "Gather" and n.input[0] == "x"]

    def feed(graph: onnx.GraphProto) -> None:
        for v, state in zip(taken[1:], states, strict=False):
            for n in graph.node:
                for i, name in enumerate(n.input):
                    if name == v:
                        n.input[i] = of[state].input[0]

    original = _changed(plain, feed)
    result = graphopt.optimize(original, level=2)
    assert not any(n.op == kind for n in result.graph)
    _agree(original, result.proto, 5, 4)


@pytest.mark.parametrize("kind", list(_GATES))
def test_steps_with_other_weights(kind: str) -> None:
    """The third step has a weight of its own."""
    exporter = _Exporter(kind, True, 4)
    plain = exporter.model(7, 1, "N", True, zeros=False)
    weights = next(n.input[1] for n in plain.graph.node if n.op_type == "Gemm")

    def other(graph: onnx.GraphProto) -> None:
        found = [n for n in graph.node if n.op_type == "Gemm" and n.input[1] == weights]
        found[2].input[1] = "other"
        w = next(numpy_helper.to_array(t) for t in graph.initializer if t.name == weights)
        graph.initializer.append(numpy_helper.from_array(w + 1, "other"))

    original = _changed(plain, other)
    result = graphopt.optimize(original, level=2)
    _agree(original, result.proto, 7, 4)


def _agree(original: ModelProto, result: ModelProto, steps: int, inputs: int) -> None:
    onnx.checker.check_model(result, full_check=True)
    feeds = {"x": np.random.default_rng(0).normal(size=(2, steps, inputs)).astype(np.float32)}
    for run in (run_reference, run_ort):
        compare(run(original, feeds), run(result, feeds), exact=False, tolerance=1e-5)
