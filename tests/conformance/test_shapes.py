"""What is inferred is true: `benchmarks.shapes` on some models and on the ONNX backend suite, and whether it sees lies.

The whole zoo takes two minutes: python -m benchmarks.shapes --models FOLDER --check.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.parser import parse_model

import graphopt
from benchmarks import claims, resolved, shape_suite, shapes, suite
from graphopt.shapes import TypeInfo, dims, infer_model, registry
from graphopt.shapes.site import Site

ROOT = Path(__file__).parents[2]
#: Small ones of every kind: shapes computed in the graph, loops, branches, images of any size, caches, quantised.
MODELS = (
    "attacut-sc,silero-vad,silero-vad-ifless,tashkeel-bilstm-int8,attn-erf-nofold.ts,bert-2l.ts,cond.raw,einsum-junk.ts,"
    "gpt2-2l-kv.ts,llama-2l-kv.raw,lstm-lm.ts,moe-topk.ts,redundant.ts,scripted-loop.ts,shape-junk-nofold.ts,"
    "shape-junk-static.raw,skl-knn,t5-enc-2l.ts,unet-sd-like.ts,yolov8n-like-dynhw.ts,bert-2l-extdata"
).split(",")
#: What onnx takes from inputs that have a default, from a body's declarations, from the first turn of a Scan, and from a
#: computed shape for Reshape, an element of which copies another dim where it is 0.
BELIEVES = re.compile(
    r"real/|node/test_loop11|node/test_scan_sum|node/test_\w+_expanded(_ver\d+)? \[(symbolic|parameters)\]"
)


def run(report: Path, *arguments: str) -> tuple[int, str, list[dict[str, Any]]]:
    """The command in a process of its own: exit code, what it printed, its report."""
    command = [sys.executable, "-m", "benchmarks.shapes", "--show", "40", "--json", str(report), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert report.is_file(), done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr, json.loads(report.read_text())


@pytest.mark.zoo
@pytest.mark.slow
def test_what_is_inferred_of_models_is_true(zoo_dir: Path, tmp_path: Path) -> None:
    code, printed, found = run(
        tmp_path / "report.json", "--models", str(zoo_dir), "--check", "--seeds", "1", "--only", ",".join(MODELS)
    )
    assert code == 0, printed
    counts = {kind: sum(f["counts"].get(kind, 0) for f in found) for kind in ("values", "dims", "elements")}
    assert counts["values"] > 12_000 and counts["dims"] > 25_000 and counts["elements"] > 4_000, printed


@pytest.mark.zoo
@pytest.mark.parametrize("model_id", ["bert-2l.ts", "gpt2-2l-kv.ts", "shape-junk-nofold.ts", "yolov8n-like-dynhw.ts"])
def test_dims_are_expressions_over_those_of_the_inputs(model_id: str, zoo_dir: Path, zoo: Any) -> None:
    (entry,) = zoo.models(zoo_dir, [model_id])
    model = graphopt.infer_shapes(entry["path"], name_dims=True)
    rank, full = resolved.coverage(model.proto)
    assert rank == 1
    assert full >= 0.99, resolved.explain(model, 20)["first"]


@pytest.mark.slow
def test_what_is_inferred_of_the_suite_is_true(tmp_path: Path) -> None:
    code, printed, found = run(tmp_path / "report.json", "--suite")
    assert code == 0, printed
    assert len({verdict["case"] for verdict in found}) > 1500
    assert {verdict["mode"] for verdict in found} == set(shape_suite.MODES)
    less = [f"{v['case']} [{v['mode']}] {v['less']}" for v in found if v["less"]]
    assert not [text for text in less if not BELIEVES.match(text)]


# -------------------------------------------------------------------------------------------------- does it see any lies?
TEXT = """<ir_version: 8, opset_import: ["" : 17]> agraph (float[n, 4] x, float[m, 4] z) => (float[n, 4] y)
    { a = Relu(x)  both = Concat <axis = 0> (a, z)  chosen = NonZero(z)  again = Transpose <perm = [1, 0]> (chosen)
      s = Shape(both)  s2 = Add(s, s)  t = Shape(a)  y = Reshape(a, t) }"""


@pytest.fixture
def plant() -> Iterator[Callable[[str, Callable[[Site], Any]], None]]:
    """Replaces the shape function of an operator until the test ends."""
    before = {}

    def put(op: str, function: Callable[[Site], Any]) -> None:
        registry.shape_function_for(op, 17)
        before.setdefault(op, registry._shape_functions[op])
        registry._shape_functions[op] = [(1, function)]
        registry.shape_function_for.cache_clear()

    yield put
    registry._shape_functions.update(before)
    registry.shape_function_for.cache_clear()


@pytest.fixture
def plant_value(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., Any]], None]:
    """Replaces the function that computes an operator's elements."""
    registry.value_function_for("Shape")
    return lambda op, function: monkeypatch.setitem(registry._value_functions, op, function)


def found_in(**sizes: int) -> claims.Run:
    """What a run on onnx.reference contradicts."""
    proto = parse_model(TEXT)
    model = graphopt.load(proto)
    infer_model(model)
    draw = np.random.default_rng(0)
    feeds = {"x": (sizes.get("n", 3), 4), "z": (sizes.get("m", 2), 4)}
    fed = {name: draw.normal(size=shape).astype(np.float32) for name, shape in feeds.items()}
    (done,) = claims.compare((claims.inferred(model),), fed, claims.on_reference(proto, fed))
    return done


def test_the_truth_is_accepted() -> None:
    done = found_in()
    assert not done.found
    assert done.counts["values"] == 10
    assert done.counts["elements"] == 6
    assert done.names == {"n": 3, "m": 2, "?1": 8}


def like(dtype: int | None = None, shape: Callable[[Any], Any] = lambda s: s) -> Callable[[Site], TypeInfo]:
    return lambda node: TypeInfo(node.dtype(0) if dtype is None else dtype, shape(node.shape(0)))


@pytest.mark.parametrize(
    ("op", "function", "seen"),
    [
        ("Relu", like(shape=lambda s: (s[0], 5)), "'a' (Relu '') dim 1: 5 is expected, got 4"),
        ("Relu", like(shape=lambda s: (4, s[1])), "'a' (Relu '') dim 0: 4 is expected, got 3"),
        ("Relu", like(shape=lambda s: (s[0], s[0])), "'a' (Relu '') dim 1: n = 3 is expected, got 4"),
        (
            "Relu",
            like(shape=lambda s: (dims.add(s[0], 1), 4)),
            "'a' (Relu '') dim 0: n + 1 = 4 is expected (n = 3), got 3",
        ),
        ("Relu", like(shape=lambda s: (*s, 1)), "'a' (Relu ''): the shape [n, 4, 1] is expected, got [3, 4]"),
        ("Relu", like(dtype=TensorProto.DOUBLE), "'a' (Relu ''): dtype DOUBLE is expected, got FLOAT"),
        (
            "Shape",
            like(dtype=TensorProto.INT32, shape=lambda s: (2,)),
            "'s' (Shape ''): dtype INT32 is expected, got INT64",
        ),
        (
            "NonZero",
            lambda node: TypeInfo(TensorProto.INT64, (2, "m")),
            "'chosen' (NonZero '') dim 1: m = 2 is expected, got 8",
        ),
    ],
)
def test_a_wrong_shape_function_is_seen(plant: Any, op: str, function: Any, seen: str) -> None:
    plant(op, function)
    assert seen in found_in().found


@pytest.mark.parametrize(
    ("wrong", "seen"),
    [
        (lambda node, inputs, out: np.array(["m", 4], object), "element 0: m = 2 is expected, got 3"),
        (lambda node, inputs, out: np.array([None, 5], object), "element 1: 5 is expected, got 4"),
        (
            lambda node, inputs, out: np.array([dims.floordiv("n", 2), 4], object),
            "element 0: floor(n/2) = 1 is expected (n = 3), got 3",
        ),
    ],
)
def test_a_wrong_element_is_seen(plant_value: Any, wrong: Any, seen: str) -> None:
    plant_value("Shape", wrong)
    assert f"'t' (Shape '') {seen}" in found_in().found


def test_a_name_that_was_made_up_is_one_number(plant: Any) -> None:
    plant("NonZero", lambda node: TypeInfo(TensorProto.INT64, ("?9", "?9")))
    assert "'chosen' (NonZero '') dim 1: ?9 = 2 is expected, got 8" in found_in().found


def test_a_lie_that_happens_to_be_true_at_one_size_is_seen_at_another(plant: Any) -> None:
    plant("Relu", like(shape=lambda s: (3, 4)))
    assert not found_in(n=3).found
    assert found_in(n=5).found


def test_the_command_sees_it_in_a_model_and_in_what_is_written(plant: Any, tmp_path: Path) -> None:
    onnx.save(parse_model(TEXT), tmp_path / "m.onnx")
    entry = {"id": "m", "path": str(tmp_path / "m.onnx")}
    fine = shapes.Bench(seeds=2).check(entry)
    assert not fine["wrong"]
    assert fine["runs"] >= 2 and fine["counts"]["dims"] > 20
    plant("Relu", like(shape=lambda s: (s[0], 5)))
    wrong = shapes.Bench(seeds=2).check(entry)["wrong"]
    assert "'a' (Relu '') dim 1: 5 is expected, got 4" in wrong
    assert "'a' (Relu '', as written) dim 1: 5 is expected, got 4" in wrong


def test_the_suite_sees_it(plant: Any) -> None:
    path = suite.exported()["node/test_relu"]
    fine = shape_suite.Bench().judge("node/test_relu", path)
    assert [v.mode for v in fine] == ["declared", "symbolic", "constant"]
    assert not any(v.wrong or v.less or v.counts.get("unknown dims") for v in fine)
    plant("Relu", like(shape=lambda s: (*s[:2], dims.add(s[2], 1))))
    assert all(v.wrong for v in shape_suite.Bench().judge("node/test_relu", path))
    plant("Relu", lambda node: TypeInfo(0, None))
    assert all(v.less and not v.wrong for v in shape_suite.Bench().judge("node/test_relu", path))


# ------------------------------------------------------------------------------------------------------------ measuring
def test_expressions_are_computed_apart_from_inference() -> None:
    n, m = {"n": 7}, {"n": 7, "m": 3}
    assert claims.evaluate(dims.floordiv(dims.add("n", 4), 2), n) == 5
    assert claims.evaluate(dims.mul(dims.sub("n", "m"), 2), m) == 8
    assert claims.evaluate(dims.maximum(dims.minimum("n", "m"), 5), m) == 5
    assert claims.evaluate(dims.mod(dims.add("n", "m"), 4), m) == 2
    assert claims.evaluate(dims.broadcast_dims("n", "m"), {"n": 1, "m": 3}) == 3
    assert claims.evaluate(dims.add("n", "m"), n) is None
    with pytest.raises(ValueError, match="broadcast"):
        claims.evaluate(dims.broadcast_dims("n", "m"), m)


@pytest.mark.parametrize(
    ("dim", "counts"),
    [
        *((7, True), ("past.0", True), ("floor(n/2) + 1", True), ("n*past.0", True)),
        *(("unk__0", False), ("?1", False), ("floor(k/2)", False), (None, False)),
    ],
)
def test_what_a_tool_makes_up_does_not_count(dim: Any, counts: bool) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    x = onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "past.0", 4])
    y = onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", dim, 4])
    proto = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]))
    assert resolved.coverage(proto) == (1, counts)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert resolved.coverage(proto) == (0, 0)


def test_values_that_depend_on_data_are_told_apart() -> None:
    model = graphopt.infer_shapes(
        parse_model("""<ir_version: 8, opset_import: ["" : 17, "none.such": 1]>
        agraph (float[n, 4] x, int64[1] k) => (float[a] y)
        <int64[1] axes = {0}, int64[1] zero = {0}, int64[1] two = {2}>
        { places = NonZero(x)  turned = Transpose <perm = [1, 0]> (places)  some = Slice(x, zero, k, axes)
          sizes = Shape(some)  filled = ConstantOfShape(sizes)  fixed = Slice(x, zero, two, axes)
          strange = none.such.Op(x)  last = Abs(strange)  y = Relu(x) }""")
    )
    found = resolved.explain(model, 10)
    assert found["excused"] == 4 and found["unresolved"] == 2
    assert found["apart"] == 3 / 5
    assert [text.split("'")[1] for text in found["first"]] == ["strange", "last"]
