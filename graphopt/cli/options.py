"""Arguments and options that several commands share, and how their text is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from graphopt.cli import completion
from graphopt.errors import ArgumentError

ModelPath = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The ONNX file, '-' for standard input.", show_default=False)
]

Level = Annotated[
    int | None,
    typer.Option(
        "--level",
        "-l",
        metavar="0|1|2|3",
        help="0: load and save. 1: exact, the same bits. 2: algebra and fusion into standard operators, up to rounding. "
        "3: the target's own operators too. Default: 3 with a --target, else 2.",
        show_default=False,
        autocompletion=completion.levels,
    ),
]

Target = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        metavar="NAME",
        help="The runtime that the model is for: onnx (any), onnxruntime, onnxruntime-cuda, openvino, tensorrt, web.",
        autocompletion=completion.targets,
    ),
]

Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="NAME",
        help="Leave out a rule, a family of rules or a pass ('graphopt rules' lists them). Repeat it, or use commas.",
        autocompletion=completion.rules_and_families,
    ),
]

Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="Run this rule, family or pass and nothing else. Repeat it, or use commas.",
        autocompletion=completion.rules_and_families,
    ),
]

InputShapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="X=DIMS",
        help="Fix dims of an input, as x=1,3,224,224 ('?' leaves one as it is), or a named dim, as batch=1. Repeat it for more.",
    ),
]

FreezeInputs = Annotated[
    bool,
    typer.Option("--freeze-inputs", help="Inputs that have an initializer become constants and leave the interface."),
]

Opset = Annotated[
    list[str] | None,
    typer.Option(
        "--opset",
        metavar="N",
        help="Write the model at this opset, higher or lower; DOMAIN=N for that of ai.onnx.ml. Default: its own.",
        show_default=False,
    ),
]

Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="NHWC|NCHW",
        help="NHWC: convolutions and what is around them with channels last. NCHW: channels first, also between Transposes. "
        "Default: as it is.",
        show_default=False,
        autocompletion=completion.layouts,
    ),
]

IoLayout = Annotated[
    list[str] | None,
    typer.Option(
        "--io-layout",
        metavar="X=NHWC",
        help="Change an input or output itself: its second dim goes to the end (NCHW: the last to the second place). "
        "A layout alone is for all that have four dims. Repeat it for more.",
        show_default=False,
    ),
]


Tune = Annotated[
    float | None,
    typer.Option(
        "--tune",
        metavar="SECONDS",
        help="Measure candidates on the target's runtime, on this machine, for so long, and keep the fastest.",
        show_default=False,
    ),
]

TuneCache = Annotated[
    Path | None,
    typer.Option(
        "--tune-cache",
        metavar="FILE",
        help="Where --tune keeps what it learnt (JSON); for a model whose structure it knows nothing is measured.",
        show_default=False,
    ),
]

TuneThreads = Annotated[int, typer.Option("--tune-threads", metavar="N", help="Threads of a session while tuning.")]

On = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="NAME",
        help="Who runs the models: reference, jax, onnxruntime, openvino, web, tfjs, onnx.reference; a provider or device may "
        "follow, as in onnxruntime:CUDAExecutionProvider or web:chromium. Repeat it, or use commas. "
        "Default: reference and onnxruntime.",
        autocompletion=completion.executors,
    ),
]

Rtol = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Largest difference that counts as equal. Default: by the precision of the original.",
        min=0.0,
        show_default=False,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def names(values: Sequence[str] | None) -> list[str] | None:
    """Names out of repeated options and comma lists."""
    if not values:
        return None
    return [name.strip() for value in values for name in value.split(",")]


def finite(rtol: float | None) -> float | None:
    """The number given to --rtol.

    Raises:
        ArgumentError: it is infinite or none.
    """
    if rtol is not None and not rtol < float("inf"):
        raise ArgumentError(f"--rtol must be a number, not {rtol}")
    return rtol


def input_shapes(values: Sequence[str] | None) -> dict[str, int | list[int | None]]:
    """What `graphopt.optimize` takes, from texts as x=1,3,?,224 and batch=1.

    Raises:
        ArgumentError: a text is of neither form, or two are about one name.
    """
    shapes: dict[str, int | list[int | None]] = {}
    for value in values or ():
        name, equals, text = value.rpartition("=")
        dims = [d.strip() for d in text.removesuffix(",").split(",")]
        if not equals or not name.strip() or not all(re.fullmatch(r"[0-9]+|[?*]", d) for d in dims):
            raise ArgumentError(
                f"--input-shape '{value}': write an input and its dims, as x=1,3,224,224 ('?' leaves a dim as it is), "
                "or a named dim and its size, as batch=1"
            )
        name = name.strip()
        if name in shapes:
            raise ArgumentError(f"--input-shape: '{name}' is given twice")
        sizes = [None if d in ("?", "*") else int(d) for d in dims]
        alone = sizes[0] if len(sizes) == 1 and not text.endswith(",") else None
        shapes[name] = sizes if alone is None else alone
    return shapes


def opset(values: Sequence[str] | None) -> dict[str, int] | None:
    """What `graphopt.optimize` takes, from texts as 23 and ai.onnx.ml=3.

    Raises:
        ArgumentError: a text is of neither form, or two are about one domain.
    """
    versions: dict[str, int] = {}
    for value in values or ():
        domain, _, number = value.rpartition("=")
        if not re.fullmatch(r"[0-9]+", number.strip()):
            raise ArgumentError(f"--opset '{value}': write a number, as 23, or a domain and a number, as ai.onnx.ml=3")
        if domain.strip() in versions:
            raise ArgumentError(f"--opset: {f'{domain.strip()!r} is' if domain else 'a number is'} given twice")
        versions[domain.strip()] = int(number)
    return versions or None


def io_layout(values: Sequence[str] | None) -> str | dict[str, str] | None:
    """What `graphopt.optimize` takes, from texts as image=NHWC, or one as NHWC.

    Raises:
        ArgumentError: two are about one name, or one without a name is not alone.
    """
    layouts: dict[str, str] = {}
    for value in values or ():
        name, equals, layout = value.rpartition("=")
        if not equals and len(values or ()) == 1:
            return value.strip()
        if not equals or not name.strip():
            raise ArgumentError(f"--io-layout '{value}': write an input or output and its layout, as image=NHWC")
        if name.strip() in layouts:
            raise ArgumentError(f"--io-layout: '{name.strip()}' is given twice")
        layouts[name.strip()] = layout.strip()
    return layouts or None


def selection(target: str, without: Sequence[str] | None, only: Sequence[str] | None) -> dict[str, Any]:
    """Keyword arguments of `graphopt.optimize` and `graphopt.bisect` that say which rules run."""
    return {"target": target, "without": names(without) or (), "only": names(only)}


def optimization(
    target: str,
    without: Sequence[str] | None,
    only: Sequence[str] | None,
    shapes: Sequence[str] | None,
    freeze_inputs: bool,
    versions: Sequence[str] | None,
) -> dict[str, Any]:
    """Keyword arguments of `graphopt.optimize`, from the options of these names.

    Raises:
        ArgumentError: as `input_shapes` and `opset`.
    """
    return {
        **selection(target, without, only),
        "input_shapes": input_shapes(shapes),
        "freeze_inputs": freeze_inputs,
        "opset": opset(versions),
    }
