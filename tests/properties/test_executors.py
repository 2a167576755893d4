"""Random graphs give the same on every executor.

Where two runs differ although each is right, because a number lies next to a step of Floor or Sign, or errors grow without
bound, the reference differs from itself as soon as its intermediate results are rounded in another way: then an example
says nothing and is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from onnx import ModelProto

from graphopt.compare import Comparison, compare
from graphopt.errors import UnsupportedError
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.executors import create, installed
from graphopt.exec.executors.base import Executor
from graphopt.exec.plan import Plan
from graphopt.exec.planning import plan
from graphopt.ir import load
from tests.ir.building import parse
from tests.property_graphs import models

Example = tuple[ModelProto, dict[str, np.ndarray]]

#: Operators that round, or whose functions libraries compute to a few units in the last place.
ROUNDING = frozenset("Add Sub Mul Sin Tanh Sigmoid Exp".split())
#: How often the reference is run with other roundings.
RUNS = 12


def made(executor: str, model: ModelProto) -> Executor | None:
    """The executor; None where that does not take the model."""
    try:
        return create(executor, model.SerializeToString())
    except UnsupportedError:
        return None
    except Exception as e:  # what ONNX Runtime raises for a model without a kernel
        if type(e).__name__ in ("NotImplemented", "InvalidGraph"):
            return None
        raise


def compared(want: list[Any], got: list[Any]) -> list[Comparison]:
    assert len(want) == len(got)
    return [compare(a, b) for a, b in zip(want, got, strict=True)]


def every_plan(steps: Plan) -> Iterator[Plan]:
    yield steps
    for step in steps.steps:
        for body in step.bodies.values():
            yield from every_plan(body.plan)


def on_reference(model: ModelProto, feeds: dict[str, np.ndarray], seed: int | None = None) -> list[Any]:
    """Outputs on the reference kernels; with a seed, what rounds does so in another way."""
    steps = plan(load(model))
    rng = np.random.default_rng(seed)

    def shaken(op: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(xp: Any, *values: Any, **attributes: Any) -> Any:
            y = function(xp, *values, **attributes)
            if y.dtype != np.float32:
                return y
            size = np.abs(y)
            for v in values if op in ("Add", "Sub") else ():  # a product may come in without having been rounded
                size = np.maximum(size, np.abs(v))
            by = rng.uniform(-4, 4, np.shape(y)) * np.finfo(np.float32).eps * np.maximum(size, 1e-37)
            return np.where(np.isfinite(y), y + by, y).astype(np.float32)

        return call

    if seed is not None:
        for p in every_plan(steps):
            for step in p.steps:
                if step.op in ROUNDING:
                    step.kernel = dataclasses.replace(step.kernel, function=shaken(step.op, step.kernel.function))
    with np.errstate(all="ignore"):
        return steps.run(REFERENCE, [feeds[v.name] for v in model.graph.input])


def says_something(model: ModelProto, feeds: dict[str, np.ndarray]) -> bool:
    """Whether the outputs follow from the inputs, however intermediate results are rounded."""
    want = on_reference(model, feeds)
    return all(c.equal for seed in range(RUNS) for c in compared(want, on_reference(model, feeds, seed)))


def check(executor: str, example: Example) -> bool:
    """Fails where an executor differs from the reference; False where the example says nothing of it."""
    model, feeds = example
    other = made(executor, model)
    if other is None:
        return False
    want = list(create("reference", model.SerializeToString()).run(feeds).values())
    got = list(other.run(feeds).values())
    assert all(isinstance(v, np.ndarray) for v in (*want, *got))
    wrong = [c for c in compared(want, got) if not c.equal]
    assert not wrong or not says_something(model, feeds), f"{executor} differs: {wrong}"
    return not wrong


@pytest.mark.skipif("onnxruntime" not in installed(), reason="onnxruntime is not installed")
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(models())
def test_reference_and_onnxruntime(example: Example) -> None:
    assume(check("onnxruntime", example))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(models())
def test_reference_and_onnx_reference(example: Example) -> None:
    assume(check("onnx.reference", example))


@pytest.mark.skipif("jax" not in installed(), reason="jax is not installed")
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(models(most=8))
def test_reference_and_jax(example: Example) -> None:
    """Few: each is compiled."""
    assume(check("jax", example))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(models())
def test_the_reference_run_twice(example: Example) -> None:
    """A plan can be run again, and changes nothing of its own."""
    model, feeds = example
    session = create("reference", model.SerializeToString())
    first, second = (list(session.run(feeds).values()) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


# ------------------------------------------------------------------------------------------------- the test above tested
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("m = Mul(x, x) y = Floor(m)", True),  # 0.0625
        ("m = Mul(x, x) h = Sin(m) k = Sin(m) d = Sub(h, k) y = Sign(d)", False),  # 0, but for rounding
        (
            "m = Add(x, three) n = Mul(m, m) o = Mul(n, n) p = Mul(o, o) q = Mul(p, p) r = Mul(q, q) y = Sin(r)",
            False,
        ),  # of 2.5e16
        ("m = Mul(x, x) y = Sub(m, m)", True),
        ("m = Neg(x) y = Floor(m)", True),
    ],
)
def test_examples_that_say_nothing(body: str, says: bool) -> None:
    model = parse(f"g (float[2] x, float three) => (float[2] y) {{ {body} }}")
    assert says_something(model, {"x": np.float32([0.25, 0.25]), "three": np.float32(3)}) is says


@pytest.mark.parametrize(
    "text",
    [
        "y = Sub(x, z)",
        "m = Sub(x, z) y = Floor(m)",
        "y = If (c) <then_branch = t () => (float[2] p) { p = Sub(x, z) }, else_branch = e () => (float[2] q) { q = Sub(z, x) }>",
    ],
)
def test_a_wrong_executor_is_noticed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes the operands of a difference for each other."""
    model = parse(f"g (float[2] x, float[2] z, bool c) => (float[2] y) {{ {text} }}")
    feeds = {"x": np.float32([1.3, 2]), "z": np.float32([5, 0.1]), "c": np.array(True)}

    class Wrong:
        def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return right("reference", model.SerializeToString()).run({**feeds, "x": feeds["z"], "z": feeds["x"]})

    right = create
    monkeypatch.setitem(globals(), "create", lambda name, source: Wrong() if name == "wrong" else right(name, source))
    with pytest.raises(AssertionError, match="^wrong differs"):
        check("wrong", (model, feeds))
    assert check("reference", (model, feeds))
