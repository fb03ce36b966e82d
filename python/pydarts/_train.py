"""`train`: train the network that a genotype stands for, and bring home whatever comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from . import _core
from ._callbacks import listeners
from ._ending import end
from ._genotype import Genotype
from ._interrupt import InterruptWatch
from ._result import Status
from ._texts import tokens_of
from ._training.callbacks import TrainCallback
from ._training.config import TextSettings, TrainConfig
from ._training.loop import Loop
from ._training.progress import TrainProgress
from ._training.result import TrainResult
from ._training.text import TextTask
from .nn import LanguageModel


def train(
    network: LanguageModel | Genotype,
    texts: Any,
    cfg: TrainConfig | None = None,
    callbacks: TrainCallback | Sequence[TrainCallback] = (),
) -> TrainResult:
    """Train a language model as the paper does (A.2.2): SGD, then averaged SGD.

    Args:
        network: what `build` gives, trained in place; or a recurrent genotype: it is built with the words of
            the texts, otherwise with the defaults, and initial weights drawn from `cfg.seed`.
        texts: `(train_tokens, valid_tokens)`, whole numbers [N] as `datasets.corpus` gives them.
        cfg: the choices of the training; None: the published ones.
        callbacks: told of every step, every epoch and the end.

    Returns:
        The result, its network in evaluation mode. After Ctrl-C that of the epochs done so far, with status
        "interrupted".

    Raises:
        ConfigError: choices that cannot be.
        DataError: what is wrong with the texts, and what to do about it.
        GenotypeError: a genotype without a recurrent cell.
        DeviceError: CUDA asked for where there is none.
        CheckpointError: a checkpoint that is broken, or of another training.
        NumericalError: a loss became NaN or infinite.

        An exception of a callback comes out as it is. Whatever stops a training that has begun carries what
        was reached as its attribute `result`, with status "failed".

    >>> import pydarts
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
    settings = TextSettings.of(config)
    config = config.replace(**asdict(settings))
    device = config.resolved_device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        model = _network(network, texts, settings.seed)
        task = TextTask(model, texts, settings, device)
        about = {"genotype": model.genotype.to_dict(), "arguments": model.arguments}
        loop = Loop(task, config, settings.epochs, settings.keep, about)
        progress = TrainProgress(settings.epochs) if config.progress else None
        watch = InterruptWatch()
        status: Status = "complete"
        error: BaseException | None = None
        try:
            with watch:
                loop.run(told, progress, watch)
        except KeyboardInterrupt:
            status = "interrupted"
        except BaseException as stopped:
            status, error = "failed", stopped
        finally:
            if progress is not None:
                progress.close()
    model.load_state_dict(loop.weights())
    return end(TrainResult(model.eval(), loop.history, config, status), error, told, "training")


def _network(network: LanguageModel | Genotype, texts: Any, seed: int) -> LanguageModel:
    if isinstance(network, LanguageModel):
        return network
    if not isinstance(network, Genotype):
        raise TypeError(
            f"train takes a network of pydarts.build or a Genotype, got a {type(network).__name__}"
        )
    torch.manual_seed(seed)
    return LanguageModel(network, vocabulary=max(int(part.max()) for part in tokens_of(texts)) + 1)
