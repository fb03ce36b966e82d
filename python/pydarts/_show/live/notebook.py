"""The live view in notebooks: a line of numbers, α with curves, and the cell, each updated in its output."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from typing import Any, Protocol
from uuid import uuid4

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..._results.gathered import gathered
from ..._results.measured import grouped, names_of
from ..._results.tables import all_names
from ..._results.trajectory import Trajectory
from ..palette import looks_of, series_look
from ..plots import curves
from ..plots.alphas import PANELS
from ..plots.cells import figure_of
from ..plots.measured import draw
from ..plots.points import cut_of, grid, limits
from ..plots.style import INK, tidy, title
from .budget import TimeBudget
from .scene import Scene
from .tiles import tiles

_GUESS = 0.5  # seconds for the first plot on a slow machine
_WIDTH, _DPI = 11.0, 90  # inches, pixels per inch
_FOOT = 1.6  # inches: height of a row of curves


class Display(Protocol):
    """`IPython.display.display`."""

    def __call__(self, data: dict[str, Any], /, *, raw: bool, display_id: str, update: bool) -> object:
        """Show data by MIME type, or update the output with this identifier."""


class NotebookView:
    """Draws below the running cell; the last plots remain in the notebook."""

    def __init__(self, display: Display, share: float) -> None:
        self._line = _Output(display, TimeBudget(0.1 * share))
        self._moving = _Output(display, TimeBudget(0.6 * share, guess=_GUESS))
        self._cells = _Output(display, TimeBudget(0.3 * share, guess=_GUESS))
        self._cell: frozenset[Any] | None = None

    def draw(self, scene: Scene, *, last: bool = False) -> None:
        """Draw what is due; at the end draw everything."""
        if last or self._line.due():
            self._line.show(lambda: _words(scene))
        if scene.trajectory is None:
            return
        if last or self._moving.due():
            self._moving.show(lambda: _png(moving(scene), "α over time, losses, scores, entropy"))
        genotype = scene.genotype
        if genotype is None:
            return
        cell = genotype.edge_set
        if cell != self._cell and (last or self._cells.due()):
            self._cells.show(lambda: _png(figure_of(genotype), str(genotype)))
            self._cell = cell

    def close(self) -> None:
        """Do nothing: the plots remain."""


class _Output:
    """An output of a notebook cell, and the schedule of its updates."""

    def __init__(self, display: Display, budget: TimeBudget) -> None:
        self._display, self._budget = display, budget
        self._id = f"pydarts-{uuid4().hex}"
        self._shown = False
        self.due = budget.due

    def show(self, draw: Callable[[], dict[str, Any]]) -> None:
        """Show data by MIME type, replacing the previous data."""
        with self._budget.drawing():
            self._display(draw(), raw=True, display_id=self._id, update=self._shown)
        self._shown = True


def moving(scene: Scene) -> Figure:
    """Draw α over time with one tile per edge; below it the curves and, if there are any, diagnostics."""
    assert scene.trajectory is not None
    path = gathered(scene.trajectory, PANELS)
    tables = list(path.alphas)
    groups = grouped(names_of(scene.records))
    more = -(-len(groups) // 3) * (_FOOT + 0.7)
    body = 0.62 * max(grid(names)[2] for names in path.tables.values())  # inches
    height = 0.75 + body + 0.75 + _FOOT + more
    figure = Figure(figsize=(_WIDTH, height))
    top, bottom = 1 - 0.65 / height, (0.4 + more) / height
    middle = (0.4 + more + _FOOT) / height
    upper = figure.add_gridspec(
        1, len(tables), left=0.02, right=0.99, bottom=top - body / height, top=top, wspace=0.04
    )
    lower = figure.add_gridspec(1, 3, left=0.05, right=0.99, bottom=bottom, top=middle, wspace=0.22)
    bounds = limits([path.shown(table) for table in tables])
    for at, table in enumerate(tables):
        ax = figure.add_subplot(upper[at])
        tiles(ax, path, table, bounds)
        title(ax, table + cut_of(scene.trajectory, path, table))
    said = ", ".join(["mixing weights", *path.relaxation_in_words(-1)])
    said += f", every panel from {bounds[0]:.3f} to {bounds[1]:.3f}"
    figure.text(0.99, 1 - 0.55 / height, said, fontsize=8, color=INK, ha="right")
    if not any(table.sparse for table in path.tables.values()):
        _legend(figure, path)
    losses, rights, entropy = (figure.add_subplot(lower[at]) for at in range(3))
    if scene.records:
        curves.losses(scene.history, trajectory=path, ax=losses)
    else:
        _by_step(losses, scene)
    if any(record.metrics for record in scene.records):
        curves.metrics(scene.history, mode=scene.config.metric_mode, ax=rights)
    else:
        curves.accuracies(scene.history, ax=rights)
    curves.entropy(scene.trajectory, ax=entropy).ax.set_ylabel("mean entropy, nats")
    for number, (named, names) in enumerate(groups):
        row, column = divmod(number, 3)
        low = 0.4 + more - (row + 1) * (_FOOT + 0.7)
        place = (0.05 + column * 0.325, low / height, 0.26, _FOOT / height)
        ax = figure.add_axes(place)
        draw(ax, scene.records, names, path, scene.config.stop)
        title(ax, named, 8)
    return figure


def _legend(figure: Figure, path: Trajectory) -> None:
    looks = looks_of(all_names(path.tables))
    handles = [
        Line2D([], [], color=look.color, linestyle=look.style, label=operation)
        for operation, look in looks.items()
    ]
    figure.legend(handles=handles, loc="upper right", ncols=len(handles), fontsize=7.5, frameon=False)


def _by_step(ax: Axes, scene: Scene) -> None:
    """Draw the losses of the first epoch."""
    steps, train, valid = scene.losses
    for part, values, label in (("train", train, "training"), ("valid", valid, "α steps")):
        look = series_look(part)
        ax.plot(steps, values, color=look.color, linestyle=look.style, linewidth=1.6, label=label)
    tidy(ax, "loss, nats")
    ax.set_xlabel("step", fontsize=8, color=INK)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.legend(fontsize=8, frameon=False)


def _png(figure: Figure, alt: str) -> dict[str, Any]:
    """Return a plot as PNG, with alternative text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, pil_kwargs={"compress_level": 1})
    return {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt}


def _words(scene: Scene) -> dict[str, Any]:
    text = f"{scene.title}: {scene.numbers}" if scene.numbers else scene.title
    text += f"; {scene.decided}" if scene.decided else ""
    bar = ""
    if scene.result is None and scene.total is not None:
        bar = f'<progress value="{scene.done}" max="{scene.total}"></progress> '
    return {"text/html": f"{bar}<code>{html.escape(text)}</code>", "text/plain": text}
