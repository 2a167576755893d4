"""Importing this makes what each worker that judges models would make for itself: modules, and the tables of all levels.

`harness.Worker(..., preload=["benchmarks.preloaded"])` starts workers as copies of a process that has imported it.
"""

from __future__ import annotations

import onnxruntime  # noqa: F401 - loaded here once, for all copies; before its first session it has no threads to lose

from benchmarks import graphs, harness

for _level in (1, 2, 3):
    harness.Graphopt(_level).model(graphs.chain(8))
