"""Several searches of cells, and the training of several cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from .. import _core
from .._data.memory import batch_size, with_batch_size
from .._results.result import SearchResult
from .._search.search import check_plan
from .._train.config import TrainConfig
from .._train.settings import ImageSettings, TextSettings
from .._train.train import open_task
from .._values.arguments import configuration
from .._values.config import SearchConfig
from .._values.fields import ConfigFields
from .._values.files import held
from .._values.genotype import Genotype
from .._values.operation import by_name, made
from .._values.random import random_genotypes
from .._values.space import Space, as_space
from .._values.words import shown
from ..nn._build import placed
from .executor import Executor, Where, executor_of
from .folder import MARK, OF_THE_WHOLE, marked, said_by
from .job import Given, Job, fresh
from .rows import check_folder, check_names, do_jobs, seeds_of
from .sizes import Sizes
from .table import SearchTable


def cells_many(
    given: Given,
    config: SearchConfig,
    seeds: int | Sequence[int],
    select: TrainConfig | None,
    random: int,
    network: Mapping[str, Any] | None,
    where: Where,
) -> SearchTable:
    """Search cells several times."""
    check_plan(config)
    training = _short(select, config.resolved_space)
    check_folder(training)
    numbers = seeds_of(seeds, config.seed)
    drawn = _drawn(config.resolved_space, random, config.seed)
    sizes = Sizes.of(given.loader, config, given.loss)
    alone: ConfigFields = {"checkpoint_dir": None, "resume": False, "progress": False}
    each = config.replace(**(alone | sizes.fields))
    arguments = sizes.arguments | _width(config) | dict(network or {})
    arguments |= placed(config, arguments)
    given = given._replace(operations=tuple(arguments.pop("operations", ())))
    executor = executor_of(where, given, training, len(numbers) + len(drawn))
    fitted = _fitted(each, config, sizes, executor)
    template = Job(
        name="",
        origin="searched",
        training=training.replace(**OF_THE_WHOLE),
        network=arguments,
        image_size=sizes.image_size,
        words=config.resolved_space.kind == "recurrent",
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
        return do_jobs(jobs, given, folder, executor, config.progress)


def _space_of(
    genotypes: Mapping[str, Genotype], results: Sequence[SearchResult], space: str | Space | None
) -> tuple[str, Space]:
    """Return the published space of these genotypes, and the one that random cells are drawn from.

    Raises:
        ConfigError: genotypes of several spaces, or not of the given one.
    """
    kinds = {genotype.kind for genotype in genotypes.values()}
    if len(kinds) > 1:
        raise _core.ConfigError("cells are both convolutional and recurrent; compare each kind separately")
    forms = {genotype.tables for genotype in genotypes.values()}
    if len(forms) > 1:
        named = " and ".join(", ".join(tables) for tables in sorted(forms))
        raise _core.ConfigError(f"the genotypes have different cells: {named}; compare each kind separately")
    sides = {genotype.dimensions for genotype in genotypes.values()} - {None}
    if len(sides) > 1:
        raise _core.ConfigError("cells are both of images and of sequences; compare each kind separately")
    published = "darts-rnn" if "recurrent" in kinds else "darts-1d" if sides == {1} else "darts"
    published = "nas-bench-201" if forms == {("cell",)} else published
    chosen = as_space(space or (results[0].config.resolved_space if results else published))
    if chosen.kind not in kinds:
        raise _core.ConfigError(f"space {chosen.name!r} is {chosen.kind}, but the cells are not")
    if chosen.tables not in forms:
        named = ", ".join(chosen.tables)
        raise _core.ConfigError(f"space {chosen.name!r} has the cells {named}; the genotypes have others")
    if sides and chosen.dimensions not in sides:
        raise _core.ConfigError(f"space {chosen.name!r} has {chosen.dimensions} dimensions; the cells do not")
    return published, chosen


def cells_compared(
    cells: Mapping[str, Genotype | SearchResult],
    given: Given,
    select: TrainConfig | None,
    random: int,
    seed: int,
    space: str | Space | None,
    network: Any,
    where: Where,
) -> SearchTable:
    """Train cells."""
    loader = given.loader
    if network is not None and not isinstance(network, Mapping):
        raise _core.ConfigError("for genotypes, network must be a dictionary of arguments of `build`")
    genotypes = {
        name: cell.genotype if isinstance(cell, SearchResult) else cell for name, cell in cells.items()
    }
    results = [cell for cell in cells.values() if isinstance(cell, SearchResult)]
    published, chosen = _space_of(genotypes, results, space)
    training = _short(select, chosen)
    drawn = _drawn(chosen, random, seed)
    lines = {"dimensions": 1} if chosen.dimensions == 1 else {}
    reading = SearchConfig(
        space="darts-1d" if lines else published,
        batch_size=1,
        num_classes=dict(network or {}).get("num_classes"),
    )
    sizes = Sizes.of(loader, reading, given.loss)
    arguments = sizes.arguments | lines | (_width(results[0].config) if results else {}) | dict(network or {})
    own = {**made(chosen.own_operations), **by_name(arguments.pop("operations", ()))}
    given = given._replace(operations=tuple(own.values()))
    template = Job(
        name="",
        origin="given",
        training=training.replace(**OF_THE_WHOLE),
        network=arguments | (_placed(results[0].config, arguments) if results else {}),
        image_size=sizes.image_size,
        words=chosen.kind == "recurrent",
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
    check_names(jobs)
    executor = executor_of(where, given, training, len(jobs))
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
        return do_jobs(jobs, given, folder, executor, training.progress)


def _fitted(each: SearchConfig, config: SearchConfig, sizes: Sizes, executor: Executor) -> SearchConfig:
    """Return the configuration with the common batch size: parallel searches share the memory."""
    if config.batch_size == "auto" and config.resume and config.checkpoint_dir is not None:
        path = Path(config.checkpoint_dir) / MARK
        if path.is_file():
            return each.replace(batch_size=said_by(path, "batch_size"))
    if executor.workers is None and each.batch_size == "auto":
        raise _core.ConfigError(
            "batch_size='auto' depends on the memory of the machine that searches, which is not known here; "
            "pass a number"
        )
    return with_batch_size(each, sizes.batch_size, searches=max(1, executor.workers or 1))


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
