"""The files of checkpoints: which are written and kept, and that a folder is nobody else's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pydarts
import pytest
import safetensors.torch
from resuming import StopAt, assert_same, checkpoints, config, pair, resumed, stopped

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_epoch_leaves_a_checkpoint_and_the_last_two_are_kept(tmp_path: Path) -> None:
    seen: list[int] = []

    class Count(pydarts.Callback):
        def on_epoch(self, info: pydarts.EpochInfo) -> None:
            seen.append(len(checkpoints(tmp_path)))

    pydarts.search(pair(), config(checkpoint_dir=tmp_path, epochs=5), Count())
    assert seen == [1, 2, 2, 2, 2]
    assert len(checkpoints(tmp_path)) == 2


def test_every_few_steps_leave_a_checkpoint_and_the_last_two_are_kept(tmp_path: Path) -> None:
    seen: list[int] = []

    class Count(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            seen.append(len(checkpoints(tmp_path)))

    pydarts.search(pair(), config(checkpoint_dir=tmp_path, checkpoint_every=2, epochs=2), Count())
    assert seen[:4] == [0, 1, 1, 2]
    assert max(seen) == 2
    assert len(checkpoints(tmp_path)) == 2


def test_checkpoints_are_safetensors_without_pickle(tmp_path: Path) -> None:
    pydarts.search(pair(), config(checkpoint_dir=tmp_path))
    for path in checkpoints(tmp_path):
        assert path.suffix == ".safetensors"
        assert safetensors.torch.load_file(path)


def test_checkpointing_itself_changes_nothing(tmp_path: Path, whole: Any) -> None:
    result = pydarts.search(pair(), config(checkpoint_dir=tmp_path / "deep" / "folder", checkpoint_every=1))
    assert_same(result, whole())


def test_the_folder_may_be_moved(tmp_path: Path, whole: Any) -> None:
    stopped(tmp_path / "here", step=5)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert_same(resumed(tmp_path / "there"), whole())


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path, whole: Any) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model.safetensors").write_bytes(b"mine too")
    assert_same(resumed(tmp_path, checkpoint_every=1), whole())
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "model.safetensors").read_bytes() == b"mine too"


def test_a_folder_that_holds_checkpoints_is_not_overwritten(tmp_path: Path) -> None:
    stopped(tmp_path, step=5)
    before = {path: path.read_bytes() for path in checkpoints(tmp_path)}
    listener = StopAt()
    with pytest.raises(pydarts.CheckpointError, match="resume"):
        pydarts.search(pair(), config(checkpoint_dir=tmp_path), [listener])
    assert listener.steps == 0
    assert {path: path.read_bytes() for path in checkpoints(tmp_path)} == before
