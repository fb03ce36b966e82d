"""The loss of a training: cross-entropy, or a function of the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .._core import DataError
from .._data.draws import SeededLoss
from .._search.metrics import check_classes


def criterion(loss: SeededLoss | None, smoothing: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean loss on (logits [N, classes], targets [N]); None: cross-entropy.

    It raises TypeError or DataError if `loss` does not return a scalar tensor with a graph to the logits.

    >>> float(criterion(None)(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)))
    0.0
    """

    def mean(logits: Tensor, targets: Tensor) -> Tensor:
        numbers = wide(logits)
        if loss is None:
            return F.cross_entropy(numbers, targets, label_smoothing=smoothing)
        return _scalar(loss(numbers, targets), "the loss", numbers.requires_grad, "logits")

    return mean


def wide(logits: Tensor) -> Tensor:
    """Return logits in float32 or float64."""
    return logits if logits.dtype == torch.float64 else logits.float()


def objective_of(
    loss: SeededLoss | Literal["network"] | None, smoothing: float = 0.0
) -> Callable[[Any, Any], Tensor]:
    """Return the mean loss on (output, targets) of any network; "network": the output; None: cross-entropy.

    It raises TypeError or DataError if there is no scalar tensor with a graph to the weights, or if output
    and targets are not those of a cross-entropy.
    """

    fits = False

    def mean(output: Any, targets: Any) -> Tensor:
        nonlocal fits
        learns = torch.is_grad_enabled()
        if loss == "network":
            return _scalar(output, "the network, with loss='network',", learns, "weights")
        if loss is None:
            if not fits:
                check_classes(output, targets)
            fits = True
            return _cross_entropy(output, targets, smoothing)
        return _scalar(loss(output, targets), "the loss", learns, "output")

    return mean


def _scalar(value: Any, what: str, learns: bool, source: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} returned a {type(value).__name__}; it must return a scalar tensor")
    if value.numel() != 1:
        raise DataError(f"{what} returned shape {list(value.shape)}; it must return a scalar (take the mean)")
    if not value.is_floating_point():
        raise DataError(f"{what} returned {value.dtype}; it must return a real floating-point number")
    if learns and not value.requires_grad:
        raise DataError(
            f"the loss has no graph to the {source}, so nothing could be learned from it; compute it with "
            "torch's operations, without .item(), .detach() or no_grad"
        )
    return value.reshape(())


def _cross_entropy(output: Any, targets: Any, smoothing: float) -> Tensor:
    remedy = (
        "; cross-entropy takes logits [N, classes, ...] and labels [N, ...] or class probabilities of the "
        "shape of the logits: pass loss=, a function (output, targets) -> scalar tensor"
    )
    try:
        value = F.cross_entropy(output, targets, label_smoothing=smoothing)
    except (RuntimeError, ValueError, IndexError) as error:
        raise DataError(
            f"the network returned {output.dtype} {list(output.shape)} and the targets are {targets.dtype} "
            f"{list(targets.shape)}: {error!s:.200}{remedy}"
        ) from error
    return _scalar(value, "the loss", torch.is_grad_enabled(), "output")
