"""Plot that compares several searches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..._results.result import SearchResult
from ..._results.score import ACCURACY, PERPLEXITY, Score, score_of
from ..._values.plot import Plot, Style
from ..palette import run_look
from .canvas import Canvas
from .curves import LEAST, MARKED
from .style import INK, nothing, plain_numbers, tidy, verbatim

_WIDTH = 11.5  # inches of a new figure


def compare(
    results: Mapping[str, SearchResult] | Sequence[SearchResult],
    *,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw validation accuracy, entropy and skip connections of several searches over time.

    If all cells are recurrent, the first panel shows validation perplexity. It shows the metric if all
    searches have the same one, and the validation loss if none has a metric or accuracies. The entropy is
    the mean over all rows of all tables, in nats. Curves of skip connections are slightly shifted, so that
    equal ones remain visible. A panel for which no search has values says so, such as that of the skip
    connections for networks of your own.

    Args:
        results: name -> result, or a sequence of results, which are named "run 0", "run 1" and so on.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot, whose axes are the three panels. Time is in epochs, counted from 1, if all searches
        recorded α by epoch, otherwise in steps; 0 is before the first.

    Raises:
        TypeError: a value is not a `SearchResult`.
        ValueError: there are no results.

    >>> import numpy as np, pydarts
    >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    >>> result = pydarts.search((X, y), cfg)
    >>> len(pydarts.plots.compare({"once": result, "the same": result}))
    3
    """
    canvas, runs = Canvas(ax, path, figsize, style), named(results)
    columns = max(1, min(len(runs), int(_WIDTH / (0.5 + 0.075 * max(map(len, runs))))))
    foot = 0.2 + 0.2 * -(-len(runs) // columns)
    host, made = canvas.panels(1, 3, (_WIDTH, 3.0 + foot), (0.75, 0.12, 0.45, 0.3), foot)
    spaces = [result.trajectory.space for result in runs.values()]
    words = all(space is not None and space.kind == "recurrent" for space in spaces)
    score = _score(list(runs.values()), words)
    by_epoch = all(result.trajectory.time[1] == "epoch" for result in runs.values())
    handles = []
    for number, (name, result) in enumerate(runs.items()):
        look, course = run_look(number), result.trajectory
        looks: dict[str, Any] = {"color": look.color, "linestyle": look.style, "linewidth": 1.5}
        few: dict[str, Any] = {"marker": "o", "markersize": 3} if len(course) <= MARKED else {}
        time = course.time[0] if by_epoch else np.asarray(course.steps)
        scores = [(100 if score.percent else 1) * score.valid(record) for record in result.history]
        made[0].plot([record.epoch + 1 for record in result.history], scores, **looks, **few)
        made[1].plot(time, np.mean([course.entropy(table) for table in course.alphas], 0), **looks, **few)
        apart = min(0.05, 0.4 / len(runs)) * (number - (len(runs) - 1) / 2)
        if course.space is not None:
            made[2].plot(time, course.skips + apart, drawstyle="steps-post", **looks)
        handles.append(Line2D([], [], label=name.replace("$", r"\$"), **looks))
    unit = "epoch" if by_epoch else "step"
    for panel, label, across in zip(
        made,
        (
            verbatim(score.label),
            "mean entropy of the mixing weights, nats",
            "skip connections in the genotype",
        ),
        ("epoch", unit, unit),
        strict=True,
    ):
        tidy(panel, label)
        panel.set_xlabel(across, fontsize=8, color=INK)
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    plain_numbers(made[1], LEAST)
    made[2].yaxis.set_major_locator(MaxNLocator(6, integer=True))
    made[2].set_ylim(bottom=-0.3)
    missing = {"perplexity": "no perplexities", "accuracy": "no accuracies"}.get(score.name, "no values")
    for panel, said in ((made[0], missing), (made[2], "no cells")):
        if not any(np.isfinite(line.get_ydata()).any() for line in panel.lines):
            nothing(panel, said)
    host.legend(
        handles=handles,
        loc="lower center",
        ncols=columns,
        fontsize=8,
        frameon=False,
        bbox_to_anchor=(0.5, 0.0),
    )
    return canvas.plot(made)


def _score(results: Sequence[SearchResult], words: bool) -> Score:
    """Return perplexity of text; otherwise the measurement that all searches share, or accuracy."""
    found = [score_of(result.history, result.config.metric_mode) for result in results if result.history]
    same = len({(score.name, score.metric) for score in found}) == 1
    if same and (found[0].metric or not words):
        return found[0]
    return PERPLEXITY if words else ACCURACY


def named(results: Any) -> dict[str, SearchResult]:
    """Return results by name; those of a sequence are "run 0", "run 1" and so on.

    Raises:
        TypeError: a value is not a `SearchResult`.
        ValueError: there are no results.
    """
    if isinstance(results, Mapping):
        found = {str(name): result for name, result in results.items()}
    elif isinstance(results, Sequence) and not isinstance(results, str):
        found = {f"run {number}": result for number, result in enumerate(results)}
    else:
        raise TypeError(f"expected a mapping or sequence of results, got a {type(results).__name__}")
    for name, result in found.items():
        if not isinstance(result, SearchResult):
            raise TypeError(f"results[{name!r}] must be a SearchResult, got a {type(result).__name__}")
    if not found:
        raise ValueError("expected at least one result")
    return found
