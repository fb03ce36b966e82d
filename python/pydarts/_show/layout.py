"""Layout of a cell's graph in layers, in which no line crosses a box."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import networkx as nx  # type: ignore[import-untyped]

Node: TypeAlias = Hashable
Edge: TypeAlias = tuple[Node, Node, int]

_BOX, _LANE = 1.0, 0.55  # heights of an operation's box and of a line that passes it
_SWEEPS = 6


@dataclass(frozen=True)
class Layout:
    """Positions: layers from left to right, heights upwards."""

    layer: dict[Node, int]
    height: dict[Node, float]
    """Height of every node."""
    lanes: dict[Edge, list[float]]
    """Height of every edge in each layer after its source's layer; the last is that of its target's layer."""
    extent: float
    """Lowest and highest position."""


def depths(graph: nx.MultiDiGraph) -> dict[Node, int]:
    """Return the length of the longest path to each node from a node without predecessors.

    The layer of a node is at least its attribute `layer`.
    """
    found: dict[Node, int] = {}
    for node in nx.topological_sort(graph):
        after = 1 + max((found[before] for before in graph.predecessors(node)), default=-1)
        found[node] = max(after, graph.nodes[node].get("layer", 0))
    return found


def layout(graph: nx.MultiDiGraph) -> Layout:
    """Order every layer by the positions of connected nodes, in several sweeps."""
    layer = depths(graph)
    edges: list[Edge] = list(graph.edges(keys=True))
    items: list[list[Any]] = [[] for _ in range(max(layer.values()) + 1)]
    for node in graph.nodes:
        items[layer[node]].append(node)
    for edge in edges:
        for between in range(layer[edge[0]] + 1, layer[edge[1]]):
            items[between].append((edge, between))
    height: dict[Any, float] = {}
    for column in items:
        _stack(column, graph, height)
    before, after = _neighbours(edges, layer)
    for sweep in range(2 * _SWEEPS + 1):
        forward = sweep % 2 == 0
        for column in items if forward else reversed(items):
            near = before if forward else after
            wish = {
                item: _mean([height[other] for other in near.get(item, [])], height[item]) for item in column
            }
            column.sort(key=lambda item: -wish[item])
            _stack(column, graph, height)
    lanes = {
        edge: [height[edge, between] for between in range(layer[edge[0]] + 1, layer[edge[1]])]
        + [height[edge[1]]]
        for edge in edges
    }
    for node in graph.nodes:  # boxes before a node are in the order of the lines that enter them
        entering = [edge for edge in edges if edge[1] == node and graph.edges[edge]["operation"] is not None]
        entering.sort(key=lambda edge: -(lanes[edge][-2] if len(lanes[edge]) > 1 else height[edge[0]]))
        for position, edge in enumerate(entering):
            lanes[edge][-1] = height[node] + ((len(entering) - 1) / 2 - position) * _BOX
    highest = max(sum(_size(item, graph) for item in column) for column in items)
    return Layout(layer, {node: height[node] for node in graph.nodes}, lanes, highest)


def _neighbours(
    edges: list[Edge], layer: dict[Node, int]
) -> tuple[dict[Any, list[Any]], dict[Any, list[Any]]]:
    """Return the connected nodes and lanes of each node and lane, one layer before and one after."""
    before: dict[Any, list[Any]] = {}
    after: dict[Any, list[Any]] = {}
    for edge in edges:
        source, target, _ = edge
        way: list[Any] = [source, *((edge, k) for k in range(layer[source] + 1, layer[target])), target]
        for one, other in pairwise(way):
            after.setdefault(one, []).append(other)
            before.setdefault(other, []).append(one)
    return before, after


def _size(item: Any, graph: nx.MultiDiGraph) -> float:
    if item not in graph:
        return _LANE
    boxes = sum(data["operation"] is not None for _, _, data in graph.in_edges(item, data=True))
    return _BOX * max(1, boxes) + 0.25


def _stack(column: list[Any], graph: nx.MultiDiGraph, height: dict[Any, float]) -> None:
    """Stack the items of a layer, centred at zero."""
    sizes = [_size(item, graph) for item in column]
    top = sum(sizes) / 2
    for item, size in zip(column, sizes, strict=True):
        height[item] = top - size / 2
        top -= size


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default
