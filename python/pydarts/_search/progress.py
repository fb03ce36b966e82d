"""The progress bar of a search."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .._results.history import perplexity
from .._results.measured import in_words
from .._results.tables import AlphaTable, is_cells, tables_of
from .._values.config import SearchConfig
from .bar import Bar, in_a_line
from .callbacks import EpochInfo, StepInfo
from .moments import snapshot

_EVERY = 0.25  # seconds between two updates of the values after the bar
_NONE: Mapping[str, float] = MappingProxyType({})
_BRIEF = 2  # diagnostics in a line


class Progress:
    """Shows epoch, losses, accuracy (for text: perplexity), metrics and diagnostics of the last epoch,
    entropy, skip connections and remaining time.

    The bar counts steps.
    """

    def __init__(self, config: SearchConfig, tables: Mapping[str, AlphaTable] | None = None) -> None:
        self._config, self._tables = config, tables or tables_of(config.resolved_space)
        self._bar: Any = None
        self._epochs, self._first, self._steps = 0, 0, 0
        self._read_at = 0.0
        self._held_out, self._metrics, self._diagnostics = "", _NONE, _NONE

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
        words = is_cells(self._tables) and self._config.resolved_space.kind == "recurrent"
        self._held_out = f"/{right(words, info.valid_loss, info.valid_accuracy)}"
        self._metrics, self._diagnostics = info.metrics, {**self._diagnostics, **info.diagnostics}
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
        self._bar.values = values(
            self._config, info, self._held_out, self._tables, self._metrics, self._diagnostics
        )


def numbers(
    config: SearchConfig,
    info: StepInfo | EpochInfo,
    held_out: str = "",
    tables: Mapping[str, AlphaTable] | None = None,
    metrics: Mapping[str, float] = _NONE,
    diagnostics: Mapping[str, float] = _NONE,
    most: int | None = None,
) -> str:
    """Format the values as one line; `held_out` follows the training accuracy."""
    return in_a_line(values(config, info, held_out, tables, metrics, diagnostics, most))


def values(
    config: SearchConfig,
    info: StepInfo | EpochInfo,
    held_out: str = "",
    tables: Mapping[str, AlphaTable] | None = None,
    metrics: Mapping[str, float] = _NONE,
    diagnostics: Mapping[str, float] = _NONE,
    most: int | None = _BRIEF,
) -> dict[str, str]:
    """Return losses, accuracy (for text: perplexity), metrics, entropy, skip connections and diagnostics.

    An accuracy and skip connections are there only where there are any; of the diagnostics the `most`
    important ones, or with None all.
    """
    path = snapshot(config, info, tables)
    entropy = sum(path.entropy(table)[0] for table in path.alphas) / max(len(path.alphas), 1)
    words = path.space is not None and path.space.kind == "recurrent"
    found = {
        "train": f"{info.train_loss:.3f}",
        "valid": "–" if info.valid_loss is None else f"{info.valid_loss:.3f}",
    }
    if score := right(words, info.train_loss, info.train_accuracy):
        found["perplexity" if words else "acc"] = f"{score}{held_out}"
    for name, value in metrics.items():
        found[f"metric {name}" if name in (*found, "entropy", "skips") else name] = f"{value:.4g}"
    found["entropy"] = f"{entropy:.3f}"
    if isinstance(info, EpochInfo):
        skips = info.skip_connections
    else:
        counted = path.counts_skips and path.selects
        skips = path.genotype(0).skip_connections if counted else None
    found |= {} if skips is None else {"skips": f"{skips}"}
    said = in_words(diagnostics, most).items()
    return found | {f"{name} (algorithm)" if name in found else name: text for name, text in said}


def right(words: bool, loss: float, accuracy: float | None) -> str:
    """Format the accuracy, or with `words` the perplexity; empty without an accuracy.

    >>> right(False, 1.0, 0.25), right(True, 1.0, 0.25), right(False, 1.0, None)
    ('25.0%', '3', '')
    """
    if words:
        return f"{perplexity(loss):.0f}"
    return "" if accuracy is None or math.isnan(accuracy) else f"{accuracy:.1%}"
