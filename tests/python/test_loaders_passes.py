"""Passes over a loader: how one is split and shuffled, which batches come, and what workers draw."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_config
from hypothesis import given, settings
from hypothesis import strategies as st
from loaders import Digits, Stream, batches, drain, seen, source_of
from pydarts._data.loaders import open_sources
from pydarts._data.passes import LoaderPasses, Turns, permutation, split_indices
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, WeightedRandomSampler


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


def test_a_loader_is_split_and_shuffled_by_pass_and_evaluated_in_order(opened: Any) -> None:
    sources = opened(DataLoader(Digits(40), batch_size=8, shuffle=True))
    train, valid = split_indices(40, 0.5, 0)
    first, second = seen(sources.train, 0), seen(sources.train, 1)
    assert sorted(first) == sorted(second) == train.tolist()
    assert first != second and first == seen(sources.train, 0)
    assert sorted(seen(sources.valid)) == valid.tolist()
    assert seen(sources.evaluation) == valid.tolist()


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


# ---- batches


@given(n=st.integers(1, 12), size=st.integers(1, 5), skip=st.integers(0, 13), index=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_every_batch_comes_once_and_in_order(n: int, size: int, skip: int, index: int) -> None:
    made = source_of(batches(n, size))
    assert [int(x[0, 0, 0, 0]) for x, _ in drain(made, index, skip)] == list(range(skip, n))
    made.close()


def test_a_pass_can_begin_anywhere(opened: Any) -> None:
    sources = opened(DataLoader(Digits(40), batch_size=8, shuffle=True))
    assert seen(sources.train, 3, 1) == seen(sources.train, 3)[8:]
    made = source_of(batches(4))
    assert [int(x[0, 0, 0, 0]) for x, _ in drain(made, 0, 2)] == [2, 3]
    made.close()


def test_a_new_pass_drops_the_rest_of_the_old_one() -> None:
    made = source_of(batches(5))
    made.start(0, 0)
    made.next()
    assert len(drain(made, 1)) == 5
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


# ---- settings and workers of a DataLoader


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
