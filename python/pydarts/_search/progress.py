"""The progress bar of a search."""

from __future__ import annotations

import time
from typing import Any

from .._results.history import perplexity
from .._results.trajectory import snapshot
from .._values.config import SearchConfig
from .._values.space import Space
from .bar import Bar, in_a_line
from .callbacks import EpochInfo, StepInfo

_EVERY = 0.25  # seconds between two updates of the values after the bar


class Progress:
    """Shows epoch, losses, accuracy (for text: perplexity), entropy, skip connections and remaining time.

    The bar counts steps.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._bar: Any = None
        self._epochs, self._first, self._steps = 0, 0, 0
        self._read_at = 0.0
        self._held_out = ""

    def begin(self, epochs: int, first_epoch: int, steps_per_epoch: int | None) -> None:
        """Open the bar; in a resumed search it starts at the current step."""
        self._epochs, self._first = epochs, first_epoch
        total = None if steps_per_epoch is None else epochs * steps_per_epoch
        done = first_epoch * (steps_per_epoch or 0)
        self._bar = Bar(total=total, initial=done, unit="step", desc=self._title(first_epoch))

    def step(self, info: StepInfo) -> None:
        """Advance the bar; update the values from time to time."""
        if self._bar is None:
            return
        if self._steps == 0 and self._bar.total is not None:
            self._bar.n = self._bar.initial = info.step  # resumed within an epoch
        self._steps += 1
        now = time.monotonic()
        if now - self._read_at >= _EVERY:
            self._read_at = now
            self._bar.set_description_str(self._title(info.epoch), refresh=False)
            self._show(info)
        self._bar.update(1)

    def epoch(self, info: EpochInfo) -> None:
        """Show the values of the whole epoch."""
        if self._bar is None:
            return
        if self._bar.total is None:
            self._bar.total = (self._epochs - self._first) * self._steps
        self._held_out = f"/{right(self._config.resolved_space, info.valid_loss, info.valid_accuracy)}"
        self._bar.set_description_str(self._title(info.epoch), refresh=False)
        self._show(info)
        self._bar.refresh()
        self._read_at = time.monotonic()

    def close(self) -> None:
        """Close the bar, which keeps its last state; may be called twice."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _title(self, epoch: int) -> str:
        return f"epoch {min(epoch + 1, self._epochs)}/{self._epochs}"

    def _show(self, info: StepInfo | EpochInfo) -> None:
        self._bar.values = values(self._config, info, self._held_out)


def numbers(config: SearchConfig, info: StepInfo | EpochInfo, held_out: str = "") -> str:
    """Format losses, accuracy (for text: perplexity), entropy and skip connections as one line; `held_out`
    follows the training accuracy."""
    return in_a_line(values(config, info, held_out))


def values(config: SearchConfig, info: StepInfo | EpochInfo, held_out: str = "") -> dict[str, str]:
    """Return the values of `numbers` by name."""
    space, path = config.resolved_space, snapshot(config, info.alphas, info.epoch)
    entropy = sum(path.entropy(table)[0] for table in path.alphas) / max(len(path.alphas), 1)
    name = "perplexity" if space.kind == "recurrent" else "acc"
    return {
        "train": f"{info.train_loss:.3f}",
        "valid": "–" if info.valid_loss is None else f"{info.valid_loss:.3f}",
        name: f"{right(space, info.train_loss, info.train_accuracy)}{held_out}",
        "entropy": f"{entropy:.3f}",
        "skips": f"{path.genotype(0).skip_connections}",
    }


def right(space: Space, loss: float, accuracy: float) -> str:
    """Format the accuracy, or for a recurrent space the perplexity.

    >>> right(Space(), 1.0, 0.25), right(Space(kind="recurrent"), 1.0, 0.25)
    ('25.0%', '3')
    """
    return f"{perplexity(loss):.0f}" if space.kind == "recurrent" else f"{accuracy:.1%}"
