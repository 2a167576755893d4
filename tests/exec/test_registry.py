"""The table of kernels: which one holds at a version, what it is told, and that the standard's operators are all there."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import AttributeProto

from graphopt.exec.backends.numpy import REFERENCE, NumPyBackend
from graphopt.exec.kernels import Host, Kernel, kernel, kernel_for, operators
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, Body, widened
from graphopt.ir.node import op_key

NARROW = [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]

pytestmark = pytest.mark.usefixtures("no_new_kernels")


def found(op: str, version: int) -> Kernel:
    k = kernel_for(op, version)
    assert k is not None
    return k


# ------------------------------------------------------------------------------------------------------------- versions
def test_a_kernel_holds_until_the_next_one() -> None:
    @kernel("Versioned", domain="tests", since=7)
    def seven(xp: Backend) -> int:
        return 7

    assert kernel_for("tests::Versioned", 6) is None, "asked before, which is remembered"
    assert found("tests::Versioned", 7).function(REFERENCE) == 7

    @kernel("Versioned", domain="tests", since=3)
    def three(xp: Backend) -> int:
        return 3

    @kernel("Versioned", domain="tests", since=12)
    def twelve(xp: Backend) -> int:
        return 12

    got = [
        k and k.function(REFERENCE) for k in (kernel_for("tests::Versioned", v) for v in (1, 2, 3, 6, 7, 11, 12, 99))
    ]
    assert got == [None, None, 3, 3, 7, 7, 12, 12]
    assert operators()["tests::Versioned"] == (3, 7, 12)

    @kernel("Versioned", domain="tests", since=7)
    def other(xp: Backend) -> int:
        return -7

    assert found("tests::Versioned", 8).function(REFERENCE) == -7, "the later of two replaces the other"
    assert operators()["tests::Versioned"] == (3, 7, 12)


def test_several_operators_and_domains() -> None:
    @kernel("One", "Two", domain="tests")
    def both(xp: Backend, x: Array) -> Array:
        return x

    assert found("tests::One", 1) == found("tests::Two", 1)
    assert found("tests::One", 1).function is both, "the decorator gives the function back"
    assert kernel_for("One", 1) is None and kernel_for("com.microsoft::One", 1) is None
    assert kernel_for("NoSuchOperator", 20) is None


def test_operators_are_listed_in_order() -> None:
    names = list(operators())
    assert names == sorted(names) and len(names) > 250
    assert operators()["Softmax"] == (1, 13)
    assert all(list(versions) == sorted(set(versions)) for versions in operators().values())


# ---------------------------------------------------------------------------------------------------- what it is told
def test_what_the_signature_says() -> None:
    @kernel("Marked", domain="tests")
    def marked(
        xp: Backend,
        x: Array,
        shape: Host,
        axes: Host = None,
        *more: Array,
        alpha: float = 1.0,
        body: Body,
        outputs: int,
    ) -> Array:
        return x

    k = found("tests::Marked", 1)
    assert k.host == {1, 2}
    assert k.attributes == {"alpha", "body"}, "the number of outputs is none of the node's"
    assert k.takes_outputs and not k.on_host and k.prepare is None and k.since == 1

    @kernel("Open", domain="tests", on_host=True)
    def anything(xp: Backend, *xs: Array, **attributes: Any) -> Array:
        return xs

    k = found("tests::Open", 1)
    assert k.attributes is None and k.on_host and not k.takes_outputs and not k.host


def test_a_function_whose_first_arguments_are_given() -> None:
    def of_version(version: int, xp: Backend, x: Array, shape: Host, *, alpha: float = 1.0) -> Array:
        return version

    kernel("Partial", domain="tests")(functools.partial(of_version, 7))
    k = found("tests::Partial", 1)
    assert k.host == {1} and k.attributes == {"alpha"} and k.function(REFERENCE, None, None) == 7


@pytest.mark.parametrize(
    ("op", "version", "host"),
    [
        ("Reshape", 14, {1}), ("Reshape", 1, set()), ("Expand", 13, {1}), ("Slice", 13, {1, 2, 3, 4}), ("Pad", 18, {1, 3}),
        ("Resize", 18, {1, 2, 3}), ("ReduceSum", 13, {1}), ("TopK", 11, {1}), ("Loop", 16, {0, 1}), ("If", 16, {0}),
        ("Add", 14, set()), ("Gather", 13, set()), ("Where", 16, set()), ("Tile", 13, {1}), ("Range", 11, {0, 1, 2}), ("OneHot", 11, {1}),
    ],
)  # fmt: skip
def test_inputs_that_decide_about_shapes(op: str, version: int, host: set[int]) -> None:
    assert found(op, version).host == host


@pytest.mark.parametrize(
    "op",
    [
        "NonZero",
        "Unique",
        "Compress",
        "NonMaxSuppression",
        "StringConcat",
        "StringSplit",
        "RegexFullMatch",
        "ai.onnx.ml::ZipMap",
    ],
)
def test_operators_that_no_tracer_runs(op: str) -> None:
    assert found(op, 25 if "::" not in op else 5).on_host


def test_attributes_are_prepared_once() -> None:
    def table(*, keys: Sequence[int], values: Sequence[int], default: int = 0) -> dict[str, Any]:
        return {"lookup": dict(zip(keys, values, strict=True)), "default": default}

    @kernel("Prepared", domain="tests", prepare=table)
    def look_up(xp: Backend, x: Array, *, lookup: dict[int, int], default: int, outputs: int = 1) -> Array:
        return np.array([lookup.get(v, default) for v in x.tolist()])

    k = found("tests::Prepared", 1)
    assert k.prepare is table and k.takes_outputs
    assert k.attributes == {"keys", "values", "default"}, "the node's attributes are those of what prepares them"
    assert k.function(REFERENCE, np.array([1, 9]), **table(keys=[1], values=[5])).tolist() == [5, 0]


# ------------------------------------------------------------------------------------------------------------- widening
class MultipliesNarrow(NumPyBackend):
    """As a GPU."""

    @property
    def multiplies_narrow(self) -> bool:
        return True


def seen_by(*inputs: Any, products: bool = False, xp: Backend = REFERENCE, result: Any = None) -> tuple[list[Any], Any]:
    """The dtypes that a widened kernel gets, and what comes out of it."""
    seen: list[Any] = []

    def function(xp: Backend, *xs: Any, scale: float = 1.0) -> Any:
        seen.extend(None if x is None else x.dtype for x in xs)
        return xs[0] * xs[0].dtype.type(scale) if result is None else result

    return seen, widened(function, products)(xp, *inputs, scale=3.0)


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_floats_are_computed_with_as_float32_and_rounded_once(dtype: Any) -> None:
    seen, y = seen_by(np.array([1.0, 0.5], dtype), None, np.array([1, 2]), np.array([1.0], np.float64))
    assert seen == [np.float32, None, np.int64, np.float64]
    assert y.dtype == dtype and y.astype(np.float32).tolist() == [3, 1.5]


def test_wide_floats_and_integers_stay() -> None:
    for dtype in (np.float32, np.float64, np.int8):
        seen, y = seen_by(np.array([2], dtype))
        assert seen == [dtype] and y.dtype == dtype


def test_results_get_the_first_narrow_dtype() -> None:
    inputs = np.array([1.0], np.float32), np.array([1.0], ml_dtypes.bfloat16), np.array([1.0], np.float16)
    several = (np.float32([1]), None, np.array([1]), np.float64([1]))
    _, y = seen_by(*inputs, result=several)
    assert isinstance(y, tuple)
    assert [None if r is None else r.dtype for r in y] == [ml_dtypes.bfloat16, None, np.int64, np.float64]


def test_products_are_left_to_what_has_units_for_them() -> None:
    """There they are added up in float32 anyway; elements of a byte are widened everywhere."""
    for dtype in (np.float16, ml_dtypes.bfloat16):
        x = np.array([1.0], dtype)
        assert seen_by(x, products=True, xp=MultipliesNarrow())[0] == [dtype]
        assert seen_by(x, products=True)[0] == [np.float32]
        assert seen_by(x, xp=MultipliesNarrow())[0] == [np.float32]
    assert seen_by(np.array([1.0], ml_dtypes.float8_e4m3fn), products=True, xp=MultipliesNarrow())[0] == [np.float32]


def test_a_widened_kernel_keeps_its_signature() -> None:
    @kernel("Widened", domain="tests", wide=True)
    def wide(xp: Backend, x: Array, shape: Host, *, alpha: float = 1.0) -> Array:
        return x * x

    k = found("tests::Widened", 1)
    assert k.host == {1} and k.attributes == {"alpha"} and k.function is not wide
    x = np.array([300], np.float16)
    assert (k.function(REFERENCE, x / 2, None) == np.float16(22500)).all()
    assert list(inspect.signature(k.function).parameters) == ["xp", "x", "shape", "alpha"]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(
    ("op", "version"),
    [("LogSoftmax", 13), ("ReduceSum", 13), ("MatMul", 13), ("Conv", 22), ("LayerNormalization", 17), ("Gelu", 20)],
)
def test_narrow_floats_are_rounded_once(op: str, version: int, dtype: Any) -> None:
    """What comes out is the nearest number of the dtype, but where the exact one lies nearly halfway between two."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((64, 1024), (1024, 8)))
    every = {"MatMul": [x, w], "Conv": [x[..., None], w.T[..., None]], "LayerNormalization": [x, np.resize(w, 1024)]}
    inputs, axes = every.get(op, [x]), [np.array([1])] if op == "ReduceSum" else []
    function = found(op, version).function
    results = [function(REFERENCE, *arrays, *axes) for arrays in (inputs, [a.astype(np.float64) for a in inputs])]
    got, want = (np.asarray(v[0] if isinstance(v, tuple) else v) for v in results)
    assert got.dtype == dtype
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=ml_dtypes.finfo(dtype).eps, atol=1e-3)
    assert (got == want.astype(dtype)).mean() > 0.98


# --------------------------------------------------------------------------------------------------------- the standard
SCHEMAS = [
    s
    for s in onnx.defs.get_all_schemas_with_history()
    if s.domain in ("", "ai.onnx.ml", "ai.onnx.preview.training")
    and s.support_level == onnx.defs.OpSchema.SupportType.COMMON
]
#: Kernels that call the same thing otherwise, or that repair the schema: operator, version, attribute.
OTHER_DEFAULTS = {
    ("GRU", 1, "direction"): "the schema says 'foward'",
    ("GridSample", 16, "mode"): "'bilinear' is called 'linear' since 20",
    ("RNN", 1, "activations"): "None stands for those of all directions",
    ("RNN", 7, "activations"): "likewise",
    ("RNN", 14, "activations"): "likewise",
    ("RNN", 22, "activations"): "likewise",
    ("MeanVarianceNormalization", 9, "axes"): "None stands for them",
    ("MeanVarianceNormalization", 13, "axes"): "likewise",
}
#: Attributes that the schema calls optional, although nothing can be computed without them.
MEANINGLESS_WITHOUT = {
    ("Reshape", "shape"),
    *[(f"SVM{kind}", name) for kind in ("Regressor", "Classifier") for name in ("coefficients", "rho")],
}


def schema_id(s: Any) -> str:
    return f"{op_key(s.name, s.domain)}-{s.since_version}"


def parameters(k: Kernel) -> list[inspect.Parameter]:
    """What a node passes: positions are those of the function, attributes those of what prepares them."""
    own = list(inspect.signature(k.function).parameters.values())[1:]
    if k.prepare is None:
        return own
    prepared = inspect.signature(k.prepare).parameters.values()
    return [p for p in own if p.kind is not p.KEYWORD_ONLY] + [p for p in prepared if p.kind is p.KEYWORD_ONLY]


def test_there_are_schemas() -> None:
    assert len(SCHEMAS) > 640
    assert {"Add", "Attention", "Loop", "TreeEnsemble", "ZipMap", "Gradient"} <= {s.name for s in SCHEMAS}


@pytest.mark.parametrize("schema", SCHEMAS, ids=schema_id)
def test_every_operator_of_the_standard_has_its_kernel(schema: Any) -> None:
    """At each of its versions, with all of its inputs and attributes, and the attributes' defaults."""
    k = found(op_key(schema.name, schema.domain), schema.since_version)
    assert k.attributes is None or schema.attributes.keys() <= k.attributes
    passed = parameters(k)
    places = [p for p in passed if p.kind is p.POSITIONAL_OR_KEYWORD]
    if not any(p.kind is p.VAR_POSITIONAL for p in passed):
        assert len(schema.inputs) <= len(places)
        assert not any(i.option == onnx.defs.OpSchema.FormalParameterOption.Variadic for i in schema.inputs)
    assert sum(p.default is p.empty for p in places) <= schema.min_input, "optional inputs may be left out"
    for p in passed:
        attribute = schema.attributes.get(p.name)
        if p.kind is p.KEYWORD_ONLY and attribute is not None:
            check_default(schema, p, attribute)


def check_default(schema: Any, p: inspect.Parameter, attribute: Any) -> None:
    if (schema.name, schema.since_version, p.name) in OTHER_DEFAULTS:
        return
    if p.default is p.empty:
        assert attribute.required or (schema.name, p.name) in MEANINGLESS_WITHOUT, f"{p.name} may be left out"
    if attribute.default_value.type == AttributeProto.UNDEFINED:
        return
    default = onnx.helper.get_attribute_value(attribute.default_value)
    default = default.decode() if isinstance(default, bytes) else default
    if isinstance(default, float):
        assert p.default == pytest.approx(default, rel=1e-6), p.name
    else:
        assert p.default == default, p.name


def test_other_defaults_are_other() -> None:
    """The list of exceptions has nothing in it that is none."""
    for name, version, attribute in OTHER_DEFAULTS:
        (s,) = [s for s in SCHEMAS if (s.name, s.since_version, s.domain) == (name, version, "")]
        (p,) = [p for p in parameters(found(name, version)) if p.name == attribute]
        default = onnx.helper.get_attribute_value(s.attributes[attribute].default_value)
        assert p.default != (default.decode() if isinstance(default, bytes) else default)
