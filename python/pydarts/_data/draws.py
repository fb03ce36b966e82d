"""Random numbers of the user's code and of networks: seeded, without moving the caller's generators."""

from __future__ import annotations

import os
import random
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils.data import Subset

Generator: TypeAlias = torch.Generator | np.random.Generator | np.random.RandomState | random.Random

_POLL = 0.1  # seconds between checks for an interrupt


def stream(seed: int, role: str, index: int) -> np.random.PCG64:
    """Return a random generator seeded by (seed, role, index)."""
    return np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(role.encode()), index]))


@dataclass(frozen=True)
class Draws:
    """The random numbers of a source: what its code draws depends only on (seed, role, pass, batch)."""

    seed: int
    role: str
    own: Sequence[Generator] = ()
    """Generators of the loader and its data set, besides those of torch, numpy and Python."""

    def order(self, index: int, poll: Callable[[], None] | None = None) -> Section:
        """Return the section that begins pass `index`."""
        return Section(stream(self.seed, f"{self.role} order", index), self.own, poll=poll)

    def batch(
        self, index: int, number: int, *, cuda: bool = True, poll: Callable[[], None] | None = None
    ) -> Section:
        """Return the section that makes batch `number` of pass `index`."""
        return Section(stream(self.seed, f"{self.role} batch {number}", index), self.own, cuda, poll)


def generators_of(source: Any) -> tuple[Generator, ...]:
    """Return the generators that are attributes of a loader, its samplers, its data set or its functions.

    >>> from torch.utils.data import DataLoader
    >>> mine = torch.Generator()
    >>> generators_of(DataLoader([1, 2], shuffle=True, generator=mine))[0] is mine
    True
    """
    names = ("sampler", "batch_sampler", "collate_fn", "worker_init_fn", "dataset")
    owners = [source, *(getattr(source, name, None) for name in names)]
    owners.append(getattr(owners[2], "sampler", None))
    dataset = owners[5]
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
        owners.append(dataset)
    found: dict[int, Generator] = {}
    for owner in owners:
        for value in getattr(owner, "__dict__", {}).values():
            shared = value is torch.default_generator or isinstance(value, random.SystemRandom)
            if isinstance(value, Generator) and not shared:
                found[id(value)] = value
    return tuple(found.values())


class Section:
    """Context manager in which all generators are seeded; one at a time in this process.

    All threads share the generators of torch, numpy and Python. A thread that no longer waits for the code of
    another one calls `end` for it.

    >>> before = random.getstate()
    >>> with Section(stream(0, "train", 1)):
    ...     first = float(torch.rand(())), np.random.rand(), random.random()
    >>> with Section(stream(0, "train", 1)):
    ...     first == (float(torch.rand(())), np.random.rand(), random.random())
    True
    >>> random.getstate() == before
    True
    """

    def __init__(
        self,
        bits: np.random.PCG64,
        own: Iterable[Generator] = (),
        cuda: bool = True,
        poll: Callable[[], None] | None = None,
    ) -> None:
        self.drew = False
        """Whether anything was drawn; set at the end."""
        self._bits, self._own, self._cuda, self._poll = bits, own, cuda, poll
        self._open = False
        self._once = threading.Lock()

    def __enter__(self) -> Section:
        _turn.acquire(self._poll)
        try:
            self._generators = _all(self._own, self._cuda)
            self._before = [_get(generator) for generator in self._generators]
            numbers = self._bits.random_raw(3)
            # Version 1 seeded torch, numpy and Python with these numbers; the others follow.
            for generator, number in zip(self._generators[:3], numbers, strict=True):
                _seed(generator, int(number))
            for generator in self._generators[3:]:
                cuda = isinstance(generator, torch.Generator) and generator.device.type == "cuda"
                _seed(generator, int(numbers[0]) if cuda else int(self._bits.random_raw()))
            self._seeded = [_get(generator) for generator in self._generators]
        except BaseException:
            _turn.release()
            raise
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Restore the generators; only the first call has an effect."""
        with self._once:
            if not self._open:
                return
            self._open = False
            for generator, before, seeded in zip(self._generators, self._before, self._seeded, strict=True):
                if not _same(_get(generator), seeded):
                    self.drew = True
                _set(generator, before)
            _turn.release()


class Masks:
    """Context manager in which torch's generators are seeded, for the masks and weights of a network."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __enter__(self) -> None:
        _turn.acquire(None)
        self._generators = _torch(cuda=True)
        self._before = [_get(generator) for generator in self._generators]
        for generator in self._generators:
            generator.manual_seed(self._seed)

    def __exit__(self, *_: object) -> None:
        for generator, before in zip(self._generators, self._before, strict=True):
            _set(generator, before)
        _turn.release()


class _Turn:
    """A lock that a thread may take several times, and that another thread may release."""

    def __init__(self) -> None:
        self._lock, self._owner, self._depth = threading.Lock(), 0, 0

    def acquire(self, poll: Callable[[], None] | None) -> None:
        if self._owner != threading.get_ident():
            while not self._lock.acquire(timeout=_POLL):
                if poll is not None:
                    poll()
            self._owner = threading.get_ident()
        self._depth += 1

    def release(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            self._lock.release()


_turn = _Turn()


def _new_turn() -> None:
    """A forked process has only the thread that forked it, and no section of another one."""
    global _turn
    _turn = _Turn()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_turn)


def _torch(cuda: bool) -> list[torch.Generator]:
    found = [torch.default_generator]
    # Without an initialised CUDA no GPU has drawn numbers, and asking would initialise it.
    if cuda and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found += torch.cuda.default_generators
    return found


def _all(own: Iterable[Generator], cuda: bool) -> list[Any]:
    cpu, *gpus = _torch(cuda)
    return [cpu, np.random, random, *gpus, *own]  # the modules have the functions of their generators


def _get(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate() if hasattr(generator, "getstate") else generator.get_state()


def _set(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif hasattr(generator, "setstate"):
        generator.setstate(state)
    else:
        generator.set_state(state)


def _seed(generator: Any, number: int) -> None:
    if isinstance(generator, torch.Generator):
        generator.manual_seed(number)
    elif isinstance(generator, np.random.Generator):
        kind: Any = type(generator.bit_generator)
        generator.bit_generator.state = kind(number).state
    else:
        is_numpy = generator is np.random or isinstance(generator, np.random.RandomState)
        generator.seed(number >> 32 if is_numpy else number)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, tuple):
        return all(map(_same, one, other))
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)
