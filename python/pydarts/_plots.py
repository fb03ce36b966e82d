"""Pictures of α and of cells; nothing here shows a window, and all of it works without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import networkx as nx  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from ._genotype import Genes, Genotype
from ._layout import depths, layout
from ._palette import color_of, look_of
from ._trajectory import Trajectory

_INK, _FAINT = "#333333", "#b8b8b8"
_STEP, _LINE = 2.6, 1.6  # from layer to layer; width of a line
_BEFORE, _BOX, _AFTER = 1.65, 1.05, 0.2  # where boxes begin before their node, their room, level behind it


def plot_alphas(path: Trajectory, *, ax: Axes | None = None, cell: str | None = None) -> npt.NDArray[Any]:
    """Softmax weights over time: rows of panels by target node, columns by source node."""
    space = path.space
    names = list(path.alphas) if cell is None else [cell]
    weights = {name: path.weights(name) for name in names}
    first = min(j for _, j in space.edges)
    columns, rows = max(i for i, _ in space.edges) + 1, space.nodes
    time, label = path.time
    low, high = _limits(list(weights.values()))
    if ax is None:
        side = (1.45 * columns + 0.5, 1.25 * rows + 0.9)
        _, ax = plt.subplots(figsize=(side[0] * len(names), side[1]))
        ax.figure.subplots_adjust(0, 0, 1, 1)
    ax.set_axis_off()
    panels = []
    for number, name in enumerate(names):
        left, width = (number + 0.08) / len(names), 0.91 / len(names)
        for row, (i, j) in enumerate(space.edges):
            box = _box(left, width, 0.09, 0.84, i, j - first, columns, rows)
            panel = ax.inset_axes(box)
            for column, operation in enumerate(space.operations):
                look = look_of(operation)
                panel.plot(
                    time, weights[name][:, row, column], color=look.color, linestyle=look.style, linewidth=1.3
                )
            panel.axhline(1 / len(space.operations), color=_FAINT, linewidth=0.7, zorder=0)
            panel.set_ylim(low, high)
            panel.margins(x=0.02)
            _quiet(panel, bottom=j - first == rows - 1, left=i == 0)
            panel.set_title(
                f"${node_name(i, first)}$ → {node_name(j, first)}", fontsize=7.5, pad=2, color=_INK
            )
            if i == 0 and j - first == (rows - 1) // 2:
                panel.set_ylabel("softmax weight", fontsize=8, color=_INK)
            panels.append(panel)
        ax.text(
            left, 0.985, name, fontsize=11, fontweight="bold", color=_INK, va="top", transform=ax.transAxes
        )
        ax.text(left + width / 2, 0.012, label, fontsize=8, color=_INK, ha="center", transform=ax.transAxes)
    handles = [
        Line2D([], [], color=look_of(name).color, linestyle=look_of(name).style, label=name)
        for name in space.operations
    ]
    ax.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.995, 0.985), fontsize=7.5, frameon=False)
    return np.array(panels, dtype=object)


def plot_cells(genotype: Genotype, *, ax: Axes | None = None) -> npt.NDArray[Any]:
    """The cells of a genotype, one below the other."""
    cells = [
        (name, genes, concat, first)
        for name, genes, concat, first in (
            ("normal", genotype.normal, genotype.normal_concat, 2),
            ("reduce", genotype.reduce, genotype.reduce_concat, 2),
            ("recurrent", genotype.recurrent, genotype.concat, 1),
        )
        if genes
    ]
    if ax is None:
        graphs = [cell_graph(genes, concat, first) for _, genes, concat, first in cells]
        width = 1.5 + 2.3 * max(max(depths(graph).values()) for graph in graphs)
        _, made = plt.subplots(
            len(cells), 1, figsize=(width, 3.1 * len(cells)), squeeze=False, layout="tight"
        )
        axes = list(made[:, 0])
    else:
        ax.set_axis_off()
        n = len(cells)
        axes = [ax.inset_axes((0, 1 - (k + 1) / n, 1, 0.96 / n)) for k in range(n)]
    for axis, (name, genes, concat, first) in zip(axes, cells, strict=True):
        draw_cell(axis, cell_graph(genes, concat, first), first, name)
    return np.array(axes, dtype=object)


def plot_scores(
    scores: Mapping[str, Sequence[float]],
    means: Mapping[str, tuple[float, float]],
    *,
    percent: bool,
    ax: Axes | None = None,
) -> Axes:
    """A column for each origin: a point a cell, beside them mean ± deviation."""
    if ax is None:
        _, ax = plt.subplots(figsize=(1.4 + 1.5 * max(len(scores), 1), 3.4), layout="tight")
    scale = 100.0 if percent else 1.0
    for place, (origin, values) in enumerate(scores.items()):
        color, (mean, deviation) = color_of(origin), means[origin]
        # Equal scores stand side by side.
        across = [place + 0.07 * list(values[:index]).count(value) for index, value in enumerate(values)]
        heights = [scale * value for value in values]
        ax.plot(across, heights, "o", color=color, alpha=0.75, markeredgecolor="white", markersize=7)
        if values:
            error = None if np.isnan(deviation) else scale * deviation
            ax.errorbar(place - 0.22, scale * mean, error, fmt="_", color=color, capsize=4, markersize=14)
    ax.set_xticks(range(len(scores)), [f"{origin}\nn = {len(values)}" for origin, values in scores.items()])
    ax.set_xlim(-0.6, len(scores) - 0.4)
    ax.set_ylabel("validation accuracy, %" if percent else "validation perplexity", fontsize=8, color=_INK)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_FAINT)
    ax.grid(axis="y", color="#ececec", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8, length=2, color=_FAINT)
    return ax


def cell_graph(genes: Genes, concat: Sequence[int], first: int) -> nx.MultiDiGraph:
    """A cell as a graph: inputs, nodes, and "out"; an edge carries its `operation`, one to "out" None."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(first))
    kept = 2 if first == 2 else 1  # edges a node
    for position, (operation, source) in enumerate(genes):
        graph.add_edge(source, first + position // kept, operation=operation)
    for node in sorted(concat):
        graph.add_edge(node, "out", operation=None)
    return graph


def draw_cell(ax: Axes, graph: nx.MultiDiGraph, first: int, title: str) -> None:
    """Draw a cell from left to right; every operation is a box before the node that it leads to."""
    plan = layout(graph)
    extent = ax.get_window_extent()
    inches = extent.width / ax.figure.dpi, extent.height / ax.figure.dpi
    scale = min(
        1.0, inches[0] / (1.9 * max(plan.layer.values()) + 0.8), inches[1] / (0.36 * plan.extent + 0.3)
    )
    for edge, lanes in plan.lanes.items():
        operation = graph.edges[edge]["operation"]
        color = _FAINT if operation is None else look_of(operation).color
        source, target, _ = edge
        x, y = plan.layer[source] * _STEP, plan.height[source]
        for layer, lane in enumerate(lanes, plan.layer[source] + 1):
            level = (layer * _STEP - _BEFORE, layer * _STEP + _AFTER)
            if layer == plan.layer[target]:  # a box, or straight into the output
                level = (level[0], level[0] + _BOX) if operation is not None else (layer * _STEP,) * 2
            _curve(ax, (x, y), (level[0], lane), color)
            ax.plot(level, [lane, lane], color=color, linewidth=_LINE, zorder=1)
            x, y = level[1], lane
        if operation is not None:
            _curve(ax, (x, y), (plan.layer[target] * _STEP, plan.height[target]), color)
            ax.text(
                x - _BOX / 2,
                y,
                operation,
                ha="center",
                va="center",
                fontsize=8 * scale,
                color="white",
                fontweight="bold",
                bbox={"boxstyle": "round,pad=0.35", "facecolor": color, "edgecolor": "none"},
                zorder=3,
            )
    for node, height in plan.height.items():
        inner = isinstance(node, int) and node >= first
        text = node_name(node, first) if isinstance(node, int) else ("h_t" if first == 1 else "c_{k}")
        ax.text(
            plan.layer[node] * _STEP,
            height,
            f"${text}$" if not inner else text,
            ha="center",
            va="center",
            fontsize=10 * scale,
            color=_INK,
            bbox={
                "boxstyle": "circle,pad=0.4" if inner else "round,pad=0.45",
                "facecolor": "#eef3f8" if inner else "#dfe7d8",
                "edgecolor": _INK,
                "linewidth": 0.8,
            },
            zorder=4,
        )
    ax.set_xlim(-0.5, max(plan.layer.values()) * _STEP + 0.5)
    ax.set_ylim(-plan.extent / 2 - 0.3, plan.extent / 2 + 0.3)
    ax.set_axis_off()
    ax.set_title(title, loc="left", fontsize=4 + 7 * scale, pad=3, fontweight="bold", color=_INK)


def _curve(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    """A line that leaves and arrives level."""
    middle = (start[0] + end[0]) / 2
    path = Path(
        [start, (middle, start[1]), (middle, end[1]), end],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    ax.add_patch(
        PathPatch(path, facecolor="none", edgecolor=color, linewidth=_LINE, capstyle="round", zorder=1)
    )


def node_name(node: int, first: int) -> str:
    """A node in pictures: convolutional cells count their intermediate nodes from 0 (paper, figure 4).

    >>> node_name(0, 2), node_name(2, 2), node_name(0, 1), node_name(1, 1)
    ('c_{k-2}', '0', 's_0', '1')
    """
    if first == 1:  # the initial state, made from x_t and h_{t-1} (paper, figure 6)
        return "s_0" if node == 0 else str(node)
    return ("c_{k-2}", "c_{k-1}")[node] if node < first else str(node - first)


def _limits(weights: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """One vertical range for all panels, so that they compare; not so narrow that noise looks big."""
    low, high = min(float(w.min()) for w in weights), max(float(w.max()) for w in weights)
    margin = max(0.06 * (high - low), 0.0002)
    return max(0.0, low - margin), min(1.0, high + margin)


def _box(
    left: float, width: float, bottom: float, height: float, column: int, row: int, columns: int, rows: int
) -> tuple[float, float, float, float]:
    """Place of a panel in its axes: left, bottom, width, height."""
    cell = (width / columns, height / rows)
    return left + column * cell[0], bottom + height - (row + 1) * cell[1], cell[0] * 0.86, cell[1] * 0.74


def _quiet(panel: Axes, *, bottom: bool, left: bool) -> None:
    """Thin frame, small ticks, numbers at the outer panels only."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(_FAINT)
    panel.grid(axis="y", color="#ececec", linewidth=0.6)
    panel.tick_params(labelsize=6.5, length=2, color=_FAINT, labelbottom=bottom, labelleft=left)
    panel.locator_params(axis="x", nbins=4, integer=True)
    panel.locator_params(axis="y", nbins=3)
