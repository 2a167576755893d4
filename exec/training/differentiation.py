"""A model as a pure function of its weights, which JAX can differentiate.

f = Differentiable("model.onnx", ["w", "b"])
outputs, statistics = f(f.weights, {"x": x})
jax.grad(lambda w: f(w, {"x": x}, training=True, key=key)[0]["y"].sum())(f.weights)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache, cached_property
from typing import Any

import numpy as np

from graphopt.errors import ArgumentError, RunError, UnsupportedError
from graphopt.exec.backends.jax import JaxBackend
from graphopt.exec.environment import numpy_settings
from graphopt.exec.kernels.channels_last import DOMAIN, dims_of, form_name
from graphopt.exec.kernels.control import TracedConditionError
from graphopt.exec.partition import host_inputs, partition
from graphopt.exec.plan import EMPTY, Plan, Step, run_step
from graphopt.exec.planning import plan
from graphopt.exec.signature import Signature
from graphopt.exec.training import forms
from graphopt.exec.training.entries import taken_at_once
from graphopt.ir import Model, load
from graphopt.ir.node import op_key
from graphopt.patterns import all_rules
from graphopt.pipeline import optimize

import jax  # isort: skip - the back end above says what to install where it is missing

#: BatchNormalization in training mode as layouts write it.
_NORMALIZING = {
    op_key(form_name("BatchNormalization", n, training=True), DOMAIN) for n in dims_of("BatchNormalization")
}
#: What tracing raises where a kernel asks for a value that only running would tell.
_UNTRACEABLE = (
    TracedConditionError,
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


class TrainingBackend(JaxBackend):
    """JAX, with random numbers from a key: another key, other numbers; `seed` attributes do not count.

    Args:
        key: of `jax.random`; None: asking for random numbers is an error.
        platform: where what is traced will run; None: JAX's default.
    """

    def __init__(self, key: Any = None, platform: str | None = None) -> None:
        super().__init__(platform)
        self._key = key
        self._drawn = 0

    def uniform(self, shape: Any, seed: float | None) -> Any:
        if self._key is None:
            raise ArgumentError("random numbers are needed in training mode: pass key=jax.random.key(...)")
        self._drawn += 1
        return jax.random.uniform(jax.random.fold_in(self._key, self._drawn), shape, np.float32)


class Differentiable:
    """A model as a function of weights, running statistics and inputs.

    Args:
        model: whatever `graphopt.optimize` takes.
        trainable: names of initializers of the main graph that are weights, of float dtype.
        outputs: names of the model's outputs to compute; None: all.
        level: of `graphopt.optimize`, applied with weights and statistics as inputs, so that nothing is folded into them.
        normalized: names of running means: BatchNormalizations that use the batch's statistics in training mode; None: all
            whose running statistics are initializers.
        precision: 'bf16' or 'fp16' computes in that dtype; weights, inputs and outputs stay float32.
        layout: as in `graphopt.optimize`; None: the model's own.
        platform: 'cpu', 'gpu', 'tpu'; None: JAX's default.

    Attributes:
        model: as it was read, with running statistics of its own for each BatchNormalization.
        weights: arrays by name, as the model has them.
        statistics: likewise the running statistics.
        signature: what the model takes and gives.
        platform: as given.

    Raises:
        ArgumentError: a name is no initializer of the main graph, or not of a float dtype.
        UnsupportedError: an operator has no kernel, or runs on the host, where nothing is differentiated; it is named.
    """

    def __init__(
        self,
        model: Any,
        trainable: Collection[str],
        *,
        outputs: Collection[str] | None = None,
        level: int = 2,
        normalized: Collection[str] | None = None,
        precision: str | None = None,
        layout: str | None = None,
        platform: str | None = None,
    ) -> None:
        self.model = load(model)
        self.model.freeze_inputs()
        forms.separate_statistics(self.model)
        tensors = {v.name: t for v, t in self.model.graph.initializers.items()}
        for name in trainable:
            if name not in tensors:
                raise ArgumentError(f"'{name}' is no initializer of the model's main graph, and cannot be trained")
            if not is_float(tensors[name].numpy().dtype):
                raise ArgumentError(f"initializer '{name}' is {tensors[name]}: only floats can be trained")
        self.weights = {name: tensors[name].numpy() for name in trainable}
        self.statistics: dict[str, np.ndarray] = {}
        self._normalized: set[str] = set()
        for _, mean, variance in forms.normalizations(self.model):
            if normalized is None or mean.name in normalized:
                self._normalized.add(mean.name)
                self.statistics |= {v.name: tensors[v.name].numpy() for v in (mean, variance)}
        if both := sorted(self.weights.keys() & self.statistics.keys()):
            raise ArgumentError(f"'{both[0]}' is a running statistic: it follows the batches, and has no gradient")
        self.signature = Signature.of(self.model)
        self._outputs = outputs
        self._level, self._precision, self._layout, self.platform = level, precision, layout, platform

    def __call__(
        self,
        weights: Mapping[str, Any],
        inputs: Mapping[str, Any],
        *,
        statistics: Mapping[str, Any] | None = None,
        training: bool = False,
        key: Any = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run the model; what is traced is what JAX differentiates.

        Args:
            weights: arrays for all of `self.weights`.
            inputs: arrays by name.
            statistics: running ones; None: those of the model.
            training: BatchNormalization uses the batch's statistics, Dropout drops.
            key: of `jax.random`, for what drops.

        Returns:
            Outputs by name, and the running statistics afterwards.

        Raises:
            UnsupportedError: a node needs the values of what is traced; it is named.
            RunError: a node failed; it is named.
        """
        statistics = self.statistics if statistics is None else statistics
        form = self.training_form if training else self.inference_form
        return form(TrainingBackend(key, self.platform), {**statistics, **weights, **inputs}, statistics)

    @cached_property
    def training_form(self) -> Form:
        """The model as it trains, optimised and planned."""
        return self._form(training=True)

    @cached_property
    def inference_form(self) -> Form:
        """The model as it is used, optimised and planned."""
        return self._form(training=False)

    @property
    def random(self) -> bool:
        """Whether a step of training draws random numbers."""
        return self.training_form.random

    def _form(self, training: bool) -> Form:
        m = load(self.model)
        if self._outputs is not None:
            forms.keep_outputs(m, self._outputs)
        following = forms.for_training(m, self._normalized) if training else {}
        if not training:
            forms.for_inference(m)
        forms.take_as_inputs(m, {*self.weights, *self.statistics})
        layout = self._layout if self._level else None
        if self._level:
            whole = self._precision is None
            m = optimize(m, self._level, without=_losing_gradients(), layout=layout if whole else None)
        if self._precision is not None:
            m = _narrowed(m, self._precision, self._level, layout)
        return Form(m, following)


class Form:
    """A planned model, called with arrays by name.

    Args:
        model: weights and statistics are inputs of it.
        following: the output that gives the next value of a running statistic, by the statistic's name.
    """

    def __init__(self, model: Model, following: Mapping[str, str]) -> None:
        self.plan = plan(model)
        self.inputs = [v.name for v in model.graph.inputs]
        self.outputs = [v.name for v in model.graph.outputs]
        self._following = dict(following)
        self.plan.steps = needed(self.plan)
        self.plan.steps = taken_at_once(self.plan)
        self.random = any(step.op == "Dropout" for step in self.plan.steps)
        refuse_host(self.plan)

    def __call__(
        self, xp: JaxBackend, values: Mapping[str, Any], statistics: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Outputs, and the running statistics afterwards."""
        slots = self.slots(values)
        for _ in self.run(xp, slots):
            pass
        found = {name: slots[slot] for name, slot in zip(self.outputs, self.plan.outputs, strict=True)}
        after = {
            name: found.pop(self._following[name]) if name in self._following else v for name, v in statistics.items()
        }
        return found, after

    def slots(self, values: Mapping[str, Any]) -> list[Any]:
        """A fresh set of slots, with inputs in place."""
        if missing := [name for name in self.inputs if name not in values]:
            raise ArgumentError(f"no value is given for input '{missing[0]}'")
        return self.plan.slots([jax.numpy.asarray(values[name]) for name in self.inputs])

    def run(self, xp: JaxBackend, slots: list[Any]) -> Iterable[Step]:
        """Run step by step; each is given when it has run."""
        with jax.default_matmul_precision("highest"), numpy_settings():
            for step in self.plan.steps:
                try:
                    run_step(step, xp, slots, free=False)
                except RunError as e:
                    if isinstance(e.__cause__, _UNTRACEABLE):
                        raise UnsupportedError(
                            f"{step} needs values that are known only when the model runs: training cannot pass through it"
                        ) from e
                    if isinstance(e.__cause__, ArgumentError):
                        raise e.__cause__ from e
                    raise
                if step.op in _NORMALIZING or (
                    step.op == "BatchNormalization" and step.attributes.get("training_mode")
                ):
                    _unbias(step, slots)
                yield step


def _unbias(step: Step, slots: list[Any]) -> None:
    """Let the running variance learn the unbiased variance of the batch, as PyTorch has it; ONNX's is the population's."""
    slot = step.outputs[2] if len(step.outputs) > 2 else EMPTY
    x, before = slots[step.inputs[0]], slots[step.inputs[forms.VARIANCE]]
    count = x.size // before.size
    if slot != EMPTY and count > 1:
        after = slots[slot]
        momentum = before.dtype.type(step.attributes.get("momentum", 0.9))
        slots[slot] = after + (after - before * momentum) * before.dtype.type(1 / (count - 1))


def is_float(dtype: Any) -> bool:
    """Whether a dtype can hold weights: float16, bfloat16, float32, float64."""
    return bool(jax.numpy.issubdtype(dtype, jax.numpy.floating)) and np.dtype(dtype).itemsize > 1


def needed(steps: Plan) -> list[Step]:
    """The steps that a plan's outputs follow from."""
    wanted, kept = set(steps.outputs), []
    for step in reversed(steps.steps):
        if any(slot in wanted for slot in step.outputs if slot != EMPTY):
            wanted.update(step.reads())
            kept.append(step)
    return kept[::-1]


def refuse_host(steps: Plan) -> None:
    """Raise UnsupportedError where a step would have to run on the host, where nothing is differentiated."""
    host = [step for stage in partition(steps) for step in stage.host]
    computed = {slot for step in host for slot in step.outputs}
    for step in steps.steps:
        if step.kernel.on_host and step in host:
            raise UnsupportedError(f"{step} runs on the host and has no derivative: training cannot pass through it")
        if computed.intersection(host_inputs(step)):
            raise UnsupportedError(
                f"{step} goes by values that are known only when the model runs: training cannot pass through it; fix dims, "
                "or cut the model there"
            )


def _narrowed(model: Model, precision: str, level: int, layout: str | None) -> Model:
    """A model that computes in 16 bits, and then in a layout, whose forms would stay as they are; its interface does."""
    from graphopt.precision.halves import convert
    from graphopt.precision.options import HALVES

    if precision not in HALVES:
        raise ArgumentError(f"precision {precision!r} is none of {', '.join(HALVES)}")
    convert(model, HALVES[precision])
    return optimize(model, min(level, 1), without=_losing_gradients(), layout=layout)


@cache
def _losing_gradients() -> frozenset[str]:
    """Rules that do not keep gradients, which training does without."""
    return frozenset(name for name, r in all_rules().items() if not r.keeps_gradients)
