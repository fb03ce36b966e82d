"""`search_many` and `compare`: the paper's protocol, the same short training for several cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from .. import _core
from .._data.loaders import Loader
from .._data.memory import batch_size, with_batch_size
from .._results.result import SearchResult
from .._search.search import check_plan
from .._train.config import TrainConfig
from .._train.settings import ImageSettings, TextSettings
from .._train.train import open_task
from .._values.ambient import plain
from .._values.arguments import configuration, takes_options_as
from .._values.callables import Known, Loss, check_loss
from .._values.config import SearchConfig
from .._values.fields import FIELDS, ConfigFields
from .._values.files import held
from .._values.genotype import Genotype
from .._values.operation import by_name, made
from .._values.random import random_genotypes
from .._values.space import Space, as_space
from .._values.words import shown
from ..nn._build import placed
from .executor import Executor
from .folder import MARK, OF_THE_WHOLE, TABLE, marked, said_by
from .job import Given, Job, Tell, fresh
from .progress import ManyProgress
from .row import SearchRow
from .sizes import Sizes
from .table import SearchTable


@takes_options_as("cfg", "SearchConfig", lambda: [field.name for field in FIELDS])
@plain()
def search_many(
    loader: Loader,
    cfg: SearchConfig | None = None,
    seeds: int | Sequence[int] = 4,
    select: TrainConfig | None = None,
    *,
    random: int = 0,
    network: Mapping[str, Any] | None = None,
    workers: int | None = None,
    loss: Loss | None = None,
) -> SearchTable:
    """Search several times, train every cell briefly, and compare them with random cells.

    This is the paper's protocol (section 3.2): the cells of several searches differ, so each is trained from
    scratch for a short time with the same settings, and the one with the best validation result is selected.
    Random cells with the same training show what the search has gained (section 3.3).

    Args:
        loader: the data, as `search` and `train` take them; both use all of it.
        cfg: the configuration of each search; None: the published one. With `checkpoint_dir`, everything is
            saved there: one folder per cell, with its checkpoints, the result of its search and its
            `training`, and `table.csv`. With `resume`, finished work in that folder is not repeated, work
            in progress is continued, and failed cells are tried again. Only `seeds` and `random` may change;
            with "force" also the data, for the work that is left.
        seeds: seeds of the searches; a number n means `cfg.seed`, `cfg.seed` + 1, and so on.
        select: the short training, the same for every cell, including its seed; None:
            `TrainConfig.quick()`, for images. `cfg` determines its folder and whether it shows progress.
        random: number of random cells to train too, from `random_genotypes(space, random, cfg.seed)`.
        network: arguments of `build` for the trained networks; sizes of the data that are not given are read
            from the data, `channels` and `layers` (for text: `units`) are taken from `cfg`.
        workers: number of processes; each uses its part of the CPU threads. 0: run everything in this
            process, one after the other. None: one for every two threads, one on a GPU; 0, with a warning, if
            `loader` cannot be sent to another process, for example because a notebook defines its classes. If
            `loader` uses classes of the main script, call this function under `if __name__ == "__main__":`.
        loss: of the searches and of the short trainings, as in `search` and `train`; with processes it must
            be one that can be pickled. None: cross-entropy.

    Returns:
        The table, searched cells first. A failed cell does not stop the others: its row holds the error.
        After Ctrl-C, the finished rows, and the others as "interrupted" or "waiting".

    Raises:
        ConfigError: an invalid configuration, or a loss that cannot be pickled; nothing has been searched.
        TypeError: `loss` is not callable, or a class instead of an instance.
        DataError: invalid data, or a loader that cannot be sent to the processes that `workers` asks for.
        CheckpointError: without `resume`, the folder is in use; with it, it was written with other settings.

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
    config = configuration(cfg, SearchConfig, "cfg", "search_many((X, y), cfg)")
    check_plan(config)
    training = _short(select, config.resolved_space)
    check_loss(loss)
    if training.checkpoint_dir is not None:
        raise _core.ConfigError("select has a checkpoint_dir; pass it to cfg, which covers all files")
    numbers = _seeds(seeds, config.seed)
    drawn = _drawn(config.resolved_space, random, config.seed)
    sizes = Sizes.of(loader, config)
    alone: ConfigFields = {"checkpoint_dir": None, "resume": False, "progress": False}
    each = config.replace(**(alone | sizes.fields))
    arguments = sizes.arguments | _width(config) | dict(network or {})
    arguments |= placed(config, arguments)
    given = Given(loader, Known.of(loss), tuple(arguments.pop("operations", ())))
    executor = Executor.of(workers, given, training.resolved_device, len(numbers) + len(drawn))
    fitted = _fitted(each, config, sizes, executor)
    template = Job(
        name="",
        origin="searched",
        training=training.replace(**OF_THE_WHOLE),
        network=arguments,
        image_size=sizes.image_size,
        resume=config.resume or True,
    )
    jobs = [replace(template, name=f"seed {seed}", search=fitted.replace(seed=seed)) for seed in numbers]
    jobs += _random_jobs(template, drawn)
    _rehearse(random_genotypes(config.resolved_space)[0], template, given)
    about = {name: value for name, value in each.to_dict().items() if name != "device"}
    with held(config.checkpoint_dir):
        choices = {"config": about}
        folder = marked(
            config.checkpoint_dir,
            config.resume,
            choices,
            sizes.facts_with(given.loss),
            template,
            batch_size(fitted),
        )
        return _table(jobs, given, folder, executor, config.progress)


@takes_options_as("select", "TrainConfig", lambda: [field.name for field in fields(TrainConfig)])
@plain()
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
    loss: Loss | None = None,
) -> SearchTable:
    """Train given cells and random cells briefly, all with the same settings.

    Args:
        cells: name -> genotype, or result of a search.
        loader: the data, as `train` takes them.
        select: the short training, as in `search_many`. Its `checkpoint_dir`, `resume` and `progress` apply
            to the whole comparison, like those of `cfg` there.
        random: number of random cells, from `random_genotypes(space, random, seed)`.
        seed: seed of the random cells.
        space: space of the random cells; None: that of the first result, or the published space.
        network: arguments of `build`; sizes of the data that are not given are read from the data, `channels`
            and `layers` (for text: `units`) are those of the first result, or the defaults of `build`.
        workers: as in `search_many`.
        loss: of the trainings, as in `train`; with processes it must be one that can be pickled.

    Returns:
        The table, in the order of `cells`, then the random cells; see `search_many`.

    Raises:
        ConfigError, DataError, CheckpointError: see `search_many`.
        TypeError: a cell is neither a genotype nor a result, or `loss` is not callable.

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
        raise TypeError("cells must be a dictionary from names to genotypes or results")
    for name, cell in cells.items():
        if not isinstance(name, str) or not isinstance(cell, (Genotype, SearchResult)):
            raise TypeError(
                f"cells[{shown(name)}] is a {type(cell).__name__}; it must be a Genotype or a SearchResult"
            )
        if not re.fullmatch(r"\w[\w .+-]*", name) or name.casefold() in (MARK, TABLE):
            raise _core.ConfigError(
                f"{shown(name)} must also be a folder name: use letters, digits, spaces, . _ + -, starting "
                f"with a letter or digit, but not {MARK} or {TABLE}"
            )
    genotypes = {
        name: cell.genotype if isinstance(cell, SearchResult) else cell for name, cell in cells.items()
    }
    results = [cell for cell in cells.values() if isinstance(cell, SearchResult)]
    chosen, published = _space_of(
        genotypes.values(), space or (results[0].config.resolved_space if results else None)
    )
    training = _short(select, chosen)
    check_loss(loss)
    drawn = _drawn(chosen, random, seed)
    lines = {"dimensions": 1} if chosen.dimensions == 1 else {}
    sizes = Sizes.of(loader, SearchConfig(space="darts-1d" if lines else published, batch_size=1))
    arguments = sizes.arguments | lines | (_width(results[0].config) if results else {}) | dict(network or {})
    own = {**made(chosen.own_operations), **by_name(arguments.pop("operations", ()))}
    template = Job(
        name="",
        origin="given",
        training=training.replace(**OF_THE_WHOLE),
        network=arguments | (_placed(results[0].config, arguments) if results else {}),
        image_size=sizes.image_size,
        resume=training.resume or True,
    )
    jobs = [
        replace(
            template,
            name=name,
            origin="searched",
            result=cell,
            network=arguments | _placed(cell.config, arguments),
        )
        if isinstance(cell, SearchResult)
        else replace(template, name=name, genotype=cell)
        for name, cell in cells.items()
    ]
    jobs += _random_jobs(template, drawn)
    if len({job.name.replace(" ", "-").casefold() for job in jobs}) < len(jobs):  # for case-insensitive disks
        raise _core.ConfigError(
            "two cells have the same name, apart from capitals and hyphens (random cells are called "
            "'random 0', ...); rename one of them"
        )
    given = Given(loader, Known.of(loss), tuple(own.values()))
    executor = Executor.of(workers, given, training.resolved_device, len(jobs))
    _rehearse(next(iter(genotypes.values())), template, given)
    about = {
        "space": chosen.to_dict(),
        "seed": seed,
        "cells": {name: genotype.to_dict() for name, genotype in genotypes.items()},
    }
    with held(training.checkpoint_dir):
        folder = marked(
            training.checkpoint_dir, training.resume, about, sizes.facts_with(given.loss), template
        )
        return _table(jobs, given, folder, executor, training.progress)


def _space_of(genotypes: Iterable[Genotype], space: str | Space | None) -> tuple[Space, str]:
    """Return the space of some cells, which must be of one sort, and the name of the published one."""
    cells = list(genotypes)
    kinds = {genotype.kind for genotype in cells}
    if len(kinds) > 1:
        raise _core.ConfigError("cells are both convolutional and recurrent; compare each kind separately")
    sides = {genotype.dimensions for genotype in cells} - {None}
    if len(sides) > 1:
        raise _core.ConfigError("cells are both of images and of sequences; compare each sort separately")
    published = "darts-rnn" if "recurrent" in kinds else "darts-1d" if sides == {1} else "darts"
    chosen = as_space(space or published)
    if chosen.kind not in kinds:
        raise _core.ConfigError(f"space {chosen.name!r} is {chosen.kind}, but the cells are not")
    if sides and chosen.dimensions not in sides:
        raise _core.ConfigError(f"space {chosen.name!r} has {chosen.dimensions} dimensions; the cells do not")
    return chosen, published


def _fitted(each: SearchConfig, config: SearchConfig, sizes: Sizes, executor: Executor) -> SearchConfig:
    """Return the configuration with the common batch size: parallel searches share the memory."""
    if config.batch_size == "auto" and config.resume and config.checkpoint_dir is not None:
        path = Path(config.checkpoint_dir) / MARK
        if path.is_file():
            return each.replace(batch_size=said_by(path, "batch_size"))
    return with_batch_size(each, sizes.batch_size, searches=max(1, executor.workers))


def _width(config: SearchConfig) -> dict[str, Any]:
    """Return width and depth of a search network as arguments of `build`."""
    if config.resolved_space.kind == "recurrent":
        return {"units": config.units}
    return {"channels": config.channels, "layers": config.layers}


def _placed(config: SearchConfig, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `build` that one search determines; operations are those of all cells."""
    return placed(config, {**arguments, "operations": ()})


def _short(select: TrainConfig | None, space: Space) -> TrainConfig:
    """Return the short training with the published values filled in."""
    words = space.kind == "recurrent"
    if select is None:
        if words:
            raise _core.ConfigError("`select` is required for text: pass TrainConfig(epochs=...)")
        select = TrainConfig.quick()
    select = configuration(select, TrainConfig, "select", "compare(cells, (X, y), select)")
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
    raise _core.ConfigError(f"seeds is {shown(seeds)}; it must be a number or distinct integers from 0")


def _drawn(space: Space, n: int, seed: int) -> list[Genotype]:
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        raise _core.ConfigError(f"random is {shown(n)}; it must be a number of cells, 0 for none")
    return random_genotypes(space, n, seed) if n else []


def _random_jobs(template: Job, drawn: Sequence[Genotype]) -> list[Job]:
    return [
        replace(template, name=f"random {number}", origin="random", genotype=genotype)
        for number, genotype in enumerate(drawn)
    ]


def _rehearse(genotype: Genotype, template: Job, given: Given) -> None:
    """Open and close a training, so that an error in it or its data is raised before the searches."""
    config = template.training
    network = fresh(genotype, template, given)
    # On the CPU: images in the memory of a GPU would take it from the processes.
    open_task(network, given.loader, config, torch.device("cpu"), lambda: None, given.loss).close()


def _table(
    jobs: Sequence[Job], given: Given, folder: Path | None, executor: Executor, progress: bool
) -> SearchTable:
    """Do all jobs; save the table after every row."""
    if folder is not None:
        jobs = [replace(job, folder=folder / job.name.replace(" ", "-")) for job in jobs]
    rows = {
        job.name: SearchRow(name=job.name, origin=job.origin, status="waiting", genotype=job.genotype)
        for job in jobs
    }
    bar = ManyProgress(jobs) if progress else None
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
