"""What the tests of training networks of images share."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays
from pydarts._train.images import ImageTask
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

CELL = pydarts.Genotype(
    normal=[("sep_conv_3x3", 0), ("skip_connect", 1)],
    normal_concat=[2],
    reduce=[("max_pool_3x3", 0), ("skip_connect", 1)],
    reduce_concat=[2],
)


def network(seed: int = 0, **changes: Any) -> pydarts.nn.ConvolutionalNetwork:
    arguments = {"channels": 4, "layers": 3, "num_classes": 4, "in_channels": 1, "stem": "small"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return pydarts.build(CELL, **(arguments | changes))


def config(**changes: Any) -> pydarts.TrainConfig:
    fields: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 8,
        "weight_lr": 0.05,
        "device": "cpu",
        "progress": False,
    }
    return pydarts.TrainConfig(**(fields | changes))


def task(net: pydarts.nn.ConvolutionalNetwork, data: Any, **changes: Any) -> ImageTask:
    return ImageTask.open(net, data, config(**changes), torch.device("cpu"), lambda: None)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def batches(n: int = 3, size: int = 8, classes: int = 4, side: int = 8, **kind: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 1, side, side, generator=generator, **kind), torch.arange(size) % classes)
        for _ in range(n)
    ]


def drained(source: Any, index: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    source.start(index, 0)
    return list(iter(source.next, None))


class Noisy(Dataset[tuple[torch.Tensor, int]]):
    """Images with noise from all the generators that transforms draw from."""

    def __init__(self, n: int) -> None:
        X, y = make_arrays(n=n)
        self.x, self.y = torch.from_numpy(X).float() / 255, y.tolist()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        noise = random.random() + np.random.rand() + torch.rand(1, 8, 8)
        return self.x[index] + noise, self.y[index]


def noisy(form: str) -> Any:
    """Loaders of noise: alone, with workers that stay, with an order that is not ours to say."""
    data = Noisy(60)
    if form == "transforms":
        return DataLoader(data, batch_size=8, shuffle=True)
    if form == "workers":
        return DataLoader(data, batch_size=8, shuffle=True, num_workers=2, persistent_workers=True)
    weighted = WeightedRandomSampler([1.0] * 30 + [2.0] * 30, 24)
    staying = {"num_workers": 1, "persistent_workers": True} if form == "sampler and workers" else {}
    return (DataLoader(data, batch_size=8, sampler=weighted, **staying), DataLoader(data, batch_size=8))


def judged(
    monkeypatch: pytest.MonkeyPatch, task: type, accuracies: Sequence[float], losses: Sequence[float]
) -> list[dict[str, torch.Tensor]]:
    """Give every training these accuracies and losses, one per epoch; return the weights that were evaluated.

    Which epoch of a real training is the best one depends on the last bits of the processor.
    """
    evaluate, evaluated = task.evaluate, []  # type: ignore[attr-defined]
    epochs: dict[int, int] = {}
    alive = []  # keeps the identities in `epochs` unique

    def judge(self: Any) -> Any:
        alive.append(self)
        epoch = epochs.get(id(self), 0)
        epochs[id(self)] = epoch + 1
        evaluated.append(self.weights.copy())
        return dataclasses.replace(evaluate(self), accuracy=accuracies[epoch], loss=losses[epoch])

    monkeypatch.setattr(task, "evaluate", judge)
    return evaluated


def holds(net: torch.nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    """Whether a network has these weights, bit for bit."""
    return all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())


class Steps(pydarts.TrainCallback):
    def __init__(self) -> None:
        self.counts: list[int | None] = []

    def on_step(self, info: pydarts.TrainStep) -> None:
        self.counts.append(info.steps_per_epoch)


def sources() -> dict[str, Any]:
    X, y = make_arrays(n=60)
    tensors = TensorDataset(torch.from_numpy(X).float() / 255, torch.from_numpy(y))
    loader = DataLoader(tensors, batch_size=8, shuffle=True)
    return {
        "arrays": ((X, y), 6),  # nine tenths of 60 are six batches of eight and a rest
        "tensors": ((torch.from_numpy(X), torch.from_numpy(y)), 6),
        "loader": (loader, 7),
        "pair of arrays": (((X, y), (X[:5], y[:5])), 7),
        "pair of loaders": ((loader, loader), 8),
        "arrays and batches": (((tensors.tensors[0], y), batches(1)), 7),
        "lists of batches": ((batches(), batches(1)), 3),
    }


class StopAt(pydarts.TrainCallback):
    """Does something after a step."""

    def __init__(self, epoch: int, step: int, act: Any) -> None:
        self.at, self.act, self.ended = (epoch, step), act, None

    def on_step(self, info: pydarts.TrainStep) -> None:
        if (info.epoch, info.step_in_epoch) == self.at:
            self.act()

    def on_end(self, result: pydarts.TrainResult) -> None:
        self.ended = result.status


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
