"""ONNX Runtime Web (WebAssembly) in Node.js as an executor.

Node.js runs `web_runner.mjs`, which takes a model and then feeds over a pipe. A message is the length of a header (four
bytes, little endian), the header as JSON, and the bytes of as many buffers as it has `sizes`.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphopt.errors import MissingDependencyError, UnsupportedError
from graphopt.exec.executors.base import Feeds, Source

#: The release that tables and tests are about.
PACKAGE = "onnxruntime-web@1.30.0"
#: The environment variable that names the folder with node_modules.
FOLDER = "GRAPHOPT_WEB"
_RUNNER = Path(__file__).with_name("web_runner.mjs")
_TYPES = {
    "float32": np.float32, "float64": np.float64, "float16": np.float16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
    "int16": np.int16, "uint16": np.uint16, "int32": np.int32, "uint32": np.uint32, "int64": np.int64, "uint64": np.uint64,
}  # fmt: skip
_NAMES = {np.dtype(t): name for name, t in _TYPES.items()}
_LACKS = ("Could not find an implementation", "not supported", "No Op registered", "is not a registered function/op")


def package_folder() -> Path:
    """The folder that `PACKAGE` was installed into."""
    return Path(os.environ.get(FOLDER) or Path.home() / ".cache" / "graphopt-web")


def missing() -> str | None:
    """What is missing here for running models on the web runtime, and what to do; None: nothing."""
    if shutil.which("node") is None:
        return "Node.js is not installed, which runs ONNX Runtime Web here: https://nodejs.org"
    if not (package_folder() / "node_modules" / "onnxruntime-web").is_dir():
        return f"ONNX Runtime Web is not installed: npm install --prefix {package_folder()} {PACKAGE}"
    return None


class OnnxRuntimeWeb:
    """ONNX Runtime Web's WebAssembly kernels, by default with all of its graph optimizations off.

    Args:
        model: a path (with or without external data) or bytes, below 2 GB in all.
        threads: of WebAssembly.
        optimize: let it apply its graph optimizations.

    Raises:
        MissingDependencyError: Node.js or the package is not installed.
        UnsupportedError: it has no kernel for an operator or type.
        RuntimeError: what ONNX Runtime Web says of a model that it does not load.
    """

    def __init__(
        self,
        model: Source,
        *,
        folder: str | os.PathLike[str] | None = None,
        threads: int = 1,
        optimize: bool = False,
    ) -> None:
        if why := missing():
            raise MissingDependencyError(why)
        if folder is not None:
            raise UnsupportedError("ONNX Runtime Web is given the bytes of one file: external data stays behind")
        level = "all" if optimize else "disabled"
        self._process = subprocess.Popen(
            ["node", str(_RUNNER), str(package_folder()), str(threads), level], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            self.load(model)
        except BaseException:
            self.close()
            raise

    def load(self, model: Source) -> None:
        """Take another model in the place of the one before. Raises what the constructor raises."""
        data = model if isinstance(model, bytes) else onnx.load(model).SerializeToString()  # external data goes along
        self._ask({"load": True}, [data])

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        heads, buffers = [], []
        for name, value in feeds.items():
            if not isinstance(value, np.ndarray):
                raise UnsupportedError(f"ONNX Runtime Web takes tensors; input '{name}' is a {type(value).__name__}")
            head: dict[str, Any] = {"name": name, "dims": list(value.shape)}
            if value.dtype == object or value.dtype.kind in "US":
                head |= {"type": "string", "text": [str(t) for t in value.ravel()]}
                buffers.append(b"")
            elif value.dtype not in _NAMES:
                raise UnsupportedError(f"ONNX Runtime Web has no tensors of {value.dtype} (input '{name}')")
            else:
                head["type"] = _NAMES[value.dtype]
                buffers.append(np.ascontiguousarray(value).tobytes())
            heads.append(head)
        answer, data = self._ask({"feeds": heads}, buffers)
        return {r["name"]: _array(r, d) for r, d in zip(answer["results"], data, strict=True)}

    def _ask(self, head: dict[str, Any], buffers: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        pipe, back = self._process.stdin, self._process.stdout
        assert pipe is not None and back is not None
        text = json.dumps({**head, "sizes": [len(b) for b in buffers]}).encode()
        try:
            for part in (struct.pack("<I", len(text)), text, *buffers):
                pipe.write(part)
            pipe.flush()
            size = back.read(4)
            if len(size) < 4:
                raise BrokenPipeError
            answer = json.loads(back.read(struct.unpack("<I", size)[0]))
            data = [back.read(n) for n in answer["sizes"]]
        except (BrokenPipeError, ConnectionResetError):
            raise RuntimeError(f"ONNX Runtime Web died (exit code {self._process.wait()})") from None
        if why := answer.get("error"):
            if any(text in why for text in _LACKS):
                raise UnsupportedError(f"ONNX Runtime Web: {why}")
            raise RuntimeError(f"ONNX Runtime Web: {why}")
        return answer, data

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self.close()


def _array(head: dict[str, Any], data: bytes) -> np.ndarray:
    if head["type"] == "string":
        return np.array(head["text"], dtype=object).reshape(head["dims"])
    return np.frombuffer(data, _TYPES[head["type"]]).reshape(head["dims"]).copy()
