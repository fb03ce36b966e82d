"""Random numbers of loaders, `unpack` and modules in searches with user-defined networks.

What a search gives is a function of its seed, not of threads, worker processes, or the caller's generators.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import Stop
from pydarts.nn import Choice
from structured import drain, opened
from test_draws import disturb, states
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

N, WIDTH = 24, 3
X = torch.linspace(-1, 1, N * WIDTH).reshape(N, WIDTH)
Y = X[:, 0].abs()
HALVES = list(range(0, N, 2)), list(range(1, N, 2))


class Net(nn.Module):
    """A small network with a choice; `draws` makes its forward pass draw from every generator."""

    def __init__(self, draws: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first = nn.Linear(WIDTH, 4)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.5)
        self.mix = Choice({"tanh": nn.Tanh(), "relu": nn.ReLU()})
        self.draws = draws
        self.own = nn.Sequential(nn.Identity(), Held())

    def forward(self, x: Tensor) -> Tensor:
        if self.draws:
            x = x + 0.1 * (torch.rand(()) + np.random.rand() + random.random() + self.own[1].rng.random())
        return self.mix(self.first(x)).sum(1)


class Held(nn.Module):
    """A module with a generator of its own, deep in a network."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(7)


class Noisy(Dataset[Any]):
    """Examples with noise from every generator, and from one of the data set."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.rng = np.random.default_rng(1)
        self.log = log

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self.log is not None:
            self.log.append("read")
        noise = torch.rand(()) + np.random.rand() + random.random() + self.rng.random()
        return X[index] + 0.1 * noise, Y[index]


class Shuffled:
    """Batches in an order that is drawn."""

    def __iter__(self) -> Iterator[Any]:
        for part in torch.randperm(N).split(4):
            yield X[part] + np.random.rand(), Y[part]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return ((X[int(index)] + random.random(), Y[int(index)]) for index in torch.randint(N, (N,)))


def mixup(batch: Any) -> Any:
    x, y = batch
    order, share = torch.randperm(len(x)), np.random.rand()
    return share * x + (1 - share) * x[order], share * y + (1 - share) * y[order]


def collate(examples: Any) -> Any:
    x, y = default_collate(examples)
    return x * random.random(), y


def network(draws: bool = False) -> Net:
    """A network, without a trace in the generators of the caller."""
    with torch.random.fork_rng(devices=[]):
        return Net(draws)


def config(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 4,
        "precision": "float64",
        "device": "cpu",
        "record": "step",
        "arch_lr": 0.05,
        "progress": False,
    }
    return pydarts.SearchConfig(**(fields | changes))


def search(
    loader: Any, *, draws: bool = False, unpack: Any = None, callbacks: Any = (), **changes: Any
) -> Any:
    return pydarts.search(
        loader,
        config(**changes),
        callbacks,
        loss=nn.functional.mse_loss,
        network=network(draws),
        unpack=unpack,
    )


def path(result: Any) -> list[Any]:
    losses = [(record.train_loss, record.valid_loss) for record in result.history]
    return [*(values.tolist() for values in result.alphas.values()), losses]


SOURCES: dict[str, Callable[[int], Any]] = {
    "arrays": lambda workers: (X, Y),
    "tensors": lambda workers: DataLoader(TensorDataset(X, Y), 4, shuffle=True, num_workers=workers),
    "transforms": lambda workers: DataLoader(Noisy(), 4, shuffle=True, num_workers=workers),
    "collate": lambda workers: DataLoader(Noisy(), 4, collate_fn=collate, num_workers=workers),
    "in order": lambda workers: tuple(DataLoader(Noisy(), 4, num_workers=workers) for _ in range(2)),
    "subset samplers": lambda workers: tuple(
        DataLoader(Noisy(), 4, sampler=SubsetRandomSampler(half), num_workers=workers) for half in HALVES
    ),
    "weighted samplers": lambda workers: tuple(
        DataLoader(
            Noisy(),
            4,
            sampler=WeightedRandomSampler([1.0] * N, 12, generator=torch.Generator()),
            num_workers=workers,
        )
        for _ in range(2)
    ),
    "batch samplers": lambda workers: tuple(
        DataLoader(
            Noisy(), batch_sampler=BatchSampler(SubsetRandomSampler(half), 4, False), num_workers=workers
        )
        for half in HALVES
    ),
}
PLAIN: dict[str, Callable[[], Any]] = {name: lambda make=make: make(0) for name, make in SOURCES.items()}  # type: ignore[misc]
PLAIN |= {
    "iterables": lambda: (Shuffled(), Shuffled()),
    "lists": lambda: ([(X[:8], Y[:8])] * 3, [(X[8:], Y[8:])]),
    "streams": lambda: (DataLoader(Stream(), 4), DataLoader(Stream(), 4)),
}


@pytest.mark.parametrize("unpack", [None, mixup], ids=["pairs", "mixup"])
@pytest.mark.parametrize("name", PLAIN)
def test_a_search_is_a_function_of_its_seed_and_moves_no_generator(name: str, unpack: Any) -> None:
    disturb(1)
    given = PLAIN[name]()
    before = states()
    first = path(search(given, draws=True, unpack=unpack))
    assert states() == before
    disturb(2)
    assert path(search(PLAIN[name](), draws=True, unpack=unpack)) == first
    assert path(search(given, draws=True, unpack=unpack)) == first, "the caller's objects are as they were"
    assert path(search(given, draws=True, unpack=unpack, seed=5)) != first


@pytest.mark.parametrize("unpack", [None, mixup], ids=["pairs", "mixup"])
@pytest.mark.parametrize("name", [name for name in SOURCES if name != "arrays"])
def test_batches_do_not_depend_on_worker_processes(name: str, unpack: Any) -> None:
    found = []
    for workers in (0, 1, 3):
        sources = opened(SOURCES[name](workers), unpack)
        disturb(workers)
        found.append([[part.tolist() for part in batch] for batch in drain(sources.train, 1)])
        found[-1] += [[part.tolist() for part in batch] for batch in drain(sources.evaluation, 0)]
        sources.close()
    assert found[0] == found[1] == found[2]
    assert len({str(batch) for batch in found[0]}) == len(found[0])


def test_a_search_does_not_depend_on_worker_processes() -> None:
    one, other = (
        path(search(SOURCES["transforms"](workers), draws=True, unpack=mixup)) for workers in (0, 2)
    )
    assert one == other


@pytest.mark.parametrize("name", [*PLAIN, "workers"])
def test_a_resumed_search_draws_what_it_would_have_drawn(name: str, tmp_path: Any) -> None:
    make = PLAIN.get(name, lambda: SOURCES["transforms"](1))
    whole = search(make(), draws=True, unpack=mixup)
    kept: dict[str, Any] = {"checkpoint_dir": tmp_path, "checkpoint_every": 1}
    with pytest.raises(LookupError):
        search(make(), draws=True, unpack=mixup, callbacks=Stop(LookupError(), step=2), **kept)
    disturb(2)
    resumed = search(make(), draws=True, unpack=mixup, resume=True, **kept)
    assert path(resumed)[-1] == path(whole)[-1]
    assert all(np.array_equal(whole.alphas[key][-1], resumed.alphas[key][-1]) for key in whole.alphas)


def test_passes_and_batches_draw_different_numbers() -> None:
    sources = opened((DataLoader(Noisy(), 4), DataLoader(Noisy(), 4)), mixup)
    seen = [
        float(x.sum())
        for source in (sources.train, sources.valid, sources.evaluation)
        for index in range(2)
        for x, _ in drain(source, index)
    ]
    sources.close()
    assert len(set(seen)) == len(seen) == 36


def test_unpack_draws_other_numbers_than_its_batch() -> None:
    def uniform(batch: Any) -> Any:
        return batch[0], torch.rand(len(batch[0]))

    class Uniform(Noisy):
        def __getitem__(self, index: int) -> Any:
            return torch.rand(1), Y[index]

    sources = opened((DataLoader(Uniform(), 4), DataLoader(Uniform(), 4)), uniform)
    for x, y in drain(sources.train):
        assert not torch.equal(x[:, 0].float(), y)
    sources.close()


# ---- hidden state: generators that nothing finds, so that the order of all that draws matters

HIDDEN: dict[str, Any] = {}


class Hidden(Dataset[Any]):
    """Examples with noise from a generator of the module, slowly."""

    def __init__(self) -> None:
        self.active = threading.Lock()

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.0005)
        return X[index] + HIDDEN["rng"].random(), Y[index]


class HiddenNet(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + HIDDEN["rng"].random())


class HiddenCallback(pydarts.Callback):
    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.seen: list[float] = []

    def on_step(self, info: Any) -> None:
        time.sleep(self.pause)
        self.seen.append(HIDDEN["rng"].random())


def hidden_loss(output: Tensor, targets: Tensor) -> Tensor:
    return ((output - targets) ** 2).mean() + 0.1 * HIDDEN["rng"].random() * output.mean()


def hidden_unpack(batch: Any) -> Any:
    return batch[0] * HIDDEN["rng"].random(), batch[1]


@pytest.mark.parametrize("kind", ["loader", "pair of iterables"])
def test_code_that_shares_an_unknown_generator_runs_in_one_order(kind: str) -> None:
    class Hiding:
        def __iter__(self) -> Iterator[Any]:
            yield from DataLoader(Hidden(), 4)

    found = []
    for pause in (0.0, 0.01):
        HIDDEN["rng"] = np.random.default_rng(3)
        given = DataLoader(Hidden(), 4, shuffle=True) if kind == "loader" else (Hiding(), Hiding())
        callback = HiddenCallback(pause)
        result = pydarts.search(
            given,
            config(hypergradient="unrolled"),
            callback,
            loss=hidden_loss,
            network=HiddenNet(),
            unpack=hidden_unpack,
        )
        found.append((path(result), callback.seen))
    assert found[0] == found[1]


def test_the_generators_are_the_callers_when_other_code_runs() -> None:
    log: list[tuple[str, Any]] = []

    class Watched(Noisy):
        def __getitem__(self, index: int) -> Any:
            log.append(("read", None))
            return super().__getitem__(index)

    class Watching(Net):
        def forward(self, x: Tensor) -> Tensor:
            log.append(("forward", state()))
            return super().forward(x)

    class Callback(pydarts.Callback):
        def on_step(self, info: Any) -> None:
            log.append(("callback", [state(), *states()]))

    def unpack(batch: Any) -> Any:
        log.append(("unpack", state()))
        return batch

    def state() -> Any:
        return HIDDEN["data"].rng.bit_generator.state["state"]["state"]

    HIDDEN["data"] = Watched()
    own = state()
    with torch.random.fork_rng(devices=[]):
        net = Watching()
    disturb(3)
    before = states()
    pydarts.search(
        DataLoader(HIDDEN["data"], 4),
        config(epochs=1),
        Callback(),
        loss=nn.functional.mse_loss,
        network=net,
        unpack=unpack,
    )
    kinds = [kind for kind, _ in log]
    assert {"read", "forward", "callback", "unpack"} == set(kinds)
    assert all(state == own for kind, state in log if kind in ("forward", "unpack"))
    assert all(state == [own, *before] for kind, state in log if kind == "callback")
    # Nothing is read ahead: a batch is unpacked right after its four examples.
    for at, kind in enumerate(kinds):
        if kind == "unpack":
            assert kinds[at - 4 : at] == ["read"] * 4 and kinds[at + 1] in ("forward", "unpack", "read")


def test_sources_that_cannot_draw_are_prefetched() -> None:
    for given in ((X, Y), DataLoader(TensorDataset(X, Y), 4), ([(X, Y)], [(X, Y)])):
        sources = opened(given)
        assert sources.train.ahead and not sources.train.draws_here
        sources.close()
    for given, unpack in (
        (DataLoader(Noisy(), 4), None),
        ((X, Y), mixup),
        (DataLoader(TensorDataset(X, Y), 4, collate_fn=collate), None),
        ((Shuffled(), Shuffled()), None),
        (DataLoader(TensorDataset(X, Y), 4, num_workers=1), mixup),
    ):
        sources = opened(given, unpack)
        assert not sources.train.ahead
        sources.close()
    sources = opened(DataLoader(Noisy(), 4, num_workers=1))
    assert sources.train.ahead
    sources.close()


def test_the_generators_return_after_an_error_in_unpack() -> None:
    def broken(batch: Any) -> Any:
        torch.rand(1), np.random.rand(), random.random()
        raise LookupError

    before = states()
    with pytest.raises(LookupError):
        search((X, Y), unpack=broken)
    assert states() == before


def test_a_generator_of_unpack_is_seeded_and_returns() -> None:
    class Own:
        def __init__(self) -> None:
            self.rng = np.random.default_rng(3)

        def __call__(self, batch: Any) -> Any:
            return batch[0] + self.rng.random(), batch[1]

    unpack = Own()
    before = unpack.rng.bit_generator.state
    first = path(search((X, Y), unpack=unpack))
    assert unpack.rng.bit_generator.state == before
    unpack.rng.random()
    assert path(search((X, Y), unpack=unpack)) == first


def test_a_network_cannot_change_its_batch() -> None:
    class Changing(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mul_(2))

    with pytest.raises(pydarts.DataError, match="x"):
        pydarts.search((X, Y), config(), loss=nn.functional.mse_loss, network=Changing())
