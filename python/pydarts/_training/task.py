"""What the loop knows of the thing it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """What a step saw: mean loss (a scalar), correct answers (a scalar), and of how many examples."""

    loss: Tensor
    correct: Tensor
    count: int


@dataclass(frozen=True)
class Evaluation:
    """Mean loss in nats, and part of the examples that were classified correctly."""

    loss: float
    accuracy: float

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Evaluation:
        """Over all examples of some steps."""
        count = sum(step.count for step in steps)
        counts = torch.tensor([step.count for step in steps], dtype=torch.float64)
        losses = torch.stack([step.loss for step in steps]).double().cpu()
        correct = int(torch.stack([step.correct for step in steps]).sum())
        return cls(float(losses @ counts) / count, correct / count)


class Task(Protocol):
    """A network with its data and its optimiser."""

    @property
    def averaged(self) -> bool:
        """Whether the weights are averaged by now."""

    @property
    def learning_rate(self) -> float:
        """The learning rate now."""

    def step_count(self, epoch: int) -> int:
        """How many steps an epoch has."""

    def steps(self, epoch: int) -> Iterator[Step]:
        """Each step of an epoch, as it is done."""

    def evaluate(self) -> Evaluation:
        """On the validation data."""

    def after(self, valid_losses: list[float]) -> None:
        """Called after every epoch with the validation losses so far."""

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights that are evaluated."""

    def state(self) -> dict[str, Tensor]:
        """All that the next epoch depends on, by name."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
