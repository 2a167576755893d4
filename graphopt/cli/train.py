"""`graphopt train`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt.cli import completion, options
from graphopt.cli.output import OK, err, out
from graphopt.cli.streams import check_data, check_target, is_stream, output_beside, save, source, told
from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.cli.output import Screen
    from graphopt.exec import TrainingSession

Data = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help=".npz or .safetensors: arrays by the names of the model's inputs, and the target. .csv: columns, with names.",
        show_default=False,
    ),
]
Loss = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="cross_entropy, nll, mse, l1, huber, bce, bce_with_logits; or an ONNX model that gives a scalar.",
        autocompletion=completion.losses,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What the loss compares with. Default: what is no input.", show_default=False),
]
Compared = Annotated[
    str | None,
    typer.Option("--compared", metavar="NAME", help="The model's output that the loss reads.", show_default=False),
]
Optimizer = Annotated[
    str, typer.Option(metavar="NAME", help="adam, adamw, sgd...", autocompletion=completion.optimizers)
]
Rate = Annotated[float, typer.Option(metavar="RATE", help="Learning rate.")]
Epochs = Annotated[int, typer.Option(metavar="N", help="How often to go through the data.", min=1)]
Size = Annotated[int, typer.Option("--batch-size", metavar="N", help="Rows of a batch.", min=1)]
Validation = Annotated[
    float,
    typer.Option(metavar="SHARE", help="Share of the rows to measure the loss on after each epoch.", min=0, max=1),
]
Patience = Annotated[
    int | None,
    typer.Option(
        "--early-stop", metavar="N", help="Stop after N epochs that are no better.", min=1, show_default=False
    ),
]
Trainable = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Names of initializers to train; may be given again.", show_default=False),
]
Clip = Annotated[
    float | None, typer.Option("--clip-norm", metavar="X", help="Clip gradients by their norm.", show_default=False)
]
Accumulate = Annotated[int, typer.Option(metavar="N", help="Batches that make one step.", min=1)]
Mixed = Annotated[
    str | None, typer.Option("--precision", metavar="bf16|fp16", help="Compute in 16 bits.", show_default=False)
]
Devices = Annotated[
    int | None,
    typer.Option(metavar="N", help="Devices that share each batch. Default: all that JAX sees.", show_default=False),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Of the order of rows, of validation, and of Dropout.", min=0)]
Checkpoint = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Save the state here after each epoch.", show_default=False)
]
Resume = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Go on from this checkpoint; it must be of the same call.", show_default=False),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write, '-' for standard output. Default: beside MODEL, as <name>.trained.onnx.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only (and JSON, if asked for).")]


def train(
    model: options.ModelPath,
    data: Data,
    loss: Loss = "cross_entropy",
    target: Target = None,
    compared: Compared = None,
    optimizer: Optimizer = "adam",
    learning_rate: Rate = 1e-3,
    epochs: Epochs = 1,
    batch_size: Size = 32,
    validation: Validation = 0.0,
    early_stop: Patience = None,
    trainable: Trainable = None,
    clip_norm: Clip = None,
    accumulate: Accumulate = 1,
    precision: Mixed = None,
    devices: Devices = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = None,
    resume: Resume = None,
    level: options.Level = None,
    output: Output = None,
    json: options.Json = False,
    quiet: Quiet = False,
) -> int:
    """Train MODEL's weights on data, and write it optimized for inference. Runs on JAX."""
    file = output or (model if is_stream(model) else output_beside(model, "trained.onnx"))
    if is_stream(file) and json:
        raise ArgumentError("standard output takes the model or the JSON, not both; write the model to a file with -o")
    check_target(model, file)
    if checkpoint is not None:
        check_target(model, checkpoint)
    screen = err(quiet) if json else told(file, quiet)
    read = source(model)

    from graphopt.exec.training import Batches, TrainingSession
    from graphopt.exec.training.files import read_data, split

    session = TrainingSession(
        read, loss, optimizer, learning_rate=learning_rate, trainable=trainable, output=compared,
        target=target if _is_named(loss) else None, devices=devices, level=2 if level is None else level,
        precision=precision, clip_norm=clip_norm, accumulate=accumulate, seed=seed,
    )  # fmt: skip
    arrays = read_data(data, session.signature, target, loss in ("cross_entropy", "nll"), compared)
    held: dict[str, Any] = {}
    if validation:
        arrays, held = split(arrays, validation, seed)
    batches = Batches(arrays, batch_size, seed=seed)
    evaluate = list(Batches(held, batch_size, shuffle=False)) if held else None
    _show_choice(screen, session)
    began = time.perf_counter()
    history = session.fit(
        batches, epochs, evaluate=evaluate, early_stop=early_stop, progress=not quiet,
        checkpoint=checkpoint, resume=resume or False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    _show_epochs(screen, history, seconds)
    with err(quiet).working("optimizing the trained model"):
        result = session.model
    check_data(result, file)
    save(result, file)
    if json:
        out().json(
            {
                "input": str(model),
                "output": str(file),
                "steps": session.steps,
                "seconds": seconds,
                "epochs": history.epochs,
                "stopped": history.stopped,
                "trained": [{"name": p.name, "dtype": p.dtype, "shape": list(p.shape)} for p in session.parameters],
                "not_trained": [
                    {"name": p.name, "dtype": p.dtype, "shape": list(p.shape), "why_not": p.why_not}
                    for p in session.not_trained
                ],
            }
        )
    screen.line(f"written    {'to standard output' if is_stream(file) else file}", "bold")
    return OK


def _is_named(loss: str) -> bool:
    from graphopt.exec.training import LOSSES

    return loss in LOSSES


def _show_choice(screen: Screen, session: TrainingSession) -> None:
    """What is trained in a line, and the reasons for the rest, each once."""
    screen.line(str(session).splitlines()[0])
    reasons: dict[str, list[str]] = {}
    for p in session.not_trained:
        reasons.setdefault(p.why_not, []).append(p.name)
    rows = [
        (names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", why)
        for why, names in reasons.items()
    ]
    screen.table(("not trained", "why"), rows[:20])
    if len(rows) > 20:
        screen.line(f"and {len(rows) - 20} reasons more; --json has all")
    screen.line()


def _show_epochs(screen: Screen, history: Any, seconds: float) -> None:
    rows = [
        (e["epoch"], e["steps"], f"{e['loss']:.6g}", *([f"{e['evaluation']:.6g}"] if "evaluation" in e else []))
        for e in history.epochs
    ]
    if rows:
        screen.table(
            ("epoch", "steps", "loss", "validation")[: len(rows[-1])], [r for r in rows if len(r) == len(rows[-1])]
        )
    screen.line()
    screen.line(
        f"trained    {len(history.losses)} steps in {seconds:.1f} s{f'; {history.stopped}' if history.stopped else ''}"
    )
