"""Float64 parity of the gradients of α, by every method, with plain PyTorch."""

from __future__ import annotations

import pytest
import torch
from parity import (
    METHODS,
    SETUPS,
    XI,
    Setup,
    apart,
    assert_gradients_agree,
    assert_same_bits,
    distance,
    each,
    plain_gradient,
    snapshot,
)

pytestmark = pytest.mark.usefixtures("one_thread")


# where all three methods and five steps are followed: the corners, not the whole table
FOLLOWED = (
    "the published operations",
    "odd images of 7x5",
    "none, skip and one convolution",
    "two nodes of three, turned round",
    "no reduction",
)


@pytest.mark.parametrize("method", METHODS)
@each()
def test_the_gradient_of_alpha_is_that_of_the_reference(setup: Setup, method: str) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI), expected, method)


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
@each("no reduction", "one to four operations per edge")
def test_the_virtual_step_clips_if_it_is_told_to(setup: Setup, method: str) -> None:
    train, valid = setup.batches(2)
    found = {}
    for clip in (0.05, None):
        ours, theirs = setup.pair(clip_virtual_step=clip is not None, grad_clip=0.05)
        found[clip] = ours.arch_gradient(train, valid, method, XI)
        expected = plain_gradient(theirs, method, train, valid, xi=XI, clip=clip)
        assert_gradients_agree(found[clip], expected, method)
    assert not torch.equal(found[0.05]["normal"], found[None]["normal"])


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
@each(*FOLLOWED)
def test_momentum_enters_the_virtual_step(setup: Setup, method: str) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    buffers = setup.buffers(theirs)
    expected = plain_gradient(theirs, method, train, valid, xi=XI, momentum_buffers=buffers)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI, momentum=buffers), expected, method)
    without = plain_gradient(theirs, method, train, valid, xi=XI)
    assert any(distance(expected[name], without[name]) > 1e-3 for name in expected), "the test sees nothing"


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
def test_momentum_and_decay_of_the_virtual_step_come_from_the_config(method: str) -> None:
    setup = SETUPS["none, skip and one convolution"]
    ours, theirs = setup.pair(weight_momentum=0.5, weight_decay=0.1)
    train, valid = setup.batches(2)
    buffers = setup.buffers(theirs)
    expected = plain_gradient(
        theirs, method, train, valid, xi=0.1, momentum_buffers=buffers, momentum=0.5, weight_decay=0.1
    )
    assert_gradients_agree(ours.arch_gradient(train, valid, method, 0.1, momentum=buffers), expected, method)


@pytest.mark.parametrize("epsilon", [0.001, 0.1, 1.0])
def test_the_finite_difference_takes_the_epsilon_that_is_given(epsilon: float) -> None:
    setup = SETUPS["none, skip and one convolution"]
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, "unrolled", train, valid, xi=XI, epsilon=epsilon)
    assert_gradients_agree(
        ours.arch_gradient(train, valid, "unrolled", XI, epsilon=epsilon), expected, "unrolled"
    )


@pytest.mark.parametrize("epsilon", [1e-5, 10.0])
def test_the_exact_method_does_not_look_at_epsilon(epsilon: float) -> None:
    setup = SETUPS["none, skip and one convolution"]
    net, _ = setup.pair()
    train, valid = setup.batches(2)
    one = net.arch_gradient(train, valid, "unrolled_exact", XI)
    other = net.arch_gradient(train, valid, "unrolled_exact", XI, epsilon=epsilon)
    assert_same_bits({"gradient": one}, {"gradient": other})


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
def test_with_xi_zero_every_method_is_first_order(method: str) -> None:
    setup = SETUPS["the published operations"]
    net, _ = setup.pair()
    train, valid = setup.batches(2)
    first = net.arch_gradient(train, valid, "first_order")
    assert apart(net.arch_gradient(train, valid, method, 0.0), first) <= 1e-12


def test_first_order_does_not_look_at_the_training_batch() -> None:
    setup = SETUPS["the published operations"]
    net, _ = setup.pair()
    train, valid = setup.batches(2)
    one = net.arch_gradient(train=train, valid=valid, hypergradient="first_order")
    assert_same_bits(
        {"gradient": one}, {"gradient": net.arch_gradient(valid=valid, hypergradient="first_order")}
    )


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
def test_train_and_valid_may_have_different_sizes(method: str) -> None:
    setup = SETUPS["none, skip and one convolution"]
    ours, theirs = setup.pair()
    train, (x, y) = setup.batches(2)
    valid = (x[:3], y[:3])
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI), expected, method)


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_alpha_leaves_everything_as_it_was(method: str) -> None:
    setup = SETUPS["the published operations"]
    net, theirs = setup.pair(hypergradient=method)
    train, valid = setup.batches(2)
    net.step(train, valid)  # so that momentum and moments are not zero
    momentum = setup.buffers(theirs)
    given = [tensor.clone() for tensor in (*train, *valid, *momentum.values())]
    before = snapshot(net)
    random = torch.get_rng_state()
    net.arch_gradient(train, valid, method, XI, momentum=momentum)
    assert torch.equal(random, torch.get_rng_state())
    assert_same_bits(before, snapshot(net))
    kept = (*train, *valid, *momentum.values())
    assert all(torch.equal(one, other) for one, other in zip(given, kept, strict=True))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
def test_momentum_none_means_zeros_and_never_the_live_buffer(method: str) -> None:
    setup = SETUPS["none, skip and one convolution"]
    net, theirs = setup.pair(hypergradient=method)
    train, valid = setup.batches(2)
    for _ in range(2):
        net.step(train, valid)
    theirs.load_state_dict(net.state_dict())
    theirs.set_alphas(net.alphas)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    assert_gradients_agree(net.arch_gradient(train, valid, method, XI), expected, method)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_the_same_under_no_grad(method: str) -> None:
    setup = SETUPS["none, skip and one convolution"]
    net, _ = setup.pair()
    train, valid = setup.batches(2)
    one = net.arch_gradient(train, valid, method, XI)
    with torch.no_grad():
        other = net.arch_gradient(train, valid, method, XI)
        assert not torch.is_grad_enabled()
    assert_same_bits({"gradient": one}, {"gradient": other})
