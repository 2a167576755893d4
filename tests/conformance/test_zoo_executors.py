"""Real models on the executors: the kernels agree with ONNX Runtime, and the reference keeps to its memory.

One model of each architecture; all of them with GRAPHOPT_FULL=1, or `python -m benchmarks.executors`.
"""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.executors import Runs
from graphopt.exec.executors import create, installed

pytestmark = [pytest.mark.zoo, pytest.mark.slow]

SOME = (
    "ppocr4-det magika silero-vad slovorez-cnn attacut-sc lac-bigru tashkeel-bilstm-int8 bert-2l.ts gpt2-2l-kv.dyn llama-2l.raw t5-enc-2l.ts "
    "vit-3l-fp16 mobilenetv2-qdq-u8 mobilenetv2.dyn convbn-net.ts einsum-junk.ts moe-topk.dyn scripted-loop.ts cond.dyn lstm-lm.ts "
    "shape-junk.ts redundant.raw skl-knn skl-random-forest skl-union-poly-svc bert-2l-extdata"
).split()
#: Those that compile in a few seconds.
COMPILED = (
    "silero-vad lac-bigru bert-2l.ts moe-topk.dyn scripted-loop.ts cond.dyn skl-union-poly-svc shape-junk.ts".split()
)
FULL = bool(os.environ.get("GRAPHOPT_FULL"))


def ids(wanted: list[str]) -> list[str]:
    """The models to run; one that says why there are none, where the zoo is not there."""
    manifest = Path(os.environ.get("GRAPHOPT_ZOO") or "~/.cache/graphopt-zoo").expanduser() / "manifest.json"
    entries = json.loads(manifest.read_text()) if manifest.is_file() else []
    there = [entry["id"] for entry in entries if entry["status"] == "ok" and entry["id"] != "big-mlp-2.4gb"]
    return [name for name in there if FULL or name in wanted] or ["ppocr4-det"]


def tolerance(entry: dict[str, object]) -> float:
    """By the dtype that a model computes in; another order of sums flips steps of a quantised one."""
    coarse = {"qdq": 0.1, "int8": 2e-2, "fp16": 1e-2, "slovorez": 1e-2}
    return next((value for part, value in coarse.items() if part in str(entry["id"])), 1e-4)


def difference(zoo: ModuleType, folder: Path, model_id: str, executor: str, alt: bool = False) -> float:
    (entry,) = zoo.models(folder, only=[model_id])
    feeds = zoo.make_inputs(entry, seed=1, alt=alt)
    want, got = (list(create(name, entry["path"]).run(feeds).values()) for name in ("onnxruntime", executor))
    return float(zoo.difference(want, got)) / tolerance(entry)


@pytest.mark.skipif("onnxruntime" not in installed(), reason="onnxruntime is not installed")
@pytest.mark.parametrize("model_id", ids(SOME))
def test_reference_agrees(model_id: str, zoo: ModuleType, zoo_dir: Path) -> None:
    assert difference(zoo, zoo_dir, model_id, "reference") <= 1


@pytest.mark.skipif(not {"onnxruntime", "jax"} <= set(installed()), reason="jax or onnxruntime is not installed")
@pytest.mark.parametrize("model_id", ids(COMPILED))
def test_jax_agrees(model_id: str, zoo: ModuleType, zoo_dir: Path) -> None:
    assert difference(zoo, zoo_dir, model_id, "jax") <= 1


@pytest.mark.parametrize(
    "model_id", ids(["ppocr4-det", "bert-2l.ts", "mobilenetv2.dyn", "t5-enc-2l.ts", "llama-2l.raw"])
)
def test_memory(model_id: str, zoo: ModuleType, zoo_dir: Path) -> None:
    """A run allocates at most twice the tensors that are live at once, and what is too small to matter."""
    (entry,) = zoo.models(zoo_dir, only=[model_id])
    gc.collect()
    peak, live = Runs(entry).memory()
    assert peak <= 2 * live + (1 << 20)
