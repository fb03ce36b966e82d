"""Float64 parity of `pydarts.Supernet` on sequences with plain 1-D layers of PyTorch."""

from __future__ import annotations

from typing import Any

import pydarts
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parity import (
    METHODS,
    XI,
    apart,
    assert_gradients_agree,
    assert_steps_agree,
    distance,
    plain_gradient,
)
from parity_sequences import ALL, SETUPS, Sequences
from reference.sequences import operation as sequence_operation
from torch import nn

pytestmark = pytest.mark.usefixtures("one_thread")
LOGITS = 1e-11


def each(*names: str) -> Any:
    chosen = names or tuple(SETUPS)
    return pytest.mark.parametrize("setup", [pytest.param(SETUPS[name], id=name) for name in chosen])


def assert_same_network(setup: Sequences) -> None:
    ours, theirs = setup.pair()
    found = {name: tuple(tensor.shape) for name, tensor in ours.state_dict().items()}
    assert found == {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    assert apart(ours.state_dict(), theirs.state_dict()) == 0
    x, y = setup.batches(1)[0]
    with torch.no_grad():
        assert distance(ours.logits(x), theirs(x)) <= LOGITS
        assert ours.loss(x, y) == pytest.approx(theirs.loss(x, y).item(), rel=LOGITS, abs=0)
        theirs.eval()
        assert ours.evaluate(x, y)[0] == pytest.approx(theirs.loss(x, y).item(), rel=LOGITS, abs=0)


@each()
def test_names_shapes_and_logits(setup: Sequences) -> None:
    assert_same_network(setup)


@each()
@pytest.mark.parametrize("method", METHODS)
def test_gradients(setup: Sequences, method: str) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    buffers = setup.buffers(theirs)
    expected = plain_gradient(theirs, method, train, valid, xi=XI, momentum_buffers=buffers)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI, momentum=buffers), expected, method)


@each("the preset", "an odd length of 13, causal", "one to four operations per edge")
@pytest.mark.parametrize("method", METHODS)
def test_steps(setup: Sequences, method: str) -> None:
    assert_steps_agree(setup, 3, method)


@each("the preset, causal")
def test_recomputed_steps(setup: Sequences) -> None:
    ours, _ = setup.pair(hypergradient="unrolled_exact", memory="recompute")
    kept, _ = setup.pair(hypergradient="unrolled_exact")
    train, valid = setup.batches(2)
    assert ours.step(train, valid) == pytest.approx(kept.step(train, valid), rel=1e-12)
    assert apart(ours.alphas, kept.alphas) <= 1e-9
    assert apart(ours.state_dict(), kept.state_dict()) <= 1e-9


@st.composite
def drawn(draw: st.DrawFn) -> Sequences:
    names = st.lists(st.sampled_from(ALL), min_size=1, max_size=4, unique=True)
    layers = draw(st.integers(1, 3))
    reductions = draw(st.none() | st.lists(st.integers(0, layers - 1), max_size=2, unique=True))
    return Sequences(
        operations=tuple(draw(names.filter(lambda found: found != ["none"]))),
        nodes=draw(st.integers(1, 2)),
        reductions=None if reductions is None else tuple(reductions),
        stem_multiplier=draw(st.integers(1, 3)),
        channels=draw(st.integers(2, 5)),
        layers=layers,
        num_classes=draw(st.integers(2, 4)),
        in_channels=draw(st.integers(1, 3)),
        length=draw(st.integers(5, 24)),
        batch=draw(st.integers(4, 6)),
        seed=draw(st.integers(0, 1000)),
        causal=draw(st.booleans()),
    )


few = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@few
@given(drawn())
def test_any_small_space_is_that_of_the_reference(setup: Sequences) -> None:
    assert_same_network(setup)


@few
@given(drawn(), st.sampled_from(METHODS))
def test_any_small_space_has_the_gradients_of_the_reference(setup: Sequences, method: str) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI), expected, method)


class Own(nn.Module):
    """A separable convolution of a user; its weights have as many dimensions as those of the engine."""

    def __init__(self, channels: int, stride: int, causal: bool) -> None:
        super().__init__()
        copied = sequence_operation("sep_conv_3", channels, stride, causal)
        for name, module in copied.named_children():
            norm = nn.BatchNorm1d(channels, affine=False) if name.startswith("bn") else module
            self.add_module(name, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name, module in self.named_children():
            x = module(torch.relu(x) if name.startswith("dw") else x)
        return x


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("causal", [False, True])
def test_an_operation_of_ones_own_that_copies_a_built_in_one_is_that(method: str, causal: bool) -> None:
    own = pydarts.Operation("own_separable", lambda channels, stride: Own(channels, stride, causal))
    setup = Sequences(operations=("sep_conv_3", "skip_connect"), nodes=1, length=11, causal=causal)
    built_in, _ = setup.pair()
    space = pydarts.Space(name="mine", dimensions=1, operations=[own, "skip_connect"], nodes=1, causal=causal)
    sizes: dict[str, Any] = {"channels": 4, "layers": 3, "num_classes": 5, "image_size": 11}
    ours = pydarts.Supernet(space, **sizes, precision="float64")
    state = {
        name.replace(".sep_conv_3.", ".own_separable."): tensor
        for name, tensor in built_in.state_dict().items()
    }
    ours.load_state_dict(state)
    ours.set_alphas(built_in.alphas)
    train, valid = setup.batches(2)
    assert distance(ours.logits(train[0]), built_in.logits(train[0])) <= LOGITS
    gradients = [net.arch_gradient(train, valid, method, XI) for net in (ours, built_in)]
    assert_gradients_agree(gradients[0], gradients[1], method)
