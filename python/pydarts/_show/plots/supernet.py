"""Plot of the cell of the search network with all its edges."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from ..._results.trajectory import Trajectory
from ..._values.plot import Plot, Style
from ..._values.words import NodeNames
from ..palette import looks_of, text_on
from .canvas import Canvas
from .points import Edges, cell_space, decimals, moment, point, rows_of, state_of, tables
from .style import FAINT, INK, INNER, OUTER, inches, title

_FAN, _NODE = 0.34, 0.37  # half widths of the ends of lines at a node, and of a node; nodes have distance 1
_WIDTH = 9.0  # points: line width of an operation with weight 1
NODES = 7  # the layer of nodes, in front of all edges
_MARGINS = (0.1, 0.1, 0.1, 0.35)  # inches: left, right, below, above


def supernet(
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
    """Draw the whole cell of the search network, with every edge, at one point.

    An edge has the colour of its strongest operation, except `none`, and a width proportional to the mixing
    weight of this operation, up to the width of weight 1. The weight is below the name, with as many
    decimals, 3 to 5, as are needed to distinguish weights. Labels are filled for edges that the genotype of
    that point keeps; other lines are faint, and those of removed edges dotted. Lines at the bottom lead to
    the output.

    Args:
        trajectory: α over time, `result.trajectory`.
        at: number of the point, 0 … T - 1, or counted from the end; -1 is the last.
        cell: name of one table; None: all tables, one below the other.
        edges: edges to draw, as pairs of nodes, numbered as in `space.edges`; None:
            all.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot, which has one axes per table.

    Raises:
        ValueError: no such table, edge or style.
        IndexError: no such point.
        TypeError: α does not belong to cells.

    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> space = Space(kind="recurrent", nodes=2)
    >>> path = Trajectory({"recurrent": np.zeros((3, 3, 5))}, range(3), space, 2)
    >>> (drawn,) = plots.supernet(path, at=1)
    >>> drawn.get_title(loc="left")
    'recurrent, epoch 1'
    """
    canvas = Canvas(ax, path, figsize, style)
    chosen, at = rows_of(trajectory, tables(trajectory, cell), edges), point(trajectory, at)
    width, height = size_of(trajectory)
    digits = decimals([strongest(trajectory, name, at)[rows] for name, rows in chosen.items()])
    _, made = canvas.panels(len(chosen), 1, (width, height * len(chosen)), _MARGINS)
    for axes, (name, rows) in zip(made, chosen.items(), strict=True):
        for label in draw_edges(axes, trajectory, name, at, digits, rows):
            write(axes, label)
        draw_nodes(axes, trajectory)
        title(axes, f"{name}, {moment(trajectory, at)}")
    return canvas.plot(made)


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


class Label(NamedTuple):
    """What is written on an edge."""

    x: float
    y: float
    """Its middle, in the coordinates of the axes."""
    text: str
    size: float
    """In points."""
    chosen: bool
    """Whether the genotype keeps the edge: the label is then bold and filled with `color`."""
    color: str

    @property
    def ink(self) -> str:
        """The colour of the letters."""
        return text_on(self.color) if self.chosen else INK


def draw_edges(
    ax: Axes, path: Trajectory, table: str, at: int, digits: int, rows: Sequence[int]
) -> list[Label]:
    """Draw an arc per edge of `rows`, and return the labels at their tops."""
    space = cell_space(path)
    names = path.tables[table].names
    weights, removed, frozen = _known(path.shown(table, at)), path.dropped(table, at), path.frozen(table, at)
    looks = looks_of(names)
    real = [column for column, name in enumerate(names) if name != path.tables[table].unselectable]
    kept, scale = dict(path.kept(table, at)), _scale(ax, path)
    labels = []
    for row in rows:
        edge = space.edges[row]
        column = max(real, key=lambda column: (weights[row, column], -column))
        operation, weight, chosen = names[column], weights[row, column], row in kept
        color = FAINT if removed[row] else looks[operation].color
        start, end = _ends(space.edges, edge)
        line = (1.2 if removed[row] else max(0.4, _WIDTH * min(weight, 1.0))) * scale
        style = ":" if removed[row] else "-"
        level = 2 if chosen else 1
        _arc(ax, start, end, edge[1] - edge[0], color, line, 1.0 if chosen else 0.4, level, style)
        said = ["removed"] if removed[row] else [operation, f"{weight:.{digits}f}"]
        if frozen[row] and chosen:
            said.append(state_of(path, table, row, at).strip())
        where = (edge[0] + edge[1]) / 2, edge[1] - edge[0]
        labels.append(Label(*where, "\n".join(said), 7 * scale, chosen, color))
    return labels


def write(ax: Axes, label: Label) -> None:
    """Write a label in a box."""
    ax.text(
        label.x,
        label.y,
        label.text,
        ha="center",
        va="center",
        fontsize=label.size,
        linespacing=1.15,
        fontweight="bold" if label.chosen else "normal",
        color=label.ink,
        bbox={
            "boxstyle": "round,pad=0.25",
            "facecolor": label.color if label.chosen else "white",
            "edgecolor": label.color,
            "linewidth": 0.8,
        },
        zorder=6 if label.chosen else 5,
    )


def draw_nodes(ax: Axes, path: Trajectory) -> None:
    """Draw the nodes in a row, and the lines to the output."""
    space, scale = cell_space(path), _scale(ax, path)
    nodes = NodeNames(space.inputs, space.kind == "recurrent")
    last, low, high = _spans(path)
    for node in cell_space(path).concat:
        _arc(ax, node, last, _depth(last - node), FAINT, 1.2 * scale, 1.0, 0)
    for node in range(last + 1):
        inner = nodes.inputs <= node < last
        ax.add_patch(
            FancyBboxPatch(
                (node - _NODE, -0.22),
                2 * _NODE,
                0.44,
                boxstyle="round,pad=0,rounding_size=0.16",
                facecolor=INNER if inner else OUTER,
                edgecolor=INK,
                linewidth=0.8,
                zorder=NODES,
            )
        )
        text = nodes.output if node == last else nodes.name(node)
        ax.text(
            node,
            0,
            text if inner else f"${text}$",
            ha="center",
            va="center",
            fontsize=10 * scale,
            color=INK,
            zorder=NODES + 1,
        )
    ax.set_xlim(-0.5, last + 0.5)
    ax.set_ylim(low, high)
    ax.set_axis_off()


def _scale(ax: Axes, path: Trajectory) -> float:
    """Return the size of letters and lines in these axes, of that in axes of a suitable size."""
    (last, low, high), (width, height) = _spans(path), inches(ax)
    return min(1.0, width / (1.15 * (last + 1)), height / (0.48 * (high - low)))


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
