"""ONNX Runtime Web as an executor: WebAssembly in Node.js, or WebAssembly and WebGPU in a Chromium.

The process, or the page, is kept: it takes another model in the place of the one before (`load`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import onnx
from onnx import external_data_helper

from graphopt.errors import ArgumentError, MissingDependencyError, ModelError, UnsupportedError
from graphopt.exec.executors import browser, messages, node
from graphopt.exec.executors.base import Feeds, Source

#: The release that tables and tests are about.
PACKAGE = "onnxruntime-web@1.30.0"
#: Where it runs -> the execution provider, and of the package what a page loads: a module, and what that asks for.
DEVICES = {
    "node": ("wasm", ()),
    "chromium": (
        "wasm", ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    ),
    "webgpu": (
        "webgpu",
        ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
    ),
}  # fmt: skip
#: WebGPU as the browser computes it on the CPU, which is the same everywhere; and what lets it.
_SOFTWARE = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
_NAME = "ONNX Runtime Web"
_LACKS = (
    "Could not find an implementation", "not supported", "unsupported data type", "No Op registered",
    "is not a registered function/op", "node_provider_type.empty() was false",
)  # fmt: skip
_TYPE = re.compile(r"(?<=unsupported data type: )\d+")  # as ONNX numbers them
#: Without and with WebGPU.
_NO_KERNEL = re.compile(
    r"(?:Could not find an implementation|Provider type) for (\w+)(?:\(\d+\))? node with name '(.*?)'"
)
_NO_ADAPTER = "no WebGPU adapter"
_MOST_BYTES = 2**31 - 1  # of a protobuf message


def dist() -> Path:
    """The folder of the package's files."""
    return node.package_folder() / "node_modules" / "onnxruntime-web" / "dist"


def missing(device: str = "node") -> str | None:
    """What is missing here for running models on a device, and what to do; None: nothing."""
    in_node = device == "node"
    return node.missing([PACKAGE], _NAME, program=in_node) or (None if in_node else browser.missing())


class OnnxRuntimeWeb:
    """ONNX Runtime Web, by default with all of its graph optimizations off.

    Args:
        model: a path (with or without external data) or bytes, below 2 GB in all. None: `load` brings one.
        folder: what external data is relative to, where the model comes as bytes.
        device: 'node': its WebAssembly in Node.js; 'chromium': that in a browser; 'webgpu': WebGPU there, on the browser's
            software adapter, with WebAssembly for operators that have no WebGPU kernel.
        threads: of WebAssembly.
        optimize: let it apply its graph optimizations.
        timeout: seconds for loading and for a run; past that the process is ended.

    Attributes:
        milliseconds: of the last run, the way there and back apart.

    Raises:
        ArgumentError: no such device.
        MissingDependencyError: Node.js, the package, playwright, a browser or a WebGPU adapter is not there.
        UnsupportedError: it has no kernel for an operator or type, or the model is too large.
        ModelError: the model's external data cannot be read.
        RunError: the process died, or gave no answer in time.
        RuntimeError: what ONNX Runtime Web says of a model that it does not load.
    """

    def __init__(
        self,
        model: Source | None,
        *,
        folder: str | os.PathLike[str] | None = None,
        device: str = "node",
        threads: int = 1,
        optimize: bool = False,
        timeout: float = 600.0,
    ) -> None:
        if device not in DEVICES:
            raise ArgumentError(f"'{device}' is none of the devices of web: {', '.join(DEVICES)}")
        if why := missing(device):
            raise MissingDependencyError(why)
        self._device, self._threads, self._timeout = device, threads, timeout
        self._level = "all" if optimize else "disabled"
        self.milliseconds = 0.0
        self._process = self._start()
        if model is None:
            return
        try:
            self.load(model, folder=folder)
        except BaseException:
            self.close()
            raise

    def _start(self) -> node.Node | browser.Browser:
        provider, files = DEVICES[self._device]
        if self._device == "node":
            arguments = [str(node.package_folder()), str(self._threads), self._level]
            return node.Node(messages.JAVASCRIPT / "web_runner.mjs", arguments, called=_NAME, timeout=self._timeout)
        served = {name: messages.JAVASCRIPT / name for name in ("web_page.mjs", "web_session.mjs")}
        served |= {f"ort/{name}": dist() / name for name in files}
        query = {"bundle": files[0], "provider": provider, "threads": str(self._threads), "optimize": self._level}
        flags = _SOFTWARE if provider == "webgpu" else ()
        return browser.Browser("web_page.mjs", served, query, called=_NAME, flags=flags, timeout=self._timeout)

    def load(self, model: Source, *, folder: str | os.PathLike[str] | None = None) -> None:
        """Take another model in the place of the one before. Raises what the constructor raises."""
        data = _whole(model, folder)
        if not self._process.alive:
            self._process = self._start()
        try:
            self._ask({"load": True}, [data])
        except UnsupportedError as e:
            if lacks := _NO_KERNEL.search(str(e)):
                raise UnsupportedError(f"{_NAME} has no kernel for {_places(data, *lacks.groups())}") from None
            raise

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        heads, buffers = messages.tensors(feeds, _NAME)
        answer, data = self._ask({"feeds": heads}, buffers)
        self.milliseconds = float(answer["milliseconds"])
        return {r["name"]: messages.array(r, d) for r, d in zip(answer["results"], data, strict=True)}

    def _ask(self, header: dict[str, Any], buffers: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        answer, data = self._process.ask(header, buffers)
        if why := answer.get("error"):
            if why == _NO_ADAPTER:
                raise MissingDependencyError(
                    f"this Chromium offers no WebGPU adapter ({browser.chromium()}): a newer one may"
                )
            why = _TYPE.sub(lambda n: onnx.TensorProto.DataType.Name(int(n[0])).lower(), why)
            if any(text in why for text in _LACKS):
                raise UnsupportedError(f"{_NAME}: {why}")
            if messages.BROKEN.search(why):
                self.close()
            raise RuntimeError(f"{_NAME}: {why}")
        return answer, data

    def close(self) -> None:
        """End the process. `load` starts another."""
        self._process.close()


def _whole(model: Source, folder: str | os.PathLike[str] | None) -> bytes:
    """The model as one message, external data inside.

    Raises:
        UnsupportedError: it would have 2 GB or more.
        ModelError: external data cannot be read.
    """
    if isinstance(model, bytes) and folder is None:
        return model
    if isinstance(model, bytes):
        proto = onnx.load_from_string(model)
    else:
        proto = onnx.load(model, load_external_data=False)
        folder = Path(model).parent
    assert folder is not None
    outside = [t for t in external_data_helper._get_all_tensors(proto) if external_data_helper.uses_external_data(t)]
    size = proto.ByteSize()
    for tensor in outside:
        size += int(next((e.value for e in tensor.external_data if e.key == "length"), 0))
    if size > _MOST_BYTES:
        raise UnsupportedError(f"{_NAME} is given a model as one message, below 2 GB; this one has {size / 1e9:.1f} GB")
    try:
        external_data_helper.load_external_data_for_model(proto, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as e:
        raise ModelError(f"external data of the model cannot be read: {e}") from e
    return bytes(proto.SerializeToString())


def _places(data: bytes, operator: str, name: str) -> str:
    """The operator with its nodes: by name, or by what they write where they have none."""
    nodes = [n for n in onnx.load_from_string(data).graph.node if n.op_type == operator and n.name == name]
    known = [f"'{name}'"] if name else [f"the one that writes '{n.output[0]}'" for n in nodes if n.output]
    return f"{operator} (node{'s' * (len(known) > 1)}: {', '.join(known[:3])})" if known else operator
