"""Sampled operations: what no sample uses is not computed and does not move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import parity
import pydarts
import pytest
import reference
import torch
from parity import ALL, METHODS, XI, apart
from relaxed import share_noise
from resuming import STEPS, assert_same, resumed, stopped, uninterrupted
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")

STEP = {"first_order": 1e-8, "unrolled": 1e-6, "unrolled_exact": 1e-8}
SETUP = parity.Setup(operations=ALL, nodes=2, layers=3, size=(9, 8))
methods = pytest.mark.parametrize("method", METHODS)
relaxations = pytest.mark.parametrize("relaxation", ["gdas", "random"])
run = uninterrupted()


def pair(
    relaxation: str, setup: parity.Setup = SETUP, **config: Any
) -> tuple[pydarts.Supernet, reference.Supernet]:
    """The engine's network and the plain one, in which only sampled operations run."""
    ours, theirs = setup.pair(relaxation=relaxation, **config)
    theirs.relaxation = reference.Relaxation(relaxation)
    share_noise(theirs, 0, seed=setup.seed)
    return ours, theirs


def sampled(theirs: reference.Supernet) -> dict[str, Tensor]:
    """The mixing weights of the training losses of this step."""
    return {name: theirs.mixing(name).detach() for name in theirs.alphas}


def resting(setup: parity.Setup, theirs: reference.Supernet, names: Mapping[str, Any]) -> set[str]:
    """The names of weights and statistics of operations that the step does not sample."""
    found, drawn = set(), sampled(theirs)
    cells: Any = theirs.cells
    for c, cell in enumerate(cells):
        table = "reduce" if cell.reduction else "normal"
        for row, edge in enumerate(cell.edges):
            for column, operation in enumerate(theirs.candidates[table][row]):
                if drawn[table][row, column] == 0:
                    prefix = f"cells.{c}.edges.{edge}.{operation}."
                    found |= {name for name in names if name.startswith(prefix)}
    return found


@methods
@relaxations
def test_five_steps_are_those_of_a_plain_network_of_the_sampled_operations(
    relaxation: str, method: str
) -> None:
    ours, theirs = pair(relaxation, hypergradient=method, weight_lr=XI)
    before, search = ours.alphas, reference.Search(theirs, method=method, published=False)
    batches = SETUP.batches(10)
    for number, (train, valid) in enumerate(zip(batches[::2], batches[1::2], strict=True)):
        share_noise(theirs, number, seed=SETUP.seed)
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, XI), rel=STEP[method])
    assert apart(ours.state_dict(), theirs.state_dict()) <= STEP[method]  # statistics and counts too
    assert apart(ours.optimizer_state()["momentum"], search.optimizer_state()["momentum"]) <= STEP[method]  # type: ignore[arg-type]
    assert apart(ours.alphas, theirs.alphas if relaxation == "gdas" else before) <= STEP[method]


@relaxations
def test_trap_1_2_c_kernels_that_no_sample_used_rest(relaxation: str) -> None:
    """A gradient of zeros would let momentum and decay move them; published code depends on the version."""
    ours, theirs = pair(relaxation, weight_lr=XI, arch_lr=0.0)
    batches = SETUP.batches(4)
    ours.step(batches[0], batches[1])  # momentum of what the first step sampled
    share_noise(theirs, 1, seed=SETUP.seed)
    before, momentum = ours.state_dict(), ours.optimizer_state()["momentum"]
    ours.step(batches[2], batches[3])
    after, moved = ours.state_dict(), ours.optimizer_state()["momentum"]
    rest = resting(SETUP, theirs, theirs.weights())
    assert any(momentum[name].any() for name in rest), "the test sees nothing"
    for name in theirs.weights():
        same = torch.equal(before[name], after[name]) and torch.equal(momentum[name], moved[name])
        assert same == (name in rest), name


@relaxations
def test_trap_1_2_d_running_statistics_of_unselected_operations_rest(relaxation: str) -> None:
    """Also where poolings share what they compute (trap 5.8): each batch norm moves by its own sample."""
    setup = replace(
        SETUP, operations=("none", "avg_pool_3x3", "max_pool_3x3", "sep_conv_3x3"), nodes=4, layers=2
    )
    ours, theirs = pair(relaxation, setup, weight_lr=XI, arch_lr=0.0)
    before, (train, valid) = ours.state_dict(), setup.batches(2)
    ours.step(train, valid)
    after = ours.state_dict()
    statistics = [name for name in before if name not in theirs.weights()]
    rest = resting(setup, theirs, {name: None for name in statistics})
    assert rest
    for name in statistics:
        assert torch.equal(before[name], after[name]) == (name in rest), name
        if name.endswith(".num_batches_tracked"):
            assert after[name] - before[name] == (name not in rest), name


def test_trap_5_15_micro_batches_move_what_any_of_them_sampled() -> None:
    ours, theirs = pair("gdas", weight_lr=XI, arch_lr=0.0, micro_batch=2)
    train, valid = SETUP.batches(2)
    before = ours.state_dict()
    ours.step(train, valid)
    after, rests = ours.state_dict(), []
    for part in range(2):
        share_noise(theirs, 0, part, seed=SETUP.seed)
        rests.append(resting(SETUP, theirs, before))
    assert rests[0] != rests[1]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == before.keys() - (rests[0] & rests[1])
    counts = {name for name in before if name.endswith(".num_batches_tracked")}
    assert all(after[name] - before[name] == (name in moved) for name in counts)


def test_a_sampled_search_takes_no_longer_path_than_its_own(tmp_path: Path) -> None:
    """Stopped in the middle of an epoch and resumed, it is the same bit for bit: kernels that rest too."""
    changes: dict[str, Any] = {"relaxation": "gdas", "hypergradient": "unrolled", "record": "step"}
    stopped(tmp_path, step=STEPS + 1, checkpoint_every=1, **changes)
    assert_same(resumed(tmp_path, checkpoint_every=1, **changes), run(**changes))


def test_passes_of_one_choice_do_not_change_what_is_computed() -> None:
    given: tuple[Any, ...] = ([], None)
    plain, other = (pair("gdas", passes=passes)[0] for passes in given)
    train, valid = SETUP.batches(2)
    ours, theirs = (net.arch_gradient(train, valid, "unrolled_exact", XI) for net in (plain, other))
    assert apart(ours, theirs) <= 1e-9
