"""Training of networks of images: what is done to the images."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays
from pydarts._train.arrays import ArrayBatches
from pydarts._train.augment import crop_and_flip, cutout, draws
from torch.utils.data import DataLoader, TensorDataset
from trained import config, drained, network, task


def test_crops_and_flips_are_those_of_one_image_after_the_other() -> None:
    x = torch.randn(40, 3, 7, 10)
    numbers = draws(3, 1, 2, 40)
    found = crop_and_flip(x, numbers)
    seen = set()
    for image, (a, b, c, *_), out in zip(x, numbers.tolist(), found, strict=True):
        top, left, mirrored = int(a * 9), int(b * 9), c < 0.5
        padded = np.pad(image.numpy(), ((0, 0), (4, 4), (4, 4)))[:, top : top + 7, left : left + 10]
        assert np.array_equal(out.numpy(), padded[:, :, ::-1] if mirrored else padded)
        seen.add((top, left, mirrored))
    assert {top for top, _, _ in seen} == set(range(9)) == {left for _, left, _ in seen}


def test_cutout_is_a_square_around_any_pixel_clipped_at_the_border() -> None:
    numbers = draws(0, 0, 0, 60)
    found = cutout(torch.ones(60, 2, 8, 12), 4, numbers)
    for out, (*_, a, b) in zip(found, numbers.tolist(), strict=True):
        row, column = int(a * 8), int(b * 12)
        expected = np.ones((2, 8, 12))
        expected[:, max(row - 2, 0) : row + 2, max(column - 2, 0) : column + 2] = 0
        assert np.array_equal(out.numpy(), expected)


def test_the_numbers_of_augmentation_are_uniform_and_differ_by_seed_pass_and_batch() -> None:
    numbers = draws(0, 0, 0, 4000)
    assert numbers.min() >= 0 and numbers.max() < 1 and abs(float(numbers.mean()) - 0.5) < 0.01
    others = [draws(1, 0, 0, 4000), draws(0, 1, 0, 4000), draws(0, 0, 1, 4000)]
    assert not any(torch.equal(numbers, other) for other in others)


def test_training_images_are_augmented_before_and_cut_after_they_are_normalised() -> None:
    X, y = make_arrays(n=20)
    data = ((X, y), (X, y))
    sources = task(network(), data, mean=(0.5,), std=(0.25,), augment="cifar", cutout=4)._sources
    assert isinstance(sources.train, ArrayBatches)
    (first, labels), second = drained(sources.train, 0)
    black, nothing = (0 - 0.5) / 0.25, 0.0
    assert (first == black).any() and (first == nothing).any() and len(second[0]) == 8, "the rest left out"
    assert any(not torch.equal(first, other) for other, _ in drained(sources.train, 1)[:1])
    assert torch.equal(first, drained(sources.train, 0)[0][0]) and len(labels) == 8
    ((whole, all_labels),) = drained(sources.evaluation, 0)
    assert torch.equal(whole, (torch.from_numpy(X).float() / 255 - 0.5) / 0.25)
    assert torch.equal(all_labels, torch.from_numpy(y))


@pytest.mark.parametrize(("changes", "drawn"), [({}, 0), ({"augment": "cifar", "cutout": 2}, 2)])
def test_numbers_are_drawn_where_images_are_augmented_and_once_a_batch(
    changes: Any, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    noted = functools.wraps(draws)(lambda *given: seen.append(given) or draws(*given))
    monkeypatch.setattr("pydarts._train.arrays.draws", noted)
    sources = task(network(), (make_arrays(n=16),) * 2, **changes)._sources
    drained(sources.train, 0), drained(sources.evaluation, 0)
    assert len(seen) == drawn


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("form", ["arrays", "loader"])
def test_an_epoch_on_a_gpu_with_all_that_there_is(form: str) -> None:
    X, y = make_arrays(n=64, channels=3, size=32)
    changes = {"ema": 0.9, "bfloat16": True, "channels_last": True, "device": "cuda", "epochs": 2}
    data: Any = ((X, y), (X, y))
    if form == "arrays":
        changes |= {"augment": "cifar", "cutout": 8}
    else:
        data = (DataLoader(TensorDataset(torch.from_numpy(X).float() / 255, torch.from_numpy(y)), 8),) * 2
    before = torch.cuda.get_rng_state_all()
    runs = [
        pydarts.train(network(in_channels=3, auxiliary=True, drop_path=0.2), data, config(**changes))
        for _ in range(2)
    ]
    for run in runs:
        assert run.status == "complete" and math.isfinite(run.history[-1].valid_loss)
        assert next(run.network.parameters()).is_cuda
    assert all(map(torch.equal, before, torch.cuda.get_rng_state_all()))
    numbers = draws(0, 0, 0, 8)
    x = torch.rand(8, 3, 9, 9)
    for act in (crop_and_flip, lambda x, numbers: cutout(x, 4, numbers)):
        torch.testing.assert_close(act(x.cuda(), numbers.cuda()).cpu(), act(x, numbers), rtol=0, atol=0)
