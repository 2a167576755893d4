"""The loop around the steps: epochs, evaluation, early stop, checkpoints, progress."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.exec.training.session import TrainingSession


class History:
    """Losses of all steps, and what was measured after each epoch.

    Attributes:
        epochs: a dict for each epoch: 'epoch' (from 1), 'steps' so far, 'loss' (the mean of the epoch's), and what `evaluate`
            gave, as 'evaluation' or under its own names behind that word.
        stopped: why training ended before the last epoch; '' where it did not.
    """

    def __init__(self) -> None:
        self._losses: list[Any] = []
        self.epochs: list[dict[str, float]] = []
        self.stopped = ""

    @property
    def losses(self) -> np.ndarray:
        """The loss of each step, float64."""
        self._losses = [float(x) for x in self._losses]
        return np.array(self._losses, np.float64)

    def add(self, loss: Any) -> None:
        """Note a step's loss, which need not be known yet."""
        self._losses.append(loss)

    def cut(self, steps: int) -> None:
        """Forget what came after so many steps."""
        del self._losses[steps:]

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"losses": self.losses.tolist(), "epochs": self.epochs, "stopped": self.stopped}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Be what `to_dict` gave."""
        self._losses, self.epochs, self.stopped = list(data["losses"]), list(data["epochs"]), data["stopped"]

    def __repr__(self) -> str:
        last = f", last {float(self._losses[-1]):.6g}" if self._losses else ""
        return f"<History: {len(self._losses)} steps{last}, {len(self.epochs)} epochs>"


def fit(
    session: TrainingSession,
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
    """See `TrainingSession.fit`."""
    _check(batches, epochs, steps, early_stop, checkpoint, checkpoint_every, resume)
    best = None
    position: dict[str, Any] = {"epoch": 0, "batch": 0, "best": None, "waited": 0}
    file = checkpoint if resume is True else resume or None
    if file is not None and (resume is not True or Path(file).exists()):
        notes, best = session.load_checkpoint(file)
        position |= notes.get("position", {})
    history = session.history
    history.stopped = ""

    def save() -> None:
        if checkpoint is not None:
            session.save_checkpoint(checkpoint, best, position=position)

    def full() -> bool:
        return steps is not None and session.steps >= steps

    length = len(batches) if hasattr(batches, "__len__") else None
    with _shown(progress) as show:
        while position["epoch"] < epochs and not full():
            epoch, first = position["epoch"], len(history.losses) - position["batch"]
            ahead, more = _ahead(session, _skipped(batches, epoch, position["batch"])), False
            for batch in ahead:
                loss = session.step(batch)
                position["batch"] += 1
                show(epoch, epochs, position["batch"], length, loss)
                if checkpoint_every and session.steps % checkpoint_every == 0:
                    save()
                if full():
                    more = next(ahead, None) is not None
                    break
            session.settle()
            if not position["batch"]:
                raise ArgumentError(f"there was no batch in epoch {epoch + 1}")
            if more:
                break
            entry = {"epoch": epoch + 1, "steps": session.steps, "loss": float(history.losses[first:].mean())}
            entry |= _evaluated(session, evaluate)
            history.epochs.append(entry)
            position["epoch"], position["batch"] = epoch + 1, 0
            judged = entry.get("evaluation", entry["loss"])
            if position["best"] is None or judged < position["best"]:
                position["best"], position["waited"] = judged, 0
                best = session.snapshot() if early_stop is not None else None
            else:
                position["waited"] += 1
            save()
            if early_stop is not None and position["waited"] >= early_stop:
                history.stopped = f"no better than {position['best']:.6g} for {early_stop} epochs"
                if best is not None:
                    session.restore_weights(best)
                break
        else:
            return history
    save()
    return history


def _check(
    batches: Any, epochs: Any, steps: Any, early_stop: Any, checkpoint: Any, checkpoint_every: Any, resume: Any
) -> None:
    for name, value in (
        ("epochs", epochs),
        ("steps", steps),
        ("early_stop", early_stop),
        ("checkpoint_every", checkpoint_every),
    ):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ArgumentError(f"{name} must be a number, 1 or more, not {value!r}")
    if checkpoint is None and (resume is True or checkpoint_every):
        raise ArgumentError("resume=True and checkpoint_every need a file: checkpoint=")
    if isinstance(batches, Mapping) or not (callable(batches) or isinstance(batches, Iterable)):
        raise ArgumentError(
            "batches must be an iterable of dicts, or a function of the epoch that gives one; Batches(arrays, size) makes them"
        )
    if epochs > 1 and isinstance(batches, Iterator):
        raise ArgumentError(
            "an iterator ends with its first epoch: give a list of batches, or a function that gives them for an epoch"
        )


def _skipped(batches: Any, epoch: int, done: int) -> Iterator[Mapping[str, Any]]:
    """The batches of an epoch, without those that were learnt from."""
    rest = iter(batches(epoch) if callable(batches) else batches)
    for _ in range(done):
        next(rest, None)
    return rest


def _ahead(session: TrainingSession, batches: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Batches, each on the devices before the one in front of it is asked for: copies run while steps do."""
    waiting = None
    for number, batch in enumerate(batches):
        try:
            placed = session.place(batch)
        except ArgumentError as e:
            raise ArgumentError(f"batch {number + 1}: {e}") from e
        if waiting is not None:
            yield waiting
        waiting = placed
    if waiting is not None:
        yield waiting


def _evaluated(session: TrainingSession, evaluate: Any) -> dict[str, float]:
    if evaluate is None:
        return {}
    if callable(evaluate) and not hasattr(evaluate, "__iter__"):
        given = evaluate(session)
        if not isinstance(given, Mapping):
            return {"evaluation": float(given)}
        if "loss" not in given:
            raise ArgumentError(f"evaluate gives {', '.join(map(str, given))}, and no 'loss', which early stop goes by")
        return {"evaluation": float(given["loss"])} | {
            f"evaluation_{k}": float(v) for k, v in given.items() if k != "loss"
        }
    if isinstance(evaluate, Iterator):
        raise ArgumentError("evaluate is an iterator, which ends with the first epoch: give a list of batches")
    return {"evaluation": session.evaluate(evaluate)}


@contextlib.contextmanager
def _shown(progress: bool) -> Iterator[Callable[..., None]]:
    """What shows a step; nothing where stderr is no terminal."""
    if not progress:
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda *_: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None, loss="")

        def show(epoch: int, epochs: int, done: int, length: int | None, loss: Any) -> None:
            bar.update(task, description=f"epoch {epoch + 1}/{epochs}", completed=done, total=length)
            if loss.is_ready():
                bar.update(task, loss=f"loss {float(loss):.4f}")

        yield show
