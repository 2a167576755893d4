"""The kernels against the cases of the ONNX backend suite, which ship inside the onnx package; and the cases against bugs."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks import conformance, suite
from graphopt.exec.executors import create
from graphopt.exec.kernels import registry
from tests.conformance.planted_kernels import PLANTED, Bug

has_jax = importlib.util.find_spec("jax") is not None


class Guarded:
    """An executor whose inputs nobody can write into."""

    def __init__(self, name: str, model: bytes) -> None:
        self.executor = create(name, model)

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        return self.executor.run({name: _read_only(value) for name, value in feeds.items()})


def _read_only(value: Any) -> Any:
    if isinstance(value, list):
        return [_read_only(v) for v in value]
    if isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value


@pytest.mark.slow
def test_reference() -> None:
    """Every case but those that are known, each with its reason; these do fail."""
    found = dict(conformance.failures(lambda model: Guarded("reference", model)))
    assert len(found) > 2000
    assert {name: why for name, why in found.items() if why}.keys() == conformance.KNOWN.keys()


def on_reference(model: bytes) -> Any:
    """The model on the reference kernels."""
    return create("reference", model)


@cache
def operators_of(name: str) -> frozenset[str]:
    """The operators of a case's main graph."""
    model = onnx.load_model_from_string(conformance.load(suite.exported()[name]).model)
    return frozenset(node.op_type for node in model.graph.node)


@cache
def cases_by_operator() -> dict[str, list[str]]:
    """Cases of one operator alone."""
    found: dict[str, list[str]] = {}
    for name in suite.exported():
        if name.startswith("node/") and "expanded" not in name and len(operators_of(name)) == 1:
            (op,) = operators_of(name)
            found.setdefault(op, []).append(name)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not has_jax, reason="jax is not installed")
def test_jax_compiled() -> None:
    """One case of each operator, another one each time the operators change; all of them: `python -m benchmarks.conformance`."""
    names = [cases[len(cases) // 2] for cases in cases_by_operator().values()]
    failed = {}
    for name in names:
        if why := conformance.failure(conformance.load(suite.exported()[name]), lambda model: create("jax", model)):
            failed[name] = why
    assert len(names) > 150
    assert failed.keys() <= conformance.KNOWN.keys(), failed


@contextmanager
def planted(op: str, bug: Bug) -> Iterator[None]:
    """All kernels of an operator are wrong inside the block."""
    registry.operators()  # all are registered
    right = registry._kernels[op]
    registry._kernels[op] = [dataclasses.replace(k, function=bug(k.function)) for k in right]
    registry.kernel_for.cache_clear()
    try:
        yield
    finally:
        registry._kernels[op] = right
        registry.kernel_for.cache_clear()


@pytest.mark.parametrize(
    ("op", "what", "bug"), PLANTED, ids=lambda v: re.sub(r"\W+", "_", v) if isinstance(v, str) else ""
)
def test_wrong_kernels_are_caught(op: str, what: str, bug: Bug) -> None:
    cases = (conformance.load(suite.exported()[name]) for name in cases_by_operator()[op])
    with planted(op, bug):
        caught = next((c for c in cases if conformance.failure(c, on_reference)), None)
    assert caught is not None, f"no case of {op} sees it"
    assert conformance.failure(caught, on_reference) is None
