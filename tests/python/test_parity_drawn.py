"""Float64 parity of `pydarts.Supernet` with plain PyTorch in small spaces drawn by hypothesis."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parity import (
    ALL,
    LOSS,
    METHODS,
    XI,
    Setup,
    assert_gradients_agree,
    assert_steps_agree,
    distance,
    plain_gradient,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def candidates(most: int) -> st.SearchStrategy[tuple[str, ...]]:
    names = st.lists(st.sampled_from(ALL), min_size=1, max_size=most, unique=True)
    return names.filter(lambda drawn: drawn != ["none"]).map(tuple)


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    operations: Any = draw(candidates(4))
    nodes = draw(st.integers(1, 4 if len(operations) < 3 else 2))
    return draw(networks(operations, nodes))


@st.composite
def ragged(draw: st.DrawFn) -> Setup:
    """Each edge has one of a few lists of candidates, of its own length."""
    nodes = draw(st.integers(1, 3))
    few = st.sampled_from(draw(st.lists(candidates(3), min_size=2, max_size=3)))
    edges = sum(range(2, nodes + 2))
    rows = st.lists(few, min_size=edges, max_size=edges)
    return draw(networks({"normal": draw(rows), "reduce": draw(rows)}, nodes))


@st.composite
def networks(draw: st.DrawFn, operations: Any, nodes: int) -> Setup:
    numbers = list(range(2, nodes + 2))
    layers = draw(st.integers(1, 3))
    reductions = draw(st.none() | st.lists(st.integers(0, layers - 1), max_size=2, unique=True))
    return Setup(
        operations=operations,
        nodes=nodes,
        concat=draw(st.none() | st.lists(st.sampled_from(numbers), min_size=1, unique=True).map(tuple)),
        reductions=None if reductions is None else tuple(reductions),
        stem_multiplier=draw(st.integers(1, 3)),
        channels=draw(st.integers(2, 4)),
        layers=layers,
        num_classes=draw(st.integers(2, 4)),
        in_channels=draw(st.integers(1, 3)),
        size=(draw(st.integers(5, 9)), draw(st.integers(5, 9))),
        batch=draw(st.integers(4, 6)),
        seed=draw(st.integers(0, 1000)),
    )


few = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@few
@given(setups() | ragged())
def test_any_small_space_has_the_names_and_losses_of_the_reference(setup: Setup) -> None:
    ours, theirs = setup.pair()
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == {
        name: tensor.shape for name, tensor in theirs.state_dict().items()
    }
    x, y = setup.batches(1)[0]
    with torch.no_grad():
        logits, loss = theirs(x), theirs.loss(x, y).item()
    assert distance(ours.logits(x), logits) <= LOSS
    assert ours.loss(x, y) == pytest.approx(loss, rel=LOSS, abs=0)
    theirs.eval()
    with torch.no_grad():
        loss = theirs.loss(x, y).item()
    assert ours.evaluate(x, y)[0] == pytest.approx(loss, rel=LOSS, abs=0)


@few
@given(setups() | ragged(), st.sampled_from(METHODS), st.booleans())
def test_any_small_space_has_the_gradients_of_the_reference(
    setup: Setup, method: str, with_momentum: bool
) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    buffers = setup.buffers(theirs) if with_momentum else None
    expected = plain_gradient(theirs, method, train, valid, xi=XI, momentum_buffers=buffers)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI, momentum=buffers), expected, method)


@settings(few, max_examples=16)
@given(setups() | ragged(), st.sampled_from(METHODS), st.sampled_from([0.0, 0.9]))
def test_any_small_space_is_searched_as_by_the_reference(
    setup: Setup, method: str, weight_momentum: float
) -> None:
    assert_steps_agree(setup, 2, method, weight_momentum=weight_momentum)
