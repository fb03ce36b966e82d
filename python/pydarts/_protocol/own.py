"""User-defined networks for several searches: what makes them, their architectures, and their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias, cast

import torch
from torch import nn

from .. import _core
from .._data.memory import batch_size
from .._data.pairs import open_pairs
from .._results.modules import built, copied, fact_of_module
from .._results.result import SearchResult
from .._search.network import check_options
from .._search.own import NetworkLike, own_network
from .._train.config import TrainConfig
from .._train.settings import ModuleSettings
from .._train.train import open_task
from .._values.arguments import configuration
from .._values.config import SearchConfig
from .._values.fields import ConfigFields, Resume
from .._values.files import held
from .._values.words import listed, shown
from ..nn._choice import Choice, InputChoice
from ..nn._fix import choices_in, fix_in_place, random_architectures
from ..nn._function import FunctionNetwork
from .executor import Where, executor_of
from .folder import OF_THE_WHOLE, marked
from .job import Given, Job
from .row import Origin
from .rows import check_folder, check_names, do_jobs, seeds_of
from .sizes import Sizes
from .table import SearchTable

Architecture: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Fresh:
    """Makes copies of a module with new initial weights, as a function that builds it would."""

    module: nn.Module

    def __call__(self) -> nn.Module:
        """Return a copy; its layers draw their weights from torch's generator."""
        made = copied(self.module)
        for part in made.modules():
            if _resets(part):
                part.reset_parameters()  # type: ignore[operator]
        return made


def maker_of(network: NetworkLike) -> Any:
    """Return a function that makes a network with new initial weights.

    Raises:
        TypeError: neither a module nor a factory.
        ConfigError: a `FunctionNetwork`, or a module with weights that no `reset_parameters` draws.
    """
    if isinstance(network, FunctionNetwork):
        raise _core.ConfigError(
            "a FunctionNetwork cannot be built for an architecture, so that it cannot be trained after its "
            "search; pass a module with pydarts.nn.Choice, or call search() once per seed"
        )
    if not isinstance(network, nn.Module):
        return network
    left = [
        f"{name}.{key}" if name else key
        for name, part in network.named_modules()
        if not _resets(part) and not isinstance(part, (Choice, InputChoice))
        for key, value in part._parameters.items()
        if value is not None and value.requires_grad
    ]
    if left:
        raise _core.ConfigError(
            f"every search starts from new initial weights, and {type(network).__name__} has weights that no "
            f"reset_parameters() draws: {listed(left)}; pass a function that builds it: network=Net instead "
            "of network=Net()"
        )
    return Fresh(network)


def _resets(part: nn.Module) -> bool:
    """Return whether a layer can draw new initial weights; a frozen layer keeps its weights."""
    own = [value for value in part._parameters.values() if value is not None]
    frozen = bool(own) and not any(value.requires_grad for value in own)
    return callable(getattr(part, "reset_parameters", None)) and not frozen


def sizes_of(given: Given, config: SearchConfig) -> Sizes:
    """Read the data once for all searches and trainings: only what a resumed table compares.

    Raises:
        ConfigError: an option does not apply to user-defined networks, or the network has no choices.
        DataError: invalid data.
    """
    check_options(config)
    facts = own_network(given.network, given.loss, given.metric, given.unpack, config).facts
    sources = open_pairs(given.loader, config, lambda: None, given.unpack)
    sources.close()
    return Sizes({}, {}, None, batch_size(sources.config), {**sources.facts, **facts})


def short_training(select: TrainConfig | None, config: SearchConfig | None) -> TrainConfig:
    """Return the short training with the published values filled in; the metric's sense is the search's."""
    chosen = TrainConfig.quick() if select is None else select
    chosen = configuration(chosen, TrainConfig, "select", "compare(cells, (X, y), select)")
    if config is not None and chosen.metric_mode is None:
        chosen = chosen.replace(metric_mode=config.metric_mode)
    return chosen.replace(**asdict(ModuleSettings.of(chosen)))


def drawn_from(network: Any, n: int, seed: int) -> list[dict[str, Any]]:
    """Return random architectures, which are the same for every seed of the weights."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        raise _core.ConfigError(f"random is {shown(n)}; it must be a number of architectures, 0 for none")
    return random_architectures(built(network, seed), n, seed) if n else []


def fixed_fresh(network: Any, architecture: Architecture, seed: int) -> nn.Module:
    """Return a network of an architecture, with weights drawn from `seed`."""
    return fix_in_place(built(network, seed), architecture)


def random_jobs(template: Job, found: Sequence[Architecture]) -> list[Job]:
    """Return the jobs of random architectures."""
    return [
        replace(template, name=f"random {number}", origin="random", architecture=architecture)
        for number, architecture in enumerate(found)
    ]


def is_own(cell: Any) -> bool:
    """Return whether a value of `compare` is of a user-defined network: a result or an architecture."""
    if isinstance(cell, SearchResult):
        return any(table.choices for table in cell.tables.values())
    return isinstance(cell, Mapping)


def compared(cells: Mapping[str, Any], network: Any) -> tuple[Any, dict[str, Architecture]]:
    """Return what makes the network of all `cells`, and their architectures.

    Raises:
        ConfigError: there is no network, or an architecture does not fit it.
        CheckpointError: a result is of another network.
    """
    results = {name: cell for name, cell in cells.items() if isinstance(cell, SearchResult)}
    if network is None:
        network = next((result.module for result in results.values() if result.module is not None), None)
    if network is None or isinstance(network, Mapping):
        raise _core.ConfigError(
            "pass the network to train for these architectures: compare(..., network=Net), a function that "
            "builds it or a module with pydarts.nn.Choice"
        )
    maker = maker_of(network)
    module = built(maker, 0)
    own = fact_of_module(module, choices_in(module))
    architectures: dict[str, Architecture] = {}
    for name, cell in cells.items():
        fact = cell.fingerprint.get("network") if name in results else own
        if fact is not None and fact != own:
            raise _core.CheckpointError(
                f"cells[{shown(name)}] is the result of the network {fact}, but the network is {own}; "
                "compare results of one network"
            )
        architectures[name] = dict(cast("SearchResult", cell).architecture if name in results else cell)
        fix_in_place(built(maker, 0), architectures[name])  # raises an error if it does not fit
    return maker, architectures


def rehearse(architecture: Architecture, template: Job, given: Given) -> None:
    """Open and close a training, so that an error in it or its data is raised before the searches."""
    network = fixed_fresh(given.network, architecture, template.training.seed)
    arguments = (given.loss, given.metric, given.unpack)
    cpu = torch.device("cpu")
    open_task(network, given.loader, template.training, cpu, lambda: None, *arguments).close()


def own_many(
    given: Given,
    config: SearchConfig,
    seeds: int | Sequence[int],
    select: TrainConfig | None,
    random: int,
    where: Where,
) -> SearchTable:
    """Search a user-defined network several times."""
    training = short_training(select, config)
    check_folder(training)
    numbers = seeds_of(seeds, config.seed)
    drawn = drawn_from(given.network, random, config.seed)
    sizes = sizes_of(given, config)
    alone: ConfigFields = {"checkpoint_dir": None, "resume": False, "progress": False}
    each = config.replace(**alone)
    executor = executor_of(where, given, training, len(numbers) + len(drawn))
    template = _own_template("searched", training, config.resume)
    jobs = [replace(template, name=f"seed {seed}", search=each.replace(seed=seed)) for seed in numbers]
    jobs += random_jobs(template, drawn)
    rehearse(drawn_from(given.network, 1, 0)[0], template, given)
    about = {name: value for name, value in each.to_dict().items() if name != "device"}
    with held(config.checkpoint_dir):
        choices = {"config": about}
        facts = sizes.facts
        folder = marked(config.checkpoint_dir, config.resume, choices, facts, template, sizes.batch_size)
        return do_jobs(jobs, given, folder, executor, config.progress)


def _own_template(origin: Origin, training: TrainConfig, resume: Resume) -> Job:
    """Return the job of a user-defined network without what determines its architecture."""
    return Job(
        name="",
        origin=origin,
        training=training.replace(**OF_THE_WHOLE),
        network={},
        image_size=None,
        resume=resume or True,
    )


def own_compared(
    cells: Mapping[str, Any],
    given: Given,
    select: TrainConfig | None,
    random: int,
    seed: int,
    where: Where,
) -> SearchTable:
    """Train architectures of a user-defined network."""
    maker, architectures = compared(cells, given.network)
    given = given._replace(network=maker)
    first = next((cell.config for cell in cells.values() if isinstance(cell, SearchResult)), None)
    training = short_training(select, first)
    drawn = drawn_from(maker, random, seed)
    mode: Any = {} if training.metric_mode is None else {"metric_mode": training.metric_mode}
    sizes = sizes_of(given, SearchConfig(batch_size=1, **mode))
    template = _own_template("given", training, training.resume)
    jobs = [
        replace(template, name=name, origin="searched", result=cells[name])
        if isinstance(cells[name], SearchResult)
        else replace(template, name=name, architecture=architecture)
        for name, architecture in architectures.items()
    ]
    jobs += random_jobs(template, drawn)
    check_names(jobs)
    executor = executor_of(where, given, training, len(jobs))
    rehearse(next(iter(architectures.values())), template, given)
    about = {"seed": seed, "architectures": architectures}
    with held(training.checkpoint_dir):
        folder = marked(training.checkpoint_dir, training.resume, about, sizes.facts, template)
        return do_jobs(jobs, given, folder, executor, training.progress)
