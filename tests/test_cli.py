"""The command line as a user meets it: what it prints, where, and with which exit code; what it writes and never touches."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphopt
from graphopt import selection
from graphopt.cli import main
from graphopt.cli.output import place
from graphopt.exec.executors import create, registry
from graphopt.patterns import PHASES, TARGET_PHASES, all_rules, rules_of
from graphopt.rewrite import Rule, op, rule

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("optimize", "verify", "diff", "bisect", "tidy", "inspect", "explain", "rules", "check-rule", "fuzz", "demo")


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the program in this process, with streams that are no terminals."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*args: object) -> Result:
        capsys.readouterr()
        code = main([str(a) for a in args])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def terminal(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs it as on a terminal of `columns` columns."""

    def terminal(columns: int, *args: object) -> Result:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        return run(*args)

    return terminal


def in_a_process(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "graphopt", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **options)


# ------------------------------------------------------------------------------------------------------------- models
def tensor(name: str, *dims: int | str | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto] | None = None,
    **options: Any,
) -> Path:
    graph = helper.make_graph(nodes, "main", inputs, outputs, weights or [])
    opsets = [helper.make_opsetid("", 17), *options.pop("opsets", [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="tests", **options)
    path.write_bytes(model.SerializeToString())
    return path


def turned_twice(path: Path) -> Path:
    """Two transpositions that are one, and a shape that is known."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "first", perm=[0, 2, 1]),
        helper.make_node("Transpose", ["t"], ["u"], "second", perm=[1, 0, 2]),
        helper.make_node("Mul", ["u", "w"], ["y"], "scaled"),
    ]
    weights = [numpy_helper.from_array(np.full(3, 2.5, np.float32), "w")]
    return write(path, nodes, [tensor("x", "batch", 3, "n")], [tensor("y", "n", "batch", 3)], weights)


def one_node(path: Path, op: str = "Relu", *dims: int | str | None, **options: Any) -> Path:
    shape = dims or ("batch", 4)
    node = helper.make_node(op, ["x"], ["y"], "node", domain=options.pop("domain", ""))
    return write(path, [node], [tensor("x", *shape)], [tensor("y", *shape)], **options)


def external(path: Path, location: str) -> Path:
    """x + w, the bytes of w being elsewhere."""
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[512], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "2048")):
        w.external_data.add(key=key, value=value)
    return write(path, [helper.make_node("Add", ["x", "w"], ["y"])], [tensor("x", 512)], [tensor("y", 512)], [w])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return turned_twice(tmp_path / "model.onnx")


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def assert_refused(result: Result, *words: str) -> None:
    """One clear line on stderr, nothing on stdout, exit code 2."""
    assert result.out == ""
    assert result.err.startswith("graphopt: error: ") and result.err.count("\n") == 1, result.err
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err
    assert result.code == 2


# --------------------------------------------------------------------------------------------------- the program itself
def test_version(run: Callable[..., Result]) -> None:
    assert run("--version") == (0, f"graphopt {graphopt.__version__}\n", "")


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",), *((c, "--help") for c in COMMANDS)])
def test_help(run: Callable[..., Result], args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.code == 0 and result.err == ""
    assert result.out.startswith("Usage: graphopt")
    assert max(map(len, result.out.splitlines())) <= 80
    assert "\x1b" not in result.out


def test_help_names_commands_and_exit_codes(run: Callable[..., Result]) -> None:
    out = run("--help").out
    assert all(f"\n  {command} " in out for command in COMMANDS)
    for code in (0, 1, 2, 3, 70):
        assert f"\n  {code:4d}  " in out
    assert "..." not in out.replace("[ARGS]...", ""), "a summary is cut off"


def test_help_and_version_import_nothing_heavy() -> None:
    program = (
        "import sys; from graphopt.cli import main; main(['--version']); main(['optimize', '--help'])\n"
        "print('loaded:', *(m for m in ('numpy', 'onnx', 'onnxruntime', 'sympy') if m in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "loaded:", done.stderr


def test_runs_as_a_module(model: Path) -> None:
    done = in_a_process("optimize", "model.onnx", cwd=model.parent)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.endswith("written    model.opt.onnx\n")
    assert (model.parent / "model.opt.onnx").is_file()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--bogus",), ("--bogus", "graphopt --help")),
        (("optimise",), ("'optimise'", "optimize")),
        (("optimize",), ("Missing argument", "graphopt optimize --help")),
        (("optimize", "a", "b"), ("unexpected extra argument",)),
        (("optimize", "a", "--levle", "1"), ("--levle", "--level")),
        (("optimize", "a", "--level", "x"), ("--level",)),
        (("optimize", "a", "--report", "yaml"), ("--report", "json")),
        (("verify", "a"), ("Missing argument", "'B'")),
        (("verify", "a", "b", "--seeds", "1"), ("--seeds",)),
        (("verify", "a", "b", "--rtol", "-1"), ("--rtol",)),
        (("explain", "a", "--limit", "-1"), ("--limit",)),
        (("bisect",), ("Missing argument", "graphopt bisect --help")),
        (("bisect", "a", "b"), ("unexpected extra argument",)),
        (("bisect", "a", "--outptu", "b"), ("--outptu", "--output")),
        (("bisect", "a", "--level", "x"), ("--level",)),
        (("bisect", "a", "--rtol", "-1"), ("--rtol",)),
        (("bisect", "a", "--steps", "3"), ("--steps",)),
    ],
)
def test_bad_usage(run: Callable[..., Result], args: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(run(*args), *words)


def broken(error: BaseException) -> Callable[..., Any]:
    def fails(*args: object, **options: object) -> None:
        raise error

    return fails


def test_a_bug_is_told_in_one_line(run: Callable[..., Result], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphopt, "optimize", broken(ZeroDivisionError("first\nsecond")))
    before = contents(model.parent)
    code, out, err = run("optimize", model)
    assert (code, out) == (70, "")
    assert err == (
        "graphopt: internal error: ZeroDivisionError: first second; run with --debug to see where, and report it\n"
    )
    assert contents(model.parent) == before


def test_a_broken_rule_is_a_bug(run: Callable[..., Result], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphopt.errors import RewriteLoopError

    monkeypatch.setattr(graphopt, "optimize", broken(RewriteLoopError("round and round")))
    assert run("optimize", model).code == 70


@pytest.mark.parametrize("args", [("--debug", "optimize"), ("optimize", "--debug")])
def test_debug_prints_a_traceback(run: Callable[..., Result], tmp_path: Path, args: tuple[str, ...]) -> None:
    code, out, err = run(*args, tmp_path / "none.onnx")
    assert (code, out) == (2, "")
    assert err.startswith("Traceback") and "\ngraphopt: error: " in err


def test_interrupted(run: Callable[..., Result], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphopt, "optimize", broken(KeyboardInterrupt()))
    assert run("optimize", model) == (130, "", "")


@pytest.mark.parametrize("colour", ["", "1"])
def test_a_reader_that_leaves(colour: str) -> None:
    command = [sys.executable, "-m", "graphopt", "rules"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FORCE_COLOR": colour}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_names_that_the_encoding_lacks(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["größe"])
    path = write(tmp_path / "m.onnx", [node], [tensor("x", 1)], [tensor("größe", 1)])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "graphopt", "inspect", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "gr\\xf6\\xdfe" in done.stdout


# -------------------------------------------------------------------------------------------------------- bad models
def _text(folder: Path) -> None:
    (folder / "bad.onnx").write_text("not a model\n")


def _cut(folder: Path) -> None:
    from graphopt.demo import demo_model

    (folder / "bad.onnx").write_bytes(demo_model().SerializeToString()[:50_000])


def _cyclic(folder: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], "n1"), helper.make_node("Relu", ["a"], ["b"], "n2")]
    write(folder / "bad.onnx", nodes, [tensor("x", 2)], [tensor("b", 2)])


def _dangling(folder: Path) -> None:
    write(folder / "bad.onnx", [helper.make_node("Relu", ["gone"], ["y"])], [tensor("x", 2)], [tensor("y", 2)])


def _short_data(folder: Path) -> None:
    (folder / "w.bin").write_bytes(b"0" * 100)
    external(folder / "bad.onnx", "w.bin")


def _outside(folder: Path) -> None:
    (folder.parent / "w.bin").write_bytes(b"0" * 2048)
    external(folder / "bad.onnx", "../w.bin")


BAD: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing": (lambda folder: None, ("no such file",)),
    "empty": (lambda folder: (folder / "bad.onnx").touch(), ()),
    "text": (_text, ("not an ONNX model",)),
    "cut off": (_cut, ("truncated", "50000 bytes")),
    "folder": (lambda folder: (folder / "bad.onnx").mkdir(), ("is a folder",)),
    "cyclic": (_cyclic, ("cycle", "n1")),
    "dangling": (_dangling, ("'gone'",)),
    "data missing": (lambda folder: external(folder / "bad.onnx", "gone.bin"), ("gone.bin' is missing", "'w'")),
    "data short": (_short_data, ("too short", "'w'")),
    "data outside": (_outside, ("outside the model's folder", "../w.bin")),
    "data absolute": (lambda folder: external(folder / "bad.onnx", "/etc/passwd"), ("outside the model's folder",)),
}


@pytest.mark.parametrize("command", ["optimize", "inspect", "explain", "verify", "bisect"])
@pytest.mark.parametrize("kind", BAD)
def test_bad_models(run: Callable[..., Result], tmp_path: Path, command: str, kind: str) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    make, words = BAD[kind]
    make(folder)
    before = contents(tmp_path)
    bad = folder / "bad.onnx"
    result = run(command, bad, *([bad] if command == "verify" else []))
    assert_refused(result, "bad.onnx", *words)
    assert contents(tmp_path) == before


@pytest.mark.zoo
def test_a_real_model_cut_off(run: Callable[..., Result], zoo_dir: Path, tmp_path: Path) -> None:
    whole = (zoo_dir / "models" / "shape-junk.raw.onnx").read_bytes()
    for size in (1, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.onnx").write_bytes(whole[:size])
        assert_refused(run("optimize", tmp_path / "cut.onnx"), "cut.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["cut.onnx"]


# --------------------------------------------------------------------------------------------------------- optimize
def test_optimize(run: Callable[..., Result], model: Path) -> None:
    original = model.read_bytes()
    code, out, err = run("optimize", model, "-o", model.with_name("fast.onnx"))
    assert (code, err) == (0, "")
    assert "Transpose" in out and "transpose_transpose" in out and f"written    {model.with_name('fast.onnx')}" in out
    assert "\x1b" not in out and "…" not in out
    nodes = onnx.load(model.with_name("fast.onnx")).graph.node
    assert [n.op_type for n in nodes] == ["Transpose", "Mul"]
    assert model.read_bytes() == original
    assert sorted(p.name for p in model.parent.iterdir()) == ["fast.onnx", "model.onnx"]


def test_the_default_output_lies_beside_the_model(
    run: Callable[..., Result], model: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert run("optimize", model).code == 0
    assert model.with_name("model.opt.onnx").is_file() and not list(elsewhere.iterdir())


def test_a_report_for_programs(run: Callable[..., Result], model: Path) -> None:
    target = model.with_name("fast.onnx")
    code, out, err = run("optimize", model, "-o", target, "--report", "json", "--verify")
    assert code == 0
    data = json.loads(out)
    assert data["nodes"] == {"before": 3, "after": 2}
    assert data["operators"] == {"Transpose": {"before": 2, "after": 1}}
    assert (data["input"], data["output"]) == (str(model), str(target))
    assert data["file_bytes"] == {"before": model.stat().st_size, "after": target.stat().st_size}
    assert data["verification"]["verdict"] == "equal"
    assert "transpose_transpose" in err and "verification: equal" in err


def test_quiet_and_short_reports(run: Callable[..., Result], model: Path) -> None:
    target = model.with_name("fast.onnx")
    assert run("optimize", model, "-o", target, "--quiet") == (0, "", "")
    assert target.is_file()
    assert run("optimize", model, "-o", target, "--report", "none") == (0, f"written    {target}\n", "")
    code, out, err = run("optimize", model, "-o", target, "--quiet", "--report", "json")
    assert (code, err) == (0, "") and json.loads(out)["level"] == 2


def test_levels_and_selection(run: Callable[..., Result], model: Path) -> None:
    def rules_fired(*args: str) -> list[str]:
        result = run("optimize", model, "-o", model.with_name("o.onnx"), "--report", "json", *args)
        assert result.code == 0
        return [row["rule"] for row in json.loads(result.out)["rules"]]

    assert rules_fired() == ["transpose_transpose"]
    assert rules_fired("--level", "1") == ["transpose_transpose"]  # it is exact
    assert rules_fired("--level", "0") == []
    assert rules_fired("--without", "dead_code,transpose_transpose") == []
    assert rules_fired("--without", "dead_code", "--without", "transpose") == []  # the family
    assert rules_fired("--only", "dead_code") == []
    assert rules_fired("--only", "dead_code, transpose_transpose") == ["transpose_transpose"]


@pytest.mark.parametrize("command", ["optimize", "bisect"])
@pytest.mark.parametrize("option", ["--without", "--only"])
def test_unknown_rules(run: Callable[..., Result], model: Path, command: str, option: str) -> None:
    assert_refused(run(command, model, option, "transpose_transpos"), option, "did you mean transpose_transpose")
    assert_refused(run(command, model, option, "xyzzy"), option, "graphopt rules")
    assert_refused(run(command, model, option, ""), option)
    assert [p.name for p in model.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("command", ["optimize", "bisect"])
def test_unknown_level(run: Callable[..., Result], model: Path, command: str) -> None:
    assert_refused(run(command, model, "--level", "9"), "level 9", "0 (load and save)")


def dims_of(path: Path) -> list[int | str]:
    shape = onnx.load(path).graph.input[0].type.tensor_type.shape
    return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in shape.dim]


@pytest.mark.parametrize(
    ("shapes", "dims"),
    [
        (["x=5,3,7"], [5, 3, 7]),
        (["x=5, 3, 7"], [5, 3, 7]),
        (["x=?,3,7"], ["batch", 3, 7]),
        (["x=*,*,7"], ["batch", 3, 7]),
        (["batch=5"], [5, 3, "n"]),
        (["batch=5", "n=7"], [5, 3, 7]),
    ],
)
def test_input_shapes(run: Callable[..., Result], model: Path, shapes: list[str], dims: list[int | str]) -> None:
    options = [text for shape in shapes for text in ("--input-shape", shape)]
    result = run("optimize", model, "--verify", *options)
    assert result.code == 0 and "verification: equal" in result.out
    assert dims_of(model.with_name("model.opt.onnx")) == dims


def test_input_shape_of_one_dim(run: Callable[..., Result], tmp_path: Path) -> None:
    path = one_node(tmp_path / "m.onnx", "Relu", None)
    for text in ("x=4", "x=4,"):
        assert run("optimize", path, "--input-shape", text).code == 0
        assert dims_of(path.with_name("m.opt.onnx")) == [4]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        *((s, (f"'{s}'", "x=1,3,224,224", "batch=1")) for s in ("x", "x=", "=1", "x=a", "x=1,,2", "x=-1,3,4", "x=1.5")),
        ("x=1,3", ("3 dims, not 2",)),
        ("x=1,4,5", ("dim 1 of 'x' is 3",)),
        ("x=5", ("3 dims, not 1",)),
        ("y=1,2,3", ("no input named 'y'", "'x'")),
        ("z=1", ("no input has a dim named 'z'", "'batch'")),
        ("batch=99999999999999999999", ("64 bits",)),
    ],
)
def test_bad_input_shapes(run: Callable[..., Result], model: Path, shape: str, words: tuple[str, ...]) -> None:
    assert_refused(run("optimize", model, "--input-shape", shape), "--input-shape", *words)
    assert [p.name for p in model.parent.iterdir()] == ["model.onnx"]


def test_input_shapes_that_disagree(run: Callable[..., Result], model: Path) -> None:
    two = ("--input-shape", "x=5,3,7", "--input-shape")
    assert_refused(run("optimize", model, *two, "x=6,3,7"), "'x' is given twice")
    assert_refused(run("optimize", model, *two, "batch=6"), "pinned to 5")


def test_no_shape_for_what_is_no_tensor(run: Callable[..., Result], tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    length = helper.make_tensor_value_info("y", TensorProto.INT64, [])
    path = write(tmp_path / "m.onnx", [helper.make_node("SequenceLength", ["s"], ["y"])], [sequence], [length])
    assert_refused(run("optimize", path, "--input-shape", "s=4,"), "'s' is no tensor")


def test_freeze_inputs(run: Callable[..., Result], tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["w"], ["v"]), helper.make_node("Add", ["x", "v"], ["y"])]
    weights = [numpy_helper.from_array(np.ones(4, np.float32), "w")]
    path = write(tmp_path / "m.onnx", nodes, [tensor("x", 4), tensor("w", 4)], [tensor("y", 4)], weights)
    result = run("optimize", path)
    assert "note: " in result.out and "--freeze-inputs" in result.out
    assert len(onnx.load(tmp_path / "m.opt.onnx").graph.input) == 2
    result = run("optimize", path, "--freeze-inputs", "--verify")
    assert result.code == 0 and "verification: equal" in result.out
    saved = onnx.load(tmp_path / "m.opt.onnx").graph
    assert [i.name for i in saved.input] == ["x"] and [n.op_type for n in saved.node] in (["Add"], ["Sub"])


def test_external_data(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(np.ones(512, np.float32).tobytes())
    path = external(tmp_path / "m.onnx", "weights.bin")
    before = contents(tmp_path)

    def written(*args: str) -> tuple[set[str], int]:
        result = run("optimize", path, "-o", tmp_path / "o.onnx", "--report", "json", *args)
        assert result.code == 0
        new = {name for name in contents(tmp_path) if name not in before}
        onnx.checker.check_model(str(tmp_path / "o.onnx"))
        reported = json.loads(result.out)["file_bytes"]
        assert reported["before"] == path.stat().st_size + 2048
        for name in new:
            (tmp_path / name).unlink()
        return new, reported["after"]

    files, size = written()  # as the model has them
    assert files == {"o.onnx", "o.onnx.data"} and size > 2048
    files, size = written("--no-external-data")
    assert files == {"o.onnx"} and size > 2048
    assert written("--external-data")[0] == {"o.onnx", "o.onnx.data"}
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", ["optimize", "bisect"])
def test_the_input_is_never_written_to(run: Callable[..., Result], model: Path, command: str) -> None:
    link = model.with_name("link.onnx")
    link.symlink_to(model)
    os.link(model, model.with_name("hard.onnx"))
    (model.parent / "sub").mkdir()
    before = contents(model.parent)
    for output in (model, link, model.with_name("hard.onnx"), model.parent / "sub" / ".." / "model.onnx"):
        assert_refused(run(command, model, "-o", output), str(output), "another file")
    assert_refused(run(command, link, "-o", model), "another file")
    assert contents(model.parent) == before


@pytest.mark.parametrize("command", ["optimize", "bisect"])
def test_weights_of_the_input_are_never_written_to(run: Callable[..., Result], tmp_path: Path, command: str) -> None:
    (tmp_path / "other.onnx.data").write_bytes(np.ones(512, np.float32).tobytes())
    path = external(tmp_path / "m.onnx", "other.onnx.data")
    before = contents(tmp_path)
    for name in ("other.onnx", "other.onnx.data"):
        assert_refused(run(command, path, "-o", tmp_path / name), "other.onnx.data", "would be overwritten")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", ["optimize", "bisect"])
@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("folder", ("is a folder",)),
        ("gone/out.onnx", ("gone", "does not exist")),
        ("model.onnx/out.onnx", ("model.onnx", "is a file")),
        (os.devnull, (os.devnull,)),
        ("n" * 300 + ".onnx", ("name too long",)),
        ("", ("is a folder",)),
    ],
)
def test_outputs_that_cannot_be(
    run: Callable[..., Result],
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    output: str,
    words: tuple[str, ...],
) -> None:
    (model.parent / "folder").mkdir()
    monkeypatch.chdir(model.parent)
    before = contents(model.parent)
    result = run(command, model, "-o", output)
    assert_refused(result._replace(err=result.err.replace("File name", "name")), *words)
    assert contents(model.parent) == before
    assert not Path(os.devnull).is_file()


def test_a_disk_that_fills_up(run: Callable[..., Result], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", broken(OSError(28, "No space left on device")))
    assert_refused(run("optimize", model), "model.opt.onnx", "No space left on device")
    assert [p.name for p in model.parent.iterdir()] == ["model.onnx"]


def test_a_result_that_differs_is_not_written(
    run: Callable[..., Result], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = graphopt.optimize

    def wrong(*args: Any, **options: Any) -> graphopt.Model:
        result = right(*args, **options)
        scaled = next(n for n in result.graph if n.op == "Mul")
        scaled.set_input(1, scaled.inputs[0])
        return result

    monkeypatch.setattr(graphopt, "optimize", wrong)
    code, out, err = run("optimize", model, "--verify")
    assert code == 1 and "verification: different" in out
    assert err == f"graphopt: the optimized model is not equal to '{model}': nothing was written\n"
    code, out, err = run("optimize", model, "--verify", "--report", "json")
    data = json.loads(out)
    assert code == 1 and data["output"] is None and data["verification"]["verdict"] == "different"
    assert "nothing was written" in err
    assert [p.name for p in model.parent.iterdir()] == ["model.onnx"]


def test_a_result_that_cannot_be_compared_is_written(run: Callable[..., Result], tmp_path: Path) -> None:
    path = one_node(tmp_path / "m.onnx", "RandomNormalLike", 4)
    code, out, _ = run("optimize", path, "--verify")
    assert code == 3 and "verification: inconclusive" in out and "written" in out
    assert (tmp_path / "m.opt.onnx").is_file()


# ----------------------------------------------------------------------------------------------------------- verify
def test_verify(run: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    graphopt.optimize(model).save(tmp_path / "fast.onnx")
    code, out, err = run("verify", model, tmp_path / "fast.onnx", "--on", "reference", "--seeds", "2")
    assert (code, err) == (0, "")
    assert out.startswith("verification: equal on reference\n")
    assert out.splitlines()[1].split() == ["executor", "output", "status", "runs", "difference", "tolerance"]
    assert "sizes: " in out and "left out" not in out


def test_verify_different(run: Callable[..., Result], tmp_path: Path) -> None:
    a, b = one_node(tmp_path / "a.onnx", "Relu"), one_node(tmp_path / "b.onnx", "LeakyRelu")
    result = run("verify", a, b, "--on", "reference")
    assert result.code == 1 and "verification: different" in result.out
    result = run("verify", a, b, "--on", "reference", "--rtol", "0.1")
    assert result.code == 0 and "1.0e-01" in result.out
    result = run("verify", a, b, "--on", "reference", "--json")
    assert result.code == 1 and result.err == ""
    assert json.loads(result.out)["verdict"] == "different"


def test_verify_other_interfaces(run: Callable[..., Result], tmp_path: Path) -> None:
    a, b = one_node(tmp_path / "a.onnx", "Relu", 4), one_node(tmp_path / "b.onnx", "Relu", 5)
    result = run("verify", a, b)
    assert result.code == 1 and "verification: interface differs" in result.out and "'x'" in result.out


def test_verify_a_candidate_that_is_no_model(run: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    result = run("verify", model, tmp_path / "text.onnx")
    assert result.code == 1 and "verification: failed" in result.out
    assert_refused(run("verify", model, tmp_path / "gone.onnx"), "gone.onnx", "no such file")


def test_verify_inconclusive(run: Callable[..., Result], tmp_path: Path) -> None:
    path = one_node(tmp_path / "m.onnx", "Foo", domain="my.own", opsets=[helper.make_opsetid("my.own", 1)])
    result = run("verify", path, path)
    assert result.code == 3 and "verification: inconclusive" in result.out and "not comparable" in result.out


def test_verify_on_nobody(run: Callable[..., Result], model: Path) -> None:
    assert_refused(run("verify", model, model, "--on", "reference,tensorflow"), "tensorflow", "onnxruntime")


def test_verify_says_who_was_left_out(run: Callable[..., Result], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = run("verify", model, model)
    assert result.code == 0
    assert result.out.startswith("verification: equal on reference\n")
    assert "left out: onnxruntime: not installed; pip install 'graphopt[ort]'" in result.out
    assert_refused(run("verify", model, model, "--on", "onnxruntime"), "onnxruntime", "pip install")


@pytest.mark.parametrize("on", ["reference,onnx.reference", "onnx.reference,reference", "reference"])
def test_verify_on_several_executors(run: Callable[..., Result], model: Path, on: str) -> None:
    names = on.split(",")
    for options in (["--on", on], [text for name in names for text in ("--on", name)]):
        result = run("verify", model, model, *options)
        assert result.code == 0
        assert result.out.startswith(f"verification: equal on {' and '.join(names)}\n")
    data = json.loads(run("verify", model, model, "--on", on, "--json").out)
    assert list(dict.fromkeys(row["executor"] for row in data["rows"])) == names
    assert all(0 <= row["noise"] <= row["tolerance"] for row in data["rows"])
    assert data["ok"] and data["notes"] == []


class Noisy:
    """The reference, off by one part in a thousand."""

    def __init__(self, model: Any, folder: Any = None) -> None:
        self.inner = create("reference", model)

    def run(self, feeds: Any) -> dict[str, Any]:
        return {k: (v * 1.001).astype(v.dtype) for k, v in self.inner.run(feeds).items()}


def test_verify_allows_for_noise(run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", lambda: {"noisy": SimpleNamespace(load=lambda: Noisy)})
    k = (numpy_helper.from_array(np.float32(factor), "k") for factor in (1, 1.0005))
    a, b = (
        write(
            tmp_path / name, [helper.make_node("Mul", ["x", "k"], ["y"])], [tensor("x", 99)], [tensor("y", 99)], [one]
        )
        for name, one in zip(("a.onnx", "b.onnx"), k)
    )
    result = run("verify", a, b, "--on", "reference,noisy")
    assert result.code == 0 and "1.0e-03" in result.out
    assert run("verify", a, b, "--on", "reference").code == 1
    assert run("verify", a, b, "--on", "reference,noisy", "--rtol", "1e-4").code == 1
    rows = json.loads(run("verify", a, b, "--on", "reference,noisy", "--json").out)["rows"]
    assert {round(row["noise"], 5) for row in rows} == {1e-3}


def test_verify_on_a_provider(run: Callable[..., Result], model: Path) -> None:
    pytest.importorskip("onnxruntime")
    name = "onnxruntime:CPUExecutionProvider"
    assert run("verify", model, model, "--on", name).out.startswith(f"verification: equal on {name}\n")
    assert_refused(run("verify", model, model, "--on", "onnxruntime:Fast"), "no 'Fast'", "CPUExecutionProvider")
    assert_refused(run("verify", model, model, "--on", "reference:cuda"), "reference has no devices")


def test_verify_on_what_is_not_installed(
    run: Callable[..., Result], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "jax" else find_spec(name, *a))
    for on in ("jax", "reference,jax", "jax:cpu"):
        assert_refused(run("verify", model, model, "--on", on), "pip install graphopt[jax]")
    assert_refused(run("bisect", model, "--on", "jax"), "pip install graphopt[jax]")


@pytest.mark.parametrize("rtol", ["inf", "nan"])
@pytest.mark.parametrize("command", ["verify", "bisect"])
def test_tolerances_that_make_no_sense(run: Callable[..., Result], model: Path, command: str, rtol: str) -> None:
    args = [model] * (2 if command == "verify" else 1)
    assert_refused(run(command, *args, "--rtol", rtol), "--rtol")


# ----------------------------------------------------------------------------------------------------------- bisect
@rule
def relu_is_nothing(x):
    yield op.Relu(x)
    yield x


@pytest.fixture
def wrong_rule(monkeypatch: pytest.MonkeyPatch) -> Rule:
    """A rule of the package that is wrong."""
    rules = {**all_rules(), relu_is_nothing.name: relu_is_nothing}
    monkeypatch.setattr(selection, "all_rules", lambda: rules)
    monkeypatch.setattr(
        selection, "rules_of", lambda phase: (*rules_of(phase), *([relu_is_nothing] * (phase == PHASES[0])))
    )
    return relu_is_nothing


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Something to do, the trap, something to do."""
    kinds = ("Neg", "Neg", "Exp", "Cos", "Relu", "Sin", "Neg", "Neg", "Tanh")
    values = ["x", *(f"v{i}" for i in range(1, len(kinds))), "y"]
    nodes = [helper.make_node(kind, [a], [b]) for kind, a, b in zip(kinds, values, values[1:])]
    return write(tmp_path / "model.onnx", nodes, [tensor("x", "batch", 4)], [tensor("y", "batch", 4)])


def test_bisect(run: Callable[..., Result], trap: Path, wrong_rule: Rule) -> None:
    original = trap.read_bytes()
    code, out, err = run("bisect", trap, "--on", "reference")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0] == f"rewrite 2 of 3 changes the outputs: relu_is_nothing ({place(wrong_rule.where)}) at 'v5'"
    assert lines[1:3] == ["  Relu -> nothing", "  shown by the nodes around it: 1 node"]
    assert lines[3] == "verification: different on reference"
    folder = trap.parent
    assert (
        lines[-1] == f"written    {folder / 'model.bisect.onnx'}, and with the rewrite applied model.bisect.after.onnx"
    )
    assert sorted(p.name for p in folder.iterdir()) == ["model.bisect.after.onnx", "model.bisect.onnx", "model.onnx"]
    assert trap.read_bytes() == original
    small = folder / "model.bisect.onnx"
    assert [n.op_type for n in onnx.load(small).graph.node] == ["Relu"]
    assert run("verify", small, folder / "model.bisect.after.onnx", "--on", "reference").code == 1
    result = run("optimize", small, "--only", "relu_is_nothing", "--verify", "--quiet")
    assert result.code == 1 and "nothing was written" in result.err


def test_bisect_a_selection(run: Callable[..., Result], trap: Path, wrong_rule: Rule) -> None:
    target = trap.with_name("out.onnx")
    result = run("bisect", trap, "--only", "relu_is_nothing", "-o", target, "--on", "reference")
    assert result.code == 1 and result.out.startswith("rewrite 1 of 1 changes the outputs: relu_is_nothing")
    assert sorted(p.name for p in trap.parent.iterdir()) == ["model.onnx", "out.after.onnx", "out.onnx"]
    for options in (["--without", "relu_is_nothing"], ["--level", "1"], ["--level", "0"]):
        result = run("bisect", trap, "-o", trap.with_name("none.onnx"), "--on", "reference", *options)
        assert (result.code, result.err) == (0, "")
        assert "changes the outputs\nverification: equal on reference\n" in result.out
    result = run("bisect", trap, "-o", trap.with_name("none.onnx"), "--on", "reference", "--rtol", "100")
    assert result.code == 3 and "too small to tell" in result.out, "anything would pass"
    assert not trap.with_name("none.onnx").exists()


def test_bisect_finds_nothing(run: Callable[..., Result], trap: Path) -> None:
    code, out, err = run("bisect", trap)
    assert (code, err) == (0, "")
    assert out.startswith("no rewrite of 2 changes the outputs\nverification: equal on reference")
    assert [p.name for p in trap.parent.iterdir()] == ["model.onnx"]


def test_bisect_inconclusive(run: Callable[..., Result], tmp_path: Path) -> None:
    path = one_node(tmp_path / "m.onnx", "RandomNormalLike", 4)
    code, out, err = run("bisect", path, "--on", "reference")
    assert code == 3
    assert out.startswith("verification: inconclusive on reference\n") and "not deterministic" in out
    assert err == "graphopt: nothing to bisect: no comparison could have told a difference\n"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_bisect_writes_both_files_or_none(
    run: Callable[..., Result], trap: Path, wrong_rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    for taken in ("out.onnx", "out.after.onnx"):
        trap.with_name(taken).mkdir()
        assert_refused(run("bisect", trap, "-o", trap.with_name("out.onnx")), taken, "is a folder")
        trap.with_name(taken).rmdir()
    copy = trap.with_name("out.after.onnx")
    trap.rename(copy)
    assert_refused(run("bisect", copy, "-o", copy.with_name("out.onnx")), "out.after.onnx", "another file")
    copy.rename(trap)
    monkeypatch.setattr(os, "replace", broken(OSError(28, "No space left on device")))
    code, out, err = run("bisect", trap, "--on", "reference")
    assert code == 2 and "written" not in out
    assert (
        err == f"graphopt: error: '{trap.with_name('model.bisect.onnx')}' cannot be written: No space left on device\n"
    )
    assert [p.name for p in trap.parent.iterdir()] == ["model.onnx"]


def test_bisect_in_a_process(trap: Path) -> None:
    done = in_a_process("bisect", "model.onnx", "--on", "reference", cwd=trap.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("no rewrite of 2 changes the outputs\n")


# ---------------------------------------------------------------------------------------------------------- inspect
@pytest.fixture
def rich_model(tmp_path: Path) -> Path:
    """A little of everything."""
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["b"])], "body", [], [tensor("b", "batch", None)])
    opset = helper.make_opsetid("", 17)
    double = helper.make_function("own", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [opset])
    nodes = [
        helper.make_node("If", ["condition"], ["i"], then_branch=body, else_branch=body),
        helper.make_node("Double", ["i"], ["j"], domain="own"),
        helper.make_node("Unheard", ["j"], ["k"], domain="strange"),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.zeros(7, np.float32))),
        helper.make_node("Add", ["k", "w"], ["y"]),
        helper.make_node("SequenceConstruct", ["y"], ["s"]),
    ]
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[512], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", "2048")):
        w.external_data.add(key=key, value=value)
    (tmp_path / "w.bin").write_bytes(bytes(2048))
    condition = helper.make_tensor_value_info("condition", TensorProto.BOOL, [])
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, ["batch", None])
    anything = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return write(
        tmp_path / "m.onnx",
        nodes,
        [tensor("x", "batch", None), condition],
        [anything, sequence],
        [numpy_helper.from_array(np.array(True), "condition"), w],
        functions=[double],
        opsets=[helper.make_opsetid("own", 1), helper.make_opsetid("strange", 2)],
    )


def test_inspect(run: Callable[..., Result], rich_model: Path) -> None:
    code, out, err = run("inspect", rich_model)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in (
        "producer tests",
        "IR version 8",
        "opsets ai.onnx 17, own 1, strange 2",
        "external data 2.0 KiB in w.bin",
        "functions own::Double",
        "input x float32 [batch, ?]",
        "output y float32 rank unknown",
        "output s sequence(float32[batch, ?])",
        "strange::Unheard 1",
        "Relu 2",
        "w float32[512] 2.0 KiB",
        "note: operators that onnx does not know: strange::Unheard x 1",
    ):
        assert line in lines
    assert any(line.startswith("note: 1 initializers are inputs too") for line in lines)
    assert not any(line.startswith("Constant ") for line in lines)


def test_inspect_for_programs(run: Callable[..., Result], rich_model: Path) -> None:
    data = json.loads(run("inspect", rich_model, "--json").out)
    assert data["inputs"] == [{"name": "x", "type": "float32", "dims": ["batch", None]}]
    assert data["outputs"][0] == {"name": "y", "type": "float32", "dims": None}
    assert data["initializers_that_are_inputs"] == ["condition"]
    assert data["operators"]["Relu"] == 2 and "Constant" not in data["operators"]
    assert data["nodes"] == sum(data["operators"].values())
    assert (data["subgraphs"], data["functions"]) == (2, ["own::Double"])
    assert data["unknown_operators"] == {"strange::Unheard": 1}
    assert data["constant_bytes"] == 2048 + 28 + 1
    assert data["largest_constants"][0] == {"name": "w", "dtype": "float32", "dims": [512], "bytes": 2048}
    assert data["external_data"] == {"w.bin": 2048}


@pytest.fixture
def shape_model(tmp_path: Path) -> Path:
    """Dims with names, an expression, elements of a shape tensor, and something that depends on data."""
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "my" : 1]>
        g (float[batch, 4] x, float[rows, 4] z) => (float[A, B] y, int64[C, D] where, float[E] t) <int64[2] s = {0, -1}> {
            s2 = Shape(x) both = Concat<axis=0>(x, z) y = Add(x, z) where = NonZero(y) odd = my.Thing(x) t = Neg(odd)
        }""")
    path = tmp_path / "shapes.onnx"
    onnx.save(model, path)
    return path


def test_inspect_shapes(run: Callable[..., Result], shape_model: Path) -> None:
    code, out, err = run("inspect", shape_model, "--shapes")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert "= [batch, 4]" in lines["s2"]
    assert "[batch + rows, 4]" in lines["both"]
    assert "Max(batch, rows)*Min(1, batch, rows)" in lines["y"]
    assert "int64" in lines["where"] and "[2, D]" in lines["where"], "the declared name stands for what depends on data"
    assert "no shape function for the operator my::Thing" in lines["odd"]
    assert "6 values: the rank is known of 4, every dim of 4" in out


def test_inspect_shapes_for_programs(run: Callable[..., Result], shape_model: Path) -> None:
    data = json.loads(run("inspect", shape_model, "--shapes", "--json", "--input-shape", "batch=3").out)
    found = {v["name"]: v for v in data["values"]}
    assert found["s2"]["elements"] == ["3", "4"]
    assert found["both"]["dims"] == ["rows + 3", 4]
    assert found["odd"]["dims"] is None and "my::Thing" in found["odd"]["unknown_because"]
    assert (data["rank_known"], len(data["values"])) == (4, 6)


def test_inspect_shapes_of_what_cannot_run(run: Callable[..., Result], shape_model: Path) -> None:
    code, _, err = run("inspect", shape_model, "--shapes", "--input-shape", "batch=3", "--input-shape", "rows=2")
    assert code == 2
    assert "(Add) cannot run with these shapes" in err
    code, _, err = run("inspect", shape_model, "--input-shape", "batch=3")
    assert code == 2
    assert "--shapes" in err


def test_inspect_shows_dynamic_dims(terminal: Callable[..., Result], model: Path) -> None:
    assert "\x1b[1;33mbatch\x1b[0m" in terminal(80, "inspect", model).out


# ---------------------------------------------------------------------------------------------------------- explain
def test_explain(run: Callable[..., Result], model: Path) -> None:
    code, out, err = run("explain", model)
    rule = all_rules()["transpose_transpose"]
    assert (code, err) == (0, "")
    assert out.startswith("1 step; 3 -> 2 nodes at level 2\n")
    assert "1. transpose_transpose at 'u'" in out
    assert "Transpose 'second', Transpose 'first'  ->  Transpose" in out
    assert rule.doc in out and rule.equation in out and f"transpose.py:{rule.where.rpartition(':')[2]}" in out
    assert [p.name for p in model.parent.iterdir()] == ["model.onnx"]


def test_explain_a_selection(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "a"),
        helper.make_node("Relu", ["x"], ["b"], "b"),
        helper.make_node("Add", ["a", "b"], ["y"], "sum"),
        helper.make_node("Sigmoid", ["x"], ["unused"], "unread"),
    ]
    write(path, nodes, [tensor("x", 4)], [tensor("y", 4)])
    only = ("--only", "dead_code,common_subexpressions")
    out = run("explain", path, *only).out
    assert out.index("1. dead_code at 'unused'") < out.index("2. common_subexpressions at 'b'")
    out = run("explain", path, *only, "--rule", "dead_code").out
    assert out.startswith("1 step of dead_code;") and "common_subexpressions" not in out
    out = run("explain", path, *only, "--node", "b").out
    assert out.startswith("1 step touching 'b';") and "2. common_subexpressions" in out
    assert run("explain", path, *only, "--node", "sum").out.startswith("0 steps touching 'sum';")
    out = run("explain", path, *only, "--limit", "1").out
    assert "2. " not in out and "1 more step; --limit 0 shows all" in out
    assert "2. " in run("explain", path, *only, "--limit", "0").out
    assert run("explain", path, "--level", "0").out == "0 steps; 4 -> 4 nodes at level 0\n"


def test_explain_unknown_names(run: Callable[..., Result], model: Path) -> None:
    assert_refused(run("explain", model, "--rule", "transpose_transpos"), "did you mean transpose_transpose")
    assert_refused(run("explain", model, "--rule", "xyzzy"), "graphopt rules")
    assert_refused(run("explain", model, "--node", "secnd"), "'secnd'", "did you mean second")


def test_explain_why_not(run: Callable[..., Result], model: Path) -> None:
    out = run("explain", model, "--only", "transpose", "--why-not", "--rule", "transpose_nothing").out
    assert out.startswith("0 steps of transpose_nothing;")
    assert "what nearly applied" in out and "transpose_nothing" in out and "first at" in out
    assert "no rule came near" in run("explain", model, "--level", "0", "--why-not").out


# ------------------------------------------------------------------------------------------------------------ rules
def test_rules(run: Callable[..., Result]) -> None:
    code, out, err = run("rules")
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert {len(row) for row in rows} == {8}
    listed = {row[0]: row for row in rows}
    for name, one in all_rules().items():
        assert listed[name][1] == ("exact" if one.exact else "rounded")
        assert listed[name][2] in (*PHASES, *TARGET_PHASES) and listed[name][3] == one.family
        assert listed[name][4] == one.equation and ".py:" in listed[name][6]
    assert listed["constant_folding"][2] == "pass"


def test_rules_for_programs(run: Callable[..., Result]) -> None:
    data = json.loads(run("rules", "--json").out)
    assert {r["name"] for r in data["rules"]} == set(all_rules())
    assert set(data["rules"][0]) == {"name", "phase", "family", "exact", "proof", "equation", "doc", "where"}
    assert "dead_code" in {p["name"] for p in data["passes"]}


def test_some_rules(run: Callable[..., Result]) -> None:
    def names(*args: str) -> set[str]:
        return {r["name"] for r in json.loads(run("rules", "--json", *args).out)["rules"]}

    assert names("--phase", "simplifying") == {r.name for r in rules_of("simplifying")}
    assert names("--family", "transpose") == {r.name for r in all_rules().values() if r.family == "transpose"}
    assert names("transpose_nothing") == {"transpose_nothing"}


def test_one_rule(run: Callable[..., Result]) -> None:
    out = run("rules", "transpose_nothing").out
    assert out.startswith("transpose_nothing: exact, simplifying, family transpose\n")
    assert "def transpose_nothing(x, p: Perm):" in out and "    yield x" in out
    assert run("rules", "dead_code").out.startswith("dead_code: a pass\n")


def test_no_such_rule(run: Callable[..., Result]) -> None:
    assert_refused(run("rules", "transpose_nothin"), "did you mean transpose_nothing")
    assert_refused(run("rules", "--family", "xyzzy"), "the families are", "transpose")
    assert_refused(run("rules", "--phase", "xyzzy"), "raising, simplifying, lowering")
    assert_refused(run("rules", "transpose_nothing", "--phase", "lowering"), "another family or phase")


# ------------------------------------------------------------------------------------------------------------- demo
def test_demo(run: Callable[..., Result]) -> None:
    code, out, err = run("demo")
    assert (code, err) == (0, "")
    assert "constant_folding" in out and "verification: equal" in out
    assert "graphopt optimize model.onnx" in out


def test_demo_without_onnxruntime(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out, _ = run("demo")
    assert code == 0
    assert "verification: equal on reference\n" in out and "left out: onnxruntime" in out


# -------------------------------------------------------------------------------------------------------- terminals
@pytest.mark.parametrize("columns", [80, 40])
def test_everything_fits_the_terminal(
    terminal: Callable[..., Result], model: Path, trap: Path, wrong_rule: Rule, columns: int
) -> None:
    from rich.text import Text

    for args in (
        ("optimize", model, "-o", model.with_name("o.onnx"), "--verify"),
        ("verify", model, model, "--on", "reference"),
        ("bisect", model, "--on", "reference"),
        ("bisect", trap, "--on", "reference", "-o", trap.with_name("a_rather_long_name_for_a_model.onnx")),
        ("inspect", model),
        ("explain", model, "--why-not"),
        ("rules",),
        ("rules", "transpose_nothing"),
    ):
        out = terminal(columns, *args).out
        assert "\x1b[" in out, "colours"
        shown = [Text.from_ansi(line).plain.rstrip() for line in out.splitlines()]
        assert max(map(len, shown)) <= columns
        assert "…" not in out, "something is cut off"


def test_no_colour_where_none_is_wanted(
    terminal: Callable[..., Result], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[1;33m" in terminal(80, "inspect", model).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;33m" not in terminal(80, "inspect", model).out


def test_long_names_are_whole_in_a_pipe(run: Callable[..., Result], tmp_path: Path) -> None:
    name = "a_very_long_name/" * 20
    path = write(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], [name])], [tensor("x", 4)], [tensor(name, 4)])
    assert name in run("inspect", path).out
    assert name in run("verify", path, path, "--on", "reference").out
