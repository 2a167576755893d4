"""Importing this makes what each worker that judges models would make for itself: modules, and the tables of all levels.

`harness.Worker(..., preload=["benchmarks.preloaded"])` starts workers as copies of a process that has imported it.
"""

from __future__ import annotations

import onnxruntime  # noqa: F401 - no session is made before the copies: its threads would not be in them

from benchmarks import graphs, harness

for _level in (1, 2, 3):
    harness.Graphopt(_level).model(graphs.chain(8))
