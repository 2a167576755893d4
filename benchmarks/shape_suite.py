"""The ONNX backend suite's cases for shape inference: inferred in several ways, and compared with what comes out."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import claims, harness, suite

if TYPE_CHECKING:
    import onnx

#: What inference is told about the inputs: what the case declares; a name for each dim; a name for each dim of the
#: first input, and constants for the others; constants only.
MODES = ("declared", "symbolic", "parameters", "constant")
Feeds = dict[str, Any]


@dataclass
class Verdict:
    """What became of one case, inferred in one way.

    `wrong`: what is not true. `less`: what onnx's own inference knows and graphopt does not, as far as it is true.
    """

    case: str
    mode: str
    counts: dict[str, int] = field(default_factory=dict)
    less: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Bench:
    """What runs in a worker: one case at a time."""

    def __init__(self) -> None:
        claims.quiet()

    def judge(self, name: str, path: Path) -> list[Verdict]:
        """One case in every way."""
        return judge(name, suite.Case(**pickle.loads(path.read_bytes())))


def judge(name: str, case: suite.Case) -> list[Verdict]:
    """Infer a case in every way, and compare with the outputs that the suite expects."""
    import onnx

    given = onnx.load_from_string(case.model)
    sets = list(zip(_bound(given, case), (outputs for _, outputs in case.sets), strict=False))
    if not sets:
        return []
    feeds = sets[0][0]
    inner = {} if name.startswith("real/") else _inner(given, feeds)
    verdicts = [_judge(Verdict(name, "declared"), given, sets, inner)]
    for mode in MODES[1:]:
        fixed = {n: v for i, (n, v) in enumerate(feeds.items()) if mode == "constant" or (mode == "parameters" and i)}
        if not feeds or (mode == "parameters" and not fixed):
            continue
        proto = onnx.load_from_string(case.model)
        suite._freeze(proto, fixed)
        _name_dims(proto)
        verdicts.append(_judge(Verdict(name, mode), proto, sets[:1], inner))
    return verdicts


def _judge(verdict: Verdict, proto: onnx.ModelProto, sets: Sequence[tuple[Feeds, Any]], inner: Feeds) -> Verdict:
    import graphopt
    from graphopt.shapes import infer_model

    try:
        model = graphopt.load(proto)
        conflicts = infer_model(model).conflicts
    except Exception as error:
        verdict.wrong.append(harness.describe(error))
        return verdict
    mine, theirs = claims.inferred(model), _of_onnx(proto)
    counts: Counter[str] = Counter()
    refuted: set[str] = set()
    wrong = [f"conflict: {text}" for text in conflicts]
    for i, (feeds, expected) in enumerate(sets):
        fed = {v.name: feeds[v.name] for v in proto.graph.input if v.name in feeds}
        outputs = dict(zip((v.name for v in proto.graph.output), expected, strict=False))
        rest = {n: v for n, v in inner.items() if n not in outputs} if i == 0 else {}
        run, other = claims.compare((mine, theirs), fed, (outputs | rest).items())
        counts += run.counts
        wrong += run.found
        refuted |= {text.split("'")[1] for text in other.found}
        names = claims.compare(({n: mine[n] for n in fed},), fed, ())[0].names
        counts += sum((_told(mine[n], v, names) for n, v in outputs.items() if n in mine), Counter())
    both = [v.name for v in proto.graph.output if v.name in mine and v.name in theirs and v.name not in refuted]
    less = ((n, _less(mine[n], theirs[n])) for n in both)
    verdict.less = [f"'{n}' ({mine[n].by}): {what}" for n, what in less if what]
    verdict.wrong = list(dict.fromkeys(wrong))
    verdict.counts = dict(counts)
    return verdict


def _told(claim: claims.Claim, got: Any, names: Mapping[str, int]) -> Counter[str]:
    """How many dims an output has, and of how many nothing is known; `names`: those that the inputs give a number."""
    counts: Counter[str] = Counter({"outputs": 1, "no type": not claim.dtype and claim.type is None})
    if claim.type is None and hasattr(got, "shape"):
        dims = claim.shape if claim.shape is not None else (None,) * len(got.shape)
        counts["output dims"] = len(got.shape)
        counts["no rank"] = claim.shape is None
        counts["unknown dims"] = sum(d is None or not claims.names_in(d) <= names.keys() for d in dims)
    return counts


def _less(mine: claims.Claim, theirs: claims.Claim) -> str:
    """What onnx knows and graphopt does not, '' where there is nothing."""
    if theirs.type is not None:
        return "" if mine.type is not None else "its type"
    if theirs.dtype and not mine.dtype:
        return f"its dtype {theirs.dtype}"
    if theirs.shape is None:
        return ""
    if mine.shape is None or len(mine.shape) != len(theirs.shape):
        return f"its shape {claims.show(theirs.shape)}, not {claims.show(mine.shape)}"
    for i, (p, q) in enumerate(zip(mine.shape, theirs.shape, strict=True)):
        named = isinstance(q, str) and not q.startswith("unk__") and any(n.startswith("?") for n in claims.names_in(p))
        if (isinstance(q, int) and not isinstance(p, int)) or named:
            return f"dim {i} is {q}, not {p}"
    return ""


# ---------------------------------------------------------------------------------------------------------------- models
def _bound(proto: onnx.ModelProto, case: suite.Case) -> list[Feeds]:
    """Feeds by name, one dict a data set; where they are fewer than inputs, defaults stay."""
    defaults = {t.name for t in proto.graph.initializer}
    every = [v.name for v in proto.graph.input]
    free = [name for name in every if name not in defaults]
    return [dict(zip(free if len(free) == len(inputs) else every, inputs, strict=False)) for inputs, _ in case.sets]


def _inner(proto: onnx.ModelProto, feeds: Feeds) -> Feeds:
    """Inner values, none where onnx.reference does not run the model. It makes rows of the scalars that a Loop collects."""
    if len(proto.graph.node) < 2:
        return {}
    loops = {name for node in proto.graph.node if node.op_type == "Loop" for name in node.output}
    try:
        return {name: got for name, got in claims.on_reference(proto, feeds) if name not in loops}
    except Exception:
        return {}


def _name_dims(proto: onnx.ModelProto) -> None:
    """Give every dim of every input that is left a name of its own, and drop what bodies declare."""
    defaults = {t.name for t in proto.graph.initializer}
    for i, v in enumerate(proto.graph.input):
        if v.name not in defaults and v.type.HasField("tensor_type"):
            for j, d in enumerate(v.type.tensor_type.shape.dim):
                d.dim_param = f"x{i}_{j}"
    del proto.graph.value_info[:]
    waiting = [proto.graph]
    for graph in waiting:
        bodies = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
        for body in bodies:
            del body.value_info[:]
            for v in (*body.input, *body.output):
                for d in v.type.tensor_type.shape.dim if v.type.HasField("tensor_type") else ():
                    d.Clear()
        waiting += bodies


def _of_onnx(proto: onnx.ModelProto) -> dict[str, claims.Claim]:
    """What onnx's own inference says; declarations of outputs are kept from it."""
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]
    for v in bare.graph.output:
        v.ClearField("type")
    try:
        return claims.written(onnx.shape_inference.infer_shapes(bare, data_prop=True))
    except Exception:
        return {}
