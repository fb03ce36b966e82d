"""Batch norm of any module without what is left of the initial values of its running statistics."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ._statistics import settled


def is_fresh(part: nn.Module) -> bool:
    """Return whether the running statistics of a module hold, or may hold, the initial values 0 and 1.

    Not those that were set by hand: they differ from 0 and 1 without a step. Nor those of momentum 0, which
    always hold them.
    """
    if not isinstance(part, _BatchNorm) or not part.momentum or part.num_batches_tracked is None:
        return False
    mean, var = part.running_mean, part.running_var
    if mean is None or var is None:
        return False
    return int(part.num_batches_tracked) > 0 or bool((mean == 0).all() and (var == 1).all())


@torch.no_grad()
def settle(norm: nn.Module) -> None:
    """Divide what is left of the initial values out of running statistics, in place.

    After t steps of momentum m, (1 - m)^t of them is left. Before the first step nothing changes.

    >>> norm = nn.BatchNorm1d(1)
    >>> _ = norm(torch.tensor([[1.0], [3.0]]))
    >>> settle(norm)
    >>> norm.running_mean.item(), round(norm.running_var.item(), 4)
    (2.0, 2.0)
    """
    assert isinstance(norm, _BatchNorm) and norm.momentum is not None
    count, mean, var = norm.num_batches_tracked, norm.running_mean, norm.running_var
    if count is None or mean is None or var is None:
        return
    for live, value in zip((mean, var), settled(mean, var, count, norm.momentum), strict=True):
        live.copy_(value)
