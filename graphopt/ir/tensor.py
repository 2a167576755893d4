"""Constant tensors. The bytes stay where they came from (message, memory-mapped file) until somebody reads them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from graphopt.errors import ModelError

STRING = TensorProto.STRING
#: Arrays up to this many bytes are kept once they are decoded.
_CACHED_BYTES = 1 << 16
#: Constants with more elements are not searched for one that they all are.
_READABLE = 1 << 20
_UNREAD = object()


class Tensor:
    """An immutable constant: dtype (`onnx.TensorProto.DataType`), dims, and the values on demand.

    Args:
        proto: the message that holds the values or says in which file they lie.
        array: the values themselves; then `proto` is made when the model is saved.
        base_dir: the folder that external data is relative to.
        raw: the raw data that was left out of `proto`.
    """

    __slots__ = ("_array", "_fill", "_proto", "base_dir", "dims", "dtype", "raw")

    def __init__(
        self,
        proto: TensorProto | None = None,
        array: np.ndarray | None = None,
        base_dir: str = "",
        raw: memoryview | bytes | None = None,
    ) -> None:
        self._proto = proto
        self.raw = raw
        self._array = array
        self._fill: Any = _UNREAD
        self.base_dir = base_dir
        if proto is not None:
            self.dtype: int = proto.data_type
            self.dims: tuple[int, ...] = tuple(proto.dims)
        else:
            assert array is not None
            self.dtype = STRING if array.dtype.kind in "OUST" else helper.np_dtype_to_tensor_dtype(array.dtype)
            self.dims = array.shape

    def __reduce__(self) -> tuple[Any, ...]:
        array = self._array if self._proto is None else None
        return Tensor, (self._proto, array, self.base_dir, None if self.raw is None else bytes(self.raw))

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def nbytes(self) -> int:
        """Bytes of the values as a file stores them (strings: a rough 16 each)."""
        return byte_size(self.dtype, self.dims)

    @property
    def is_external(self) -> bool:
        return self._proto is not None and self._proto.data_location == TensorProto.EXTERNAL

    def numpy(self) -> np.ndarray:
        """The values as a read-only array; 16-bit and smaller floats and 4- and 2-bit integers as ml_dtypes.

        Raises:
            ModelError: the message or file does not hold values of this dtype and shape.
        """
        array = self.view()
        if not array.flags.aligned:
            array = array.copy()
            array.setflags(write=False)
        return array

    def view(self) -> np.ndarray:
        """The same without a copy, possibly not aligned in memory: for what looks at values but does not compute with them."""
        if self._array is not None:
            return self._array
        assert self._proto is not None
        try:
            if self.is_external:
                array = self._map_external()
            elif self.raw is not None and _bits(self.dtype) >= 8 and self.dtype != STRING:
                array = np.frombuffer(self.raw, np.dtype(helper.tensor_dtype_to_np_dtype(self.dtype)).newbyteorder("<"))
            else:
                array = numpy_helper.to_array(self.proto(self._proto.name))
            array = np.asarray(array).reshape(self.dims)
        except (ValueError, TypeError, KeyError) as e:
            what = f"{dtype_name(self.dtype)}{list(self.dims)}"
            raise ModelError(
                f"tensor '{self._proto.name}' does not hold what it says, {what}: {e}; export it again"
            ) from e
        array.setflags(write=False)
        if array.nbytes <= _CACHED_BYTES:
            self._array = array = array if array.flags.aligned else array.copy()
            array.setflags(write=False)
        return array

    def item(self) -> Any:
        """The only element as a Python scalar, None where there is not exactly one."""
        if math.prod(self.dims) != 1:
            return None
        value = self.numpy().reshape(())[()]
        return value.item() if hasattr(value, "item") else value

    @property
    def fill(self) -> Any:
        """The number that every element is, None where they differ, there is none, or there are too many to look."""
        if self._fill is _UNREAD:
            self._fill = None
            if self.dtype != STRING and 0 < self.size <= _READABLE:
                flat = self.view().reshape(-1)
                if flat.size == 1 or (flat[0] == flat[-1] and bool((flat == flat[0]).all())):
                    self._fill = flat[0].item()
        return self._fill

    def proto(self, name: str) -> TensorProto:
        """The message under this name: the original one where nothing but the name can differ."""
        if self._proto is None:
            assert self._array is not None
            return numpy_helper.from_array(np.ascontiguousarray(self._array).reshape(self.dims), name)
        if self._proto.name == name and self.raw is None:
            return self._proto
        renamed = TensorProto()
        renamed.CopyFrom(self._proto)
        renamed.name = name
        if self.raw is not None:
            renamed.raw_data = bytes(self.raw)
        return renamed

    @property
    def is_apart(self) -> bool:
        """Whether the values lie outside of the message: in another file, in `raw` or in an array, element after element."""
        if self.raw is not None or self.is_external:
            return True
        return self._proto is None and self.dtype != STRING and _bits(self.dtype) >= 8

    @property
    def raw_size(self) -> int:
        """Bytes of the raw data, where they are apart."""
        return self.nbytes if self.raw is None else len(self.raw)

    def header(self, name: str) -> TensorProto:
        """A message under this name that lacks what is apart."""
        if self.raw is None:
            return TensorProto(name=name, data_type=self.dtype, dims=self.dims)
        assert self._proto is not None
        renamed = TensorProto()
        renamed.CopyFrom(self._proto)
        renamed.name = name
        return renamed

    def external_range(self) -> tuple[Path, int, int]:
        """File, offset and length of external data.

        Raises:
            ModelError: the path leaves the model's folder, the file is missing or too short.
        """
        assert self._proto is not None
        entry = {e.key: e.value for e in self._proto.external_data}
        location = entry.get("location", "")
        what = f"external data of tensor '{self._proto.name}'"
        base = Path(self.base_dir or ".").resolve()
        path = (base / location).resolve()
        if not location or os.path.isabs(location) or not path.is_relative_to(base):
            raise ModelError(
                f"{what}: location '{location}' lies outside the model's folder; move the file beside the model"
            )
        if not path.is_file():
            raise ModelError(f"{what}: file '{path}' is missing; copy it beside the model")
        try:
            offset, length = int(entry.get("offset") or 0), int(entry.get("length") or self.nbytes)
        except ValueError as e:
            raise ModelError(f"{what}: offset or length is not a number") from e
        if length < self.nbytes or offset < 0 or offset + length > path.stat().st_size:
            raise ModelError(f"{what}: file '{path}' is too short for {self.nbytes} bytes at offset {offset}")
        return path, offset, length

    def _map_external(self) -> np.ndarray:
        path, offset, _ = self.external_range()
        if not self.size:
            return np.empty(self.dims, helper.tensor_dtype_to_np_dtype(self.dtype))
        if _bits(self.dtype) < 8:
            with open(path, "rb") as f:
                f.seek(offset)
                packed = TensorProto(data_type=self.dtype, dims=self.dims, raw_data=f.read(self.nbytes))
            return numpy_helper.to_array(packed)
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(self.dtype)).newbyteorder("<")
        return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=self.dims)

    def __repr__(self) -> str:
        return f"Tensor({dtype_name(self.dtype)}{list(self.dims)})"


def byte_size(dtype: int, dims: Iterable[int]) -> int:
    """Bytes of a tensor's values in a file; 4- and 2-bit elements are packed."""
    return (math.prod(dims) * _bits(dtype) + 7) // 8


def dtype_name(dtype: int) -> str:
    """'float', 'int64'... as ONNX spells it in lower case."""
    return _DTYPE_NAMES.get(dtype) or f"dtype {dtype}"


_DTYPE_NAMES = {number: name.lower() for name, number in TensorProto.DataType.items()}


def _bits(dtype: int) -> int:
    return _BITS.get(dtype, 32)


def _bit_table() -> dict[int, int]:
    table: dict[int, int] = {STRING: 128, TensorProto.UNDEFINED: 8}
    for name, number in TensorProto.DataType.items():
        if number in table:
            continue
        if name in ("UINT4", "INT4", "FLOAT4E2M1"):
            table[number] = 4
        elif name in ("UINT2", "INT2"):
            table[number] = 2
        elif name in ("FLOAT6E2M3", "FLOAT6E3M2"):
            table[number] = 6
        else:
            table[number] = np.dtype(helper.tensor_dtype_to_np_dtype(number)).itemsize * 8
    return table


_BITS = _bit_table()
