"""Shapes that the graph computes are computed from as little as possible, each once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper

from graphopt import load, optimize
from graphopt.ir import Model
from graphopt.passes import simplify_shape_computation
from graphopt.rewrite import Ledger, Rewriter
from graphopt.shapes import infer_model
from tests.ir import invariants
from tests.ir.building import nodes, ops, parse, run, same_bits
from tests.shapes.test_elements import chains, run_all, show

NAME = "shape_computation"
SIZES = [(2, 3), (1, 1), (5, 4), (1, 7)]
CONSTANTS = {
    "i0": np.array(0), "i1": np.array(1), "i2": np.array(2), "im1": np.array(-1), "i05": np.float32(0.5), "v0": np.array([0]), "v1": np.array([1]),
    "v2": np.array([2]), "vm1": np.array([-1]), "v8": np.array([8]), "vmax": np.array([(1 << 63) - 1]), "v01": np.array([0, 1]), "vminus": np.array([-1, -1, -1]),
}  # fmt: skip


def model(lines: str, outputs: str = "y", opset: int = 17) -> ModelProto:
    """A model that reads x of [N, M, 8]."""
    proto = parse(f"g (float[N, M, 8] x) => ({outputs}) {{ {lines} }}", opset, check=False)
    return complete(proto)


def complete(proto: ModelProto) -> ModelProto:
    """With the constants that it reads, and the types of its outputs."""
    used = {i for g in graphs(proto) for n in g.node for i in n.input}
    proto.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in CONSTANTS.items() if name in used)
    typed = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    for own, found in zip(graphs(proto), graphs(typed)):
        for info, known in zip(own.output, found.output):
            if not info.type.tensor_type.HasField("shape"):
                info.type.CopyFrom(known.type)
    return proto


def graphs(proto: ModelProto) -> list[onnx.GraphProto]:
    found = [proto.graph]
    for g in found:
        found += [a.g for n in g.node for a in n.attribute if a.HasField("g")]
    return found


def feeds(size: tuple[int, int]) -> dict[str, np.ndarray]:
    return {"x": np.arange(8 * size[0] * size[1], dtype=np.float32).reshape(*size, 8) - 20}


def run_ort(proto: ModelProto, size: tuple[int, int], **more: Any) -> Any:
    """Outputs in onnxruntime; None where it cannot run the model."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = {i.name for i in session.get_inputs()}
        return session.run(None, {k: v for k, v in (feeds(size) | more).items() if k in names})
    except Exception:  # onnxruntime raises many types
        return None


def simplify(proto: ModelProto, level: int = 1, sizes: Any = SIZES, more: Any = None, **kwargs: Any) -> Model:
    """Optimise with this pass alone; everything that the model computes stays the same."""
    before = proto.SerializeToString(deterministic=True)
    m = optimize(proto, level=1, **({"only": NAME} | kwargs))
    assert proto.SerializeToString(deterministic=True) == before
    invariants.check(m)
    out = m.proto
    onnx.checker.check_model(out, full_check=True)
    assert list(out.graph.output) == list(proto.graph.output)
    assert list(out.graph.input) == list(proto.graph.input)
    assert m.facts is not None
    assert not m.facts.conflicts
    ran = 0
    for size in sizes:
        wanted = run_ort(proto, size, **(more or {}))
        if wanted is not None:
            ran += 1
            assert same_bits(run_ort(out, size, **(more or {})), wanted), size
            assert same_bits(run(m, **feeds(size), **(more or {})), run(proto, **feeds(size), **(more or {}))), size
    assert ran, "the test is no model"
    saved = len(all_ops(proto)) - len(all_ops(out))
    assert saved >= 0
    assert bool(steps(m)) == (saved > 0), "a step that saves nothing"
    return m


def all_ops(proto: ModelProto) -> list[str]:
    return [n.op_type for g in graphs(proto) for n in g.node if n.op_type != "Constant"]


def steps(m: Model) -> list[Any]:
    assert m.report is not None
    return [s for s in m.report.steps if s.rule == NAME]


# ----------------------------------------------------------------------------------------------------------- it applies
RESHAPE = """r = Relu(x) s = Shape(r) a = Gather(s, i0) b = Gather(s, i1) c = Mul(a, b) d = Unsqueeze(c, v0)
    e = Concat<axis=0>(d, v8) y = Reshape(r, e)"""
FLOOR = """s = Shape(x) t = Slice(s, v1, v2) f = Cast<to=1>(t) h = Mul(f, i05) k = Floor(h) l = Cast<to=7>(k) o = Slice(s, v0, v1)
    e = Concat<axis=0>(o, l) y = ConstantOfShape(e)"""
WHERE = """s = Shape(x) k = Concat<axis=0>(a, b, c) m = ConstantOfShape<value = int64[1] {-1}>(v2) e = Equal(k, m) w = Where(e, s, k) y = Expand(v1, w)"""
PIECES = """s = Shape(x) a = Gather(s, i0) t = Shape(x) b = Gather(t, i1) u = Shape(x) c = Gather(u, i2)
    d = Unsqueeze(a, v0) e = Unsqueeze(b, v0) f = Unsqueeze(c, v0) g = Concat<axis=0>(d, e, f) y = ConstantOfShape(g)"""


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (RESHAPE, ["Relu", "Shape", "Shape", "Mul", "Concat", "Reshape"]),
        (PIECES, ["Shape", "ConstantOfShape"]),
        (FLOOR, ["Shape", "Shape", "Div", "Concat", "ConstantOfShape"]),
        ("s = Shape(x) a = Gather(s, v0) b = Add(a, v0) c = Mul(b, v1) y = ConstantOfShape(c)", ["Shape", "ConstantOfShape"]),
        ("s = Shape(x) a = Gather(s, v01) b = Neg(a) c = Neg(b) y = ConstantOfShape(c)", ["Shape", "ConstantOfShape"]),
        ("s = Shape(x) a = Gather(s, i0) b = Cast<to=6>(a) c = Cast<to=7>(b) y = Range(i0, c, i1)", ["Shape", "Squeeze", "Range"]),
        # a tensor that has the whole shape, numbers included
        ("f = Concat<axis=1>(x, x) h = Flatten(f) s = Shape(f) a = Gather(s, v0) b = Gather(s, v1) e = Concat<axis=0>(a, b, v8) y = Reshape(h, e)",
         ["Concat", "Flatten", "Shape", "Reshape"]),
        # what is constant becomes one, and the graph that lies over it goes
        ("s = Shape(x) a = Gather(s, v2) b = Mul(a, v8) c = Concat<axis=0>(b, v8) y = ConstantOfShape(c)", ["ConstantOfShape"]),
        ("a = NonZero(x) s = Shape(a) b = Gather(s, v1) c = Add(b, v1) y = ConstantOfShape(c)", ["NonZero", "Shape", "Add", "ConstantOfShape"]),
        # a tensor that has these dims need not be an input
        ("t = Transpose<perm=[2, 0, 1]>(x) s = Shape(x) a = Gather(s, v2) b = Gather(s, v01) c = Concat<axis=0>(a, b) d = Neg(c) e = Neg(d) f = ConstantOfShape(e) y = Add(f, t)",
         ["Transpose", "Shape", "Concat", "ConstantOfShape", "Add"]),
    ],
)  # fmt: skip
def test_shorter(lines: str, left: list[str]) -> None:
    m = simplify(model(lines))
    assert sorted(ops(m)) == sorted(left)
    assert len(steps(m)) == 1
    assert sum(s.saved for s in steps(m)) == len(ops(model(lines))) - len(left)
    again = optimize(m.proto, level=1, only=NAME)
    assert ops(again) == ops(m), "there is nothing left to do"


@pytest.mark.parametrize("opset", [11, 12, 13, 14, 15, 17, 18, 21])
@pytest.mark.parametrize("lines", [RESHAPE, FLOOR, PIECES])
def test_opsets(lines: str, opset: int) -> None:
    """Shape of a part is from opset 15, axes are an input from 13 on."""
    outputs = "float[?, ?, ?] y" if lines == PIECES else "float[?, ?] y"
    if opset < 13:
        lines = lines.replace("Unsqueeze(", "Unsqueeze<axes=[0]>(").replace(", v0) d", ") d")
        for name in "abc":
            lines = lines.replace(f"Unsqueeze<axes=[0]>({name}, v0)", f"Unsqueeze<axes=[0]>({name})")
    m = simplify(model(lines, outputs, opset))
    assert steps(m)
    for n in nodes(m, "Shape"):
        assert opset >= 15 or not n.attribute
    for n in nodes(m, "Squeeze"):
        assert len(n.input) == (2 if opset >= 13 else 1)


@pytest.mark.parametrize("opset", [11, 12, 13, 15, 17])
def test_scalars_that_are_computed(opset: int) -> None:
    """A vector of one element is squeezed as the opset asks for it."""
    lines = """s = Shape(x) a = Gather(s, i0) b = Cast<to=6>(a) c = Cast<to=7>(b) d = Add(c, i1) e = Cast<to=6>(d) f = Cast<to=7>(e) h = Neg(f) k = Neg(h)
        y = Range(i0, k, i1)"""
    m = simplify(model(lines, "int64[?] y", opset))
    assert steps(m)
    (squeeze,) = nodes(m, "Squeeze")
    assert len(squeeze.input) == (2 if opset >= 13 else 1)


@pytest.mark.parametrize("only", [NAME, None])
def test_padding_to_whole_windows(only: str | None) -> None:
    """As models with windowed attention write it."""
    lines = """s = Shape(x) a = Gather(s, v1) r = Mod(a, v8) d = Sub(v8, r) p = Mod(d, v8) f = Cast<to=6>(p) g = Cast<to=7>(f) n = Neg(g) k = Neg(n)
        e = Concat<axis=0>(v0, v0, v0, v0, k, v0) y = Pad(x, e)"""
    simplify(model(lines), sizes=[(1, m) for m in range(1, 18)], only=only)


def test_one_vector_for_all() -> None:
    """Equal shapes, however they were computed, are computed once."""
    m = simplify(
        model(
            """s = Shape(x) a = Slice(s, v0, v1) b = Slice(s, v1, v2) c = Mul(a, b) e = Concat<axis=0>(c, v8) y = Reshape(x, e) r = Relu(x)
            t = Shape(r) f = Gather(t, i1) g = Gather(t, i0) h = Mul(f, g) j = Unsqueeze(h, v0) k = Concat<axis=0>(j, v8) z = Reshape(r, k)
            u = Shape(y) n = Neg(u) o = Neg(n) w = ConstantOfShape(o)""",
            "y, z, w",
        )
    )
    reshapes = nodes(m, "Reshape")
    assert len({n.input[-1] for n in (*reshapes, *nodes(m, "ConstantOfShape"))}) == 1
    assert ops(m).count("Concat") == 1 or ops(m).count("Shape") == 1


def test_parts_that_are_shared() -> None:
    m = simplify(
        model(
            """s = Shape(x) a = Gather(s, i0) b = Gather(s, i1) d = Unsqueeze(a, v0) e = Unsqueeze(b, v0)
            f = Concat<axis=0>(d, e, vm1) y = Reshape(x, f) g = Concat<axis=0>(d, v8, e) z = Reshape(x, g) h = Neg(e) j = Neg(h) w = ConstantOfShape(j)""",
            "y, z, w",
        )
    )
    shapes = [(n.input[0], sorted((a.name, a.i) for a in n.attribute)) for n in nodes(m, "Shape")]
    assert len(shapes) == len({str(s) for s in shapes}), "each dim once"


def test_scalars_and_vectors_of_one_dim() -> None:
    m = simplify(
        model(
            """s = Shape(x) a = Gather(s, i0) b = Cast<to=6>(a) c = Cast<to=7>(b) y = Range(i0, c, i1) d = Unsqueeze(c, v0) e = Neg(d) f = Neg(e)
            z = ConstantOfShape(f)""",
            "y, z",
        )
    )
    assert sorted(ops(m)) == ["ConstantOfShape", "Range", "Shape", "Squeeze"]


# ------------------------------------------------------------------------------------------------------- it does not
@pytest.mark.parametrize(
    "lines",
    [
        "s = Shape(x) y = ConstantOfShape(s)",
        "s = Shape<start=1, end=2>(x) a = Add(s, v1) y = ConstantOfShape(a)",
        "a = NonZero(x) s = Shape<start=1, end=2>(a) c = Add(s, v1) y = ConstantOfShape(c)",  # its dims are what this reads
        "a = Cast<to=7>(x) b = ReduceMax(a) c = Abs(b) y = ConstantOfShape(v8)",  # data
        "s = Shape(x) f = Cast<to=1>(s) y = Mul(f, f)",  # floats are read
        "s = Shape(x) f = Cast<to=6>(s) y = Neg(f)",
    ],
)
def test_what_is_short_already(lines: str) -> None:
    proto = model(lines)
    m = simplify(proto)
    assert m.proto.graph.node == proto.graph.node
    assert not steps(m)


def test_what_no_operator_computes_stays() -> None:
    """Of a broadcast nothing but the broadcast tells the dim."""
    lines = """t = Transpose<perm=[1, 0, 2]>(x) s = Shape(x) u = Shape(t) e = Equal(s, v1) w = Where(e, u, s) a = Neg(w) b = Neg(a)
        y = ConstantOfShape(b)"""
    m = simplify(model(lines), sizes=[(3, 3), (1, 3), (3, 1)])
    assert ops(m) == ops(model(lines))


def test_quotients_that_round_towards_zero_stay() -> None:
    """(N - M) / 2 may be of a negative number."""
    lines = """s = Shape(x) a = Gather(s, i0) b = Gather(s, i1) c = Sub(a, b) d = Div(c, i2) e = Add(d, i0) f = Abs(e) g = Unsqueeze(f, v0)
        y = ConstantOfShape(g)"""
    m = simplify(model(lines), sizes=[(2, 3), (3, 2), (7, 2), (2, 7)])
    assert "Div" in ops(m)


def test_other_users_of_what_is_rewritten() -> None:
    """A value that stays, since something that cannot be written anew needs it, is used again."""
    lines = """s = Shape(x) a = Gather(s, i0) d = Unsqueeze(a, v0) e = Concat<axis=0>(d, v8) n = Neg(e) k = Neg(n) y = ConstantOfShape(k)
        f = Cast<to=1>(e) z = Mul(f, f) """
    simplify(model(lines, "y, z"))


def test_without() -> None:
    proto = model(RESHAPE)
    assert len(ops(optimize(proto, without=NAME))) >= len(ops(optimize(proto)))
    assert not steps(optimize(proto, without=NAME))
    assert not steps(optimize(proto, only="dead_code"))


def test_the_pass_by_itself() -> None:
    m = load(model(RESHAPE))
    infer_model(m)
    ledger = Ledger()
    saved = simplify_shape_computation(m, Rewriter(m, ledger))
    assert saved == 2
    (step,) = ledger.steps
    assert (step.rule, step.saved) == (NAME, 2)
    assert {n.op for n in step.before} >= {"Gather", "Unsqueeze", "Concat"}
    assert simplify_shape_computation(m, Rewriter(m, ledger)) == 0
    invariants.check(m)


# -------------------------------------------------------------------------------------------------------- around graphs
def test_outputs_of_the_graph_keep_their_names() -> None:
    lines = "s = Shape(x) a = Gather(s, i0) b = Gather(s, i1) d = Unsqueeze(a, v0) e = Unsqueeze(b, v0) y = Concat<axis=0>(e, d, d, e)"
    m = simplify(model(lines, "int64[4] y"))
    assert [o.name for o in m.proto.graph.output] == ["y"]
    assert len(ops(m)) <= 4


def test_outputs_that_are_equal() -> None:
    lines = "r = Relu(x) s = Shape(x) a = Neg(s) y = Neg(a) t = Shape(r) b = Neg(t) z = Neg(b)"
    m = simplify(model(lines, "y, z, r"))
    assert [o.name for o in m.proto.graph.output] == ["y", "z", "r"]


def test_outputs_that_are_read_too() -> None:
    lines = "s = Shape(x) a = Neg(s) y = Neg(a) z = ConstantOfShape(y)"
    m = simplify(model(lines, "y, z"))
    assert sorted(ops(m)) == ["ConstantOfShape", "Shape"]


def test_one_value_as_two_outputs() -> None:
    proto = model("s = Shape(x) a = Neg(s) y = Neg(a)", "y")
    proto.graph.output.add().CopyFrom(proto.graph.output[0])
    m = optimize(proto, level=1, only=NAME)
    assert same_bits(run(m, **feeds((2, 3))), run(proto, **feeds((2, 3))))


BRANCHES = """s = Shape(x) n = Neg(s) z = ConstantOfShape(v8)
    y = If (c) <
        then_branch = t () => (float[A, B] t_out) {{ {0} t_out = Reshape(x, e) }},
        else_branch = f () => (float[C, D] f_out) {{ f_out = Flatten(x) }}
    >"""


def branching(inside: str, more: str = "") -> ModelProto:
    proto = parse(
        f"g (float[N, M, 8] x, bool c) => (float[?, ?] y, int64[3] n) {{ {more} {BRANCHES.format(inside).replace('z = ConstantOfShape(v8)', '')} }}",
        check=False,
    )
    return complete(proto)


@pytest.mark.parametrize("c", [True, False])
def test_branches(c: bool) -> None:
    """Inside a branch, from the inputs of the model."""
    inside = "ss = Shape(x) a = Gather(ss, i0) b = Gather(ss, i1) m = Mul(a, b) d = Unsqueeze(m, v0) e = Concat<axis=0>(d, v8)"
    m = simplify(branching(inside), more={"c": np.array(c)})
    assert steps(m)


@pytest.mark.parametrize("c", [True, False])
def test_branches_that_read_what_is_outside(c: bool) -> None:
    outside = "r = Relu(x) ss = Shape(r) a = Gather(ss, i0) b = Gather(ss, i1) m = Mul(a, b) d = Unsqueeze(m, v0) e2 = Concat<axis=0>(d, v8) e3 = Neg(e2)"
    m = simplify(branching("e = Neg(e3)", outside), more={"c": np.array(c)})
    assert steps(m) or ops(m) == ops(branching("e = Neg(e3)", outside))


def test_loops() -> None:
    """Dims of what is carried change from one turn to the next; inside one turn they are what they are."""
    proto = parse(
        """g (float[N, M, 8] x) => (float[?, ?] y, int64[?, ?] z) <bool yes = {1}> {
            f = Flatten(x)
            y, z = Loop (turns, yes, f) <body = b (int64 i, bool cond, float[P, Q] v) => (bool cond_out, float[R, S] v_out, int64[1] k) {
                cond_out = Identity(cond) w = Concat<axis=0>(v, v) s = Shape(v) a = Gather(s, v0) t = Neg(a) u = Neg(t) k = Add(u, u)
                v_out = Neg(w)
            }>
        }""",
        check=False,
    )
    proto.graph.initializer.extend(
        [numpy_helper.from_array(np.array(3), "turns"), numpy_helper.from_array(np.array([0]), "v0")]
    )
    m = simplify(proto)
    assert len(all_ops(m.proto)) <= len(all_ops(proto))


def test_functions_are_left_alone() -> None:
    proto = parse("g (float[N, M, 8] x) => (y) { y = local.f(x) }", imports=', "local": 1', check=False)
    body = [
        onnx.helper.make_node("Shape", ["v"], ["s"]),
        onnx.helper.make_node("Neg", ["s"], ["t"]),
        onnx.helper.make_node("Neg", ["t"], ["u"]),
        onnx.helper.make_node("ConstantOfShape", ["u"], ["w"]),
    ]
    proto.functions.append(
        onnx.helper.make_function("local", "f", ["v"], ["w"], body, [onnx.helper.make_opsetid("", 17)])
    )
    m = optimize(proto, level=1, only=NAME)
    assert list(m.proto.functions) == list(proto.functions)
    assert same_bits(run(m, **feeds((2, 3))), run(proto, **feeds((2, 3))))


def test_overridable_initializers() -> None:
    """What callers may override is no constant."""
    proto = parse(
        "g (float[N, M, 8] x, int64[1] k) => (y) <int64[1] k = {3}> { s = Shape(x) a = Gather(s, k) b = Neg(a) c = Neg(b) y = ConstantOfShape(c) }",
        check=False,
    )
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1]), "k"))
    m = optimize(proto, level=1, only=NAME)
    for k in ([0], [2]):
        f = feeds((2, 3)) | {"k": np.array(k)}
        assert same_bits(run(m, **f), run(proto, **f))


def test_dims_with_any_name() -> None:
    proto = model(
        "s = Shape(x) a = Gather(s, v01) b = Neg(a) c = Neg(b) z = ConstantOfShape(c) d = Gather(s, i1) e = Neg(d) f = Neg(e) y = Range(i0, f, i1)",
        "y, z",
    )
    for i, name in enumerate(("scalar", "N")):
        proto.graph.input[0].type.tensor_type.shape.dim[i].dim_param = name
    simplify(proto)


@pytest.mark.parametrize("name", ["shape", "constant", "a b", "x.shape[0]", "dims", "1", "None "])
def test_dims_with_strange_names(name: str) -> None:
    proto = model(RESHAPE)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = name
    assert steps(simplify(proto))


def test_operators_that_the_opset_lacks() -> None:
    lines = """s = Shape(x) a = Gather(s, i0) b = Cast<to=6>(a) c = Cast<to=7>(b) d = Sub(c, i1) e = Div(d, i2) f = Add(e, i1) h = Cast<to=6>(f)
        j = Cast<to=7>(h) k = Unsqueeze<axes=[0]>(j) l = Neg(k) o = Neg(l) y = ConstantOfShape(o)"""
    simplify(model(lines, opset=11))


def test_sizes_of_zero() -> None:
    """Empty tensors have shapes too."""
    for lines in (PIECES, FLOOR):
        simplify(model(lines), sizes=[(0, 3), (2, 0), (0, 0)])


# ---------------------------------------------------------------------------------------------------------------- any
@settings(max_examples=80)
@given(chains(), st.booleans())
def test_whatever_is_computed(proto: ModelProto, alone: bool) -> None:
    """Every shape tensor that random operators compute, some of them outputs."""
    del proto.graph.output[:]
    names = [n.output[0] for n in proto.graph.node]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names[-3:])
    note(show(proto))
    m = optimize(proto, level=1, **({"only": NAME} if alone else {}))
    invariants.check(m)
    out = m.proto
    for size in ((2, 4, 1), (1, 1, 3), (0, 2, 0), (6, 33, 2)):
        wanted = run_all(proto, *size)
        if wanted is None or any(a.size and np.abs(a.astype(float)).max() > 1 << 24 for a in wanted.values()):
            continue
        found = run_all(out, *size)
        assert found is not None, f"it does not run any more with {size}"
        for name in names[-3:]:
            assert same_bits(found[name], wanted[name]), f"{name} for {size}"
