"""What is not resumed: a search that was changed, and files that are no checkpoints."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import safetensors.torch
import torch
from pydarts._values.files import tensors_of
from resuming import EPOCHS, StopAt, arrays, assert_same, checkpoints, config, pair, resumed, single, stopped

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- what was changed

CHANGES: dict[str, Any] = {
    "channels": 3,
    "layers": 4,
    "nodes": 2,
    "operations": ("none", "conv_3x3", "skip_connect"),
    "hypergradient": "unrolled",
    "epsilon": 0.02,
    "weight_lr": 0.05,
    "weight_lr_min": 0.002,
    "weight_momentum": 0.8,
    "weight_decay": 1e-4,
    "grad_clip": 1.0,
    "arch_lr": 1e-3,
    "arch_betas": (0.9, 0.999),
    "arch_weight_decay": 1e-2,
    "arch_start_epoch": 1,
    "augment": "cifar",
    "cutout": 2,
    "batch_size": 9,
    "seed": 1,
    "precision": "float64",
    "record": "step",
    "num_classes": 4,
}


@pytest.fixture(scope="module")
def halfway(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a search that was stopped; tests copy it."""
    folder = tmp_path_factory.mktemp("halfway")
    stopped(folder, step=5)
    return folder


@pytest.fixture
def folder(halfway: Path, tmp_path: Path) -> Path:
    shutil.copytree(halfway, tmp_path / "run")
    return tmp_path / "run"


def assert_refused(folder: Path, match: str, source: Callable[[], Any] = pair, **changes: Any) -> None:
    """A CheckpointError before any step, and the files as they were."""
    before = {path: path.read_bytes() for path in checkpoints(folder)}
    listener = StopAt()
    with pytest.raises(pydarts.CheckpointError, match=match):
        resumed(folder, source, [listener], **changes)
    assert listener.steps == 0
    assert {path: path.read_bytes() for path in checkpoints(folder)} == before


@pytest.mark.parametrize("field", list(CHANGES))
def test_a_changed_field_is_refused_by_its_name(folder: Path, field: str) -> None:
    assert_refused(folder, rf"\b{field}\b", **{field: CHANGES[field]})


def test_every_changed_field_is_named(folder: Path) -> None:
    assert_refused(folder, r"(?s)(?=.*\bseed\b)(?=.*\barch_lr\b)", seed=1, arch_lr=0.1)


@pytest.mark.parametrize("field", ["mean", "std"])
def test_changed_statistics_of_the_images_are_refused_by_name(folder: Path, field: str) -> None:
    assert_refused(folder, rf"\b{field}\b", mean=(0.1,), std=(0.7,))


def test_a_changed_split_is_refused_by_its_name(tmp_path: Path) -> None:
    stopped(tmp_path, single, step=5)
    assert_refused(tmp_path, r"\btrain_portion\b", single, train_portion=0.6)


def test_images_of_another_size_are_refused_by_name(folder: Path) -> None:
    X, y = arrays(32)
    assert_refused(folder, r"\bimage_size\b", lambda: ((X[..., :7], y), (X[..., :7], y)))


def test_images_of_other_channels_are_refused_by_name(folder: Path) -> None:
    X, y = arrays(32)
    X = X.repeat(2, axis=1)
    assert_refused(folder, r"\bin_channels\b", lambda: ((X, y), (X, y)))


def test_another_space_is_refused_by_name(folder: Path) -> None:
    space = pydarts.Space(operations=("none", "skip_connect", "conv_3x3"), nodes=1, reductions=(0,))
    before = {path: path.read_bytes() for path in checkpoints(folder)}
    changed = config(checkpoint_dir=folder, resume=True).replace(space=space)
    with pytest.raises(pydarts.CheckpointError, match=r"\bspace\b"):
        pydarts.search(pair(), changed)
    assert {path: path.read_bytes() for path in checkpoints(folder)} == before


def test_fewer_epochs_are_refused_by_name(folder: Path) -> None:
    assert_refused(folder, r"\bepochs\b", epochs=EPOCHS - 1)


def test_fewer_epochs_are_refused_after_the_end_too(tmp_path: Path) -> None:
    pydarts.search(pair(), config(checkpoint_dir=tmp_path))
    assert_refused(tmp_path, r"\bepochs\b", epochs=EPOCHS - 1)


# ---- files that are no checkpoints


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(folder: Path, part: float) -> None:
    newest = checkpoints(folder)[-1]
    data = newest.read_bytes()
    newest.write_bytes(data[: int(part * len(data))])
    assert_refused(folder, newest.name)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 100])
def test_a_checkpoint_cut_in_its_header_is_refused(folder: Path, length: int) -> None:
    newest = checkpoints(folder)[-1]
    newest.write_bytes(newest.read_bytes()[:length])
    assert_refused(folder, newest.name)


def test_a_truncated_checkpoint_can_be_removed_to_go_on_from_the_one_before(
    tmp_path: Path, whole: Any
) -> None:
    stopped(tmp_path, step=6, checkpoint_every=1)
    newest = checkpoints(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert_refused(tmp_path, newest.name, checkpoint_every=1)
    newest.unlink()
    assert_same(resumed(tmp_path, checkpoint_every=1), whole())


GARBAGE = {
    "random bytes": np.random.default_rng(0).bytes(5000),
    "zeros": bytes(5000),
    "a huge header": b"\xff" * 5000,
    "a header that claims 2^62 bytes": struct.pack("<Q", 1 << 62) + b"{" * 5000,
    "text": b"this is no checkpoint\n" * 100,
    "a header of something else": struct.pack("<Q", 4) + b"null" + bytes(100),
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.",
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in GARBAGE.items()])
def test_garbage_is_refused(folder: Path, data: bytes) -> None:
    newest = checkpoints(folder)[-1]
    newest.write_bytes(data)
    assert_refused(folder, newest.name)


@pytest.mark.parametrize(
    "metadata",
    [None, {"format": "pt"}, {"pydarts": "{}"}, {"pydarts": "null"}, {"pydarts": "no JSON"}],
    ids=str,
)
def test_another_safetensors_file_is_refused(folder: Path, metadata: dict[str, str] | None) -> None:
    newest = checkpoints(folder)[-1]
    safetensors.torch.save_file({"weight": torch.zeros(3)}, newest, metadata)
    assert_refused(folder, newest.name)


def test_a_checkpoint_without_its_tensors_is_refused(folder: Path) -> None:
    newest = checkpoints(folder)[-1]
    with safetensors.safe_open(newest, "pt") as file:
        about = json.loads(file.metadata()["pydarts"])
    tensors = safetensors.torch.load(newest.read_bytes())
    for missing in set(tensors) - {"trajectory_epochs"}:  # files of earlier versions lack it
        rest = {name: tensor for name, tensor in tensors.items() if name != missing}
        newest.write_bytes(tensors_of(rest, about))
        assert_refused(folder, newest.name)


def test_a_checkpoint_with_a_tensor_of_another_shape_is_refused(folder: Path) -> None:
    newest = checkpoints(folder)[-1]
    with safetensors.safe_open(newest, "pt") as file:
        about = json.loads(file.metadata()["pydarts"])
    tensors = safetensors.torch.load(newest.read_bytes())
    for changed in tensors:
        other = tensors | {changed: torch.zeros([*tensors[changed].shape, 2], dtype=tensors[changed].dtype)}
        newest.write_bytes(tensors_of(other, about))
        assert_refused(folder, newest.name)


def test_the_weights_of_a_result_are_no_checkpoint(folder: Path, tmp_path: Path, whole: Any) -> None:
    whole().save(tmp_path / "result")
    newest = checkpoints(folder)[-1]
    shutil.copy(tmp_path / "result" / "weights.safetensors", newest)
    assert_refused(folder, newest.name)


def test_a_folder_in_the_place_of_a_checkpoint_is_an_error_that_names_it(folder: Path) -> None:
    newest = checkpoints(folder)[-1]
    newest.unlink()
    newest.mkdir()
    with pytest.raises((pydarts.CheckpointError, OSError), match=newest.name):
        resumed(folder)
