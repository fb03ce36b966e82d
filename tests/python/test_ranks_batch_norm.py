"""Batch norms of own networks over all ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from pydarts import SearchConfig
from ranked import on_ranks, values
from test_ranks import SMALL, Own, X, near, seen, y
from torch import Tensor, nn


class Normed(nn.Module):
    """A network that draws nothing, whose batch norms keep all kinds of statistics."""

    def __init__(self) -> None:
        super().__init__()
        wide = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.BatchNorm2d(4, momentum=None))
        self.first = pydarts.nn.Choice({"conv": nn.Conv2d(1, 4, 3, padding=1), "wide": wide})
        self.norm = nn.BatchNorm2d(4, affine=False)
        self.last = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, eps=1e-3))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)).tanh().mean((2, 3)))


def synchronised(method: str, sync: bool = True) -> dict[str, Any]:
    torch.manual_seed(0)
    options = {name: value for name, value in SMALL.items() if name not in ("channels", "layers", "nodes")}
    config = SearchConfig(**options, hypergradient=method, sync_batch_norm=sync)
    return seen(pydarts.search((X.astype("float64"), y), config, network=Normed()))


def all_synchronised() -> list[dict[str, Any]]:
    return [synchronised(method) for method in ("first_order", "unrolled", "unrolled_exact")]


def test_synchronised_batch_norm_equals_whole_batches(tmp_path: Path) -> None:
    found = values(on_ranks(tmp_path, 2, all_synchronised))
    near(found[0], found[1])
    near(found[0], all_synchronised())


class Odd(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@pytest.mark.parametrize(
    ("changes", "network", "named"),
    [
        ({}, None, "sync_batch_norm"),
        ({"micro_batch": 2}, Normed, "micro_batch"),
        ({"relaxation": "gdas"}, Normed, "samples"),
        ({}, lambda: nn.Sequential(Own().first), "no batch norm"),
        ({}, lambda: nn.Sequential(pydarts.nn.Choice({"odd": Odd(1), "norm": nn.BatchNorm2d(1)})), "Odd"),
    ],
)
def test_batch_norm_that_cannot_be_synchronised_is_refused(changes: Any, network: Any, named: str) -> None:
    config = SearchConfig(epochs=1, progress=False, sync_batch_norm=True, batch_size=8, **changes)
    with pytest.raises(pydarts.ConfigError, match=named):
        pydarts.search((X.astype("float32"), y), config, network=network)
