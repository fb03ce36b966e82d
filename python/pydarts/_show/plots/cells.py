"""Plot of the cells of a genotype as graphs."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import networkx as nx  # type: ignore[import-untyped]
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from ..._values.genotype import Genotype
from ..._values.notations import Edges
from ..._values.plot import Plot, Style
from ..._values.words import NodeNames
from ..layout import layout
from ..palette import LineStyle, look_of, text_on
from .canvas import Canvas
from .style import FAINT, INK, INNER, OUTER, inches, title

_STEP, _LINE = 2.6, 1.6  # distance of layers; width of a line
_BEFORE, _BOX, _AFTER = 1.65, 1.05, 0.2  # distance of a box from its node, its width, margin behind it


class Cell(NamedTuple):
    """One cell of a genotype."""

    name: str
    graph: nx.MultiDiGraph
    nodes: NodeNames


def cells(
    genotype: Genotype,
    *,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw the cells of a genotype as graphs, one below the other, from the inputs to the output.

    The operation of an edge is a box before its target; the line of `none` is dotted, and so is the border of
    a node without edges. Nodes have the numbers of `space.edges` and of genotypes. The first node of a
    recurrent cell is computed from its inputs x_t and h_{t-1} (paper, figure 6).

    Args:
        genotype: a convolutional or recurrent genotype.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot, which has one axes per cell.

    >>> from pydarts import genotypes, plots
    >>> [ax.get_title(loc="left") for ax in plots.cells(genotypes.DARTS_V2)]
    ['normal', 'reduce']
    """
    if not isinstance(genotype, Genotype):
        raise TypeError(f"expected a Genotype such as result.genotype, got a {type(genotype).__name__}")
    canvas, found = Canvas(ax, path, figsize, style), cells_of(genotype)
    _, made = canvas.panels(len(found), 1, size_of(genotype), (0.1, 0.1, 0.1, 0.3))
    for axes, cell in zip(made, found, strict=True):
        draw_cell(axes, cell.graph, cell.nodes, cell.name)
    return canvas.plot(made)


def figure_of(genotype: Genotype) -> Figure:
    """Draw the cells in a new figure that is not registered with pyplot."""
    figure = Figure(size_of(genotype))
    cells(genotype, ax=figure.add_axes((0.0, 0.0, 1.0, 1.0)))
    return figure


def size_of(genotype: Genotype) -> tuple[float, float]:
    """Return a suitable size of the plot of all cells, in inches."""
    plans = [layout(cell.graph) for cell in cells_of(genotype)]
    width = 1.5 + 2.3 * max(max(plan.layer.values()) for plan in plans)
    return width, len(plans) * max(1.6, 0.36 * max(plan.extent for plan in plans) + 0.75)


def cells_of(genotype: Genotype) -> list[Cell]:
    """Return the cells of a genotype."""
    return [
        Cell(name, cell_graph(genotype.edges(name), concat, names, len(nodes)), names)
        for name, concat, names in (
            ("normal", genotype.normal_concat, NodeNames(2)),
            ("reduce", genotype.reduce_concat, NodeNames(2)),
            ("recurrent", genotype.concat, NodeNames(1, recurrent=True)),
            ("cell", genotype.cell_concat, NodeNames(1)),
        )
        if (nodes := genotype.nodes(name))
    ]


def cell_graph(edges: Edges, concat: Sequence[int], names: NodeNames, nodes: int) -> nx.MultiDiGraph:
    """Return a cell as a graph of inputs, nodes and "out".

    Edges have an `operation`; it is None for those to "out" and to the first node of a recurrent cell.
    """
    graph, first = nx.MultiDiGraph(), names.inputs
    graph.add_nodes_from(range(first))
    graph.add_edges_from(((before, 0) for before in names.before), operation=None)
    graph.add_nodes_from(range(first, first + nodes), layer=1)  # at least, for nodes that no edge enters
    for operation, source, target in edges:
        graph.add_edge(source, target, operation=operation)
    for node in sorted(concat):
        graph.add_edge(node, "out", operation=None)
    return graph


def is_inner(node: Hashable, nodes: NodeNames) -> bool:
    """Return whether a node of the graph is an intermediate node."""
    return isinstance(node, int) and node >= nodes.inputs


def text_of(node: Hashable, nodes: NodeNames) -> str:
    """Return the name of a node of the graph, as mathtext."""
    if isinstance(node, int):
        return nodes.name(node)
    return nodes.output if node == "out" else str(node)


def draw_cell(ax: Axes, graph: nx.MultiDiGraph, nodes: NodeNames, name: str) -> None:
    """Draw a cell from left to right; every operation is a box before its target."""
    plan = layout(graph)
    width, height = inches(ax)
    scale = min(1.0, width / (1.9 * max(plan.layer.values()) + 0.8), height / (0.36 * plan.extent + 0.3))
    for edge, lanes in plan.lanes.items():
        operation = graph.edges[edge]["operation"]
        color = FAINT if operation is None else look_of(operation).color
        style = look_of(operation).style if operation == "none" else "-"
        source, target, _ = edge
        x, y = plan.layer[source] * _STEP, plan.height[source]
        for layer, lane in enumerate(lanes, plan.layer[source] + 1):
            level = (layer * _STEP - _BEFORE, layer * _STEP + _AFTER)
            if layer == plan.layer[target]:  # a box, or a line to the output
                level = (level[0], level[0] + _BOX) if operation is not None else (layer * _STEP,) * 2
            _curve(ax, (x, y), (level[0], lane), color, style)
            ax.plot(level, [lane, lane], color=color, linestyle=style, linewidth=_LINE, zorder=1)
            x, y = level[1], lane
        if operation is not None:
            _curve(ax, (x, y), (plan.layer[target] * _STEP, plan.height[target]), color, style)
            ax.text(
                x - _BOX / 2,
                y,
                operation,
                ha="center",
                va="center",
                fontsize=8 * scale,
                color=text_on(color),
                fontweight="bold",
                bbox={"boxstyle": "round,pad=0.35", "facecolor": color, "edgecolor": "none"},
                zorder=3,
            )
    for node, height in plan.height.items():
        inner, text = is_inner(node, nodes), text_of(node, nodes)
        ax.text(
            plan.layer[node] * _STEP,
            height,
            f"${text}$" if not inner else text,
            ha="center",
            va="center",
            fontsize=10 * scale,
            color=INK,
            bbox={
                "boxstyle": "circle,pad=0.4" if inner else "round,pad=0.45",
                "facecolor": INNER if inner else OUTER,
                "edgecolor": INK,
                "linestyle": ":" if inner and not graph.in_degree(node) else "-",
                "linewidth": 0.8,
            },
            zorder=4,
        )
    ax.set_xlim(-0.5, max(plan.layer.values()) * _STEP + 0.5)
    ax.set_ylim(-plan.extent / 2 - 0.3, plan.extent / 2 + 0.3)
    ax.set_axis_off()
    title(ax, name, 4 + 7 * scale)


def _curve(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str, style: LineStyle
) -> None:
    """Draw a line with horizontal ends."""
    middle = (start[0] + end[0]) / 2
    path = Path(
        [start, (middle, start[1]), (middle, end[1]), end],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    ax.add_patch(
        PathPatch(
            path,
            facecolor="none",
            edgecolor=color,
            linestyle=style,
            linewidth=_LINE,
            capstyle="round" if style == "-" else "butt",
            zorder=1,
        )
    )
