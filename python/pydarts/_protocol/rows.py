"""The jobs of a table and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from .. import _core
from .._train.config import TrainConfig
from .._values.words import shown
from .executor import Executor
from .folder import TABLE
from .job import Given, Job, Tell
from .progress import ManyProgress
from .table import SearchTable


def do_jobs(
    jobs: Sequence[Job], given: Given, folder: Path | None, executor: Executor, progress: bool
) -> SearchTable:
    """Do all jobs; save the table after every row."""
    if folder is not None:
        jobs = [replace(job, folder=folder / job.name.replace(" ", "-")) for job in jobs]
    rows = {job.name: job.row("waiting") for job in jobs}
    what = "cell" if given.network is None else "architecture"
    bar = ManyProgress(jobs, what) if progress else None
    tell: Tell = (lambda *_: None) if bar is None else bar.tell
    try:
        with closing(executor.rows(jobs, given, tell)) as done:
            for row in done:
                rows[row.name] = row
                if bar is not None:
                    bar.row(row)
                if folder is not None:
                    SearchTable(rows.values()).save(folder / TABLE)
    finally:
        if bar is not None:
            bar.close()
    return SearchTable(rows.values())


def seeds_of(seeds: int | Sequence[int], first: int) -> list[int]:
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds >= 1:
        return list(range(first, first + seeds))
    if isinstance(seeds, Sequence) and not isinstance(seeds, (str, bytes)):
        numbers = list(seeds)
        whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in numbers)
        if numbers and whole and len(set(numbers)) == len(numbers):
            return numbers
    raise _core.ConfigError(f"seeds is {shown(seeds)}; it must be a number or distinct integers from 0")


def check_folder(training: TrainConfig) -> None:
    if training.checkpoint_dir is not None:
        raise _core.ConfigError("select has a checkpoint_dir; pass it to cfg, which covers all files")


def check_names(jobs: Sequence[Job]) -> None:
    if len({job.name.replace(" ", "-").casefold() for job in jobs}) < len(jobs):  # for case-insensitive disks
        raise _core.ConfigError(
            "two cells have the same name, apart from capitals and hyphens (random cells are called "
            "'random 0', ...); rename one of them"
        )
