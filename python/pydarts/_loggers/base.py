"""The base class of loggers and what they share: flat names for measurements and for strengths."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from .._results.history import EpochRecord, flat
from .._results.tables import EDGES, AlphaTable
from .._search.callbacks import Callback, EpochInfo, StartInfo
from .._search.moments import snapshot
from .._values.config import SearchConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .._results.result import SearchResult
    from .._values.genotype import Genotype


class Logger(Callback):
    """Opened at the start of a search and closed at its end; one logger can log several searches in turn."""

    _open = False
    _cell: frozenset[Any] | None = None

    def on_start(self, info: StartInfo) -> None:
        """Open the log."""
        self._config, self._tables, self._cell = info.config, info.tables, None
        self._begin(info)
        self._open = True

    def on_epoch(self, info: EpochInfo) -> None:
        """Write the epoch, and its cell if it has changed."""
        self._write(info.epoch, info, numbers(info))
        cell = None if info.genotype is None else info.genotype.edge_set
        if info.genotype is not None and cell != self._cell:
            self._cell = cell
            self._show(info.epoch, info.genotype)

    def on_end(self, result: SearchResult) -> None:
        """Close the log."""
        if self._open:
            self._open = False
            self._finish(result)

    @abstractmethod
    def _begin(self, info: StartInfo) -> None: ...
    @abstractmethod
    def _write(self, epoch: int, info: EpochInfo, row: dict[str, float]) -> None: ...
    def _show(self, epoch: int, genotype: Genotype) -> None: ...
    @abstractmethod
    def _finish(self, result: SearchResult) -> None: ...


def numbers(info: EpochRecord) -> dict[str, float]:
    """Return the measurements of an epoch by name: losses, accuracies (for text also perplexities), learning
    rate, skip connections, seconds, entropies, metrics (`metric_<name>`) and diagnostics, such as
    `temperature` or `term.entropy`."""
    row = flat({field.name: getattr(info, field.name) for field in fields(EpochRecord)})
    if "recurrent" in info.entropy:
        row |= {"train_perplexity": info.train_perplexity, "valid_perplexity": info.valid_perplexity}
    return {name: _number(value) for name, value in row.items() if name != "epoch"}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def names(tables: Mapping[str, AlphaTable]) -> list[str]:
    """The names of `numbers` without metrics and diagnostics, which only epochs name.

    >>> from pydarts import Space
    >>> from pydarts._results.tables import tables_of
    >>> known = names(tables_of(Space()))
    >>> known[:2], known[-1]
    (['train_loss', 'valid_loss'], 'entropy_reduce')
    """
    blank = {field.name: 0 for field in fields(EpochRecord)}
    blank |= {"entropy": dict.fromkeys(tables, 0.0), "metrics": {}, "diagnostics": {}}  # type: ignore[dict-item]
    return list(numbers(EpochRecord(**blank)))  # type: ignore[arg-type]


def weights(
    info: EpochInfo, config: SearchConfig, tables: Mapping[str, AlphaTable]
) -> dict[tuple[str, str, str], float]:
    """Return the strengths by table, row and candidate; a row is named as `AlphaTable.tag` does."""
    path = snapshot(config, info, tables)
    edges = {
        (name + EDGES, table.tag(row), "edge"): weight
        for name, table in path.tables.items()
        if path.weighted(name)
        for row, weight in enumerate(path.edge_weights(name, 0).tolist())
    }
    return {
        (name, table.tag(row), candidate): weight
        for name, table in path.tables.items()
        for row, strengths in enumerate(path.weights(name, 0).tolist())
        for candidate, weight in zip(table.candidates[row], strengths, strict=False)
    } | edges


def tag(table: str, row: str, candidate: str) -> str:
    """Name a strength for loggers whose names are paths; a choice, which has one row, without the row.

    >>> tag("normal", "0_2", "skip_connect"), tag("layers.0.block", "", "conv")
    ('alpha/normal/0_2/skip_connect', 'alpha/layers.0.block/conv')
    """
    return "/".join(filter(None, ("alpha", table, row, candidate)))


def choices(config: SearchConfig) -> dict[str, str | float]:
    """Return a configuration as name -> plain value; other values become JSON."""
    return {
        name: value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
        for name, value in config.to_dict().items()
    }


def picture(genotype: Genotype) -> Figure:
    """Draw the cells as a figure; matplotlib is imported at the first call."""
    from .._show.plots.cells import figure_of

    return figure_of(genotype)


def missing(logger: str, package: str) -> ImportError:
    """Return the error to raise if a logger's package is not installed."""
    return ImportError(f"loggers.{logger} requires {package}: pip install {package}")
