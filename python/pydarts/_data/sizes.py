"""Complete a configuration from the data: channels, size, classes, mean and standard deviation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sized
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from .. import _core
from .._values.ambient import kept
from .._values.config import SearchConfig
from .._values.hints import hint
from .arrays import NOUNS, ArrayData, as_tensor, channel_statistics, classes_in, is_labels, name_of
from .interrupt import of_worker
from .passes import Passes, is_plain
from .plausible import check_classes, check_pixels
from .share import current
from .source import BatchChecker
from .unpacking import LABELLED, Contents, Unpacking

PATIENCE = 10.0  # seconds of reading a loader until a hint says why nothing else happens


def search_dtype(config: SearchConfig) -> torch.dtype:
    """Return the dtype of the batches that the engine receives."""
    return torch.float64 if config.precision == "float64" else torch.float32


def dimensions_of(config: SearchConfig) -> int:
    """Return 1 if the network reads sequences [N, C, L], else 2."""
    return config.resolved_space.dimensions or 2


def known_classes(source: Any, name: str, config: SearchConfig) -> int | None:
    """Read the number of classes from `.classes`, `.targets` or the label tensor of a loader's dataset.

    `name` is the part in hints: "training" or "validation".
    """
    dataset = getattr(source, "dataset", None)
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    classes = getattr(dataset, "classes", None)
    if isinstance(classes, Sized) and len(classes) > 0:
        return len(classes)
    if isinstance(dataset, TensorDataset) and not hasattr(dataset, "targets") and not is_plain(source):
        return None
    labels = _stored_labels(dataset)
    if labels is None:
        return None
    if bool((labels >= 0).all()):  # negative ones are refused when their batch is read
        check_classes(labels, f"the {name} labels", config, some=name == "validation")
    return int(labels.max()) + 1


def examples_labels(source: Any) -> Tensor | None:
    """Return the labels of the examples of a plain loader, int64 [N], if its dataset holds them."""
    labels = _stored_labels(source.dataset) if is_plain(source) else None
    return labels if labels is not None and len(labels) == len(source.dataset) else None


def class_counts(labels: Tensor | None, config: SearchConfig) -> tuple[int, ...] | None:
    """Count the labels per class; None if they are unknown or not those of the configuration."""
    classes = config.num_classes
    if labels is None or classes is None or not len(labels) or not is_labels(labels):
        return None
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        return None
    return tuple(torch.bincount(labels, minlength=classes).tolist())


def _stored_labels(dataset: Any) -> Tensor | None:
    """Return the labels that a dataset holds as `.targets` or as its second tensor, int64 [N]."""
    if isinstance(dataset, Subset):
        whole = _stored_labels(dataset.dataset)
        return None if whole is None else whole[torch.as_tensor(dataset.indices)]
    targets = getattr(dataset, "targets", None)
    if targets is None and isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        targets = dataset.tensors[1]
    if targets is None or not isinstance(targets, Sized) or len(targets) == 0:
        return None
    try:
        labels = as_tensor(targets, "targets")
    except (_core.DataError, ValueError, TypeError):
        return None
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        return None
    return labels.long()


def survey(
    passes: tuple[Passes | None, ...],
    shape: tuple[int, ...] | None,
    classes: int | None,
    config: SearchConfig,
    array_dtype: torch.dtype | None = None,
    poll: Callable[[], None] = lambda: None,
    contents: Contents = LABELLED,
) -> tuple[SearchConfig, list[Any]]:
    """Complete the sizes from the first batches; if the classes must be counted, from all batches.

    Returns the configuration, and for each of the passes its first batch (x, y), or None.

    `array_dtype`: the dtype of the other part of the pair, if it is arrays. Both use the same mean and std.
    `poll` is called before each batch and while another run draws; an exception in it ends the survey.
    """
    if config.mean is not None and config.std is not None:
        array_dtype = None
    count_labels = config.num_classes is None and classes is None
    seen, begun = 0, time.monotonic()
    waits = count_labels
    firsts: list[Any] = []
    for run, role in zip(passes, ("training", "validation"), strict=True):
        firsts.append(None)
        if run is None:
            continue
        check = BatchChecker(
            role,
            search_dtype(config),
            in_channels=config.in_channels,
            array_dtype=array_dtype,
            dimensions=dimensions_of(config),
            contents=contents,
        )
        empty = True
        present: set[int] = set()
        for number, batch in enumerate(first_pass(run, poll, contents.unpack, role)):
            x, y = check(number, batch)
            firsts[-1] = firsts[-1] or batch
            found = tuple(x.shape[1:])
            if shape is not None and found != shape:
                noun = NOUNS[check.dimensions]
                raise _core.DataError(
                    f"the {noun} of batch {number} of the {role} loader have shape {list(found)}, expected "
                    f"{list(shape)}; give all {noun} the same channels and size"
                )
            stated = classes_in(y, contents.free)
            if count_labels and stated is None:
                raise unknown_classes(y)
            shape, seen, empty = found, max(seen, stated or 0), False
            if number == 0 and role == "training":
                check_pixels(x, f"the images of the {role} loader", config)
            if not count_labels or not is_labels(y):
                break
            present.update(torch.unique(y).tolist())
            if waits and time.monotonic() - begun > PATIENCE:
                waits = False
                hint(
                    f"reading the whole {role} loader to count its classes, {number + 1:,} batches so far; "
                    "pass num_classes to skip this. A loader must end: a pass over it is an epoch"
                )
        run.close()
        if empty:
            raise _core.DataError(f"the {role} loader is empty; it must yield at least one batch")
        if present:
            labels = torch.tensor(sorted(present))
            check_classes(labels, f"the {role} labels", config, some=role == "validation")
    assert shape is not None
    peers = current().peers
    if count_labels and peers is not None:  # a rank may not see every class
        seen = max(peers.exchange(seen))
    return with_sizes(config, shape, seen if count_labels else classes), firsts


def unknown_classes(y: Tensor) -> _core.ConfigError:
    """Return the error for targets that do not state the number of outputs of the network."""
    shape = ", ".join(map(str, ("N", *y.shape[1:])))
    return _core.ConfigError(
        f"num_classes, the number of outputs of the network, cannot be read from targets {name_of(y.dtype)} "
        f"[{shape}]; pass num_classes= in the configuration of a search, or to build before train"
    )


def first_pass(
    run: Passes, poll: Callable[[], None], unpack: Unpacking | None = None, role: str = "training"
) -> Iterator[Any]:
    """Yield the batches of pass 0, as a search reads them; `unpack` is applied to each."""
    with kept(), run.draws.order(0, poll):
        iterator, _ = run.begin(0, 0)
    try:
        for number in count():
            poll()
            try:
                with kept(), run.draws.batch(0, number, poll=poll):
                    batch = next(iterator, run)
            except Exception as error:
                raise of_worker(iterator, error)  # noqa: B904
            if batch is run:
                return
            if unpack is not None:
                with unpack.section(run.draws, 0, number, poll=poll):
                    batch = unpack(batch, number, role)
            yield batch
    finally:
        run.draws.close(iterator, 0)


def with_sizes(config: SearchConfig, shape: tuple[int, ...], classes: int | None) -> SearchConfig:
    """Set the sizes of the data in the configuration; raise DataError if they contradict it."""
    channels, *sides = shape
    height, width = sides if len(sides) == 2 else (1, sides[0])  # a sequence is an image of height 1
    noun = NOUNS[len(sides)]
    if config.in_channels not in (None, channels):
        raise _core.DataError(f"in_channels is {config.in_channels}, but the {noun} have {channels} channels")
    if config.image_size not in (None, (height, width)):
        raise _core.DataError(f"image_size is {config.image_size}, but the {noun} are {(height, width)}")
    return config.replace(
        in_channels=channels,
        image_size=(height, width),
        num_classes=classes if config.num_classes is None else config.num_classes,
    )


def with_statistics(config: SearchConfig, data: ArrayData, indices: torch.Tensor | None) -> SearchConfig:
    """Set mean and std from the training images if these are uint8 and the configuration has none."""
    if data.x.dtype != torch.uint8 or (config.mean is not None and config.std is not None):
        return config
    mean, std = channel_statistics(data.x, indices)
    return config.replace(
        mean=mean if config.mean is None else config.mean, std=std if config.std is None else config.std
    )
