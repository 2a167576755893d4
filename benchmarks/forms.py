"""Forms of one computation under ONNX Runtime's CPU kernels: why patterns/onnxruntime_cpu writes what it writes.

    python -m benchmarks.forms

For each rule a model of its left side and what the rule makes of it, one thread, all of ONNX Runtime's optimizations on, in
turns; medians, in nanoseconds for each element of the input.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from onnx import ModelProto, parser

from graphopt.ir import load
from graphopt.patterns import all_rules
from graphopt.rewrite import Driver, Ledger, Rewriter, RuleSet
from graphopt.shapes import infer_model

_SLOPES = f"float[32,1,1] s = {{{', '.join('0.2' for _ in range(32))}}}"
_WEIGHTS = f"float[256] s = {{{', '.join('1' for _ in range(256))}}}"
#: By rule: a graph with an input x, and perhaps k, in ONNX's text form.
CASES = {
    "sum_before_normalization": f"g (float[128,256] x, float[128,256] k) => (float[128,256] y) <{_WEIGHTS}> "
    "{ a = Add(x, k) y = LayerNormalization(a, s) }",
    "local_response_in_a_convolution": "g (float[1,32,56,56] x) => (float[1,32,56,56] y) { y = LRN<size = 5, beta = 0.75>(x) }",
    "mish_in_exponentials": "g (float[1,32,56,56] x) => (float[1,32,56,56] y) { y = Mish(x) }",
    "softmax_before_one_axis": "g (float[1,32,56,56] x) => (float[1,32,56,56] y) { y = Softmax<axis = 1>(x) }",
    "prelu_as_maximum": f"g (float[1,32,56,56] x) => (float[1,32,56,56] y) <{_SLOPES}> {{ y = PRelu(x, s) }}",
    "mean_of_rows": "g (float[1,128,768] x) => (float[1,1,768] y) <int64[1] a = {1}> { y = ReduceMean(x, a) }",
    "sum_of_squares": "g (float[1,128,768] x) => (float[1,128,1] y) <int64[1] a = {-1}> { y = ReduceL2(x, a) }",
}


def main() -> int:
    parser_ = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser_.add_argument("--rounds", type=int, default=50)
    rounds = parser_.parse_args().rounds
    print(f"{'rule':34s} {'before':>8s} {'after':>8s}  ns for each element")
    for name, text in CASES.items():
        original = parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]>\n{text}')
        before, after = _times([original, _rewritten(original, name)], rounds)
        print(f"{name:34s} {before:8.2f} {after:8.2f}")
    return 0


def _rewritten(original: ModelProto, name: str) -> ModelProto:
    m = load(original)
    infer_model(m)
    if not Driver(Rewriter(m, Ledger()), RuleSet([all_rules()[name]])).run():
        raise SystemExit(f"{name} does not fire")
    return m.proto


def _times(models: list[ModelProto], rounds: int) -> list[float]:
    """Nanoseconds for each element of x, the median of some rounds in turns."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    sessions = [
        ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"]) for m in models
    ]
    rng = np.random.default_rng(0)
    feeds = {i.name: rng.normal(size=i.shape).astype(np.float32) for i in sessions[0].get_inputs()}
    seconds: list[list[float]] = [[] for _ in sessions]
    for k in range(rounds + 3):
        for session, times in zip(sessions, seconds, strict=True):
            started = time.perf_counter()
            session.run(None, feeds)
            if k >= 3:
                times.append(time.perf_counter() - started)
    return [statistics.median(times) * 1e9 / feeds["x"].size for times in seconds]


if __name__ == "__main__":
    raise SystemExit(main())
