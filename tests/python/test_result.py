"""SearchResult: history, saving, loading, and folders that are no result."""

import json
import math
import os
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from best import best_epoch
from conftest import make_arrays, make_config, without_checksums
from pydarts import EpochRecord, History, SearchResult
from pydarts._results.history import record_from

FILES = ["alphas.npz", "config.json", "genotype.json", "history.json", "result.json", "weights.safetensors"]


@pytest.fixture
def saved(tiny_result: SearchResult, tmp_path: Path) -> Path:
    folder = tmp_path / "a" / "run"
    tiny_result.save(folder)
    return folder


def record(epoch: int, accuracy: float) -> EpochRecord:
    return EpochRecord(epoch, 1.5, 1.25, 0.5, accuracy, 0.025, {"normal": 2.0, "reduce": 1.0}, 3, 0.1)


def test_a_saved_result_comes_back_whole(tiny_result: SearchResult, saved: Path) -> None:
    back = SearchResult.load(saved)
    assert (back.genotype, back.config, back.status) == (tiny_result.genotype, tiny_result.config, "complete")
    assert (back.history, back.steps, back.best) == (tiny_result.history, tiny_result.steps, tiny_result.best)
    assert back.threads == tiny_result.threads
    assert back.environment == tiny_result.environment
    for name, alpha in tiny_result.alphas.items():
        assert np.array_equal(back.alphas[name], alpha) and back.alphas[name].dtype == alpha.dtype
    assert (
        list(back.state_dict) == sorted(tiny_result.state_dict)
        or back.state_dict.keys() == tiny_result.state_dict.keys()
    )
    assert all(torch.equal(back.state_dict[name], value) for name, value in tiny_result.state_dict.items())


def test_a_result_says_where_it_ran_and_one_without_that_is_read_too(
    tiny_result: SearchResult, saved: Path
) -> None:
    where = tiny_result.environment
    assert (where["device"], where["precision"], where["torch"]) == ("cpu", "float32", torch.__version__)
    assert where["processor"] and all(where.values())
    about = json.loads((without_checksums(saved) / "result.json").read_text())
    del about["environment"]
    (saved / "result.json").write_text(json.dumps(about))
    assert SearchResult.load(saved).environment == {}
    (saved / "result.json").write_text(json.dumps(about | {"environment": {"device": 3}}))
    with pytest.raises(pydarts.CheckpointError, match="environment"):
        SearchResult.load(saved)


def test_the_precision_that_ran_is_named_and_not_the_one_asked_for() -> None:
    for asked, ran in (("auto", "float32"), ("float64", "float64"), ("bfloat16", "bfloat16")):
        config = make_config(precision=asked, epochs=1)
        assert pydarts.search(make_arrays(16), config).environment["precision"] == ran


def test_the_folder_holds_json_npz_and_safetensors_and_nothing_else(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == FILES
    assert json.loads((saved / "genotype.json").read_text())["normal"]
    assert json.loads((saved / "config.json").read_text())["num_classes"] == 4
    assert json.loads((saved / "result.json").read_text())["pydarts"] == pydarts.__version__
    with np.load(saved / "alphas.npz", allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["epochs", "normal", "reduce", "steps"]


def test_saving_again_replaces_the_old_result(tiny_result: SearchResult, saved: Path) -> None:
    (saved / "genotype.json").write_text("old")
    tiny_result.save(str(saved))
    assert SearchResult.load(str(saved)).genotype == tiny_result.genotype
    assert sorted(path.name for path in saved.iterdir()) == FILES


def fail_at(name: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail as a full disk does when this file is written, or as a killed process when it is renamed."""
    write, replace = Path.write_bytes, os.replace

    def full(path: Path, data: Any) -> int:
        if what == "write" and path.name.startswith(f".{name}"):
            raise OSError("no space left on device")
        return write(path, data)

    def killed(source: Any, target: Path) -> None:
        if what == "rename" and target.name == name:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(os, "replace", killed)


@pytest.mark.parametrize("name", FILES)
def test_a_failed_save_leaves_the_old_result(
    name: str, tiny_result: SearchResult, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = pydarts.search(make_arrays(seed=1), make_config(seed=3))
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    fail_at(name, "write", monkeypatch)
    with pytest.raises(OSError, match="no space"):
        other.save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert SearchResult.load(saved).history == tiny_result.history


@pytest.mark.parametrize("name", FILES)
def test_a_save_that_is_cut_short_leaves_no_mixture_of_two_results(
    name: str, tiny_result: SearchResult, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(name, "rename", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        tiny_result.save(saved)
    with pytest.raises(FileNotFoundError, match=r"result\.json"):
        SearchResult.load(saved)


@pytest.mark.parametrize("name", ["network.safetensors", "training.json"])
def test_a_failed_save_leaves_the_old_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = pydarts.build(pydarts.genotypes.DARTS_V2, channels=2, layers=3, num_classes=4, in_channels=1)
    config = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False, device="cpu")
    result = pydarts.train(network, make_arrays(), config)
    result.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == ["network.safetensors", "training.json"]
    fail_at(name, "write", monkeypatch)
    with pytest.raises(OSError, match="no space"):
        pydarts.train(network, make_arrays(seed=1), config).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_not_there_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SearchResult.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"result\.json"):
        SearchResult.load(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_a_file_not_found_error_that_names_it(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        SearchResult.load(saved)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["empty", "half", "noise"])
def test_a_damaged_file_is_a_checkpoint_error_that_names_it(saved: Path, name: str, damage: str) -> None:
    path = saved / name
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "noise": b"\x80\x04\xff" * 40}[damage])
    with pytest.raises(pydarts.CheckpointError, match=name):
        SearchResult.load(saved)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("result.json", '{"format": 99, "pydarts": "9.9", "status": "complete"}', "newer"),
        ("result.json", '{"format": 1, "status": "fine"}', "status"),
        ("result.json", "[]", r"result\.json"),
        ("history.json", '[{"epoch": 1}]', "fields"),
        ("history.json", '[{"epoch": 1, "train_loss": "low"}]', "fields"),
        ("config.json", '{"epochs": -1}', "epochs"),
        ("config.json", '{"nodes": 3}', "config|normal|alphas|genotype"),
        ("genotype.json", pydarts.genotypes.DARTS_V2.to_json(), "genotype"),
    ],
)
def test_contents_that_make_no_sense_are_checkpoint_errors(
    saved: Path, name: str, text: str, message: str
) -> None:
    (without_checksums(saved) / name).write_text(text)
    with pytest.raises(pydarts.CheckpointError, match=message):
        SearchResult.load(saved)


def test_trajectories_of_another_space_are_refused(saved: Path) -> None:
    without_checksums(saved)
    np.savez(
        saved / "alphas.npz", steps=np.arange(2), normal=np.zeros((2, 14, 8)), reduce=np.zeros((2, 14, 8))
    )
    with pytest.raises(pydarts.CheckpointError, match="shape"):
        SearchResult.load(saved)
    np.savez(saved / "alphas.npz", steps=np.arange(2), recurrent=np.zeros((2, 36, 5)))
    with pytest.raises(pydarts.CheckpointError, match="recurrent"):
        SearchResult.load(saved)


def test_pickled_arrays_are_never_loaded(saved: Path) -> None:
    np.savez(saved / "alphas.npz", steps=np.array([print], dtype=object))
    with pytest.raises(pydarts.CheckpointError, match="alphas"):
        SearchResult.load(saved)


def test_a_result_cannot_be_changed(tiny_result: SearchResult) -> None:
    with pytest.raises(FrozenInstanceError):
        tiny_result.status = "failed"  # type: ignore[misc]


def test_best_is_the_first_epoch_of_the_highest_validation_accuracy(tiny_result: SearchResult) -> None:
    import dataclasses

    def best(*accuracies: float) -> int | None:
        history = History([record(epoch, accuracy) for epoch, accuracy in enumerate(accuracies)])
        return best_epoch(dataclasses.replace(tiny_result, history=history))

    assert best(0.1, 0.7, 0.7, 0.2) == 1
    assert best() is None


# ---- history


def test_a_history_is_a_sequence_of_records() -> None:
    history = History([record(0, 0.1), record(1, 0.2), record(2, 0.3)])
    assert len(history) == 3 and history[-1].epoch == 2
    assert [entry.epoch for entry in history[1:]] == [1, 2] and isinstance(history[1:], History)
    assert history == History(list(history)) and history != history[1:]
    assert record(0, 0.1) in history
    assert "3 epochs" in repr(history) and "no epoch" in repr(History([]))


def test_a_history_becomes_a_pandas_table() -> None:
    table = History([record(0, 0.1), record(1, 0.2)]).to_pandas()
    assert list(table.columns) == [
        "epoch", "train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "learning_rate",
        "skip_connections", "seconds", "entropy_normal", "entropy_reduce",
    ]  # fmt: skip
    assert table["valid_accuracy"].tolist() == [0.1, 0.2]


def test_without_pandas_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        History([]).to_pandas()


def test_records_survive_plain_data_and_a_lost_number_is_nan() -> None:
    (plain,) = History([record(0, 0.1)]).to_dicts()
    assert record_from(json.loads(json.dumps(plain)), EpochRecord) == record(0, 0.1)
    assert math.isnan(record_from(plain | {"valid_loss": None}, EpochRecord).valid_loss)


@pytest.mark.parametrize("change", [{"epoch": "one"}, {"entropy": {"normal": "x"}}, {"more": 1}])
def test_records_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    (plain,) = History([record(0, 0.1)]).to_dicts()
    with pytest.raises(ValueError):
        record_from(plain | change, EpochRecord)
