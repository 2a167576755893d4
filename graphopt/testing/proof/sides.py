"""The two sides of a rule on one specimen: which inputs may be formulas, and what comes out of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from graphopt.errors import GraphoptError
from graphopt.exec.backends.exact import ExactBackend
from graphopt.exec.kernels.dtypes import is_float
from graphopt.exec.plan import Plan, Step
from graphopt.exec.planning import plan
from graphopt.ir import load
from graphopt.testing.proof.flow import data_slots, host_slots
from graphopt.testing.proof.specimens import Specimen

#: Makes what stands for an input: "real" numbers, "truth" values or "whole" numbers, its name and the array that was drawn.
Maker = Callable[[str, str, np.ndarray], np.ndarray]

#: Operators that do the same to integers as to other numbers, as long as nothing overflows.
_ALSO_OF_INTEGERS = frozenset(
    (
        "Add Sub Mul Neg Abs Max Min Sum Less LessOrEqual Greater GreaterOrEqual Equal Not And Or Xor Where Identity Relu Clip "
        "Transpose Reshape Flatten Squeeze Unsqueeze Expand Tile Concat Split Slice Gather GatherND GatherElements Pad Shape "
        "Size Constant ConstantOfShape ReduceSum ReduceMax ReduceMin ReduceProd ReduceSumSquare MatMul ArgMax ArgMin Trilu "
        "Dropout MaxPool CumSum ScatterElements ScatterND DepthToSpace SpaceToDepth Range"
    ).split()
)


#: A few roundings in a dtype, relatively. Attributes are float32 in any model.
_ROUNDED = {"float32": 2e-6, "float16": 4e-3, "bfloat16": 3e-2}


class Unequal(Exception):
    """The sides differ in dtypes, shapes, or in what no formula is about."""

    def __init__(self, where: str, before: Any, after: Any) -> None:
        super().__init__(f"{where} is {before} before and {after} after")
        self.where = where
        self.before = before
        self.after = after


@dataclass(frozen=True)
class Sides:
    """Both sides of a rule on a specimen, ready to run.

    Attributes:
        specimen: what they came from.
        before, after: what runs.
        names: of the inputs.
        kinds: what each input may be: "real", "truth", "whole" or "fixed", which stays as it was drawn.
    """

    specimen: Specimen
    before: Plan
    after: Plan
    names: tuple[str, ...]
    kinds: Mapping[str, str]

    @property
    def open(self) -> bool:
        """Whether anything is not fixed."""
        return any(kind != "fixed" for kind in self.kinds.values())

    @property
    def fixed(self) -> list[str]:
        """Inputs whose elements reach an output and stay as they were drawn."""
        data = data_slots(self.before)
        return [n for n, slot in zip(self.names, self.before.inputs) if slot in data and self.kinds[n] == "fixed"]

    @cached_property
    def tolerance(self) -> float:
        """How far constants may be off that the rule computed, relative to themselves."""
        dtypes = {np.asarray(a).dtype for a in (*self.before.constants.values(), *self.specimen.feeds.values())}
        return max(_ROUNDED.get(t.name, 0.0) for t in (np.dtype(np.float32), *dtypes))

    def run(self, backend: ExactBackend, make: Maker) -> list[tuple[np.ndarray, np.ndarray]]:
        """The outputs of both sides on a back end.

        Args:
            make: what stands for inputs that are not fixed.

        Raises:
            RunError: a kernel has no answer for these elements.
            Unequal: dtypes or shapes differ, or elements that are no formulas.
        """
        inputs = [
            value if (kind := self.kinds[name]) == "fixed" else make(kind, name, np.asarray(value))
            for name, value in self.specimen.feeds.items()
        ]
        with np.errstate(all="ignore"):
            left, right = ([np.asarray(v) for v in side.run(backend, inputs)] for side in (self.before, self.after))
        return [_aligned(i, a, b, backend) for i, (a, b) in enumerate(zip(left, right, strict=True))]


def _aligned(i: int, a: np.ndarray, b: np.ndarray, backend: ExactBackend) -> tuple[np.ndarray, np.ndarray]:
    if a.shape != b.shape:
        raise Unequal(f"the shape of output {i}", list(a.shape), list(b.shape))
    if a.dtype == b.dtype:
        if a.dtype != object and not np.array_equal(a, b):
            raise Unequal(f"output {i}", a.tolist(), b.tolist())
        return a, b
    if object not in (a.dtype, b.dtype):
        raise Unequal(f"the dtype of output {i}", a.dtype, b.dtype)
    a, b = (v if v.dtype in (object, bool) else backend.lift(v, always=True) for v in (a, b))
    return a.astype(object), b.astype(object)


def elements(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[Any, Any]]:
    """What is to be equal, one by one."""
    for a, b in pairs:
        if a.dtype == object:
            yield from zip(a.reshape(-1), b.reshape(-1), strict=True)


def sides_of(specimen: Specimen) -> Sides | None:
    """Both sides of a specimen, with as many inputs as formulas as can be; None where there is no kernel for it."""
    before = load(specimen.model)
    try:
        plans = plan(before), plan(load(specimen.rewritten))
    except GraphoptError:
        return None
    names = tuple(v.name for v in before.graph.inputs)
    host = {name for p in plans for name, slot in zip(names, p.inputs, strict=True) if slot in host_slots(p)}
    data = {name for name, slot in zip(names, plans[0].inputs, strict=True) if slot in data_slots(plans[0])}
    integers = all(_also_of_integers(s) for p in plans for s in p.steps)
    kinds = {name: _kind(np.asarray(specimen.feeds[name]), name in host) for name in names}
    if integers and all(kinds[name] != "real" for name in data):
        kinds |= {name: "whole" for name in data - host if specimen.feeds[name].dtype.kind in "iu"}
    return Sides(specimen, *plans, names, kinds)


def _also_of_integers(step: Step) -> bool:
    whole = step.op == "Gemm" and all(step.attributes.get(name, 1) % 1 == 0 for name in ("alpha", "beta"))
    return whole or step.op in _ALSO_OF_INTEGERS


def _kind(array: np.ndarray, on_host: bool) -> str:
    if on_host:
        return "fixed"
    return "truth" if array.dtype == bool else "real" if is_float(array.dtype) else "fixed"
