"""Files that come back as they were written, and folders that one run at a time writes to."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts._train import checkpoint
from pydarts._values import files

HOLD = """
import sys
from pydarts._values.files import held
with held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    """Another process, which keeps the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def run(call: str, folder: Path) -> Any:
    cfg = make_config(epochs=1, checkpoint_dir=folder, resume=True)
    select = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    net = {"channels": 2, "layers": 3}
    if call == "search":
        return pydarts.search(make_arrays(), cfg)
    if call == "search_many":
        return pydarts.search_many(make_arrays(), cfg, seeds=1, select=select, random=0, workers=0)
    select = select.replace(checkpoint_dir=folder, resume=True)
    cell = pydarts.random_genotypes(cfg.resolved_space)[0]
    if call == "compare":
        return pydarts.compare({"one": cell}, make_arrays(), select, network=net, workers=0)
    return pydarts.train(pydarts.build(cell, **net, num_classes=4, in_channels=1), make_arrays(), select)


@pytest.mark.parametrize("call", ["search", "train", "search_many", "compare"])
def test_a_folder_that_another_run_writes_to_is_refused_until_that_one_is_gone(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.1)
    other = holder(tmp_path)
    with pytest.raises(pydarts.CheckpointError, match="another folder"):
        run(call, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}, "nothing was written"
    os.kill(other.pid, signal.SIGKILL)  # whatever way it ends
    other.wait()
    assert run(call, tmp_path).status == "complete"
    assert run(call, tmp_path).status == "complete", "the lock was given back"


def test_a_folder_that_may_only_be_read_needs_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with files.held(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_the_next_write_removes_what_killed_writes_left(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = [f".a.txt.{os.getppid()}.part", f".b.txt.{dead.pid}.part", ".a.txt.old.part", "a.txt.part"]
    for name in (*kept, f".a.txt.{dead.pid}.part"):
        (tmp_path / name).write_text("left")
    files.write_atomically(tmp_path / "a.txt", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.txt", *kept])
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_checkpoint_removes_what_killed_writes_left(tmp_path: Path) -> None:
    for process in (os.getpid(), os.getppid(), 99_999_999):  # the lock says that none of these writes here
        (tmp_path / f".training-000001.safetensors.{process}.part").write_text("left")
    checkpoint.write(tmp_path, 2, {}, {"weight": torch.zeros(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["training-000002.safetensors"]


def test_arrays_tensors_and_plain_data_come_back_as_they_were_written(tmp_path: Path) -> None:
    arrays = {"steps": np.arange(3), "normal": np.ones((3, 2), np.float32)}
    (tmp_path / "arrays.npz").write_bytes(files.npz_of(arrays))
    back = files.read_npz(tmp_path / "arrays.npz")
    assert list(back) == list(arrays) and back["normal"].dtype == np.float32
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)
    tensors = {"weight": torch.arange(6.0).reshape(2, 3).T}  # not contiguous, as safetensors would have it
    files.write_tensors(tmp_path / "tensors.safetensors", tensors, {"format": "mine", "units": 3})
    found, about = files.read_tensors(tmp_path / "tensors.safetensors", "mine", "older")
    assert torch.equal(found["weight"], tensors["weight"]) and about["units"] == 3
    with pytest.raises(pydarts.CheckpointError, match="other"):
        files.read_tensors(tmp_path / "tensors.safetensors", "other", "older")
    files.write_about(tmp_path / "about.json", 2, {"status": "complete"})
    text = (tmp_path / "about.json").read_bytes()
    assert files.about_in(text, 2) == {"format": 2, "pydarts": pydarts.__version__, "status": "complete"}
    assert {path.suffix for path in tmp_path.iterdir()} == {".npz", ".safetensors", ".json"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 3, "pydarts": "9.9"}', "written by pydarts 9.9 in format 3, newer than this one"),
        ('{"format": "1"}', "not a result"),
        ("[1]", "not a result"),
    ],
)
def test_plain_data_of_a_later_pydarts_or_of_something_else_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        files.about_in(text.encode(), 2)
