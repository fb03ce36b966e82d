"""What a loader may be: how pairs are read, what the data tell of the search, and what is refused."""

from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from loaders import Digits, Reiterable, Stream, batches, drain, floats
from pydarts import DataError, SearchConfig, _core
from pydarts._data.loaders import open_sources
from pydarts._data.sizes import known_classes
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

# ---- pairs


def test_a_pair_of_arrays_takes_classes_from_both(opened: Any) -> None:
    sources = opened((make_arrays(classes=3), make_arrays(classes=4)))
    assert sources.config.num_classes == 4
    assert isinstance(sources.train, _core.Arrays) and isinstance(sources.evaluation, _core.Arrays)


def test_a_pair_of_different_images_is_refused() -> None:
    with pytest.raises(DataError, match=r"\[1, 8, 8\].*\[1, 9, 9\]"):
        open_sources((make_arrays(), make_arrays(size=9)), make_config())
    with pytest.raises(DataError, match=r"\[1, 9, 9\].*\[1, 8, 8\]"):
        open_sources(
            (batches(), Reiterable([(torch.zeros(2, 1, 9, 9), torch.zeros(2).long())])), make_config()
        )


def test_a_pair_of_bytes_and_floats_needs_given_statistics(opened: Any) -> None:
    X, y = make_arrays()
    pair = ((X, y), (X.astype(np.float32), y))
    with pytest.raises(DataError, match="dtype"):
        opened(pair)
    opened(pair, mean=[0.5], std=[0.2], in_channels=1)


@pytest.mark.parametrize("arrays_train", [True, False])
@pytest.mark.parametrize("kinds", [(np.uint8, np.float32), (np.float32, np.uint8)])
def test_arrays_beside_a_loader_of_the_other_kind_need_given_statistics(
    opened: Any, arrays_train: bool, kinds: tuple[type, type]
) -> None:
    X, y = make_arrays()
    arrays, images = ((X.astype(kind), y) for kind in kinds)
    loader = DataLoader(TensorDataset(*(torch.from_numpy(part) for part in images)), batch_size=8)
    pair = (arrays, loader) if arrays_train else (loader, arrays)
    with pytest.raises(DataError, match="dtype"):
        opened(pair)
    opened(pair, mean=[0.5], std=[0.2], in_channels=1)


def test_validation_labels_are_checked_too() -> None:
    with pytest.raises(DataError, match=r"validation.*num_classes=3"):
        open_sources((make_arrays(classes=3), make_arrays(classes=4)), make_config(num_classes=3))


def test_arrays_and_a_loader_make_a_pair(opened: Any) -> None:
    sources = opened((floats(), DataLoader(Digits(), batch_size=8)))
    assert isinstance(sources.train, _core.Arrays)
    assert len(drain(sources.valid)) == 5


def test_a_tuple_of_two_batches_is_a_pair_of_arrays(opened: Any) -> None:
    first, second = batches(2, size=8)
    assert isinstance(opened((first, second)).train, _core.Arrays)


def test_a_pair_of_lists_of_batches_works(opened: Any) -> None:
    sources = opened((batches(3), batches(2)))
    assert (sources.train.batches(), sources.valid.batches(), sources.evaluation.batches()) == (3, 2, 2)
    assert [int(x[0, 0, 0, 0]) for x, _ in drain(sources.train)] == [0, 1, 2]
    assert sources.config.num_classes == 4


# ---- what the data tell


class WithClasses(Digits):
    classes = ("a", "b", "c", "d", "e", "f", "g")


class WithTargets(Digits):
    @property
    def targets(self) -> list[int]:
        return [i % self.count for i in range(self.n)]


@pytest.mark.parametrize(
    ("dataset", "classes"),
    [
        (WithClasses(), 7),
        (WithTargets(classes=5), 5),
        (Subset(Subset(WithTargets(classes=5), range(20)), range(10)), 5),
        (TensorDataset(torch.zeros(6, 1, 8, 8), torch.arange(6)), 6),
        (TensorDataset(torch.zeros(6, 1, 8, 8), torch.rand(6)), None),
        (Digits(), None),
    ],
)
def test_the_number_of_classes_is_read_off_the_dataset(dataset: Any, classes: int | None) -> None:
    loader = DataLoader(dataset, batch_size=2)
    assert known_classes(loader, "training", make_config()) == classes


def test_a_dataset_without_classes_costs_one_pass(opened: Any) -> None:
    assert opened(DataLoader(Digits(40, classes=6), batch_size=8)).config.num_classes == 6


def test_classes_of_an_iterable_cost_one_pass_and_none_when_given(opened: Any) -> None:
    train, valid = Reiterable(batches()), Reiterable(batches())
    assert opened((train, valid)).config.num_classes == 4
    assert (train.passes, valid.passes) == (1, 1)
    with pytest.raises(DataError, match=r"batch 2.*validation"):
        opened((Reiterable(batches()), [*batches(2), (torch.zeros(2, 1, 8, 8), torch.tensor([0.5, 1]))]))


def test_the_config_of_the_sources_is_complete(opened: Any) -> None:
    config: SearchConfig = opened(make_arrays()).config
    assert None not in (config.num_classes, config.in_channels, config.image_size)


# ---- what is refused


class MyLoader(DataLoader[Any]):
    def __iter__(self) -> Any:
        return iter(batches())


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Digits(), batch_size=8, sampler=WeightedRandomSampler([1.0] * 40, 40)),
        DataLoader(Digits(), batch_size=8, sampler=RandomSampler(Digits(), replacement=True)),
        DataLoader(Digits(), batch_size=8, sampler=RandomSampler(Digits(), num_samples=8)),
        DataLoader(Digits(), batch_sampler=BatchSampler(SequentialSampler(range(40)), 8, False)),
        DataLoader(Digits(), batch_size=None),
        DataLoader(Stream(), batch_size=8),
        MyLoader(Digits(), batch_size=8),
        batches(),
        Reiterable(batches()),
    ],
    ids=[
        "sampler",
        "replacement",
        "part",
        "batch_sampler",
        "no batch_size",
        "iterable",
        "subclass",
        "list",
        "object",
    ],
)
def test_what_cannot_be_split_asks_for_a_pair(loader: Any) -> None:
    with pytest.raises(DataError, match=r"pair|\(train, valid\)"):
        open_sources(loader, make_config())


def test_a_loader_with_too_few_examples_says_so() -> None:
    with pytest.raises(DataError, match="batch_size=8"):
        open_sources(DataLoader(Digits(8), batch_size=8, drop_last=True), make_config())
    with pytest.raises(DataError, match="batch_size"):
        open_sources(DataLoader(Digits(1), batch_size=8), make_config())


def test_augmentation_is_for_arrays() -> None:
    for changes in ({"augment": "cifar"}, {"cutout": 2}):
        for loader in (DataLoader(Digits(), batch_size=8), (batches(), make_arrays())):
            with pytest.raises(pydarts.ConfigError, match="transforms"):
                open_sources(loader, make_config(**changes))


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (iter([]), "once"),
        ((b for b in batches()), "once"),
        ((iter(batches()), batches()), "training.*once"),
        ((batches(), zip(range(3), range(3), strict=True)), "validation.*once"),
        (Digits(), "DataLoader"),
        ("data", "str"),
        (None, "NoneType"),
        (7, "int"),
        ({"x": 1}, "dict"),
        (([], batches()), "empty"),
        ((batches(), []), "validation.*empty"),
    ],
)
def test_what_is_no_loader_is_refused_with_the_remedy(loader: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_sources(loader, make_config())


def test_an_empty_loader_is_refused() -> None:
    with pytest.raises(DataError, match=r"training.*empty"):
        open_sources((Reiterable([]), batches()), make_config())
