"""Searches whose weight decay, drop path and skip dropout change with the epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from parity import METHODS
from pydarts.algorithms import Linear
from pydarts.nn import FunctionNetwork
from pydarts_cli.fields import search_fields
from resuming import EPOCHS, STEPS, assert_same, resumed, stopped, uninterrupted
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")

run = uninterrupted()


def linear(start: float, end: float) -> dict[str, Any]:
    return {"name": "linear", "start": start, "end": end}


ALL: dict[str, Any] = {
    "drop_path": linear(0.4, 0.1),
    "skip_dropout": linear(0.0, 0.5),
    "weight_decay": linear(3e-4, 0.1),
    "record": "step",
}


@pytest.mark.parametrize("step", [1, STEPS - 1, STEPS + 2, 2 * STEPS], ids="stop at {}".format)
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_search_is_the_uninterrupted_one(tmp_path: Path, method: str, step: int) -> None:
    changes = ALL | {"hypergradient": method}
    stopped(tmp_path, step=step, checkpoint_every=1, **changes)
    assert_same(resumed(tmp_path, checkpoint_every=1, **changes), run(**changes))


def test_micro_batches_resume_too(tmp_path: Path) -> None:
    changes = ALL | {"micro_batch": 3}
    stopped(tmp_path, step=STEPS + 1, checkpoint_every=1, **changes)
    assert_same(resumed(tmp_path, checkpoint_every=1, **changes), run(**changes))


@pytest.mark.parametrize("name", ["drop_path", "skip_dropout", "weight_decay"])
@pytest.mark.parametrize("method", ["first_order", "unrolled"])
def test_a_schedule_is_the_number_of_its_epoch(name: str, method: str) -> None:
    """The first epoch is that of the constant that it starts with; the second one differs."""
    fixed = {"record": "step", "hypergradient": method}
    scheduled, start, level = (
        run(**(fixed | {name: value})).alphas["normal"] for value in (linear(0.2, 0.6), 0.2, linear(0.2, 0.2))
    )
    assert np.array_equal(level, start)
    # α of a first-order step sees a weight decay one step later.
    assert np.array_equal(scheduled[: STEPS + 1], start[: STEPS + 1])
    assert not np.array_equal(scheduled[STEPS + 2], start[STEPS + 2])


def test_history_shows_what_changes() -> None:
    shown = [record.diagnostics for record in run(**ALL).history]
    assert [sorted(each) for each in shown] == [["drop_path", "skip_dropout", "weight_decay"]] * EPOCHS
    assert [each["drop_path"] for each in shown] == pytest.approx([0.4, 0.25, 0.1])
    assert [each["skip_dropout"] for each in shown] == pytest.approx([0.0, 0.25, 0.5])
    assert [each["weight_decay"] for each in shown] == pytest.approx([3e-4, 0.05015, 0.1])
    constant = run(record="step", weight_decay=0.2, drop_path=0.2).history[-1]
    assert constant.diagnostics == {"drop_path": 0.2}


def idle_loss(w: dict[str, Tensor], m: dict[str, Tensor], batch: Any) -> Tensor:
    """A loss without a gradient of w, so that only the decay moves it."""
    return 0 * w["w"].sum() + m["alpha"].sum()


def test_w_decays_by_the_schedule() -> None:
    batch = (torch.ones(1), torch.zeros(1))
    config = pydarts.SearchConfig(
        epochs=3,
        weight_lr=0.1,
        weight_lr_min=0.1,
        weight_momentum=0.0,
        weight_decay=Linear(0.0, 2.0),
        precision="float64",
        device="cpu",
        progress=False,
    )
    network = FunctionNetwork(idle_loss, {"w": torch.tensor([1.0, -3.0])}, {"alpha": 2.0})
    result = pydarts.search(([batch] * 2, [batch] * 2), config, network=network)
    shrunk = (1 - 0.1 * 0.0) ** 2 * (1 - 0.1 * 1.0) ** 2 * (1 - 0.1 * 2.0) ** 2
    assert torch.allclose(result.state_dict["w"], shrunk * torch.tensor([1.0, -3.0], dtype=torch.float64))


def squared_loss(w: dict[str, Tensor], m: dict[str, Tensor], batch: Any) -> Tensor:
    """L_val = w·α; L_train = 0·w, so that w′ = w(1 − ξλ), where α's gradient is taken."""
    return (w["w"] * m["alpha"]).sum() if batch[0][0] == 0 else 0 * (w["w"] * m["alpha"]).sum()


def test_the_virtual_step_decays_by_the_schedule() -> None:
    train, valid = (torch.ones(1), torch.zeros(1)), (torch.zeros(1), torch.zeros(1))
    config = pydarts.SearchConfig(
        epochs=2,
        hypergradient="unrolled_exact",
        relaxation="softmax",
        arch_optimizer="sgd",
        arch_lr=1.0,
        arch_weight_decay=0.0,
        weight_lr=0.1,
        weight_lr_min=0.1,
        weight_momentum=0.0,
        weight_decay=Linear(0.0, 2.0),
        precision="float64",
        record="step",
        device="cpu",
        progress=False,
    )
    network = FunctionNetwork(squared_loss, {"w": torch.tensor([[2.0, 0.0]])}, {"alpha": torch.zeros(1, 2)})
    alpha = pydarts.search(([train], [valid]), config, network=network).alphas["alpha"][:, 0, :]
    m = np.array([0.5, 0.5])
    for step, (w, decay) in enumerate([(2.0, 0.0), (2.0, 2.0)]):
        gradient = np.array([w * (1 - 0.1 * decay), 0.0])
        expected = alpha[step] - m * (gradient - m @ gradient)
        assert alpha[step + 1] == pytest.approx(expected)
        m = np.exp(alpha[step + 1]) / np.exp(alpha[step + 1]).sum()


@pytest.mark.parametrize("name", ["weight_decay", "drop_path", "skip_dropout"])
def test_the_command_line_reads_numbers_and_schedules(name: str) -> None:
    kind = next(field.kind for field in search_fields() if field.name == name)
    assert kind.read("0.02") == 0.02
    assert pydarts.SearchConfig(**{name: kind.read("3e-4:0.0243")}) == pydarts.SearchConfig(
        **{name: Linear(3e-4, 0.0243)}
    )
    cosine = pydarts.SearchConfig(**{name: kind.read("cosine(0.1, 0.2)")})
    assert cosine.to_dict()[name] == {"name": "cosine", "start": 0.1, "end": 0.2}
