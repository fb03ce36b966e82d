"""Perturbations of the mixing weights of a weight step, plainly: row by row (Chen & Hsieh, 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Tables = Mapping[str, Tensor]
Loss = Callable[[Tables], Tensor]
"""The training loss as a function of the mixing weights."""


def project(m: Tensor, point: Tensor, shares: bool, mask: Tensor, frozen: Mapping[int, int | None]) -> Tensor:
    """Clip a table to [0, 1] and divide rows by their sums; a row of zeros gets 1 where it was largest."""
    rows = []
    for index, (row, left) in enumerate(zip(point, mask, strict=True)):
        clipped = torch.where(left, row.clamp(0.0, 1.0), 0.0)
        if index in frozen:
            clipped = m[index]
        elif shares and clipped.sum() == 0:
            clipped = torch.zeros_like(row)
            clipped[int(row.masked_fill(~left, -torch.inf).argmax())] = 1.0
        elif shares:
            clipped = clipped / clipped.sum()
        rows.append(clipped)
    return torch.stack(rows)


Project = Callable[[str, Tensor], Tensor]
"""The projection of a point of one table."""


def uniform(m: Tables, noise: Tables, epsilon: float, project: Project) -> dict[str, Tensor]:
    """SDARTS-RS; `noise` in [-1, 1)."""
    return {name: project(name, table + epsilon * noise[name]) for name, table in m.items()}


def adversarial(
    m: Tables, noise: Tables, epsilon: float, project: Project, loss: Loss, steps: int = 7
) -> dict[str, Tensor]:
    """SDARTS-ADV: signed ascent of the loss, within ε of m."""
    point = uniform(m, noise, epsilon, project)
    for _ in range(steps):
        leaves = {name: table.detach().requires_grad_() for name, table in point.items()}
        gradients = torch.autograd.grad(loss(leaves), list(leaves.values()))
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
            moved = leaf.detach() + 2 * epsilon / steps * gradient.sign()
            point[name] = project(name, m[name] + (moved - m[name]).clamp(-epsilon, epsilon))
    with torch.no_grad():
        return dict(m) if loss(point) < loss(m) else point
