"""What a demo consists of: two models, an input that both take, the page, and the runtime's files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import numpy as np

from graphopt import compare as comparing
from graphopt.errors import ArgumentError, MissingDependencyError, SaveError, UnsupportedError
from graphopt.exec.executors import Reloadable, create, messages, model_file, node, web
from graphopt.exec.executors.loopback import Server
from graphopt.ir import Model, load
from graphopt.pipeline import optimize
from graphopt.report import Report, Summary
from graphopt.tuning.stand import Feeds, usual_inputs
from graphopt.web_demo.folder import whole_folder
from graphopt.web_demo.picture import with_pictures

#: Execution providers of ONNX Runtime Web -> the device of `graphopt.exec.executors.web` whose files they need. The files
#: for WebGPU have WebAssembly too.
PROVIDERS = {"wasm": "chromium", "webgpu": "webgpu"}
#: The file by which a demo is known for one; it holds what the page shows.
DATA = "demo.json"
#: Of searching for inputs.
_SECONDS = 30.0
_LICENCE = "onnxruntime-web.LICENSE.txt"
_README = """# A model before and after, in the browser

    python -m http.server --bind 127.0.0.1

in this folder, and open http://127.0.0.1:8000/. Any web server will do: these are plain files, and nothing else is asked for.
A browser does not run them from the disk (file://).

Written by graphopt. ONNX Runtime Web (in ort/) is Microsoft's, under the MIT license: onnxruntime-web.LICENSE.txt.
"""


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that was written.

    Attributes:
        folder: where.
        report: of the optimisation.
        file_bytes: of the two models' files.
        checked_on: the executor that ran both before they were written; None: there was none here.
        differences: output -> the largest difference there, over max(1, the largest number of the original's output).
    """

    folder: Path
    report: Report
    file_bytes: tuple[int, int]
    checked_on: str | None
    differences: Mapping[str, float]

    def server(self, port: int = 0) -> Server:
        """A server of the folder on the loopback interface; `serve_forever` starts it.

        Raises:
            ArgumentError: the port is taken.
        """
        files = {p.relative_to(self.folder).as_posix(): p for p in self.folder.rglob("*") if p.is_file()}
        try:
            return Server(files, port=port)
        except OSError as e:
            raise ArgumentError(f"port {port} cannot be served on: {e.strerror or e}; choose another one") from e


def write_demo(
    model: Any,
    folder: str | Path,
    *,
    level: int | None = None,
    target: str = "web",
    input_shapes: Mapping[str, int | Sequence[int | None]] | None = None,
    inputs: Mapping[str, Any] | None = None,
    provider: str = "wasm",
    title: str = "",
    force: bool = False,
) -> Demo:
    """Optimise a model, and write a folder whose page runs the original and the result in the browser.

    Args:
        model: what `graphopt.optimize` takes.
        folder: whole or not at all; one that a demo was written to before is replaced.
        level, target, input_shapes: of the optimisation.
        inputs: input name -> value; None: drawn for the interface, of usual sizes, pictures where it looks like one.
        provider: 'wasm' or 'webgpu', which the page falls back from where a browser has none.
        title: of the page; '': the name of the graph.
        force: replace a folder that holds something else.

    Raises:
        ArgumentError: an unknown provider or input name; no inputs were found.
        MissingDependencyError: the npm package with the runtime's files is not installed.
        UnsupportedError: the runtime lacks an operator that the original needs, a value cannot be carried, or a model
            is too large for a browser (2 GB).
        SaveError: the folder holds something else, or cannot be written.
        GraphoptError: what `graphopt.optimize` raises.
    """
    if provider not in PROVIDERS:
        raise ArgumentError(f"'{provider}' is no provider of ONNX Runtime Web: {', '.join(PROVIDERS)}")
    if why := node.missing([web.PACKAGE], "ONNX Runtime Web", program=False):
        raise MissingDependencyError(f"the page needs the runtime's files. {why}")
    with whole_folder(Path(folder), DATA, force) as new:
        before = load(model)
        after = optimize(before, level, target=target, input_shapes=input_shapes)
        assert after.report is not None
        sizes = _write_models(before, after, new / "models")
        executor = _executor()
        feeds, differences = _sample(before, after, new / "models", executor, inputs)
        heads, buffers = messages.tensors(feeds, "ONNX Runtime Web")
        (new / "inputs.bin").write_bytes(b"".join(buffers))
        for head, data in zip(heads, buffers):
            head["bytes"] = len(data)
        with model_file(before) as file:
            tolerance = comparing.tolerance_for(file.proto)
        told = {
            "title": title or before.graph.name or "model",
            "graphopt": str(import_module("graphopt").__version__),  # by name: an import would close a circle
            "runtime": web.PACKAGE,
            "bundle": web.DEVICES[PROVIDERS[provider]][1][0],
            "providers": ["wasm"] if provider == "wasm" else ["webgpu", "wasm"],
            "level": after.report.level,
            "seconds": after.report.seconds,
            "models": [_numbers(m, size) for m, size in zip((before, after), sizes)],
            "operators": _operators(before, after),
            "inputs": heads,
            "tolerance": tolerance,
        }
        (new / DATA).write_text(json.dumps(told, indent=1), encoding="utf-8")
        _copy_page(new, web.DEVICES[PROVIDERS[provider]][1])
    return Demo(Path(folder), after.report, sizes, executor if differences else None, differences)


def _write_models(before: Model, after: Model, folder: Path) -> tuple[int, int]:
    """Both as one file each; their sizes in bytes."""
    folder.mkdir()
    sizes = []
    for name, model in (("original", before), ("optimized", after)):
        try:
            model.save(folder / f"{name}.onnx", external_data=False)
        except SaveError as e:
            raise UnsupportedError(f"a browser takes a model as one file below 2 GB: {e}") from e
        sizes.append((folder / f"{name}.onnx").stat().st_size)
    return sizes[0], sizes[1]


def _numbers(model: Model, size: int) -> dict[str, int]:
    counted = Summary.of(model)
    return {"bytes": size, "nodes": counted.nodes, "constants": counted.constant_bytes}


def _operators(before: Model, after: Model) -> list[tuple[str, int, int]]:
    """(operator, nodes before, nodes after), most frequent first."""
    a, b = (Summary.of(m).operators for m in (before, after))
    return sorted(((op, a[op], b[op]) for op in {*a, *b}), key=lambda row: (-max(row[1:]), row[0]))


def _executor() -> str:
    """What runs both models before anybody opens the page: the runtime itself, where there is Node.js for it."""
    return "web" if web.missing() is None else "reference"


def _sample(
    before: Model, after: Model, folder: Path, executor: str, inputs: Mapping[str, Any] | None
) -> tuple[Feeds, dict[str, float]]:
    """Inputs that both models take, and how far their outputs lie apart, which are not written.

    Raises:
        ArgumentError: an unknown name, or none were found.
        UnsupportedError: the runtime lacks an operator.
    """
    session = create(executor, folder / "original.onnx")
    with model_file(before) as file:
        given = comparing.given(inputs, file.proto)
    if given:
        feeds: Feeds = given[0]
    else:
        # those of the result, which a dim that was fixed in it leaves open in the original
        found = usual_inputs(after, session.run, _SECONDS)
        if isinstance(found, str):
            raise ArgumentError(f"no inputs were found that the model takes; give some (it said: {found[:200]})")
        feeds = with_pictures(found)
    want = session.run(feeds)
    if isinstance(session, Reloadable):
        session.load(folder / "optimized.onnx")
    else:
        session = create(executor, folder / "optimized.onnx")
    got = session.run(feeds)
    return feeds, {name: comparing.compare(want[name], got[name], np.inf).difference for name in want}


def _copy_page(folder: Path, runtime: Sequence[str]) -> None:
    """The page's own files, those that are shared with other parts of the package, and the runtime's with its licence."""
    (folder / "README.md").write_text(_README, encoding="utf-8")
    for package, names in _PARTS.items():
        for name in names:
            text = resources.files(package).joinpath(name).read_bytes()
            (folder / Path(name).name).write_bytes(text)
    (folder / "ort").mkdir()
    for name in runtime:
        shutil.copyfile(web.dist() / name, folder / "ort" / name)
    licence = resources.files("graphopt.web_demo").joinpath("assets", _LICENCE).read_bytes()
    (folder / "ort" / _LICENCE).write_bytes(licence)


_PARTS = {
    "graphopt.web_demo": tuple(f"assets/{n}" for n in ("index.html", "page.css", "page.mjs", "show.mjs", "runner.mjs")),
    "graphopt.view": ("assets/palette.css",),
    "graphopt.exec.executors": ("message.mjs",),
}
