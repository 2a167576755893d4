"""The table from operator and version to its kernel.

    @kernel("Gemm", since=7)
    def gemm(xp: Backend, a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0):
        ...

The signature is the operator's: inputs by position (None where one is left out), attributes by keyword under the names
of the specification, with its defaults. What a kernel returns is its output, a tuple its outputs; it may return more
than the node has. Inputs belong to somebody else: a kernel never writes into them.

    x: Host                 this input must be an array on the host: its values decide about shapes, as those of Reshape
    *, outputs: int         how many outputs the node lists, for kernels that give more at a price
    *, body: Body           a subgraph: called with its inputs, it gives a list of its outputs

A tensor is an array of the backend, a sequence a list, an optional that is empty None, a map a dict.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from graphopt.exec.kernels.dtypes import is_narrow
from graphopt.ir.node import op_key

#: An array, or what else flows along an edge: a list, a dict, None.
Array = Any
#: An input that must lie on the host as a NumPy array, whatever the backend.
Host = Annotated[Any, "host"]
#: A subgraph as a kernel calls it: inputs to the list of its outputs.
Body = Callable[..., list[Any]]


@dataclass(frozen=True, slots=True)
class Kernel:
    """An operator's implementation from one version on.

    Attributes:
        function: `function(backend, *inputs, **attributes)`.
        since: the first version of its operator set that it holds for.
        host: positions of inputs that must be on the host; the last one stands for all that follow if it is variadic.
        on_host: the whole operator runs on the host: its outputs' shapes depend on data, or it knows no arrays (strings).
        attributes: names of those that it takes; None: any.
        takes_outputs: it is told the number of outputs.
        prepare: makes of a node's attributes those that the function takes, once for all of its calls; None: they are
            passed on as they are.
        builtin: it is one of the package's own.
    """

    function: Callable[..., Any]
    since: int
    host: frozenset[int]
    on_host: bool
    attributes: frozenset[str] | None
    takes_outputs: bool
    prepare: Callable[..., dict[str, Any]] | None = None
    builtin: bool = True


_kernels: dict[str, list[Kernel]] = {}


def kernel(
    *op_types: str,
    domain: str = "",
    since: int = 1,
    on_host: bool = False,
    wide: bool = False,
    products: bool = False,
    prepare: Callable[..., dict[str, Any]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the kernel of operators, as a decorator.

    Args:
        op_types: their names.
        domain: of the operators; '' is ONNX's own.
        since: the version of the operator set from which on the kernel holds, until one of a later version.
        on_host: it runs on NumPy arrays only.
        wide: floats of 16 bits and less are computed with as float32, and the results rounded once at the end.
        products: what `wide` is for is a product: a backend that multiplies narrow floats gets those of 16 bits as they are.
        prepare: called with the attributes when a model is planned; what it gives is passed to the kernel in their place.
            For what is as long as the weights of a model: trees become tables once, not at each call.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        positional, names, annotations, _ = _parameters(function)
        _, attributes, _, open_ended = _parameters(prepare or function)
        entry = Kernel(
            widened(function, products) if wide else function,
            since,
            frozenset(i for i, p in enumerate(positional[1:]) if str(annotations.get(p)).startswith("Host")),
            on_host,
            None if open_ended else frozenset(attributes - {"outputs"}),
            "outputs" in names,
            prepare,
            (getattr(function, "__module__", None) or "").startswith("graphopt.exec."),
        )
        for op_type in op_types:
            versions = _kernels.setdefault(op_key(op_type, domain), [])
            versions[:] = sorted([*(k for k in versions if k.since != since), entry], key=lambda k: k.since)
        kernel_for.cache_clear()
        return function

    return register


@functools.cache
def kernel_for(op: str, version: int) -> Kernel | None:
    """The kernel in force for an operator ('Conv', 'com.microsoft::Gelu') at a version of its operator set."""
    _families()
    found = None
    for k in _kernels.get(op, ()):
        if k.since <= version:
            found = k
    return found


def operators() -> dict[str, tuple[int, ...]]:
    """All operators that have kernels, with the versions from which on each of these holds."""
    _families()
    return {op: tuple(k.since for k in versions) for op, versions in sorted(_kernels.items())}


def _parameters(function: Callable[..., Any]) -> tuple[list[str], set[str], dict[str, Any], bool]:
    """Names of positional parameters (a variadic one last) and of keywords, annotations, and whether it takes any keyword.

    What `inspect.signature` says, at a twentieth of its time: hundreds of kernels are registered when the first is asked for.
    """
    skipped = 0
    while isinstance(function, functools.partial):
        skipped, function = skipped + len(function.args), function.func
    function = inspect.unwrap(function)
    code = function.__code__
    plain, keywords = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames
    several = bool(code.co_flags & inspect.CO_VARARGS)
    positional = [*names[skipped:plain], *names[plain + keywords : plain + keywords + several]]
    keyword_only, open_ended = set(names[plain : plain + keywords]), bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return positional, keyword_only, function.__annotations__, open_ended


def widened(function: Callable[..., Any], products: bool = False) -> Callable[..., Any]:
    """Compute in float32 where floats of 16 bits and less come in, and round the results to the first such dtype."""

    @functools.wraps(function)
    def wide(xp: Any, *inputs: Any, **attributes: Any) -> Any:
        narrow = next((x.dtype for x in inputs if x is not None and is_narrow(x.dtype)), None)
        if narrow is None or (products and xp.multiplies_narrow and narrow.itemsize == 2):
            return function(xp, *inputs, **attributes)
        wider = [x if x is None or not is_narrow(x.dtype) else xp.cast(x, np.float32) for x in inputs]
        result = function(xp, *wider, **attributes)
        if isinstance(result, tuple):
            return tuple(rounded(xp, r, narrow) for r in result)
        return rounded(xp, result, narrow)

    return wide


def rounded(xp: Any, x: Any, dtype: Any) -> Any:
    return xp.cast(x, dtype) if x is not None and x.dtype == np.float32 else x


@functools.cache
def _families() -> None:
    """Import every family, which registers its kernels."""
    package = importlib.import_module("graphopt.exec.kernels")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
