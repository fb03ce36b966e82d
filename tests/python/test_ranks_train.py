"""Trainings on several ranks."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
import torch.distributed as dist
import torchmetrics
from pydarts import TrainConfig
from ranked import on_ranks, values
from test_ranks import Own, X, near, y
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 11, "progress": False, "train_portion": 0.5}


def state(result: pydarts.TrainResult) -> dict[str, Any]:
    """What is compared of a training."""
    history = [(r.train_loss, r.valid_loss, r.train_accuracy, r.valid_accuracy) for r in result.history]
    weights = {name: value.clone() for name, value in result.network.state_dict().items()}
    return {"status": result.status, "history": history, "weights": weights}


def plain_network() -> nn.Module:
    """A network that computes examples alone: no batch norm, no dropout."""
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 0)  # rank 0's initial weights count
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.Tanh(), nn.Linear(9, 3)).double()


def trained() -> list[dict[str, Any]]:
    """A module that computes examples alone; a cell's network, and a language model."""
    found = [state(pydarts.train(plain_network(), (X, y), TrainConfig(**SMALL)))]
    torch.manual_seed(3)
    net = pydarts.build(pydarts.genotypes.DARTS_V2, channels=2, layers=3, num_classes=3, in_channels=1)
    images = (X.astype(np.float32), y)
    found.append(state(pydarts.train(net, images, TrainConfig(**SMALL, ema=0.9))))
    text = torch.arange(600) % 7
    torch.manual_seed(3)
    words = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=7, units=8)
    config = TrainConfig(epochs=2, batch_size=5, bptt=14, progress=False)
    found.append(state(pydarts.train(words, (text, text[:200]), config)))
    return found


def test_ranks_train_one_network(tmp_path: Path) -> None:
    one, other = values(on_ranks(tmp_path, 2, trained))
    near(one, other)
    assert [each["status"] for each in one] == ["complete"] * 3
    # Without batch norm and noise the whole batch is the mean of its parts.
    near(one[0], trained()[0])


class Breaks(nn.Module):
    """Fails in its 8th pass on rank 1."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.passes = plain_network(), 0

    def forward(self, x: Tensor) -> Any:
        self.passes += 1
        if self.passes == 8 and dist.get_rank() == 1:
            raise ValueError("this layer is broken")
        return self.own(x)


class Sharded(list[Any]):
    """Batches of this rank alone."""

    sharded = True


def broken(folder: Path) -> list[str]:
    """A training that fails on one rank, and another one in the same processes, which is resumed."""
    begun = time.monotonic()
    found = []
    try:
        pydarts.train(Breaks(), (X, y), TrainConfig(**SMALL))
    except Exception as error:
        found.append(f"{type(error).__name__}: {error}")
    assert time.monotonic() - begun < 30
    for epochs in (1, 3):
        config = TrainConfig(**SMALL | {"epochs": epochs}, checkpoint_dir=folder / "run", resume=True)
        result = pydarts.train(plain_network(), (X, y), config)
        found.append(f"{result.status} {len(result.history)}")
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    uneven = [*DataLoader(data, 8)][: 4 + dist.get_rank()]
    pair = (Sharded(uneven), Sharded(uneven))
    for loader, changes in ((pair, {}), ((X, y), {"batch_size": 1})):
        try:
            pydarts.train(plain_network(), loader, TrainConfig(**SMALL | changes))
        except pydarts.Error as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


@pytest.mark.long  # as tests/python/test_ranks.py, for searches, does in every run
def test_a_failure_ends_a_training_on_all_ranks(tmp_path: Path) -> None:
    one, other = values(on_ranks(tmp_path, 2, broken, tmp_path))
    assert other[0] == "ValueError: this layer is broken"
    assert one[0].startswith("RankError: rank 1 of 2 failed: this layer is broken")
    assert one[1:3] == other[1:3] == ["complete 1", "complete 3"]
    assert all("4 on rank 0, 5 on rank 1" in found[3] for found in (one, other)), (one, other)
    assert all("batch_size is 1" in found[4] for found in (one, other)), (one, other)


AUROC = functools.partial(torchmetrics.AUROC, "multiclass", num_classes=3)


class Inside(pydarts.Callback):
    """Searches in a callback, which rank 0 alone calls, with a metric that could wait for all ranks."""

    def on_epoch(self, info: pydarts.EpochInfo) -> None:
        config = pydarts.SearchConfig(epochs=1, batch_size=11, progress=False, precision="float64")
        found = pydarts.search((X, y), config, network=Own(), metric=AUROC())
        assert 0 <= found.history[-1].metrics["MulticlassAUROC"] <= 1


def measured(*callbacks: Any) -> list[Any]:
    """The values of metrics that keep their state in sums, or in all outputs."""
    collection = torchmetrics.MetricCollection(
        [
            torchmetrics.Accuracy("multiclass", num_classes=3),
            torchmetrics.F1Score("multiclass", num_classes=3),
        ]
    )
    found = []
    torch.manual_seed(0)
    network = Own()
    for metric in (AUROC(), collection):
        config = pydarts.SearchConfig(
            epochs=1,
            batch_size=11,
            progress=False,
            micro_batch=None if dist.is_initialized() else 6,
            precision="float64",
        )
        result = pydarts.search((X, y), config, callbacks, network=network, metric=metric)
        found.append(dict(result.history[-1].metrics))
    return found


class Listed(torchmetrics.Metric):
    """Keeps a list that is not concatenated: ranks with other numbers of batches would gather differently."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("seen", default=[], dist_reduce_fx=None)

    def update(self, output: Tensor, targets: Tensor) -> None:
        self.seen.append(output)  # type: ignore[operator, union-attr]

    def compute(self) -> float:
        return 0.0


def listed() -> str:
    try:
        config = pydarts.SearchConfig(epochs=1, batch_size=11, progress=False, precision="float64")
        return pydarts.search((X, y), config, network=Own(), metric=Listed()).status
    except pydarts.Error as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.long
def test_states_of_metrics_that_cannot_be_merged_are_refused(tmp_path: Path) -> None:
    assert listed() == "complete"
    found = values(on_ranks(tmp_path, 2, listed))
    assert any("ConfigError" in one and "Listed" in one for one in found), found
    assert "complete" not in found


@pytest.mark.long
def test_metrics_of_torchmetrics_are_merged_over_ranks(tmp_path: Path) -> None:
    one, other = values(on_ranks(tmp_path, 2, measured, Inside()))
    assert one == other
    near(one, measured())
