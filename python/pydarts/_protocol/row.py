"""`SearchRow`: the results of one cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .._results.history import perplexity
from .._results.result import SearchResult
from .._train.result import TrainResult
from .._values.genotype import Genotype

Origin: TypeAlias = Literal["searched", "given", "random"]
RowStatus: TypeAlias = Literal["complete", "interrupted", "failed", "waiting"]


@dataclass(frozen=True, kw_only=True)
class SearchRow:
    """A cell, the search that found it, and its short training; None marks what was not reached."""

    name: str
    """For example "seed 0" or "random 3", or the name that was given."""
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
    """Multiply-adds of its evaluation of one image or one token."""
    seconds: float = 0.0
    """Duration of all epochs of search and training, including those before a resumption."""
    error: str | None = None
    """The exception that stopped a failed search or training."""
    result: SearchResult | None = field(default=None, repr=False, compare=False)
    """The search; None in a table that was read from a file."""
    training: TrainResult | None = field(default=None, repr=False, compare=False)
    """The short training; None in a table that was read from a file."""

    @property
    def score(self) -> float | None:
        """The score that cells are compared by: accuracy of images, 0 to 1; perplexity of text.

        None until the training is complete.
        """
        return self._score(self.accuracy, self.loss)

    @property
    def search_score(self) -> float | None:
        """The same score of the search network."""
        return self._score(self.search_accuracy, self.search_loss)

    @property
    def merit(self) -> tuple[float, float]:
        """The value that is largest for the best row: accuracy, then lower loss; for text the lower loss."""
        assert self.accuracy is not None and self.loss is not None
        return (0.0 if self.words else self.accuracy, -self.loss)

    @property
    def words(self) -> bool:
        """Whether the cell is recurrent, in a language model."""
        return self.genotype is not None and self.genotype.kind == "recurrent"

    def _score(self, accuracy: float | None, loss: float | None) -> float | None:
        if self.words:
            return None if loss is None else perplexity(loss)
        return accuracy
