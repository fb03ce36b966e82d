"""Reads off the data what the configuration leaves open: channels, size, classes, mean and deviation."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import torch
from torch.utils.data import Subset, TensorDataset

from .. import _core
from .._values.config import SearchConfig
from .arrays import ArrayData, as_tensor, channel_statistics
from .passes import Passes, is_plain
from .source import BatchChecker


def search_dtype(config: SearchConfig) -> torch.dtype:
    """The dtype in which batches reach the engine."""
    return torch.float64 if config.precision == "float64" else torch.float32


def known_classes(source: Any) -> int | None:
    """Number of classes that a loader's dataset tells by `.classes`, `.targets` or its label tensor."""
    dataset = getattr(source, "dataset", None)
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    classes = getattr(dataset, "classes", None)
    if isinstance(classes, Sized) and len(classes) > 0:
        return len(classes)
    targets = getattr(dataset, "targets", None)
    if (
        targets is None
        and isinstance(dataset, TensorDataset)
        and is_plain(source)
        and len(dataset.tensors) == 2
    ):
        targets = dataset.tensors[1]
    if targets is None or not isinstance(targets, Sized) or len(targets) == 0:
        return None
    try:
        labels = as_tensor(targets, "targets")
    except (_core.DataError, ValueError, TypeError):
        return None
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        return None
    return int(labels.max()) + 1


def survey(
    passes: tuple[Passes | None, ...],
    shape: tuple[int, ...] | None,
    classes: int | None,
    config: SearchConfig,
    beside: torch.dtype | None = None,
) -> SearchConfig:
    """Fill in the sizes by looking at the first batches, or, to count classes, at every label once.

    `beside`: the dtype of arrays whose mean and deviation the batches share, where they are not given.
    """
    if config.mean is not None and config.std is not None:
        beside = None
    count_labels = config.num_classes is None and classes is None
    seen = 0
    for run, role in zip(passes, ("training", "validation"), strict=True):
        if run is None:
            continue
        check = BatchChecker(role, search_dtype(config), in_channels=config.in_channels, beside=beside)
        iterator, _ = run.begin(0, 0)
        empty = True
        for number, batch in enumerate(iterator):
            x, y = check(number, batch)
            found = tuple(x.shape[1:])
            if shape is not None and found != shape:
                raise _core.DataError(
                    f"the images of batch {number} of the {role} loader have shape {list(found)}, but "
                    f"{list(shape)} was "
                    "expected: all images have the same channels and size"
                )
            shape, seen, empty = found, max(seen, int(y.max()) + 1), False
            if not count_labels:
                break
        del iterator
        run.close()
        if empty:
            raise _core.DataError(f"the {role} loader is empty: it yields no batch")
    assert shape is not None
    return with_sizes(config, shape, seen if count_labels else classes)


def with_sizes(config: SearchConfig, shape: tuple[int, ...], classes: int | None) -> SearchConfig:
    """The configuration with the data's sizes, which must not contradict it."""
    channels, height, width = shape
    if config.in_channels not in (None, channels):
        raise _core.DataError(f"in_channels is {config.in_channels}, but the images have {channels}")
    if config.image_size not in (None, (height, width)):
        raise _core.DataError(f"image_size is {config.image_size}, but the images are {(height, width)}")
    return config.replace(
        in_channels=channels,
        image_size=(height, width),
        num_classes=classes if config.num_classes is None else config.num_classes,
    )


def with_statistics(config: SearchConfig, data: ArrayData, indices: torch.Tensor | None) -> SearchConfig:
    """The configuration with mean and deviation of uint8 training images, where it has none."""
    if data.x.dtype != torch.uint8 or (config.mean is not None and config.std is not None):
        return config
    mean, std = channel_statistics(data.x, indices)
    return config.replace(
        mean=mean if config.mean is None else config.mean, std=std if config.std is None else config.std
    )
