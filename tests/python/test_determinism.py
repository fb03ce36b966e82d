"""Determinism: a search is a function of its data, its configuration and its seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

pytestmark = pytest.mark.usefixtures("one_thread")


def arrays(n: int = 48, classes: int = 3, size: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return generator.integers(0, 256, (n, 1, size, size)).astype(np.uint8), y


def dataset(n: int = 48) -> TensorDataset:
    X, y = arrays(n)
    return TensorDataset(torch.from_numpy(X).float() / 255, torch.from_numpy(y))


class Jittered(Dataset):
    """Adds noise from torch's, numpy's and Python's random state, as user transforms do."""

    def __init__(self) -> None:
        self.inside = dataset(32)

    def __len__(self) -> int:
        return len(self.inside)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.inside[index]
        return x + 0.1 * torch.randn(x.shape) + np.random.rand() + random.random(), y


def config(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {
        "channels": 2,
        "layers": 3,
        "nodes": 1,
        "operations": ("none", "skip_connect", "sep_conv_3x3"),
        "epochs": 2,
        "batch_size": 8,
        "record": "step",
        "device": "cpu",
        "seed": 3,
        "progress": False,
    }
    return pydarts.SearchConfig(**(fields | changes))


def shuffled_loader() -> DataLoader:
    return DataLoader(dataset(), batch_size=8, shuffle=True)


def loader_with_workers() -> DataLoader:
    return DataLoader(Jittered(), batch_size=8, shuffle=True, num_workers=2)


def pair_of_loaders() -> tuple[DataLoader, DataLoader]:
    return shuffled_loader(), DataLoader(dataset(), batch_size=6, shuffle=True)


def pair_of_arrays() -> tuple[Any, Any]:
    return arrays(40), arrays(24, seed=1)


SOURCES: dict[str, Callable[[], Any]] = {
    "arrays": arrays,
    "a shuffled DataLoader": shuffled_loader,
    "a DataLoader with workers and random transforms": loader_with_workers,
    "a pair of DataLoaders": pair_of_loaders,
    "a pair of arrays": pair_of_arrays,
}
sources = pytest.mark.parametrize("source", [pytest.param(f, id=name) for name, f in SOURCES.items()])


def assert_same(one: pydarts.SearchResult, other: pydarts.SearchResult) -> None:
    """Bit for bit, all but the clock."""
    assert one.status == other.status == "complete"
    assert one.steps == other.steps
    assert set(one.alphas) == set(other.alphas)
    for name, trajectory in one.alphas.items():
        assert trajectory.dtype == other.alphas[name].dtype
        assert np.array_equal(trajectory, other.alphas[name]), name
    assert set(one.state_dict) == set(other.state_dict)
    for name, tensor in one.state_dict.items():
        assert torch.equal(tensor, other.state_dict[name]), name
    histories = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in result.history.to_dicts()]
        for result in (one, other)
    ]
    assert histories[0] == histories[1]
    assert one.genotype == other.genotype


def differ(one: pydarts.SearchResult, other: pydarts.SearchResult) -> bool:
    return all(not np.array_equal(one.alphas[name][-1], other.alphas[name][-1]) for name in one.alphas)


@sources
def test_the_same_seed_gives_the_same_search_whatever_the_random_state_around_it(
    source: Callable[[], Any],
) -> None:
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    one = pydarts.search(source(), config())
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    assert_same(one, pydarts.search(source(), config()))


@sources
def test_another_seed_gives_another_search(source: Callable[[], Any]) -> None:
    one, other = (pydarts.search(source(), config(seed=seed)) for seed in (3, 4))
    assert differ(one, other)
    assert all(not np.array_equal(one.alphas[name][0], other.alphas[name][0]) for name in one.alphas)


@pytest.mark.parametrize("method", ["first_order", "unrolled", "unrolled_exact"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_method_repeats_itself(method: str, precision: str) -> None:
    cfg = config(hypergradient=method, precision=precision)
    one = pydarts.search(arrays(), cfg)
    assert one.alphas["normal"].dtype == np.dtype(precision)
    assert_same(one, pydarts.search(arrays(), cfg))


def test_augmentation_repeats_itself_and_goes_by_the_seed() -> None:
    cfg = config(augment="cifar", cutout=3)
    one = pydarts.search(arrays(), cfg)
    assert_same(one, pydarts.search(arrays(), cfg))
    assert differ(one, pydarts.search(arrays(), config()))


def test_one_loader_object_can_be_searched_twice() -> None:
    loader = shuffled_loader()
    assert_same(pydarts.search(loader, config()), pydarts.search(loader, config()))


@pytest.mark.parametrize("source", [arrays, shuffled_loader])
def test_the_random_state_of_torch_is_left_alone(source: Callable[[], Any]) -> None:
    loader = source()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    pydarts.search(loader, config(augment="cifar" if source is arrays else "none"))
    assert torch.equal(before, torch.get_rng_state())


def test_random_draws_in_a_callback_do_not_matter() -> None:
    class Draws(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            torch.manual_seed(info.step)
            torch.randn(5), np.random.rand()

    assert_same(pydarts.search(arrays(), config()), pydarts.search(arrays(), config(), [Draws()]))


@pytest.mark.parametrize("source", [arrays, shuffled_loader])
@pytest.mark.parametrize("method", ["first_order", "unrolled", "unrolled_exact"])
def test_searching_under_no_grad_works(source: Callable[[], Any], method: str) -> None:
    cfg = config(hypergradient=method)
    with torch.no_grad():
        inside = pydarts.search(source(), cfg)
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert_same(inside, pydarts.search(source(), cfg))


def test_how_often_alpha_is_recorded_does_not_change_the_search() -> None:
    step, epoch, second = (pydarts.search(arrays(), config(record=record)) for record in ("step", "epoch", 2))
    for name, trajectory in step.alphas.items():
        assert np.array_equal(trajectory[list(epoch.steps)], epoch.alphas[name])
        assert np.array_equal(trajectory[list(second.steps)], second.alphas[name])
    assert step.steps == tuple(range(7))
    assert epoch.steps == (0, 3, 6)
    assert len(epoch.alphas["normal"]) == 3


def test_every_epoch_has_an_order_of_its_own() -> None:
    seen: list[list[int]] = []

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if logits.requires_grad:  # not in evaluation; α rests, so these are the weight steps
            seen.append(targets.tolist())
        return torch.nn.functional.cross_entropy(logits, targets)

    pydarts.search(arrays(), config(arch_start_epoch=2), loss=loss)
    first, second = seen[:3], seen[3:]
    assert len(seen) == 6 and first != second
    assert sorted(chain(*first)) == sorted(chain(*second))


def test_a_network_is_drawn_from_its_seed() -> None:
    def net(seed: int) -> pydarts.Supernet:
        return pydarts.Supernet("darts", channels=2, layers=2, nodes=1, image_size=8, seed=seed)

    torch.manual_seed(0)
    one = net(1)
    torch.manual_seed(1)
    same, other = net(1), net(2)
    assert all(torch.equal(t, same.state_dict()[name]) for name, t in one.state_dict().items())
    assert all(torch.equal(t, same.alphas[name]) for name, t in one.alphas.items())
    drawn = [name for name, t in one.state_dict().items() if name.endswith("conv.weight")]
    assert drawn
    assert all(not torch.equal(one.state_dict()[name], other.state_dict()[name]) for name in drawn)
    assert all(not torch.equal(t, other.alphas[name]) for name, t in one.alphas.items())


def test_a_search_starts_from_the_network_of_its_configuration() -> None:
    result = pydarts.search(arrays(), config())
    net = pydarts.Supernet(config=result.config)
    for name, alpha in net.alphas.items():
        assert np.array_equal(alpha.numpy(), result.alphas[name][0])
