"""The API reference: pages that ask mkdocstrings for what is public."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiPage:
    """A page of the reference.

    Attributes:
        modules: what it shows, each with the names in its `__all__`, or with all that is defined there.
    """

    title: str
    about: str
    modules: Sequence[str]

    @property
    def address(self) -> str:
        return f"api/{self.title.removeprefix('graphopt.')}.md"

    def text(self) -> str:
        """The page."""
        lines = [f"# {self.title}", "", self.about, ""]
        for module in self.modules:
            lines += [f"::: {module}", "    options:"]
            names = getattr(importlib.import_module(module), "__all__", None)
            if names:
                lines += [f"      members: [{', '.join(sorted(names))}]"]
            lines += [f"      show_root_heading: {str(len(self.modules) > 1).lower()}", ""]
        return "\n".join(lines)


PAGES = (
    ApiPage("graphopt", "What most programs need.", ["graphopt"]),
    ApiPage("graphopt.report", "What was done, and why not more.", ["graphopt.report", "graphopt.rewrite.ledger"]),
    ApiPage("graphopt.errors", "What is raised on purpose.", ["graphopt.errors"]),
    ApiPage(
        "graphopt.rewrite",
        "The rule language; [its reference](../rules.md) tells how to use it.",
        ["graphopt.rewrite", "graphopt.rewrite.annotations", "graphopt.rewrite.terms"],
    ),
    ApiPage("graphopt.patterns", "The rules; [the catalogue](../catalogue/index.md) shows them.", ["graphopt.patterns"]),
    ApiPage("graphopt.ir", "The graph.", ["graphopt.ir", "graphopt.ir.schema"]),
    ApiPage("graphopt.shapes", "Types and symbolic dims ([guide](../shapes.md)).", ["graphopt.shapes", "graphopt.shapes.site"]),
    ApiPage("graphopt.exec", "Running models ([guide](../exec.md)).", ["graphopt.exec", "graphopt.exec.kernels"]),
    ApiPage("graphopt.exec.training", "Training ([guide](../howto/training.md)).", ["graphopt.exec.training"]),
    ApiPage("graphopt.verification", "Comparing and bisecting.", ["graphopt.verification", "graphopt.bisection"]),
    ApiPage("graphopt.testing", "Rules and models as property tests ([guide](../testing.md)).", ["graphopt.testing"]),
    ApiPage("graphopt.precision", "Other precisions ([guide](../precision.md)).", ["graphopt.precision"]),
    ApiPage("graphopt.targets", "What runtimes run ([guide](../targets.md)).", ["graphopt.targets"]),
    ApiPage("graphopt.cost", "What nodes cost ([guide](../tuning.md)).", ["graphopt.cost", "graphopt.cost.machine"]),
    ApiPage("graphopt.tuning", "Measured choices ([guide](../tuning.md)).", ["graphopt.tuning.result", "graphopt.tuning.ratio"]),
)  # fmt: skip


def overview() -> str:
    """The first page: what there is, and which page tells of it."""
    lines = [
        "# API",
        "",
        "From the docstrings. What is not here may change without notice.",
        "",
        "| module | |",
        "| --- | --- |",
    ]
    lines += [f"| [{p.title}]({p.address.removeprefix('api/')}) | {p.about} |" for p in PAGES]
    return "\n".join(lines) + "\n"
