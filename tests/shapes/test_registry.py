"""Shape functions for operators of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

import graphopt
from graphopt.errors import ArgumentError, GraphoptError
from graphopt.ir import Model
from graphopt.shapes import Site, TypeInfo, registry
from graphopt.shapes.types import Unknown
from tests.ir.building import parse

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    registry.shape_function_for("Relu", 17)  # imports those of all operators
    monkeypatch.setattr(registry, "_shape_functions", {op: list(v) for op, v in registry._shape_functions.items()})
    registry.shape_function_for.cache_clear()
    yield
    monkeypatch.undo()
    registry.shape_function_for.cache_clear()


def model(node: str = "a = my.domain.Rotate(x)", version: int = 1, result: str = "a") -> ModelProto:
    return parse(
        f"g (float[N, 3] x, int64[2] s) => (y) {{ {node} y = Neg({result}) }}", imports=f', "my.domain": {version}', check=False
    )  # fmt: skip


def shape_of(proto: ModelProto, name: str = "y") -> Any:
    return types(graphopt.infer_shapes(proto))[name]


def types(m: Model) -> dict[str, tuple[int, Any]]:
    return {v.name: (v.dtype, v.shape) for n in m.graph for v in n.outputs if v is not None}


def test_a_function_of_ones_own() -> None:
    @graphopt.shape_function("my.domain::Rotate")
    def rotate(node: Site) -> TypeInfo:
        rows, columns = node.needed(0)
        return TypeInfo(node.dtype(0), (columns, rows))

    assert shape_of(model()) == (FLOAT, (3, "N"))
    m = graphopt.optimize(model("a = my.domain.Rotate(x) b = my.domain.Rotate(a)", result="b"))
    assert types(m)["y"] == (FLOAT, ("N", 3))


def test_the_decorator_returns_the_function() -> None:
    def rotate(node: Site) -> TypeInfo:
        return node.like(0)

    assert graphopt.shape_function("my.domain::Rotate")(rotate) is rotate
    assert registry.shape_function_for("my.domain::Rotate", 1) is rotate


def test_what_a_function_is_shown() -> None:
    seen: dict[str, Any] = {}

    @graphopt.shape_function("my.domain::Rotate")
    def rotate(node: Site) -> TypeInfo:
        seen.update(
            op_type=node.op_type,
            version=node.version,
            turns=node.attribute("turns", 1),
            way=node.attribute("way", "left"),
            axes=node.attribute("axes"),
            shapes=[node.shape(i) for i in range(4)],
            has=[node.has(i) for i in range(4)],
            dtypes=[node.dtype(i) for i in range(4)],
            known=node.numbers(1),
            element=node.element(3),
            parameter=node.parameter("axes"),
        )
        return TypeInfo(FLOAT, node.unknown_dims(2))

    lines = "d = Shape(x) k = Constant<value_int=4>() a = my.domain.Rotate<turns=3, axes=[1, 2]>(x, d, , k)"
    dtype, shape = shape_of(model(lines, version=7))
    assert dtype == FLOAT
    assert len(set(shape)) == 2
    assert seen == {
        "op_type": "Rotate",
        "version": 7,
        "turns": 3,
        "way": "left",
        "axes": [1, 2],
        "shapes": [("N", 3), (2,), None, ()],
        "has": [True, True, False, True],
        "dtypes": [FLOAT, INT64, 0, INT64],
        "known": ["N", 3],
        "element": 4,
        "parameter": [1, 2],
    }


@pytest.mark.parametrize(("version", "rows"), [(1, None), (2, 2), (3, 2), (4, 4), (9, 4)])
def test_versions(version: int, rows: int | None) -> None:
    for since in (4, 2):

        @graphopt.shape_function("my.domain::Rotate", since=since)
        def rotate(node: Site, rows: int = since) -> TypeInfo:
            return TypeInfo(FLOAT, (rows, *node.needed(0)[1:]))

    m = graphopt.infer_shapes(model(version=version))
    assert types(m)["a"] == ((0, None) if rows is None else (FLOAT, (rows, 3)))


def test_the_last_function_counts() -> None:
    for rows in (1, 2, 5):

        @graphopt.shape_function("my.domain::Rotate")
        def rotate(node: Site, rows: int = rows) -> TypeInfo:
            return TypeInfo(FLOAT, (rows,))

        assert shape_of(model()) == (FLOAT, (rows,)), "no answer of before is remembered"


def test_other_domains_have_other_operators() -> None:
    @graphopt.shape_function("my.domain::Relu")
    def relu(node: Site) -> TypeInfo:
        return TypeInfo(INT64, (7,))

    m = graphopt.infer_shapes(model("a = Relu(x) b = my.domain.Relu(x)"))
    assert types(m) == {"a": (FLOAT, ("N", 3)), "b": (INT64, (7,)), "y": (FLOAT, ("N", 3))}


def test_contributed_operators_may_be_described_anew() -> None:
    @graphopt.shape_function("com.microsoft::Gelu")
    def gelu(node: Site) -> TypeInfo:
        return TypeInfo(FLOAT, (1, 2, 3))

    proto = parse("g (float[N, 3] x) => (y) { y = com.microsoft.Gelu(x) }", imports=', "com.microsoft": 1', check=False)
    assert shape_of(proto) == (FLOAT, (1, 2, 3))


@pytest.mark.parametrize("answers", [1, 2, 3])
def test_several_outputs(answers: int) -> None:
    """More answers than outputs do no harm, fewer leave the rest unknown."""

    @graphopt.shape_function("my.domain::Rotate")
    def rotate(node: Site) -> list[TypeInfo]:
        return [TypeInfo(FLOAT, (i,)) for i in range(answers)]

    found = types(graphopt.infer_shapes(model("a, b = my.domain.Rotate(x)")))
    assert found["a"] == found["y"] == (FLOAT, (0,))
    assert found["b"] == ((FLOAT, (1,)) if answers > 1 else (0, None))


def test_what_cannot_be() -> None:
    @graphopt.shape_function("my.domain::Rotate")
    def rotate(node: Site) -> TypeInfo:
        raise ValueError("three is one too many")

    m = graphopt.infer_shapes(model())
    assert m.facts is not None
    assert [(n.op, reason) for n, reason in m.facts.refused.items()] == [("my.domain::Rotate", "three is one too many")]
    assert types(m)["a"] == (0, None)
    (reason,) = {r for v, r in m.facts.reasons.items() if v.name == "a"}
    assert "three is one too many" in reason


def test_what_cannot_be_with_fixed_dims() -> None:
    @graphopt.shape_function("my.domain::Rotate")
    def rotate(node: Site) -> TypeInfo:
        if isinstance(node.needed(0)[0], int):
            raise ValueError("no numbers, please")
        return node.like(0)

    graphopt.infer_shapes(model())
    with pytest.raises(ArgumentError, match="my.domain::Rotate.*no numbers, please"):
        graphopt.infer_shapes(model(), input_shapes={"N": 2})


@pytest.mark.parametrize("error", [AttributeError, IndexError, KeyError, TypeError, ZeroDivisionError, OverflowError])
def test_mistakes_in_a_function_are_reasons(error: type[Exception]) -> None:
    @graphopt.shape_function("my.domain::Rotate")
    def rotate(node: Site) -> TypeInfo:
        raise error("oh")

    m = graphopt.infer_shapes(model())
    assert m.facts is not None
    assert any(v.name == "a" and error.__name__ in r for v, r in m.facts.reasons.items())


def test_what_nobody_can_tell() -> None:
    @graphopt.shape_function("my.domain::Rotate")
    def rotate(node: Site) -> TypeInfo:
        raise Unknown("it depends on the weather")

    m = graphopt.infer_shapes(model())
    assert m.facts is not None
    assert {v.name: r for v, r in m.facts.reasons.items()}["a"] == "it depends on the weather"
    assert not m.facts.refused


def test_operators_that_nobody_knows() -> None:
    m = graphopt.infer_shapes(model("a = my.domain.Mystery(x) b = Relu(x)"))
    assert m.facts is not None
    reasons = {v.name: r for v, r in m.facts.reasons.items()}
    assert "no shape function for the operator my.domain::Mystery" in reasons["a"]
    assert types(m)["a"] == (0, None)
    assert types(m)["b"] == (FLOAT, ("N", 3)), "what lies beside it is known all the same"


def test_what_the_file_says_of_operators_that_nobody_knows() -> None:
    proto = model("a, b = my.domain.Mystery(x)")
    proto.graph.value_info.append(helper.make_tensor_value_info("a", FLOAT, ["N", None, "2*N", 7]))
    dtype, shape = shape_of(proto, "a")
    assert dtype == FLOAT
    assert (shape[0], shape[3]) == ("N", 7)
    assert str(shape[2]) == "2*N"
    assert shape_of(proto, "b") == (0, None)

    @graphopt.shape_function("my.domain::Mystery")
    def mystery(node: Site) -> TypeInfo:
        return node.like(0)

    assert shape_of(proto, "a") == (FLOAT, ("N", 3)), "a function is believed, the file is not"


def test_equalities_that_a_function_teaches() -> None:
    @graphopt.shape_function("my.domain::Pair")
    def pair(node: Site) -> TypeInfo:
        return TypeInfo(FLOAT, (node.equate(node.needed(0)[0], node.needed(1)[0]),))

    proto = parse(
        "g (float[?, 3] x, float[4] z) => (y) { a = Relu(x) y = my.domain.Pair(a, z) }",
        imports=', "my.domain": 1',
        check=False,
    )
    m = graphopt.infer_shapes(proto)
    assert types(m) == {"a": (FLOAT, (4, 3)), "y": (FLOAT, (4,))}


@pytest.mark.parametrize(
    "name", ["", "Rotate", "::", "::Rotate", "my.domain::", "ai.onnx::Relu", "my.domain:Rotate", "my.domain.Rotate"]
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="my.domain::Rotate") as e:
        graphopt.shape_function(name)
    assert f"'{name}'" in str(e.value)
    assert isinstance(e.value, GraphoptError)


def test_operators_of_onnx_are_not_for_others_to_describe() -> None:
    before = registry.shape_function_for("Relu", 17)
    for name in ("Relu", "::Relu", "ai.onnx::Relu"):
        with pytest.raises(ArgumentError):
            graphopt.shape_function(name)
    assert registry.shape_function_for("Relu", 17) is before


def test_every_operator_that_onnx_defines_has_a_function() -> None:
    """At every version that onnx defines; deprecated ones apart."""
    missing = [
        f"{s.name}-{s.since_version}"
        for s in onnx.defs.get_all_schemas_with_history()
        if not s.deprecated and s.domain in ("", "ai.onnx.ml")
        and registry.shape_function_for(f"{s.domain}::{s.name}" if s.domain else s.name, s.since_version) is None
    ]  # fmt: skip
    assert not missing


def test_a_function_gives_no_shape_that_is_half_known_twice() -> None:
    """Dims of None are unknown each by itself: they do not become equal when they are written."""

    @graphopt.shape_function("my.domain::Rotate")
    def rotate(node: Site) -> TypeInfo:
        return TypeInfo(FLOAT, (None, None, 2))

    m = graphopt.infer_shapes(model())
    (info,) = [i for i in m.proto.graph.value_info if i.name == "a"]
    first, second, third = info.type.tensor_type.shape.dim
    assert third.dim_value == 2
    assert not first.dim_param or first.dim_param != second.dim_param
