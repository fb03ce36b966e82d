"""Training of networks of images."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import inspect
import json
import math
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays
from pydarts._passes import split_indices
from pydarts._training.arrays import ArrayBatches
from pydarts._training.augment import crop_and_flip, cutout, draws
from pydarts._training.config import ImageSettings
from pydarts._training.images import ImageTask
from pydarts._training.task import step_seed
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

CELL = pydarts.Genotype(
    normal=[("sep_conv_3x3", 0), ("skip_connect", 1)],
    normal_concat=[2],
    reduce=[("max_pool_3x3", 0), ("skip_connect", 1)],
    reduce_concat=[2],
)


def network(seed: int = 0, **changes: Any) -> pydarts.nn.ConvolutionalNetwork:
    arguments = {"channels": 4, "layers": 3, "num_classes": 4, "in_channels": 1, "stem": "small"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return pydarts.build(CELL, **(arguments | changes))


def config(**changes: Any) -> pydarts.TrainConfig:
    fields: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.05,
        "device": "cpu",
        "progress": False,
    }
    return pydarts.TrainConfig(**(fields | changes))


def task(net: pydarts.nn.ConvolutionalNetwork, data: Any, **changes: Any) -> ImageTask:
    return ImageTask.open(net, data, config(**changes), torch.device("cpu"), lambda: None)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def batches(n: int = 3, size: int = 8, classes: int = 4, side: int = 8, **kind: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 1, side, side, generator=generator, **kind), torch.arange(size) % classes)
        for _ in range(n)
    ]


# ---- what a step is


def negative_log_likelihood(logits: torch.Tensor, y: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy with a target of (1 - s) at the class and s / classes everywhere, plainly."""
    classes = logits.shape[1]
    target = torch.full_like(logits, smoothing / classes)
    target[torch.arange(len(y)), y] += 1 - smoothing
    shifted = logits - logits.max(1, keepdim=True).values
    return -(target * (shifted - shifted.exp().sum(1, keepdim=True).log())).sum(1).mean()


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_the_steps_of_a_training_are_the_plain_ones(schedule: Any) -> None:
    """Warm-up, schedule, smoothing, auxiliary loss, drop path, clip, momentum, decay, and the average."""
    epochs, rate, warmup, momentum, decay, clip, smoothing, aside, ema = (
        4,
        0.3,
        2,
        0.8,
        0.01,
        0.7,
        0.1,
        0.3,
        0.6,
    )
    net = network(auxiliary=True, drop_path=0.4).double()
    plain = copy.deepcopy(net)
    data = batches(side=32, size=4, dtype=torch.float64)
    ours = task(
        net,
        (data, data),
        epochs=epochs,
        learning_rate=rate,
        schedule=schedule,
        warmup=warmup,
        momentum=momentum,
        weight_decay=decay,
        grad_clip=clip,
        label_smoothing=smoothing,
        auxiliary_weight=aside,
        ema=ema,
        seed=7,
    )
    buffers = [torch.zeros_like(weight) for weight in plain.parameters()]
    average: dict[str, torch.Tensor] = {}
    clipped = count = 0
    for epoch in range(epochs):
        if epoch < warmup:
            lr = rate * (epoch + 1) / warmup
        elif schedule == "cosine":
            lr = rate * math.cos(math.pi * epoch / epochs / 2) ** 2
        else:
            lr = rate * math.exp(epoch * math.log(0.97))
        plain.train()
        plain.drop_path = 0.4 * epoch / epochs
        for index, ((x, y), step) in enumerate(zip(data, ours.steps(epoch), strict=True)):
            torch.manual_seed(step_seed(7, epoch, index))
            logits, auxiliary = plain(x)
            loss = negative_log_likelihood(logits, y, 0.0)
            assert float(step.loss) == pytest.approx(float(loss.detach()), rel=1e-9)
            assert int(step.correct) == int((logits.argmax(1) == y).sum()) and step.count == 4
            objective = negative_log_likelihood(logits, y, smoothing)
            objective = objective + aside * negative_log_likelihood(auxiliary, y, smoothing)
            gradients = torch.autograd.grad(objective, list(plain.parameters()))
            norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
            clipped += norm > clip
            with torch.no_grad():
                for position, (weight, gradient) in enumerate(
                    zip(plain.parameters(), gradients, strict=True)
                ):
                    slope = min(1.0, clip / (norm + 1e-6)) * gradient + decay * weight
                    buffers[position] = momentum * buffers[position] + slope if count else slope
                    weight -= lr * buffers[position]
            now = {name: value.clone() for name, value in plain.state_dict().items()}
            kept = min(ema, (1 + count) / (10 + count)) if count else 0.0
            average = {
                name: kept * average.get(name, value) + (1 - kept) * value for name, value in now.items()
            }
            count += 1
    assert clipped and count == 12
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-8, atol=1e-9, msg=name)
    for name, value in ours.weights.copy().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, average[name], rtol=1e-8, atol=1e-9, msg=name)
    assert not torch.equal(ours.weights.copy()["classifier.weight"], net.classifier.weight)


@pytest.mark.parametrize("again", [False, True])
def test_the_average_is_of_what_a_network_keeps_and_is_made_once(again: bool) -> None:
    """The share of drop path rises by epochs and is no weight; a resumed average is not a second one."""
    net = network(drop_path=0.4)
    ours = task(net, make_arrays(), ema=0.9)
    averaged = ours.weights.evaluated
    if again:
        ours.load_state({name: value.clone() for name, value in ours.state().items()})
    net.drop_path = 0.1
    list(ours.steps(2))
    assert ours.weights.evaluated is averaged and averaged is not net
    assert float(averaged._dropped) == pytest.approx(0.4), "as it was"
    kept = ours.weights.copy()
    assert {int(value) for name, value in kept.items() if name.endswith("num_batches_tracked")} == {5}
    assert int(ours.state()["averaged"]) == 5


def test_the_evaluation_is_the_plain_one_and_counts_the_five_likeliest() -> None:
    X, y = make_arrays(n=90, classes=9)
    net = network(num_classes=9)
    found = pydarts.train(net, ((X, y), (X[:70], y[:70])), config(epochs=1, mean=(0.25,), std=(0.5,)))
    with torch.no_grad():
        logits = net((torch.from_numpy(X[:70]).float() / 255 - 0.25) / 0.5)
    (record,) = found.history
    labels = torch.from_numpy(y[:70])
    order = logits.argsort(1, descending=True)
    ranks = [row.tolist().index(int(label)) for row, label in zip(order, labels, strict=True)]
    assert record.valid_accuracy == sum(rank < 1 for rank in ranks) / 70
    assert record.valid_top5 == sum(rank < 5 for rank in ranks) / 70
    assert record.valid_accuracy <= record.valid_top5 and record.train_accuracy <= record.train_top5 <= 1
    expected = float(negative_log_likelihood(logits, labels, 0.0))
    assert record.valid_loss == pytest.approx(expected, rel=1e-5)


def test_of_five_classes_the_five_likeliest_are_not_counted() -> None:
    for classes, counted in ((5, False), (6, True)):
        result = pydarts.train(network(num_classes=classes), make_arrays(classes=classes), config(epochs=1))
        assert (result.history[0].valid_top5 is not None) is counted
        (plain,) = result.history.to_dicts()
        again = pydarts._history.record_from(json.loads(json.dumps(plain)), pydarts.TrainRecord)
        assert again == result.history[0]


def test_it_learns() -> None:
    result = pydarts.train(network(), make_arrays(n=400), config(epochs=4, label_smoothing=0.1))
    assert result.status == "complete" and not result.network.training
    assert result.history[-1].valid_accuracy > 0.9, result.history
    assert [record.learning_rate for record in result.history] == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    )


# ---- augmentation


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


def drained(source: Any, index: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    source.start(index, 0)
    return list(iter(source.next, None))


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
    monkeypatch.setattr("pydarts._training.arrays.draws", noted)
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


# ---- where images come from


class Stream:
    """Batches without a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(batches())


class Noisy(Dataset[tuple[torch.Tensor, int]]):
    """Images with noise from all the generators that transforms draw from."""

    def __init__(self, n: int) -> None:
        X, y = make_arrays(n=n)
        self.x, self.y = torch.from_numpy(X).float() / 255, y.tolist()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        noise = random.random() + np.random.rand() + torch.rand(1, 8, 8)
        return self.x[index] + noise, self.y[index]


def noisy(form: str) -> Any:
    """Loaders of noise: alone, with workers that stay, with an order that is not ours to say."""
    data = Noisy(60)
    if form == "transforms":
        return DataLoader(data, batch_size=8, shuffle=True)
    if form == "workers":
        return DataLoader(data, batch_size=8, shuffle=True, num_workers=2, persistent_workers=True)
    weighted = WeightedRandomSampler([1.0] * 30 + [2.0] * 30, 24)
    staying = {"num_workers": 1, "persistent_workers": True} if form == "sampler and workers" else {}
    return (DataLoader(data, batch_size=8, sampler=weighted, **staying), DataLoader(data, batch_size=8))


class Steps(pydarts.TrainCallback):
    def __init__(self) -> None:
        self.counts: list[int | None] = []

    def on_step(self, info: pydarts.TrainStep) -> None:
        self.counts.append(info.steps_per_epoch)


def sources() -> dict[str, Any]:
    X, y = make_arrays(n=60)
    tensors = TensorDataset(torch.from_numpy(X).float() / 255, torch.from_numpy(y))
    loader = DataLoader(tensors, batch_size=8, shuffle=True)
    return {
        "arrays": ((X, y), 6),  # nine tenths of 60 are six batches of eight and a rest
        "tensors": ((torch.from_numpy(X), torch.from_numpy(y)), 6),
        "loader": (loader, 7),
        "pair of arrays": (((X, y), (X[:5], y[:5])), 7),
        "pair of loaders": ((loader, loader), 8),
        "arrays and batches": (((X, y), batches(1)), 7),
        "lists of batches": ((batches(), batches(1)), 3),
    }


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
    opened = task(network(), (X, torch.arange(50) % 4), train_portion=0.8)._sources
    trained = {int(v) for index in range(4) for x, _ in drained(opened.train, index) for v in x[:, 0, 0, 0]}
    held = [int(v) for x, _ in drained(opened.evaluation, 0) for v in x[:, 0, 0, 0]]
    assert len(held) == 10 and held == sorted(held) and trained == set(range(50)) - set(held)


def test_what_a_training_holds_out_lies_in_the_half_that_a_search_takes_for_alpha() -> None:
    """As the documentation of `train` says: one seed, one permutation."""
    for_alpha, held = (set(split_indices(50, portion, 3)[1].tolist()) for portion in (0.5, 0.9))
    assert len(for_alpha) == 25 and len(held) == 5 and held < for_alpha
    X = torch.arange(50.0).view(50, 1, 1, 1).expand(50, 1, 8, 8)
    opened = task(network(), (X, torch.arange(50) % 4), seed=3)._sources
    assert {int(v) for x, _ in drained(opened.evaluation, 0) for v in x[:, 0, 0, 0]} == held


def test_the_order_of_examples_is_a_function_of_seed_and_pass() -> None:
    X = torch.arange(24.0).view(24, 1, 1, 1).expand(24, 1, 8, 8)

    def order(seed: int, index: int) -> list[int]:
        train = task(network(), ((X, torch.arange(24) % 4),) * 2, seed=seed)._sources.train
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
            for x, _ in opened._batches("train", index):
                kept.append(x)
                torch.rand(drawn), np.random.rand(drawn)
        return kept

    some, none = batches(5), batches(0)
    assert len(some) == 14 and all(map(torch.equal, some, none))
    assert len({float(x[0, 0, 0, 0]) for x in some}) == len(some), "each batch has its own noise"


# ---- how it ends


class StopAt(pydarts.TrainCallback):
    """Does something after a step."""

    def __init__(self, epoch: int, step: int, act: Any) -> None:
        self.at, self.act, self.ended = (epoch, step), act, None

    def on_step(self, info: pydarts.TrainStep) -> None:
        if (info.epoch, info.step_in_epoch) == self.at:
            self.act()

    def on_end(self, result: pydarts.TrainResult) -> None:
        self.ended = result.status


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def fail() -> None:
    raise RuntimeError("mine")


@pytest.mark.parametrize("form", ["arrays", "transforms", "workers", "sampler", "sampler and workers"])
def test_resumed_after_ctrl_c_it_is_bit_for_bit_the_same(form: str, tmp_path: Path) -> None:
    data = sources()["arrays"][0] if form == "arrays" else noisy(form)
    changes: dict[str, Any] = {"epochs": 4, "ema": 0.8, "warmup": 1, "keep": "best"}
    if form == "arrays":
        changes |= {"augment": "cifar", "cutout": 3}
    whole = pydarts.train(network(drop_path=0.3), data, config(**changes))
    kept = {"checkpoint_dir": tmp_path, "resume": True}
    stop = StopAt(2, 1, press)
    part = pydarts.train(network(drop_path=0.3), data, config(**changes, **kept), stop)
    assert part.status == "interrupted" == stop.ended and len(part.history) == 2
    again = pydarts.train(network(9, drop_path=0.3), data, config(**changes, **kept))
    assert same(again.network, whole.network)
    timeless = [[{**row, "seconds": 0} for row in run.history.to_dicts()] for run in (again, whole)]
    assert timeless[0] == timeless[1] and len(timeless[0]) == 4


def test_another_number_of_epochs_is_another_schedule_and_a_warning_says_so(tmp_path: Path) -> None:
    kept = {"checkpoint_dir": tmp_path}
    pydarts.train(network(), make_arrays(), config(epochs=1, **kept))
    with pytest.warns(UserWarning, match="epochs goes from 1 to 2: the schedules are recomputed"):
        more = pydarts.train(network(), make_arrays(), config(epochs=2, resume=True, **kept))
    assert len(more.history) == 2 and more.history[1].learning_rate == pytest.approx(0.025)


def test_a_folder_with_checkpoints_is_not_begun_anew(tmp_path: Path) -> None:
    pydarts.train(network(), make_arrays(), config(epochs=1, checkpoint_dir=tmp_path))
    with pytest.raises(pydarts.CheckpointError, match=r"already holds the checkpoints.*resume=True"):
        pydarts.train(network(), make_arrays(), config(epochs=1, checkpoint_dir=tmp_path))
    with pytest.raises(pydarts.CheckpointError, match=r"its label_smoothing is 0.0, here 0.1"):
        changed = config(epochs=1, checkpoint_dir=tmp_path, resume=True, label_smoothing=0.1)
        pydarts.train(network(), make_arrays(), changed)


def test_how_it_is_run_may_change_when_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda net, **how: net)
    whole = pydarts.train(network(), make_arrays(), config())
    with pytest.raises(RuntimeError, match="mine"):
        pydarts.train(network(), make_arrays(), config(checkpoint_dir=tmp_path), StopAt(1, 0, fail))
    other = {"eval_batch_size": 3, "compile": True}
    again = pydarts.train(network(7), make_arrays(), config(checkpoint_dir=tmp_path, resume=True, **other))
    assert same(again.network, whole.network) and again.config.eval_batch_size == 3


def test_what_stops_a_training_carries_what_was_reached() -> None:
    stop = StopAt(1, 0, fail)
    net = network(drop_path=0.3)
    with pytest.raises(RuntimeError, match="mine") as caught:
        pydarts.train(net, make_arrays(), config(), stop)
    result: pydarts.TrainResult = caught.value.result  # type: ignore[attr-defined]
    assert result.status == "failed" == stop.ended and len(result.history) == 1
    assert net.drop_path == 0.3 and not net.training
    with pytest.raises(pydarts.NumericalError, match=r"in step \d+ of epoch 0; lower learning_rate"):
        pydarts.train(network(), make_arrays(), config(learning_rate=1e30, grad_clip=1e30))


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_a_loss_that_is_not_finite_ends_a_training_at_once_with_the_weights_before(ema: float) -> None:
    steps, net = Steps(), network()
    with pytest.raises(pydarts.NumericalError, match=r"step 1 of epoch 0; lower learning_rate") as caught:
        pydarts.train(net, make_arrays(), config(learning_rate=1e30, grad_clip=1e30, ema=ema), steps)
    assert len(steps.counts) == 1, "the first step broke the weights, the second found that out"
    result: pydarts.TrainResult = caught.value.result  # type: ignore[attr-defined]
    assert result.network is net and result.status == "failed" and not result.history
    assert same(net, network())


class BreakAt(StopAt):
    """Makes the weights NaN after a step, as one too long does; keeps those of the epoch before."""

    def __init__(self, epoch: int, step: int, net: torch.nn.Module, act: Any = lambda: None) -> None:
        super().__init__(epoch, step, self.breaks)
        self.net, self.then, self.before = net, act, copy.deepcopy(net)

    @torch.no_grad()
    def breaks(self) -> None:
        self.net.classifier.weight.fill_(math.nan)
        self.then()

    def on_epoch(self, record: pydarts.TrainRecord) -> None:
        self.before = copy.deepcopy(self.net)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_the_last_step_of_an_epoch_may_break_the_weights_and_the_evaluation_finds_out(
    epoch: int, tmp_path: Path
) -> None:
    net = network()
    breaks = BreakAt(epoch, 4, net)
    with pytest.raises(
        pydarts.NumericalError, match=rf"the validation loss is nan after epoch {epoch}; lower"
    ) as caught:
        pydarts.train(net, make_arrays(), config(checkpoint_dir=tmp_path), breaks)
    assert len(caught.value.result.history) == epoch  # type: ignore[attr-defined]
    assert same(net, breaks.before) and breaks.ended == "failed"
    assert len(list(tmp_path.iterdir())) == min(epoch, 2), "what broke is not written down"
    again = pydarts.train(network(7), make_arrays(), config(checkpoint_dir=tmp_path, resume=True))
    assert same(again.network, pydarts.train(network(7 if not epoch else 0), make_arrays(), config()).network)


@pytest.mark.parametrize("act", [press, fail])
def test_broken_weights_are_not_brought_home_whatever_ends_the_training(act: Any) -> None:
    net = network()
    breaks = BreakAt(1, 2, net, act)
    with contextlib.suppress(RuntimeError):
        pydarts.train(net, make_arrays(), config(), breaks)
    assert breaks.ended in ("interrupted", "failed") and same(net, breaks.before)


def test_an_exception_of_the_loader_comes_out_as_it_is() -> None:
    class Breaks:
        passes = 0

        def __iter__(self) -> Iterator[Any]:
            self.passes += 1
            yield from batches()
            if self.passes == 4:  # the first looks for sizes
                raise KeyError("gone")

    with pytest.raises(KeyError, match="gone") as caught:
        pydarts.train(network(), (Breaks(), batches()), config(epochs=9))
    assert len(caught.value.result.history) == 2  # type: ignore[attr-defined]


def test_ctrl_c_ends_the_wait_for_a_loader() -> None:
    class Stuck:
        passes = 0

        def __iter__(self) -> Iterator[Any]:
            self.passes += 1
            yield from batches()
            if self.passes == 3:
                time.sleep(1)  # by then the steps are done, and the next batch is waited for
                press()
                time.sleep(20)

    begun = time.monotonic()
    result = pydarts.train(network(), (Stuck(), batches()), config(epochs=9))
    assert result.status == "interrupted" and len(result.history) == 1
    assert time.monotonic() - begun < 10


def test_the_best_epoch_is_that_of_the_highest_accuracy() -> None:
    X, y = make_arrays(n=40)
    noisy = {"epochs": 6, "learning_rate": 0.5, "grad_clip": 100.0, "schedule": "exponential"}
    best = pydarts.train(network(), ((X, y), (X, y)), config(**noisy, keep="best"))
    last = pydarts.train(network(), ((X, y), (X, y)), config(**noisy))
    accuracies = [record.valid_accuracy for record in best.history]
    assert best.best == accuracies.index(max(accuracies)) != 5, accuracies
    for result, expected in ((best, max(accuracies)), (last, accuracies[-1])):
        assert task(result.network, ((X, y), (X, y))).evaluate().accuracy == expected
    one, other = best.history[0], best.history[1]
    sure = dataclasses.replace(one, valid_accuracy=0.5, valid_loss=0.1)
    right = dataclasses.replace(other, valid_accuracy=0.6, valid_loss=0.9)
    assert dataclasses.replace(best, history=pydarts.History([sure, right])).best == 1


def test_a_result_comes_back_from_its_folder(tmp_path: Path) -> None:
    found = pydarts.train(network(num_classes=6), make_arrays(n=60, classes=6), config(epochs=2))
    found.save(tmp_path)
    again = pydarts.TrainResult.load(tmp_path)
    assert again.history == found.history and again.config == found.config and again.best == found.best
    assert same(again.network, found.network) and again.config.mean == found.config.mean
    assert found.config.mean is not None
    path = tmp_path / "training.json"
    about = json.loads(path.read_text())
    for row in about["history"]:  # as before there were these
        del row["train_top5"], row["valid_top5"]
    path.write_text(json.dumps(about))
    assert pydarts.TrainResult.load(tmp_path).history[0].valid_top5 is None


# ---- how it is computed


def test_bfloat16_is_of_the_passes_and_not_of_the_weights() -> None:
    net = network()
    seen = []
    hook = net.classifier.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    result = pydarts.train(net, make_arrays(n=100), config(bfloat16=True, ema=0.5))
    hook.remove()
    assert set(seen) == {torch.bfloat16} and math.isfinite(result.history[-1].valid_loss)
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}
    assert not same(net, pydarts.train(network(), make_arrays(n=100), config(ema=0.5)).network)
    with pytest.raises(
        pydarts.ConfigError, match=r"weights are float64; .*bfloat16=True keeps them in float32:"
    ):
        pydarts.train(network().double(), make_arrays(), config(bfloat16=True))
    with pytest.raises(
        pydarts.ConfigError, match=r"weights are float16; .* in float32 or float64: use network"
    ):
        pydarts.train(network().half(), make_arrays(), config())


def test_channels_last_is_a_layout_and_nothing_else() -> None:
    data = ((torch.rand(16, 3, 9, 9, dtype=torch.float64), torch.arange(16) % 4),) * 2
    plain, laid = network(in_channels=3).double(), network(in_channels=3).double()
    seen = []
    hook = laid.register_forward_pre_hook(
        lambda module, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    pydarts.train(plain, data, config())
    pydarts.train(laid, data, config(channels_last=True))
    hook.remove()
    assert seen and all(seen)
    assert laid.stem.conv.weight.is_contiguous(memory_format=torch.channels_last)
    for name, value in laid.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-9, atol=1e-9)


def test_channels_last_stays_within_its_memory() -> None:
    """oneDNN's strided 1x1 kernels did not: a process of its own, which ends there by an abort."""
    code = """if True:
        import pydarts, torch
        torch.set_num_threads(1)
        cells = [("conv_1x1", 0), ("skip_connect", 1)]
        cell = pydarts.Genotype(normal=cells, normal_concat=[2], reduce=cells, reduce_concat=[2])
        data = ((torch.randn(64, 3, 16, 16), torch.arange(64) % 4),) * 2
        for channels in (2, 4):
            net = pydarts.build(cell, channels=channels, layers=3, num_classes=4)
            cfg = pydarts.TrainConfig(epochs=5, batch_size=16, channels_last=True, progress=False)
            pydarts.train(net, data, cfg)
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("partial", [False, True])
def test_compiled_it_is_the_same_and_is_compiled_once(partial: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop path rises every epoch: that must not compile anew, nor fall back after eight times."""
    graphs = []

    def backend(graph: Any, example: Any) -> Any:
        assert not any(isinstance(given, torch.SymInt) for given in example), "a graph for any size"
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    data = ((torch.rand(8, 1, 8, 8, dtype=torch.float64), torch.arange(8) % 4),) * 2
    plain, compiled = network(drop_path=0.3).double(), network(drop_path=0.3).double()
    size = {"eval_batch_size": 5} if partial else {}
    pydarts.train(plain, data, config(epochs=10, **size))
    pydarts.train(compiled, data, config(epochs=10, compile=True, **size))
    assert len(graphs) == 3 + partial, "evaluation, training without drop path, training with it"
    for name, value in compiled.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-9, atol=1e-9)


# ---- choices


def test_the_presets_are_the_published_trainings() -> None:
    cifar = ImageSettings.of(pydarts.TrainConfig.cifar10(seed=3))
    assert (cifar.epochs, cifar.batch_size, cifar.learning_rate, cifar.momentum) == (600, 96, 0.025, 0.9)
    assert (cifar.weight_decay, cifar.grad_clip, cifar.auxiliary_weight) == (3e-4, 5.0, 0.4)
    assert (cifar.augment, cifar.cutout, cifar.seed, cifar.label_smoothing) == ("cifar", 16, 3, 0.0)
    assert cifar.rate(0) == 0.025 and cifar.rate(300) == pytest.approx(0.0125) and cifar.rate(599) < 1e-6
    imagenet = ImageSettings.of(pydarts.TrainConfig.imagenet())
    assert (imagenet.epochs, imagenet.batch_size, imagenet.weight_decay) == (250, 128, 3e-5)
    assert (imagenet.label_smoothing, imagenet.augment, imagenet.cutout) == (0.1, "none", 0)
    assert [imagenet.rate(epoch) for epoch in (0, 4, 5, 100)] == pytest.approx(
        [0.02, 0.1, 0.1 * 0.97**5, 0.1 * 0.97**100]
    )
    warmups = [pydarts.TrainConfig.quick(epochs=epochs).warmup for epochs in (1, 2, 3, 4, None)]
    assert warmups == [0, 1, 2, 2, 2] and pydarts.TrainConfig.quick(warmup=0).warmup == 0


def test_a_configuration_comes_back_from_its_dictionary_and_copies() -> None:
    cfg = pydarts.TrainConfig.cifar10(mean=[0.5], std=(0.25,), checkpoint_dir=Path("here"), seed=3)
    plain = json.loads(json.dumps(cfg.to_dict()))
    assert pydarts.TrainConfig.from_dict(plain) == cfg
    assert copy.deepcopy(cfg) == pickle.loads(pickle.dumps(cfg)) == cfg
    assert pydarts.TrainConfig.from_dict({"epochs": 3}) == pydarts.TrainConfig(epochs=3)
    numbers = pydarts.TrainConfig(epochs=np.int64(3), learning_rate=np.float32(0.5))
    assert json.loads(json.dumps(numbers.to_dict()))["learning_rate"] == 0.5
    assert "learning_rate" in inspect.signature(pydarts.TrainConfig).parameters


@pytest.mark.parametrize(
    "make",
    [
        lambda **fields: pydarts.TrainConfig(**fields),
        lambda **fields: pydarts.TrainConfig().replace(**fields),
        lambda **fields: pydarts.TrainConfig.cifar10(**fields),
        lambda **fields: pydarts.TrainConfig.quick(**fields),
        lambda **fields: pydarts.TrainConfig.from_dict(fields),
    ],
    ids=["call", "replace", "cifar10", "quick", "from_dict"],
)
def test_an_unknown_field_is_named_with_those_that_there_are(make: Any) -> None:
    with pytest.raises(pydarts.ConfigError, match=r"unknown option `lr`; known: epochs, batch_size, .*seed"):
        make(lr=1)
    with pytest.raises(
        pydarts.ConfigError, match=r"unknown option `lerning_rate`; did you mean `learning_rate`\?"
    ):
        make(lerning_rate=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"momentum": 1.0}, r"momentum is 1.0; it must be a number, at least 0 and below 1"),
        ({"grad_clip": 0}, "grad_clip is 0; it must be a finite number, greater than 0"),
        ({"grad_clip": math.inf}, "grad_clip is inf; it must be a finite number"),
        ({"weight_decay": "1e-4"}, "weight_decay is '1e-4'; it must be a finite number, at least 0"),
        ({"warmup": 3}, "warmup is 3, and there are 3 epochs; it must be below that"),
        ({"warmup": 600, "epochs": None}, "warmup is 600, and there are 600 epochs"),
        ({"warmup": -1}, "warmup is -1; it must be a whole number of at least 0"),
        ({"seed": None}, "seed is None; it must be a whole number of at least 0"),
        ({"schedule": "linear"}, "schedule is 'linear'; it must be one of cosine, exponential"),
        ({"compile": 1}, "compile is 1; it must be True or False"),
        ({"augment": "imagenet"}, "augment"),
        ({"std": [0.0]}, "std"),
        ({"train_portion": 1.0}, "train_portion"),
    ],
)
def test_a_choice_that_cannot_be_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(pydarts.ConfigError, match=words):
        config(**changes)


def test_choices_for_the_other_kind_of_network_are_refused() -> None:
    with pytest.raises(pydarts.ConfigError, match="bptt, patience: not for a network of images"):
        pydarts.train(network(), make_arrays(), config(bptt=3, patience=1))
    words = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=4, units=4)
    with pytest.raises(pydarts.ConfigError, match="augment, cutout: not for a language model"):
        pydarts.train(words, (np.arange(99) % 4,) * 2, pydarts.TrainConfig.cifar10())


X, y = make_arrays()


@pytest.mark.parametrize(
    ("given", "data", "changes", "kind", "words"),
    [
        ({}, X, {}, pydarts.DataError, "a bare array: labels are missing"),
        ({}, (X[:, 0], y), {}, pydarts.DataError, r"X\[:, None\]"),
        ({}, TensorDataset(torch.from_numpy(X)), {}, pydarts.DataError, "wrap it: DataLoader"),
        ({}, batches(), {}, pydarts.DataError, r"a list cannot be; give a pair \(train, valid\)"),
        ({}, (X, y), {"batch_size": 96}, pydarts.DataError, "43 of 48 examples.*batch_size=96"),
        ({}, (X, y), {"mean": [0.5] * 3, "std": [1] * 3}, pydarts.ConfigError, "hold 3 numbers"),
        ({}, (batches(), batches()), {"cutout": 4}, pydarts.ConfigError, "a loader augments by its own"),
        ({"num_classes": 3}, (X, y), {}, pydarts.DataError, "below num_classes=3"),
        ({"in_channels": 3}, (X, y), {}, pydarts.DataError, "in_channels is 3, but the images have 1"),
        (
            {"auxiliary": True},
            (X, y),
            {},
            pydarts.DataError,
            "too small for the auxiliary head, which takes 29",
        ),
    ],
)
def test_data_that_cannot_be_are_named(given: Any, data: Any, changes: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words):
        pydarts.train(network(**given), data, config(**changes))


@pytest.mark.parametrize("known", [True, False])
def test_a_batch_of_one_image_is_refused_where_batch_norm_would_have_a_single_value(known: bool) -> None:
    X = torch.rand(9, 1, 32, 32)
    tensors = TensorDataset(X, torch.arange(9) % 4)
    loader: Any = DataLoader(tensors, batch_size=4)
    if not known:
        loader = [(X[:4], torch.arange(4)), (X[:1], torch.arange(1))]
    seen = Steps()
    with pytest.raises(pydarts.DataError, match=r"one image of 32x32 pixels .*drop_last=True") as caught:
        pydarts.train(network(auxiliary=True), (loader, loader), config(), seen)
    assert hasattr(caught.value, "result") is not known and len(seen.counts) == (0 if known else 1)
    with pytest.raises(pydarts.DataError, match=r"one image of 4x4 pixels .*choose another batch_size"):
        pydarts.train(network(), (torch.rand(9, 1, 4, 4), torch.arange(9) % 4), config(batch_size=1))
    for fine in (DataLoader(tensors, batch_size=4, drop_last=True), loader):
        auxiliary = fine is not loader
        result = pydarts.train(network(auxiliary=auxiliary), (fine, loader), config(epochs=1))
        assert result.status == "complete", "one image of more pixels is enough for the cells"


@pytest.mark.parametrize(("stem", "least"), [("small", 29), ("imagenet", 193)])
@pytest.mark.parametrize("layers", [2, 3, 5])
def test_the_least_image_for_the_auxiliary_head_passes_it(stem: Any, least: int, layers: int) -> None:
    net = network(stem=stem, auxiliary=True, layers=layers, num_classes=4)
    labels = torch.arange(2)
    task(net, ((torch.zeros(2, 1, least, least), labels),) * 2, batch_size=2)
    assert net(torch.zeros(2, 1, least, least))[1].shape == (2, 4)
    with pytest.raises(pydarts.DataError, match=f"takes {least}"):
        task(net, ((torch.zeros(2, 1, least - 1, least), labels),) * 2, batch_size=2)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a network of pydarts.build or a Genotype, got a Linear"):
        pydarts.train(torch.nn.Linear(2, 2), make_arrays(), config())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"give the network itself: TrainConfig\(compile=True\) compiles it"):
        pydarts.train(torch.compile(network()), make_arrays(), config())  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [CELL, network()], ids=["genotype", "network"])
def test_the_weight_of_a_loss_that_there_is_not_is_refused(given: Any) -> None:
    with pytest.raises(pydarts.ConfigError, match=r"auxiliary_weight is 0.3, but .* has no auxiliary head"):
        pydarts.train(given, make_arrays(), config(auxiliary_weight=0.3))


def test_the_configuration_of_a_result_serves_again() -> None:
    first = pydarts.train(network(), make_arrays(), config(epochs=1))
    again = pydarts.train(network(), make_arrays(), first.config)
    assert same(first.network, again.network) and again.config == first.config
    for weight in (0, 0.4):  # no such loss either way
        pydarts.train(network(), make_arrays(), config(epochs=1, auxiliary_weight=weight))


def test_a_drop_path_that_was_set_later_is_that_of_result_and_checkpoint(tmp_path: Path) -> None:
    net = network()
    net.drop_path = 0.3
    found = pydarts.train(net, make_arrays(), config(checkpoint_dir=tmp_path / "checkpoints"))
    assert net.drop_path == 0.3
    found.save(tmp_path / "result")
    again = pydarts.TrainResult.load(tmp_path / "result").network
    assert isinstance(again, pydarts.nn.ConvolutionalNetwork) and again.drop_path == 0.3
    with pytest.raises(pydarts.CheckpointError, match=r"its drop_path is 0.3, here 0.0"):
        pydarts.train(network(), make_arrays(), config(checkpoint_dir=tmp_path / "checkpoints", resume=True))


def test_the_share_that_is_dropped_rises_while_the_networks_own_stays() -> None:
    net = network(drop_path=0.3)
    seen = []

    class Shares(pydarts.TrainCallback):
        def on_epoch(self, record: pydarts.TrainRecord) -> None:
            seen.append((float(net._dropped), net.drop_path, net.arguments["drop_path"]))

    pydarts.train(net, make_arrays(), config(), Shares())
    assert seen == [(pytest.approx(0.1 * epoch), 0.3, 0.3) for epoch in range(3)]
    assert float(net._dropped) == pytest.approx(0.3)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_after_ctrl_c_the_last_weights_are_those_of_the_moment_and_the_best_of_an_epoch(keep: Any) -> None:
    data, changes = make_arrays(), {"epochs": 3, "schedule": "exponential", "keep": keep}
    part = pydarts.train(network(), data, config(**changes), StopAt(1, 1, press))
    whole = pydarts.train(network(), data, config(**(changes | {"epochs": 1})))
    assert part.status == "interrupted" and len(part.history) == 1
    assert same(part.network, whole.network) is (keep == "best")
