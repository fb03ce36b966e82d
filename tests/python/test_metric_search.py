"""Searches of modules with metrics: regression, several labels, soft labels, segmentation, any outputs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from best import best_epoch
from measured import net
from pydarts.nn import Choice
from test_metrics import Counting, mae
from torch import Tensor, nn
from torch.nn import functional as F

N = 10  # of which the last validation batch holds fewer than the others
X = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))


def batches(y: Tensor, size: int = 4, x: Tensor = X) -> list[tuple[Tensor, Tensor]]:
    return [(x[at : at + size], y[at : at + size]) for at in range(0, len(y), size)]


def searched(data: Any, network: Any = None, **changes: Any) -> pydarts.SearchResult:
    arguments = {name: changes.pop(name) for name in ("loss", "metric", "callbacks") if name in changes}
    fields: dict[str, Any] = {"epochs": 2, "precision": "float64", "device": "cpu", "progress": False}
    cfg = pydarts.SearchConfig(**(fields | changes))
    return pydarts.search((data, data), cfg, network=net() if network is None else network, **arguments)


def test_a_metric_that_is_the_loss_measures_the_validation_loss() -> None:
    result = searched(batches(X[:, :1].sin()), loss=F.mse_loss, metric=F.mse_loss, metric_mode="min")
    for record in result.history:
        assert record.metrics == {"mse_loss": pytest.approx(record.valid_loss)}
        assert record.train_accuracy is None and record.valid_accuracy is None
    losses = [record.valid_loss for record in result.history]
    assert best_epoch(result) == losses.index(min(losses))
    assert result.fingerprint["metric"] == "torch.nn.functional:mse_loss"


def test_an_object_sees_every_validation_example_once_per_epoch() -> None:
    metric = Counting()
    result = searched(batches(X[:, :1]), loss=F.mse_loss, metric=metric, metric_mode="min")
    evaluation = ["reset", *["update"] * 3, "compute"]
    assert metric.calls == ["reset", *evaluation, *evaluation] and metric.n == N
    for record in result.history:
        assert record.metrics["Counting"] == pytest.approx(math.sqrt(record.valid_loss))


def test_a_mode_that_suits_the_metric_is_not_hinted_at(recwarn: pytest.WarningsRecorder) -> None:
    class Error(Counting):
        higher_is_better = False

    searched(batches(X[:, :1]), loss=F.mse_loss, metric=Error(), metric_mode="min", epochs=1)
    assert not [found for found in recwarn if "metric_mode" in str(found.message)]


def test_several_labels_have_a_metric_and_no_accuracy() -> None:
    y = (X > 0).float()

    def exact(output: Tensor, targets: Tensor) -> Tensor:
        return ((output > 0) == (targets > 0)).all(1).double().mean()

    result = searched(batches(y.double()), net(3), loss=F.binary_cross_entropy_with_logits, metric=exact)
    assert [record.valid_accuracy for record in result.history] == [None, None]
    assert all(0 <= record.metrics["exact"] <= 1 for record in result.history)


@pytest.mark.parametrize("soft", [False, True], ids=["indices", "probabilities"])
def test_accuracy_is_measured_for_classes(soft: bool) -> None:
    labels = torch.arange(N) % 3
    y = F.one_hot(labels, 3).double() if soft else labels

    def accuracy(output: Tensor, targets: Tensor) -> float:
        wanted = targets.argmax(1) if soft else targets
        return float((output.argmax(1) == wanted).double().mean())

    result = searched(batches(y), net(3), metric=accuracy)
    for record in result.history:
        assert record.valid_accuracy == pytest.approx(record.metrics["accuracy"])
        assert record.train_accuracy is not None and 0 <= record.train_accuracy <= 1


def test_accuracy_of_a_segmentation_counts_pixels_that_are_not_ignored() -> None:
    torch.manual_seed(0)
    images, masks = torch.randn(N, 1, 4, 4), torch.randint(0, 2, (N, 4, 4))
    masks[:, 0] = -100
    body = nn.Sequential(Choice({"conv": nn.Conv2d(1, 2, 3, padding=1), "point": nn.Conv2d(1, 2, 1)}))

    def pixels(output: Tensor, targets: Tensor) -> Tensor:
        return (output.argmax(1) == targets)[:, 1:].double().mean()

    result = searched(batches(masks, x=images), body, metric=pixels)
    for record in result.history:
        assert record.valid_accuracy == pytest.approx(record.metrics["pixels"])
        assert 0 < record.valid_accuracy < 1 and 0 < (record.train_accuracy or 0) < 1


def test_a_metric_gets_what_the_module_returned() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = net()

        def forward(self, x: Tensor) -> dict[str, Any]:
            found = self.body(x)
            return {"mean": found, "more": (found, x)}

    def of_dict(output: dict[str, Any], targets: Tensor) -> dict[str, float]:
        assert torch.equal(output["more"][0], output["mean"])
        return {"mae": float(mae(output["mean"], targets)), "n": float(len(targets))}

    result = searched(
        batches(X[:, :1]), Two(), loss=lambda output, y: F.mse_loss(output["mean"], y), metric=of_dict
    )
    last = result.history[-1].metrics
    assert list(last) == ["mae", "n"] and last["n"] == pytest.approx((16 + 16 + 4) / 10)


def test_what_a_search_with_a_metric_gives_does_not_depend_on_generators() -> None:
    def noisy(output: Tensor, targets: Tensor) -> Tensor:
        return torch.rand(())

    found = []
    for seed in (1, 2):
        network = net()
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(searched(batches(X[:, :1]), network, loss=F.mse_loss, metric=noisy).history)
        assert torch.equal(torch.get_rng_state(), before)
    first, second = found
    assert [record.metrics for record in first] == [record.metrics for record in second]
    assert first[0].metrics != first[1].metrics
    without = searched(batches(X[:, :1]), loss=F.mse_loss).history
    assert [record.valid_loss for record in without] == [record.valid_loss for record in first]


def test_a_resumed_search_continues_its_metrics_and_refuses_another_one(tmp_path: Path) -> None:
    data = batches(X[:, :1])

    def run(metric: Any, **changes: Any) -> pydarts.SearchResult:
        given: dict[str, Any] = {"epochs": 3, "checkpoint_dir": str(tmp_path), "metric_mode": "min"}
        return searched(data, loss=F.mse_loss, metric=metric, **(given | changes))

    class Stop(pydarts.Callback):
        def on_epoch(self, info: pydarts.EpochInfo) -> None:
            if info.epoch == 1:
                raise KeyboardInterrupt

    whole = searched(data, loss=F.mse_loss, metric=mae, metric_mode="min", epochs=3)
    assert run(mae, callbacks=Stop()).status == "interrupted"
    with pytest.raises(pydarts.CheckpointError, match="metric"):
        run(F.l1_loss, resume=True)
    result = run(mae, resume=True)
    assert [record.metrics for record in result.history] == [record.metrics for record in whole.history]


def test_a_metric_that_was_used_before_is_the_same_metric(tmp_path: Path) -> None:
    class Kept(Counting):
        def reset(self) -> None:
            self.parts: list[float] = []

        def update(self, output: Tensor, targets: Tensor) -> None:
            self.parts.append(float(mae(output, targets)))

        def compute(self) -> float:
            return max(self.parts)

    metric, data = Kept(), batches(X[:, :1])
    searched(data, loss=F.mse_loss, metric=metric, checkpoint_dir=str(tmp_path))
    for same in (metric, Kept()):
        result = searched(data, loss=F.mse_loss, metric=same, checkpoint_dir=str(tmp_path), resume=True)
        assert list(result.history[0].metrics) == ["Kept"]


def test_an_exception_of_a_metric_is_raised_with_the_partial_result() -> None:
    def wrong(output: Tensor, targets: Tensor) -> float:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as caught:
        searched(batches(X[:, :1]), loss=F.mse_loss, metric=wrong)
    assert caught.value.result.status == "failed"  # type: ignore[attr-defined]


def test_a_metric_that_returns_a_vector_stops_the_search() -> None:
    with pytest.raises(pydarts.DataError, match=r"\[4, 1\]"):
        searched(batches(X[:, :1]), loss=F.mse_loss, metric=lambda output, y: output - y)


def test_wrong_arguments_are_refused_before_the_search() -> None:
    data = batches(X[:, :1])
    with pytest.raises(TypeError, match="Counting"):
        searched(data, loss=F.mse_loss, metric=Counting)
    with pytest.raises(pydarts.ConfigError, match="metric_mode"):
        searched(data, loss=F.mse_loss, metric_mode="min")
    function = pydarts.nn.FunctionNetwork(
        lambda w, m, batch: (w["w"] * m["a"]).sum(), {"w": torch.ones(2)}, {"a": torch.zeros(2)}
    )
    with pytest.raises(pydarts.ConfigError, match="metric"):
        searched(data, function, metric=mae)
    with pytest.raises(pydarts.ConfigError, match="metric_mode"):
        cfg = pydarts.SearchConfig(metric_mode="min", progress=False)
        pydarts.search((torch.zeros(8, 1, 8, 8), torch.arange(8) % 2), cfg)
