"""Where plots are drawn: in the given axes, or in a new figure of a size and a style."""

from __future__ import annotations

import os
from collections.abc import Sequence
from textwrap import fill
from typing import Any, get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from ..._values.plot import Plot, Style
from ..._values.words import shown
from .style import FAINT, GRID, INK, Margins, inches

Size = tuple[float, float]

COLUMN, PAGE = 3.4, 7.0  # inches: widths of one and of two columns of a paper
_NARROW = 5.4  # inches: figures up to this width fit a column
_FLAT = 0.62  # a figure that is made narrower keeps this part of its height at least
_LEAST = 7.0  # points: smallest letters
# TrueType, which publishers ask for, instead of Type 3.
_PAPER = {"pdf.fonttype": 42, "ps.fonttype": 42}
_DASHES: tuple[Any, ...] = (
    "-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (2.5, 1)), (0, (9, 2)),
    (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 2.5)), (0, (3, 3)), (0, (9, 2, 3, 2)),
)  # fmt: skip


class Canvas:
    """Creates the axes of one plot, and makes the `Plot` when they are drawn.

    Raises:
        ValueError: an unknown style, or `figsize` or a style for given axes, whose figure has its own.
    """

    def __init__(
        self,
        ax: Axes | None,
        path: str | os.PathLike[str] | None,
        figsize: Size | None,
        style: Style | None,
    ) -> None:
        if style is not None and style not in get_args(Style):
            raise ValueError(f"unknown style {shown(style)}; choose from {', '.join(get_args(Style))}")
        if ax is not None:
            for name, value in (("figsize", figsize), ("style", style)):
                if value is not None:
                    raise ValueError(f"{name} is that of a new figure; leave it out with ax=")
        self._ax, self._path, self._figsize, self._paper = ax, path, figsize, style == "paper"
        self.least = _LEAST if self._paper else 0.0
        """The smallest letters in points."""

    @property
    def natural(self) -> bool:
        """Whether the plot has the size that it asks for."""
        return self._ax is None and self._figsize is None

    def size(self, natural: Size, fixed: float = 0.0) -> Size:
        """Return the inches of the axes or the figure; `fixed` inches of the natural height never shrink."""
        if self._ax is not None:
            return inches(self._ax)
        if self._figsize is not None:
            return self._figsize
        if not self._paper:
            return natural
        width = COLUMN if natural[0] <= _NARROW else PAGE
        shrunk = (natural[1] - fixed) * max(_FLAT, min(1.0, width / natural[0]))
        return width, fixed + shrunk

    def one(self, size: Size) -> Axes:
        """Return the given axes, or those of a new figure of `size` inches."""
        return self._ax or self._figure(size, layout="tight").subplots()

    def host(self, size: Size, fixed: float = 0.0) -> Axes:
        """Return the given axes, or those that fill a new figure; axes of panels are created inside."""
        ax = self._ax or self._figure(size, fixed).add_axes((0.0, 0.0, 1.0, 1.0))
        ax.set_axis_off()
        return ax

    def panels(
        self, rows: int, columns: int, size: Size, margins: Margins, foot: float = 0.0
    ) -> tuple[Axes, list[Axes]]:
        """Create axes in rows and columns inside those of `host`.

        `foot` inches remain free below all of them. If space is short, margins shrink before panels do.
        """
        ax = self.host(size)
        width, height = inches(ax)
        foot = min(foot, 0.3 * height)
        cell = width / columns, (height - foot) / rows
        left, right, below, above = margins
        across, upright = min(1.0, 0.6 * cell[0] / (left + right)), min(1.0, 0.6 * cell[1] / (below + above))
        left, right, below, above = left * across, right * across, below * upright, above * upright
        made = []
        for row in range(rows):
            for column in range(columns):
                corner = column * cell[0] + left, height - (row + 1) * cell[1] + below
                extent = cell[0] - left - right, cell[1] - below - above
                box = corner[0] / width, corner[1] / height, extent[0] / width, extent[1] / height
                made.append(ax.inset_axes(box))
        return ax, made

    def plot(self, axes: Sequence[Axes]) -> Plot:
        """Return the plot of axes that are drawn, after writing it to its file."""
        made = Plot(axes, _PAPER if self._paper else {})
        if self._paper:
            _enlarge(made.figure)
            _distinguish(made.figure)
        if self._path is not None:
            made.savefig(self._path)
        return made

    def _figure(self, natural: Size, fixed: float = 0.0, **options: Any) -> Figure:
        size = self.size(natural, fixed)
        if self._path is not None:  # no window, and no second picture in a notebook
            return Figure(size, **options)
        import matplotlib.pyplot as plt

        return plt.figure(figsize=size, **options)


def _enlarge(figure: Figure) -> None:
    """Make small letters legible on paper, and break labels that are longer than their axes."""
    for text in figure.findobj(Text):
        if isinstance(text, Text) and float(text.get_fontsize()) < _LEAST:
            text.set_fontsize(_LEAST)
    for ax in figure.findobj(Axes):
        assert isinstance(ax, Axes)
        for axis, length in zip((ax.xaxis, ax.yaxis), inches(ax), strict=True):
            letters = int(length / (0.6 * float(axis.label.get_fontsize()) / 72))
            axis.label.set_text(fill(axis.label.get_text(), max(letters, 10)))


def _distinguish(figure: Figure) -> None:
    """Give curves of different colours different dashes, and their entries in legends too."""
    curves = [
        line
        for ax in figure.findobj(Axes)
        if isinstance(ax, Axes) and ax.axison
        for line in ax.get_lines()
        if line.get_clip_on()
    ]
    entries = [
        line for legend in figure.findobj(Legend) if isinstance(legend, Legend) for line in legend.get_lines()
    ]
    dashes: dict[tuple[str, str], Any] = {}
    for line in [*curves, *entries]:
        if line.get_linestyle() != "None" and line.get_color() not in (INK, FAINT, GRID):
            look = str(line.get_color()), str(getattr(line, "_unscaled_dash_pattern", line.get_linestyle()))
            line.set_linestyle(dashes.setdefault(look, _DASHES[len(dashes) % len(_DASHES)]))
