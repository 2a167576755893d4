"""Where boxes and edges go: layers from top to bottom, few crossings (Sugiyama, Tagawa and Toda, 1981, as igraph has it)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from graphopt.errors import MissingDependencyError
from graphopt.view import NEEDS_IGRAPH
from graphopt.view.picture import Box, Picture

Point = tuple[float, float]

_CHARACTER, _SMALL_CHARACTER = 7.4, 5.8  # widths of text, of titles and of the lines below
_PADDING, _GAP = 18.0, 22.0
_NARROWEST, _WIDEST = 46.0, 220.0
_HIGH, _LOW, _LAYER_GAP = 38.0, 25.0, 30.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture with coordinates.

    Attributes:
        centres: of the boxes.
        sizes: width and height of each.
        routes: of each edge, the points that it goes through, the ends on the boxes' borders.
    """

    picture: Picture
    centres: tuple[Point, ...]
    sizes: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def place(picture: Picture) -> Placed:
    """Lay a picture out.

    Raises:
        MissingDependencyError: igraph is not installed.
    """
    boxes = picture.boxes
    if not boxes:
        return Placed(picture, (), (), (), 0.0, 0.0)
    layers = _layers(picture)
    lines, hops = [*layers], []  # an edge over several layers goes through points of its own in between
    pairs: list[tuple[int, int]] = []
    for edge in picture.edges:
        chain = [edge.source]
        for layer in range(layers[edge.source] + 1, layers[edge.target]):
            chain.append(len(lines))
            lines.append(layer)
        chain.append(edge.target)
        pairs += pairwise(chain)
        hops.append(chain)
    columns = _columns(len(lines), pairs, lines)
    sizes = tuple(_size(box) for box in boxes)
    xs = _spread(columns, lines, [*(w for w, _ in sizes), *[8.0] * (len(lines) - len(boxes))])
    tops, bottom = [], 0.0
    for layer in range(max(layers) + 1):
        tall = max((sizes[i][1] for i, at in enumerate(layers) if at == layer), default=_LOW)
        tops.append(bottom + tall / 2)
        bottom += tall + _LAYER_GAP
    centres = tuple((xs[i], tops[layers[i]]) for i in range(len(boxes)))
    routes = []
    for chain in hops:
        ends = (chain[0], chain[-1])
        points = [(xs[i], tops[lines[i]]) for i in chain]
        points[0] = (points[0][0], points[0][1] + sizes[ends[0]][1] / 2)
        points[-1] = (points[-1][0], points[-1][1] - sizes[ends[1]][1] / 2)
        routes.append(tuple(points))
    right = max(x + w / 2 for (x, _), (w, _) in zip(centres, sizes))
    return Placed(picture, centres, sizes, tuple(routes), max(right, *xs), bottom - _LAYER_GAP)


def _layers(picture: Picture) -> list[int]:
    """The layer of each box: below all that it reads; what reads nothing is just above the first that reads it."""
    layers = [0] * len(picture.boxes)
    readers: dict[int, list[int]] = {}
    for edge in sorted(picture.edges, key=lambda e: e.target):
        layers[edge.target] = max(layers[edge.target], layers[edge.source] + 1)
        readers.setdefault(edge.source, []).append(edge.target)
    reading = {edge.target for edge in picture.edges}
    for i in readers:
        if i not in reading:
            layers[i] = min(layers[r] for r in readers[i]) - 1
    return layers


def _columns(count: int, pairs: list[tuple[int, int]], layers: list[int]) -> list[float]:
    igraph = _igraph()
    graph = igraph.Graph(n=count, edges=pairs, directed=True)
    return [x for x, _ in graph.layout_sugiyama(layers=layers, hgap=1.0, vgap=1.0, maxiter=100).coords[:count]]


def _spread(columns: list[float], layers: list[int], widths: list[float]) -> list[float]:
    """Columns as coordinates: as far apart as the boxes of each layer need, no further than that asks for."""
    scale = min(_GAP + sorted(widths)[len(widths) * 3 // 4], _WIDEST)
    xs = [column * scale for column in columns]
    by_layer: dict[int, list[int]] = {}
    for i in sorted(range(len(xs)), key=lambda i: xs[i]):
        by_layer.setdefault(layers[i], []).append(i)
    for row in by_layer.values():
        for left, right in pairwise(row):
            least = xs[left] + (widths[left] + widths[right]) / 2 + _GAP / 2
            xs[right] = max(xs[right], least)
    first = min(x - w / 2 for x, w in zip(xs, widths))
    return [x - first for x in xs]


def _size(box: Box) -> Point:
    text = max(len(box.title) * _CHARACTER, len(box.line) * _SMALL_CHARACTER)
    return min(max(text + _PADDING, _NARROWEST), _WIDEST), _HIGH if box.line else _LOW


def _igraph() -> Any:
    try:
        import igraph
    except ImportError as e:
        raise MissingDependencyError(NEEDS_IGRAPH) from e
    return igraph
