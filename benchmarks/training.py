"""Training beside PyTorch: gradients, losses and steps per second of four networks.

    python -m benchmarks.training --torch-python PYTHON
    python -m benchmarks.training --torch-python PYTHON --only lstm --threads 2 --json training.json
    python -m benchmarks.training --torch-python PYTHON --ort-training PYTHON
    python -m benchmarks.training --torch-python PYTHON --record

An MLP, a CNN with BatchNorm and a grouped convolution, an LSTM as a language model, a transformer: written in PyTorch, exported
to ONNX in training form, and trained by both from the same weights with the same batches. PYTHON has torch (and onnx and
NumPy); graphopt runs in this one. Each side is a process of its own.

gradients   the largest difference of an entry, relative to the largest entry of the gradient of the same weight; beside
            it how far torch's gradients in float32 lie from its own in float64
losses      the largest difference over 150 steps, for SGD with momentum, Adam and AdamW, relative to the first loss; beside it
            how far torch's own losses in float64 lie from its losses: rounding grows from step to step
speed       steps per second over torch's, eager, with SGD and AdamW: the sides take turns, and the median of the ratios
            counts; compiling does not. With one thread each side stays on one core and the time of
            processors counts, not that of clocks, so that other work on the machine disturbs less

--ort-training adds the losses of ONNX Runtime Training 1.19.2 on the MLP, with AdamW without decay, under a Python that
has it (with torch, onnx 1.16.2, NumPy 1.26.4). --record writes small versions of the networks with torch's gradients and
losses to tests/exec/training/torch, for tests that need no torch. Exit code 1 where gradients differ by more than 1e-5,
losses by more than 1e-3, or the geometric mean of the ratios is below 1.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training_side import Side, SideError

NETWORKS = ("mlp", "cnn", "lstm", "transformer")
OPTIMIZERS = ("sgd", "adam", "adamw")
#: What speed is measured with.
TIMED = ("sgd", "adamw")
STEPS = 150
#: What is asked for.
GRADIENTS, LOSSES, SPEED = 1e-5, 1e-3, 1.0
#: Steps whose time does not count.
_WARM_UP = 3
_RECORDED = Path(__file__).parent.parent / "tests" / "exec" / "training" / "torch"
_RECORDED_STEPS = 20


def gradient_difference(want: Mapping[str, Any], got: Mapping[str, Any]) -> tuple[float, str]:
    """The largest difference over the largest entry of the same weight's gradient, and which weight that is.

    Raises:
        SideError: there are gradients of other weights.
    """
    if lacking := sorted(want.keys() ^ got.keys()):
        raise SideError(f"only one side has a gradient of {', '.join(lacking)}")
    return max((float(np.abs(got[n] - want[n]).max() / np.abs(want[n]).max()), n) for n in want)


def compare_gradients(torch: Side, own: Side, folder: Path) -> dict[str, Any]:
    paths = [folder / f"{name}.npz" for name in ("torch", "double", "own")]
    torch.ask("gradients", path=str(paths[0]))
    torch.ask("gradients", path=str(paths[1]), double=True)
    own.ask("gradients", path=str(paths[2]))
    single, double, ours = ({**np.load(path)} for path in paths)
    difference, weight = gradient_difference(single, ours)
    return {
        "difference": difference,
        "weight": weight,
        "torch_from_double": gradient_difference(double, single)[0],
        "own_from_double": gradient_difference(double, ours)[0],
    }


def compare_losses(torch: Side, own: Side, optimizer: str) -> dict[str, Any]:
    """The largest differences of both sides' losses, and of torch's from those in float64, over the first loss."""
    curves = {}
    for name, side, how in (("torch", torch, {}), ("own", own, {}), ("double", torch, {"double": True})):
        side.ask("begin", optimizer=optimizer, **how)
        curves[name] = side.ask("steps", count=STEPS)["losses"]
    return {
        "difference": apart(curves["torch"], curves["own"]),
        "torch_from_double": apart(curves["double"], curves["torch"]),
        "own_from_double": apart(curves["double"], curves["own"]),
        "curves": curves,
    }


def apart(want: Sequence[float], got: Sequence[float]) -> float:
    return float(np.abs(np.subtract(want, got)).max()) / want[0]


def compare_speed(sides: Sequence[Side], optimizer: str, seconds: float, rounds: int, clock: str) -> dict[str, float]:
    """The median ratio of steps per second, own over torch's; milliseconds a step, torch's and ours."""
    counts = []
    for side in sides:
        side.ask("begin", optimizer=optimizer)
        side.ask("steps", count=_WARM_UP)
        one = side.ask("steps", count=_WARM_UP)[clock] / _WARM_UP
        counts.append(max(1, round(seconds / rounds / one)))
    taken: list[list[float]] = [[], []]
    for turn in range(rounds):
        for i in (0, 1) if turn % 2 else (1, 0):
            taken[i].append(sides[i].ask("steps", count=counts[i])[clock] / counts[i])
    ratio = statistics.median(t / o for t, o in zip(*taken, strict=True))
    return {"ratio": ratio, "torch_ms": statistics.median(taken[0]) * 1e3, "own_ms": statistics.median(taken[1]) * 1e3}


def measure(options: argparse.Namespace, name: str, threads: int, folder: Path) -> dict[str, Any]:
    """All figures of a network; gradients and losses with one thread only."""
    found: dict[str, Any] = {"network": name, "threads": threads}
    given = ["--provider", options.provider] if options.provider else []
    with (
        Side(options.torch_python, "training_torch", threads) as torch,
        Side(sys.executable, "training_graphopt", threads, *given) as own,
    ):
        found["sides"] = [torch.ask("about"), own.ask("about")]
        torch.ask("make", name=name, size="full", folder=str(folder))
        own.ask("make", folder=str(folder))
        if threads == 1:
            found["gradients"] = compare_gradients(torch, own, folder)
            found["losses"] = {o: compare_losses(torch, own, o) for o in OPTIMIZERS}
        clock = "busy" if threads == 1 else "seconds"
        found["speed"] = {o: compare_speed((torch, own), o, options.seconds, options.rounds, clock) for o in TIMED}
        if options.ort_training and name == "mlp" and threads == 1:
            own.ask("begin", optimizer="adam")
            losses = own.ask("steps", count=STEPS)["losses"]
            found["ort_training"] = compare_with_ort(options.ort_training, folder, losses)
    return found


def compare_with_ort(python: str, folder: Path, own: Sequence[float]) -> float:
    """How far the losses of ONNX Runtime Training lie from ours, over the first loss."""
    command = [python, "-m", "benchmarks.training_ort", str(folder), str(STEPS)]
    ran = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    if ran.returncode:
        raise SideError(f"ONNX Runtime Training failed: {(ran.stderr or ran.stdout).strip().splitlines()[-1]}")
    losses = json.loads(ran.stdout.splitlines()[-1])
    return apart(losses, own)


def show(found: Mapping[str, Any]) -> None:
    print(f"{found['network']}, {found['threads']} thread(s)")
    if g := found.get("gradients"):
        print(
            f"  gradients: {g['difference']:.1e} ({g['weight']}); from float64: torch {g['torch_from_double']:.1e}, "
            f"graphopt {g['own_from_double']:.1e}"
        )
    if losses := found.get("losses"):
        print(
            f"  losses over {STEPS} steps: "
            + "; ".join(
                f"{o} {d['difference']:.1e} (from float64: {d['torch_from_double']:.1e} and {d['own_from_double']:.1e})"
                for o, d in losses.items()
            )
        )
    for o, s in found["speed"].items():
        print(f"  {o}: {s['ratio']:.2f} times as fast ({s['torch_ms']:.2f} and {s['own_ms']:.2f} ms a step)")
    if "ort_training" in found:
        print(f"  losses beside ONNX Runtime Training: {found['ort_training']:.1e}")
    sys.stdout.flush()


def record(python: str) -> None:
    """Write the tests' fixture."""
    _RECORDED.mkdir(parents=True, exist_ok=True)
    with Side(python, "training_torch", 1) as torch, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in NETWORKS:
            torch.ask("make", name=name, size="tiny", folder=str(folder))
            arrays = {f"batch/{k}": v for k, v in np.load(folder / "batches.npz").items()}
            torch.ask("gradients", path=str(folder / "gradients.npz"))
            arrays |= {f"gradient/{k}": v for k, v in np.load(folder / "gradients.npz").items()}
            for optimizer in OPTIMIZERS:
                torch.ask("begin", optimizer=optimizer)
                arrays[f"losses/{optimizer}"] = np.array(torch.ask("steps", count=_RECORDED_STEPS)["losses"])
                if (
                    optimizer == "sgd"
                ):  # Adam makes steps of the noise where a gradient is nothing else, as that of keys' shifts
                    torch.ask("state", path=str(folder / "state.npz"))
                    arrays |= {f"state/{k}": v for k, v in np.load(folder / "state.npz").items()}
            np.savez_compressed(_RECORDED / f"{name}.npz", **arrays)
            (_RECORDED / f"{name}.onnx").write_bytes((folder / "model.onnx").read_bytes())
            print(f"{name}: {torch.ask('about')}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter with torch; default: this one")
    parser.add_argument("--ort-training", metavar="PYTHON", help="an interpreter with onnxruntime-training")
    parser.add_argument("--only", help="networks, with commas between")
    parser.add_argument("--threads", default="1", help="1 (default), 2, or both: 1,2")
    parser.add_argument("--provider", help="jax (default) or cuda")
    parser.add_argument("--seconds", type=float, default=10.0, help="of training for each speed, and side")
    parser.add_argument("--rounds", type=int, default=9, help="turns that the sides take")
    parser.add_argument("--json", type=Path, help="keep the figures")
    parser.add_argument("--record", action="store_true", help="write the tests' fixture instead")
    options = parser.parse_args()
    known = subprocess.run([options.torch_python, "-c", "import torch, onnx"], capture_output=True, text=True)
    if known.returncode:
        parser.error(
            f"{options.torch_python} has no torch and onnx: install them there, or name another with --torch-python"
        )
    if options.record:
        record(options.torch_python)
        return 0
    names = options.only.split(",") if options.only else NETWORKS
    if unknown := set(names) - set(NETWORKS):
        parser.error(f"--only: no network is called {sorted(unknown)[0]}; there are {', '.join(NETWORKS)}")
    results = []
    fine = True
    for threads in map(int, options.threads.split(",")):
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                results.append(measure(options, name, threads, Path(folder)))
            show(results[-1])
        ratios = [s["ratio"] for r in results if r["threads"] == threads for s in r["speed"].values()]
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"{threads} thread(s): {mean:.2f} times as fast as torch, geometric mean of {len(ratios)}")
        fine &= mean >= SPEED
    for r in results:
        fine &= r.get("gradients", {"difference": 0})["difference"] <= GRADIENTS
        fine &= (
            all(d["difference"] <= LOSSES for d in r.get("losses", {}).values()) and r.get("ort_training", 0) <= LOSSES
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0 if fine else 1


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except SideError as e:
        raise SystemExit(f"error: {e}") from e
