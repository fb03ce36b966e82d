"""The data for the report's view of α: weights, genotypes and cells at a bounded number of points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from markupsafe import Markup

from ..._results.trajectory import Trajectory
from ..._values.genotype import Genotype
from ..._values.notations import Edges
from ..._values.space import Space
from ..._values.words import edge_in_words
from ..palette import look_of
from .pictures import cell_picture

Kept: TypeAlias = tuple[tuple[int, int], ...]
"""The operations of a derived cell as (row, column) of the α table, in the order of rows."""

# Most screens do not allow finer positions of a slider.
POINTS = 101
# Softmax weights on the page, about 9 bytes each; a space with many edges is shown at fewer points.
WEIGHTS = 50_000
# Plots of distinct cells, 0.2 seconds and 8 kB each; if the cell changes at every point, points are left
# out.
CELLS = 120


@dataclass(frozen=True)
class View:
    """α for the report."""

    data: dict[str, Any]
    """Plain data for the script: points, edges, operations, and the tables with their weights."""
    pictures: tuple[tuple[str, Markup], ...]
    """The distinct cells by their names in `data`."""


def thin(points: int, most: int, keep: Iterable[int] = ()) -> list[int]:
    """Choose at most `most` evenly spaced points, and `keep`, including the first and the last.

    >>> thin(4, 10), thin(101, 3), thin(101, 3, keep=[7])
    ([0, 1, 2, 3], [0, 50, 100], [0, 7, 50, 100])
    """
    if points <= most:
        return list(range(points))
    even = np.linspace(0, points - 1, most).round().astype(int)
    return sorted({*even.tolist(), *keep})


def view(path: Trajectory) -> View:
    """Return the view of a trajectory."""
    space, (time, unit) = path.space, path.time
    numbers = len(path.alphas) * len(space.edges) * len(space.operations)
    change = path.last_change
    most = max(2, min(POINTS, WEIGHTS // numbers))
    while True:
        points = thin(len(path), most, keep={max(change - 1, 0), change})
        if most <= 2 or sum(len(set(cells(path, table, points))) for table in path.alphas) <= CELLS:
            break
        most = 2 * most // 3
    tables, pictures = [], []
    for table in path.alphas:
        weights = path.weights(table)[points]
        kept = cells(path, table, points)
        numbered = {cell: f"cell-{table}-{number}" for number, cell in enumerate(dict.fromkeys(kept))}
        pictures += [
            (name, cell_picture(table, *edges_of(cell, space), space)) for cell, name in numbered.items()
        ]
        tables.append(
            {
                "name": table,
                "low": float(weights.min()),
                "high": float(weights.max()),
                "weights": weights.round(6).tolist(),
                "kept": kept,
                "cells": [numbered[cell] for cell in kept],
            }
        )
    data = {
        "unit": unit,
        "times": time[points].tolist(),
        "edges": [edge_in_words(edge, space.inputs) for edge in space.edges],
        "operations": [
            {"name": name, "color": look_of(name).color, "dash": dash(look_of(name).style)}
            for name in space.operations
        ],
        "tables": tables,
    }
    return View(data, tuple(pictures))


def cells(path: Trajectory, table: str, points: Iterable[int]) -> list[Kept]:
    """Return the derived cells at some points."""
    return [kept_of(path.genotypes[point], table, path.space) for point in points]


def kept_of(genotype: Genotype, table: str, space: Space) -> Kept:
    """Return what a genotype keeps, regardless of the order of edges into a node."""
    return tuple(
        sorted(
            (space.edges.index((source, target)), space.operations.index(operation))
            for operation, source, target in genotype.edges(table)
        )
    )


def edges_of(kept: Kept, space: Space) -> tuple[Edges, tuple[int, ...]]:
    """Return the edges of a cell, and the nodes of its output."""
    return tuple((space.operations[column], *space.edges[row]) for row, column in kept), space.concat


def dash(style: str | tuple[float, tuple[float, ...]]) -> str:
    """Convert a line style of matplotlib to plotly, for a line of two pixels.

    >>> dash("-"), dash((0, (4, 1)))
    ('solid', '8px,2px')
    """
    return "solid" if isinstance(style, str) else ",".join(f"{2 * length:g}px" for length in style[1])
