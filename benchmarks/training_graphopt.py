"""graphopt's side of `benchmarks.training`: the same networks, read from their ONNX files."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training_side import serve

#: As PyTorch's side has them, in optax's words.
OPTIMIZERS: dict[str, tuple[str, float, dict[str, float]]] = {
    "sgd": ("sgd", 0.01, {"momentum": 0.9}),
    "adam": ("adam", 3e-4, {}),
    "adamw": ("adamw", 3e-4, {"weight_decay": 0.01}),
}


class Graphopt:
    """See `benchmarks.training`."""

    def __init__(self, providers: list[str] | None) -> None:
        self._providers = providers

    def about(self) -> str:
        import jax

        import graphopt

        return f"graphopt {graphopt.__version__} on jax {jax.__version__}, {jax.devices()[0].platform}"

    def make(self, folder: str) -> list[str]:
        """Read model.onnx and batches.npz; the names of weights."""
        self._model = str(Path(folder, "model.onnx"))
        with np.load(Path(folder, "batches.npz")) as arrays:
            whole = dict(arrays)
        count = len(whole["x"])
        self._batches = [{name: array[i] for name, array in whole.items()} for i in range(count)]
        self.begin("sgd")
        return [p.name for p in self._session.parameters]

    def gradients(self, path: str) -> None:
        """Write the gradients of the first batch's loss, by name."""
        np.savez(path, **self._session.gradients(self._batches[0]))

    def begin(self, optimizer: str) -> None:
        """Start again from the first weights."""
        from graphopt.exec.training import TrainingSession

        name, rate, options = OPTIMIZERS[optimizer]
        self._session = TrainingSession(
            self._model, "cross_entropy", name, learning_rate=rate, optimizer_options=options, providers=self._providers
        )

    def steps(self, count: int) -> dict[str, Any]:
        """Train; the losses, the seconds, and those of processors."""
        number = self._session.steps
        started, busy = time.perf_counter(), time.process_time()
        losses = [self._session.step(self._batches[i % len(self._batches)]) for i in range(number, number + count)]
        self._session.settle()
        taken = {"seconds": time.perf_counter() - started, "busy": time.process_time() - busy}
        return {"losses": [float(loss) for loss in losses], **taken}

    def state(self, path: str) -> None:
        """Write weights and running statistics as they are now."""
        np.savez(path, **self._session.weights, **self._session.statistics)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1, help="the environment has said so already")
    parser.add_argument("--provider")
    provider = parser.parse_args().provider
    serve(Graphopt([provider] if provider else None))
