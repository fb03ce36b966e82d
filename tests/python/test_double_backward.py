"""Hypergradients of users' networks against double backward by hand (`tests/reference`), in float64."""

from __future__ import annotations

from typing import Any

import pydarts
import pytest
import reference
import torch
from own_models import MODELS, Parts, Recorder, Twins, batches
from parity import apart, distance
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = {"first_order": 1e-9, "unrolled": 1e-6, "unrolled_exact": 1e-8}
STEPS = {"first_order": 1e-8, "unrolled": 1e-6, "unrolled_exact": 1e-8}
XI = 0.1

models = pytest.mark.parametrize("name", MODELS)
methods = pytest.mark.parametrize("method", TOLERANCE)


def flat(tables: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tables[name].flatten() for name in sorted(tables)])


@methods
@models
def test_gradients_are_those_of_double_backward_by_hand(name: str, method: str) -> None:
    twins = Twins(name)
    train, valid = batches(name, 2)
    more: dict[str, Any] = {}
    if method != "first_order":
        more = {"xi": XI, "momentum_buffers": twins.momentum(), "momentum": 0.9, "weight_decay": 3e-4}
    found = twins.ours.arch_gradient(
        train=train, valid=valid, hypergradient=method, xi=XI, momentum=more.get("momentum_buffers")
    )
    if method == "first_order":
        assert len(twins.recorder.passes) == 1
        twins.recorder.play({"alpha": twins.recorder.passes[0], "weight": []})
    else:
        twins.share_masks(training=0)
    expected, _ = reference.METHODS[method](twins.theirs, train, valid, criterion=twins.criterion, **more)
    assert {table: gradient.shape for table, gradient in found.items()} == {
        table: gradient.shape for table, gradient in expected.items()
    }
    assert flat(expected).norm() > 1e-4, "the test sees nothing"
    assert distance(flat(found), flat(expected)) <= TOLERANCE[method]


@models
def test_the_second_order_term_is_not_zero(name: str) -> None:
    """Without it the methods would agree, and the tests above would see only the first order."""
    twins = Twins(name)
    train, valid = batches(name, 2)
    gradients = {
        xi: flat(twins.ours.arch_gradient(train=train, valid=valid, hypergradient="unrolled_exact", xi=xi))
        for xi in (0.0, XI)
    }
    assert distance(gradients[0.0], gradients[XI]) > 1e-3


@methods
@models
def test_steps_are_those_of_plain_pytorch(name: str, method: str) -> None:
    options: dict[str, Any] = {"arch_lr": 0.01, "weight_decay": 1e-3, "grad_clip": 1.0}
    twins = Twins(name, hypergradient=method, **options)
    search = reference.Search(
        twins.theirs, method=method, criterion=twins.criterion, published=False, **options
    )
    before = twins.ours.state_dict()
    train_batches = batches(name, 20)
    for train, valid in zip(train_batches[::2], train_batches[1::2], strict=True):
        twins.recorder.play(None)
        losses = twins.ours.step(train, valid)
        twins.share_masks(training=-1)
        assert losses == pytest.approx(search.step(train, valid, 0.1), rel=STEPS[method])
    ours, theirs = twins.ours.alphas, {k: v.detach() for k, v in twins.theirs.alphas.items()}
    assert apart(ours, theirs) <= STEPS[method]
    state, plain = twins.ours.state_dict(), twins.theirs.module.state_dict()
    moved = {**twins.theirs.weights(), **dict(twins.theirs.module.named_buffers())}
    assert moved.keys() <= state.keys()
    assert apart({key: state[key] for key in moved}, {key: plain[key] for key in moved}) <= STEPS[method]
    optimisers, expected = twins.ours.optimizer_state(), search.optimizer_state()
    assert optimisers["step"] == expected["step"] == 10
    for part in ("momentum", "exp_avg", "exp_avg_sq"):
        assert apart(optimisers[part], expected[part]) <= 10 * STEPS[method]
    assert any(not torch.equal(before[key], state[key]) for key in twins.theirs.weights())


def test_frozen_parameters_and_norms_stay() -> None:
    twins = Twins("frozen", hypergradient="unrolled", weight_decay=0.1)
    before = twins.ours.state_dict()
    for train, valid in zip(*[iter(batches("frozen", 6))] * 2, strict=True):
        twins.ours.step(train, valid)
    after, weights = twins.ours.state_dict(), twins.theirs.weights()
    assert not {"first.weight", "first.bias", "bn.weight"} & weights.keys()
    assert {"fixed.weight", "fixed.bias", "bn.bias"} <= weights.keys()
    for key in before:
        frozen = key.startswith(("first.", "fixed.running", "fixed.num")) or key == "bn.weight"
        assert torch.equal(before[key], after[key]) == frozen, key
    assert not {"first.weight", "bn.weight"} & twins.ours.optimizer_state()["momentum"].keys()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["LSTM", "attention"])
def test_float32_runs_twice_differentiable_kernels(name: str) -> None:
    """The kernels that PyTorch takes for float32 have no second derivative."""
    gradients = {}
    for dtype in (torch.float64, torch.float32):
        torch.manual_seed(1)
        model = MODELS[name](Parts(False, Recorder())).to(dtype)
        net = pydarts.SearchModule(model, loss=F.cross_entropy, precision=str(dtype).removeprefix("torch."))
        train, valid = batches(name, 2, dtype)
        gradients[dtype] = flat(
            net.arch_gradient(train=train, valid=valid, hypergradient="unrolled_exact", xi=1.0)
        )
        first = flat(net.arch_gradient(train=train, valid=valid, hypergradient="first_order"))
        assert not torch.equal(gradients[dtype], first)
    assert gradients[torch.float32].dtype == torch.float32
    assert distance(gradients[torch.float32].double(), gradients[torch.float64]) < 1e-3


@pytest.mark.parametrize("name", ["LSTM", "attention"])
def test_float32_searches_run_under_every_method(name: str) -> None:
    data = batches(name, 2, torch.float32)
    for method in TOLERANCE:
        config = pydarts.SearchConfig(hypergradient=method, epochs=1, device="cpu", progress=False)
        result = pydarts.search((data, data), config, network=MODELS[name](Parts(False, Recorder())))
        assert result.status == "complete"
