"""Partial channels, weighted edges and the auxiliary skip: float64 parity with plain PyTorch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pydarts
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import (
    LOSS,
    METHODS,
    XI,
    Setup,
    apart,
    assert_gradients_agree,
    assert_steps_agree,
    distance,
    plain_gradient,
)
from parity_partial import BASES, Partial, PartialSequences
from reference.partial import mixed_channels, order
from relaxed import share_noise

pytestmark = pytest.mark.usefixtures("one_thread")
PASSES = ("space_to_batch", "share", "fold", "group", "sum", "mixtures")

each = pytest.mark.parametrize("setup", [pytest.param(setup, id=name) for name, setup in BASES.items()])
SEQUENCES = {
    "sequences": PartialSequences(k=2, normalized=True, auxiliary=0.5, length=13),
    "causal sequences": PartialSequences(k=3, channels=7, normalized=True, causal=True, length=14),
    "causal sequences of odd length": PartialSequences(k=2, auxiliary=0.5, causal=True, length=11),
    "one mixed channel of sequences": PartialSequences(k=4, causal=True, length=12),
}
each_sequence = pytest.mark.parametrize(
    "setup", [pytest.param(setup, id=name) for name, setup in SEQUENCES.items()]
)


def assert_logits_agree(setup: Setup) -> None:
    ours, theirs = setup.pair()
    x, y = setup.batches(1)[0]
    with theirs.moving_statistics(False):
        assert distance(ours.logits(x), theirs(x).detach()) <= 1e-11
        assert ours.loss(x, y) == pytest.approx(theirs.loss(x, y).item(), rel=LOSS)


# ---- names, logits, gradients, steps


@each
def test_names_and_shapes_are_those_of_the_reference(setup: Partial) -> None:
    ours, theirs = setup.engine(), setup.reference()
    assert {n: tuple(t.shape) for n, t in ours.state_dict().items()} == {
        n: tuple(t.shape) for n, t in theirs.state_dict().items()
    }
    assert {n: tuple(t.shape) for n, t in ours.alphas.items()} == {
        n: tuple(t.shape) for n, t in theirs.alphas.items()
    }


@each
def test_logits_and_loss_are_those_of_the_reference(setup: Partial) -> None:
    assert_logits_agree(setup)


@each_sequence
def test_logits_of_sequences_are_those_of_the_reference(setup: PartialSequences) -> None:
    assert_logits_agree(setup)


@pytest.mark.parametrize("method", METHODS)
@each
def test_gradients_are_those_of_the_reference(setup: Partial, method: str) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    found = ours.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI)
    assert_gradients_agree(found, expected, method)


@each_sequence
def test_gradients_of_sequences_are_those_of_the_reference(setup: PartialSequences) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, "unrolled_exact", train, valid, xi=XI)
    found = ours.arch_gradient(train=train, valid=valid, hypergradient="unrolled_exact", xi=XI)
    assert_gradients_agree(found, expected, "unrolled_exact")


@pytest.mark.parametrize("name", ["the published operations, k=4", "an auxiliary skip", "all three"])
def test_five_steps_are_those_of_the_reference(name: str) -> None:
    assert_steps_agree(BASES[name], 5, "first_order")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["an odd number of mixed channels", "an auxiliary skip", "all three"])
def test_sampled_operations_keep_bypass_and_auxiliary_skip(name: str, method: str) -> None:
    """Under GDAS one operation of an edge is computed, next to all bypasses and auxiliary skips."""
    setup = BASES[name]
    ours, theirs = setup.pair(relaxation="gdas", hypergradient=method, weight_lr=XI)
    theirs.relaxation = reference.Relaxation("gdas")
    search = reference.Search(theirs, method=method, published=False)
    batches = setup.batches(6)
    for number, (train, valid) in enumerate(zip(batches[::2], batches[1::2], strict=True)):
        share_noise(theirs, number, seed=setup.seed)
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, XI), rel=1e-6)
    assert apart(ours.state_dict(), theirs.state_dict()) <= 1e-6
    assert apart(ours.alphas, theirs.alphas) <= 1e-6


@pytest.mark.parametrize("passes", [(), *[(name,) for name in PASSES], PASSES[:3], PASSES])
@pytest.mark.parametrize("name", ["an odd number of mixed channels", "all three"])
def test_every_pass_computes_the_same(name: str, passes: tuple[str, ...]) -> None:
    setup = replace(BASES[name], passes=passes)
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    assert distance(ours.logits(train[0]), theirs(train[0]).detach()) <= 1e-11
    expected = plain_gradient(theirs, "unrolled_exact", train, valid, xi=XI)
    found = ours.arch_gradient(train=train, valid=valid, hypergradient="unrolled_exact", xi=XI)
    assert_gradients_agree(found, expected, "unrolled_exact")


@settings(max_examples=12, deadline=None)
@given(
    channels=st.integers(1, 9),
    k=st.integers(1, 12),
    size=st.tuples(st.integers(5, 10), st.integers(5, 10)),
    normalized=st.booleans(),
    auxiliary=st.sampled_from([None, 0.5]),
)
def test_any_channels_k_and_size(
    channels: int, k: int, size: tuple[int, int], normalized: bool, auxiliary: float | None
) -> None:
    setup = Partial(
        operations=("none", "max_pool_3x3", "skip_connect", "dil_conv_3x3"),
        channels=channels + (k == 1),  # without partial channels a reduction needs two
        k=k,
        size=size,
        normalized=normalized,
        auxiliary=auxiliary if channels > 1 else None,
        layers=3,
    )
    assert_logits_agree(setup)
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, "first_order", train, valid)
    found = ours.arch_gradient(train=train, valid=valid, hypergradient="first_order", xi=XI)
    assert_gradients_agree(found, expected, "first_order")


@each
def test_evaluation_is_that_of_the_reference(setup: Partial) -> None:
    ours, theirs = setup.pair()
    x, y = setup.batches(1)[0]
    theirs.eval()
    loss, _ = ours.evaluate(x, y)
    assert loss == pytest.approx(theirs.loss(x, y).item(), rel=1e-10)


# ---- reductions


def test_the_defaults_are_the_published_network_bit_for_bit() -> None:
    setup = Setup()
    train, valid = setup.batches(2)
    plain = setup.engine()
    given = setup.engine(partial_channels=1, edge_normalization=False, auxiliary_skip=None)
    assert plain.explain(full=True) == given.explain(full=True)
    assert plain.step(train, valid) == given.step(train, valid)
    assert all(torch.equal(plain.alphas[name], given.alphas[name]) for name in plain.alphas)


def test_an_auxiliary_skip_of_weight_0_is_darts() -> None:
    plain, setup = Setup(), Partial(auxiliary=0.0)
    ours, theirs = setup.engine(), plain.engine()
    state = ours.state_dict()
    theirs.load_state_dict({name: value for name, value in state.items() if "auxiliary_skip" not in name})
    theirs.set_alphas(ours.alphas)
    x, _ = setup.batches(1)[0]
    assert distance(ours.logits(x), theirs.logits(x)) <= 1e-15


# ---- vectors (ALGORITHMS.md 1.1.10) and traps


def test_the_shuffle_of_the_vectors() -> None:
    assert order(8, mixed_channels(8, 4)) == [0, 2, 4, 6, 1, 3, 5, 7]
    assert order(6, mixed_channels(6, 2)) == [0, 3, 1, 4, 2, 5]
    assert torch.equal(
        torch.channel_shuffle(torch.arange(8.0).view(1, 8, 1, 1), 4).flatten().long(),
        torch.tensor(order(8, 2)),
    )


def edge_output(operations: tuple[str, ...], alpha: list[float], **options: Any) -> tuple[Any, Any]:
    """A cell whose only node has two edges of the same table, as features before the classifier."""
    setup = Partial(operations=operations, nodes=1, layers=1, reductions=(), channels=8, **options)
    ours, theirs = setup.pair()
    logits = torch.tensor([alpha, alpha], dtype=torch.float64)
    for net in (ours, theirs):
        net.set_alphas(
            {"normal": logits, "reduce": logits}
            | (
                {f"{t}.beta": torch.tensor([[0.1], [-0.2]]).double() for t in ("normal", "reduce")}
                if setup.normalized
                else {}
            )
        )
    return ours, theirs


def test_an_edge_that_only_skips_is_b_times_a_permutation_of_its_input() -> None:
    """Conformance 6.2.9: PC at stride 1 with m one-hot on `skip_connect`."""
    ours, theirs = edge_output(("skip_connect",), [0.0], k=4, normalized=True)
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    cell, b = theirs.cells[0], theirs.edge_weights("normal")
    assert b.tolist() == pytest.approx([0.574443, 0.425557], abs=1e-6)
    stem = theirs.stem(x)
    first, second = cell.pre0(stem), cell.pre1(stem)
    node = (b[0] * first + b[1] * second)[:, order(8, 2)]
    expected = theirs.classifier(node.mean((2, 3)))
    assert distance(ours.logits(x), expected.detach()) <= 1e-12


def test_trap_1_1_a_the_bypass_of_an_odd_size_has_the_size_of_the_operations() -> None:
    """1.1 (a): pooling 2x2 without ceil mode gives ⌊H/2⌋, the operations ⌈H/2⌉."""
    assert_logits_agree(Partial(k=2, size=(7, 9), reductions=(0,), layers=2))


@pytest.mark.parametrize("channels", [6, 7, 10])
def test_trap_1_1_b_k_need_not_divide_the_channels(channels: int) -> None:
    """1.1 (b): C must divide by k, and C/k be even, in the published code."""
    names = Partial(k=4, channels=channels, reductions=(1,)).engine().state_dict()
    c = (2 * channels) // 4  # of the reduction cell
    halves = [names[f"cells.1.edges.0_2.skip_connect.conv_{i}.weight"].shape[0] for i in (1, 2)]
    assert halves == [c // 2, c - c // 2]


def test_trap_1_1_c_none_keeps_the_bypass_weighted_by_b_alone() -> None:
    """1.1 (c): an engine that drops `none` must still run the bypass of its edge."""
    ours, theirs = edge_output(("none", "conv_1x1"), [900.0, -900.0], k=4, normalized=True)
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    cell, b = theirs.cells[0], theirs.edge_weights("normal")
    stem = theirs.stem(x)
    node = b[0] * cell.pre0(stem) + b[1] * cell.pre1(stem)
    node[:, :2] = 0  # `none` is all that is mixed
    expected = theirs.classifier(node[:, order(8, 2)].mean((2, 3)))
    assert expected.abs().max() > 0.01
    assert distance(ours.logits(x), expected.detach()) <= 1e-12


def test_trap_1_1_g_another_k_does_not_load() -> None:
    """1.1 (g): k is not in the names of weights, so shapes must tell."""
    state = Partial(k=4, channels=8).engine().state_dict()
    net = Partial(k=2, channels=8).engine()
    assert set(state) == set(net.state_dict())
    with pytest.raises(pydarts.DataError, match=r"sep_conv_3x3|shape"):
        net.load_state_dict(state)


def test_trap_1_7_a_the_auxiliary_reduction_has_no_affine_norm() -> None:
    """1.7 (a): a reimplementation had affine batch norm in the stride-2 auxiliary skip."""
    plain, names = Setup().engine().state_dict(), Partial(auxiliary=1.0).engine().state_dict()
    added = {name for name in names if name not in plain}
    kinds = {name.split("auxiliary_skip.")[1] for name in added}
    assert kinds == {
        "conv_1.weight",
        "conv_2.weight",
        "bn.running_mean",
        "bn.running_var",
        "bn.num_batches_tracked",
    }
    assert {name.split(".")[3] for name in added} <= {"0_2", "1_2", "0_3", "1_3"}


def test_trap_1_7_b_the_last_epoch_has_the_published_weight() -> None:
    """1.7 (b): the published decay is 1 - e/E, 0.02 in the last of 50 epochs and never 0."""
    published = [1 - epoch / 50 for epoch in range(50)]
    schedule = pydarts.algorithms.Linear(1, 0.02)
    assert [schedule.at(epoch, 50) for epoch in range(50)] == pytest.approx(published, abs=1e-12)
    assert [schedule.at(epoch, 50) for epoch in (0, 25, 49)] == pytest.approx([1, 0.5, 0.02])


def test_trap_1_7_c_the_auxiliary_skip_sees_all_channels() -> None:
    """1.7 (c): with partial channels another library's auxiliary skip sees C/k channels."""
    names = Partial(k=4, channels=8, auxiliary=1.0).engine().state_dict()
    first = next(name for name in names if name.endswith("auxiliary_skip.conv_1.weight"))
    assert names[first].shape == (8, 16, 1, 1)


@pytest.mark.parametrize("method", METHODS)
def test_trap_1_7_e_the_auxiliary_weight_is_a_constant(method: str) -> None:
    """1.7 (e): finite differences and tangents need the auxiliary weight as a constant leaf."""
    setup = Partial(auxiliary=2.0, k=2, normalized=True)
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    found = ours.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI)
    assert set(found) == set(theirs.alphas)
    assert_gradients_agree(found, plain_gradient(theirs, method, train, valid, xi=XI), method)


def test_the_reference_of_defaults_is_the_plain_supernet() -> None:
    """The reference itself, without its options."""
    setup, partial = Setup(), Partial()
    one, other = setup.filled(), partial.filled()
    other.load_state_dict(one.state_dict())
    other.set_alphas({name: alpha.detach() for name, alpha in one.alphas.items()})
    x, _ = setup.batches(1)[0]
    assert isinstance(other, reference.PartialSupernet)
    assert distance(other(x).detach(), one(x).detach()) <= 1e-14
