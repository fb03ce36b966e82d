"""Plot of the weights of edges over time."""

from __future__ import annotations

import os

from matplotlib.axes import Axes

from ..._results.trajectory import Trajectory
from ..._values.plot import Plot, Style
from ..palette import run_look
from .canvas import Canvas
from .curves import across
from .points import tables
from .style import FAINT, edge_name, nothing, plain_numbers, tidy, title

_SIZE = 2.6, 2.0  # inches of a panel with its margins
_MARGINS = (0.5, 0.1, 0.42, 0.28)
_LEAST = 0.02  # smallest range of a panel


def edges(
    trajectory: Trajectory,
    *,
    ax: Axes | None = None,
    cell: str | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw the weights of edges over time: one panel per node, one line per edge into it.

    Only a search with `edge_normalization` has them. They are shares of 1 among the edges into a node; the
    dashed line is that of equal edges.

    Args:
        trajectory: α over time, `result.trajectory`.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.
        cell: name of one table; None: all tables, one row of panels for each.

    Returns:
        The plot, whose axes are the panels in the order of tables and nodes. Without weights of edges, the
        only axes say so.

    Raises:
        ValueError: no such table or style.

    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> alphas = {"recurrent": np.zeros((3, 3, 5)), "recurrent.beta": np.zeros((3, 3, 1))}
    >>> path = Trajectory(alphas, range(3), Space(kind="recurrent", nodes=2), 2)
    >>> [len(panel.get_lines()) for panel in plots.edges(path)]
    [2, 3]
    """
    canvas = Canvas(ax, path, figsize, style)
    names = [name for name in tables(trajectory, cell) if trajectory.weighted(name)]
    nodes = {name: sorted({target for _, target in trajectory.tables[name].edges}) for name in names}
    columns = max((len(found) for found in nodes.values()), default=1)
    rows = max(1, len(names))
    _, made = canvas.panels(rows, columns, (_SIZE[0] * columns, _SIZE[1] * rows), _MARGINS)
    if not names:
        made[0].set_axis_on()
        nothing(made[0], "no weights of edges")
        return canvas.plot(made[:1])
    time, label = trajectory.time
    drawn = []
    for number, name in enumerate(names):
        table, weights = trajectory.tables[name], trajectory.edge_weights(name)
        for column in range(columns):
            panel = made[number * columns + column]
            if column >= len(nodes[name]):
                panel.set_axis_off()
                continue
            into = [row for row, (_, target) in enumerate(table.edges) if target == nodes[name][column]]
            for place, row in enumerate(into):
                look, said = run_look(place), edge_name(table.edges[row], table.nodes)
                panel.plot(
                    time, weights[:, row], color=look.color, linestyle=look.style, linewidth=1.4, label=said
                )
            panel.axhline(1 / len(into), color=FAINT, linewidth=1, linestyle=(0, (4, 2)), zorder=0)
            tidy(panel, "share of the node" if column == 0 else "", size=7)
            plain_numbers(panel, _LEAST)
            across(panel, label)
            title(panel, name if column == 0 else "", 9)
            low, high = panel.get_ylim()
            panel.set_ylim(low, high + 0.4 * (high - low))  # for the legend
            panel.legend(fontsize=6, frameon=False, loc="upper left", ncols=2, columnspacing=0.8)
            drawn.append(panel)
    return canvas.plot(drawn)
