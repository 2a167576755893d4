"""TensorFlow.js as an executor: a model's nodes one by one on its WebAssembly or its plain JavaScript kernels, in Node.js.

TensorFlow.js knows no ONNX. `tfjs_model.py` writes a model as a list of steps, and `javascript/tfjs/` runs them: an operator is
a function of one of its tables. The process is kept: it takes another model in the place of the one before.
"""

from __future__ import annotations

import os
from typing import Any

from graphopt.errors import ArgumentError, MissingDependencyError, RunError, UnsupportedError
from graphopt.exec.executors import messages, node, tfjs_model
from graphopt.exec.executors.base import Feeds, Source
from graphopt.exec.signature import Signature
from graphopt.ir import load

#: The releases that the tables of operators are about.
VERSION = "4.22.0"
PACKAGES = tuple(f"@tensorflow/tfjs-{part}@{VERSION}" for part in ("core", "backend-cpu", "backend-wasm"))
#: TensorFlow.js's names for what it computes on.
DEVICES = ("wasm", "cpu")
_NAME = "TensorFlow.js"
_RUNNER = messages.JAVASCRIPT / "tfjs" / "runner.mjs"
#: What the runner puts before reasons that lie in TensorFlow.js, not in the model or its inputs.
_LACKS = "unsupported: "


def missing() -> str | None:
    """What is missing here for running models, and what to do; None: nothing."""
    return node.missing(PACKAGES, _NAME)


class TensorFlowJs:
    """TensorFlow.js in Node.js.

    What runs is the model as it is, but for what TensorFlow.js needs: operators that it lacks are written out as the functions
    that define them, all of them at one opset, and the layout pass brings channels last, since its convolutions know no other
    layout. None of the rules of the levels is applied, so that two models that are compared here are not made one by the rules
    that are tested; where the layout pass is what is tested, `layout='NCHW'` leaves it out.

    Float32, int32 and booleans are all there is. int64 is computed as int32: a value beyond that, in an input, a constant or a
    result, is an error. Integers of 8 and 16 bits are quantised to, moved and converted, not computed with.

    Args:
        model: a path (with or without external data) or bytes. None: `load` brings one.
        folder: what external data is relative to, where the model comes as bytes.
        device: 'wasm' (one thread; the few operators that it lacks run on 'cpu'), or 'cpu', plain JavaScript.
        layout: 'NHWC': channels last inside; 'NCHW': as the model has it, with a transposition before and after each
            convolution.
        timeout: seconds for loading and for a run; past that the process is ended.

    Raises:
        ArgumentError: no such device or layout.
        MissingDependencyError: Node.js or a package is not there.
        UnsupportedError: operators, attributes or types that TensorFlow.js cannot express; all are named.
        ModelError: the model cannot be read.
        RunError: the process died, or gave no answer in time.
    """

    def __init__(
        self,
        model: Source | None,
        *,
        folder: str | os.PathLike[str] | None = None,
        device: str = "wasm",
        layout: str = "NHWC",
        timeout: float = 600.0,
    ) -> None:
        if device not in DEVICES:
            raise ArgumentError(f"'{device}' is none of the devices of tfjs: {', '.join(DEVICES)}")
        if layout not in ("NHWC", "NCHW"):
            raise ArgumentError(f"layout {layout!r}: tfjs has 'NHWC' and 'NCHW'")
        if why := missing():
            raise MissingDependencyError(why)
        self._device, self._layout, self._timeout = device, layout, timeout
        self._signature: Signature | None = None
        self._start()
        if model is None:
            return
        try:
            self.load(model, folder=folder)
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        arguments = [str(node.package_folder()), self._device]
        self._process = node.Node(_RUNNER, arguments, called=_NAME, timeout=self._timeout)
        answer, _ = self._ask({"ask": "operators"})
        self._operators = frozenset(answer["operators"])

    def load(self, model: Source, *, folder: str | os.PathLike[str] | None = None) -> None:
        """Take another model in the place of the one before. Raises what the constructor raises."""
        self._signature = None
        source = model if isinstance(model, bytes) else os.fspath(model)
        loaded = load(source, base_dir=None if folder is None else os.fspath(folder))
        signature = Signature.of(loaded)
        if not self._process.alive:
            self._start()
        program, buffers = tfjs_model.translated(loaded, self._operators, self._layout, called=_NAME)
        answer, _ = self._ask({"ask": "load", "program": program}, buffers)
        tfjs_model.refuse(answer["refused"], _NAME)
        self._signature = signature

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        """Run the model.

        Raises:
            ArgumentError: inputs that the model does not take.
            UnsupportedError: values that int32 cannot hold, or what turns out at run time to be beyond TensorFlow.js.
            RunError: a node failed, and is named; or there is no model.
        """
        if self._signature is None:
            raise RunError(f"{_NAME} holds no model: load one")
        given = {n: tfjs_model.narrowed(v, f"input '{n}'", _NAME) for n, v in self._signature.check(feeds).items()}
        heads, buffers = messages.tensors(given, _NAME)
        answer, data = self._ask({"ask": "run", "feeds": heads}, buffers)
        results = [messages.array(head, d) for head, d in zip(answer["results"], data, strict=True)]
        return {o.name: tfjs_model.widened(r, o) for o, r in zip(self._signature.outputs, results, strict=True)}

    def memory(self) -> dict[str, int]:
        """What TensorFlow.js holds now: `numTensors`, `numDataBuffers`, `numBytes`. Between runs these are the weights."""
        answer, _ = self._ask({"ask": "memory"})
        return {key: answer[key] for key in ("numTensors", "numDataBuffers", "numBytes")}

    def _ask(self, header: dict[str, Any], buffers: list[bytes] | None = None) -> tuple[dict[str, Any], list[bytes]]:
        answer, data = self._process.ask(header, buffers or [])
        if why := answer.get("error"):
            if why.startswith(_LACKS):
                raise UnsupportedError(f"{_NAME}: {why.removeprefix(_LACKS)}")
            if messages.BROKEN.search(why):
                self.close()
            raise RunError(f"{_NAME}: {why}")
        return answer, data

    def close(self) -> None:
        """End the process. `load` starts another."""
        self._process.close()
