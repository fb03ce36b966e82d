"""Heat map of the mixing weights at one point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation

from ..._results.trajectory import Trajectory
from ..palette import looks_of, text_on
from .points import cut_of, decimals, drawn, limits, moment, places, point, state_of
from .style import FAINT, INK, LONGEST, Margins, inches, panels, row_name, title

# Grey, so that only the frames are coloured; numbers are legible on the darkest shade.
_SHADES = LinearSegmentedColormap.from_list("weights", mpl.colormaps["Greys"](np.linspace(0, 0.8, 64)))
_MARGINS = (0.8, 0.5, 0.1, 1.15)
ROWS = 60  # of a table that is no cell: a row takes a quarter of an inch
EDGE = "edge"  # the column of the weights of edges
_APART = 0.12  # of a column: between the mixing weights and that column
_LETTER = 0.075  # inches: width of a letter of a name in a box


def weights(
    path: Trajectory, *, at: int = -1, cell: str | None = None, ax: Axes | None = None
) -> npt.NDArray[Any]:
    """Draw the mixing weights at one point as a heat map, one row per edge, one column per operation.

    Where edges have weights of their own (`edge_normalization`), mixing weights are products with them, and a
    column to the right, "edge", has the weights of the edges, shares of 1 among the edges into a node.

    A frame marks what the genotype of that point keeps: for each node its strongest edges, each with its
    strongest operation (paper, section 2.4). Lines separate the edges of different nodes. Weights are written
    with as many decimals, 3 to 5, as are needed to distinguish them. A cross marks an operation that was
    removed; a place is empty where an edge has no such operation.

    The choices of a network of your own are the rows of one heat map, the first 60 of them; frames mark the
    strongest candidates. If the choices have different candidates, these are named in their boxes.

    Args:
        path: α over time, `result.trajectory`.
        at: number of the point, 0 … T - 1, or counted from the end; -1 is the last.
        cell: name of one table; None: all tables, in a row.
        ax: axes to draw into; None: a new figure.

    Returns:
        The axes of the heat maps as a flat array, one per table.

    Raises:
        ValueError: no such table.
        IndexError: no such point.

    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> space = Space(kind="recurrent", nodes=2)
    >>> path = Trajectory({"recurrent": np.zeros((3, 3, 5))}, range(3), space, 2)
    >>> (panel,) = plots.weights(path, at=0)
    >>> panel.get_title(loc="left")
    'recurrent, epoch 0'
    """
    whole, (path, names), at = path, drawn(path, cell, ROWS), point(path, at)
    columns, rows = size_of(path, names)
    left, right, below, above = margins(path, names)
    sides = width_of(path, names) * columns + left + right, 0.25 * rows + below + above
    _, made = panels(ax, 1, len(names), (sides[0] * len(names), sides[1]), (left, right, below, above))
    values = [path.shown(name, at) for name in names]
    shown, digits = limits(values), decimals(values)
    for axes, name in zip(made, names, strict=True):
        heat_map(axes, path, name, at, shown, digits)
        title(axes, f"{name}, {moment(path, at)}{cut_of(whole, path, name)}")
    return np.array(made, dtype=object)


def width_of(path: Trajectory, names: Sequence[str]) -> float:
    """Return the width of a column in inches: with names in the boxes, as wide as the longest."""
    inside = [path.tables[name] for name in names if path.tables[name].sparse]
    return max([0.52, *(_LETTER * (len(one) + 6) for table in inside for one in table.names)])


def margins(path: Trajectory, names: Sequence[str]) -> Margins:
    """Return the space around heat maps: on the left for the longest label of a row."""
    longest = max(
        min(len(path.tables[name].words(row)), LONGEST) + len(state_of(path, name, row))
        for name in names
        for row in range(len(path.tables[name].rows))
    )
    above = 0.35 if all(path.tables[name].sparse for name in names) else _MARGINS[3]
    return (max(_MARGINS[0], 0.085 * longest + 0.1), *_MARGINS[1:3], above)


def size_of(path: Trajectory, names: Sequence[str]) -> tuple[int, int]:
    """Return the largest numbers of columns and rows of some tables."""
    found = [path.tables[name] for name in names]
    columns = max(table.columns if table.sparse else len(table.names) for table in found)
    return columns + any(map(path.weighted, names)), max(len(table.rows) for table in found)


def heat_map(
    ax: Axes, path: Trajectory, table: str, at: int, shown: tuple[float, float], digits: int | None = None
) -> None:
    """Draw one table; `shown` are the weights of the lightest and the darkest colour.

    `digits` is the number of decimals of the written weights; None: weights are not written.
    """
    names, (values, masked, inside) = path.tables[table], places(path, table, at)
    rows, columns = values.shape
    looks = looks_of(names.names)
    ax.imshow(values, cmap=_SHADES, vmin=shown[0], vmax=shown[1], aspect="auto", interpolation="none")
    edges = path.edge_weights(table, at) if path.weighted(table) else None
    width, height = inches(ax)
    # A bold digit is 0.7 times as wide as high.
    letters = 2 + (digits or 0) + (1 + max(map(len, names.names)) if names.sparse else 0)
    size = min(7.5, 72 * 0.62 * height / rows, 72 * 1.35 * width / columns / letters)
    kept = path.kept(table, at)
    scale = Normalize(*shown)
    for row in range(rows):
        for column, operation in enumerate(inside[row]):
            chosen = (row, operation) in kept
            if chosen:
                frame = (column - 0.5 + 0.04, row - 0.5 + 0.06), 0.92, 0.88
                color = looks[operation].color
                ax.add_patch(Rectangle(*frame, fill=False, edgecolor=color, linewidth=2, zorder=3))
            if masked[row, column]:
                ax.plot(column, row, "x", color=FAINT, markersize=max(size, 3))
            elif np.isfinite(values[row, column]) and (digits is not None or names.sparse):
                number = "" if digits is None else f"{values[row, column]:.{digits}f}"
                named = operation.replace("$", r"\$") if names.sparse else ""
                ax.text(
                    column,
                    row,
                    f"{named} {number}".strip(),
                    ha="center",
                    va="center",
                    fontsize=size,
                    fontweight="bold" if chosen else "normal",
                    color=text_on(_SHADES(scale(values[row, column]))),
                )
    if edges is not None:
        _edge_column(ax, edges, columns, size if digits is not None else None)
    for row in range(1, len(names.edges)):
        if names.edges[row][1] != names.edges[row - 1][1]:
            ax.axhline(row - 0.5, color=INK, linewidth=0.8)
    labels = [row_name(names, row) + state_of(path, table, row, at) for row in range(rows)]
    ax.set_yticks(range(rows), labels)
    ax.spines[:].set_visible(False)
    ax.tick_params(axis="y", length=0, labelcolor=INK, labelsize=min(8.0, 72 * 0.75 * height / rows))
    if names.sparse:
        ax.set_xticks([])
        return
    labels = [*names.names, *([] if edges is None else [EDGE])]
    ax.set_xticks(range(len(labels)), labels, rotation=40, ha="left", rotation_mode="anchor")
    ax.tick_params(length=0, labelcolor=INK, top=False, labeltop=True, bottom=False, labelbottom=False)
    ax.tick_params(axis="x", labelsize=min(8.0, 72 * 0.4 * width / columns), pad=8)
    above = ax.get_xaxis_transform() + ScaledTranslation(0, 4 / 72, ax.figure.dpi_scale_trans)
    for column, operation in enumerate(names.names):  # labels in the colours of the operations
        ax.plot(
            [column - 0.4, column + 0.4],
            [1, 1],
            color=looks[operation].color,
            linewidth=3,
            solid_capstyle="butt",
            transform=above,
            clip_on=False,
        )


def _edge_column(ax: Axes, weights: npt.NDArray[np.float64], column: int, size: float | None) -> None:
    """Draw the weights of edges in a column of their own, from 0 to 1; `size` is that of the numbers."""
    for row, weight in enumerate(weights.tolist()):
        shade = _SHADES(weight)
        place = (column - 0.5 + _APART, row - 0.5), 1 - _APART, 1
        ax.add_patch(Rectangle(*place, facecolor=shade, edgecolor="none"))
        if size is not None:
            at = column + _APART / 2, row
            ax.text(*at, f"{weight:.2f}", ha="center", va="center", fontsize=size, color=text_on(shade))
    ax.set_xlim(-0.5, column + 0.5)
