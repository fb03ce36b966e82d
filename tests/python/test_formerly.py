"""Names of earlier versions, and the keywords that type checkers see."""

from collections.abc import Callable
from typing import Any, get_type_hints

import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts import Supernet, TrainConfig
from pydarts._train.keywords import TrainFields

ARRAYS = make_arrays()
SMALL: dict[str, Any] = {"config": make_config(), "num_classes": 4, "in_channels": 1, "image_size": 8}
BATCH = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 4
CASES: dict[str, tuple[str, Callable[..., Any]]] = {
    "loader": ("data", lambda **data: pydarts.search(cfg=make_config(epochs=1), **data).alphas),
    "dtype": ("precision", lambda **choice: Supernet(**SMALL, **choice).logits(BATCH[0].double())),
    "method": (
        "hypergradient",
        lambda **choice: Supernet(**SMALL).arch_gradient(BATCH, BATCH, **choice),
    ),
}
VALUES = {"loader": ARRAYS, "dtype": "float64", "method": "unrolled"}


@pytest.mark.parametrize("old", CASES)
def test_an_argument_by_its_earlier_name_warns_and_works(old: str) -> None:
    new, call = CASES[old]
    expected = call(**{new: VALUES[old]})
    with pytest.warns(DeprecationWarning, match=f"`{old}`.*`{new}`") as caught:
        found = call(**{old: VALUES[old]})
    assert caught[0].filename == __file__
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("old", CASES)
def test_both_names_are_refused(old: str) -> None:
    new, call = CASES[old]
    with pytest.warns(DeprecationWarning), pytest.raises(TypeError, match=f"`{new}`.*`{old}`"):
        call(**{new: VALUES[old], old: VALUES[old]})


def test_a_replaced_configuration_takes_earlier_names() -> None:
    with pytest.warns(DeprecationWarning):
        assert TrainConfig(epochs=3).replace(**{"learning_rate": 0.5}).weight_lr == 0.5
    with pytest.warns(DeprecationWarning):
        assert TrainConfig.quick(**{"learning_rate": 0.5}).weight_lr == 0.5


def test_type_checkers_see_every_field_of_a_training() -> None:
    hints = get_type_hints(TrainConfig)
    del hints["__signature__"]
    assert get_type_hints(TrainFields) == hints
