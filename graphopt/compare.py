"""Do two values agree, and does a value say anything? And: do two models have the same interface?"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from graphopt.errors import ArgumentError
from graphopt.ir.text import type_text

#: What counts as equal: largest |a - b| over max(1, largest |a|), by the least precise floating type in play.
TOLERANCES = {"float64": 1e-8, "float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-2, "float8": 0.125, "float4": 0.5}

_WIDTHS = {
    TensorProto.DOUBLE: "float64", TensorProto.COMPLEX128: "float64",
    TensorProto.FLOAT: "float32", TensorProto.COMPLEX64: "float32",
    TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16",
}  # fmt: skip

#: Integer types, as TensorProto.DataType.
INTEGERS = {code for name, code in TensorProto.DataType.items() if name.startswith(("INT", "UINT"))}

_COMPARISONS = {"Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"}
_SAME_VALUES = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Gather", "Slice", "Expand"}
_RANDOM = re.compile("Random(Normal|Uniform)(Like)?|Bernoulli|Multinomial")


@dataclass(frozen=True)
class Comparison:
    """How far `got` lies from `want`.

    Attributes:
        equal: same kind, dtype, shape, NaNs and infinities, and close enough (numbers that are not floats: the same).
        difference: largest |want - got| over max(1, largest |want|); inf where they cannot be subtracted.
        absolute: largest |want - got|; inf likewise.
        tolerance: what `difference` may be; 0 where only the same will do.
        detail: what is wrong, '' where nothing is.
    """

    equal: bool
    difference: float
    absolute: float
    tolerance: float
    detail: str = ""


def compare(want: Any, got: Any, tolerance: float | None = None, *, at_least: float = 0.0) -> Comparison:
    """Compare two values of a model's output.

    Args:
        want: an array of any dtype and shape, a list (sequence), a dict (map) or None (empty optional).
        got: likewise.
        tolerance: for floating elements; None: by their dtype, see TOLERANCES, but `at_least` this.

    NaN must meet NaN and an infinity one of its sign. Integers, booleans and strings must be the same; `detail` counts
    those that are not. Of a sequence or map the worst element is reported.
    """
    if isinstance(want, (list, tuple, dict)) or isinstance(got, (list, tuple, dict)):
        return _compare_many(want, got, tolerance, at_least)
    if want is None or got is None:
        return _same() if want is got else _unlike(f"{_kind(got)} for {_kind(want)}")
    a, b = np.asarray(want), np.asarray(got)
    if is_text(a) and is_text(b):
        a, b = a.astype(object), b.astype(object)
    if a.dtype != b.dtype:
        return _unlike(f"dtype {b.dtype} for {a.dtype}")
    if a.shape != b.shape:
        return _unlike(f"shape {list(b.shape)} for {list(a.shape)}")
    if not is_floating(a):
        return _compare_exactly(a, b)
    allowed = max(tolerance_of(a.dtype), at_least) if tolerance is None else tolerance
    a, b = _wide(a), _wide(b)
    finite = np.isfinite(a)
    if (wrong := int((np.isnan(a) != np.isnan(b)).sum())) or not np.array_equal(finite, np.isfinite(b)):
        what = f"{wrong} NaNs" if wrong else f"{int((finite != np.isfinite(b)).sum())} infinities"
        return _unlike(f"{what} on one side only", allowed)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return _unlike("infinities of the other sign", allowed)
    if not finite.any():
        return Comparison(True, 0.0, 0.0, allowed)
    absolute = float(np.abs(a[finite] - b[finite]).max())
    difference = absolute / max(1.0, float(np.abs(a[finite]).max()))
    return Comparison(difference <= allowed, difference, absolute, allowed)


def spread(values: Sequence[Any]) -> float:
    """How much a value moves over several runs: the largest absolute difference from the first.

    Tensors are compared with the first of the same shape (their sizes may have been asked for). inf where NaNs come and
    go. What may be rounding counts as 0, which says that a comparison proves nothing: whatever this value is computed
    from, it is not the inputs.
    """
    firsts: dict[str, Any] = {}
    most = 0.0
    for value in values:
        first = firsts.setdefault(layout(value), value)
        c = compare(first, value, 0.0)
        if not c.equal and not c.absolute <= _rounding(value):
            most = max(most, c.absolute)
    return most


def _rounding(value: Any) -> float:
    """A few units in the last place of the largest number in a value."""
    if isinstance(value, (list, tuple, dict)):
        return max(map(_rounding, value.values() if isinstance(value, dict) else value), default=0.0)
    a = np.asarray(value)
    if value is None or is_text(a) or not is_floating(a):
        return 0.0
    finite = np.abs(_wide(a)[np.isfinite(_wide(a))])
    info: Any = ml_dtypes.finfo(a.dtype)
    return 8.0 * float(info.eps) * float(finite.max(initial=0.0))


def saturated(values: Sequence[Any]) -> bool:
    """Whether floating tensors of several runs hold two numbers in all, which says little of what is computed from."""
    if not all(isinstance(v, np.ndarray) and v.size and is_floating(v) for v in values):
        return False
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    return low != high and all(((v == low) | (v == high)).all() for v in values)


def tolerance_of(dtype: np.dtype) -> float:
    """The default tolerance for elements of this dtype; complex numbers count as their parts."""
    name = np.dtype(dtype).name
    name = {"complex64": "float32", "complex128": "float64"}.get(name, name)
    return next((t for known, t in TOLERANCES.items() if name.startswith(known)), 0.0)


def is_floating(array: np.ndarray) -> bool:
    """Floating or complex, ml_dtypes' types included."""
    return array.dtype.kind in "fc" or array.dtype.name.startswith(("bfloat", "float"))


def is_text(array: np.ndarray) -> bool:
    """An array of strings, in any of NumPy's ways to hold them."""
    return array.dtype.kind in "OUST"


def _compare_many(want: Any, got: Any, tolerance: float | None, at_least: float) -> Comparison:
    if isinstance(want, dict) and isinstance(got, dict):
        if want.keys() != got.keys():
            return _unlike("other keys in a map")
        want, got = list(want.values()), [got[k] for k in want]
    elif not (isinstance(want, (list, tuple)) and isinstance(got, (list, tuple))):
        return _unlike(f"{_kind(got)} for {_kind(want)}")
    if len(want) != len(got):
        return _unlike(f"{len(got)} elements for {len(want)}")
    parts = [compare(w, g, tolerance, at_least=at_least) for w, g in zip(want, got, strict=True)]
    return max(parts, key=lambda c: (not c.equal, c.difference), default=_same())


def _compare_exactly(a: np.ndarray, b: np.ndarray) -> Comparison:
    wrong = a != b
    count = int(np.count_nonzero(wrong))
    if not count:
        return _same()
    detail = f"{count} of {a.size} elements differ"
    if is_text(a):
        return _unlike(detail)
    gap = [abs(int(x) - int(y)) for x, y in zip(a[wrong].ravel()[:_MANY], b[wrong].ravel()[:_MANY], strict=True)]
    absolute = float(max(gap))  # Python integers: no overflow
    return Comparison(False, absolute / max(1.0, float(np.abs(a.astype(np.float64)).max())), absolute, 0.0, detail)


_MANY = 100_000


def _wide(a: np.ndarray) -> np.ndarray:
    return a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)


def _same() -> Comparison:
    return Comparison(True, 0.0, 0.0, 0.0)


def _unlike(detail: str, tolerance: float = 0.0) -> Comparison:
    return Comparison(False, math.inf, math.inf, tolerance, detail)


def _kind(value: Any) -> str:
    kinds = {list: "a sequence", tuple: "a sequence", dict: "a map", type(None): "nothing"}
    return kinds.get(type(value), "a tensor")


def layout(value: Any) -> str:
    """Kind, dtype and shape as text: two values that share it can be subtracted."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(layout, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{k}:{layout(v)}' for k, v in value.items())}}}"
    return "nothing" if value is None else f"{np.asarray(value).dtype}{list(np.asarray(value).shape)}"


# --------------------------------------------------------------------------------------------------------------- models
def tolerance_for(model: ModelProto) -> float:
    """The tolerance for outputs of a model: that of the least precise floating type that it computes in.

    Weights, inputs, outputs and the targets of Casts count, so a float32 output of a network in float16 gets float16's.
    Types of less than 16 bits do not count: whoever quantises says what is good enough.
    """
    found: set[Any] = set()
    for graph in graphs_of(model):
        found.update(t.data_type for t in graph.initializer)
        found.update(v.type.tensor_type.elem_type for v in (*graph.input, *graph.output))
    for node in nodes_of(model):
        found.update(a.i for a in node.attribute if node.op_type == "Cast" and a.name == "to")
        found.update(a.t.data_type for a in node.attribute if a.type == onnx.AttributeProto.TENSOR)
    return max((TOLERANCES[_WIDTHS[e]] for e in found if e in _WIDTHS), default=TOLERANCES["float32"])


def weight_bytes(model: ModelProto) -> int:
    """Bytes of the initializers of the main graph, external ones included, strings apart."""
    tensors = [t for t in model.graph.initializer if t.data_type != TensorProto.STRING]
    return sum(math.prod(t.dims) * helper.tensor_dtype_to_np_dtype(t.data_type).itemsize for t in tensors)


def graphs_of(model: ModelProto) -> Iterator[GraphProto]:
    """The main graph and all subgraphs."""
    yield model.graph
    for node in nodes_of(model):
        for a in node.attribute:
            yield from (a.g,) if a.HasField("g") else a.graphs


def nodes_of(model: ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node: of the main graph, of subgraphs and of functions."""
    stack = [model.graph.node, *(f.node for f in model.functions)]
    while stack:
        for node in stack.pop():
            yield node
            for a in node.attribute:
                stack.extend(g.node for g in ((a.g,) if a.HasField("g") else a.graphs))


def compared_with(model: ModelProto, names: set[str]) -> dict[str, set[int]]:
    """Integers that the main graph compares an input with: values on which a branch may hang."""
    origin = {name: name for name in names}  # value -> the input whose numbers it has
    single = {t.name: t for t in model.graph.initializer if math.prod(t.dims) == 1 and t.data_location != t.EXTERNAL}
    hints: dict[str, set[int]] = {}
    for node in model.graph.node if names else ():
        if node.op_type == "Constant" and node.attribute and math.prod(node.attribute[0].t.dims) == 1:
            single[node.output[0]] = node.attribute[0].t
        if node.op_type in _SAME_VALUES and node.input[0] in origin:
            origin[node.output[0]] = origin[node.input[0]]
        if node.op_type in _COMPARISONS:
            for name, other in itertools.permutations(node.input):
                if name in origin and other in single and single[other].data_type in INTEGERS:
                    hints.setdefault(origin[name], set()).add(int(numpy_helper.to_array(single[other]).item()))
    return hints


def draws_numbers(model: ModelProto) -> bool:
    """Whether some operator's output is random."""
    return any(_RANDOM.fullmatch(n.op_type) or (n.op_type == "Dropout" and len(n.input) > 2) for n in nodes_of(model))


def feedable(model: ModelProto) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
    """The inputs that must be fed, and those that may be: with an initializer as default (from IR version 4 on)."""
    defaults = {t.name for t in model.graph.initializer} | {t.values.name for t in model.graph.sparse_initializer}
    required = [v for v in model.graph.input if v.name not in defaults]
    optional = [v for v in model.graph.input if v.name in defaults] if model.ir_version >= 4 else []
    return required, optional


def given(inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None, model: ModelProto) -> list[dict[str, Any]]:
    """A user's feeds, one dict or several, with Python's numbers and lists turned into tensors of the declared dtype.

    Raises:
        ArgumentError: an input is missing, or unknown.
    """
    required, optional = feedable(model)
    types = {v.name: v.type for v in (*required, *optional)}
    found = []
    for feeds in () if inputs is None else [inputs] if isinstance(inputs, Mapping) else inputs:
        if unknown := [n for n in feeds if n not in types]:
            raise ArgumentError(f"inputs: the model has no input {unknown[0]!r}; it has {', '.join(types) or 'none'}")
        if missing := [v.name for v in required if v.name not in feeds]:
            raise ArgumentError(f"inputs: no value for {', '.join(map(repr, missing))}")
        found.append({n: _as_declared(v, types[n].tensor_type.elem_type) for n, v in feeds.items()})
    return found


def _as_declared(value: Any, element: int) -> Any:
    if isinstance(value, np.ndarray) or not element:
        return value
    return np.asarray(value, object if element == TensorProto.STRING else helper.tensor_dtype_to_np_dtype(element))


def interface_differences(original: ModelProto, candidate: ModelProto) -> list[str]:
    """What a caller of the original would notice: names, order, dtypes and declared dims of inputs and outputs."""
    told = []
    (need_a, may_a), (need_b, may_b) = feedable(original), feedable(candidate)
    if original.ir_version < 4 <= candidate.ir_version:  # inputs with a default, which nobody could feed before
        may_b = [v for v in may_b if v.name not in {i.name for i in original.graph.input}]
    sides = (
        ("input", need_a, need_b),
        ("optional input", may_a, may_b),
        ("output", original.graph.output, candidate.graph.output),
    )
    for what, a, b in sides:
        names_a, names_b = [v.name for v in a], [v.name for v in b]
        if names_a != names_b:
            gone, new = [n for n in names_a if n not in names_b], [n for n in names_b if n not in names_a]
            parts = [f"{verb} {', '.join(map(repr, n))}" for verb, n in (("lost", gone), ("gained", new)) if n]
            told.append(f"{what}s: {'; '.join(parts) or 'in another order'}")
        declared = {v.name: type_text(v.type) for v in b}
        for v in a:
            before, after = type_text(v.type), declared.get(v.name)
            if after is not None and after != before:
                told.append(f"{what} {v.name!r}: {after}, was {before}")
    return told
