"""The convolutional search network written with `pydarts.nn.Choice` against the compiled space, float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import parity
import pydarts
import pytest
import reference
import torch
from parity import METHODS, SETUPS, XI, Batch, Setup, apart, distance, over_steps, plain_gradient
from reference import ChoiceSupernet, OwnNetwork, PlainChoice
from relaxed import LEARNING, RELAXATIONS, as_option, decide
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.usefixtures("one_thread")

LOGITS = 1e-11
GRADIENT = {"first_order": 1e-9, "unrolled": 1e-6, "unrolled_exact": 1e-8}
STEPS = {"first_order": 1e-8, "unrolled": 1e-6, "unrolled_exact": 1e-8}
SMALL = Setup(operations=parity.SMALL)
SEARCHED = Setup(operations=("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"), batch=6)

methods = pytest.mark.parametrize("method", METHODS)
setups = parity.each(
    "the published operations",
    "odd images of 7x5",
    "all twelve operations",
    "no none",
    "the space S1",
    "one to four operations per edge",
)


def written(setup: Setup, choice: Callable[..., Any] | None = None) -> ChoiceSupernet:
    """The network of a setup with choices."""
    return ChoiceSupernet(
        pydarts.nn.Choice if choice is None else choice,
        channels=setup.channels,
        layers=setup.layers,
        num_classes=setup.num_classes,
        in_channels=setup.in_channels,
        nodes=setup.nodes,
        operations=setup.operations,
        stem_multiplier=setup.stem_multiplier,
    )


def here(named: dict[str, Tensor]) -> dict[str, Tensor]:
    return {ChoiceSupernet.name_here(name): tensor.detach() for name, tensor in named.items()}


def pair(
    setup: Setup, loss: Callable[..., Tensor] | None = None, **options: Any
) -> tuple[pydarts.SearchModule, pydarts.Supernet, reference.Supernet]:
    """Own and compiled network, and the plain one that their numbers come from."""
    compiled, plain = setup.pair(**options)
    model = written(setup)
    model.take(compiled.state_dict())
    config = pydarts.SearchConfig(**options)
    own = pydarts.SearchModule(model, config, loss=loss, precision="float64")
    own.set_alphas(compiled.alphas)
    return own, compiled, plain


def flat(tables: dict[str, Tensor]) -> Tensor:
    return torch.cat([tables[name].detach().flatten() for name in sorted(tables)])


def assert_states_agree(own: dict[str, Tensor], compiled: dict[str, Tensor], tolerance: float) -> None:
    expected = here(compiled)
    assert expected.keys() <= own.keys()
    assert apart({name: own[name] for name in expected}, expected) <= tolerance


# ---- the two plain statements


@methods
@parity.each("the published operations", "one to four operations per edge")
def test_the_statement_with_choices_is_that_with_mixing_weights(setup: Setup, method: str) -> None:
    _, plain = setup.pair()
    model = written(setup, PlainChoice)
    model.take(plain.state_dict())
    own = OwnNetwork(model)
    own.set_alphas(plain.alphas)
    train, valid = setup.batches(2)
    gradients = [plain_gradient(net, method, train, valid, xi=XI) for net in (own, plain)]  # type: ignore[arg-type]
    assert apart(*gradients) <= 1e-12 if method != "unrolled" else 1e-9
    own.eval(), plain.eval()
    assert own.loss(*train).item() == pytest.approx(plain.loss(*train).item(), rel=1e-12)


# ---- logits and gradients


@setups
def test_names_of_tables_are_those_of_the_space(setup: Setup) -> None:
    own, compiled, _ = pair(setup)
    assert apart(own.alphas, compiled.alphas) == 0.0
    assert_states_agree(own.state_dict(), compiled.state_dict(), 0.0)
    assert own.optimizer_state()["momentum"].keys() == here(compiled.optimizer_state()["momentum"]).keys()


@setups
def test_logits_are_those_of_the_compiled_space(setup: Setup) -> None:
    seen: list[Tensor] = []

    def loss(output: Tensor, y: Tensor) -> Tensor:
        seen.append(output.detach().clone())
        return F.cross_entropy(output, y)

    own, compiled, _ = pair(setup, loss)
    x, y = setup.batches(1)[0]
    expected = compiled.logits(x)
    assert own.loss((x, y)) == pytest.approx(compiled.loss(x, y), rel=LOGITS, abs=0)
    assert distance(seen[0], expected) <= LOGITS
    alone = written(setup)
    alone.take(compiled.state_dict())
    alphas = compiled.alphas
    with torch.no_grad():
        for choice in alone.modules():
            if isinstance(choice, pydarts.nn.Choice):
                table = choice.candidates  # rows of a ragged table are shorter
                row = _row_of(alone, choice)
                choice.alpha.copy_(alphas[row[0]][row[1], : len(table)])
        assert distance(alone(x), expected) <= LOGITS


def _row_of(net: ChoiceSupernet, choice: torch.nn.Module) -> tuple[str, int]:
    """The table and the row of a choice."""
    layers = len(net.cells)
    for c, cell in enumerate(net.cells):
        for row, edge in enumerate(cell.edges.values()):  # type: ignore[union-attr, operator]
            if edge is choice:
                return "reduce" if c in (layers // 3, 2 * layers // 3) else "normal", row
    raise AssertionError("no edge")


@methods
@setups
def test_gradients_are_those_of_the_compiled_space(setup: Setup, method: str) -> None:
    own, compiled, plain = pair(setup)
    train, valid = setup.batches(2)
    momentum = setup.buffers(plain)
    found = own.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI, momentum=here(momentum))
    expected = compiled.arch_gradient(train, valid, method, XI, momentum=momentum)
    assert {table: gradient.shape for table, gradient in found.items()} == {
        table: gradient.shape for table, gradient in expected.items()
    }
    assert flat(expected).norm() > 1e-3
    assert distance(flat(found), flat(expected)) <= GRADIENT[method]


@pytest.mark.parametrize("name", [name for name in LEARNING if name != "softmax"])
@methods
def test_gradients_under_every_relaxation_are_those_of_the_compiled_space(method: str, name: str) -> None:
    own, compiled, _ = pair(SMALL, relaxation=as_option(RELAXATIONS[name]))
    train, valid = SMALL.batches(2)
    found = own.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI)
    expected = compiled.arch_gradient(train, valid, method, XI)
    assert distance(flat(found), flat(expected)) <= GRADIENT[method]


# ---- steps


def follow(setup: Setup, method: str, steps: int = 10, decided: Any = None, **options: Any) -> None:
    """Ten steps of both; losses, α, weights, statistics and the state of the optimisers agree."""
    options = {"hypergradient": method, "weight_lr": XI, "arch_lr": 0.01, **options}
    own, compiled, _ = pair(setup, **options)
    if decided is not None:
        decide(compiled, decided)
        decide(own, decided)
        own.set_alphas(compiled.alphas)
    before = compiled.alphas
    batches = setup.batches(2 * steps)
    for train, valid in zip(batches[::2], batches[1::2], strict=True):
        assert own.step(train, valid) == pytest.approx(compiled.step(train, valid), rel=STEPS[method])
    assert apart(own.alphas, compiled.alphas) <= STEPS[method]
    assert distance(flat(before), flat(compiled.alphas)) > 1e-3
    assert_states_agree(own.state_dict(), compiled.state_dict(), STEPS[method])
    state, expected = own.optimizer_state(), compiled.optimizer_state()
    assert state["step"] == expected["step"] == steps
    assert apart(state["momentum"], here(expected["momentum"])) <= 10 * STEPS[method]
    for moments in ("exp_avg", "exp_avg_sq"):
        assert apart(state[moments], expected[moments]) <= 10 * STEPS[method]


@over_steps
@parity.each("the published operations", "odd images of 7x5", "one to four operations per edge")
def test_ten_steps_are_those_of_the_compiled_space(setup: Setup, method: str) -> None:
    follow(setup, method)


@over_steps
def test_ten_steps_with_other_options_are_those_of_the_compiled_space(method: str) -> None:
    follow(
        SMALL,
        method,
        weight_momentum=0.7,
        weight_decay=0.02,
        grad_clip=0.05,
        clip_virtual_step=True,
        arch_betas=(0.8, 0.9),
        arch_weight_decay=0.1,
        epsilon=0.05,
    )


@pytest.mark.parametrize("name", ["uniform", "adversarial"])
def test_steps_at_perturbed_weights_are_those_of_the_compiled_space(name: str) -> None:
    """The attack differentiates by weights that were clipped to 0, so their candidates must run."""
    own, compiled, _ = pair(SMALL, weight_lr=XI, perturbation={"name": name, "epsilon": 0.2})
    for net in (own, compiled):
        state = net.state_dict()
        for key in state:
            if key.endswith("num_batches_tracked"):
                state[key].fill_(1000)  # settled: the attack reads running statistics
        net.load_state_dict(state)
    batches = SMALL.batches(8)
    for train, valid in zip(batches[::2], batches[1::2], strict=True):
        assert own.step(train, valid) == pytest.approx(compiled.step(train, valid), rel=1e-8)
    assert_states_agree(own.state_dict(), compiled.state_dict(), 1e-8)


@pytest.mark.parametrize("name", ["gumbel", pytest.param("softmax", marks=pytest.mark.long)])
@over_steps
def test_ten_steps_in_micro_batches_are_those_of_the_compiled_space(method: str, name: str) -> None:
    follow(replace(SMALL, batch=7), method, micro_batch=3, relaxation=as_option(RELAXATIONS[name]))


@pytest.mark.parametrize("name", ["gumbel", "softmax"])
@over_steps
def test_ten_steps_with_masks_and_frozen_rows_are_those_of_the_compiled_space(method: str, name: str) -> None:
    edges = sum(range(2, SMALL.nodes + 2))
    mask = torch.ones(edges, 3, dtype=torch.bool)
    mask[1, 0] = mask[3, 2] = False
    decided = replace(RELAXATIONS[name], masks={"normal": mask}, frozen={"reduce": {0: 2, 2: None}})
    follow(SMALL, method, decided=decided, relaxation=as_option(RELAXATIONS[name]))


# ---- searches


def searched(
    setup: Setup, data: Any, of_space: Any = None, **options: Any
) -> tuple[pydarts.SearchResult, pydarts.SearchResult]:
    """A search of the model and one of the space from the same weights, perhaps with the data as a loader."""
    space = {
        "space": pydarts.Space(operations=setup.operations, nodes=setup.nodes),
        "channels": setup.channels,
        "layers": setup.layers,
        "num_classes": setup.num_classes,
        "in_channels": setup.in_channels,
        "image_size": setup.size,
    }
    common: dict[str, Any] = {
        "epochs": 2,
        "precision": "float64",
        "record": "step",
        "device": "cpu",
        "weight_lr": 0.1,
        "arch_lr": 0.01,
        "progress": False,
        **options,
    }
    config = pydarts.SearchConfig(**space, **common)
    model = written(setup)
    model.take(pydarts.Supernet(config=config, precision="float64").state_dict())
    own = pydarts.SearchConfig(**common)
    return pydarts.search(data, own, network=model), pydarts.search(of_space or data, config)


def assert_results_agree(own: pydarts.SearchResult, compiled: pydarts.SearchResult, tolerance: float) -> None:
    assert own.status == compiled.status == "complete"
    assert own.steps == compiled.steps
    assert own.alphas.keys() == compiled.alphas.keys()
    for table, expected in compiled.alphas.items():
        assert own.alphas[table].shape == expected.shape
        # Padding is NaN in both.
        np.testing.assert_allclose(own.alphas[table], expected, rtol=0, atol=tolerance)
        np.testing.assert_allclose(own.strengths[table], compiled.strengths[table], rtol=0, atol=tolerance)
        assert np.nanmax(np.abs(expected[-1] - expected[0])) > 0.01
    assert_states_agree(own.state_dict, compiled.state_dict, 10 * tolerance)
    for one, other in zip(own.history, compiled.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=10 * tolerance)
        assert one.valid_loss == pytest.approx(other.valid_loss, rel=10 * tolerance)
        assert one.train_accuracy == pytest.approx(other.train_accuracy)
        assert one.valid_accuracy == pytest.approx(other.valid_accuracy)
        assert one.learning_rate == other.learning_rate
        assert one.entropy == pytest.approx(other.entropy, abs=tolerance)


def loaders(setup: Setup) -> tuple[list[Batch], list[Batch]]:
    """Five training batches and three of validation: they do not keep step."""
    batches = setup.batches(8)
    return batches[:5], batches[5:]


LINEAR: dict[str, Any] = {"name": "linear", "start": 2.0, "end": 0.5}
OPTIONS: dict[str, dict[str, Any]] = {
    "published": {},
    "gumbel in micro-batches": {"relaxation": as_option(RELAXATIONS["gumbel"]), "micro_batch": 3},
    "temperature": {
        "relaxation": {"name": "softmax", "temperature": {"name": "linear", "start": 2.0, "end": 0.5}}
    },
    "warm-up": {"arch_start_epoch": 1},
}


@over_steps
@pytest.mark.parametrize("case", OPTIONS)
def test_a_search_of_the_model_is_that_of_the_space(case: str, method: str) -> None:
    own, compiled = searched(SEARCHED, loaders(SEARCHED), hypergradient=method, **OPTIONS[case])
    assert len(compiled.steps) == 11
    assert_results_agree(own, compiled, STEPS[method])


@over_steps
def test_a_search_on_arrays_is_that_of_the_space_on_their_loader(method: str) -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(60, 3, 8, 8))
    y = np.arange(60) % SEARCHED.num_classes
    parts = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    loader = DataLoader(parts, batch_size=6, shuffle=True, drop_last=True)
    own, compiled = searched(SEARCHED, (X, y), loader, hypergradient=method, batch_size=6)
    assert len(compiled.steps) == 11
    assert_results_agree(own, compiled, STEPS[method])


def test_a_search_of_a_ragged_space_is_that_of_the_space() -> None:
    setup = SETUPS["one to four operations per edge"]
    own, compiled = searched(setup, loaders(setup))
    assert_results_agree(own, compiled, STEPS["first_order"])


def test_drawn_logits_are_those_of_the_space() -> None:
    """By (seed, table), as a compiled space with tables of the same names draws them."""
    for seed in (0, 3):
        own, compiled = searched(SEARCHED, loaders(SEARCHED), seed=seed, epochs=1)
        for table, alphas in compiled.alphas.items():
            assert np.array_equal(own.alphas[table][0], alphas[0])
