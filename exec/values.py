"""Values that may live on a device, and devices, under ONNX Runtime's names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper

from graphopt.errors import ArgumentError, MissingDependencyError
from graphopt.exec.kernels.dtypes import np_dtype


@dataclass(frozen=True)
class OrtDevice:
    """A device: 'cpu', 'cuda'... and its number."""

    kind: str = "cpu"
    index: int = 0

    @staticmethod
    def make(ort_device_name: str, device_id: int = 0) -> OrtDevice:
        """By name and number."""
        return OrtDevice(ort_device_name, device_id)

    def device_type(self) -> str:
        return self.kind

    def device_id(self) -> int:
        return self.index


def to_device(array: Any, device: OrtDevice) -> Any:
    """The array on a device: NumPy's on 'cpu', JAX's elsewhere.

    Raises:
        ArgumentError: there is no such device.
        MissingDependencyError: it takes JAX, which is not installed.
    """
    if device.kind == "cpu":
        return np.asarray(array)
    import jax

    from graphopt.exec.backends.devices import find

    return jax.device_put(array, find(device.kind, device.index))


class OrtValue:
    """A value that sessions take and give: a tensor on a device, a sequence, a map, an empty optional."""

    def __init__(self, value: Any, device: OrtDevice | None = None) -> None:
        self.value = value
        self.device = device or OrtDevice()

    # ------------------------------------------------------------------------------------------------------- making
    @staticmethod
    def ortvalue_from_numpy(numpy_obj: Any, device_type: str = "cpu", device_id: int = 0) -> OrtValue:
        """A tensor from an array; on 'cpu' the array is not copied."""
        device = OrtDevice(device_type, device_id)
        return OrtValue(to_device(numpy_obj, device), device)

    @staticmethod
    def ortvalue_from_numpy_with_onnx_type(data: np.ndarray, onnx_element_type: int) -> OrtValue:
        """A tensor of an ONNX type from an array of the same width: bfloat16 from its bits as uint16."""
        return OrtValue(data.view(np_dtype(onnx_element_type)))

    @staticmethod
    def ortvalue_from_shape_and_type(
        shape: Sequence[int], element_type: Any, device_type: str = "cpu", device_id: int = 0
    ) -> OrtValue:
        """A tensor of zeros.

        Args:
            shape: its dims.
            element_type: a NumPy type, or an `onnx.TensorProto.DataType`.
            device_type: 'cpu', 'cuda'...
            device_id: its number.
        """
        dtype = np_dtype(element_type) if isinstance(element_type, int) else np.dtype(element_type)
        return OrtValue.ortvalue_from_numpy(np.zeros(tuple(shape), dtype), device_type, device_id)

    @classmethod
    def from_dlpack(cls, data: Any, is_bool_tensor: bool = False) -> OrtValue:
        """A tensor of any library that knows DLPack, without a copy."""
        if data.__dlpack_device__()[0] == 1:
            array: Any = np.from_dlpack(data)
            return cls(array.astype(bool) if is_bool_tensor else array)
        try:
            import jax
        except ImportError as e:
            raise MissingDependencyError("a tensor on a device needs jax: pip install graphopt[jax]") from e
        array = jax.dlpack.from_dlpack(data)
        return cls(array, device_of(array))

    # ------------------------------------------------------------------------------------------------------ reading
    def numpy(self) -> Any:
        """The value on the host; a tensor as an array."""
        return _on_host(self.value)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        array = np.asarray(self.numpy())
        return array if dtype is None else array.astype(dtype)

    def __dlpack__(self, **options: Any) -> Any:
        return self.value.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self.value.__dlpack_device__()
        return device

    def device_name(self) -> str:
        return self.device.kind

    def shape(self) -> list[int]:
        return list(self._tensor().shape)

    def element_type(self) -> int:
        """`onnx.TensorProto.DataType`."""
        dtype = self._tensor().dtype
        return 8 if dtype.kind in "OUST" else int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def data_type(self) -> str:
        """As in 'tensor(float)'."""
        from graphopt.exec.signature import type_text

        if self.is_tensor():
            return type_text(helper.make_tensor_type_proto(self.element_type(), None))
        return "seq" if self.is_tensor_sequence() else "optional" if self.value is None else "map"

    def data_ptr(self) -> int:
        """Address of a tensor's elements."""
        value = self._tensor()
        return int(value.ctypes.data if isinstance(value, np.ndarray) else value.unsafe_buffer_pointer())

    def tensor_size_in_bytes(self) -> int:
        return int(self._tensor().nbytes)

    def has_value(self) -> bool:
        return self.value is not None

    def is_tensor(self) -> bool:
        return hasattr(self.value, "dtype")

    def is_tensor_sequence(self) -> bool:
        return isinstance(self.value, list)

    def is_sparse_tensor(self) -> bool:
        return False

    def update_inplace(self, np_arr: np.ndarray) -> None:
        """Take other elements of the same dtype and shape.

        Raises:
            ArgumentError: they are of another.
        """
        mine = self._tensor()
        if mine.shape != np_arr.shape or mine.dtype != np_arr.dtype:
            raise ArgumentError(
                f"update_inplace: {np_arr.dtype}{list(np_arr.shape)} for {mine.dtype}{list(mine.shape)}"
            )
        if isinstance(mine, np.ndarray) and mine.flags.writeable:
            mine[...] = np_arr
        else:
            self.value = to_device(np_arr, self.device)

    def _tensor(self) -> Any:
        if not self.is_tensor():
            raise ArgumentError("this OrtValue is no tensor")
        return self.value


def unwrapped(value: Any) -> Any:
    """What an OrtValue holds; anything else as it is."""
    return value.value if isinstance(value, OrtValue) else value


def device_of(value: Any) -> OrtDevice:
    """Where an array lies."""
    if isinstance(value, np.ndarray) or not hasattr(value, "devices"):
        return OrtDevice()
    device = next(iter(value.devices()))
    return OrtDevice(_kind(device.platform), device.id)


def _on_host(value: Any) -> Any:
    if isinstance(value, list):
        return [_on_host(v) for v in value]
    if value is None or isinstance(value, (dict, np.ndarray)):
        return value
    return np.asarray(value)


def _kind(platform: str) -> str:
    return "cuda" if platform == "gpu" else platform
