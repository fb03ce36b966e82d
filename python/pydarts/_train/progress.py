"""The progress bar of a training."""

from __future__ import annotations

from typing import Any

from .._results.history import TrainRecord
from .._search.bar import Bar
from .task import Step

READ_EVERY = 20  # steps between two reads of the loss: on a GPU each read waits for all steps before it


class TrainProgress:
    """One bar per epoch, with the loss of the epoch and the validation of the last one."""

    def __init__(self, epochs: int, *, words: bool) -> None:
        self._epochs, self._words = epochs, words
        self._bar: Any = None
        self._train: dict[str, str] = {}
        self._last: dict[str, str] = {}

    def begin(self, epoch: int, steps: int | None) -> None:
        """Open the bar of an epoch."""
        if self._bar is not None:
            self._bar.leave = False  # one line for all epochs; only the last bar remains
            self.close()
        self._bar = Bar(total=steps, unit="step", desc=f"epoch {epoch + 1}/{self._epochs}")

    def step(self, step: Step) -> None:
        """Advance the bar."""
        if self._bar.n % READ_EVERY == 0:
            self._train = {"train": f"{float(step.loss):.3f}"}
            self._bar.values = self._train | self._last
        self._bar.update(1)

    def epoch(self, record: TrainRecord) -> None:
        """Show the measurements of the whole epoch."""
        self._last = {"valid": f"{record.valid_loss:.3f}"}
        if self._words:
            self._last["perplexity"] = f"{record.valid_perplexity:.0f}"
        elif record.metrics:
            self._last |= {name: f"{value:.4g}" for name, value in record.metrics.items()}
        elif record.valid_accuracy is not None:
            self._last["acc"] = f"{record.valid_accuracy:.1%}"
        self._bar.values = self._train | self._last
        self._bar.refresh()

    def close(self) -> None:
        """Close the bar, which keeps its last state; may be called twice."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
