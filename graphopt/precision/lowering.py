"""One model on its way to another precision, as `graphopt.optimize` takes it there."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from graphopt.errors import ArgumentError, OpsetError
from graphopt.ir import Model
from graphopt.precision.measuring import bytes_by_dtype, measure, nodes_by_dtype
from graphopt.precision.options import HALVES, Precision, wanted
from graphopt.precision.report import PrecisionReport
from graphopt.precision.samples import Samples, peaks, sampled
from graphopt.precision.staying import UNDEFINED
from graphopt.shapes import infer_model
from graphopt.trials import short

#: The first opset with bfloat16 in most operators.
_BFLOAT16_OPSET = 13
#: The first with bfloat16 in convolutions.
_BFLOAT16_CONVOLUTIONS = 22
#: A quarter of float16's largest number: other inputs may lead further than those that were tried.
_NEAR = 65504 / 4


class Lowering:
    """One model on its way to another precision: `lower` it, let the rules run, then ask for the `report`.

    Args:
        precision: what was asked for.
        original: the float model as it was given.
        changes: of the interface, arguments of `graphopt.optimize`.
    """

    def __init__(self, precision: str | Precision, original: Any, **changes: Any) -> None:
        self.options = wanted(precision)
        self._original = original
        self._changes = {name: value for name, value in changes.items() if value}
        self._before: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._stayed: dict[str, int] = {}
        self._notes: list[str] = []

    def lower(self, model: Model) -> Model:
        """The model in the precision that was asked for; the given one may be changed by it.

        Raises:
            OpsetError: the model's opset lacks what the precision needs.
            MissingDependencyError: a quantization tool is not installed.
            QuantizationError: a quantization tool failed.
            ArgumentError: the model trains itself.
        """
        if any(n.domain == "ai.onnx.preview.training" for n in model.nodes()):
            raise ArgumentError(f"precision='{self.options.kind}': the model trains itself, which is left as it is")
        infer_model(model)
        self._before = nodes_by_dtype(model), bytes_by_dtype(model)
        kind, options = self.options.kind, self.options
        if kind in HALVES:
            from graphopt.precision.halves import convert

            if kind == "bf16":
                self._need(model, _BFLOAT16_OPSET)
            large = self._large(model) if kind == "fp16" and options.calibrate else frozenset()
            self._stayed = dict(convert(model, HALVES[kind], options.keep, options.interface, large))
            return model
        from graphopt.precision.quantizing import INT8_OPSET, int4_weights, int8_dynamic

        if kind == "int4-weights":
            return int4_weights(model, options)
        self._need(model, INT8_OPSET)
        return int8_dynamic(model, options)

    def report(self, model: Model) -> PrecisionReport:
        """What the precision costs and gains by this model, which came of the lowered one; measured if that is wanted."""
        (nodes, constants), stayed = self._before, self._stayed
        after = nodes_by_dtype(model), bytes_by_dtype(model)
        report = PrecisionReport(self.options.kind, (nodes, after[0]), (constants, after[1]), stayed=stayed)
        report.notes += self._notes
        if constants == after[1]:
            hint = "; with 'Conv' in Precision(operators=...) convolutions are quantized too"
            report.notes.append(
                "nothing became smaller: the model has no weights that this precision is about"
                + hint * (self.options.kind == "int8-dynamic")
            )
        if self.options.kind == "bf16" and UNDEFINED in stayed and model.opsets.get("", 0) < _BFLOAT16_CONVOLUTIONS:
            report.notes.append(
                f"opset={_BFLOAT16_CONVOLUTIONS} defines bfloat16 for more: convolutions, pools, resizing"
            )
        if self.options.measure:
            measure(report, self._samples, model, self.options.on)
        return report

    @cached_property
    def _samples(self) -> Samples:
        original = self._original
        if self._changes:
            from graphopt.pipeline import optimize

            original = optimize(original, 0, **self._changes)
        return sampled(original, self.options.inputs)

    def _large(self, model: Model) -> frozenset[str]:
        """Values that come near float16's largest number."""
        if not self._samples.runs:
            return frozenset()
        try:
            found = peaks(model, self._samples)
        except Exception as e:
            self._notes.append(f"not calibrated: {short(e)}")
            return frozenset()
        return frozenset(name for name, peak in found.items() if not peak < _NEAR)

    def _need(self, model: Model, opset: int) -> None:
        if model.opsets.get("", opset) < opset:
            raise OpsetError(
                f"precision='{self.options.kind}' needs opset {opset}, and the model is at {model.opsets['']}: "
                f"pass opset={opset} or more"
            )
