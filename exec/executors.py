"""Executors: one way to run a model, whoever computes it.

An executor is anything that can be called as `Executor(model).run(feeds)`: `model` is a path or the bytes of a file,
`feeds` maps input names to values, the result maps output names to values. A value is

    numpy.ndarray   a tensor; bfloat16, float8, 4-bit and 2-bit ones have `ml_dtypes`' dtypes, strings have dtype object
    list            a sequence of values
    dict            a map
    None            an empty optional

`EXECUTORS` is the table of those known by name; a factory added to it is known to `graphopt.verify` too.

    >>> create("onnxruntime", "model.onnx").run({"x": x})["y"]
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from graphopt.errors import ArgumentError, GraphoptError, MissingDependencyError, ModelError

#: A model as executors take it: the path of a file, or a file's bytes.
Source = bytes | str | os.PathLike[str]
Feeds = Mapping[str, Any]


class Executor(Protocol):
    """What runs a model."""

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        """Outputs by name, in the model's order; raises whatever the executor raises where it refuses the inputs."""
        ...


class Unsupported(GraphoptError):
    """The executor lacks an operator or a type that the model needs, which says nothing about the model."""


class OnnxRuntime:
    """ONNX Runtime on the CPU, with all of its graph optimizations off.

    NumPy cannot carry bfloat16, float8 and types of less than a byte into ONNX Runtime: a model with such inputs or
    outputs is fed OrtValues that hold their raw bytes, any other plain NumPy.

    Args:
        model: a path (of any size, with or without external data), or bytes.
        folder: what external data is relative to, where the model comes as bytes.
        threads: threads inside an operator. One, the default, makes two runs agree bit by bit.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        Unsupported: such types stand beside strings, sequences, maps or optionals in the interface.
        Exception: what ONNX Runtime raises for a model that it does not load.
    """

    def __init__(self, model: Source, *, folder: str | os.PathLike[str] | None = None, threads: int = 1) -> None:
        try:
            import onnxruntime as ort
        except ImportError as e:
            raise MissingDependencyError("onnxruntime is not installed: pip install graphopt[ort]") from e
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # fatal: errors come as exceptions
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        source = model if isinstance(model, bytes) else os.fspath(model)
        self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self._names = [o.name for o in self._session.get_outputs()]
        types = {v.name: v.type for v in (*self._session.get_inputs(), *self._session.get_outputs())}
        self._raw = any(_RAW_TYPE.search(t) for t in types.values())
        if self._raw and (stuck := [f"{n}: {t}" for n, t in types.items() if not _NUMBERS.fullmatch(t)]):
            raise Unsupported(f"onnxruntime's Python API cannot mix raw tensors and {', '.join(stuck)}")

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        if not self._raw:
            return dict(zip(self._names, self._session.run(None, dict(feeds)), strict=True))
        values = {name: _to_ort(np.asarray(value)) for name, value in feeds.items()}
        outputs = self._session.run_with_ort_values(None, values)
        return {name: _from_ort(value) for name, value in zip(self._names, outputs, strict=True)}


class Reference:
    """onnx.reference, the standard's own evaluator: NumPy, slow, an opinion independent of any runtime's.

    Args:
        model: a path (with or without external data), or bytes.
        folder: what external data is relative to, where the model comes as bytes.

    Raises:
        Unsupported: it has no implementation of an operator: one of another domain, or at this version of the standard.
        Exception: what onnx.reference raises for a model that it does not load.
    """

    def __init__(self, model: Source, *, folder: str | os.PathLike[str] | None = None) -> None:
        from onnx.reference import ReferenceEvaluator

        proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(os.fspath(model))
        if folder is not None:
            onnx.load_external_data_for_model(proto, os.fspath(folder))
        with _told_apart():
            self._evaluator = ReferenceEvaluator(proto)

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        with _told_apart(), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs: Any = self._evaluator.run(None, dict(feeds))
        return dict(zip(self._evaluator.output_names, outputs, strict=True))


#: Name -> what makes the executor. Called with a Source, and with `folder` only where the model needs it.
EXECUTORS: dict[str, Callable[..., Executor]] = {"onnxruntime": OnnxRuntime, "reference": Reference}

_PACKAGES = {"onnxruntime": "onnxruntime"}


def installed() -> list[str]:
    """Names of the executors whose packages are there, in the order of the table."""
    return [name for name in EXECUTORS if name not in _PACKAGES or importlib.util.find_spec(_PACKAGES[name])]


def known(names: list[str]) -> list[str]:
    """The names, if all of them are in the table.

    Raises:
        ArgumentError: one is not; the message lists those that are.
    """
    if unknown := [n for n in names if n not in EXECUTORS]:
        raise ArgumentError(f"no executor is called {unknown[0]!r}; known: {', '.join(EXECUTORS)}")
    return names


def create(name: str, model: Source, **options: Any) -> Executor:
    """Load `model` on the executor of this name.

    Raises:
        ArgumentError: no executor has this name.
        MissingDependencyError: its package is not installed.
        Exception: the executor refuses the model; see the executor.
    """
    return EXECUTORS[known([name])[0]](model, **options)


# ------------------------------------------------------------------------------------------------------ models as files
class ModelFile(NamedTuple):
    """A model in a form that executors take, and its message to look into.

    Attributes:
        proto: the message. Its external data is not loaded.
        source: path or bytes.
        folder: what external data is relative to, where source is bytes that need it.
    """

    proto: onnx.ModelProto
    source: bytes | Path
    folder: Path | None = None

    def on(self, executor: str) -> Executor:
        """Load it: see `create`."""
        return create(executor, self.source, **({} if self.folder is None else {"folder": self.folder}))


@contextlib.contextmanager
def model_file(model: Any) -> Iterator[ModelFile]:
    """Any model, ready for executors; what had to be written to disk is gone afterwards.

    Args:
        model: a path, bytes, an onnx.ModelProto, or an object with a property `proto` or a method `SerializeToString`.
            External data of one that is no path is looked for in the object's `base_dir`, else in the current folder.

    Raises:
        ArgumentError: `model` is none of these, or there is no such file.
        ModelError: the bytes are not a model.
    """
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        if not path.is_file():
            raise ArgumentError(f"'{path}': no such file")
        yield ModelFile(_parse(path.read_bytes(), f"'{path}'"), path)
        return
    if isinstance(model, (bytes, bytearray, memoryview)):
        data = bytes(model)
        proto: Any = _parse(data, "what was given")
    else:
        proto = model if isinstance(model, onnx.ModelProto) else getattr(model, "proto", None)
        if not isinstance(proto, onnx.ModelProto):
            if not hasattr(model, "SerializeToString"):
                raise ArgumentError(f"{type(model).__name__} is no model: pass a path, bytes or an onnx.ModelProto")
            proto = _parse(model.SerializeToString(), f"the {type(model).__name__}")
        weights = sum(len(t.raw_data) for t in proto.graph.initializer)
        data = b"" if weights > _ONE_MESSAGE else proto.SerializeToString()
    folder = None
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in proto.graph.initializer):
        folder = Path(getattr(model, "base_dir", "") or ".").resolve()
    if data:
        yield ModelFile(proto, data, folder)
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="graphopt-") as temporary:
        yield ModelFile(proto, _write_large(proto, Path(temporary), folder))


def _parse(data: bytes, what: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as e:
        raise ModelError(f"{what} is not an ONNX model, or truncated ({len(data)} bytes)") from e
    if not proto.HasField("graph"):
        raise ModelError(f"{what} is not an ONNX model: it holds no graph ({len(data)} bytes)")
    return proto


_ONE_MESSAGE = 2**31 - 2**26  # protobuf's 2 GiB, and room for what is no weight


def _write_large(proto: onnx.ModelProto, into: Path, folder: Path | None) -> Path:
    """Write a model past protobuf's limit, its weights beside it, one at a time; the message stays as it is."""
    if folder is not None:  # executors look for external data in one folder only
        for name in {e.value for t in proto.graph.initializer for e in t.external_data if e.key == "location"}:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(folder / name, into / name)
    small = onnx.ModelProto()
    for field, value in proto.ListFields():
        if field.name == "graph":
            for inner, part in value.ListFields():
                if inner.name != "initializer":
                    _set_field(small.graph, inner.name, part)
        else:
            _set_field(small, field.name, value)
    with open(into / "graphopt-weights.data", "wb") as data:
        for tensor in proto.graph.initializer:
            copy = small.graph.initializer.add()
            if len(tensor.raw_data) < 1024:
                copy.CopyFrom(tensor)
                continue
            copy.name, copy.data_type, copy.data_location = tensor.name, tensor.data_type, onnx.TensorProto.EXTERNAL
            copy.dims.extend(tensor.dims)
            data.write(b"\0" * (-data.tell() % 4096))
            where = {"location": "graphopt-weights.data", "offset": data.tell(), "length": len(tensor.raw_data)}
            for key, value in where.items():
                copy.external_data.add(key=key, value=str(value))
            data.write(tensor.raw_data)
    (into / "model.onnx").write_bytes(small.SerializeToString())
    return into / "model.onnx"


def _set_field(message: Any, name: str, value: Any) -> None:
    here = getattr(message, name)
    if hasattr(here, "extend"):
        here.extend(value)
    elif hasattr(here, "CopyFrom"):
        here.CopyFrom(value)
    else:
        setattr(message, name, value)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # ONNX Runtime refuses symbolic links that leave the model's folder
    except OSError:
        import shutil

        shutil.copyfile(source, target)


# ----------------------------------------------------------------------------------------------- tensors as raw bytes
_RAW_TYPE = re.compile(r"bfloat16|float8|float4|int4|int2")
_NUMBERS = re.compile(r"tensor\((?!string)\w+\)")


def _to_ort(array: np.ndarray) -> Any:
    import onnxruntime as ort
    from onnx import helper, numpy_helper

    if array.dtype.type.__module__ != "ml_dtypes":
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    value = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), helper.np_dtype_to_tensor_dtype(array.dtype))
    raw = numpy_helper.from_array(array).raw_data  # two or four elements a byte where they are that small
    ctypes.memmove(value.data_ptr(), raw, len(raw))
    return value


def _from_ort(value: Any) -> np.ndarray:
    from onnx import numpy_helper

    if not _RAW_TYPE.search(value.data_type()):
        return np.asarray(value.numpy())
    name = value.data_type()
    bits = 16 if "bfloat16" in name else 8 if "float8" in name else 2 if "int2" in name else 4
    size = (math.prod(value.shape()) * bits + 7) // 8
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return numpy_helper.to_array(onnx.TensorProto(data_type=value.element_type(), dims=value.shape(), raw_data=raw))


# ------------------------------------------------------------------------------------------------- what a failure means
_LACKS = re.compile(
    r"No (?:registered )?implementation for operator '(\w*)'.*?domain '([\w.\-]*)'"
    r"|Node type '(\w*)' from domain '([\w.\-]*)' is unknown",
    re.DOTALL,
)


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """Turn 'this evaluator has no such operator' into Unsupported; an operator that does not exist stays an error."""
    try:
        yield
    except Exception as e:
        if lacks := _LACKS.search(str(e)):
            op, domain = lacks[1] or lacks[3], lacks[2] or lacks[4]
            if domain or onnx.defs.has(op):
                name = f"{domain}.{op}" if domain else op
                raise Unsupported(f"onnx.reference has no implementation of {name} at this version") from e
        raise
