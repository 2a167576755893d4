"""Do two models have the same gradients? What computes the same may still be differentiated otherwise: a Where that hides NaN
from its output does not hide it from the gradient, and a constant that was computed has none.

Both models run under JAX, which differentiates what their kernels do: gradients of a random combination of their float outputs,
with respect to their float inputs. To compare those of weights, let these be inputs (`with_weights_as_inputs`), which is what
training does before it optimises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto

from graphopt.errors import GraphoptError, RunError, UnsupportedError
from graphopt.exec.executors import model_file
from graphopt.ir import Model, load
from graphopt.rewrite import Rule
from graphopt.testing.checking import RuleCheck, RuleFailure, apply_rule, variants_by_seed
from graphopt.testing.declarations.instances import Instance
from graphopt.testing.judging import Difference

#: The relative difference that is allowed, by dtype. Shorter floats say too little.
CLOSE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-8}
#: Inputs are moved by this much of their size, so that none stands where a function has a kink.
_MOVED = 1e-2
#: So many times as far as rounding moves a gradient may it differ.
_SLACK = 8.0
#: Where rounding moves it by more than this, an example says nothing.
_MOST_NOISE = 0.02
#: Gradients are measured against this much of the largest output at least: where functions are saturated, they are nothing but
#: what rounding did to the outputs.
_FLOOR = 1e-2


@dataclass
class GradientCheck:
    """What was done.

    Attributes:
        compared: gradients compared.
        left_out: examples of which none could be, by reason.
    """

    compared: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def check_gradients(
    original: Any, candidate: Any, feeds: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, seed: int = 0
) -> GradientCheck:
    """Fail unless two models of one interface have the same gradients with respect to their float inputs.

    Args:
        original: a path, bytes, an onnx.ModelProto, a graphopt.Model.
        candidate: likewise.
        feeds: inputs, one dict or several: float32 and float64 ones are moved a little, away from kinks.
        seed: of how outputs are combined, and inputs moved.

    Returns:
        What was compared. Entries that are not finite for the original do not count.

    Raises:
        AssertionError: a gradient differs, or nothing could be compared; the message says where.
        MissingDependencyError: jax is not installed.
    """
    check = GradientCheck()
    with model_file(original) as a, model_file(candidate) as b:
        for one in [feeds] if isinstance(feeds, Mapping) else feeds:
            if found := gradient_differences(a.proto, b.proto, one, check, seed):
                raise AssertionError("\n".join(["gradients differ:", *(f"  {d}" for d in found)]))
    if not check.compared:
        raise AssertionError(f"no gradient was compared: {'; '.join(check.left_out) or 'there are no inputs'}")
    return check


def check_rule_gradients(rule: Rule, count: int = 4, attempts: int = 400, seed: int = 0) -> GradientCheck:
    """Test whether a rule keeps gradients, on models drawn from its declaration (see `check_rule`).

    Each model is tried as it was drawn, and with its float initializers as inputs, where the rule fires then too.

    Args:
        rule: which.
        count: models on which gradients are to be compared.
        attempts: models to draw at most.
        seed: of the first.

    Returns:
        What was done; where nothing could be compared, `left_out` says why. A rule that says of itself that it does not keep
        gradients (`@rule(keeps_gradients=False)`) is not tried.

    Raises:
        RuleFailure: a gradient differs.
    """
    check = GradientCheck()
    if not rule.keeps_gradients:
        check.left_out["it says that it does not keep them"] += 1
        return check
    draw, done = variants_by_seed(rule), 0
    for number in range(seed, seed + attempts):
        if done >= count:
            break
        instance = draw[number % len(draw)](number)
        if not isinstance(instance, Instance):
            check.left_out["no valid model"] += 1
            continue
        before = check.compared
        for model, feeds in _forms(instance):
            try:
                rewritten, _ = apply_rule(rule, model)
            except GraphoptError as e:
                check.left_out[str(e)] += 1
                continue
            if rewritten is None:
                check.left_out["the rule does not fire"] += 1
            elif found := gradient_differences(model, rewritten, feeds, check, number):
                told = Instance(model, dict(feeds), instance.variant, instance.finite)
                raise RuleFailure(rule, RuleCheck(rule.name), found, told, rewritten)
        done += check.compared > before
    return check


def _forms(instance: Instance) -> list[tuple[ModelProto, Mapping[str, Any]]]:
    """The model, and the one with weights as inputs if it has some."""
    forms: list[tuple[ModelProto, Mapping[str, Any]]] = [(instance.model, instance.feeds)]
    model, weights = with_weights_as_inputs(instance.model)
    if weights:
        forms.append((model.proto, {**instance.feeds, **weights}))
    return forms


def with_weights_as_inputs(model: Any) -> tuple[Model, dict[str, np.ndarray]]:
    """A model whose float initializers are inputs, as training has it; and these by name.

    Args:
        model: whatever `graphopt.optimize` takes; it stays as it is.
    """
    from graphopt.exec.training import forms

    m = load(model)
    m.freeze_inputs()
    weights = {v.name: t.numpy() for v, t in m.graph.initializers.items()}
    weights = {name: w for name, w in weights.items() if w.dtype in CLOSE}
    forms.take_as_inputs(m, weights)
    return m, weights


def gradient_differences(
    original: ModelProto, candidate: ModelProto, feeds: Mapping[str, Any], check: GradientCheck, seed: int = 0
) -> list[Difference]:
    """Where gradients of two models differ at, or rather beside, these inputs; what was compared is counted."""
    rng = np.random.default_rng(seed)
    feeds = {name: _moved(value, rng) for name, value in feeds.items()}
    wanted = [name for name, value in feeds.items() if _counts(value) and value.size]
    if not wanted:
        check.left_out["no float inputs"] += 1
        return []
    try:
        want, largest = _gradients(original, feeds, wanted, seed)
        if largest is None:
            check.left_out["no float outputs"] += 1
            return []
    except (UnsupportedError, RunError) as e:
        check.left_out[" ".join(str(e).split())[:120]] += 1
        return []
    try:
        got, _ = _gradients(candidate, feeds, wanted, seed)
    except (UnsupportedError, RunError) as e:
        return [Difference("jax", "", f"the original is differentiable, the other model is not: {e}")]
    found, noise, least = [], None, _FLOOR * max(largest, 1.0)
    for name in wanted:
        check.compared += 1
        difference = _difference(want[name], got[name], least)
        if difference <= CLOSE[want[name].dtype]:
            continue
        if noise is None:
            noise = _noise(original, feeds, wanted, want, least, seed)
        if noise[name] > _MOST_NOISE:
            check.compared -= 1
            check.left_out["rounding alone changes a gradient"] += 1
        elif difference > _SLACK * noise[name]:
            told = f"with respect to '{name}' it differs by {difference:.2g} of its largest entry"
            found.append(Difference("jax", "gradient", told, want[name], got[name]))
    return found


def _gradients(
    model: ModelProto, feeds: Mapping[str, Any], wanted: Sequence[str], seed: int
) -> tuple[dict[str, np.ndarray], float | None]:
    """Gradients by input, and the largest number of the float outputs that they are of; None where there are none."""
    import jax
    import jax.numpy as jnp

    from graphopt.exec.training.differentiation import Form, TrainingBackend

    form = Form(load(model), {})
    inputs = {name: value for name, value in feeds.items() if name in form.inputs}
    used = [name for name in wanted if name in inputs]

    def combined(values: dict[str, Any]) -> tuple[Any, list[Any]]:
        outputs, _ = form(TrainingBackend(jax.random.key(seed)), {**inputs, **values}, {})
        floats = [y for y in outputs.values() if hasattr(y, "dtype") and jnp.issubdtype(y.dtype, jnp.floating)]
        rng, total, largest = np.random.default_rng(seed), jnp.zeros(()), []
        for y in floats:
            factors = rng.uniform(0.5, 1.5, y.shape) * rng.choice((-1, 1), y.shape)
            finite = jnp.where(jnp.isfinite(y), y, 0)
            total = total + jnp.sum(finite * factors)
            largest.append(jnp.abs(finite).max(initial=0))
        return total, largest

    found, largest = jax.jit(jax.grad(combined, has_aux=True))({name: jnp.asarray(inputs[name]) for name in used})
    zeros = {name: np.zeros_like(feeds[name]) for name in wanted}
    return zeros | {name: np.asarray(g) for name, g in found.items()}, (max(map(float, largest)) if largest else None)


def _difference(want: np.ndarray, got: np.ndarray, least: float) -> float:
    """The largest difference over the largest entry, or `least`, where the first is finite; infinite if only the other is not."""
    finite = np.isfinite(want)
    if not np.isfinite(got[finite]).all():
        return np.inf
    apart = np.abs(want[finite] - got[finite]).max(initial=0)
    return float(apart / max(np.abs(want[finite]).max(initial=0), least))


def _noise(
    model: ModelProto,
    feeds: Mapping[str, Any],
    wanted: Sequence[str],
    want: Mapping[str, np.ndarray],
    least: float,
    seed: int,
) -> dict[str, float]:
    """How far gradients move when inputs do so by a few units in the last place."""
    moved = dict.fromkeys(wanted, 0.0)
    for turn in range(3):
        rng = np.random.default_rng((seed, turn))
        shaken = {
            n: v * (1 + 4 * np.finfo(v.dtype).eps * rng.uniform(-1, 1, v.shape)).astype(v.dtype) if _counts(v) else v
            for n, v in feeds.items()
        }
        again, _ = _gradients(model, shaken, wanted, seed)
        moved = {n: max(far, _difference(want[n], again[n], least)) for n, far in moved.items()}
    return moved


def _counts(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype in CLOSE


def _moved(value: Any, rng: np.random.Generator) -> Any:
    if not _counts(value):
        return value
    by = rng.uniform(0.3, 1, value.shape) * rng.choice((-1, 1), value.shape) * _MOVED
    with np.errstate(all="ignore"):
        return (value + by * np.where(np.isfinite(value), np.maximum(np.abs(value), 1), 0)).astype(value.dtype)
