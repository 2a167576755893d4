"""Checkpoints: the whole state of a session in one safetensors file."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.errors import ArgumentError, MissingDependencyError, SaveError
from graphopt.exec.training.stepping import State

import jax  # isort: skip - the back end above says what to install where it is missing

_FORMAT = "graphopt.training 1"
_BEST = "best"
#: What of a state is worth keeping as the best one.
BEST = ("weights", "statistics")


def save(path: str | os.PathLike[str], state: State, notes: dict[str, Any], best: State | None = None) -> None:
    """Write a checkpoint whole or not at all.

    Args:
        path: the file; an existing one is replaced at the end, in one step.
        state: of the session: a tensor for each leaf, named after its place.
        notes: what else to keep, as JSON.
        best: weights and statistics that were better.

    Raises:
        SaveError: the folder is missing or not writable.
        MissingDependencyError: safetensors is not installed.
    """
    numpy = _safetensors()
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    arrays = {name: np.array(leaf, order="C") for name, leaf in _leaves({**state, **_named(best)}).items()}
    try:
        numpy.save_file(arrays, temporary, {"format": _FORMAT, "notes": json.dumps(notes)})
        os.replace(temporary, target)
    except Exception as e:  # safetensors has errors of its own for a full disk
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise SaveError(f"cannot write checkpoint '{target}': {e}") from e


def load(path: str | os.PathLike[str], like: State) -> tuple[State, dict[str, Any], State | None]:
    """Read a checkpoint.

    Args:
        path: a file that `save` wrote.
        like: a state of the same session's form.

    Returns:
        The state, its leaves NumPy arrays; the notes; and what was better, if that was saved.

    Raises:
        ArgumentError: the file is missing, is no checkpoint, or one of another model or optimizer.
        MissingDependencyError: safetensors is not installed.
    """
    _safetensors()
    from safetensors import safe_open

    if not Path(path).is_file():
        raise ArgumentError(f"there is no checkpoint '{path}'")
    try:
        with safe_open(path, "numpy") as f:
            metadata = f.metadata() or {}
            arrays = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - it is no dict
    except Exception as e:
        raise ArgumentError(f"'{path}' is no checkpoint that can be read: {e}") from e
    if metadata.get("format") != _FORMAT:
        raise ArgumentError(f"'{path}' is a safetensors file, but no checkpoint of a training session")
    best = _named({name: like[name] for name in BEST}) if any(n.startswith(f"['{_BEST}']") for n in arrays) else {}
    like = {**like, **best}
    expected = _leaves(like)
    for name in expected.keys() ^ arrays.keys():
        where = "the checkpoint lacks" if name in expected else "the session has no"
        raise ArgumentError(
            f"checkpoint '{path}' is of another session: {where} {name}; give the same model, trainable= and optimizer"
        )
    for name, leaf in expected.items():
        found = arrays[name]
        if found.shape != leaf.shape or found.dtype != leaf.dtype:
            raise ArgumentError(
                f"checkpoint '{path}' is of another session: {name} is {found.dtype}{list(found.shape)} there, and "
                f"{leaf.dtype}{list(leaf.shape)} here"
            )
    state = jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in expected])
    return state, json.loads(metadata["notes"]), state.pop(_BEST, None)


def _named(best: State | None) -> State:
    return {} if best is None else {_BEST: best}


def _leaves(state: State) -> dict[str, Any]:
    """Arrays by their place in the state: "['weights']['w']"; in the order of the tree."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as e:
        raise MissingDependencyError("checkpoints need safetensors: pip install graphopt[train]") from e
    return safetensors.numpy
