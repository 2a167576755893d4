"""What shape inference claims, and whether a real run bears it out."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from graphopt import Model

CHUNK = 400  # inner tensors that one run of a session keeps


# ------------------------------------------------------------------------------------------------------------------ dims
def _broadcast(a: int, b: int) -> int:
    if a != b and a != 1 and b != 1:
        raise ValueError(f"{a} and {b} do not broadcast")
    return b if a == 1 else a


_FUNCTIONS: dict[str, Callable[..., Any]] = {"Max": max, "Min": min, "floor": math.floor, "broadcast": _broadcast}


def evaluate(dim: Any, names: Mapping[str, int]) -> Any:
    """The number that a dim is, None where one of its names is not known. Nothing that inference computes with is used.

    Raises ArithmeticError, ValueError or KeyError where it is none.
    """
    if dim is None or isinstance(dim, (int, Fraction)):
        return dim
    if isinstance(dim, str):
        return names.get(dim)
    if hasattr(dim, "kind"):
        arguments = [evaluate(a, names) for a in dim.args]
        return None if None in arguments else _FUNCTIONS[dim.kind](*arguments)
    found = Fraction(0)
    for monomial, coefficient in dim.terms.items():
        factors = [(evaluate(f, names), n) for f, n in monomial]
        if any(f is None for f, _ in factors):
            return None
        found += coefficient * math.prod(f**n for f, n in factors)
    return int(found) if found == int(found) else found


def names_in(dim: Any) -> set[str]:
    """The names that a dim is made of."""
    if dim is None or isinstance(dim, (int, Fraction)):
        return set()
    return {dim} if isinstance(dim, str) else set(dim.names)


def show(shape: Sequence[Any] | None) -> str:
    """A shape in a line."""
    return "?" if shape is None else f"[{', '.join('?' if d is None else str(d) for d in shape)}]"


# ---------------------------------------------------------------------------------------------------------------- claims
class Claim(NamedTuple):
    """What is said of a value, and what made it."""

    dtype: int
    shape: tuple[Any, ...] | None
    type: onnx.TypeProto | None = None
    known: np.ndarray | None = None
    by: str = ""


def inferred(model: Model) -> dict[str, Claim]:
    """What graphopt says of the inputs and inner values of the main graph."""
    claims = {v.name: Claim(v.dtype, v.shape, v.type, None, "input") for v in model.graph.inputs}
    for node in model.graph:
        by = f"{node.op} '{node.name}'"
        for v in node.outputs:
            if v is not None and v.const is None:
                claims[v.name] = Claim(v.dtype, v.shape, v.type, v.known, by)
    return claims


def written(proto: onnx.ModelProto, outputs: bool = True) -> dict[str, Claim]:
    """What a message says of them, whoever wrote it. Declarations of outputs may be the file's own: not without `outputs`."""
    from graphopt.shapes.types import type_info

    made = {name: f"{node.op_type} '{node.name}', as written" for node in proto.graph.node for name in node.output}
    inner = [*proto.graph.value_info, *(proto.graph.output if outputs else ())]
    found = [*proto.graph.input, *(v for v in inner if v.name in made)]
    return {v.name: Claim(*type_info(v.type), None, made.get(v.name, "input, as written")) for v in found}


class Run:
    """One run against claims: `names` has the number that each name is, `found` what is not true."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.counts: Counter[str] = Counter()
        self.names: dict[str, int] = {}
        self._waiting: list[tuple[str, Any, Any, str]] = []

    def see(self, name: str, claim: Claim, got: Any) -> None:
        """Compare a value that came out with what is claimed."""
        self.counts["values"] += 1
        self._see(f"'{name}'" + f" ({claim.by})" * bool(claim.by), claim, got)

    def finish(self) -> Run:
        """Compare expressions, once every name that stands alone somewhere is known."""
        values: dict[Any, Any] = {}
        for where, claimed, number, kind in self._waiting:
            if claimed not in values:
                try:
                    values[claimed] = evaluate(claimed, self.names)
                except (ArithmeticError, ValueError, KeyError) as error:
                    values[claimed] = repr(error)
            self.counts["open" if values[claimed] is None else kind] += 1
            if values[claimed] is not None and values[claimed] != number:
                names = ", ".join(f"{n} = {self.names[n]}" for n in sorted(names_in(claimed)))
                self.found.append(f"{where}: {claimed} = {values[claimed]} is expected ({names}), got {number}")
        self._waiting.clear()
        return self

    def _see(self, where: str, claim: Claim, got: Any, inside: bool = False) -> None:
        import numpy as np
        from onnx import helper

        if claim.type is not None:
            self._see_other(where, claim.type, got)
            return
        if got is None or isinstance(got, (list, tuple, dict)):
            if claim.dtype or claim.shape is not None:
                self.found.append(f"{where}: a tensor is expected, got {type(got).__name__}")
            return
        array = np.asarray(got)
        if claim.dtype and (dtype := helper.np_dtype_to_tensor_dtype(array.dtype)) != claim.dtype:
            names = [helper.tensor_dtype_to_string(d).rpartition(".")[2] for d in (claim.dtype, dtype)]
            self.found.append(f"{where}: dtype {names[0]} is expected, got {names[1]}")
        if claim.shape is not None and len(claim.shape) != array.ndim:
            self.found.append(f"{where}: the shape {show(claim.shape)} is expected, got {list(array.shape)}")
            return
        for i, (dim, size) in enumerate(zip(claim.shape or (), array.shape)):
            self._equal(f"{where} dim {i}", dim, size, "dims", inside)
        if claim.known is None:
            return
        if claim.known.shape != array.shape:
            self.found.append(f"{where}: elements {claim.known.tolist()} are expected, got {list(array.shape)}")
            return
        pairs = zip(claim.known.reshape(-1).tolist(), array.reshape(-1).tolist(), strict=True)
        for i, (element, number) in enumerate(pairs):
            self._equal(f"{where} element {i}", element, _exact(number), "elements", inside)

    def _see_other(self, where: str, claimed: onnx.TypeProto, got: Any) -> None:
        """Sequences and optionals. What is in a sequence binds no name: an input's elements may differ in a dim."""
        from graphopt.shapes.types import type_info

        if claimed.HasField("optional_type"):
            if got is not None:
                self._see(where, Claim(*type_info(claimed.optional_type.elem_type)), got)
        elif claimed.HasField("sequence_type"):
            if not isinstance(got, (list, tuple)):
                self.found.append(f"{where}: a sequence is expected, got {type(got).__name__}")
                return
            info = type_info(claimed.sequence_type.elem_type)
            for i, one in enumerate(() if info.type is not None and info.type.HasField("map_type") else got):
                self._see(f"{where}[{i}]", Claim(*info), one, inside=True)

    def _equal(self, where: str, claimed: Any, number: Any, kind: str, inside: bool) -> None:
        if claimed is None:
            return
        if isinstance(claimed, str) and claimed not in self.names:
            if isinstance(number, int) and not inside:
                self.names[claimed] = number
                self.counts["names"] += 1
        elif isinstance(claimed, (int, Fraction, str)):
            self.counts[kind] += 1
            want = evaluate(claimed, self.names)
            if want != number:
                named = f"{claimed} = " if isinstance(claimed, str) else ""
                self.found.append(f"{where}: {named}{want} is expected, got {number}")
        else:
            self._waiting.append((where, claimed, number, kind))


def _exact(number: Any) -> Any:
    """A number as elements are inferred, a float as a fraction."""
    if isinstance(number, float) and math.isfinite(number):
        return int(number) if number.is_integer() else Fraction(number)
    return int(number) if isinstance(number, (bool, int)) else number


def compare(
    claims: Sequence[Mapping[str, Claim]], feeds: Mapping[str, Any], values: Iterable[tuple[str, Any]]
) -> list[Run]:
    """One run against each of several sets of claims: inputs first, for they tell what the names are."""
    runs = [Run() for _ in claims]
    for name, got in itertools.chain(feeds.items(), values):
        for said, run in zip(claims, runs, strict=True):
            if name in said:
                run.see(name, said[name], got)
    return [run.finish() for run in runs]


# ---------------------------------------------------------------------------------------------------------- inner values
def inner_values(path: Path, names: Sequence[str]) -> Callable[[dict[str, Any]], Iterator[tuple[str, Any]]]:
    """How to run a model so that these values come out: under ONNX Runtime, a part at a time, else on onnx.reference."""
    try:
        session = _exposed(path, names)
    except Exception:
        return lambda feeds: on_reference(str(path), feeds)

    def run(feeds: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for i in range(0, len(names), CHUNK):
            some = names[i : i + CHUNK]
            yield from zip(some, session.run(some, feeds), strict=True)

    return run


def _exposed(path: Path, names: Sequence[str]) -> Any:
    """A session without optimisations whose outputs are all inner values."""
    import onnx
    import onnxruntime

    proto = onnx.load(path, load_external_data=False)
    there = {v.name for v in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def on_reference(model: Any, feeds: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """All inner values of a model on onnx.reference."""
    from onnx.reference import ReferenceEvaluator

    values: Any = ReferenceEvaluator(model).run(None, dict(feeds), intermediate=True)
    yield from ((name, got) for name, got in values.items() if name and name not in feeds)


def quiet() -> None:
    """No warnings or messages from the libraries of a worker."""
    import logging
    import warnings

    import numpy as np

    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    np.seterr(all="ignore")
