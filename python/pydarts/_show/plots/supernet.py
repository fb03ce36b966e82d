"""Plot of the cell of the search network with all its edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from ..._results.trajectory import Trajectory
from ..._values.words import node_name
from ..palette import looks_of, text_on
from .points import cell_space, decimals, moment, point, state_of, tables
from .style import FAINT, INK, INNER, OUTER, inches, output_name, panels, title

_FAN, _NODE = 0.34, 0.37  # half widths of the ends of lines at a node, and of a node; nodes have distance 1
_WIDTH = 9.0  # points: line width of an operation with weight 1
_MARGINS = (0.1, 0.1, 0.1, 0.35)  # inches: left, right, below, above


def supernet_cell(
    path: Trajectory, *, at: int = -1, cell: str | None = None, ax: Axes | None = None
) -> npt.NDArray[Any]:
    """Draw the whole cell of the search network, with every edge, at one point.

    An edge has the colour of its strongest operation, except `none`, and a width proportional to the mixing
    weight of this operation, at most that of weight 1. The weight is below the name, with as many decimals, 3
    to 5, as are needed to distinguish weights. Labels are filled for edges that the genotype of that point
    keeps; other lines are faint, and those of removed edges dotted. Lines at the bottom lead to the output.

    Args:
        path: α over time, `result.trajectory`.
        at: number of the point, 0 … T - 1, or counted from the end; -1 is the last.
        cell: name of one table; None: all tables, one below the other.
        ax: axes to draw into; None: a new figure.

    Returns:
        The axes as a flat array, one per table.

    Raises:
        ValueError: no such table.
        IndexError: no such point.
        TypeError: α does not belong to cells.

    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> space = Space(kind="recurrent", nodes=2)
    >>> path = Trajectory({"recurrent": np.zeros((3, 3, 5))}, range(3), space, 2)
    >>> (drawn,) = plots.supernet_cell(path, at=1)
    >>> drawn.get_title(loc="left")
    'recurrent, epoch 1'
    """
    names, at = tables(path, cell), point(path, at)
    width, height = size_of(path)
    digits = decimals([strongest(path, name, at) for name in names])
    _, made = panels(ax, len(names), 1, (width, height * len(names)), _MARGINS)
    for axes, name in zip(made, names, strict=True):
        draw_supernet(axes, path, name, at, digits)
        title(axes, f"{name}, {moment(path, at)}")
    return np.array(made, dtype=object)


def size_of(path: Trajectory) -> tuple[float, float]:
    """Return a suitable size of the plot of one table, in inches."""
    last, low, high = _spans(path)
    return 1.2 * (last + 1) + 0.4, 0.5 * (high - low) + 0.45


def strongest(path: Trajectory, table: str, at: int | slice = slice(None)) -> npt.NDArray[np.float64]:
    """Return the largest weight of every edge, except `none`: [edges], or for several points [T, edges]."""
    real = [
        column
        for column, name in enumerate(path.tables[table].names)
        if name != path.tables[table].unselectable
    ]
    found: npt.NDArray[np.float64] = _known(path.shown(table, at))[..., real].max(-1)
    return found


def _known(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return weights with -∞ for NaN."""
    return np.where(np.isnan(weights), -np.inf, weights)


def draw_supernet(ax: Axes, path: Trajectory, table: str, at: int, digits: int) -> None:
    """Draw one table: nodes in a row, one arc per edge, with its label at the top."""
    space = cell_space(path)
    first, names = space.inputs, path.tables[table].names
    last, low, high = _spans(path)
    weights, removed = _known(path.shown(table, at)), path.dropped(table, at)
    looks, real = (
        looks_of(names),
        [column for column, name in enumerate(names) if name != path.tables[table].unselectable],
    )
    kept = dict(path.kept(table, at))
    width, height = inches(ax)
    scale = min(1.0, width / (1.15 * (last + 1)), height / (0.48 * (high - low)))
    for row, edge in enumerate(space.edges):
        column = max(real, key=lambda column: (weights[row, column], -column))
        operation, weight, chosen = names[column], weights[row, column], row in kept
        color = FAINT if removed[row] else looks[operation].color
        start, end = _ends(space.edges, edge)
        line = (1.2 if removed[row] else max(0.4, _WIDTH * min(weight, 1.0))) * scale
        style = ":" if removed[row] else "-"
        level = 2 if chosen else 1
        _arc(ax, start, end, edge[1] - edge[0], color, line, 1.0 if chosen else 0.4, level, style)
        said = "removed" if removed[row] else f"{operation}\n{weight:.{digits}f}"
        ax.text(
            (edge[0] + edge[1]) / 2,
            edge[1] - edge[0],
            said
            + (
                "\n" + state_of(path, table, row, at).strip()
                if path.frozen(table, at)[row] and chosen
                else ""
            ),
            ha="center",
            va="center",
            fontsize=7 * scale,
            linespacing=1.15,
            fontweight="bold" if chosen else "normal",
            color=text_on(color) if chosen else INK,
            bbox={
                "boxstyle": "round,pad=0.25",
                "facecolor": color if chosen else "white",
                "edgecolor": color,
                "linewidth": 0.8,
            },
            zorder=6 if chosen else 5,
        )
    for node in space.concat:
        _arc(ax, node, last, _depth(last - node), FAINT, 1.2 * scale, 1.0, 0)
    for node in range(last + 1):
        inner = first <= node < last
        ax.add_patch(
            FancyBboxPatch(
                (node - _NODE, -0.22),
                2 * _NODE,
                0.44,
                boxstyle="round,pad=0,rounding_size=0.16",
                facecolor=INNER if inner else OUTER,
                edgecolor=INK,
                linewidth=0.8,
                zorder=7,
            )
        )
        text = output_name(first) if node == last else node_name(node, first)
        ax.text(
            node,
            0,
            text if inner else f"${text}$",
            ha="center",
            va="center",
            fontsize=10 * scale,
            color=INK,
            zorder=8,
        )
    ax.set_xlim(-0.5, last + 0.5)
    ax.set_ylim(low, high)
    ax.set_axis_off()


def _spans(path: Trajectory) -> tuple[int, float, float]:
    """Return the position of the output, after all nodes, and the vertical range."""
    edges, concat = cell_space(path).edges, cell_space(path).concat
    last = max(j for _, j in edges) + 1
    deepest = _depth(last - min(concat))
    return last, deepest - 0.2, max(j - i for i, j in edges) + 0.45


def _depth(distance: int) -> float:
    """Return the lowest point of a line to the output."""
    return -0.22 * distance - 0.25


def _ends(edges: tuple[tuple[int, int], ...], edge: tuple[int, int]) -> tuple[float, float]:
    """Return start and end of an arc; the ends at a node are ordered so that arcs do not cross there."""
    i, j = edge
    leaving = sorted((b for a, b in edges if a == i), reverse=True)
    entering = sorted((a for a, b in edges if b == j), reverse=True)
    start = i + _FAN * (leaving.index(j) + 1) / (len(leaving) + 1)
    end = j - _FAN * (len(entering) - entering.index(i)) / (len(entering) + 1)
    return start, end


def _arc(
    ax: Axes,
    start: float,
    end: float,
    top: float,
    color: str,
    width: float,
    alpha: float,
    level: int,
    style: str = "-",
) -> None:
    """Draw an arc with vertical ends and its highest (lowest) point at `top`."""
    height = 4 / 3 * top
    path = Path(
        [(start, 0), (start, height), (end, height), (end, 0)],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    ax.add_patch(
        PathPatch(
            path,
            facecolor="none",
            edgecolor=color,
            linewidth=width,
            linestyle=style,
            alpha=alpha,
            zorder=level,
        )
    )
