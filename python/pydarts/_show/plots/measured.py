"""Plot of the diagnostics of a search over its epochs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from ..._results.history import History, Measures
from ..._results.measured import curvature_limit, names_of, points, quantity
from ..._results.trajectory import Trajectory
from ..._values.plot import Plot, Style
from ..._values.words import shown
from .canvas import Canvas
from .curves import across, check_history, line, mark_decisions
from .style import nothing, tidy, title

_ACROSS = 3  # panels in a row
_SIZE = 3.1, 2.1  # inches of a panel with its margins
_MARGINS = (0.62, 0.12, 0.45, 0.28)


def diagnostics(
    history: History[Any],
    names: Sequence[str] | str | None = None,
    *,
    trajectory: Trajectory | None = None,
    stop: Any = None,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw the diagnostics of a search over its epochs, one panel per name.

    They are parameters and measurements of the algorithm in every epoch, such as "temperature",
    "term.entropy" or "curvature": see `EpochRecord.diagnostics`. Epochs in which a number was not measured
    are left out.

    Args:
        history: `result.history`.
        names: the diagnostics to draw; None: all.
        trajectory: `result.trajectory`, whose decisions are drawn as dotted vertical lines; None: no
            decisions.
        stop: the rule that ends the search, `result.config.stop`. The panel of the curvature shows the local
            average that `Curvature` compares, and as a dashed line the value at which it ends the search.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot, whose axes are the panels in the order of the names. Epochs are counted from 1. Without
        diagnostics, as in a search by plain DARTS, the only axes say so.

    Raises:
        ValueError: no such diagnostic or style.

    >>> from pydarts import EpochRecord, History, plots
    >>> measured = {"temperature": 10.0, "term.entropy": 0.2}
    >>> record = EpochRecord(0, 1.5, 1.4, 0.5, 0.55, 0.025, {}, None, 1.0, diagnostics=measured)
    >>> [panel.get_title(loc="left") for panel in plots.diagnostics(History([record]))]
    ['temperature', 'term.entropy']
    """
    canvas = Canvas(ax, path, figsize, style)
    check_history(history)
    known = names_of(history)
    wanted = known if names is None else [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in known:
            raise ValueError(f"no diagnostic {shown(name)}; the history has {', '.join(known) or 'none'}")
    columns = min(_ACROSS, max(1, len(wanted)))
    rows = max(1, -(-len(wanted) // columns))
    _, made = canvas.panels(rows, columns, (_SIZE[0] * columns, _SIZE[1] * rows), _MARGINS)
    for panel in made[len(wanted) :]:
        panel.set_axis_off()
    if not wanted:
        made[0].set_axis_on()
        nothing(made[0], "no diagnostics")
        return canvas.plot(made[:1])
    for panel, name in zip(made, wanted, strict=False):
        draw(panel, history, [name], trajectory, stop)
        title(panel, name, 8.5)
    return canvas.plot(made[: len(wanted)])


def draw(
    ax: Axes, history: Sequence[Measures], names: Sequence[str], path: Trajectory | None, stop: Any
) -> None:
    """Draw diagnostics of one group over the epochs."""
    known = False
    for number, name in enumerate(names):
        x, y = points(history, name)
        line(ax, x, y, "valid" if len(names) == 1 else name, name, number=number)
        known = known or bool(x)
    limit = curvature_limit(history, stop) if "curvature" in names else None
    if limit is not None:
        line(ax, limit.epochs, limit.averages, "train", "local average", marker="")
        line(ax, limit.epochs, limit.limits, "limit", "ends the search", marker="")
    if path is not None:
        mark_decisions(ax, path, by_epoch=True)
    tidy(ax, quantity(names[0]).unit, size=7)
    across(ax, "epoch")
    if len(ax.lines) > 1:
        ax.legend(fontsize=6.5, frameon=False)
    if not known:
        nothing(ax, "no finite value")
