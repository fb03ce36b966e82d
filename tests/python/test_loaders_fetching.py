"""Batches on their way: each is checked, fetched in turn and in time, and nothing is left behind."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from loaders import Digits, batches, seen, source_of
from pydarts import DataError
from pydarts._data.source import BatchChecker
from torch.utils.data import DataLoader, Dataset, Subset

# ---- checks


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.zeros(4, 1, 8, 8), r"pair \(x, y\), got a Tensor"),
        ({"x": 1, "y": 2}, "dict"),
        ((torch.zeros(4, 1, 8, 8), torch.zeros(4).long(), 1), "tuple of 3"),
        (("a", "b"), "arrays or tensors"),
        ((torch.zeros(4, 8, 8), torch.zeros(4).long()), r"\[N, C, H, W\]"),
        ((torch.zeros(4, 3, 8, 8), torch.zeros(4).long()), r"\[3, 8, 8\].*\[1, 8, 8\]"),
        ((torch.zeros(4, 1, 8, 9), torch.zeros(4).long()), r"\[1, 8, 9\].*\[1, 8, 8\]"),
        ((torch.zeros(4, 1, 8, 8).long(), torch.zeros(4).long()), "uint8"),
        ((torch.zeros(0, 1, 8, 8), torch.zeros(0).long()), "empty"),
        ((torch.full((4, 1, 8, 8), torch.nan), torch.zeros(4).long()), "NaN or infinity.*0"),
        ((torch.zeros(4, 1, 8, 8), torch.zeros(4)), "integers"),
        ((torch.zeros(4, 1, 8, 8), torch.zeros(3).long()), "3.*4"),
        ((torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 4, 0])), "num_classes=4.*2.*4"),
        ((torch.zeros(4, 1, 8, 8), torch.tensor([0, -1, 2, 0])), "negative"),
    ],
)
def test_a_bad_batch_is_named_by_its_number(batch: Any, message: str) -> None:
    made = source_of([*batches(2), batch], shape=(1, 8, 8), num_classes=4)
    made.start(0, 0)
    assert made.next() is not None and made.next() is not None
    with pytest.raises(DataError, match=f"batch 2.*training.*{message}|{message}.*batch 2"):
        made.next()
    made.close()


def test_batches_of_bytes_are_scaled_like_arrays() -> None:
    x = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    check = BatchChecker("training", torch.float64, mean=(0.5,), std=(0.25,))
    assert check(0, (x, [0, 1]))[0].flatten().tolist() == [-2.0, 2.0]
    assert BatchChecker("training", torch.float32)(0, (x.numpy(), np.array([0, 1])))[
        0
    ].flatten().tolist() == [0, 1]


# ---- the thread that fetches

PATIENCE = 60.0  # seconds for another thread to get a turn on a slow and busy machine


def wait_for(there: Callable[[], bool]) -> bool:
    """Wait until something holds; whether it came to hold."""
    deadline = time.monotonic() + PATIENCE
    while not there() and time.monotonic() < deadline:
        time.sleep(0.005)
    return there()


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
    given: list[int] = []

    class Frugal:
        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for number in range(6):
                given.append(number)
                yield images.fill_(number), labels.fill_(number)

    source = source_of(Frugal())
    source.start(0, 0)
    assert wait_for(lambda: len(given) > 1), "the source fetches ahead"
    found = []
    while (batch := source.next()) is not None:
        found.append((float(batch[0].mean()), int(batch[1][0])))
    assert found == [(number, number) for number in range(6)]


def test_a_source_that_may_draw_fetches_when_asked_if_told_so(opened: Any) -> None:
    class Noted(Digits):
        def __init__(self) -> None:
            super().__init__(40)
            self.fetched: list[int] = []

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            self.fetched.append(index)
            return super().__getitem__(index)

    data = Noted()
    sources = opened(DataLoader(data, batch_size=4), num_classes=4)
    data.fetched.clear()  # the first batch was looked at
    sources.train.start(0, 0)
    assert wait_for(lambda: len(data.fetched) > 0), "the source fetches ahead"
    data = Noted()
    fetched = data.fetched
    sources = opened(DataLoader(data, batch_size=4), num_classes=4)
    sources.fetch_when_asked()
    fetched.clear()
    sources.train.start(0, 0)
    time.sleep(0.3)  # time to fetch, which it must not use
    assert not fetched
    for count in range(1, 6):
        assert sources.train.next() is not None
        time.sleep(0.05)
        assert len(fetched) == 4 * count
    assert sources.train.next() is None
    assert seen(sources.train, 0, 2) == seen(sources.train, 0)[8:]
    workers = opened(DataLoader(Noted(), batch_size=4, num_workers=1), num_classes=4)
    workers.fetch_when_asked()
    assert workers.train.ahead, "its random numbers are the workers'"


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
    closing = threading.Thread(target=lambda: (made.close(), made.close()), daemon=True)
    closing.start()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert cleaned.wait(PATIENCE), "the generator's clean-up ran"


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    pydarts.search((batches(4), batches(2)), make_config(epochs=1))
    assert wait_for(lambda: threading.active_count() <= before)
