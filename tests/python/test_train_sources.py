"""Training of networks of images: where the images come from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays
from pydarts._data.passes import split_indices
from pydarts._train.images import ImageTask
from trained import CELL, Steps, batches, config, drained, network, noisy, same, sources, task


class Stream:
    """Batches without a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(batches())


@pytest.mark.parametrize("form", sources())
def test_every_source_of_a_search_is_one_of_a_training(form: str) -> None:
    data, count = sources()[form]
    seen = Steps()
    result = pydarts.train(network(), data, config(epochs=2), seen)
    assert result.status == "complete" and seen.counts == [count] * (2 * count)


def test_the_steps_of_a_source_without_a_length_are_known_after_a_pass() -> None:
    seen = Steps()
    pydarts.train(network(), (Stream(), Stream()), config(epochs=2), seen)
    assert seen.counts == [None] * 3 + [3] * 3


def test_a_single_source_holds_out_what_it_does_not_train_on() -> None:
    X = torch.arange(50.0).view(50, 1, 1, 1).expand(50, 1, 8, 8)
    opened = task(network(), (X, torch.arange(50) % 4), train_portion=0.8)
    trained = {int(v) for index in range(4) for x, _ in drained(opened._train, index) for v in x[:, 0, 0, 0]}
    held = [int(v) for x, _ in drained(opened._evaluation, 0) for v in x[:, 0, 0, 0]]
    assert len(held) == 10 and held == sorted(held) and trained == set(range(50)) - set(held)


def test_what_a_training_holds_out_lies_in_the_half_that_a_search_takes_for_alpha() -> None:
    """As the documentation of `train` says: one seed, one permutation."""
    for_alpha, held = (set(split_indices(50, portion, 3)[1].tolist()) for portion in (0.5, 0.9))
    assert len(for_alpha) == 25 and len(held) == 5 and held < for_alpha
    X = torch.arange(50.0).view(50, 1, 1, 1).expand(50, 1, 8, 8)
    opened = task(network(), (X, torch.arange(50) % 4), seed=3)
    assert {int(v) for x, _ in drained(opened._evaluation, 0) for v in x[:, 0, 0, 0]} == held


def test_the_order_of_examples_is_a_function_of_seed_and_pass() -> None:
    X = torch.arange(24.0).view(24, 1, 1, 1).expand(24, 1, 8, 8)

    def order(seed: int, index: int) -> list[int]:
        train = task(network(), ((X, torch.arange(24) % 4),) * 2, seed=seed)._train
        return [int(value) for x, _ in drained(train, index) for value in x[:, 0, 0, 0]]

    first = order(0, 0)
    assert first == order(0, 0) != sorted(first) == list(range(24))
    assert first != order(0, 1) and first != order(1, 0)


def test_a_genotype_is_built_for_the_data_from_the_seed() -> None:
    X, y = make_arrays(n=20, channels=2, classes=3)
    built = [
        ImageTask.open(CELL, (X, y), config(seed=seed), torch.device("cpu"), lambda: None).network
        for seed in (0, 0, 1)
    ]
    arguments = built[0].arguments
    assert (arguments["num_classes"], arguments["in_channels"], arguments["channels"]) == (3, 2, 36)
    assert same(built[0], built[1]) and not same(built[0], built[2])


def test_random_numbers_of_the_caller_stay_as_they_were() -> None:
    def drawn() -> list[float]:
        return [*torch.rand(3).tolist(), *np.random.rand(3).tolist(), random.random()]

    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    expected = drawn()
    for data in (make_arrays(), noisy("transforms")):
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        pydarts.train(network(drop_path=0.5), data, config(epochs=1))
        assert drawn() == expected


def test_a_seed_seeds_the_noise_of_a_loader_and_other_seeds_make_other_noise() -> None:
    """The masks of drop path are drawn between the batches."""
    runs = [
        pydarts.train(network(drop_path=0.5), noisy("transforms"), config(seed=seed)) for seed in (3, 3, 4)
    ]
    assert same(runs[0].network, runs[1].network) and not same(runs[0].network, runs[2].network)


def test_what_is_drawn_between_two_batches_does_not_matter_to_the_next_one() -> None:
    def batches(drawn: int) -> list[torch.Tensor]:
        kept = []
        opened = task(network(), noisy("transforms"))
        for index in range(2):
            for x, _ in opened._batches(opened._train, index):
                kept.append(x)
                torch.rand(drawn), np.random.rand(drawn)
        return kept

    some, none = batches(5), batches(0)
    assert len(some) == 14 and all(map(torch.equal, some, none))
    assert len({float(x[0, 0, 0, 0]) for x in some}) == len(some), "each batch has its own noise"
