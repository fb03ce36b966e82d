"""Callbacks of a search: the events, the base class, and the check of callbacks that users pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from .._results.decisions import Architecture, Decision
from .._results.history import EpochRecord
from .._results.tables import AlphaTable, tables_of
from .._values.genotype import Genotype
from .._values.hints import hint

if TYPE_CHECKING:
    from .._results.result import SearchResult
    from .._values.config import SearchConfig


@dataclass(frozen=True)
class StartInfo:
    """The start of a search, or its continuation from a checkpoint."""

    config: SearchConfig
    """The configuration of the run, with the sizes of the data filled in."""
    first_epoch: int
    """Number of the first epoch, from 0; in a resumed search, the number of finished epochs."""
    steps_per_epoch: int | None
    """Steps per epoch; None before the first pass over a loader without a length."""
    tables: Mapping[str, AlphaTable] = field(default_factory=dict, repr=False)
    """The names of rows and candidates by table: those of the space, or of a network of your own."""

    def __post_init__(self) -> None:
        if not self.tables:
            object.__setattr__(self, "tables", tables_of(self.config.resolved_space))


@dataclass(frozen=True)
class StepInfo:
    """A step of the search: first α, then the weights.

    It has `epoch`, `step`, `step_in_epoch`, `steps_per_epoch`, `train_loss`, `valid_loss`, `train_accuracy`,
    `learning_rate`, `alphas` (α after the step) and `strengths` (its mixing weights).
    """

    epoch: int
    """Number of the epoch, from 0."""
    step: int
    """Number of the step in the whole search, from 0."""
    step_in_epoch: int
    """Number of the step in this epoch, from 0."""
    steps_per_epoch: int | None
    """Steps per epoch; None during the first pass over a loader without a length."""
    train_loss: float
    """Loss of the training batch before the weight step, in nats."""
    valid_loss: float | None
    """Loss of the validation batch at which α's gradient was computed, in nats; None while α is fixed."""
    train_accuracy: float | None
    """Fraction of this epoch's training examples so far that were classified correctly, 0 to 1. None where it
    has no meaning, as in a regression."""
    learning_rate: float
    """Learning rate of the weights."""
    alphas: dict[str, npt.NDArray[Any]] = field(repr=False, compare=False)
    """Table name -> copy of α after the step, [rows, columns]; NaN where masked."""
    strengths: dict[str, npt.NDArray[np.float64]] = field(repr=False, compare=False, default_factory=dict)
    """Table name -> mean mixing weights at this α, [rows, columns]; 0 where masked."""


@dataclass(frozen=True)
class EpochInfo(EpochRecord):
    """The record of an epoch, with the genotype and α after it."""

    genotype: Genotype | None
    """The genotype that α selects after the epoch; None if α does not belong to cells."""
    alphas: dict[str, npt.NDArray[Any]] = field(repr=False, compare=False)
    """Table name -> copy of α after the epoch, [rows, columns]; NaN where masked."""
    strengths: dict[str, npt.NDArray[np.float64]] = field(repr=False, compare=False, default_factory=dict)
    """Table name -> mean mixing weights at this α, [rows, columns]; 0 where masked."""
    architecture: Architecture = field(repr=False, default_factory=dict)
    """Table name -> for each row, the names of the candidates that the selection picks, if any."""
    decisions: tuple[Decision, ...] = field(default=(), hash=False)
    """The decisions taken at the end of the epoch, on the values above: see `SearchResult.decisions`."""


class Callback:
    """The base class of search callbacks: override the methods that you need.

    An exception in a callback stops the search and is raised by `search`, with the partial result as its
    attribute `result`; KeyboardInterrupt stops the search like Ctrl-C.

    >>> class Print(Callback):
    ...     def on_epoch(self, info):
    ...         print(info.epoch, info.valid_accuracy, info.genotype.skip_connections)
    """

    shows_progress = False
    """Whether the callback displays progress itself; then `search` shows no progress bar."""

    def on_start(self, info: StartInfo) -> None:
        """Called once before the first step, also if `resume` continues a search or finds it complete."""

    def on_step(self, info: StepInfo) -> None:
        """Called after every step."""

    def on_epoch(self, info: EpochInfo) -> None:
        """Called after every epoch, evaluation included."""

    def on_end(self, result: SearchResult) -> None:
        """Called once when the search ends, for whatever reason: see `result.status`."""


C = TypeVar("C")


def listeners(callbacks: C | Sequence[C], kind: type[C]) -> tuple[C, ...]:
    """Return the callbacks of a search or a training, given as one or several.

    Raises:
        TypeError: a callback is not of this kind.
    """
    one = isinstance(callbacks, kind) or not isinstance(callbacks, Iterable)
    several = (cast("C", callbacks),) if one else tuple(cast("Sequence[C]", callbacks))
    for listener in several:
        if not isinstance(listener, kind):
            remedy = "; this is a class: pass an instance" if isinstance(listener, type) else ""
            if isinstance(listener, Callback):
                remedy = "; this one is a callback for searches"
            raise TypeError(
                f"a callback must be a pydarts.{kind.__name__}, got a {type(listener).__name__}: "
                f"{listener!r}{remedy}"
            )
        strange = [name for name in dir(listener) if name.startswith("on_") and not hasattr(kind, name)]
        for name in strange:
            hooks = [name for name in dir(kind) if name.startswith("on_")]
            nearest = get_close_matches(name, hooks, n=1, cutoff=0)[0]
            hint(
                f"{type(listener).__name__}.{name} is never called; did you mean {nearest}? A "
                f"pydarts.{kind.__name__} has {', '.join(hooks)}"
            )
    return several
