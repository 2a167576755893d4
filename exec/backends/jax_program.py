"""A plan on JAX: segments are traced and compiled for the shapes, dtypes and host values that come in; the rest runs here.

What cannot be traced is found out by trying: a step that fails under tracing moves to the host, and the plan is cut anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from graphopt.errors import RunError
from graphopt.exec.backends.jax import JaxBackend
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.environment import ENV, numpy_settings
from graphopt.exec.kernels.dtypes import SUB_BYTE
from graphopt.exec.partition import Segment, Stage, partition
from graphopt.exec.plan import Plan, Step, run_step

#: Constants up to this many bytes in all are compiled into the program, where XLA can lay them out anew; more are passed.
CONSTANTS_LIMIT = 1 << 29
#: Programs that are kept, for segments and values of the host: the oldest goes first.
COMPILED_KEPT = 256
#: Operators of bodies that make it worth while to compile the body of a loop that runs on the host.
_HEAVY = frozenset("Conv ConvTranspose MatMul Gemm Einsum LSTM GRU RNN Attention Softmax LayerNormalization".split())


def configure(cache_dir: str | None) -> None:
    """Keep compiled programs in a folder, for the next process; for the whole process, as JAX has it."""
    config: Any = jax.config
    if cache_dir and str(cache_dir) != config.jax_compilation_cache_dir:
        compilation_cache.reset_cache()  # which would stay with the folder that it was first used with
        jax.config.update("jax_compilation_cache_dir", str(cache_dir))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


class JaxProgram:
    """A plan that is run on a device, compiled by and by.

    Args:
        plan: of a model, specialised to concrete shapes or not.
        device: of JAX; None: its default one.
        embed: compile constants into the program; False passes them as arguments, as training needs it.
        threshold: severity from which messages are shown, see `Env.log`.
        precision: of matrix products on devices that round inputs: 'highest' is full float32.
        record: told of each segment and each step on the host that ran.
    """

    def __init__(
        self,
        plan: Plan,
        device: Any = None,
        embed: bool | None = None,
        threshold: int | None = None,
        precision: str = "highest",
        record: Callable[..., None] | None = None,
    ) -> None:
        self.plan = plan
        self.device = device
        self.backend = JaxBackend(None if device is None else device.platform)
        self.threshold = threshold
        self.precision = precision
        self.record = record
        size = sum(a.nbytes for a in plan.constants.values())
        self.embed = size <= CONSTANTS_LIMIT if embed is None else embed
        self._index = {id(step): i for i, step in enumerate(plan.steps)}
        self._forced: set[int] = set()
        self._cut()

    def _cut(self) -> None:
        self.stages: list[Stage] = partition(self.plan, self._forced)
        self._compiled: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self._placed: dict[int, Any] = {}

    def run(self, inputs: Iterable[Any]) -> list[Any]:
        """Outputs, tensors as JAX arrays or, where the host computed them, NumPy arrays.

        Raises:
            RunError: a node failed, on the host too.
        """
        inputs = list(inputs)
        while True:
            try:
                if self.device is None:
                    return self._attempt(inputs)
                with jax.default_device(self.device):
                    return self._attempt(inputs)
            except _CannotTrace as failure:
                self._move_to_host(failure)

    def _attempt(self, inputs: list[Any]) -> list[Any]:
        slots = self.plan.slots(inputs)
        for number, stage in enumerate(self.stages):
            for step in stage.host:
                began = time.perf_counter_ns()
                self._run_on_host(step, slots)
                self._note(step.node, began, step.op)
            if stage.segment is not None:
                began = time.perf_counter_ns()
                self._run_segment(number, stage.segment, slots)
                self._note(f"segment {number}", began, f"{len(stage.segment.steps)} nodes")
            for slot in stage.frees:
                slots[slot] = None
        return [slots[slot] for slot in self.plan.outputs]

    def _note(self, name: str, began: int, what: str) -> None:
        if self.record is not None:
            self.record(name, "Node", began, op_name=what, provider="JaxExecutionProvider")

    def _move_to_host(self, failure: _CannotTrace) -> None:
        for step in failure.steps:
            self._forced.add(self._index[id(step)])
            ENV.log(1, f"{step} runs on the host: {failure}", self.threshold)
        self._cut()

    # ------------------------------------------------------------------------------------------------------- host
    def _run_on_host(self, step: Step, slots: list[Any]) -> None:
        for slot in step.reads():
            slots[slot] = on_host(slots[slot])
        bodies = {name: self._body(body.plan) for name, body in step.bodies.items()} if step.bodies else None
        with numpy_settings():
            run_step(step, REFERENCE, slots, bodies, free=False)

    def _body(self, plan: Plan) -> Callable[[Iterable[Any]], list[Any]]:
        """How a subgraph of a host's step runs: compiled where that pays."""
        key = ("body", id(plan))
        if key not in self._compiled:
            heavy = any(step.op in _HEAVY for step in plan.steps)
            program = JaxProgram(plan, self.device, self.embed, self.threshold, self.precision) if heavy else None
            self._compiled[key] = program.run if program else lambda inputs: plan.run(REFERENCE, inputs)
        compiled = self._compiled[key]
        return lambda inputs: [on_host(v) for v in compiled(inputs)]

    # ---------------------------------------------------------------------------------------------------- segments
    def _run_segment(self, number: int, segment: Segment, slots: list[Any]) -> None:
        arguments = [slots[slot] for slot in segment.reads]
        self._check_arguments(segment, arguments)
        fixed = [on_host(slots[slot]) for slot in segment.fixed]
        key = (number, *map(_fingerprint, fixed))
        call = self._compiled.get(key)
        if call is None:
            call = self._compiled[key] = self._compile(segment, fixed)
            if len(self._compiled) > COMPILED_KEPT:
                del self._compiled[next(iter(self._compiled))]
        for slot, value in zip(segment.writes, call(arguments), strict=True):
            slots[slot] = value

    def _compile(self, segment: Segment, fixed: list[Any]) -> Callable[[list[Any]], list[Any]]:
        used = {slot for step in segment.steps for slot in step.reads() if slot in self.plan.constants}
        passed = [] if self.embed else sorted(s for s in used if _is_weight(self.plan.constants[s]))
        constants = {slot: self.plan.constants[slot] for slot in used}
        written = frozenset(segment.writes)

        def traced(arguments: list[Any], weights: list[Any]) -> list[Any]:
            slots: list[Any] = [None] * self.plan.size
            for slot, array in constants.items():
                slots[slot] = array
            for group, values in ((segment.reads, arguments), (segment.fixed, fixed), (passed, weights)):
                for slot, value in zip(group, values, strict=True):
                    slots[slot] = value
            with jax.default_matmul_precision(self.precision), numpy_settings():
                for step in segment.steps:
                    try:
                        run_step(step, self.backend, slots, free=False)
                    except RunError as e:
                        raise _CannotTrace([step], str(e.__cause__ or e)) from e
                    for slot in step.outputs:
                        if slot in written and _is_text(slots[slot]):  # made of constants alone
                            raise _CannotTrace([step], f"it gives {_kind(slots[slot])}")
            return [slots[slot] for slot in segment.writes]

        jitted = jax.jit(traced)
        weights = [self._place(slot) for slot in passed]
        return lambda arguments: jitted(arguments, weights)

    def _place(self, slot: int) -> Any:
        """A constant on the device, put there once."""
        if slot not in self._placed:
            self._placed[slot] = jax.device_put(self.plan.constants[slot], self.device)
        return self._placed[slot]

    def _check_arguments(self, segment: Segment, arguments: Sequence[Any]) -> None:
        for slot, value in zip(segment.reads, arguments, strict=True):
            if not _is_traceable(value):
                steps = [step for step in segment.steps if slot in step.reads()]
                raise _CannotTrace(steps, f"it reads {_kind(value)}")


class _CannotTrace(Exception):
    """Steps that have to run on the host, and why."""

    def __init__(self, steps: list[Step], reason: str) -> None:
        super().__init__(reason)
        self.steps = steps


def on_host(value: Any) -> Any:
    """A value with its arrays as NumPy has them."""
    if isinstance(value, jax.Array):
        return np.asarray(value)
    if isinstance(value, list):
        return [on_host(v) for v in value]
    return value


def _is_weight(array: np.ndarray) -> bool:
    return array.size > 64 and _is_traceable(array)


def _is_traceable(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_traceable, value))
    if isinstance(value, dict):
        return False
    return (
        value is None
        or isinstance(value, jax.Array)
        or (value.dtype.kind not in "OUST" and value.dtype not in SUB_BYTE)
    )


def _is_text(value: Any) -> bool:
    """Whether there is text in it, which JAX has no arrays of."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_text, value))
    return not isinstance(value, jax.Array) and hasattr(value, "dtype") and value.dtype.kind in "OUST"


def _kind(value: Any) -> str:
    return f"{value.dtype} elements" if hasattr(value, "dtype") else f"a {type(value).__name__}"


def _fingerprint(value: Any) -> Any:
    """What tells two values of the host apart."""
    if isinstance(value, list):
        return tuple(map(_fingerprint, value))
    if isinstance(value, np.ndarray):
        content = tuple(value.reshape(-1)) if value.dtype.kind in "OUST" else value.tobytes()
        return value.shape, str(value.dtype), content
    return value
