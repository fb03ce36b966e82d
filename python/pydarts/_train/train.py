"""`train`: train a network and return its result, complete or partial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from .. import _core
from .._data.draws import forget
from .._data.interrupt import InterruptWatch
from .._data.pairs import Unpack
from .._results.ending import end
from .._results.environment import environment
from .._results.result import SearchResult, Status
from .._search.callbacks import listeners
from .._search.metrics import MetricFunction
from .._search.ranks import Ranks, check_alike, checked_facts, own_device, together, whole_parts
from .._values.ambient import plain
from .._values.arguments import configuration, formerly, takes_options_as
from .._values.callables import check_loss
from .._values.files import held
from .._values.genotype import Genotype
from ..nn import LanguageModel
from ..nn._images import ImageNetwork, know_normalization
from ..nn._module import check_module
from .callbacks import TrainCallback
from .config import TrainConfig
from .images import ImageTask
from .loop import Loop
from .module import AnyLoss, ModuleTask
from .progress import TrainProgress
from .result import Functions, TrainResult
from .settings import ImageSettings
from .task import Task
from .text import TextTask


@formerly(loader="data")
@takes_options_as("cfg", "TrainConfig", lambda: [field.name for field in fields(TrainConfig)])
def train(
    network: nn.Module | Genotype | SearchResult,
    data: Any,
    cfg: TrainConfig | None = None,
    callbacks: TrainCallback | Sequence[TrainCallback] = (),
    loss: AnyLoss | None = None,
    metric: MetricFunction | None = None,
    unpack: Unpack | None = None,
) -> TrainResult:
    """Train a network as the paper does: of images (A.2.1, A.2.3), or a language model (A.2.2).

    Any other `torch.nn.Module` without choices is trained like a network of images, on any data and with any
    loss: see `unpack`, `loss` and `metric`.

    Args:
        network: a network that `build` returned, or any other module; it is trained in place. Or a genotype,
            or the result of a search: its network is built for the channels and classes of the images or for
            the words of the texts, and otherwise with the defaults of `build` (so without the auxiliary head
            and drop path of the published training); initial weights are drawn from `cfg.seed`.
        data: the data. For images, the same as for `search`: `(X, y)`, a `DataLoader`, or a pair
            `(train, valid)` of either or of any re-iterables of batches `(x, y)`. A single source is split at
            random: the fraction `train_portion` is for training, the rest for validation. Validation arrays
            are not augmented; a split `DataLoader` applies its own transforms to both parts. `search` splits
            by the same permutation: with the same seed, this validation part is within the half that a search
            used for α. To evaluate a cell on data that its search has not used, pass a separate part. With
            arrays, each training epoch leaves out a partial last batch. For a language model,
            `(train_tokens, valid_tokens)`, integers [N] as `datasets.corpus` returns them. For a module that
            `build` did not make, the same as for `search(network=)`: arrays of any shape and dtype, `(X, y)`,
            `(dictionary of arrays, y)` or a dictionary of arrays, a `DataLoader`, or a pair `(train, valid)`
            of two of these or of two re-iterables of batches. Floating-point tensors are converted to the
            dtype of the weights.
        cfg: the configuration of the training; None: the published one.
        callbacks: one or several callbacks, called after every step and epoch, and at the end.
        loss: a function (logits [N, classes], targets [N, ...]) -> scalar tensor, the mean over the batch,
            such as a focal loss, a loss with class weights or one for regression. Targets that are not whole
            numbers [N] may have any shape and dtype. It replaces cross-entropy in the steps, also for the
            auxiliary head, and in the evaluation. For a language model, N counts the words of all sequences,
            and the perplexity is the exponential of this loss. For a module that `build` did not make: a
            function (output, targets) -> mean, or "network" if the module returns its loss. None:
            cross-entropy, with `cfg.label_smoothing`.
        metric: a function (output, targets) -> mean over the batch, or an object with the methods
            `update(output, targets)`, `compute()` and `reset()`. It is evaluated on the validation part after
            every epoch (`TrainRecord.metrics`), and does not apply to a language model. `TrainResult.best`
            and `keep="best"` use its best value in the sense of `cfg.metric_mode`. Accuracies are recorded
            for labels, or if the loss is a cross-entropy; for a module that `build` did not make, only if the
            loss is a cross-entropy.
        unpack: a function from a batch of images to (images, targets); for a module that `build` did not
            make, from a batch to (inputs, targets). None: a batch is such a pair, or a dictionary, which is
            passed as inputs and as targets. Inputs that are a tuple are passed as positional arguments, and a
            dictionary as keyword arguments, if the signature of `forward` accepts them; otherwise as one
            argument.

    In an initialised process group of `torch.distributed` with several ranks, all ranks call this together
    and share every batch, as in `search`.

    Returns:
        The result, whose network is in evaluation mode. During the training, submodules that were in
        evaluation mode at its start stay in it (frozen batch norm), unless the whole module was; weights that
        require no gradient are not trained. Checkpoints do not contain state of a module other than its
        parameters and buffers.

        After Ctrl-C or SIGTERM the status is "interrupted", and `history` has the completed epochs. With
        `keep="last"` the network has its current weights, including the steps of the incomplete epoch; with
        `"best"`, those of the best completed epoch (the current ones if there is none).

    Raises:
        TypeError: `network` is not a module, a genotype or a result, or `torch.compile` has wrapped it; or
            `loss`, `metric` or `unpack` is not callable, or is a class instead of an instance.
        ConfigError: an invalid configuration, a setting that does not apply to this kind of network, both
            `loss` and `label_smoothing`, a network without weights that require a gradient or with choices
            that are not decided, `metric` or `unpack` with a language model, or a call inside
            `torch.inference_mode()` or a transform of `torch.func`.
        DataError: invalid data; the message says what to do.
        DeviceError: CUDA was requested but is not available.
        CheckpointError: a checkpoint is broken or belongs to another training; or its data or loss differ and
            `resume` is not "force"; or, without `resume`, the folder already holds checkpoints.
        RankError: another rank failed or died; the message names it.
        NumericalError: a loss became NaN or infinite, in training or in the evaluation. Losses are checked
            after every step, on a GPU after every 20; the network then has the weights after the last good
            epoch, or the initial ones.

    An exception in the loader or a callback is raised unchanged. Every exception that stops a running
    training has the partial result as its attribute `result`, with status "failed".

    >>> import pydarts
    >>> X, y = torch.zeros(40, 1, 8, 8), torch.arange(40) % 2
    >>> net = pydarts.build(pydarts.genotypes.DARTS_V2, channels=2, layers=3, num_classes=2, in_channels=1)
    >>> cfg = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    >>> result = pydarts.train(net, (X, y), cfg)
    >>> result.status, len(result.history), result.network is net
    ('complete', 1, True)
    >>> text = torch.arange(600) % 7
    >>> net = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=7, units=8)
    >>> cfg = pydarts.TrainConfig(epochs=2, batch_size=4, bptt=14, progress=False)
    >>> result = pydarts.train(net, (text, text[:200]), cfg)
    >>> result.status, len(result.history), result.network is net
    ('complete', 2, True)
    >>> X = torch.linspace(-1, 1, 60)[:, None]
    >>> net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> cfg = pydarts.TrainConfig(epochs=2, batch_size=8, metric_mode="min", progress=False)
    >>> mse, error = nn.functional.mse_loss, nn.functional.l1_loss
    >>> result = pydarts.train(net, (X, X**2), cfg, loss=mse, metric=error)
    >>> result.status, list(result.history[-1].metrics), result.history[-1].valid_accuracy
    ('complete', ['l1_loss'], None)
    """
    config = configuration(cfg, TrainConfig, "cfg", "train(network, (X, y), cfg)")
    hooks = listeners(callbacks, TrainCallback)
    if loss != "network":
        check_loss(loss)
    with plain():
        return _trained(network, data, config, hooks, loss, metric, unpack)


def _trained(
    network: nn.Module | Genotype | SearchResult,
    data: Any,
    config: TrainConfig,
    hooks: Sequence[TrainCallback],
    loss: AnyLoss | None,
    metric: MetricFunction | None,
    unpack: Unpack | None,
) -> TrainResult:
    device = config.resolved_device
    if device.type == "cuda" and device.index is None:
        device = torch.device(own_device("cuda", gpu=True))
    watch = InterruptWatch()
    forget()
    status: Status = "complete"
    error: BaseException | None = None
    progress: TrainProgress | None = None
    task: Task | None = None
    loop: Loop | None = None
    try:
        with (
            watch,
            together(str(device), watch.check) as ranks,
            held(None if ranks is not None and ranks.rank else config.checkpoint_dir),
        ):
            first = ranks is None or ranks.rank == 0
            if ranks is not None:
                check_alike(config.to_dict(), ranks)
                hooks = hooks if first else ()  # rank 0 alone calls, draws and writes
            task = open_task(network, data, config, device, watch.check, loss, metric, unpack)
            config = config.replace(**task.settings.values())
            if ranks is not None:
                task.facts = checked_facts(task.facts, ranks)
                _check_steps(task, ranks)
            loop = Loop(task, config, writes=first)
            words = isinstance(task.network, LanguageModel)
            progress = TrainProgress(task.settings.epochs, words=words) if config.progress and first else None
            loop.run(hooks, progress, watch)
    except KeyboardInterrupt:
        if loop is None:
            raise
        status = "interrupted"
    except BaseException as stopped:
        if loop is None:
            raise
        # After Ctrl-C, any exception is a consequence of it.
        status, error = ("interrupted", None) if watch.seen else ("failed", stopped)
    finally:
        forget()
        if progress is not None:
            progress.close()
        if task is not None:
            task.close()
    assert task is not None and loop is not None
    trained = task.network
    task.weights.keep(loop.weights())
    where = environment(str(device))
    config = config.replace(**loop.statistics)
    know_normalization(trained, config.mean, config.std)
    functions = Functions(loss, metric, unpack)
    result = TrainResult(trained.eval(), loop.history, config, status, where, loop.facts, functions)
    return end(result, error, hooks, "training")


def _check_steps(task: Task, ranks: Ranks) -> None:
    """Check that every rank does as many steps, and has an example of each batch.

    Raises:
        ConfigError: a batch has fewer examples than there are ranks.
        DataError: ranks have other numbers of batches, or it is unknown how many.
    """
    if whole_parts(task.facts):
        ranks.share.check_batch(task.settings.values()["batch_size"])
    counts = ranks.exchange(task.step_count(0))
    if None in counts or len({*counts}) > 1:
        found = ", ".join(
            f"{'unknown' if count is None else count} on rank {r}" for r, count in enumerate(counts)
        )
        raise _core.DataError(
            f"the number of training batches is {found}; give all ranks the same number, from loaders with a "
            "length"
        )


def open_task(
    network: nn.Module | Genotype | SearchResult,
    data: Any,
    config: TrainConfig,
    device: torch.device,
    poll: Callable[[], None],
    loss: AnyLoss | None = None,
    metric: MetricFunction | None = None,
    unpack: Unpack | None = None,
    trains: bool = True,
) -> Task:
    """Create the task for the kind of network; unless it `trains`, only to evaluate."""
    if isinstance(network, SearchResult):
        if not hasattr(network, "genotype"):
            raise TypeError(
                "the search had a network of your own, which has no genotype to train; pass the network: "
                "train(result.fixed_network(), ...)"
            )
        space = network.config.resolved_space
        unclear = space.causal or (space.dimensions == 1 and network.genotype.dimensions is None)
        unclear = unclear or space.stages not in (None, 3) or space.stem == "strided"  # not those of `build`
        if space.reductions is not None or unclear:
            own = "a space that its genotype does not determine" if unclear else "its own `reductions`"
            raise _core.ConfigError(
                f"the search has {own}; build its network first: train(build(result), ...)"
            )
        network = network.genotype
    if loss is not None and config.label_smoothing:
        raise _core.ConfigError(
            f"label_smoothing is {config.label_smoothing}, but `loss` is given, to which it does not apply; "
            "leave one of them out, or smooth in the loss: nn.CrossEntropyLoss(label_smoothing=...)"
        )
    if not isinstance(network, Genotype):
        check_module(network, "train", "a Genotype")
        if trains and not any(weight.requires_grad for weight in network.parameters()):
            raise _core.ConfigError(
                "no weight of the network requires a gradient, so it cannot be trained; call "
                "network.requires_grad_(True)"
            )
    if not isinstance(network, (Genotype, ImageNetwork, LanguageModel)):
        return ModuleTask.open(network, data, config, device, poll, loss, metric, unpack)
    if loss == "network":
        raise _core.ConfigError(
            'loss="network" does not apply to a network of pydarts.build or a genotype, which returns '
            "logits; leave it out, or pass a function (logits, targets) -> mean"
        )
    if isinstance(network, LanguageModel) or (isinstance(network, Genotype) and network.kind == "recurrent"):
        for name, value in (("metric", metric), ("unpack", unpack)):
            if value is not None:
                raise _core.ConfigError(f"{name} does not apply to texts; leave it out")
        return TextTask.open(network, data, config, device, loss, poll)
    # The published weight is not an explicit choice: it is in every configuration that was filled in.
    wished = config.auxiliary_weight not in (None, 0, ImageSettings.auxiliary_weight)
    if wished and getattr(network, "auxiliary", None) is None:
        raise _core.ConfigError(
            f"auxiliary_weight is {config.auxiliary_weight}, but the network has no auxiliary head: use "
            "build(genotype, auxiliary=True, ...), or leave auxiliary_weight out"
        )
    return ImageTask.open(network, data, config, device, poll, loss, metric, unpack, trains)
