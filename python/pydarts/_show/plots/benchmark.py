"""Plot of searches in a tabulated benchmark."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..._benchmarks.nas_bench_201 import NASBench201
from ..._benchmarks.scores import datasets_of
from ..._results.result import SearchResult
from ..._values.plot import Plot, Style
from ..._values.words import shown
from ..palette import Look, run_look
from .canvas import Canvas
from .compare import named
from .curves import MARKED, across
from .style import FAINT, INK, tidy, title, verbatim

Runs: TypeAlias = SearchResult | Sequence[SearchResult]

_SIZE = 4.0, 3.0  # inches of a panel with its margins
_MARGINS = (0.6, 0.72, 0.45, 0.28)
_DASHED, _DOTTED = (0, (4, 2)), (0, (1, 1))


def benchmark(
    bench: NASBench201,
    results: Mapping[str, Runs] | Runs,
    datasets: Sequence[str] | str | None = None,
    split: str = "test",
    *,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
    figsize: tuple[float, float] | None = None,
    style: Style | None = None,
) -> Plot:
    """Draw the tabulated accuracy of searches over time, one panel per data set.

    The accuracies are those of `bench.trajectory`, for the genotype at every recorded point. The dashed line
    is the best architecture of the benchmark, the dotted one the median of all, which a random
    architecture exceeds with probability 1/2. A search whose selection does not follow α has one point, its
    end.

    Args:
        bench: the benchmark.
        results: one result; several, which are named "run 0", "run 1" and so on; or name -> result. A name
            may have several results, such as one per seed: their median is a line and their range an area.
        datasets: names of data sets, or one name; None: all of the file that have the split.
        split: the split of the accuracies.
        ax: axes to draw into; None: a new figure.
        path: name of a file to write, such as `alphas.pdf`; such a figure opens no window.
        figsize: width and height of a new figure in inches.
        style: `"paper"` for a figure as wide as a column or a page of a paper, with letters of at least 7
            points, TrueType fonts, and curves with different dashes.

    Returns:
        The plot, which has one axes per data set. Time is in epochs, counted from 1, if all searches
        recorded α by epoch, otherwise in steps; 0 is the initial α.

    Raises:
        ConfigError: an unknown data set or split; a search had another space or no cells.
        TypeError: a value is not a `SearchResult`, or `bench` is no benchmark.
        ValueError: there are no results; the results of one name have different points.

    >>> import itertools, os, tempfile, numpy as np, pydarts
    >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    >>> sizes = {"channels": 2, "layers": 1, "epochs": 2, "batch_size": 8}
    >>> cfg = pydarts.SearchConfig(space="nas-bench-201", progress=False, **sizes)
    >>> result = pydarts.search((X, y), cfg)
    >>> ops = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
    >>> edges = np.array(list(itertools.product(range(5), repeat=6)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "invented.npz")
    ...     np.savez(path, ops=ops, edges=edges, cifar10_test=10.0 + 14.0 * (edges == 3).sum(1))
    ...     bench = pydarts.benchmarks.NASBench201(path)
    >>> [panel.get_title(loc="left") for panel in pydarts.plots.benchmark(bench, {"first order": result})]
    ['cifar10']
    """
    canvas = Canvas(ax, path, figsize, style)
    check_bench(bench)
    runs = _runs(results)
    names = datasets_of(bench, datasets, split)
    columns = max(1, min(len(runs), int(_SIZE[0] * len(names) / (0.5 + 0.075 * max(map(len, runs))))))
    foot = 0.0 if isinstance(results, SearchResult) else 0.2 + 0.2 * -(-len(runs) // columns)
    host, made = canvas.panels(1, len(names), (_SIZE[0] * len(names), _SIZE[1] + foot), _MARGINS, foot)
    for panel, dataset in zip(made, names, strict=True):
        _draw(panel, bench, runs, dataset, split)
    if foot:
        looks = [(name, run_look(number)) for number, name in enumerate(runs)]
        handles = [Line2D([], [], label=verbatim(name), **_style(look)) for name, look in looks]
        host.legend(
            handles=handles, ncols=columns, fontsize=8, frameon=False,
            loc="lower center", bbox_to_anchor=(0.5, 0.0),
        )  # fmt: skip
    return canvas.plot(made)


def check_bench(bench: NASBench201) -> None:
    """Raise TypeError for anything but a benchmark."""
    if not isinstance(bench, NASBench201):
        raise TypeError(f"expected a benchmark of pydarts.benchmarks, got a {type(bench).__name__}")


def _runs(results: Any) -> dict[str, list[SearchResult]]:
    """Return the results of every name."""
    if isinstance(results, SearchResult):
        return {"search": [results]}
    groups = results.items() if isinstance(results, Mapping) and results else named(results).items()
    return {
        str(name): [found] if isinstance(found, SearchResult) else list(named(found).values())
        for name, found in groups
    }


def _draw(
    ax: Axes, bench: NASBench201, runs: Mapping[str, Sequence[SearchResult]], dataset: str, split: str
) -> None:
    values = bench.accuracies(dataset, split)
    levels = [("best", float(values.max()), _DASHED), ("median", float(np.median(values)), _DOTTED)]
    for number, (what, value, dashes) in enumerate(levels):
        ax.axhline(value, color=FAINT, linewidth=1, linestyle=dashes, zorder=0, label=what)
        ax.annotate(
            f"{what} {value:.2f}", (1, value), (3, 3 if number else -3), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="top" if number else "bottom", fontsize=7, color=INK,
        )  # fmt: skip
    steps = any(result.trajectory.time[1] == "step" for group in runs.values() for result in group)
    for number, (name, group) in enumerate(runs.items()):
        times, found = _accuracies(bench, name, group, dataset, split, steps)
        style = _style(run_look(number)) | ({"marker": "o", "markersize": 3} if len(times) <= MARKED else {})
        if len(group) > 1:
            low, high = found.min(0), found.max(0)
            ax.fill_between(times, low, high, step="post", color=style["color"], alpha=0.15, linewidth=0)
        ax.plot(times, np.median(found, 0), drawstyle="steps-post", label=verbatim(name), **style)
    tidy(ax, f"tabulated {split} accuracy, %")
    ax.margins(y=0.08)
    across(ax, "step" if steps else "epoch")
    title(ax, verbatim(dataset), 8.5)


def _accuracies(
    bench: NASBench201, name: str, group: Sequence[SearchResult], dataset: str, split: str, steps: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the points in time of a group of runs, [T], and the tabulated accuracies there, [runs, T]."""
    paths = [bench.trajectory(result, dataset, split) for result in group]
    times = [
        np.asarray(result.steps, np.float64)[-len(path.times) :] if steps else path.times
        for result, path in zip(group, paths, strict=True)
    ]
    if any(not np.array_equal(times[0], other) for other in times):
        raise ValueError(
            f"the results of {shown(name)} have different points in time; give each its own name"
        )
    return times[0], np.stack([path.accuracies for path in paths])


def _style(look: Look) -> dict[str, Any]:
    return {"color": look.color, "linestyle": look.style, "linewidth": 1.6}
