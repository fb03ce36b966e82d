"""`SearchRow`: what one cell came to."""

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
    """A cell, the search that found it, and its short training; None where that was not reached."""

    name: str
    """As "seed 0", "random 3", or the name that was given."""
    origin: Origin
    """ "searched", "random" (drawn by chance) or "given" (a genotype of `compare`)."""
    status: RowStatus
    """ "complete", "interrupted" (Ctrl-C), "failed" (see `error`) or "waiting" (not begun)."""
    genotype: Genotype | None = None
    """The cell; of a search that did not end, what it had reached."""
    search_accuracy: float | None = None
    """Validation accuracy of the search network after the last epoch, 0 to 1."""
    search_loss: float | None = None
    """Validation loss of the search network after the last epoch, in nats."""
    accuracy: float | None = None
    """Validation accuracy after the short training, 0 to 1, with the weights that it kept."""
    loss: float | None = None
    """Validation loss after the short training, in nats."""
    weights: int | None = None
    """Of the network that was trained, without an auxiliary head; see `pydarts.cost`."""
    multiply_adds: int | None = None
    """Of its evaluation of one image, or one token."""
    seconds: float = 0.0
    """Durations of all epochs of search and training, those before a resumption too."""
    error: str | None = None
    """What stopped a search or training that failed."""
    result: SearchResult | None = field(default=None, repr=False, compare=False)
    """The search; None in a table that was read from a file."""
    training: TrainResult | None = field(default=None, repr=False, compare=False)
    """The short training; None in a table that was read from a file."""

    @property
    def score(self) -> float | None:
        """What cells are compared by: accuracy of images, 0 to 1; of words the perplexity.

        None until the training is complete.
        """
        return self._score(self.accuracy, self.loss)

    @property
    def search_score(self) -> float | None:
        """The same of the search network."""
        return self._score(self.search_accuracy, self.search_loss)

    @property
    def merit(self) -> tuple[float, float]:
        """What the best row has most of: accuracy, of equals the lower loss; of words the lower loss."""
        assert self.accuracy is not None and self.loss is not None
        return (0.0 if self.words else self.accuracy, -self.loss)

    @property
    def words(self) -> bool:
        """Whether the cell is a recurrent one, of a language model."""
        return self.genotype is not None and bool(self.genotype.recurrent)

    def _score(self, accuracy: float | None, loss: float | None) -> float | None:
        if self.words:
            return None if loss is None else perplexity(loss)
        return accuracy
