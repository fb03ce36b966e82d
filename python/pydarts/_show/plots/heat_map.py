"""Heat map of the mixing weights at one point."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation

from ..._results.trajectory import Trajectory
from ..._values.plot import Plot, Style
from ..palette import looks_of, text_on
from .canvas import Canvas
from .points import Edges, cut_of, decimals, drawn, limits, moment, places, point, state_of
from .style import FAINT, INK, LONGEST, Margins, inches, row_name, title

# Grey, so that only the frames are coloured; numbers are legible on the darkest shade.
_SHADES = LinearSegmentedColormap.from_list("weights", mpl.colormaps["Greys"](np.linspace(0, 0.8, 64)))
_MARGINS = (0.8, 0.5, 0.1, 1.2)
ROWS = 60  # of a table that is no cell: a row takes a quarter of an inch
EDGE = "edge"  # the column of the weights of edges
_APART = 0.12  # of a column: between the mixing weights and that column
_LETTER = 0.075  # inches: width of a letter of a name in a box


def weights(
    trajectory: Trajectory,
    *,
    at: int = -1,
    cell: str | None = None,
    edges: Edges | None = None,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
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
        trajectory: α over time, `result.trajectory`.
        at: number of the point, 0 … T - 1, or counted from the end; -1 is the last.
        cell: name of one table; None: all tables, in a row.
        edges: rows to draw: edges as pairs of nodes, numbered as in `space.edges`, or names of choices; None:
            all.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot, whose axes are the heat maps, one per table.

    Raises:
        ValueError: no such table, edge or style.
        IndexError: no such point.

    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> space = Space(kind="recurrent", nodes=2)
    >>> path = Trajectory({"recurrent": np.zeros((3, 3, 5))}, range(3), space, 2)
    >>> (panel,) = plots.weights(path, at=0)
    >>> panel.get_title(loc="left")
    'recurrent, epoch 0'
    """
    canvas, at = Canvas(ax, path, figsize, style), point(trajectory, at)
    cut, chosen = drawn(trajectory, cell, ROWS, edges)
    columns, rows = size_of(cut, chosen)
    left, right, below, above = margins(cut, chosen)
    sides = width_of(cut, chosen) * columns + left + right, 0.25 * rows + below + above
    _, made = canvas.panels(1, len(chosen), (sides[0] * len(chosen), sides[1]), (left, right, below, above))
    values = [cut.shown(name, at)[found] for name, found in chosen.items()]
    shown, digits = limits(values), decimals(values)
    for axes, (name, found) in zip(made, chosen.items(), strict=True):
        fill(axes, cut, name, at, shown, found, digits, canvas.least)
        label(axes, cut, name, at, found)
        title(axes, f"{name}, {moment(cut, at)}{cut_of(trajectory, cut, name)}", pad=10)
    return canvas.plot(made)


def width_of(path: Trajectory, names: Iterable[str]) -> float:
    """Return the width of a column in inches: with names in the boxes, as wide as the longest."""
    inside = [path.tables[name] for name in names if path.tables[name].sparse]
    return max([0.52, *(_LETTER * (len(one) + 6) for table in inside for one in table.names)])


def margins(path: Trajectory, chosen: Mapping[str, Sequence[int]]) -> Margins:
    """Return the space around heat maps: on the left for the longest label of a row."""
    longest = max(
        min(len(path.tables[name].words(row)), LONGEST) + len(state_of(path, name, row))
        for name, rows in chosen.items()
        for row in rows
    )
    above = 0.35 if all(path.tables[name].sparse for name in chosen) else _MARGINS[3]
    return (max(_MARGINS[0], 0.085 * longest + 0.1), *_MARGINS[1:3], above)


def size_of(path: Trajectory, chosen: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """Return the largest numbers of columns and rows of some tables."""
    found = [path.tables[name] for name in chosen]
    columns = max(table.columns if table.sparse else len(table.names) for table in found)
    return columns + any(map(path.weighted, chosen)), max(map(len, chosen.values()))


def fill(
    ax: Axes,
    path: Trajectory,
    table: str,
    at: int,
    shown: tuple[float, float],
    chosen: Sequence[int],
    digits: int | None = None,
    least: float = 0.0,
) -> None:
    """Draw the weights of the rows `chosen`; `shown` are those of the lightest and the darkest colour.

    `digits` is the number of decimals of the written weights; None: weights are not written. Nor are they if
    their letters would have fewer than `least` points.
    """
    names, (values, masked, inside) = path.tables[table], places(path, table, at)
    values, masked, columns = values[chosen], masked[chosen], values.shape[1]
    looks = looks_of(names.names)
    ax.imshow(values, cmap=_SHADES, vmin=shown[0], vmax=shown[1], aspect="auto", interpolation="none")
    edges = path.edge_weights(table, at)[chosen] if path.weighted(table) else None
    width, height = inches(ax)
    # A bold digit is 0.7 times as wide as high.
    letters = 2 + (digits or 0) + (1 + max(map(len, names.names)) if names.sparse else 0)
    size = min(7.5, 72 * 0.62 * height / len(chosen), 72 * 1.35 * width / columns / letters)
    if size < least and not names.sparse:
        digits = None
    kept = path.kept(table, at)
    scale = Normalize(*shown)
    for place, row in enumerate(chosen):
        for column, operation in enumerate(inside[row]):
            strongest = (row, operation) in kept
            if strongest:
                frame = (column - 0.5 + 0.04, place - 0.5 + 0.06), 0.92, 0.88
                color = looks[operation].color
                ax.add_patch(Rectangle(*frame, fill=False, edgecolor=color, linewidth=2, zorder=3))
            if masked[place, column]:
                ax.plot(column, place, "x", color=FAINT, markersize=max(size, 3))
            elif np.isfinite(values[place, column]) and (digits is not None or names.sparse):
                number = "" if digits is None else f"{values[place, column]:.{digits}f}"
                named = operation.replace("$", r"\$") if names.sparse else ""
                ax.text(
                    column,
                    place,
                    f"{named} {number}".strip(),
                    ha="center",
                    va="center",
                    fontsize=size,
                    fontweight="bold" if strongest else "normal",
                    color=text_on(_SHADES(scale(values[place, column]))),
                )
    if edges is not None:
        _edge_column(ax, edges, columns, size if digits is not None else None)
    if names.edges:
        for place in range(1, len(chosen)):
            if names.edges[chosen[place]][1] != names.edges[chosen[place - 1]][1]:
                ax.axhline(place - 0.5, color=INK, linewidth=0.8)


def label(ax: Axes, path: Trajectory, table: str, at: int, chosen: Sequence[int]) -> None:
    """Name the rows `chosen`, and above them the columns, in the colours of the operations."""
    names, (width, height) = path.tables[table], inches(ax)
    columns = places(path, table, at)[0].shape[1]
    labels = [row_name(names, row) + state_of(path, table, row, at) for row in chosen]
    ax.set_yticks(range(len(chosen)), labels)
    ax.spines[:].set_visible(False)
    ax.tick_params(axis="y", length=0, labelcolor=INK, labelsize=min(8.0, 72 * 0.75 * height / len(chosen)))
    if names.sparse:
        ax.set_xticks([])
        return
    labels = [*names.names, *([EDGE] if path.weighted(table) else [])]
    ax.set_xticks(range(len(labels)), labels, rotation=40, ha="left", rotation_mode="anchor")
    ax.tick_params(length=0, labelcolor=INK, top=False, labeltop=True, bottom=False, labelbottom=False)
    ax.tick_params(axis="x", labelsize=min(8.0, 72 * 0.4 * width / columns), pad=8)
    above = ax.get_xaxis_transform() + ScaledTranslation(0, 4 / 72, ax.figure.dpi_scale_trans)
    looks = looks_of(names.names)
    for column, operation in enumerate(names.names):
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
