"""Float64 parity of the names, logits and losses of `pydarts.Supernet` with plain PyTorch."""

from __future__ import annotations

import pydarts
import pytest
import reference
import torch
from parity import (
    LOSS,
    SETUPS,
    SMALL,
    Setup,
    assert_gradients_agree,
    assert_same_bits,
    distance,
    each,
    snapshot,
)

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- names and shapes


@each()
def test_the_state_dict_has_the_names_and_shapes_of_the_reference(setup: Setup) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in setup.engine().state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in setup.reference().state_dict().items()}
    assert ours == theirs


@each("the published operations", "one cell", "two nodes of three, turned round")
def test_alpha_has_the_tables_and_shapes_of_the_reference(setup: Setup) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in setup.engine().alphas.items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in setup.reference().alphas.items()}
    assert ours == theirs


def test_the_default_network_has_1930618_weights() -> None:
    state = pydarts.Supernet("darts").state_dict()
    theirs = reference.Supernet().state_dict()
    assert {name: tensor.shape for name, tensor in state.items()} == {
        name: tensor.shape for name, tensor in theirs.items()
    }
    running = (".running_mean", ".running_var", ".num_batches_tracked")
    assert sum(tensor.numel() for name, tensor in state.items() if not name.endswith(running)) == 1_930_618


def test_state_dict_and_alphas_come_back_as_they_were_set() -> None:
    setup = SETUPS["the published operations"]
    ours, theirs = setup.pair()
    assert_same_bits(
        {"state": dict(theirs.state_dict()), "alphas": {k: v.detach() for k, v in theirs.alphas.items()}},
        {"state": ours.state_dict(), "alphas": ours.alphas},
    )


def test_state_dict_and_alphas_are_copies() -> None:
    net = SETUPS["none, skip and one convolution"].engine()
    before = snapshot(net)
    for tensor in (*net.state_dict().values(), *net.alphas.values()):
        tensor.add_(1)
    assert_same_bits(before, snapshot(net))


def test_building_a_network_leaves_the_random_state_of_torch_alone() -> None:
    before = torch.get_rng_state()
    SETUPS["none, skip and one convolution"].engine()
    assert torch.equal(before, torch.get_rng_state())


# ---- logits and losses


@each()
def test_logits_and_loss_are_those_of_the_reference(setup: Setup) -> None:
    ours, theirs = setup.pair()
    x, y = setup.batches(1)[0]
    with torch.no_grad():
        logits, loss = theirs(x), theirs.loss(x, y).item()
    assert distance(ours.logits(x), logits) <= LOSS
    assert ours.loss(x, y) == pytest.approx(loss, rel=LOSS, abs=0)


@each()
def test_evaluation_uses_the_running_statistics(setup: Setup) -> None:
    ours, theirs = setup.pair()
    theirs.eval()
    x, y = setup.batches(1)[0]
    with torch.no_grad():
        logits, expected = theirs(x), theirs.loss(x, y).item()
    loss, correct = ours.evaluate(x, y)
    assert loss == pytest.approx(expected, rel=LOSS, abs=0)
    assert correct == int((logits.argmax(1) == y).sum())


def test_evaluation_counts_the_correct_predictions() -> None:
    setup = Setup(operations=SMALL, batch=32, num_classes=3)
    ours, theirs = setup.pair()
    theirs.eval()
    x, _ = setup.batches(1)[0]
    with torch.no_grad():
        predicted = theirs(x).argmax(1)
    y = predicted.clone()
    y[:5] = (y[:5] + 1) % 3
    assert ours.evaluate(x, predicted)[1] == 32
    assert ours.evaluate(x, y)[1] == 27


def test_losses_and_evaluation_change_nothing() -> None:
    setup = SETUPS["the published operations"]
    net, _ = setup.pair()
    x, y = setup.batches(1)[0]
    before = snapshot(net)
    net.logits(x), net.loss(x, y), net.evaluate(x, y)
    assert_same_bits(before, snapshot(net))


def test_the_default_network_agrees_on_images_of_32x32() -> None:
    setup = Setup(nodes=4, channels=16, layers=8, num_classes=10, size=(32, 32), batch=2)
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    gradient, loss = reference.first_order(theirs, train, valid)
    assert ours.loss(*valid) == pytest.approx(loss, rel=LOSS, abs=0)
    assert_gradients_agree(ours.arch_gradient(train, valid, "first_order"), gradient, "first_order")
