"""Loaders: what each form means, how one source is split, and what is refused."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import DataError, SearchConfig, _core
from pydarts._arrays import channel_statistics, read_arrays
from pydarts._loaders import Sources, open_sources
from pydarts._passes import IterablePasses, LoaderPasses, Turns, permutation, split_indices
from pydarts._sizes import known_classes
from pydarts._source import BatchChecker, PythonSource
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

Batches = list[tuple[torch.Tensor, torch.Tensor]]


class Digits(Dataset[tuple[torch.Tensor, int]]):
    """Example i is an image full of i; its label is i % classes."""

    def __init__(self, n: int = 40, classes: int = 4, size: int = 8) -> None:
        self.n, self.count, self.size = n, classes, size

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((1, self.size, self.size), float(index)), index % self.count


class WithClasses(Digits):
    classes = ("a", "b", "c", "d", "e", "f", "g")


class WithTargets(Digits):
    @property
    def targets(self) -> list[int]:
        return [i % self.count for i in range(self.n)]


class Stream(IterableDataset[tuple[torch.Tensor, int]]):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return iter([(torch.zeros(1, 8, 8), i % 2) for i in range(16)])


class Reiterable:
    """Batches made anew for every pass; counts the passes."""

    def __init__(self, batches: Batches) -> None:
        self.batches, self.passes = batches, 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.passes += 1
        yield from self.batches


def batches(n: int = 3, size: int = 4, classes: int = 4) -> Batches:
    return [(torch.full((size, 1, 8, 8), float(i)), torch.arange(size) % classes) for i in range(n)]


def drain(source: Any, index: int = 0, skip: int = 0) -> Batches:
    assert isinstance(source, PythonSource)
    source.start(index, skip)
    return list(iter(source.next, None))


def seen(source: Any, index: int = 0, skip: int = 0) -> list[int]:
    """The examples of a pass over `Digits`, in order."""
    return [int(value) for x, _ in drain(source, index, skip) for value in x[:, 0, 0, 0]]


@pytest.fixture
def opened() -> Iterator[Any]:
    """Opens sources and closes them afterwards."""
    kept: list[Sources] = []

    def open_(loader: Any, **changes: Any) -> Sources:
        kept.append(open_sources(loader, make_config(**changes)))
        return kept[-1]

    yield open_
    for sources in kept:
        sources.close()


def source_of(made: Any, **fields: Any) -> PythonSource:
    return PythonSource(
        IterablePasses(made, Turns()), BatchChecker("training", torch.float32, **fields), False
    )


def floats() -> tuple[torch.Tensor, torch.Tensor]:
    X, y = make_arrays()
    return torch.from_numpy(X).float() / 255, torch.from_numpy(y)


# ---- arrays


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_arrays_are_split_and_their_sizes_read(opened: Any, convert: Any) -> None:
    X, y = make_arrays(channels=3, size=10, classes=4)
    config = opened((convert(X), convert(y))).config
    assert (config.in_channels, config.image_size, config.num_classes) == (3, (10, 10), 4)


def test_a_given_number_of_classes_may_be_larger_than_seen(opened: Any) -> None:
    assert opened(make_arrays(), num_classes=9).config.num_classes == 9


@pytest.mark.parametrize("changes", [{"in_channels": 3}, {"image_size": 9}, {"num_classes": 3}])
def test_sizes_that_contradict_the_data_are_refused(opened: Any, changes: dict[str, int]) -> None:
    with pytest.raises(DataError, match=next(iter(changes))):
        opened(make_arrays(), **changes)
    with pytest.raises(DataError, match=next(iter(changes))):
        opened((make_arrays(), make_arrays()), **changes)


def test_bytes_are_normalised_by_the_training_images(opened: Any) -> None:
    X, y = make_arrays(channels=2)
    config = opened((X, y)).config
    train, _ = split_indices(len(X), 0.5, 0)
    scaled = X[train].astype(np.float64) / 255
    assert config.mean == pytest.approx(scaled.mean((0, 2, 3)), abs=1e-12)
    assert config.std == pytest.approx(scaled.std((0, 2, 3)), abs=1e-12)


def test_given_statistics_are_kept_and_float_images_have_none(opened: Any) -> None:
    X, y = make_arrays()
    config = opened((X, y), mean=[0.5], std=[0.25], in_channels=1).config
    assert (config.mean, config.std) == ((0.5,), (0.25,))
    config = opened((X.astype(np.float32), y)).config
    assert (config.mean, config.std) == (None, None)


def test_a_constant_channel_keeps_a_finite_scale() -> None:
    assert channel_statistics(torch.full((4, 1, 2, 2), 51, dtype=torch.uint8), None)[1] == [1.0]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_floating_images_of_any_width_are_cast_to_the_search(kind: str, precision: str) -> None:
    X, y = make_arrays()
    dtype = {"float32": torch.float32, "float64": torch.float64}[precision]
    data = read_arrays((X / 255).astype(kind), y.astype("uint16"), "training", dtype, None)
    assert data.x.dtype == dtype and data.y.dtype == torch.int64


def test_bytes_stay_bytes_and_share_memory() -> None:
    X, y = make_arrays()
    data = read_arrays(X, y, "training", torch.float32, None)
    assert data.x.dtype == torch.uint8 and data.x.data_ptr() == X.ctypes.data


def test_strided_reversed_and_read_only_arrays_are_taken() -> None:
    X, y = make_arrays()
    y.flags.writeable = False
    data = read_arrays(X[:, :, ::-1], y, "training", torch.float32, None)
    assert np.array_equal(data.x.numpy(), X[:, :, ::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, 0], y), r"X\[:, None\]"),
        (lambda X, y: (X[0, 0], y), "2 dimensions"),
        (lambda X, y: (X.transpose(0, 2, 3, 1), y), r"transpose\(0, 3, 1, 2\)"),
        (lambda X, y: (torch.from_numpy(X).permute(0, 2, 3, 1), y), r"permute\(0, 3, 1, 2\)"),
        (lambda X, y: (X.astype(np.int64), y), "uint8"),
        (lambda X, y: (X.astype(object), y), "numbers"),
        (lambda X, y: (X.astype(complex), y), "floating"),
        (lambda X, y: (X, y.astype(np.float32)), "integers.*astype"),
        (lambda X, y: (X, y > 1), "integers"),
        (lambda X, y: (X, y[:-1]), "47, but there are 48"),
        (lambda X, y: (X, y[:, None]), "reshape"),
        (lambda X, y: (X, np.eye(4, dtype=np.int64)[y]), "argmax"),
        (lambda X, y: (X, y - 1), "negative.*number 0"),
        (lambda X, y: (X[:0], y[:0]), "empty"),
        (lambda X, y: (X[:, :, :0], y), "without pixels"),
    ],
)
def test_bad_arrays_are_refused_with_the_cause_and_the_remedy(change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_sources(change(*make_arrays()), make_config())


def test_channels_last_is_only_suspected_where_the_config_does_not_say_otherwise(opened: Any) -> None:
    X = np.zeros((48, 8, 4, 4), np.uint8)
    with pytest.raises(DataError, match="in_channels=8"):
        opened((X, make_arrays()[1]))
    assert opened((X, make_arrays()[1]), in_channels=8).config.in_channels == 8


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@given(index=st.integers(0, 47))
@settings(max_examples=10)
def test_the_first_image_that_is_not_finite_is_named(value: float, index: int) -> None:
    X, y = make_arrays()
    X = X.astype(np.float32)
    X[index:, 0, 3, 3] = value
    with pytest.raises(DataError, match=f"image {index} of"):
        open_sources((X, y), make_config())


@given(n=st.integers(2, 400), portion=st.floats(0.05, 0.95), seed=st.integers(0, 2**64 - 1))
def test_a_split_is_a_partition_that_depends_on_the_seed_alone(n: int, portion: float, seed: int) -> None:
    train, valid = split_indices(n, portion, seed)
    assert sorted([*train, *valid]) == list(range(n))
    assert len(train) == int(n * portion)
    again = split_indices(n, portion, seed)
    assert np.array_equal(train, again[0]) and np.array_equal(valid, again[1])


def test_shuffles_are_the_same_on_every_machine() -> None:
    assert permutation(0, "train", 0, 8).tolist() == [7, 3, 0, 1, 2, 4, 5, 6]
    assert permutation(0, "train", 1, 8).tolist() != permutation(0, "train", 0, 8).tolist()
    assert permutation(0, "valid", 0, 8).tolist() != permutation(0, "train", 0, 8).tolist()


def test_too_few_images_for_a_batch_say_batch_size_and_portion() -> None:
    with pytest.raises(DataError, match=r"train_portion=0\.5.*batch_size=32"):
        open_sources(make_arrays(), make_config(batch_size=32))
    with pytest.raises(DataError, match="batch_size=64"):
        open_sources((make_arrays(), make_arrays()), make_config(batch_size=64))


def test_labels_without_images_and_images_without_labels_are_refused() -> None:
    X, y = make_arrays()
    with pytest.raises(DataError, match="labels are missing"):
        open_sources(X, make_config())
    with pytest.raises(DataError, match="tuple of 3 arrays"):
        open_sources((X, y, y), make_config())  # type: ignore[arg-type]


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
    with pytest.raises(DataError, match="one dtype"):
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
    with pytest.raises(DataError, match=r"the arrays beside it .*: give both in one dtype"):
        opened(pair)
    opened(pair, mean=[0.5], std=[0.2], in_channels=1)


class OneReader(Dataset[tuple[torch.Tensor, int]]):
    """A file with one place in it: it must not be read by two at once."""

    def __init__(self) -> None:
        self.X, self.y = make_arrays()
        self.readers = 0

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.readers += 1
        time.sleep(0.002)
        assert self.readers == 1, "two at once"
        self.readers -= 1
        return torch.from_numpy(self.X[index]).float(), int(self.y[index])


@pytest.mark.parametrize("whole", [True, False], ids=["split", "subsets"])
def test_one_data_set_is_read_by_one_thread_at_a_time(whole: bool) -> None:
    data = OneReader()
    parts = [DataLoader(Subset(data, range(at, at + 24)), batch_size=8) for at in (0, 24)]
    loader = DataLoader(data, batch_size=8) if whole else (parts[0], parts[1])
    assert pydarts.search(loader, make_config(epochs=1)).status == "complete"


def test_a_loader_may_use_its_memory_again() -> None:
    images, labels = torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)

    class Frugal:
        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for number in range(6):
                yield images.fill_(number), labels.fill_(number)

    source = source_of(Frugal())
    source.start(0, 0)
    time.sleep(0.3)  # it is ahead
    found = []
    while (batch := source.next()) is not None:
        found.append((float(batch[0].mean()), int(batch[1][0])))
    assert found == [(number, number) for number in range(6)]


def test_validation_labels_are_checked_too() -> None:
    with pytest.raises(DataError, match="validation labels must be below num_classes=3"):
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


def test_classes_of_an_iterable_cost_one_pass_and_none_when_given(opened: Any) -> None:
    train, valid = Reiterable(batches()), Reiterable(batches())
    assert opened((train, valid)).config.num_classes == 4
    assert (train.passes, valid.passes) == (1, 1)
    with pytest.raises(DataError, match="batch 2 of the validation loader"):
        opened((Reiterable(batches()), [*batches(2), (torch.zeros(2, 1, 8, 8), torch.tensor([0.5, 1]))]))


# ---- DataLoaders


def test_a_loader_is_split_and_shuffled_by_pass_and_evaluated_in_order(opened: Any) -> None:
    sources = opened(DataLoader(Digits(40), batch_size=8, shuffle=True))
    train, valid = split_indices(40, 0.5, 0)
    first, second = seen(sources.train, 0), seen(sources.train, 1)
    assert sorted(first) == sorted(second) == train.tolist()
    assert first != second and first == seen(sources.train, 0)
    assert sorted(seen(sources.valid)) == valid.tolist()
    assert seen(sources.evaluation) == valid.tolist()


def test_a_pass_can_begin_anywhere(opened: Any) -> None:
    sources = opened(DataLoader(Digits(40), batch_size=8, shuffle=True))
    assert seen(sources.train, 3, 1) == seen(sources.train, 3)[8:]
    made = source_of(batches(4))
    assert [int(x[0, 0, 0, 0]) for x, _ in drain(made, 0, 2)] == [2, 3]
    made.close()


def test_partial_last_batches_are_kept_where_the_loader_keeps_them(opened: Any) -> None:
    for drop, sizes in ((False, [8, 8, 4]), (True, [8, 8])):
        sources = opened(DataLoader(Digits(40), batch_size=8, drop_last=drop))
        assert [len(x) for x, _ in drain(sources.train)] == sizes
        assert sources.train.batches() == len(sizes) and sources.train.smallest == sizes[-1]


def test_the_evaluation_leaves_no_example_out(opened: Any) -> None:
    loader = DataLoader(Digits(44), batch_size=8, drop_last=True)
    for source, n in ((loader, 22), ((loader, loader), 44)):
        sources = opened(source)
        assert len(seen(sources.evaluation)) == n and len(seen(sources.valid)) == n // 8 * 8
        assert sources.evaluation.batches() == -(-n // 8)


@pytest.mark.parametrize(
    ("loader", "smallest"),
    [
        (DataLoader(Digits(9), batch_size=4), 1),
        (DataLoader(Digits(9), batch_size=4, drop_last=True), 4),
        (DataLoader(Digits(8), batch_size=4), 4),
        (DataLoader(Digits(9), batch_size=4, sampler=WeightedRandomSampler([1.0] * 9, 7)), 3),
        (DataLoader(Stream(), batch_size=3), None),
        (DataLoader(Digits(9), batch_sampler=BatchSampler(SequentialSampler(range(9)), 2, False)), 1),
        (batches(), None),
    ],
)
def test_the_smallest_batch_is_known_where_the_number_of_examples_is(
    loader: Any, smallest: int | None, opened: Any
) -> None:
    sources = opened((loader, loader))
    assert sources.train.smallest == smallest
    if smallest is not None:
        assert min(len(x) for x, _ in drain(sources.train)) == smallest


def test_a_split_loader_keeps_the_settings_of_the_given_one() -> None:
    given = DataLoader(
        Digits(40), batch_size=8, shuffle=True, num_workers=2, collate_fn=_collate, timeout=17,
        worker_init_fn=_init, prefetch_factor=3, persistent_workers=True, multiprocessing_context="fork",
    )  # fmt: skip
    made = LoaderPasses(given, np.arange(20), True, 0, "train", Turns()).loader
    for name in (
        "dataset", "batch_size", "num_workers", "collate_fn", "pin_memory", "drop_last", "timeout",
        "worker_init_fn", "prefetch_factor", "multiprocessing_context", "in_order",
    ):  # fmt: skip
        assert getattr(made, name) == getattr(given, name), name


def _collate(examples: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([x for x, _ in examples]) + 1000, torch.tensor([y for _, y in examples])


def _init(worker: int) -> None: ...


def test_the_collate_function_is_used(opened: Any) -> None:
    sources = opened(DataLoader(Digits(40), batch_size=8, collate_fn=_collate))
    assert min(seen(sources.train)) >= 1000


class Noisy(Digits):
    """Adds the worker's own random numbers, as random transforms do."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        x, y = super().__getitem__(index)
        return x + torch.rand(1), y


@pytest.mark.parametrize("sampler", [None, SequentialSampler(range(40)), RandomSampler(range(20))])
def test_the_noise_of_persistent_workers_does_not_depend_on_the_passes_before(sampler: Any) -> None:
    loader = DataLoader(Noisy(40), batch_size=8, num_workers=1, persistent_workers=True, sampler=sampler)
    sources = open_sources((loader, loader), make_config(num_classes=4))
    second = []
    for passes in ((0, 1), (1,)):
        for index in passes:
            torch.manual_seed(index)  # whose order is not ours to say draws from here
            found = torch.cat([x for x, _ in drain(sources.train, index)])
        second.append(found)
    sources.close()
    assert torch.equal(*second)


@pytest.mark.parametrize("persistent", [False, True])
def test_worker_processes_are_used_and_their_noise_is_a_function_of_seed_and_pass(persistent: bool) -> None:
    def run(seed: int) -> torch.Tensor:
        loader = DataLoader(Noisy(40), batch_size=8, num_workers=2, persistent_workers=persistent)
        sources = open_sources(loader, make_config(seed=seed, num_classes=4))
        try:
            return torch.cat([x for x, _ in drain(sources.valid, 1)])
        finally:
            sources.close()

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_the_users_own_persistent_workers_are_left_alone() -> None:
    loader = DataLoader(Digits(40), batch_size=8, num_workers=1, persistent_workers=True)
    assert len(list(loader)) == 5
    mine = loader._iterator
    sources = open_sources((loader, loader), make_config())
    assert len(drain(sources.train)) == 5
    sources.close()
    assert loader._iterator is mine
    assert len(list(loader)) == 5


def test_loaders_of_a_pair_keep_their_order_or_are_shuffled_by_pass(opened: Any) -> None:
    sources = opened(
        (DataLoader(Digits(24), batch_size=8), DataLoader(Digits(24), batch_size=8, shuffle=True))
    )
    assert seen(sources.train, 0) == seen(sources.train, 1) == list(range(24))
    assert seen(sources.valid, 0) != seen(sources.valid, 1)
    assert seen(sources.evaluation) == list(range(24))


def test_a_custom_sampler_is_respected_in_a_pair(opened: Any) -> None:
    weighted = WeightedRandomSampler([1.0] + [0.0] * 23, 16)
    sources = opened(
        (DataLoader(Digits(24), batch_size=8, sampler=weighted), DataLoader(Digits(24), batch_size=8))
    )
    assert set(seen(sources.train)) == {0}


def test_an_iterable_dataset_works_in_a_pair(opened: Any) -> None:
    sources = opened((DataLoader(Stream(), batch_size=8), DataLoader(Stream(), batch_size=8)))
    assert sources.train.batches() is None
    assert len(drain(sources.train)) == len(drain(sources.evaluation)) == 2


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
    with pytest.raises(DataError, match=r"split.*pair \(train, valid\)|cannot be; give a pair"):
        open_sources(loader, make_config())


def test_a_loader_with_too_few_examples_says_so() -> None:
    with pytest.raises(DataError, match="batch_size=8"):
        open_sources(DataLoader(Digits(8), batch_size=8, drop_last=True), make_config())
    with pytest.raises(DataError, match="too few"):
        open_sources(DataLoader(Digits(1), batch_size=8), make_config())


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
    assert known_classes(DataLoader(dataset, batch_size=2)) == classes


def test_a_dataset_without_classes_costs_one_pass(opened: Any) -> None:
    assert opened(DataLoader(Digits(40, classes=6), batch_size=8)).config.num_classes == 6


def test_augmentation_is_for_arrays() -> None:
    for changes in ({"augment": "cifar"}, {"cutout": 2}):
        for loader in (DataLoader(Digits(), batch_size=8), (batches(), make_arrays())):
            with pytest.raises(pydarts.ConfigError, match="transforms"):
                open_sources(loader, make_config(**changes))


# ---- what is no loader


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (iter([]), "only once"),
        ((b for b in batches()), "only once"),
        ((iter(batches()), batches()), "training source.*only once"),
        ((batches(), zip(range(3), range(3), strict=True)), "validation source.*only once"),
        (Digits(), "DataLoader"),
        ("data", "str"),
        (None, "NoneType"),
        (7, "int"),
        ({"x": 1}, "dict"),
        (([], batches()), "empty"),
        ((batches(), []), "validation source is empty"),
    ],
)
def test_what_is_no_loader_is_refused_with_the_remedy(loader: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_sources(loader, make_config())


def test_an_empty_loader_is_refused() -> None:
    with pytest.raises(DataError, match="the training loader is empty"):
        open_sources((Reiterable([]), batches()), make_config())


# ---- the batches of a loader


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.zeros(4, 1, 8, 8), r"pair \(x, y\), got a Tensor"),
        ({"x": 1, "y": 2}, "dict of 2"),
        ((torch.zeros(4, 1, 8, 8), torch.zeros(4).long(), 1), "tuple of 3"),
        (("a", "b"), "arrays or tensors"),
        ((torch.zeros(4, 8, 8), torch.zeros(4).long()), r"\[N, C, H, W\]"),
        ((torch.zeros(4, 3, 8, 8), torch.zeros(4).long()), r"\[3, 8, 8\].*\[1, 8, 8\]"),
        ((torch.zeros(4, 1, 8, 9), torch.zeros(4).long()), r"\[1, 8, 9\].*\[1, 8, 8\]"),
        ((torch.zeros(4, 1, 8, 8).long(), torch.zeros(4).long()), "uint8"),
        ((torch.zeros(0, 1, 8, 8), torch.zeros(0).long()), "empty"),
        ((torch.full((4, 1, 8, 8), torch.nan), torch.zeros(4).long()), "NaN or infinity.*image 0"),
        ((torch.zeros(4, 1, 8, 8), torch.zeros(4)), "integers"),
        ((torch.zeros(4, 1, 8, 8), torch.zeros(3).long()), "3, but there are 4"),
        ((torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 4, 0])), "num_classes=4.*number 2 is 4"),
        ((torch.zeros(4, 1, 8, 8), torch.tensor([0, -1, 2, 0])), "negative"),
    ],
)
def test_a_bad_batch_is_named_by_its_number(batch: Any, message: str) -> None:
    made = source_of([*batches(2), batch], shape=(1, 8, 8), num_classes=4)
    made.start(0, 0)
    assert made.next() is not None and made.next() is not None
    with pytest.raises(DataError, match=f"batch 2 of the training loader.*{message}|{message}.*batch 2"):
        made.next()
    made.close()


def test_batches_of_bytes_are_scaled_like_arrays() -> None:
    x = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    check = BatchChecker("training", torch.float64, mean=(0.5,), std=(0.25,))
    assert check(0, (x, [0, 1]))[0].flatten().tolist() == [-2.0, 2.0]
    assert BatchChecker("training", torch.float32)(0, (x.numpy(), np.array([0, 1])))[
        0
    ].flatten().tolist() == [0, 1]


def test_an_exception_of_the_loader_keeps_its_type_and_traceback() -> None:
    def loader() -> Iterator[Any]:
        yield from batches(1)
        raise LookupError("disk on fire")

    class Burning:
        def __iter__(self) -> Iterator[Any]:
            return loader()

    made = source_of(Burning())
    made.start(0, 0)
    assert made.next() is not None
    with pytest.raises(LookupError, match="disk on fire") as caught:
        made.next()
    assert any(entry.name == "loader" for entry in caught.traceback)
    assert made.next() is None
    made.close()


def test_closing_does_not_wait_for_batches_that_nobody_wants() -> None:
    cleaned = threading.Event()

    class Endless:
        def __iter__(self) -> Iterator[Any]:
            try:
                while True:
                    yield batches(1)[0]
            finally:
                cleaned.set()

    made = source_of(Endless())
    made.start(0, 0)
    assert made.next() is not None
    begun = time.perf_counter()
    made.close()
    made.close()
    assert time.perf_counter() - begun < 2
    assert cleaned.wait(2), "the generator's clean-up ran"


def test_a_source_that_may_draw_fetches_when_asked_if_told_so(opened: Any) -> None:
    fetched = []

    class Noted(Digits):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            fetched.append(index)
            return super().__getitem__(index)

    sources = opened(DataLoader(Noted(40), batch_size=4), num_classes=4)
    for told, most in ((False, 20), (True, 0)):
        if told:
            sources.fetch_when_asked()
        fetched.clear()
        sources.train.start(0, 0)
        time.sleep(0.3)
        assert (len(fetched) > 0) is not told and len(fetched) <= most
    for count in range(1, 6):
        assert sources.train.next() is not None
        time.sleep(0.05)
        assert len(fetched) == 4 * count
    assert sources.train.next() is None
    assert seen(sources.train, 0, 2) == seen(sources.train, 0)[8:]
    workers = opened(DataLoader(Noted(40), batch_size=4, num_workers=1), num_classes=4)
    workers.fetch_when_asked()
    assert workers.train.ahead, "its random numbers are the workers'"


def test_a_new_pass_drops_the_rest_of_the_old_one() -> None:
    made = source_of(batches(5))
    made.start(0, 0)
    made.next()
    assert len(drain(made, 1)) == 5
    made.close()


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    pydarts.search((batches(4), batches(2)), make_config(epochs=1))
    deadline = time.perf_counter() + 2
    while threading.active_count() > before and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


@given(n=st.integers(1, 12), size=st.integers(1, 5), skip=st.integers(0, 13), index=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_every_batch_comes_once_and_in_order(n: int, size: int, skip: int, index: int) -> None:
    made = source_of(batches(n, size))
    assert [int(x[0, 0, 0, 0]) for x, _ in drain(made, index, skip)] == list(range(skip, n))
    made.close()


def test_the_config_of_the_sources_is_complete(opened: Any) -> None:
    config: SearchConfig = opened(make_arrays()).config
    assert None not in (config.num_classes, config.in_channels, config.image_size)
