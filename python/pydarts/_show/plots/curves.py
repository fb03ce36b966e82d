"""Plots of curves over time: entropy, skip connections, losses, accuracies, metrics."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from ..._results.gathered import gathered
from ..._results.history import History, Measures, known
from ..._results.tables import decisions_in_words
from ..._results.trajectory import Trajectory
from ..._values.plot import Plot, Style
from ..palette import series_look
from .canvas import Canvas
from .points import checked
from .style import FAINT, INK, nothing, plain_numbers, tidy, verbatim

_SIZE = (5.2, 3.2)
_DASHED = (0, (4, 2))
LINES = 7  # tables with a line and an entry in the legend
LEAST = 0.02  # nats: smallest range of a plot of entropies
MARKED = 40  # up to this number, points have markers


def entropy(
    trajectory: Trajectory,
    *,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw the mean entropy of the mixing weights over time, one line per table.

    The dashed line is the mean of log(operations), the entropy of equal weights; at 0 all edges are decided.
    Dotted vertical lines are decisions about the search. If a network of your own has more than 7 tables,
    their lines are thin, and a bold line is their mean.

    Args:
        trajectory: α over time, `result.trajectory`.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot. Entropies are in nats.

    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> space = Space(kind="recurrent", nodes=2)
    >>> path = Trajectory({"recurrent": np.zeros((3, 3, 5))}, range(3), space, 2)
    >>> plots.entropy(path).ax.get_ylabel()
    'mean entropy of the mixing weights, nats'
    """
    canvas = Canvas(ax, path, figsize, style)
    ax = canvas.one(_SIZE)
    time, label = checked(trajectory).time
    shown = trajectory if len(trajectory.alphas) <= LINES else gathered(trajectory)
    for name in trajectory.alphas if shown is not trajectory else ():
        ax.plot(time, trajectory.entropy(name), color=FAINT, linewidth=0.6, zorder=1)
    for number, name in enumerate(shown.alphas):
        said = name if name in trajectory.alphas else f"mean of {len(shown.tables[name].rows)} {name}"
        line(ax, time, shown.entropy(name), name, said, number=number)
    for number, most in enumerate(sorted({shown.tables[name].most for name in shown.alphas})):
        alike = None if number else "all alike"
        ax.axhline(most, color=FAINT, linewidth=1, linestyle=_DASHED, zorder=0, label=alike)
    mark_decisions(ax, trajectory)
    tidy(ax, "mean entropy of the mixing weights, nats")
    plain_numbers(ax, LEAST)
    across(ax, label)
    ax.legend(fontsize=8, frameon=False)
    return canvas.plot([ax])


def skips(
    trajectory: Trajectory,
    *,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw the number of skip connections of the genotype over time, in all cells together.

    A collapsing search fills its cells with them. In a recurrent cell, `identity` is counted.

    Args:
        trajectory: α over time, `result.trajectory`.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot.

    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> space = Space(kind="recurrent", nodes=2)
    >>> path = Trajectory({"recurrent": np.zeros((3, 3, 5))}, range(3), space, 2)
    >>> plots.skips(path).ax.lines[0].get_ydata().tolist()
    [0, 0, 0]
    """
    canvas = Canvas(ax, path, figsize, style)
    ax = canvas.one(_SIZE)
    time, label = checked(trajectory).time
    line(ax, time, trajectory.skips, "skip_connect", drawstyle="steps-post")
    mark_decisions(ax, trajectory)
    ax.set_ylim(-0.15, max(4, int(trajectory.skips.max())) + 0.4)
    tidy(ax, "skip connections in the genotype")
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    across(ax, label)
    if trajectory.decisions:
        ax.legend(fontsize=8, frameon=False)
    return canvas.plot([ax])


def losses(
    history: History[Any],
    *,
    words: bool | None = None,
    trajectory: Trajectory | None = None,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw training and validation losses of a search or a training, or perplexities of text.

    Args:
        history: `result.history`.
        words: whether the model is a language model; None: true for a search of recurrent cells.
        trajectory: `result.trajectory`, whose decisions are drawn as dotted vertical lines; None: no
            decisions.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot. Losses are in nats; epochs are counted from 1, so the record of epoch 0 is at 1. A ring
        marks the lowest validation loss. A range above a factor of ten gives a logarithmic axis.

    >>> from pydarts import TrainRecord, History, plots
    >>> record = TrainRecord(0, 1.5, 1.4, 0.5, 0.55, 0.025, averaged=False, seconds=1.0)
    >>> plots.losses(History([record])).ax.get_ylabel()
    'loss, nats'
    """
    check_history(history)
    canvas = Canvas(ax, path, figsize, style)
    ax = canvas.one(_SIZE)
    words = of_words(history) if words is None else words
    unit = "perplexity" if words else "loss"
    for part in ("train", "valid"):
        line(ax, epochs_of(history), [getattr(r, f"{part}_{unit}") for r in history], part, _PARTS[part])
    _best(ax, history, lambda record: getattr(record, f"valid_{unit}"), -1, 1.0, ".4g")
    tidy(ax, unit if words else "loss, nats")
    _logarithmic(ax, [getattr(r, f"{part}_{unit}") for r in history for part in _PARTS])
    if trajectory is not None:
        mark_decisions(ax, trajectory, by_epoch=True)
    _finish(ax, history)
    return canvas.plot([ax])


def accuracies(
    history: History[Any],
    *,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw training and validation accuracies of a search or a training.

    Args:
        history: `result.history`.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot. Accuracies are in per cent; epochs are counted from 1, so the record of epoch 0 is at 1. A
        ring marks the highest validation accuracy. Top-5 accuracies are drawn if a training has them. Without
        accuracies, as of a network of your own that counts none, the axes say so.

    >>> from pydarts import TrainRecord, History, plots
    >>> record = TrainRecord(0, 1.5, 1.4, 0.5, 0.55, 0.025, averaged=False, seconds=1.0)
    >>> plots.accuracies(History([record])).ax.lines[1].get_ydata().tolist()
    [55.00000000000001]
    """
    check_history(history)
    canvas = Canvas(ax, path, figsize, style)
    ax = canvas.one(_SIZE)
    for part, said in _PARTS.items():
        line(
            ax, epochs_of(history), [100 * known(getattr(r, f"{part}_accuracy")) for r in history], part, said
        )
    for part, said in _PARTS.items():
        top = [getattr(record, f"{part}_top5", None) for record in history]
        if any(value is not None for value in top):
            shown = [math.nan if value is None else 100 * value for value in top]
            line(ax, epochs_of(history), shown, part, f"{said}, top 5", linewidth=0.9, marker="")
    _best(ax, history, lambda record: known(record.valid_accuracy), 1, 100.0, ".2f")
    tidy(ax, "accuracy, %")
    _finish(ax, history)
    if history and all(record.train_accuracy is record.valid_accuracy is None for record in history):
        nothing(ax, "no accuracies")
    return canvas.plot([ax])


def metrics(
    history: History[Any],
    *,
    mode: Literal["max", "min"] = "max",
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw the values of a metric on the validation part, or those of several.

    Args:
        history: `result.history`.
        mode: which values are better, `result.config.metric_mode`.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot, titled with the name of the metric; of several, the legend holds the names. Epochs are
        counted from 1, so the record of epoch 0 is at 1. A ring marks the best value of the first metric,
        which epochs are compared by. Without a metric, the axes say so.

    >>> from pydarts import TrainRecord, History, plots
    >>> record = TrainRecord(0, 1.5, 1.4, None, None, 0.1, metrics={"f1": 0.5}, averaged=False, seconds=1.0)
    >>> ax = plots.metrics(History([record])).ax
    >>> ax.get_ylabel(), ax.lines[0].get_ydata().tolist()
    ('f1', [0.5])
    """
    check_history(history)
    canvas = Canvas(ax, path, figsize, style)
    ax = canvas.one(_SIZE)
    names = list(dict.fromkeys(name for record in history for name in record.metrics))
    for number, name in enumerate(names):
        values = [record.metrics.get(name, math.nan) for record in history]
        look = "valid" if len(names) == 1 else name
        said = _PARTS["valid"] if len(names) == 1 else verbatim(name)
        line(ax, epochs_of(history), values, look, said, number=number)
    if names:
        _best(ax, history, lambda record: record.metrics.get(names[0], math.nan), 1 if mode == "max" else -1)
    tidy(ax, verbatim(names[0]) if len(names) == 1 else "metrics")
    if history and not names:
        nothing(ax, "no metric")
    else:
        _finish(ax, history)
    return canvas.plot([ax])


_PARTS = {"train": "training", "valid": "validation"}


def of_words(history: Sequence[Measures]) -> bool:
    """Return whether a history belongs to a search of recurrent cells."""
    return any("recurrent" in getattr(record, "entropy", ()) for record in history)


def check_history(history: Sequence[Measures]) -> None:
    """Raise TypeError for anything but a history."""
    if not isinstance(history, Sequence):
        raise TypeError(f"expected a History such as result.history, got a {type(history).__name__}")


def epochs_of(history: Sequence[Measures]) -> list[int]:
    """Return the positions of the records: α after an epoch; 0 is before the first epoch."""
    return [record.epoch + 1 for record in history]


def mark_decisions(ax: Axes, path: Trajectory, *, by_epoch: bool = False) -> None:
    """Draw a vertical line at every time at which a decision was taken; the legend names the last one."""
    decided = [(epoch + 1.0 if by_epoch else at, epoch, decision) for at, epoch, decision in path.decided()]
    times = sorted({at for at, _, _ in decided})
    for at in times:
        said = [(epoch, decision) for when, epoch, decision in decided if when == at]
        label = None if at != times[-1] else decisions_in_words(said, path.tables)
        ax.axvline(at, color=FAINT, linewidth=1, linestyle=":", zorder=0, label=label)


def line(
    ax: Axes, x: Any, y: Any, name: str, label: str | None = None, *, number: int = 0, **more: Any
) -> None:
    look = series_look(name, number)
    marker = {"marker": "o", "markersize": 3} if len(x) <= MARKED else {}
    style: dict[str, Any] = {
        "color": look.color,
        "linestyle": look.style,
        "linewidth": 1.6,
        "label": label or name,
    }
    ax.plot(x, y, **(style | marker | more))


def _best(
    ax: Axes,
    history: Sequence[Measures],
    of: Callable[[Any], float],
    sign: int,
    scale: float = 1.0,
    spec: str = ".4g",
) -> None:
    """Draw a ring around the first best epoch; the legend shows its value."""
    found = [record for record in history if math.isfinite(of(record))]
    if found:
        best = max(found, key=lambda record: sign * of(record))
        value = scale * of(best)
        ax.plot(
            [best.epoch + 1],
            [value],
            "o",
            markersize=8,
            fillstyle="none",
            color=series_look("valid").color,
            markeredgewidth=1.2,
            label=f"best {value:{spec}} in epoch {best.epoch + 1}",
        )


def _finish(ax: Axes, history: Sequence[Measures]) -> None:
    across(ax, "epoch")
    if not history:
        nothing(ax, "no epoch")
        return
    averaged = [record.epoch + 1 for record in history if getattr(record, "averaged", False)]
    if averaged:
        ax.axvline(averaged[0] - 0.5, color=FAINT, linewidth=1, linestyle=_DASHED, label="averaged from here")
    if len(history) == 1:
        ax.set_xticks(epochs_of(history))
    ax.legend(fontsize=8, frameon=False)


def across(ax: Axes, label: str) -> None:
    ax.set_xlabel(label, fontsize=8, color=INK)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _logarithmic(ax: Axes, values: Sequence[float]) -> None:
    found = [value for value in values if math.isfinite(value) and value > 0]
    if found and max(found) > 10 * min(found):
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
