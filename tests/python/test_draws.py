"""Random numbers of loaders: a function of seed, role, pass and batch; the caller's generators stay."""

from __future__ import annotations

import copy
import functools
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import Stop, make_arrays, make_config
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)
from trained import Noisy, config, network

X, Y = make_arrays(n=48)
DATA = TensorDataset(torch.from_numpy(X).float() / 255, torch.from_numpy(Y))
HALVES = list(range(0, 48, 2)), list(range(1, 48, 2))
TOKENS = np.random.default_rng(0).integers(0, 20, 600)
# Made here, because building draws from the generators of the caller.
NETWORKS = [network(drop_path=0.5) for _ in range(6)]
MODELS = [pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=20, units=8)]
MODELS += [copy.deepcopy(MODELS[0]) for _ in range(5)]
SEARCH = make_config(epochs=2, num_classes=4)


class NumpyOrder(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        yield from np.random.permutation(24).tolist()

    def __len__(self) -> int:
        return 24


class PythonOrder(NumpyOrder):
    def __iter__(self) -> Iterator[int]:
        order = list(range(24))
        random.shuffle(order)
        yield from order


class Shuffled:
    """Batches in an order drawn from a generator of its own."""

    def __init__(self, generator: Any = None) -> None:
        self.generator = generator

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(48, generator=self.generator)
        for part in order.split(8):
            yield DATA.tensors[0][part], DATA.tensors[1][part]


class Drawing(Dataset[Any]):
    """Noise from generators of its own."""

    def __init__(self) -> None:
        self.rng, self.old, self.plain = np.random.default_rng(1), np.random.RandomState(1), random.Random(1)

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> Any:
        noise = self.rng.random() + self.old.rand() + self.plain.random()
        return DATA[index][0] + noise, DATA[index][1]


class Shared(Dataset[Any]):
    """Noise from a generator of the class, and from one without slots in `__dict__`."""

    __slots__ = ("old",)
    rng = np.random.default_rng(2)

    def __init__(self) -> None:
        self.old = np.random.RandomState(np.random.PCG64(3))

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> Any:
        return DATA[index][0] + self.rng.random() + self.old.rand(), DATA[index][1]


class Spawning(Shared):
    def __getitem__(self, index: int) -> Any:
        return DATA[index][0] + self.rng.spawn(1)[0].random(), DATA[index][1]


def _noisy(rng: np.random.Generator, examples: Any) -> Any:
    x, y = default_collate(examples)
    return x + rng.random(), y


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return (DATA[int(index)] for index in torch.randint(48, (24,)))


def _pair(make: Callable[[list[int]], Any], **kwargs: Any) -> Any:
    return tuple(DataLoader(DATA, 8, sampler=make(half), **kwargs) for half in HALVES)


def _split() -> Any:
    return tuple(DataLoader(part, 8, shuffle=True) for part in random_split(DATA, [24, 24], _generator()))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


SOURCES: dict[str, Callable[[], Any]] = {
    "subset sampler": lambda: _pair(SubsetRandomSampler),
    "subset sampler with workers": lambda: _pair(SubsetRandomSampler, num_workers=1, persistent_workers=True),
    "weighted sampler": lambda: _pair(lambda half: WeightedRandomSampler([1.0] * 48, 24)),
    "sampler of numpy": lambda: _pair(lambda half: NumpyOrder()),
    "sampler of python": lambda: _pair(lambda half: PythonOrder()),
    "generator of a sampler": lambda: _pair(lambda half: SubsetRandomSampler(half, generator=_generator())),
    "generator of a loader": lambda: _pair(SubsetRandomSampler, generator=_generator()),
    "batch sampler": lambda: tuple(
        DataLoader(DATA, batch_sampler=BatchSampler(SubsetRandomSampler(half), 8, False)) for half in HALVES
    ),
    "random split": _split,
    "transforms": lambda: DataLoader(Noisy(48), 8, shuffle=True),
    "transforms in a pair": lambda: tuple(DataLoader(Subset(Noisy(48), half), 8) for half in HALVES),
    "generators of a data set": lambda: DataLoader(Drawing(), 8, shuffle=True),
    "generators of a class and of slots": lambda: DataLoader(Shared(), 8, shuffle=True),
    "generators that spawn": lambda: DataLoader(Spawning(), 8, shuffle=True),
    "generators of parts": lambda: DataLoader(ConcatDataset([Drawing(), Shared()]), 8, shuffle=True),
    "generator of a partial": lambda: DataLoader(
        DATA, 8, shuffle=True, collate_fn=functools.partial(_noisy, np.random.default_rng(4))
    ),
    "stream": lambda: (DataLoader(Endless(), 8), DataLoader(Endless(), 8)),
    "stream with workers": lambda: (DataLoader(Endless(), 8, num_workers=1), Shuffled()),
    "iterable": lambda: (Shuffled(), Shuffled()),
    "iterable with a generator": lambda: (Shuffled(_generator()), Shuffled(_generator())),
}
sources = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


def states() -> list[Any]:
    legacy = np.random.get_state(legacy=True)
    return [torch.get_rng_state().tolist(), legacy[1].tolist(), legacy[2], random.getstate()]


def disturb(seed: int) -> None:
    torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)


def search(source: Any, **changes: Any) -> dict[str, Any]:
    return pydarts.search(source, SEARCH.replace(**changes)).alphas


def train(source: Any, seed: int = 0) -> list[float]:
    cfg = config(epochs=2, seed=seed)
    with torch.random.fork_rng(devices=[]):
        net = network()
    return [record.train_loss for record in pydarts.train(net, source, cfg).history]


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


@sources
def test_a_search_repeats_itself_and_leaves_the_generators_alone(source: Callable[[], Any]) -> None:
    disturb(1)
    given = source()
    before = states()
    first = search(given)
    assert states() == before
    disturb(2)
    assert equal(first, search(source()))
    assert equal(first, search(given)), "the objects of the caller are as they were"
    assert not equal(first, search(source(), seed=5))


@pytest.mark.parametrize("name", ["subset sampler", "transforms", "generators of a data set", "iterable"])
def test_a_training_repeats_itself_and_leaves_the_generators_alone(name: str) -> None:
    disturb(1)
    given = SOURCES[name]()
    before = states()
    first = train(given)
    assert states() == before
    disturb(2)
    assert first == train(SOURCES[name]()) == train(given)
    assert first != train(given, seed=5)


@sources
def test_a_resumed_search_draws_what_it_would_have_drawn(source: Callable[[], Any], tmp_path: Any) -> None:
    whole = search(source())
    kept = SEARCH.replace(checkpoint_dir=tmp_path, checkpoint_every=1)
    disturb(1)
    with pytest.raises(LookupError):
        pydarts.search(source(), kept, Stop(LookupError(), step=3))
    disturb(2)
    resumed = pydarts.search(source(), kept.replace(resume=True)).alphas
    assert all(np.array_equal(whole[name][-1], resumed[name][-1]) for name in whole)


def test_the_generators_return_after_an_error() -> None:
    class Broken(Shuffled):
        def __iter__(self) -> Iterator[Any]:
            yield next(super().__iter__())
            torch.rand(1), np.random.rand(), random.random()
            raise LookupError

    before = states()
    with pytest.raises(LookupError):
        search((Broken(), Shuffled()))
    with pytest.raises(LookupError):
        train((Broken(), Shuffled()))
    assert states() == before


def test_a_generator_that_cannot_be_seeded_leaves_the_others_alone() -> None:
    class Fixed(random.Random):
        def seed(self, *values: Any) -> None:
            if values and values[0] is not None:
                raise LookupError

    class Held(Drawing):
        def __init__(self) -> None:
            super().__init__()
            self.fixed = Fixed()

    before = states()
    with pytest.raises(LookupError):
        search(DataLoader(Held(), 8))
    assert states() == before
    assert search(SOURCES["iterable"]())


def test_the_clean_up_of_an_iterable_moves_no_generator() -> None:
    cleaned = []

    class Cleaned(Shuffled):
        def __iter__(self) -> Iterator[Any]:
            try:
                yield from super().__iter__()
            finally:
                torch.rand(1), np.random.rand(), random.random()
                cleaned.append(True)

    before = states()
    with pytest.raises(LookupError):
        pydarts.search((Cleaned(), Cleaned()), SEARCH, Stop(LookupError(), 1))
    assert cleaned
    assert states() == before


def test_a_callback_draws_from_the_generators_of_the_caller() -> None:
    class Draws(pydarts.Callback):
        def __init__(self) -> None:
            self.drawn: list[float] = []

        def on_step(self, info: Any) -> None:
            self.drawn.append(float(torch.rand(())))

    draws = Draws()
    torch.manual_seed(4)
    alphas = pydarts.search(SOURCES["subset sampler"](), SEARCH, draws).alphas
    torch.manual_seed(4)
    assert draws.drawn == [float(torch.rand(())) for _ in draws.drawn]
    assert equal(alphas, search(SOURCES["subset sampler"]()))


def test_a_source_that_draws_is_read_when_asked(opened: Any) -> None:
    fetched: list[int] = []

    class Noted(Noisy):
        def __getitem__(self, index: int) -> Any:
            fetched.append(index)
            return super().__getitem__(index)

    source = opened(DataLoader(Noted(48), 8), num_classes=4).train
    fetched.clear()
    for count in range(1, 4):
        source.start(0, 0) if count == 1 else None
        assert source.next() is not None
        torch.rand(1)
        assert len(fetched) == 8 * count


def language() -> list[float]:
    cfg = config(epochs=2, batch_size=4, bptt=14)
    return [record.train_loss for record in pydarts.train(MODELS.pop(), (TOKENS, TOKENS[:100]), cfg).history]


def dropping() -> list[float]:
    cfg, source = config(epochs=2), SOURCES["transforms"]()
    return [record.train_loss for record in pydarts.train(NETWORKS.pop(), source, cfg).history]


def searching() -> list[Any]:
    return [values.tolist() for values in search(SOURCES["subset sampler"]()).values()]


@pytest.mark.parametrize(
    "pair",
    [(dropping, dropping), (language, language), (searching, searching), (dropping, searching)],
    ids=lambda pair: " and ".join(run.__name__ for run in pair),
)
def test_runs_in_two_threads_are_those_alone(pair: tuple[Callable[[], Any], Callable[[], Any]]) -> None:
    alone = [run() for run in pair]
    found: dict[int, Any] = {}
    before = states()

    def work(number: int, run: Callable[[], Any]) -> None:
        found[number] = run()

    threads = [threading.Thread(target=work, args=each) for each in enumerate(pair)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[0], found[1]] == alone
    assert states() == before


def test_a_loader_that_hangs_keeps_no_generator(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    release, entered = threading.Event(), threading.Event()

    class Hanging:
        def __iter__(self) -> Iterator[Any]:
            yield DATA.tensors[0][:8], DATA.tensors[1][:8]
            entered.set()
            release.wait(60)

    monkeypatch.setattr("pydarts._data.source._PATIENCE", 0.1)
    before = states()
    sources = opened((Hanging(), Shuffled()), num_classes=4, in_channels=1, image_size=8)
    entered.clear()
    sources.train.start(0, 0)
    sources.train.next()
    assert entered.wait(60)
    sources.close()
    assert states() == before
    assert search(SOURCES["iterable"]())  # another run does not wait for it
    release.set()
