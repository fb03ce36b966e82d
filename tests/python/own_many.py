"""A user-defined network for the tests of several searches: at the top level, so that processes import it."""

from __future__ import annotations

from typing import Any

import pydarts
import torch
from pydarts.nn import Choice, InputChoice
from torch import Tensor, nn


class Net(nn.Module):
    """Two activations, two blocks, batch norm and kept inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.act = Choice({"tanh": nn.Tanh(), "relu": nn.ReLU()})
        self.deep = nn.ModuleList(Choice([nn.Linear(4, 4), nn.Identity()]) for _ in range(2))
        self.norm = nn.BatchNorm1d(4)
        self.skip = InputChoice(3, keep=2)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = [self.act(self.first(x))]
        for part in self.deep:
            h.append(part(h[-1]))
        out: Tensor = self.last(self.norm(self.skip(h)))
        return out


class Bare(Net):
    """A network with a weight of its own, which no layer draws."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale[:2]


class Other(Net):
    """Another network, whose layers are wider."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)


def made() -> Net:
    return Net()


def distance(output: Tensor, targets: Tensor) -> Tensor:
    return (output[:, 0] - targets).abs().mean()


def square(output: Tensor, targets: Tensor) -> Tensor:
    return ((output[:, 0] - targets) ** 2).mean()


class Mean:
    """A metric with a state."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, output: Tensor, targets: Tensor) -> None:
        self.total += float((output[:, 0] - targets).abs().sum())
        self.count += len(targets)

    def compute(self) -> float:
        return self.total / self.count


def turned(batch: Any) -> tuple[Tensor, Tensor]:
    return batch[1], batch[0]


def data(count: int = 64) -> tuple[Tensor, Tensor]:
    X = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    return X, (X[:, 0] > 0).long()


def config(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {"epochs": 2, "batch_size": 8, "arch_lr": 0.1, "progress": False}
    return pydarts.SearchConfig(**(fields | changes))


def short(**changes: Any) -> pydarts.TrainConfig:
    return pydarts.TrainConfig(**({"epochs": 2, "batch_size": 8, "progress": False} | changes))
