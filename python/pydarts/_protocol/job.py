"""The work for one row of a table: a search, unless the cell is known, and a short training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import nn

from .. import _core
from .._data.draws import Masks
from .._results.algorithm import axes, named
from .._results.history import TrainRecord
from .._results.modules import built, copied
from .._results.result import SearchResult
from .._results.score import score_of
from .._search.callbacks import Callback, EpochInfo
from .._search.metrics import Accumulator
from .._search.search import search
from .._train.callbacks import TrainCallback
from .._train.config import TrainConfig
from .._train.result import TrainResult
from .._train.train import train
from .._values.callables import Loss
from .._values.config import SearchConfig
from .._values.fields import Resume
from .._values.genotype import Genotype
from .._values.operation import Operation
from ..nn import Network
from ..nn._build import build
from ..nn._cost import cost, number_of_weights
from ..nn._fix import fix_in_place
from .row import Origin, RowStatus, SearchRow

Tell: TypeAlias = Callable[[str, str, int, str], None]
"""Called after every epoch: name of the row, "search" or "training", finished epochs, and a summary."""


class Given(NamedTuple):
    """What all rows share."""

    loader: Any
    loss: Loss | Literal["network"] | None
    network: Any = None
    """A function that makes the network of the user; None: search and build cells."""
    metric: Any = None
    unpack: Any = None
    operations: tuple[Operation, ...] = ()
    """User-defined operations, which the cells may have."""
    factory: Callable[[], Any] | None = None
    """The function that returned `loader`: other processes call it, too, and do not receive the loader."""

    @classmethod
    def of(cls, loader: Any, *others: Any) -> Given:
        """Take the loader, or a function without arguments that returns it, and the next fields."""
        if callable(loader) and not hasattr(loader, "__iter__"):
            return cls(loader(), *others)._replace(factory=loader)
        return cls(loader, *others)

    def copied(self) -> Given:
        """Return this with a loader of its own, for another thread."""
        return self._replace(loader=copy.deepcopy(self.loader) if self.factory is None else self.factory())

    def __reduce__(self) -> Any:
        return _received, tuple(self if self.factory is None else self._replace(loader=None))

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `search` and `train` that user-defined networks have.

        A metric with a state is copied, so that every row begins with the state that the user gave it.
        """
        if self.network is None:
            return {}
        metric = copy.deepcopy(self.metric) if isinstance(self.metric, Accumulator) else self.metric
        return {"metric": metric, "unpack": self.unpack}


def _received(*fields: Any) -> Given:
    given = Given(*fields)
    return given if given.factory is None else given._replace(loader=given.factory())


@dataclass(frozen=True, kw_only=True)
class Job:
    """The work for one row. One of `search`, `result`, `genotype` and `architecture` determines the cell."""

    name: str
    origin: Origin
    training: TrainConfig
    """The short training; the job sets its `checkpoint_dir` and `resume`."""
    network: Mapping[str, Any]
    """Arguments of `build`."""
    image_size: tuple[int, int] | None
    """Height and width of the images; None for text and for user-defined networks."""
    search: SearchConfig | None = None
    result: SearchResult | None = None
    genotype: Genotype | None = None
    architecture: Mapping[str, Any] | None = None
    """The architecture of a user-defined network."""
    resume: Resume = True
    """How work in the folder is continued: with "force" also with other data or another loss."""
    folder: Path | None = None
    """The folder of the row: the search's result, its `checkpoints`, and `training` with its own."""

    words: bool = False
    """Whether the data are text, for recurrent cells."""

    @property
    def epochs(self) -> int:
        """Epochs of search and training together."""
        assert self.training.epochs is not None
        return self.training.epochs + (0 if self.search is None else self.search.epochs)

    def row(self, status: RowStatus) -> SearchRow:
        """Return the row before any work."""
        config = self.search if self.result is None else self.result.config
        return SearchRow(
            name=self.name,
            origin=self.origin,
            status=status,
            genotype=self.genotype,
            architecture=self.architecture,
            algorithm=None if config is None or not (config.algorithm or axes(config)) else named(config),
        )


def run(job: Job, given: Given, tell: Tell) -> SearchRow:
    """Search and train; an exception is recorded in the row. Work saved in the folder is not repeated."""
    row = job.row("complete")
    try:
        if job.result is not None:
            row = _found(row, job.result)
        elif job.search is not None:
            result = _search(job, job.search, given, tell)
            row = _found(row, result)
            if result.status != "complete":
                return replace(row, status="interrupted")
        network = _network(row, job, given)
        if isinstance(network, Network):
            costs = cost(network, job.image_size)
            row = replace(row, weights=costs["weights"], multiply_adds=costs["multiply_adds"])
        else:
            row = replace(row, weights=number_of_weights(network))
        training = _train(job, network, given, tell)
    except KeyboardInterrupt:
        return replace(row, status="interrupted")
    except Exception as error:
        reached = getattr(error, "result", None)
        if isinstance(reached, SearchResult):
            row = _found(row, reached)
        elif isinstance(reached, TrainResult):
            row = _trained(row, reached)
        # A field of a CSV file that is longer than 128 KiB cannot be read again.
        return replace(row, status="failed", error=f"{type(error).__name__}: {error!s:.2000}")
    row = _trained(row, training)
    return row if training.status == "complete" else replace(row, status="interrupted")


def _network(row: SearchRow, job: Job, given: Given) -> nn.Module:
    """Build the network to train."""
    if given.network is None:
        assert row.genotype is not None
        return fresh(row.genotype, job, given)
    assert row.architecture is not None
    return fix_in_place(built(given.network, job.training.seed), row.architecture)


def fresh(genotype: Genotype, job: Job, given: Given) -> Network:
    """Build the network to train, with weights drawn from the seed of the training."""
    with Masks(job.training.seed):
        arguments: dict[str, Any] = dict(job.network)
        if given.operations:
            arguments["operations"] = given.operations
        network: Network = build(genotype, **arguments)
        return network


def _search(job: Job, config: SearchConfig, given: Given, tell: Tell) -> SearchResult:
    more = given.arguments
    if given.network is not None:
        more["network"] = given.network
    if job.folder is None:
        return search(given.loader, config, _SearchTeller(job, tell), given.loss, **more)
    if (job.folder / "result.json").is_file():
        result = SearchResult.load(job.folder)
        if result.status == "complete":
            return result
    config = config.replace(checkpoint_dir=job.folder / "checkpoints", resume=job.resume)
    try:
        result = search(given.loader, config, _SearchTeller(job, tell), given.loss, **more)
    except Exception as error:
        reached = getattr(error, "result", None)
        if isinstance(reached, SearchResult):
            reached.save(job.folder)
        raise
    result.save(job.folder)
    return result


def _train(job: Job, network: nn.Module, given: Given, tell: Tell) -> TrainResult:
    more: Any = given.arguments
    if job.folder is None:
        return train(network, given.loader, job.training, _TrainTeller(job, tell), given.loss, **more)
    folder = job.folder / "training"
    if (folder / "training.json").is_file():
        result = TrainResult.load(folder, *(() if given.network is None else (copied(network),)))
        if given.network is None and _described(result.network) != _described(network):
            raise _core.CheckpointError(f"{folder} holds the training of another network; use another folder")
        if result.status == "complete":
            return result
    config = job.training.replace(checkpoint_dir=folder / "checkpoints", resume=job.resume)
    result = train(network, given.loader, config, _TrainTeller(job, tell), given.loss, **more)
    result.save(folder)
    return result


def _described(network: Any) -> tuple[Genotype, Any]:
    return network.genotype, network.arguments


def _found(row: SearchRow, result: SearchResult) -> SearchRow:
    """Return the row with the results of a search."""
    row = replace(
        row,
        genotype=getattr(result, "genotype", None),
        architecture=None if hasattr(result, "genotype") else result.architecture,
        seconds=row.seconds + sum(record.seconds for record in result.history),
        result=result,
    )
    if result.history:
        last = result.history[-1]
        row = replace(row, search_accuracy=last.valid_accuracy, search_loss=last.valid_loss)
        for name, value in [*last.metrics.items()][:1]:
            row = replace(row, metric=name, metric_mode=result.config.metric_mode, search_value=value)
    return row


def _trained(row: SearchRow, training: TrainResult) -> SearchRow:
    """Return the row with the results of a training; accuracy and loss are set only if it is complete."""
    seconds = row.seconds + sum(record.seconds for record in training.history)
    row = replace(row, seconds=seconds, training=training)
    if training.status != "complete":
        return row
    kept = (training.best if training.config.keep == "best" else None) or training.history[-1]
    row = replace(row, accuracy=kept.valid_accuracy, loss=kept.valid_loss)
    for name, value in [*kept.metrics.items()][:1]:
        mode = getattr(training.config, "metric_mode", None) or row.metric_mode
        row = replace(row, metric=name, metric_mode=mode, value=value)
    return row


class _SearchTeller(Callback):
    def __init__(self, job: Job, tell: Tell) -> None:
        self._job, self._tell = job, tell

    def on_epoch(self, info: EpochInfo) -> None:
        self._tell(self._job.name, "search", info.epoch + 1, _how(self._job, info))


class _TrainTeller(TrainCallback):
    def __init__(self, job: Job, tell: Tell) -> None:
        self._job, self._tell = job, tell

    def on_epoch(self, record: TrainRecord) -> None:
        self._tell(self._job.name, "training", record.epoch + 1, _how(self._job, record))


def _how(job: Job, record: EpochInfo | TrainRecord) -> str:
    if job.words:
        return f"perplexity {record.valid_perplexity:.0f}"
    score = score_of([record])
    return f"{'acc' if score.percent else score.name} {score.text(score.valid(record), number='.4g')}"
