"""The weights of all edges over time in one pair of axes.

`plots.alphas` creates axes for every edge, which takes four times as long to draw.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from ..._results.trajectory import Trajectory
from ..palette import look_of
from ..plots.style import FAINT, INK, edge_name, title

_WIDE, _HIGH = 0.88, 0.7  # fraction of a tile that the lines use


def tiles(ax: Axes, path: Trajectory, table: str, limits: tuple[float, float]) -> None:
    """Draw one tile per edge: rows by the target node, columns by the source node."""
    space, weights = path.space, path.weights(table)
    first, (low, high) = path.space.inputs, limits
    time, _ = path.time
    across = (time - time[0]) / max(time[-1] - time[0], 1.0) * _WIDE
    lines, colors, styles, frames = [], [], [], []
    for edge, (i, j) in enumerate(space.edges):
        left, bottom = i, space.nodes - 1 - (j - first)
        for column, operation in enumerate(space.operations):
            height = (weights[:, edge, column] - low) / (high - low) * _HIGH
            lines.append(np.stack([left + across, bottom + height], axis=1))
            colors.append(look_of(operation).color)
            styles.append(look_of(operation).style)
        frames.append([(left, bottom + _HIGH), (left, bottom), (left + _WIDE, bottom)])
        ax.text(left + 0.02, bottom + _HIGH + 0.05, edge_name((i, j), first), fontsize=7, color=INK)
    ax.add_collection(LineCollection(frames, colors=FAINT, linewidths=0.7))
    ax.add_collection(LineCollection(lines, colors=colors, linestyles=styles, linewidths=1.2))
    ax.set_xlim(-0.05, max(i for i, _ in space.edges) + 1)
    ax.set_ylim(-0.05, space.nodes)
    ax.set_axis_off()
    title(ax, table)
