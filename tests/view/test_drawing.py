"""Drawings: every node and edge is there, in layers, without overlaps; what is too large is folded and cut, and says so."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from onnx import TensorProto, helper, parser

import graphopt
from graphopt.demo import demo_model
from graphopt.errors import ArgumentError, MissingDependencyError, SaveError
from graphopt.ir import Graph, Model
from graphopt.patterns import all_rules
from graphopt.rewrite import Const, NodeRecord, domain, maybe, op, rule
from graphopt.view import draw, svg_of
from graphopt.view.families import family_of
from graphopt.view.graphs import picture_of
from graphopt.view.layered import place
from graphopt.view.picture import Picture
from graphopt.view.records import picture_of_records
from graphopt.view.rules import pictures_of_rule

SVG = "{http://www.w3.org/2000/svg}"


def model_of(text: str, opset: int = 17) -> Model:
    return graphopt.load(parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}'))


BRANCHING = """
    g (float[n, 4] x, float[4, 3] w) => (float[n, 3] y, float[n, 3] z) {
        half = Constant <value = float {0.5}> ()
        a = MatMul (x, w)
        b = Mul (a, half)
        c, d = Split <axis = 1> (b)
        y = Add (a, b)
        e = Concat <axis = 1> (c, d)
        z = Add (e, a)
    }
"""


def edges_of(graph: Graph) -> set[tuple[str, str]]:
    """What a drawing has to show, by operators and names: from producers, or inputs, to readers, or outputs."""

    def source(v: object) -> str:
        node = v.node  # type: ignore[attr-defined]
        return v.name if node is None else node.op_type  # type: ignore[attr-defined]

    found = {(source(v), n.op_type) for n in graph if n.op != "Constant" for v in n.inputs if v and v.const is None}
    return found | {(source(v), v.name) for v in graph.outputs}


def named_edges(picture: Picture) -> set[tuple[str, str]]:
    return {(picture.boxes[e.source].title, picture.boxes[e.target].title) for e in picture.edges}


def test_every_node_and_edge_is_drawn_and_small_constants_are_written_into_boxes() -> None:
    graph = model_of(BRANCHING).graph
    picture = picture_of(graph)
    assert [b.title for b in picture.boxes] == ["x", "w", "MatMul", "Mul", "Split", "Add", "Concat", "Add", "y", "z"]
    assert named_edges(picture) == edges_of(graph)
    assert picture.boxes[3].line == "0.5" and not picture.note


def test_edges_lead_down_and_boxes_do_not_overlap() -> None:
    for model in (demo_model(), graphopt.optimize(demo_model())):
        placed = place(picture_of(graphopt.load(model).graph, most=1000))
        for edge, route in zip(placed.picture.edges, placed.routes, strict=True):
            assert placed.centres[edge.source][1] < placed.centres[edge.target][1]
            assert all(a[1] < b[1] for a, b in pairwise(route))
            (x, y), (_, height) = placed.centres[edge.source], placed.sizes[edge.source]
            assert route[0] == (x, y + height / 2)
            (x, y), (_, height) = placed.centres[edge.target], placed.sizes[edge.target]
            assert route[-1] == (x, y - height / 2)
        frames = [
            (x - w / 2, x + w / 2, y - h / 2, y + h / 2)
            for (x, y), (w, h) in zip(placed.centres, placed.sizes, strict=True)
        ]
        for i, (left, right, top, bottom) in enumerate(frames):
            assert left >= -1e-6 and right <= placed.width + 1e-6 and bottom <= placed.height + 1e-6
            for a, b, c, d in frames[i + 1 :]:
                assert right <= a or b <= left or bottom <= c or d <= top


def test_shapes_stand_on_edges_once() -> None:
    svg = draw(demo_model(), most=1000).svg
    texts = [e.text for e in ET.fromstring(svg).iter(f"{SVG}text")]
    assert "batch×16×32×32" in texts and "batch×3×64×64" in texts
    assert texts.count("batch×3×64×64") == 1  # in the input's box, not on its edge too


def test_chains_are_folded_before_anything_is_cut_off() -> None:
    chain = "\n".join(f"v{i + 1} = Relu (v{i})" for i in range(500))
    picture = picture_of(model_of(f"g (float[2] v0) => (float[2] v500) {{ {chain} }}").graph)
    assert [(b.title, b.line) for b in picture.boxes[1:2]] == [("500× Relu", "500 nodes")]
    assert len(picture.boxes) == 3 and "chains folded" in picture.note and "first" not in picture.note


def test_a_value_with_two_readers_ends_a_chain() -> None:
    graph = model_of("""
        g (float[2] x) => (float[2] y) { a = Abs (x) b = Exp (a) c = Neg (a) d = Add (b, c) y = Relu (d) }
    """).graph
    picture = picture_of(graph, most=4)
    assert [b.title for b in picture.boxes] == ["x", "Abs", "Exp", "Neg", "Add · Relu", "y"]
    assert ("Abs", "Exp") in named_edges(picture) and ("Neg", "Add · Relu") in named_edges(picture)


def test_what_is_too_large_is_cut_and_the_note_says_so() -> None:
    many = "\n".join(f"v{i} = Abs (x) \n w{i} = Add (v{i}, x)" for i in range(300))
    total = "s = Sum (" + ", ".join(f"w{i}" for i in range(300)) + ")"
    picture = picture_of(model_of(f"g (float[2] x) => (float[2] s) {{ {many}\n{total} }}").graph, most=50)
    assert len([b for b in picture.boxes if b.kind != "value"]) == 50
    assert "the first 50 of 601 are drawn" in picture.note


def test_around_a_node_by_its_name_or_a_values() -> None:
    graph = graphopt.load(demo_model()).graph
    node = next(n for n in graph if n.op == "Erf")
    for name in (node.name, node.output.name):
        picture = picture_of(graph, around=name, reach=1)
        assert sorted(b.title for b in picture.boxes if b.kind == "node") == ["Add", "Div", "Erf"]
    assert len(picture_of(graph, around=node.name, reach=2).boxes) > 3
    with pytest.raises(ArgumentError, match="no node or value named 'nowhere'"):
        picture_of(graph, around="nowhere")


def test_subgraphs_are_part_of_their_node_and_what_they_capture_is_an_edge() -> None:
    model = model_of("""
        g (bool c, float[2] x) => (float[2] y) {
            a = Abs (x)
            y = If (c) <
                then_branch = t () => (float[2] p) { p = Relu (a) },
                else_branch = e () => (float[2] q) { r = Neg (a) \n q = Exp (r) }
            >
        }
    """)
    picture = picture_of(model.graph)
    box = next(b for b in picture.boxes if b.title == "If")
    assert box.line == "3 nodes inside" and box.family == "control"
    assert ("Abs", "If") in named_edges(picture)
    branch = model.graph.last.subgraphs[1]  # type: ignore[union-attr]
    assert [b.title for b in picture_of(branch).boxes][:2] == ["Neg", "Exp"]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a"b&c', "nul\0and\x1b[0m", "中文", "\ud800"])
def test_names_are_text_whatever_they_hold(name: str) -> None:
    records = (NodeRecord("Relu", name, name, (f"{name}in",)), NodeRecord(name, name, "out", (name,)))
    picture = picture_of_records(records, "gone", name)
    from graphopt.view.svg import render

    root = ET.fromstring(render([picture], label=name))
    assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {"svg", "title", "g", "rect", "path", "polygon", "text"}


def test_records_come_in_order_and_loose_ones_are_counted() -> None:
    chain = [
        NodeRecord("Add", "c", "c", ("b", "x")),
        NodeRecord("Abs", "b", "b", ("a",)),
        NodeRecord("Exp", "a", "a", ("x",)),
    ]
    picture = picture_of_records(chain, "gone", "before")
    assert [b.title for b in picture.boxes] == ["x", "Exp", "Abs", "Add", "c"]
    assert named_edges(picture) == {("x", "Exp"), ("Exp", "Abs"), ("Abs", "Add"), ("x", "Add"), ("Add", "c")}
    renamed = picture_of_records([NodeRecord("Identity", "", "y", ("y",))], "gone", "")
    assert named_edges(renamed) == {("y", "Identity"), ("Identity", "y")} and len(renamed.boxes) == 3
    loose = [NodeRecord("Constant", f"k{i}", f"k{i}") for i in range(40)]
    assert [b.title for b in picture_of_records([*chain, *loose], "gone", "").boxes][-1] == "40× Constant"


def test_a_step_shows_what_went_and_what_came() -> None:
    report = graphopt.optimize(demo_model()).report
    assert report is not None
    step = next(s for s in report.numbered() if s.name == "batch_norm_of_convolution")
    svg = draw(step).svg
    texts = [e.text for e in ET.fromstring(svg).iter(f"{SVG}text")]
    assert texts.count("Conv") == 2 and texts.count("BatchNormalization") == 1 and "→" in texts
    assert svg.count('stroke="#c8383a"') == 2 and svg.count('stroke="#2c8a45"') == 1


def test_a_rule_is_drawn_from_its_terms_and_its_source() -> None:
    @rule
    def both(x, a: Const, b: Const):
        scaled = domain("com.example").Scale(x, a)
        y = op.Relu(scaled) * b
        yield y
        if a.size > 1:
            return "no"
        k = a * b
        inner = op.Relu(x)
        yield op.Max(inner * k, -inner, axis=1)
        yield x

    left, right, other = pictures_of_rule(both)
    assert named_edges(left) == {
        ("x", "Scale"),
        ("a", "Scale"),
        ("Scale", "Relu"),
        ("Relu", "Mul"),
        ("b", "Mul"),
        ("Mul", "result"),
    }
    assert named_edges(right) == {
        ("x", "Relu"), ("Relu", "Mul"), ("k", "Mul"), ("Mul", "Max"), ("Relu", "Neg"), ("Neg", "Max"), ("Max", "result"),
    }  # fmt: skip
    assert named_edges(other) == {("x", "result")}
    assert next(b for b in right.boxes if b.title == "Max").line == "axis=1"


def test_numbers_stand_in_the_boxes_of_both_sides() -> None:
    @rule
    def twice(x):
        yield op.Relu(x) + op.Relu(x)
        yield op.Relu(x) * 2.0

    _, right = pictures_of_rule(twice)
    assert [(b.title, b.line) for b in right.boxes if b.kind == "node"] == [("Relu", ""), ("Mul", "2.0")]


def test_an_operator_has_its_family_in_every_domain() -> None:
    assert family_of("Conv") == family_of("com.microsoft::FusedConv") == "product"
    assert family_of("com.example::Conv3") == "other"


def test_of_many_spellings_the_first_is_drawn() -> None:
    @rule
    def optional(x):
        yield maybe(op.Identity)(maybe(op.Identity)(maybe(op.Identity)(op.Abs(op.Abs(x)))))
        yield op.Abs(x)

    left, _ = pictures_of_rule(optional)
    assert left.note == f"the first of {len(optional.variants)} spellings" and "any of" not in [
        b.title for b in left.boxes
    ]


def test_every_rule_of_the_package_is_drawn() -> None:
    for r in all_rules().values():
        left, *right = pictures_of_rule(r)
        assert right and left.boxes and all(p.boxes for p in right), r.name
    for name in ("gelu", "attention", "normalization", "batch_norm_of_convolution"):
        ET.fromstring(draw(all_rules()[name]).svg)


def test_a_drawing_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    drawing = draw(model_of(BRANCHING))
    drawing.save(tmp_path / "g.svg")
    assert (tmp_path / "g.svg").read_text(encoding="utf-8") == drawing.svg == drawing._repr_svg_()
    with pytest.raises(SaveError, match="does not exist"):
        drawing.save(tmp_path / "no" / "g.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["g.svg"]


def test_without_igraph(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(BRANCHING)
    monkeypatch.setitem(sys.modules, "igraph", None)
    assert svg_of(model) is None and model._repr_svg_() is None
    assert "graphopt[view]" in model._repr_html_()
    with pytest.raises(MissingDependencyError, match=r"graphopt\[view\]"):
        draw(model)


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(ArgumentError, match="most must be"):
        draw(model_of(BRANCHING), most=0)
    with pytest.raises(ArgumentError, match="cannot load a model from int"):
        draw(3)


def test_an_empty_graph() -> None:
    graph = helper.make_graph([], "none", [], [])
    assert "nothing" in draw(helper.make_model(graph, ir_version=8)).svg
    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    ET.fromstring(draw(helper.make_model(helper.make_graph([], "same", [one], [one]), ir_version=8)).svg)
