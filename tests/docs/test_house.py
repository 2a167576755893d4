"""The list of floors in docs/architecture.md is what the code does."""

from __future__ import annotations

import ast

from docs.generate import house


def test_imports_point_down() -> None:
    found = [f"{i.importer} imports {i.imported}, which docs/architecture.md has above it" for i in house.upward()]
    assert not found, "\n".join(found)


def test_every_module_has_a_floor() -> None:
    assert not house.unlisted(), "give it a floor in the list at the top of docs/architecture.md"


def test_floors_hold_what_there_is() -> None:
    known = house.modules()
    names = [n for f in house.floors() for n in f.names]
    assert len(names) == len(set(names)) and len(house.floors()) > 15
    assert [n for n in names if n not in known] == []


def test_what_an_import_is() -> None:
    text = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from graphopt.cli import app\n"
        "from graphopt.ir import load\ndef f():\n    from graphopt import pipeline\n    class C:\n        import graphopt.tuning\n"
    )
    found = set(house._imports(ast.parse(text), False))
    assert found == {
        ("typing.TYPE_CHECKING", False), ("graphopt.ir.load", False), ("graphopt.pipeline", True), ("graphopt.tuning", True),
    }  # fmt: skip


def test_an_import_that_points_up_is_found(monkeypatch) -> None:
    monkeypatch.setattr(house, "imports", lambda: [
        house.Import("graphopt.ir.load", "graphopt.pipeline", False), house.Import("graphopt.ir.load", "graphopt.cli", True),
        house.Import("graphopt.cli.rules", "graphopt.ir", False),
    ])  # fmt: skip
    assert [i.imported for i in house.upward()] == ["graphopt.pipeline"]


def test_the_drawing_has_every_floor() -> None:
    drawn = house.drawing()
    assert drawn.count('<g class="floor">') == len(house.floors())
    assert drawn.count("<path") > 40
