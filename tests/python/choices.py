"""A user-defined network with many tables of one row each, whose candidates and qualified names differ."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pydarts
import torch
from pydarts.nn import FunctionNetwork
from torch import Tensor
from torch.nn import functional as F

_KINDS = {
    "block": ("conv3", "conv5", "skip"),
    "act": ("relu", "gelu"),
    "width": ("w16", "w32", "w64", "w128"),
    "norm": ("bn", "ln", "none"),
}


def CHOICES(count: int) -> dict[str, tuple[str, ...]]:
    """Names and candidates of so many choices."""
    kinds = list(_KINDS.items())
    return {f"layers.{number // 4}.{kinds[number % 4][0]}": kinds[number % 4][1] for number in range(count)}


def _loss(w: dict[str, Tensor], m: dict[str, Tensor], batch: Any) -> tuple[Tensor, Tensor]:
    x, y = batch
    h = x
    for number, mixing in enumerate(m.values()):
        scales = torch.linspace(0.1, 0.2 + 0.05 * number, mixing.shape[1], dtype=mixing.dtype)
        h = h + (mixing[0] * scales).sum() * torch.tanh(h * w["scale"][number])
    logits = h @ w["head"]
    return F.cross_entropy(logits, y), (logits.argmax(1) == y).sum()


def network(count: int) -> FunctionNetwork:
    head = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    return FunctionNetwork(
        _loss,
        {"scale": torch.ones(count), "head": head},
        {name: (1, len(names)) for name, names in CHOICES(count).items()},
        candidates={name: [names] for name, names in CHOICES(count).items()},
    )


def data() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    X = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


def result_of(count: int, callbacks: Any = (), **changes: Any) -> pydarts.SearchResult:
    fields: dict[str, Any] = {"epochs": 3, "batch_size": 8, "arch_lr": 0.1, "progress": False}
    if callbacks or changes:
        cfg = pydarts.SearchConfig(**(fields | changes))
        return pydarts.search(data(), cfg, callbacks=callbacks, network=network(count))
    return _cached(count)


@cache
def _cached(count: int) -> pydarts.SearchResult:
    fields: dict[str, Any] = {"epochs": 3, "batch_size": 8, "arch_lr": 0.1, "progress": False}
    return pydarts.search(data(), pydarts.SearchConfig(**fields), network=network(count))


def chosen(result: pydarts.SearchResult) -> dict[str, str]:
    """The strongest candidate of every choice, by its logits."""
    return {
        name: table.candidates[0][int(np.argmax(result.alphas[name][-1, 0, : len(table.candidates[0])]))]
        for name, table in result.tables.items()
    }
