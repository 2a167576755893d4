"""8-bit and 4-bit weights by ONNX Runtime's own tools, which are kept by those who keep its kernels.

The tools work on files and messages and leave their traces on both sides: they are given a copy in a temporary folder, and
what comes back must have the model's interface.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, TensorProto

from graphopt.compare import nodes_of
from graphopt.errors import GraphoptError, MissingDependencyError
from graphopt.ir import Model, Node, load
from graphopt.precision.options import Precision

#: The first opset with DynamicQuantizeLinear.
INT8_OPSET = 11
_LARGE = 1 << 31
_OTHER_FLOATS = frozenset({TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})
_READ_BY_TOOLS = frozenset(
    {"MatMul", "Gemm", "Gather", "LSTM", "Attention", "com.microsoft::Attention", "Conv", "Transpose"}
)


class QuantizationError(GraphoptError):
    """A quantization tool failed, or changed what it must not; the message says which and what."""


def int8_dynamic(model: Model, options: Precision) -> Model:
    """Products with constant weights in 8 bits, by `onnxruntime.quantization.quantize_dynamic`.

    Weights are signed, with a scale for each column; activations get scale and zero point when the model runs.
    """
    tool = _tool("onnxruntime.quantization", options.kind)
    _list_constants(model)
    excluded = _name_nodes(model, options)
    operators = [o.rpartition("::")[2] for o in options.operators if o != "Gemm"]
    if (
        "Gemm" in options.operators and "MatMul" not in operators
    ):  # the tool makes products of these and then knows no Gemm
        excluded += [n.name for n in model.nodes() if n.op == "MatMul"]
        operators.append("MatMul")
    elif "Gemm" not in options.operators:
        excluded += [f"{n.name}_MatMul" for n in model.nodes() if n.op == "Gemm"]
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder, _quiet():
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        model.save(source)
        try:
            tool.quantize_dynamic(
                source,
                target,
                op_types_to_quantize=operators,
                per_channel=True,
                weight_type=tool.QuantType.QInt8,
                nodes_to_exclude=excluded,
                use_external_data_format=_bytes(model) > _LARGE,
                reduce_range=options.reduce_range,
                extra_options=_extra(model),
            )
        except Exception as e:
            raise QuantizationError(f"onnxruntime.quantization.quantize_dynamic failed: {_short(e)}") from e
        return _read_back(model, onnx.load(target))


def _extra(model: Model) -> dict[str, Any]:
    extra: dict[str, Any] = {"MatMulConstBOnly": True, "EnableSubgraph": any(n.subgraphs for n in model.graph)}
    if not {t.dtype for g in model.graphs() for t in g.initializers.values()} & _OTHER_FLOATS:
        extra["DefaultTensorType"] = (
            TensorProto.FLOAT
        )  # where onnx's inference finds none, as behind ai.onnx.ml's operators
    return extra


def int4_weights(model: Model, options: Precision) -> Model:
    """Products with constant weights in blocks of 4 bits, by `onnxruntime.quantization.matmul_nbits_quantizer`."""
    tool = _tool("onnxruntime.quantization.matmul_nbits_quantizer", options.kind)
    wrapper = _tool("onnxruntime.quantization.onnx_model", options.kind)
    _list_constants(model)
    excluded = _name_nodes(model, options)
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder, _quiet():
        source = Path(folder, "float.onnx")
        model.save(source)
        proto = onnx.load(source)
    with _quiet():
        try:
            wrapper.ONNXModel(proto).replace_gemm_with_matmul()
            quantizer = tool.MatMulNBitsQuantizer(
                proto,
                bits=4,
                block_size=options.block_size,
                is_symmetric=options.symmetric,
                accuracy_level=options.accuracy or None,
                nodes_to_exclude=excluded,
                op_types_to_quantize=("MatMul",),
            )
            quantizer.process()
        except Exception as e:
            raise QuantizationError(f"onnxruntime's matmul_nbits_quantizer failed: {_short(e)}") from e
        return _read_back(model, quantizer.model.model)


def _tool(module: str, kind: str) -> Any:
    try:
        with _quiet():
            return importlib.import_module(module)
    except ImportError as e:
        missing = (e.name or module).partition(".")[0]
        if missing in ("onnxruntime", "onnx_ir"):
            found = f"{missing} is not installed" if missing != "onnxruntime" or not _has_runtime() else "it is too old"
            raise MissingDependencyError(
                f"precision='{kind}' needs ONNX Runtime's quantization tools, and {found}: pip install graphopt[quantization]"
            ) from e
        raise MissingDependencyError(f"precision='{kind}' needs {missing}: pip install {missing}") from e


def _has_runtime() -> bool:
    return importlib.util.find_spec("onnxruntime") is not None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tools' advice and their logging to themselves; importing one of them sets up the root logger."""
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)


def _list_constants(model: Model) -> None:
    """Make initializers of Constant nodes, which the tools do not take for weights."""
    for graph in model.graph.subgraphs():
        for node in [n for n in graph if n.op == "Constant"]:
            v = node.output
            if v.const is not None and not v.exits:
                v.replace_uses(graph.add_initializer(model.fresh_name(v.name), v.const))
                graph.remove(node)


def _of_other_floats(node: Node) -> bool:
    """Whether a node computes in a float that DynamicQuantizeLinear does not take."""
    return any(v is not None and v.dtype in _OTHER_FLOATS for v in node.inputs)


def _name_nodes(model: Model, options: Precision) -> list[str]:
    """Give nodes that the tools look at names of their own, by which they can be left out; the names of those to be."""
    kept, int8 = frozenset(options.keep), options.kind == "int8-dynamic"
    seen: set[str] = set()
    excluded: list[str] = []
    for node in model.nodes():
        if node.op in _READ_BY_TOOLS:
            asked = node.op in kept or (node.name and node.name in kept) or (int8 and _of_other_floats(node))
            if not node.name or node.name in seen:
                node.name = model.fresh_name(node.name or node.op_type)
                node.touch()
            if asked:
                excluded += [node.name, f"{node.name}_MatMul"]  # the second: as tools call the product in a Gemm
        seen.add(node.name)
    return excluded


def _read_back(model: Model, proto: ModelProto) -> Model:
    """What a tool wrote, with what the model says about itself."""
    graph = model.graph
    sides = [
        (proto.graph.input, [graph.input_infos[v] for v in graph.inputs]),
        (proto.graph.output, graph.output_infos),
    ]
    for there, infos in sides:
        was, now = ([(i.name, i.type.tensor_type.elem_type) for i in side] for side in (infos, there))
        if was != now:
            lost = next((name for name, _ in was if name not in dict(now)), was[0][0] if was else now[0][0])
            hint = "; freeze_inputs=True makes inputs with an initializer constants" * any(
                v in graph.initializers for v in graph.inputs
            )
            raise QuantizationError(f"the tool changed the model's interface at '{lost}'{hint}")
        del there[:]
        there.extend(infos)  # onnx's inference may have put names of its own there
    for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        proto.ClearField(field)
        if model.source.HasField(field):
            setattr(proto, field, getattr(model.source, field))
    del proto.metadata_props[:]
    proto.metadata_props.extend(model.source.metadata_props)
    domains = {o.domain for o in proto.opset_import}
    for domain in sorted({n.domain for n in nodes_of(proto)} - domains - {"", "ai.onnx"}):
        proto.opset_import.add(domain=domain, version=1)  # left out where such operators are in subgraphs only
    said = {i.name for i in graph.source.value_info}
    known = [i for i in proto.graph.value_info if i.name in said]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(known)
    return load(proto)


def _bytes(model: Model) -> int:
    return sum(t.nbytes for g in model.graphs() for t in g.initializers.values())


def _short(e: Exception) -> str:
    return f"{type(e).__name__}: {' '.join(str(e).split())[:240]}"
