"""What `precision=` takes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import TensorProto

from graphopt.errors import ArgumentError

#: The names, and what they mean.
KINDS = {
    "fp16": "weights and inner values as float16",
    "bf16": "weights and inner values as bfloat16",
    "int8-dynamic": "products with 8-bit weights, activations quantized as the model runs",
    "int4-weights": "products with 4-bit weights in blocks, activations as they are",
}
#: The dtype of the kinds that are floats.
HALVES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@dataclass(frozen=True)
class Precision:
    """A precision by name, with what may be chosen about it.

    Attributes:
        kind: "fp16", "bf16", "int8-dynamic" or "int4-weights".
        keep: operators ("Softmax", "com.microsoft::Gelu") and names of nodes that stay as they are.
        interface: fp16 and bf16: float32 inputs and outputs get the dtype too. Otherwise they stay, with Casts behind them.
        block_size: int4-weights: numbers of a column that share a scale; 16 or a larger power of two.
        symmetric: int4-weights: no zero points, a little smaller and less exact.
        accuracy: int4-weights: what ONNX Runtime may compute in, its `accuracy_level`: 0 as it likes, 1 float32, 2 float16,
            3 bfloat16, 4 int8: on CPUs several times as fast, with the activations rounded to 8 bits.
        operators: int8-dynamic: what is quantized. On CPUs Conv becomes slower by it.
        reduce_range: int8-dynamic: 7 bits for weights, for x86 CPUs without VNNI, whose 8-bit products saturate.
        calibrate: fp16: run the float model first, and keep what comes near float16's largest number in float32.
        measure: run both models and report how far they lie apart.
        on: who runs the model that is measured: an executor's name; None: ONNX Runtime where it is installed and has the
            kernels, else the reference. ONNX Runtime's CPU kernels compute float16 in float32 from one operator to the next where
            they can; "reference" rounds after each operator as a GPU does, and takes longer.
        inputs: feeds to calibrate and measure with instead of random ones, one dict or several.
    """

    kind: str
    keep: Sequence[str] = ()
    interface: bool = False
    block_size: int = 32
    symmetric: bool = False
    accuracy: int = 0
    operators: Sequence[str] = ("MatMul", "Gemm", "Gather", "LSTM", "Attention")
    reduce_range: bool = False
    calibrate: bool = True
    measure: bool = True
    on: str | None = None
    inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            close = difflib.get_close_matches(str(self.kind), KINDS, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(KINDS)}"
            raise ArgumentError(f"precision: no precision is named {self.kind!r}; {hint}")
        if isinstance(self.keep, str):
            object.__setattr__(self, "keep", (self.keep,))
        if self.block_size < 16 or self.block_size & (self.block_size - 1):
            raise ArgumentError(f"precision: block_size must be a power of two, 16 or more, not {self.block_size!r}")
        if self.accuracy not in range(5):
            raise ArgumentError(f"precision: accuracy is a number from 0 to 4, not {self.accuracy!r}")
        if self.interface and self.kind not in HALVES:
            raise ArgumentError(f"precision: interface=True is for fp16 and bf16; {self.kind} has no dtype for it")


def wanted(precision: str | Precision) -> Precision:
    """What was asked for, by name or in full.

    Raises:
        ArgumentError: there is no such precision.
    """
    return precision if isinstance(precision, Precision) else Precision(precision)
