"""JAX as a provider beside PyTorch, on one GPU: the same modules, batch by batch.

    python -m benchmarks.gpu [--json FILE] [--only resnet50,bert-base]

ResNet-50, BERT-base, a detector laid out like YOLOv8n and a diffusion U-Net's blocks, with random weights; each is
exported to ONNX by torch.onnx and run by `graphopt.exec.InferenceSession(providers=["cuda"])`, with inputs and
outputs staying on the device. Beside it the same module in PyTorch, eager and through torch.compile (default mode,
and "max-autotune-no-cudagraphs" where --autotune is given). Medians of interleaved runs, each waited for. Precision:
float32 products ("highest") on both sides, then TensorFloat-32 on both, then float16 weights and inputs. Needs torch,
torchvision, transformers, onnxscript and jax[cuda]; without a GPU it runs on the CPU, and says so.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness

PRECISIONS = ("float32", "tf32", "float16")


# -------------------------------------------------------------------------------------------------------------- modules
def resnet50() -> tuple[Any, tuple[Any, ...]]:
    """torchvision's, one picture of 224x224."""
    import torch
    import torchvision

    return torchvision.models.resnet50(weights=None), (torch.randn(1, 3, 224, 224),)


def bert_base() -> tuple[Any, tuple[Any, ...]]:
    """12 layers of 768, a sentence of 128 tokens."""
    import torch
    from transformers import BertConfig, BertModel

    class Bert(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel(BertConfig(), add_pooling_layer=False)

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.bert(input_ids=ids, attention_mask=mask).last_hidden_state

    return Bert(), (torch.randint(0, 30000, (1, 128)), torch.ones(1, 128, dtype=torch.int64))


def detector() -> tuple[Any, tuple[Any, ...]]:
    """Stem, cross-stage blocks, pyramid pooling and three heads at the widths of YOLOv8n; 640x640."""
    import torch
    from torch import nn

    def unit(i: int, o: int, k: int = 1, s: int = 1) -> nn.Module:
        return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o), nn.SiLU())

    class Cross(nn.Module):
        def __init__(self, i: int, o: int, n: int) -> None:
            super().__init__()
            half = o // 2
            self.first, self.last = unit(i, o), unit(half * (2 + n), o)
            self.chain = nn.ModuleList(nn.Sequential(unit(half, half, 3), unit(half, half, 3)) for _ in range(n))

        def forward(self, x: Any) -> Any:
            parts = list(self.first(x).chunk(2, 1))
            for block in self.chain:
                parts.append(block(parts[-1]) + parts[-1])
            return self.last(torch.cat(parts, 1))

    class Pyramid(nn.Module):
        def __init__(self, c: int) -> None:
            super().__init__()
            self.first, self.last, self.pool = unit(c, c // 2), unit(2 * c, c), nn.MaxPool2d(5, 1, 2)

        def forward(self, x: Any) -> Any:
            parts = [self.first(x)]
            for _ in range(3):
                parts.append(self.pool(parts[-1]))
            return self.last(torch.cat(parts, 1))

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low = nn.Sequential(
                unit(3, 16, 3, 2), unit(16, 32, 3, 2), Cross(32, 32, 1), unit(32, 64, 3, 2), Cross(64, 64, 2)
            )
            self.mid = nn.Sequential(unit(64, 128, 3, 2), Cross(128, 128, 2))
            self.high = nn.Sequential(unit(128, 256, 3, 2), Cross(256, 256, 1), Pyramid(256))
            self.up = nn.Upsample(scale_factor=2.0)
            self.join_mid, self.join_low = Cross(384, 128, 1), Cross(192, 64, 1)
            self.heads = nn.ModuleList(
                nn.Sequential(unit(c, 64, 3), unit(64, 64, 3), nn.Conv2d(64, 144, 1)) for c in (64, 128, 256)
            )

        def forward(self, x: Any) -> Any:
            low = self.low(x)
            mid = self.mid(low)
            high = self.high(mid)
            mid = self.join_mid(torch.cat((self.up(high), mid), 1))
            low = self.join_low(torch.cat((self.up(mid), low), 1))
            rows = [head(f).flatten(2) for head, f in zip(self.heads, (low, mid, high))]
            boxes, classes = torch.cat(rows, 2).split((64, 80), 1)
            shares = boxes.reshape(1, 4, 16, -1).softmax(2) * torch.arange(
                16.0, device=x.device, dtype=x.dtype
            ).reshape(1, 1, 16, 1)
            return torch.cat((shares.sum(2), classes.sigmoid()), 1)

    return Detector(), (torch.randn(1, 3, 640, 640),)


def unet() -> tuple[Any, tuple[Any, ...]]:
    """Residual blocks with group normalisation and attention over pixels, down and up again; 4x64x64 latents."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Residual(nn.Module):
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.a = nn.Sequential(nn.GroupNorm(32, i), nn.SiLU(), nn.Conv2d(i, o, 3, padding=1))
            self.b = nn.Sequential(nn.GroupNorm(32, o), nn.SiLU(), nn.Conv2d(o, o, 3, padding=1))
            self.skip = nn.Conv2d(i, o, 1) if i != o else nn.Identity()

        def forward(self, x: Any) -> Any:
            return self.skip(x) + self.b(self.a(x))

    class Pixels(nn.Module):
        def __init__(self, c: int, heads: int = 8) -> None:
            super().__init__()
            self.heads, self.norm = heads, nn.GroupNorm(32, c)
            self.into, self.out = nn.Linear(c, 3 * c), nn.Linear(c, c)

        def forward(self, x: Any) -> Any:
            n, c, h, w = x.shape
            rows = self.norm(x).flatten(2).transpose(1, 2)
            q, k, v = self.into(rows).reshape(n, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
            y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
            return x + self.out(y).transpose(1, 2).reshape(n, c, h, w)

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(4, 320, 3, padding=1)
            self.down1 = nn.Sequential(Residual(320, 320), Residual(320, 320))
            self.down2 = nn.Sequential(nn.Conv2d(320, 320, 3, 2, 1), Residual(320, 640), Pixels(640))
            self.middle = nn.Sequential(
                nn.Conv2d(640, 640, 3, 2, 1), Residual(640, 1280), Pixels(1280), Residual(1280, 640)
            )
            self.up = nn.Upsample(scale_factor=2.0)
            self.up2 = nn.Sequential(Residual(1280, 640), Pixels(640), Residual(640, 320))
            self.up1 = nn.Sequential(
                Residual(640, 320), nn.GroupNorm(32, 320), nn.SiLU(), nn.Conv2d(320, 4, 3, padding=1)
            )

        def forward(self, x: Any) -> Any:
            a = self.down1(self.stem(x))
            b = self.down2(a)
            c = self.middle(b)
            c = self.up2(torch.cat((self.up(c), b), 1))
            return self.up1(torch.cat((self.up(c), a), 1))

    return UNet(), (torch.randn(1, 4, 64, 64),)


MODULES: dict[str, Callable[[], tuple[Any, tuple[Any, ...]]]] = {
    "resnet50": resnet50,
    "bert-base": bert_base,
    "yolov8n-like": detector,
    "unet-like": unet,
}


# ------------------------------------------------------------------------------------------------------------ measuring
def measure(name: str, precision: str, rounds: int, autotune: bool) -> dict[str, Any]:
    """One module in one precision: milliseconds by how it runs, load seconds, and the distance of the outputs."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    module, inputs = MODULES[name]()
    module.eval()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if precision == "float16":
        module = module.half()
        inputs = tuple(x.half() if x.is_floating_point() else x for x in inputs)
    result: dict[str, Any] = {"module": name, "precision": precision, "device": device, "load": {}, "failed": {}}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder, "model.onnx")
        started = time.perf_counter()
        torch.onnx.export(module, inputs, str(path), dynamo=False, opset_version=18, do_constant_folding=True)
        result["load"]["export"] = time.perf_counter() - started
        module, inputs = module.to(device), tuple(x.to(device) for x in inputs)
        want = module(*inputs).float().cpu().numpy()
        calls: dict[str, Callable[[], Any]] = {}

        def add(label: str, make: Callable[[], tuple[Callable[[], Any], Any]]) -> None:
            began = time.perf_counter()
            try:
                call, first = make()
            except Exception as error:
                result["failed"][label] = harness.describe(error)
                return
            result["load"][label] = time.perf_counter() - began
            result.setdefault("difference", {})[label] = harness.distance([want], [first])
            calls[label] = call

        add("torch eager", lambda: _torch(module, inputs, device))
        add("torch.compile", lambda: _torch(torch.compile(module), inputs, device))
        if autotune:
            tuned = torch.compile(module, mode="max-autotune-no-cudagraphs")
            add("torch.compile autotuned", lambda: _torch(tuned, inputs, device))
        add("graphopt jax", lambda: _graphopt(path, inputs, device, precision))
        taken = harness.interleave(calls, rounds)
    result["ms"] = {label: statistics.median(values) * 1e3 for label, values in taken.items()}
    return result


def _torch(module: Any, inputs: tuple[Any, ...], device: str) -> tuple[Callable[[], Any], Any]:
    import torch

    def call() -> Any:
        y = module(*inputs)
        if device == "cuda":
            torch.cuda.synchronize()
        return y

    call()
    return call, call().float().cpu().numpy()


def _graphopt(path: Path, inputs: tuple[Any, ...], device: str, precision: str) -> tuple[Callable[[], Any], Any]:
    import graphopt.exec as ort

    options = {"precision": "tensorfloat32" if precision == "tf32" else "highest", "device": device}
    session = ort.InferenceSession(str(path), providers=[("JaxExecutionProvider", options)])
    feeds = {
        arg.name: ort.OrtValue.ortvalue_from_numpy(x.cpu().numpy(), device, 0)
        for arg, x in zip(session.get_inputs(), inputs, strict=True)
    }

    def call() -> Any:
        y = session.run_with_ort_values(None, feeds)[0].value
        return y.block_until_ready() if hasattr(y, "block_until_ready") else y

    call()
    return call, np.asarray(call()).astype(np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(MODULES), help=f"of {','.join(MODULES)}")
    parser.add_argument("--precisions", default=",".join(PRECISIONS), help=f"of {','.join(PRECISIONS)}")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--autotune", action="store_true", help="compile with autotuning too, which takes minutes")
    parser.add_argument("--json", help="write everything to this file")
    options = parser.parse_args()
    results = []
    for name in options.only.split(","):
        for precision in options.precisions.split(","):
            harness.progress(f"{name} {precision}")
            results.append(measure(name, precision, options.rounds, options.autotune))
            harness.write_json(options.json, results)  # what was measured stays, whatever happens to the next one
    labels = list(dict.fromkeys(label for r in results for label in r["ms"]))
    rows = [
        [f"{r['module']} {r['precision']}", *(r["ms"].get(label, float("nan")) for label in labels),
         f"{r.get('difference', {}).get('graphopt jax', float('nan')):.0e}"]
        for r in results
    ]  # fmt: skip
    harness.print_table([f"ms on {results[0]['device']}", *labels, "difference"], rows)
    for r in results:
        print(f"{r['module']} {r['precision']}: seconds to load: { ({k: round(v, 1) for k, v in r['load'].items()}) }")
        for label, why in r["failed"].items():
            print(f"failed: {r['module']} {r['precision']}: {label}: {why}")
    return int(any(r["failed"] for r in results))


if __name__ == "__main__":
    sys.exit(main())
