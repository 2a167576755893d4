"""Single nodes at every version of their operator, led to other opsets and back: valid, and the same outputs.

Where only parameters move, every bit is the same; what is written out as a function is rounded otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from onnx import ModelProto, defs

import graphopt
from graphopt.compare import compare
from graphopt.errors import OpsetError
from graphopt.exec.executors import create
from graphopt.passes.opset import Conversion, convert_opset, keeps_nodes
from graphopt.passes.opset.transitions import REVIEWED
from graphopt.shapes import infer_model
from graphopt.testing.operators import known_operators
from graphopt.testing.operators.free import SingleNode, single_nodes

NEWEST = min(defs.onnx_opset_version(), REVIEWED[""])
OPERATORS = [op for op in known_operators() if "::" not in op]
#: Opsets that models of the newest are led down to.
LOWER = (23, 20, 17, 13, 11, 9, 7)
#: Those that cannot always be written at a higher opset.
REFUSED_UP = {"Erf", "Resize"}
#: What ONNX Runtime says where it has no kernel, or asks more of a body than ONNX.
NO_KERNEL = re.compile("NOT_IMPLEMENTED|not supported|Subgraph must have the shape set")
#: Its mask was all False in ONNX Runtime before opset 12.
OTHER_ON_ONNXRUNTIME = {"Dropout"}


def versions(op: str) -> list[int]:
    """The opsets at which an operator changed, from 7 on."""
    found = {max(s.since_version, 7) for s in defs.get_all_schemas_with_history() if s.name == op and not s.domain}
    return sorted(v for v in found if v <= NEWEST and not defs.get_schema(op, v).deprecated)


def led(model: ModelProto, opset: int) -> tuple[ModelProto, Conversion | None]:
    m = graphopt.load(model)
    infer_model(m)
    before = m.proto.SerializeToString()
    kept = keeps_nodes(m, {"": opset})
    assert m.proto.SerializeToString() == before, "asking changes nothing"
    nodes = [(n, n.op) for n in m.nodes()]
    try:
        done = convert_opset(m, {"": opset})
    except OpsetError:
        assert not kept
        raise
    same = nodes == [(n, n.op) for n in m.nodes()]
    assert kept == same or (same and nodes[0][1] == "Resize"), "Resize of opset 10 sets out once more"
    return m.proto, done


def run(model: ModelProto, feeds: dict[str, Any], on: str = "reference") -> dict[str, Any]:
    with np.errstate(all="ignore"):
        return create(on, model.SerializeToString()).run(feeds)


def check(drawn: SingleNode, model: ModelProto, want: dict[str, Any], exact: bool, where: str) -> None:
    onnx.checker.check_model(model, full_check=True)
    got = run(model, drawn.feeds)
    for name, value in want.items():
        same = identical(value, got[name]) if exact else compare(value, got[name], at_least=1e-5).equal
        assert same, f"{where}: {name}\n{onnx.printer.to_text(drawn.model)}\n{onnx.printer.to_text(model)}"


def identical(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(map(identical, a, b))
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool((a == b).all()) if a.dtype.kind == "O" else a.tobytes() == b.tobytes()


def on_onnxruntime(drawn: SingleNode, models: Sequence[ModelProto], op: str) -> None:
    """Where it has kernels for both, it finds no difference either."""
    if op in OTHER_ON_ONNXRUNTIME:
        return
    try:
        want = run(drawn.model, drawn.feeds, "onnxruntime")
    except Exception:  # no kernel; its errors have no class in common
        return
    for model in models:
        try:
            got = run(model, drawn.feeds, "onnxruntime")
        except Exception as e:
            if not NO_KERNEL.search(str(e)):
                raise AssertionError(onnx.printer.to_text(model)) from e
            continue
        for name, value in want.items():
            assert compare(value, got[name], at_least=1e-4).equal, (name, onnx.printer.to_text(model))


def drawing(count: int) -> Any:
    return settings(
        max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@pytest.mark.parametrize("op", [op for op in OPERATORS if versions(op) and versions(op) != [NEWEST]])
def test_up_and_back(op: str) -> None:
    for opset in versions(op):
        up_and_back_from(op, opset)


def up_and_back_from(op: str, opset: int) -> None:
    @drawing(6)
    @given(single_nodes(op, opset))
    def up_and_back(drawn: SingleNode | str) -> None:
        raise_and_lower(op, opset, drawn)

    up_and_back()


def raise_and_lower(op: str, opset: int, drawn: SingleNode | str) -> None:
    if isinstance(drawn, str):
        return
    want = run(drawn.model, drawn.feeds)
    try:
        higher, done = led(drawn.model, NEWEST)
    except OpsetError:
        assert op in REFUSED_UP
        return
    check(drawn, higher, want, not (done and done.expanded), f"{op} {opset} -> {NEWEST}")
    on_onnxruntime(drawn, [higher], op)
    try:
        back, done = led(higher, opset)
    except OpsetError as e:
        if "computed by the graph" in str(e) or "ceil_mode" in str(e):  # what only the way up does not ask for
            return
        raise
    check(drawn, back, want, not (done and done.expanded), f"{op} {opset} -> {NEWEST} -> {opset}")


@pytest.mark.parametrize("op", [op for op in OPERATORS if not defs.get_schema(op, NEWEST).deprecated])
def test_down(op: str) -> None:
    @drawing(4)
    @given(single_nodes(op, NEWEST))
    def lower(drawn: SingleNode | str) -> None:
        if isinstance(drawn, str):
            return
        want, made = run(drawn.model, drawn.feeds), []
        for opset in LOWER:
            try:
                model, done = led(drawn.model, opset)
            except OpsetError:
                continue
            exact = not (done and done.expanded) and op != "LayerNormalization"
            check(drawn, model, want, exact, f"{op} {NEWEST} -> {opset}")
            made.append(model)
        on_onnxruntime(drawn, made[-1:], op)

    lower()
