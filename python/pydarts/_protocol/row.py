"""`SearchRow`: the results of one cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from .._results.history import perplexity
from .._results.result import SearchResult
from .._train.result import TrainResult
from .._values.fields import MetricMode
from .._values.genotype import Genotype

Origin: TypeAlias = Literal["searched", "given", "random"]
RowStatus: TypeAlias = Literal["complete", "interrupted", "failed", "waiting"]


class Measure(NamedTuple):
    """What the rows of a table are compared by."""

    name: str
    """ "accuracy", "perplexity", "loss" or the name of a metric."""
    highest: bool
    """Whether large values are better."""
    format: str
    """The format of a value, as `format` takes it."""

    @property
    def percent(self) -> bool:
        """Whether values are shown in per cent."""
        return self.format.endswith("%")

    def text(self, value: float | None) -> str:
        """Format a value; a dash for None and NaN.

        >>> ACCURACY.text(0.98765), PERPLEXITY.text(75.125), LOSS.text(None)
        ('98.77%', '75.12', '–')
        """
        return "–" if value is None or math.isnan(value) else format(value, self.format)


ACCURACY = Measure("accuracy", True, ".2%")
PERPLEXITY, LOSS = Measure("perplexity", False, ".2f"), Measure("loss", False, ".4g")


class BenchmarkScore(NamedTuple):
    """The entry of an architecture in a tabulated benchmark, on one split of one data set."""

    accuracy: float
    """The tabulated accuracy in percent."""
    rank: int
    """The rank among all architectures of the benchmark, from 1, the best."""
    regret: float
    """By how many percentage points the best architecture is better."""


@dataclass(frozen=True, kw_only=True)
class SearchRow:
    """A cell, the search that found it, and its short training; None marks what was not reached."""

    name: str
    """The name of the row: for example "seed 0" or "random 3", or the name that was given."""
    origin: Origin
    """ "searched", "random" or "given" (a genotype of `compare`)."""
    status: RowStatus
    """ "complete", "interrupted" (Ctrl-C), "failed" (see `error`) or "waiting" (not started)."""
    genotype: Genotype | None = None
    """The cell; for an incomplete search, its last genotype."""
    search_accuracy: float | None = None
    """Validation accuracy of the search network after the last epoch, 0 to 1."""
    search_loss: float | None = None
    """Validation loss of the search network after the last epoch, in nats."""
    accuracy: float | None = None
    """Validation accuracy after the short training, 0 to 1, with the weights that it keeps."""
    loss: float | None = None
    """Validation loss after the short training, in nats."""
    weights: int | None = None
    """Weights of the trained network, without an auxiliary head; see `pydarts.cost`."""
    multiply_adds: int | None = None
    """Multiply-adds of the trained network for one image or one token."""
    seconds: float = 0.0
    """Duration of all epochs of search and training, including those before a resumption."""
    error: str | None = None
    """The exception that stopped a failed search or training."""
    metric: str | None = None
    """Name of the metric by which rows are compared; None: accuracy, or perplexity for text."""
    metric_mode: MetricMode = "max"
    """Which values of the metric are better."""
    search_value: float | None = None
    """Validation value of the metric in the search network after the last epoch."""
    value: float | None = None
    """Validation value of the metric after the short training, with the weights that it keeps."""
    architecture: Mapping[str, Any] | None = field(default=None, hash=False)
    """The architecture of a network of your own, instead of a genotype; see `SearchResult.architecture`."""
    algorithm: str | None = None
    """The algorithm of the search: its preset, or its differences from DARTS; None: DARTS, or no search."""
    benchmark: Mapping[str, BenchmarkScore] = field(default_factory=dict, hash=False)
    """Accuracy, rank and regret of the cell in a tabulated benchmark by `<data set>_<split>`, such as
    "cifar10_test"; see `pydarts.benchmarks.NASBench201.score`."""
    result: SearchResult | None = field(default=None, repr=False, compare=False)
    """The search; None in a table that was read from a file."""
    training: TrainResult | None = field(default=None, repr=False, compare=False)
    """The short training; None in a table that was read from a file."""

    @property
    def score(self) -> float | None:
        """The score that rows are compared by: the metric, else accuracy, 0 to 1, or perplexity for text.

        Without a metric and accuracies, the loss. None until the training is complete, and for NaN.
        """
        return self._score(self.accuracy, self.loss, self.value)

    @property
    def search_score(self) -> float | None:
        """The same score of the search network."""
        return self._score(self.search_accuracy, self.search_loss, self.search_value)

    @property
    def merit(self) -> tuple[float, float]:
        """The value that is largest for the best row: the score, then lower loss; for text the lower loss."""
        assert self.score is not None and self.loss is not None
        sign = 0.0 if self.words else 1.0 if self.measure.highest else -1.0
        return (sign * self.score if sign else 0.0, -self.loss)

    @property
    def measure(self) -> Measure:
        """What `score` is."""
        if self.metric is not None:
            return Measure(self.metric, self.metric_mode == "max", ".4g")
        if self.words:
            return PERPLEXITY
        counted = self.accuracy is not None or self.search_accuracy is not None
        return ACCURACY if counted or self.loss is self.search_loss is None else LOSS

    @property
    def words(self) -> bool:
        """Whether the cell is recurrent, in a language model."""
        return self.genotype is not None and self.genotype.kind == "recurrent"

    def _score(self, accuracy: float | None, loss: float | None, value: float | None) -> float | None:
        measure = self.measure
        if measure is PERPLEXITY:
            return None if loss is None else perplexity(loss)
        found = value if self.metric is not None else loss if measure is LOSS else accuracy
        return None if found is None or math.isnan(found) else found
