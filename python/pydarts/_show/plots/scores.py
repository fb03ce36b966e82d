"""Plot of the scores of a table of cells."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ..._values.plot import Plot, Style
from ..palette import color_of
from .canvas import Canvas
from .style import tidy, verbatim


def scores(
    values: Mapping[str, Sequence[float]],
    means: Mapping[str, tuple[float, float]],
    *,
    name: str,
    percent: bool,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw a column for each origin: one point per cell, next to mean ± standard deviation."""
    canvas = Canvas(ax, path, figsize, style)
    ax = canvas.one((1.4 + 1.5 * max(len(values), 1), 3.4))
    scale = 100.0 if percent else 1.0
    for column, (origin, found) in enumerate(values.items()):
        color, (mean, deviation) = color_of(origin), means[origin]
        # Points with equal scores are next to each other.
        across = [column + 0.07 * list(found[:index]).count(value) for index, value in enumerate(found)]
        heights = [scale * value for value in found]
        ax.plot(across, heights, "o", color=color, alpha=0.75, markeredgecolor="white", markersize=7)
        if found:
            error = None if np.isnan(deviation) else scale * deviation
            ax.errorbar(column - 0.22, scale * mean, error, fmt="_", color=color, capsize=4, markersize=14)
    ax.set_xticks(range(len(values)), [f"{origin}\nn = {len(found)}" for origin, found in values.items()])
    ax.set_xlim(-0.6, len(values) - 0.4)
    tidy(ax, verbatim(f"validation {name}, %" if percent else f"validation {name}"))
    return canvas.plot([ax])
