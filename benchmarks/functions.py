"""Rules from the function bodies of ONNX's own operators: which there are, and which models they restore.

    python -m benchmarks.functions              # every operator that has a body, and what becomes of it
    python -m benchmarks.functions --write      # patterns/raising/functions.py, made anew from the installed onnx
    python -m benchmarks.functions --suite      # how many expanded models of the backend suite are one operator again [--slower]

A body is brought into canonical form - written out in a model, optimised at level 1 - and printed as the left side of a rule
whose right side is the operator. Attributes that the body computes with are constants there, from which the rule reads them.
"""

from __future__ import annotations

import argparse
import linecache
import pickle
import re
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx import AttributeProto, FunctionProto, ModelProto, TensorProto, defs, helper

from benchmarks.rule_text import Body, CannotDerive, rule_text
from benchmarks.suite import exported
from graphopt import load, optimize
from graphopt.ir import OpSchema, op_schema
from graphopt.rewrite import Rule

OUTPUT = Path(__file__).parents[1] / "patterns" / "raising" / "functions.py"
#: The version of onnx whose bodies the rules are.
MADE_WITH = "1.23.2"
_FLOAT, _DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE


@dataclass(frozen=True)
class Derived:
    """A rule that is made.

    Attributes:
        op: the operator.
        name: the rule's; None: the operator's.
        fixed: attributes that have this value; others are free.
        inputs: names of those that are there; None: all.
        dtype: of the inputs, those apart whose dtype is given by the operator.
        since: the first opset at which the operator means this, and has kernels; None: it always did.
        guards: lines that the rule needs besides.
        exact: the body gives the same bits.
        listed: attributes that the body has as a list's only element, and a number that stands for them meanwhile.
        tensors, also, mirrored: see `Body`.
    """

    op: str
    name: str | None = None
    fixed: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] | None = None
    dtype: int = _FLOAT
    since: int | None = None
    guards: tuple[str, ...] = ()
    exact: bool = False
    listed: dict[str, int] = field(default_factory=dict)
    tensors: tuple[str, ...] = ()
    also: dict[str, str] = field(default_factory=dict)
    mirrored: bool = True


#: A scalar that the operator asks for, where the body would broadcast.
def _scalars(*names: str) -> tuple[str, ...]:
    test = " or ".join(f"{n}.shape != ()" for n in names)
    return (f"if {test}:", '    return "a bound is not known to be a scalar"')


_WITHIN = ("if not within(slope.shape, x.shape):", '    return "the slope may broadcast x up"')
#: Runtimes lack kernels for others, or compute other bits.
_SINGLE = ("if x.dtype not in SINGLE:", '    return "not a single precision float"')
_FLOATS = ("if x.dtype not in FLOATS:", '    return "not floats"')
_AXES = ("axes",)
_SQUARES = "op.ReduceSumSquare(x, keepdims=keepdims, axes=axes)"
_SQUARES_OVER = "op.ReduceSumSquare(x, axes, keepdims=keepdims)"
_IN_DOUBLE = "op.ReduceLogSumExp(op.Cast(x, to=11), keepdims=keepdims, axes=axes)"
_IN_DOUBLE_OVER = "op.ReduceLogSumExp(op.Cast(x, to=11), axes, keepdims=keepdims)"

#: The rules of the package.
DERIVED = (
    Derived("Softsign", guards=_SINGLE),
    Derived("ThresholdedRelu"),
    Derived("Shrink"),
    Derived("Shrink", "shrink_hard", fixed={"bias": 0.0}),
    Derived("Selu", "selu_of_where"),
    Derived("HardSigmoid", "hard_sigmoid_of_bounds"),
    Derived("PRelu", "prelu", guards=(*_SINGLE, *_WITHIN)),
    Derived("Gelu", "gelu_of_sum", fixed={"approximate": "none"}, guards=_SINGLE),
    Derived("Gelu", "gelu_tanh_of_sum", fixed={"approximate": "tanh"}, guards=_SINGLE),
    Derived("Clip", "clip_of_where", since=12, guards=_scalars("low", "high"), also={"tmp": "op.Clip(x, low)"}),
    Derived("Clip", "clip_below", since=12, inputs=("input", "min"), guards=_scalars("low")),
    Derived("Clip", "clip_above", since=12, inputs=("input", "max"), guards=_scalars("high")),
    Derived("GreaterOrEqual", exact=True, mirrored=False),
    Derived("LessOrEqual", exact=True, mirrored=False),
    Derived("DynamicQuantizeLinear"),
)

#: Rules that hold, and that are made where somebody asks for nothing but few nodes: ONNX Runtime runs these operators slower
#: than their bodies. How many times as slow, float32 on one core of a CPU: Softplus 18, Softmax and LogSoftmax over another axis
#: than the last 5, ReduceLogSumExp 5 to 14, ReduceLogSum 5, ReduceL1 3, ReduceL2 1 to 2, ReduceSumSquare 2.
SLOWER = (
    Derived("Softplus", guards=_SINGLE),
    Derived("ReduceL1", "reduce_l1", guards=_FLOATS),
    Derived("ReduceL1", "reduce_l1_over", guards=_FLOATS, tensors=_AXES),
    Derived("ReduceL2", "reduce_l2", also={"sum_square": _SQUARES}),
    Derived("ReduceL2", "reduce_l2_over", also={"sum_square": _SQUARES_OVER}, tensors=_AXES),
    Derived("ReduceSumSquare", guards=_FLOATS),
    Derived("ReduceSumSquare", "reduce_sum_square_over", guards=_FLOATS, tensors=_AXES),
    Derived("ReduceLogSumExp", dtype=_DOUBLE),
    Derived("ReduceLogSumExp", "reduce_log_sum_exp_over", dtype=_DOUBLE, tensors=_AXES),
    Derived("ReduceLogSumExp", "reduce_log_sum_exp_in_double", also={"reduced_double": _IN_DOUBLE}),
    Derived(
        "ReduceLogSumExp", "reduce_log_sum_exp_in_double_over", also={"reduced_double": _IN_DOUBLE_OVER}, tensors=_AXES
    ),
    Derived("ReduceLogSum"),
    Derived("ReduceLogSum", "reduce_log_sum_over", tensors=_AXES),
    Derived("Softmax", "softmax_over_axis", since=13, listed={"axis": 77}),
    Derived(
        "LogSoftmax", "log_softmax_over_axis", since=13, listed={"axis": 77},
        also={"X_Log": "op.ReduceLogSumExp(x_sub, axes=axis)"},
    ),
)  # fmt: skip

#: Operators whose bodies rules written by hand restore, from more spellings than the body's.
BY_HAND = {
    "Celu": "celu",
    "Elu": "elu",
    "HardSwish": "hard_swish",
    "LeakyRelu": "leaky_relu_of_where",
    "Mish": "mish",
    "RMSNormalization": "rms_normalization, rms_normalization_takes_scale",
    "Relu": "max_zero_to_relu",
}

#: Operators for which no rule is made of the body.
LEFT = {
    "AffineGrid": "60 nodes and branches",
    "Attention": "its body depends on eleven attributes and inputs",
    "Bernoulli": "draws other numbers than its body",
    "BlackmanWindow": "its size is a constant in models, and then it is one",
    "CastLike": "its body, a Cast, is simpler",
    "CausalConvWithState": "newer than what runtimes know",
    "CenterCropPad": "its body is shape arithmetic, which becomes something else for every shape that is known",
    "DepthToSpace": "a body since opset 28 only; Reshape, Transpose, Reshape, with sizes that must fit",
    "FlexAttention": "newer than what runtimes know, with graphs as attributes",
    "GroupNormalization": "its body is shape arithmetic; kept as what runtimes have kernels for",
    "HammingWindow": "its size is a constant in models, and then it is one",
    "HannWindow": "its size is a constant in models, and then it is one",
    "LayerNormalization": "its body is shape arithmetic, and means of squares less squares of means",
    "MeanVarianceNormalization": "ONNX Runtime gives NaN where nothing varies",
    "LinearAttention": "newer than what runtimes know, with a loop",
    "NegativeLogLikelihoodLoss": "twelve bodies, for training",
    "Range": "a loop",
    "RotaryEmbedding": "its body depends on attributes, ranks and inputs",
    "SequenceMap": "a loop",
    "SoftmaxCrossEntropyLoss": "its body is shape arithmetic, for training",
    "SpaceToDepth": "a body since opset 28 only; Reshape, Transpose, Reshape, with sizes that must fit",
    "SwiGLU": "newer than what runtimes know",
    "Swish": "runtimes fuse its body, and at opset 25 do not know the operator",
}


# ----------------------------------------------------------------------------------------------------------- the bodies
def derive(d: Derived) -> str:
    """The source of a rule. Raises CannotDerive where the body gives none."""
    schema = op_schema(d.op, defs.onnx_opset_version())
    assert schema is not None
    inputs = tuple(p.name if d.inputs is None or p.name in d.inputs else "" for p in schema.inputs)
    body = canonical(function_of(d, schema, inputs), d, schema, inputs)
    options = [f"since={d.since}"] * (d.since is not None) + ["exact=True"] * d.exact
    decorator = f"rule({', '.join(options)})" if options else "rule"
    given = ", ".join(f"{k} {v}" for k, v in d.fixed.items())
    doc = f"What ONNX defines {d.op} by{f', with {given}' if given else ''}."
    return rule_text(body, d.name or _snake(d.op), doc, d.guards, decorator)


def function_of(d: Derived, schema: OpSchema, inputs: tuple[str, ...]) -> FunctionProto:
    """The function body of an operator, for these inputs and attributes."""
    s: Any = schema.proto
    function = FunctionProto()
    if s.has_function:
        function.ParseFromString(s.get_function_with_opset_version(max(s.function_opset_versions)))
        return function
    if not s.has_context_dependent_function:
        raise CannotDerive("no function body")
    node = helper.make_node(d.op, list(inputs), [p.name for p in schema.outputs], **d.fixed, **d.listed)
    types = [
        helper.make_tensor_type_proto(_dtype(schema, i, d.dtype), None).SerializeToString()
        for i, n in enumerate(inputs)
        if n
    ]
    version = max(s.context_dependent_function_opset_versions)
    function.ParseFromString(
        s.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), types)
    )
    return function


def canonical(f: FunctionProto, d: Derived, schema: OpSchema, inputs: tuple[str, ...]) -> Body:
    """The body as a model, written out and optimised at level 1."""
    proto = ModelProto(ir_version=10, opset_import=f.opset_import)
    computed: dict[str, int] = {}
    passed: dict[tuple[str, str], str] = {}
    for node in f.node:
        new = proto.graph.node.add()
        new.CopyFrom(node)
        for a in new.attribute:
            name = a.ref_attr_name
            if not name:
                continue
            if name in d.fixed:
                a.CopyFrom(helper.make_attribute(a.name, d.fixed[name]))
            elif node.op_type == "Constant" and a.type in (
                AttributeProto.FLOAT,
                AttributeProto.INT,
                AttributeProto.INTS,
            ):
                computed[name] = a.type
                new.op_type, new.input[:] = "Identity", [f"{name}_attribute"]
                del new.attribute[:]
                break
            elif node.op_type == "Constant":
                raise CannotDerive(f"attribute '{name}' is computed with")
            else:
                default = schema.attributes[name].default
                if default is None:
                    raise CannotDerive(f"attribute '{name}' is passed on and has no default")
                a.CopyFrom(helper.make_attribute(a.name, default, attr_type=a.type))
                if name != "noop_with_empty_axes":
                    passed[node.output[0], a.name] = name
    for i, name in enumerate(inputs):
        if name:
            proto.graph.input.add(name=name).type.CopyFrom(
                helper.make_tensor_type_proto(_dtype(schema, i, d.dtype), None)
            )
    for name, kind in computed.items():
        dtype = _FLOAT if kind == AttributeProto.FLOAT else TensorProto.INT64
        dims = [None] if kind == AttributeProto.INTS else []
        proto.graph.input.append(helper.make_tensor_value_info(f"{name}_attribute", dtype, dims))
    for name in f.output:
        proto.graph.output.add(name=name).type.CopyFrom(helper.make_tensor_type_proto(0, None))
    model = load(
        optimize(proto, level=1, without=OUTPUT.stem if OUTPUT.exists() else ())
    )  # not by what it makes itself
    for v in model.graph.inputs:
        if v.name.endswith("_attribute"):
            v.name = v.name.removesuffix("_attribute")
    return Body(model, schema, inputs, tuple(computed), passed, d.fixed, d.listed, d.tensors, d.also, d.mirrored)


def _dtype(schema: OpSchema, i: int, dtype: int) -> int:
    types = schema.inputs[i].types
    return dtype if dtype in types else TensorProto.INT64 if TensorProto.INT64 in types else min(types)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# ------------------------------------------------------------------------------------------------------------ the file
_HEADER = '''"""The function bodies of ONNX's own operators, seen as these operators.

Made by `python -m benchmarks.functions --write`; change it there. What rules written by hand restore is not repeated here.
"""

from __future__ import annotations

{imports}
'''
_IMPORTS = {
    "graphopt.patterns._elementwise": ("FLOATS", "SINGLE", "within"),
    "graphopt.patterns.raising._constants": ("close", "single", "singles"),
    "graphopt.rewrite": ("Const", "Float", "Int", "Ints", "Maybe", "any_of", "op", "rule"),
}


def source(derived: Iterable[Derived] = DERIVED) -> str:
    """patterns/raising/functions.py, before it is formatted; or the same for other rules."""
    rules = "\n\n".join(map(derive, derived))
    words = set(re.findall(r"\w+", rules))
    lines = [
        f"from {m} import {', '.join(n for n in names if n in words)}"
        for m, names in _IMPORTS.items()
        if words & {*names}
    ]
    return f"{_HEADER.format(imports=chr(10).join(lines))}\n\n{rules}"


def with_bodies() -> list[str]:
    """The operators of the installed onnx that have a body at some version."""
    schemas: list[Any] = defs.get_all_schemas_with_history()
    return sorted({s.name for s in schemas if s.has_function or s.has_context_dependent_function})


def _list() -> None:
    made: dict[str, list[str]] = {}
    for d in (*DERIVED, *SLOWER):
        made.setdefault(d.op, []).append(d.name or _snake(d.op))
    slower = {d.op for d in SLOWER}
    counts: Counter[str] = Counter()
    for op in with_bodies():
        if op in made:
            kind, what = "slower" if op in slower else "derived", ", ".join(made[op])
        elif op in BY_HAND:
            kind, what = "by hand", BY_HAND[op]
        else:
            kind, what = "left", LEFT.get(op, "not looked at")
        counts[kind] += 1
        print(f"{op:28} {kind:8} {what}")
    print(", ".join(f"{n} {kind}" for kind, n in counts.items()))


# ----------------------------------------------------------------------------------------------------------- the suite
def expanded(rules: Sequence[Rule] = ()) -> Iterator[tuple[str, list[str], list[str], list[str]]]:
    """The backend suite's models of one operator written out: case, that operator, operators before and after level 2.

    Args:
        rules: more than those of the package.
    """
    cases = exported()
    for case in cases:
        plain = re.sub(r"_expanded(_ver\d+)?", "", case)
        if plain == case or plain not in cases:
            continue
        model = _model(cases[case])
        optimized = optimize(model, level=2, rules=rules).proto
        yield (
            case,
            *(
                [n.op_type for n in m.graph.node if n.op_type != "Constant"]
                for m in (_model(cases[plain]), model, optimized)
            ),
        )


def _model(path: Path) -> ModelProto:
    model = ModelProto()
    model.ParseFromString(pickle.loads(path.read_bytes())["model"])
    return model


def rules_of(derived: Iterable[Derived]) -> list[Rule]:
    """Rules, made in memory."""
    module = types.ModuleType("derived")
    lines = source(derived).splitlines(keepends=True)
    name = f"<{module.__name__} {hash(tuple(lines))}>"
    linecache.cache[name] = (sum(map(len, lines)), None, lines, name)  # so that the rules have a source
    exec(compile("".join(lines), name, "exec"), vars(module))
    return [r for r in vars(module).values() if isinstance(r, Rule)]


def _suite(rules: Sequence[Rule] = ()) -> None:
    found: dict[str, list[bool]] = {}
    nodes = [0, 0]
    for _, (operator, *_), before, after in expanded(rules):
        found.setdefault(operator, []).append(after == [operator])
        nodes[0] += len(before)
        nodes[1] += len(after)
    for operator, restored in sorted(found.items()):
        print(f"{operator:28} {sum(restored):3} of {len(restored)}")
    done, of = sum(map(sum, found.values())), sum(map(len, found.values()))
    print(f"{done} of {of} are one operator again; nodes {nodes[0]} -> {nodes[1]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make the rules anew")
    parser.add_argument("--suite", action="store_true", help="count what the rules restore")
    parser.add_argument("--slower", action="store_true", help="count with the rules that save nodes and not time")
    arguments = parser.parse_args()
    if arguments.write:
        OUTPUT.write_text(source(), encoding="utf-8")
        subprocess.run(["ruff", "format", "--quiet", str(OUTPUT)], check=True)
    elif arguments.suite:
        _suite(rules_of(SLOWER) if arguments.slower else ())
    else:
        _list()
    return 0


if __name__ == "__main__":
    sys.exit(main())
