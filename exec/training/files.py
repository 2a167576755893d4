"""Training data in files: arrays by name (.npz, .safetensors), or a table (.csv)."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from graphopt.errors import ArgumentError, MissingDependencyError
from graphopt.exec.kernels.dtypes import np_dtype
from graphopt.exec.signature import NodeArg, Signature
from graphopt.exec.training.batches import rows_of


def read_data(
    path: str | os.PathLike[str], signature: Signature, target: str | None, classes: bool, output: str | None = None
) -> dict[str, np.ndarray]:
    """Arrays of a file, by name: the inputs of a model, and the target.

    Args:
        path: .npz or .safetensors: arrays under the names of the model's inputs, and the target. .csv: a line of names, then
            rows of numbers; each input is the column of its name, or where there is one input with features, [rows, features],
            all columns but the target in their order.
        signature: of the model; numbers take the dtypes that it declares, where that loses nothing but precision.
        target: the name of what is learnt; None: the only name that is no input (of a table: the last column).
        classes: the target is integers.
        output: which output is compared with the target; None: the first.

    Raises:
        ArgumentError: the file is missing or cannot be read, or lacks something; the message says what.
        MissingDependencyError: safetensors is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise ArgumentError(f"there is no file '{file}'")
    kind = file.suffix.lower()
    if kind == ".csv":
        arrays = _table(file, signature, target, classes, output)
    elif kind in (".npz", ".safetensors"):
        arrays = _arrays(file, kind)
    else:
        raise ArgumentError(f"'{file}': data is read from .npz, .safetensors and .csv")
    try:
        rows_of(arrays)
        if target is not None and target not in arrays:
            raise ArgumentError(f"there is no target '{target}'; there are {', '.join(arrays)}")
        return {name: _fitting(name, a, signature) for name, a in arrays.items()}
    except ArgumentError as e:
        raise ArgumentError(f"'{file}': {e}") from e


def split(
    data: Mapping[str, np.ndarray], share: float, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Rows to train on and rows to validate on, drawn by a seed.

    Raises:
        ArgumentError: one of the two would be empty.
    """
    rows = rows_of(dict(data))
    count = round(rows * share)
    if not 0 < count < rows:
        raise ArgumentError(f"a share of {share:g} of {rows} rows leaves nothing to validate or to train on")
    order = np.random.default_rng(seed).permutation(rows)
    return {n: a[order[count:]] for n, a in data.items()}, {n: a[order[:count]] for n, a in data.items()}


def _arrays(file: Path, kind: str) -> dict[str, np.ndarray]:
    try:
        if kind == ".npz":
            with np.load(file, allow_pickle=False) as held:
                return {name: held[name] for name in held.files}
        from safetensors.numpy import load_file

        return dict(load_file(file))
    except ImportError as e:
        raise MissingDependencyError("'.safetensors' files need safetensors: pip install graphopt[train]") from e
    except Exception as e:  # each format has errors of its own
        raise ArgumentError(f"'{file}' cannot be read: {e}") from e


def _table(
    file: Path, signature: Signature, target: str | None, classes: bool, output: str | None
) -> dict[str, np.ndarray]:
    with open(file, newline="", encoding="utf-8-sig") as f:
        lines = [line for line in csv.reader(f) if line]
    if len(lines) < 2:
        raise ArgumentError(f"'{file}' holds no rows: a line of names comes first, then rows of numbers")
    names = [name.strip() for name in lines[0]]
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise ArgumentError(f"'{file}', line {number}: {len(line)} fields, where the first line has {len(names)}")
    target = names[-1] if target is None else target
    if target not in names:
        raise ArgumentError(f"'{file}' has no column '{target}'; its columns: {', '.join(names)}")
    columns = {name: _numbers(file, name, [line[i] for line in lines[1:]]) for i, name in enumerate(names)}
    learnt = columns.pop(target)
    if classes:
        if (learnt != np.round(learnt)).any():
            raise ArgumentError(f"'{file}', column '{target}': this loss wants classes, 0, 1, 2..., not {learnt[0]:g}")
        learnt = learnt.astype(np.int64)
    else:
        compared = next((o for o in signature.outputs if o.name == output), signature.outputs[0])
        learnt = (learnt[:, None] if len(compared.shape) == 2 else learnt).astype(np.float32)
    if len(signature.inputs) == 1 and len(signature.inputs[0].shape) == 2:
        return {signature.inputs[0].name: np.stack(list(columns.values()), axis=1), target: learnt}
    if missing := [a.name for a in signature.inputs if a.name not in columns]:
        raise ArgumentError(f"'{file}' has no column for input '{missing[0]}'; its columns: {', '.join(columns)}")
    return {a.name: _column(columns[a.name], a) for a in signature.inputs} | {target: learnt}


def _column(values: np.ndarray, arg: NodeArg) -> np.ndarray:
    return values[:, None] if len(arg.shape) == 2 else values


def _numbers(file: Path, name: str, texts: list[str]) -> np.ndarray:
    try:
        return np.array(texts, np.float64)
    except ValueError:
        for number, text in enumerate(texts, 2):
            try:
                float(text)
            except ValueError as e:
                raise ArgumentError(f"'{file}', line {number}, column '{name}': {text!r} is no number") from e
        raise


def _fitting(name: str, array: np.ndarray, signature: Signature) -> np.ndarray:
    """An array in the dtype that the model declares, from another float, from integers, or from whole numbers of a table."""
    declared = next((np_dtype(a.dtype) for a in signature.inputs if a.name == name), None)
    if declared is None or array.dtype == declared:
        return array
    whole = declared.kind in "iu" and array.dtype.kind == "f" and bool((array == np.round(array)).all())
    if whole or np.can_cast(array.dtype, declared, "same_kind"):
        return array.astype(declared)
    return array
