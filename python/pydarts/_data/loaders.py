"""Build the sources of a search or a training from the data that the user passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch.utils.data import DataLoader, Dataset

from .. import _core
from .._values.config import SearchConfig
from . import fingerprint
from .arrays import NOUNS, ArrayData, Single, as_pair, check_range, is_array, name_of, read_arrays
from .draws import Turn
from .image_data import ImageData
from .memory import batch_size, with_batch_size
from .passes import Passes, Turns, passes_of, split_indices, split_loader, too_few
from .plausible import check_classes, check_cutout, check_pixels
from .sizes import (
    class_counts,
    dimensions_of,
    examples_labels,
    known_classes,
    search_dtype,
    survey,
    unknown_classes,
    with_sizes,
    with_statistics,
)
from .source import BatchChecker, PythonSource
from .texts import open_texts
from .unpacking import LABELLED, Contents

Loader: TypeAlias = Single | tuple[Single, Single]
Source: TypeAlias = _core.Arrays | _core.Tokens | PythonSource

_FORMS = "a DataLoader, arrays (X, y), or a pair (train, valid) of these or repeatable iterables of batches"


@dataclass(frozen=True)
class Sources:
    """The three sources of a search, and the configuration completed with the sizes of the data."""

    train: Source
    valid: Source
    evaluation: Source
    config: SearchConfig
    facts: fingerprint.Facts
    """The facts that a resumed run compares."""
    class_counts: tuple[int, ...] | None = None
    """Validation examples per class; None if they cannot be counted without reading a loader."""
    first: tuple[Any, int] | None = None
    """The inputs of the first batch for a network of the user, and its number of examples."""

    def poll_with(self, poll: Callable[[], None]) -> None:
        """Call `poll` regularly while the engine waits for a Python source."""
        for source in (self.train, self.valid, self.evaluation):
            if isinstance(source, PythonSource):
                source.poll = poll

    def pause_with(self, gate: Turn) -> None:
        """Make no batch in this process while another section holds `gate`."""
        for source in (self.train, self.valid, self.evaluation):
            if isinstance(source, PythonSource):
                source.gate = gate

    def fetch_when_asked(self) -> None:
        """Disable prefetching for Python sources that may draw random numbers in this process.

        The numbers then depend only on the state of the generators when a batch is requested.
        """
        for source in (self.train, self.valid, self.evaluation):
            if isinstance(source, PythonSource):
                source.ahead = not source.draws_here

    def close(self) -> None:
        """Stop the threads of the Python sources; may be called twice."""
        for source in (self.train, self.valid, self.evaluation):
            if isinstance(source, PythonSource):
                source.close()


def _no_poll() -> None:
    """Do nothing while a loader is read."""


def open_sources(
    loader: Loader,
    config: SearchConfig,
    poll: Callable[[], None] = _no_poll,
    contents: Contents = LABELLED,
) -> Sources:
    """Build the sources of a search; a recurrent space requires token arrays `(train, valid)`.

    `contents`: what batches of images hold. `poll` is called between batches that are read, and while the
    engine waits for a loader.
    """
    if config.resolved_space.kind == "recurrent":
        (train, valid, evaluation), config, facts = open_texts(loader, config)
        return Sources(train, valid, evaluation, config, facts)
    return open_images(loader, config, poll=poll, contents=contents)


def open_images(
    loader: Loader,
    config: SearchConfig,
    *,
    fewest_valid: int | None = None,
    poll: Callable[[], None] = _no_poll,
    contents: Contents = LABELLED,
) -> Sources:
    """Build sources of images: a 2-tuple of arrays is (X, y), any other 2-tuple is (train, valid).

    `fewest_valid`: the minimum number of examples in a validation part of arrays; None: one batch.
    `poll`, `contents`: see `open_sources`.
    """
    sources = _open_images(loader, config, fewest_valid, poll, contents)
    sources.poll_with(poll)
    return sources


def _open_images(
    loader: Loader,
    config: SearchConfig,
    fewest_valid: int | None,
    poll: Callable[[], None],
    contents: Contents,
) -> Sources:
    if isinstance(loader, ImageData):
        raise _core.DataError("expected images, got an ImageData; give its `train` or `(train, valid)`")
    loader = as_pair(loader)
    if isinstance(loader, tuple) and len(loader) == 2 and not _is_arrays(loader):
        train, valid = (
            single_source(part, name) for part, name in zip(loader, ("training", "validation"), strict=True)
        )
        return _open_pair(train, valid, config, fewest_valid, poll, contents)
    single = single_source(loader, "training")
    if _is_arrays(single):
        return _open_split_arrays(single, config, fewest_valid, contents)
    _refuse_augmentation(config)
    return _open_split_loader(single, config, poll, contents)


def _open_split_arrays(
    arrays: Any, config: SearchConfig, fewest_valid: int | None, contents: Contents
) -> Sources:
    data = _read(arrays, "training", config, contents)
    config = with_sizes(config, data.shape, data.classes)
    check_cutout(config)
    n = len(data.x)
    train, valid = split_indices(n, config.train_portion, config.seed)
    config = with_batch_size(config, min(len(train), len(valid)))
    size = batch_size(config)
    for name, part, least in (("train", train, size), ("valid", valid, fewest_valid or size)):
        if len(part) < least:
            raise too_few(name, len(part), least, n, config.train_portion)
    config = with_statistics(config, data, torch.from_numpy(train))
    _check_labels(data, config, "training")
    return Sources(
        _arrays(data, train.tolist(), "train", config),
        _arrays(data, valid.tolist(), "valid", config),
        _arrays(data, valid.tolist(), "eval", config),
        config,
        fingerprint.of_arrays(data, "data"),
        class_counts(data.y[torch.from_numpy(valid)], config),
    )


def _open_pair(
    train: Any,
    valid: Any,
    config: SearchConfig,
    fewest_valid: int | None,
    poll: Callable[[], None],
    contents: Contents,
) -> Sources:
    if not _is_arrays(train):
        _refuse_augmentation(config)
    read = [
        _read(part, name, config, contents) if _is_arrays(part) else None
        for part, name in ((train, "training"), (valid, "validation"))
    ]
    first, second = read
    for data, name, least in zip(read, ("training", "validation"), (None, fewest_valid), strict=True):
        if data is not None and config.batch_size != "auto" and len(data.x) < (least or config.batch_size):
            raise _core.DataError(
                f"the {name} part has {len(data.x)} examples, fewer than one batch of "
                f"batch_size={config.batch_size}; give more examples or a smaller batch_size"
            )
    if first is not None and second is not None:
        _check_alike(first, second, config)
    classes = [
        data.classes if data is not None else _known_classes(part, name, config, contents)
        for data, part, name in zip(read, (train, valid), ("training", "validation"), strict=True)
    ]
    turns = Turns()
    passes = (
        None if first is not None else passes_of(train, config.seed, "train", False, turns),
        None if second is not None else passes_of(valid, config.seed, "valid", False, turns),
        None if second is not None else passes_of(valid, config.seed, "eval", True, turns),
    )
    firsts: list[Any] = [None, None]
    shape = first.shape if first is not None else second.shape if second is not None else None
    count: int | None = max((number for number in classes if number is not None), default=None)
    if first is not None and second is not None:
        assert shape is not None
        config = with_sizes(config, shape, count)
    else:
        array_dtype = next((data.x.dtype for data in read if data is not None), None)
        config, firsts = survey(passes[:2], shape, count, config, array_dtype, poll, contents)
    arrays = [len(data.x) for data in read if data is not None]
    if arrays:
        config = with_batch_size(config, min(arrays))
    if first is not None:
        check_cutout(config)
        config = with_statistics(config, first, None)
    for data, name in zip(read, ("training", "validation"), strict=True):
        if data is not None:
            _check_labels(data, config, name)
    roles = ("train", "valid", "eval")
    sources = [
        _arrays(data, None, role, config) if data is not None else _python_source(run, role, config, contents)
        for data, run, role in zip((first, second, second), passes, roles, strict=True)
    ]
    facts: fingerprint.Facts = {}
    for part, data, given, run, batch in zip(
        ("train", "valid"), read, (train, valid), passes[:2], firsts, strict=True
    ):
        if data is not None:
            facts |= fingerprint.of_arrays(data, part)
        elif run is not None:
            facts |= fingerprint.of_loader(given, run, part) | fingerprint.of_batch(batch, given, part)
    labels = second.y if second is not None else _examples_labels(valid, contents)
    return Sources(sources[0], sources[1], sources[2], config, facts, class_counts(labels, config))


def _open_split_loader(
    loader: Any, config: SearchConfig, poll: Callable[[], None], contents: Contents
) -> Sources:
    passes = split_loader(loader, config.train_portion, config.seed)
    classes = _known_classes(loader, "training", config, contents)
    config, (batch, _) = survey(passes[:2], None, classes, config, poll=poll, contents=contents)
    sources = [
        _python_source(run, role, config, contents)
        for run, role in zip(passes, ("train", "valid", "eval"), strict=True)
    ]
    facts = fingerprint.of_loader(loader, None, "data") | fingerprint.of_batch(batch, loader, "data")
    labels = _examples_labels(loader, contents)
    if labels is not None:
        labels = labels[torch.from_numpy(passes[1].sampler.indices)]
    return Sources(sources[0], sources[1], sources[2], config, facts, class_counts(labels, config))


def _known_classes(loader: Any, name: str, config: SearchConfig, contents: Contents) -> int | None:
    """Return the classes that a data set states, unless `unpack` makes the labels."""
    return None if contents.unpack is not None else known_classes(loader, name, config)


def _examples_labels(loader: Any, contents: Contents) -> torch.Tensor | None:
    return None if contents.unpack is not None else examples_labels(loader)


def single_source(source: Any, name: str) -> Any:
    """Return `source`, arrays as (X, y), or raise DataError if it cannot be a source."""
    source = as_pair(source)
    if _is_arrays(source):
        return source
    if is_array(source):
        raise _core.DataError(f"the {name} source is an array without labels; give (X, y)")
    if isinstance(source, tuple) and len(source) != 2 and any(is_array(part) for part in source):
        raise _core.DataError(
            f"expected two arrays, got a tuple of {len(source)}; give (X, y), or ((X, y), (X, y)) for a pair"
        )
    if isinstance(source, Dataset):
        raise _core.DataError(
            f"a {type(source).__name__} yields single examples, not batches; wrap it: DataLoader(dataset, "
            f"batch_size=64, shuffle=True)"
        )
    if isinstance(source, Iterator):
        raise _core.DataError(
            f"the {name} source is a {type(source).__name__}, which can be iterated only once; "
            "give a list of batches, a DataLoader, or an object whose __iter__ returns a new iterator"
        )
    if isinstance(source, (str, bytes, dict)) or not isinstance(source, Iterable):
        held = f" (with the keys {', '.join(map(repr, source))})" if isinstance(source, dict) else ""
        raise _core.DataError(f"the {name} source cannot be a {type(source).__name__}{held}; give {_FORMS}")
    if isinstance(source, Sized) and not isinstance(source, DataLoader) and len(source) == 0:
        raise _core.DataError(f"the {name} source is empty; give at least one batch")
    return source


def _is_arrays(source: Any) -> bool:
    return isinstance(source, tuple) and len(source) == 2 and all(is_array(part) for part in source)


def _read(arrays: Any, name: str, config: SearchConfig, contents: Contents) -> ArrayData:
    if contents.unpack is not None:
        raise _core.ConfigError(
            "unpack applies to the batches of loaders; leave it out for arrays, which are (X, y) already"
        )
    x, y = arrays
    dimensions, dtype = dimensions_of(config), search_dtype(config)
    data = read_arrays(x, y, name, dtype, config.in_channels, dimensions, contents.free)
    check_pixels(data.x, f"the {name} images", config)
    if config.num_classes is None and data.classes is None:
        raise unknown_classes(data.y)
    check_classes(data.y, f"the {name} labels", config, some=name == "validation")
    return data


def _check_alike(train: ArrayData, valid: ArrayData, config: SearchConfig) -> None:
    if train.shape != valid.shape:
        raise _core.DataError(
            f"training {NOUNS[len(train.shape) - 1]} have shape {list(train.shape)} (channels first), those "
            f"of the validation {list(valid.shape)}; give both parts the same shape"
        )
    kinds = [data.x.dtype for data in (train, valid)]
    if (kinds[0] == torch.uint8) != (kinds[1] == torch.uint8) and (config.mean is None or config.std is None):
        raise _core.DataError(
            f"training images are {name_of(kinds[0])}, validation images {name_of(kinds[1])}; "
            "give both the same dtype, or set mean and std in the config"
        )


def _check_labels(data: ArrayData, config: SearchConfig, name: str) -> None:
    assert config.num_classes is not None
    check_range(data.y, config.num_classes, f"the {name} labels", data.free)


def _refuse_augmentation(config: SearchConfig) -> None:
    for field, off in (("augment", "none"), ("cutout", 0)):
        if getattr(config, field) != off:
            raise _core.ConfigError(
                f"{field}={getattr(config, field)!r} requires arrays, because a loader applies its own "
                f"transforms; set {field}={off!r} or give arrays"
            )


def evaluation_size(config: SearchConfig) -> int:
    """Return the number of images per batch of the evaluation."""
    return config.eval_batch_size or 4 * batch_size(config)  # more images fit: no graph is stored


def _arrays(data: ArrayData, indices: list[int] | None, role: str, config: SearchConfig) -> _core.Arrays:
    size = evaluation_size(config) if role == "eval" else batch_size(config)
    mean, std = (None if values is None else list(values) for values in (config.mean, config.std))
    return _core.Arrays(data.dataset, indices, role, size, mean, std)


def _python_source(
    passes: Passes | None, role: str, config: SearchConfig, contents: Contents
) -> PythonSource:
    assert passes is not None and config.image_size is not None and config.in_channels is not None
    check = BatchChecker(
        "training" if role == "train" else "validation",
        search_dtype(config),
        (config.in_channels, *config.image_size[-dimensions_of(config) :]),
        config.num_classes,
        config.in_channels,
        config.mean,
        config.std,
        dimensions=dimensions_of(config),
        contents=contents,
    )
    return PythonSource(passes, check, on_gpu(config), contents.unpack)


def on_gpu(config: SearchConfig) -> bool:
    """Return whether a search runs on a GPU."""
    return config.device.startswith("cuda") or (config.device == "auto" and _core.cuda_is_available())
