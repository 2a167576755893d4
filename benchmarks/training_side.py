"""A side of the training benchmark: a process that trains, maybe of another Python, asked by lines of JSON.

Arrays go by files. A side that waits for its turn reads from a pipe and takes no time from the other one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

#: What numeric libraries read when they start.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ROOT = Path(__file__).parent.parent


class SideError(Exception):
    """A side could not do what it was asked."""


class Side:
    """A process that runs a module of this folder, with the methods of what that module serves.

    Args:
        python: an interpreter.
        module: its name.
        threads: how many each of its libraries may use; with one, the process stays on one core.
        said: options of the module.
    """

    def __init__(self, python: str, module: str, threads: int, *said: str) -> None:
        environment = os.environ | dict.fromkeys(_THREADS, str(threads))
        eigen = "true" if threads > 1 else "false"
        environment["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
        pin = ["taskset", "-c", str(max(os.sched_getaffinity(0)))] if threads == 1 else []
        command = [*pin, python, "-m", f"benchmarks.{module}", *said, "--threads", str(threads)]
        self.name = module
        self._process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def ask(self, method: str, **arguments: Any) -> Any:
        """What the method gives.

        Raises:
            SideError: it failed, or the process ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps([method, arguments]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SideError(f"{self.name} ended with exit code {self._process.wait()}; what it said is above")
        fine, answer = json.loads(line)
        if not fine:
            raise SideError(f"{self.name}, {method}: {answer}")
        return answer


def serve(served: Any) -> None:
    """Answer requests until the other end closes. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        method, arguments = json.loads(line)
        try:
            answer = [True, getattr(served, method)(**arguments)]
        except Exception as e:
            traceback.print_exc()
            answer = [False, f"{type(e).__name__}: {e}"]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
