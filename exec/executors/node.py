"""Programs in Node.js that run models: where their packages are, and a process that answers messages.

`pipe.mjs` is the other end, `messages.py` says what a message looks like.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from graphopt.errors import MissingDependencyError, RunError
from graphopt.exec.executors import messages

#: The environment variable that names the folder with node_modules.
FOLDER = "GRAPHOPT_WEB"


def package_folder() -> Path:
    """The folder whose node_modules hold the packages."""
    return Path(os.environ.get(FOLDER) or Path.home() / ".cache" / "graphopt-web")


def missing(packages: Sequence[str], why: str, *, program: bool = True) -> str | None:
    """What is missing here, and what to do; None: nothing.

    Args:
        packages: what npm is to install, as 'name@version'. Other versions than these are missing too.
        why: what they are for: 'ONNX Runtime Web'.
        program: Node.js itself is needed.
    """
    if program and shutil.which("node") is None:
        return f"Node.js is not installed, which runs {why} here: https://nodejs.org"
    for package in packages:
        name, _, version = package.rpartition("@")
        found = _version(name)
        if found != version:
            there = "is not installed" if found is None else f"is there as {name} {found}, and {version} is needed"
            return f"{why} {there}: npm install --prefix {package_folder()} {' '.join(packages)}"
    return None


def _version(package: str) -> str | None:
    try:
        about = (package_folder() / "node_modules" / package / "package.json").read_text(encoding="utf-8")
        return str(json.loads(about)["version"])
    except (OSError, ValueError, KeyError):
        return None


class Node:
    """A process of Node.js that answers messages. It ends with this object, and by itself when this program ends.

    Args:
        runner: the module that it runs; that calls `serve` of pipe.mjs.
        arguments: for the module.
        called: what runs there, for messages.
        timeout: seconds for an answer; a process that takes longer is ended.

    Raises:
        MissingDependencyError: Node.js is not installed.
    """

    def __init__(self, runner: Path, arguments: Sequence[str], *, called: str, timeout: float = 600.0) -> None:
        self.called = called
        self.timeout = timeout
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        try:
            self._process = subprocess.Popen(
                ["node", str(runner), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
        except FileNotFoundError:
            self._errors.close()
            raise MissingDependencyError(f"Node.js is not installed, which runs {called}: https://nodejs.org") from None
        self.close = weakref.finalize(self, _end, self._process, self._errors, os.getpid())

    @property
    def alive(self) -> bool:
        """It runs, and takes messages."""
        return self.close.alive and self._process.poll() is None

    def ask(self, header: Mapping[str, Any], buffers: Sequence[bytes] = ()) -> tuple[dict[str, Any], list[bytes]]:
        """Send a message and wait for the answer. An `error` in its header is for the caller to tell.

        Args:
            header: what JSON can hold.
            buffers: what goes along.

        Raises:
            RunError: the process died, or gave no answer in time; it is gone then.
        """
        if not self.alive:
            raise RunError(f"{self.called} has ended; load the model again")
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(self.timeout, end)
        timer.daemon = True
        timer.start()
        try:
            assert self._process.stdin is not None and self._process.stdout is not None
            for part in messages.parts(header, buffers):
                self._process.stdin.write(part)
            self._process.stdin.flush()
            return messages.read(self._process.stdout.read)
        except (OSError, EOFError):
            raise RunError(self._died(late.is_set())) from None
        except BaseException:  # interrupted in the middle of a message: what follows would be read wrongly
            self.close()
            raise
        finally:
            timer.cancel()

    def _died(self, late: bool) -> str:
        """Why there is no answer; the process is ended."""
        if late:
            told = f"{self.called} gave no answer within {self.timeout:g} s, and was ended"
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            code = self._process.poll()
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").splitlines()
            first = next((line.strip() for line in lines if "rror" in line), "")
            told = f"{self.called} died (exit code {code})" + (f": {first}" if first else "")
        self.close()
        return told


def _end(process: subprocess.Popen[bytes], errors: IO[bytes], owner: int) -> None:
    """End a process that this one started; a fork of this one leaves it alone."""
    if os.getpid() != owner:
        return
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, errors):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what it did not read
                pipe.close()
