"""Data that a search refuses, a row for each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import torch
from conftest import make_arrays, make_config
from pydarts import search
from rows import Rows

ROWS = Rows()
row = ROWS.row
Batch = tuple[torch.Tensor, torch.Tensor]


def batches(n: int = 3, size: int = 8) -> list[Batch]:
    return [(torch.rand(4, 1, size, size), torch.arange(4)) for _ in range(n)]


def with_batch(change: Callable[[torch.Tensor, torch.Tensor], Any]) -> object:
    """Search with a loader whose third batch is another."""
    loader = [*batches(2), change(*batches(1)[0])]
    return search((loader, batches()), make_config(num_classes=4, epochs=1))


def floats(**changes: Any) -> tuple[Any, Any]:
    X, y = make_arrays()
    return X.astype(np.float32) / 255, y


# ---- shape and dtype


@row(pydarts.DataError, r"X\[:, None\]")
def arrays_of_a_wrong_rank(_: Path) -> object:
    X, y = make_arrays()
    return search((X[:, 0], y), make_config())


@row(pydarts.DataError, r"batch 2.*\[N, C, H, W\]")
def a_batch_of_a_wrong_rank(_: Path) -> object:
    return with_batch(lambda x, y: (x[:, 0], y))


@row(pydarts.DataError, "in_channels.*3.*1")
def arrays_with_wrong_channels(_: Path) -> object:
    return search(make_arrays(), make_config(in_channels=3))


@row(pydarts.DataError, r"transpose\(0, 3, 1, 2\)")
def arrays_with_channels_last(_: Path) -> object:
    X, y = make_arrays(channels=3)
    return search((X.transpose(0, 2, 3, 1), y), make_config())


@row(pydarts.DataError, r"batch 2.*\[3, 8, 8\].*\[1, 8, 8\]")
def a_batch_with_wrong_channels(_: Path) -> object:
    return with_batch(lambda x, y: (x.repeat(1, 3, 1, 1), y))


@row(pydarts.DataError, r"batch 2.*\[1, 8, 6\].*\[1, 8, 8\]")
def one_batch_of_a_different_shape(_: Path) -> object:
    return with_batch(lambda x, y: (x[:, :, :, :6], y))


@row(pydarts.DataError, "uint8.*floating.*int32")
def images_of_a_wrong_dtype(_: Path) -> object:
    X, y = make_arrays()
    return search((X.astype(np.int32), y), make_config())


@row(pydarts.DataError, r"\[batch, 1, 8, 8\].*\[2, 3, 8, 8\]")
def a_wrong_batch_for_the_supernet(_: Path) -> object:
    net = pydarts.Supernet(channels=2, layers=3, num_classes=4, in_channels=1, image_size=8)
    return net.logits(torch.zeros(2, 3, 8, 8))


@row(pydarts.DataError, r"pair \(x, y\)")
def a_batch_that_is_no_pair(_: Path) -> object:
    return with_batch(lambda x, y: x)


# ---- labels


@row(pydarts.DataError, "num_classes=3.*3")
def labels_out_of_range(_: Path) -> object:
    return search(make_arrays(), make_config(num_classes=3))


@row(pydarts.DataError, "batch 2.*num_classes=4")
def labels_of_a_batch_out_of_range(_: Path) -> object:
    return with_batch(lambda x, y: (x, y + 1))


@row(pydarts.DataError, "validation.*num_classes=4")
def validation_labels_out_of_range(_: Path) -> object:
    late = [*batches(2), (torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 4]))]
    return search((batches(5), late), make_config(num_classes=4, epochs=1))


@row(pydarts.DataError, "negative")
def negative_labels(_: Path) -> object:
    X, y = make_arrays()
    return search((X, y - 1), make_config())


@row(pydarts.DataError, r"integers.*float64.*astype\('int64'\)")
def float_labels(_: Path) -> object:
    X, y = make_arrays()
    return search((X, y.astype(float)), make_config())


@row(pydarts.DataError, "batch 2.*integers")
def float_labels_in_a_batch(_: Path) -> object:
    return with_batch(lambda x, y: (x, y.float()))


@row(pydarts.DataError, "40.*48")
def labels_of_a_wrong_length(_: Path) -> object:
    X, y = make_arrays()
    return search((X, y[:40]), make_config())


@row(pydarts.DataError, "argmax")
def one_hot_labels(_: Path) -> object:
    X, y = make_arrays()
    return search((X, np.eye(4, dtype=int)[y]), make_config())


# ---- loaders


class Empty:
    def __iter__(self) -> Iterator[Batch]:
        return iter([])


@row(pydarts.DataError, "training.*empty")
def an_empty_loader(_: Path) -> object:
    return search((Empty(), batches()), make_config())


@row(pydarts.DataError, "validation.*empty")
def an_empty_validation_loader_of_known_sizes(_: Path) -> object:
    return search((batches(), Empty()), make_config(num_classes=4, in_channels=1, image_size=8))


class OncePerObject:
    """Re-iterable by its looks, but empty from the second pass on."""

    def __init__(self) -> None:
        self.once = iter(batches())

    def __iter__(self) -> Iterator[Batch]:
        yield from self.once


@row(pydarts.DataError, "empty")
def a_loader_that_runs_dry(_: Path) -> object:
    return search((OncePerObject(), batches()), make_config(num_classes=4))


@row(pydarts.DataError, "once")
def an_iterator(_: Path) -> object:
    return search((iter(batches()), batches()), make_config())


@row(pydarts.DataError, r"pair \(train, valid\)")
def an_iterable_that_cannot_be_split(_: Path) -> object:
    return search(batches(), make_config())


@row(pydarts.DataError, "batch_size=64.*train_portion")
def fewer_images_than_a_batch(_: Path) -> object:
    return search(make_arrays(), make_config(batch_size=64))


@row(pydarts.DataError, "images.*empty")
def no_images(_: Path) -> object:
    X, y = make_arrays()
    return search((X[:0], y[:0]), make_config())


@row(pydarts.DataError, "str")
def what_is_no_loader(_: Path) -> object:
    return search("digits", make_config())  # type: ignore[arg-type]


# ---- numbers


@row(pydarts.DataError, "image 17 .*NaN")
def nan_in_the_images(_: Path) -> object:
    X, y = floats()
    X[17, 0, 2, 2] = np.nan
    return search((X, y), make_config())


@row(pydarts.DataError, "batch 2.*training.*NaN")
def infinity_in_a_batch(_: Path) -> object:
    return with_batch(lambda x, y: (x / 0, y))


@row(pydarts.DataError, "batch.*1.*2")
def a_batch_of_one_where_batch_norm_needs_more(_: Path) -> object:
    return search(make_arrays(size=4), make_config(batch_size=1))
