"""What another precision costs and gains, as data and as text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class OutputError:
    """How far one output lies from the float model's, the worst of all runs.

    Attributes:
        output: its name.
        absolute: largest |want - got|.
        relative: the same over the largest |want|.
        rms: root of the mean of (want - got)², over that of want².
        cosine: of the angle between the two as vectors; 1 where nothing but the length differs.
        same: the share of elements that are equal, of outputs that are no floats.
        detail: what cannot be put in numbers: another shape, NaNs or infinities on one side.
    """

    output: str
    absolute: float = 0.0
    relative: float = 0.0
    rms: float = 0.0
    cosine: float = 1.0
    same: float | None = None
    detail: str = ""

    def worse(self, other: OutputError) -> OutputError:
        """The worse of each number of the two."""
        shares = [s for s in (self.same, other.same) if s is not None]
        return OutputError(
            self.output,
            max(self.absolute, other.absolute),
            max(self.relative, other.relative),
            max(self.rms, other.rms),
            min(self.cosine, other.cosine),
            min(shares) if shares else None,
            self.detail or other.detail,
        )

    def __str__(self) -> str:
        if self.detail:
            return f"{self.output}: {self.detail}"
        if self.same is not None:
            return f"{self.output}: {self.same:.2%} of the elements are the same"
        return (
            f"{self.output}: largest error {self.absolute:.2g} ({self.relative:.2g} of the largest value), "
            f"rms {self.rms:.2g}, cosine {self.cosine:.6f}"
        )


@dataclass
class PrecisionReport:
    """What another precision costs and gains.

    Attributes:
        kind: the precision that was asked for.
        errors: one for each output; empty where nothing was measured.
        executor: who ran the model; the float model was run by ONNX Runtime where that is installed.
        runs: on how many inputs.
        nodes: nodes by the dtype of their first output, before and after.
        constants: bytes of constants by dtype, before and after.
        stayed: why nodes stayed in float32, and how many.
        notes: what could not be done.
    """

    kind: str
    nodes: tuple[Mapping[str, int], Mapping[str, int]]
    constants: tuple[Mapping[str, int], Mapping[str, int]]
    errors: list[OutputError] = field(default_factory=list)
    executor: str = ""
    runs: int = 0
    stayed: Mapping[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> tuple[int, int]:
        """Bytes of constants before and after."""
        before, after = (sum(side.values()) for side in self.constants)
        return before, after

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; what is infinite is null."""
        errors = [
            {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(e).items()}
            for e in self.errors
        ]
        both = ("before", "after")
        return {
            "kind": self.kind,
            "errors": errors,
            "executor": self.executor,
            "runs": self.runs,
            "nodes": dict(zip(both, map(dict, self.nodes), strict=True)),
            "constant_bytes": dict(zip(both, map(dict, self.constants), strict=True)),
            "stayed": dict(self.stayed),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """The report as text, line by line."""
        before, after = self.bytes
        size = f"constants {after / before:.2f} of their bytes" if before else "no constants"
        out = [f"precision {self.kind}: {size}"]
        out.append(f"  nodes: {_counts(self.nodes[0])} -> {_counts(self.nodes[1])}")
        if self.errors:
            out.append(f"  against the float model, {self.runs} runs on {self.executor}:")
            out += [f"    {e}" for e in self.errors]
        out += [f"  stays: {n} x {why}" for why, n in Counter(self.stayed).most_common()]
        return [*out, *(f"  note: {n}" for n in self.notes)]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _counts(nodes: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {dtype}" for dtype, n in Counter(nodes).most_common())
