"""Without a loss: cross-entropy is refused, or a hint is given, where it cannot be what was intended."""

from __future__ import annotations

import warnings
from typing import Any

import pydarts
import pytest
import torch
from pydarts.nn import Choice, fix
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("one_thread")

X = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(24) % 4


class Net(nn.Module):
    """[N, 3] -> [N, outputs], or [N]."""

    def __init__(self, outputs: int, flat: bool = False) -> None:
        super().__init__()
        self.first, self.last, self.flat = nn.Linear(3, 4), nn.Linear(4, outputs), flat
        self.act = Choice([nn.Tanh(), nn.ReLU()])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.act(self.first(x)))
        return y[:, 0] if self.flat else y


def run(what: str, net: Net, y: Tensor) -> Any:
    options: dict[str, Any] = {"epochs": 1, "batch_size": 8, "progress": False}
    if what == "search":
        return pydarts.search((X, y), pydarts.SearchConfig(device="cpu", **options), network=net)
    return pydarts.train(fix(net, {"act": "0"}), (X, y), pydarts.TrainConfig(device="cpu", **options))


@pytest.mark.parametrize("what", ["search", "train"])
@pytest.mark.parametrize(
    ("net", "y", "shape"),
    [
        (Net(1), X[:, :1], "[8, 1]"),
        (Net(1), torch.zeros(24, dtype=torch.int64), "[8, 1]"),
        (Net(1, flat=True), X[:, 0], "[8]"),
    ],
    ids=["column", "one class", "flat"],
)
def test_cross_entropy_of_a_single_output_is_refused(what: str, net: Net, y: Tensor, shape: str) -> None:
    with pytest.raises(pydarts.DataError) as caught:
        run(what, net, y)
    assert shape in str(caught.value) and "loss=" in str(caught.value)


@pytest.mark.parametrize("what", ["search", "train"])
@pytest.mark.parametrize(
    "y",
    [
        nn.functional.one_hot(CLASSES, 4).float() + nn.functional.one_hot((CLASSES + 1) % 4, 4),
        torch.tensor([[1.5, -0.5, 0.0, 0.0]]).expand(24, 4),
    ],
    ids=["several labels", "a regression"],
)
def test_targets_that_are_no_probabilities_give_a_hint(what: str, y: Tensor) -> None:
    with pytest.warns(UserWarning, match="loss=") as caught:
        run(what, Net(4), y)
    assert sum("[8, 4]" in str(one.message) for one in caught) == 1


@pytest.mark.parametrize("what", ["search", "train"])
@pytest.mark.parametrize(
    "y",
    [CLASSES, nn.functional.one_hot(CLASSES, 4).float(), torch.full((24, 4), 0.25)],
    ids=["indices", "one-hot", "soft"],
)
def test_classes_and_probabilities_give_none(what: str, y: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(what, Net(4), y).status == "complete"


@pytest.mark.parametrize("where", ["candidate", "loss", "train", "unpack"])
def test_an_exception_without_notes_is_raised_unchanged(where: str) -> None:
    class Bare(Exception):
        add_note = None  # as in Python 3.10

    def fail(*_: Any) -> Any:
        raise Bare(where)

    class Fails(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            raise Bare(where)

    net, options = Net(4), {"epochs": 1, "batch_size": 8, "progress": False, "device": "cpu"}
    if where in ("candidate", "train"):
        net.act = Choice([nn.Tanh(), Fails()])
    with pytest.raises(Bare, match=where):
        if where == "train":
            fixed = fix(net, {"act": "1"})
            pydarts.train(fixed, (X, CLASSES), pydarts.TrainConfig(**options))  # type: ignore[arg-type]
        else:
            pydarts.search(
                (X, CLASSES),
                pydarts.SearchConfig(**options),  # type: ignore[arg-type]
                network=net,
                loss=fail if where == "loss" else None,
                unpack=fail if where == "unpack" else None,
            )
