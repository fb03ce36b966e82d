"""`search`: run a search and return its result, complete or partial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import _core
from .._data.draws import SeededLoss, Turn, forget
from .._data.interrupt import InterruptWatch
from .._data.loaders import Loader, Sources, open_sources
from .._data.pairs import open_pairs
from .._results.ending import end
from .._results.environment import environment
from .._results.history import EpochRecord, History, record_from
from .._results.result import SearchResult
from .._results.tables import AlphaTable
from .._values.ambient import plain
from .._values.arguments import configuration, takes_options_as
from .._values.callables import Loss, check_loss, fact_of, name_in, short_name
from .._values.checks import available_device
from .._values.config import SearchConfig
from .._values.fields import FIELDS
from .._values.files import held
from .._values.genotype import Genotype
from .._values.hints import hint
from .._values.words import count as counted
from ..nn._convolutional import reduction_cells
from ..nn._function import FunctionNetwork
from .callbacks import Callback, listeners
from .network import BoundNetwork, check_function, tables_of_function
from .observers import Observers
from .progress import Progress


@takes_options_as("cfg", "SearchConfig", lambda: [field.name for field in FIELDS])
def search(
    loader: Loader,
    cfg: SearchConfig | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    loss: Loss | None = None,
    network: FunctionNetwork | None = None,
) -> SearchResult:
    """Search for a cell: train α on the validation loss while the weights are trained on the training loss.

    This is algorithm 1 of the paper. Every step uses a validation batch for α, then a training batch for the
    weights.

    Args:
        loader: the data. One of

            - `(X, y)`: images [N, C, H, W], or sequences [N, C, L] for a space such as "darts-1d", and
              integer labels [N], as numpy arrays or tensors; uint8 images are scaled to [0, 1] and
              normalised by `mean` and `std` (computed if not given), floating-point images are used as they
              are; split by `train_portion` into batches of `batch_size`;
            - a map-style `DataLoader` with sequential or shuffled order: its examples are split by
              `train_portion`;
            - a pair `(train, valid)`, each `(X, y)`, a `DataLoader`, or any re-iterable of batches `(x, y)`.

            A recurrent space requires `(train_tokens, valid_tokens)`, integers [N] as `datasets.corpus`
            returns them. Otherwise a 2-tuple of arrays is `(X, y)`; any other 2-tuple is a pair. Sizes that
            `cfg` leaves open are read from the data; if only the labels determine the number of classes, this
            takes one pass over the loader. A thread prefetches the batches of a loader. What a loader draws
            is a function of (seed, pass, batch); one that draws in this process is not prefetched.
        cfg: the configuration of the search; None: the published one.
        callbacks: one or several; called at the start, after every step and epoch, and at the end.
        loss: (logits [N, classes], labels [N]) -> scalar tensor; None: cross-entropy. What it draws is a
            function of (seed, step, call).
        network: a network of one's own instead of the search network of `cfg.space`; see
            `nn.FunctionNetwork`. `loader` then yields pairs (x, y) of tensors of any dtype and shape, whose
            first dimension counts the examples. Options of spaces and images do not apply: space, channels,
            layers, mean and the like.

    Returns:
        The result; after Ctrl-C or SIGTERM, the result of the steps done so far, with status "interrupted".
        While the classes of a loader are counted, they raise KeyboardInterrupt.

    Raises:
        ConfigError, SpaceError: an invalid configuration; or a call inside `torch.inference_mode()` or a
            transform of `torch.func`. Other settings of torch have no effect on a search.
        DataError: invalid data; the message says what to do.
        DeviceError: CUDA was requested but is not available.
        TypeError: `loss` is not callable, or a class instead of an instance; `network` is something else.
        CheckpointError: a checkpoint is broken or belongs to another search; or its data or loss differ and
            `resume` is not "force".
        NumericalError: a loss became NaN or infinite.
        OutOfMemoryError: the message holds the estimate of the plan and a batch size that may fit.

    An exception in the loader, a callback, `loss` or `network` is raised unchanged. Every exception that
    stops a running search has the partial result as its attribute `result`, with status "failed".

    >>> import numpy as np, pydarts
    >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    >>> result = pydarts.search((X, y), cfg)
    >>> result.status, result.alphas["normal"].shape
    ('complete', (2, 14, 8))
    """
    config = configuration(cfg, SearchConfig, "cfg", "search((X, y), cfg)")
    hooks = listeners(callbacks, Callback)
    check_loss(loss)
    if network is not None:
        check_function(network, config, loss)
    available_device(config.device)  # before the data are read and a folder is created
    with plain():
        return _searched(loader, config, hooks, loss, network)


def _searched(
    loader: Loader,
    config: SearchConfig,
    hooks: Sequence[Callback],
    loss: Loss | None,
    network: FunctionNetwork | None,
) -> SearchResult:
    watch, gate = InterruptWatch(), Turn()
    forget()
    progress: Progress | None = None
    sources: Sources | None = None
    tables = {} if network is None else tables_of_function(network)
    try:
        with watch:
            read = open_sources if network is None else open_pairs
            sources = read(loader, config, watch.check)
            sources.pause_with(gate)
            facts = sources.facts | ({"loss": fact_of(loss)} if network is None else network.facts)
            check_start(sources.config)
            if network is None:
                check_plan(sources.config)
            shown = any(callback.shows_progress for callback in hooks)
            if config.progress and not shown:
                progress = Progress(sources.config, tables)
            with held(sources.config.checkpoint_dir):
                outcome = _core.search(
                    sources.config,
                    sources.train,
                    sources.valid,
                    sources.evaluation,
                    Observers(hooks, progress, watch, sources.config, gate, tables),
                    None if loss is None else SeededLoss(loss, config.seed, watch.check),
                    facts,
                    None if network is None else BoundNetwork(network, config.seed, watch.check),
                )
    finally:
        forget()
        if progress is not None:
            progress.close()
        if sources is not None:
            sources.close()
    if watch.seen and outcome["status"] != "complete":  # the interrupt caused it, whatever the status says
        outcome["status"], outcome["error"] = "interrupted", None
    # A search that does no step has the results, the data and the loss of its checkpoint.
    outcome["fingerprint"] = outcome["fingerprint"] or facts  # checkpoints of earlier versions have none
    same = outcome["fingerprint"] == facts
    function = loss if network is None else network.loss
    name = None if function is None else short_name(function)
    if not same:
        name = name_in(outcome["fingerprint"]["loss"])
    result = _result(outcome, name, sources.class_counts if same else None, tables)
    error = outcome["error"]
    if result.status == "interrupted" or isinstance(error, KeyboardInterrupt):
        error = None
    return end(result, error, hooks, "search")


def check_start(config: SearchConfig) -> None:
    """Warn if the search trains no α."""
    if config.arch_start_epoch >= config.epochs:
        hint(
            f"arch_start_epoch is {config.arch_start_epoch} and epochs is {config.epochs}, so α is never "
            "trained and the genotype is that of the random initial α; reduce arch_start_epoch"
        )


def check_plan(config: SearchConfig) -> None:
    """Warn if the network is too shallow to contain one kind of cell."""
    space, layers = config.resolved_space, config.layers
    if space.kind == "recurrent":
        return
    # The engine refuses positions that the network does not have.
    reduced = set(reduction_cells(layers) if space.reductions is None else space.reductions) & {
        *range(layers)
    }
    for name, count in (("normal", layers - len(reduced)), ("reduce", len(reduced))):
        # `Space(reductions=[])` says itself that there are no reduction cells, as for 1-D signals.
        if not count and not (name == "reduce" and space.reductions is not None):
            hint(
                f"a network of {counted(layers, 'cell')} contains no {name} cell: its α is not trained, "
                "and the cell derived from it is meaningless; use more layers"
            )


def _result(
    outcome: dict[str, Any],
    loss: str | None,
    class_counts: tuple[int, ...] | None,
    tables: Mapping[str, AlphaTable],
) -> SearchResult:
    genotype: Any = None if outcome["genotype"] is None else Genotype._of(outcome["genotype"])
    return SearchResult(
        genotype=genotype,
        alphas={name: np.asarray(values) for name, values in outcome["alphas"].items()},
        steps=tuple(outcome["steps"]),
        epochs=tuple(outcome["epochs"]),
        architecture=outcome["architecture"],
        decisions=outcome["decisions"],
        history=History([record_from(record, EpochRecord) for record in outcome["history"]]),
        config=SearchConfig._of(outcome["config"]),
        status=outcome["status"],
        state_dict=outcome["state_dict"],
        threads=outcome["threads"],
        environment=environment(outcome["device"], precision=outcome["precision"]),
        loss=loss,
        fingerprint=outcome["fingerprint"],
        class_counts=class_counts,
        tables=tables,
    )
