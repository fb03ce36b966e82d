"""Runs the jobs of a table in this process or in others."""

from __future__ import annotations

import pickle
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import torch

from .. import _core
from .._data.interrupt import InterruptWatch
from .._values.hints import hint
from .._values.words import shown
from .job import Given, Job, Tell, run
from .row import SearchRow
from .workers import Lost, Unreadable, run_in_processes

_ONE = (
    "everything runs in this process, one after the other. Pass workers=0 if that is intended; for "
    "processes, define the loader's classes and functions in a module, not in a notebook or script"
)


@dataclass(frozen=True)
class Executor:
    """Processes with a number of threads each, which receive the pickled loader and loss; or no processes."""

    workers: int
    threads: int
    shared: bytes | None
    chosen: bool = False
    """Whether the user asked for processes; otherwise this process does the jobs if others cannot."""

    @classmethod
    def of(cls, workers: int | None, given: Given, device: torch.device, jobs: int) -> Executor:
        threads = torch.get_num_threads()
        wished = workers
        if workers is None:
            workers = 1 if device.type == "cuda" else max(1, threads // 2)
        if not isinstance(workers, int) or isinstance(workers, bool) or workers < 0:
            raise _core.ConfigError(
                f"workers is {shown(workers)}; it must be a number of processes, 0 for none"
            )
        workers = min(workers, jobs)
        if workers:
            for what in ("loss", "network", "metric", "unpack"):
                try:
                    pickle.dumps(getattr(given, what))
                except Exception as error:
                    raise _core.ConfigError(
                        f"the {what} cannot be pickled ({type(error).__name__}: {error}); define it at the "
                        "top level of a module, or use workers=0 to run everything in this process"
                    ) from error
            what = "loader"
            try:
                what = "operations" if given.operations else what
                pickle.dumps(given.operations)
                what = "loader"
                shared = pickle.dumps(given)
                return cls(workers, max(1, threads // workers), shared, wished is not None)
            except Exception as error:  # pickling may raise anything
                text = f"the {what} cannot be pickled ({type(error).__name__}: {error})"
                if wished is not None:
                    raise _core.DataError(
                        f"{text}; use workers=0 to run everything in this process"
                    ) from error
                hint(f"{text}; {_ONE}")
        return cls(0, threads, None)

    def rows(self, jobs: Sequence[Job], given: Given, tell: Tell) -> Generator[SearchRow, None, None]:
        """Do the jobs; yield each row as soon as it is finished."""
        if self.shared is None:
            yield from _here(jobs, given, tell)
            return
        try:
            yield from _elsewhere(jobs, self, tell)
        except Unreadable as error:  # before the first job
            if self.chosen:
                raise _core.DataError(
                    f"{error}; use workers=0 to run everything in this process, or define their classes and "
                    "functions in a module"
                ) from None
            hint(f"{error}; {_ONE}")
            yield from _here(jobs, given, tell)


def _here(jobs: Sequence[Job], given: Given, tell: Tell) -> Generator[SearchRow, None, None]:
    """Do one job after the other until one is interrupted."""
    with InterruptWatch() as watch:  # also between searches, and while a row is saved
        for job in jobs:
            row = run(job, given, tell)
            yield row
            if watch.seen or row.status == "interrupted":
                return


def _elsewhere(jobs: Sequence[Job], executor: Executor, tell: Tell) -> Generator[SearchRow, None, None]:
    """Yield rows as processes finish them; after Ctrl-C, those in progress and no more."""
    assert executor.shared is not None
    for job, row in run_in_processes(run, executor.shared, jobs, executor.workers, executor.threads, tell):
        if not isinstance(row, Lost):
            yield row
            continue
        lost = job.row("interrupted")
        if not row.interrupted:
            lost = replace(lost, status="failed", error=f"its process ended with {row.how}")
        yield lost
