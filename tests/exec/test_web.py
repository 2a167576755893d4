"""ONNX Runtime Web as an executor: in Node.js, and in a browser."""

from __future__ import annotations

import functools
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

import graphopt
from graphopt.demo import demo_model
from graphopt.errors import ArgumentError, MissingDependencyError, ModelError, RunError, UnsupportedError
from graphopt.exec.executors import Reloadable, browser, create, messages, node, web
from graphopt.exec.executors.registry import installed
from graphopt.patterns import all_rules
from graphopt.testing import check_rule

needs_web = pytest.mark.skipif(web.missing() is not None, reason=f"ONNX Runtime Web is left out: {web.missing()}")
needs_browser = [needs_web, pytest.mark.browser]
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks at processes in /proc")
DEVICES = [
    pytest.param("node", marks=needs_web),
    pytest.param("chromium", marks=needs_browser),
    pytest.param("webgpu", marks=needs_browser),
]
everywhere = pytest.mark.parametrize("device", DEVICES)
each_kind = pytest.mark.parametrize("device", DEVICES[:2])  # of process


def model(text: str, opset: int = 17) -> bytes:
    return bytes(parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]>\n{text}').SerializeToString())


RELU = model("g (float[2] x) => (float[2] y) { y = Relu(x) }")
ACOS = model("g (double[2] x) => (double[2] y) { y = Acos(x) }")
X = {"x": np.array([-1, 2], np.float32)}
#: Runs for hours.
LOOP = model(
    """g (float[2] x) => (float[2] y) {
        n = Constant<value_int = 1000000000>() go = Constant<value_int = 1>() yes = Cast<to = 9>(go)
        y = Loop(n, yes, x) <body = b (int64 i, bool c, float[2] a) => (bool d, float[2] s) {
            d = Identity(c) t = Sin(a) s = Cos(t) }>
    }"""
)


class Started:
    """An executor for each device, started once."""

    def __init__(self) -> None:
        self.get: Callable[[str], Any] = functools.cache(lambda device: create(f"web:{device}", RELU))


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    yield Started()
    gc.collect()


def descendants() -> set[int]:
    """The processes that this one started, and that these did, as long as they are more than names."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
            state, parent = rest.rpartition(") ")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(pid)] = int(parent)
    found: set[int] = {os.getpid()}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def wait_until_gone(processes: set[int]) -> None:
    def left() -> set[int]:
        alive = set()
        for pid in processes:
            try:
                if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z":
                    alive.add(pid)
            except OSError:
                pass
        return alive

    end = time.monotonic() + 20
    while (alive := left()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive


# ----------------------------------------------------------------------------------------------------------------- runs
@needs_web
@pytest.mark.browser
def test_the_demo() -> None:
    fast = graphopt.optimize(demo_model(), target="web")
    result = graphopt.verify(demo_model(), fast, on=["reference", "web", "web:chromium"], sizes=1, seeds=2)
    assert result.ok
    assert {row.executor for row in result.rows} == {"reference", "web", "web:chromium"}
    assert not result.notes


@everywhere
@pytest.mark.parametrize("name", sorted(messages.TYPES))
def test_tensors_come_back_as_they_went_in(name: str, device: str, started: Started) -> None:
    written = {"float32": "float", "float64": "double"}.get(name, name)
    x = np.array([[0, 1, 2], [3, 1, 0]]).astype(messages.TYPES[name])
    executor = started.get(device)
    executor.load(model(f"g ({written}[2,3] x) => ({written}[2,3] y) {{ y = Identity(x) }}"))
    y = executor.run({"x": x})["y"]
    assert y.dtype == x.dtype
    assert np.array_equal(x, y)
    y[0, 0] = 1  # its own, to write to


@everywhere
def test_text_scalars_and_nothing(device: str, started: Started) -> None:
    executor = started.get(device)
    executor.load(model("g (string[3] x) => (string[3] y) { y = Identity(x) }"))
    x = np.array(["a", "é", ""], object)
    assert executor.run({"x": x})["y"].tolist() == x.tolist()
    executor.load(model("g (float x, float[0,2] z) => (float y, float[0,2] w) { y = Neg(x) w = Neg(z) }"))
    got = executor.run({"x": np.float32(3), "z": np.zeros((0, 2), np.float32)})
    assert got["y"].shape == () and got["y"] == -3
    assert got["w"].shape == (0, 2)


@everywhere
def test_products_and_convolutions(device: str, started: Started) -> None:
    rng = np.random.default_rng(0)
    feeds = {n: rng.standard_normal(s).astype(np.float32) for n, s in {"x": (1, 3, 9, 9), "w": (4, 3, 3, 3)}.items()}
    text = "g (float[1,3,9,9] x, float[4,3,3,3] w) => (float[1,4,9,9] y, float[1,3,9,9] z) { c = Conv<pads=[1,1,1,1]>(x, w) y = Relu(c) z = MatMul(x, x) }"
    executor = started.get(device)
    executor.load(model(text))
    got, want = executor.run(feeds), create("reference", model(text)).run(feeds)
    for name in want:
        assert np.abs(got[name] - want[name]).max() < 1e-5


@needs_web
def test_external_data_goes_along(tmp_path: Path) -> None:
    proto = onnx.load_from_string(model("g (float[2] x) => (float[2] y) <float[2] w = {3, 4}> { y = Mul(x, w) }"))
    proto.graph.initializer[0].raw_data = np.float32([3, 4]).tobytes()
    del proto.graph.initializer[0].float_data[:]
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    assert (tmp_path / "w").is_file()
    executor = create("web", tmp_path / "m.onnx")
    assert executor.run(X)["y"].tolist() == [-3, 8]
    inside = create("web", (tmp_path / "m.onnx").read_bytes(), folder=tmp_path)
    assert inside.run(X)["y"].tolist() == [-3, 8]
    (tmp_path / "w").unlink()
    with pytest.raises(ModelError, match="external data"):
        create("web", tmp_path / "m.onnx")


@needs_web
def test_one_process_for_all_models_of_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Counted(node.Node):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            started.append(arguments)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(node, "Node", Counted)
    check = check_rule(all_rules()["gelu"], on=["reference", "web"])
    assert check.compared["web"] > 10
    assert len(started) == 1


# --------------------------------------------------------------------------------------------------------------- errors
@everywhere
def test_what_it_cannot_do_is_said(device: str, started: Started) -> None:
    executor = started.get(device)
    assert isinstance(executor, Reloadable)
    with pytest.raises(UnsupportedError, match=r"no kernel for Acos \(node: the one that writes 'y'\)"):
        executor.load(ACOS)
    named = onnx.load_from_string(ACOS)
    named.graph.node[0].name = "angle"
    with pytest.raises(UnsupportedError, match=r"no kernel for Acos \(node: 'angle'\)"):
        executor.load(named.SerializeToString())
    with pytest.raises(RuntimeError, match="protobuf"):
        executor.load(b"nothing")
    executor.load(RELU)
    with pytest.raises(RuntimeError, match="x"):
        executor.run({})
    with pytest.raises(UnsupportedError, match="'x' is a list"):
        executor.run({"x": [1.0, 2.0]})
    with pytest.raises(UnsupportedError, match=r"no tensors of complex64 \(input 'x'\)"):
        executor.run({"x": np.zeros(2, np.complex64)})
    assert executor.run(X)["y"].tolist() == [0, 2]


@needs_web
def test_models_of_more_than_2_gb_are_refused(tmp_path: Path) -> None:
    proto = onnx.load_from_string(model("g (float[2] x) => (float[2] y) <float[2] w = {3, 4}> { y = Mul(x, w) }"))
    w = proto.graph.initializer[0]
    w.ClearField("float_data")
    w.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "w", "length": str(3 * 10**9)}.items():
        w.external_data.add(key=key, value=value)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedError, match=r"below 2 GB; this one has 3\.0 GB"):
        create("web", tmp_path / "m.onnx")


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="'netscape' is none of the devices of web: node, chromium, webgpu"):
        create("web:netscape", RELU)
    monkeypatch.setattr(node.shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"Node\.js"):
        create("web", b"")
    assert "web" not in installed()
    monkeypatch.setattr(node.shutil, "which", lambda name: "node")
    monkeypatch.setenv(node.FOLDER, str(tmp_path))
    install = f"npm install --prefix {tmp_path} onnxruntime-web@1.30.0"
    for device in web.DEVICES:
        with pytest.raises(MissingDependencyError, match=f"is not installed: {install}"):
            create(f"web:{device}", b"")
    package = tmp_path / "node_modules" / "onnxruntime-web"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"version": "1.2.3"}')
    with pytest.raises(MissingDependencyError, match=rf"onnxruntime-web 1\.2\.3, and 1\.30\.0 is needed: {install}"):
        create("web", b"")


def test_what_is_missing_of_a_browser_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "missing", lambda *packages, **options: None)
    monkeypatch.setattr(browser.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"playwright is not installed.*graphopt\[web\]"):
        create("web:chromium", b"")
    monkeypatch.setattr(browser.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    monkeypatch.delenv(browser.PROGRAM, raising=False)
    with pytest.raises(MissingDependencyError, match=f"no Chromium is installed here.*{browser.PROGRAM}"):
        create("web:webgpu", b"")
    monkeypatch.setenv(browser.PROGRAM, "/nowhere")
    with pytest.raises(MissingDependencyError, match=f"{browser.PROGRAM} names '/nowhere', which is no file"):
        create("web:chromium", b"")


@needs_web
@pytest.mark.browser
def test_no_adapter_for_webgpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_SOFTWARE", ())
    with pytest.raises(MissingDependencyError, match="no WebGPU adapter"):
        create("web:webgpu", RELU)


@pytest.mark.browser
@needs_web
def test_a_program_that_is_no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(browser.PROGRAM, sys.executable)
    with pytest.raises(RunError, match="the browser does not start"):
        create("web:chromium", RELU)


# ------------------------------------------------------------------------------------------------------------ processes
@needs_proc
@each_kind
def test_processes_end_with_the_executor(device: str) -> None:
    before = descendants()
    executor = create(f"web:{device}", RELU)
    own = descendants() - before
    assert own
    del executor
    gc.collect()
    wait_until_gone(own)


@needs_proc
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="ends a process from outside")
@each_kind
def test_processes_end_with_a_program_that_is_killed(device: str) -> None:
    script = f"""if True:
        import sys
        from graphopt.exec.executors import create
        executor = create("web:{device}", bytes.fromhex("{RELU.hex()}"))
        print("up", flush=True)
        sys.stdin.read()"""
    before = descendants()
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None and program.stdout.readline() == b"up\n"
        own = descendants() - before
        assert len(own) > 1
        program.kill()
    wait_until_gone(own)


@needs_web
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_leaves_the_process_alone() -> None:
    executor: Any = create("web", RELU)
    if not (pid := os.fork()):
        executor.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert executor.run(X)["y"].tolist() == [0, 2]


@needs_web
def test_a_process_that_dies() -> None:
    executor: Any = create("web", RELU)
    executor._process._process.kill()
    with pytest.raises(RunError, match=r"died \(exit code -?\d+\)"):
        executor.run(X)
    with pytest.raises(RunError, match="has ended; load the model again"):
        executor.run(X)
    executor.load(RELU)
    assert executor.run(X)["y"].tolist() == [0, 2]


@needs_proc
@each_kind
def test_a_run_that_does_not_end(device: str) -> None:
    before = descendants()
    executor: Any = create(f"web:{device}", LOOP)
    executor._process.timeout = 0.5
    own = descendants() - before
    with pytest.raises(RunError, match=r"no answer within 0\.5 s"):
        executor.run(X)
    wait_until_gone(own)


@needs_web
@pytest.mark.browser
@needs_proc
def test_a_page_that_dies() -> None:
    before = descendants()
    executor: Any = create("web:chromium", RELU)
    for pid in descendants() - before:
        if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    with pytest.raises(RunError, match="died"):
        executor.run(X)
    executor.load(RELU)
    assert executor.run(X)["y"].tolist() == [0, 2]


@pytest.mark.browser
def test_a_page_reaches_nothing_but_its_own_server() -> None:
    asked = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        script = b"""export default async () => async ({ url }) => {
            const told = (promise) => promise.then((r) => String(r.status), String);
            const image = (src) => new Promise((ok, no) => Object.assign(new Image(), { onload: ok, onerror: no, src }));
            return [{ fetched: await told(fetch(url)), image: await image(url).then(() => true, () => false) }, []];
        }"""
        page = browser.Browser("asks.mjs", {"asks.mjs": script}, {}, called="the page", timeout=60)
        own, _ = page.ask({"url": "/page.mjs"})
        assert own["fetched"] == "200"
        for url in (f"http://127.0.0.1:{other.server_port}/", "http://example.com/", "https://localhost/"):
            answer, _ = page.ask({"url": url})
            assert "TypeError" in answer["fetched"] and answer["image"] is False
        assert page.ask({"url": "/elsewhere"})[0]["fetched"] == "404"
        page.close()
        other.shutdown()
    assert not asked
