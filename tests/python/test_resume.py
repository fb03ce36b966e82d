"""Resuming: an interrupted search that goes on is the uninterrupted one, bit for bit."""

from __future__ import annotations

import json
import math
import shutil
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import safetensors.torch
import torch
from torch.utils.data import DataLoader, TensorDataset

STEPS = 4  # an epoch
EPOCHS = 3


def arrays(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8), np.arange(n) % 3


def pair() -> Any:
    """Four training batches an epoch, three validation batches a pass: passes and epochs do not keep step."""
    return arrays(32), arrays(27, seed=1)


def single() -> Any:
    return arrays(64)


def loader() -> DataLoader:
    X, y = arrays(64)
    return DataLoader(
        TensorDataset(torch.from_numpy(X).float() / 255, torch.from_numpy(y)), batch_size=8, shuffle=True
    )


def config(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {
        "channels": 2,
        "layers": 3,
        "nodes": 1,
        "operations": ("none", "skip_connect", "conv_3x3"),
        "epochs": EPOCHS,
        "batch_size": 8,
        "device": "cpu",
        "progress": False,
    }
    return pydarts.SearchConfig(**(fields | changes))


class Stop(Exception):
    """What the tests stop a search with."""


class StopAt(pydarts.Callback):
    """Raises after a step or an epoch, and counts what it hears."""

    def __init__(self, step: int | None = None, epoch: int | None = None) -> None:
        self.step, self.epoch, self.steps, self.epochs = step, epoch, 0, 0

    def on_step(self, info: pydarts.StepInfo) -> None:
        self.steps += 1
        if info.step == self.step:
            raise Stop(info.step)

    def on_epoch(self, info: pydarts.EpochInfo) -> None:
        self.epochs += 1
        if info.epoch == self.epoch:
            raise Stop(info.epoch)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole() -> Callable[..., pydarts.SearchResult]:
    """The uninterrupted search, run once for each configuration."""
    known: dict[Any, pydarts.SearchResult] = {}

    def run(source: Callable[[], Any] = pair, **changes: Any) -> pydarts.SearchResult:
        key = (source, json.dumps(changes, sort_keys=True))
        if key not in known:
            known[key] = pydarts.search(source(), config(**changes))
        return known[key]

    return run


def records(result: pydarts.SearchResult) -> list[dict[str, Any]]:
    """The history without the clock."""
    return [{k: v for k, v in record.items() if k != "seconds"} for record in result.history.to_dicts()]


def assert_same(one: pydarts.SearchResult, other: pydarts.SearchResult) -> None:
    assert one.status == other.status == "complete"
    assert one.steps == other.steps
    assert set(one.alphas) == set(other.alphas) == {"normal", "reduce"}
    for name, trajectory in one.alphas.items():
        assert trajectory.dtype == other.alphas[name].dtype
        assert np.array_equal(trajectory, other.alphas[name]), name
    assert set(one.state_dict) == set(other.state_dict)
    unequal = [name for name, t in one.state_dict.items() if not torch.equal(t, other.state_dict[name])]
    assert not unequal
    assert records(one) == records(other)
    assert one.genotype == other.genotype
    assert one.best == other.best


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def stopped(
    folder: Path,
    source: Callable[[], Any] = pair,
    step: int | None = None,
    epoch: int | None = None,
    **changes: Any,
) -> pydarts.SearchResult:
    """Run until a callback raises; what was reached."""
    with pytest.raises(Stop) as caught:
        pydarts.search(source(), config(checkpoint_dir=folder, **changes), [StopAt(step, epoch)])
    return caught.value.result


def resumed(
    folder: Path, source: Callable[[], Any] = pair, callbacks: Any = (), **changes: Any
) -> pydarts.SearchResult:
    return pydarts.search(source(), config(checkpoint_dir=folder, resume=True, **changes), callbacks)


# ------------------------------------------------------------------------------------------- bit for bit

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


def test_checkpointing_itself_changes_nothing(tmp_path: Path, whole: Any) -> None:
    result = pydarts.search(pair(), config(checkpoint_dir=tmp_path / "deep" / "folder", checkpoint_every=1))
    assert_same(result, whole())


def test_the_folder_may_be_moved(tmp_path: Path, whole: Any) -> None:
    stopped(tmp_path / "here", step=5)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert_same(resumed(tmp_path / "there"), whole())


# ------------------------------------------------------------------------- no checkpoint, finished, longer


@pytest.mark.parametrize("made", [True, False], ids=["an empty folder", "no folder"])
def test_without_a_checkpoint_it_starts_afresh(tmp_path: Path, whole: Any, made: bool) -> None:
    folder = tmp_path / "run"
    if made:
        folder.mkdir()
    listener = StopAt()
    assert_same(resumed(folder, callbacks=listener), whole())
    assert listener.steps == EPOCHS * STEPS


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path, whole: Any) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model.safetensors").write_bytes(b"mine too")
    assert_same(resumed(tmp_path, checkpoint_every=1), whole())
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "model.safetensors").read_bytes() == b"mine too"


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


# ------------------------------------------------------------------------------------------- the files


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


def test_a_folder_that_holds_checkpoints_is_not_overwritten(tmp_path: Path) -> None:
    stopped(tmp_path, step=5)
    before = {path: path.read_bytes() for path in checkpoints(tmp_path)}
    listener = StopAt()
    with pytest.raises(pydarts.CheckpointError, match="resume"):
        pydarts.search(pair(), config(checkpoint_dir=tmp_path), [listener])
    assert listener.steps == 0
    assert {path: path.read_bytes() for path in checkpoints(tmp_path)} == before


# ------------------------------------------------------------------------------------ what is not resumed

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
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(newest)
    for missing in tensors:
        rest = {name: tensor for name, tensor in tensors.items() if name != missing}
        safetensors.torch.save_file(rest, newest, metadata)
        assert_refused(folder, newest.name)


def test_a_checkpoint_with_a_tensor_of_another_shape_is_refused(folder: Path) -> None:
    newest = checkpoints(folder)[-1]
    with safetensors.safe_open(newest, "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(newest)
    for changed in tensors:
        other = tensors | {changed: torch.zeros([*tensors[changed].shape, 2], dtype=tensors[changed].dtype)}
        safetensors.torch.save_file(other, newest, metadata)
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
