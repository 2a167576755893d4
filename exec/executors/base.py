"""The interface that all executors share.

An executor is anything that can be called as `Executor(model).run(feeds)`: `model` is a path or the bytes of a file,
`feeds` maps input names to values, the result maps output names to values. A value is

    numpy.ndarray   a tensor; bfloat16, float8, 4-bit and 2-bit ones have `ml_dtypes`' dtypes, strings have dtype object
    list            a sequence of values
    dict            a map
    None            an empty optional
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

#: A model as executors take it: the path of a file, or a file's bytes.
Source = bytes | str | os.PathLike[str]
Feeds = Mapping[str, Any]


class Executor(Protocol):
    """What runs a model."""

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        """Outputs by name, in the model's order; raises whatever the executor raises where it refuses the inputs."""
        ...


@runtime_checkable
class Reloadable(Executor, Protocol):
    """An executor that takes one model after the other: what runs it is slow to start. It can be made of None, and waits then."""

    def load(self, model: Source, /) -> None:
        """Take another model in the place of the one before; raises what making the executor raises."""
        ...
