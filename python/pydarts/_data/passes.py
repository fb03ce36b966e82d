"""Passes over a Python loader: split, order and random seeds."""

from __future__ import annotations

import copy
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
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
from .draws import Draws, stream
from .generators import generators_of
from .interrupt import sheltered
from .share import WHOLE, Share, current, share_of, tell_pass

_PAIR = "give a pair (train, valid) instead"


class Passes(Protocol):
    """Repeatable passes over batches."""

    draws: Draws
    """What the loader's code draws in this process."""

    @property
    def turn(self) -> AbstractContextManager[Any]:
        """The lock to hold while a batch is made."""

    @property
    def draws_here(self) -> bool:
        """Whether making a batch may draw random numbers in this process."""

    @property
    def smallest(self) -> int | None:
        """The number of examples in the smallest batch of a pass; None if unknown."""

    @property
    def may_be_empty(self) -> bool:
        """Whether a rank may have no batches, which is allowed in evaluations only."""

    def batches(self) -> int | None:
        """Return the number of batches per pass; None if unknown."""

    def begin(self, index: int, skip: int) -> tuple[Iterator[Any], int]:
        """Begin pass `index` at batch `skip`; return the iterator and the count of batches left to skip."""

    def close(self) -> None:
        """Release the worker processes."""


def permutation(seed: int, role: str, index: int, n: int) -> npt.NDArray[np.int64]:
    """Shuffle range(n) by (seed, role, index); the same on every machine and with every NumPy version.

    >>> permutation(0, "train", 0, 5).tolist() == permutation(0, "train", 0, 5).tolist()
    True
    """
    return np.argsort(stream(seed, role, index).random_raw(n), kind="stable")


class Turns:
    """Locks that serialise the passes over a data set that is read in this process.

    Passes run concurrently on threads, and a data set may use one open file or connection.
    """

    def __init__(self) -> None:
        self._locks: dict[int, AbstractContextManager[Any]] = {}

    def of(self, loader: Any) -> AbstractContextManager[Any]:
        """Return the lock of the data set of `loader`; worker processes have copies and need no lock."""
        if isinstance(loader, DataLoader) and loader.num_workers:
            return nullcontext()
        found = getattr(loader, "dataset", loader)
        while isinstance(found, Subset):
            found = found.dataset
        return self._locks.setdefault(id(found), threading.Lock())


class PassSampler(Sampler[int]):
    """Sampler of the indices of one pass, in order or shuffled by (seed, role, pass number)."""

    def __init__(
        self, indices: npt.NDArray[np.int64], shuffle: bool, seed: int, role: str, batch_size: int
    ) -> None:
        self.indices, self.shuffle, self.seed, self.role = indices, shuffle, seed, role
        self.index, self.start = 0, 0
        self._share, self._equal = current(), role != "eval"
        self.may_be_empty = self._share.ranks > 1 and not self._equal
        self.examples = self._share.examples(len(indices), batch_size, self._equal)
        """The number of examples in a pass."""

    def __iter__(self) -> Iterator[int]:
        order = self.indices
        if self.shuffle:
            order = order[permutation(self.seed, self.role, self.index, len(order))]
        order = order[self._share.places(len(order), self._equal)]
        return iter(order[self.start : self.examples].tolist())

    def __len__(self) -> int:
        return self.examples - self.start


class LoaderPasses:
    """Passes over a subset of a map-style DataLoader, through a new DataLoader with the same settings.

    One setting differs: the role "eval" never drops the last batch. The order and the seeds of the worker
    processes are functions of (seed, role, pass number). Workers are therefore started for each pass:
    persistent ones would continue the random numbers of the previous pass.
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
        self.draws = _draws(loader, seed, role, current())
        self.sampler = PassSampler(indices, shuffle, seed, role, loader.batch_size or 1)
        self.generator = torch.Generator()
        self.loader = DataLoader(
            loader.dataset,
            batch_size=loader.batch_size,
            sampler=self.sampler,
            collate_fn=loader.collate_fn,
            drop_last=loader.drop_last and role != "eval",
            generator=self.generator,
            **workers_of(loader),
        )

    @property
    def draws_here(self) -> bool:
        return self.loader.num_workers == 0

    @property
    def smallest(self) -> int | None:
        return smallest_batch(self.loader)

    @property
    def may_be_empty(self) -> bool:
        return self.sampler.may_be_empty

    def batches(self) -> int | None:
        examples, size = self.sampler.examples, self.loader.batch_size or 1
        return examples // size if self.loader.drop_last else -(-examples // size)

    def begin(self, index: int, skip: int) -> tuple[Iterator[Any], int]:
        self.sampler.index, self.sampler.start = index, skip * (self.loader.batch_size or 1)
        role = self.draws.share.own(self.sampler.role + " workers")
        seed = stream(self.sampler.seed, role, index).random_raw()
        self.generator.manual_seed(int(seed) >> 1)
        with sheltered(start_method(self.loader)):
            return iter(self.loader), 0

    def close(self) -> None:
        """Do nothing: worker processes end with the iterator of their pass."""


class IterablePasses:
    """Passes over any iterable of batches that can be repeated, in its own order.

    An order that the iterable draws depends on (seed, role, pass number).
    """

    def __init__(self, batches: Iterable[Any], seed: int, role: str, turns: Turns) -> None:
        self.turn = turns.of(batches)
        self.iterable = batches
        self._share, self._equal = share_of(batches), role != "eval"
        # Where each rank makes all batches, all must make the same ones.
        self.draws = _draws(batches, seed, role, current() if self._share == WHOLE else WHOLE)
        if isinstance(batches, DataLoader):  # a copy: persistent workers serve one iterator at a time
            self.iterable = copy.copy(batches)
            self.close()

    @property
    def draws_here(self) -> bool:
        return type(self.iterable) not in (list, tuple)  # at least its order may be random

    @property
    def smallest(self) -> int | None:
        return smallest_batch(self.iterable)

    @property
    def may_be_empty(self) -> bool:
        return self._share.ranks > 1 and not self._equal

    def batches(self) -> int | None:
        count = self.length()
        return None if count is None else self._share.count(count, self._equal)

    def length(self) -> int | None:
        """Return the number of batches of all ranks; None if unknown."""
        if not isinstance(self.iterable, Sized):
            return None
        try:
            return len(self.iterable)
        except TypeError:  # a DataLoader over an IterableDataset without a length
            return None

    def begin(self, index: int, skip: int) -> tuple[Iterator[Any], int]:
        self.close()  # persistent workers would continue the random numbers of the previous pass
        if self.draws.reader.ranks > 1:
            tell_pass(self.iterable, index)
        with sheltered(start_method(self.iterable)):
            batches = iter(self.iterable)
        return (batches if self._share == WHOLE else self._share.rounds(batches, self._equal)), skip

    def close(self) -> None:
        if isinstance(self.iterable, DataLoader):
            self.iterable._iterator = None


def is_plain(loader: object) -> bool:
    """Return whether `loader` is a map-style DataLoader with sequential or uniformly shuffled order."""
    return isinstance(loader, DataLoader) and _obstacle(loader) is None


def passes_of(loader: Any, seed: int, role: str, in_order: bool, turns: Turns) -> Passes:
    """Create passes over all of `loader`; `in_order` disables shuffling if the order can be chosen."""
    if is_plain(loader):
        shuffle = isinstance(loader.sampler, RandomSampler) and not in_order
        return LoaderPasses(loader, np.arange(_length(loader)), shuffle, seed, role, turns)
    return IterablePasses(loader, seed, role, turns)


def split_loader(
    loader: Any,
    portion: float,
    seed: int,
    make: Callable[..., Any] = LoaderPasses,
    fewest_valid: int | None = None,
) -> tuple[Any, Any, Any]:
    """Split one loader into training, validation and evaluation passes, which `make` makes."""
    if not isinstance(loader, DataLoader):
        raise DataError(
            f"a single source must be split into a training and a validation part, but a "
            f"{type(loader).__name__} cannot be split; {_PAIR}"
        )
    obstacle = _obstacle(loader)
    if obstacle is not None:
        raise DataError(f"a DataLoader with {obstacle} cannot be split; {_PAIR}")
    n = _length(loader)
    train, valid = split_indices(n, portion, seed)
    for name, part in (("train", train), ("valid", valid)):
        least = (loader.batch_size or 1) if loader.drop_last else 1
        if name == "valid" and fewest_valid is not None:  # it is only evaluated, with a smaller last batch
            least = fewest_valid
        if len(part) < least:
            raise too_few(name, len(part), least, n, portion, getattr(loader.dataset, "made_by", None))
    turns = Turns()
    return (
        make(loader, train, True, seed, "train", turns),
        make(loader, valid, True, seed, "valid", turns),
        make(loader, valid, False, seed, "eval", turns),
    )


def split_indices(n: int, portion: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split range(n) into the sorted indices of the training and the validation part.

    >>> train, valid = split_indices(5, 0.5, 0)
    >>> sorted([*train.tolist(), *valid.tolist()]), len(train)
    ([0, 1, 2, 3, 4], 2)
    """
    order = permutation(seed, "split", 0, n)
    cut = int(n * portion)
    return np.sort(order[:cut]), np.sort(order[cut:])


def too_few(
    part: str, have: int, batch_size: int, n: int, portion: float, made_by: str | None = None
) -> DataError:
    """Return the error for a part that has fewer examples than a batch, whose size `made_by` has set."""
    source = f" (an argument of {made_by})" if made_by else ""
    share = portion if part == "train" else 1 - portion
    return DataError(
        f"the {part} part has {have} of {n} examples (train_portion={portion:g} assigns it {share:.0%}), "
        f"fewer than one batch of batch_size={batch_size}{source}; give more examples, a smaller batch_size "
        "or another train_portion"
    )


def _draws(loader: Any, seed: int, role: str, share: Share) -> Draws:
    return Draws(seed, "evaluation" if role == "eval" else role, generators_of(loader), share=share)


def workers_of(loader: DataLoader[Any]) -> dict[str, Any]:
    """Return the arguments that say how a loader fetches: those of its workers and of pinned memory."""
    names = ("num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context")
    return {name: getattr(loader, name) for name in (*names, "prefetch_factor", "in_order")}


def smallest_batch(loader: Any) -> int | None:
    """Return the size of the smallest batch of a loader; None if its sampler has no known length."""
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not BatchSampler:
        return None
    size, sampler = loader.batch_sampler.batch_size, loader.sampler
    if isinstance(loader.dataset, IterableDataset) or not isinstance(sampler, Sized):
        return None
    return size if loader.drop_last else min(size, len(sampler) % size or size)


def start_method(loader: Any) -> str:
    """Return the start method of the worker processes of a loader; "fork" if it has none."""
    if not isinstance(loader, DataLoader) or not loader.num_workers:
        return "fork"
    context: Any = loader.multiprocessing_context or multiprocessing
    return str(context.get_start_method())


def _length(loader: DataLoader[Any]) -> int:
    dataset: Any = loader.dataset
    return len(dataset)


def _obstacle(loader: DataLoader[Any]) -> str | None:
    """Return the reason why the order of `loader` cannot be replaced, or None."""
    if isinstance(loader.dataset, IterableDataset):
        return "an IterableDataset"
    if type(loader).__iter__ is not DataLoader.__iter__:
        return f"a custom __iter__ ({type(loader).__name__})"
    if loader.batch_size is None:
        return "batch_size=None" if loader.batch_sampler is None else "a custom batch_sampler"
    sampler = loader.sampler
    if type(sampler) not in (RandomSampler, SequentialSampler):
        return f"a custom sampler ({type(sampler).__name__})"
    if isinstance(sampler, RandomSampler) and (sampler.replacement or len(sampler) != _length(loader)):
        return "a sampler that draws with replacement or omits examples"
    return None
