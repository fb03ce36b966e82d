"""Passes over a Python loader: who may be split, in which order, and how a pass begins."""

from __future__ import annotations

import copy
import multiprocessing
import threading
import zlib
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
)

from .._core import DataError
from .interrupt import sheltered

_PAIR = "give a pair (train, valid) instead"


class Passes(Protocol):
    """Something that can be passed over again and again."""

    @property
    def turn(self) -> AbstractContextManager[Any]:
        """To be entered while a batch is made."""

    @property
    def draws_here(self) -> bool:
        """Whether making a batch may draw random numbers in this process."""

    @property
    def smallest(self) -> int | None:
        """Examples of the smallest batch of a pass, None when unknown."""

    def batches(self) -> int | None:
        """Batches of a pass, None when unknown."""

    def begin(self, index: int, skip: int) -> tuple[Iterator[Any], int]:
        """Begin pass `index` without its first `skip` batches: its iterator, and how many remain to skip."""

    def close(self) -> None:
        """Let go of worker processes."""


def permutation(seed: int, role: str, index: int, n: int) -> npt.NDArray[np.int64]:
    """A shuffle of range(n), a function of (seed, role, index) on every machine and with every numpy.

    >>> permutation(0, "train", 0, 5).tolist() == permutation(0, "train", 0, 5).tolist()
    True
    """
    return np.argsort(stream(seed, role, index).random_raw(n), kind="stable")


def stream(seed: int, role: str, index: int) -> np.random.PCG64:
    """Random bits that are a function of (seed, role, index)."""
    return np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(role.encode()), index]))


class Turns:
    """One pass after the other makes a batch of a data set that is read in this process.

    Passes run at once, on threads; a data set may hold an open file with one place in it, or a connection.
    """

    def __init__(self) -> None:
        self._locks: dict[int, AbstractContextManager[Any]] = {}

    def of(self, loader: Any) -> AbstractContextManager[Any]:
        """The turn of what `loader` reads; worker processes have data sets of their own."""
        if isinstance(loader, DataLoader) and loader.num_workers:
            return nullcontext()
        found = getattr(loader, "dataset", loader)
        while isinstance(found, Subset):
            found = found.dataset
        return self._locks.setdefault(id(found), threading.Lock())


class PassSampler(Sampler[int]):
    """Yields the indices of one pass, shuffled by (seed, role, pass number) or in order."""

    def __init__(self, indices: npt.NDArray[np.int64], shuffle: bool, seed: int, role: str) -> None:
        self.indices, self.shuffle, self.seed, self.role = indices, shuffle, seed, role
        self.index, self.start = 0, 0

    def __iter__(self) -> Iterator[int]:
        order = self.indices
        if self.shuffle:
            order = order[permutation(self.seed, self.role, self.index, len(order))]
        return iter(order[self.start :].tolist())

    def __len__(self) -> int:
        return len(self.indices) - self.start


class LoaderPasses:
    """Passes over some examples of a map-style DataLoader, through a DataLoader of our own made like it.

    Batch size, workers, collate function and all else are kept, but the role "eval" leaves no example out.
    The order is a function of (seed, role, pass number), and so are the seeds of the worker processes: hence
    these live for one pass, for persistent ones go on with the random numbers of the pass before.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        indices: npt.NDArray[np.int64],
        shuffle: bool,
        seed: int,
        role: str,
        turns: Turns,
    ) -> None:
        self.turn = turns.of(loader)
        self.sampler = PassSampler(indices, shuffle, seed, role)
        self.generator = torch.Generator()
        self.loader = DataLoader(
            loader.dataset,
            batch_size=loader.batch_size,
            sampler=self.sampler,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            pin_memory=loader.pin_memory,
            drop_last=loader.drop_last and role != "eval",
            timeout=loader.timeout,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            generator=self.generator,
            prefetch_factor=loader.prefetch_factor,
            in_order=loader.in_order,
        )

    @property
    def draws_here(self) -> bool:
        return self.loader.num_workers == 0

    @property
    def smallest(self) -> int | None:
        return _smallest(self.loader)

    def batches(self) -> int | None:
        examples, size = len(self.sampler.indices), self.loader.batch_size or 1
        return examples // size if self.loader.drop_last else -(-examples // size)

    def begin(self, index: int, skip: int) -> tuple[Iterator[Any], int]:
        self.sampler.index, self.sampler.start = index, skip * (self.loader.batch_size or 1)
        seed = stream(self.sampler.seed, self.sampler.role + " workers", index).random_raw()
        self.generator.manual_seed(int(seed) >> 1)
        with sheltered(_start_method(self.loader)):
            return iter(self.loader), 0

    def close(self) -> None:
        """Worker processes end with the iterator of their pass."""


class IterablePasses:
    """Passes over any re-iterable of batches, in the order in which it gives them."""

    def __init__(self, batches: Iterable[Any], turns: Turns) -> None:
        self.turn = turns.of(batches)
        self.iterable = batches
        if isinstance(batches, DataLoader):  # one of our own: persistent workers serve one iterator at a time
            self.iterable = copy.copy(batches)
            self.close()

    @property
    def draws_here(self) -> bool:
        return True  # its order, at least, may be drawn

    @property
    def smallest(self) -> int | None:
        return _smallest(self.iterable)

    def batches(self) -> int | None:
        if not isinstance(self.iterable, Sized):
            return None
        try:
            return len(self.iterable)
        except TypeError:  # a DataLoader over an IterableDataset without a length
            return None

    def begin(self, index: int, skip: int) -> tuple[Iterator[Any], int]:
        self.close()  # persistent workers would go on with the random numbers of the pass before
        with sheltered(_start_method(self.iterable)):
            return iter(self.iterable), skip

    def close(self) -> None:
        if isinstance(self.iterable, DataLoader):
            self.iterable._iterator = None


def is_plain(loader: object) -> bool:
    """Whether `loader` is a map-style DataLoader whose order is sequential or a plain shuffle."""
    return isinstance(loader, DataLoader) and _obstacle(loader) is None


def passes_of(loader: Any, seed: int, role: str, in_order: bool, turns: Turns) -> Passes:
    """Passes over the whole of `loader`; `in_order` asks for no shuffling where that is ours to say."""
    if is_plain(loader):
        shuffle = isinstance(loader.sampler, RandomSampler) and not in_order
        return LoaderPasses(loader, np.arange(_length(loader)), shuffle, seed, role, turns)
    return IterablePasses(loader, turns)


def split_loader(loader: Any, portion: float, seed: int) -> tuple[LoaderPasses, LoaderPasses, LoaderPasses]:
    """The training, validation and evaluation passes of one loader."""
    if not isinstance(loader, DataLoader):
        raise DataError(
            f"one source is split into a training and a validation part, and a {type(loader).__name__} "
            f"cannot be; {_PAIR}"
        )
    obstacle = _obstacle(loader)
    if obstacle is not None:
        raise DataError(f"a DataLoader with {obstacle} cannot be split; {_PAIR}")
    n = _length(loader)
    train, valid = split_indices(n, portion, seed)
    for name, part in (("train", train), ("valid", valid)):
        least = (loader.batch_size or 1) if loader.drop_last else 1
        if len(part) < least:
            raise too_few(name, len(part), least, n, portion)
    turns = Turns()
    return (
        LoaderPasses(loader, train, True, seed, "train", turns),
        LoaderPasses(loader, valid, True, seed, "valid", turns),
        LoaderPasses(loader, valid, False, seed, "eval", turns),
    )


def split_indices(n: int, portion: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the training and the validation part: a function of (n, portion, seed).

    >>> train, valid = split_indices(5, 0.5, 0)
    >>> sorted([*train.tolist(), *valid.tolist()]), len(train)
    ([0, 1, 2, 3, 4], 2)
    """
    order = permutation(seed, "split", 0, n)
    cut = int(n * portion)
    return np.sort(order[:cut]), np.sort(order[cut:])


def too_few(part: str, have: int, batch_size: int, n: int, portion: float) -> DataError:
    """What to say when a part cannot fill a batch."""
    share = portion if part == "train" else 1 - portion
    return DataError(
        f"the {part} part has {have} of {n} examples (train_portion={portion:g} leaves it {share:.0%}), "
        f"too few for one "
        f"batch of batch_size={batch_size}; give more examples, a smaller batch_size or another train_portion"
    )


def _smallest(loader: Any) -> int | None:
    """Examples of the smallest batch of a loader that cuts its batches from a sampler of known length."""
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not BatchSampler:
        return None
    size, sampler = loader.batch_sampler.batch_size, loader.sampler
    if isinstance(loader.dataset, IterableDataset) or not isinstance(sampler, Sized):
        return None
    return size if loader.drop_last else min(size, len(sampler) % size or size)


def _start_method(loader: Any) -> str:
    """How the worker processes of a loader are started; "fork" where there are none."""
    if not isinstance(loader, DataLoader) or not loader.num_workers:
        return "fork"
    context: Any = loader.multiprocessing_context or multiprocessing
    return str(context.get_start_method())


def _length(loader: DataLoader[Any]) -> int:
    dataset: Any = loader.dataset
    return len(dataset)


def _obstacle(loader: DataLoader[Any]) -> str | None:
    """Why the examples of `loader` cannot be chosen by us."""
    if isinstance(loader.dataset, IterableDataset):
        return "an IterableDataset"
    if type(loader).__iter__ is not DataLoader.__iter__:
        return f"an iteration of its own ({type(loader).__name__})"
    if loader.batch_size is None:
        return "batch_size=None" if loader.batch_sampler is None else "a custom batch_sampler"
    sampler = loader.sampler
    if type(sampler) not in (RandomSampler, SequentialSampler):
        return f"a custom sampler ({type(sampler).__name__})"
    if isinstance(sampler, RandomSampler) and (sampler.replacement or len(sampler) != _length(loader)):
        return "a sampler that draws with replacement or not everything"
    return None
