"""What `import graphopt` costs on top of `import onnx`, and what naming `graphopt.optimize` adds, in fresh processes.

    python -m benchmarks.import_time
    python -m benchmarks.import_time --top 15
    python -m benchmarks.import_time --after 'import onnxruntime'

The programs take turns; the figures are differences of medians. onnx comes first in all of them, so what NumPy and
protobuf cost does not count. "loads" names the large libraries that come along; --top lists the modules that take
longest by themselves.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import harness

BASE = "import onnx"
STEPS = ("import graphopt", "graphopt.optimize")
LARGE = ("hypothesis", "jax", "matplotlib", "onnxruntime", "pandas", "rich", "scipy", "sympy", "torch", "typer")
PROGRAM = """
import sys, time
started = time.perf_counter()
{code}
seconds = time.perf_counter() - started
import json
print(json.dumps([seconds, sorted(sys.modules)]))
"""


def measure(statements: Sequence[str]) -> tuple[float, list[str]]:
    """Seconds that a fresh process takes for these statements, and the modules that it has loaded then."""
    program = PROGRAM.format(code="\n".join(statements))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(result.stderr)
    seconds, loaded = json.loads(result.stdout)
    return seconds, loaded


def slowest(statements: Sequence[str], top: int) -> list[tuple[str, float, float]]:
    """The modules that take longest by themselves: name, own and cumulated milliseconds."""
    command = [sys.executable, "-X", "importtime", "-c", "\n".join(statements)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    cells = [line.removeprefix("import time:").split("|") for line in lines]
    found = [
        (name.strip(), float(own) / 1e3, float(total) / 1e3) for own, total, name in cells if own.strip().isdigit()
    ]
    return sorted(found, key=lambda row: -row[1])[:top]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--after", action="append", help=f"statements to measure, each after those before it: {STEPS}")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    parser.add_argument("--top", type=int, default=0, help="list so many of the slowest modules")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)

    steps = [BASE, *(options.after or STEPS)]
    programs = [steps[: i + 1] for i in range(len(steps))]
    seconds: list[list[float]] = [[] for _ in programs]
    loaded: list[set[str]] = [set() for _ in programs]
    for turn in range(options.rounds + 1):
        for i, program in enumerate(programs):
            took, modules = measure(program)
            loaded[i] = set(modules)
            if turn:  # the first round fills the caches
                seconds[i].append(took)
    medians = [statistics.median(times) * 1e3 for times in seconds]
    rows: list[dict[str, Any]] = [{"statement": BASE, "ms": medians[0], "modules": len(loaded[0]), "loads": []}]
    for i in range(1, len(steps)):
        new = loaded[i] - loaded[i - 1]
        large = [name for name in LARGE if name in new]
        rows.append({"statement": steps[i], "ms": medians[i] - medians[i - 1], "modules": len(new), "loads": large})
    table = [(row["statement"], row["ms"], row["modules"], ", ".join(row["loads"]) or "-") for row in rows]
    harness.print_table(("statement", "ms on top", "modules", "loads"), table)
    if options.top:
        harness.print_table(("module", "own ms", "with its own imports"), slowest(programs[-1], options.top))
    harness.write_json(options.json, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
