"""A search with noise and a temperature that changes is resumed bit for bit, within an epoch too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from parity import METHODS
from resuming import STEPS, StopAt, assert_same, checkpoints, resumed, stopped, uninterrupted

SCHEDULE = {"name": "linear", "start": 5.0, "end": 0.2}
RELAXATIONS = {
    "gumbel": {"name": "gumbel", "temperature": SCHEDULE},
    "softmax": {"name": "softmax", "temperature": {"name": "exponential", "start": 5.0, "end": 0.2}},
    "sigmoid": {"name": "sigmoid"},
    "gdas": {"name": "gdas", "temperature": SCHEDULE},
    "dirichlet": {"name": "dirichlet"},
    "random": {"name": "random"},
}
TOKENS = tuple(np.random.default_rng(seed).integers(0, 9, 300) for seed in (0, 1))

pytestmark = pytest.mark.usefixtures("one_thread")
methods = pytest.mark.parametrize("method", METHODS)
run = uninterrupted()


@pytest.mark.parametrize("step", [1, STEPS - 1, STEPS + 2, 2 * STEPS], ids="stop at {}".format)
@methods
def test_a_resumed_search_on_images_is_the_uninterrupted_one(tmp_path: Path, method: str, step: int) -> None:
    changes: dict[str, Any] = {
        "relaxation": RELAXATIONS["gumbel"],
        "hypergradient": method,
        "record": "step",
    }
    stopped(tmp_path, step=step, checkpoint_every=1, **changes)
    assert_same(resumed(tmp_path, checkpoint_every=1, **changes), run(**changes))


@pytest.mark.parametrize("relaxation", ["softmax", "sigmoid", "gdas", "dirichlet", "random"])
def test_every_relaxation_resumes_in_the_middle_of_an_epoch(tmp_path: Path, relaxation: str) -> None:
    changes: dict[str, Any] = {"relaxation": RELAXATIONS[relaxation], "record": "step"}
    stopped(tmp_path, step=STEPS + 1, checkpoint_every=1, **changes)
    assert_same(resumed(tmp_path, checkpoint_every=1, **changes), run(**changes))


def test_micro_batches_and_the_checkpoint_before_the_newest_resume(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"relaxation": RELAXATIONS["gumbel"], "micro_batch": 3, "record": "step"}
    stopped(tmp_path, step=STEPS + 2, checkpoint_every=1, **changes)
    checkpoints(tmp_path)[-1].unlink()
    assert_same(resumed(tmp_path, checkpoint_every=1, **changes), run(**changes))
    whole = run(**(changes | {"micro_batch": None}))
    assert not np.array_equal(whole.alphas["normal"], run(**changes).alphas["normal"])


@pytest.mark.parametrize("micro_batch", [None, 3])
@pytest.mark.parametrize("name", ["uniform", "adversarial"])
def test_a_perturbation_is_resumed_in_the_middle_of_an_epoch(
    tmp_path: Path, name: str, micro_batch: int | None
) -> None:
    perturbation = {"name": name, "epsilon": {"name": "linear", "start": 0.05, "end": 0.4}}
    changes: dict[str, Any] = {"perturbation": perturbation, "micro_batch": micro_batch, "record": "step"}
    stopped(tmp_path, step=STEPS + 1, checkpoint_every=1, **changes)
    assert_same(resumed(tmp_path, checkpoint_every=1, **changes), run(**changes))


def test_the_schedule_and_the_noise_matter() -> None:
    """What is resumed above depends on the temperature of the epoch and on the noise of the step."""
    constant = {"name": "gumbel", "temperature": SCHEDULE["start"]}
    scheduled, fixed, soft = (
        run(record="step", relaxation=relaxation).alphas["normal"]
        for relaxation in (RELAXATIONS["gumbel"], constant, RELAXATIONS["softmax"])
    )
    assert np.array_equal(scheduled[: STEPS + 1], fixed[: STEPS + 1])  # the first epoch
    assert not np.array_equal(scheduled[STEPS + 1], fixed[STEPS + 1])
    assert not np.array_equal(scheduled[1], soft[1])


def words(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {
        "space": "darts-rnn",
        "nodes": 2,
        "units": 6,
        "batch_size": 4,
        "bptt": 7,
        "epochs": 2,
        "eval_batch_size": 4,
        "relaxation": RELAXATIONS["gumbel"],
        "record": "step",
        "device": "cpu",
        "progress": False,
    }
    return pydarts.SearchConfig(**(fields | changes))


@pytest.mark.parametrize("step", [2, 13])
@methods
def test_a_resumed_search_on_words_is_the_uninterrupted_one(tmp_path: Path, method: str, step: int) -> None:
    whole = pydarts.search(TOKENS, words(hypergradient=method))
    config = words(hypergradient=method, checkpoint_dir=str(tmp_path), checkpoint_every=1)
    with pytest.raises(Exception, match=str(step)):
        pydarts.search(TOKENS, config, StopAt(step))
    rest = pydarts.search(TOKENS, config.replace(resume=True))
    assert whole.steps == rest.steps and len(whole.steps) > 14
    assert np.array_equal(whole.alphas["recurrent"], rest.alphas["recurrent"])
    assert all(torch.equal(tensor, rest.state_dict[name]) for name, tensor in whole.state_dict.items())
    assert [record.valid_loss for record in whole.history] == [record.valid_loss for record in rest.history]


@methods
def test_another_seed_is_another_search_and_the_same_one_is_not(method: str) -> None:
    one, again, other = (
        pydarts.search(TOKENS, words(hypergradient=method, epochs=1, seed=seed)).alphas["recurrent"]
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, again) and not np.array_equal(one, other)
