"""The package's own sessions as executors: nothing is optimised, so that what runs is the model as it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from graphopt.exec.executors.base import Feeds, Source
from graphopt.exec.options import GraphOptimizationLevel, SessionOptions
from graphopt.exec.session import InferenceSession
from graphopt.ir import load


class Own:
    """A session with all optimizations off.

    Args:
        model: a path, or bytes.
        providers: as a session takes them.
        folder: what external data is relative to, where the model comes as bytes.

    Raises:
        UnsupportedError: operators without a kernel; all are named.
        ModelError: the model cannot be read.
    """

    def __init__(self, model: Source, providers: Sequence[Any], folder: str | os.PathLike[str] | None = None) -> None:
        options = SessionOptions(graph_optimization_level=GraphOptimizationLevel.ORT_DISABLE_ALL)
        source = model if isinstance(model, bytes) else os.fspath(model)
        loaded = load(source, base_dir=None if folder is None else os.fspath(folder))
        self._session = InferenceSession(loaded, options, providers)
        self._names = [o.name for o in self._session.get_outputs()]

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        return dict(zip(self._names, self._session.run(None, feeds), strict=True))


def reference(model: Source, *, folder: str | os.PathLike[str] | None = None) -> Own:
    """The reference kernels on NumPy."""
    return Own(model, ["reference"], folder)


def jax(model: Source, *, folder: str | os.PathLike[str] | None = None, device: str = "") -> Own:
    """The kernels under JAX, compiled; `device` as in 'cuda'."""
    return Own(model, [("JaxExecutionProvider", {"device": device} if device else {})], folder)
