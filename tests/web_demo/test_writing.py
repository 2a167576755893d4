"""The folder that `graphopt web-demo` writes."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from onnx import parser

import graphopt
from graphopt.cli import main
from graphopt.demo import demo_model
from graphopt.errors import ArgumentError, MissingDependencyError, SaveError, UnsupportedError
from graphopt.exec.executors import node, web
from graphopt.web_demo import Demo, write_demo, writing
from graphopt.web_demo.folder import whole_folder
from graphopt.web_demo.picture import with_pictures

NOT_THERE = node.missing([web.PACKAGE], "ONNX Runtime Web", program=False)
needs_package = pytest.mark.skipif(NOT_THERE is not None, reason=f"ONNX Runtime Web is left out: {NOT_THERE}")


def model(text: str) -> bytes:
    return bytes(parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\n{text}').SerializeToString())


MIXED = model(
    "g (float[n,3] x, int64[2] i, string[2] s, bool b) => (float[m,3] y, int64[2] j, string[2] t) {"
    " z = Neg(x) w = Neg(z) y = Gather<axis = 0>(w, i) c = Cast<to = 7>(b) j = Add(i, c) t = Identity(s) }"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return write_demo(demo_model(), tmp_path_factory.mktemp("web") / "demo", input_shapes={"batch": 1})


def told(demo: Demo) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((demo.folder / "demo.json").read_text())
    return found


@needs_package
def test_it_holds_both_models_and_what_runs_them(written: Demo) -> None:
    original, optimized = (written.folder / "models" / f"{n}.onnx" for n in ("original", "optimized"))
    assert graphopt.verify(demo_model(), original, seeds=2, sizes=1).ok
    assert graphopt.verify(original, optimized, seeds=2, sizes=1).verdict in ("equal", "interface differs")  # batch = 1
    data = told(written)
    assert [m["nodes"] for m in data["models"]] == [written.report.nodes_before, written.report.nodes_after]
    assert [m["bytes"] for m in data["models"]] == [p.stat().st_size for p in (original, optimized)]
    assert sum(row[1] for row in data["operators"]) == written.report.nodes_before
    assert sum(row[2] for row in data["operators"]) == written.report.nodes_after
    module = (written.folder / "page.mjs").read_text() + (written.folder / "runner.mjs").read_text()
    for used in ("show.mjs", "message.mjs", "runner.mjs"):
        assert used in module and (written.folder / used).is_file()
    runtime = {p.name for p in (written.folder / "ort").iterdir()}
    assert runtime == {*web.DEVICES["chromium"][1], "onnxruntime-web.LICENSE.txt"}
    assert data["bundle"] in runtime
    assert "://" not in module.replace("http://www.w3.org/2000/svg", "")
    assert written.differences and max(written.differences.values()) < 1e-5
    assert not list(written.folder.parent.glob(".demo*"))


@needs_package
def test_given_inputs_of_all_kinds(tmp_path: Path) -> None:
    feeds = {
        "x": np.arange(12, dtype=np.float32).reshape(4, 3),
        "i": np.array([3, 0]),
        "s": np.array(["a", "ü"], object),
        "b": np.bool_(True),
    }
    demo = write_demo(MIXED, tmp_path / "out", inputs=feeds)
    data = told(demo)
    assert [(i["name"], i["type"], i["dims"]) for i in data["inputs"]] == [
        ("x", "float32", [4, 3]), ("i", "int64", [2]), ("s", "string", [2]), ("b", "bool", []),
    ]  # fmt: skip
    raw = (demo.folder / "inputs.bin").read_bytes()
    assert len(raw) == sum(i["bytes"] for i in data["inputs"]) == 48 + 16 + 0 + 1
    assert np.array_equal(np.frombuffer(raw, np.float32, 12), feeds["x"].ravel())
    assert data["inputs"][2]["text"] == ["a", "ü"]
    assert demo.differences == {"y": 0.0, "j": 0.0, "t": 0.0}
    with pytest.raises(ArgumentError, match="inputs: no value for 'i', 's', 'b'"):
        write_demo(MIXED, tmp_path / "out", inputs={"x": feeds["x"]})
    assert told(demo) == data  # which is still there


@needs_package
def test_a_demo_is_replaced_and_other_folders_are_not(tmp_path: Path) -> None:
    relu = model("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    folder = tmp_path / "out"
    folder.mkdir()
    write_demo(relu, folder)
    (folder / "extra").write_text("of an older version")
    write_demo(relu, folder)
    assert not (folder / "extra").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("dear")
    with pytest.raises(SaveError, match="'.*mine' holds something else; name another folder, or .* with force=True"):
        write_demo(relu, mine)
    assert (mine / "thesis.txt").read_text() == "dear"
    write_demo(relu, mine, force=True)
    assert not (mine / "thesis.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "out"]


def test_a_folder_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SaveError, match="cannot be written"), whole_folder(tmp_path / "out", "mark") as new:
        new.write_text("")
    assert not list(tmp_path.iterdir())
    with pytest.raises(SaveError, match="does not exist; create it first"), whole_folder(tmp_path / "a" / "b", "mark"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="is a file"), whole_folder(tmp_path / "file", "mark"):
        pass
    monkeypatch.chdir(tmp_path)
    for here in (tmp_path, Path("."), tmp_path.parent):
        with pytest.raises(SaveError, match="is not replaced"), whole_folder(here, "mark", force=True):
            pass
    assert (tmp_path / "file").is_file()


@needs_package
def test_what_cannot_be_shown_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relu = model("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    with pytest.raises(ArgumentError, match="'webgl' is no provider of ONNX Runtime Web: wasm, webgpu"):
        write_demo(relu, tmp_path / "out", provider="webgl")
    with pytest.raises(ArgumentError, match="no input 'z'"):
        write_demo(relu, tmp_path / "out", inputs={"z": 1.0})
    with pytest.raises(UnsupportedError, match="bfloat16"):
        write_demo(model("g (bfloat16[2] x) => (bfloat16[2] y) { y = Identity(x) }"), tmp_path / "out")
    never = model("g (float[2,3] x, float[2,3] w) => (float[2,3] y) { y = MatMul(x, w) }")
    with pytest.raises((ArgumentError, RuntimeError)):
        write_demo(never, tmp_path / "out")
    if web.missing() is None:
        with pytest.raises(UnsupportedError, match="no kernel for Acos"):
            write_demo(model("g (double[2] x) => (double[2] y) { y = Acos(x) }"), tmp_path / "out")
    monkeypatch.setenv(node.FOLDER, str(tmp_path))
    with pytest.raises(MissingDependencyError, match=f"npm install --prefix {tmp_path} onnxruntime-web@1.30.0"):
        write_demo(relu, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@needs_package
def test_without_node_the_reference_finds_the_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "missing", lambda device="node": "no node")
    demo = write_demo(model("g (float[n,2] x) => (float[n,2] y) { y = Relu(x) }"), tmp_path / "out")
    assert demo.checked_on == "reference"
    assert told(demo)["inputs"][0]["dims"] == [1, 2]


@pytest.mark.parametrize(("shape", "is_image"), [((2, 3, 32, 40), True), ((1, 24, 32, 1), True), ((1, 3, 8, 8), False), ((1, 5, 32, 32), False)])  # fmt: skip
def test_pictures(shape: tuple[int, ...], is_image: bool) -> None:
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    drawn = with_pictures({"x": noise, "n": 3})
    assert drawn["n"] == 3
    if not is_image:
        assert drawn["x"] is noise
        return
    x = drawn["x"]
    assert x.shape == noise.shape and x.dtype == np.float32 and 0 <= x.min() < 0.3 and 0.8 < x.max() <= 1
    rows = 2 if shape[1] == 3 else 1
    assert np.abs(np.diff(x, axis=rows)).mean() < 0.1  # smooth


@needs_package
def test_the_server_gives_the_folder_and_nothing_else(written: Demo) -> None:
    with written.server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, kind in {"": "text/html", "page.mjs": "text/javascript", "palette.css": "text/css", f"ort/{web.DEVICES['chromium'][1][2]}": "application/wasm"}.items():  # fmt: skip
            with urlopen(server.url + name) as answer:
                assert answer.headers["Content-Type"].startswith(kind)
                assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
                assert answer.read() == (written.folder / (name or "index.html")).read_bytes()
        for away in ("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "models/", "nothing"):
            with pytest.raises(HTTPError, match="404"):
                urlopen(server.url + away)
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(server.url, headers={"Host": "example.com"}))
        with pytest.raises(ArgumentError, match=f"port {server.server_port} cannot be served on"):
            written.server(server.server_port)
        server.shutdown()


# ------------------------------------------------------------------------------------------------------ the command line
@needs_package
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(MIXED)
    np.savez("x.npz", x=np.ones((2, 3), np.float32), i=np.array([1, 1]), s=np.array(["a", "b"]), b=np.True_)
    assert main(["web-demo", "m.onnx", "-o", "out", "--inputs", "x.npz"]) == 0
    printed = capsys.readouterr().out
    assert "6 -> 4 nodes" in printed and "python -m http.server" in printed
    assert json.loads(Path("out/demo.json").read_text())["title"] == "m.onnx"
    for arguments, why in {
        ("-o", "."): "holds the model itself",
        ("-o", "out", "--inputs", "no.npz"): "--inputs 'no.npz' does not exist",
        ("-o", "out", "--inputs", "m.onnx"): "--inputs 'm.onnx' is no .npz",
        ("-o", "out", "--provider", "cpu"): "no provider",
        ("-o", "no/out"): "does not exist; create it first",
        (): "--output",
    }.items():
        assert main(["web-demo", "m.onnx", *arguments]) == 2
        assert why in capsys.readouterr().err
    Path("mine").mkdir()
    Path("mine/file").write_text("")
    assert main(["web-demo", "m.onnx", "-o", "mine"]) == 2
    assert "--force" in capsys.readouterr().err


@needs_package
def test_serving_ends_with_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.Server, "serve_forever", interrupted)
    (tmp_path / "m.onnx").write_bytes(model("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    assert main(["web-demo", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "out"), "--serve"]) == 130
    assert "open http://127.0.0.1:" in capsys.readouterr().out
