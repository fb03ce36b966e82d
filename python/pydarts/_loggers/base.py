"""What the loggers share: an epoch as flat numbers, α as weights by name, when the cell has changed."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .._results.history import EpochRecord, flat
from .._results.trajectory import softmax
from .._search.callbacks import Callback, EpochInfo, StartInfo
from .._values.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .._results.result import SearchResult
    from .._values.config import SearchConfig
    from .._values.genotype import Genotype


class Logger(Callback):
    """Opened by the start of a search, closed by its end, whatever ended it; good for one after the other."""

    _open = False
    _cell: frozenset[Any] | None = None

    def on_start(self, info: StartInfo) -> None:
        """Open the log."""
        self._space, self._cell = info.config.resolved_space, None
        self._begin(info)
        self._open = True

    def on_epoch(self, info: EpochInfo) -> None:
        """Write the epoch down; its cell where it has changed."""
        self._write(info.epoch, info, numbers(info, self._space))
        cell = info.genotype.edge_set
        if cell != self._cell:
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


def numbers(info: EpochRecord, space: Space) -> dict[str, float]:
    """An epoch as numbers by name, without its own: losses, accuracies (of words also perplexities), learning
    rate, entropies, skip connections, seconds."""
    row = flat({field.name: getattr(info, field.name) for field in fields(EpochRecord)})
    if space.kind == "recurrent":
        row |= {"train_perplexity": info.train_perplexity, "valid_perplexity": info.valid_perplexity}
    return {name: float(value) for name, value in row.items() if name != "epoch"}


def names(space: Space) -> list[str]:
    """The names of `numbers`.

    >>> names(Space())[:2], names(Space())[-1]
    (['train_loss', 'valid_loss'], 'entropy_reduce')
    """
    blank = {field.name: 0 for field in fields(EpochRecord)} | {"entropy": dict.fromkeys(space.tables, 0.0)}
    return list(numbers(EpochRecord(**blank), space))  # type: ignore[arg-type]


def weights(info: EpochInfo, space: Space) -> dict[tuple[str, int, int, str], float]:
    """The softmax weights by table, the edge's source and target, and operation."""
    return {
        (table, i, j, operation): float(weight)
        for table, alpha in info.alphas.items()
        for (i, j), row in zip(space.edges, softmax(np.asarray(alpha, np.float64)), strict=True)
        for operation, weight in zip(space.operations, row, strict=True)
    }


def tag(table: str, source: int, target: int, operation: str) -> str:
    """The name of a weight where names are paths.

    >>> tag("normal", 0, 2, "skip_connect")
    'alpha/normal/0_2/skip_connect'
    """
    return f"alpha/{table}/{source}_{target}/{operation}"


def choices(config: SearchConfig) -> dict[str, str | float]:
    """A configuration with a plain value a name; what is not plain is JSON."""
    return {
        name: value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
        for name, value in config.to_dict().items()
    }


def picture(genotype: Genotype) -> Figure:
    """The cells as a figure; what draws them is loaded when the first is wanted."""
    from .._show.plots.cells import figure_of

    return figure_of(genotype)


def missing(logger: str, package: str, extra: str) -> ImportError:
    """What to say where a logger's package is not installed."""
    return ImportError(f"loggers.{logger} needs {package}; install it with: pip install 'pydarts[{extra}]'")
