"""`trace`: an optimisation to be walked through, step by step or phase by phase."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, overload

from graphopt._display import html_of
from graphopt.errors import ArgumentError
from graphopt.ir import Model
from graphopt.pipeline import optimize
from graphopt.report import Report
from graphopt.steps import NumberedStep, Phase


@dataclass(frozen=True)
class Trace:
    """An optimisation, finished; iterating goes through its steps, in order.

    `trace[k]` is step k, counted from 1 as everywhere else, or from the end: `trace[-1]` is the last one. A slice gives the
    steps with these numbers. A `Sequence` it is not: the methods of those count from 0.

    Attributes:
        source: the model that was passed in.
        model: the optimised one.
        arguments: what it was optimised with.
    """

    source: Any = field(repr=False)
    model: Model
    arguments: dict[str, Any]
    _made: dict[int, Model] = field(default_factory=dict, repr=False, compare=False)

    @property
    def report(self) -> Report:
        """Of the whole optimisation."""
        assert self.model.report is not None
        return self.model.report

    def phases(self) -> list[Phase]:
        """The parts of the work in which something was done, in order."""
        return self.report.phases()

    def after(self, number: int) -> Model:
        """The model after so many steps; 0 gives it as it was before the first one. The last one made is remembered; after all
        steps it is the optimised model itself.

        Raises:
            ArgumentError: there are not so many steps.
        """
        if not 0 <= number <= len(self):
            raise ArgumentError(f"there are {len(self)} steps: the model after {number} does not exist")
        if number and number == len(self):
            return self.model
        if number not in self._made:
            model = optimize(self.source, **self.arguments, steps=number)
            self._made.clear()  # one model is kept, not a thousand
            self._made[number] = model
        return self._made[number]

    def __len__(self) -> int:
        return len(self.report.steps)

    def __iter__(self) -> Iterator[NumberedStep]:
        for step in self.report.numbered():
            yield replace(step, replay=self.after)

    def __reversed__(self) -> Iterator[NumberedStep]:
        return reversed(list(self))

    @overload
    def __getitem__(self, index: int) -> NumberedStep: ...
    @overload
    def __getitem__(self, index: slice) -> list[NumberedStep]: ...
    def __getitem__(self, index: int | slice) -> NumberedStep | list[NumberedStep]:
        if isinstance(index, slice):
            return list(self)[_from_one(index)]
        number = len(self) + 1 + index if index < 0 else index
        return replace(self.report.step(number), replay=self.after)

    def __str__(self) -> str:
        lines = [f"{len(self)} steps, {self.report.nodes_before} -> {self.report.nodes_after} nodes"]
        return "\n".join([*lines, *(f"  {phase}" for phase in self.phases())])

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def trace(model: Any, level: int | None = None, **options: Any) -> Trace:
    """Optimise a model, and keep what is needed to walk through it.

    The model is optimised once. Each step's nodes, before and after, come from the ledger; only `step.model`, the whole model
    as it is after a step, takes another optimisation, which stops there.

    Args:
        model: as for `graphopt.optimize`.
        level: likewise.
        options: further arguments of `graphopt.optimize`: target, without, only, rules, opset...

    Returns:
        The steps, in order.

    Raises:
        ModelError, ArgumentError: as `graphopt.optimize`.

    >>> for step in graphopt.trace("model.onnx"):
    ...     print(step)
    """
    if unsuited := {"steps", "tune", "precision", "verify"} & options.keys():
        raise ArgumentError(f"trace walks through all steps of one optimisation: '{min(unsuited)}' makes no sense here")
    arguments = {"level": level, **options}
    return Trace(model, optimize(model, **arguments), arguments)


def _from_one(index: slice) -> slice:
    """A slice of numbers from 1 on as one of positions."""

    def position(number: int | None) -> int | None:
        return number if number is None or number < 0 else max(number - 1, 0)

    return slice(position(index.start), position(index.stop), index.step)
