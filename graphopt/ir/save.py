"""From the graph to files, whole or not at all: weights beside the model or in it, one at a time."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto

from graphopt.errors import SaveError
from graphopt.ir.graph import Graph
from graphopt.ir.messages import fill_graph, header
from graphopt.ir.model import Model
from graphopt.ir.node import Node, Value
from graphopt.ir.tensor import Tensor
from graphopt.ir.wire import GRAPH_INITIALIZER, MODEL_GRAPH, TENSOR_RAW_DATA, tag, varint

#: A protobuf message may not be larger (protobuf documentation: 2 GiB).
PROTOBUF_LIMIT = (1 << 31) - (1 << 20)
#: Smaller tensors stay in the model file when external data is written.
EXTERNAL_BYTES = 1024
#: Messages from this size on are not kept in memory twice.
_LARGE = 1 << 16


def save(model: Model, path: Path, external_data: bool | None = None) -> None:
    """See `Model.save`."""
    if not path.name or path.is_dir():
        raise SaveError(f"'{path}' is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise SaveError(f"'{path}' is no regular file; name another one")
    if not path.parent.is_dir():
        raise SaveError(f"folder '{path.parent}' does not exist; create it first")
    size = sum(t.nbytes for t in model.graph.initializers.values())
    if external_data is None:
        external_data = model.external or size > PROTOBUF_LIMIT
    elif not external_data and size > PROTOBUF_LIMIT:
        raise SaveError(
            f"'{path}': {size} bytes pass protobuf's limit of 2 GB for one file; save with external_data=True"
        )
    data_name = path.name + ".data"
    with _temporary(path.parent, path.name, 1 + external_data) as (model_tmp, *data_tmps):
        writer = _DataFile(data_tmps[0], data_name) if external_data else None
        proto = _message(model, writer)
        with open(model_tmp, "wb") as f:
            _write_model(f, proto, dict(model.graph.initializers), writer, path)
        if writer is None or not writer.offset:
            os.replace(model_tmp, path)
            return
        writer.close()
        data = path.parent / data_name
        moves = _moves(model, data, writer) if model.external else []
        _replace_both(data_tmps[0], data, model_tmp, path)
        for move in moves:
            move()


def write(model: Model, f: IO[bytes]) -> int:
    """Write the model, with all of its weights, to a binary stream; the bytes written. See `Model.save`."""
    return _write_model(f, _message(model, None), dict(model.graph.initializers), None, "a stream")


def _message(model: Model, writer: _DataFile | None) -> ModelProto:
    """The model less the initializers of the main graph; external data inside attributes is moved to where it will be."""
    proto = header(model)
    fill_graph(proto.graph, model.graph)
    if model.external:
        for t in _inner_tensors(proto):
            if t.data_location == TensorProto.EXTERNAL:
                _relocate(t, Tensor(_copy(t), base_dir=model.base_dir), writer)
    return proto


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is no model: an existing one is replaced at the end, in one step.

    Raises:
        SaveError: the folder is missing or not writable.
    """
    if not path.parent.is_dir():
        raise SaveError(f"folder '{path.parent}' does not exist; create it first")
    with _temporary(path.parent, path.name, 1) as (temporary,):
        temporary.write_bytes(data)
        os.replace(temporary, path)


def _replace_both(data_tmp: Path, data: Path, model_tmp: Path, path: Path) -> None:
    """Put both files in their places; an old model never stands beside new data."""
    old = data_tmp.with_suffix(".old")
    try:
        with contextlib.suppress(OSError):  # nothing there, or a file system without links
            os.link(data, old)
        os.replace(data_tmp, data)
        try:
            os.replace(model_tmp, path)
        except OSError:
            if old.exists():
                os.replace(old, data)
            else:
                data.unlink()
            raise
    finally:
        old.unlink(missing_ok=True)


def _moves(model: Model, data: Path, writer: _DataFile) -> list[Callable[[], None]]:
    """What has to be done once a new data file has taken the place of the one that tensors of the model lie in."""
    data = data.resolve()

    def moved(tensor: Tensor) -> TensorProto | None:
        if not tensor.is_external or tensor._proto is None:
            return None
        source, offset, _ = tensor.external_range()
        if source != data:
            return None
        new = writer.offsets.get((source, offset))
        if new is None:
            return _embedded(tensor._proto.name, tensor)
        proto = _copy(tensor._proto)
        del proto.external_data[:]
        kept = [(e.key, e.value) for e in tensor._proto.external_data if e.key not in ("offset", "length")]
        for key, value in (*kept, ("offset", str(new)), ("length", str(tensor.nbytes))):
            proto.external_data.add(key=key, value=value)
        return proto

    def move_initializer(graph: Graph, tensor: Tensor, proto: TensorProto) -> None:
        tensor._proto = proto
        graph.touch()

    def move_attribute(node: Node, name: str, tensor: Tensor) -> None:
        node.set_attribute(name, tensor)
        if node.op == "Constant":
            node.output.const = tensor

    moves: list[Callable[[], None]] = []
    for graph in model.graphs():
        moves += [
            partial(move_initializer, graph, tensor, proto)
            for tensor in graph.initializers.values()
            if (proto := moved(tensor)) is not None
        ]
        for node in graph:
            for name, value in node.attributes.items():
                if isinstance(value, Tensor) and (proto := moved(value)) is not None:
                    moves.append(partial(move_attribute, node, name, Tensor(proto, base_dir=value.base_dir)))
    return moves


def _write_model(
    f: IO[bytes], proto: ModelProto, tensors: dict[Value, Tensor], writer: _DataFile | None, path: Path | str
) -> int:
    """Write the message field by field, so that one tensor at a time is in memory twice; the bytes written."""
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    entries: list[tuple[bytes | TensorProto, Tensor | None, int]] = []  # message, whose raw data it lacks, size of all
    for v, t in tensors.items():
        if writer is not None and t.nbytes >= EXTERNAL_BYTES:
            head: bytes | TensorProto = writer.add(v.name, t).SerializeToString()
        elif t.is_apart:
            head = t.header(v.name).SerializeToString()
            entries.append((head, t, len(head) + 1 + len(varint(t.raw_size)) + t.raw_size))
            continue
        else:
            head = t.proto(v.name)
            if t.nbytes >= _LARGE:  # to be had once more when its turn comes
                entries.append((head, None, head.ByteSize()))
                continue
            head = head.SerializeToString()
        entries.append((head, None, len(head)))
    total = len(graph) + sum(1 + len(varint(size)) + size for _, _, size in entries)
    if total > PROTOBUF_LIMIT:
        raise SaveError(
            f"'{path}': {total} bytes pass protobuf's limit of 2 GB for one file; save with external_data=True"
        )
    top, begin = proto.SerializeToString(), tag(MODEL_GRAPH) + varint(total)
    for part in (top, begin, graph):
        f.write(part)
    for head, apart, size in entries:
        f.write(tag(GRAPH_INITIALIZER) + varint(size))
        f.write(head if isinstance(head, bytes) else head.SerializeToString())
        if apart is not None:
            f.write(tag(TENSOR_RAW_DATA) + varint(apart.raw_size))
            _write_raw(f, apart)
    return len(top) + len(begin) + total


class _DataFile:
    """The external data file: tensors one after the other, large ones at page boundaries so that they can be mapped."""

    def __init__(self, path: Path, name: str) -> None:
        self.file = open(path, "wb")  # noqa: SIM115 - closed by `close`, removed by `_temporary`
        self.name = name
        self.offset = 0
        self.offsets: dict[tuple[Path, int], int] = {}  # of what came from other data files, by file and offset there

    def add(self, name: str, tensor: Tensor) -> TensorProto:
        """Write a tensor's bytes; the message that refers to them. Strings cannot be external and stay inside."""
        if tensor.dtype == TensorProto.STRING:
            return tensor.proto(name)
        align = 4096 if tensor.nbytes >= 1 << 16 else 64
        pad = -self.offset % align
        self.file.write(b"\0" * pad)
        self.offset += pad
        proto = TensorProto(name=name, data_type=tensor.dtype, dims=tensor.dims, data_location=TensorProto.EXTERNAL)
        length = tensor.nbytes
        for key, value in (("location", self.name), ("offset", str(self.offset)), ("length", str(length))):
            proto.external_data.add(key=key, value=value)
        if tensor.is_external:
            self.offsets[tensor.external_range()[:2]] = self.offset
        _write_raw(self.file, tensor)
        self.offset += length
        return proto

    def close(self) -> None:
        self.file.close()


def _write_raw(f: IO[bytes], tensor: Tensor) -> None:
    if tensor.is_external:
        path, offset, _ = tensor.external_range()
        with open(path, "rb") as source:
            source.seek(offset)
            left = tensor.nbytes
            chunk = memoryview(bytearray(min(left, 1 << 20)))
            while left:
                count = source.readinto(chunk[:left])
                if not count:
                    raise OSError(f"'{path}' became shorter meanwhile")
                f.write(chunk[:count])
                left -= count
        return
    f.write(_raw(tensor))


def _raw(tensor: Tensor) -> bytes | memoryview:
    """The bytes of the values as a file has them."""
    if tensor.raw is not None:
        return tensor.raw
    if tensor.is_apart:
        return np.ascontiguousarray(tensor.view()).reshape(-1).view(np.uint8).data
    from onnx import numpy_helper

    message = tensor.proto("")
    if not message.HasField("raw_data"):
        message = numpy_helper.from_array(np.ascontiguousarray(tensor.numpy()))
    return message.raw_data


def _embedded(name: str, tensor: Tensor) -> TensorProto:
    return TensorProto(name=name, data_type=tensor.dtype, dims=tensor.dims, raw_data=bytes(_raw(tensor)))


def _relocate(message: TensorProto, tensor: Tensor, writer: _DataFile | None) -> None:
    message.CopyFrom(_embedded(message.name, tensor) if writer is None else writer.add(message.name, tensor))


def _copy(t: TensorProto) -> TensorProto:
    out = TensorProto()
    out.CopyFrom(t)
    return out


def _inner_tensors(proto: ModelProto) -> Iterator[TensorProto]:
    """Tensors in attributes and subgraphs, where external data is rare but allowed."""

    def of_nodes(nodes: Any) -> Iterator[TensorProto]:
        for node in nodes:
            for a in node.attribute:
                if a.type in (AttributeProto.TENSOR, AttributeProto.TENSORS):
                    yield from a.tensors or [a.t]
                elif a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                    for g in a.graphs or [a.g]:
                        yield from g.initializer
                        yield from of_nodes(g.node)

    yield from of_nodes(proto.graph.node)
    for f in proto.functions:
        yield from of_nodes(f.node)


@contextlib.contextmanager
def _temporary(folder: Path, name: str, count: int) -> Iterator[list[Path]]:
    """Files beside the destination that are gone afterwards unless they were renamed."""
    made: list[Path] = []
    try:
        for _ in range(count):
            handle, text = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
            os.close(handle)
            os.chmod(text, 0o666 & ~_umask())
            made.append(Path(text))
        yield made
    except OSError as e:
        raise SaveError(f"'{folder / name}' cannot be written: {e.strerror or e}") from e
    finally:
        for p in made:
            p.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
