"""Helpers of plots of a trajectory: tables, points and ranges."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..._results.gathered import gathered
from ..._results.tables import AlphaTable
from ..._results.trajectory import Trajectory
from ..._values.space import Space
from ..._values.words import listed, shown

Edges: TypeAlias = Sequence[tuple[int, int] | str]
"""Rows of tables: edges as pairs of nodes, numbered as in `space.edges`, or names of choices."""


def checked(path: Trajectory) -> Trajectory:
    """Return a trajectory; raise TypeError for any other value."""
    if not isinstance(path, Trajectory):
        raise TypeError(f"expected a Trajectory such as result.trajectory, got a {type(path).__name__}")
    return path


def cell_space(path: Trajectory) -> Space:
    """Return the space of a trajectory; raise TypeError if it has none, so that there is no cell to draw."""
    if path.space is None:
        raise TypeError(
            f"the tables {', '.join(path.alphas)} do not belong to cells: there is no cell to draw"
        )
    return path.space


def tables(path: Trajectory, cell: str | None) -> list[str]:
    """Return the names of the tables to draw; raise ValueError for an unknown name."""
    checked(path)
    if cell is not None and cell not in path.alphas:
        raise ValueError(f"no table {shown(cell)}; choose from {', '.join(path.alphas)}")
    return list(path.alphas) if cell is None else [cell]


def drawn(
    path: Trajectory, cell: str | None, most: int, edges: Edges | None = None
) -> tuple[Trajectory, dict[str, list[int]]]:
    """Return the trajectory to draw, and by the names of its tables the rows.

    Without `cell`, the choices of a network of your own are rows of one table. Without `edges`, its tables
    are cut to `most` rows; `cut_of` says so.
    """
    names = tables(path, cell)
    if path.space is None:
        path = gathered(path if cell is None else only(path, cell), most if edges is None else None)
        names = list(path.alphas)
    return path, rows_of(path, names, edges)


def only(path: Trajectory, table: str) -> Trajectory:
    """Return a trajectory of one table."""
    given = None if path.given is None else {table: path.given[table]}
    decisions = [entry for entry in path.decisions if entry[1].get("table", table) == table]
    tables = {table: path.tables[table]}
    return replace(path, alphas={table: path.alphas[table]}, tables=tables, given=given, decisions=decisions)


def rows_of(path: Trajectory, names: Sequence[str], edges: Edges | None) -> dict[str, list[int]]:
    """Return the rows to draw of each table: those of `edges`, or all. Tables without a row are left out.

    Raises:
        ValueError: an edge that no table has.

    >>> table = AlphaTable("cell", ("0->2", "1->2"), (("x",),) * 2, edges=((0, 2), (1, 2)), inputs=2)
    >>> path = Trajectory({"cell": np.zeros((1, 2, 1))}, (0,), None, 0, tables={"cell": table})
    >>> rows_of(path, ["cell"], [(1, 2)])
    {'cell': [1]}
    """
    if edges is None:
        return {name: list(range(len(path.tables[name].rows))) for name in names}
    wanted = [edge if isinstance(edge, str) else tuple(edge) for edge in edges]
    known = {name: _edges_of(path.tables[name]) for name in names}
    every = list(dict.fromkeys(edge for found in known.values() for edge in found))
    for edge in wanted:
        if edge not in every:
            raise ValueError(f"no edge {shown(edge)}; choose from {listed(every)}")
    rows = {name: [row for row, edge in enumerate(found) if edge in wanted] for name, found in known.items()}
    return {name: found for name, found in rows.items() if found}


def _edges_of(table: AlphaTable) -> Sequence[object]:
    """Return what names the rows of a table: pairs of nodes, or names of choices."""
    return table.edges or ([table.name] if table.single else table.rows)


def cut_of(path: Trajectory, cut: Trajectory, table: str) -> str:
    """Return ", first 40 of 200" for a table that `drawn` has cut, else nothing.

    >>> cut_of(path := Trajectory({"a": np.zeros((1, 1, 2))}, (0,), None, 0,
    ...        tables={"a": AlphaTable("a", ("0",), (("x", "y"),))}), path, "a")
    ''
    """
    shown = len(cut.tables[table].rows)
    known = path.tables if table in path.tables else gathered(path).tables
    every = len(known[table].rows) if table in known else shown
    return f", first {shown} of {every}" if shown < every else ""


def places(
    path: Trajectory, table: str, at: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], list[Sequence[str]]]:
    """Return strengths [rows, columns], where candidates are masked, and the candidates of every row.

    There is a column per name; of a sparse table one per position, so that no column is almost empty.
    """
    names = path.tables[table]
    if not names.sparse:
        return path.shown(table, at), path.masked(table, at), [names.names] * len(names.rows)
    values, lost = path.weights(table, at), np.isnan(path.alphas[table][at])
    return np.where(lost, np.nan, values), lost & ~names.padding, list(names.candidates)


def point(path: Trajectory, at: int) -> int:
    """Return the index of a point of the trajectory, counted from the first.

    Raises IndexError for a point that does not exist, TypeError for a value that is not an integer.
    """
    at = operator.index(at)
    if not -len(path) <= at < len(path):
        raise IndexError(f"at is {at}; the trajectory has {len(path)} points, 0 to {len(path) - 1}")
    return at % len(path)


def moment(path: Trajectory, at: int) -> str:
    """Describe a point of the trajectory, for example "epoch 12", or "epoch 12, gumbel, temperature 0.5"."""
    times, unit = path.time
    return ", ".join([f"{unit} {times[at]:g}", *path.relaxation_in_words(at)])


def limits(weights: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """Return one range for all panels, wide enough that noise does not look large. NaN has no effect.

    >>> limits([np.array([0.2, np.nan, 1.0])])
    (0.15200000000000002, 1.0)
    """
    known = [w[np.isfinite(w)] for w in weights]
    known = [w for w in known if w.size] or [np.zeros(1)]
    low, high = min(float(w.min()) for w in known), max(float(w.max()) for w in known)
    return widened(low, high, max(0.06 * (high - low), 0.0002))


def widened(low: float, high: float, margin: float) -> tuple[float, float]:
    """Widen a range; that of shares of 1 stays within 0 and 1, other weights may be any numbers.

    >>> widened(0.0, 0.5, 0.1), widened(-1.0, 2.0, 0.5)
    ((0.0, 0.6), (-1.5, 2.5))
    """
    least = 0.0 if low >= 0 else low - margin
    most = 1.0 if high <= 1 else high + margin
    return max(least, low - margin), min(most, high + margin)


def decimals(weights: Sequence[npt.NDArray[np.float64]]) -> int:
    """Return the number of decimals, 3 to 5, that shows a twentieth of the spread of the weights.

    >>> [decimals([np.array([0.125, 0.125 + spread])]) for spread in (0.3, 0.01, 0.001, 0.0)]
    [3, 4, 5, 3]
    """
    known = np.concatenate([w[np.isfinite(w)] for w in weights])
    spread = float(np.ptp(known)) if known.size else 0.0
    return min(5, max(3, math.ceil(-math.log10(spread / 20)))) if spread > 1e-9 else 3


def grid(table: AlphaTable, rows: Sequence[int] | None = None) -> tuple[list[tuple[int, int]], int, int]:
    """Return the panel of every row as (column, row), and the numbers of columns and rows of panels.

    `rows` are those that are drawn; None: all. If all edges are drawn, they are in the column of their source
    and the row of their target; otherwise panels fill a square.

    >>> grid(AlphaTable("mine", ("a", "b", "c"), (("x",),) * 3))
    ([(0, 0), (1, 0), (0, 1)], 2, 2)
    """
    rows = range(len(table.rows)) if rows is None else rows
    if table.edges and len(rows) == len(table.rows):
        places = [(i, j - table.inputs) for i, j in table.edges]
    else:
        width = max(1, math.ceil(math.sqrt(len(rows))))
        places = [(number % width, number // width) for number in range(len(rows))]
    return places, max(x for x, _ in places) + 1, max(y for _, y in places) + 1


def state_of(path: Trajectory, table: str, row: int, at: int = -1) -> str:
    """Return " (removed)" or " (decided)" for a row that does not move any more, else nothing."""
    if path.dropped(table, at)[row]:
        return " (removed)"
    return " (decided)" if path.frozen(table, at)[row] else ""
