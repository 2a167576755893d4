"""Models from standard input and to standard output, colours, completion, trees."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import graphopt
from graphopt.cli import main
from graphopt.demo import demo_model
from graphopt.ir.save import write
from tests.conftest import ROOT
from tests.test_cli import external, turned_twice

COLOUR = re.compile(r"\x1b\[[\d;]*?(?:3\d|4\d|9\d)m")


class Binary(io.StringIO):
    """A stream with bytes below, as the standard streams have; `isatty` as told."""

    def __init__(self, data: bytes = b"", terminal: bool = False) -> None:
        super().__init__()
        self.buffer = io.BytesIO(data)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return turned_twice(tmp_path / "model.onnx")


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the program with a model on standard input: exit code, standard output as text and as bytes, standard error."""

    def piped(line: str, data: bytes = b"", terminal: bool = False) -> tuple[int, str, bytes, str]:
        streams = {"stdin": Binary(data, terminal), "stdout": Binary(terminal=terminal), "stderr": Binary()}
        with monkeypatch.context() as patch:
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            code = main(line.split())
        out, err = streams["stdout"], streams["stderr"]
        return code, out.getvalue(), out.buffer.getvalue(), err.getvalue()

    return piped


# ------------------------------------------------------------------------------------------------------------- streams
@pytest.mark.parametrize("line", ["optimize -", "optimize - -o -", "optimize model.onnx -o -", "optimize - --verify"])
def test_a_model_and_nothing_else_on_standard_output(model: Path, piped: Any, line: str) -> None:
    before = sorted(p.name for p in model.parent.iterdir())
    code, text, data, err = piped(line, model.read_bytes())
    assert (code, text) == (0, "")
    assert [n.op_type for n in onnx.load_from_string(data).graph.node] == ["Transpose", "Mul"]
    assert "transpose_transpose" in err and "written    to standard output" in err
    assert sorted(p.name for p in model.parent.iterdir()) == before


def test_from_a_stream_to_a_file(model: Path, piped: Any) -> None:
    code, text, data, _ = piped("optimize - -o fast.onnx", model.read_bytes())
    assert (code, data) == (0, b"") and "written    fast.onnx" in text
    assert len(onnx.load("fast.onnx").graph.node) == 2


def test_quiet_means_the_model_alone(model: Path, piped: Any) -> None:
    code, text, data, err = piped("optimize - -q", model.read_bytes())
    assert (code, text, err) == (0, "", "") and data


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("inspect -", 0, "standard input"),
        ("inspect - --shapes", 0, "3 values"),
        ("inspect - --cost", 0, "estimated"),
        ("explain -", 0, "transpose_transpose at 'u'"),
        ("explain - --node scaled", 0, "0 steps touching 'scaled'"),
        ("verify - model.onnx --on reference", 0, "verification: equal"),
        ("verify model.onnx - --on reference", 0, "verification: equal"),
        ("diff model.onnx -", 0, "the same structure: 3 nodes"),
        ("bisect - --on reference", 0, "no rewrite of 1 changes the outputs"),
        ("report -", 0, "written    stdin.report.html"),
        ("report - model.onnx", 0, "3 -> 3 nodes"),
    ],
)
def test_every_reader_takes_a_stream(model: Path, piped: Any, line: str, code: int, told: str) -> None:
    found, text, _, err = piped(line, model.read_bytes())
    assert (found, err) == (code, "") and told in text


@pytest.mark.parametrize(
    "command",
    ["optimize", "inspect", "explain", "bisect", "report", "verify model.onnx", "diff model.onnx", "report model.onnx"],
)
@pytest.mark.parametrize(
    ("data", "told"), [(b"", "standard input is empty"), (b"text", "standard input is not an ONNX model")]
)
def test_bad_input(model: Path, piped: Any, command: str, data: bytes, told: str) -> None:
    code, text, raw, err = piped(f"{command} -", data)
    if command.startswith("verify") and data:  # a candidate that cannot be read is a verdict
        assert code == 1 and "standard input" not in text
        return
    assert (code, text, raw) == (2, "", b"")
    assert err.startswith(f"graphopt: error: {told}") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "terminal", "told"),
    [
        ("inspect -", True, "standard input is a terminal"),
        ("optimize model.onnx -o -", True, "standard output is a terminal"),
        ("optimize - --json", False, "not both"),
        ("bisect model.onnx -o - --json", False, "not both"),
        ("optimize - --external-data", False, "needs a file"),
        ("verify - -", False, "standard input holds one model"),
        ("diff - -", False, "standard input holds one model"),
        ("report - -", False, "standard input holds one model"),
        ("report model.onnx -o - --json", False, "takes the page alone"),
        ("report model.onnx -o - --open", False, "takes the page alone"),
    ],
)
def test_what_cannot_be(model: Path, piped: Any, line: str, terminal: bool, told: str) -> None:
    code, text, data, err = piped(line, model.read_bytes(), terminal)
    assert (code, text, data) == (2, "", b"") and told in err and err.count("\n") == 1


def test_a_page_on_standard_output(model: Path, piped: Any) -> None:
    code, text, data, err = piped("report - -o -", model.read_bytes())
    assert (code, text) == (0, "") and data.startswith(b"<!") and b"standard input" in data
    assert "written    to standard output" in err and [p.name for p in model.parent.iterdir()] == ["model.onnx"]


def test_nothing_is_written_if_the_outputs_differ(model: Path, piped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphopt.verification import Verification

    monkeypatch.setattr(graphopt, "verify", lambda *a, **k: Verification("different"))
    code, text, data, err = piped("optimize - --verify", model.read_bytes())
    assert (code, text, data) == (1, "", b"") and "nothing was written" in err


def test_bisect_to_a_stream(model: Path, piped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphopt import bisection
    from graphopt.bisection import Bisection
    from graphopt.verification import Verification

    found = graphopt.optimize(model)
    assert found.report is not None
    told = Bisection(1, 1, found.report.steps[0], Verification("different"), graphopt.load(model), found)
    monkeypatch.setattr(bisection, "bisect", lambda *a, **k: told)
    code, text, data, err = piped("bisect - -o -", model.read_bytes())
    assert (code, text) == (1, "") and len(onnx.load_from_string(data).graph.node) == 3
    assert "rewrite 1 of 1" in err and "to standard output" in err


def test_external_data_becomes_part_of_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piped: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.bin").write_bytes(bytes(2048))
    external(tmp_path / "m.onnx", "w.bin")
    code, _, data, _ = piped("optimize m.onnx --level 0 -o -")
    assert code == 0
    out = onnx.load_from_string(data)
    assert out.graph.initializer[0].data_location == onnx.TensorProto.DEFAULT
    assert out.graph.initializer[0].raw_data == bytes(2048)
    code, text, _, _ = piped("inspect -", (tmp_path / "m.onnx").read_bytes())
    assert code == 0 and "w.bin" in text, "looked for in the current folder"


def test_save_to_a_stream(model: Path) -> None:
    loaded, stream = graphopt.load(model), io.BytesIO()
    loaded.save(stream)
    assert onnx.load_from_string(stream.getvalue()) == onnx.load(model)
    assert write(loaded, io.BytesIO()) == len(stream.getvalue())
    with pytest.raises(graphopt.GraphoptError, match="needs a file"):
        loaded.save(io.BytesIO(), external_data=True)


def test_in_a_real_pipe(model: Path) -> None:
    program = f'"{sys.executable}" -m graphopt'
    line = f"cat model.onnx | {program} optimize - 2>/dev/null | {program} inspect - --json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["operators"] == {"Transpose": 1, "Mul": 1}


# ------------------------------------------------------------------------------------------------------------- colours
LINES = ["inspect model.onnx", "explain model.onnx --tree", "diff model.onnx fast.onnx", "rules transpose_nothing"]


@pytest.mark.parametrize("line", LINES)
def test_colours(model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    graphopt.optimize(model).save("fast.onnx")
    monkeypatch.setenv("TERM", "xterm-256color")

    def shown(**environment: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            capsys.readouterr()
            main(line.split())
            return capsys.readouterr().out

    assert "\x1b" not in shown() and "\x1b" not in shown(FORCE_COLOR="")
    assert COLOUR.search(shown(FORCE_COLOR="1")) and COLOUR.search(shown(FORCE_COLOR="1", NO_COLOR=""))
    assert not COLOUR.search(shown(FORCE_COLOR="1", NO_COLOR="1")) and "\x1b" not in shown(NO_COLOR="1")


# ---------------------------------------------------------------------------------------------------------- completion
def completed(line: str, shell: str = "bash") -> list[str]:
    words = line.split(" ")
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "_GRAPHOPT_COMPLETE": f"complete_{shell}", "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    command = [sys.executable, "-m", "graphopt"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    return done.stdout.split()


def test_completion_of_commands_and_values() -> None:
    assert completed("graphopt opt") == ["optimize"]
    assert "onnxruntime" in completed("graphopt optimize m.onnx --target onnxr")
    assert completed("graphopt optimize m.onnx --without gelu,dead_c") == ["gelu,dead_code"]


def test_completion_offers_what_there_is() -> None:
    from graphopt.cli import completion
    from graphopt.passes import PASSES
    from graphopt.patterns import PHASES, all_rules
    from graphopt.targets import TARGETS

    assert set(completion.targets("")) == set(TARGETS)
    assert set(completion.rules("")) == {*all_rules(), *PASSES}
    assert set(completion.families("transp")) == {"transpose"}
    assert set(PHASES) <= set(completion.phases(""))
    assert list(completion.executors("onnxruntime,refer")) == ["onnxruntime,reference"]
    assert [name for name, _ in completion.levels("")] == ["0", "1", "2", "3"]
    assert "fp16" in completion.precisions("") and list(completion.layouts("NH")) == ["NHWC"]


def test_bash_asks_and_is_answered(tmp_path: Path) -> None:
    """The documented line, in a real bash."""
    (tmp_path / "graphopt").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m graphopt "$@"\n')
    (tmp_path / "graphopt").chmod(0o755)
    documented = "source <(_GRAPHOPT_COMPLETE=source_bash graphopt)"
    assert documented in (ROOT / "docs" / "cli.md").read_text()
    script = f'{documented}; complete -p graphopt; COMP_WORDS=(graphopt insp); COMP_CWORD=1; _graphopt_completion graphopt; echo "$COMPREPLY"'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == ["complete -o default -F _graphopt_completion graphopt", "inspect"], done.stderr


# --------------------------------------------------------------------------------------------------------------- trees
BRANCHES = """<ir_version: 10, opset_import: ["" : 21]>
    main (float[batch, 4] x, bool c) => (float[batch, 4] y) <float[4] k = {1, 2, 3, 4}> {
        a = Relu(x)
        b = Mul(a, k)
        d = Neg(b)
        e = Neg(d)
        f = Sigmoid(a)
        g = Add(e, f)
        y = If(c) <then_branch = yes () => (float[batch, 4] p) { p = Exp(g) }, else_branch = no () => (float[batch, 4] q) { q = Abs(g) }>
    }
"""


@pytest.fixture
def branches(model: Path) -> Path:
    path = model.with_name("branches.onnx")
    onnx.save(parser.parse_model(BRANCHES), path)
    return path


def test_a_whole_graph(branches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "branches.onnx", "--tree"]) == 0
    before = capsys.readouterr().out.split("\nbefore\n")[1].split("\nafter\n")[0].splitlines()
    assert before == [
        "└── y from x",
        "    ├── Relu 'a' -> float32[batch, 4]",
        "    ├── Mul 'b' ([1, 2, 3, 4]) -> float32[batch, 4]",
        "    ├── Neg 'd' -> float32[batch, 4]",
        "    ├── Neg 'e' -> float32[batch, 4]",
        "    ├── Add 'g' (e, f) -> float32[batch, 4]",
        "    │   └── input 1 from a",
        "    │       └── Sigmoid 'f' -> float32[batch, 4]",
        "    └── If 'y' -> float32[batch, 4]",
        "        ├── else_branch: q from g",
        "        │   └── Abs 'q' -> float32[batch, 4]",
        "        └── then_branch: p from g",
        "            └── Exp 'p' -> float32[batch, 4]",
    ]


def nodes_in(side: Any) -> list[str]:
    def walk(lines: Any) -> list[str]:
        return [name for line in lines for n in line["nodes"] for name in (n["op"], *walk(n["lines"]))]

    return walk(side["lines"])


def test_around_a_step(branches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "branches.onnx", "--tree", "--step", "1", "--depth", "0", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    (step,), (tree,) = data["steps"], data["trees"]
    assert tree["step"] == 1
    assert sorted(nodes_in(tree["before"])) == sorted(r["op"] for r in step["before"])
    assert sorted(tree["before"]["changed"]) == sorted(r["name"] or r["output"] for r in step["before"])
    assert main(["explain", "branches.onnx", "--tree", "--step", "1", "--depth", "1", "--json"]) == 0
    wider = json.loads(capsys.readouterr().out)["trees"][0]
    assert len(nodes_in(wider["before"])) > len(nodes_in(tree["before"]))


def test_a_step_that_brings_nothing_is_shown_by_what_its_nodes_were_between(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = '<ir_version: 10, opset_import: ["" : 21]> main (float[4] x) => (float[4] y)'
    onnx.save(parser.parse_model(f"{head} {{ a = Exp(x) b = Identity(a) y = Sin(b) }}"), "m.onnx")
    assert main(["explain", "m.onnx", "--tree", "--step", "1", "--json"]) == 0
    (tree,) = json.loads(capsys.readouterr().out)["trees"]
    assert nodes_in(tree["before"]) == ["Exp", "Identity", "Sin"] and tree["before"]["changed"]
    assert nodes_in(tree["after"]) == ["Exp", "Sin"] and not tree["after"]["changed"]


def test_steps_that_are_not_drawn_are_counted(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(demo_model(), "demo.onnx")
    assert main(["explain", "demo.onnx", "--tree", "--rule", "batch_norm_of_convolution", "--limit", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("13 steps") and out.endswith("\n12 more steps; --limit 0 shows all\n")
    assert out.count("\nbefore\n") == 1


def test_around_a_node_that_no_step_touches(branches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "branches.onnx", "--level", "0", "--tree", "--node", "d"]) == 0
    out = capsys.readouterr().out
    assert "around 'd', which no step touched" in out
    before, after = out.split("\nbefore\n")[1].split("\nafter\n")
    for side in (before, after):
        assert [line.split("── ")[1].split(" ")[0] for line in side.splitlines() if "'" in line] == [
            "Mul",
            "Neg",
            "Neg",
        ]


def test_limits_and_wrong_steps(branches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "branches.onnx", "--tree", "--limit", "2"]) == 0
    assert "and 7 more nodes; --limit 0 shows all" in capsys.readouterr().out
    assert main(["explain", "branches.onnx", "--tree", "--rule", "gelu", "--node", "d"]) == 0
    assert "which no step touched" not in capsys.readouterr().out
    assert main(["explain", "branches.onnx", "--step", "99"]) == 2
    assert "--step 99: there are" in capsys.readouterr().err


@pytest.mark.zoo
def test_every_node_of_a_model_once(zoo_dir: Path) -> None:
    from graphopt.cli.tree import lines_of

    for name in ("swin-1121.ts", "scripted-loop.ts", "silero-vad"):
        m = graphopt.load(zoo_dir / "models" / f"{name}.onnx")
        shown = [n for line in lines_of(m.graph) for n in line.walk()]
        assert len(shown) == len(set(shown))
        assert set(shown) == {n for n in m.graph.walk() if n.op != "Constant"}


# ---------------------------------------------------------------------------------------------------------------- diff
def test_diff(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graphopt.optimize(model).save("fast.onnx")
    assert main(["diff", "model.onnx", "model.onnx"]) == 0
    assert capsys.readouterr().out == "the same structure: 3 nodes\n"
    assert main(["diff", "model.onnx", "fast.onnx"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("3 -> 2 nodes: 1 removed, 0 added, 1 changed, 1 the same\n")
    assert (
        "- Transpose 'second'" in out and "~ Transpose 'first', now 'u_Transpose': perm [0, 2, 1] -> [2, 0, 1]" in out
    )
    assert main(["diff", "model.onnx", "none.onnx"]) == 2
    assert "'none.onnx': no such file" in capsys.readouterr().err


def test_diff_counts_all_that_it_leaves_out(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = "m = MatMul(a, u) b = Elu<alpha = {}>(m) n = MatMul(b, v) c = Elu<alpha = {}>(n) o = MatMul(c, w)"
    head = '<ir_version: 10, opset_import: ["" : 21]> main (float[4, 4] x) => (float[4, 4] y)'
    for name, first, alphas, last in (("a", "Relu", (2.0, 3.0), "Exp"), ("b", "Neg", (4.0, 5.0), "Sin")):
        made = parser.parse_model(f"{head} {{ a = {first}(x) {chain.format(*alphas)} y = {last}(o) }}")
        for k, weights in enumerate("uvw"):
            made.graph.initializer.append(numpy_helper.from_array(np.full((4, 4), k, np.float32), weights))
        onnx.save(made, f"{name}.onnx")
    assert main(["diff", "a.onnx", "b.onnx", "--limit", "1"]) == 1
    out = capsys.readouterr().out
    assert "2 removed, 2 added, 2 changed" in out and out.endswith("\n2 more; --limit 0 shows all\n")
    assert main(["diff", "a.onnx", "b.onnx", "--limit", "0"]) == 1
    assert "more;" not in capsys.readouterr().out
