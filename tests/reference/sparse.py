"""Sampled operations, plainly: what is multiplied by 0 is not computed, and rests."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

SAMPLES_ONE = ("gdas", "random")
"""The relaxations whose mixing weights are 1 for one candidate of a row, or 0 for all."""


def mixed(operations: Iterable[nn.Module], weights: Sequence[Tensor], x: Tensor, zero: nn.Module) -> Tensor:
    """The sum of the operations whose weight is not 0, each times its weight; without any, zeros."""
    live = [(weight, operation) for weight, operation in zip(weights, operations, strict=True) if weight != 0]
    return sum((weight * operation(x) for weight, operation in live), zero(x) if not live else 0)  # type: ignore[return-value]


def rests(name: str, gradient: Tensor | None, samples: bool) -> bool:
    """Whether a weight stays: one of operations on edges that the loss does not depend on."""
    return samples and gradient is None and (".edges." in name or name.startswith("cell.w"))


def gradients(loss: Tensor, weights: Mapping[str, Tensor], samples: bool) -> dict[str, Tensor | None]:
    """The gradients by name: None where a weight rests, zeros where the loss has no path to another one."""
    found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True, create_graph=True)
    named = zip(weights.items(), found, strict=True)
    return {
        name: torch.zeros_like(weight) if gradient is None and not rests(name, None, samples) else gradient
        for (name, weight), gradient in named
    }
