"""The measurement by which the epochs of a run are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .history import Measures, known

R = TypeVar("R", bound=Measures)


@dataclass(frozen=True)
class Score:
    """A measurement on the validation part: the metric of the run, accuracy, perplexity or loss."""

    name: str
    """ "accuracy", "perplexity", "loss" or the name of a metric."""
    highest: bool
    """Whether large values are better."""
    valid: Callable[[Any], float]
    """The value of a record; NaN where it is unknown."""
    train: Callable[[Any], float] | None
    """The value on the training part; None if it is not measured there."""
    metric: bool = False
    """Whether it is a metric of the user."""

    @property
    def percent(self) -> bool:
        """Whether values are fractions of examples, shown in per cent."""
        return self.name == "accuracy" and not self.metric

    @property
    def label(self) -> str:
        """The name with its unit, for an axis or a column."""
        return f"validation {self.name}, %" if self.percent else f"validation {self.name}"

    def text(self, value: float, *, percent: str = ".1%", number: str = ",.4g") -> str:
        """Format a value; a dash for NaN."""
        return "–" if math.isnan(value) else format(value, percent if self.percent else number)

    def best(self, history: Sequence[R]) -> R:
        """Return the first record with the best value; the first record of all if no value is known."""
        sign = 1.0 if self.highest else -1.0
        found = [sign * self.valid(record) for record in history]
        numbers = [value for value in found if not math.isnan(value)]
        return history[found.index(max(numbers)) if numbers else 0]


def metric_of(name: str, mode: str) -> Score:
    """Return the metric with this name as a score."""
    return Score(name, mode == "max", lambda record: record.metrics.get(name, math.nan), None, True)


LOSS, PERPLEXITY = (
    Score(
        name,
        False,
        lambda record, name=name: known(getattr(record, f"valid_{name}")),  # type: ignore[misc]
        lambda record, name=name: known(getattr(record, f"train_{name}")),  # type: ignore[misc]
    )
    for name in ("loss", "perplexity")
)
ACCURACY = Score(
    "accuracy",
    True,
    lambda record: known(record.valid_accuracy),
    lambda record: known(record.train_accuracy),
)


def score_of(history: Sequence[Measures], mode: str = "max", *, words: bool = False) -> Score:
    """Return what the epochs are compared by: the first metric, else accuracy, else loss.

    Args:
        history: the records.
        mode: "max" if large values of the metric are better, else "min".
        words: whether perplexity stands for accuracy and loss, as views of text show it.
    """
    names = list(history[-1].metrics) if history else []
    choices = [metric_of(names[0], mode)] if names else []
    for score in [*choices, *([PERPLEXITY] if words else [ACCURACY])]:
        if any(not math.isnan(score.valid(record)) for record in history):
            return score
    return PERPLEXITY if words else LOSS


def best_of(history: Sequence[R], mode: str = "max") -> R:
    """Return the first record with the best metric, else the highest accuracy, else the lowest loss."""
    return score_of(history, mode).best(history)
