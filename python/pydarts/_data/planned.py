"""Passes over a loader of a user-defined network: batches do not depend on the process that makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    default_collate,
    get_worker_info,
)

from .draws import Draws, Section, stream
from .generators import Generator, generators_of
from .interrupt import sheltered
from .passes import (
    IterablePasses,
    Passes,
    Turns,
    is_plain,
    permutation,
    smallest_batch,
    start_method,
    workers_of,
)
from .share import Share, current, share_of, tell_pass
from .structure import Layout


class Rows(Dataset[Any]):
    """Arrays with one row per example; a batch of them is gathered at once."""

    def __init__(self, tensors: list[Tensor], layout: Layout) -> None:
        self.tensors, self.layout = tensors, layout

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> Any:
        return self.layout.rebuild([tensor[index] for tensor in self.tensors])

    def __getitems__(self, indices: list[int]) -> Any:
        """Return a batch."""
        rows = torch.tensor(indices, dtype=torch.int64, device="cpu")
        return self.layout.rebuild([tensor[rows] for tensor in self.tensors])

    def loader(self, batch_size: int) -> DataLoader[Any]:
        """Return a loader that shuffles and drops a last batch that is smaller."""
        return DataLoader(self, batch_size, shuffle=True, drop_last=True, collate_fn=_same)


def _same(batch: Any) -> Any:
    return batch


class _Numbered(NamedTuple):
    """The examples of a batch."""

    turn: int
    """The number of the pass."""
    number: int
    """The number of the batch in its pass."""
    rows: Any
    """A list of indices; an index if the data set holds batches."""


class _Batches(Dataset[Any]):
    """The batches of a data set. In a worker process their draws are seeded as in this one."""

    def __init__(self, loader: DataLoader[Any], seed: int, role: str, share: Share) -> None:
        self.dataset, self.collate_fn = loader.dataset, loader.collate_fn
        self._whole = loader.batch_sampler is None
        self._seed, self._role, self._share = seed, role, share
        self._own: tuple[Generator, ...] | None = None

    def __getitem__(self, batch: _Numbered) -> Any:
        if get_worker_info() is None:  # the thread that asks for the batch has seeded the generators
            return self._made(batch.rows)
        if self._own is None:
            self._own = generators_of(self)
        name = self._share.own(f"{self._role} batch {batch.number}")
        with Section(stream(self._seed, name, batch.turn), self._own):
            return self._made(batch.rows)

    def _made(self, rows: Any) -> Any:
        dataset: Any = self.dataset
        if self._whole:
            return self.collate_fn(dataset[rows])
        several = getattr(dataset, "__getitems__", None)
        return self.collate_fn(several(rows) if several else [dataset[row] for row in rows])


class _Plan:
    """The batches of a pass, in order."""

    def __init__(self) -> None:
        self.batches: list[_Numbered] = []

    def __iter__(self) -> Iterator[_Numbered]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class PlannedPasses:
    """Passes over a map-style DataLoader; random numbers of a batch depend on (seed, role, pass, batch).

    It does not depend on the number of worker processes. The order of a pass is drawn when it begins: from
    the samplers of the loader, or with `indices` by (seed, role, pass number) as `LoaderPasses` draws it.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        indices: npt.NDArray[np.int64] | None,
        shuffle: bool,
        seed: int,
        role: str,
        turns: Turns,
    ) -> None:
        self.turn = turns.of(loader)
        self.indices, self.shuffle = indices, shuffle
        self._given, self._seed, self._role = loader, seed, role
        self._drop_last = loader.drop_last and role != "eval"
        self._share, self._equal = share_of(loader), role != "eval"
        if self._whole_batches and self._equal:
            self._share.check_batch(loader.batch_size or 1)
        made = _Batches(loader, seed, "evaluation" if role == "eval" else role, current().place())
        self.draws = Draws(seed, made._role, generators_of(loader), generators_of(made), current())
        self._plan, self._generator = _Plan(), torch.Generator()
        self._loader = DataLoader(
            made,
            batch_size=None,
            sampler=self._plan,
            collate_fn=_same,
            generator=self._generator,
            **workers_of(loader),
        )

    @property
    def draws_here(self) -> bool:
        return self._loader.num_workers == 0 and not _only_reads(self._given)

    @property
    def smallest(self) -> int | None:
        if self.indices is None:
            return smallest_batch(self._given)
        size, count = self._given.batch_size or 1, self._examples()
        return size if self._drop_last else min(size, count % size or size)

    @property
    def may_be_empty(self) -> bool:
        return self._share.ranks > 1 and not self._equal

    def batches(self) -> int | None:
        if self.indices is not None:
            if self._whole_batches and not self._equal:  # this rank may have no part of the last one
                return len(self._order(0))
            size, count = self._given.batch_size or 1, self._examples()
            return count // size if self._drop_last else -(-count // size)
        sampler = self._given.sampler if self._given.batch_sampler is None else self._given.batch_sampler
        return self._share.count(len(sampler), self._equal) if isinstance(sampler, Sized) else None

    def begin(self, index: int, skip: int) -> tuple[Iterator[Any], int]:
        numbered = [_Numbered(index, number, rows) for number, rows in enumerate(self._order(index))]
        self._plan.batches = numbered[skip:]
        seed = stream(self._seed, self.draws.share.own(self._role + " workers"), index).random_raw()
        self._generator.manual_seed(int(seed) >> 1)
        with sheltered(start_method(self._loader)):
            return iter(self._loader), 0

    def _order(self, index: int) -> list[Any]:
        if self.indices is None:
            if self.draws.reader.ranks > 1:
                tell_pass(self._given, index)
            batches: Any = self._given.batch_sampler
            found = list(self._given.sampler if batches is None else batches)
            return found[self._share.places(len(found), self._equal)]
        order, size = self.indices, self._given.batch_size or 1
        if self.shuffle:
            order = order[permutation(self._seed, self._role, index, len(order))]
        if not self._whole_batches:
            order = order[self._share.places(len(order), self._equal)][: self._examples()]
        rows = order.tolist()
        parts = [rows[at : at + size] for at in range(0, len(rows), size)]
        parts = parts[:-1] if self._drop_last and parts and len(parts[-1]) < size else parts
        return [own for part in parts if (own := self._share.part(part))] if self._whole_batches else parts

    @property
    def _whole_batches(self) -> bool:
        """Whether a batch is that of all ranks, of which each takes a part: of arrays."""
        return isinstance(self._given.dataset, Rows)

    def _examples(self) -> int:
        count = 0 if self.indices is None else len(self.indices)
        size = self._given.batch_size or 1
        return count if self._whole_batches else self._share.examples(count, size, self._equal)

    def close(self) -> None:
        """Do nothing: worker processes end with the iterator of their pass."""


def planned_passes(loader: Any, seed: int, role: str, in_order: bool, turns: Turns) -> Passes:
    """Create passes over all of `loader`; `in_order` disables shuffling if the order can be chosen."""
    if is_plain(loader):
        shuffle = isinstance(loader.sampler, RandomSampler) and not in_order
        return PlannedPasses(loader, np.arange(len(loader.dataset)), shuffle, seed, role, turns)
    if (
        isinstance(loader, DataLoader)
        and not isinstance(loader.dataset, IterableDataset)
        and type(loader).__iter__ is DataLoader.__iter__
    ):
        return PlannedPasses(loader, None, False, seed, role, turns)
    return IterablePasses(loader, seed, role, turns)


def _only_reads(loader: DataLoader[Any]) -> bool:
    """Return whether a batch is made without code of the user, so that nothing is drawn."""
    dataset: Any = loader.dataset
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return type(dataset) in (TensorDataset, Rows) and loader.collate_fn in (default_collate, _same)
