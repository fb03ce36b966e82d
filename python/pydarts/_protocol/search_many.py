"""`search_many` and `compare`: the paper's protocol, several cells by the same short training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from .. import _core
from .._data.loaders import Loader
from .._data.memory import batch_size, with_batch_size
from .._results.result import SearchResult
from .._train.config import TrainConfig
from .._train.settings import ImageSettings, TextSettings
from .._train.train import open_task
from .._values.config import ConfigFields, SearchConfig
from .._values.files import held
from .._values.genotype import Genotype
from .._values.random import random_genotypes
from .._values.space import Space, as_space
from .folder import MARK, OF_THE_WHOLE, TABLE, marked, said_by
from .job import Job, Tell, fresh
from .progress import ManyProgress
from .row import SearchRow
from .sizes import Sizes
from .staff import Staff
from .table import SearchTable


def search_many(
    loader: Loader,
    cfg: SearchConfig | None = None,
    seeds: int | Sequence[int] = 4,
    select: TrainConfig | None = None,
    *,
    random: int = 0,
    network: Mapping[str, Any] | None = None,
    workers: int | None = None,
) -> SearchTable:
    """Search several times, train each cell briefly, and say which is best and what chance would give.

    This is the paper's protocol (section 3.2): the cells of several searches differ, so they are trained from
    scratch for a short time, all alike, and the one of the best validation is kept. Cells drawn by chance and
    trained in the same way tell what the search has brought (section 3.3).

    Args:
        loader: the data, as `search` and `train` take them; both read all of it.
        cfg: the choices of each search; None: the published ones. With `checkpoint_dir`, all is kept there: a
            folder for each cell, with its checkpoints, the result of its search and its `training`, and
            `table.csv`. With `resume`, what that folder holds is not done again and what was begun goes on; a
            cell that had failed is tried again. `seeds` and `random` may be others then, nothing else.
        seeds: of the searches; a number n stands for `cfg.seed`, `cfg.seed` + 1, and so on.
        select: the short training, the same for every cell, its seed too; None: `TrainConfig.quick()`, for
            images. Where it is kept and whether it shows progress is `cfg`'s to say.
        random: how many cells are drawn from the space and trained as well, by `random_genotypes(space,
            random, cfg.seed)`.
        network: arguments of `build` for the networks that are trained; sizes of the data that are not given
            are read from them, `channels` and `layers` (of words: `units`) are those of `cfg`.
        workers: processes at once; each searches and trains on its part of the CPU threads. None: one for
            every two threads, on a GPU one, or 0 where `loader` cannot be pickled. 0: all in this process,
            one after the other. In a script whose own classes `loader` holds, processes need the call under
            `if __name__ == "__main__":`.

    Returns:
        The table, searched cells first. One that fails does not stop the others: its row says why. After
        Ctrl-C the rows so far, the others "interrupted" or "waiting".

    Raises:
        ConfigError: choices that cannot be; nothing has been searched then.
        DataError: what is wrong with the data, or a loader that processes cannot be given.
        CheckpointError: without `resume`, a folder that holds some already; with it, one of other choices.

    >>> import numpy as np, pydarts
    >>> X, y = np.zeros((40, 1, 8, 8), np.uint8), np.arange(40) % 2
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    >>> select = pydarts.TrainConfig(epochs=1, batch_size=8)
    >>> table = pydarts.search_many((X, y), cfg, seeds=2, select=select, random=1, workers=0)
    >>> [(row.name, row.status) for row in table]
    [('seed 0', 'complete'), ('seed 1', 'complete'), ('random 0', 'complete')]
    >>> table.best.genotype == table.best.result.genotype, table.summary("searched").n
    (True, 2)
    """
    config = SearchConfig() if cfg is None else cfg
    if not isinstance(config, SearchConfig):
        raise _core.ConfigError(f"cfg must be a SearchConfig, got a {type(cfg).__name__}")
    training = _short(select, config.resolved_space)
    if training.checkpoint_dir is not None:
        raise _core.ConfigError("select has a checkpoint_dir; give it to cfg: all is kept in that one")
    numbers = _seeds(seeds, config.seed)
    drawn = _drawn(config.resolved_space, random, config.seed)
    sizes = Sizes.of(loader, config)
    alone: ConfigFields = {"checkpoint_dir": None, "resume": False, "progress": False}
    each = config.replace(**(alone | sizes.fields))
    staff = Staff.of(workers, loader, training.resolved_device, len(numbers) + len(drawn))
    fitted = _fitted(each, config, sizes, staff)
    template = Job(
        name="",
        origin="searched",
        training=training.replace(**OF_THE_WHOLE),
        network=sizes.arguments | _width(config) | dict(network or {}),
        image_size=sizes.image_size,
    )
    jobs = [replace(template, name=f"seed {seed}", search=fitted.replace(seed=seed)) for seed in numbers]
    jobs += _random_jobs(template, drawn)
    _rehearse(random_genotypes(config.resolved_space)[0], template, loader)
    about = {name: value for name, value in each.to_dict().items() if name != "device"}
    with held(config.checkpoint_dir):
        folder = marked(config.checkpoint_dir, config.resume, {"config": about}, template, batch_size(fitted))
        return _table(jobs, loader, folder, staff, config.progress)


def compare(
    cells: Mapping[str, Genotype | SearchResult],
    loader: Loader,
    select: TrainConfig | None = None,
    *,
    random: int = 0,
    seed: int = 0,
    space: str | Space | None = None,
    network: Mapping[str, Any] | None = None,
    workers: int | None = None,
) -> SearchTable:
    """Train cells that are there already briefly, all alike, and others drawn by chance beside them.

    Args:
        cells: a name for each genotype, or result of a search.
        loader: the data, as `train` takes them.
        select: the short training, as in `search_many`. Its `checkpoint_dir`, `resume` and `progress` are
            those of the whole, as `cfg`'s are there.
        random: how many cells are drawn from the space, by `random_genotypes(space, random, seed)`.
        seed: of these.
        space: where from; None: the space of the first result, without one the published space.
        network: arguments of `build`; sizes of the data that are not given are read from them, `channels` and
            `layers` (of words: `units`) are those of the first result, without one the defaults of `build`.
        workers: as in `search_many`.

    Returns:
        The table, in the order of `cells`, then the random ones; as `search_many`.

    Raises:
        ConfigError, DataError, CheckpointError: as `search_many`.
        TypeError: a cell that is neither a genotype nor a result.

    >>> import numpy as np, pydarts
    >>> X, y = np.zeros((40, 1, 8, 8), np.uint8), np.arange(40) % 2
    >>> cells = {"second order": pydarts.genotypes.DARTS_V2}
    >>> select = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    >>> narrow = {"channels": 2, "layers": 3}
    >>> table = pydarts.compare(cells, (X, y), select, random=1, network=narrow, workers=0)
    >>> [(row.name, row.origin) for row in table]
    [('second order', 'given'), ('random 0', 'random')]
    """
    if not isinstance(cells, Mapping) or not cells:
        raise TypeError("cells must be a dictionary of names and genotypes or results")
    for name, cell in cells.items():
        if not isinstance(name, str) or not isinstance(cell, (Genotype, SearchResult)):
            raise TypeError(
                f"{name!r} of cells is a {type(cell).__name__}; give names with a Genotype or a SearchResult"
            )
        if not re.fullmatch(r"\w[\w .+-]*", name) or name.casefold() in (MARK, TABLE):
            raise _core.ConfigError(
                f"{name!r} names a cell and a folder: letters, digits, spaces, . _ + - only, a letter or "
                f"digit first; {MARK} and {TABLE} are the table's own"
            )
    genotypes = {
        name: cell.genotype if isinstance(cell, SearchResult) else cell for name, cell in cells.items()
    }
    kinds = {"recurrent" if genotype.recurrent else "convolutional" for genotype in genotypes.values()}
    if len(kinds) > 1:
        raise _core.ConfigError("cells are convolutional and recurrent ones; compare each kind apart")
    published = "darts-rnn" if "recurrent" in kinds else "darts"
    results = [cell for cell in cells.values() if isinstance(cell, SearchResult)]
    chosen = as_space(space or (results[0].config.resolved_space if results else published))
    if chosen.kind not in kinds:
        raise _core.ConfigError(f"space {chosen.name!r} is {chosen.kind}, and the cells are not")
    training = _short(select, chosen)
    drawn = _drawn(chosen, random, seed)
    sizes = Sizes.of(loader, SearchConfig(space=published, batch_size=1))
    template = Job(
        name="",
        origin="given",
        training=training.replace(**OF_THE_WHOLE),
        network=sizes.arguments | (_width(results[0].config) if results else {}) | dict(network or {}),
        image_size=sizes.image_size,
    )
    jobs = [
        replace(template, name=name, origin="searched", result=cell)
        if isinstance(cell, SearchResult)
        else replace(template, name=name, genotype=cell)
        for name, cell in cells.items()
    ]
    jobs += _random_jobs(template, drawn)
    if len({job.name.replace(" ", "-").casefold() for job in jobs}) < len(jobs):  # as some disks see it
        raise _core.ConfigError(
            "two cells have one name, or one but for capitals and hyphens (random ones are called "
            "'random 0', ...); rename one"
        )
    staff = Staff.of(workers, loader, training.resolved_device, len(jobs))
    _rehearse(next(iter(genotypes.values())), template, loader)
    about = {
        "space": chosen.to_dict(),
        "seed": seed,
        "cells": {name: genotype.to_dict() for name, genotype in genotypes.items()},
    }
    with held(training.checkpoint_dir):
        folder = marked(training.checkpoint_dir, training.resume, about, template)
        return _table(jobs, loader, folder, staff, training.progress)


def _fitted(each: SearchConfig, config: SearchConfig, sizes: Sizes, staff: Staff) -> SearchConfig:
    """With one batch size for all: those that run at once share the memory. Resumed, the size it had."""
    if config.batch_size == "auto" and config.resume and config.checkpoint_dir is not None:
        path = Path(config.checkpoint_dir) / MARK
        if path.is_file():
            return each.replace(batch_size=said_by(path, "batch_size"))
    return with_batch_size(each, sizes.batch_size, searches=max(1, staff.workers))


def _width(config: SearchConfig) -> dict[str, Any]:
    """How wide and deep the network of a search is, as arguments of `build`."""
    if config.resolved_space.kind == "recurrent":
        return {"units": config.units}
    return {"channels": config.channels, "layers": config.layers}


def _short(select: TrainConfig | None, space: Space) -> TrainConfig:
    """The short training, with the published values in it."""
    words = space.kind == "recurrent"
    if select is None:
        if words:
            raise _core.ConfigError("select is None; say how to train on text: TrainConfig(epochs=...)")
        select = TrainConfig.quick()
    if not isinstance(select, TrainConfig):
        raise _core.ConfigError(f"select must be a TrainConfig, got a {type(select).__name__}")
    settings = TextSettings.of(select) if words else ImageSettings.of(select)
    return select.replace(**asdict(settings))


def _seeds(seeds: int | Sequence[int], first: int) -> list[int]:
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds >= 1:
        return list(range(first, first + seeds))
    if isinstance(seeds, Sequence) and not isinstance(seeds, (str, bytes)):
        numbers = list(seeds)
        whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in numbers)
        if numbers and whole and len(set(numbers)) == len(numbers):
            return numbers
    raise _core.ConfigError(f"seeds is {seeds!r}; it must be how many, or distinct whole numbers from 0")


def _drawn(space: Space, n: int, seed: int) -> list[Genotype]:
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        raise _core.ConfigError(f"random is {n!r}; it must be how many cells are drawn, 0 for none")
    return random_genotypes(space, n, seed) if n else []


def _random_jobs(template: Job, drawn: Sequence[Genotype]) -> list[Job]:
    return [
        replace(template, name=f"random {number}", origin="random", genotype=genotype)
        for number, genotype in enumerate(drawn)
    ]


def _rehearse(genotype: Genotype, template: Job, loader: Loader) -> None:
    """Open a training and close it: what is wrong with it or its data is said now, not after the searches."""
    config = template.training
    with torch.random.fork_rng(devices=[]):
        network = fresh(genotype, template)
        # On the CPU: what the images take on a GPU is the processes' that are to come.
        open_task(network, loader, config, torch.device("cpu"), lambda: None).close()


def _table(
    jobs: Sequence[Job], loader: Loader, folder: Path | None, staff: Staff, progress: bool
) -> SearchTable:
    """Do all jobs; the table is written anew with every row."""
    if folder is not None:
        jobs = [replace(job, folder=folder / job.name.replace(" ", "-")) for job in jobs]
    rows = {
        job.name: SearchRow(name=job.name, origin=job.origin, status="waiting", genotype=job.genotype)
        for job in jobs
    }
    bar = ManyProgress(jobs) if progress else None
    tell: Tell = (lambda *_: None) if bar is None else bar.tell
    try:
        with closing(staff.rows(jobs, loader, tell)) as done:
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
