"""The history of a search or a training: one record per epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .._values.words import shown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measures:
    """The measurements of an epoch of a search or a training."""

    epoch: int
    """Number of the epoch, from 0."""
    train_loss: float
    """Mean loss of the training batches in nats, each computed before its weight step."""
    valid_loss: float
    """Mean loss over the validation part after the epoch, in nats. Batch norm uses running statistics,
    without their initial values, in a search of convolutional cells, and the statistics of the batch in a
    search of recurrent cells."""
    train_accuracy: float | None
    """Fraction of the training examples (images, or next words) classified correctly, 0 to 1. An example
    with several targets, such as pixels, counts as the fraction that is correct. None where it has no
    meaning, as in a regression."""
    valid_accuracy: float | None
    """Fraction of the validation examples classified correctly after the epoch, 0 to 1, or None as above."""
    learning_rate: float
    """Learning rate of the weights in this epoch."""
    metrics: dict[str, float] = field(default_factory=dict, hash=False, kw_only=True)
    """Values of the run's `metric` on the validation part after the epoch, by name; empty without a metric.
    Epochs are compared by the first one. NaN where the metric gave no finite number."""

    @property
    def train_perplexity(self) -> float:
        """exp of the training loss, the perplexity of a language model."""
        return perplexity(self.train_loss)

    @property
    def valid_perplexity(self) -> float:
        """exp of the validation loss."""
        return perplexity(self.valid_loss)


def perplexity(loss: float) -> float:
    """Return exp of a loss in nats.

    >>> perplexity(0.0), perplexity(1000.0)
    (1.0, inf)
    """
    return math.inf if loss > 700 else math.exp(loss)


@dataclass(frozen=True)
class EpochRecord(Measures):
    """The record of an epoch of a search."""

    entropy: dict[str, float] = field(hash=False)
    """Table name -> mean over rows of the entropy of the mixing weights, in nats."""
    skip_connections: int | None
    """Number of skip connections in the architecture after the epoch; None where no candidate is one."""
    seconds: float
    """Duration of the epoch, evaluation included."""
    diagnostics: dict[str, float] = field(default_factory=dict, hash=False, kw_only=True)
    """Parameters and measurements of the algorithm in this epoch, by name: parameters that change with the
    epoch, such as "temperature", and means over the steps, such as "term.entropy". Empty for plain DARTS."""


@dataclass(frozen=True)
class TrainRecord(Measures):
    """The record of an epoch of a training."""

    averaged: bool
    """Whether the validation measurements are those of averaged weights."""
    seconds: float
    """Duration of the epoch, evaluation included."""
    train_top5: float | None = None
    """Fraction of the training images whose class is among the five likeliest, 0 to 1; None with at most five
    classes, and for text."""
    valid_top5: float | None = None
    """The same fraction of the validation images after the epoch."""


R = TypeVar("R", bound=Measures)


def known(value: float | None) -> float:
    """Return a measurement as a number: NaN for one that was not taken.

    >>> known(0.5), known(None)
    (0.5, nan)
    """
    return math.nan if value is None else value


class History(Sequence[R], Generic[R]):
    """The records of the epochs of a search or a training, in order.

    A sequence; `to_pandas()` converts it to a table.

    >>> History([]).to_dicts()
    []
    """

    def __init__(self, records: Sequence[R]) -> None:
        self._records = tuple(records)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> History[R]: ...
    def __getitem__(self, index: int | slice) -> R | History[R]:
        return History(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __eq__(self, other: object) -> bool:
        return self._records == other._records if isinstance(other, History) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if not self._records:
            return "<History: no epoch>"
        last, epochs = self._records[-1], "epoch" if len(self) == 1 else "epochs"
        losses = f"train loss {last.train_loss:.4g}, valid loss {last.valid_loss:.4g}"
        accuracy = known(last.valid_accuracy)
        counted = "" if math.isnan(accuracy) else f", valid accuracy {accuracy:.4g}"
        counted += "".join(f", {name} {value:.4g}" for name, value in last.metrics.items())
        return f"<History: {len(self)} {epochs}, {losses}{counted}>"

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dictionary of plain data per epoch, without empty `metrics` and `diagnostics`."""
        rows = [asdict(record) for record in self._records]
        return [
            {name: value for name, value in row.items() if name not in _OPTIONAL or value} for row in rows
        ]

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row per epoch, and columns such as `entropy_normal` and `metric_f1`.

        Raises:
            ImportError: pandas is not installed.
        """
        return frame([flat(row) for row in self.to_dicts()], "history")


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Flatten a record: `entropy` becomes `entropy_normal`, `entropy_reduce`, and `metrics` `metric_…`;
    diagnostics keep their names.

    >>> flat({"epoch": 0, "entropy": {"normal": 2.0}, "metrics": {"f1": 0.5}})
    {'epoch': 0, 'entropy_normal': 2.0, 'metric_f1': 0.5}
    """
    rest = {name: value for name, value in row.items() if name not in _GROUPS}
    for group, prefix in _GROUPS.items():
        rest |= {f"{prefix}{name}": value for name, value in row.get(group, {}).items()}
    return rest


_GROUPS = {"entropy": "entropy_", "metrics": "metric_", "diagnostics": ""}  # fields that hold numbers by name
_OPTIONAL = ("metrics", "diagnostics")  # those that may be empty


def frame(rows: Sequence[dict[str, Any]], what: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a pandas table, or raise an ImportError that names the method of `what`."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f"{what}.to_pandas() requires pandas: pip install pandas") from error
    return pd.DataFrame(rows, columns=None if columns is None else list(columns))


def record_from(values: Mapping[str, Any], kind: type[R]) -> R:
    """Return a record from plain data.

    A missing number (JSON null) becomes NaN, or None where the field may be None.

    Raises:
        ValueError: the fields are not those of a record.
    """
    optional = {entry.name for entry in fields(kind) if entry.default is None or entry.name in _OPTIONAL}
    names = [entry.name for entry in fields(kind)]
    if not isinstance(values, Mapping) or not set(names) - optional <= set(values) <= set(names):
        raise ValueError(f"expected a record with the fields {', '.join(names)}, got {shown(values)}")
    may_be_none = {entry.name for entry in fields(kind) if "None" in str(entry.type)}
    found: dict[str, Any] = {
        name: math.nan if value is None and name not in may_be_none else value
        for name, value in values.items()
    }
    for group in _GROUPS.keys() & found.keys():
        found[group] = {str(name): float(known(value)) for name, value in found[group].items()}
    for name, value in found.items():
        if name not in _GROUPS and value is not None and not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number, got {shown(value)}")
    return kind(**found)
