"""Training of networks of images: what is done to the images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays
from pydarts._core import Arrays, Dataset
from torch.utils.data import DataLoader, TensorDataset
from trained import config, drained, network, task


def augmented(images: torch.Tensor, seed: int = 0, index: int = 0, **changes: Any) -> list[tuple[Any, Any]]:
    """One pass over all images in one batch: (image, number of the original) for each."""
    numbers = torch.arange(len(images))
    view = Arrays(Dataset(images, numbers), None, "train", len(images), None, None)
    asked = {"crop_and_flip": False, "cutout": 0} | changes
    ((x, y),) = drained(view.open(seed, dtype="float64", device="cpu", **asked), index)
    return list(zip(x.numpy(), y.tolist(), strict=True))


def test_every_crop_and_flip_of_the_padded_image_occurs() -> None:
    images = torch.arange(1.0, 2000 * 70 + 1, dtype=torch.float64).view(2000, 1, 7, 10)
    places = set()
    for found, number in augmented(images, crop_and_flip=True):
        padded = np.pad(images[number, 0].numpy(), 4)
        crops = {
            (top, left): padded[top : top + 7, left : left + 10] for top in range(9) for left in range(9)
        }
        (place,) = [
            (*at, mirrored)
            for at, crop in crops.items()
            for mirrored in (False, True)
            if np.array_equal(found[0], crop[:, ::-1] if mirrored else crop)
        ]
        places.add(place)
    assert places == {(top, left, flip) for top in range(9) for left in range(9) for flip in (False, True)}


def test_cutout_zeroes_a_square_around_any_pixel_clipped_at_the_border() -> None:
    squares = set()
    for found, _ in augmented(torch.ones(1500, 2, 8, 12, dtype=torch.float64), cutout=4):
        assert np.array_equal(found[0], found[1])
        rows, columns = (np.flatnonzero((found[0] == 0).any(axis)) for axis in (1, 0))
        assert (found[0] == 0).sum() == len(rows) * len(columns)
        squares.add((rows[0], rows[-1], columns[0], columns[-1]))
    centres = {
        (max(r - 2, 0), min(r + 1, 7), max(c - 2, 0), min(c + 1, 11)) for r in range(8) for c in range(12)
    }
    assert squares == centres


def test_augmentation_is_a_function_of_seed_pass_and_batch() -> None:
    images = torch.rand(64, 1, 6, 6, dtype=torch.float64)
    view = Arrays(Dataset(images, torch.arange(64)), None, "train", 32, None, None)

    def batches(seed: int, index: int) -> list[torch.Tensor]:
        return [x for x, _ in drained(view.open(seed, True, 3, "float64", "cpu"), index)]

    first, second = batches(0, 0)
    assert torch.equal(first, batches(0, 0)[0])
    assert not any(torch.equal(first, other) for other in (second, batches(1, 0)[0], batches(0, 1)[0]))


def test_training_images_are_augmented_before_and_cut_after_they_are_normalised() -> None:
    X, y = make_arrays(n=20)
    data = ((X, y), (X, y))
    training = task(network(), data, mean=(0.5,), std=(0.25,), augment="cifar", cutout=4)
    assert training._sources.train is not training._train
    (first, labels), second = drained(training._train, 0)
    black, nothing = (0 - 0.5) / 0.25, 0.0
    assert (first == black).any() and (first == nothing).any()
    assert len(second[0]) == 8, "a partial last batch is left out"
    assert any(not torch.equal(first, other) for other, _ in drained(training._train, 1)[:1])
    assert torch.equal(first, drained(training._train, 0)[0][0]) and len(labels) == 8
    ((whole, all_labels),) = drained(training._evaluation, 0)
    assert torch.equal(whole, (torch.from_numpy(X).float() / 255 - 0.5) / 0.25)
    assert torch.equal(all_labels, torch.from_numpy(y))


def test_all_sources_of_a_search_are_views_of_one_data_set(opened: Any, monkeypatch: Any) -> None:
    made = []

    def counted(*given: Any) -> Dataset:
        made.append(Dataset(*given))
        return made[-1]

    monkeypatch.setattr("pydarts._data.arrays.Dataset", counted)
    opened(make_arrays())
    assert len(made) == 1
    opened((make_arrays(), make_arrays()))
    assert len(made) == 3, "one per part of a pair"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "changes", [{"crop_and_flip": True}, {"cutout": 5}, {"crop_and_flip": True, "cutout": 5}]
)
def test_a_gpu_augments_images_exactly_as_the_cpu_does(changes: dict[str, Any]) -> None:
    images, numbers = torch.rand(64, 3, 9, 12), torch.arange(64)
    asked = {"crop_and_flip": False, "cutout": 0} | changes
    view = Arrays(Dataset(images, numbers), None, "train", 16, None, None)
    on = {
        device: drained(view.open(7, dtype="float32", device=device, **asked), 3)
        for device in ("cpu", "cuda")
    }
    assert len(on["cpu"]) == len(on["cuda"]) == 4
    for (x, y), (other, labels) in zip(on["cpu"], on["cuda"], strict=True):
        assert other.is_cuda and labels.is_cuda
        assert torch.equal(x, other.cpu()) and torch.equal(y, labels.cpu())
        assert not torch.equal(x, images[y])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("form", ["arrays", "loader"])
def test_an_epoch_on_a_gpu_with_all_that_there_is(form: str) -> None:
    X, y = make_arrays(n=64, channels=3, size=32)
    changes = {"ema": 0.9, "precision": "bfloat16", "channels_last": True, "device": "cuda", "epochs": 2}
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
