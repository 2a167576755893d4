"""How things are shown. Notebooks ask what they show, and that asks `graphopt.view` by name: no import points up there."""

from __future__ import annotations

import importlib
from typing import Any


def html_of(thing: Any) -> str:
    """What a notebook shows of it: for `_repr_html_`."""
    text: str = importlib.import_module("graphopt.view.notebook").html_of(thing)
    return text


def svg_of(thing: Any) -> str | None:
    """Its drawing: for `_repr_svg_`; None where nothing can be drawn, so that a notebook shows text."""
    text: str | None = importlib.import_module("graphopt.view").svg_of(thing)
    return text
