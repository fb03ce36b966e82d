"""A trained network measured on other data, and its outputs."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 8, "progress": False, "device": "cpu"}
BYTES = (np.random.default_rng(0).integers(0, 255, (40, 3, 8, 8), np.uint8), np.arange(40) % 7)


def small(**changes: Any) -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"channels": 2, "layers": 3, "num_classes": 7, "in_channels": 3}
    return pydarts.build(pydarts.genotypes.DARTS_V2, **sizes | changes)


def test_the_validation_part_gives_what_the_history_says() -> None:
    X, y = BYTES
    other = (X[:20] // 2, y[:20])
    trained = pydarts.train(
        small(), ((X, y), other), pydarts.TrainConfig(**QUICK, augment="cifar", label_smoothing=0.1)
    )
    found, last = trained.evaluate(other), trained.history[-1]
    assert (found.loss, found.accuracy) == pytest.approx((last.valid_loss, last.valid_accuracy), rel=1e-6)
    assert found.top5 is not None and found.accuracy is not None and found.top5 >= found.accuracy
    mean, std = (torch.tensor(values)[:, None, None] for values in (trained.config.mean, trained.config.std))
    x = (
        torch.from_numpy(other[0]).float() / 255 - mean
    ) / std  # as in the training, not by their own statistics
    torch.testing.assert_close(trained.predict(other[0]), trained.network(x).detach(), rtol=1e-4, atol=1e-5)
    assert not trained.network.training
    # The same as numbers from 0 to 1, in batches of any size, of one image too.
    scaled = torch.from_numpy(other[0]).float() / 255
    batches = DataLoader(TensorDataset(scaled, torch.from_numpy(other[1])), batch_size=19)
    assert trained.evaluate(batches).accuracy == found.accuracy
    assert (
        trained.predict(scaled[:1]).shape == (1, 7) and trained.evaluate((scaled[:1], other[1][:1])).loss > 0
    )


def test_other_modules_give_what_they_return() -> None:
    X = np.random.default_rng(0).random((40, 1, 8, 8), np.float32)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Dropout(0.5))
    config = pydarts.TrainConfig(**QUICK, metric_mode="min")
    error = nn.functional.l1_loss
    target = torch.from_numpy(X).flatten(1)[:, :3]
    trained = pydarts.train(net, (X, target), config, loss=nn.functional.mse_loss, metric=error)
    found = trained.evaluate((X[:9], target[:9]))  # with the loss and the metric of the training
    outputs = trained.predict(X[:9])
    assert torch.equal(outputs, net(torch.from_numpy(X[:9])).detach())
    assert found.loss == pytest.approx(float(nn.functional.mse_loss(outputs, target[:9])), rel=1e-6)
    assert found.metrics["l1_loss"] == pytest.approx(float(error(outputs, target[:9])), rel=1e-6)
    assert found.accuracy is None
    assert trained.evaluate((X[:9], target[:9]), loss=error).loss == pytest.approx(found.metrics["l1_loss"])


def test_a_saved_or_pickled_result_asks_for_the_loss_of_its_training(tmp_path: Path) -> None:
    def doubled(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 2 * nn.functional.cross_entropy(logits, targets)

    X, y = torch.randn(40, 6), torch.arange(40) % 3
    net = nn.Linear(6, 3)
    trained = pydarts.train(net, (X, y), pydarts.TrainConfig(**QUICK), loss=doubled)
    expected = float(nn.functional.cross_entropy(trained.predict(X), y))
    assert trained.evaluate((X, y)).loss == pytest.approx(2 * expected, rel=1e-6)
    trained.save(tmp_path / "run")
    for again in (pydarts.TrainResult.load(tmp_path / "run", net), pickle.loads(pickle.dumps(trained))):
        with pytest.raises(pydarts.ConfigError, match="doubled"):
            again.evaluate((X, y))
        assert again.evaluate((X, y), loss=doubled).loss == pytest.approx(2 * expected, rel=1e-6)


def test_the_cross_entropy_of_a_saved_result_is_known(tmp_path: Path) -> None:
    X, y = torch.randn(40, 6), torch.arange(40) % 3
    for loss in (nn.functional.cross_entropy, nn.CrossEntropyLoss()):
        net = nn.Linear(6, 3)
        trained = pydarts.train(net, (X, y), pydarts.TrainConfig(**QUICK), loss=loss)
        trained.save(tmp_path / "run")
        again = pydarts.TrainResult.load(tmp_path / "run", net)
        assert again.evaluate((X, y)).loss == trained.evaluate((X, y)).loss
    with pytest.raises(TypeError, match="MSELoss"):
        trained.evaluate((X, y), loss=nn.MSELoss)  # type: ignore[arg-type]


class Count:
    """A metric that is false before it is updated."""

    def __init__(self) -> None:
        self.seen = 0

    def __len__(self) -> int:
        return self.seen

    def reset(self) -> None:
        self.seen = 0

    def update(self, output: torch.Tensor, target: torch.Tensor) -> None:
        self.seen += len(output)

    def compute(self) -> float:
        return float(self.seen)


def test_a_metric_and_copies_of_a_result_keep_what_they_have() -> None:
    X, y = torch.randn(40, 6), torch.arange(40) % 3
    config = pydarts.TrainConfig(**QUICK, metric_mode="min")
    trained = pydarts.train(nn.Linear(6, 3), (X, y), config, metric=lambda output, target: output.mean())
    assert trained.evaluate((X[:9], y[:9]), metric=Count()).metrics == {"Count": 9.0}
    expected = trained.evaluate((X, y))
    assert len(expected.metrics) == 1
    for again in (copy.copy(trained), copy.deepcopy(trained)):
        assert again.evaluate((X, y)) == expected
    assert copy.deepcopy(trained).network is not trained.network


def test_arrays_are_unpacked_as_in_the_training() -> None:
    X, y = torch.randn(40, 6), torch.arange(40) % 3
    config = pydarts.TrainConfig(**QUICK)
    trained = pydarts.train(
        nn.Linear(6, 3), ((X, y), (X, y)), config, unpack=lambda pair: (0 * pair[0], pair[1])
    )
    assert trained.evaluate((X, y)).loss == pytest.approx(trained.history[-1].valid_loss, rel=1e-6)


def test_batches_are_unpacked_as_in_the_training() -> None:
    X, y = torch.randn(40, 6), torch.arange(40) % 3
    loader = [{"x": X[i : i + 8], "y": y[i : i + 8]} for i in range(0, 40, 8)]
    config = pydarts.TrainConfig(epochs=1, progress=False)
    trained = pydarts.train(
        nn.Linear(6, 3), (loader, loader), config, unpack=lambda batch: (batch["x"], batch["y"])
    )
    whole = trained.evaluate([(X, y)], unpack=lambda pair: pair)
    for batches in (loader, tuple(loader), (loader[0], *loader[1:])):
        assert trained.evaluate(batches).loss == pytest.approx(whole.loss, rel=1e-6)
    assert trained.evaluate((X, y)).loss == pytest.approx(whole.loss, rel=1e-6)


def test_a_text_is_evaluated_and_not_predicted() -> None:
    text = torch.arange(300) % 7
    words = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=7, units=8)
    config = pydarts.TrainConfig(epochs=1, batch_size=4, bptt=14, progress=False)
    trained = pydarts.train(words, (text, text[:200]), config)
    assert trained.evaluate(text[:200]).loss == pytest.approx(trained.history[-1].valid_loss, rel=1e-6)
    with pytest.raises(pydarts.ConfigError, match="predict"):
        trained.predict(text)


def test_a_network_that_returns_no_tensor_has_no_predictions() -> None:
    class Two(nn.Linear):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x), x

    X, y = torch.randn(16, 4), torch.arange(16) % 3
    loss = lambda output, targets: nn.functional.cross_entropy(output[0], targets)  # noqa: E731
    trained = pydarts.train(Two(4, 3), (X, y), pydarts.TrainConfig(**QUICK), loss=loss)
    with pytest.raises(TypeError, match="tuple"):
        trained.predict(X)


def test_images_from_0_to_255_as_floats_are_warned_of() -> None:
    net = pydarts.build(
        pydarts.genotypes.DARTS_V2, channels=2, layers=3, num_classes=7, in_channels=3, auxiliary=False
    )
    trained = pydarts.train(net, BYTES, pydarts.TrainConfig(**QUICK))
    with pytest.warns(UserWarning, match="divide them by 255"):
        trained.predict(BYTES[0].astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        trained.predict(BYTES[0].astype(np.float32) / 255)


def test_labels_as_a_second_argument_are_refused_and_the_pair_is_named() -> None:
    net, X, y = nn.Linear(4, 2), torch.zeros(16, 4), torch.arange(16) % 2
    trained = pydarts.train(net, (X, y), pydarts.TrainConfig(epochs=1, batch_size=8, progress=False))
    slip: Any = trained.evaluate
    with pytest.raises(TypeError, match=r"evaluate\(\(X, y\)\)"):
        slip(X, y)
