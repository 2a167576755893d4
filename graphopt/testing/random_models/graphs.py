"""Random models: valid graphs over all operators that the table knows, with what rules look for put in on purpose.

A model grows step by step on concrete values. A step puts in an operator, the left side of a rule, a piece of shape
arithmetic, a branch or a loop, and takes its operands from what is there, so that rules meet each other's results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto

from graphopt.ir import Node, Value
from graphopt.patterns import all_rules
from graphopt.rewrite import Rule
from graphopt.rewrite.rule import Variant
from graphopt.testing.building import recipes
from graphopt.testing.building.builder import Invalid
from graphopt.testing.choices import Choices, Draw
from graphopt.testing.declarations.signature import exists, newest_opset
from graphopt.testing.operators import known_operators, operands_of
from graphopt.testing.random_models import control_flow
from graphopt.testing.random_models.pool import ModelBuilder, PoolLeftSide, PoolSite, moderate
from graphopt.testing.schemas import schema_of
from graphopt.testing.values import array

_LOWEST_OPSET = 7
#: Opsets by how often they are drawn; the first ones are what exporters write.
_USUAL = (17, 18, 20, 13, 21, 11, 14, 16)
#: Other domains that a model may import, with their versions.
_DOMAINS = {"ai.onnx.ml": 5, "com.microsoft": 1}
#: What real models consist of, beside the table's full breadth.
_COMMON = (
    "Add Mul Sub Div Relu Identity Cast MatMul Gemm Reshape Transpose Concat Slice Gather Squeeze Unsqueeze Split Where "
    "ReduceMean ReduceSum Softmax Clip Pad Expand Conv Flatten Sqrt Pow Sigmoid"
).split()
_SHAPES: tuple[tuple[int, ...], ...] = (
    (2, 3),
    (3,),
    (2, 3, 4),
    (1, 3),
    (4,),
    (),
    (2, 1, 3),
    (2, 4, 5, 5),
    (1,),
    (3, 3),
    (0, 3),
)
_INPUT_DTYPES = (
    (10, TensorProto.FLOAT), (2, TensorProto.INT64), (2, TensorProto.DOUBLE), (1, TensorProto.BOOL), (1, TensorProto.INT32),
    (1, TensorProto.FLOAT16),
)  # fmt: skip
_ATTEMPTS = 3


@dataclass(frozen=True)
class Example:
    """A random model.

    Attributes:
        model: it is valid.
        feeds: inputs for it.
        finite: whether all values in it are numbers of moderate size.
    """

    model: ModelProto
    feeds: dict[str, Any]
    finite: bool


@st.composite
def models(draw: Draw, nodes: int = 12, rules: bool = True) -> Example:
    """A strategy for valid models with inputs for them.

    Args:
        nodes: about how many there are at most.
        rules: put in what the rules of the package look for.
    """
    choices = Choices(draw)
    b = _begin(choices)
    while len(b.graph) < nodes and draw(_steps(b, rules)):
        pass
    try:
        _end(b)
        model = b.finish(tidy=not choices.chance(6))
    except Invalid:
        reject()
    computed = [a for v, a in b.arrays.items() if v.name in b.feeds or (v.node is not None and v.node.op != "Constant")]
    finite = all(map(moderate, computed))
    return Example(model, b.feeds, finite)


def _begin(choices: Choices) -> ModelBuilder:
    versions = range(_LOWEST_OPSET, newest_opset() + 1)
    opset = choices.weighted([(4, v) for v in _USUAL if v in versions] + [(1, v) for v in versions if v not in _USUAL])
    domain = choices.weighted(((12, None), *((1, d) for d in _DOMAINS)))
    domains = {domain: _DOMAINS[domain]} if domain is not None else None
    b = ModelBuilder(choices, opset, domains, wild=choices.chance(12))
    for size, name in ((2, "N"), (3, "M"), (4, "K")):
        if choices.chance(2):
            b.names[size] = name
    for _ in range(choices.integer(1, 3)):
        dtype = choices.weighted(_INPUT_DTYPES)
        b.fresh(dtype, choices.weighted([(4 if i < 3 else 1, s) for i, s in enumerate(_SHAPES)]))
    return b


@st.composite
def _steps(draw: Draw, b: ModelBuilder, rules: bool) -> bool:
    """One step, drawn as a whole so that it can be shrunk away as a whole; False where the model is done."""
    if not Choices(draw).integer(0, 13):
        return False
    _step(b, rules)
    return True


def _step(b: ModelBuilder, rules: bool = True, depth: int = 0) -> None:
    """Put something in, or nothing where three attempts fail."""
    kinds: list[tuple[int, Callable[[ModelBuilder], Any]]] = [
        (3, _common), (4, _operator), (1, _again), (1, _sizes), (1, _constants_only), (7 if rules else 0, _left_side),
    ]  # fmt: skip
    if depth < 2:

        def fill(inner: ModelBuilder) -> None:
            for _ in range(inner.choices.integer(0, 3)):
                _step(inner, rules, depth + 1)

        kinds.append((1, lambda b: control_flow.branch(b, fill)))
        if not depth:
            kinds += [(1, lambda b: control_flow.loop(b, fill)), (1, lambda b: control_flow.scan(b, fill))]
    for _ in range(_ATTEMPTS):
        try:
            b.choices.weighted(kinds)(b)
        except Invalid:
            continue
        return


# ------------------------------------------------------------------------------------------------------------ steps
@cache
def _operators(opset: int, domain: str = "") -> list[str]:
    """Operators of a domain in the table that exist, and give the same each time they are asked."""
    out = []
    for key in known_operators():
        domain_of, _, op_type = key.rpartition("::")
        if domain_of != domain:
            continue
        schema = schema_of(op_type, _DOMAINS.get(domain, opset), domain)
        if schema is not None and not schema.deprecated and not schema.random and not schema.has_subgraphs:
            out.append(key)
    return out


def _operator(b: ModelBuilder, key: str | None = None) -> list[Value]:
    """Any operator of the table."""
    if key is None:
        others = [d for d in b.model.opsets if d]
        domain = others[0] if others and b.choices.chance(3) else ""
        key = b.choices.one(_operators(b.model.opsets[""], domain))
    domain, _, op_type = key.rpartition("::")
    known = operands_of(key)
    assert known is not None
    site = PoolSite(b, op_type, domain)
    known.choose(site)
    return site.emit()


def _common(b: ModelBuilder) -> list[Value]:
    """An operator that real models are full of."""
    return _operator(b, b.choices.one([op for op in _COMMON if op in _operators(b.model.opsets[""])]))


def _again(b: ModelBuilder) -> list[Value]:
    """A node once more, for common subexpressions."""
    nodes = [v.node for v in b.values() if v.node is not None and v.node.inputs and not v.node.subgraphs]
    if not nodes:
        raise Invalid("nothing to repeat")
    n = b.choices.one(nodes[:10])
    copy = Node(n.op_type, list(n.inputs), domain=n.domain, attributes=dict(n.attributes))
    return b.add(copy, len(n.outputs))


def _sizes(b: ModelBuilder) -> list[Value]:
    """Dims of a tensor, computed with and put to use, as exporters write it."""
    tensors = [v for v in b.values() if b.arrays[v].ndim and v.dtype]
    if not tensors:
        raise Invalid("nothing that has dims")
    x = b.choices.one(tensors[:10])
    shape = b.arrays[x].shape
    sizes = b.node("Shape", [x])[0]
    kind = b.choices.weighted(((3, "reshape"), (2, "number"), (1, "expand"), (1, "cast"), (1, "flat"), (1, "sliced")))
    if kind == "reshape":
        k = b.choices.integer(0, len(shape))
        head = recipes.assembled(b, np.array(shape[:k], np.int64)) if k else None
        rest = b.constant(np.array([-1], np.int64))
        target = rest if head is None else b.node("Concat", [head, rest], {"axis": 0})[0]
        if 0 in shape:
            raise Invalid("-1 of nothing")
        return b.node("Reshape", [x, target])
    if kind == "sliced":
        bounds = [b.constant(np.array([k], np.int64)) for k in (0, b.choices.integer(1, len(shape)))]
        if "starts" in b.schema("Slice").attributes:
            raise Invalid("bounds are attributes")
        return b.node("Slice", [sizes, *bounds])
    if kind == "expand":
        one = b.constant(np.ones((1,) * len(shape), np.float32))
        return b.node("Expand", [one, sizes])
    if kind == "cast":
        return b.node("Cast", [sizes], {"to": b.choices.one([TensorProto.FLOAT, TensorProto.INT32])})
    if kind == "flat":
        return b.node("Reshape", [x, b.node("Concat", [b.constant(np.array([-1], np.int64))], {"axis": 0})[0]])
    index = b.constant(
        np.array(b.choices.integer(-len(shape) if b.model.opsets[""] > 10 else 0, len(shape) - 1), np.int64)
    )
    one = b.node("Gather", [sizes, index], {"axis": 0})[0]
    other = b.constant(np.array(b.choices.integer(1, 3), np.int64))
    return b.node(b.choices.one(["Mul", "Add", "Sub", "Div"]), [one, other])


def _constants_only(b: ModelBuilder) -> list[Value]:
    """Something that can be computed beforehand."""
    dtype = b.choices.weighted(_INPUT_DTYPES)
    a = b.constant(array(b.choices, dtype, b.choices.one(_SHAPES[:6])))
    if dtype == TensorProto.BOOL:
        return b.node("Not", [a])
    if b.choices.integer(0, 1):
        return b.node(b.choices.one(["Add", "Mul"]), [a, a])
    floating = dtype in (TensorProto.FLOAT, TensorProto.DOUBLE)
    return b.node(b.choices.one(["Identity", "Abs", *(["Sqrt", "Exp", "Neg", "Tanh"] if floating else [])]), [a])


@cache
def _rules_at(opset: int) -> list[tuple[Rule, list[Variant]]]:
    """Rules, each with those of its variants whose operators exist at an opset."""
    found = []
    for rule in all_rules().values():
        able = [v for v in rule.variants if all(not c.domain and exists(c, opset) for c in v.calls)]
        if able:
            found.append((rule, able))
    return found


def _left_side(b: ModelBuilder) -> list[Value]:
    """What a rule looks for."""
    rule, able = b.choices.one(_rules_at(b.model.opsets[""]))
    return PoolLeftSide(b, rule, b.choices.one(able)).build()


# ---------------------------------------------------------------------------------------------------------- the end
def _end(b: ModelBuilder) -> None:
    """Outputs: mostly what nobody reads, now and then a value in the middle."""
    made = [v for v in b.arrays if v.node is not None and v.graph is b.model.graph and v.node.op != "Constant"]
    ends = [v for v in made if not v.uses][-4:]
    if not ends:
        ends = made[-1:] or [
            b.node("Identity", [b.model.graph.inputs[0]])[0] if b.model.graph.inputs else _constant_result(b)
        ]
    for v in ends[::-1]:
        b.output(v)
    inner = [v for v in made if v.uses]
    if inner and b.choices.chance(3):
        b.output(b.choices.one(inner))


def _constant_result(b: ModelBuilder) -> Value:
    return b.node("Identity", [next(iter(b.arrays))])[0]
