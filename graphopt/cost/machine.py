"""Machines in numbers: what a cost is computed with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

#: The kinds of work that a machine has a speed for.
KINDS = ("product", "convolution", "depthwise", "recurrence", "element", "function", "reduction", "move", "view")


@dataclass(frozen=True, slots=True)
class Machine:
    """What one thread of a machine does under one runtime, in seconds and per second.

    Attributes:
        node: seconds that a node costs whatever it does.
        bandwidth: bytes read or written per second where they stay in the caches.
        memory: the same where they come from memory.
        cache: bytes that stay in the caches.
        speed: floating-point operations per second of each kind of work; for kinds that are not counted in those, elements.
    """

    node: float
    bandwidth: float
    memory: float
    cache: float
    speed: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def seconds(self, kind: str, amount: float, moved: float) -> float:
        """What so much work of a kind takes that reads and writes so many bytes."""
        if kind == "view":
            return self.node
        bandwidth = self.bandwidth if moved <= self.cache else self.memory
        return self.node + max(amount / self.speed[kind], moved / bandwidth)


#: ONNX Runtime 1.32 on one thread of a server of 2023 with AVX-512, as `python -m benchmarks.machine` printed it. Choices
#: depend on ratios of these numbers, which differ less from machine to machine than the numbers do.
ONNXRUNTIME_CPU = Machine(
    node=3e-7,
    bandwidth=5e10,
    memory=2.8e10,
    cache=1 << 24,
    speed=MappingProxyType(
        {
            "product": 1e11,
            "convolution": 9.6e10,
            "depthwise": 2.1e10,
            "recurrence": 5.3e10,
            "element": 1.2e10,
            "function": 2.6e9,
            "reduction": 8e9,
            "move": 3e9,
        }
    ),
)
