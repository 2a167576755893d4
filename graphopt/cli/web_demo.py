"""`graphopt web-demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graphopt.cli import options
from graphopt.cli.output import err, out, size_text
from graphopt.cli.streams import source, title
from graphopt.errors import ArgumentError, ModelError

Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="FOLDER", help="Where the page goes; it is replaced if it is one.", show_default=False
    ),
]
Inputs = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="An .npz with an array for each input. Default: drawn.", show_default=False),
]
Provider = Annotated[
    str, typer.Option(metavar="wasm|webgpu", help="What the page runs on; with webgpu it offers both.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a folder that holds something else, with all it holds.")]
Serve = Annotated[bool, typer.Option("--serve", help="Then serve the folder on this machine, until interrupted.")]
Port = Annotated[int, typer.Option(metavar="N", help="To serve on. 0: one that is free.", min=0, max=65535)]


def web_demo(
    model: options.ModelPath,
    output: Output,
    level: options.Level = None,
    target: options.Target = "web",
    input_shape: options.InputShapes = None,
    inputs: Inputs = None,
    provider: Provider = "wasm",
    force: Force = False,
    serve: Serve = False,
    port: Port = 0,
    json: options.Json = False,
) -> int:
    """Write a folder with a page that runs MODEL and what becomes of it side by side in the browser: latency, size, operators and
    the largest difference. It holds all it needs, and can lie on any web server."""
    if model.is_dir():
        raise ModelError(f"'{model}' is a folder; name the .onnx file in it")
    if output.exists() and model.exists() and model.resolve().is_relative_to(output.resolve()):
        raise ArgumentError(f"'{output}' holds the model itself; name another folder")
    shapes = options.input_shapes(input_shape)
    values = None if inputs is None else _arrays(inputs)

    from graphopt.web_demo import write_demo

    with err().working(f"optimizing {title(model)}"):
        demo = write_demo(
            source(model), output, level=level, target=target, input_shapes=shapes, inputs=values, provider=provider,
            title=model.name if str(model) != "-" else "", force=force,
        )  # fmt: skip
    report, (before, after) = demo.report, demo.file_bytes
    if json:
        out().json({
            "output": str(output), "files": {"before": before, "after": after},
            "nodes": {"before": report.nodes_before, "after": report.nodes_after},
            "checked_on": demo.checked_on, "differences": dict(demo.differences),
        })  # fmt: skip
    else:
        out().line(
            f"{report.nodes_before:,} -> {report.nodes_after:,} nodes, {size_text(before)} -> {size_text(after)}"
        )
        for name, difference in demo.differences.items():
            out().line(f"'{name}' differs by {difference:.1e} at most ({demo.checked_on})")
        out().line(f"written    {output}", "bold")
    if serve:
        with demo.server(port) as server:
            (err() if json else out()).line(f"open {server.url} (Ctrl-C ends)", "bold")
            server.serve_forever()
    elif not json:
        out().line(f"to look at it: python -m http.server --bind 127.0.0.1 -d {output}")
    return 0


def _arrays(path: Path) -> dict[str, Any]:
    """What an .npz holds.

    Raises:
        ArgumentError: it is not there, or is none.
    """
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ArgumentError(f"--inputs '{path}' holds one array without a name; write an .npz with numpy.savez")
            return dict(file)
    except FileNotFoundError:
        raise ArgumentError(f"--inputs '{path}' does not exist") from None
    except (OSError, ValueError, zipfile.BadZipFile) as e:
        raise ArgumentError(f"--inputs '{path}' is no .npz file of arrays: {e}") from e
