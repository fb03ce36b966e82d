"""Float64 parity of whole steps of the search, optimisers included, with plain PyTorch."""

from __future__ import annotations

import pytest
import reference
import torch
from parity import FIVE_STEPS, METHODS, SETUPS, XI, Setup, apart, assert_steps_agree, each

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("momentum", [0.9, 0.0], ids=["momentum", "no momentum"])
@pytest.mark.parametrize("method", METHODS)
@each("wide images of 5x12", "two nodes of three, turned round", "no reduction", "one cell")
def test_five_steps_of_the_search_follow_the_reference(setup: Setup, method: str, momentum: float) -> None:
    assert_steps_agree(setup, 5, method, weight_momentum=momentum)


@pytest.mark.parametrize("method", METHODS)
@each("odd images of 7x5", "all twelve operations", "the space S1", "one to four operations per edge")
def test_five_steps_of_larger_spaces_follow_the_reference(setup: Setup, method: str) -> None:
    assert_steps_agree(setup, 5, method)


@pytest.mark.parametrize("method", METHODS)
def test_every_option_of_the_optimisers_reaches_them(method: str) -> None:
    setup = SETUPS["two nodes of three, turned round"]
    assert_steps_agree(
        setup,
        5,
        method,
        lr=0.1,
        epsilon=0.05,
        weight_momentum=0.7,
        weight_decay=0.02,
        grad_clip=0.05,
        arch_lr=0.01,
        arch_betas=(0.8, 0.9),
        arch_weight_decay=0.1,
    )


@each("the published operations", "odd images of 7x5", "no reduction")
def test_the_running_statistics_move_once_a_step(setup: Setup) -> None:
    ours, theirs = setup.pair(hypergradient="unrolled")
    train, valid = setup.batches(2)
    before = ours.state_dict()
    ours.step(train, valid)
    reference.Search(theirs, method="unrolled").step(train, valid, XI)
    after = ours.state_dict()
    running = [name for name, _ in theirs.named_buffers()]
    assert running
    assert all(not torch.equal(before[name], after[name]) for name in running)
    expected = theirs.state_dict()
    assert apart({n: after[n] for n in running}, {n: expected[n] for n in running}) <= FIVE_STEPS


def test_the_optimisers_start_at_zero() -> None:
    setup = SETUPS["none, skip and one convolution"]
    net, theirs = setup.pair()
    state = net.optimizer_state()
    assert state["step"] == 0
    assert set(state["momentum"]) == set(theirs.weights())
    assert set(state["exp_avg"]) == set(state["exp_avg_sq"]) == set(theirs.alphas)
    for part in ("momentum", "exp_avg", "exp_avg_sq"):
        assert not any(tensor.any() for tensor in state[part].values())


def test_a_table_that_no_cell_uses_still_decays() -> None:
    setup = SETUPS["no reduction"]
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    before = ours.alphas["reduce"]
    assert not ours.arch_gradient(train, valid, "first_order")["reduce"].any()
    ours.step(train, valid)
    assert not torch.equal(ours.alphas["reduce"], before)
    reference.Search(theirs).step(train, valid, XI)
    assert apart(ours.alphas, theirs.alphas) <= FIVE_STEPS
