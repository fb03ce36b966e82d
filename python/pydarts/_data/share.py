"""The share of the data that this process reads, if several processes search or train together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data.distributed import DistributedSampler

from .._core import ConfigError


class Peers(Protocol):
    """The ranks of a run."""

    def sum(self, tensor: Tensor) -> None:
        """Overwrite a tensor with its sum over the ranks."""

    def exchange(self, value: Any) -> list[Any]:
        """Return the value that each rank gives, which JSON can hold."""


@dataclass(frozen=True)
class Share:
    """One of several shares, numbered by the ranks of the processes."""

    rank: int = 0
    ranks: int = 1
    peers: Peers | None = field(default=None, compare=False)
    """The connection to the others; None: of a process alone."""

    def own(self, purpose: str) -> str:
        """Return the name of what a rank draws for its share alone.

        >>> Share(1, 2).own("train workers"), Share().own("train workers")
        ('train workers rank 1', 'train workers')
        """
        return f"{purpose} rank {self.rank}" if self.ranks > 1 else purpose

    def place(self) -> Share:
        """Return the same without the connection to the others, which other processes cannot use."""
        return Share(self.rank, self.ranks)

    def check_batch(self, size: int) -> None:
        """Raise ConfigError if a batch of this many examples cannot be divided among the ranks."""
        if size < self.ranks:
            raise ConfigError(
                f"batch_size is {size}, fewer than the {self.ranks} ranks that divide a batch; use a larger "
                "one"
            )

    def part(self, batch: Any) -> Any:
        """Return the contiguous part of a list or of the rows of a tensor, as arrays are shared.

        >>> [Share(rank, 2).part([0, 1, 2]) for rank in (0, 1)]
        [[0], [1, 2]]
        """
        first, end = (rank * len(batch) // self.ranks for rank in (self.rank, self.rank + 1))
        return batch[first:end]

    @torch.no_grad()
    def sum_all(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with their sums over the ranks, as one vector for each dtype."""
        if self.peers is None:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            some = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.flatten() for tensor in some])
            flat = flat.to(torch.int64) if dtype == torch.bool else flat
            self.peers.sum(flat)
            sums = torch.split(flat, [tensor.numel() for tensor in some])
            for tensor, total in zip(some, sums, strict=True):
                tensor.copy_(total.view_as(tensor))

    @torch.no_grad()
    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with those of rank 0."""
        if self.peers is None:
            return
        for tensor in tensors if self.rank else ():
            tensor.zero_()
        self.sum_all(tensors)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors that all ranks give, which may differ in shape and dtype."""
        if self.peers is None:
            return [tensor]
        own = list(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        kinds = self.peers.exchange(own)
        found = [tensor.new_zeros(shape, dtype=getattr(torch, dtype)) for shape, dtype in kinds]
        found[self.rank].copy_(tensor)
        self.sum_all(found)
        return found

    def places(self, count: int, equal: bool) -> slice:
        """Return every `ranks`-th place of `count`; `equal`: as many on each rank, so that some are left out.

        >>> [list(range(5))[Share(rank, 2).places(5, equal=True)] for rank in (0, 1)]
        [[0, 2], [1, 3]]
        """
        return slice(self.rank, count - count % self.ranks if equal else count, self.ranks)

    def count(self, count: int, equal: bool) -> int:
        """Return the number of `places`."""
        return len(range(count)[self.places(count, equal)])

    def examples(self, count: int, size: int, equal: bool) -> int:
        """Return the number of examples of `count` that are read in batches of `size`.

        Of several ranks none has a last batch of one example, which batch norm cannot normalise.
        """
        own = self.count(count, equal)
        return own - 1 if self.ranks > 1 and equal and own % size == 1 < size else own

    def rounds(self, batches: Iterator[Any], equal: bool) -> Iterator[Any]:
        """Yield one batch of each round of `ranks`; `equal`: not of the last one if it is incomplete."""
        while round_ := list(islice(batches, self.ranks)):
            if len(round_) > self.rank and (len(round_) == self.ranks or not equal):
                yield round_[self.rank]


WHOLE = Share()
"""That of a process alone."""

_current: ContextVar[Share] = ContextVar("share", default=WHOLE)


@contextmanager
def sharing(share: Share) -> Iterator[None]:
    """Make passes over loaders that are created in this context read a share."""
    token = _current.set(share)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Share:
    """Return the share of this process."""
    return _current.get()


def share_of(loader: Any) -> Share:
    """Return the share of a loader that this process reads: all of one that is a share already.

    That is a loader with a `DistributedSampler`, or any with the attribute `sharded`.
    """
    shared = any(isinstance(sampler, DistributedSampler) for sampler in _samplers(loader))
    return WHOLE if shared or getattr(loader, "sharded", False) else _current.get()


def tell_pass(loader: Any, index: int) -> None:
    """Tell a `DistributedSampler` the number of the pass, which seeds its order."""
    for sampler in _samplers(loader):
        if isinstance(sampler, DistributedSampler):
            sampler.set_epoch(index)


def _samplers(loader: Any) -> list[Any]:
    batches = getattr(loader, "batch_sampler", None)
    return [getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)]
