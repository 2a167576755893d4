"""PyTorch's side of `benchmarks.training`: the four networks, their ONNX files, gradients and steps.

Runs under an interpreter that has torch, onnx and NumPy; graphopt need not be there.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.training_side import serve

Arrays = dict[str, np.ndarray]
#: Batches that training goes through again and again.
BATCHES = 8


# ------------------------------------------------------------------------------------------------------------- networks
def mlp(features: int, width: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, classes)
    )


def cnn(channels: int, classes: int) -> nn.Module:
    """Two strided stages with BatchNorm, a grouped convolution, max pooling and global pooling."""

    def block(before: int, after: int, stride: int, group: int = 1) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, 3, stride, 1, groups=group, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU()]

    c = channels
    return nn.Sequential(
        *block(3, c, 1), nn.MaxPool2d(2), *block(c, 2 * c, 2), *block(2 * c, 2 * c, 1, group=4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * c, classes),
    )  # fmt: skip


class Lstm(nn.Module):
    """A language model."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.rnn = nn.LSTM(width, width, 2, batch_first=True)
        self.out = nn.Linear(width, words)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(self.words(ids))[0]).transpose(1, 2)  # as losses take it: classes second


class Block(nn.Module):
    """A layer of a transformer, normalised before its two halves."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.before(x)).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        x = x + self.merge(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.between(x))))


class Transformer(nn.Module):
    """An encoder that classifies by the mean of its words."""

    def __init__(self, words: int, width: int, heads: int, length: int, classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Parameter(torch.randn(length, width) * 0.1)
        self.blocks = nn.Sequential(Block(width, heads), Block(width, heads))
        self.after, self.out = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.after(self.blocks(self.words(ids) + self.places)).mean(1))


def _by_projection(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> Iterator[Arrays]:
    """Numbers, and as their label the largest of some random projections."""
    directions = rng.standard_normal((int(np.prod(shape[1:])), classes))
    while True:
        x = rng.standard_normal(shape).astype(np.float32)
        yield {"x": x, "target": (x.reshape(len(x), -1) @ directions).argmax(1)}


def _sequences(rng: np.random.Generator, batch: int, length: int, words: int) -> Iterator[Arrays]:
    """Words that follow from the one before, and the next ones as targets."""
    while True:
        ids = [rng.integers(0, words, batch)]
        for _ in range(length):
            ids.append((5 * ids[-1] + 3) % words)
        yield {"x": np.stack(ids[:-1], 1), "target": np.stack(ids[1:], 1)}


def _first_words(rng: np.random.Generator, batch: int, length: int, words: int, classes: int) -> Iterator[Arrays]:
    """Words, and as their label the rest of the first one."""
    while True:
        ids = rng.integers(0, words, (batch, length))
        yield {"x": ids, "target": ids[:, 0] % classes}


#: A network and its batches, by name and size: 'tiny' is what the tests' fixture is recorded with.
NETWORKS: dict[str, dict[str, tuple[Callable[[], nn.Module], Callable[[np.random.Generator], Iterator[Arrays]]]]] = {
    "mlp": {
        "full": (lambda: mlp(64, 256, 10), lambda rng: _by_projection(rng, (64, 64), 10)),
        "tiny": (lambda: mlp(8, 16, 4), lambda rng: _by_projection(rng, (8, 8), 4)),
    },
    "cnn": {
        "full": (lambda: cnn(32, 10), lambda rng: _by_projection(rng, (16, 3, 32, 32), 10)),
        "tiny": (lambda: cnn(4, 4), lambda rng: _by_projection(rng, (8, 3, 8, 8), 4)),
    },
    "lstm": {
        "full": (lambda: Lstm(2000, 256), lambda rng: _sequences(rng, 8, 32, 2000)),
        "tiny": (lambda: Lstm(16, 8), lambda rng: _sequences(rng, 4, 5, 16)),
    },
    "transformer": {
        "full": (lambda: Transformer(2000, 256, 4, 64, 10), lambda rng: _first_words(rng, 8, 64, 2000, 10)),
        "tiny": (lambda: Transformer(16, 8, 2, 6, 4), lambda rng: _first_words(rng, 8, 6, 16, 4)),
    },
}
#: Learning rates at which losses fall steadily: no comparison survives the chaos of a rate that is too high.
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9),
    "adam": lambda weights: torch.optim.Adam(weights, lr=3e-4),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=3e-4, weight_decay=0.01),
}


def _as(batch: dict[str, torch.Tensor], double: bool) -> dict[str, torch.Tensor]:
    return {
        k: v.to(torch.float64 if double else torch.float32) if v.is_floating_point() else v for k, v in batch.items()
    }


# ---------------------------------------------------------------------------------------------------------------- the side
class Torch:
    """See `benchmarks.training`."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def about(self) -> str:
        return f"torch {torch.__version__}"

    def make(self, name: str, size: str, folder: str) -> list[str]:
        """Write model.onnx, in training form and with torch's names for weights, and batches.npz; the names."""
        torch.manual_seed(0)
        build, batches = NETWORKS[name][size]
        self._initial = build().train()
        with torch.no_grad():
            for weight in self._initial.parameters():  # a shift that is 0, a scale that is 1, would hide mistakes
                if weight.ndim == 1:
                    weight += torch.randn_like(weight) * 0.1
        drawn = batches(np.random.default_rng(0))
        arrays = [next(drawn) for _ in range(BATCHES)]
        np.savez(Path(folder, "batches.npz"), **{key: np.stack([a[key] for a in arrays]) for key in arrays[0]})
        self._batches = [{key: torch.from_numpy(value) for key, value in a.items()} for a in arrays]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                copy.deepcopy(self._initial), (self._batches[0]["x"],), str(Path(folder, "model.onnx")), dynamo=False,
                input_names=["x"], output_names=["scores"], opset_version=17, do_constant_folding=False,
                training=torch.onnx.TrainingMode.TRAINING,
            )  # fmt: skip
        model = onnx.load(Path(folder, "model.onnx"))
        buffers = dict(self._initial.named_buffers())
        for tensor in model.graph.initializer:  # running statistics have seen what the exporter traced with
            if tensor.name in buffers:
                tensor.CopyFrom(onnx.numpy_helper.from_array(buffers[tensor.name].numpy(), tensor.name))
        onnx.save(model, Path(folder, "model.onnx"))
        return [weight for weight, _ in self._initial.named_parameters()]

    def gradients(self, path: str, double: bool = False) -> None:
        """Write the gradients of the first batch's loss, by name. `double`: computed in float64."""
        network = copy.deepcopy(self._initial)
        batch = _as(self._batches[0], double)
        network = network.to(torch.float64 if double else torch.float32)
        loss = F.cross_entropy(network(batch["x"]), batch["target"])
        loss.backward()
        np.savez(path, **{name: weight.grad.numpy() for name, weight in network.named_parameters()})

    def begin(self, optimizer: str, double: bool = False) -> None:
        """Start again from the first weights. `double`: in float64."""
        self._network = copy.deepcopy(self._initial).to(torch.float64 if double else torch.float32)
        self._batches = [_as(batch, double) for batch in self._batches]
        self._optimizer = OPTIMIZERS[optimizer](self._network.parameters())
        self._number = 0

    def steps(self, count: int) -> dict[str, Any]:
        """Train; the losses, the seconds, and those of processors."""
        losses = []
        started, busy = time.perf_counter(), time.process_time()
        for _ in range(count):
            batch = self._batches[self._number % BATCHES]
            self._optimizer.zero_grad()
            loss = F.cross_entropy(self._network(batch["x"]), batch["target"])
            loss.backward()
            self._optimizer.step()
            self._number += 1
            losses.append(loss.detach())
        taken = {"seconds": time.perf_counter() - started, "busy": time.process_time() - busy}
        return {"losses": [loss.item() for loss in losses], **taken}

    def state(self, path: str) -> None:
        """Write weights and running statistics as they are now, by torch's names."""
        np.savez(path, **{name: value.numpy() for name, value in self._network.state_dict().items()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    serve(Torch(parser.parse_args().threads))
