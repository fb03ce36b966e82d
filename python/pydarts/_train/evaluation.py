"""What a trained network gives for other data: loss and accuracy, or its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import _core
from .._data.interrupt import InterruptWatch
from .._data.pairs import Unpack
from .._data.plausible import check_pixels
from .._search.metrics import MetricFunction
from .._values import hints
from .._values.ambient import plain
from .._values.config import SearchConfig
from ..nn import LanguageModel
from .config import TrainConfig
from .criterion import wide
from .images import ImageTask
from .module import AnyLoss, ModuleTask
from .task import Evaluation, Task
from .train import open_task


@contextmanager
def _opened(
    network: nn.Module,
    data: Any,
    config: TrainConfig,
    loss: AnyLoss | None = None,
    metric: MetricFunction | None = None,
    unpack: Unpack | None = None,
) -> Iterator[Task]:
    """Open the task of a training whose both parts are `data`, of which it evaluates one."""
    config = config.replace(
        checkpoint_dir=None,
        resume=False,
        augment=None,
        cutout=None,
        label_smoothing=None,
        ema=None,
        train_portion=None,
        metric_mode=None,
    )
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(network, LanguageModel):  # (X, y)
        config = config.replace(batch_size=max(1, len(data[1])))  # of the part that is not read
        if config.mean is not None and isinstance(data[0], (np.ndarray, Tensor)):  # bytes were scaled
            check_pixels(torch.as_tensor(data[0]), "the images", SearchConfig())
    watch, device = InterruptWatch(), config.resolved_device
    with plain(), watch:
        silent = hints.silence()  # they are about data to train on
        try:
            task = open_task(network, (data, data), config, device, watch.check, loss, metric, unpack, False)
        finally:
            hints.silence(silent)
        try:
            yield task
        finally:
            task.close()


def evaluate(
    network: nn.Module,
    data: Any,
    config: TrainConfig,
    loss: AnyLoss | None,
    metric: MetricFunction | None,
    unpack: Unpack | None,
) -> Evaluation:
    """See `TrainResult.evaluate`."""
    with _opened(network, data, config, loss, metric, unpack) as task:
        return task.evaluate()


def outputs(network: nn.Module, x: Any, config: TrainConfig) -> Tensor:
    """See `TrainResult.predict`."""
    if isinstance(network, LanguageModel):
        raise _core.ConfigError(
            "predict applies to networks of images and other modules; call the language model itself: "
            "logits, states = result.network(tokens)"
        )
    count = len(next(iter(x.values())) if isinstance(x, dict) else x[0] if isinstance(x, tuple) else x)
    with _opened(network, (x, torch.zeros(count, dtype=torch.int64)), config) as task:
        assert isinstance(task, (ImageTask, ModuleTask))
        found = [answer[0] for answer in task.answers()]
    if not all(isinstance(output, Tensor) for output in found):
        raise TypeError(
            f"predict requires a network that returns a tensor, got a {type(found[0]).__name__}; call the "
            "network itself: result.network(x)"
        )
    return torch.cat([wide(output).cpu() for output in found])
