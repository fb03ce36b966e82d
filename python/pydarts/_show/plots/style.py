"""Styles that all plots share: colours, panels, axes, names of edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._values.words import NodeNames, tail

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..._results.tables import AlphaTable

INK, FAINT, GRID = "#333333", "#b8b8b8", "#ececec"
INNER, OUTER = "#eef3f8", "#dfe7d8"  # intermediate nodes; inputs and outputs

LONGEST = 40  # letters of the name of a row
Margins = tuple[float, float, float, float]
"""Inches left of, right of, below and above a panel, for what is written there."""


def inches(ax: Axes) -> tuple[float, float]:
    """Return width and height of axes in inches."""
    extent, dpi = ax.get_window_extent(), ax.figure.dpi
    return extent.width / dpi, extent.height / dpi


def tidy(ax: Axes, label: str = "", *, size: float = 8) -> None:
    """Draw a thin frame, horizontal grid lines and small ticks; `label` is that of the vertical axis."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.grid(axis="y", color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=size, length=2, color=FAINT, labelcolor=INK)
    if label:
        ax.set_ylabel(label, fontsize=size, color=INK)


def verbatim(name: str) -> str:
    """Return a name of the user as text of a plot: no formula, and not hidden from legends.

    >>> verbatim("_cost_in_$")
    'cost_in_\\\\$'
    """
    return name.lstrip("_").replace("$", r"\$")


def nothing(ax: Axes, text: str) -> None:
    """Say in empty axes why nothing is drawn, instead of ticks of no meaning."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", fontsize=9, color=INK)
    ax.set_xticks([])
    ax.set_yticks([])


def plain_numbers(ax: Axes, least: float) -> None:
    """Show numbers without a common offset, and a vertical range wide enough that noise looks small."""
    ax.ticklabel_format(axis="y", useOffset=False)
    low, high = ax.get_ylim()
    if high - low < least:
        ax.set_ylim((low + high - least) / 2, (low + high + least) / 2)


def title(ax: Axes, text: str, size: float = 11, pad: float = 3) -> None:
    """Set a left-aligned title, `pad` points above the axes and their labels."""
    ax.set_title(text, loc="left", fontsize=size, pad=pad, fontweight="bold", color=INK)


def row_name(table: AlphaTable, row: int, most: int = LONGEST) -> str:
    """Name a row of an α table in plots, with at most `most` letters; a table of one choice names itself."""
    if table.edges:
        return edge_name(table.edges[row], table.nodes)
    return tail(table.name if table.single else table.rows[row], most).replace("$", r"\$")


def edge_name(edge: tuple[int, int], nodes: NodeNames) -> str:
    """Name an edge in plots, as mathtext.

    >>> edge_name((0, 2), NodeNames(2))
    '$c_{k-2}$ → $2$'
    """
    return " → ".join(f"${nodes.name(node)}$" for node in edge)
