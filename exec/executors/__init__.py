"""Executors: one way to run a model, whoever computes it. See `base` for the interface, `registry` for the names."""

from __future__ import annotations

from graphopt.exec.executors.base import Executor, Feeds, Reloadable, Source
from graphopt.exec.executors.model_file import ModelFile, model_file
from graphopt.exec.executors.registry import DEFAULTS, create, installed, known, names, waiting

__all__ = [
    "DEFAULTS", "Executor", "Feeds", "ModelFile", "Reloadable", "Source", "create", "installed", "known", "model_file",
    "names", "waiting",
]  # fmt: skip
