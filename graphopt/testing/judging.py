"""Do two models compute the same? Bit for bit, or up to what rounding can do to the first one.

How far rounding can move an output is not guessed but tried: the original runs again on the reference kernels with every
result moved by a few units in the last place. Where that alone changes an output beyond all bounds - a number beside a step
of Floor, a difference of two large ones - the example says nothing, and is not counted.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import ml_dtypes
import numpy as np
from onnx import ModelProto

from graphopt.compare import Comparison, compare, interface_differences, is_floating, is_text
from graphopt.errors import RunError, UnsupportedError
from graphopt.exec.backends.numpy import REFERENCE
from graphopt.exec.executors import Executor, Reloadable, create, waiting
from graphopt.exec.plan import Plan
from graphopt.exec.planning import plan
from graphopt.ir import load

Verdict = Literal["equal", "different", "says nothing", "not run"]

#: What counts as equal without further questions: largest |a - b| over the largest |a|, by dtype.
CLOSE = {"float64": 1e-11, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
#: On other executors than the reference, which may keep constants of a function in single precision.
CLOSE_ELSEWHERE = {**CLOSE, "float64": 1e-7}
#: Outputs are measured against numbers of at least this size: the smallest normal one, where that is not far below 1.
_FLOOR = 1e-3
_FLOOR_HALF = 2.0**-14
#: An output may differ by so many times what rounding did to it in the runs that were tried.
_SLACK = 8.0
#: And by so many times what lies between the originals on two executors: it may lie on the other side of the first one.
_BOTH_WAYS = 2.0
#: Where rounding alone moves an output by more than this, an example says nothing.
_MOST_NOISE = 0.02
_RUNS = 6

#: What moves numbers about, picks among them or changes their sign: nothing is rounded.
_EXACT = frozenset(
    (
        "Abs And ArgMax ArgMin Ceil Clip Compress Concat ConcatFromSequence Constant ConstantOfShape DepthToSpace Equal Expand "
        "EyeLike Flatten Floor Gather GatherElements GatherND GlobalMaxPool Greater GreaterOrEqual Hardmax Identity If IsInf "
        "IsNaN Less LessOrEqual Loop Max MaxPool MaxUnpool Min Neg Not OneHot Or Pad Range ReduceMax ReduceMin Relu Reshape "
        "ReverseSequence Round Scan ScatterElements ScatterND SequenceAt SequenceConstruct Shape Sign Size Slice SpaceToDepth "
        "Split SplitToSequence Squeeze Tile TopK Transpose Trilu Unique Unsqueeze Where Xor"
    ).split()
)
#: Results that are small beside their terms: they are moved by units in the last place of those.
_SUMS = frozenset(
    (
        "Add Sub Sum Mean ReduceSum ReduceMean ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp CumSum AveragePool "
        "GlobalAveragePool BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization "
        "Sin Cos Tan Log Mod Erf Sigmoid"
    ).split()
)
#: Normalizations that runtimes turn into a factor and a shift.
_FACTORED = frozenset({"BatchNormalization", "InstanceNormalization"})
_PRODUCTS = frozenset("MatMul Gemm Conv ConvTranspose Einsum Attention".split())
#: Why an output is not compared on an executor that computes it.
NOISY = "gives an output that rounding alone changes"
ELSEWISE = "computes the original in another way than the first one"
REASONS = frozenset({NOISY, ELSEWISE})


@dataclasses.dataclass(frozen=True)
class Difference:
    """Where two models were found to differ.

    Attributes:
        executor: who ran them; '' where it is the model itself that is wrong.
        output: its name; '' where the second model failed altogether.
        detail: what is wrong.
        want, got: the values.
    """

    executor: str
    output: str
    detail: str
    want: Any = None
    got: Any = None

    def __str__(self) -> str:
        where = " of ".join(filter(None, (f"output '{self.output}'" if self.output else "", self.executor)))
        return f"{where}: {self.detail}" if where else self.detail


@dataclasses.dataclass
class Judge:
    """Compares models on executors.

    Attributes:
        on: names of executors.
        exact: every bit must agree, on executors in `bitwise`.
        bitwise: executors that compute an operator in one way whatever is around it.
        compared: how often two outputs were compared on an executor.
        left_out: how often nothing could be compared, by executor and reason.
    """

    on: Sequence[str]
    exact: bool = False
    bitwise: frozenset[str] = frozenset({"reference", "onnxruntime"})
    compared: Counter[str] = dataclasses.field(default_factory=Counter)
    left_out: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    _kept: dict[str, Reloadable | None] = dataclasses.field(default_factory=dict, repr=False)

    def differences(
        self, original: ModelProto, candidate: ModelProto, feeds: Mapping[str, Any], numbers: bool = True
    ) -> list[Difference]:
        """What two models of one interface do differently with these inputs.

        A difference counts where the executor computes the original as the first one does: it may have a bug of its own
        there, or the operator may leave the result open. It may differ by so much as lies between the two originals.

        Args:
            numbers: compare floating elements too, not only dtypes, shapes and everything else.
        """
        found = [Difference("", "", f"the interface: {told}") for told in interface_differences(original, candidate)]
        if found:
            return found
        noise: dict[str, float] | None = None
        first: dict[str, Any] = {}
        for name in self.on:
            want = self._original(name, original, feeds)
            if isinstance(want, str):
                self.left_out[name, want] += 1
                continue
            first = first or want
            got = self._run(name, candidate, feeds)
            if isinstance(got, str):
                found.append(Difference(name, "", f"the original runs, the other model does not: {got}"))
                continue
            for output, value in want.items():
                self.compared[name] += 1
                bits = self.exact and name in self.bitwise
                close = CLOSE if name == "reference" else CLOSE_ELSEWHERE
                detail = differ(value, got[output], bits, numbers, close)
                alike = not detail or want is first or compare(first[output], value).equal
                if detail and not bits and alike:
                    detail = differ(value, got[output], bits, numbers, close, _BOTH_WAYS * _moved(first[output], value))
                if detail and not bits and numbers and _close_enough(value):
                    if noise is None:
                        noise = roundings(original, feeds)
                    allowed = noise.get(output, 0.0)
                    if allowed > _MOST_NOISE:
                        self.left_out[name, NOISY] += 1
                        continue
                    detail = differ(value, got[output], bits, numbers, close, _SLACK * allowed)
                if detail and not alike:
                    self.left_out[name, ELSEWISE] += 1
                elif detail:
                    found.append(Difference(name, output, detail, value, got[output]))
        return found

    def _original(self, name: str, model: ModelProto, feeds: Mapping[str, Any]) -> dict[str, Any] | str:
        """The first model's outputs, which other judges may know already."""
        return self._run(name, model, feeds)

    def _run(self, name: str, model: ModelProto, feeds: Mapping[str, Any]) -> dict[str, Any] | str:
        """Outputs by name, or why there are none."""
        try:
            with np.errstate(all="ignore"):
                return self._loaded(name, model.SerializeToString()).run(feeds)
        except Exception as e:
            text = " ".join(str(e).split())
            return f"{type(e).__name__}: {text[:300]}"

    def _loaded(self, name: str, model: bytes) -> Executor:
        """An executor with the model. One that can take another model does: its process is slow to start."""
        if name not in self._kept:
            self._kept[name] = waiting(name)
        if (kept := self._kept[name]) is None:
            return create(name, model)
        kept.load(model)
        return kept


def differ(
    want: Any,
    got: Any,
    bits: bool,
    numbers: bool = True,
    close: Mapping[str, float] = CLOSE,
    at_least: float = 0.0,
) -> str:
    """How an output differs from the one that is wanted; '' where it does not.

    Args:
        bits: every bit must agree; one NaN is as good as another.
        numbers: floating elements are compared.
        close: the relative difference that is allowed, by dtype.
        at_least: the relative difference that is allowed in any case.
    """
    if isinstance(want, (list, tuple)) and isinstance(got, (list, tuple)):
        if len(want) != len(got):
            return f"{len(got)} elements for {len(want)}"
        parts = (differ(a, b, bits, numbers, close, at_least) for a, b in zip(want, got, strict=True))
        return next(filter(None, parts), "")
    if not isinstance(want, np.ndarray) or not is_floating(want):
        return _told(compare(want, got))
    c = compare(want, got, np.inf)
    if not isinstance(got, np.ndarray) or got.dtype != want.dtype or got.shape != want.shape:
        return _told(c)
    if bits:
        nan = np.isnan(want)
        same = np.array_equal(nan, np.isnan(got)) and np.array_equal(want[~nan], got[~nan])
        same = same and np.array_equal(np.signbit(want[~nan]), np.signbit(got[~nan]))
        return "" if same else f"not the same bits; {_told(c) or _size(c)}"
    if not numbers:
        return ""
    if not c.equal:
        return _told(c)
    scale = _largest(want)
    allowed = max(close.get(want.dtype.name, 0.1), at_least)
    return "" if c.absolute <= allowed * scale else f"{_size(c)}, {allowed * scale:.1e} is allowed"


def _told(c: Comparison) -> str:
    return "" if c.equal else c.detail or _size(c)


def _size(c: Comparison) -> str:
    return f"largest difference {c.absolute:.3g}"


def _close_enough(value: Any) -> bool:
    return not (isinstance(value, np.ndarray) and is_text(value))


# --------------------------------------------------------------------------------------------------------------- rounding
def roundings(model: ModelProto, feeds: Mapping[str, Any]) -> dict[str, float]:
    """How far rounding moves each output: the largest difference over the largest number in it, in several runs; infinite
    where dtypes, shapes or numbers that are no floats change."""
    names = [o.name for o in model.graph.output]
    first = shaken(model, feeds, None)
    moved = dict.fromkeys(names, 0.0)
    for seed in range(_RUNS):
        try:
            other = shaken(model, feeds, seed)
        except RunError:  # a size or an index that was computed
            return dict.fromkeys(names, np.inf)
        for name, a, b in zip(names, first, other, strict=True):
            moved[name] = max(moved[name], _moved(a, b))
    return moved


def _moved(a: Any, b: Any) -> float:
    if isinstance(a, (list, tuple)):
        return max((_moved(x, y) for x, y in zip(a, b, strict=False)), default=0.0) if len(a) == len(b) else np.inf
    if isinstance(a, np.generic):  # what kernels give that has no dims
        a, b = np.asarray(a), np.asarray(b)
    c = compare(a, b, np.inf if isinstance(a, np.ndarray) and is_floating(a) else None)
    if not c.equal:
        return np.inf
    if not isinstance(a, np.ndarray) or not is_floating(a):
        return 0.0
    return c.absolute / _largest(a)


def _largest(a: np.ndarray) -> float:
    """What differences of an output are measured against: the largest finite number in it, unless all are very small."""
    wide = np.abs(a.astype(np.complex128 if a.dtype.kind == "c" else np.float64))
    return max(float(wide[np.isfinite(wide)].max(initial=0.0)), _FLOOR_HALF if a.dtype == np.float16 else _FLOOR)


def shaken(model: ModelProto, feeds: Mapping[str, Any], seed: int | None) -> list[Any]:
    """Outputs on the reference kernels; with a seed, what rounds does so in another way.

    Raises:
        UnsupportedError: operators without a kernel.
        RunError: a node failed.
    """
    steps = plan(load(model))
    if seed is not None:
        rng = np.random.default_rng(seed)
        for p in _plans(steps):
            for step in p.steps:
                if step.op not in _EXACT:
                    step.kernel = dataclasses.replace(
                        step.kernel, function=_shaking(step.op, step.kernel.function, rng)
                    )
    with np.errstate(all="ignore"):
        return steps.run(REFERENCE, [feeds[v.name] for v in model.graph.input])


def _plans(steps: Plan) -> Iterator[Plan]:
    yield steps
    for step in steps.steps:
        for body in step.bodies.values():
            yield from _plans(body.plan)


def _shaking(op: str, function: Callable[..., Any], rng: np.random.Generator) -> Callable[..., Any]:
    def call(xp: Any, *values: Any, **attributes: Any) -> Any:
        result = function(xp, *values, **attributes)
        given = values
        if op in _FACTORED and values[0].size:
            given = (*values, _factored(op, values, attributes.get("epsilon", 1e-5)))
        return tuple(moved(y, given) for y in result) if type(result) is tuple else moved(result, given)

    def moved(y: Any, values: Sequence[Any]) -> Any:
        if not _is_rounded(y):
            return y
        size = np.abs(y.astype(np.float64))
        given = [np.abs(v.astype(np.float64)) for v in values if _is_rounded(v) and v.size]
        if op in ("Add", "Sub"):
            for v in given:
                size = np.maximum(size, v)
        elif op in _SUMS and given:
            size = np.maximum(size, max(v.max() for v in given))
        elif op.endswith("Window"):  # cosines that cancel out
            size = np.maximum(size, 1.0)
        elif op in _PRODUCTS and len(given) > 1:
            size = np.maximum(size, given[0].max() * _by_output(op, given[1], y.ndim))
        coarsest = max(float(ml_dtypes.finfo(t).eps) for t in {y.dtype, *(v.dtype for v in values_of(op, values))})
        by = rng.uniform(-4, 4, y.shape) * coarsest * np.where(np.isfinite(size), size, 0)
        if op in ("Mul", "Div") and y.size:  # which may be too small for the dtype
            least = float(ml_dtypes.finfo(y.dtype).smallest_subnormal)
            lost = (y != 0) | all(v.all() for v in given)  # a zero may be none where no factor is
            by = by + rng.uniform(-least, least, y.shape) * lost
        return (y.astype(np.float64) + by).astype(y.dtype)

    return call


def _by_output(op: str, w: np.ndarray, rank: int) -> Any:
    """The largest weight, of each output by itself where it is clear which they are."""
    if op == "MatMul" and rank > 1 and w.ndim == 2:
        return w.max(0)
    if op == "Conv" and w.ndim == rank:
        return w.max(tuple(range(1, rank))).reshape(-1, *(1,) * (rank - 2))
    return w.max()


def _factored(op: str, values: Sequence[Any], epsilon: float) -> np.ndarray:
    """The largest term of a normalization that is computed as x·k + (b - mean·k), in the dtype of `x`."""
    x = values[0].astype(np.float64)
    variance = values[4].astype(np.float64) if op == "BatchNormalization" else x.reshape(*x.shape[:2], -1).var(-1)
    k = np.abs(values[1].astype(np.float64)).max(initial=0) / np.sqrt(
        np.maximum(variance.min(initial=np.inf), 0) + epsilon
    )
    return np.array(np.abs(x).max() * k).astype(values[0].dtype)


def _is_rounded(value: Any) -> bool:
    """Whether a value is a tensor of floats; kernels give a number where a tensor has no dims."""
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.name in CLOSE


def values_of(op: str, values: Sequence[Any]) -> list[np.ndarray]:
    """The floating inputs of a node, in whose dtypes it may compute."""
    floats = [v for v in values if _is_rounded(v)]
    return [] if op in ("Cast", "CastLike") else floats


def runs(model: ModelProto, feeds: Mapping[str, Any]) -> bool:
    """Whether the reference kernels take a model and its inputs."""
    try:
        shaken(model, feeds, None)
    except (RunError, UnsupportedError):
        return False
    return True
