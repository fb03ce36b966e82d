"""Figures and tables of the summary of an experiment, for docs/findings.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydarts import Genotype
from scipy.stats import spearmanr

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "findings.md"
PICTURES = DOCS / "pictures" / "findings"
BLUE, ORANGE, GREY = "#3b6fb6", "#d9822b", "#9aa0a6"
STYLE = {
    "svg.hashsalt": "pydarts",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
}
# Operations without a weight; a cell of these alone computes next to nothing.
WITHOUT_WEIGHTS = ("none", "skip_connect", "avg_pool_3x3")

Summary: TypeAlias = dict[str, Any]
Runs: TypeAlias = dict[str, list[dict[str, Any]]]


def write_page(summary: Summary) -> None:
    """Draw the figures and replace the tables of the page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, draw in FIGURES.items():
            draw(summary).savefig(PICTURES / f"{name}.svg", metadata={"Date": None})
    text = PAGE.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        head, rest = text.split(begin, 1)
        _, tail = rest.split(end, 1)
        text = f"{head}{begin}\n{make(summary).strip()}\n{end}{tail}"
    PAGE.write_text(text, encoding="utf-8")


# ---- Reading


def of_kind(summary: Summary, kind: str) -> Runs:
    """Return the runs of a kind by name, in the order of the runs."""
    found: Runs = {}
    for run in summary["runs"]:
        if run["kind"] == kind:
            found.setdefault(run["name"], []).append(run)
    return {name: sorted(runs, key=lambda run: run["seed"]) for name, runs in found.items()}


def operations(cell: str) -> list[str]:
    """Return the six operations of a cell."""
    return [name for name, *_ in Genotype.from_nasbench201(cell).edges("cell")]


def bare(cell: str) -> int:
    """Return the number of edges without weights."""
    return sum(name in WITHOUT_WEIGHTS for name in operations(cell))


def correlation(summary: Summary, run: dict[str, Any]) -> float:
    """Return Spearman's ρ between accuracies in the search network and in the table."""
    return float(spearmanr(run["random_cells"], summary["random_cells"]).statistic)


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Return mean ± sample standard deviation."""
    found = list(values)
    deviation = f" ± {stdev(found):.{digits}f}" if len(found) > 1 else ""
    return f"{fmean(found):.{digits}f}{deviation}".replace("-", "−")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ---- Tables


def settings(summary: Summary) -> str:
    sizes = summary["sizes"]
    # A run that serves two names is listed twice.
    distinct = {(run["seed"], run["seconds"]) for run in summary["runs"]}
    hours = sum(seconds for _, seconds in distinct) / 3600
    return (
        f"{sizes['images']:,} images of CIFAR-10 at {sizes['side']}×{sizes['side']}, half of them for w; "
        f"{sizes['channels']} channels, N = {sizes['layers']}, {sizes['epochs']} epochs of "
        f"{sizes['images'] // 2 // 64} steps, seeds 0 to {sizes['seeds'] - 1}. {len(distinct)} runs, "
        f"{hours:.1f} hours of one thread. {summary['machine']}, {summary['date']}."
    )


def presets(summary: Summary) -> str:
    rows = []
    for name, runs in of_kind(summary, "preset").items():
        rows.append(
            [
                f"`{name}`",
                spread(run["accuracy"] for run in runs),
                ", ".join(f"{run['accuracy']:.2f}" for run in runs),
                spread((bare(run["cell"]) for run in runs), 1),
                spread((100 * run["search_accuracy"][-1] for run in runs), 1),
                spread(correlation(summary, run) for run in runs),
                f"{1000 * summary['step_seconds'][step_of(name)]:.0f}",
            ]
        )
    for name, runs in of_kind(summary, "random").items():
        tried = [len(run["tried"]) for run in runs]
        rows.append(
            [
                f"{name.replace('_', ' ')} of equal cost ({min(tried)} to {max(tried)} cells)",
                spread(run["accuracy"] for run in runs),
                ", ".join(f"{run['accuracy']:.2f}" for run in runs),
                spread((bare(run["cell"]) for run in runs), 1),
                "–",
                "–",
                "–",
            ]
        )
    whole = summary["table"]
    rows.append(["one random cell", f"{whole['mean']:.2f} ± {whole['deviation']:.2f}", *["–"] * 5])
    for count, value in whole["best_of"].items():
        if count != "1":
            rows.append([f"best of {count} random cells, by the table itself", f"{value:.2f}", *["–"] * 5])
    rows.append(["best cell", f"{whole['best']:.2f}", *["–"] * 5])
    header = [
        "",
        "accuracy of the cell, %",
        "by seed",
        "edges without weights",
        "search network, %",
        "Spearman's ρ",
    ]
    return table([*header, "ms per step"], rows)


def step_of(name: str) -> str:
    """Return the name of a preset's step among the measured ones."""
    return "hypergradient unrolled_exact" if name == "darts_exact" else f"preset {name}"


def proxy(summary: Summary) -> str:
    """Spearman's ρ between the accuracies of cells that are trained on their own and those of the table."""
    [runs] = of_kind(summary, "proxy").values()
    known = 3  # the last cells of every run are those of `proxy_cells`
    pairs = np.array([(one["valid_accuracy"], one["table"]) for run in runs for one in run["tried"][:-known]])
    rng = np.random.default_rng(0)
    drawn = [pairs[rng.integers(0, len(pairs), len(pairs))].T for _ in range(2000)]
    low, high = np.quantile([spearmanr(*pair).statistic for pair in drawn], (0.025, 0.975))
    correlation = spearmanr(*pairs.T).statistic
    found = f"{correlation:.2f} ({low:.2f} to {high:.2f})".replace("-", "−")
    rows = [[f"Spearman's ρ, {len(pairs)} random cells, and 95 % bootstrap interval", found]]
    for at, name in zip(
        range(-known, 0), ("all skip", "all 3×3 convolutions", "best of the table"), strict=True
    ):
        values = spread((100 * run["tried"][at]["valid_accuracy"] for run in runs), 1)
        rows.append([f"{name}, {runs[0]['tried'][at]['table']:.2f} % in the table", f"{values} %"])
    quartiles = " to ".join(f"{100 * value:.1f} %" for value in np.quantile(pairs[:, 0], (0.25, 0.75)))
    rows.append(["the middle half of the random cells", quartiles])
    return table(["trained on their own, at the size of the searches", "validation"], rows)


def hypergradients(summary: Summary) -> str:
    found = of_kind(summary, "hypergradient")
    times = summary["step_seconds"]
    rows = [
        [
            f"`{name}`",
            spread(run["accuracy"] for run in runs),
            ", ".join(f"{run['accuracy']:.2f}" for run in runs),
            spread(best_epoch(run) for run in runs),
            spread((bare(run["cell"]) for run in runs), 1),
            spread(correlation(summary, run) for run in runs),
            f"{times[f'hypergradient {name}'] / times['hypergradient first_order']:.2f}",
        ]
        for name, runs in reversed(found.items())
    ]
    header = ["", "accuracy of the cell, %", "by seed", "best epoch's cell, %", "edges without weights"]
    return table([*header, "Spearman's ρ", "time over first order"], rows)


def rates(summary: Summary) -> str:
    rows = [
        [
            f"{float(name):g}",
            spread(run["accuracy"] for run in runs),
            ", ".join(f"{run['accuracy']:.2f}" for run in runs),
            spread(best_epoch(run) for run in runs),
            spread((bare(run["cell"]) for run in runs), 1),
            spread(largest_share(run) for run in runs),
        ]
        for name, runs in sorted(of_kind(summary, "rate").items(), key=lambda item: float(item[0]))
    ]
    header = ["learning rate of α", "accuracy of the cell, %", "by seed", "best epoch's cell, %"]
    return table([*header, "edges without weights", "largest weight of an edge, mean"], rows)


def largest_share(run: dict[str, Any]) -> float:
    """Return the largest mixing weight of an edge at the end, averaged over the edges."""
    return fmean(max(row) for row in run["strengths"])


def best_epoch(run: dict[str, Any]) -> float:
    """Return the accuracy of the best cell of all epochs, which a search cannot know."""
    return max(run["accuracies"][1:])


def cells(summary: Summary) -> str:
    rows = [
        [f"`{name}`", str(run["seed"]), f"`{run['cell'].replace('|', '¦')}`", f"{run['accuracy']:.2f}"]
        for kind in ("preset", "hypergradient", "rate", "random")
        for name, runs in of_kind(summary, kind).items()
        for run in runs
    ]
    return table(["", "seed", "cell (¦ for the vertical bar)", "accuracy, %"], rows)


# ---- Figures


def trajectories(summary: Summary) -> Figure:
    """Accuracy of the cell of every epoch, one panel per preset."""
    found = of_kind(summary, "preset")
    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots(2, (len(found) + 1) // 2, sharex=True, sharey=True, squeeze=False)
    for ax, (name, runs) in zip(axes.flat, found.items(), strict=False):
        lines(ax, runs, summary)
        ax.set_title(name)
    figure.supxlabel("epoch")
    figure.supylabel("accuracy in the table, %")
    return figure


def lines(ax: Axes, runs: list[dict[str, Any]], summary: Summary) -> None:
    """Draw one line per seed, or a point where a search has a cell only at its end."""
    whole, epochs = summary["table"], summary["sizes"]["epochs"]
    ax.axhspan(*whole["quartiles"], color=GREY, alpha=0.25, lw=0)
    ax.axhline(whole["best"], color=GREY, lw=0.8, ls="--")
    for run in runs:
        if run["accuracies"]:
            ax.plot(range(epochs + 1), run["accuracies"], color=BLUE, lw=1, alpha=0.8)
        ax.plot(epochs, run["accuracy"], "o", color=BLUE, ms=3)


def finals(summary: Summary) -> Figure:
    """The chosen cells, next to random ones."""
    found = {**of_kind(summary, "preset"), **of_kind(summary, "random")}
    return points(summary, found, lambda run: run["accuracy"], "accuracy of the chosen cell in the table, %")


def ranks(summary: Summary) -> Figure:
    """Spearman's ρ of accuracies in the search network."""
    found = of_kind(summary, "preset")
    figure = points(
        summary, found, lambda run: correlation(summary, run), "Spearman's ρ over random cells", scale=False
    )
    figure.axes[0].axvline(0, color=GREY, lw=0.8)
    return figure


def second_order(summary: Summary) -> Figure:
    """The chosen cells by hypergradient."""
    found = dict(reversed(of_kind(summary, "hypergradient").items()))
    return points(summary, found, lambda run: run["accuracy"], "accuracy of the chosen cell in the table, %")


def points(
    summary: Summary, found: Runs, value: Callable[[dict[str, Any]], float], label: str, scale: bool = True
) -> Figure:
    """Draw one row per name: a point per seed, and the mean."""
    figure = Figure(figsize=(6.4, 0.6 + 0.3 * len(found)), layout="constrained")
    ax = figure.subplots()
    if scale:
        ax.axvspan(*summary["table"]["quartiles"], color=GREY, alpha=0.25, lw=0)
        ax.axvline(summary["table"]["best"], color=GREY, lw=0.8, ls="--")
    for row, runs in enumerate(found.values()):
        values = [value(run) for run in runs]
        ax.plot(values, np.full(len(values), row), "o", color=BLUE, ms=4, alpha=0.8)
        ax.plot(fmean(values), row, "|", color=ORANGE, ms=12, mew=2)
    ax.set_yticks(range(len(found)), [name.replace("_", " ") for name in found])
    ax.invert_yaxis()
    ax.set_xlabel(label)
    return figure


TABLES: dict[str, Callable[[Summary], str]] = {
    "settings": settings,
    "presets": presets,
    "proxy": proxy,
    "hypergradients": hypergradients,
    "rates": rates,
    "cells": cells,
}
FIGURES: dict[str, Callable[[Summary], Figure]] = {
    "trajectories": trajectories,
    "finals": finals,
    "ranks": ranks,
    "second-order": second_order,
}
