"""What sampled relaxations draw: distributions, independence, the Dirichlet sampler and its gradient."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import parity
import pydarts
import pytest
import torch
from pydarts.algorithms import Dirichlet, Gumbel, GumbelHard, Linear, Random, Relaxation
from relaxed import RELAXATIONS, as_option, noise_of
from torch import Tensor

ROW = torch.tensor([0.2, -0.1, 0.5], dtype=torch.float64)
DRAWS = 100_000
SAMPLED: list[Relaxation] = [Gumbel(), GumbelHard(), Dirichlet(), Random()]


def concentrations(alpha: Tensor) -> Tensor:
    return torch.where(alpha > 0, alpha + 1, alpha.exp()).clamp(min=1e-3)


def within(found: Tensor, expected: Tensor, variance: Tensor, errors: float = 3.0) -> bool:
    return bool(((found - expected).abs() <= errors * (variance / DRAWS).sqrt()).all())


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_the_mean_of_hard_samples_is_the_softmax_at_any_temperature(temperature: float) -> None:
    """ALGORITHMS 6.2, item 2."""
    alpha, state = ROW.expand(DRAWS, 3), {"temperature": temperature}
    m = GumbelHard().weights(alpha, state, GumbelHard().sample(alpha, step=1))
    assert set(m.unique().tolist()) == {0.0, 1.0} and (m.sum(1) == 1).all()
    p = ROW.softmax(0)
    assert within(m.mean(0), p, p * (1 - p))


@pytest.mark.parametrize("logit", [-6.0, -2.0, 0.0, 0.3, 4.0, 100.0])
def test_dirichlet_samples_have_mean_and_variance_of_their_distribution(logit: float) -> None:
    alpha = ROW + logit
    kappa = concentrations(alpha)
    total, p = kappa.sum(), kappa / kappa.sum()
    sample = Dirichlet().sample(alpha.expand(DRAWS, 3), step=2)
    variance = p * (1 - p) / (total + 1)
    assert (sample >= 0).all() and (sample.sum(1) - 1).abs().max() < 1e-12
    assert within(sample.mean(0), p, variance)
    squares = (sample - p) ** 2
    assert within(squares.mean(0), variance, squares.var(0), errors=4)


def test_a_removed_candidate_is_never_drawn() -> None:
    alpha = ROW.clone().index_fill(0, torch.tensor([1]), -math.inf).expand(1000, 3)
    for relaxation in SAMPLED:
        m = relaxation.weights(alpha, noise=relaxation.sample(alpha))
        assert (m[:, 1] == 0).all() and (m.sum(1) - 1).abs().max() < 1e-12
    p = concentrations(ROW[[0, 2]])
    big = alpha[:1].expand(DRAWS, 3)
    mean = Dirichlet().sample(big, step=3).mean(0)[[0, 2]]
    assert within(mean, p / p.sum(), p.prod() / p.sum() ** 2 / (p.sum() + 1))


def test_trap_1_3_gumbel_numbers_are_finite() -> None:
    """ALGORITHMS 1.2, item 1: published code redraws noise that is not finite; ours is always."""
    noise = Gumbel().sample(torch.zeros(DRAWS, 10))
    assert noise.isfinite().all() and noise.min() < -2.4 and noise.max() > 10
    assert noise.mean().item() == pytest.approx(0.5772, abs=3 * 1.2825 / 1000)


@pytest.mark.parametrize("relaxation", SAMPLED, ids=lambda relaxation: relaxation.name)
def test_samples_are_a_function_of_seed_and_step(relaxation: Relaxation) -> None:
    alpha, before = torch.zeros(20, 5), torch.get_rng_state()
    first = relaxation.sample(alpha, seed=1, step=2)
    assert torch.equal(first, relaxation.sample(alpha, seed=1, step=2))
    for other in ({"seed": 2, "step": 2}, {"seed": 1, "step": 3}):
        assert not torch.equal(first, relaxation.sample(alpha, **other))
    assert torch.equal(before, torch.get_rng_state())
    assert relaxation.sample(alpha[0]).shape == (5,)


def beta_cdf(x: float, a: float, b: float, n: int = 200_000) -> float:
    """By the midpoint rule in t = x^a, without a singularity at 0."""
    edge = x**a
    t = (torch.arange(n, dtype=torch.float64) + 0.5) * (edge / n)
    density = (1 - t ** (1 / a)) ** (b - 1) / a
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return float(density.sum()) * (edge / n) / math.exp(log_beta)


@pytest.mark.parametrize("kappa", [(1.2, 0.9, 1.5), (0.3, 0.2, 0.4), (6.0, 2.0, 3.0)])
def test_the_pathwise_gradient_is_that_of_the_marginal_distributions(kappa: tuple[float, ...]) -> None:
    """m_o has a beta distribution F(x; κ_o, Σκ − κ_o), so dm_o/dκ_o = −(∂F/∂κ_o)/f."""
    alpha = torch.tensor([k - 1 if k > 1 else math.log(k) for k in kappa], dtype=torch.float64)
    m = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    total = sum(kappa)
    for column, k in enumerate(kappa):
        x, rest, h = float(m[column]), total - k, 1e-4
        slope = (beta_cdf(x, k + h, rest) - beta_cdf(x, k - h, rest)) / (2 * h)
        log_beta = math.lgamma(k) + math.lgamma(rest) - math.lgamma(total)
        density = math.exp((k - 1) * math.log(x) + (rest - 1) * math.log(1 - x) - log_beta)
        gradient = torch.zeros(3, dtype=torch.float64)
        gradient[column] = 1.0
        found = Dirichlet().backward(alpha, m, gradient, noise=m)[column] / min(k, 1.0)
        assert float(found) == pytest.approx(-slope / density, rel=5e-3)


def test_the_mean_of_pathwise_gradients_is_the_gradient_of_the_mean() -> None:
    alpha = ROW.expand(DRAWS, 3).contiguous()
    sample = Dirichlet().sample(alpha, step=5)
    gradient = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64).expand(DRAWS, 3)
    found = Dirichlet().backward(alpha, sample, gradient, noise=sample)
    mean = Dirichlet().backward(ROW, Dirichlet().weights(ROW), gradient[0])
    assert within(found.mean(0), mean, found.var(0))


# ---- Random architectures


def random_net(**config: Any) -> tuple[pydarts.Supernet, Any]:
    ours, theirs = parity.Setup(operations=parity.SMALL, nodes=3).pair(relaxation="random", **config)
    theirs.relaxation = RELAXATIONS["random"]
    return ours, theirs


def test_architectures_are_uniform() -> None:
    """Two of the inputs of every node, and one of all candidates, `none` included (ALGORITHMS 1.20)."""
    _, theirs = random_net()
    steps, counts = 600, Counter[tuple[int, int]]()
    for step in range(steps):
        m = noise_of(theirs, "normal", "weight", step)
        assert m.sum(1).tolist().count(1.0) == 6
        assert [m[rows].sum() for rows in (slice(0, 2), slice(2, 5), slice(5, 9))] == [2, 2, 2]
        counts.update((row, column) for row, column in m.nonzero().tolist())
    for row in range(9):
        p = 2 / (2 if row < 2 else 3 if row < 5 else 4) / 3
        for column in range(3):
            assert abs(counts[row, column] / steps - p) <= 4 * math.sqrt(p * (1 - p) / steps)


def test_a_decided_row_counts_as_one_that_is_kept() -> None:
    net, _ = random_net()
    x, y = parity.Setup(operations=parity.SMALL, nodes=3).batches(1)[0]
    net._net.decide('{"decision": "freeze", "table": "normal", "row": 2, "column": 1}')
    net._net.decide('{"decision": "drop", "table": "normal", "row": 3}')
    for _ in range(3):
        net.step((x, y), (x, y))
        assert math.isfinite(net.loss(x, y))


def test_evaluation_weighs_a_row_by_the_share_of_architectures_that_keep_it() -> None:
    """A node adds two inputs in training, so it must not add four in the evaluation."""
    setup = parity.Setup(operations=parity.SMALL, nodes=3)
    ours, theirs = setup.pair(relaxation="random")
    x, y = setup.batches(1)[0]
    share = torch.tensor([1.0] * 2 + [2 / 3] * 3 + [2 / 4] * 4, dtype=torch.float64)
    theirs.perturbed = {name: (share / 3).unsqueeze(1).expand(9, 3) for name in theirs.alphas}
    theirs.eval()
    with torch.no_grad():
        assert ours.evaluate(x, y)[0] == pytest.approx(theirs.loss(x, y).item(), rel=1e-12)


def test_evaluation_counts_decided_rows_among_those_that_are_kept() -> None:
    """One of three inputs of the second node is decided, and the last node has lost one of four."""
    setup = parity.Setup(operations=parity.SMALL, nodes=3)
    ours, theirs = setup.pair(relaxation="random")
    ours._net.decide('{"decision": "freeze", "table": "normal", "row": 2, "column": 1}')
    ours._net.decide('{"decision": "drop", "table": "normal", "row": 8}')

    def mean(*shares: float) -> Tensor:
        return (torch.tensor(shares, dtype=torch.float64) / 3).unsqueeze(1).repeat(1, 3)

    normal = mean(1, 1, 0, 1 / 2, 1 / 2, 2 / 3, 2 / 3, 2 / 3, 0)
    normal[2, 1] = 1
    theirs.perturbed = {"normal": normal, "reduce": mean(1, 1, *[2 / 3] * 3, *[2 / 4] * 4)}
    theirs.eval()
    x, y = setup.batches(1)[0]
    with torch.no_grad():
        assert ours.evaluate(x, y)[0] == pytest.approx(theirs.loss(x, y).item(), rel=1e-12)


def test_trap_5_6_a_gradient_of_0_is_no_rest_so_alpha_is_masked_under_random_architectures() -> None:
    """A gradient of 0 is not rest: decay would move it (ALGORITHMS 5, item 6)."""
    X, y = torch.rand(32, 1, 8, 8).numpy(), (torch.arange(32) % 3).numpy()
    result = pydarts.search(
        ((X, y), (X, y)),
        pydarts.SearchConfig(
            channels=2,
            layers=3,
            nodes=1,
            operations=parity.SMALL,
            batch_size=8,
            epochs=2,
            device="cpu",
            progress=False,
            relaxation=as_option(RELAXATIONS["random"]),
            arch_weight_decay=0.1,
        ),
    )
    for alphas in result.alphas.values():
        assert (alphas == alphas[0]).all()
    assert result.history[0].train_loss != result.history[1].train_loss


# ---- Diagnostics


def records(**changes: Any) -> list[dict[str, float]]:
    """The diagnostics of a search of three epochs."""
    X, y = torch.rand(32, 1, 8, 8).numpy(), (torch.arange(32) % 3).numpy()
    fields: dict[str, Any] = {
        "channels": 2,
        "layers": 3,
        "nodes": 1,
        "operations": parity.SMALL,
        "batch_size": 8,
        "epochs": 3,
        "device": "cpu",
        "progress": False,
        "arch_lr": 0.0,
        "arch_weight_decay": 0.0,
    }
    result = pydarts.search(((X, y), (X, y)), pydarts.SearchConfig(**(fields | changes)))
    return [dict(record.diagnostics) for record in result.history]


def test_an_epoch_records_its_temperature_and_the_entropy_of_its_samples() -> None:
    found = records(relaxation=GumbelHard(temperature=Linear(10, 0.1)))
    assert [record["temperature"] for record in found] == pytest.approx([10, 5.05, 0.1])
    entropies = [record["sample_entropy"] for record in found]
    # Of p̃, not of the one-hot vector: near ln 3 at temperature 10, and near 0 at 0.1.
    assert math.log(3) > entropies[0] > entropies[1] > 1.0 and 0.3 > entropies[2] > 0.0
    assert "temperature" not in records(relaxation="gumbel")[0]


def test_the_entropy_of_a_dirichlet_sample_is_recorded() -> None:
    [first, *_] = records(relaxation="dirichlet")
    # Of a flat Dirichlet distribution of three numbers: ψ(4) − ψ(2) = 1/2 + 1/3.
    assert first["sample_entropy"] == pytest.approx(5 / 6, abs=0.25)
    for relaxation in ("softmax", "random", "sigmoid"):
        assert "sample_entropy" not in records(relaxation=relaxation)[0]


@pytest.mark.parametrize("name", ["uniform", "adversarial"])
def test_an_epoch_records_its_radius(name: str) -> None:
    found = [record["epsilon"] for record in records(perturbation=name)]
    assert found == pytest.approx([0.03, 0.165, 0.3])
    assert "epsilon" not in records(perturbation={"name": name, "epsilon": 0.1})[0]
