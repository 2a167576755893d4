"""Executors on the cases of the ONNX backend suite: how many each passes, and what is wrong with the others.

    python -m benchmarks.conformance                             # graphopt's reference kernels
    python -m benchmarks.conformance --executor jax --filter 'node/test_conv'
    python -m benchmarks.conformance --executor onnxruntime

The 2036 cases ship inside the onnx package. A case passes where every output of every set of inputs has the dtype, the
shape and, within the case's tolerances, the values that the suite expects. It is refused where the executor says that it
lacks something (`UnsupportedError`). Exit code 1 where a case fails that is not listed in KNOWN with its reason; for
graphopt's own kernels a refusal is a failure too.
"""

from __future__ import annotations

import argparse
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx

from benchmarks import harness
from benchmarks.suite import Case, exported

_RANDOM = "draws random numbers; the expected ones come from another generator"
#: Cases that fail on graphopt's own kernels, and why.
KNOWN = {
    "node/test_bernoulli": _RANDOM,
    "node/test_bernoulli_double": _RANDOM,
    "node/test_bernoulli_double_expanded": _RANDOM,
    "node/test_bernoulli_expanded": _RANDOM,
    "node/test_bernoulli_seed": _RANDOM,
    "node/test_bernoulli_seed_expanded": _RANDOM,
}


def load(path: Path) -> Case:
    """A case from its file."""
    return Case(**pickle.loads(path.read_bytes()))


def failure(case: Case, create: Callable[[bytes], Any]) -> str | None:
    """Why a case fails on what `create` makes of its model; None where it passes."""
    model = onnx.load_model_from_string(case.model)
    defaults = {t.name for t in model.graph.initializer}
    every = [v.name for v in model.graph.input]
    free = [name for name in every if name not in defaults]
    try:
        executor = create(case.model)
        for inputs, expected in case.sets:
            feeds = dict(zip(free if len(free) == len(inputs) else every, inputs, strict=False))
            got = list(executor.run(feeds).values())
            if reason := harness.mismatch(expected, got, case.rtol, case.atol):
                return reason
    except Exception as error:
        return harness.describe(error)
    return None


def failures(create: Callable[[bytes], Any], pattern: str = "") -> Iterator[tuple[str, str | None]]:
    """Every case whose id matches, with why it fails or None."""
    for name, path in exported().items():
        if re.search(pattern, name):
            yield name, failure(load(path), create)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--executor", default="reference", help="a name that graphopt.verify knows (default: reference)"
    )
    parser.add_argument("--filter", default="", help="regular expression; ids look like node/test_add_bcast")
    parser.add_argument("--json", help="write what failed, and why, to this file")
    options = parser.parse_args()
    from graphopt.exec.executors import create, known, waiting

    known([options.executor])
    kept = waiting(options.executor)

    def loaded(model: bytes) -> Any:
        if kept is None:
            return create(options.executor, model)
        kept.load(model)
        return kept

    found = {}
    for name, reason in failures(loaded, options.filter):
        harness.progress(name)
        found[name] = reason
    failed = {name: reason for name, reason in found.items() if reason is not None}
    lacks = not options.executor.startswith(("reference", "jax"))
    refused = {name for name, reason in failed.items() if lacks and reason.startswith("UnsupportedError")}
    wrong = failed.keys() - refused
    for name, reason in failed.items():
        print(f"{name}: {'refused: ' if name in refused else ''}{KNOWN.get(name, reason)}")
    text = f"{options.executor}: {len(found) - len(failed)} of {len(found)} cases pass"
    print(f"{text}, {len(refused)} are refused, {len(wrong)} wrong" if lacks else text)
    harness.write_json(options.json, failed)
    return int(bool(wrong - KNOWN.keys()))


if __name__ == "__main__":
    sys.exit(main())
