"""The operation `noise` in a search: float64 parity with plain PyTorch under the same numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import reference
import torch
from conftest import make_arrays, make_config
from masked_edges import SIZES
from parity import (
    FIVE_STEPS,
    LOSS,
    METHODS,
    XI,
    Setup,
    apart,
    assert_gradients_agree,
    distance,
    plain_gradient,
)
from parity_partial import Partial
from parity_sequences import Sequences
from pydarts.algorithms import Sampled

pytestmark = pytest.mark.usefixtures("one_thread")

S4 = ("noise", "sep_conv_3x3")


@dataclass(frozen=True)
class Images(Setup):
    """As `Setup`, with a reference whose `noise` has the numbers of the engine."""

    operations: Any = S4
    channels: int = 2
    batch: int = 2
    seed: int = 3

    def reference(self) -> reference.Noisy:
        return reference.Noisy(**{name: getattr(self, name) for name in SIZES})


@dataclass(frozen=True)
class NoisySequences(Sequences):
    """The same for sequences."""

    operations: Any = ("sep_conv_3", "noise")
    channels: int = 2

    def reference(self) -> reference.NoisySequences:
        sizes: dict[str, Any] = {name: getattr(self, name) for name in SIZES}
        return reference.NoisySequences(causal=self.causal, **sizes)


@dataclass(frozen=True)
class NoisyPartial(Partial):
    """The same with partial channels."""

    operations: Any = S4
    batch: int = 2

    def reference(self) -> reference.NoisyPartial:
        return reference.NoisyPartial(**self.sizes())


SETUPS: dict[str, Setup] = {
    "the operations of s4": Images(),
    "odd images and more operations": Images(
        operations=("noise", "none", "skip_connect", "max_pool_3x3"), size=(7, 5)
    ),
    "noise alone": Images(operations=("noise",), nodes=1),
    "partial channels": NoisyPartial(k=2, normalized=True, nodes=1),
    "causal sequences of odd length": NoisySequences(length=9, causal=True),
}
each = pytest.mark.parametrize("setup", [pytest.param(setup, id=name) for name, setup in SETUPS.items()])


@each
def test_losses_and_gradients_see_the_numbers_of_their_role(setup: Setup) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    with torch.no_grad():
        assert distance(ours.logits(train[0]), theirs(train[0])) <= LOSS
        assert ours.loss(*train) == pytest.approx(theirs.loss(*train).item(), rel=LOSS)
    for method in METHODS:
        found = ours.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI)
        assert_gradients_agree(found, plain_gradient(theirs, method, train, valid, xi=XI), method)
    theirs.eval()
    with torch.no_grad():
        assert ours.evaluate(*train)[0] == pytest.approx(theirs.loss(*train).item(), rel=LOSS)


@pytest.mark.parametrize("method", METHODS)
def test_steps_draw_anew_and_evaluations_do_not(method: str) -> None:
    setup = SETUPS["the operations of s4"]
    ours, theirs = setup.pair(hypergradient=method, weight_lr=XI)
    search = reference.Search(theirs, method=method, published=False)
    batches, state, alphas = setup.batches(4), ours.state_dict(), ours.alphas
    loss, evaluated = ours.loss(*batches[0]), ours.evaluate(*batches[0])
    for step, (train, valid) in enumerate(zip(batches[::2], batches[1::2], strict=True)):
        theirs.step = step
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, XI), rel=FIVE_STEPS)
    assert apart(ours.alphas, theirs.alphas) <= FIVE_STEPS
    assert apart(ours.state_dict(), theirs.state_dict()) <= FIVE_STEPS
    ours.load_state_dict(state)
    ours.set_alphas(alphas)
    assert ours.loss(*batches[0]) != loss and ours.evaluate(*batches[0]) == evaluated


def test_every_micro_batch_draws_for_itself() -> None:
    setup = replace(SETUPS["the operations of s4"], batch=4)
    ours, theirs = setup.pair(micro_batch=2)
    (x, y), expected = setup.batches(1)[0], {}
    for part in range(2):
        theirs.part, rows = part, slice(2 * part, 2 * part + 2)
        gradient = plain_gradient(theirs, "first_order", (x[rows], y[rows]), (x[rows], y[rows]))
        expected = {name: expected.get(name, 0) + gradient[name] / 2 for name in gradient}
    assert_gradients_agree(
        ours.arch_gradient(valid=(x, y), hypergradient="first_order"), expected, "first_order"
    )


@pytest.mark.parametrize("changes", [{"passes": ()}, {"memory": "recompute"}], ids=["no passes", "recompute"])
def test_passes_and_recomputed_cells_keep_the_numbers(changes: dict[str, Any]) -> None:
    setup = SETUPS["odd images and more operations"]
    train, valid = setup.batches(2)
    nets = [setup.pair(**given)[0] for given in ({"memory": "keep"}, changes)]
    for method in METHODS:
        plain, other = (
            net.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI) for net in nets
        )
        assert_gradients_agree(other, plain, method)


def test_the_seed_is_part_of_the_key() -> None:
    setup, losses = SETUPS["the operations of s4"], []
    (x, y) = setup.batches(1)[0]
    for seed in (3, 3, 4):
        ours = replace(setup, seed=seed).engine()
        ours.load_state_dict(setup.reference().state_dict())
        losses.append((ours.loss(x, y), ours.loss(x, y), ours.evaluate(x, y)))
    assert losses[0] == losses[1] and losses[0][0] == losses[0][1]
    assert losses[0][0] != losses[2][0] and losses[0][2] != losses[2][2]


@pytest.mark.parametrize("relaxation", ["softmax", "gdas", "random"])
def test_a_resumed_search_of_s4_is_the_uninterrupted_one(relaxation: Any, tmp_path: Path) -> None:
    class Interrupt(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            if info.step == 1:
                raise KeyboardInterrupt

    data = make_arrays(32)
    config = make_config(space="s4", nodes=None, operations=None, relaxation=relaxation, epochs=2)
    whole = pydarts.search(data, config)
    kept = config.replace(checkpoint_dir=str(tmp_path))
    assert pydarts.search(data, kept, callbacks=[Interrupt()]).status == "interrupted"
    again = pydarts.search(data, kept.replace(resume=True))
    assert all(np.array_equal(whole.alphas[name], again.alphas[name]) for name in whole.alphas)
    assert [record.valid_loss for record in whole.history] == [record.valid_loss for record in again.history]
    genes = [gene for table in ("normal", "reduce") for gene in whole.genotype.edges(table)]
    assert {operation for operation, *_ in genes} <= {*S4} and len(genes) == 16
    assert whole.history[-1].skip_connections is None


def test_half_precision_and_the_selection_of_sampled_cells_draw_too() -> None:
    sizes: dict[str, Any] = {"space": "s4", "nodes": None, "operations": None, "epochs": 1}
    config = make_config(**sizes, precision="bfloat16", selection=Sampled(4), relaxation="random")
    found = [pydarts.search(make_arrays(16), config) for _ in range(2)]
    assert found[0].genotype == found[1].genotype and found[0].status == "complete"


def test_a_cell_of_noise_learns_nothing() -> None:
    from pydarts._results.diagnostics.alphas import weightless

    cell: Any = [[("noise", 0), ("skip_connect", 1)]]
    [finding] = weightless(pydarts.Genotype(normal=cell, normal_concat=[2], reduce=cell, reduce_concat=[2]))
    assert finding.values["of"] == 2 and "noise" in finding.text
