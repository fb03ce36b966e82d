"""A user-defined loss in trainings and tables, and what of a resumed training is compared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from many import X, plain, short, y
from pydarts._train import checkpoint
from torch import Tensor, nn
from torch.nn import functional as F
from trained import CELL, batches, config, network, same

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHTED = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 1.0, 0.5]))
TEXT = np.arange(600) % 7


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    each = F.cross_entropy(logits, targets, reduction="none")
    return ((1 - (-each).exp()) ** 2 * each).mean()


def loaders() -> Any:
    return batches(3), batches(2)


def language(loss: Any = None, **changes: Any) -> pydarts.TrainResult:
    fields: dict[str, Any] = {"epochs": 2, "batch_size": 4, "bptt": 14, "progress": False, "device": "cpu"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=7, units=8)
    cfg = pydarts.TrainConfig(**(fields | changes))
    return pydarts.train(net, (TEXT, TEXT[:200]), cfg, loss=loss)


def test_cross_entropy_as_a_loss_trains_the_same_network() -> None:
    plain_, given = (
        pydarts.train(network(), loaders(), config(), loss=loss) for loss in (None, F.cross_entropy)
    )
    assert same(plain_.network, given.network)
    assert [r.valid_loss for r in plain_.history] == [r.valid_loss for r in given.history]
    assert plain_.fingerprint["loss"] != given.fingerprint["loss"]
    assert same(language().network, language(F.cross_entropy).network)


def test_smoothing_in_the_loss_is_that_of_the_configuration() -> None:
    smooth = nn.CrossEntropyLoss(label_smoothing=0.2)
    one = pydarts.train(network(), loaders(), config(label_smoothing=0.2))
    other = pydarts.train(network(), loaders(), config(), loss=smooth)
    assert same(one.network, other.network)
    # The configuration's smoothing is not in the losses that are recorded.
    assert one.history[-1].valid_loss != other.history[-1].valid_loss


@pytest.mark.parametrize("loss", [WEIGHTED, focal, functools.partial(F.cross_entropy, label_smoothing=0.3)])
def test_steps_and_evaluation_use_the_loss(loss: Any) -> None:
    result = pydarts.train(network(), loaders(), config(epochs=1), loss=loss)
    assert not same(result.network, pydarts.train(network(), loaders(), config(epochs=1)).network)
    with torch.no_grad():
        expected = np.mean([float(loss(result.network(x), targets)) for x, targets in batches(2)])
    assert result.history[-1].valid_loss == pytest.approx(expected, rel=1e-5)


def test_a_language_model_uses_the_loss() -> None:
    loss = nn.CrossEntropyLoss(torch.arange(1.0, 8.0))
    result = language(loss)
    assert not same(result.network, language().network)
    assert result.history[-1].valid_loss != language().history[-1].valid_loss


def test_the_auxiliary_head_uses_the_loss() -> None:
    calls: list[tuple[int, ...]] = []

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        calls.append(tuple(logits.shape))
        return F.cross_entropy(logits, targets)

    images = [(torch.randn(4, 1, 32, 32), torch.arange(4))]
    net = network(auxiliary=True, stem="cifar")
    pydarts.train(net, (images, images), config(epochs=1), loss=loss)
    assert calls == 3 * [(4, 4)]  # both heads in the step, one in the evaluation


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "a number": (lambda a, b: 1.0, TypeError, "float"),
    "one value per image": (lambda a, b: F.cross_entropy(a, b, reduction="none"), pydarts.DataError, "8"),
    "no graph": (lambda a, b: F.cross_entropy(a.detach(), b), pydarts.DataError, "graph"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_function_that_is_no_loss_is_refused(name: str) -> None:
    loss, kind, fact = BAD[name]
    with pytest.raises(kind, match=fact):
        pydarts.train(network(), loaders(), config(), loss=loss)


ENTRIES: dict[str, Callable[..., Any]] = {
    "train": lambda loss, **more: pydarts.train(network(), (X, y), config(**more), loss=loss),
    "compare": lambda loss, **more: pydarts.compare({"a": CELL}, (X, y), short(**more), loss=loss, workers=0),
    "search_many": lambda loss, **more: pydarts.search_many(
        (X, y), make_config(), 1, short(**more), loss=loss, workers=0
    ),
}


@pytest.mark.parametrize("entry", list(ENTRIES))
def test_a_class_and_two_ways_to_smooth_are_refused(entry: str) -> None:
    with pytest.raises(TypeError, match=r"CrossEntropyLoss\(\)"):
        ENTRIES[entry](nn.CrossEntropyLoss)
    with pytest.raises(TypeError, match="int"):
        ENTRIES[entry](3)
    with pytest.raises(pydarts.ConfigError, match=r"label_smoothing"):
        ENTRIES[entry](WEIGHTED, label_smoothing=0.1)


def table(loss: Any, workers: int = 0, **changes: Any) -> pydarts.SearchTable:
    cfg = make_config(epochs=1, **changes)
    return pydarts.search_many((X, y), cfg, 1, short(epochs=1), random=1, loss=loss, workers=workers)


def test_a_table_searches_and_trains_with_the_loss_here_and_in_processes() -> None:
    here, there = table(WEIGHTED), table(WEIGHTED, workers=1)
    assert plain(here) == plain(there)
    first = here[0]
    assert first.result is not None and first.training is not None and there[0].result is not None
    assert first.result.loss == "CrossEntropyLoss"
    assert first.result.fingerprint["loss"] == first.training.fingerprint["loss"]
    assert first.result.fingerprint == there[0].result.fingerprint
    assert first.loss != table(None)[0].loss
    cells = {"one": first.genotype}
    compared = pydarts.compare(cells, (X, y), short(epochs=1), loss=WEIGHTED, workers=0, network=NARROW)
    assert compared[0].loss == first.loss


NARROW = {"channels": 2, "layers": 3}


def test_a_loss_that_cannot_be_pickled_is_refused_for_processes_and_used_without() -> None:
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets)

    for workers in (1, 2):
        with pytest.raises(pydarts.ConfigError, match="workers=0"):
            table(loss, workers=workers)
    assert table(loss).status == "complete"


# ---- what is resumed


def longer(seed: int = 0) -> Any:
    images, labels = make_arrays(64, seed=seed)
    return images, labels


CHANGES: dict[str, tuple[str, Any, Any, Any, Any]] = {
    "other images": ("data.sample", longer, lambda: longer(1), None, None),
    "fewer images": ("data.examples", longer, lambda: make_arrays(56), None, None),
    "permuted labels": ("data.labels", longer, lambda: (longer()[0], longer()[1][::-1].copy()), None, None),
    "batches of another list": ("train.batches", loaders, lambda: (batches(4), batches(2)), None, None),
    "a loss": ("loss", longer, longer, None, focal),
    "another loss": ("loss", longer, longer, WEIGHTED, focal),
}


@pytest.mark.parametrize("epochs", [1, 2], ids=["finished", "unfinished"])
@pytest.mark.parametrize("name", list(CHANGES))
def test_a_training_on_other_data_or_with_another_loss_is_refused(
    name: str, epochs: int, tmp_path: Path
) -> None:
    fact, one, other, loss, loss_then = CHANGES[name]
    kept = {"checkpoint_dir": tmp_path, "weight_lr_schedule": "exponential"}
    first = pydarts.train(network(), one(), config(epochs=1, **kept), loss=loss)
    with pytest.raises(pydarts.CheckpointError, match=rf"{fact}.*force"):
        pydarts.train(network(), other(), config(epochs=epochs, resume=True, **kept), loss=loss_then)
    with pytest.warns(UserWarning, match=fact) as caught:
        forced = pydarts.train(
            network(), other(), config(epochs=epochs, resume="force", **kept), loss=loss_then
        )
    assert [warning.filename for warning in caught if fact in str(warning.message)] == [__file__]
    assert len(forced.history) == epochs and forced.history[0] == first.history[0]
    if epochs == 2:  # the checkpoint is now of the other data
        pydarts.train(network(), other(), config(epochs=3, resume=True, **kept), loss=loss_then)


def test_force_does_not_excuse_another_setting_of_a_training(tmp_path: Path) -> None:
    kept = {"checkpoint_dir": tmp_path, "epochs": 1}
    pydarts.train(network(), longer(), config(**kept))
    with pytest.raises(pydarts.CheckpointError, match="momentum"):
        pydarts.train(network(), longer(1), config(resume="force", weight_momentum=0.5, **kept))


def test_a_training_of_an_earlier_version_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint.write

    def without(folder: Path, epochs: int, about: Any, tensors: Any) -> None:
        write(folder, epochs, {name: held for name, held in about.items() if name != "fingerprint"}, tensors)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", without)
        pydarts.train(network(), loaders(), config(epochs=1, checkpoint_dir=tmp_path))
    kept = config(epochs=1, checkpoint_dir=tmp_path, resume=True)
    assert pydarts.train(network(), loaders(), kept).fingerprint["train.batches"] == "3"


def test_the_result_of_a_training_says_what_it_was_trained_on(tmp_path: Path) -> None:
    result = pydarts.train(network(), longer(), config(epochs=1), loss=WEIGHTED)
    assert result.fingerprint["data.examples"] == "64"
    assert "64 examples" in result._repr_html_() and "CrossEntropyLoss" in result._repr_html_()
    result.save(tmp_path)
    assert pydarts.TrainResult.load(tmp_path).fingerprint == result.fingerprint


def test_a_table_is_continued_with_its_data_and_its_loss_only(tmp_path: Path) -> None:
    first = table(WEIGHTED, checkpoint_dir=tmp_path)
    other = make_arrays(n=96, seed=3)
    again = make_config(epochs=1, checkpoint_dir=tmp_path, resume=True)
    with pytest.raises(pydarts.CheckpointError, match="loss"):
        table(focal, checkpoint_dir=tmp_path, resume=True)
    with pytest.raises(pydarts.CheckpointError, match=r"data\.sample"):
        pydarts.search_many(other, again, 1, short(epochs=1), random=1, loss=WEIGHTED, workers=0)
    assert plain(table(WEIGHTED, checkpoint_dir=tmp_path, resume=True)) == plain(first)
    forced = again.replace(resume="force")
    found = pydarts.search_many(other, forced, 2, short(epochs=1), random=1, loss=WEIGHTED, workers=0)
    assert [row.status for row in found] == 3 * ["complete"] and plain(found)[0] == plain(first)[0]


def test_a_comparison_is_continued_with_its_data_only(tmp_path: Path) -> None:
    select = short(epochs=1, checkpoint_dir=tmp_path)
    pydarts.compare({"one": CELL}, (X, y), select, workers=0, network=NARROW)
    with pytest.raises(pydarts.CheckpointError, match=r"data\.examples"):
        pydarts.compare(
            {"one": CELL}, make_arrays(80), select.replace(resume=True), workers=0, network=NARROW
        )
