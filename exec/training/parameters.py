"""Which initializers are trained; and of every other one, why it is not."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto

from graphopt.errors import ArgumentError
from graphopt.exec.kernels import kernel_for
from graphopt.exec.training import forms
from graphopt.ir import Model, Node, Tensor, Value
from graphopt.ir.tensor import dtype_name
from graphopt.shapes import infer_model

#: A name, names or globs ('layer4.*'), or what says of a name whether it is trained.
Trainable = str | Sequence[str] | Callable[[str], bool]

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_FLAT = frozenset(
    "Sign Floor Ceil Round Shape Size ArgMax ArgMin Hardmax IsNaN IsInf EyeLike ConstantOfShape Bernoulli Multinomial "
    "RandomNormalLike RandomUniformLike NonZero".split()
)
_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "QLinear", "Integer", "NBits")
#: Inputs that are settings of an operator, by position, though a derivative exists.
_SETTINGS = {"Clip": (1, 2), "Pow": (1,), "Pad": (2,), "OneHot": (2,), "Dropout": (1,)}


@dataclass(frozen=True, slots=True)
class Parameter:
    """An initializer.

    Attributes:
        name: of the value.
        dtype: 'float', 'int64'..., as ONNX spells it.
        shape: its dims.
        why_not: why it is not trained; '' where it is.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    why_not: str = ""

    def __str__(self) -> str:
        text = f"{self.name}: {self.dtype}{list(self.shape)}"
        return f"{text}, not trained: {self.why_not}" if self.why_not else text


@dataclass(frozen=True, slots=True)
class Choice:
    """What is trained.

    Attributes:
        trained: initializers, in the order of the file.
        not_trained: the others.
        normalized: running means of the BatchNormalizations that use the batch's statistics: those of which the scale or the
            shift is trained. A frozen one stays as it is.
    """

    trained: list[Parameter]
    not_trained: list[Parameter]
    normalized: frozenset[str] = field(default_factory=frozenset)

    def __str__(self) -> str:
        count = sum(int(np.prod(p.shape)) for p in self.trained)
        head = f"{len(self.trained)} initializers with {count:,} numbers are trained, {len(self.not_trained)} are not"
        return "\n".join([head, *(f"  {p}" for p in (*self.trained, *self.not_trained))])


def choose(model: Model, trainable: Trainable | None = None, outputs: Iterable[str] | None = None) -> Choice:
    """Decide about every initializer.

    Args:
        model: as it was read, with running statistics of its own for each BatchNormalization; its types are inferred.
        trainable: what is asked for; None: everything that a loss can depend on, except for what looks like a setting (single
            numbers, exponents, bounds, masks with infinities), which may be named.
        outputs: of the model, those that the loss reads; None: all.

    Raises:
        ArgumentError: nothing can be trained, or something that is named cannot; the message says why.
    """
    infer_model(model)
    graph = model.graph
    wanted = set(outputs) if outputs is not None else {v.name for v in graph.outputs}
    reached = _reached(model, [v for v in graph.outputs if v.name in wanted])
    norms = list(forms.normalizations(model))
    statistics = {v: n for n, *both in norms for v in both}
    asked = _asked(trainable, [v.name for v in graph.initializers])
    trained: list[Parameter] = []
    rest: list[Parameter] = []
    for v, tensor in graph.initializers.items():
        why, firm = _obstacle(model, v, tensor, reached, statistics)
        if asked is not None:
            if v.name in asked and why and not firm:
                why = ""
            elif v.name in asked.named and why:
                raise ArgumentError(f"'{v.name}' cannot be trained: {why}")
            elif v.name not in asked and not why:
                why = "frozen: `trainable` does not name it"
        p = Parameter(v.name, dtype_name(tensor.dtype), tuple(tensor.dims), why)
        (rest if why else trained).append(p)
    for sub in graph.subgraphs():
        if sub is not graph:
            rest += [
                Parameter(v.name, dtype_name(t.dtype), tuple(t.dims), "it belongs to a branch or a loop's body")
                for v, t in sub.initializers.items()
            ]
    if not trained:
        told = "; ".join(map(str, rest[:20])) or "it has no initializers (values of Constant nodes do not count)"
        more = f"; and {len(rest) - 20} more" if len(rest) > 20 else ""
        raise ArgumentError(f"the model has no float initializer to train: {told}{more}")
    names = {p.name for p in trained}
    normalized = frozenset(
        mean.name
        for n, mean, _ in norms
        if any(v is not None and v.name in names for v in n.inputs[forms.SCALE : forms.MEAN])
    )
    return Choice(trained, rest, normalized)


class _Asked(frozenset[str]):
    """Names that are asked for; `named`: those without a wildcard."""

    named: frozenset[str] = frozenset()


def _asked(trainable: Trainable | None, names: Sequence[str]) -> _Asked | None:
    if trainable is None:
        return None
    if callable(trainable):
        return _Asked(n for n in names if trainable(n))
    patterns = [trainable] if isinstance(trainable, str) else list(trainable)
    found: set[str] = set()
    for pattern in patterns:
        hits = [n for n in names if n == pattern] or fnmatch.filter(names, pattern)
        if not hits:
            near = difflib.get_close_matches(pattern, names, 3, 0.3) or names[:3]
            raise ArgumentError(
                f"trainable: no initializer is called '{pattern}'; there are {len(names)}: {', '.join(near)}..."
            )
        found.update(hits)
    asked = _Asked(found)
    asked.named = frozenset(patterns) & asked
    return asked


def _obstacle(
    model: Model, v: Value, tensor: Tensor, reached: set[Value], statistics: dict[Value, Node]
) -> tuple[str, bool]:
    """Why an initializer is not trained, and whether asking for it would not help either."""
    if tensor.dtype not in _FLOATS:
        return f"{dtype_name(tensor.dtype)} has no gradient; only floats of 16 bits and more are trained", True
    if v in statistics:
        return f"a running statistic of {_called(statistics[v])}: it follows the batches", True
    if not v.used:
        return "nothing reads it", True
    quantised = [n for n in v.uses if any(part in n.op for part in _QUANTISED)]
    if quantised:
        return f"quantised: {_called(quantised[0])} reads it", True
    if v not in reached:
        blocked = [n for n in v.uses if not any(u is v and _passes(model, n, i) for i, u in enumerate(n.inputs))]
        if blocked and len(blocked) == len(v.uses):
            return f"{_called(blocked[0])} has no derivative with respect to it", True
        return "the outputs that the loss reads do not depend on it differentiably", True
    settings = [n for n in v.uses if any(u is v and i in _SETTINGS.get(n.op, ()) for i, u in enumerate(n.inputs))]
    if settings and len(settings) == len(v.uses):
        return f"a setting of {_called(settings[0])}; name it in `trainable` to train it", False
    if not tensor.dims:
        return "a single number, as an epsilon or a scale; name it in `trainable` to train it", False
    if not np.isfinite(tensor.view().astype(np.float64, copy=False)).all():
        return "it holds infinities or NaN, as a mask does", False
    return "", False


def _reached(model: Model, outputs: Iterable[Value]) -> set[Value]:
    """Values from which a derivative leads to the outputs."""
    todo = [v for v in outputs if _may_be_float(v)]
    seen: set[Value] = set(todo)
    while todo:
        node = todo.pop().node
        if node is None:
            continue
        before = [v for i, v in enumerate(node.inputs) if v is not None and _passes(model, node, i)]
        before += [v for sub in node.subgraphs for v in sub.outputs]
        for v in before:
            if v not in seen and _may_be_float(v):
                seen.add(v)
                todo.append(v)
    return seen


def _passes(model: Model, node: Node, i: int) -> bool:
    """Whether a derivative passes a node from its outputs to input i."""
    if node.op in _FLAT or any(part in node.op for part in _QUANTISED):
        return False
    if (node.domain, node.op_type, node.overload) in model.functions:
        return True
    kernel = kernel_for(node.op, (node.graph or model.graph).opsets.get(node.domain, 1))
    return kernel is None or i not in kernel.host


def _may_be_float(v: Value) -> bool:
    return v.dtype in _FLOATS or not v.dtype


def _called(node: Node) -> str:
    return f"{node.op} '{node.name or node.output.name}'"
