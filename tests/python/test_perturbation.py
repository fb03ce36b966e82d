"""Perturbations of the mixing weights in the weight step: parity with plain PyTorch, reductions, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import parity
import parity_text
import pydarts
import pytest
import reference
import torch
from conftest import make_arrays
from parity import SMALL, XI, apart, assert_same_bits, distance, snapshot
from parity_partial import BASES
from pydarts.algorithms import Adversarial, Linear, Uniform
from reference.noise import uniform as units
from reference.perturbation import adversarial, project, uniform
from relaxed import RELAXATIONS, as_option, decide
from test_relaxation_parity import decided
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = parity.Setup(operations=parity.ALL, nodes=2, layers=3, size=(9, 8))
SOFTMAX, SIGMOID = RELAXATIONS["softmax"], RELAXATIONS["sigmoid"]
EPSILON = 0.2


def noise(alphas: dict[str, Tensor], step: int, part: int = 0, seed: int = 0) -> dict[str, Tensor]:
    def numbers(name: str, alpha: Tensor) -> Tensor:
        drawn = islice(units(seed, f"perturbation.{name}.{part}", step), alpha.numel())
        return torch.tensor([2 * unit - 1 for unit in drawn], dtype=torch.float64).view(alpha.shape)

    return {name: numbers(name, alpha) for name, alpha in alphas.items()}


class Perturbed(reference.Search):
    """A search whose weight step sees perturbed mixing weights, in every part of the batch others."""

    attack = False
    epsilon_of_m = EPSILON
    parts = 1

    def _weight_step(self, train: Any, lr: float) -> float:
        net = self.net
        parts = list(zip(*(tensor.chunk(self.parts) for tensor in train), strict=True))
        points = [self.point(part, number) for number, part in enumerate(parts)]

        def training_loss(x: Tensor, y: Tensor, criterion: Any) -> tuple[Tensor, Tensor]:
            total = torch.tensor(0.0, dtype=torch.float64)
            for point, part in zip(points, parts, strict=True):
                net.perturbed = point
                total = total + net.loss(*part, criterion) / self.parts
            net.perturbed = None
            return total, total

        net.__dict__["training_loss"] = training_loss
        return super()._weight_step(train, lr)

    def point(self, batch: Any, part: int) -> dict[str, Tensor]:
        """The mixing weights of one part of the batch."""
        net = self.net
        tables = {name: alpha for name, alpha in net.alphas.items() if not name.endswith(".beta")}
        with torch.no_grad():
            m = {name: net.mixing(name) for name in tables}

        def fit(name: str, point: Tensor) -> Tensor:
            relaxation = net.relaxation
            mask = relaxation.masks.get(name, torch.ones(point.shape, dtype=torch.bool))
            return project(
                m[name], point, relaxation.name == "softmax", mask, relaxation.frozen.get(name, {})
            )

        def loss(point: Any) -> Tensor:
            net.perturbed = dict(point)
            net.eval()
            value = net.loss(*batch, self.criterion)
            net.train()
            net.perturbed = None
            return value

        drawn = noise(tables, self.steps, part)
        if self.attack:
            return adversarial(m, drawn, self.epsilon_of_m, fit, loss)
        return uniform(m, drawn, self.epsilon_of_m, fit)


def pair(
    setup: parity.Setup, relaxation: reference.Relaxation, perturbation: Any, **config: Any
) -> tuple[pydarts.Supernet, reference.Supernet]:
    ours, theirs = setup.pair(
        relaxation=as_option(relaxation), perturbation=perturbation, weight_lr=XI, **config
    )
    theirs.relaxation = relaxation
    for norm in theirs._norms:  # settled: the attack reads running statistics
        norm.num_batches_tracked.fill_(1000)
    ours.load_state_dict(theirs.state_dict())
    decide(ours, relaxation)
    theirs.set_alphas(ours.alphas)
    return ours, theirs


@pytest.mark.parametrize("masked", [False, True], ids=["all candidates", "masks and frozen rows"])
@pytest.mark.parametrize(
    "relaxation",
    [pytest.param(SOFTMAX, id="softmax"), pytest.param(SIGMOID, id="sigmoid", marks=pytest.mark.long)],
)
@pytest.mark.parametrize("kind", [Uniform, Adversarial])
@pytest.mark.parametrize("method", ["first_order", pytest.param("unrolled_exact", marks=pytest.mark.long)])
def test_five_steps_are_those_of_plain_pytorch(
    kind: Any, relaxation: reference.Relaxation, masked: bool, method: str
) -> None:
    setup = replace(IMAGES, operations=SMALL) if masked else IMAGES
    if masked:
        relaxation = decided(relaxation, setup.reference().alphas)
    ours, theirs = pair(setup, relaxation, kind(epsilon=EPSILON), hypergradient=method)
    search = Perturbed(theirs, method=method, published=False)
    search.attack = kind is Adversarial
    batches = setup.batches(10)
    for train, valid in zip(batches[::2], batches[1::2], strict=True):
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, XI), rel=1e-8)
    weights = {name: tensor for name, tensor in ours.state_dict().items() if name in theirs.weights()}
    assert apart(weights, theirs.weights()) <= 1e-8
    assert apart(ours.alphas, theirs.alphas) <= 1e-8


def follow(setup: parity.Setup, perturbation: Any, parts: int = 1, steps: int = 3, **config: Any) -> None:
    """Compare steps with those of plain PyTorch."""
    ours, theirs = pair(setup, SOFTMAX, perturbation, **config)
    search = Perturbed(theirs, published=False, arch_lr=config.get("arch_lr", 3e-4))
    search.attack, search.parts = isinstance(perturbation, Adversarial), parts
    search.epsilon_of_m = perturbation.epsilon
    batches = setup.batches(2 * steps)
    for train, valid in zip(batches[::2], batches[1::2], strict=True):
        ours.step(train, valid)
        search.step(train, valid, XI)
    weights = {name: tensor for name, tensor in ours.state_dict().items() if name in theirs.weights()}
    assert apart(weights, theirs.weights()) <= 1e-8
    assert apart(ours.alphas, theirs.alphas) <= 1e-8


@pytest.mark.parametrize("kind", [Uniform, Adversarial])
@pytest.mark.parametrize("name", ["k=2 with weighted edges", "an auxiliary skip", "all three"])
def test_shares_are_perturbed_before_an_edge_weighs_them(name: str, kind: Any) -> None:
    """The weights of edges and of auxiliary skip connections stay as they are."""
    follow(replace(BASES[name], operations=SMALL), kind(epsilon=EPSILON))


def test_a_row_without_a_positive_weight_takes_the_largest_candidate() -> None:
    """With ε = 1 some rows of two candidates are at most 0 everywhere before they are clipped."""
    setup = replace(IMAGES, operations=("skip_connect", "conv_1x1"), nodes=3)
    _, theirs = pair(setup, SOFTMAX, Uniform(epsilon=1.0))
    with torch.no_grad():
        m = {name: theirs.mixing(name) for name in theirs.alphas}
    drawn = [noise(theirs.alphas, step) for step in range(5)]
    negative = [m[name] + numbers[name] <= 0 for numbers in drawn for name in m]
    assert any(bool((rows.all(-1)).any()) for rows in negative)
    follow(setup, Uniform(epsilon=1.0), steps=5)


@pytest.mark.parametrize("kind", [Uniform, Adversarial])
def test_every_micro_batch_has_noise_of_its_own(kind: Any) -> None:
    follow(
        replace(IMAGES, operations=SMALL), kind(epsilon=EPSILON), parts=2, steps=1, micro_batch=2, arch_lr=0.0
    )


def test_a_search_perturbs_by_the_radius_of_its_epoch() -> None:
    def alphas(perturbation: Any) -> Any:
        config = pydarts.SearchConfig(
            channels=2, layers=3, nodes=1, operations=SMALL, epochs=3, batch_size=8, seed=1, arch_lr=0.1,
            perturbation=perturbation, precision="float64", progress=False, record="step",
        )  # fmt: skip
        return pydarts.search(make_arrays(32), config).alphas["normal"]

    def moved(one: Any, other: Any) -> list[bool]:
        return [abs(a - b).max() > 1e-6 for a, b in zip(one, other, strict=True)]

    plain, rising, constant = alphas(None), alphas(Uniform(Linear(0, 0.9))), alphas(Uniform(0.3))
    steps = (len(plain) - 1) // 3
    # The weights move after α, which sees a perturbation in the next step.
    assert moved(plain, rising) == [False] * (steps + 2) + [True] * (2 * steps - 1)
    assert moved(plain, constant) == [False] * 2 + [True] * (3 * steps - 1)


def test_the_published_vector() -> None:
    """ALGORITHMS 1.10.10: p = softmax(a), δ = (0.25, −0.3, 0.1)."""
    p = torch.tensor([[0.2, -0.1, 0.5]], dtype=torch.float64).softmax(-1)
    moved = p + torch.tensor([0.25, -0.3, 0.1])
    found = project(p, moved, True, torch.ones(1, 3, dtype=torch.bool), {})
    assert found.tolist()[0] == pytest.approx([0.516573, 0, 0.483427], abs=1e-6)
    assert project(p, -moved, True, torch.ones(1, 3, dtype=torch.bool), {}).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("kind", [Uniform, Adversarial])
def test_a_radius_of_zero_is_no_perturbation(kind: Any) -> None:
    train, valid = IMAGES.batches(2)
    (plain, _), (zero, _), (some, _) = (
        pair(IMAGES, SOFTMAX, perturbation) for perturbation in (None, kind(epsilon=0), kind(epsilon=0.1))
    )
    for net in (plain, zero, some):
        net.step(train, valid)
    assert apart(plain.state_dict(), zero.state_dict()) <= 1e-12
    assert apart(plain.state_dict(), some.state_dict()) > 1e-6
    assert_same_bits({"": plain.alphas}, {"": zero.alphas})


@pytest.mark.parametrize("kind", [Uniform, Adversarial])
def test_the_alpha_step_and_evaluation_see_no_perturbation(kind: Any) -> None:
    train, valid = IMAGES.batches(2)
    (plain, _), (perturbed, _) = (pair(IMAGES, SOFTMAX, value) for value in (None, kind(epsilon=0.3)))
    for method in parity.METHODS:
        assert_same_bits(*({"": net.arch_gradient(train, valid, method, XI)} for net in (plain, perturbed)))
    assert plain.evaluate(*train) == perturbed.evaluate(*train)
    assert plain.loss(*train) == perturbed.loss(*train)
    before = perturbed.state_dict()
    perturbed.step(train, valid)
    plain.step(train, valid)
    assert_same_bits({"": plain.alphas}, {"": perturbed.alphas})
    assert distance(before["classifier.weight"], perturbed.state_dict()["classifier.weight"]) > 1e-6


def test_trap_1_10_a_the_attack_ascends_the_training_loss() -> None:
    """ALGORITHMS 1.10, trap (a): a public version descends it, and therefore perturbs nothing.

    It ascends the loss with running statistics. That of the weight step, with batch statistics, is still
    larger than without a perturbation, and larger than after a random one of the same radius.
    """
    train, valid = IMAGES.batches(2)
    losses = {}
    for name, value in (("none", None), ("random", Uniform(0.2)), ("attack", Adversarial(0.2))):
        net, _ = pair(IMAGES, SOFTMAX, value, arch_lr=0.0)
        losses[name], _ = net.step(train, valid)
    assert losses["attack"] > losses["none"]
    assert losses["attack"] > losses["random"]


def test_trap_1_10_d_the_attack_leaves_statistics_and_generators_as_they_are() -> None:
    train, valid = IMAGES.batches(2)
    net, _ = pair(IMAGES, SOFTMAX, Adversarial(0.2))
    plain, _ = pair(IMAGES, SOFTMAX, None)
    random = torch.get_rng_state()
    net.step(train, valid)
    plain.step(train, valid)
    assert torch.equal(random, torch.get_rng_state())
    counts = [name for name in plain.state_dict() if name.endswith("num_batches_tracked")]
    assert all(torch.equal(net.state_dict()[name], plain.state_dict()[name]) for name in counts)
    stem = "stem.bn.running_mean"  # before the first mixing weight
    assert torch.equal(net.state_dict()[stem], plain.state_dict()[stem])


def test_the_noise_depends_on_the_step_and_not_on_the_relaxation() -> None:
    drawn = [noise(IMAGES.reference().alphas, step, part)["normal"] for step in (0, 1) for part in (0, 1)]
    assert all(not torch.equal(one, other) for i, one in enumerate(drawn) for other in drawn[:i])
    assert all((numbers.abs() <= 1).all() and (numbers < 0).any() for numbers in drawn)


@pytest.mark.parametrize("kind", [Uniform, Adversarial])
def test_words_are_trained_at_perturbed_weights_too(kind: Any) -> None:
    setup = parity_text.Setup(rate=2.0)
    losses = []
    for value in (None, kind(epsilon=0), kind(epsilon=0.3)):
        net = replace(setup, perturbation=value).ours()
        net.step(setup.segment(1), setup.segment(2))
        losses.append(net.step(setup.segment(3), setup.segment(4))[0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert abs(losses[0] - losses[2]) > 1e-6


@pytest.mark.parametrize("relaxation", ["gdas", "gumbel", "dirichlet", "random", "identity"])
@pytest.mark.parametrize("perturbation", ["uniform", "adversarial"])
def test_contradictions_are_refused(relaxation: Any, perturbation: Any) -> None:
    """ALGORITHMS 6.3: a sample is no point that could be perturbed."""
    with pytest.raises(pydarts.ConfigError, match=f"{perturbation}.*{relaxation}"):
        pydarts.SearchConfig(relaxation=relaxation, perturbation=perturbation)
    with pytest.raises(pydarts.ConfigError, match=f"{perturbation}.*single_level"):
        pydarts.SearchConfig(hypergradient="single_level", perturbation=perturbation)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Uniform(epsilon=1.1), "epsilon.*1.1"),
        (lambda: Uniform(epsilon=-0.1), "epsilon.*-0.1"),
        (lambda: Uniform(epsilon=Linear(0, 2)), "epsilon.*2"),
        (lambda: Adversarial(steps=0), "steps.*0"),
        (lambda: Adversarial(steps=1.5), "steps.*1.5"),
    ],
)
def test_parameters_out_of_range_are_refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(pydarts.ConfigError, match=says):
        make()


def test_the_published_radius_ends_before_its_end() -> None:
    """ALGORITHMS 1.10.10: 0.03, 0.165 and 0.2946 in epochs 0, 25 and 49 of 50."""
    published = Linear(0.03, 0.03 + 0.27 * 49 / 50)
    found = [published.at(epoch, 50) for epoch in (0, 25, 49)]
    assert found == pytest.approx([0.03, 0.165, 0.2946], abs=1e-9)


def test_a_perturbation_is_resumed_in_micro_batches_and_snapshots_agree() -> None:
    first, second = (pair(IMAGES, SOFTMAX, Adversarial(0.2), micro_batch=2)[0] for _ in range(2))
    train, valid = IMAGES.batches(2)
    for net in (first, second):
        net.step(train, valid)
    assert_same_bits(snapshot(first), snapshot(second))
