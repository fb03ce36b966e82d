"""Training of own modules: modes, weights, buffers and random numbers."""

from __future__ import annotations

import pydarts
import pytest
import torch
from own_modules import Tied, seeded
from own_trainings import config, numbers, parts, regression
from torch import Tensor, nn
from torch.nn import functional as F
from trained import StopAt, press, same

pytestmark = pytest.mark.usefixtures("one_thread")


def test_frozen_batch_norm_and_frozen_weights_stay() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    module[1].eval()
    module[0].requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = []
    module[1].register_forward_hook(lambda *_: modes.append((module[1].training, module[2].training)))
    pydarts.train(module, parts(regression()), config(epochs=1), loss=F.mse_loss)
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith(("0.", "1.running", "1.num")) for name in moved)
    assert {"1.weight", "2.running_mean", "2.num_batches_tracked", "3.weight"} <= moved
    assert set(modes) == {(False, True), (False, False)}


def test_a_module_in_evaluation_mode_is_trained_in_training_mode() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).eval()
    pydarts.train(module, parts(regression()), config(epochs=1), loss=F.mse_loss)
    assert int(module[1].num_batches_tracked) == 8 and not module.training


def test_a_module_that_freezes_parts_itself_keeps_them_frozen() -> None:
    class Own(nn.Sequential):
        def train(self, mode: bool = True) -> Own:
            super().train(mode)
            self[1].eval()
            return self

    module = Own(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    pydarts.train(module, parts(regression()), config(epochs=1), loss=F.mse_loss)
    assert int(module[1].num_batches_tracked) == 0


def test_tied_weights_are_one_weight_also_in_their_average() -> None:
    X = numbers(32, 4)
    module = seeded(Tied)
    result = pydarts.train(module, parts((X, X)), config(ema=0.5), loss=F.mse_loss)
    assert module.again.weight is module.encoder.weight and int(module.count) == 12
    assert not torch.equal(module.scale, torch.ones(()))  # a buffer that is not persistent, and is replaced
    assert torch.isinf(module.mask[1]) and result.history[-1].averaged
    assert all(bool(value.isfinite().all()) for value in module.parameters())
    single = seeded(Tied)  # by hand: the average after one step is the weight itself
    pydarts.train(single, parts((X[:8], X[:8])), config(ema=0.5, epochs=1), loss=F.mse_loss)
    other = seeded(Tied)
    pydarts.train(other, parts((X[:8], X[:8])), config(epochs=1), loss=F.mse_loss)
    assert same(single, other)


def test_the_dropout_of_a_step_depends_on_the_seed_alone() -> None:
    X = numbers(32, 4)

    def trained(seed: int, moved: int) -> Tied:
        module: Tied = seeded(Tied)
        torch.manual_seed(moved)
        before = torch.get_rng_state()
        pydarts.train(module, parts((X, X)), config(seed=seed), loss=F.mse_loss)
        assert torch.equal(torch.get_rng_state(), before)
        return module

    assert same(trained(0, 1), trained(0, 2)) and not same(trained(0, 1), trained(1, 1))


class Drawing(nn.Linear):
    """Draws a number in every forward pass."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.drawn: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        self.drawn.append(float(torch.rand(())))
        return super().forward(x)


def test_every_step_and_batch_of_an_evaluation_draws_other_numbers() -> None:
    X = numbers(24, 4)
    first, second = seeded(Drawing), seeded(Drawing)
    for module in (first, second):
        pydarts.train(module, parts((X, X)), config(epochs=2), loss=F.mse_loss)
    assert len({*first.drawn}) == len(first.drawn) == 12 and first.drawn == second.drawn


def test_an_interrupted_training_keeps_the_steps_of_its_last_epoch() -> None:
    X = numbers(32, 4)
    whole, stopped = seeded(Tied), seeded(Tied)
    pydarts.train(whole, parts((X, X)), config(epochs=1, weight_lr_schedule="exponential"), loss=F.mse_loss)
    cfg = config(epochs=2, weight_lr_schedule="exponential")
    result = pydarts.train(stopped, parts((X, X)), cfg, StopAt(1, 1, press), loss=F.mse_loss)
    assert result.status == "interrupted" and len(result.history) == 1
    assert int(stopped.count) == int(whole.count) + 2 and not same(whole, stopped)
