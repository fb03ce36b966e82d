"""Training of own modules: what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydarts
import pytest
import torch
from own_modules import Tied, Words, seeded
from own_trainings import Largest, config, mean_error, mse, net, regression
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("one_thread")

X, Y = regression()
NAMED = {"x": X[:, :3], "words": torch.zeros(60, 5).long()}
CONFIG, DATA = pydarts.ConfigError, pydarts.DataError
# name -> how the module is made, changes of the configuration, of the other arguments, the error and its fact
CASES: dict[str, tuple[Callable[[], Any], dict[str, Any], dict[str, Any], type[Exception], str]] = {
    "cutout": (lambda: net(4, 2), {"cutout": 4}, {}, CONFIG, "cutout.*4"),
    "augment": (lambda: net(4, 2), {"augment": "cifar"}, {}, CONFIG, "augment"),
    "mean": (lambda: net(4, 2), {"mean": [0.5], "std": [0.5]}, {}, CONFIG, "mean"),
    "auxiliary": (lambda: net(4, 2), {"auxiliary_weight": 0.3}, {}, CONFIG, "auxiliary_weight"),
    "eval_batch_size": (lambda: net(4, 2), {"eval_batch_size": 3}, {}, CONFIG, "eval_batch_size"),
    "bptt": (lambda: net(4, 2), {"bptt": 3}, {}, CONFIG, "bptt"),
    "smoothing with a loss": (lambda: net(4, 2), {"label_smoothing": 0.1}, {}, CONFIG, "label_smoothing"),
    "mode without metric": (lambda: net(4, 2), {"metric_mode": "min"}, {}, CONFIG, "metric"),
    "a class as metric": (lambda: net(4, 2), {}, {"metric": Largest}, TypeError, "Largest"),
    "unpack that is no function": (lambda: net(4, 2), {}, {"unpack": 3}, TypeError, "unpack"),
    "no module": (lambda: "net", {}, {}, TypeError, "str"),
    "a class": (lambda: Tied, {}, {}, TypeError, r"Tied\("),
    "a compiled module": (lambda: torch.compile(net(4, 2)), {}, {}, TypeError, "compile"),
    "a lazy module": (lambda: nn.LazyLinear(2), {}, {}, CONFIG, "weight"),
    "nothing to train": (lambda: net(4, 2).requires_grad_(False), {}, {}, CONFIG, "requires_grad_"),
    "half precision": (lambda: net(4, 2).half(), {}, {}, CONFIG, "float16"),
    "bfloat16 of doubles": (lambda: net(4, 2).double(), {"precision": "bfloat16"}, {}, CONFIG, "float64"),
    "cross-entropy of floats": (lambda: net(4, 3), {}, {"loss": None}, DATA, r"\[8, 3\].*loss"),
    "a dictionary without a loss": (
        lambda: seeded(Words), {}, {"loss": None, "loader": (NAMED, torch.zeros(60).long())},
        DATA, "dict.*loss",
    ),
    "no loss of a network": (lambda: net(4, 2), {}, {"loss": "network"}, DATA, r"\[8, 2\]"),
    "a loss without a graph": (
        lambda: net(4, 2), {}, {"loss": lambda output, targets: mse(output.detach(), targets)}, DATA, "graph",
    ),
    "metric of a language model": (
        lambda: pydarts.genotypes.DARTS_RNN_V2, {}, {"metric": mean_error}, CONFIG, "metric",
    ),
    "unpack of a language model": (
        lambda: pydarts.genotypes.DARTS_RNN_V2, {}, {"unpack": lambda batch: batch}, CONFIG, "unpack",
    ),
    "a choice": (
        lambda: nn.Sequential(pydarts.nn.Choice([nn.Linear(4, 2), nn.Linear(4, 2)])), {}, {},
        CONFIG, r"'0'.*pydarts\.nn\.fix",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_what_cannot_be_trained_is_named(name: str) -> None:
    make, changes, arguments, kind, fact = CASES[name]
    with pytest.raises(kind, match=fact):
        pydarts.train(make(), **{"loader": (X, Y), "cfg": config(**changes), "loss": mse, **arguments})


def test_fields_with_their_default_values_are_accepted() -> None:
    cfg = config(epochs=1, augment="none", cutout=0, auxiliary_weight=0.4)
    assert pydarts.train(net(4, 2), (X, Y), cfg, loss=mse).status == "complete"


def test_an_exception_of_the_network_comes_out_with_its_inputs() -> None:
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as caught:
        pydarts.train(Broken(4, 2), (X, Y), config(), loss=mse)
    if hasattr(caught.value, "__notes__"):
        assert any("Broken" in note and "[8, 4]" in note for note in caught.value.__notes__)
