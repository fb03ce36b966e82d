"""The interface between the training loop and the networks that it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .._data.share import current
from .._results.history import TrainRecord
from .._results.score import best_of
from ..nn import LanguageModel
from .settings import Settings
from .weights import Weights


@dataclass(frozen=True)
class Step:
    """The measurements of a step: mean loss, number of correct answers (scalars), number of examples.

    The number of correct answers is None where there are none, such as in a regression.
    """

    loss: Tensor
    correct: Tensor | None
    count: int
    top5: Tensor | None = None
    """Number of examples whose class was among the five likeliest, a scalar; None if it is not counted."""


@dataclass(frozen=True)
class Evaluation:
    """What `TrainResult.evaluate` measured."""

    loss: float
    """The mean loss over the examples, with cross-entropy in nats."""
    accuracy: float | None
    """The fraction of the examples that were classified correctly, 0 to 1; None without classes."""
    top5: float | None
    """The fraction whose class was among the five likeliest; None with at most five classes."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The values of the metric by name."""

    @classmethod
    def of(cls, steps: Sequence[Step], metrics: Mapping[str, float] | None = None) -> Evaluation:
        """Average over all examples of some steps, of all ranks."""
        count = sum(step.count for step in steps)
        counts = torch.tensor([step.count for step in steps], dtype=torch.float64)
        losses = torch.stack([step.loss for step in steps]).double().cpu() if steps else counts
        right = [step.correct for step in steps if step.correct is not None]
        correct = torch.stack(right).sum().item() if len(right) == len(steps) and steps else None
        near = [step.top5 for step in steps if step.top5 is not None]
        top5 = int(torch.stack(near).sum()) if near else None
        sums = _Sums(float(losses @ counts), count, correct, top5)
        peers = current().peers
        if peers is not None:
            given = [_Sums(*each) for each in peers.exchange(sums) if each[1]]
            sums = _Sums(*(_added(values) for values in zip(*given, strict=True)))
        loss, count, correct, top5 = sums
        accuracy = None if correct is None else correct / count
        return cls(loss / count, accuracy, None if top5 is None else top5 / count, dict(metrics or {}))


class _Sums(NamedTuple):
    """Sums over examples; None where there are none."""

    loss: float
    examples: int
    correct: float | None
    top5: int | None


def _added(values: Sequence[Any]) -> Any:
    return None if None in values else sum(values)


class Task(Protocol):
    """A network with its data and its optimiser."""

    from_arrays: bool
    """Whether the engine makes the training batches, from arrays of images."""

    facts: dict[str, str]
    """What identifies data and loss when a training is resumed."""

    @property
    def network(self) -> nn.Module:
        """The network to train."""

    @property
    def settings(self) -> Settings:
        """The settings of the training, including those that depend on the data."""

    @property
    def weights(self) -> Weights:
        """The network's weights."""

    @property
    def scheduled(self) -> bool:
        """Whether an epoch depends on the total number of epochs."""

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch."""

    def step_count(self, epoch: int) -> int | None:
        """Return the number of steps of an epoch; None while it is unknown."""

    def steps(self, epoch: int) -> Iterator[Step]:
        """Do the steps of an epoch, one by one."""

    def evaluate(self) -> Evaluation:
        """Evaluate the network on the validation data."""

    def after(self, valid_losses: list[float]) -> None:
        """Called after every epoch with the validation losses so far."""

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next epoch depends on, by name."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""

    def close(self) -> None:
        """Release the data; called once, at the end."""


def step_seed(*numbers: int) -> int:
    """Return a seed for torch that is a function of seed, epoch and step.

    >>> step_seed(0, 1, 2) == step_seed(0, 1, 2), step_seed(0, 1, 2) == step_seed(0, 2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def best_record(history: Sequence[TrainRecord], network: nn.Module, mode: str | None = None) -> TrainRecord:
    """Return the first record with the best value.

    That is the lowest loss of text; of any other network the best metric in the sense of `mode`, "max" or
    "min", without a metric the highest accuracy, and without accuracies the lowest loss.
    """
    if isinstance(network, LanguageModel):
        return min(history, key=lambda record: record.valid_loss)
    return best_of(history, mode or "max")
