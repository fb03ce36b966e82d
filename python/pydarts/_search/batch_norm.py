"""Batch norm of a user's module over the batches of all ranks.

`torch.nn.SyncBatchNorm` does not run on a CPU, and its derivative cannot be differentiated.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .._core import ConfigError
from .._data.share import Share


class Synchronised:
    """The batch norms of a module, normalised by the statistics of all ranks in training mode.

    The module is changed. All ranks must call the same layers in the same order.

    Args:
        module: the module.
        share: the share of this rank.

    Raises:
        ConfigError: there is nothing to synchronise, or a batch norm has a forward of its own.
    """

    def __init__(self, module: nn.Module, share: Share) -> None:
        self.examples = 0
        """The number of examples of this rank in the next pass: losses are weighted by it."""
        named = module.named_modules()
        norms = {name: part for name, part in named if isinstance(part, _BatchNorm) and part.training}
        if not norms:
            raise ConfigError(
                "sync_batch_norm is True and the network has no batch norm in training mode; leave it out"
            )
        for name, norm in norms.items():
            if type(norm).forward is not _BatchNorm.forward:
                raise ConfigError(
                    f"sync_batch_norm is True and {name} is a {type(norm).__name__}, which has a forward "
                    "of its own; only torch's batch norms can be synchronised"
                )
            if share.ranks > 1:
                norm.forward = partial(self._forward, norm, share)  # type: ignore[method-assign]

    def _forward(self, norm: _BatchNorm, share: Share, x: Tensor) -> Tensor:
        if not norm.training:
            return _BatchNorm.forward(norm, x)
        check: Any = norm._check_input_dim
        check(x)
        dimensions = [dimension for dimension in range(x.dim()) if dimension != 1]
        shape = [-1 if dimension == 1 else 1 for dimension in range(x.dim())]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # autocast may have made it narrow
        # The mean first: E[x²] - E[x]² would lose digits.
        own = torch.cat([wide.sum(dimensions), wide.new_tensor([x.numel() / x.shape[1]])])
        total = _sum(own, share, self.examples)
        count = total[-1].detach()
        centred = wide - (total[:-1] / count).view(shape)
        squares = _sum((centred * centred).sum(dimensions), share, self.examples)
        if norm.track_running_stats and norm.running_mean is not None and norm.running_var is not None:
            _move(norm, total[:-1] / count, squares / (count - 1))
        scale = torch.rsqrt(squares / count + norm.eps)
        y: Tensor = centred * scale.view(shape)
        y = y if norm.weight is None else y * norm.weight.view(shape)
        y = y if norm.bias is None else y + norm.bias.view(shape)
        return y.to(x.dtype)


@torch.no_grad()
def _move(norm: _BatchNorm, mean: Tensor, var: Tensor) -> None:
    """Move running statistics as `torch.nn.BatchNorm2d` does."""
    momentum = norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        momentum = 1 / int(norm.num_batches_tracked) if momentum is None else momentum
    for running, new in ((norm.running_mean, mean), (norm.running_var, var)):
        assert running is not None
        running.mul_(1 - (momentum or 0)).add_(new, alpha=momentum or 0)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over the ranks.

    The loss of the search is the mean of the ranks' losses, weighted by their examples, and each rank
    differentiates its own: a gradient g of rank r stands for examples_r · g. So the derivative of a sum is
    Σ_q examples_q g_q / examples_r, and the derivative of that is a sum again.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, share: Share, examples: int) -> Tensor:
        ctx.share, ctx.examples = share, examples
        return _summed(tensor, share)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _weighted(gradient, ctx.share, ctx.examples), None, None


class _WeightedSum(torch.autograd.Function):
    """Σ_q examples_q x_q / examples_r on rank r."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, share: Share, examples: int) -> Tensor:
        ctx.share, ctx.examples = share, examples
        return _summed(tensor * examples, share) / examples

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _sum(gradient, ctx.share, ctx.examples), None, None


_sum: Any = _Sum.apply
_weighted: Any = _WeightedSum.apply


def _summed(tensor: Tensor, share: Share) -> Tensor:
    assert share.peers is not None
    total = tensor.detach().clone()
    share.peers.sum(total)
    return total
