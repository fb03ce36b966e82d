"""Plot of the strengths of every edge over time."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..._results.tables import all_names
from ..._results.trajectory import Trajectory
from ..._values.plot import Plot, Style
from ..._values.words import tail
from ..palette import Look, looks_of
from .canvas import Canvas
from .points import Edges, cut_of, drawn, grid, limits, state_of
from .style import FAINT, GRID, INK, inches, row_name

_LEAST = 4.8  # inches: smallest width of the panels of a table
_ENTRY = 1.25, 0.16  # inches: width and height of an entry of a legend
_LEFT, _BELOW, _ABOVE = 0.7, 0.45, 0.45  # inches: for the axis labels, and for the titles
PANELS = 40  # of a table that is no cell
_WIDE = 2.3, 0.52  # inches: width of a panel with names at its lines, and the part of it that has the lines
_NAMES = 8  # lines that are named


def alphas(
    trajectory: Trajectory,
    *,
    ax: Axes | None = None,
    cell: str | None = None,
    edges: Edges | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw the mixing weights over time: one panel per edge, one line per operation.

    Rows of panels are the targets of edges, columns the sources. All panels have the same range; the thin
    line is the weight of equal logits: with softmax 1 / operations. The line of an operation that was removed
    ends with a cross. A panel is grey from where its edge is decided or removed. Where edges have weights of
    their own (`edge_normalization`), mixing weights are products with them, and the title of a panel has that
    of its edge, β, at the end; `plots.edges` draws them over time.

    The choices of a network of your own, which has a table for each, are the panels of one table, the first
    40 of them. If they have different candidates, the lines are named next to them instead of in a legend.

    Args:
        trajectory: α over time, `result.trajectory`.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.
        cell: name of one table; None: all tables, in a row.
        edges: rows to draw: edges as pairs of nodes, numbered as in `space.edges`, or names of choices; None:
            all.

    Returns:
        The plot, whose axes are the panels in the order of tables and edges.

    Raises:
        ValueError: no such table, edge or style.

    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> space = Space(kind="recurrent", nodes=2)
    >>> path = Trajectory({"recurrent": np.zeros((3, 3, 5))}, range(3), space, 2)
    >>> len(plots.alphas(path))
    3
    """
    canvas = Canvas(ax, path, figsize, style)
    cut, chosen = drawn(trajectory, cell, PANELS, edges)
    names = list(chosen)
    weights = {name: cut.shown(name) for name in names}
    grids = {name: grid(cut.tables[name], chosen[name]) for name in names}
    columns, rows = max(found[1] for found in grids.values()), max(found[2] for found in grids.values())
    named = any(cut.tables[name].sparse for name in names)
    looks = looks_of(all_names({name: cut.tables[name] for name in names}))
    each, part = _WIDE if named else (1.45, 0.86)
    wide, tall = max(each * columns + 0.5, _LEAST) * len(names), 1.25 * rows + _ABOVE + _BELOW
    length, height = canvas.size((wide, tall), _ABOVE + _BELOW)
    place = (0.99 * length / len(names) - _LEFT) / columns, (height - _ABOVE - _BELOW) / rows
    below_all = not named and not _fits_above(grids[names[-1]][0], columns, place, list(looks))
    across = max(1, min(len(looks), int(length / max(_ENTRY[0], _entry(list(looks)) + 0.1))))
    foot = _ENTRY[1] * -(-len(looks) // across) + 0.1 if below_all else 0.0
    low, high = limits([weights[name][:, chosen[name]] for name in names])
    ax = canvas.host((wide, tall + foot), _ABOVE + _BELOW + foot)
    length, height = inches(ax)
    margin = min(_LEFT / length, 0.5 / len(names))
    # In small axes, panels keep a part of the height.
    foot = min(foot / height, 1.0 if canvas.natural else 0.35)
    below, above = foot + min(_BELOW / height, 0.2), min(_ABOVE / height, 0.2)
    panels = []
    for number, name in enumerate(names):
        left = number / len(names) + margin
        width = 0.99 / len(names) - margin
        places, across_table, bottom = grids[name]
        for row, (x, y) in zip(chosen[name], places, strict=True):
            box = _box(left, width, below, 1 - below - above, x, y, columns, rows, part)
            panel = ax.inset_axes(box)
            _lines(panel, cut, name, row, weights[name][:, row], looks)
            panel.set_ylim(low, high)
            panel.margins(x=0.02)
            _quiet(panel, box[2] * length, bottom=y == bottom - 1, left=x == 0)
            if named:
                _name_lines(panel, cut.tables[name].names, weights[name][-1, row], looks, (low, high))
            said = row_name(cut.tables[name], row, int(each * 13)) + state_of(cut, name, row)
            if cut.weighted(name):
                said += f", β {cut.edge_weights(name, -1)[row]:.2f}"
            panel.set_title(said, fontsize=7.5, pad=2, color=INK)
            panels.append(panel)
        said = ", ".join([name, *cut.relaxation_in_words()]) + cut_of(trajectory, cut, name)
        ax.text(
            left, 0.985, said, fontsize=11, fontweight="bold", color=INK, va="top", transform=ax.transAxes
        )
        middle = left + width * (across_table - 1 + part) / columns / 2
        words: dict[str, Any] = {"fontsize": 8, "color": INK, "transform": ax.transAxes}
        ax.text(middle, foot + 0.06 / height, cut.time[1], ha="center", **words)
        # Not the label of a panel, which may be lower than the words.
        centre = 1 - above - (1 - below - above) * (bottom + 0.26) / rows / 2
        ax.text(left - 0.6 / length, centre, "mixing weight", rotation=90, va="center", **words)
    if not named:
        _legend(ax, looks, across if below_all else None)
    return canvas.plot(panels)


def _fits_above(
    places: Sequence[tuple[int, int]], columns: int, cell: tuple[float, float], names: Sequence[str]
) -> bool:
    """Whether a legend has room above the diagonal of a table, whose panels have cells of these inches."""
    if cell[0] <= 0:
        return False
    first = columns - math.ceil(_entry(names) / cell[0])
    # A table may have fewer columns than the widest one.
    free = min((y for x, y in places if x >= first), default=1 + max(y for _, y in places))
    return free > 0 and _ENTRY[1] * len(names) <= free * cell[1] + 0.5 * _ABOVE


def _entry(names: Sequence[str]) -> float:
    """Return the inches of the widest entry of a legend."""
    return 0.4 + 0.065 * max(len(name) for name in names)


def _legend(ax: Axes, looks: Mapping[str, Look], across: int | None) -> None:
    """Name the operations above the diagonal of the last table, or in `across` columns below all panels."""
    handles = [
        Line2D([], [], color=look.color, linestyle=look.style, label=name.replace("$", r"\$"))
        for name, look in looks.items()
    ]
    where: dict[str, Any] = {"loc": "upper right", "bbox_to_anchor": (0.995, 0.985)}
    if across is not None:
        where = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.0), "ncols": across}
    ax.legend(
        handles=handles,
        **where,
        fontsize=7.5,
        frameon=False,
        borderpad=0.0,
    )


def _name_lines(
    panel: Axes,
    names: Sequence[str],
    weights: npt.NDArray[Any],
    looks: Mapping[str, Look],
    bounds: tuple[float, float],
) -> None:
    """Write the names of the strongest candidates to the right of a panel, at the ends of their lines."""
    (known,) = np.isfinite(weights).nonzero()
    order = sorted(known.tolist(), key=lambda column: -weights[column])
    low, high = bounds
    apart = 1 / max(5, min(len(order), _NAMES + 1))
    at = 1.0 + apart
    for place, column in enumerate(order[: _NAMES + 1]):
        left = min(len(order) - place, _NAMES + 1 - place)
        # As near to its line as the names above and below it allow.
        at = min(at - apart, max((weights[column] - low) / (high - low), (left - 0.5) * apart))
        more = len(order) - _NAMES
        text = names[column] if place < _NAMES else f"and {more} more"
        panel.text(
            1.04,
            at,
            tail(text, 14).replace("$", r"\$"),
            transform=panel.transAxes,
            fontsize=6,
            va="center",
            color=looks[names[column]].color if place < _NAMES else INK,
        )


def _lines(
    panel: Axes, path: Trajectory, table: str, row: int, weights: npt.NDArray[Any], looks: Mapping[str, Look]
) -> None:
    """Draw the weights [T, names] of one row."""
    time, masked = path.time[0], path.masked(table, -1)[row]
    for column, name in enumerate(path.tables[table].names):
        (known,) = np.isfinite(weights[:, column]).nonzero()
        if not known.size:
            continue
        look = looks[name]
        panel.plot(time, weights[:, column], color=look.color, linestyle=look.style, linewidth=1.3)
        if masked[column]:
            end = known[-1]
            panel.plot(time[end], weights[end, column], "x", color=look.color, markersize=4)
    panel.axhline(path.equal(table)[row], color=FAINT, linewidth=0.7, zorder=0)
    (frozen,) = path.frozen(table)[:, row].nonzero()
    if frozen.size:
        panel.axvspan(time[frozen[0]], time[-1], color=GRID, zorder=-1)


def _box(
    left: float,
    width: float,
    bottom: float,
    height: float,
    column: int,
    row: int,
    columns: int,
    rows: int,
    part: float,
) -> tuple[float, float, float, float]:
    """Return the position of a panel in its axes: left, bottom, width (`part` of its place), height."""
    cell = (width / columns, height / rows)
    return left + column * cell[0], bottom + height - (row + 1) * cell[1], cell[0] * part, cell[1] * 0.74


def _quiet(panel: Axes, width: float, *, bottom: bool, left: bool) -> None:
    """Draw a thin frame and small ticks, with numbers at the outer panels only; `width` is in inches."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(FAINT)
    panel.grid(axis="y", color=GRID, linewidth=0.6)
    panel.tick_params(labelsize=6.5, length=2, color=FAINT, labelbottom=bottom, labelleft=left)
    panel.locator_params(axis="x", nbins=max(1, min(4, int(width / 0.22))), integer=True)
    panel.locator_params(axis="y", nbins=3)
