"""Inputs and outputs bound to memory before a run, under ONNX Runtime's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.errors import ArgumentError
from graphopt.exec.values import OrtDevice, OrtValue, to_device

if TYPE_CHECKING:
    from graphopt.exec.session import InferenceSession


class IOBinding:
    """The values that a session's next runs read and write; see `InferenceSession.io_binding`."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self._inputs: dict[str, OrtValue] = {}
        self._outputs: dict[str, OrtValue | OrtDevice] = {}
        self._results: list[OrtValue] = []

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray) -> None:
        """Read an input from an array of the host."""
        self._inputs[name] = OrtValue(arr_on_cpu)

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Read an input from a value, where it is."""
        self._inputs[name] = ortvalue

    def bind_input(
        self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int
    ) -> None:
        """Read an input from memory of the host.

        Raises:
            ArgumentError: the memory is a device's: bind an OrtValue instead.
        """
        self._inputs[name] = OrtValue(_view(name, device_type, element_type, shape, buffer_ptr))

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Leave an output on a device, or write it into memory of the host."""
        if buffer_ptr is None:
            self._outputs[name] = OrtDevice(device_type, device_id)
        else:
            self._outputs[name] = OrtValue(_view(name, device_type, element_type, shape or (), buffer_ptr))

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Write an output into a value that is there, of the same dtype and shape."""
        self._outputs[name] = ortvalue

    def synchronize_inputs(self) -> None:
        """For programs that call it; nothing runs on its own here."""

    def synchronize_outputs(self) -> None:
        """Wait until the outputs are computed."""
        for result in self._results:
            if hasattr(result.value, "block_until_ready"):
                result.value.block_until_ready()

    def get_outputs(self) -> list[OrtValue]:
        """The results of the last run, in the order in which outputs were bound."""
        return list(self._results)

    def copy_outputs_to_cpu(self) -> list[Any]:
        """The results of the last run on the host."""
        return [result.numpy() for result in self._results]

    def clear_binding_inputs(self) -> None:
        self._inputs.clear()

    def clear_binding_outputs(self) -> None:
        self._outputs.clear()
        self._results.clear()

    def run(self) -> None:
        """What `InferenceSession.run_with_iobinding` does."""
        names = list(self._outputs)
        results = self._session.run_with_ort_values(names, self._inputs)
        self._results = [self._deliver(n, r) for n, r in zip(names, results, strict=True)]

    def _deliver(self, name: str, result: OrtValue) -> OrtValue:
        target = self._outputs[name]
        if isinstance(target, OrtDevice):
            return OrtValue(to_device(result.value, target), target) if result.is_tensor() else result
        try:
            target.update_inplace(result.numpy() if target.device.kind == "cpu" else result.value)
        except ArgumentError as e:
            raise ArgumentError(f"output '{name}' does not fit what is bound to it: {e}") from e
        return target


def _view(name: str, device: str, element_type: Any, shape: Sequence[int], pointer: int) -> np.ndarray:
    import ctypes
    import math

    from graphopt.exec.kernels.dtypes import np_dtype

    if device != "cpu":
        raise ArgumentError(f"'{name}': memory of '{device}' cannot be bound by its address; bind an OrtValue")
    dtype = np_dtype(element_type) if isinstance(element_type, int) else np.dtype(element_type)
    buffer: Any = (ctypes.c_byte * (math.prod(shape) * dtype.itemsize)).from_address(pointer)
    return np.frombuffer(buffer, dtype).reshape(tuple(shape))
