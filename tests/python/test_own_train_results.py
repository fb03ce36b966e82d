"""Training of own modules: resuming, results and callbacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from own_modules import Tied, Words, seeded
from own_trainings import Largest, config, cross_entropy_of, mean_error, mse, net, numbers, parts, regression
from torch import nn
from torch.nn import functional as F
from trained import StopAt, press, same

pytestmark = pytest.mark.usefixtures("one_thread")

RESUMED: dict[str, Callable[[], tuple[nn.Module, Any, dict[str, Any]]]] = {
    "tied weights and an average": lambda: (
        seeded(Tied), (numbers(60, 4), numbers(60, 4)), {"loss": F.mse_loss, "metric": Largest()},
    ),
    "words and batch norm": lambda: (
        seeded(Words),
        ({"x": numbers(60, 3), "words": torch.arange(300).reshape(60, 5) % 7}, torch.arange(60) % 2),
        {"loss": cross_entropy_of},
    ),
}  # fmt: skip


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("name", list(RESUMED))
def test_a_resumed_training_is_the_one_that_was_not_stopped(name: str, ema: float, tmp_path: Path) -> None:
    cfg = config(epochs=4, ema=ema, keep="best")
    whole, data, more = RESUMED[name]()
    expected = pydarts.train(whole, data, cfg, **more)
    stopped, data, more = RESUMED[name]()
    kept = cfg.replace(checkpoint_dir=tmp_path)
    result = pydarts.train(stopped, data, kept, StopAt(2, 1, press), **more)
    assert result.status == "interrupted" and len(result.history) == 2
    module, data, more = RESUMED[name]()
    resumed = pydarts.train(module, data, kept.replace(resume=True), **more)
    assert same(module, whole) and resumed.status == "complete"
    buffers = dict(whole.named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in module.named_buffers())
    for one, other in zip(resumed.history, expected.history, strict=True):
        assert (one.train_loss, one.valid_loss, one.metrics) == (
            other.train_loss,
            other.valid_loss,
            other.metrics,
        )
    assert resumed.fingerprint == expected.fingerprint


class Renamed(Tied):
    """The same weights in another class."""


FACTS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "network": ("network", Renamed, {}),
    "loss": ("loss", Tied, {"loss": mse}),
    "metric": ("metric", Tied, {"metric": mean_error}),
    "unpack": ("unpack", Tied, {"unpack": lambda batch: (batch[0], batch[1])}),
}


@pytest.mark.parametrize("name", list(FACTS))
def test_another_network_loss_metric_or_unpack_is_refused_unless_forced(name: str, tmp_path: Path) -> None:
    fact, kind, more = FACTS[name]
    data, cfg = (
        parts((numbers(32, 4), numbers(32, 4))),
        config(checkpoint_dir=tmp_path, weight_lr_schedule="exponential"),
    )
    pydarts.train(seeded(Tied), data, cfg.replace(epochs=1), loss=F.mse_loss)
    with pytest.raises(pydarts.CheckpointError, match=rf"{fact}.*force"):
        pydarts.train(seeded(kind), data, cfg.replace(resume=True), **{"loss": F.mse_loss, **more})
    with pytest.warns(UserWarning, match=fact):
        found = pydarts.train(seeded(kind), data, cfg.replace(resume="force"), **{"loss": F.mse_loss, **more})
    assert len(found.history) == 3


def test_a_checkpoint_of_other_shapes_or_of_a_genotype_is_refused(tmp_path: Path) -> None:
    data, cfg = parts((numbers(32, 4), numbers(32, 4))), config(checkpoint_dir=tmp_path, epochs=1)
    pydarts.train(seeded(Tied), data, cfg, loss=F.mse_loss)
    with pytest.raises(pydarts.CheckpointError, match=r"encoder\.weight"):
        pydarts.train(seeded(Tied, 4, 2), data, cfg.replace(resume="force"), loss=F.mse_loss)
    words = np.arange(300) % 5
    text = pydarts.TrainConfig(epochs=1, batch_size=2, checkpoint_dir=tmp_path, resume=True, progress=False)
    with pytest.raises(pydarts.CheckpointError, match=r"pydarts\.build"):
        pydarts.train(pydarts.genotypes.DARTS_RNN_V2, (words, words), text)


# ---- results


def test_a_result_is_saved_loaded_and_shown(tmp_path: Path) -> None:
    module = seeded(Tied)
    data = parts((numbers(32, 4), numbers(32, 4)))
    result = pydarts.train(module, data, config(metric_mode="min"), loss=F.mse_loss, metric=mean_error)
    result.save(tmp_path)
    loaded = pydarts.TrainResult.load(tmp_path, seeded(Tied, seed=3))
    assert same(loaded.network, module) and loaded.history == result.history and loaded.best == result.best
    assert loaded.config == result.config and loaded.fingerprint == result.fingerprint
    alone = pydarts.TrainResult.load(tmp_path)
    again = seeded(Tied, seed=4)
    again.load_state_dict(alone.network.state_dict())
    assert same(again, module) and alone.best == result.best
    for shown in (result, alone):
        page = shown._repr_html_()
        assert "mean_error" in page and "None" not in page and "nan" not in page
    result.plot_losses()
    alone.save(tmp_path / "again")
    assert same(pydarts.TrainResult.load(tmp_path / "again", seeded(Tied, seed=5)).network, module)


def test_callbacks_hear_of_every_step_and_epoch() -> None:
    events: list[str] = []

    class Listener(pydarts.TrainCallback):
        def on_step(self, info: pydarts.TrainStep) -> None:
            events.append(f"step {info.epoch} {info.step_in_epoch} of {info.steps_per_epoch}")

        def on_epoch(self, record: pydarts.TrainRecord) -> None:
            events.append(f"epoch {record.epoch} {list(record.metrics)}")

        def on_end(self, result: pydarts.TrainResult) -> None:
            events.append(result.status)

    data = parts((numbers(16, 4), numbers(16, 2)))
    pydarts.train(
        net(4, 2), data, config(epochs=1, progress=True), Listener(), loss=F.mse_loss, metric=mean_error
    )
    assert events == ["step 0 0 of 2", "step 0 1 of 2", "epoch 0 ['mean_error']", "complete"]


def test_a_loss_that_diverges_leaves_the_last_good_weights() -> None:
    module = net(4, 2)
    with pytest.raises(pydarts.NumericalError) as caught:
        pydarts.train(module, parts(regression()), config(weight_lr=1e30, grad_clip=0), loss=F.mse_loss)
    assert caught.value.result.status == "failed"
    assert all(bool(value.isfinite().all()) for value in module.parameters())
