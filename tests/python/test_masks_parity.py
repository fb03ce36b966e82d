"""Float64 parity of networks with drop path and skip dropout with plain PyTorch under the same masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masked_edges import MaskedImages, MaskedPartial, MaskedSequences, share_masks
from parity import (
    LOSS,
    METHODS,
    RAGGED,
    XI,
    Setup,
    apart,
    assert_gradients_agree,
    distance,
    plain_gradient,
)
from pydarts.algorithms import Linear

pytestmark = pytest.mark.usefixtures("one_thread")

BOTH: dict[str, Any] = {"drop_path": 0.3, "skip_dropout": 0.4}
SMALL = ("none", "skip_connect", "sep_conv_3x3")
SETUPS: dict[str, Setup] = {
    "the published operations": MaskedImages(),
    "four nodes of skips and one convolution": MaskedImages(operations=SMALL, nodes=4, layers=2),
    "odd images of 7x5": MaskedImages(size=(7, 5), layers=5, nodes=1),
    "a single operation": MaskedImages(operations=("dil_conv_5x5",), nodes=2),
    "pooling only": MaskedImages(operations=("avg_pool_3x3", "max_pool_3x3"), size=(7, 7)),
    "one to four operations per edge": MaskedImages(operations=RAGGED["one to four"]),
    "partial channels": MaskedPartial(k=2, operations=SMALL, channels=6),
    "partial channels with weighted edges": MaskedPartial(k=3, normalized=True, size=(9, 7), nodes=1),
    "an auxiliary skip": MaskedPartial(auxiliary=0.5, operations=SMALL),
    "all three": MaskedPartial(k=2, normalized=True, auxiliary=0.75, channels=5, operations=SMALL, nodes=3),
    "sequences": MaskedSequences(),
    "causal sequences of odd length": MaskedSequences(length=13, nodes=1, causal=True),
}
each = pytest.mark.parametrize("setup", [pytest.param(setup, id=name) for name, setup in SETUPS.items()])


@each
def test_losses_see_the_masks_of_their_role(setup: Setup) -> None:
    ours, theirs = setup.pair(**BOTH)
    train, valid = setup.batches(2)
    share_masks(ours, theirs, train, valid)
    with torch.no_grad():
        loss, logits = theirs.loss(*train).item(), theirs(train[0])
    assert abs(ours.loss(*train) - loss) <= LOSS
    assert distance(ours.logits(train[0]), logits) <= LOSS


@pytest.mark.parametrize("passes", [None, ()], ids=["passes", "no passes"])
@pytest.mark.parametrize("method", METHODS)
@each
def test_gradients_follow_the_reference(setup: Setup, method: str, passes: Any) -> None:
    config = BOTH
    if isinstance(setup, MaskedPartial):
        setup = replace(setup, passes=passes)
    elif not isinstance(setup, MaskedSequences):
        config = BOTH | {"passes": passes}
    ours, theirs = setup.pair(**config)
    train, valid = setup.batches(2)
    share_masks(ours, theirs, train, valid)
    found = ours.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI)
    assert_gradients_agree(found, plain_gradient(theirs, method, train, valid, xi=XI), method)


@pytest.mark.parametrize("kind", [{"drop_path": 0.3}, {"skip_dropout": 0.4}, BOTH], ids=" and ".join)
@pytest.mark.parametrize("method", METHODS)
def test_five_steps_follow_the_reference(method: str, kind: dict[str, Any]) -> None:
    setup = SETUPS["four nodes of skips and one convolution"]
    ours, theirs = setup.pair(hypergradient=method, **kind)
    search = reference.Search(theirs, method=method)
    batches = setup.batches(10)
    for step in range(5):
        train, valid = batches[2 * step : 2 * step + 2]
        share_masks(ours, theirs, train, valid)
        ours.step(train, valid)
        search.step(train, valid, XI)
    assert apart(ours.alphas, theirs.alphas) <= 1e-8
    names = set(theirs.weights())
    mine = {name: value for name, value in ours.state_dict().items() if name in names}
    assert apart(mine, theirs.weights()) <= 1e-8


@pytest.mark.parametrize("method", METHODS)
def test_cells_that_are_computed_again_see_the_same_masks(method: str) -> None:
    setup = SETUPS["the published operations"]
    train, valid = setup.batches(2)
    nets = [setup.pair(memory=memory, **BOTH)[0] for memory in ("keep", "recompute")]
    keep, again = (net.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI) for net in nets)
    assert_gradients_agree(again, {name: value for name, value in keep.items()}, method)
    for net in nets:
        net.step(train, valid)
    assert apart(nets[1].state_dict(), nets[0].state_dict()) <= 1e-10


def test_every_micro_batch_has_masks_of_its_own() -> None:
    setup = SETUPS["four nodes of skips and one convolution"]
    ours, theirs = setup.pair(micro_batch=3, **BOTH)
    (x, y), valid = setup.batches(2)  # four images: parts of two
    masks = share_masks(ours, theirs, (x, y), valid)
    edge = "cells.0.edges.2_3"
    assert not torch.equal(masks[f"alpha.0.{edge}.skip_connect"], masks[f"alpha.1.{edge}.skip_connect"])
    found = ours.arch_gradient(valid=valid, hypergradient="first_order")
    expected = None
    for part in range(2):
        own = {name: mask for name, mask in masks.items() if name.split(".")[1] == str(part)}
        theirs.masks = {name.replace(f".{part}.", ".0.", 1): mask for name, mask in own.items()}
        rows = slice(2 * part, 2 * part + 2)
        batch = (valid[0][rows], valid[1][rows])
        gradient = plain_gradient(theirs, "first_order", batch, batch)
        expected = gradient if expected is None else {n: (expected[n] + gradient[n]) / 2 for n in gradient}
    assert expected is not None
    assert_gradients_agree(found, expected, "first_order")


@settings(max_examples=15, deadline=None)
@given(
    p=st.floats(0, 0.9),
    q=st.floats(0, 0.9),
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    batch=st.integers(2, 5),
)
def test_any_probabilities_and_sizes_follow_the_reference(
    p: float, q: float, seed: int, size: tuple[int, int], batch: int
) -> None:
    setup = MaskedImages(operations=SMALL, size=size, batch=batch, seed=seed % 1000)
    ours, theirs = setup.pair(drop_path=p, skip_dropout=q)
    train, valid = setup.batches(2)
    share_masks(ours, theirs, train, valid)
    with torch.no_grad():
        assert ours.loss(*train) == pytest.approx(theirs.loss(*train).item(), rel=1e-11)
    found = ours.arch_gradient(valid=valid, hypergradient="first_order")
    assert_gradients_agree(found, plain_gradient(theirs, "first_order", valid, valid), "first_order")


@pytest.mark.parametrize("name", ["drop_path", "skip_dropout"])
@each
def test_probability_zero_of_a_schedule_equals_no_dropout(setup: Setup, name: str) -> None:
    plain, _ = setup.pair()
    ours, _ = setup.pair(**{name: Linear(0.0, 0.5)})  # a network for inspection is in the first epoch
    train, valid = setup.batches(2)
    assert abs(ours.loss(*train) - plain.loss(*train)) <= 1e-13
    for method in METHODS:
        found, expected = (
            net.arch_gradient(train=train, valid=valid, hypergradient=method) for net in (ours, plain)
        )
        assert_gradients_agree(found, expected, method)


@each
def test_evaluation_drops_nothing(setup: Setup) -> None:
    x, y = setup.batches(1)[0]
    (ours, theirs), (plain, _) = setup.pair(**BOTH), setup.pair()
    theirs.eval()
    with torch.no_grad():
        assert abs(ours.evaluate(x, y)[0] - theirs.loss(x, y).item()) <= LOSS
    assert ours.evaluate(x, y)[0] == pytest.approx(plain.evaluate(x, y)[0], rel=1e-12)


def test_networks_without_dropout_have_the_plan_of_before() -> None:
    setup = MaskedImages()
    both: tuple[dict[str, Any], ...] = ({"seed": 1}, {"seed": 1, "drop_path": 0.0})
    plans = [setup.engine(**config).explain(full=True) for config in both]
    assert plans[0] == plans[1]
    assert setup.engine(seed=1).masks() == {}


@pytest.mark.parametrize("config", [{"drop_path": 0.2}, {"skip_dropout": 0.2}], ids=" ".join)
def test_the_plan_and_the_cost_show_what_is_dropped(config: dict[str, Any]) -> None:
    plain, ours = MaskedImages().engine(memory="keep"), MaskedImages().engine(**config)
    word = "drop path" if "drop_path" in config else "dropout"
    assert word not in plain.explain(full=True)
    assert word in ours.explain(full=True)
    assert ours.cost()["multiply_adds"] == plain.cost()["multiply_adds"]
    if "skip_dropout" in config:
        assert ours.cost()["bytes"] > plain.cost()["bytes"]


def test_the_masks_need_the_batch_that_they_are_for() -> None:
    setup = SETUPS["the published operations"]
    ours, _ = setup.pair(**BOTH)
    assert ours.masks() == {}
    x, y = setup.batches(1)[0]
    ours.loss(x[:3], y[:3])
    assert {mask.shape[0] for mask in ours.masks().values()} == {3}
    ours.loss(x, y)
    assert {mask.shape[0] for mask in ours.masks().values()} == {4}
