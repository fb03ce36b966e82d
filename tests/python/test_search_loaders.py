"""`search` on every form of loader, and on those that fail."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_arrays, make_config
from loaders import floats
from pydarts import search
from searches import Listener, batches
from torch.utils.data import DataLoader, TensorDataset


def dataset(n: int = 48) -> TensorDataset:
    X, y = make_arrays(n)
    return TensorDataset(torch.from_numpy(X).float() / 255, torch.from_numpy(y))


@pytest.mark.parametrize(
    "loader",
    [
        make_arrays(),
        floats(),
        DataLoader(dataset(), batch_size=8, shuffle=True),
        (make_arrays(), make_arrays(seed=1)),
        (DataLoader(dataset(), batch_size=8), DataLoader(dataset(24), batch_size=8)),
        (floats(), DataLoader(dataset(24), batch_size=12)),
        (DataLoader(dataset(), batch_size=8), floats()),
        (batches(3), batches(2)),
        ([(x.numpy(), y.tolist()) for x, y in batches()], tuple(batches(3))),
    ],
    ids=[
        "numpy",
        "torch",
        "loader",
        "arrays x2",
        "loaders",
        "arrays+loader",
        "loader+arrays",
        "lists",
        "numpy lists",
    ],
)
def test_every_form_of_loader_searches(loader: Any) -> None:
    result = search(loader, make_config(epochs=1))
    assert result.status == "complete" and len(result.history) == 1


def test_a_loader_with_two_workers_searches_and_repeats() -> None:
    def run() -> Any:
        loader = DataLoader(dataset(), batch_size=8, shuffle=True, num_workers=2)
        return search(loader, make_config()).alphas["normal"]

    assert np.array_equal(run(), run())


def test_partial_last_batches_of_a_loader_are_used() -> None:
    listener = Listener()
    search(DataLoader(dataset(40), batch_size=8), make_config(epochs=1), callbacks=listener)
    assert [info.steps_per_epoch for info in listener.steps] == [3, 3, 3]


def test_a_validation_part_smaller_than_the_training_part_is_passed_over_again() -> None:
    assert len(search((batches(5), batches(1)), make_config(epochs=1)).history) == 1


# ---- loaders that fail


class Failing:
    """Raises in the second pass, after one batch."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.passes = error, 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.passes += 1
        return self.read(self.passes)

    def read(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for position, batch in enumerate(batches()):
            if number == 3 and position == 1:  # pass 1 counts the classes
                raise self.error
            yield batch


def test_an_exception_of_the_loader_comes_back_as_it_is_with_the_partial_result() -> None:
    error = LookupError("disk on fire")
    with pytest.raises(LookupError) as caught:
        search((Failing(error), batches()), make_config())
    assert caught.value is error
    assert any(entry.name == "read" for entry in caught.traceback)
    result = error.result  # type: ignore[attr-defined]
    assert (result.status, len(result.history)) == ("failed", 1)
    assert result.steps[-1] == 4
    assert {name: alpha.shape[0] for name, alpha in result.alphas.items()} == {
        name: len(result.steps) for name in result.alphas
    }


def test_ctrl_c_in_the_loader_returns_the_partial_result() -> None:
    result = search((Failing(KeyboardInterrupt()), batches()), make_config())
    assert result.status == "interrupted"
    assert len(result.history) == 1
    result.genotype.validate(result.config.resolved_space)


class Slots(Exception):
    """An exception on which nothing can be hung."""

    @property
    def result(self) -> None:
        return None


def test_an_exception_that_takes_no_attribute_still_comes_back() -> None:
    with pytest.raises(Slots):
        search((Failing(Slots("x")), batches()), make_config())


def test_a_worker_process_that_dies_is_an_exception_and_no_hang() -> None:
    loader = DataLoader(_Dying(), batch_size=8, num_workers=1)
    with pytest.raises(RuntimeError):
        search((loader, floats()), make_config(num_classes=4))


class _Dying(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        import os

        if index >= 24:
            os._exit(1)
        return torch.zeros(1, 8, 8), 0
