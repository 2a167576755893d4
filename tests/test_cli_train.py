"""`graphopt train`: data from files, what is printed and written, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt.cli import main
from tests.exec.training.models import cnn, data, mlp

pytest.importorskip("optax")
numpy_files = pytest.importorskip("safetensors.numpy")

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(mlp(), "net.onnx")
    rows = data(96)
    np.savez("rows.npz", **rows)
    numpy_files.save_file(rows, "rows.safetensors")
    lines = (",".join([*map(repr, map(float, x)), str(t)]) for x, t in zip(rows["x"], rows["label"], strict=True))
    Path("rows.csv").write_text("a,b,c,d,label\n" + "\n".join(lines))
    return tmp_path


def weights(path: str) -> dict[str, np.ndarray]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def test_a_model_is_trained_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    line = "train net.onnx --data rows.npz --epochs 12 --learning-rate 0.02 --batch-size 16 --validation 0.25"
    assert main(line.split()) == 0
    told = capsys.readouterr().out
    assert "4 initializers with 67 numbers are trained, 0 are not" in told
    assert "validation" in told and "written    net.trained.onnx" in told
    trained = onnx.load("net.trained.onnx")
    onnx.checker.check_model(trained, full_check=True)
    ort = pytest.importorskip("onnxruntime")
    rows = data(96)
    y = ort.InferenceSession("net.trained.onnx").run(None, {"x": rows["x"]})[0]
    assert (y.argmax(1) == rows["label"]).mean() > 0.85


def test_files_of_all_kinds_hold_the_same() -> None:
    found = []
    for kind in ("npz", "safetensors", "csv"):
        assert main(f"train net.onnx --data rows.{kind} --target label -o {kind}.onnx -q".split()) == 0
        found.append(weights(f"{kind}.onnx"))
    for other in found[1:]:
        assert all((other[n] == w).all() for n, w in found[0].items())


def test_interrupted_training_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    line = "train net.onnx --data rows.npz -q --epochs"
    assert main(f"{line} 3 -o whole.onnx".split()) == 0
    assert main(f"{line} 2 -o part.onnx --checkpoint state".split()) == 0
    assert main(f"{line} 3 -o rest.onnx --resume state".split()) == 0
    whole, part, rest = map(weights, ("whole.onnx", "part.onnx", "rest.onnx"))
    assert all((rest[n] == w).all() for n, w in whole.items())
    assert any((part[n] != w).any() for n, w in whole.items())


def test_a_checkpoint_does_not_replace_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("net.onnx").read_bytes()
    assert main("train net.onnx --data rows.npz --checkpoint net.onnx -o o.onnx".split()) == 2
    assert "net.onnx" in capsys.readouterr().err
    assert Path("net.onnx").read_bytes() == before and not Path("o.onnx").exists()


def test_the_level_is_that_of_the_written_model() -> None:
    written = []
    for level in (0, 2):
        assert main(f"train net.onnx --data rows.npz -q --level {level} -o {level}.onnx".split()) == 0
        written.append([n.op_type for n in onnx.load(f"{level}.onnx").graph.node])
    assert written == [["MatMul", "Add", "Tanh", "MatMul", "Add"], ["Gemm", "Tanh", "Gemm"]]


def test_only_what_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("train net.onnx --data rows.npz --trainable w2 --trainable b* --json -o -".split()) == 2
    assert main("train net.onnx --data rows.npz --trainable w2 --trainable b* --json -o o.onnx".split()) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [p["name"] for p in shown["trained"]] == ["b1", "w2", "b2"]
    assert [p["name"] for p in shown["not_trained"]] == ["w1"]


def test_a_table_of_one_number_to_learn() -> None:
    m = mlp()
    m.graph.initializer[2].CopyFrom(onnx.numpy_helper.from_array(np.ones((8, 1), np.float32), "w2"))
    m.graph.initializer[3].CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), "b2"))
    m.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(m, "one.onnx")
    assert main("train one.onnx --data rows.csv --loss mse -q".split()) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--data none.npz", "there is no file 'none.npz'"),
        ("--data net.onnx", "data is read from .npz, .safetensors and .csv"),
        ("--data bad.npz", "'bad.npz' cannot be read"),
        ("--data rows.npz --target labels", "'rows.npz': there is no target 'labels'; there are x, label"),
        ("--data rows.csv --target labels", "has no column 'labels'; its columns: a, b, c, d, label"),
        ("--data short.csv", "'short.csv', line 3: 2 fields, where the first line has 5"),
        ("--data text.csv", "'text.csv', line 2, column 'b': 'two' is no number"),
        ("--data real.csv", "'real.csv', column 'label': this loss wants classes"),
        ("--data rows.npz --validation 0.001", "leaves nothing to validate"),
        ("--data rows.npz --loss mze", "no loss is called 'mze'"),
        ("--data rows.npz --trainable q", "no initializer is called 'q'"),
        ("--data rows.npz --resume none", "there is no checkpoint 'none'"),
        ("--data rows.npz -o net.onnx", "is the model that is read"),
    ],
)
def test_bad_input_gives_one_line(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.npz").write_bytes(b"nothing")
    Path("short.csv").write_text("a,b,c,d,label\n1,2,3,4,0\n1,2\n")
    Path("text.csv").write_text("a,b,c,d,label\n1,two,3,4,0\n")
    Path("real.csv").write_text("a,b,c,d,label\n1,2,3,4,0.5\n")
    assert main(["train", "net.onnx", *line.split()]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not Path("net.trained.onnx").exists()


def test_a_loss_that_overflows_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(cnn(), "cnn.onnx")
    x = np.full((4, 2, 6, 6), np.nan, np.float32)
    np.savez("nan.npz", x=x, label=np.zeros(4, np.int64))
    assert main("train cnn.onnx --data nan.npz".split()) == 2
    assert "stopped at step 0: batch entry 'x' holds NaN" in capsys.readouterr().err
    assert not Path("cnn.trained.onnx").exists()
