"""The search in a tabulated benchmark: curves over time, and the score of its genotype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..._benchmarks.scores import score_of
from .curves import POINTS, Curve, Line, curve
from .view import thin

if TYPE_CHECKING:
    from ..._benchmarks.nas_bench_201 import NASBench201
    from ..._results.result import SearchResult


@dataclass(frozen=True)
class Row:
    """The score of the genotype on one data set."""

    dataset: str
    split: str
    accuracy: str
    rank: str
    regret: str
    best: str
    """The accuracy of the best architecture."""
    median: str
    """The median of all architectures."""


@dataclass(frozen=True)
class Tabulated:
    """The scores and the curves by data set."""

    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]
    architectures: str
    """The number of architectures of the benchmark."""


def tabulated(result: SearchResult, bench: NASBench201) -> Tabulated:
    """Return the scores of a search on all data sets, each on its test split if the benchmark has that."""
    rows, curves = [], []
    for number, (dataset, splits) in enumerate(bench.splits.items()):
        split = "test" if "test" in splits else splits[0]
        times, unit, found = bench.trajectory(result, dataset, split)
        values, score = bench.accuracies(dataset, split), score_of(bench, result.genotype, dataset, split)
        best, median = float(values.max()), float(np.median(values))
        rows.append(
            Row(
                dataset,
                split,
                f"{score.accuracy:.2f}%",
                f"{score.rank:,}",
                f"{score.regret:.2f}",
                f"{best:.2f}%",
                f"{median:.2f}%",
            )
        )
        points = thin(len(times), POINTS)
        lines = [
            Line("best architecture", "limit", [0.0, float(times[-1])], [best, best]),
            Line("this search", "valid", times[points].tolist(), found[points].tolist()),
        ]
        title = f"Tabulated {split} accuracy, {dataset}"
        curves.append(
            curve(f"benchmark-{number}", title, "%", unit, lines, level=median, level_name="median of all")
        )
    return Tabulated(tuple(rows), tuple(curves), f"{len(bench):,}")
