"""`train`: train the network that a genotype stands for, and bring home whatever comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from .. import _core
from .._data.interrupt import InterruptWatch
from .._data.loaders import Loader
from .._results.ending import end
from .._results.environment import environment
from .._results.result import Status
from .._search.callbacks import listeners
from .._values.files import held
from .._values.genotype import Genotype
from ..nn import LanguageModel, Network
from ..nn._examples import check_network
from .callbacks import TrainCallback
from .config import TrainConfig
from .images import ImageTask
from .loop import Loop
from .progress import TrainProgress
from .result import TrainResult
from .settings import ImageSettings
from .task import Task, own_random_numbers
from .text import TextTask


def train(
    network: Network | Genotype,
    loader: Loader,
    cfg: TrainConfig | None = None,
    callbacks: TrainCallback | Sequence[TrainCallback] = (),
) -> TrainResult:
    """Train a network as the paper does: of images (A.2.1, A.2.3), or a language model (A.2.2).

    Args:
        network: what `build` gives, trained in place; or a genotype: it is built for the channels and classes
            of the images, or with the words of the texts, otherwise with the defaults of `build` (so without
            auxiliary head and drop path, which the published training has), and initial weights drawn from
            `cfg.seed`.
        loader: the data. For images what `search` takes: `(X, y)`, a `DataLoader`, or a pair `(train, valid)`
            of either or of any re-iterables of batches `(x, y)`. One source is split: a part drawn from
            `cfg.seed`, `train_portion` of it, trains, and the rest is the validation part; that of arrays is
            not augmented, a split `DataLoader` applies its own transforms to both. `search` splits by the
            same permutation: with the same seed this validation part lies in the half that a search has
            taken for α, and to measure a cell on what its search has not seen takes a part of its own. Of
            arrays a partial last batch is left out of each training epoch. For a language model
            `(train_tokens, valid_tokens)`, whole numbers [N] as `datasets.corpus` gives them.
        cfg: the choices of the training; None: the published ones.
        callbacks: told of every step, every epoch and the end.

    Returns:
        The result, its network in evaluation mode. After Ctrl-C the status is "interrupted", and `history`
        has the epochs that were completed. With `keep="last"` the weights are those of the moment: the steps
        of the epoch that was not completed are in them; with `"best"`, those of the best completed epoch (of
        the moment while there is none).

    Raises:
        TypeError: neither a network of `build` nor a genotype; a network that `torch.compile` has wrapped.
        ConfigError: choices that cannot be, or that are not for this kind of network.
        DataError: what is wrong with the data, and what to do about it.
        DeviceError: CUDA asked for where there is none.
        CheckpointError: a checkpoint that is broken, or of another training; without `resume`, a folder that
            holds some already.
        NumericalError: a loss became NaN or infinite, in training or in the evaluation. It is looked at after
            every step, on a GPU after every 20; the network then has the weights of the last epoch before,
            in the first epoch the initial ones.

    An exception of the loader or a callback comes out as it is. Whatever stops a training that has begun
    carries what was reached as its attribute `result`, with status "failed".

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
    """
    config = TrainConfig() if cfg is None else cfg
    if not isinstance(config, TrainConfig):
        raise _core.ConfigError(f"cfg must be a TrainConfig, got a {type(cfg).__name__}")
    told = listeners(callbacks, TrainCallback)
    device = config.resolved_device
    watch = InterruptWatch()
    with own_random_numbers(device), held(config.checkpoint_dir):
        task = open_task(network, loader, config, device, watch.check)
        config = config.replace(**asdict(task.settings))  # type: ignore[call-overload]
        loop = Loop(task, config)
        words = isinstance(task.network, LanguageModel)
        progress = TrainProgress(task.settings.epochs, words=words) if config.progress else None
        status: Status = "complete"
        error: BaseException | None = None
        try:
            with watch:
                loop.run(told, progress, watch)
        except KeyboardInterrupt:
            status = "interrupted"
        except BaseException as stopped:
            # After Ctrl-C, whatever it was came of that.
            status, error = ("interrupted", None) if watch.seen else ("failed", stopped)
        finally:
            if progress is not None:
                progress.close()
            task.close()
    trained = task.network
    trained.load_state_dict(loop.weights())
    where = environment(str(device))
    result = TrainResult(trained.eval(), loop.history, config, status, where)
    return end(result, error, told, "training")


def open_task(
    network: Network | Genotype,
    loader: Any,
    config: TrainConfig,
    device: torch.device,
    poll: Callable[[], None],
) -> Task:
    """What is to be trained, by the kind of the network."""
    if not isinstance(network, Genotype):
        check_network(network, "train", "a Genotype")
    if isinstance(network, LanguageModel) or (isinstance(network, Genotype) and network.recurrent):
        return TextTask.open(network, loader, config, device)
    # The published weight is no wish: it stands in every configuration that was filled in.
    wished = config.auxiliary_weight not in (None, 0, ImageSettings.auxiliary_weight)
    if wished and getattr(network, "auxiliary", None) is None:
        raise _core.ConfigError(
            f"auxiliary_weight is {config.auxiliary_weight}, but the network has no auxiliary head: give "
            "build(genotype, auxiliary=True, ...), or leave it out"
        )
    return ImageTask.open(network, loader, config, device, poll)
