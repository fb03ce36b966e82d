"""Training of modules that pydarts did not build, on data and with losses of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from best import best_epoch
from own_modules import Words, seeded
from own_trainings import Largest, config, cross_entropy_of, mean_error, net, numbers, parts, regression
from torch import Tensor, nn
from torch.nn import functional as F
from trained import same

pytestmark = pytest.mark.usefixtures("one_thread")


def by_hand(module: nn.Module, batches: Any, loss: Any, epochs: int = 3, **sgd: Any) -> list[float]:
    """The same training written with torch; returns the validation losses of the epochs."""
    cfg = {"lr": 0.05, "momentum": 0.9, "weight_decay": 3e-4} | sgd
    optimizer = torch.optim.SGD([w for w in module.parameters() if w.requires_grad], **cfg)
    found = []
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 + np.cos(np.pi * epoch / epochs)) / 2
        module.train()
        for x, y in batches:
            optimizer.zero_grad()
            loss(module(x), y).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
        module.eval()
        with torch.no_grad():
            values = [float(loss(module(x), y)) * len(x) for x, y in batches]
        found.append(sum(values) / sum(len(x) for x, _ in batches))
    return found


def test_a_regression_is_the_one_written_by_hand() -> None:
    data = regression(60)  # seven batches and a half
    mine, theirs = net(4, 2), net(4, 2)
    result = pydarts.train(mine, parts(data), config(), loss=F.mse_loss, metric=mean_error)
    expected = by_hand(theirs, parts(data)[0], F.mse_loss)
    assert same(mine, theirs) and result.network is mine and not mine.training
    assert [record.valid_loss for record in result.history] == pytest.approx(expected, rel=1e-6)
    last = result.history[-1]
    assert last.valid_accuracy is None and last.train_accuracy is None and last.valid_top5 is None
    with torch.no_grad():
        assert last.metrics == {
            "mean_error": pytest.approx(float(mean_error(mine(data[0]), data[1])), rel=1e-5)
        }
    assert "accuracy" not in repr(result.history) and "mean_error" in repr(result.history)


def test_arrays_are_split_and_converted_to_the_dtype_of_the_weights() -> None:
    X, y = (part.double().numpy() for part in regression(60))
    for dtype in (torch.float32, torch.float64):
        module = net(4, 2).to(dtype)
        result = pydarts.train(module, (X, y), config(epochs=1), loss=F.mse_loss)
        assert result.status == "complete" and module[0].weight.dtype == dtype
        assert result.fingerprint["data.examples"] == "60"


def test_many_labels_and_an_accuracy_of_classes() -> None:
    X = numbers(48, 4)
    many = (X[:, :3] > 0).float()
    result = pydarts.train(net(4, 3), (X, many), config(), loss=nn.BCEWithLogitsLoss())
    assert result.history[-1].valid_accuracy is None and result.history[-1].train_loss < 0.69
    result = pydarts.train(net(4, 3), (X, X[:, :3].argmax(1)), config())
    assert result.history[-1].valid_accuracy is not None and result.history[-1].train_accuracy > 0.4  # type: ignore[operator]
    result = pydarts.train(net(4, 3), (X, X[:, :3].softmax(1)), config(label_smoothing=0.1))  # soft labels
    assert result.history[-1].valid_accuracy is not None


def test_segmentation_counts_pixels() -> None:
    images = numbers(20, 1, 6, 6)
    masks = (images[:, 0] > 0).long()
    module = seeded(lambda: nn.Conv2d(1, 2, 1))
    result = pydarts.train(module, parts((images, masks), 7), config(epochs=8, weight_lr=0.5))
    with torch.no_grad():
        right = (module(images).argmax(1) == masks).double().mean()
    assert result.history[-1].valid_accuracy == pytest.approx(float(right), abs=1e-6)
    assert result.history[-1].valid_accuracy > 0.9  # type: ignore[operator]


def iou(output: Tensor, targets: Tensor) -> dict[str, Tensor]:
    on = output.argmax(1) == 1
    return {
        "iou": (on & (targets == 1)).sum() / (on | (targets == 1)).sum().clamp(min=1),
        "share": on.float().mean(),
    }


def test_several_values_of_a_metric_are_recorded_and_the_first_one_counts() -> None:
    images = numbers(20, 1, 6, 6)
    masks = (images[:, 0] > 0).long()
    result = pydarts.train(
        seeded(lambda: nn.Conv2d(1, 2, 1)), parts((images, masks), 10), config(), metric=iou
    )
    assert list(result.history[-1].metrics) == ["iou", "share"]
    values = [record.metrics["iou"] for record in result.history]
    assert best_epoch(result) == values.index(max(values))


@pytest.mark.parametrize("mode", ["max", "min"])
def test_best_and_what_is_kept_follow_the_metric(mode: Any) -> None:
    values = iter([3.0, 1.0, 5.0, 4.0])
    seen: list[dict[str, Tensor]] = []
    module = net(4, 2)

    class Given(Largest):
        def compute(self) -> float:
            seen.append({name: value.clone() for name, value in module.state_dict().items()})
            return next(values)

    result = pydarts.train(
        module,
        parts(regression()),
        config(epochs=4, keep="best", metric_mode=mode),
        loss=F.mse_loss,
        metric=Given(),
    )
    best = {"max": 2, "min": 1}[mode]
    assert best_epoch(result) == best
    assert all(torch.equal(value, seen[best][name]) for name, value in module.state_dict().items())


def test_without_metric_and_accuracy_the_lowest_loss_is_the_best() -> None:
    result = pydarts.train(net(4, 2), parts(regression()), config(), loss=F.mse_loss)
    losses = [record.valid_loss for record in result.history]
    assert best_epoch(result) == losses.index(min(losses))


# ---- batches


def batches_of_words(n: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(7, (n, 5), generator=generator)
    return numbers(n, 3), words, words[:, 0] % 2


def own_loss(batch: Any) -> tuple[Any, Any]:
    return {"words": batch["words"], "x": batch["x"]}, batch["label"]


class Lossy(nn.Module):
    """A module that returns its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Words()

    def forward(self, x: Tensor, words: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(self.inner(x, words)["logits"], label)


class Whole(Words):
    """A module that takes the whole batch."""

    def forward(self, batch: Any) -> Any:  # type: ignore[override]
        return super().forward(batch["x"], batch["words"])


def test_dictionaries_tuples_and_unpack_give_the_same_training() -> None:
    x, words, labels = batches_of_words()
    rows = [slice(0, 8), slice(8, 16), slice(16, 24)]
    named = [{"x": x[row], "words": words[row], "label": labels[row]} for row in rows]
    tuples = [((x[row], words[row]), labels[row]) for row in rows]
    triples = [(x[row], words[row], labels[row]) for row in rows]

    def weights(kind: Any, loader: Any, **more: Any) -> list[Tensor]:
        module = seeded(kind)
        result = pydarts.train(module, (loader, loader), config(), **more)
        assert result.status == "complete"
        return [value for value in module.state_dict().values()]

    expected = weights(Words, tuples, loss=cross_entropy_of)
    for kind, loader, more in (
        (Whole, named, {"loss": cross_entropy_of}),
        (Words, named, {"loss": cross_entropy_of, "unpack": own_loss}),
        (Words, triples, {"loss": cross_entropy_of, "unpack": lambda batch: (batch[:2], batch[2])}),
        (Lossy, named, {"loss": "network"}),
    ):
        found = weights(kind, loader, **more)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True)), kind


def test_arrays_for_several_inputs() -> None:
    x, words, labels = (part.numpy() for part in batches_of_words(40))
    module = seeded(Words)
    result = pydarts.train(module, ({"x": x, "words": words}, labels), config(), loss=cross_entropy_of)
    assert result.status == "complete" and result.history[-1].valid_accuracy is None
