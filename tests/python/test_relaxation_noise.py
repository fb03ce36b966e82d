"""Which losses of a search see which noise, and that evaluation sees none."""

from __future__ import annotations

from itertools import islice
from statistics import fmean, pstdev
from typing import Any

import pydarts
import pytest
import reference
import torch
from parity import METHODS, SMALL, XI, Setup, assert_same_bits, distance, plain_gradient, snapshot
from pydarts import _core
from reference.noise import gumbel, uniform
from relaxed import LEARNING, RELAXATIONS, ROLES, as_option, decide, share_noise
from test_relaxation_parity import GRADIENT, decided

pytestmark = pytest.mark.usefixtures("one_thread")

GUMBEL = RELAXATIONS["gumbel"]
SETUP = Setup(operations=SMALL)
MEAN = reference.Relaxation("softmax", 1.0)


def pair(
    relaxation: reference.Relaxation = GUMBEL, setup: Setup = SETUP, **config: Any
) -> tuple[pydarts.Supernet, reference.Supernet]:
    ours, theirs = setup.pair(relaxation=as_option(relaxation), **config)
    theirs.relaxation = relaxation
    share_noise(theirs, 0, seed=setup.seed)
    return ours, theirs


def test_the_generator_is_the_one_that_every_search_draws_from() -> None:
    # The numbers that tests/engine/random.rs keeps.
    drawn = [2 * number - 1 for number in islice(uniform(7, "weights", 3), 3)]
    assert drawn == [0.9685830579646717, -0.09642568745543789, -0.5072321586352198]


def test_gumbel_noise_has_the_moments_of_its_distribution() -> None:
    numbers = gumbel(0, "normal", "alpha", 0, (100, 100)).flatten().tolist()
    # Euler's constant and π/√6; 10,000 numbers have standard errors of about 0.013.
    assert fmean(numbers) == pytest.approx(0.5772, abs=0.06)
    assert pstdev(numbers) == pytest.approx(1.2825, abs=0.06)


def test_every_table_role_part_step_and_seed_has_its_own_noise() -> None:
    first: dict[str, Any] = {"seed": 0, "table": "normal", "role": "alpha", "step": 0, "part": 0}
    others = [{"seed": 1}, {"table": "reduce"}, {"role": "weight"}, {"step": 1}, {"part": 1}]
    drawn = [gumbel(shape=(2, 3), **(first | change)) for change in [{}, *others]]
    assert all(not torch.equal(one, other) for i, one in enumerate(drawn) for other in drawn[:i])


def test_losses_and_logits_see_the_noise_of_the_training_loss() -> None:
    ours, theirs = pair()
    x, y = SETUP.batches(1)[0]
    with torch.no_grad():
        logits, loss = theirs(x), theirs.loss(x, y).item()
        with theirs.of_role("alpha"):
            other = theirs.loss(x, y).item()
    assert distance(ours.logits(x), logits) <= 1e-12
    assert ours.loss(x, y) == pytest.approx(loss, rel=1e-12)
    assert abs(loss - other) > 1e-4, "the test sees nothing"


@pytest.mark.parametrize("masked", [False, True], ids=["all candidates", "masks and frozen rows"])
def test_evaluation_sees_the_mean_of_a_sampled_relaxation(masked: bool) -> None:
    networks = []
    for relaxation in (GUMBEL, MEAN):
        ours, theirs = pair(relaxation)
        if masked:
            decide(ours, decided(relaxation, theirs.alphas))
        networks.append(ours)
    x, y = SETUP.batches(1)[0]
    sampled, mean = networks
    assert sampled.evaluate(x, y) == mean.evaluate(x, y)
    assert sampled.loss(x, y) != mean.loss(x, y)
    theirs.relaxation = decided(MEAN, theirs.alphas) if masked else MEAN
    theirs.set_alphas(mean.alphas)
    theirs.eval()
    with torch.no_grad():
        assert sampled.evaluate(x, y)[0] == pytest.approx(theirs.loss(x, y).item(), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_roles_are_not_exchanged(method: str) -> None:
    """The gradient with the noise of one role in both is another one."""
    ours, theirs = pair()
    train, valid = SETUP.batches(2)
    found = ours.arch_gradient(train, valid, method, XI)["normal"]
    assert theirs.noise is not None
    noise = theirs.noise
    for role in ROLES:
        theirs.noise = dict.fromkeys(ROLES, noise[role])
        other = plain_gradient(theirs, method, train, valid, xi=XI)["normal"]
        if method == "first_order" and role == "alpha":  # no training loss
            assert distance(found, other) <= GRADIENT[method]
        else:
            assert distance(found, other) > 1e-4


def test_a_step_is_followed_by_other_noise() -> None:
    ours, theirs = pair()
    train, valid = SETUP.batches(2)
    state, alphas = ours.state_dict(), ours.alphas
    first = ours.arch_gradient(train, valid, "first_order")
    assert_same_bits({"again": first}, {"again": ours.arch_gradient(train, valid, "first_order")})
    ours.step(train, valid)
    ours.load_state_dict(state)
    ours.set_alphas(alphas)
    second = ours.arch_gradient(train, valid, "first_order")
    assert distance(second["normal"], first["normal"]) > 1e-2
    share_noise(theirs, 1)
    expected = plain_gradient(theirs, "first_order", train, valid)
    assert distance(second["normal"], expected["normal"]) <= GRADIENT["first_order"]


@pytest.mark.parametrize("name", ["gumbel", "softmax"])
def test_the_seed_reaches_the_noise_and_nothing_else(name: str) -> None:
    gradients = []
    for seed in (0, 1):
        net, _ = pair(RELAXATIONS[name], Setup(operations=SMALL, seed=seed))
        start, _ = pair(RELAXATIONS[name])
        net.load_state_dict(start.state_dict())
        net.set_alphas(start.alphas)
        gradients.append(net.arch_gradient(*SETUP.batches(2), hypergradient="unrolled", xi=XI)["normal"])
    assert torch.equal(*gradients) == (name == "softmax")


@pytest.mark.parametrize("name", LEARNING)
def test_masking_clears_logits_and_moments(name: str) -> None:
    relaxation = reference.Relaxation(RELAXATIONS[name].name, RELAXATIONS[name].temperature)
    net, _ = pair(relaxation)
    train, valid = SETUP.batches(2)
    net.step(train, valid)
    net._net.decide('{"decision": "mask", "table": "normal", "row": 1, "columns": [2]}')
    for _ in range(2):
        state = net.optimizer_state()
        for tables in (net.alphas, state["exp_avg"], state["exp_avg_sq"]):
            assert tables["normal"][1, 2] == 0
            assert (tables["normal"][1, :2] != 0).all()
        net.step(train, valid)


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_with_noise_leaves_everything_as_it_was(method: str) -> None:
    net, _ = pair(hypergradient=method)
    train, valid = SETUP.batches(2)
    net.step(train, valid)
    before, random = snapshot(net), torch.get_rng_state()
    net.arch_gradient(train, valid, method, XI)
    net.loss(*train)
    assert_same_bits(before, snapshot(net))
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.filterwarnings("ignore:arch_start_epoch")
def test_warm_up_does_not_draw_for_alpha() -> None:
    """Steps without an α step use the same noise for the weights as steps with one."""
    X = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0)).numpy()
    y = (torch.arange(32) % 3).numpy()
    fields: dict[str, Any] = {
        "channels": 2,
        "layers": 3,
        "nodes": 1,
        "operations": SMALL,
        "batch_size": 8,
        "epochs": 1,
        "device": "cpu",
        "progress": False,
        "relaxation": as_option(GUMBEL),
    }
    still, frozen = (
        pydarts.search(((X, y), (X, y)), pydarts.SearchConfig(**fields, **changes))
        for changes in ({"arch_start_epoch": 1}, {"arch_lr": 1e-300})
    )
    assert still.history[0].train_loss == frozen.history[0].train_loss
    assert all(torch.equal(tensor, frozen.state_dict[name]) for name, tensor in still.state_dict.items())


def test_every_relaxation_of_the_engine_is_stated_by_the_reference() -> None:
    names = {relaxation["name"] for relaxation in _core.variants("relaxation")}
    assert names == set(RELAXATIONS) == set(reference.RELAXATIONS)
