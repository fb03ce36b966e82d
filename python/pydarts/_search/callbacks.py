"""What a search tells its callbacks as it runs; who may listen, to a search or to a training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy.typing as npt

from .._results.history import EpochRecord
from .._values.genotype import Genotype

if TYPE_CHECKING:
    from .._results.result import SearchResult
    from .._values.config import SearchConfig


@dataclass(frozen=True)
class StartInfo:
    """A search that begins, or goes on from a checkpoint."""

    config: SearchConfig
    """The configuration that runs, with the sizes of the data filled in."""
    first_epoch: int
    """Number of the epoch that it begins with, from 0: in a search that goes on, how many are over."""
    steps_per_epoch: int | None
    """Steps of an epoch; None before a loader without a length has made its first pass."""


@dataclass(frozen=True)
class StepInfo:
    """A step of the search: α, then the weights."""

    epoch: int
    """Number of the epoch, from 0."""
    step: int
    """Number of the step in the whole search, from 0."""
    step_in_epoch: int
    """Number of the step in this epoch, from 0."""
    steps_per_epoch: int | None
    """Steps of an epoch; None while a loader without a length makes its first pass."""
    train_loss: float
    """Loss of the training batch before the weight step, in nats."""
    valid_loss: float | None
    """Loss of the validation batch where α's gradient was taken, in nats; None while α rests."""
    train_accuracy: float
    """Part of this epoch's training images so far that were classified correctly, 0 to 1."""
    learning_rate: float
    """Learning rate of the weights."""
    alphas: dict[str, npt.NDArray[Any]] = field(repr=False, compare=False)
    """Table name -> copy of α after the step, [edges, operations]."""


@dataclass(frozen=True)
class EpochInfo(EpochRecord):
    """An epoch: its record, and what came of it."""

    genotype: Genotype
    """The genotype that α stands for now."""
    alphas: dict[str, npt.NDArray[Any]] = field(repr=False, compare=False)
    """Table name -> copy of α after the epoch, [edges, operations]."""


class Callback:
    """What a search talks to: override what you want to hear of.

    An exception from a callback stops the search and comes out of `search` with the partial result as its
    attribute `result`; KeyboardInterrupt stops it as Ctrl-C does.

    >>> class Print(Callback):
    ...     def on_epoch(self, info):
    ...         print(info.epoch, info.valid_accuracy, info.genotype.skip_connections)
    """

    shows_progress = False
    """Whether it shows how far the search is: the search's own bar then stays away."""

    def on_start(self, info: StartInfo) -> None:
        """Called once before the first step, also where `resume` goes on or finds nothing left to do."""

    def on_step(self, info: StepInfo) -> None:
        """Called after every step."""

    def on_epoch(self, info: EpochInfo) -> None:
        """Called after every epoch, evaluation included."""

    def on_end(self, result: SearchResult) -> None:
        """Called once when the search is over, whatever ended it: see `result.status`."""


C = TypeVar("C")


def listeners(callbacks: C | Sequence[C], kind: type[C]) -> tuple[C, ...]:
    """The callbacks of a search or a training, one or several.

    Raises:
        TypeError: one that is not of this kind.
    """
    one = isinstance(callbacks, kind) or not isinstance(callbacks, Iterable)
    several = (cast("C", callbacks),) if one else tuple(cast("Sequence[C]", callbacks))
    for listener in several:
        if not isinstance(listener, kind):
            remedy = "; call it: it is a class" if isinstance(listener, type) else ""
            if isinstance(listener, Callback):
                remedy = "; that one listens to searches"
            raise TypeError(
                f"a callback must be a pydarts.{kind.__name__}, got a {type(listener).__name__}: "
                f"{listener!r}{remedy}"
            )
        strange = [name for name in dir(listener) if name.startswith("on_") and not hasattr(kind, name)]
        if strange:
            warnings.warn(
                f"nobody calls {', '.join(strange)} of {type(listener).__name__}; a pydarts.{kind.__name__} "
                f"has {', '.join(name for name in dir(kind) if name.startswith('on_'))}",
                UserWarning,
                stacklevel=3,
            )
    return several
