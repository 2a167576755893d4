"""Large weights stay in the bytes of the file: the message is read without them, and written around them.

As far as that needs it, protobuf's wire format (https://protobuf.dev/programming-guides/encoding/): a message is a sequence
of fields, each a tag and what its type says; strings, bytes and messages begin with their length.
"""

from __future__ import annotations

from collections.abc import Iterator

#: Numbers of fields in onnx.proto.
MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_RAW_DATA = 7, 5, 9
#: Tensors from this many bytes on are left where they are.
LARGE = 4096
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Unusual(Exception):
    """The bytes are no message of fields, or say something twice."""


def varint(n: int) -> bytes:
    """A number as the wire has it."""
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def tag(field: int) -> bytes:
    """What goes before the length of a field of bytes."""
    return varint(field << 3 | _BYTES)


def without_weights(data: bytes) -> tuple[bytes, dict[int, memoryview]]:
    """A ModelProto's bytes less the raw data of large initializers, and that by the number of the initializer.

    What is unusual stays as it is, for protobuf to read or to refuse.
    """
    try:
        graphs = [f for f in _fields(data, 0, len(data)) if f[0] == MODEL_GRAPH]
        if len(graphs) != 1:
            return data, {}
        _, begin, start, end = graphs[0]
        parts, weights = _graph(data, start, end)
    except (_Unusual, IndexError):
        return data, {}
    if not weights:
        return data, {}
    size = sum(map(len, parts))
    view = memoryview(data)
    return b"".join([view[:begin], tag(MODEL_GRAPH), varint(size), *parts, view[end:]]), weights


def _graph(data: bytes, start: int, end: int) -> tuple[list[memoryview | bytes], dict[int, memoryview]]:
    """The parts of a graph's message without the weights, and these."""
    view = memoryview(data)
    parts: list[memoryview | bytes] = []
    weights: dict[int, memoryview] = {}
    number = -1
    for field, begin, first, last in _fields(data, start, end):
        if field != GRAPH_INITIALIZER:
            continue
        number += 1
        if last - first < LARGE:
            continue
        raw = _raw_data(data, first, last)
        if raw is None:
            continue
        before, low, high = raw
        weights[number] = view[low:high]
        rest = (view[first:before], view[high:last])
        parts += (view[start:begin], tag(GRAPH_INITIALIZER), varint(sum(map(len, rest))), *rest)
        start = last
    parts.append(view[start:end])
    return parts, weights


def _raw_data(data: bytes, start: int, end: int) -> tuple[int, int, int] | None:
    """Where a tensor's raw data lies: its tag, first byte and end; None where there is none, or little, or something besides."""
    found = None
    for field, begin, first, last in _fields(data, start, end):
        if field in (_EXTERNAL_DATA, _DATA_LOCATION) or (field == TENSOR_RAW_DATA and found is not None):
            return None
        if field == TENSOR_RAW_DATA:
            found = begin, first, last
    return found if found is not None and found[2] - found[1] >= LARGE else None


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, where the tag begins, where the content begins and ends."""
    while at < end:
        begin = at
        key = data[at]
        at += 1
        if key > 0x7F:
            key, at = _number(data, begin)
        kind = key & 7
        if kind == _BYTES:
            size = data[at]
            at += 1
            if size > 0x7F:
                size, at = _number(data, at - 1)
            first, at = at, at + size
        elif kind == _VARINT:
            first = at
            _, at = _number(data, at)
        elif kind in (_FIXED64, _FIXED32):
            first, at = at, at + (8 if kind == _FIXED64 else 4)
        else:
            raise _Unusual
        if at > end:
            raise _Unusual
        yield key >> 3, begin, first, at


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A varint, and what comes after it."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise _Unusual
