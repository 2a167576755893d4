"""What lies between two versions of an operator: the steps from one opset to another, and who takes them.

Most steps need nobody: dtypes were added, or attributes whose default means what was meant before. Parameters that moved
between attributes and inputs are moved by `parameters.move`. For what changed its meaning there are adapters:

    @up("Softmax", "LogSoftmax", version=13)
    def from_matrix(site: Site) -> bool:
        ...

An adapter changes the node so that it means at the new version what it meant at the old one; False: what is left are
parameters; True: other nodes stand for it now. It raises `Cannot`, before it changed anything, where that is not possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from onnx import defs

from graphopt.ir import OpSchema, input_of, op_key, op_schema

if TYPE_CHECKING:
    from graphopt.passes.opset.site import Site

#: Up to these versions every change of an operator was looked at. Of later ones only what adds dtypes is believed.
REVIEWED = {"": 28, "ai.onnx.ml": 5}

#: Attributes that never changed what a node computes.
IDLE = frozenset({"consumed_inputs", "seed"})


class Cannot(Exception):
    """A node cannot be written at another version; the message says why."""


Adapter = Callable[["Site"], bool]
_up: dict[tuple[str, int], Adapter] = {}
_down: dict[tuple[str, int], Adapter] = {}
_untyped: set[Adapter] = set()


def up(*ops: str, version: int, typed: bool = True) -> Callable[[Adapter], Adapter]:
    """Register what takes operators to a version from the one before.

    Args:
        ops: the operators, with their domain in front unless that is ONNX's own.
        version: the one at which they changed.
        typed: dtypes and shapes are looked at, so the model has to be inferred first.
    """
    return _register(_up, ops, version, typed)


def down(*ops: str, version: int) -> Callable[[Adapter], Adapter]:
    """Register what takes operators from the version at which they changed, or came, to the one before."""
    return _register(_down, ops, version, True)


def _register(
    table: dict[tuple[str, int], Adapter], ops: tuple[str, ...], version: int, typed: bool
) -> Callable[[Adapter], Adapter]:
    def register(function: Adapter) -> Adapter:
        for op in ops:
            assert (op, version) not in table, (op, version)
            table[op, version] = function
        if not typed:
            _untyped.add(function)
        return function

    return register


@dataclass(frozen=True, slots=True)
class Step:
    """From one version of an operator to the next or the one before.

    Attributes:
        old: the schema that the node follows.
        new: the one that it shall follow; None: there is none, the operator is not old enough.
        version: at which new nodes are written.
        adapter: what is to be done first.
        moves: parameters are somewhere else, or have other defaults.
        narrower: some dtypes are not taken any more.
        typed: dtypes or shapes are looked at.
        strange: it is newer than what was looked at, and more than dtypes are different.
    """

    old: OpSchema
    new: OpSchema | None
    version: int
    adapter: Adapter | None
    moves: bool
    narrower: bool
    typed: bool
    strange: bool


@cache
def path(op_type: str, domain: str, source: int, target: int) -> tuple[Step, ...]:
    """The steps that there is something to do for, in order; empty too where nobody knows the operator."""
    old = op_schema(op_type, source, domain)
    return () if old is None else tuple(s for s in _steps(old, source, target) if _is_work(s))


def transitions(domain: str) -> Iterator[tuple[OpSchema, OpSchema]]:
    """Every two versions of an operator that follow on each other."""
    for op_type in sorted({s.name for s in defs.get_all_schemas_with_history() if s.domain == domain}):
        found = [op_schema(op_type, v, domain) for v in _versions(op_type, domain)]
        yield from ((a, b) for a, b in pairwise(found) if a is not None and b is not None)


def unexplained(old: OpSchema, new: OpSchema) -> list[str]:
    """What is different of two versions, going from one to the other, that is neither a parameter moved nor one added."""
    found = [f"{new.op_type} is deprecated"] if new.deprecated and not old.deprecated else []
    rising = new.since_version > old.since_version
    for name, a in old.attributes.items():
        b = new.attributes.get(name)
        if b is None and input_of(new, name) is None and rising and name not in IDLE:
            found.append(f"attribute '{name}' is gone")
        elif b is not None and (a.type != b.type or (a.default is None and b.default is not None)):
            found.append(f"attribute '{name}' is another")
    found += [
        f"attribute '{name}' is new and required"
        for name, b in new.attributes.items()
        if b.required and name not in old.attributes and input_of(old, name) is None
    ]
    for i, p in enumerate(new.inputs):
        before = old.inputs[i] if i < len(old.inputs) else None
        if before is None and not p.optional and not any(input_of(new, n) == i for n in old.attributes):
            found.append(f"input '{p.name}' is new")
        elif before is not None and before.name.lower() != p.name.lower():
            found.append(f"input '{before.name}' is now '{p.name}'")
        elif before is not None and before.optional and not p.optional:
            found.append(f"input '{p.name}' is needed")
    if new.max_outputs < old.max_outputs and rising:
        found.append("outputs are gone")
    return found


def adapters(rising: bool) -> dict[tuple[str, int], Adapter]:
    """All adapters of one direction, by operator and version."""
    _load()
    return dict(_up if rising else _down)


def _steps(old: OpSchema, source: int, target: int) -> Iterator[Step]:
    versions = _versions(old.op_type, old.domain)
    if target >= source:
        for v in versions:
            if source < v <= target:
                new = op_schema(old.op_type, v, old.domain)
                assert new is not None
                yield _step(old, new, v, True)
                old = new
        return
    while old.since_version > target:
        before = [v for v in versions if v < old.since_version]
        known = op_schema(old.op_type, before[-1], old.domain) if before else None
        yield _step(old, known, old.since_version - 1, False)
        if known is None:
            return
        old = known


def _step(old: OpSchema, new: OpSchema | None, version: int, rising: bool) -> Step:
    _load()
    newer = new if rising and new is not None else old
    adapter = (_up if rising else _down).get((op_key(old.op_type, old.domain), newer.since_version))
    if new is not None and new.deprecated and adapter is None:
        new = None
    if new is None:
        return Step(old, None, version, adapter, False, False, True, False)
    narrower = any(
        not p <= q
        for outputs in (False, True)
        for p, q in zip(type_texts(old, outputs), type_texts(new, outputs), strict=False)
    )
    moves = _moves(old, new)
    typed = (narrower and not (rising and adapter)) or not rising or (adapter is not None and adapter not in _untyped)
    typed = typed or any(_needs_dtype(old, new, name) for name in old.attributes)
    differ = moves or set(old.attributes) != set(new.attributes) or len(old.inputs) != len(new.inputs)
    strange = newer.since_version > REVIEWED.get(old.domain, 0) and adapter is None and differ
    return Step(old, new, version, adapter, moves or not rising, narrower, typed, strange)


def _is_work(s: Step) -> bool:
    return s.new is None or s.adapter is not None or s.moves or s.narrower or s.strange


def type_texts(schema: OpSchema, outputs: bool) -> tuple[frozenset[str], ...]:
    """The types that each formal input, or output, may have, as ONNX writes them."""
    return _type_texts(schema.op_type, schema.since_version, schema.domain, outputs)


@cache
def _type_texts(op_type: str, version: int, domain: str, outputs: bool) -> tuple[frozenset[str], ...]:
    schema = defs.get_schema(op_type, version, domain)
    return tuple(frozenset(p.types) for p in (schema.outputs if outputs else schema.inputs))


def _moves(old: OpSchema, new: OpSchema) -> bool:
    """Whether parameters are somewhere else at the new version, or mean something else where they are left out."""
    if any(name not in new.attributes for name in old.attributes):
        return True
    if any(input_of(old, name) is not None and name not in old.attributes for name in new.attributes):
        return True
    return any(
        (b := new.attributes[name]).default != a.default or (b.required and not a.required)
        for name, a in old.attributes.items()
    )


def _needs_dtype(old: OpSchema, new: OpSchema, name: str) -> bool:
    """Whether an attribute becomes an input whose dtype is that of another one."""
    i = None if name in new.attributes else input_of(new, name)
    if i is None:
        return False
    p = new.inputs[i]
    return len(p.types) > 1 and any(q.type_var == p.type_var for j, q in enumerate(new.inputs) if j != i)


@cache
def _versions(op_type: str, domain: str) -> tuple[int, ...]:
    """The versions at which an operator came and changed."""
    return tuple(sorted(_history().get((domain, op_type), ())))


@cache
def _history() -> dict[tuple[str, str], set[int]]:
    found: dict[tuple[str, str], set[int]] = {}
    for s in defs.get_all_schemas_with_history():
        found.setdefault((s.domain, s.name), set()).add(s.since_version)
    return found


@cache
def _load() -> None:
    """Import the adapters, which register themselves."""
    import graphopt.passes.opset.adapters  # noqa: F401 - their decorators register them
