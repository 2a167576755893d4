"""`graphopt fuzz`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphopt.cli import options
from graphopt.cli.output import DIFFERENT, OK, Screen, err, out
from graphopt.errors import ArgumentError

if TYPE_CHECKING:
    from graphopt.testing.fuzzing.campaign import Campaign
    from graphopt.testing.fuzzing.corpus import Run
    from graphopt.testing.fuzzing.examining import RemoteExaminer

Minutes = Annotated[
    float | None, typer.Option(metavar="N", help="Stop after so many minutes. Default: 1.", min=0.0, show_default=False)
]
Seeds = Annotated[
    int | None,
    typer.Option(metavar="N", help="Stop when so many seeds are done instead.", min=1, show_default=False),
]
Seed = Annotated[int, typer.Option(metavar="S", help="The first seed; each gives one model, always the same.", min=0)]
Corpus = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="Where findings are written; a second call goes on where the first with the same options stopped.",
    ),
]
Optimizer = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="Another optimizer, from ModelProto to ModelProto, in a process of its own: graphopt.testing.peers:onnxslim.",
        show_default=False,
    ),
]
Nodes = Annotated[int, typer.Option(metavar="N", help="About how many nodes a model has at most.", min=1)]
Opset = Annotated[
    int | None, typer.Option(metavar="N", help="Have graphopt write the models at this opset.", show_default=False)
]
Replay = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Run one finding again: a .onnx file with a .npz beside it.", show_default=False),
]


def fuzz(
    minutes: Minutes = None,
    seeds: Seeds = None,
    level: options.Level = None,
    target: options.Target = "onnx",
    opset: Opset = None,
    on: options.On = None,
    seed: Seed = 0,
    optimizer: Optimizer = None,
    corpus: Corpus = Path("fuzz-corpus"),
    nodes: Nodes = 12,
    replay: Replay = None,
    json: options.Json = False,
) -> int:
    """Optimize random models, and compare what comes out: exit code 0 if all is well, 1 if something is wrong."""
    from graphopt.exec.executors import DEFAULTS, installed, known
    from graphopt.passes.opset import targets_of
    from graphopt.pipeline import LEVELS, default_level
    from graphopt.targets import target_of

    if level is None:
        level = default_level(target)
    if level not in LEVELS:
        raise ArgumentError(f"--level {level} does not exist; the levels are {', '.join(map(str, LEVELS))}")
    further: dict[str, Any] = {}
    if opset is not None:
        targets_of(opset)
        further["opset"] = opset
    if target_of(target) is not target_of("onnx"):
        further["target"] = target
    if further and optimizer:
        raise ArgumentError(f"--{min(further)} is for graphopt itself; leave it out beside --optimizer")
    chosen = known(options.names(on) or [n for n in DEFAULTS if n in installed()])
    from graphopt.testing.fuzzing.campaign import fuzz as run
    from graphopt.testing.fuzzing.examining import RemoteExaminer

    if replay is not None:
        return _replay(replay, RemoteExaminer(optimizer or "", level, chosen, further), json)

    limits: dict[str, Any] = {"seeds": seeds, "minutes": minutes if seeds or minutes is not None else 1.0}
    what = optimizer or f"graphopt, level {level}"
    with err().working(what) as say:
        found = run(
            optimizer or "",
            level,
            chosen,
            seed=seed,
            corpus=corpus,
            nodes=nodes,
            options=further,
            watch=_watch(what, say),
            **limits,
        )
    if json:
        out().json(asdict(found.run))
    else:
        _show(out(), found, corpus)
    return DIFFERENT if found.run.findings else OK


def _replay(path: Path, examine: RemoteExaminer, json: bool) -> int:
    from graphopt.testing.fuzzing.corpus import read_example

    example = read_example(path)
    try:
        outcome = examine(example)
    finally:
        examine.close()
    if json:
        out().json(asdict(outcome))
        return DIFFERENT if outcome.finding else OK
    screen = out()
    if outcome.finding is None:
        screen.line(f"nothing is wrong: {_compared(outcome.compared)}", "green")
        _show_left_out(screen, outcome.left_out)
        return OK
    screen.line(f"{outcome.finding.kind}: {outcome.finding.detail}", "bold red")
    if outcome.finding.features and not examine.optimizer:
        screen.block(f"rules that were applied: {', '.join(outcome.finding.features)}", 2)
    return DIFFERENT


def _watch(what: str, say: Callable[[str], None]) -> Callable[[Run], None]:
    """What is called after every seed, and says how far it is, five times a second at most."""
    began, first, told = time.monotonic(), -1, 0.0

    def watch(run: Run) -> None:
        nonlocal first, told
        first = run.done - 1 if first < 0 else first
        now = time.monotonic()
        if now - told > 0.2:
            told = now
            rate = (run.done - first) / max(now - began, 1e-9)
            say(f"{what}: seed {run.seed + run.done - 1}, {rate:.1f} models/s; {_counts(run)}")

    return watch


def _counts(run: Run) -> str:
    found = ", ".join(f"{n} {kind}" for kind, n in run.findings.items()) or "nothing found"
    return f"{found}; {run.invalid} seeds without a model, {run.silent} said nothing"


def _compared(compared: Any) -> str:
    return ", ".join(f"{n} outputs compared on {name}" for name, n in compared.items()) or "nothing could be compared"


def _show_left_out(screen: Screen, left_out: Mapping[str, int]) -> None:
    for k, (why, n) in enumerate(sorted(left_out.items(), key=lambda item: -item[1])):
        screen.line(f"{'left out' if not k else '':11}{n}: {why}")


def _show(screen: Screen, found: Campaign, corpus: Path) -> None:
    run = found.run
    screen.line(f"seeds      {run.seed} to {run.seed + run.done - 1}" if run.done else "seeds      none")
    if found.seeds and found.seeds.start != run.seed:
        screen.line(f"           {len(found.seeds)} of them now, from {found.seeds.start} on")
    screen.line(f"models     {run.done - run.invalid} in {run.seconds:.0f} s, {run.invalid} seeds gave none")
    screen.line(f"outputs    {_compared(run.compared)}; {run.silent} models said nothing")
    _show_left_out(screen, run.left_out)
    if not run.findings:
        screen.line("found      nothing", "green")
        return
    screen.line(f"found      {', '.join(f'{n} {kind}' for kind, n in run.findings.items())}", "bold red")
    screen.line()
    rows = sorted(run.groups.items(), key=lambda item: -item[1].count)
    screen.table(("findings", "what", "smallest model"), [(g.count, name, str(corpus / g.file)) for name, g in rows])
    screen.line()
    screen.line("the .txt file beside each model has the command that runs it again")
