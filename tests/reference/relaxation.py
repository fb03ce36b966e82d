"""From logits to mixing weights, plainly: one formula per relaxation, differentiated by autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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


def sigmoid(logits: Tensor, _: Tensor | None, __: float) -> Tensor:
    """Every candidate for itself."""
    return 1.0 / (1.0 + torch.exp(-logits))


def identity(logits: Tensor, _: Tensor | None, __: float) -> Tensor:
    """The logits themselves."""
    return logits.clone()


RELAXATIONS: dict[str, Row] = {"softmax": softmax, "gumbel": gumbel, "sigmoid": sigmoid, "identity": identity}
SAMPLED = ("gumbel",)
"""The relaxations that draw noise."""


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
