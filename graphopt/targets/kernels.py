"""The kernels of a runtime: which operators it runs, at which versions, for which dtypes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from onnx import TensorProto

from graphopt.ir import Model, Node, OpSchema, Value, dtype_name

#: The last version of a kernel that holds until another one takes its place.
OPEN_ENDED = 2**31 - 1
_FLOAT, _HALF = int(TensorProto.FLOAT), int(TensorProto.FLOAT16)
#: What no kernel runs: a session makes initializers of them.
_ALWAYS = frozenset({"Constant"})


@dataclass(frozen=True, slots=True)
class Kernel:
    """One implementation of an operator.

    Attributes:
        start, end: versions of the operator that it implements; an open end stands for `start` alone, since it does not know
            what changed at a later version.
        types: dtypes by type variable of the operator's schema; a variable that is missing may be anything.
    """

    start: int
    end: int = OPEN_ENDED
    types: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def implements(self, since: int) -> bool:
        """Whether it runs the operator as it is since that version."""
        return since == self.start or (self.start < since <= self.end and self.end != OPEN_ENDED)


class Kernels:
    """Kernels by operator, 'Conv' or 'com.microsoft::Gelu'.

    Args:
        table: the kernels of each operator.
        variables: for operators that onnx has no schema of, the type variables of their inputs and outputs in order.
    """

    def __init__(
        self,
        table: Mapping[str, Iterable[Kernel]],
        variables: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] | None = None,
    ) -> None:
        self.table = {op: tuple(kernels) for op, kernels in table.items()}
        self.variables = variables or {}

    def __contains__(self, op: str) -> bool:
        return op in self.table

    def refuses(self, model: Model, node: Node, schema: OpSchema | None = None) -> str | None:
        """Why no kernel runs this node; None where one does, or it is a call of a function of the model.

        What is not known of a node, as a dtype, speaks for it. `schema`: of the version that it would be written at; None: of
        the one that it is written at.
        """
        if (node.domain, node.op_type, node.overload) in model.functions or node.op in _ALWAYS:
            return None
        kernels = self.table.get(node.op)
        if not kernels:
            return f"there is no kernel for {node.op}"
        schema = schema or model.schema(node)
        since = 1 if schema is None else schema.since_version
        fitting = [k for k in kernels if k.implements(since)]
        if not fitting:
            return f"there is no kernel for {node.op} of version {since}"
        dtypes = dict(self._dtypes(schema, node))
        if any(_takes(k, dtypes) for k in fitting):
            return None
        named = ", ".join(sorted({dtype_name(d) for d in dtypes.values()}))
        return f"there is no kernel for {node.op} of {named}"

    def _dtypes(self, schema: OpSchema | None, node: Node) -> Iterator[tuple[str, int]]:
        """The dtypes that the node's type variables stand for, as far as they are known."""
        if schema is not None:
            names = [(schema.input_param(i), v) for i, v in enumerate(node.inputs)]
            names += [(schema.outputs[min(i, len(schema.outputs) - 1)], v) for i, v in enumerate(node.outputs)]
            pairs: list[tuple[str, Value | None]] = [
                (p.type_var, v) for p, v in names if p is not None and not p.heterogeneous
            ]
        else:
            inputs, outputs = self.variables.get(node.op, ((), ()))
            pairs = [*zip(inputs, node.inputs, strict=False), *zip(outputs, node.outputs, strict=False)]
        for variable, v in pairs:
            if v is not None and v.dtype:
                yield variable, v.dtype


def _takes(kernel: Kernel, dtypes: Mapping[str, int]) -> bool:
    """Whether it runs these dtypes. Runtimes put Casts around what they run in float32 only."""
    return all(
        d in allowed or (d == _HALF and _FLOAT in allowed)
        for variable, d in dtypes.items()
        if (allowed := kernel.types.get(variable)) is not None
    )
