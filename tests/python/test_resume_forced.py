"""A forced run that does no step has the data and the loss of its checkpoint; one that does, its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from resuming import Stop as StopError
from resuming import StopAt, arrays, checkpoints, config, pair
from torch import Tensor
from torch.nn import functional as F

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:steps from here on", "ignore:epochs"),
]


def double(a: Tensor, b: Tensor) -> Tensor:
    return 2 * F.cross_entropy(a, b)


def other() -> Any:
    X, y = arrays(59, seed=7)
    return X // 3, np.sort(y)


def tiny(folder: Path, **options: Any) -> pydarts.TrainConfig:
    return pydarts.TrainConfig(
        **{"epochs": 1, "batch_size": 8, "progress": False, "checkpoint_dir": folder, "device": "cpu"}
        | options
    )


def network() -> Any:
    torch.manual_seed(0)
    return pydarts.build(pydarts.genotypes.DARTS_V2, channels=2, layers=3, num_classes=3, in_channels=1)


def about(result: Any) -> Any:
    return result.fingerprint, result.config.mean, result.config.std, getattr(result, "loss", None)


@pytest.mark.parametrize("losses", [(None, double), (double, None)], ids=["given", "left out"])
def test_a_forced_search_without_a_step_is_about_the_data_of_its_checkpoint(
    losses: Any, tmp_path: Path
) -> None:
    cfg = config(checkpoint_dir=tmp_path, epochs=1)
    first = pydarts.search(arrays(59), cfg, loss=losses[0])
    again = pydarts.search(other(), cfg.replace(resume="force"), loss=losses[1])
    assert about(again) == about(first)
    assert again.history.to_dicts() == first.history.to_dicts()
    assert again.class_counts is None  # a checkpoint does not have them
    assert pydarts.search(arrays(59), cfg.replace(resume=True), loss=losses[0]).class_counts is not None
    with pytest.raises(pydarts.CheckpointError, match="labels"):
        pydarts.search(other(), cfg.replace(resume=True), loss=losses[1])


def test_a_forced_search_that_does_steps_is_about_their_data(tmp_path: Path) -> None:
    cfg = config(checkpoint_dir=tmp_path, epochs=1)
    first = pydarts.search(arrays(59), cfg)
    fresh = pydarts.search(other(), cfg.replace(checkpoint_dir=None), loss=double)
    again = pydarts.search(other(), cfg.replace(resume="force", epochs=2), loss=double)
    assert about(again) == about(fresh) != about(first)
    assert again.loss == "double" and again.class_counts == fresh.class_counts


def test_a_forced_search_stopped_before_its_first_step_changes_nothing(tmp_path: Path) -> None:
    class Stop(pydarts.Callback):
        def on_start(self, *_: Any) -> None:
            raise KeyboardInterrupt

    cfg = config(checkpoint_dir=tmp_path, epochs=2)
    with pytest.raises(StopError) as stopped:
        pydarts.search(arrays(59), cfg, StopAt(3))
    first = stopped.value.result  # type: ignore[attr-defined]
    assert checkpoints(tmp_path)
    again = pydarts.search(other(), cfg.replace(resume="force"), Stop(), loss=double)
    assert again.status == "interrupted" and about(again) == about(first)
    assert pydarts.search(arrays(59), cfg.replace(resume=True)).status == "complete"


def test_a_forced_training_without_a_step_is_about_the_data_of_its_checkpoint(tmp_path: Path) -> None:
    first = pydarts.train(network(), pair(), tiny(tmp_path))
    forced = tiny(tmp_path, resume="force")
    again = pydarts.train(network(), (other(), arrays(27, seed=3)), forced, loss=double)
    assert about(again) == about(first)
    assert again.history.to_dicts() == first.history.to_dicts()
    assert pydarts.train(network(), pair(), tiny(tmp_path, resume=True)).fingerprint == first.fingerprint


def test_a_forced_training_that_does_steps_is_about_their_data(tmp_path: Path) -> None:
    first = pydarts.train(network(), pair(), tiny(tmp_path))
    given = (other(), arrays(27, seed=3))
    again = pydarts.train(network(), given, tiny(tmp_path, resume="force", epochs=2), loss=double)
    fresh = pydarts.train(network(), given, tiny(tmp_path / "new"), loss=double)
    assert about(again) == about(fresh) != about(first)


def test_a_forced_training_of_text_keeps_the_facts_of_its_checkpoint(tmp_path: Path) -> None:
    text = torch.arange(600) % 7
    net = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=7, units=6)
    first = pydarts.train(net, (text, text[:200]), tiny(tmp_path, batch_size=4, bptt=14))
    forced = tiny(tmp_path, batch_size=4, bptt=14, resume="force")
    assert pydarts.train(net, (text.flip(0), text[:200]), forced).fingerprint == first.fingerprint


def test_refusals_name_both_ways_to_continue(tmp_path: Path) -> None:
    pydarts.search(pair(), config(checkpoint_dir=tmp_path / "search", epochs=1))
    pydarts.train(network(), pair(), tiny(tmp_path / "training"))
    given = (other(), arrays(27, seed=3))
    with pytest.raises(pydarts.CheckpointError) as caught:
        pydarts.search(given, config(checkpoint_dir=tmp_path / "search", epochs=1, resume=True))
    with pytest.raises(pydarts.CheckpointError) as also:
        pydarts.train(network(), given, tiny(tmp_path / "training", resume=True))
    for error in (caught, also):
        assert 'resume="force"' in str(error.value) and "--force" in str(error.value)
