"""The weights of all edges over time in one pair of axes.

`plots.alphas` creates axes for every edge, which takes four times as long to draw.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from ..._results.trajectory import Trajectory
from ..palette import looks_of
from ..plots.points import grid, state_of
from ..plots.style import FAINT, INK, row_name

_LETTERS = 190  # of all titles in a row of tiles
_WIDE, _HIGH = 0.88, 0.7  # fraction of a tile that the lines use


def tiles(ax: Axes, path: Trajectory, table: str, limits: tuple[float, float]) -> None:
    """Draw one tile per edge: rows by the target node, columns by the source node.

    The line of an operation that was removed ends with a cross. If rows have different candidates, which no
    legend can name, the title of a tile names the strongest.
    """
    names, weights = path.tables[table], path.shown(table)
    (places, width, height), looks, (low, high) = grid(names), looks_of(names.names), limits
    time, masked = path.time[0], path.masked(table, -1)
    across = (time - time[0]) / max(time[-1] - time[0], 1.0) * _WIDE
    lines, colors, styles, frames = [], [], [], []
    for row, (x, y) in enumerate(places):
        left, bottom = x, height - 1 - y
        for column, operation in enumerate(names.names):
            (known,) = np.isfinite(weights[:, row, column]).nonzero()
            if not known.size:
                continue
            level = (weights[known, row, column] - low) / (high - low) * _HIGH
            lines.append(np.stack([left + across[known], bottom + level], axis=1))
            colors.append(looks[operation].color)
            styles.append(looks[operation].style)
            if masked[row, column]:
                ax.plot(*lines[-1][-1], "x", color=colors[-1], markersize=4)
        frames.append([(left, bottom + _HIGH), (left, bottom), (left + _WIDE, bottom)])
        strongest = f": {_strongest(path, table, row)}" if names.sparse else ""
        # A tile is as wide as its part of the table.
        letters = max(8, int(_LETTERS / width) - len(strongest))
        said = row_name(names, row, letters) + strongest + state_of(path, table, row)
        ax.text(left + 0.02, bottom + _HIGH + 0.05, said, fontsize=7, color=INK)
    ax.add_collection(LineCollection(frames, colors=FAINT, linewidths=0.7))
    ax.add_collection(LineCollection(lines, colors=colors, linestyles=styles, linewidths=1.2))
    ax.set_xlim(-0.05, width)
    ax.set_ylim(-0.05, height)
    ax.set_axis_off()


def _strongest(path: Trajectory, table: str, row: int) -> str:
    """Return the name of the strongest candidate of a row at the end, with dollar signs as text."""
    names = path.tables[table].names
    weights = path.shown(table, -1)[row]
    return names[int(np.nanargmax(weights))].replace("$", r"\$")
