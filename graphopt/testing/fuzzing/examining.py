"""One random model and one optimizer: does what comes out hold, and compute the same?"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import onnx
from onnx import ModelProto

from graphopt.compare import interface_differences
from graphopt.errors import ArgumentError, MissingDependencyError, OpsetError, UnsupportedError
from graphopt.testing.fuzzing.corpus import nodes_of
from graphopt.testing.judging import CLOSE, ELSEWISE, REASONS, Difference, Judge, differ, runs, shaken
from graphopt.testing.random_models.graphs import Example

Optimizer = Callable[[ModelProto], ModelProto]
#: Seconds that an optimizer in a process of its own has for one model; the process starts within the first.
LIMIT = 30.0
#: Relative differences up to this are no disagreement about what a model computes.
_AGREES = 0.02


@dataclass(frozen=True)
class Finding:
    """What is wrong.

    Attributes:
        kind: "crash" (an exception), "hang", "death" (of the process), "invalid" (the checker refuses the result), "refused"
            (an executor that runs the original does), "interface" or "values".
        detail: what happened.
        features: the rules that were applied; of other optimizers: the operators in the model.
    """

    kind: str
    detail: str
    features: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What one model says.

    Attributes:
        finding: None where nothing is wrong.
        compared: outputs compared, by executor.
        left_out: what was not, by executor and reason.
    """

    finding: Finding | None = None
    compared: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


#: ONNX Runtime's words. An operator of the model itself, at the opset that was asked for, is no finding.
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\(")


class Examiner:
    """Has models optimized, and judges the results.

    Args:
        optimizer: a function, the name of one ("module:function"), or "" for graphopt.
        level: of graphopt; at level 1 every bit must agree on the reference.
        on: executors.
        options: further arguments of `graphopt.optimize`: opset, target.
    """

    def __init__(
        self,
        optimizer: str | Optimizer = "",
        level: int = 2,
        on: Sequence[str] = ("reference", "onnxruntime"),
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.level = level
        self.options = dict(options)
        self.function = named(optimizer) if isinstance(optimizer, str) and optimizer else optimizer
        self.judge = Judge(on, exact=level < 2, bitwise=frozenset({"reference"}))

    def __call__(self, example: Example) -> Outcome:
        outcome = Outcome()
        operators = {n.op_type for n in nodes_of(example.model.graph)}
        features = tuple(sorted(operators))
        given = ModelProto()
        given.CopyFrom(example.model)
        try:
            if self.function:
                assert callable(self.function)
                candidate = self.function(given)
            else:
                from graphopt.pipeline import optimize

                optimized = optimize(given, level=self.level, **self.options)
                candidate = optimized.proto
                assert optimized.report is not None
                features = tuple(sorted({s.rule for s in optimized.report.ledger.steps}))
        except MissingDependencyError:
            raise
        except UnsupportedError:
            return outcome  # a peer says that the model is none for it
        except OpsetError:
            outcome.left_out[f"cannot be written at opset {self.options.get('opset')}"] += 1
            return outcome
        except Exception as e:
            outcome.finding = Finding("crash", f"{type(e).__name__}: {' '.join(str(e).split())[:400]}", features)
            return outcome
        if not isinstance(candidate, ModelProto):
            outcome.finding = Finding("crash", f"it gives a {type(candidate).__name__}, not a ModelProto", features)
            return outcome
        try:
            onnx.checker.check_model(candidate, full_check=True)
        except Exception as e:
            outcome.finding = Finding("invalid", f"the checker: {' '.join(str(e).split())[:400]}", features)
            return outcome
        changed = [
            Difference("", "", f"the interface: {told}") for told in interface_differences(example.model, candidate)
        ]
        if changed:
            candidate = _with_interface(candidate, example.model)
        found: list[Difference] = []
        judge = self.judge
        judge.compared, judge.left_out = outcome.compared, Counter()
        for d in judge.differences(example.model, candidate, example.feeds, example.finite):
            if "opset" in self.options and (lacking := _NO_KERNEL.search(str(d))) and lacking[1] in operators:
                outcome.left_out[f"{d.executor} has no kernel for an operator at opset {self.options['opset']}"] += 1
            elif not d.output or d.executor == "reference" or _credible(d, example):
                found.append(d)
            else:
                judge.left_out[d.executor, ELSEWISE] += 1
        for (executor, reason), n in judge.left_out.items():
            outcome.left_out[f"{executor} {reason if reason in REASONS else 'does not run the original'}"] += n
        found = [d for d in found if d.executor] + changed
        if found:
            outcome.finding = Finding(_kind(found[0]), str(found[0]), features)
        return outcome


def _with_interface(candidate: ModelProto, original: ModelProto) -> ModelProto:
    """A model with the inputs of another one and what that declares of its outputs, so that both can be compared."""
    patched = ModelProto()
    patched.CopyFrom(candidate)
    graph = patched.graph
    del graph.input[:]
    graph.input.extend(original.graph.input)
    inputs, there = {i.name for i in graph.input}, {t.name for t in graph.initializer}
    graph.initializer.extend([t for t in original.graph.initializer if t.name in inputs and t.name not in there])
    if {o.name for o in graph.output} == {o.name for o in original.graph.output}:
        del graph.output[:]
        graph.output.extend(original.graph.output)
    return patched


def _credible(d: Difference, example: Example) -> bool:
    """Whether an executor and the reference agree about the original; where they do not, another result proves nothing."""
    if not runs(example.model, example.feeds):
        return True
    names = [o.name for o in example.model.graph.output]
    want = shaken(example.model, example.feeds, None)[names.index(d.output)]
    return not differ(want, d.want, bits=False, close=dict.fromkeys(CLOSE, _AGREES))


def _kind(d: Difference) -> str:
    if not d.executor:
        return "interface"
    return "values" if d.output else "refused"


def named(text: str) -> Optimizer:
    """The function called "module:function".

    Raises:
        ArgumentError: there is none.
    """
    module, colon, name = text.partition(":")
    if not colon or not name:
        raise ArgumentError(f"--optimizer {text!r}: write module:function, as graphopt.testing.peers:onnxslim")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as e:
        raise ArgumentError(f"--optimizer {text!r} cannot be imported: {e}") from e
    if not callable(function):
        raise ArgumentError(f"--optimizer {text!r} is no function")
    return function


class RemoteExaminer:
    """An examiner in a process of its own, which is started again when it dies or hangs.

    That is a finding where the executors survive the original.
    """

    def __init__(
        self,
        optimizer: str,
        level: int,
        on: Sequence[str],
        options: Mapping[str, Any] = MappingProxyType({}),
        limit: float = LIMIT,
    ) -> None:
        self.optimizer = optimizer
        self._arguments = (optimizer, level, tuple(on), dict(options))
        self.limit = limit
        self._process: Any = None
        self._pipe: Any = None

    def __call__(self, example: Example) -> Outcome:
        outcome = self._asked(example, alone=False)
        if outcome.finding is None or outcome.finding.kind not in ("hang", "death"):
            return outcome
        alone = self._asked(example, alone=True).finding
        if alone is None:
            return outcome
        return Outcome(left_out=Counter({f"an executor does not survive the original ({alone.kind})": 1}))

    def _asked(self, example: Example, alone: bool) -> Outcome:
        """The process' answer about an example, or about its model alone: whether executors survive that."""
        if self._process is None:
            self._start()
        features = tuple(sorted({n.op_type for n in nodes_of(example.model.graph)}))
        try:
            self._pipe.send((example.model.SerializeToString(), example.feeds, example.finite, alone))
            if not self._pipe.poll(self.limit):
                self.close()
                return Outcome(Finding("hang", f"no answer within {self.limit:g} seconds", features))
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            code = self._process.exitcode
            self.close()
            return Outcome(Finding("death", f"the process ended with code {code}", features))
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Outcome)
        return answer

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()
        ready = self._pipe.recv() if self._pipe.poll(4 * LIMIT) else TimeoutError("the process did not start")
        if isinstance(ready, BaseException):
            self.close()
            raise ready

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = self._pipe = None


def _untouched(model: ModelProto) -> ModelProto:
    return model


def _serve(pipe: Any, optimizer: str, level: int, on: Sequence[str], options: Mapping[str, Any]) -> None:
    """What the process does: examine one model after the other. What an optimizer prints goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        examine, untouched = Examiner(optimizer, level, on, options), Examiner(_untouched, level, on)
    except Exception as e:
        pipe.send(e)
        return
    pipe.send(None)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            data, feeds, finite, alone = pipe.recv()
            try:
                pipe.send((untouched if alone else examine)(Example(ModelProto.FromString(data), feeds, finite)))
            except MissingDependencyError as e:
                pipe.send(e)
