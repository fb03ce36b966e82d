"""`search`: run a search and return its result, complete or partial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from torch import nn

from .. import _core
from .._core import ConfigError
from .._data.draws import SeededLoss, Turn, forget
from .._data.interrupt import InterruptWatch
from .._data.loaders import Loader, Sources, on_gpu, open_sources
from .._data.pairs import Unpack, open_pairs
from .._data.unpacking import Contents, Unpacking
from .._results.decisions import architecture_in
from .._results.ending import end
from .._results.environment import environment
from .._results.history import EpochRecord, History, record_from
from .._results.result import SearchResult
from .._results.tables import AlphaTable
from .._values.ambient import plain
from .._values.arguments import configuration, formerly, takes_options_as
from .._values.callables import Loss, check_loss, fact_of, name_in, short_name
from .._values.checks import available_device
from .._values.config import SearchConfig
from .._values.fields import FIELDS
from .._values.files import held
from .._values.genotype import Genotype
from .._values.hints import hint
from .._values.words import count as counted
from ..nn._choice_costs import choice_costs
from ..nn._convolutional import reduction_cells
from ..nn._costs import latency_facts, target_costs
from .callbacks import Callback, listeners
from .metrics import Metric, MetricFunction, check_metric, counter_of, fact_of_metric
from .network import OwnNetwork, check_options, dtype_of
from .observers import Observers
from .operations import bound_operations
from .own import NetworkLike, own_network
from .progress import Progress
from .ranks import check_alike, checked_facts, of_rank, own_device, together


@formerly(loader="data")
@takes_options_as("cfg", "SearchConfig", lambda: [field.name for field in FIELDS])
def search(
    data: Loader,
    cfg: SearchConfig | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    loss: Loss | Literal["network"] | None = None,
    network: NetworkLike | None = None,
    metric: MetricFunction | None = None,
    unpack: Unpack | None = None,
) -> SearchResult:
    """Search for a cell: train α on the validation loss while the weights are trained on the training loss.

    This is algorithm 1 of the paper. Every step uses a validation batch for α, then a training batch for the
    weights.

    Args:
        data: the data. One of

            - `(X, y)`, numpy arrays or tensors. X holds images [N, C, H, W], or sequences [N, C, L] for a
              space such as "darts-1d"; y holds integer labels [N], class probabilities [N, classes], or with
              `loss` targets [N, ...] of any dtype. uint8 images are scaled to [0, 1] and normalised by `mean`
              and `std` (computed if not given); floating-point images are used as they are. The examples
              are split by `train_portion` and read in batches of `batch_size`;
            - a map-style `DataLoader` with sequential or shuffled order: its examples are split by
              `train_portion`;
            - a pair `(train, valid)`, each `(X, y)`, a `DataLoader`, or any re-iterable of batches `(x, y)`.

            A recurrent space requires `(train_tokens, valid_tokens)`, integers [N] as `datasets.corpus`
            returns them. Otherwise a 2-tuple of arrays is `(X, y)`; any other 2-tuple is a pair. Sizes that
            `cfg` leaves open are read from the data. If only the labels determine the number of classes, this
            takes one pass over the loader. A thread prefetches the batches of a loader. Random numbers of a
            loader depend only on (seed, pass, batch); a loader that draws them in this process is not
            prefetched.
        cfg: the configuration of the search; None: the published one.
        callbacks: one or several callbacks, called at the start, after every step and epoch, and at the end.
        loss: a function (logits [N, classes], targets [N, ...]) -> scalar tensor, the mean over the examples;
            with `network`, a function (output, targets). "network": the module returns its loss. None:
            cross-entropy. Its random numbers depend only on (seed, step, call). Whole numbers [N] are labels;
            other targets require `cfg.num_classes`, the number of outputs.
        network: a network of your own instead of the search network of `cfg.space`: a module with
            `nn.Choice` and `nn.InputChoice`, a function or class that makes one, or an `nn.FunctionNetwork`.
            The search works on a deep copy, whose parameters hold the initial weights. The weights w are all
            parameters that require a gradient, except the logits α. Buffers change in the weight step only.
            Modules in evaluation mode stay in it. Options of spaces and images, such as space, channels,
            layers and mean, do not apply.
        metric: a measurement of the evaluations in addition to loss and accuracy: a function (output,
            targets) -> number, the mean over a batch, or an object with update(output, targets), compute()
            and reset(), such as a metric of torchmetrics. It does not apply to texts. `EpochRecord.metrics`
            holds the value under the name of the function or class, or all values of a dictionary.
            `result.best` is the record of the epoch with the largest value, or with the smallest if
            `metric_mode` is "min"; for a dictionary, its first value counts. Accuracy is measured for labels
            and, if the loss is a cross-entropy, for probabilities; with `network`, only if the loss is a
            cross-entropy of classes on dimension 1.
        unpack: a function from a batch of a loader of images or sequences to (images, targets). With
            `network`, it returns (inputs, targets), tensors in any structure of tuples, lists, dictionaries
            and dataclasses. None: a batch is a pair; with `network` it may be a dictionary, which is passed
            as inputs and as targets. With `network`, arrays may be dictionaries too:
            `({"a": A, "b": B}, y)`, where y has any shape and dtype. Inputs that are a tuple are passed to
            the module as positional arguments, and a dictionary as keyword arguments, if its `forward`
            accepts them; otherwise as one argument. The first dimension of the first tensor counts the
            examples.

    In an initialised process group of `torch.distributed` with several ranks, all ranks call this together
    and share every batch; `batch_size` counts the examples of all ranks. Rank 0 alone calls the callbacks,
    shows progress and writes checkpoints.

    Returns:
        The result, the same on all ranks. After Ctrl-C or SIGTERM, it has the status "interrupted" and holds
        the steps done so far. Before the first step, while the classes of a loader are counted, these signals
        raise KeyboardInterrupt.

    Raises:
        ConfigError, SpaceError: an invalid configuration; or a call inside `torch.inference_mode()` or a
            transform of `torch.func`. Other settings of torch have no effect on a search.
        DataError: invalid data; the message says what to do.
        DeviceError: CUDA was requested but is not available.
        TypeError: `loss` or `metric` is not callable, or is a class instead of an instance; or `network` is
            none of the above.
        CheckpointError: a checkpoint is broken or belongs to another search; or its data or loss differ and
            `resume` is not "force".
        NumericalError: a loss became NaN or infinite.
        RankError: another rank failed or died; the message names it.
        OutOfMemoryError: the message gives the estimated memory and a batch size that may fit.

    An exception in the loader, a callback, `loss`, `metric` or `network` is raised unchanged. Every exception
    that stops a running search has the partial result as its attribute `result`, with status "failed".

    >>> import numpy as np, pydarts
    >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    >>> result = pydarts.search((X, y), cfg)
    >>> result.status, result.alphas["normal"].shape
    ('complete', (2, 14, 8))
    """
    config = configuration(cfg, SearchConfig, "cfg", "search((X, y), cfg)")
    hooks = listeners(callbacks, Callback)
    available_device(config.device)  # before the data are read and a folder is created
    if network is None:
        check_loss(loss)
        check_metric(metric, config.metric_mode)
        if config.sync_batch_norm:
            raise ConfigError("sync_batch_norm is True; it applies to networks of your own: leave it out")
        for name, value in (("metric", metric), ("unpack", unpack)):
            if value is not None and config.resolved_space.kind == "recurrent":
                raise ConfigError(f"{name} does not apply to texts; leave it out")
        with plain():
            return _searched(data, config, hooks, cast("Loss | None", loss), None, metric, unpack)
    check_options(config)
    check_metric(metric, config.metric_mode)
    with plain():
        own = own_network(network, loss, metric, unpack, config)
        return _searched(data, config, hooks, None, own, metric, unpack)


def _searched(
    data: Loader,
    config: SearchConfig,
    hooks: Sequence[Callback],
    loss: Loss | None,
    own: OwnNetwork | None,
    metric: MetricFunction | None,
    unpack: Unpack | None,
) -> SearchResult:
    watch, gate = InterruptWatch(), Turn()
    forget()
    progress: Progress | None = None
    sources: Sources | None = None
    tables = {} if own is None else own.tables
    try:
        with watch, together(own_device(config.device, on_gpu(config)), watch.check) as ranks:
            if ranks is not None:
                config = of_rank(config, ranks)
                hooks = () if ranks.rank else hooks  # rank 0 alone calls, draws and writes
            if own is None:
                contents = Contents(loss is not None, None if unpack is None else Unpacking(unpack))
                sources = open_sources(data, config, watch.check, contents)
            else:
                sources = open_pairs(data, config, watch.check, unpack)
            sources.pause_with(gate)
            facts = sources.facts | dict(_facts(loss, metric, unpack) if own is None else own.facts)
            check_start(sources.config)
            if own is None:
                check_plan(sources.config)
                operations = bound_operations(sources.config.resolved_space, config.seed, watch.check)
                facts |= {} if operations is None else operations.facts(sources.config.channels)
                costs = target_costs(sources.config)
            else:
                operations, costs = None, choice_costs(sources.config, own.module, sources.first)
            facts |= latency_facts(costs)
            if ranks is not None:
                check_alike(json.loads(sources.config.to_json()), ranks)
                facts = checked_facts(facts, ranks)
            shown = any(callback.shows_progress for callback in hooks)
            if config.progress and not shown:
                progress = Progress(sources.config, tables)
            bound = None if own is None else own.bound(dtype_of(config.precision), watch.check)
            with held(None if ranks is not None and ranks.rank else sources.config.checkpoint_dir):
                outcome = _core.search(
                    sources.config,
                    sources.train,
                    sources.valid,
                    sources.evaluation,
                    Observers(hooks, progress, watch, sources.config, gate, tables),
                    None
                    if loss is None
                    else (SeededLoss(loss, config.seed, watch.check), counter_of(loss) is not None),
                    facts,
                    bound,
                    operations,
                    None if own is not None or metric is None else Metric(metric, config.seed, watch.check),
                    costs,
                    ranks,
                )
    finally:
        forget()
        if progress is not None:
            progress.close()
        if sources is not None:
            sources.close()
    if watch.seen and outcome["status"] != "complete":  # the interrupt caused it, whatever the status says
        outcome["status"], outcome["error"] = "interrupted", None
    outcome["rank"] = {} if ranks is None else ranks.facts(outcome["computed"])
    # A search that does no step has the results, the data and the loss of its checkpoint.
    outcome["fingerprint"] = outcome["fingerprint"] or facts  # checkpoints of earlier versions have none
    same = outcome["fingerprint"] == facts
    name = own.loss if own is not None else None if loss is None else short_name(loss)
    if not same:
        name = name_in(outcome["fingerprint"]["loss"])
    module = own.module if own is not None and same else None
    result = _result(outcome, name, sources.class_counts if same else None, tables, module)
    error = outcome["error"]
    if result.status == "interrupted" or isinstance(error, KeyboardInterrupt):
        error = None
    return end(result, error, hooks, "search")


def _facts(loss: Loss | None, metric: MetricFunction | None, unpack: Unpack | None) -> dict[str, str]:
    """Return the facts about the functions of the user in a search of a space."""
    facts = {"loss": fact_of(loss)}
    facts |= {} if metric is None else {"metric": fact_of_metric(metric)}
    return facts | ({} if unpack is None else {"unpack": fact_of(unpack)})


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
    if space.kind == "recurrent" or space.stages is not None:
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
    module: nn.Module | None,
) -> SearchResult:
    genotype: Any = None if outcome["genotype"] is None else Genotype._of(outcome["genotype"])
    return SearchResult(
        genotype=genotype,
        alphas={name: np.asarray(values) for name, values in outcome["alphas"].items()},
        steps=tuple(outcome["steps"]),
        epochs=tuple(outcome["epochs"]),
        architecture=architecture_in(outcome["architecture"], tables),
        decisions=outcome["decisions"],
        history=History([record_from(record, EpochRecord) for record in outcome["history"]]),
        config=SearchConfig._of(outcome["config"]),
        status=outcome["status"],
        state_dict=outcome["state_dict"],
        threads=outcome["threads"],
        environment=environment(outcome["device"], precision=outcome["precision"], **outcome["rank"]),
        loss=loss,
        fingerprint=outcome["fingerprint"],
        class_counts=class_counts,
        tables=tables,
        module=module,
    )
