"""Where the jobs of a table run: here, in other processes on this machine, or in an executor of the user."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Generator, Sequence
from concurrent.futures import Executor as ConcurrentExecutor
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias

import torch

from .. import _core
from .._data.interrupt import InterruptWatch
from .._data.share import current
from .._search.ranks import several
from .._train.config import TrainConfig
from .._values.hints import hint
from .._values.words import shown
from .futures import concurrent
from .job import Given, Job, Tell, run
from .on_ray import on_ray
from .row import SearchRow
from .workers import Lost, Unreadable, run_in_processes

ExecutorLike: TypeAlias = Literal["processes", "ray"] | ConcurrentExecutor

_ONE = (
    "everything runs in this process, one after the other. Pass workers=0 if that is intended; for "
    "processes, define the loader's classes and functions in a module, not in a notebook or script"
)
_FUNCTION = "pass a function at the top level of a module that returns the loader"


class Executor(Protocol):
    """Runs jobs and yields their rows."""

    @property
    def workers(self) -> int | None:
        """The number of jobs that share the memory of this machine; None: they run elsewhere."""

    def rows(self, jobs: Sequence[Job], given: Given, tell: Tell) -> Generator[SearchRow, None, None]:
        """Run the jobs; yield each row as soon as it is finished."""


@dataclass(frozen=True)
class Where:
    """Where jobs run and with which resources, as the user said; see `search_many`."""

    workers: int | None = None
    executor: ExecutorLike = "processes"
    cpus: int | None = None
    gpus: float | None = None

    def check(self) -> None:
        """Raise an error if a value is invalid or does not apply."""
        if several() and current().peers is None:
            raise _core.ConfigError(
                "this function does not run in a process group, where every process would do all searches; "
                "call it in one process, which starts its own (executor='processes')"
            )
        if not (self.executor in ("processes", "ray") or isinstance(self.executor, ConcurrentExecutor)):
            raise _core.ConfigError(
                f"executor is {shown(self.executor)}; it must be 'processes', 'ray' or a "
                "concurrent.futures.Executor"
            )
        workers, cpus, gpus = self.workers, self.cpus, self.gpus
        if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 0):
            raise _core.ConfigError(
                f"workers is {shown(workers)}; it must be a number of processes, 0 for none"
            )
        if workers is not None and self.executor != "processes":
            raise _core.ConfigError(
                f"workers={workers} applies to executor='processes'; another executor has its own workers"
            )
        if cpus is not None and (not isinstance(cpus, int) or isinstance(cpus, bool) or cpus < 1):
            raise _core.ConfigError(f"cpus is {shown(cpus)}; it must be a number of CPU threads, at least 1")
        if gpus is not None and not _is_share(gpus):
            raise _core.ConfigError(
                f"gpus is {shown(gpus)}; it must be a whole number of GPUs, or a fraction such as 0.5"
            )
        if cpus is not None and workers == 0:
            raise _core.ConfigError(
                f"cpus={cpus} applies to other processes, and workers=0 uses this one; call "
                "torch.set_num_threads instead"
            )
        if gpus is not None and self.executor != "ray":
            raise _core.ConfigError(f"gpus={gpus} applies to executor='ray', which assigns GPUs to its jobs")


def _is_share(gpus: object) -> bool:
    if not isinstance(gpus, (int, float)) or isinstance(gpus, bool):
        return False
    return 0 <= gpus <= 1 or (1 < gpus < math.inf and float(gpus).is_integer())


def executor_of(where: Where, given: Given, training: TrainConfig, jobs: int) -> Executor:
    """Return the executor for `jobs` jobs.

    Raises:
        ConfigError: something other than the loader cannot be pickled, or the executor takes no jobs.
        DataError: the loader cannot be pickled, and the user asked for other processes.
    """
    if isinstance(where.executor, ThreadPoolExecutor):
        return concurrent(where.executor, _copyable(given), where.cpus)
    if isinstance(where.executor, ConcurrentExecutor):
        try:
            return concurrent(where.executor, _pickled(given), where.cpus)
        except _Unpicklable as error:
            raise _core.DataError(f"{error}; {_FUNCTION}") from error
    if where.executor == "ray":
        return on_ray(given, where.cpus, where.gpus)
    threads, workers = torch.get_num_threads(), where.workers
    if workers is None:
        workers = 1 if training.resolved_device.type == "cuda" else max(1, threads // (where.cpus or 2))
    workers = min(workers, jobs)
    if workers == 0:
        return _Here()
    try:
        pickled = _pickled(given)
    except _Unpicklable as error:
        if where.workers is not None or where.cpus is not None:
            raise _core.DataError(
                f"{error}; use workers=0 to run everything in this process, or {_FUNCTION}"
            ) from error
        hint(f"{error}; {_ONE}")
        return _Here()
    return _Processes(workers, where.cpus or max(1, threads // workers), pickled, where.workers is not None)


def _copyable(given: Given) -> Given:
    """Return what all jobs share for other threads, each of which copies the loader or calls the function."""
    try:
        copy.deepcopy(None if given.factory is not None else given.loader)
    except Exception as error:  # copying may raise anything
        raise _core.DataError(
            f"the loader cannot be copied for each thread ({type(error).__name__}: {error}); pass a function "
            "that returns the loader"
        ) from error
    return given


class _Unpicklable(Exception):
    """The loader or an operation cannot be pickled."""


def _pickled(given: Given) -> bytes:
    """Return what all jobs share for another process."""
    for what in ("loss", "network", "metric", "unpack"):
        try:
            pickle.dumps(getattr(given, what))
        except Exception as error:  # pickling may raise anything
            raise _core.ConfigError(
                f"the {what} cannot be pickled ({type(error).__name__}: {error}); define it at the "
                "top level of a module, or use workers=0 to run everything in this process"
            ) from error
    what = "operations"
    try:
        pickle.dumps(given.operations)
        what = "loader" if given.factory is None else "function that returns the loader"
        return pickle.dumps(given)
    except Exception as error:
        raise _Unpicklable(f"the {what} cannot be pickled ({type(error).__name__}: {error})") from error


@dataclass(frozen=True)
class _Here:
    """This process."""

    workers: int = 0

    def rows(self, jobs: Sequence[Job], given: Given, tell: Tell) -> Generator[SearchRow, None, None]:
        """Do one job after the other until one is interrupted."""
        with InterruptWatch() as watch:  # also between searches, and while a row is saved
            for job in jobs:
                row = run(job, given, tell)
                yield row
                if watch.seen or row.status == "interrupted":
                    return


@dataclass(frozen=True)
class _Processes:
    """Processes with a number of threads each, which receive the pickled loader and loss."""

    workers: int
    threads: int
    shared: bytes
    chosen: bool
    """Whether the user asked for processes; otherwise this process does the jobs if others cannot."""

    def rows(self, jobs: Sequence[Job], given: Given, tell: Tell) -> Generator[SearchRow, None, None]:
        """Yield rows as processes finish them; after Ctrl-C, those in progress and no more."""
        try:
            done = run_in_processes(run, self.shared, jobs, self.workers, self.threads, tell)
            for job, row in done:
                yield _lost(job, row) if isinstance(row, Lost) else row
        except Unreadable as error:  # before the first job
            if self.chosen:
                raise _core.DataError(
                    f"{error}; use workers=0 to run everything in this process, or define their classes and "
                    "functions in a module"
                ) from None
            hint(f"{error}; {_ONE}")
            yield from _Here().rows(jobs, given, tell)


def _lost(job: Job, how: Lost) -> SearchRow:
    if how.interrupted:
        return job.row("interrupted")
    times = f", {how.tries} times" if how.tries > 1 else ""
    return replace(job.row("failed"), error=f"its process ended with {how.how}{times}")
