"""Callbacks of a training: the events and the base class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._results.history import TrainRecord

if TYPE_CHECKING:
    from .result import TrainResult


@dataclass(frozen=True)
class TrainStep:
    """A step of a training."""

    epoch: int
    """Number of the epoch, from 0."""
    step_in_epoch: int
    """Number of the step in this epoch, from 0."""
    steps_per_epoch: int | None
    """Steps of this epoch; None during the first pass over a loader without a length."""
    train_loss: float
    """Loss of the batch before the step, without penalties, smoothing or auxiliary loss: cross-entropy in
    nats, or the `loss` that was given."""
    learning_rate: float
    """Learning rate of the epoch."""


class TrainCallback:
    """The base class of training callbacks: override the methods that you need.

    An exception in a callback stops the training and is raised by `train`, with the partial result as its
    attribute `result`; KeyboardInterrupt stops the training like Ctrl-C.

    >>> class Print(TrainCallback):
    ...     def on_epoch(self, record):
    ...         print(record.epoch, record.valid_perplexity)
    """

    def on_step(self, info: TrainStep) -> None:
        """Called after every step."""

    def on_epoch(self, record: TrainRecord) -> None:
        """Called after every epoch, evaluation included."""

    def on_end(self, result: TrainResult) -> None:
        """Called once when the training ends, for whatever reason: see `result.status`."""
