"""`search_many` and `compare`: the paper's protocol, the same short training for several cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, cast

from .. import _core
from .._data.loaders import Loader
from .._data.pairs import Unpack
from .._results.result import SearchResult
from .._search.own import NetworkLike
from .._train.config import TrainConfig
from .._values.ambient import plain
from .._values.arguments import configuration, formerly, takes_options_as
from .._values.callables import Known, Loss, check_loss
from .._values.config import SearchConfig
from .._values.fields import FIELDS
from .._values.genotype import Genotype
from .._values.space import Space
from .._values.words import shown
from .cells import cells_compared, cells_many
from .executor import ExecutorLike, Where
from .folder import MARK, TABLE
from .job import Given
from .own import is_own, maker_of, own_compared, own_many
from .table import SearchTable


@formerly(loader="data")
@takes_options_as("cfg", "SearchConfig", lambda: [field.name for field in FIELDS])
@plain()
def search_many(
    data: Loader | Callable[[], Loader],
    cfg: SearchConfig | None = None,
    seeds: int | Sequence[int] = 4,
    select: TrainConfig | None = None,
    *,
    random: int = 0,
    network: Mapping[str, Any] | NetworkLike | None = None,
    workers: int | None = None,
    executor: ExecutorLike = "processes",
    cpus: int | None = None,
    gpus: float | None = None,
    loss: Loss | Literal["network"] | None = None,
    metric: Any = None,
    unpack: Unpack | None = None,
) -> SearchTable:
    """Search several times, train every cell briefly, and compare them with random cells.

    This is the paper's protocol (section 3.2): the cells of several searches differ, so each is trained from
    scratch for a short time with the same settings, and the one with the best validation result is selected.
    Random cells with the same training show what the search has gained (section 3.3).

    Args:
        data: the data, as `search` and `train` take them; both use all of it. Or a function without
            arguments that returns them, which is called here and in every worker instead of sending the data.
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
            from the data, `channels` and `layers` (for text: `units`) are taken from `cfg`. Or a network of
            your own, as for `search`: a function or class that makes it, which is called for every row with
            torch's generators seeded by the seed, or a module all of whose layers have `reset_parameters`.
            Rows then have an `architecture` instead of a genotype, random ones come from
            `random_architectures(module, random, cfg.seed)`, and `select` trains as `train` does.
        workers: number of processes; each uses its part of the CPU threads. 0: run everything in this
            process, one after the other. None: one for every two threads, one on a GPU; 0, with a warning, if
            `data` cannot be sent to another process, for example because a notebook defines its classes. If
            `data` uses classes of the main script, call this function under `if __name__ == "__main__":`.
        executor: what runs the searches. "processes": `workers` processes on this machine; if one dies, its
            row is tried again in another, three times in all, and continues from its checkpoint. "ray": the
            Ray cluster that `ray.init` has connected this process to, or one on this machine for this call;
            Ray does the same with lost workers. Or a `concurrent.futures.Executor`, such as those of Dask and
            mpi4py, which decides what happens to the row of a lost worker; `resume=True` tries failed rows
            again. Rows are saved as they finish. On several machines, `checkpoint_dir` must be a folder that
            all of them can read and write.
        cpus: CPU threads per search; Ray reserves as many CPUs. None: each process gets an equal part of the
            threads, a Ray worker one thread, and a worker of another executor keeps its number of threads.
        gpus: GPUs that Ray reserves per search; a fraction such as 0.5 lets several searches share one. None:
            Ray reserves none, and searches on a GPU all use the first one of their machine.
        loss: the loss of the searches and the short trainings, as in `search` and `train`. With processes,
            it must be possible to pickle `loss`, `network`, `metric` and `unpack`. None: cross-entropy.
        metric: for a network of your own, as in `search` and `train`; rows are compared by it.
        unpack: for a network of your own, as in `search` and `train`.

    Returns:
        The table, searched cells first. A failed cell does not stop the others: its row holds the error.
        After Ctrl-C, it has the finished rows; the status of the others is "interrupted" or "waiting".

    Raises:
        ConfigError: an invalid configuration, a loss that cannot be pickled, or an executor that takes no
            jobs; nothing has been searched.
        TypeError: `loss` is not callable, or is a class instead of an instance.
        DataError: invalid data, or a loader that cannot be sent to the processes that `workers` asks for.
        CheckpointError: the folder already holds files and `resume` is not set, or it was written with other
            settings.

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
    where = Where(workers, executor, cpus, gpus)
    where.check()
    config = configuration(cfg, SearchConfig, "cfg", "search_many((X, y), cfg)")
    if network is not None and not isinstance(network, Mapping):
        given = Given.of(data, _known(loss), maker_of(network), metric, unpack)
        return own_many(given, config, seeds, select, random, where)
    _only_own(metric, unpack, loss)
    return cells_many(Given.of(data, _known(loss)), config, seeds, select, random, network, where)


@formerly(loader="data")
@takes_options_as("select", "TrainConfig", lambda: [field.name for field in fields(TrainConfig)])
@plain()
def compare(
    cells: Mapping[str, Genotype | SearchResult | Mapping[str, Any]],
    data: Loader | Callable[[], Loader],
    select: TrainConfig | None = None,
    *,
    random: int = 0,
    seed: int = 0,
    space: str | Space | None = None,
    network: Mapping[str, Any] | NetworkLike | None = None,
    workers: int | None = None,
    executor: ExecutorLike = "processes",
    cpus: int | None = None,
    gpus: float | None = None,
    loss: Loss | Literal["network"] | None = None,
    metric: Any = None,
    unpack: Unpack | None = None,
) -> SearchTable:
    """Train given cells and random cells briefly, all with the same settings.

    Args:
        cells: name -> genotype or result of a search. For a network of your own: name -> architecture, such
            as one of `random_architectures`, or result; all must belong to the same network.
        data: the data, as `train` takes them, or a function that returns them, as in `search_many`.
        select: the short training, as in `search_many`. Its `checkpoint_dir`, `resume` and `progress` apply
            to the whole comparison, like those of `cfg` there.
        random: number of random cells, from `random_genotypes(space, random, seed)`.
        seed: seed of the random cells.
        space: space of the random cells; None: that of the first result, or the published space.
        network: arguments of `build`; sizes of the data that are not given are read from the data, `channels`
            and `layers` (for text: `units`) are those of the first result, or the defaults of `build`. For
            architectures, your own network as in `search_many`; None: that of the first result.
        workers: as in `search_many`.
        executor: as in `search_many`.
        cpus: as in `search_many`.
        gpus: as in `search_many`.
        loss: the loss of the trainings, as in `train`; with processes, it must be possible to pickle it.
        metric: for a network of your own, as in `train`.
        unpack: for a network of your own, as in `train`.

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
    where = Where(workers, executor, cpus, gpus)
    where.check()
    if not isinstance(cells, Mapping) or not cells:
        raise TypeError("cells must be a dictionary from names to genotypes or results")
    for name, cell in cells.items():
        if not isinstance(name, str) or not isinstance(cell, (Genotype, SearchResult, Mapping)):
            raise TypeError(
                f"cells[{shown(name)}] is a {type(cell).__name__}; it must be a Genotype, a SearchResult or "
                "an architecture"
            )
        if not re.fullmatch(r"\w[\w .+-]*", name) or name.casefold() in (MARK, TABLE):
            raise _core.ConfigError(
                f"{shown(name)} must also be a folder name: use letters, digits, spaces, . _ + -, starting "
                f"with a letter or digit, but not {MARK} or {TABLE}"
            )
    kinds_of = {is_own(cell) for cell in cells.values()}
    if len(kinds_of) > 1:
        raise _core.ConfigError("cells are both genotypes and architectures; compare each kind separately")
    if True in kinds_of:
        given = Given.of(data, _known(loss), network, metric, unpack)
        return own_compared(cells, given, select, random, seed, where)
    _only_own(metric, unpack, loss)
    return cells_compared(
        cast("Mapping[str, Genotype | SearchResult]", cells),
        Given.of(data, _known(loss)),
        select,
        random,
        seed,
        space,
        network,
        where,
    )


def _known(loss: Loss | Literal["network"] | None) -> Any:
    if loss == "network":
        return loss
    check_loss(loss)
    return Known.of(loss)


def _only_own(metric: Any, unpack: Any, loss: Any) -> None:
    """Refuse arguments of networks of your own for cells."""
    for name, given in (
        ("metric", metric),
        ("unpack", unpack),
        ('loss="network"', loss == "network" or None),
    ):
        if given is not None:
            raise _core.ConfigError(f"{name} applies to networks of your own only; pass network= too")
