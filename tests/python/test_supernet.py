"""The face of Supernet: where its options come from, and what it takes and refuses."""

from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from pydarts import SearchConfig, Space, Supernet

SMALL: dict[str, Any] = {
    "channels": 2,
    "layers": 3,
    "nodes": 2,
    "num_classes": 4,
    "in_channels": 1,
    "image_size": 8,
}


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 1, 8, 8, generator=generator), torch.arange(6) % 4


def test_without_options_it_is_the_published_network() -> None:
    net = Supernet()
    config = net.config
    assert net.cost()["weights"] == 1_930_618
    assert (config.num_classes, config.in_channels, config.image_size) == (10, 3, (32, 32))
    assert repr(net) == "<Supernet darts, float32 on cpu, 1,930,618 weights>"


def test_explicit_options_win_over_the_config_and_the_config_over_the_defaults() -> None:
    config = SearchConfig(channels=4, layers=5, num_classes=7, seed=3, precision="float64")
    net = Supernet(config=config, channels=2, image_size=(8, 6), nodes=2)
    assert (net.config.channels, net.config.layers, net.config.num_classes, net.config.seed) == (2, 5, 7, 3)
    assert (net.config.in_channels, net.config.image_size, net.config.nodes) == (3, (8, 6), 2)
    assert net.alphas["normal"].dtype == torch.float64
    assert (
        Supernet(config=config, layers=3, image_size=8, precision="float32").alphas["normal"].dtype
        == torch.float32
    )


def test_options_reach_into_the_space_of_the_config() -> None:
    config = SearchConfig(space=Space(nodes=3, operations=["none", "skip_connect"]))
    net = Supernet(config=config, nodes=2, channels=2, layers=3, image_size=8)
    assert (net.space.nodes, net.space.operations) == (2, ("none", "skip_connect"))


def test_the_seed_decides_weights_and_alphas() -> None:
    same, other = Supernet(**SMALL, seed=1), Supernet(**SMALL, seed=2)
    again = Supernet(**SMALL, seed=1)
    assert torch.equal(same.alphas["normal"], again.alphas["normal"])
    assert not torch.equal(same.alphas["normal"], other.alphas["normal"])
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in same.state_dict().items())


def test_arrays_and_tensors_of_any_integer_label_are_taken() -> None:
    net = Supernet(**SMALL)
    x, y = batch()
    assert torch.equal(net.logits(x), net.logits(x.numpy()))
    assert net.loss(x, y) == net.loss(x.numpy(), y.numpy().astype(np.uint8)) == net.loss(x, y.int())
    loss, correct = net.evaluate(x, y)
    assert loss > 0 and 0 <= correct <= 6


def test_state_and_alphas_can_be_taken_and_put_back() -> None:
    one, other = Supernet(**SMALL, seed=1), Supernet(**SMALL, seed=2)
    x, _ = batch()
    other.load_state_dict(one.state_dict())
    other.set_alphas({name: alpha.numpy() for name, alpha in one.alphas.items()})
    assert torch.equal(one.logits(x), other.logits(x))


@pytest.mark.parametrize("value", [-float("inf"), float("inf"), float("nan"), 1e300])
def test_logits_that_are_not_finite_are_refused_by_table_row_and_column(value: float) -> None:
    net = Supernet(**SMALL)  # float32, where 1e300 is infinite
    before = net.alphas
    alphas = {name: alpha.double() + 1 for name, alpha in before.items()}
    alphas["reduce"][3, 5] = value
    with pytest.raises(pydarts.DataError, match=r"`reduce`, row 3, column 5"):
        net.set_alphas(alphas)
    assert all(torch.equal(alpha, before[name]) for name, alpha in net.alphas.items())
    alphas["reduce"][3, 5] = -1e30  # finite: as good as masked
    net.set_alphas(alphas)
    net.step(train=batch(0), valid=batch(1))
    assert all(alpha.isfinite().all() for alpha in net.alphas.values())


@pytest.mark.parametrize("method", ["first_order", "unrolled", "unrolled_exact"])
def test_the_gradient_by_alpha_has_alphas_shape_and_changes_nothing(method: Any) -> None:
    net = Supernet(**SMALL, precision=torch.float64)
    x, y = batch()
    before = net.state_dict()
    gradient = net.arch_gradient(
        train=(x.double(), y), valid=(x.double(), y), hypergradient=method, xi=0.025, epsilon=0.01
    )
    assert {name: value.shape for name, value in gradient.items()} == {
        name: value.shape for name, value in net.alphas.items()
    }
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_first_order_needs_no_training_batch_and_the_others_do() -> None:
    net = Supernet(**SMALL)
    assert net.arch_gradient(valid=batch())["normal"].abs().sum() > 0
    with pytest.raises(pydarts.Error, match="train"):
        net.arch_gradient(valid=batch(), hypergradient="unrolled")
    with pytest.raises(pydarts.DataError, match="valid"):
        net.arch_gradient(train=batch())


def test_a_step_moves_weights_alphas_and_optimisers() -> None:
    net = Supernet(**SMALL)
    before, alphas = net.state_dict(), net.alphas
    train_loss, valid_loss = net.step(train=batch(0), valid=batch(1))
    assert train_loss > 0 and valid_loss > 0
    assert not torch.equal(net.state_dict()["classifier.weight"], before["classifier.weight"])
    assert not torch.equal(net.alphas["normal"], alphas["normal"])
    state = net.optimizer_state()
    assert state["step"] == 1
    assert state["exp_avg"].keys() == state["exp_avg_sq"].keys() == {"normal", "reduce"}
    assert state["momentum"]["classifier.weight"].shape == before["classifier.weight"].shape


@pytest.mark.parametrize("wrong", [(torch.zeros(2, 1, 8, 8),), torch.zeros(2, 1, 8, 8), None, ("a", "b")])
def test_what_is_no_batch_is_refused(wrong: Any) -> None:
    with pytest.raises(pydarts.DataError):
        Supernet(**SMALL).step(wrong, batch())


def test_a_configuration_is_passed_by_name() -> None:
    with pytest.raises(pydarts.ConfigError, match="config="):
        Supernet(pydarts.SearchConfig(**SMALL))  # type: ignore[arg-type]


def test_the_plan_explains_itself() -> None:
    text = Supernet(**SMALL).explain(full=True)
    assert "cells.0" in text or "cell 0" in text
    assert "weights" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_that_are_not_finite_are_refused(value: float) -> None:
    x, y = batch()
    x[2, 0, 3, 4] = value
    net = Supernet(**SMALL)
    with pytest.raises(pydarts.DataError, match="NaN"):
        net.loss(x, y)
    with pytest.raises(pydarts.DataError, match=r"training.*NaN"):
        net.step(train=(x, y), valid=batch())


@pytest.mark.parametrize("name", ["parameters", "train", "forward", "to"])
def test_what_only_modules_have_is_named_with_what_to_use_instead(name: str) -> None:
    net = pydarts.Supernet(channels=2, layers=3, image_size=8)
    with pytest.raises(AttributeError, match=f"SearchModule|{name}"):
        getattr(net, name)
    with pytest.raises(AttributeError, match="'Supernet' object has no attribute 'nonsense'"):
        net.nonsense  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(net, name)
