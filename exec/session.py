"""Sessions: a model is constructed, loaded, and run, as in ONNX Runtime.

construct   options and providers are read; nothing of the model is looked at
load        read, optimised by `graphopt.optimize`, planned: every operator has its kernel, or the model is refused
run         feeds are checked; where dims were dynamic, the model is optimised again for the ones that came in
"""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.errors import ArgumentError, GraphoptError
from graphopt.exec import providers as providing
from graphopt.exec.binding import IOBinding
from graphopt.exec.environment import ENV
from graphopt.exec.options import RunOptions, SessionOptions
from graphopt.exec.signature import ModelMetadata, NodeArg, Signature
from graphopt.exec.values import OrtValue, device_of, unwrapped
from graphopt.ir import Model, Tensor, load

#: How many sets of shapes a session keeps a program for.
PROGRAMS_KEPT = 16


class InferenceSession:
    """Runs a model.

    Args:
        path_or_bytes: a path, the bytes of a file, an `onnx.ModelProto`, a `graphopt.Model`.
        sess_options: see SessionOptions.
        providers: names, or pairs of a name and its options; see `graphopt.exec.providers`. None: the environment variable
            GRAPHOPT_PROVIDERS, else the reference.
        provider_options: one dict for each name.

    Raises:
        ModelError: the model cannot be read or is not valid.
        UnsupportedError: operators without a kernel; all are named.
        ArgumentError: a provider or an option is unknown.
        MissingDependencyError: what the provider needs is not installed.
    """

    def __init__(
        self,
        path_or_bytes: Any,
        sess_options: SessionOptions | None = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Mapping[str, Any]] | None = None,
        **ignored: Any,
    ) -> None:
        self._options = sess_options or SessionOptions()
        if isinstance(providers, str):
            raise ArgumentError(f"providers must be a list: [{providers!r}]")
        self._provider = providing.choose(providers, provider_options)
        self._profile: list[dict[str, Any]] = []
        record = self._record if self._options.enable_profiling else None
        self._context = providing.Context(self._options, record)
        self._started = time.perf_counter_ns()
        self._log(1, f"construct: {', '.join(self._provider.names)}")
        self._load(path_or_bytes)

    # ------------------------------------------------------------------------------------------------------- load
    def _load(self, source: Any) -> None:
        began = time.perf_counter()
        options = self._options
        original = load(source)
        self._signature = Signature.of(original)
        self._metadata = ModelMetadata.of(original)
        self._level = options.graph_optimization_level.level
        _replace_initializers(original, options.initializers)
        self._layout = self._provider.layout(self._provider.options) if self._level else None
        model = _optimized(original, self._level, options.free_dimensions, self._layout)
        if options.optimized_model_filepath:
            model.save(Path(options.optimized_model_filepath))
        nodes = f"{original.node_count()} nodes, {model.node_count()} after level {self._level}"
        self._log(1, f"load: {nodes}, {time.perf_counter() - began:.3f} s")
        began = time.perf_counter()
        self._general = self._provider.prepare(model, self._provider.options, self._context)
        self._log(1, f"plan: {time.perf_counter() - began:.3f} s")
        dynamic = any(not a.ranked or any(not isinstance(d, int) for d in a.shape) for a in self._signature.inputs)
        wanted = options.get_session_config_entry(_SPECIALIZE) != "0" if _SPECIALIZE in options.config else None
        worth = self._provider.specializes if wanted is None else wanted
        self._model = model if worth and dynamic and self._level else None  # the weights are the plan's from here on
        self._programs: OrderedDict[tuple[Any, ...], providing.Program] = OrderedDict()

    def _program_for(self, feeds: Mapping[str, Any]) -> providing.Program:
        """The program for the shapes of these feeds."""
        if self._model is None:
            return self._general
        shapes = {name: tuple(v.shape) for name, v in feeds.items() if hasattr(v, "shape")}
        key = tuple(shapes.items())
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._specialized(shapes)
            if len(self._programs) > PROGRAMS_KEPT:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return program

    def _specialized(self, shapes: Mapping[str, tuple[int, ...]]) -> providing.Program:
        assert self._model is not None
        began = time.perf_counter()
        needed = {a.name for a in self._signature.inputs}
        try:
            pinned = {n: s for n, s in shapes.items() if n in needed}
            model = _optimized(self._model, self._level, pinned, self._layout)
            program = self._provider.prepare(model, self._provider.options, self._context)
        except GraphoptError as e:  # whether it runs with these shapes, running will tell
            self._log(1, f"not specialised to {dict(shapes)}: {e}")
            return self._general
        self._log(1, f"specialised to {dict(shapes)}: {time.perf_counter() - began:.3f} s")
        return program

    # -------------------------------------------------------------------------------------------------------- run
    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: RunOptions | None = None
    ) -> list[Any]:
        """Run the model.

        Args:
            output_names: what to give, in this order; None: all outputs.
            input_feed: by name; a tensor as an array of the declared dtype, a sequence as a list.
            run_options: see RunOptions.

        Returns:
            One value for each output: arrays, lists, dicts (maps), None (empty optionals).

        Raises:
            ArgumentError: feeds that the model does not take.
            RunError: a node failed; the message names it.
        """
        names = self._signature.names_of(output_names)
        return [OrtValue(v).numpy() for v in self._run(names, input_feed)]

    def run_with_ort_values(
        self, output_names: Sequence[str] | None, input_dict_ort_values: Mapping[str, OrtValue], run_options: Any = None
    ) -> list[OrtValue]:
        """`run` on OrtValues, which may lie on a device and stay there."""
        names = self._signature.names_of(output_names)
        return [OrtValue(v, device_of(v)) for v in self._run(names, input_dict_ort_values)]

    def _run(self, names: list[str], input_feed: Mapping[str, Any]) -> list[Any]:
        feeds = self._signature.check({name: unwrapped(v) for name, v in input_feed.items()})
        began = time.perf_counter_ns()
        results = self._program_for(feeds).run(feeds, names)
        if self._options.enable_profiling:
            self._record("model_run", "Session", began)
        return results

    def io_binding(self) -> IOBinding:
        """A set of bound inputs and outputs for `run_with_iobinding`."""
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: RunOptions | None = None) -> None:
        """Run on what is bound; the binding has the results."""
        iobinding.run()

    # ------------------------------------------------------------------------------------------------------- about
    def get_inputs(self) -> list[NodeArg]:
        """Inputs that must be fed."""
        return list(self._signature.inputs)

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Inputs that have a default."""
        return list(self._signature.overridable)

    def get_outputs(self) -> list[NodeArg]:
        """Outputs in order."""
        return list(self._signature.outputs)

    def get_modelmeta(self) -> ModelMetadata:
        """What the model says of itself."""
        return self._metadata

    def get_session_options(self) -> SessionOptions:
        """The options that it was made with."""
        return self._options

    def get_providers(self) -> list[str]:
        """The providers in use."""
        return list(self._provider.names)

    def get_provider_options(self) -> dict[str, dict[str, Any]]:
        """Options by provider."""
        pairs = self._provider.options.get("providers")
        return dict(pairs) if pairs else {self._provider.names[0]: dict(self._provider.options)}

    def disable_fallback(self) -> None:
        """For programs that call it: nothing ever falls back here."""

    # ----------------------------------------------------------------------------------------------------- profile
    def end_profiling(self) -> str:
        """Write what was recorded as a trace that browsers show (chrome://tracing), and give the file's name.

        Raises:
            ArgumentError: profiling was not enabled.
        """
        if not self._options.enable_profiling:
            raise ArgumentError(
                "profiling was not enabled: set SessionOptions.enable_profiling before the session is made"
            )
        path = Path(f"{self._options.profile_file_prefix}{time.strftime('%Y-%m-%d_%H-%M-%S')}_{os.getpid()}.json")
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._profile))
        temporary.replace(path)
        return str(path)

    def get_profiling_start_time_ns(self) -> int:
        return self._started

    def _record(self, name: str, category: str, began: int, **arguments: Any) -> None:
        event = {"cat": category, "pid": os.getpid(), "tid": 0, "ph": "X", "name": name, "args": arguments}
        now = time.perf_counter_ns()
        self._profile.append({**event, "ts": (began - self._started) / 1e3, "dur": (now - began) / 1e3})

    def _log(self, severity: int, message: str) -> None:
        prefix = f"{self._options.logid}: " if self._options.logid else ""
        ENV.log(severity, prefix + message, self._options.log_severity_level)


_SPECIALIZE = "graphopt.specialize"


def _optimized(model: Model, level: int, dims: Mapping[str, Any], layout: str | None) -> Model:
    from graphopt.pipeline import optimize  # which itself folds constants on these kernels

    if not level and not dims:
        return model
    return optimize(model, level=level, input_shapes=dict(dims) if dims else None, layout=layout)


def _replace_initializers(model: Model, values: Mapping[str, Any]) -> None:
    by_name = {v.name: v for v in model.graph.initializers}
    for name, value in values.items():
        if name not in by_name:
            raise ArgumentError(f"add_initializer: the model has no initializer '{name}'")
        v = by_name[name]
        model.graph.initializers[v] = v.const = Tensor(array=np.asarray(unwrapped(value)))
        model.graph.touch()
