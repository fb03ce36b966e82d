"""Data, modules, losses and metrics for trainings of modules that pydarts did not build."""

from __future__ import annotations

from typing import Any

import pydarts
import torch
from own_modules import seeded
from torch import Tensor, nn
from torch.nn import functional as F


def config(**changes: Any) -> pydarts.TrainConfig:
    fields: dict[str, Any] = {
        "epochs": 3, "batch_size": 8, "weight_lr": 0.05, "device": "cpu", "progress": False,
    }  # fmt: skip
    return pydarts.TrainConfig(**(fields | changes))


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def regression(n: int = 60) -> tuple[Tensor, Tensor]:
    X = numbers(n, 4)
    return X, X[:, :2].sin()


def plain(*sizes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(sizes[0], 6), nn.Tanh(), nn.Linear(6, sizes[1]))


def net(*sizes: int) -> nn.Sequential:
    module: nn.Sequential = seeded(plain, *sizes)
    return module


def parts(pair: Any, size: int = 8) -> Any:
    """Batches of (x, y) in order, twice: for training and for validation."""
    x, y = pair
    return ([(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)],) * 2


def mean_error(output: Tensor, targets: Tensor) -> Tensor:
    return (output - targets).abs().mean()


def mse(output: Tensor, targets: Tensor) -> Tensor:
    return ((output - targets) ** 2).mean()


def cross_entropy_of(output: Any, targets: Any) -> Tensor:
    labels = targets["label"] if isinstance(targets, dict) else targets
    return F.cross_entropy(output["logits"], labels)


class Largest:
    """A metric with a state: the largest error of all batches."""

    def __init__(self) -> None:
        self.value = 0.0

    def update(self, output: Any, targets: Any) -> None:
        self.value = max(self.value, float((output - targets).abs().max()))

    def compute(self) -> float:
        return self.value

    def reset(self) -> None:
        self.value = 0.0
