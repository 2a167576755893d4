"""Small models for tests, and what is done with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, parser

from graphopt.ir import Model, Node, load
from graphopt.rewrite import Driver, Ledger, Rewriter, Rule, RuleSet
from graphopt.rewrite.compile import Compiled
from graphopt.rewrite.single import single_matcher
from graphopt.shapes import infer_model
from tests.ir import invariants


def parse(text: str, opset: int = 17, ir: int = 8, imports: str = "", check: bool = True) -> ModelProto:
    """A model from ONNX's text form (https://onnx.ai/onnx/repo-docs/Syntax.html)."""
    model = parser.parse_model(f'<ir_version: {ir}, opset_import: ["": {opset}{imports}]>\n{text}')
    if check:
        onnx.checker.check_model(model)
    return model


def with_constants(text: str, opset: int = 17, ir: int = 8, imports: str = "", **arrays: Any) -> ModelProto:
    """A model from text with these initializers."""
    model = parse(text, opset, ir, imports, check=False)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items())
    onnx.checker.check_model(model)
    return model


def rewrite(model: ModelProto, *rules: Rule) -> tuple[Model, Ledger]:
    """Run these rules, and nothing else; what may not change is checked."""
    before = model.SerializeToString(deterministic=True)
    m = load(model)
    infer_model(m)
    ledger = Ledger()
    Driver(Rewriter(m, ledger), RuleSet(rules)).run()
    assert not ledger.warnings, ledger.warnings
    invariants.check(m)
    onnx.checker.check_model(m.proto)
    assert model.SerializeToString(deterministic=True) == before
    return m, ledger


def found_at(compiled: Compiled, node: Node) -> list[Any]:
    """What a pattern finds at a node; one of a single call finds the same where it is not compiled."""
    found = list(compiled.match(node))
    if (single := single_matcher(compiled.rule, compiled.variant)) is not None:
        assert list(single(node)) == found
    return found


def ops(model: Model | ModelProto) -> list[str]:
    """Operators of the main graph in order, Constants apart."""
    proto = model.proto if isinstance(model, Model) else model
    return [n.op_type for n in proto.graph.node if n.op_type != "Constant"]


def nodes(model: Model | ModelProto, op: str) -> list[NodeProto]:
    proto = model.proto if isinstance(model, Model) else model
    return [n for n in proto.graph.node if n.op_type == op]


def constants(model: Model | ModelProto) -> dict[str, np.ndarray]:
    """Initializers and Constant nodes of the main graph by name."""
    proto = model.proto if isinstance(model, Model) else model
    found = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    found.update(
        {n.output[0]: onnx.numpy_helper.to_array(n.attribute[0].t) for n in proto.graph.node if n.op_type == "Constant"}
    )
    return found


def reasons(ledger: Ledger) -> list[str]:
    """Why rules did not apply."""
    return [reason for _, reason in ledger.declined]


def run(model: Model | ModelProto, **feeds: Any) -> list[Any]:
    """Outputs on the reference kernels, nothing optimised."""
    from graphopt.exec.executors import create

    proto = model.proto if isinstance(model, Model) else model
    return list(create("reference", proto.SerializeToString()).run(feeds).values())


def same_bits(a: Any, b: Any) -> bool:
    """Whether two outputs agree in dtype, shape and every bit; lists element by element."""
    if isinstance(a, list) or isinstance(b, list):
        return isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and all(map(same_bits, a, b))
    if a is None or b is None:
        return a is b
    x, y = np.asarray(a), np.asarray(b)
    if x.dtype.kind in "OUT" or y.dtype.kind in "OUT":
        return x.shape == y.shape and x.tolist() == y.tolist()
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def everything() -> ModelProto:
    """A valid model that uses about every field of every message that onnx knows, unknown operators included."""
    tensor, make = onnx.helper.make_tensor_type_proto, onnx.helper
    float_type = tensor(onnx.TensorProto.FLOAT, ["batch", 3, None])
    kinds = {"UNDEFINED", "FLOAT8E8M0"}
    initializers = []
    for name, dtype in onnx.TensorProto.DataType.items():
        if name not in kinds:
            values = (
                [b"a", b"", "é".encode()]
                if name == "STRING"
                else np.array([1, 0, 1]).astype(make.tensor_dtype_to_np_dtype(dtype))
            )
            initializers.append(make.make_tensor(f"w_{name}", dtype, [3], values))
    initializers.append(onnx.numpy_helper.from_array(np.float32(2.5), "scalar"))
    initializers.append(onnx.numpy_helper.from_array(np.zeros((0, 2), np.float16), "nothing"))
    initializers[0].doc_string = "a weight"
    initializers[0].metadata_props.add(key="tensor", value="1")
    initializers.append(onnx.numpy_helper.from_array(np.ones(3, np.float32), "overridable"))

    sparse = onnx.SparseTensorProto(dims=[4])
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(np.array([1, 2], np.float32), "sparse"))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(np.array([0, 3]), "sparse_indices"))

    branches = [
        make.make_graph(
            [
                make.make_node(op, ["x", "inner_w"], [f"{op}_out"]),
                make.make_node("Relu", [f"{op}_out"], [f"{op}_done"]),
            ],
            f"{op}_branch",
            [],
            [make.make_value_info(f"{op}_done", float_type)],
            initializer=[onnx.numpy_helper.from_array(np.ones(1, np.float32), "inner_w")],
            doc_string="a branch",
        )
        for op in ("Add", "Mul")
    ]
    branches[0].value_info.append(make.make_value_info("Add_out", float_type))
    branches[0].metadata_props.add(key="branch", value="then")
    opaque = make.make_node(
        "Opaque", ["x", "", "w_STRING"], ["o0", "", "o2"], "opaque", "a node", "my.domain", overload=""
    )
    opaque.overload = "special"
    opaque.metadata_props.add(key="node", value="2")
    if opaque.HasField("overload") and hasattr(opaque, "device_configurations"):
        opaque.device_configurations.add(configuration_id="c", pipeline_stage=1)
    for value in (
        1,
        1.5,
        "text",
        b"\xff\xfe",
        [1, 2],
        [0.5, -0.0],
        ["a", "b"],
        [b"\xff"],
        sparse,
        [sparse],
        float_type,
        [float_type],
        branches[0],
        branches,
    ):
        opaque.attribute.append(make.make_attribute(f"a{len(opaque.attribute)}", value))
    opaque.attribute.append(make.make_attribute("a_tensor", onnx.numpy_helper.from_array(np.arange(3), "named")))
    opaque.attribute.append(make.make_attribute("a_tensors", [onnx.numpy_helper.from_array(np.arange(3), "t0")]))
    for kind in ("INTS", "FLOATS", "STRINGS", "TENSORS", "GRAPHS", "SPARSE_TENSORS", "TYPE_PROTOS"):
        opaque.attribute.add(name=f"empty_{kind}", type=getattr(onnx.AttributeProto, kind))
    for a in opaque.attribute:
        a.doc_string = f"about {a.name}"
    # inner names may not clash with those of the If below, nor with one another
    for k, g in enumerate(g for a in opaque.attribute for g in ([a.g] if a.HasField("g") else a.graphs)):
        _suffix(g, f"_{k}")

    nodes = [
        make.make_node("If", ["c"], ["y"], "choose", then_branch=branches[0], else_branch=branches[1]),
        make.make_node(
            "Constant", [], ["k"], "constant", value=onnx.numpy_helper.from_array(np.arange(2.0), "k_value")
        ),
        make.make_node("SequenceAt", ["s", "zero"], ["from_sequence"]),
        make.make_node("OptionalHasElement", ["opt"], ["has"]),
        make.make_node("Identity", ["opt"], ["opt_out"]),
        make.make_node("Add", ["overridable", "sparse_user"], ["sum"]),
        make.make_node("Opaque", ["sparse"], ["sparse_user"], domain="my.domain"),
        opaque,
        make.make_node("double", ["sum"], ["doubled"], domain="local", alpha=3.0),
        make.make_node("double", ["sum"], ["doubled2"], domain="local", overload="fast"),
    ]
    nodes[5], nodes[6] = nodes[6], nodes[5]
    sequence = make.make_sequence_type_proto(float_type)
    optional = make.make_optional_type_proto(float_type)
    graph = make.make_graph(
        nodes,
        "everything",
        [
            make.make_value_info("x", float_type, "the input"),
            make.make_value_info("c", tensor(onnx.TensorProto.BOOL, [])),
            make.make_value_info("s", sequence),
            make.make_value_info("opt", optional),
            make.make_value_info("map", make.make_map_type_proto(onnx.TensorProto.INT64, float_type)),
            make.make_value_info("unused", tensor(onnx.TensorProto.DOUBLE, [])),
            make.make_value_info("overridable", tensor(onnx.TensorProto.FLOAT, [3])),
            make.make_value_info("sparse_in", make.make_sparse_tensor_type_proto(onnx.TensorProto.FLOAT, [2, 2])),
        ],
        [make.make_value_info(n, float_type, "out") for n in ("y", "from_sequence")]
        + [make.make_value_info("has", tensor(onnx.TensorProto.BOOL, [])), make.make_value_info("opt_out", optional)]
        + [
            make.make_value_info("o2", float_type),
            make.make_value_info("doubled2", tensor(onnx.TensorProto.FLOAT, [3])),
        ],
        initializers,
        "a graph",
        [make.make_value_info("sum", tensor(onnx.TensorProto.FLOAT, [3])), make.make_value_info("o0", float_type)],
        [sparse],
    )
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), "zero"))
    graph.metadata_props.add(key="graph", value="3")
    graph.input[0].type.denotation = "IMAGE"
    graph.input[0].type.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"
    graph.input[0].metadata_props.add(key="input", value="4")
    annotation = graph.quantization_annotation.add(tensor_name="x")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scalar")

    body = [make.make_node("Constant", [], ["a"]), make.make_node("Mul", ["v", "a"], ["w"])]
    body[0].attribute.add(name="value_float", type=onnx.AttributeProto.FLOAT, ref_attr_name="alpha")
    functions = [
        make.make_function(
            "local",
            "double",
            ["v"],
            ["w"],
            body,
            [make.make_opsetid("", 21)],
            attribute_protos=[make.make_attribute("alpha", 2.0)],
            doc_string="a function",
        ),
        make.make_function(
            "local",
            "double",
            ["v"],
            ["w"],
            [make.make_node("Add", ["v", "v"], ["w"])],
            [make.make_opsetid("", 21)],
            overload="fast",
        ),
    ]
    functions[0].metadata_props.add(key="function", value="5")
    functions[0].value_info.append(make.make_value_info("a", tensor(onnx.TensorProto.FLOAT, [])))
    model = make.make_model(
        graph,
        ir_version=onnx.IR_VERSION,
        opset_imports=[
            make.make_opsetid("", 21),
            make.make_opsetid("my.domain", 7),
            make.make_opsetid("local", 1),
            make.make_opsetid("ai.onnx.ml", 3),
        ],
        functions=functions,
        producer_name="tests",
        producer_version="1",
        doc_string="a model",
        domain="org.example",
        model_version=9,
    )
    model.metadata_props.add(key="model", value="6")
    if hasattr(model, "configuration"):
        model.configuration.add(name="c", num_devices=2, device=["a", "b"])
    training = model.training_info.add()
    training.algorithm.CopyFrom(
        make.make_graph(
            [make.make_node("Identity", ["scalar"], ["t"])], "step", [], [make.make_value_info("t", float_type)]
        )
    )
    training.update_binding.add(key="scalar", value="t")
    return model


def _suffix(graph: onnx.GraphProto, text: str) -> None:
    own = {t.name for t in graph.initializer} | {o for n in graph.node for o in n.output}
    for t in graph.initializer:
        t.name += text
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name in own:
                    names[i] = name + text
    for info in (*graph.output, *graph.value_info):
        if info.name in own:
            info.name += text
