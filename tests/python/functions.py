"""User-defined networks for the tests: the toy of the paper's figure 2, and one with every part."""

from __future__ import annotations

from typing import Any

import pydarts
import torch
from pydarts.nn import FunctionNetwork
from torch import Tensor
from torch.nn import functional as F

Batch = tuple[Tensor, Tensor]
CANDIDATES = ("tanh", "relu", "zero")
EXAMPLES, INPUTS, UNITS, CLASSES = 6, 3, 5, 3


def toy_loss(w: dict[str, Tensor], m: dict[str, Tensor], batch: Batch) -> Tensor:
    """L_val = αw − 2α + 1 on batches of zeros, L_train = w² − 2αw + α² on others."""
    weight, alpha = w["w"], m["alpha"]
    if batch[0][0] == 0:
        return alpha * weight - 2 * alpha + 1
    return weight**2 - 2 * alpha * weight + alpha**2


def toy() -> FunctionNetwork:
    return FunctionNetwork(toy_loss, {"w": -2.0}, {"alpha": 2.0})


def toy_data(steps: int) -> Any:
    """One training batch and one validation batch per step; the values only say which of the two it is."""
    batch = (torch.ones(1), torch.zeros(1)), (torch.zeros(1), torch.zeros(1))
    return [batch[0]] * steps, [batch[1]] * steps


def mixed_loss(
    w: dict[str, Tensor], m: dict[str, Tensor], batch: Batch, buffers: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Two mixtures of activations around a batch norm with running statistics; cross-entropy."""
    x, y = batch
    training = torch.is_grad_enabled()
    h = x @ w["first"]
    h = F.batch_norm(h, buffers["mean"], buffers["var"], w["scale"], None, training, 0.1)
    if training:
        buffers["count"].add_(1)
    for row in m["choices"]:
        h = row[0] * torch.tanh(h) + row[1] * torch.relu(h) + row[2] * 0 * h
    logits = h @ w["second"] * m["gain"].sum()
    return F.cross_entropy(logits, y), (logits.argmax(1) == y).sum()


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights() -> dict[str, Tensor]:
    return {
        "first": drawn(1, INPUTS, UNITS),
        "scale": 1 + 0.1 * drawn(2, UNITS),
        "second": drawn(3, UNITS, CLASSES),
    }


def alphas() -> dict[str, Tensor]:
    return {"choices": 0.3 * drawn(4, 2, len(CANDIDATES)), "gain": 0.3 * drawn(5, 2)}


def buffers() -> dict[str, Tensor]:
    return {
        "mean": torch.zeros(UNITS).double(),
        "var": torch.ones(UNITS).double(),
        "count": torch.zeros((), dtype=torch.int32),
    }


def mixed(**changes: Any) -> FunctionNetwork:
    parts: dict[str, Any] = {
        "loss": mixed_loss,
        "weights": weights(),
        "alphas": alphas(),
        "buffers": buffers(),
        "candidates": {"choices": CANDIDATES},
    }
    return FunctionNetwork(**(parts | changes))


def batches(count: int, seed: int) -> list[Batch]:
    return [
        (drawn(seed + number, EXAMPLES, INPUTS), torch.arange(EXAMPLES) % CLASSES) for number in range(count)
    ]


def data() -> Any:
    """Three training batches per epoch, two validation batches per pass: they do not keep step."""
    return batches(3, 10), batches(2, 20)


def config(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {
        "epochs": 2,
        "precision": "float64",
        "device": "cpu",
        "record": "step",
        "arch_lr": 0.01,
        "progress": False,
    }
    return pydarts.SearchConfig(**(fields | changes))


def regression(w: dict[str, Tensor], m: dict[str, Tensor], batch: Batch) -> Tensor:
    """The squared error of a product with sums over everything but the examples."""
    x, y = (part.double().reshape(len(part), -1).sum(1) for part in batch)
    return ((x * w["w"].sum() * m["a"][0] - y) ** 2).mean()


def product(w: dict[str, Tensor], m: dict[str, Tensor], batch: Batch) -> Tensor:
    """A loss that ignores the batch."""
    return (w["w"] ** 2).sum() * m["a"].sum()


W, A = {"w": torch.ones(2)}, {"a": torch.zeros(2)}
X, Y = torch.arange(48).reshape(16, 3) / 48, torch.linspace(-1, 1, 16)
