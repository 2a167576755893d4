"""Training sessions: a model's weights learn from batches, and go back into the model.

session = TrainingSession("model.onnx", "cross_entropy", "adamw", learning_rate=1e-3)
session.fit(Batches({"x": images, "label": labels}, 32), epochs=5)
session.model.save("trained.onnx")
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.errors import ArgumentError, RunError
from graphopt.exec.backends.memory import keep_freed
from graphopt.exec.signature import Signature
from graphopt.exec.training import checkpoints, forms
from graphopt.exec.training.diagnosis import first_bad
from graphopt.exec.training.differentiation import Differentiable
from graphopt.exec.training.fitting import History, fit
from graphopt.exec.training.losses import LossReads
from graphopt.exec.training.optimizers import optimizer_of
from graphopt.exec.training.parameters import Parameter, Trainable, choose
from graphopt.exec.training.placement import Placement, devices_of
from graphopt.exec.training.stepping import State, evaluation, gradients_of, initial_state, training_step
from graphopt.ir import Model, Tensor, load
from graphopt.pipeline import optimize

import jax  # isort: skip - the back end says what to install where it is missing


class TrainingSession:
    """Trains a model on JAX.

    Args:
        model: whatever `graphopt.optimize` takes. It is never changed.
        loss: a name ('cross_entropy' and 'nll' with integer labels, 'mse', 'l1', 'huber', 'bce', 'bce_with_logits'); an ONNX
            model, whose inputs are outputs of the model and entries of the batch by name and whose one output is a scalar; or
            a function of the outputs and the batch, dicts of JAX arrays, that gives a scalar.
        optimizer: a name ('sgd', 'adam', 'adamw'...) or an optax.GradientTransformation.
        learning_rate: of an optimizer by name: a number, or an optax schedule.
        optimizer_options: of an optimizer by name, as {"momentum": 0.9}.
        trainable: names or globs of initializers, or a function that says so of a name; None: all that a gradient leads to.
        output: the output that a loss by name reads; None: the only one.
        target: the entry of a batch that a loss by name compares with; None: the only one that is no input of the model.
        providers: ["jax"], or with a device ["cuda"], [("jax", {"device": "cpu"})]; the option `cache_dir` names a folder for
            compiled programs.
        devices: how many of JAX's devices share each batch; None: all of its platform.
        level: of `graphopt.optimize`, before training (weights stay what they are) and for `model`.
        precision: 'bf16' or 'fp16' computes in that dtype; weights, their updates and the loss stay float32.
        clip_norm: gradients together are made no longer than this.
        accumulate: so many batches make one step of the optimizer.
        seed: of what is random.

    Attributes:
        parameters: initializers that are trained.
        not_trained: the others; each says why.
        history: losses of all steps, and what was measured after each epoch.

    Raises:
        ModelError: the model cannot be read or is not valid.
        UnsupportedError: an operator has no kernel, or nothing can be differentiated there; it is named.
        ArgumentError: nothing can be trained, or an argument makes no sense.
        MissingDependencyError: jax or optax is not installed.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizer: Any = "adam",
        *,
        learning_rate: Any = 1e-3,
        optimizer_options: Mapping[str, Any] | None = None,
        trainable: Trainable | None = None,
        output: str | None = None,
        target: str | None = None,
        providers: Sequence[Any] | None = None,
        devices: int | None = None,
        level: int = 2,
        precision: str | None = None,
        clip_norm: float | None = None,
        accumulate: int = 1,
        seed: int = 0,
    ) -> None:
        self._placement = Placement(devices_of(providers, devices))
        if self._platform == "cpu":
            keep_freed()
        self._optimizer = optimizer_of(optimizer, learning_rate, clip_norm, accumulate, **(optimizer_options or {}))
        self._original = load(model)
        self._reads = LossReads(loss, self._original, output, target)
        frozen = load(self._original)
        frozen.freeze_inputs()
        forms.separate_statistics(frozen)
        self._choice = choose(frozen, trainable, self._reads.outputs)
        self._level, self._seed, self._precision = level, seed, precision
        self._f = Differentiable(
            frozen,
            [p.name for p in self._choice.trained],
            outputs=self._reads.outputs,
            level=level,
            normalized=self._choice.normalized,
            precision=precision,
            layout="NHWC" if self._platform == "cpu" else None,
            platform=self._platform,
        )
        self._f.training_form  # noqa: B018 - what cannot be trained is told now
        self._state = self._placement.state(initial_state(self._f, self._optimizer))
        self._number = 0
        self._failure = ""
        self._pending: deque[tuple[Mapping[str, Any], Any]] = deque()
        self._step: Callable[..., Any] | None = None
        self._evaluate: Callable[..., Any] | None = None
        self._gradients: Callable[..., Any] | None = None
        self._run: Callable[..., Any] | None = None
        self._optimized: tuple[int, Model] | None = None
        self.history = History()

    # ------------------------------------------------------------------------------------------------------- training
    def step(self, batch: Mapping[str, Any]) -> Any:
        """One step on one batch.

        Args:
            batch: arrays by name: the model's inputs, and what the loss reads.

        Returns:
            The loss, a JAX scalar: the host waits for it when it is asked for its value, as by `float`.

        Raises:
            ArgumentError: the batch lacks something, or a dtype or shape does not fit.
            RunError: a loss or gradient was not finite, in this step or the one before; the message names the step and what
                was not finite first. The weights are those before that step.
        """
        if self._failure:
            raise RunError(self._failure)
        placed = self.place(batch)
        if self._step is None:
            loss = self._reads.loss(self._platform)
            self._step = training_step(
                self._f, loss, self._reads.what, self._optimizer, self._seed, self._precision == "fp16",
                self._placement.everywhere if len(self._placement.devices) > 1 else None,
            )  # fmt: skip
        self._state, (loss, failed) = self._step(self._state, dict(placed))
        self._number += 1
        self._pending.append((placed, failed))
        self.history.add(loss)
        self.settle(1)
        return loss

    def fit(
        self,
        batches: Any,
        epochs: int = 1,
        *,
        steps: int | None = None,
        evaluate: Any = None,
        early_stop: int | None = None,
        progress: bool = True,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        resume: bool | str | os.PathLike[str] = False,
    ) -> History:
        """Train for some epochs.

        Args:
            batches: an iterable of dicts, the same ones in each epoch (a list); or a function from the epoch's number, from 0,
                to such an iterable, as `Batches` is one.
            epochs: how often to go through the batches.
            steps: stop after so many steps in all.
            evaluate: batches to measure the loss on after each epoch (in inference mode), or a function of the session that
                gives a number, smaller for better, or a dict of numbers with 'loss' among them.
            early_stop: stop when the loss that `evaluate` gives (without it, the mean of training) has not fallen for so many
                epochs; the weights of the best epoch come back.
            progress: show steps and losses on stderr, where that is a terminal.
            checkpoint: a file to save to after each epoch and at the end.
            checkpoint_every: save after so many steps too.
            resume: a checkpoint of `fit` to go on from; True: `checkpoint`, if there is that file. Batches that were done are
                skipped.

        Returns:
            `history`.

        Raises:
            ArgumentError: an argument makes no sense, or a batch does not fit.
            RunError: see `step`.
            SaveError: the checkpoint cannot be written.
        """
        return fit(
            self, batches, epochs, steps=steps, evaluate=evaluate, early_stop=early_stop, progress=progress,
            checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume,
        )  # fmt: skip

    def evaluate(self, batches: Iterable[Mapping[str, Any]]) -> float:
        """The mean loss over batches in inference mode, each with the weight of its rows."""
        total, count = 0.0, 0
        for batch in batches:
            placed = self.place(batch, strict=False)
            if self._evaluate is None:
                self._evaluate = evaluation(self._f, self._reads.loss(self._platform), self._reads.what)
            loss, _ = self._evaluate(self._state["weights"], self._state["statistics"], dict(placed))
            rows = self._rows(placed) or 1
            total, count = total + float(loss) * rows, count + rows
        if not count:
            raise ArgumentError("there is no batch to evaluate on")
        return total / count

    def gradients(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Derivatives of the loss of a batch with respect to the weights, in training mode; nothing is learnt."""
        placed = self.place(batch)
        if self._gradients is None:
            loss = self._reads.loss(self._platform)
            self._gradients = gradients_of(self._f, loss, self._reads.what, self._seed)
        state = self._state
        found = self._gradients(state["weights"], state["statistics"], dict(placed), state["step"])
        return {name: np.array(g) for name, g in found.items()}

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> list[np.ndarray]:
        """The outputs in inference mode with the weights as they are now; see `InferenceSession.run`.

        Outputs that the loss does not read are those of `model`.
        """
        names = self._f.signature.names_of(output_names or self._reads.outputs)
        if left := [n for n in names if n not in self._reads.outputs]:
            raise ArgumentError(
                f"the session does not compute output '{left[0]}', which the loss does not read; run `model`"
            )
        feeds = self._f.signature.check(input_feed)
        if self._run is None:
            self._run = evaluation(self._f, None, "")
        placed = self._placement.batch(feeds, self._rows(feeds), strict=False)
        _, outputs = self._run(self._state["weights"], self._state["statistics"], dict(placed))
        return [np.array(outputs[name]) for name in names]

    def place(self, batch: Mapping[str, Any], strict: bool = True) -> Mapping[str, Any]:
        """A batch that fits, on the devices.

        Raises:
            ArgumentError: it lacks something, or a dtype or shape does not fit.
        """
        if isinstance(batch, _Placed):
            return batch
        if not isinstance(batch, Mapping):
            raise ArgumentError(f"a batch must be a dict of arrays by name, not a {type(batch).__name__}")
        inputs = self._f.signature.check({a.name: batch[a.name] for a in self._f.signature.inputs if a.name in batch})
        whole = {**inputs, **self._reads.entries(batch, inputs)}
        return _Placed(self._placement.batch(whole, self._rows(inputs), strict))

    def _rows(self, arrays: Mapping[str, Any]) -> int | None:
        names = [a.name for a in self._f.signature.inputs]
        return next((arrays[n].shape[0] for n in names if getattr(arrays.get(n), "ndim", 0)), None)

    def settle(self, keep: int = 0) -> None:
        """Look at steps that are done, and wait for all but the last `keep`.

        Raises:
            RunError: see `step`.
        """
        while self._pending and (len(self._pending) > keep or self._pending[0][1].is_ready()):
            batch, failed = self._pending.popleft()
            if int(failed) >= 0:
                self._pending.clear()
                loss = self._reads.loss(self._platform)
                why = first_bad(self._f, loss, self._state, batch, self._seed)
                self._number = int(failed)
                self.history.cut(self._number)
                self._failure = (
                    f"training stopped at step {self._number}: {why}. The weights are those before it; try a smaller "
                    "learning rate, clip_norm=, or other data"
                )
                raise RunError(self._failure)

    # -------------------------------------------------------------------------------------------------------- results
    @property
    def steps(self) -> int:
        """How many batches have been learnt from."""
        return self._number

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self._f.signature

    @property
    def parameters(self) -> list[Parameter]:
        return self._choice.trained

    @property
    def not_trained(self) -> list[Parameter]:
        return self._choice.not_trained

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Copies of the weights as they are now, by name."""
        return {name: np.array(w) for name, w in self._state["weights"].items()}

    @property
    def statistics(self) -> dict[str, np.ndarray]:
        """Copies of the running statistics of BatchNormalizations, by name."""
        return {name: np.array(s) for name, s in self._state["statistics"].items()}

    @property
    def trained_model(self) -> Model:
        """The model as it came, with the weights as they are now, in inference form."""
        self.settle()
        m = load(self._original)
        forms.separate_statistics(m)
        forms.for_inference(m)
        arrays = {**self.weights, **self.statistics}
        for v in list(m.graph.initializers):
            if v.name in arrays:
                tensor = m.graph.initializers[v] = Tensor(array=arrays[v.name])
                v.const = None if v.const is None else tensor  # one that callers may override is no constant
        m.graph.touch()
        return m

    @property
    def model(self) -> Model:
        """`trained_model`, optimised for inference."""
        self.settle()
        if self._optimized is None or self._optimized[0] != self._number:
            self._optimized = self._number, optimize(self.trained_model, self._level)
        return self._optimized[1]

    def __str__(self) -> str:
        return str(self._choice)

    # ---------------------------------------------------------------------------------------------------- checkpoints
    def save_checkpoint(self, path: str | os.PathLike[str], best: State | None = None, **notes: Any) -> None:
        """Write weights, statistics, the optimizer's state and the step to a safetensors file, whole or not at all.

        Args:
            path: the file.
            best: a snapshot to keep beside the state.
            notes: what else to keep, as JSON; `load_checkpoint` gives it back.

        Raises:
            SaveError: it cannot be written.
            RunError: a step failed.
        """
        self.settle(0)
        own = {"seed": self._seed, "steps": self._number, "history": self.history.to_dict()}
        checkpoints.save(path, self._state, {**notes, "session": own}, best)

    def load_checkpoint(self, path: str | os.PathLike[str]) -> tuple[dict[str, Any], State | None]:
        """Go on from a checkpoint: the same batches then lead to the same weights, bit by bit.

        Returns:
            Its notes, and the snapshot that was kept with it.

        Raises:
            ArgumentError: it is missing, or of another model, choice of weights, optimizer or seed.
        """
        state, notes, best = checkpoints.load(path, self._state)
        own = notes.pop("session")
        if own["seed"] != self._seed:
            raise ArgumentError(f"checkpoint '{Path(path)}' has seed {own['seed']}; pass seed={own['seed']}")
        self._restore(state, own["steps"])
        self.history.restore(own["history"])
        return notes, best

    def snapshot(self) -> State:
        """A copy of weights and statistics on the host."""
        self.settle()
        return {name: jax.tree.map(np.array, self._state[name]) for name in checkpoints.BEST}

    def _restore(self, state: State, steps: int) -> None:
        self._state = self._placement.state(jax.tree.map(lambda a: jax.numpy.array(a), state))
        self._number, self._failure, self._optimized = steps, "", None
        self._pending.clear()

    def restore_weights(self, snapshot: State) -> None:
        """Take weights and statistics from a snapshot; the optimizer's state and the step stay."""
        fresh = {name: jax.tree.map(jax.numpy.array, arrays) for name, arrays in snapshot.items()}
        self._state = {**self._state, **self._placement.state(fresh)}
        self._optimized = None

    @property
    def _platform(self) -> str:
        return str(self._placement.devices[0].platform)


class _Placed(dict[str, Any]):
    """A batch that was looked at, and lies on the devices."""
