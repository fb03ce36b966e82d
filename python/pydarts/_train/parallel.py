"""A training on several ranks: each computes its share of a batch, and gradients are averaged.

`DistributedDataParallel` would hold the process group, which a rank that fails must close (see
docs/decisions/ranks.md).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .._data.share import current


class Parallel:
    """The ranks of a training of a network, or this process alone."""

    def __init__(self, network: nn.Module) -> None:
        self.share = current()
        self.numbers = (self.share.rank,) if self.share.ranks > 1 else ()
        """What is added to the seeds of this rank, such as that of dropout: nothing in a process alone."""
        self._weights = [weight for weight in network.parameters() if weight.requires_grad]
        self.share.copy_first([*network.parameters(), *network.buffers()])

    @torch.no_grad()
    def average_gradients(self, examples: int) -> None:
        """Replace gradients of means over own examples by those of the mean over all ranks' examples."""
        if self.share.peers is None:
            return
        grads = [torch.zeros_like(w) if w.grad is None else w.grad * examples for w in self._weights]
        found = [
            grad.new_tensor(float(w.grad is not None)) for w, grad in zip(self._weights, grads, strict=True)
        ]
        count = grads[0].new_tensor(float(examples))
        self.share.sum_all([*grads, *found, count])
        used = torch.stack(found).tolist()
        for weight, grad, uses in zip(self._weights, grads, used, strict=True):
            weight.grad = grad / count if uses else None

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite floating-point tensors, such as running statistics, with their means over the ranks."""
        some = [tensor for tensor in tensors if tensor.is_floating_point()]
        if self.share.peers is not None and some:
            self.share.sum_all(some)
            for tensor in some:
                tensor /= self.share.ranks
