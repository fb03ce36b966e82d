"""Scores of cells and searches in a tabulated benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from .._core import ConfigError
from .._protocol.row import BenchmarkScore, SearchRow
from .._protocol.table import SearchTable
from .._results.result import SearchResult
from .._values.genotype import Genotype
from .._values.words import shown

if TYPE_CHECKING:
    from .nas_bench_201 import NASBench201


class BenchmarkTrajectory(NamedTuple):
    """The tabulated accuracy of a search over time, as `NASBench201.trajectory` returns it."""

    times: npt.NDArray[np.float64]
    """The number of completed epochs or steps at each of the T points: 0 is the initial α."""
    unit: str
    """The unit of `times`: "epoch" if α was recorded per epoch, else "step"."""
    accuracies: npt.NDArray[np.float64]
    """The tabulated accuracy, in percent, of the genotype at each of the T points."""


def datasets_of(bench: NASBench201, datasets: Sequence[str] | str | None, split: str) -> list[str]:
    """Return the data sets that are asked for; None: all that have the split."""
    held = list(bench.splits)
    if datasets is None:
        names = [name for name in held if split in bench.splits[name]] or held
    else:
        names = [datasets] if isinstance(datasets, str) else list(dict.fromkeys(datasets))
    if not names:
        raise ConfigError(f"datasets is {shown(datasets)}; expected at least one")
    for name in names:
        bench.accuracies(name, split)  # checks both names
    return names


def score_of(bench: NASBench201, genotype: Genotype, dataset: str, split: str) -> BenchmarkScore:
    """Return the score of a cell."""
    asked = genotype, dataset, split
    return BenchmarkScore(bench.accuracy(*asked), bench.rank(*asked), bench.regret(*asked))


def scored(
    bench: NASBench201, table: SearchTable, datasets: Sequence[str] | str | None, split: str
) -> SearchTable:
    """See `NASBench201.score`."""
    if not isinstance(table, SearchTable):
        raise TypeError(
            f"table must be a SearchTable of search_many or compare, got a {type(table).__name__}"
        )
    names = datasets_of(bench, datasets, split)
    return SearchTable(_scored(bench, row, names, split) for row in table)


def _scored(bench: NASBench201, row: SearchRow, datasets: Sequence[str], split: str) -> SearchRow:
    if row.architecture is not None:
        raise ConfigError(
            f"row {shown(row.name)} has the architecture of a network of your own and no genotype"
        )
    genotype = row.genotype
    if genotype is not None:
        check_space(bench, genotype, f"row {shown(row.name)}")
    if genotype is None or (row.origin == "searched" and row.status != "complete"):
        return row
    found = {f"{dataset}_{split}": score_of(bench, genotype, dataset, split) for dataset in datasets}
    return replace(row, benchmark={**row.benchmark, **found})


def check_space(bench: NASBench201, genotype: Genotype, what: str) -> None:
    """Raise a ConfigError that names `what` if its genotype is not an architecture of the benchmark."""
    try:
        bench.index(genotype)
    except ConfigError as error:
        raise ConfigError(f"{what} has no architecture of NAS-Bench-201: {error}") from None


def followed(bench: NASBench201, result: SearchResult, dataset: str, split: str) -> BenchmarkTrajectory:
    """See `NASBench201.trajectory`."""
    if not isinstance(result, SearchResult):
        raise TypeError(f"expected a SearchResult, got a {type(result).__name__}")
    if not hasattr(result, "genotype"):
        raise ConfigError("this search had a network of your own, which has no genotype")
    check_space(bench, result.genotype, "this search")
    values, path = bench.accuracies(dataset, split), result.trajectory
    times, unit = path.time
    if not path.selects:
        last = values[[bench.index(result.genotype)]]
        return BenchmarkTrajectory(times[-1:], unit, last)
    places = {genotype: bench.index(genotype) for genotype in set(path.genotypes)}
    return BenchmarkTrajectory(times, unit, values[[places[genotype] for genotype in path.genotypes]])
