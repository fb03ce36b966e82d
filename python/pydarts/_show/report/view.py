"""The data for the report's view of α: strengths, genotypes and cells at a bounded number of points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ..._results.gathered import TOGETHER, gathered
from ..._results.tables import all_names
from ..._results.trajectory import Trajectory
from ..._values.notations import Edges
from ..palette import looks_of
from ..plots.points import cell_space, places, state_of
from .pictures import cell_picture

Kept: TypeAlias = tuple[tuple[int, int], ...]
"""The operations of a derived cell as (row, number of the name), in the order of rows."""

# Most screens do not allow finer positions of a slider.
POINTS = 101
# Mixing weights on the page, about 9 bytes each; a space with many edges is shown at fewer points.
WEIGHTS = 50_000
# Plots of distinct cells, 0.2 seconds and 8 kB each; if the cell changes at every point, points are left
# out.
CELLS = 120


@dataclass(frozen=True)
class View:
    """α for the report."""

    data: dict[str, Any]
    """Plain data for the script: points, operations, and the tables with rows and weights."""
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
    path = gathered(path)
    time, unit = path.time
    numbers = sum(
        len(table.rows) * (table.columns if table.sparse else len(table.names))
        for table in path.tables.values()
    )
    change = 0 if path.space is None else path.last_change
    most = max(2, min(POINTS, WEIGHTS // numbers))
    while True:
        points = thin(len(path), most, keep={max(change - 1, 0), change})
        if (
            most <= 2
            or path.space is None
            or sum(len(set(cells(path, table, points))) for table in path.alphas) <= CELLS
        ):
            break
        most = 2 * most // 3
    tables, pictures = [], []
    for table in path.alphas:
        kept = cells(path, table, points)
        numbered = {cell: f"cell-{table}-{number}" for number, cell in enumerate(dict.fromkeys(kept))}
        if path.space is not None:
            pictures += [(name, _picture(path, table, cell)) for cell, name in numbered.items()]
        tables.append(
            {
                **_table(path, table, points),
                "kept": kept,
                "cells": [numbered[cell] for cell in kept] if path.space is not None else [],
            }
        )
    data = {
        "unit": unit,
        "times": time[points].tolist(),
        "moments": [", ".join(path.relaxation_in_words(point)) for point in points],
        "operations": [
            {"name": name, "color": look.color, "dash": dash(look.style)}
            for name, look in looks_of(all_names(path.tables)).items()
        ],
        "tables": tables,
        "cells": path.space is not None,
    }
    return View(data, tuple(pictures))


def _table(path: Trajectory, table: str, points: Sequence[int]) -> dict[str, Any]:
    """Return rows, operations and weights of a table; a weight that is masked or does not exist is None.

    The columns of a sparse table are positions, and `own` has the operations of every row.
    """
    names = path.tables[table]
    found = [places(path, table, at) for at in points]
    weights = np.stack([values for values, _, _ in found]).round(6)
    known = weights[np.isfinite(weights)]
    everything = all_names(path.tables)
    return {
        "name": table,
        "rows": [names.name if names.single else names.words(row) for row in range(len(names.rows))],
        "said": ["" if names.single or table == TOGETHER else table for _ in names.rows],
        "operations": [everything.index(name) for name in names.names],
        "own": [[everything.index(name) for name in row] for row in names.candidates]
        if names.sparse
        else None,
        "low": float(known.min(initial=0.0 if not known.size else np.inf)),
        "high": float(known.max(initial=0.0 if not known.size else -np.inf)),
        "equal": path.equal(table).round(6).tolist(),
        "weights": np.where(np.isfinite(weights), weights.astype(object), np.array(None)).tolist(),
        "masked": [_places(masked) for _, masked, _ in found],
        "states": [[state_of(path, table, row, at) for row in range(len(names.rows))] for at in points],
    }


def _places(masked: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Return the rows and columns of masked candidates."""
    found: list[list[int]] = np.argwhere(masked).tolist()
    return found


def cells(path: Trajectory, table: str, points: Iterable[int]) -> list[Kept]:
    """Return the derived cells at some points, regardless of the order of edges into a node."""
    names = path.tables[table]
    columns = names.candidates if names.sparse else [names.names] * len(names.rows)
    return [
        tuple(sorted((row, columns[row].index(name)) for row, name in path.kept(table, point)))
        for point in points
    ]


def edges_of(path: Trajectory, table: str, kept: Kept) -> Edges:
    """Return the edges of a derived cell."""
    names = path.tables[table]
    return tuple((names.names[column], *names.edges[row]) for row, column in kept)


def _picture(path: Trajectory, table: str, kept: Kept) -> Markup:
    """Draw a derived cell."""
    space = cell_space(path)
    return cell_picture(table, edges_of(path, table, kept), space.concat, space)


def dash(style: str | tuple[float, tuple[float, ...]]) -> str:
    """Convert a line style of matplotlib to plotly, for a line of two pixels.

    >>> dash("-"), dash((0, (4, 1)))
    ('solid', '8px,2px')
    """
    return "solid" if isinstance(style, str) else ",".join(f"{2 * length:g}px" for length in style[1])
