"""From logits to mixing weights, plainly: one formula per relaxation, differentiated by autograd."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Row = Callable[[Tensor, "Tensor | None", float], Tensor]
"""The mixing weights of the candidates that are left in a row: (logits, noise or None, temperature)."""


def softmax(logits: Tensor, _: Tensor | None, temperature: float) -> Tensor:
    """Equation 2 of the paper, with a temperature."""
    return F.softmax(logits / temperature, dim=-1)


def gumbel(logits: Tensor, noise: Tensor | None, temperature: float) -> Tensor:
    """Soft Gumbel; without noise its mean."""
    if noise is None:
        return F.softmax(logits, dim=-1)
    return F.softmax((logits + noise) / temperature, dim=-1)


def gdas(logits: Tensor, noise: Tensor | None, temperature: float) -> Tensor:
    """Hard Gumbel: 1 for the drawn candidate, with the derivative of its soft weight."""
    soft = gumbel(logits, noise, temperature)
    if noise is None:
        return soft
    drawn = F.one_hot((logits.log_softmax(-1) + noise).argmax(-1), logits.shape[-1]).to(soft)
    return drawn * (1.0 + soft - soft.detach())


def dirichlet(logits: Tensor, noise: Tensor | None, _: float) -> Tensor:
    """A Dirichlet sample; without noise its mean. `noise` [..., 21] as `noise.dirichlet` gives it."""
    kappa = torch.where(logits > 0, logits + 1, logits.exp()).clamp(min=1e-3)
    if noise is None:
        return kappa / kappa.sum(-1, keepdim=True)
    return PathwiseDirichlet.apply(kappa, noise)  # type: ignore[no-any-return, no-untyped-call]


def gamma(k: float, drawn: list[float]) -> float:
    """A gamma number of shape k by Marsaglia and Tsang (2000), from ten proposals."""
    normal, logarithms, extra = drawn[:10], drawn[10:20], drawn[20]
    d = k + (1 if k < 1 else 0) - 1 / 3
    found = d
    for x, log_u in zip(normal, logarithms, strict=True):
        v = (1 + x / math.sqrt(9 * d)) ** 3
        if v > 0 and log_u < x**2 / 2 + d - d * v + d * math.log(v):
            found = d * v
            break
    return found * math.exp(extra / k) if k < 1 else found


class PathwiseDirichlet(torch.autograd.Function):
    """Gamma numbers divided by their sum; the gradient of torch."""

    @staticmethod
    def forward(ctx: Any, kappa: Tensor, noise: Tensor) -> Tensor:
        entries = zip(kappa.flatten().tolist(), noise.flatten(0, -2).tolist(), strict=True)
        gammas = kappa.new_tensor([gamma(k, drawn) for k, drawn in entries]).view_as(kappa)
        m = gammas / gammas.sum(-1, keepdim=True)
        ctx.save_for_backward(kappa, m)
        return m

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        kappa, m = ctx.saved_tensors
        direct = torch._dirichlet_grad(m, kappa, kappa.sum(-1, keepdim=True).expand_as(kappa).contiguous())
        return (direct * (gradient - (m * gradient).sum(-1, keepdim=True))).nan_to_num(), None


def random(logits: Tensor, noise: Tensor | None, _: float) -> Tensor:
    """The weights of a random architecture, which are the noise; without it equal shares."""
    return torch.full_like(logits, 1 / logits.shape[-1]) if noise is None else noise + 0.0 * logits


def sigmoid(logits: Tensor, _: Tensor | None, __: float) -> Tensor:
    """Every candidate for itself."""
    return 1.0 / (1.0 + torch.exp(-logits))


def identity(logits: Tensor, _: Tensor | None, __: float) -> Tensor:
    """The logits themselves."""
    return logits.clone()


RELAXATIONS: dict[str, Row] = {
    "softmax": softmax,
    "gumbel": gumbel,
    "gdas": gdas,
    "dirichlet": dirichlet,
    "random": random,
    "sigmoid": sigmoid,
    "identity": identity,
}
SAMPLED = ("gumbel", "gdas", "dirichlet", "random")
"""The relaxations that draw noise."""
TEMPERED = ("softmax", "gumbel", "gdas")
"""The relaxations that have a temperature."""


@dataclass(frozen=True)
class Relaxation:
    """A relaxation with the state of its tables.

    `masks` maps a table to a boolean tensor [rows, columns], False for candidates that were removed: they
    weigh 0, and the others are weighed as if they were all there is. `frozen` maps a table to
    {row: column or None}: a row with weight 1 for one candidate, or with weight 0 for all.
    """

    name: str = "softmax"
    temperature: float = 1.0
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    frozen: Mapping[str, Mapping[int, int | None]] = field(default_factory=dict)

    def weights(self, table: str, alpha: Tensor, noise: Tensor | None = None) -> Tensor:
        """The mixing weights of a table of logits [rows, columns]; without noise the mean."""
        if table not in self.masks and table not in self.frozen:
            return RELAXATIONS[self.name](alpha, noise, self.temperature)
        mask = self.masks.get(table, torch.ones_like(alpha, dtype=torch.bool))
        frozen = self.frozen.get(table, {})
        rows = []
        for index, (logits, left) in enumerate(zip(alpha, mask, strict=True)):
            row = torch.zeros_like(logits)
            if index not in frozen:
                drawn = None if noise is None else noise[index][left]
                weighed = RELAXATIONS[self.name](logits[left], drawn, self.temperature)
                row = row.masked_scatter(left, weighed)
            elif (column := frozen[index]) is not None:
                row[column] = 1.0
            rows.append(row)
        return torch.stack(rows)

    def fixed(self, table: str, alpha: Tensor) -> Tensor:
        """Which logits do not move [rows, columns]: those that are masked, and all of frozen rows."""
        mask = self.masks.get(table)
        fixed = torch.zeros_like(alpha, dtype=torch.bool) if mask is None else ~mask
        for row in self.frozen.get(table, {}):
            fixed[row] = True
        return fixed
