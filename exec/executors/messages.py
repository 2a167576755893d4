"""Messages between this program and one in JavaScript that runs models, and how arrays go in them.

A message is the length of a header (four bytes, little endian), the header as JSON, and the bytes of as many buffers as it
has `sizes`. message.mjs reads and writes the same.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError

#: What WebAssembly says when it cannot go on, nor take another model.
BROKEN = re.compile(r"abort|unreachable|out of bounds memory|memory access|out of memory|allocation failed", re.I)
#: The modules that run on the other side.
JAVASCRIPT = Path(__file__).parent / "javascript"
#: The element types that messages carry as bytes, by their names in ONNX Runtime Web. Strings go as text.
TYPES = {
    "float32": np.float32, "float64": np.float64, "float16": np.float16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
    "int16": np.int16, "uint16": np.uint16, "int32": np.int32, "uint32": np.uint32, "int64": np.int64, "uint64": np.uint64,
}  # fmt: skip
_NAMES = {np.dtype(t): name for name, t in TYPES.items()}


def parts(header: Mapping[str, Any], buffers: Sequence[bytes] = ()) -> Iterator[bytes]:
    """A message, piece by piece: buffers are not copied.

    Args:
        header: what JSON can hold.
        buffers: what goes along.
    """
    text = json.dumps({**header, "sizes": [len(b) for b in buffers]}).encode()
    yield struct.pack("<I", len(text))
    yield text
    yield from buffers


def read(some: Callable[[int], bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """A message's header and buffers.

    Args:
        some: gives as many bytes as it is asked for, or less where there are no more.

    Raises:
        EOFError: it ends too early.
    """

    def whole(count: int) -> bytes:
        data = some(count)
        if len(data) < count:
            raise EOFError
        return data

    header = json.loads(whole(struct.unpack("<I", whole(4))[0]))
    return header, [whole(n) for n in header["sizes"]]


def tensors(feeds: Mapping[str, Any], called: str) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Arrays for a message: what the header says of each ({name, type, dims} and, of strings, text), and the buffers.

    Raises:
        UnsupportedError: a value is no array, or has a dtype that cannot be sent; the message names the input.
    """
    heads: list[dict[str, Any]] = []
    buffers: list[bytes] = []
    for name, value in feeds.items():
        if not isinstance(value, (np.ndarray, np.generic)):
            raise UnsupportedError(f"{called} takes tensors; input '{name}' is a {type(value).__name__}")
        array = np.asarray(value, order="C")
        head: dict[str, Any] = {"name": name, "dims": list(array.shape)}
        if array.dtype == object or array.dtype.kind in "US":
            heads.append(head | {"type": "string", "text": [str(t) for t in array.ravel()]})
            buffers.append(b"")
        elif array.dtype not in _NAMES:
            raise UnsupportedError(f"{called} has no tensors of {array.dtype} (input '{name}')")
        else:
            heads.append(head | {"type": _NAMES[array.dtype]})
            buffers.append(array.tobytes())
    return heads, buffers


def array(head: Mapping[str, Any], data: bytes) -> np.ndarray:
    """The array that an answer tells of, as `tensors` writes them; it can be written to."""
    if head["type"] == "string":
        return np.array(head["text"], dtype=object).reshape(head["dims"])
    return np.frombuffer(data, TYPES[head["type"]]).reshape(head["dims"]).copy()
