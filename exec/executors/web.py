"""ONNX Runtime Web (WebAssembly) in Node.js as an executor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx

from graphopt.errors import MissingDependencyError, UnsupportedError
from graphopt.exec.executors import messages, node
from graphopt.exec.executors.base import Feeds, Source

#: The release that tables and tests are about.
PACKAGE = "onnxruntime-web@1.30.0"
_NAME = "ONNX Runtime Web"
_RUNNER = Path(__file__).with_name("web_runner.mjs")
_LACKS = ("Could not find an implementation", "not supported", "No Op registered", "is not a registered function/op")


def missing() -> str | None:
    """What is missing here for running models on the web runtime, and what to do; None: nothing."""
    return node.missing([PACKAGE], _NAME)


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
        self._node = node.Node(_RUNNER, [str(node.package_folder()), str(threads), level], called=_NAME)
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
        heads, buffers = messages.tensors(feeds, _NAME)
        answer, data = self._ask({"feeds": heads}, buffers)
        return {r["name"]: messages.array(r, d) for r, d in zip(answer["results"], data, strict=True)}

    def _ask(self, header: dict[str, Any], buffers: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        answer, data = self._node.ask(header, buffers)
        if why := answer.get("error"):
            if any(text in why for text in _LACKS):
                raise UnsupportedError(f"{_NAME}: {why}")
            raise RuntimeError(f"{_NAME}: {why}")
        return answer, data

    def close(self) -> None:
        """End the process."""
        self._node.close()
