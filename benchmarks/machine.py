"""The numbers of this machine that costs are computed with (`graphopt.cost.Machine`), measured under ONNX Runtime.

    python -m benchmarks.machine

One thread, one operator at a time at sizes that real models have, all optimizations on; the best of interleaved
rounds, in the thread's own time, since other programs only ever slow a run down. Prints a Machine to put into
graphopt/cost/machine.py.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import harness

#: Kind of work -> models in ONNX's text form, each with the amount of work in it and the dims of its input.
CASES: dict[str, list[tuple[str, float, tuple[int, ...]]]] = {
    "product": [
        ("y = MatMul(x, w)", 2.0 * 128 * 768 * 768, (128, 768)),
        ("y = MatMul(x, w)", 2.0 * 64 * 256 * 1024, (64, 256)),
    ],
    "convolution": [
        ("y = Conv<pads=[1,1,1,1]>(x, w)", 2.0 * 64 * 56 * 56 * 64 * 9, (1, 64, 56, 56)),
        ("y = Conv<pads=[0,0,0,0]>(x, w)", 2.0 * 256 * 28 * 28 * 128, (1, 128, 28, 28)),
    ],
    "depthwise": [("y = Conv<pads=[1,1,1,1], group=96>(x, w)", 2.0 * 96 * 56 * 56 * 9, (1, 96, 56, 56))],
    "recurrence": [("y, h = GRU<hidden_size=256>(x, w, r)", 2.0 * 64 * 6 * 256 * 256, (64, 1, 256))],
    "element": [("y = MaxPool<kernel_shape=[3,3], strides=[1,1]>(x)", 9.0 * 64 * 54 * 54, (1, 64, 56, 56))],
    "function": [(f"y = {f}(x)", 64.0 * 3136, (1, 64, 56, 56)) for f in ("Erf", "Sigmoid", "Exp", "Tanh")]
    + [("y = Softmax<axis=-1>(x)", 64.0 * 3136, (1, 64, 56, 56))],
    "reduction": [
        ("y = ReduceMean<keepdims=1>(x, axes)", 64.0 * 3136, (1, 64, 56, 56)),
        ("y = ReduceMax<keepdims=1>(x, axes)", 64.0 * 3136, (1, 64, 56, 56)),
    ],
    "move": [
        ("y = Transpose<perm=[0,2,1,3]>(x)", 64.0 * 3136, (1, 64, 56, 56)),
        ("y = Transpose<perm=[0,2,3,1]>(x)", 64.0 * 3136, (1, 64, 56, 56)),
        ('y = Resize<mode="nearest">(x, , scales)', 256.0 * 3136, (1, 64, 56, 56)),
    ],
}
_WEIGHTS = {
    "y = MatMul(x, w)": lambda x: (x[-1], 768 if x[-1] == 768 else 1024),
    "y = Conv<pads=[1,1,1,1]>(x, w)": lambda x: (64, 64, 3, 3),
    "y = Conv<pads=[0,0,0,0]>(x, w)": lambda x: (256, 128, 1, 1),
    "y = Conv<pads=[1,1,1,1], group=96>(x, w)": lambda x: (96, 1, 3, 3),
    "y, h = GRU<hidden_size=256>(x, w, r)": lambda x: (1, 768, 256),
}  # fmt: skip
#: Nodes of the chain whose nodes do next to nothing.
_CHAIN = 256
#: Seconds that are timed at once, at least.
_LEAST = 0.002


def _model(body: str, dims: Sequence[int]) -> Any:
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper, parser

    graph = f"agraph (float[{','.join(map(str, dims))}] x) => (float[N] y) {{ {body} }}"
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> {graph}')
    if body in _WEIGHTS:
        weights = (np.random.default_rng(0).standard_normal(_WEIGHTS[body](dims)) * 0.05).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
        model.graph.initializer.append(numpy_helper.from_array(weights, "r"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "axes"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    used = {name for node in model.graph.node for name in node.input}
    kept = [t for t in model.graph.initializer if t.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None))
    return model


def _run(body: str, dims: Sequence[int]) -> tuple[Callable[[], None], int]:
    """What is timed at once, and how many runs that is."""
    import numpy as np

    from graphopt.exec.executors import create

    session = create("onnxruntime", _model(body, dims).SerializeToString(), optimize=True)
    feeds = {"x": np.random.default_rng(0).standard_normal(dims).astype(np.float32)}
    started = time.perf_counter()
    for _ in range(3):
        session.run(feeds)
    times = max(1, round(_LEAST / (time.perf_counter() - started) * 3))

    def action() -> None:
        for _ in range(times):
            session.run(feeds)

    return action, times


def measure(rounds: int) -> dict[str, float]:
    """Seconds of a node, bytes per second, and the speed of every kind of work."""
    chain = " ".join(f"v{i} = Neg({'x' if not i else f'v{i - 1}'})" for i in range(_CHAIN)) + f" y = Neg(v{_CHAIN - 1})"
    small, large = (1 << 19,), (1 << 24,)
    actions = {
        "chain": _run(chain, (1,)),
        "one": _run("y = Neg(x)", (1,)),
        "bandwidth": _run("y = Add(x, x)", small),
        "memory": _run("y = Add(x, x)", large),
    }
    for kind, cases in CASES.items():
        actions |= {f"{kind} {i}": _run(body, dims) for i, (body, _, dims) in enumerate(cases)}
    seconds = dict.fromkeys(actions, math.inf)
    for _ in range(rounds):
        for name, (action, times) in actions.items():
            started = time.thread_time()
            action()
            seconds[name] = min(seconds[name], (time.thread_time() - started) / times)
    found = {"node": (seconds["chain"] - seconds["one"]) / _CHAIN}
    found["bandwidth"] = 2 * 4 * small[0] / (seconds["bandwidth"] - seconds["one"])
    found["memory"] = 2 * 4 * large[0] / seconds["memory"]
    for kind, cases in CASES.items():
        speeds = [amount / (seconds[f"{kind} {i}"] - seconds["one"]) for i, (_, amount, _) in enumerate(cases)]
        found[kind] = math.exp(sum(map(math.log, speeds)) / len(speeds))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="default: 30")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)
    found = measure(options.rounds)
    print("Machine(")
    for name in ("node", "bandwidth", "memory"):
        print(f"    {name}={found[name]:.2g},")
    print("    speed={")
    for kind in CASES:
        print(f'        "{kind}": {found[kind]:.2g},')
    print("    },\n)")
    harness.write_json(options.json, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
