"""Rows from an executor with futures, such as those of `concurrent.futures`, Dask and mpi4py."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import uuid
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from .. import _core
from .._data.interrupt import InterruptWatch
from .._values import hints
from .job import Given, Job, Tell, run
from .row import SearchRow

_POLL = 0.1  # seconds between checks for an interrupt
_PATIENCE = 5.0  # seconds in which an interrupted job may still return its row


class Pool(Protocol):
    """The workers of an executor."""

    cancelled: tuple[type[BaseException], ...]
    """The exceptions of futures whose jobs were withdrawn before they began."""

    def submit(self, job: Job) -> Future[SearchRow]:
        """Begin a job as soon as a worker is free."""

    def withdraw(self, future: Future[SearchRow]) -> bool:
        """Withdraw a job that has not begun; return whether it has not."""

    def stop(self, future: Future[SearchRow]) -> None:
        """Interrupt a job that has begun, as Ctrl-C does, if that is possible."""

    def close(self) -> None:
        """Give back what was begun for these jobs."""


@dataclass(frozen=True)
class Futures:
    """Jobs that are submitted all at once; who does which and when is the executor's decision."""

    begin: Callable[[], Pool]
    workers: None = None

    def rows(self, jobs: Sequence[Job], given: Given, tell: Tell) -> Generator[SearchRow, None, None]:
        """Yield rows as jobs end.

        After Ctrl-C, jobs that have not begun are withdrawn. The others are "interrupted", although an
        executor that cannot stop them goes on with them.
        """
        pending: dict[Future[SearchRow], Job] = {}
        pool = self.begin()
        try:
            with InterruptWatch() as watch:
                for job in jobs:
                    pending[pool.submit(job)] = job
                while pending and not watch.seen:
                    yield from _ended(pending, pool, _POLL)
                if pending:
                    for future in [future for future in pending if pool.withdraw(future)]:
                        del pending[future]
                    for future in pending:
                        pool.stop(future)
                    yield from _ended(pending, pool, _PATIENCE, all_of_them=True)
                    for job in pending.values():
                        yield job.row("interrupted")
        finally:
            for future in pending:  # left by an error here, such as a table that cannot be saved
                if not pool.withdraw(future):
                    pool.stop(future)
            pool.close()


def _ended(
    pending: dict[Future[SearchRow], Job], pool: Pool, seconds: float, all_of_them: bool = False
) -> Generator[SearchRow, None, None]:
    """Yield the rows of jobs that end in time, and remove them from `pending`. Withdrawn jobs have no row."""
    done, _ = wait(pending, seconds, ALL_COMPLETED if all_of_them else FIRST_COMPLETED)
    for future in done:
        job = pending.pop(future)
        try:
            row = future.result()
        except pool.cancelled:
            continue
        except KeyboardInterrupt:
            row = job.row("interrupted")
        except Exception as error:  # those of searches are in their rows, so this is the executor's
            text = f"its worker failed: {type(error).__name__}: {error!s:.2000}"
            row = replace(job.row("failed"), error=text)
        yield row


def concurrent(executor: Executor, shared: bytes | Given, cpus: int | None) -> Futures:
    """Return what does jobs in a `concurrent.futures.Executor`; `shared` is pickled unless it has threads.

    Raises:
        ConfigError: its processes would be forked.
    """
    context: Any = getattr(executor, "_mp_context", None)
    if isinstance(executor, ProcessPoolExecutor) and context.get_start_method() == "fork":
        raise _core.ConfigError(
            "executor forks its processes, in which PyTorch hangs; pass "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
        )
    return Futures(lambda: _Concurrent(executor, shared, cpus))


class _Concurrent:
    """A `concurrent.futures.Executor`, which cannot stop what has begun."""

    cancelled: tuple[type[BaseException], ...] = (CancelledError,)

    def __init__(self, executor: Executor, shared: bytes | Given, cpus: int | None) -> None:
        self._executor, self._shared, self._task = executor, shared, Task.of(cpus)

    def submit(self, job: Job) -> Future[SearchRow]:
        try:
            return self._executor.submit(self._task, self._shared, job)
        except RuntimeError as error:  # it was shut down, or is broken
            raise _core.ConfigError(f"the executor takes no jobs ({error}); pass one that is open") from error

    def withdraw(self, future: Future[SearchRow]) -> bool:
        return future.cancel()

    def stop(self, future: Future[SearchRow]) -> None:
        pass

    def close(self) -> None:
        pass


_received = threading.local()
"""What all jobs of the latest table share, and the table: a copy per thread, because loaders have a state."""


@dataclass(frozen=True)
class Task:
    """Does a job in a worker, which unpickles or copies what all jobs share only once."""

    table: str
    """Another one for every table."""
    origin: tuple[str, int]
    """The machine and the process that wait for the rows."""
    cpus: int | None

    @classmethod
    def of(cls, cpus: int | None) -> Task:
        """Return the task of the jobs of a new table."""
        return cls(uuid.uuid4().hex, (socket.gethostname(), os.getpid()), cpus)

    def __call__(self, shared: bytes | Given, job: Job) -> SearchRow:
        """Return the row of the job."""
        if (socket.gethostname(), os.getpid()) != self.origin:
            hints.silence()
        if self.cpus is not None:
            torch.set_num_threads(self.cpus)
        if getattr(_received, "table", None) != self.table:
            _received.given = pickle.loads(shared) if isinstance(shared, bytes) else shared.copied()
            _received.table = self.table
        return run(job, _received.given, lambda *_: None)
