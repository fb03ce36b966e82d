"""A user-defined network with everything that a resumed search has to restore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydarts
import torch
from pydarts.algorithms import Gumbel, Linear
from pydarts.nn import Choice, InputChoice
from torch import Tensor, nn

STEPS = 4  # per epoch


class Drawing(nn.Module):
    """Batch norm, dropout, a buffer that counts, and choices inside and outside of a candidate."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 6)
        inner = Choice({"tanh": nn.Tanh(), "relu": nn.ReLU()})
        self.block = Choice({"deep": nn.Sequential(nn.Linear(6, 6), inner), "skip": nn.Identity()})
        self.norm = nn.BatchNorm1d(6)
        self.drop = nn.Dropout(0.3)
        self.inputs = InputChoice(3, keep=2)
        self.last = nn.Linear(6, 2)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        h = self.first(x)
        deep = self.drop(self.norm(self.block(h)))
        noise = torch.randn_like(deep) if self.training else torch.zeros_like(deep)
        out: Tensor = self.last(self.inputs([h, deep, deep + 0.1 * noise]))
        return out


class Renamed(Drawing):
    """The same structure under another name."""


class Wider(Drawing):
    """Another structure."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)


class Fewer(Drawing):
    """Another candidate."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Choice({"skip": nn.Identity()})


def data() -> tuple[Tensor, Tensor]:
    X = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    return X, (X[:, 0] > 0).long()


def config(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 8,
        "arch_lr": 0.05,
        "relaxation": Gumbel(temperature=Linear(5.0, 0.5)),
        "record": "step",
        "device": "cpu",
        "progress": False,
    }
    return pydarts.SearchConfig(**(fields | changes))


def run(folder: Path | None, epochs: int, **changes: Any) -> pydarts.SearchResult:
    """Run a search that resumes from the checkpoints in `folder`."""
    cfg = config(
        epochs=epochs,
        checkpoint_dir=folder,
        checkpoint_every=None if folder is None else 1,
        resume=folder is not None,
        hypergradient="unrolled",
        **changes,
    )
    return pydarts.search(data(), cfg, network=Drawing)
