"""Damaged files are never read as other content: the checksums of results, networks and checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import safetensors.torch
import torch
from conftest import make_arrays, without_checksums
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import CheckpointError, SearchResult, TrainConfig, TrainResult
from pydarts._train import checkpoint
from pydarts._values.files import could_be_path, user_path
from resuming import checkpoints, config, pair, resumed

RESULT = ("config.json", "genotype.json", "history.json", "alphas.npz", "weights.safetensors", "result.json")
TRAINING = ("network.safetensors", "training.json")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search in `search`, a training in `training` and its checkpoints in `checkpoints`."""
    folder = tmp_path_factory.mktemp("saved")
    found = pydarts.search(pair(), config(checkpoint_dir=folder / "searching"))
    found.save(folder / "search")
    net = pydarts.build(found.genotype, channels=2, layers=3, num_classes=4, in_channels=1)
    training = TrainConfig(
        epochs=1, batch_size=8, checkpoint_dir=folder / "checkpoints", progress=False, device="cpu"
    )
    pydarts.train(net, make_arrays(), training).save(folder / "training")
    return folder


def content(value: Any) -> Any:
    """A value as plain data, in which equal content is equal."""
    if isinstance(value, (SearchResult, TrainResult)):
        return {name: content(item) for name, item in vars(value).items()}
    if isinstance(value, torch.nn.Module):
        return content(value.state_dict()), str(value.genotype), content(value.arguments)
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return str(value.dtype), list(value.shape), np.asarray(value).tobytes()
    if isinstance(value, dict):
        return {name: content(item) for name, item in value.items()}
    return [content(item) for item in value] if isinstance(value, (list, tuple)) else repr(value)


FILES: dict[str, Callable[[Path], Any]] = {
    **{f"search/{name}": lambda folder: SearchResult.load(folder / "search") for name in RESULT},
    **{f"training/{name}": lambda folder: TrainResult.load(folder / "training") for name in TRAINING},
    "checkpoints/training-000001.safetensors": lambda folder: checkpoint.newest(folder / "checkpoints"),
}


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Some bytes become others; or a part is removed, repeated or zero."""
    kind = draw(st.sampled_from(["bytes", "bytes", "cut", "repeat", "zero"]))
    places = draw(
        st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4)
    )

    def damaged(data: bytes) -> bytes:
        changed = bytearray(data)
        for place, mask in places:
            at = int(place * len(data))
            if kind == "bytes":
                changed[at] ^= mask
            elif kind == "cut":
                del changed[at : at + mask]
            elif kind == "repeat":
                changed[at:at] = changed[at : at + mask]
            else:
                changed[at : at + mask] = bytes(len(changed[at : at + mask]))
        return bytes(changed)

    return damaged


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused_or_has_the_same_content(saved: Path, tmp_path: Path, name: str) -> None:
    read, path = FILES[name], tmp_path / name
    shutil.copytree((saved / name).parent, path.parent)
    whole, expected = path.read_bytes(), content(read(saved))

    @settings(max_examples=60, deadline=None)
    @given(damages())
    def check(damage: Callable[[bytes], bytes]) -> None:
        path.write_bytes(damage(whole))
        try:
            found = read(tmp_path)
        except CheckpointError as error:
            assert path.name in str(error)
        else:
            assert content(found) == expected

    check()


@pytest.mark.parametrize("name", FILES)
def test_a_change_of_a_single_number_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    """Every tenth byte or so of the last half, where tensors and numbers are."""
    read, path = FILES[name], tmp_path / name
    shutil.copytree((saved / name).parent, path.parent)
    whole = path.read_bytes()
    for at in range(len(whole) // 2, len(whole), max(1, len(whole) // 40)):
        if chr(whole[at]).isspace() and path.suffix == ".json":
            continue
        changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        if path.suffix == ".json" and equal_json(changed, whole):  # the 17th digit of a double
            continue
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=path.name):
            read(tmp_path)


def equal_json(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def test_files_of_two_results_do_not_mix(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "search", tmp_path / "search")
    weights = tmp_path / "search" / "weights.safetensors"
    other = {name: tensor + 1 for name, tensor in safetensors.torch.load(weights.read_bytes()).items()}
    safetensors.torch.save_file(other, weights)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        SearchResult.load(tmp_path / "search")


def test_json_may_be_formatted_again(saved: Path, tmp_path: Path) -> None:
    for folder, read in (("search", SearchResult.load), ("training", TrainResult.load)):
        shutil.copytree(saved / folder, tmp_path / folder)
        for path in (tmp_path / folder).glob("*.json"):
            text = json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=4).replace("\n", "\r\n")
            path.write_text("\ufeff" + text, encoding="utf-8")
        assert content(read(tmp_path / folder)) == content(read(saved / folder))


def test_files_without_checksums_are_read(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "old")
    without_checksums(tmp_path / "old")
    for path in (tmp_path / "old").rglob("*.safetensors"):
        with safetensors.safe_open(path, "pt") as file:
            metadata = {name: text for name, text in (file.metadata() or {}).items() if name != "crc32"}
        for now, before in (("network-2", "network-1"), ("training-2", "training-1"), ("point-3", "point-2")):
            metadata = {name: text.replace(now, before) for name, text in metadata.items()}
        safetensors.torch.save_file(safetensors.torch.load(path.read_bytes()), path, metadata)
    for read in FILES.values():
        assert content(read(tmp_path / "old")) == content(read(saved))
    assert resumed(tmp_path / "old" / "searching").status == "complete"


@pytest.mark.parametrize("field", ["format", "checksum"])
def test_a_new_file_needs_its_checksum(saved: Path, tmp_path: Path, field: str) -> None:
    """One changed character of the format or of the name of the checksum does not switch the check off."""
    shutil.copytree(saved, tmp_path / "new")
    old, new = (b"network-2", b"network-1") if field == "format" else (b'"crc32"', b'"crc33"')
    path = tmp_path / "new" / "training" / "network.safetensors"
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(CheckpointError, match=path.name):
        TrainResult.load(path.parent)


@pytest.mark.usefixtures("one_thread")
def test_a_damaged_checkpoint_of_a_search_is_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "searching", tmp_path / "searching")
    path = checkpoints(tmp_path / "searching")[-1]
    whole = path.read_bytes()
    for at in range(0, len(whole), len(whole) // 50):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match=path.name):
            resumed(tmp_path / "searching")


def test_an_array_that_declares_more_than_it_holds_is_refused(saved: Path, tmp_path: Path) -> None:
    without_checksums(Path(shutil.copytree(saved / "search", tmp_path / "search")))
    path = tmp_path / "search" / "alphas.npz"
    with np.load(path) as arrays:
        held = dict(arrays)
    for name in ("steps", "normal"):
        import io
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            for table, values in held.items():
                data = io.BytesIO()
                np.save(data, values)
                content = data.getvalue()
                if table == name:
                    header = np.lib.format.header_data_from_array_1_0(values)
                    header["shape"] = (10**9, *values.shape[1:])
                    data = io.BytesIO()
                    np.lib.format.write_array_header_1_0(data, header)
                    content = data.getvalue() + values.tobytes()
                archive.writestr(f"{table}.npy", content)
        with pytest.raises(CheckpointError, match=name):
            SearchResult.load(tmp_path / "search")
    with pytest.raises(pydarts.DataError, match="normal"):
        pydarts.datasets.npz(path)


@given(st.text())
def test_a_possible_path_is_accepted_by_the_system(text: str) -> None:
    if could_be_path(text) and text:
        user_path(text).exists()
