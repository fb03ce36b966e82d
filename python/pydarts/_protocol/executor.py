"""Runs the jobs of a table in this process or in others."""

from __future__ import annotations

import pickle
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import torch

from .. import _core
from .._data.interrupt import InterruptWatch
from .._values.words import shown
from .job import Given, Job, Tell, run
from .row import SearchRow
from .workers import Lost, run_in_processes


@dataclass(frozen=True)
class Executor:
    """Processes with a number of threads each, which receive the pickled loader and loss; or no processes."""

    workers: int
    threads: int
    shared: bytes | None

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
            try:
                pickle.dumps(given.loss)
            except Exception as error:
                raise _core.ConfigError(
                    f"the loss cannot be pickled ({type(error).__name__}: {error}); define it at the top "
                    "level of a module, or use workers=0 to run everything in this process"
                ) from error
            try:
                return cls(workers, max(1, threads // workers), pickle.dumps(given))
            except Exception as error:  # pickling may raise anything
                if wished is not None:
                    raise _core.DataError(
                        f"the loader cannot be pickled ({type(error).__name__}: {error}); "
                        "use workers=0 to run everything in this process"
                    ) from error
        return cls(0, threads, None)

    def rows(self, jobs: Sequence[Job], given: Given, tell: Tell) -> Generator[SearchRow, None, None]:
        """Do the jobs; yield each row as soon as it is finished."""
        return _here(jobs, given, tell) if self.shared is None else _elsewhere(jobs, self, tell)


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
        lost = SearchRow(name=job.name, origin=job.origin, status="interrupted", genotype=job.genotype)
        if not row.interrupted:
            lost = replace(lost, status="failed", error=f"its process ended with {row.how}")
        yield lost
