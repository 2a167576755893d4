"""ONNX Runtime Training's losses, for `benchmarks.training`: python -m benchmarks.training_ort FOLDER STEPS

FOLDER has model.onnx and batches.npz. Runs under a Python of its own: onnxruntime-training 1.19.2 takes the place of
onnxruntime, and needs onnx 1.16.2, NumPy 1.26.4, and torch to import. AdamW without decay;
the losses go to stdout, as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.training import artifacts
from onnxruntime.training.api import CheckpointState, Module, Optimizer


def main(folder: Path, steps: int) -> None:
    model = onnx.load(folder / "model.onnx")
    with np.load(folder / "batches.npz") as arrays:
        x, target = arrays["x"], arrays["target"]
    with tempfile.TemporaryDirectory() as made:
        artifacts.generate_artifacts(
            model, [w.name for w in model.graph.initializer], loss=artifacts.LossType.CrossEntropyLoss,
            optimizer=artifacts.OptimType.AdamW, artifact_directory=made,
        )  # fmt: skip
        optimizing = onnx.load(f"{made}/optimizer_model.onnx")
        for node in optimizing.graph.node:
            for attribute in node.attribute:
                if attribute.name == "epsilon":  # 1e-6 otherwise, and no argument for it
                    attribute.f = 1e-8
        onnx.save(optimizing, f"{made}/optimizer_model.onnx")
        state = CheckpointState.load_checkpoint(f"{made}/checkpoint")
        module = Module(f"{made}/training_model.onnx", state)
        optimizer = Optimizer(f"{made}/optimizer_model.onnx", module)
        optimizer.set_learning_rate(3e-4)
        module.train()
        losses = []
        for i in range(steps):
            losses.append(float(module(x[i % len(x)], target[i % len(x)])))
            optimizer.step()
            module.lazy_reset_grad()
    print(json.dumps(losses))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
