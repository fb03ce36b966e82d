"""Float64 parity of every relaxation with plain PyTorch: gradients of α by every method, and whole steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import parity
import parity_text
import pydarts
import pytest
import reference
import torch
from parity import ALL, METHODS, XI, Batch, apart, distance, over_steps, plain_gradient
from relaxed import LEARNING, RELAXATIONS, as_option, decide, share_noise
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")

GRADIENT = {"first_order": 1e-9, "unrolled": 1e-6, "unrolled_exact": 1e-8}
STEPS = {"first_order": 1e-8, "unrolled": 1e-6, "unrolled_exact": 1e-8}
IMAGES = parity.Setup(operations=ALL, nodes=2, layers=3, size=(9, 8))
FEW = ("none", "skip_connect", "avg_pool_3x3", "sep_conv_3x3")  # a step with all takes a second
WORDS = parity_text.Setup(rate=2.0)  # at the published 20, five steps amplify rounding beyond 1e-8
SMALL_TEXT_STEP = {"momentum": 0.0, "weight_decay": 5e-7, "clip": 0.25}

relaxations = pytest.mark.parametrize("relaxation", [pytest.param(r, id=n) for n, r in LEARNING.items()])
methods = pytest.mark.parametrize("method", METHODS)


def pair(
    setup: parity.Setup, relaxation: reference.Relaxation, **config: Any
) -> tuple[pydarts.Supernet, reference.Supernet]:
    """Both networks with this relaxation, its masks and frozen rows, and the noise of the first step."""
    ours, theirs = setup.pair(relaxation=as_option(relaxation), **config)
    theirs.relaxation = relaxation
    decide(ours, relaxation)
    theirs.set_alphas(ours.alphas)
    share_noise(theirs, 0, seed=setup.seed)
    return ours, theirs


def text_pair(
    setup: parity_text.Setup, relaxation: reference.Relaxation
) -> tuple[pydarts.Supernet, reference.LanguageModel]:
    ours, theirs = replace(setup, relaxation=relaxation).twins()
    decide(ours, relaxation)
    theirs.set_alphas(ours.alphas)
    share_noise(theirs, 0)
    return ours, theirs


def decided(relaxation: reference.Relaxation, alphas: dict[str, Tensor]) -> reference.Relaxation:
    """With masks in half of the rows, one row frozen at a candidate and one dropped, in every table."""
    generator = torch.Generator().manual_seed(5)
    masks = {}
    for name, alpha in alphas.items():
        mask = torch.rand(alpha.shape, generator=generator) < 0.5
        mask[:, -1] = True
        mask[::2] = True
        masks[name] = mask
    frozen = {name: {0: alpha.shape[1] - 1, len(alpha) - 1: None} for name, alpha in alphas.items()}
    return replace(relaxation, masks=masks, frozen=frozen)


def assert_gradients_agree(ours: dict[str, Tensor], theirs: dict[str, Tensor], method: str) -> None:
    order = sorted(theirs)
    assert sorted(ours) == order
    flat = [torch.cat([tables[name].flatten() for name in order]) for tables in (ours, theirs)]
    assert flat[1].any(), "the test sees nothing"
    assert distance(*flat) <= GRADIENT[method]


@methods
@relaxations
def test_gradients_of_images_are_those_of_plain_pytorch(
    relaxation: reference.Relaxation, method: str
) -> None:
    ours, theirs = pair(IMAGES, relaxation)
    train, valid = IMAGES.batches(2)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI), expected, method)


@methods
@relaxations
def test_gradients_of_words_are_those_of_plain_pytorch(relaxation: reference.Relaxation, method: str) -> None:
    ours, theirs = text_pair(WORDS, relaxation)
    assert_gradients_agree(*text_gradients(ours, theirs, method), method)


@methods
@relaxations
def test_gradients_with_masks_and_frozen_rows_are_those_of_plain_pytorch(
    relaxation: reference.Relaxation, method: str
) -> None:
    setup = replace(IMAGES, operations=parity.SMALL)
    ours, theirs = pair(setup, decided(relaxation, setup.reference().alphas))
    train, valid = setup.batches(2)
    found = ours.arch_gradient(train, valid, method, XI)
    assert_gradients_agree(found, plain_gradient(theirs, method, train, valid, xi=XI), method)
    for name, gradient in found.items():
        fixed = theirs.relaxation.fixed(name, gradient)
        assert not gradient[fixed].any() and gradient[~fixed].any()
    ours, theirs = text_pair(WORDS, decided(relaxation, WORDS.ours().alphas))
    assert_gradients_agree(*text_gradients(ours, theirs, method), method)


def text_gradients(
    ours: pydarts.Supernet, theirs: reference.LanguageModel, method: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    train, valid = WORDS.segment(1), WORDS.segment(2)
    found = ours.arch_gradient(train, valid, method, xi=20.0)  # type: ignore[arg-type]
    more = {} if method == "first_order" else {"xi": 20.0, **SMALL_TEXT_STEP}
    streams = (WORDS.beginning(), WORDS.beginning())
    expected, _ = reference.METHODS[method](theirs, (*train, streams[0]), (*valid, streams[1]), **more)
    return found, expected


def follow(
    setup: parity.Setup, relaxation: reference.Relaxation, method: str, steps: int = 5, **config: Any
) -> None:
    """Steps of both searches; weights, α and moments agree, and what is masked or frozen does not move."""
    ours, theirs = pair(setup, relaxation, hypergradient=method, weight_lr=XI, **config)
    before = ours.alphas
    search = reference.Search(theirs, method=method, published=False)
    batches = setup.batches(2 * steps)
    for number, (train, valid) in enumerate(zip(batches[::2], batches[1::2], strict=True)):
        share_noise(theirs, number, seed=setup.seed)
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, XI), rel=STEPS[method])
    weights = {name: tensor for name, tensor in ours.state_dict().items() if name in theirs.weights()}
    assert apart(weights, theirs.weights()) <= STEPS[method]
    assert_alphas_agree(ours, theirs, search, before, STEPS[method])


def assert_alphas_agree(
    ours: pydarts.Supernet,
    theirs: Any,
    search: reference.Search,
    before: dict[str, Tensor],
    tolerance: float,
) -> None:
    after, state, expected = ours.alphas, ours.optimizer_state(), search.optimizer_state()
    assert apart(after, theirs.alphas) <= tolerance
    for moments in ("exp_avg", "exp_avg_sq"):
        assert apart(state[moments], expected[moments]) <= tolerance
    for name, alpha in after.items():
        fixed = theirs.relaxation.fixed(name, alpha)
        assert torch.equal(alpha[fixed], before[name][fixed])
        assert not state["exp_avg"][name][fixed].any() and not state["exp_avg_sq"][name][fixed].any()
        assert (alpha != before[name])[~fixed].any()


@over_steps
@relaxations
def test_five_steps_on_images_are_those_of_plain_pytorch(
    relaxation: reference.Relaxation, method: str
) -> None:
    follow(replace(IMAGES, operations=FEW), relaxation, method)


@over_steps
@relaxations
def test_five_steps_with_masks_and_frozen_rows_are_those_of_plain_pytorch(
    relaxation: reference.Relaxation, method: str
) -> None:
    setup = replace(IMAGES, operations=parity.SMALL)
    follow(setup, decided(relaxation, setup.reference().alphas), method)


@pytest.mark.parametrize("masked", [False, True], ids=["all candidates", "masks and frozen rows"])
@over_steps
@relaxations
def test_five_steps_on_words_are_those_of_plain_pytorch(
    relaxation: reference.Relaxation, method: str, masked: bool
) -> None:
    setup = replace(WORDS, method=method)
    ours, theirs = text_pair(setup, decided(relaxation, setup.ours().alphas) if masked else relaxation)
    before, search = ours.alphas, parity_text.search(theirs, method)
    streams = setup.beginning(), setup.beginning()
    for number in range(5):
        train, valid = setup.segment(10 + number), setup.segment(20 + number)
        parity_text.share_masks(ours, theirs)
        share_noise(theirs, number)
        expected = search.step((*train, streams[0]), (*valid, streams[1]), setup.rate)
        assert ours.step(train, valid) == pytest.approx(expected, rel=STEPS[method])
        for stream in streams:
            stream.go_on()
    weights = {name: tensor for name, tensor in ours.state_dict().items() if name in theirs.weights()}
    assert apart(weights, theirs.weights()) <= STEPS[method]
    assert_alphas_agree(ours, theirs, search, before, STEPS[method])


class Divided(reference.Supernet):
    """A network whose loss is the mean over micro-batches, each with noise of its own."""

    most: int
    step = 0

    def loss(self, x: Tensor, y: Tensor, criterion: Any = None) -> Tensor:
        return self._mean(super().loss, x, y)

    def loss_at(self, weights: dict[str, Tensor], x: Tensor, y: Tensor, criterion: Any = None) -> Tensor:
        whole = super().loss_at
        return self._mean(lambda x, y: whole(weights, x, y), x, y)

    def _mean(self, loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        count, total = -(-len(x) // self.most), torch.zeros((), dtype=x.dtype)
        for part in range(count):  # sizes differ by at most one
            begin, end = part * len(x) // count, (part + 1) * len(x) // count
            share_noise(self, self.step, part)
            total = total + (end - begin) / len(x) * loss(x[begin:end], y[begin:end])
        return total


@over_steps
@pytest.mark.parametrize("name", ["gumbel", "gdas", "dirichlet", "softmax"])
def test_micro_batches_give_the_mean_over_parts_each_with_its_own_noise(name: str, method: str) -> None:
    setup = parity.Setup(operations=parity.SMALL, batch=8)
    ours, theirs = pair(setup, RELAXATIONS[name], hypergradient=method, weight_lr=XI, micro_batch=3)
    theirs.__class__, theirs.most = Divided, 3  # type: ignore[assignment]
    train, (x, y) = setup.batches(2)
    valid: Batch = (x[:5], y[:5])  # three parts of 2, 3, 3 and two parts of 2, 3
    found = ours.arch_gradient(train, valid, method, XI)
    assert_gradients_agree(found, plain_gradient(theirs, method, train, valid, xi=XI), method)
    search = reference.Search(theirs, method=method, published=False)
    for theirs.step in range(3):  # type: ignore[attr-defined]
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, XI), rel=STEPS[method])
    assert apart(ours.alphas, theirs.alphas) <= STEPS[method]


@pytest.mark.parametrize("masked", [False, True], ids=["all candidates", "masks"])
def test_random_architectures_train_the_weights_of_plain_pytorch_and_do_not_move_alpha(masked: bool) -> None:
    relaxation = RELAXATIONS["random"]
    if masked:
        decisions = decided(relaxation, IMAGES.reference().alphas)
        relaxation = replace(decisions, frozen={})
    ours, theirs = pair(IMAGES, relaxation, weight_lr=XI)
    before, search = ours.alphas, reference.Search(theirs, method="first_order", published=False, arch_lr=0.0)
    batches = IMAGES.batches(10)
    for number, (train, valid) in enumerate(zip(batches[::2], batches[1::2], strict=True)):
        share_noise(theirs, number)
        assert theirs.noise is not None
        for m in theirs.noise["weight"].values():
            assert m.sum(1).unique().tolist() == [0, 1] and m.sum() == 2 * 2  # two into each of two nodes
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, XI), rel=1e-8)
    weights = {name: tensor for name, tensor in ours.state_dict().items() if name in theirs.weights()}
    assert apart(weights, theirs.weights()) <= 1e-8
    assert all(torch.equal(alpha, before[name]) for name, alpha in ours.alphas.items())


def test_dirichlet_gradients_are_finite_and_0_below_the_smallest_concentration() -> None:
    """κ is at least 1e-3, where samples are 0 and 1 to rounding and their gradients would overflow."""
    setup = parity.SETUPS["none, skip and one convolution"]
    net, _ = setup.pair(relaxation="dirichlet")
    train, valid = setup.batches(2)
    low = {name: torch.full_like(alpha, -6.5) for name, alpha in net.alphas.items()}  # κ = 0.0015
    for alpha in low.values():
        alpha[::2, 0] = -8.0  # below the smallest κ
    net.set_alphas(low)
    for method in ("first_order", "unrolled_exact"):
        for name, gradient in net.arch_gradient(train, valid, method, 0.025).items():
            assert bool(gradient.isfinite().all()), name
            assert bool((gradient[::2, 0] == 0).all()), name
    sharp = {name: torch.full_like(alpha, -8.0) for name, alpha in low.items()}
    for alpha in sharp.values():
        alpha[:, 1] = 1.0
    net.set_alphas(sharp)
    for gradient in net.arch_gradient(train, valid, "first_order").values():
        assert bool(gradient.isfinite().all())
