"""Estimates of the implicit gradient and mixed level, against plain PyTorch and against the exact inverse."""

from __future__ import annotations

from typing import Any, Literal

import pydarts
import pytest
import reference
import test_language
import test_operation_parity
import torch
from own_models import Twins, batches
from own_operations import own_reference  # noqa: F401, a fixture
from parity import SETUPS, XI, Setup, assert_same_bits, assert_steps_agree, distance, each, snapshot
from parity_partial import BASES
from pydarts.algorithms import ConjugateGradient, MixedLevel, Neumann
from pydarts.nn import FunctionNetwork
from test_double_backward import flat
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

pytestmark = pytest.mark.usefixtures("one_thread")

Name = Literal["t1_t2", "neumann", "conjugate_gradient", "mixed_level"]
METHODS: tuple[Name, ...] = ("t1_t2", "neumann", "conjugate_gradient", "mixed_level")
GRADIENT = 1e-8
methods = pytest.mark.parametrize("method", METHODS)
Named = dict[str, Tensor]


@methods
@each(
    "the published operations",
    "odd images of 7x5",
    "all twelve operations",
    "one to four operations per edge",
)
def test_gradients_are_those_of_double_backward(setup: Setup, method: Name) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    before = snapshot(ours)
    found = ours.arch_gradient(train, valid, method, XI)
    assert_same_bits(before, snapshot(ours))
    expected, _ = reference.METHODS[method](theirs, train, valid, xi=XI)
    assert distance(flat(found), flat(expected)) <= GRADIENT
    first = ours.arch_gradient(train, valid, "first_order")
    # Conjugate gradients may end at once: at a direction whose curvature is below minus the damping.
    assert distance(flat(found), flat(first)) > 1e-4 or method == "conjugate_gradient"


def test_the_single_level_gradient_is_that_of_the_training_loss() -> None:
    ours, theirs = SETUPS["the published operations"].pair()
    train, valid = SETUPS["the published operations"].batches(2)
    expected, _ = reference.METHODS["first_order"](theirs, train, train)
    assert distance(flat(ours.arch_gradient(train, valid, "single_level")), flat(expected)) <= GRADIENT


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[pytest.mark.long] * (name != "neumann")) for name in METHODS]
)
@pytest.mark.parametrize("name", BASES)
def test_partial_channels_and_weighted_edges_are_differentiated_exactly(name: str, method: Name) -> None:
    ours, theirs = BASES[name].pair()
    train, valid = BASES[name].batches(2)
    expected, _ = reference.METHODS[method](theirs, train, valid, xi=XI)
    assert distance(flat(ours.arch_gradient(train, valid, method, XI)), flat(expected)) <= GRADIENT


@pytest.mark.usefixtures("own_reference")
@methods
@pytest.mark.parametrize("name", ["smooth among others", "by table and edge"])
def test_user_defined_operations_are_differentiated_exactly(name: str, method: Name) -> None:
    setup = test_operation_parity.SETUPS[name]
    ours, theirs = test_operation_parity.pair(setup)
    train, valid = setup.batches(2)
    with sdpa_kernel(SDPBackend.MATH):
        expected, _ = reference.METHODS[method](theirs, train, valid, xi=XI)
    assert distance(flat(ours.arch_gradient(train, valid, method, XI)), flat(expected)) <= GRADIENT


@methods
@pytest.mark.parametrize("name", ["LSTM", "attention", "shared and ragged tables"])
def test_user_defined_networks_are_differentiated_exactly(name: str, method: Name) -> None:
    twins = Twins(name)
    train, valid = batches(name, 2)
    found = twins.ours.arch_gradient(train=train, valid=valid, hypergradient=method, xi=0.1)
    twins.share_masks(training=-1)
    expected, _ = reference.METHODS[method](twins.theirs, train, valid, xi=0.1, criterion=twins.criterion)
    assert distance(flat(found), flat(expected)) <= GRADIENT


@methods
def test_recurrent_cells_are_differentiated_exactly(method: Name) -> None:
    setup = test_language.Setup()
    ours, theirs = setup.twins()
    train, valid = setup.segment(1), setup.segment(2)
    found = ours.arch_gradient(train, valid, hypergradient=method, xi=0.5)["recurrent"]
    streams = (setup.beginning(), setup.beginning())
    expected, _ = reference.METHODS[method](
        theirs, (*train, streams[0]), (*valid, streams[1]), xi=0.5, weight_decay=5e-7
    )
    assert test_language.apart(found, expected["recurrent"]) <= GRADIENT


@methods
@each("two nodes of three, turned round", "the space S1")
def test_five_steps_of_the_search_follow_the_reference(setup: Setup, method: Name) -> None:
    assert_steps_agree(setup, 5, method, arch_lr=0.01)


@methods
def test_recomputed_cells_and_micro_batches_give_the_same(method: Name) -> None:
    setup = SETUPS["odd images of 7x5"]
    train, valid = setup.batches(2)
    kept, _ = setup.pair()
    expected = flat(kept.arch_gradient(train, valid, method, XI))
    recomputed, _ = setup.pair(memory="recompute")
    assert distance(flat(recomputed.arch_gradient(train, valid, method, XI)), expected) <= 1e-12
    # Two parts of equal examples are two equal batches, of which the mean is one of them.
    doubled = [(torch.cat([x, x]), torch.cat([y, y])) for x, y in (train, valid)]
    parted, _ = setup.pair(micro_batch=len(train[0]))
    assert distance(flat(parted.arch_gradient(*doubled, method, XI)), expected) <= 1e-12


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (Neumann(terms=0), {"terms": 0}),
        (Neumann(terms=5), {"terms": 5}),
        (ConjugateGradient(terms=2, damping=0.5), {"terms": 2, "damping": 0.5}),
        (ConjugateGradient(terms=5, damping=0), {"terms": 5, "damping": 0.0}),
        (MixedLevel(weight=0.3), {"weight": 0.3}),
    ],
    ids=str,
)
def test_parameters_reach_the_estimate(method: Any, options: dict[str, float]) -> None:
    setup = SETUPS["none, skip and one convolution"]
    ours, theirs = setup.pair(weight_decay=0.05)
    train, valid = setup.batches(2)
    expected, _ = reference.METHODS[method.name](theirs, train, valid, xi=XI, weight_decay=0.05, **options)
    assert distance(flat(ours.arch_gradient(train, valid, method, XI)), flat(expected)) <= GRADIENT


def test_trap_1_19_a_neumann_without_products_is_t1_t2_bit_for_bit() -> None:
    ours, _ = SETUPS["none, skip and one convolution"].pair()
    train, valid = SETUPS["none, skip and one convolution"].batches(2)
    one, other = (ours.arch_gradient(train, valid, method, XI) for method in (Neumann(terms=0), "t1_t2"))  # type: ignore[arg-type]
    assert torch.equal(flat(one), flat(other))


# A smooth network with few weights: the exact inverse is a matrix.


def smooth_loss(w: Named, m: Named, batch: Any) -> Tensor:
    x, y = batch
    hidden = torch.tanh(x @ w["first"]) * m["units"].sum(0)
    return ((hidden @ w["last"] - y) ** 2).mean()


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


W = {"first": 0.5 * drawn(1, 3, 4), "last": 0.5 * drawn(2, 4)}
ALPHA = {"units": drawn(3, 2, 4)}
DECAY = 1.0


def smooth(method: Any = "first_order", **options: Any) -> pydarts.SearchModule:
    network = FunctionNetwork(smooth_loss, W, ALPHA)
    config = pydarts.SearchConfig(hypergradient=method, weight_decay=DECAY, **options)
    return pydarts.SearchModule(network, config, precision="float64")


def smooth_batches() -> list[tuple[Tensor, Tensor]]:
    return [(drawn(seed, 20, 3), drawn(seed + 1, 20)) for seed in (10, 20)]


def of_flat(loss_batch: Any, w: Tensor, alpha: Tensor) -> Tensor:
    weights = {"first": w[:12].view(3, 4), "last": w[12:]}
    return smooth_loss(weights, {"units": torch.softmax(alpha.view(2, 4), -1)}, loss_batch)


def exact_inverse() -> tuple[Tensor, Tensor]:
    """The implicit gradient with the inverse of H, and the eigenvalues of H; `torch.func` alone."""
    train, valid = smooth_batches()
    w, alpha = torch.cat([W["first"].flatten(), W["last"]]), ALPHA["units"].flatten()
    hessian = torch.func.hessian(of_flat, argnums=1)(train, w, alpha) + DECAY * torch.eye(16).double()
    v = torch.func.grad(of_flat, argnums=1)(valid, w, alpha)
    mixed = torch.func.jacrev(torch.func.grad(of_flat, argnums=2), argnums=1)(train, w, alpha)
    direct = torch.func.grad(of_flat, argnums=2)(valid, w, alpha)
    return direct - mixed @ torch.linalg.solve(hessian, v), torch.linalg.eigvalsh(hessian)


def test_estimates_converge_to_the_exact_inverse() -> None:
    exact, eigenvalues = exact_inverse()
    assert eigenvalues[0] > 0, "the test needs a positive Hessian"
    net, (train, valid) = smooth(), smooth_batches()
    xi = 1.0 / float(eigenvalues[-1])
    errors = [
        distance(net.arch_gradient(train, valid, Neumann(terms=terms), xi)["units"].flatten(), exact)
        for terms in (0, 10, 100, 1000)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1
    assert errors[-1] < 1e-6
    errors = [
        distance(
            net.arch_gradient(train, valid, ConjugateGradient(terms=terms, damping=0), 0.0)[
                "units"
            ].flatten(),
            exact,
        )
        for terms in (1, 4, 16, 40)
    ]
    assert errors[0] > 1e-2 > 1e-8 > errors[2]
    assert errors[-1] < 1e-8


def test_trap_1_19_a_a_series_that_diverges_fails_the_step_and_is_rolled_back() -> None:
    """Trap: with η ≥ 2/λ_max, such as 1 on most networks, the terms grow."""
    _, eigenvalues = exact_inverse()
    train, valid = smooth_batches()
    rate = 100.0 / float(eigenvalues[-1])
    net = smooth(Neumann(terms=400), weight_lr=rate, arch_lr=0.1)
    before = snapshot_of(net)
    with pytest.raises(pydarts.NumericalError, match="gradient of α"):
        net.step(train, valid)
    assert_same_bits(before, snapshot_of(net))
    stable = smooth(Neumann(terms=400), weight_lr=1.0 / float(eigenvalues[-1]), arch_lr=0.1)
    stable.step(train, valid)
    assert not torch.equal(stable.alphas["units"], before["alphas"]["units"])


def snapshot_of(net: pydarts.SearchModule) -> dict[str, Any]:
    return {"state": net.state_dict(), "alphas": net.alphas, **net.optimizer_state()}


def test_trap_1_19_b_products_of_all_terms_see_one_training_batch() -> None:
    """Trap: H·v and the mixed product come from the same loss, noise included."""
    seen: list[tuple[float, float]] = []

    def loss(w: Named, m: Named, batch: Any) -> Tensor:
        drop = torch.rand(batch[0].shape, dtype=torch.float64)
        seen.append((float(batch[0].sum()), float(drop.sum())))
        return smooth_loss(w, m, (batch[0] * (drop > 0.5), batch[1]))

    net = pydarts.SearchModule(FunctionNetwork(loss, W, ALPHA), precision="float64")
    train, valid = smooth_batches()
    net.arch_gradient(train, valid, Neumann(terms=3), 0.1)
    assert len(seen) == 5  # the validation loss, three products with H and the mixed product
    assert len(set(seen[1:])) == 1
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]


def test_a_training_batch_is_required() -> None:
    net, (_, valid) = smooth(), smooth_batches()
    for method in METHODS:
        with pytest.raises(pydarts.DataError):
            net.arch_gradient(valid=valid, hypergradient=method)


@pytest.mark.parametrize("method", [*METHODS, Neumann(terms=7), ConjugateGradient(damping=0.25)], ids=str)
def test_configurations_hold_the_estimate(method: Any) -> None:
    config = pydarts.SearchConfig(hypergradient=method)
    again = pydarts.SearchConfig.from_json(config.to_json())
    assert again == config
    assert again.hypergradient == config.hypergradient
    if not isinstance(method, str):
        assert config.hypergradient == method


@pytest.mark.parametrize(
    "method",
    [
        {"name": "neumann", "terms": -1},
        {"name": "conjugate_gradient", "terms": 0},
        {"name": "conjugate_gradient", "damping": -0.1},
        {"name": "mixed_level", "weight": -1},
        {"name": "t1_t2", "terms": 1},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(method: dict[str, Any]) -> None:
    with pytest.raises(pydarts.ConfigError, match=r"hypergradient|t1_t2"):
        pydarts.SearchConfig(hypergradient=method)
