"""Resuming: an interrupted search that goes on is the uninterrupted one, bit for bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from resuming import (
    EPOCHS,
    STEPS,
    StopAt,
    arrays,
    assert_same,
    checkpoints,
    config,
    pair,
    records,
    resumed,
    single,
    stopped,
)
from torch.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.usefixtures("one_thread")


def loader() -> DataLoader:
    X, y = arrays(64)
    return DataLoader(
        TensorDataset(torch.from_numpy(X).float() / 255, torch.from_numpy(y)), batch_size=8, shuffle=True
    )


STOPS = {
    "after the first step": {"step": 0},
    "within the first epoch": {"step": 2},
    "at the last step of an epoch": {"step": STEPS - 1},
    "after an epoch": {"epoch": 0},
    "at the first step of an epoch": {"step": STEPS},
    "within the last epoch": {"step": 2 * STEPS + 1},
    "at the last step of all": {"step": EPOCHS * STEPS - 1},
    "after the last epoch": {"epoch": EPOCHS - 1},
}
stops = pytest.mark.parametrize("stop", [pytest.param(s, id=name) for name, s in STOPS.items()])


@stops
@pytest.mark.parametrize("record", ["epoch", "step"])
@pytest.mark.parametrize("method", ["first_order", "unrolled"])
def test_a_resumed_search_is_the_uninterrupted_one(
    tmp_path: Path, whole: Any, stop: dict[str, int], record: str, method: str
) -> None:
    changes = {"record": record, "hypergradient": method}
    partial = stopped(tmp_path, **stop, **changes)
    assert partial.status == "failed"
    assert_same(resumed(tmp_path, **changes), whole(**changes))


@stops
@pytest.mark.parametrize("every", [1, 3])
def test_checkpoints_within_an_epoch_change_nothing(
    tmp_path: Path, whole: Any, stop: dict[str, int], every: int
) -> None:
    stopped(tmp_path, **stop, record=3, checkpoint_every=every)
    assert_same(resumed(tmp_path, record=3, checkpoint_every=every), whole(record=3))


@pytest.mark.parametrize("step", range(1, EPOCHS * STEPS))
def test_the_checkpoint_before_the_newest_leads_to_the_same_end(
    tmp_path: Path, whole: Any, step: int
) -> None:
    stopped(tmp_path, step=step, record="step", checkpoint_every=1)
    checkpoints(tmp_path)[-1].unlink()
    assert_same(resumed(tmp_path, record="step", checkpoint_every=1), whole(record="step"))


@pytest.mark.parametrize(
    "changes",
    [
        {"arch_start_epoch": 1},
        {"augment": "cifar", "cutout": 3},
        {"weight_momentum": 0.0},
        {"precision": "float64"},
        {"hypergradient": "unrolled_exact"},
    ],
    ids=str,
)
@pytest.mark.parametrize("step", [2, 6])
def test_every_kind_of_search_resumes(tmp_path: Path, whole: Any, changes: dict[str, Any], step: int) -> None:
    stopped(tmp_path, step=step, record="step", **changes)
    assert_same(resumed(tmp_path, record="step", **changes), whole(record="step", **changes))


@pytest.mark.parametrize("source", [single, loader])
@pytest.mark.parametrize("step", [1, 3, 9])
def test_a_source_that_is_split_resumes(
    tmp_path: Path, whole: Any, source: Callable[[], Any], step: int
) -> None:
    stopped(tmp_path, source, step=step, record="step")
    assert_same(resumed(tmp_path, source, record="step"), whole(source, record="step"))


def test_a_search_may_be_stopped_after_every_step(tmp_path: Path, whole: Any) -> None:
    resume = False
    for step in range(EPOCHS * STEPS):
        stopped(tmp_path, step=step, record="step", resume=resume)
        resume = True
    assert_same(resumed(tmp_path, record="step"), whole(record="step"))


def test_an_interrupt_is_resumed_like_an_exception(tmp_path: Path, whole: Any) -> None:
    class Interrupt(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            if info.step == 5:
                raise KeyboardInterrupt

    partial = pydarts.search(pair(), config(checkpoint_dir=tmp_path), Interrupt())
    assert partial.status == "interrupted"
    assert len(partial.history) == 1
    assert_same(resumed(tmp_path), whole())


def test_the_partial_result_holds_what_was_reached(tmp_path: Path, whole: Any) -> None:
    partial = stopped(tmp_path, step=5, record="epoch")
    complete, by_step = whole(record="epoch"), whole(record="step")
    assert records(partial) == records(complete)[:1]
    for name, trajectory in partial.alphas.items():
        assert np.array_equal(trajectory[:2], complete.alphas[name][:2])
        assert np.array_equal(trajectory[-1], by_step.alphas[name][6])
    assert partial.steps == (0, 4, 6)


def test_a_resumed_search_does_only_the_steps_that_are_left(tmp_path: Path) -> None:
    stopped(tmp_path, step=5)
    listener = StopAt()
    resumed(tmp_path, callbacks=[listener])
    assert (listener.steps, listener.epochs) == (EPOCHS * STEPS - 6, EPOCHS - 1)


def test_resuming_warns_of_nothing_when_nothing_changed(tmp_path: Path) -> None:
    stopped(tmp_path, step=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed(tmp_path)


def test_resuming_on_another_number_of_threads_warns(tmp_path: Path) -> None:
    stopped(tmp_path, step=EPOCHS * STEPS - 2)
    torch.set_num_threads(2)
    try:
        with pytest.warns(UserWarning, match="thread"):
            resumed(tmp_path)
    finally:
        torch.set_num_threads(1)
