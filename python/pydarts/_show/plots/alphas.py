"""Plot of the mixing weights of every edge over time."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..._results.trajectory import Trajectory
from ..palette import look_of
from .points import checked, limits, tables
from .style import FAINT, GRID, INK, edge_name, inches


def alphas(path: Trajectory, *, ax: Axes | None = None, cell: str | None = None) -> npt.NDArray[Any]:
    """Draw the softmax weights over time: one panel per edge, one line per operation.

    Rows of panels are the targets of edges, columns the sources. All panels have the same range; the thin
    line is the uniform weight, 1 / operations.

    Args:
        path: α over time, `result.trajectory`.
        ax: axes to draw into; None: a new figure.
        cell: name of one table; None: all tables, in a row.

    Returns:
        The panels' axes as a flat array, in the order of tables and edges; their `figure` is the figure.

    Raises:
        ValueError: no such table.

    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> space = Space(kind="recurrent", nodes=2)
    >>> path = Trajectory({"recurrent": np.zeros((3, 3, 5))}, range(3), space, 2)
    >>> len(plots.alphas(path))
    3
    """
    space = checked(path).space
    names = tables(path, cell)
    weights = {name: path.weights(name) for name in names}
    first = path.space.inputs
    columns, rows = max(i for i, _ in space.edges) + 1, space.nodes
    time, label = path.time
    low, high = limits(list(weights.values()))
    if ax is None:
        side = (1.45 * columns + 0.5, 1.25 * rows + 0.9)
        ax = plt.figure(figsize=(side[0] * len(names), side[1])).add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set_axis_off()
    tall = inches(ax)[1]
    below, above = min(0.45 / tall, 0.15), min(0.5 / tall, 0.15)  # for the axis label and the title
    panels = []
    for number, name in enumerate(names):
        left, width = (number + 0.08) / len(names), 0.91 / len(names)
        for row, (i, j) in enumerate(space.edges):
            box = _box(left, width, below, 1 - below - above, i, j - first, columns, rows)
            panel = ax.inset_axes(box)
            for column, operation in enumerate(space.operations):
                look = look_of(operation)
                panel.plot(
                    time, weights[name][:, row, column], color=look.color, linestyle=look.style, linewidth=1.3
                )
            panel.axhline(1 / len(space.operations), color=FAINT, linewidth=0.7, zorder=0)
            panel.set_ylim(low, high)
            panel.margins(x=0.02)
            _quiet(panel, bottom=j - first == rows - 1, left=i == 0)
            panel.set_title(edge_name((i, j), first), fontsize=7.5, pad=2, color=INK)
            if i == 0 and j - first == (rows - 1) // 2:
                panel.set_ylabel("softmax weight", fontsize=8, color=INK)
            panels.append(panel)
        ax.text(
            left, 0.985, name, fontsize=11, fontweight="bold", color=INK, va="top", transform=ax.transAxes
        )
        ax.text(left + width / 2, 0.012, label, fontsize=8, color=INK, ha="center", transform=ax.transAxes)
    handles = [
        Line2D([], [], color=look_of(name).color, linestyle=look_of(name).style, label=name)
        for name in space.operations
    ]
    ax.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.995, 0.985), fontsize=7.5, frameon=False)
    return np.array(panels, dtype=object)


def _box(
    left: float, width: float, bottom: float, height: float, column: int, row: int, columns: int, rows: int
) -> tuple[float, float, float, float]:
    """Return the position of a panel in its axes: left, bottom, width, height."""
    cell = (width / columns, height / rows)
    return left + column * cell[0], bottom + height - (row + 1) * cell[1], cell[0] * 0.86, cell[1] * 0.74


def _quiet(panel: Axes, *, bottom: bool, left: bool) -> None:
    """Draw a thin frame and small ticks, with numbers at the outer panels only."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(FAINT)
    panel.grid(axis="y", color=GRID, linewidth=0.6)
    panel.tick_params(labelsize=6.5, length=2, color=FAINT, labelbottom=bottom, labelleft=left)
    panel.locator_params(axis="x", nbins=4, integer=True)
    panel.locator_params(axis="y", nbins=3)
