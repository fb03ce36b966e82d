"""Terms in searches: parity of steps with plain PyTorch, resume, decisions, what the history records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pydarts
import pytest
import reference
import torch
from parity import METHODS, XI, apart
from pydarts.algorithms import BetaDecay, Entropy, Flops, KlAnchor, Linear, Parameters, Term, ZeroOne
from pydarts.nn._costs import target_costs
from relaxed import RELAXATIONS, share_noise
from resuming import STEPS, assert_same, config, pair, resumed, stopped, uninterrupted
from test_relaxation_parity import assert_alphas_agree, decided
from test_relaxation_parity import pair as twins

pytestmark = pytest.mark.usefixtures("one_thread")
TOLERANCE = {"first_order": 1e-8, "unrolled": 1e-6, "unrolled_exact": 1e-8}
SETUP = parity.Setup(operations=parity.SMALL, nodes=2, layers=3, size=(9, 8))
RAGGED = parity.Setup(operations=parity.RAGGED["one to four"], nodes=2)
COST = {"channels": 6, "layers": 5}
TERMS: dict[str, list[Term]] = {
    "entropy": [Entropy(weight=0.5)],
    "beta_decay": [BetaDecay(weight=3)],
    "zero_one": [ZeroOne(weight=10)],
    "zero_one l1": [ZeroOne(weight=10, form="l1")],
    "flops add": [Flops(weight=2, **COST)],
    "flops log": [Flops(weight=2, form="log", **COST)],
    "flops multiply": [Flops(weight=0.5, form="multiply", exponent=0.7, reference=1e5, **COST)],
    "parameters multiply_log": [Parameters(weight=2, form="multiply_log", reference=1e3, **COST)],
    "several": [
        BetaDecay(weight=3),
        Flops(weight=0.5, form="multiply", exponent=0.7, **COST),
        Entropy(weight=-0.1),
        Parameters(weight=1.5, form="multiply_log", **COST),
        ZeroOne(weight=4),
    ],
}


def plain(terms: list[Term], net: pydarts.Supernet, relaxation: reference.Relaxation) -> list[reference.Term]:
    """The terms in plain PyTorch; costs are those of the target network."""
    costs = {name: (flat, rest) for name, flat, rest in target_costs(net.config)}
    found = []
    for term in terms:
        given: dict[str, Any] = {"form": getattr(term, "form", "")}
        if term.name in costs:
            assert isinstance(term, Flops | Parameters)
            flat, constant = torch.tensor(costs[term.name][0], dtype=torch.float64), costs[term.name][1]
            parts = flat.split([alpha.numel() for alpha in net.alphas.values()])
            tables = {
                name: part.view_as(alpha)
                for (name, alpha), part in zip(net.alphas.items(), parts, strict=True)
            }
            given |= {"costs": tables, "constant": constant, "exponent": term.exponent}
            zeros = {name: torch.zeros_like(alpha) for name, alpha in net.alphas.items()}
            uniform = replace(relaxation, masks=padding(net), frozen={})
            means = {name: uniform.weights(name, zero) for name, zero in zeros.items()}
            at_zero = sum(float((tables[name] * m).sum()) for name, m in means.items()) + constant
            given["reference"] = term.reference or at_zero
        found.append(reference.Term(term.name, float(term.weight), **given))  # type: ignore[arg-type]
    return found


def padding(net: pydarts.Supernet) -> dict[str, torch.Tensor]:
    """Which entries of the tables are candidates."""
    masks = {}
    for name, alpha in net.alphas.items():
        counts = torch.tensor([len(row) for row in net.space.columns(name)])
        masks[name] = torch.arange(alpha.shape[1]) < counts[:, None]
    return masks


def follow(
    setup: parity.Setup, terms: list[Term], relaxation: reference.Relaxation, method: str, **config: Any
) -> None:
    config |= {"hypergradient": method, "weight_lr": XI, "arch_lr": 0.1, "arch_terms": terms}
    if setup is RAGGED:  # the engine knows its padding
        ours, theirs = setup.pair(relaxation=relaxation.name, **config)
        theirs.relaxation = relaxation
    else:
        ours, theirs = twins(setup, relaxation, **config)
    before = ours.alphas
    statement = plain(terms, ours, relaxation)
    first = method == "first_order"
    clip = config.get("arch_grad_clip")
    search = reference.Search(
        theirs, method=method, arch_lr=0.1, arch_grad_clip=clip, published=first, terms=statement
    )
    batches = setup.batches(10)
    for number, (train, valid) in enumerate(zip(batches[::2], batches[1::2], strict=True)):
        share_noise(theirs, number, seed=setup.seed)
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, XI), rel=TOLERANCE[method])
    weights = {name: tensor for name, tensor in ours.state_dict().items() if name in theirs.weights()}
    assert apart(weights, theirs.weights()) <= TOLERANCE[method]
    assert_alphas_agree(ours, theirs, search, before, TOLERANCE[method])


@pytest.mark.parametrize("name", TERMS)
def test_five_steps_with_each_term_are_those_of_plain_pytorch(name: str) -> None:
    follow(SETUP, TERMS[name], reference.Relaxation("softmax", 0.5), "first_order")


@pytest.mark.parametrize("method", METHODS)
def test_trap_1_15_b_every_hypergradient_has_the_terms_once(method: str) -> None:
    """Trap 1.15 b: the published unrolled step leaves it out; in the training loss it would count twice."""
    follow(SETUP, TERMS["several"], reference.Relaxation("softmax"), method)


@pytest.mark.parametrize("name", [name for name in TERMS if "entropy" not in name and name != "several"])
def test_five_steps_with_sigmoids_are_those_of_plain_pytorch(name: str) -> None:
    follow(SETUP, TERMS[name], RELAXATIONS["sigmoid"], "first_order")


@pytest.mark.parametrize("name", ["gumbel", "gdas", "dirichlet"])
def test_five_steps_with_sampled_weights_take_the_mean(name: str) -> None:
    """Trap 1.6 a: the cost and the entropy are those of the mean mixing weights, not of the sample."""
    anchor = [KlAnchor(weight=0.3)] if name == "dirichlet" else []
    follow(SETUP, [*TERMS["several"], *anchor], RELAXATIONS[name], "first_order")


def test_five_steps_with_masks_and_frozen_rows_count_only_what_is_left() -> None:
    relaxation = reference.Relaxation("softmax")
    follow(SETUP, TERMS["several"], decided(relaxation, SETUP.reference().alphas), "first_order")


def test_trap_5_13_tables_of_different_rows_do_not_count_padding() -> None:
    masks = padding(RAGGED.engine())
    follow(RAGGED, TERMS["several"], reference.Relaxation("softmax", masks=masks), "first_order")


def test_trap_1_15_a_a_step_takes_the_weight_of_its_epoch() -> None:
    """Trap 1.15 a: the published script of the DARTS space lacks the epoch, and fails on two tables."""
    changes: dict[str, Any] = {"arch_terms": BetaDecay(Linear(0, 6)), "record": "step", "arch_lr": 0.1}
    scheduled = pydarts.search(pair(), config(**changes))
    values = [record.diagnostics["term.beta_decay"] for record in scheduled.history]
    without = pydarts.search(pair(), config(**(changes | {"arch_terms": None})))
    assert values[0] == 0.0 and values[1] > 0 and values[2] > 0
    first, later = STEPS + 1, STEPS + 2  # points of the first epoch, and of its first step after it
    assert np.array_equal(scheduled.alphas["normal"][:first], without.alphas["normal"][:first])
    assert not np.array_equal(scheduled.alphas["normal"][:later], without.alphas["normal"][:later])


@pytest.mark.parametrize("step", [1, STEPS + 2])
def test_a_resumed_search_with_terms_is_the_uninterrupted_one(tmp_path: Path, step: int) -> None:
    terms = [
        {"name": "beta_decay", "weight": {"name": "linear", "start": 0.0, "end": 5.0}},
        {"name": "flops", "weight": 0.5, "form": "multiply", "channels": 4, "layers": 3},
    ]
    changes: dict[str, Any] = {"arch_terms": terms, "record": "step", "hypergradient": "unrolled"}
    stopped(tmp_path, step=step, checkpoint_every=1, **changes)
    assert_same(resumed(tmp_path, checkpoint_every=1, **changes), uninterrupted()(**changes))


def test_weight_0_and_no_term_give_the_same_search_bit_for_bit() -> None:
    terms = [BetaDecay(weight=0), Entropy(weight=0), ZeroOne(weight=0), Flops(weight=0, **COST)]
    with_terms = pydarts.search(pair(), config(arch_terms=terms, record="step"))
    without = pydarts.search(pair(), config(record="step"))
    for name, alpha in without.alphas.items():
        assert np.array_equal(with_terms.alphas[name], alpha)


def test_the_history_records_what_terms_add_and_the_expected_cost_of_the_last_alpha() -> None:
    term = Flops(weight=0.5, **COST)
    result = pydarts.search(pair(), config(arch_terms=[term, "entropy"], arch_lr=0.1))
    costs = target_costs(result.config)
    [(_, flat, constant)] = costs
    strengths = result.trajectory.strengths
    for index, record in enumerate(result.history):
        assert set(record.diagnostics) == {"term.flops", "term.entropy", "cost.flops"}
        m = np.concatenate([strengths[name][index + 1].ravel() for name in result.alphas])
        assert record.diagnostics["cost.flops"] == pytest.approx(np.dot(flat, m) + constant, rel=1e-6)
    assert result.history[-1].diagnostics["cost.flops"] < result.history[0].diagnostics["cost.flops"]


def test_a_factor_adds_what_it_adds_to_the_loss() -> None:
    """With arch_lr=0 the search is the same under any factor f, and the term is (f − 1)·L_val."""

    def added(weight: float) -> float:
        term = Flops(weight=weight, form="multiply", exponent=0.0, **COST)
        [record] = pydarts.search(pair(), config(arch_terms=term, arch_lr=0.0, epochs=1)).history
        return record.diagnostics["term.flops"]

    assert added(1.0) == 0
    assert added(2.0) > 0
    assert added(5.0) == pytest.approx(4 * added(2.0), rel=1e-6)


def test_the_gradient_is_clipped_with_its_terms() -> None:
    for clip in (1e-3, 1e-2):
        follow(SETUP, TERMS["several"], reference.Relaxation("softmax"), "first_order", arch_grad_clip=clip)


def test_a_cost_pulls_alpha_to_cheap_candidates() -> None:
    """Trap 1.21: `none` and `skip_connect` cost nothing, so a strong term leads to them."""
    result = pydarts.search(pair(), config(arch_terms=Flops(weight=100.0, **COST), arch_lr=0.3, epochs=6))
    columns = result.config.resolved_space.columns("normal")[0]
    strongest = result.trajectory.strengths["normal"][-1].argmax(-1)
    assert {columns[index] for index in strongest} <= {"none", "skip_connect"}


def test_the_weights_of_edges_count_in_costs_but_are_no_candidates() -> None:
    """With edge normalisation E = Σ c·m·b, where b are the softmaxes of the edges into each node."""
    terms = [Flops(weight=0.5, **COST), BetaDecay(weight=3)]
    result = pydarts.search(
        pair(), config(arch_terms=terms, nodes=2, partial_channels=2, edge_normalization=True)
    )
    [(_, flat, constant)] = target_costs(result.config)
    expected = constant
    for table, costs in zip(("normal", "reduce"), np.array(flat).reshape(2, 5, 3), strict=True):
        alpha, beta = (result.alphas[name][-1].astype(float) for name in (table, f"{table}.beta"))
        m = np.exp(alpha) / np.exp(alpha).sum(-1, keepdims=True)
        b = np.exp(beta)
        for rows in (slice(0, 2), slice(2, 5)):
            b[rows] /= b[rows].sum()
        expected += float((costs * m * b).sum())
    assert result.history[-1].diagnostics["cost.flops"] == pytest.approx(expected, rel=1e-6)


def test_terms_apply_to_a_network_of_ones_own() -> None:
    module = torch.nn.Sequential(
        pydarts.nn.Choice([torch.nn.Linear(4, 4), torch.nn.Identity()]), torch.nn.Linear(4, 3)
    )
    data = (torch.randn(16, 4), torch.arange(16) % 3)
    options: dict[str, Any] = {"epochs": 1, "batch_size": 4, "device": "cpu", "progress": False}
    terms = [Flops(), Parameters(), BetaDecay(weight=1)]
    result = pydarts.search(data, pydarts.SearchConfig(arch_terms=terms, **options), network=module)
    found = result.history[0].diagnostics
    assert found["term.beta_decay"] > 0
    # The head, and the share of the candidate with weights: 16 multiply-adds, 20 weights with its biases.
    share = float(result.strengths["0"][-1][0, 0])
    assert found["cost.flops"] == pytest.approx(12 + 16 * share, rel=1e-5)
    assert found["cost.parameters"] == pytest.approx(15 + 20 * share, rel=1e-5)


def test_the_anchor_names_the_relaxation_that_it_needs() -> None:
    with pytest.raises(pydarts.ConfigError, match="dirichlet"):
        pydarts.SearchConfig(arch_terms=KlAnchor())
