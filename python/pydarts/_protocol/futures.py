"""Rows from an executor with futures, such as those of `concurrent.futures`, Dask and mpi4py."""

from __future__ import annotations

import os
import pickle
import socket
import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
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

    withdrawn: tuple[type[BaseException], ...]
    """The exceptions of futures whose jobs have not begun and never will."""

    def submit(self, job: Job) -> Future[SearchRow | None]:
        """Begin a job as soon as a worker is free. Its row is None if the table has ended before."""

    def withdraw(self, future: Future[SearchRow | None]) -> bool:
        """Cancel a job; return whether it is certain that it had not begun."""

    def stop(self, future: Future[SearchRow | None]) -> None:
        """Interrupt a job that has begun, as Ctrl-C does, if that is possible."""

    def close(self) -> None:
        """Release what these jobs needed."""


@dataclass(frozen=True)
class Futures:
    """An executor to which all jobs are submitted at once. It decides when and where each runs."""

    begin: Callable[[], Pool]
    workers: None = None

    def rows(self, jobs: Sequence[Job], given: Given, tell: Tell) -> Generator[SearchRow, None, None]:
        """Yield rows as jobs end.

        After Ctrl-C, jobs that have not begun are withdrawn and have no row. The others are "interrupted",
        although an executor that cannot stop them continues them.
        """
        pending: dict[Future[SearchRow | None], Job] = {}
        pool = self.begin()
        try:
            with InterruptWatch() as watch:
                for job in jobs:
                    pending[pool.submit(job)] = job
                while pending and not watch.seen:
                    done, _ = wait(pending, _POLL, FIRST_COMPLETED)
                    for future in done:
                        yield from _row(future, pending.pop(future), pool, watch)
                if pending:
                    for future in [future for future in pending if pool.withdraw(future)]:
                        del pending[future]
                    for future in pending:
                        pool.stop(future)
                    done, _ = wait(pending, _PATIENCE, ALL_COMPLETED)
                    for future in done:
                        yield from _row(future, pending.pop(future), pool, watch)
                    for job in pending.values():
                        yield job.row("interrupted")
        finally:
            for future in pending:  # left by an error here, such as a table that cannot be saved
                if not pool.withdraw(future):
                    pool.stop(future)
            pool.close()


def _row(
    future: Future[SearchRow | None], job: Job, pool: Pool, watch: InterruptWatch
) -> Generator[SearchRow, None, None]:
    """Yield the row of a job that has ended; one that never began has none."""
    try:
        row = future.result()
    except pool.withdrawn:
        return
    except KeyboardInterrupt:
        row = job.row("interrupted")
    except Exception as error:  # those of searches are in their rows, so this is the executor's
        # Ctrl-C in a terminal ends the workers, too.
        text = f"its worker failed: {type(error).__name__}: {error!s:.2000}"
        row = job.row("interrupted") if watch.seen else replace(job.row("failed"), error=text)
    if row is not None:
        yield row


def concurrent(executor: Executor, shared: bytes | Given, cpus: int | None) -> Futures:
    """Return the jobs' side of a `concurrent.futures.Executor`; `shared` is pickled unless it runs threads.

    Raises:
        ConfigError: its processes would be forked, or it takes no jobs.
    """
    context: Any = getattr(executor, "_mp_context", None)
    if isinstance(executor, ProcessPoolExecutor) and context.get_start_method() == "fork":
        raise _core.ConfigError(
            "executor forks its processes, in which PyTorch hangs; pass "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
        )
    _submitted(executor, os.getpid)  # refuse an executor before anything is written
    return Futures(lambda: _Concurrent(executor, shared, cpus))


def _submitted(executor: Executor, *call: Any) -> Future[Any]:
    try:
        return executor.submit(*call)
    except RuntimeError as error:  # it was shut down, or is broken
        raise _core.ConfigError(
            f"executor takes no jobs ({error}); pass one that is not shut down"
        ) from error


class _Concurrent:
    """A `concurrent.futures.Executor`, which cannot stop what has begun."""

    def __init__(self, executor: Executor, shared: bytes | Given, cpus: int | None) -> None:
        self._executor, self._shared, self._task = executor, shared, Task.of(cpus)
        # Those of other libraries cancel running jobs too, or say so.
        self._exact = isinstance(executor, (ThreadPoolExecutor, ProcessPoolExecutor))
        self.withdrawn: tuple[type[BaseException], ...] = (CancelledError,) if self._exact else ()

    def submit(self, job: Job) -> Future[SearchRow | None]:
        return _submitted(self._executor, self._task, self._shared, job)

    def withdraw(self, future: Future[SearchRow | None]) -> bool:
        return future.cancel() and self._exact

    def stop(self, future: Future[SearchRow | None]) -> None:
        pass

    def close(self) -> None:
        self._task.close()


_copies: dict[tuple[str, int], Given] = {}
"""What the jobs of a table share, by table and thread: loaders have a state, so each thread has its own."""


@dataclass(frozen=True)
class Task:
    """Runs a job in a worker, which unpickles or copies what all jobs share only once."""

    table: str
    """A file that exists, on the machine that waits for the rows, until the table has ended."""
    origin: tuple[str, int]
    """The machine and the process that wait for the rows."""
    cpus: int | None

    @classmethod
    def of(cls, cpus: int | None) -> Task:
        """Return the task of the jobs of a new table."""
        handle, table = tempfile.mkstemp(prefix="pydarts-table-")
        os.close(handle)
        return cls(table, (socket.gethostname(), os.getpid()), cpus)

    def close(self) -> None:
        """End the table: jobs that have not begun do nothing."""
        with suppress(OSError):
            Path(self.table).unlink()
        for key in [key for key in _copies if key[0] == self.table]:
            _copies.pop(key, None)

    def __call__(self, shared: bytes | Given, job: Job) -> SearchRow | None:
        """Return the row of the job; None if the table has ended."""
        here = (socket.gethostname(), os.getpid())
        if here[0] == self.origin[0] and not os.path.exists(self.table):
            return None
        threads = torch.get_num_threads()
        silent = hints.silence() if here != self.origin else None
        try:
            if self.cpus is not None:
                torch.set_num_threads(self.cpus)
            key = self.table, threading.get_ident()
            if key not in _copies:
                if here != self.origin:
                    _copies.clear()  # the data of an earlier table
                _copies[key] = pickle.loads(shared) if isinstance(shared, bytes) else shared.copied()
            return run(job, _copies[key], lambda *_: None)
        finally:
            torch.set_num_threads(threads)
            if silent is not None:
                hints.silence(silent)
