"""Random numbers of the user's code and of networks: seeded, without moving the caller's generators."""

from __future__ import annotations

import os
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .._values.ambient import kept
from .._values.hints import hint
from . import generators
from .generators import Generator, generators_of
from .share import WHOLE, Share, current

_POLL = 0.1  # seconds between checks for an interrupt
PATIENCE = 10.0  # seconds of waiting until a hint says for what
GIVE_UP = 30.0  # seconds of waiting until code that has drawn nothing must give way


def stream(seed: int, role: str, index: int) -> np.random.PCG64:
    """Return a random generator seeded by (seed, role, index)."""
    return np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(role.encode()), index]))


class Turn:
    """A lock of sections, which a thread may take several times.

    It cannot be lost: a section whose thread has ended does not hold it, and after `GIVE_UP` seconds a
    section that has drawn nothing, such as one whose loader waits for other code, gives way.
    """

    def __init__(self) -> None:
        self._lock, self._bell = threading.Lock(), threading.Lock()
        self._held: tuple[Section, ...] = ()  # of one thread; the last one is the innermost

    def acquire(self, section: Section, poll: Callable[[], None] | None) -> None:
        """Wait for the turn, and call `poll` meanwhile."""
        begun, hinted = time.monotonic(), False
        while not self._take(section):
            self._bell.acquire(timeout=_POLL)  # until the turn is free, or for a while
            if poll is not None:
                poll()
            waited, holder = time.monotonic() - begun, (*self._held, None)[0]
            if holder is None or not holder.gives_way or waited < PATIENCE:
                continue
            if not hinted:
                hinted = True
                hint(
                    f"{section.name} has waited {waited:.0f} seconds for {holder.name}, because only one "
                    "piece of code in a process may draw random numbers at a time; after "
                    f"{GIVE_UP:.0f} seconds {holder.name} continues without seeding if it has drawn nothing"
                )
            if waited > GIVE_UP and holder.end_if_unused():
                begun, hinted = time.monotonic(), False

    def _take(self, section: Section) -> bool:
        with self._lock:
            mine = tuple(other for other in self._held if other.thread is section.thread)
            if not mine and self._held and self._held[-1].thread.is_alive():
                return False
            self._held = (*mine, section)
            return True

    def release(self, section: Section) -> None:
        """Give up the turn; nothing happens if the section does not hold it."""
        with self._lock:
            self._held = tuple(other for other in self._held if other is not section)
            if not self._held and self._bell.locked():
                self._bell.release()

    def forget(self) -> None:
        """Drop the sections of this thread: those of a run that was interrupted at an arbitrary point."""
        with self._lock:
            here = threading.current_thread()
            self._held = tuple(other for other in self._held if other.thread is not here)

    @property
    def free(self) -> bool:
        """Whether no section holds the turn."""
        return not self._held


_turn = Turn()


def _new_turn() -> None:
    """A forked process has only the thread that forked it, and no section of another one."""
    global _turn
    _turn = Turn()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_turn)


def forget() -> None:
    """Begin or end a run in this thread: nothing of an earlier one may hold the turn."""
    _turn.forget()


class Section:
    """Context manager in which all generators are seeded; one at a time in this process.

    All threads share the generators of torch, numpy and Python. A thread that no longer waits for the code of
    another one calls `end` for it. An interrupt at any point leaves neither the turn taken nor a generator
    seeded.

    >>> before = random.getstate()
    >>> with Section(stream(0, "train", 1)):
    ...     first = float(torch.rand(())), np.random.rand(), random.random()
    >>> with Section(stream(0, "train", 1)):
    ...     first == (float(torch.rand(())), np.random.rand(), random.random())
    True
    >>> random.getstate() == before
    True
    """

    gives_way = True
    """Whether the section ends if another one has waited for long, unless it has drawn numbers."""
    reports = True
    """Whether the section finds out what `drew` says."""

    def __init__(
        self,
        bits: np.random.PCG64,
        own: Iterable[Generator] = (),
        cuda: bool = True,
        poll: Callable[[], None] | None = None,
        name: str = "a section",
        gate: Turn | None = None,
    ) -> None:
        self.drew = False
        """Whether anything was drawn; set at the end."""
        self.gave_way = False
        """Whether the section ended early."""
        self.name = name
        self.thread = threading.current_thread()
        self._bits, self._own, self._cuda, self._poll = bits, own, cuda, poll
        self._gate, self._turns = gate, (_turn,) if gate is None else (gate, _turn)
        self._generators: list[Any] = []
        self._before: list[Any] = []
        self._seeded: list[Any] = []
        self._open = False
        self._once = threading.Lock()

    def __enter__(self) -> Section:
        try:
            for turn in self._turns:
                turn.acquire(self, self._poll)
            self._generators = self._all()
            self._before = [generators.state_of(generator) for generator in self._generators]
            self._open = True
            self._seed()
            self._seeded = [generators.state_of(generator) for generator in self._generators]
            return self
        except BaseException:
            self.end()
            raise

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Restore the generators; only the first call has an effect."""
        with self._once:
            self._end()

    def end_if_unused(self) -> bool:
        """End the section of another thread if nothing has been drawn in it."""
        with self._once:
            if not self._open or not self._seeded or self._moved():
                return False
            self._end()
            self.gave_way = True
            return True

    def _end(self) -> None:
        try:
            if self._open:
                self.drew = self.reports and self._moved()
                self._restore()
        except BaseException:  # an interrupt
            self._restore()
            raise
        finally:
            self._open = False
            for turn in self._turns:
                turn.release(self)

    def _moved(self) -> bool:
        pairs = zip(self._generators, self._seeded, strict=False)
        return not all(generators.same(generators.state_of(one), seeded) for one, seeded in pairs)

    def _restore(self) -> None:
        for generator, before in zip(self._generators, self._before, strict=True):
            generators.restore(generator, before)

    def _all(self) -> list[Any]:
        cpu, *gpus = _torch(self._cuda)
        return [cpu, np.random, random, *gpus, *self._own]  # the modules have the functions of generators

    def _seed(self) -> None:
        numbers = self._bits.random_raw(3)
        # Version 1 seeded torch, numpy and Python with these numbers; the others follow.
        for generator, number in zip(self._generators[:3], numbers, strict=True):
            generators.seed(generator, int(number))
        for generator in self._generators[3:]:
            cuda = isinstance(generator, torch.Generator) and generator.device.type == "cuda"
            generators.seed(generator, int(numbers[0]) if cuda else int(self._bits.random_raw()))


class Masks(Section):
    """Section in which torch's generators are seeded, for the masks and weights of a network."""

    def __init__(self, seed: int, poll: Callable[[], None] | None = None) -> None:
        super().__init__(np.random.PCG64(0), poll=poll, name="a training")
        self._number = seed

    def _all(self) -> list[Any]:
        return list(_torch(cuda=True))

    def _seed(self) -> None:
        for generator in self._generators:
            generator.manual_seed(self._number)


class _OfLoss(Section):
    """Section of a loss. There are several per step, so it does not find out whether anything was drawn."""

    reports = False


class Quiet(Section):
    """Section of a callback, in which the loaders of its search make no batch; nothing is seeded."""

    gives_way = False

    def __init__(self, gate: Turn, poll: Callable[[], None] | None = None) -> None:
        super().__init__(np.random.PCG64(0), poll=poll, name="a callback")
        self._turns = (gate,)

    def _all(self) -> list[Any]:
        return []

    def _seed(self) -> None:
        """Do nothing: the callback draws from the caller's generators."""


@dataclass(frozen=True)
class Draws:
    """The random numbers of a source: what its code draws depends only on (seed, role, pass, batch)."""

    seed: int
    role: str
    own: Sequence[Generator] = ()
    """Generators of the loader and its data set, besides those of torch, numpy and Python."""
    of_batch: Sequence[Generator] | None = None
    """Those of them that a batch may draw from; None: all."""
    share: Share = WHOLE
    """Whose batches are made: of all ranks, if each of them makes all."""
    reader: Share = field(default_factory=current)
    """Whose batches are unpacked."""

    def order(self, index: int, poll: Callable[[], None] | None = None) -> Section:
        """Return the section that begins pass `index`."""
        name = f"the {self.role} loader"
        return Section(stream(self.seed, f"{self.role} order", index), self.own, poll=poll, name=name)

    def batch(
        self,
        index: int,
        number: int,
        *,
        cuda: bool = True,
        poll: Callable[[], None] | None = None,
        gate: Turn | None = None,
    ) -> Section:
        """Return the section that makes batch `number` of pass `index`."""
        bits = stream(self.seed, self.share.own(f"{self.role} batch {number}"), index)
        name = f"the {self.role} loader"
        own = self.own if self.of_batch is None else self.of_batch
        return Section(bits, own, cuda, poll, name, gate)

    def unpacked(
        self,
        index: int,
        number: int,
        own: Sequence[Generator],
        *,
        cuda: bool = True,
        poll: Callable[[], None] | None = None,
        gate: Turn | None = None,
    ) -> Section:
        """Return the section that unpacks batch `number` of pass `index`, with generators of its own."""
        bits = stream(self.seed, self.reader.own(f"{self.role} unpack {number}"), index)
        name = f"unpack of the {self.role} loader"
        return Section(bits, own, cuda, poll, name, gate)

    def close(self, iterator: Any, index: int) -> None:
        """Run the clean-up code of an iterator of pass `index`, if it is a generator."""
        close = getattr(iterator, "close", None)
        if callable(close):
            name = f"the {self.role} loader"
            with Section(stream(self.seed, f"{self.role} end", index), self.own, False, name=name):
                close()


class SeededLoss:
    """A function of the user that draws numbers by (seed, step, number of calls since the step began)."""

    def __init__(self, loss: Callable[..., Any], seed: int, poll: Callable[[], None] | None = None) -> None:
        self._loss, self._seed, self._poll = loss, seed, poll
        self._own = generators_of(loss)
        self._step, self._calls = "0", 0

    def begin(self, *step: int | str) -> None:
        """Begin a step: a number, or several values that identify it."""
        self._step, self._calls = " ".join(map(str, step)), 0

    def __call__(self, *arguments: Any) -> Any:
        bits, self._calls = stream(self._seed, f"loss {self._step}", self._calls), self._calls + 1
        with kept(), _OfLoss(bits, self._own, poll=self._poll, name="the loss"):
            return self._loss(*arguments)


def _torch(cuda: bool) -> list[torch.Generator]:
    found = [torch.default_generator]
    # Without an initialised CUDA no GPU has drawn numbers, and asking would initialise it.
    if cuda and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found += torch.cuda.default_generators
    return found
