"""Options of sessions and runs, under ONNX Runtime's names.

Those that have no meaning for these executors are there, may be set, and reach ONNX Runtime where a session passes through
to it: a program written for ONNX Runtime runs unchanged.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from graphopt.errors import ArgumentError


class GraphOptimizationLevel(enum.IntEnum):
    """How much is optimised when a session loads a model; `LEVELS` says what that is for `graphopt.optimize`."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99

    @property
    def level(self) -> int:
        """The level of `graphopt.optimize`."""
        from graphopt.pipeline import LEVELS

        return min(int(self), max(LEVELS))


class ExecutionMode(enum.IntEnum):
    """Whether independent nodes may run at the same time; here they never do."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(enum.IntEnum):
    """In which order nodes run; here always that of the model."""

    DEFAULT = 0
    PRIORITY_BASED = 1
    MEMORY_EFFICIENT = 2


@dataclass
class SessionOptions:
    """How a session loads and runs.

    Attributes:
        graph_optimization_level: see GraphOptimizationLevel.
        intra_op_num_threads: threads inside an operator; 0: the environment's.
        log_severity_level: 0 verbose to 4 fatal; -1: the environment's.
        optimized_model_filepath: where the optimised model is written to, '' nowhere.
        enable_profiling: write a trace of each node's time, see `InferenceSession.end_profiling`.
        profile_file_prefix: how the trace's file name begins.
    """

    graph_optimization_level: GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL
    intra_op_num_threads: int = 0
    inter_op_num_threads: int = 0
    log_severity_level: int = -1
    log_verbosity_level: int = 0
    logid: str = ""
    optimized_model_filepath: str = ""
    enable_profiling: bool = False
    profile_file_prefix: str = "graphopt_profile_"
    execution_mode: ExecutionMode = ExecutionMode.ORT_SEQUENTIAL
    execution_order: ExecutionOrder = ExecutionOrder.DEFAULT
    enable_cpu_mem_arena: bool = True
    enable_mem_pattern: bool = True
    enable_mem_reuse: bool = True
    use_deterministic_compute: bool = False
    use_per_session_threads: bool = True
    config: dict[str, str] = field(default_factory=dict)
    free_dimensions: dict[str, int] = field(default_factory=dict)
    initializers: dict[str, Any] = field(default_factory=dict)

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Set an entry by name. 'graphopt.specialize': '0' plans once for all shapes instead of once for each."""
        self.config[key] = value

    def get_session_config_entry(self, key: str) -> str:
        """An entry that was set.

        Raises:
            ArgumentError: it was not.
        """
        if key not in self.config:
            raise ArgumentError(
                f"session config entry '{key}' was not set; set are: {', '.join(self.config) or 'none'}"
            )
        return self.config[key]

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Fix a dim of the inputs by its name."""
        self.free_dimensions[name] = size

    def add_initializer(self, name: str, value: Any) -> None:
        """Use this value (an OrtValue or array) instead of the model's initializer of that name."""
        self.initializers[name] = value


@dataclass
class RunOptions:
    """How one run behaves; for programs that set them. Only `log_severity_level` has a meaning here."""

    log_severity_level: int = -1
    log_verbosity_level: int = 0
    logid: str = ""
    only_execute_path_to_fetches: bool = False
    terminate: bool = False
    config: dict[str, str] = field(default_factory=dict)

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Set an entry by name."""
        self.config[key] = value

    def get_run_config_entry(self, key: str) -> str:
        """An entry that was set; '' where it was not."""
        return self.config.get(key, "")
