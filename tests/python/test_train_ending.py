"""Training of networks of images: how it ends, and how it goes on."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from best import best_epoch
from conftest import make_arrays, without_checksums
from trained import (
    ImageTask,
    Steps,
    StopAt,
    batches,
    config,
    holds,
    judged,
    network,
    noisy,
    press,
    same,
    sources,
    task,
)


def fail() -> None:
    raise RuntimeError("mine")


@pytest.mark.parametrize("form", ["arrays", "transforms", "workers", "sampler", "sampler and workers"])
def test_resumed_after_ctrl_c_it_is_bit_for_bit_the_same(form: str, tmp_path: Path) -> None:
    data = sources()["arrays"][0] if form == "arrays" else noisy(form)
    changes: dict[str, Any] = {"epochs": 4, "ema": 0.8, "warmup": 1, "keep": "best"}
    if form == "arrays":
        changes |= {"augment": "cifar", "cutout": 3}
    whole = pydarts.train(network(drop_path=0.3), data, config(**changes))
    kept = {"checkpoint_dir": tmp_path, "resume": True}
    stop = StopAt(2, 1, press)
    part = pydarts.train(network(drop_path=0.3), data, config(**changes, **kept), stop)
    assert part.status == "interrupted" == stop.ended and len(part.history) == 2
    again = pydarts.train(network(9, drop_path=0.3), data, config(**changes, **kept))
    assert same(again.network, whole.network)
    timeless = [[{**row, "seconds": 0} for row in run.history.to_dicts()] for run in (again, whole)]
    assert timeless[0] == timeless[1] and len(timeless[0]) == 4


def test_another_number_of_epochs_is_another_schedule_and_a_warning_says_so(tmp_path: Path) -> None:
    kept = {"checkpoint_dir": tmp_path}
    pydarts.train(network(), make_arrays(), config(epochs=1, **kept))
    with pytest.warns(UserWarning, match="epochs.*1.*2"):
        more = pydarts.train(network(), make_arrays(), config(epochs=2, resume=True, **kept))
    assert len(more.history) == 2 and more.history[1].learning_rate == pytest.approx(0.025)


def test_a_folder_with_checkpoints_is_not_begun_anew(tmp_path: Path) -> None:
    pydarts.train(network(), make_arrays(), config(epochs=1, checkpoint_dir=tmp_path))
    with pytest.raises(pydarts.CheckpointError, match="resume=True"):
        pydarts.train(network(), make_arrays(), config(epochs=1, checkpoint_dir=tmp_path))
    with pytest.raises(pydarts.CheckpointError, match=r"label_smoothing.*0.0.*0.1"):
        changed = config(epochs=1, checkpoint_dir=tmp_path, resume=True, label_smoothing=0.1)
        pydarts.train(network(), make_arrays(), changed)


def test_how_it_is_run_may_change_when_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda net, **how: net)
    whole = pydarts.train(network(), make_arrays(), config())
    with pytest.raises(RuntimeError, match="mine"):
        pydarts.train(network(), make_arrays(), config(checkpoint_dir=tmp_path), StopAt(1, 0, fail))
    other = {"eval_batch_size": 3, "compile": True}
    again = pydarts.train(network(7), make_arrays(), config(checkpoint_dir=tmp_path, resume=True, **other))
    assert same(again.network, whole.network) and again.config.eval_batch_size == 3


def test_what_stops_a_training_carries_what_was_reached() -> None:
    stop = StopAt(1, 0, fail)
    net = network(drop_path=0.3)
    with pytest.raises(RuntimeError, match="mine") as caught:
        pydarts.train(net, make_arrays(), config(), stop)
    result: pydarts.TrainResult = caught.value.result  # type: ignore[attr-defined]
    assert result.status == "failed" == stop.ended and len(result.history) == 1
    assert net.drop_path == 0.3 and not net.training
    with pytest.raises(pydarts.NumericalError, match=r"step \d+.*epoch 1.*weight_lr"):
        pydarts.train(network(), make_arrays(), config(weight_lr=1e30, grad_clip=1e30))


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_a_loss_that_is_not_finite_ends_a_training_at_once_with_the_weights_before(ema: float) -> None:
    steps, net = Steps(), network()
    with pytest.raises(pydarts.NumericalError, match=r"step 2.*epoch 1.*weight_lr") as caught:
        pydarts.train(net, make_arrays(), config(weight_lr=1e30, grad_clip=1e30, ema=ema), steps)
    assert len(steps.counts) == 1, "the first step broke the weights, the second found that out"
    result: pydarts.TrainResult = caught.value.result  # type: ignore[attr-defined]
    assert result.network is net and result.status == "failed" and not result.history
    assert same(net, network())
    for note in getattr(caught.value, "__notes__", []):
        assert "epoch" in note


class BreakAt(StopAt):
    """Makes the weights NaN after a step, as one too long does; keeps those of the epoch before."""

    def __init__(self, epoch: int, step: int, net: torch.nn.Module, act: Any = lambda: None) -> None:
        super().__init__(epoch, step, self.breaks)
        self.net, self.then, self.before = net, act, copy.deepcopy(net)

    @torch.no_grad()
    def breaks(self) -> None:
        self.net.classifier.weight.fill_(math.nan)
        self.then()

    def on_epoch(self, record: pydarts.TrainRecord) -> None:
        self.before = copy.deepcopy(self.net)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_the_last_step_of_an_epoch_may_break_the_weights_and_the_evaluation_finds_out(
    epoch: int, tmp_path: Path
) -> None:
    net = network()
    breaks = BreakAt(epoch, 4, net)
    with pytest.raises(pydarts.NumericalError, match=rf"validation loss.*nan.*epoch {epoch + 1}") as caught:
        pydarts.train(net, make_arrays(), config(checkpoint_dir=tmp_path), breaks)
    assert len(caught.value.result.history) == epoch  # type: ignore[attr-defined]
    assert same(net, breaks.before) and breaks.ended == "failed"
    assert len(list(tmp_path.glob("*.safetensors"))) == min(epoch, 2), "what broke is not written down"
    again = pydarts.train(network(7), make_arrays(), config(checkpoint_dir=tmp_path, resume=True))
    assert same(again.network, pydarts.train(network(7 if not epoch else 0), make_arrays(), config()).network)


@pytest.mark.parametrize("act", [press, fail])
def test_broken_weights_are_not_brought_home_whatever_ends_the_training(act: Any) -> None:
    net = network()
    breaks = BreakAt(1, 2, net, act)
    with contextlib.suppress(RuntimeError):
        pydarts.train(net, make_arrays(), config(), breaks)
    assert breaks.ended in ("interrupted", "failed") and same(net, breaks.before)


def test_an_exception_of_the_loader_comes_out_as_it_is() -> None:
    class Breaks:
        passes = 0

        def __iter__(self) -> Iterator[Any]:
            self.passes += 1
            yield from batches()
            if self.passes == 4:  # the first looks for sizes
                raise KeyError("gone")

    with pytest.raises(KeyError, match="gone") as caught:
        pydarts.train(network(), (Breaks(), batches()), config(epochs=9))
    assert len(caught.value.result.history) == 2  # type: ignore[attr-defined]


def test_ctrl_c_ends_the_wait_for_a_loader() -> None:
    ended, expired = threading.Event(), threading.Event()

    class Stuck:
        passes = 0

        def __iter__(self) -> Iterator[Any]:
            self.passes += 1
            yield from batches()
            if self.passes == 3:
                time.sleep(1)  # by then the steps are done, and the next batch is waited for
                press()
                if not ended.wait(60):
                    expired.set()

    result = pydarts.train(network(), (Stuck(), batches()), config(epochs=9))
    ended.set()
    assert not expired.is_set(), "the training waited for its loader"
    assert result.status == "interrupted" and len(result.history) == 1


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 3)])
def test_the_epoch_with_the_highest_accuracy_or_the_last_one_is_kept(
    keep: Any, epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies, losses = [0.25, 0.75, 0.75, 0.5], [0.8, 0.9, 0.6, 0.1]
    evaluated = judged(monkeypatch, ImageTask, accuracies, losses)
    result = pydarts.train(network(), make_arrays(n=40), config(epochs=4, keep=keep))
    assert [record.valid_accuracy for record in result.history] == accuracies
    assert [record.valid_loss for record in result.history] == losses
    assert best_epoch(result) == 1, "the first of equal accuracies, whatever the losses"
    assert [holds(result.network, weights) for weights in evaluated] == [at == epoch for at in range(4)]


def test_the_weights_of_a_result_are_those_that_its_history_evaluated() -> None:
    data = (make_arrays(n=40), make_arrays(n=40))
    result = pydarts.train(network(), data, config(keep="last"))
    found = task(result.network, data).evaluate()
    last = result.history[-1]
    assert (found.loss, found.accuracy) == (last.valid_loss, last.valid_accuracy)


def test_a_result_comes_back_from_its_folder(tmp_path: Path) -> None:
    found = pydarts.train(network(num_classes=6), make_arrays(n=60, classes=6), config(epochs=2))
    found.save(tmp_path)
    again = pydarts.TrainResult.load(tmp_path)
    assert again.history == found.history and again.config == found.config and again.best == found.best
    assert same(again.network, found.network) and again.config.mean == found.config.mean
    assert found.config.mean is not None
    path = tmp_path / "training.json"
    about = json.loads(path.read_text())
    for row in about["history"]:  # as before there were these
        del row["train_top5"], row["valid_top5"]
    path.write_text(json.dumps(about))
    without_checksums(tmp_path)
    assert pydarts.TrainResult.load(tmp_path).history[0].valid_top5 is None
