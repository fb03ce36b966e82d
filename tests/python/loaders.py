"""What the tests of loaders share: data that are told apart, and how a source is read."""

from collections.abc import Iterator
from typing import Any

import torch
from conftest import make_arrays
from pydarts._data.passes import IterablePasses, Turns
from pydarts._data.source import BatchChecker, PythonSource
from torch.utils.data import Dataset, IterableDataset

Batches = list[tuple[torch.Tensor, torch.Tensor]]


class Digits(Dataset[tuple[torch.Tensor, int]]):
    """Example i is an image full of i; its label is i % classes."""

    def __init__(self, n: int = 40, classes: int = 4, size: int = 8) -> None:
        self.n, self.count, self.size = n, classes, size

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((1, self.size, self.size), float(index)), index % self.count


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


def floats() -> tuple[torch.Tensor, torch.Tensor]:
    """The images and labels of `make_arrays` as tensors."""
    X, y = make_arrays()
    return torch.from_numpy(X).float() / 255, torch.from_numpy(y)


def drain(source: Any, index: int = 0, skip: int = 0) -> Batches:
    assert isinstance(source, PythonSource)
    source.start(index, skip)
    return list(iter(source.next, None))


def seen(source: Any, index: int = 0, skip: int = 0) -> list[int]:
    """The examples of a pass over `Digits`, in order."""
    return [int(value) for x, _ in drain(source, index, skip) for value in x[:, 0, 0, 0]]


def source_of(made: Any, **fields: Any) -> PythonSource:
    return PythonSource(
        IterablePasses(made, 0, "train", Turns()), BatchChecker("training", torch.float32, **fields), False
    )
