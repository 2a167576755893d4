"""Losses: by name, as an ONNX model, as a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.errors import ArgumentError
from graphopt.exec.backends.jax import JaxBackend
from graphopt.exec.kernels.loss import negative_log_likelihood_loss
from graphopt.exec.training.differentiation import Form, TrainingBackend
from graphopt.ir import Model, load
from graphopt.pipeline import optimize

import jax  # isort: skip - the back end above says what to install where it is missing
import jax.numpy as jnp

#: A loss as a session calls it: the model's outputs and the batch, to a scalar.
Loss = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


def _cross_entropy(xp: JaxBackend, scores: Any, labels: Any) -> Any:
    """SoftmaxCrossEntropyLoss: logits [batch, classes, ...], integer labels [batch, ...]."""
    _check_labels("cross_entropy", scores, labels)
    return jnp.mean(_surprise(jnp.moveaxis(scores, 1, -1), labels))


@jax.custom_vjp
def _surprise(scores: Any, labels: Any) -> Any:
    """Minus the logarithm of the probability of each label [...] by scores [..., classes].

    What JAX derives puts numbers into an array of zeros as large as the scores, and goes over all of that several times.
    """
    return _surprise_forwards(scores, labels)[0]


def _surprise_forwards(scores: Any, labels: Any) -> tuple[Any, Any]:
    total = jax.nn.logsumexp(scores, axis=-1)
    picked = jnp.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]  # NaN where there is no such class
    return total - picked, (scores, total, labels)


def _surprise_backwards(kept: Any, d: Any) -> tuple[Any, None]:
    scores, total, labels = kept
    classes = scores.shape[-1]
    chosen = jnp.where(labels < 0, labels + classes, labels)[..., None] == np.arange(classes)
    return (jnp.exp(scores - total[..., None]) - chosen) * d[..., None], None


_surprise.defvjp(_surprise_forwards, _surprise_backwards)


def _nll(xp: JaxBackend, scores: Any, labels: Any) -> Any:
    """NegativeLogLikelihoodLoss: logarithms of probabilities [batch, classes, ...], integer labels [batch, ...]."""
    _check_labels("nll", scores, labels)
    return negative_log_likelihood_loss(xp, scores, labels)


def _mse(xp: JaxBackend, y: Any, target: Any) -> Any:
    """The mean of squared differences."""
    return jnp.mean(jnp.square(y - _like("mse", y, target)))


def _l1(xp: JaxBackend, y: Any, target: Any) -> Any:
    """The mean of absolute differences."""
    return jnp.mean(jnp.abs(y - _like("l1", y, target)))


def _huber(xp: JaxBackend, y: Any, target: Any) -> Any:
    """Squared differences up to 1, absolute ones beyond."""
    d = jnp.abs(y - _like("huber", y, target))
    return jnp.mean(jnp.where(d < 1, 0.5 * d * d, d - 0.5))


def _bce_with_logits(xp: JaxBackend, y: Any, target: Any) -> Any:
    """The mean cross entropy of sigmoid(y) and probabilities."""
    return jnp.mean(jnp.maximum(y, 0) - y * _like("bce_with_logits", y, target) + jnp.log1p(jnp.exp(-jnp.abs(y))))


def _bce(xp: JaxBackend, p: Any, target: Any) -> Any:
    """The mean cross entropy of probabilities; logarithms end at that of the smallest normal number."""
    t = _like("bce", p, target)
    tiny = np.finfo(p.dtype).tiny
    return -jnp.mean(t * jnp.log(jnp.maximum(p, tiny)) + (1 - t) * jnp.log(jnp.maximum(1 - p, tiny)))


#: Losses by name: of a backend, an output of the model, and the target.
LOSSES: dict[str, Callable[[JaxBackend, Any, Any], Any]] = {
    "cross_entropy": _cross_entropy,
    "nll": _nll,
    "mse": _mse,
    "l1": _l1,
    "huber": _huber,
    "bce": _bce,
    "bce_with_logits": _bce_with_logits,
}


def named_loss(name: str, output: str, target: str, platform: str | None = None) -> Loss:
    """A loss of the table, of one output of the model and one entry of the batch."""
    function = LOSSES[name]
    xp = TrainingBackend(None, platform)

    def loss(outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
        y = outputs[output]
        return function(xp, y.astype(jnp.float32) if y.dtype.itemsize < 4 else y, batch[target])

    return loss


def onnx_loss(model: Any, platform: str | None = None) -> tuple[Loss, tuple[str, ...]]:
    """A loss that is an ONNX model, and the names of its inputs: outputs of the trained model and entries of the batch.

    Raises:
        ArgumentError: it has more than one output.
        UnsupportedError: a node cannot be differentiated.
    """
    m = optimize(load(model), 1)
    if len(m.graph.outputs) != 1:
        names = ", ".join(v.name for v in m.graph.outputs)
        raise ArgumentError(f"a loss as an ONNX model must have one output, a scalar; it has {names}")
    form = Form(m, {})

    def loss(outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
        found, _ = form(TrainingBackend(None, platform), {**batch, **outputs}, {})
        return next(iter(found.values()))

    return loss, tuple(form.inputs)


def scalar(value: Any, what: str) -> Any:
    """A loss, if it is one.

    Raises:
        ArgumentError: it is no float, or more than one number.
    """
    if not hasattr(value, "dtype"):
        value = jnp.asarray(value)
    if value.size != 1 or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ArgumentError(
            f"the loss must be one float, not {value.dtype}{list(value.shape)}; let {what} give the mean of its elements"
        )
    return value.reshape(())


class LossReads:
    """A loss, and what it reads: outputs of the model, entries of the batch."""

    def __init__(self, loss: Any, model: Model, output: str | None, target: str | None) -> None:
        self._loss = loss
        self._target = target
        self._compiled: Loss | None = None
        self._named: tuple[str, ...] | None = None
        there = [v.name for v in model.graph.outputs]
        self._inputs = {v.name for v in model.graph.inputs}
        if output is not None and output not in there:
            raise ArgumentError(f"the model has no output '{output}'; its outputs: {', '.join(there)}")
        if isinstance(loss, str) and loss in LOSSES:
            self.what = f"loss '{loss}'"
            if output is None and len(there) > 1:
                raise ArgumentError(f"loss '{loss}' reads one output; say which by output=: {', '.join(there)}")
            self.outputs = [output or there[0]]
            return
        if output is not None or target is not None:
            raise ArgumentError(
                "output= and target= are for losses by name; a model or function reads them by name itself"
            )
        if callable(loss):
            self.what, self.outputs, self._compiled = "the function", there, loss
            return
        if isinstance(loss, str) and not Path(loss).exists():
            raise ArgumentError(f"no loss is called '{loss}', nor a file; there are {', '.join(LOSSES)}")
        self.what = "its graph"
        self._compiled, self._named = onnx_loss(loss)
        self.outputs = [name for name in there if name in self._named]
        if not self.outputs:
            raise ArgumentError(
                f"the loss reads none of the model's outputs ({', '.join(there)}): its inputs are {', '.join(self._named)}"
            )

    def loss(self, platform: str) -> Loss:
        """The loss, once a batch has come."""
        if self._compiled is None:
            assert self._target is not None
            self._compiled = named_loss(self._loss, self.outputs[0], self._target, platform)
        return self._compiled

    def entries(self, batch: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the loss reads of a batch, besides the model's inputs."""
        others = [name for name in batch if name not in inputs]
        if isinstance(self._loss, str) and self._named is None:
            if self._target is None:
                if len(others) != 1:
                    raise ArgumentError(
                        f"{self.what} compares with one entry of the batch; say which by target=: "
                        f"{', '.join(others) or 'it has none but the inputs of the model'}"
                    )
                self._target = others[0]
            wanted: Sequence[str] = [self._target]
        elif self._named is not None:
            wanted = [name for name in self._named if name not in self.outputs]
        else:
            wanted = others
        if missing := [name for name in wanted if name not in batch]:
            raise ArgumentError(f"the batch lacks '{missing[0]}', which the loss reads; it has {', '.join(batch)}")
        found = {name: batch[name] if hasattr(batch[name], "dtype") else np.asarray(batch[name]) for name in wanted}
        if text := [n for n, a in found.items() if a.dtype.kind in "OUST"]:
            raise ArgumentError(f"entry '{text[0]}' of the batch is no array of numbers; leave it out")
        return found


def _check_labels(name: str, scores: Any, labels: Any) -> None:
    expected = (*scores.shape[:1], *scores.shape[2:])
    if not jnp.issubdtype(labels.dtype, jnp.integer) or scores.ndim < 2 or labels.shape != expected:
        raise ArgumentError(
            f"loss '{name}' takes scores [batch, classes, ...] and integer labels [batch, ...]; the model gives "
            f"{list(scores.shape)}, and the target is {labels.dtype}{list(labels.shape)}"
        )


def _like(name: str, y: Any, target: Any) -> Any:
    """A target in the dtype of what it is compared with; shapes that would merely broadcast are refused."""
    if y.shape != target.shape:
        raise ArgumentError(
            f"loss '{name}' compares arrays of one shape; the model gives {list(y.shape)}, and the target is "
            f"{list(target.shape)}"
        )
    return target.astype(y.dtype)
