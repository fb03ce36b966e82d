"""Resuming where nothing is left to go on from, or to do, and going on for more epochs."""

from __future__ import annotations

import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from resuming import EPOCHS, STEPS, StopAt, assert_same, config, pair, records, resumed, stopped

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("made", [True, False], ids=["an empty folder", "no folder"])
def test_without_a_checkpoint_it_starts_afresh(tmp_path: Path, whole: Any, made: bool) -> None:
    folder = tmp_path / "run"
    if made:
        folder.mkdir()
    listener = StopAt()
    assert_same(resumed(folder, callbacks=listener), whole())
    assert listener.steps == EPOCHS * STEPS


def test_a_finished_search_returns_its_result_without_a_step(tmp_path: Path) -> None:
    first = pydarts.search(pair(), config(checkpoint_dir=tmp_path, record="step"))
    listener = StopAt()
    again = resumed(tmp_path, callbacks=[listener], record="step")
    assert_same(again, first)
    assert again.history.to_dicts() == first.history.to_dicts()
    assert (listener.steps, listener.epochs) == (0, 0)


@pytest.mark.parametrize("record", ["epoch", "step"])
def test_more_epochs_go_on_from_a_finished_search_with_a_warning(
    tmp_path: Path, whole: Any, record: str
) -> None:
    pydarts.search(pair(), config(checkpoint_dir=tmp_path, record=record))
    listener = StopAt()
    with pytest.warns(UserWarning, match="epochs"):
        longer = resumed(tmp_path, callbacks=[listener], record=record, epochs=EPOCHS + 2)
    assert longer.status == "complete"
    assert listener.steps == 2 * STEPS
    shorter = whole(record=record)
    for name, trajectory in shorter.alphas.items():
        assert np.array_equal(longer.alphas[name][: len(trajectory)], trajectory)
    assert records(longer)[:EPOCHS] == records(shorter)
    assert [record.epoch for record in longer.history] == list(range(EPOCHS + 2))
    assert longer.config.epochs == EPOCHS + 2


def test_more_epochs_recompute_the_schedule(tmp_path: Path) -> None:
    stopped(tmp_path, epoch=1)
    with pytest.warns(UserWarning, match="epochs"):
        longer = resumed(tmp_path, epochs=6)
    rates = [record.learning_rate for record in longer.history]
    expected = [0.001 + 0.024 * (1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in range(2, 6)]
    assert rates[2:] == pytest.approx(expected, rel=1e-12)


def test_a_longer_search_can_be_resumed_again(tmp_path: Path) -> None:
    pydarts.search(pair(), config(checkpoint_dir=tmp_path, record="step"))
    shutil.copytree(tmp_path, tmp_path / "copy")
    with pytest.warns(UserWarning, match="epochs"):
        one = resumed(tmp_path / "copy", record="step", epochs=5)
    with pytest.warns(UserWarning, match="epochs"):
        stopped(tmp_path, step=14, record="step", epochs=5, resume=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(resumed(tmp_path, record="step", epochs=5), one)
