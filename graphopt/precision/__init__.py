"""Models in another precision, on request: float16, bfloat16, 8-bit and 4-bit weights, and how far they lie from float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphopt.errors import OpsetError
from graphopt.ir import Model
from graphopt.precision.measuring import OutputError, PrecisionReport, bytes_by_dtype, measure, nodes_by_dtype
from graphopt.precision.options import HALVES, KINDS, Precision, wanted
from graphopt.precision.staying import UNDEFINED
from graphopt.shapes import infer_model

__all__ = ["KINDS", "Lowering", "OutputError", "Precision", "PrecisionReport", "measure", "wanted"]

#: The first opset with bfloat16 in most operators.
_BFLOAT16_OPSET = 13
#: The first with bfloat16 in convolutions.
_BFLOAT16_CONVOLUTIONS = 22


class Lowering:
    """One model on its way to another precision: `lower` it, let the rules run, then ask for the `report`."""

    def __init__(self, precision: str | Precision) -> None:
        self.options = wanted(precision)
        self._before: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._stayed: dict[str, int] = {}

    def lower(self, model: Model) -> Model:
        """The model in the precision that was asked for; the given one may be changed by it.

        Raises:
            OpsetError: the model's opset lacks what the precision needs.
            MissingDependencyError: a quantization tool is not installed.
            QuantizationError: a quantization tool failed.
        """
        infer_model(model)
        self._before = nodes_by_dtype(model), bytes_by_dtype(model)
        if (kind := self.options.kind) in HALVES:
            from graphopt.precision.halves import convert

            if kind == "bf16":
                self._need(model, _BFLOAT16_OPSET)
            self._stayed = dict(convert(model, HALVES[kind], self.options.keep, self.options.interface))
            return model
        from graphopt.precision.quantizing import INT8_OPSET, int4_weights, int8_dynamic

        if kind == "int4-weights":
            return int4_weights(model, self.options)
        self._need(model, INT8_OPSET)
        return int8_dynamic(model, self.options)

    def report(
        self,
        original: Any,
        model: Model,
        *,
        freeze_inputs: bool = False,
        input_shapes: Mapping[str, Any] | None = None,
    ) -> PrecisionReport:
        """What the precision costs and gains, measured if that is wanted.

        Args:
            original: the float model as it was given.
            model: what became of it.
            freeze_inputs, input_shapes: by which the interfaces of the two differ.
        """
        after = nodes_by_dtype(model), bytes_by_dtype(model)
        (nodes, constants), stayed = self._before, self._stayed
        report = PrecisionReport(self.options.kind, (nodes, after[0]), (constants, after[1]), stayed=stayed)
        if constants == after[1]:
            hint = "; with 'Conv' in Precision(operators=...) convolutions are quantized too" * (
                self.options.kind == "int8-dynamic"
            )
            report.notes.append(f"nothing became smaller: the model has no weights that this precision is about{hint}")
        if self.options.kind == "bf16" and UNDEFINED in stayed and model.opsets.get("", 0) < _BFLOAT16_CONVOLUTIONS:
            report.notes.append(
                f"opset={_BFLOAT16_CONVOLUTIONS} defines bfloat16 for more: convolutions, pools, resizing"
            )
        if self.options.measure:
            if freeze_inputs or input_shapes:
                from graphopt.pipeline import optimize

                original = optimize(original, 0, freeze_inputs=freeze_inputs, input_shapes=input_shapes)
            measure(report, original, model, self.options.inputs)
        return report

    def _need(self, model: Model, opset: int) -> None:
        if model.opsets.get("", opset) < opset:
            raise OpsetError(
                f"precision='{self.options.kind}' needs opset {opset}, and the model is at {model.opsets['']}: "
                f"pass opset={opset} or more"
            )
