"""Any model as a file that executors take."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from google.protobuf.message import DecodeError

from graphopt.errors import ArgumentError, ModelError
from graphopt.exec.executors.base import Executor
from graphopt.exec.executors.registry import create
from graphopt.ir import load


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
        model: a path, bytes, an onnx.ModelProto, an object with a property `proto` or a method `SerializeToString`, or else
            whatever `graphopt.load` takes.
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
            proto = _message(model)
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


def _message(model: Any) -> onnx.ModelProto:
    if hasattr(model, "SerializeToString"):
        return _parse(model.SerializeToString(), f"the {type(model).__name__}")
    try:
        return load(model).proto
    except ArgumentError:
        accepted = "pass a path, bytes or an onnx.ModelProto"
        raise ArgumentError(f"{type(model).__name__} is no model: {accepted}") from None


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
