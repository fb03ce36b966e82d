"""The loss of a training: cross-entropy, or a function of the user."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .._core import DataError
from .._data.draws import SeededLoss


def criterion(loss: SeededLoss | None, smoothing: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean loss on (logits [N, classes], targets [N]); None: cross-entropy.

    It raises TypeError or DataError if `loss` does not return a scalar tensor with a graph to the logits.

    >>> float(criterion(None)(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)))
    0.0
    """

    def mean(logits: Tensor, targets: Tensor) -> Tensor:
        wide = logits if logits.dtype == torch.float64 else logits.float()
        if loss is None:
            return F.cross_entropy(wide, targets, label_smoothing=smoothing)
        value = loss(wide, targets)
        if not isinstance(value, Tensor):
            raise TypeError(f"the loss returned a {type(value).__name__}; it must return a scalar tensor")
        if value.numel() != 1:
            raise DataError(
                f"the loss returned shape {list(value.shape)}; it must return a scalar (take the mean)"
            )
        if wide.requires_grad and not value.requires_grad:
            raise DataError(
                "the loss has no graph to the logits, so nothing could be learned from it; compute it from "
                "them with torch's operations, without .item(), .detach() or no_grad"
            )
        return value.reshape(())

    return mean
