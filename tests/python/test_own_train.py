"""Training of modules that pydarts did not build, on data and with losses of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from best import best_epoch
from own_modules import Tied, Words, seeded
from torch import Tensor, nn
from torch.nn import functional as F
from trained import StopAt, press, same

pytestmark = pytest.mark.usefixtures("one_thread")


def config(**changes: Any) -> pydarts.TrainConfig:
    fields: dict[str, Any] = {
        "epochs": 3, "batch_size": 8, "weight_lr": 0.05, "device": "cpu", "progress": False,
    }  # fmt: skip
    return pydarts.TrainConfig(**(fields | changes))


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def regression(n: int = 60) -> tuple[Tensor, Tensor]:
    X = numbers(n, 4)
    return X, X[:, :2].sin()


def plain(*sizes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(sizes[0], 6), nn.Tanh(), nn.Linear(6, sizes[1]))


def net(*sizes: int) -> nn.Sequential:
    module: nn.Sequential = seeded(plain, *sizes)
    return module


def parts(pair: Any, size: int = 8) -> Any:
    """Batches of (x, y) in order, twice: for training and for validation."""
    x, y = pair
    return ([(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)],) * 2


def mean_error(output: Tensor, targets: Tensor) -> Tensor:
    return (output - targets).abs().mean()


# ---- the numbers


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


class Largest:
    """A metric with a state: the largest error of all batches."""

    def __init__(self) -> None:
        self.value = 0.0

    def update(self, output: Any, targets: Any) -> None:
        self.value = max(self.value, float((output - targets).abs().max()))

    def compute(self) -> float:
        return self.value

    def reset(self) -> None:
        self.value = 0.0


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


def cross_entropy_of(output: Any, targets: Any) -> Tensor:
    labels = targets["label"] if isinstance(targets, dict) else targets
    return F.cross_entropy(output["logits"], labels)


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


# ---- modes, weights and buffers


def test_frozen_batch_norm_and_frozen_weights_stay() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    module[1].eval()
    module[0].requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = []
    module[1].register_forward_hook(lambda *_: modes.append((module[1].training, module[2].training)))
    pydarts.train(module, parts(regression()), config(epochs=1), loss=F.mse_loss)
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith(("0.", "1.running", "1.num")) for name in moved)
    assert {"1.weight", "2.running_mean", "2.num_batches_tracked", "3.weight"} <= moved
    assert set(modes) == {(False, True), (False, False)}


def test_a_module_in_evaluation_mode_is_trained_in_training_mode() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).eval()
    pydarts.train(module, parts(regression()), config(epochs=1), loss=F.mse_loss)
    assert int(module[1].num_batches_tracked) == 8 and not module.training


def test_a_module_that_freezes_parts_itself_keeps_them_frozen() -> None:
    class Own(nn.Sequential):
        def train(self, mode: bool = True) -> Own:
            super().train(mode)
            self[1].eval()
            return self

    module = Own(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    pydarts.train(module, parts(regression()), config(epochs=1), loss=F.mse_loss)
    assert int(module[1].num_batches_tracked) == 0


def test_tied_weights_are_one_weight_also_in_their_average() -> None:
    X = numbers(32, 4)
    module = seeded(Tied)
    result = pydarts.train(module, parts((X, X)), config(ema=0.5), loss=F.mse_loss)
    assert module.again.weight is module.encoder.weight and int(module.count) == 12
    assert not torch.equal(module.scale, torch.ones(()))  # a buffer that is not persistent, and is replaced
    assert torch.isinf(module.mask[1]) and result.history[-1].averaged
    assert all(bool(value.isfinite().all()) for value in module.parameters())
    single = seeded(Tied)  # by hand: the average after one step is the weight itself
    pydarts.train(single, parts((X[:8], X[:8])), config(ema=0.5, epochs=1), loss=F.mse_loss)
    other = seeded(Tied)
    pydarts.train(other, parts((X[:8], X[:8])), config(epochs=1), loss=F.mse_loss)
    assert same(single, other)


def test_the_dropout_of_a_step_depends_on_the_seed_alone() -> None:
    X = numbers(32, 4)

    def trained(seed: int, moved: int) -> Tied:
        module: Tied = seeded(Tied)
        torch.manual_seed(moved)
        before = torch.get_rng_state()
        pydarts.train(module, parts((X, X)), config(seed=seed), loss=F.mse_loss)
        assert torch.equal(torch.get_rng_state(), before)
        return module

    assert same(trained(0, 1), trained(0, 2)) and not same(trained(0, 1), trained(1, 1))


class Drawing(nn.Linear):
    """Draws a number in every forward pass."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.drawn: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        self.drawn.append(float(torch.rand(())))
        return super().forward(x)


def test_every_step_and_batch_of_an_evaluation_draws_other_numbers() -> None:
    X = numbers(24, 4)
    first, second = seeded(Drawing), seeded(Drawing)
    for module in (first, second):
        pydarts.train(module, parts((X, X)), config(epochs=2), loss=F.mse_loss)
    assert len({*first.drawn}) == len(first.drawn) == 12 and first.drawn == second.drawn


def test_an_interrupted_training_keeps_the_steps_of_its_last_epoch() -> None:
    X = numbers(32, 4)
    whole, stopped = seeded(Tied), seeded(Tied)
    pydarts.train(whole, parts((X, X)), config(epochs=1, weight_lr_schedule="exponential"), loss=F.mse_loss)
    cfg = config(epochs=2, weight_lr_schedule="exponential")
    result = pydarts.train(stopped, parts((X, X)), cfg, StopAt(1, 1, press), loss=F.mse_loss)
    assert result.status == "interrupted" and len(result.history) == 1
    assert int(stopped.count) == int(whole.count) + 2 and not same(whole, stopped)


# ---- resuming

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


def mse(output: Tensor, targets: Tensor) -> Tensor:
    return ((output - targets) ** 2).mean()


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


# ---- errors

X, Y = regression()
NAMED = {"x": X[:, :3], "words": torch.zeros(60, 5).long()}
CONFIG, DATA = pydarts.ConfigError, pydarts.DataError
# name -> how the module is made, changes of the configuration, of the other arguments, the error and its fact
CASES: dict[str, tuple[Callable[[], Any], dict[str, Any], dict[str, Any], type[Exception], str]] = {
    "cutout": (lambda: net(4, 2), {"cutout": 4}, {}, CONFIG, "cutout.*4"),
    "augment": (lambda: net(4, 2), {"augment": "cifar"}, {}, CONFIG, "augment"),
    "mean": (lambda: net(4, 2), {"mean": [0.5], "std": [0.5]}, {}, CONFIG, "mean"),
    "auxiliary": (lambda: net(4, 2), {"auxiliary_weight": 0.3}, {}, CONFIG, "auxiliary_weight"),
    "eval_batch_size": (lambda: net(4, 2), {"eval_batch_size": 3}, {}, CONFIG, "eval_batch_size"),
    "bptt": (lambda: net(4, 2), {"bptt": 3}, {}, CONFIG, "bptt"),
    "smoothing with a loss": (lambda: net(4, 2), {"label_smoothing": 0.1}, {}, CONFIG, "label_smoothing"),
    "mode without metric": (lambda: net(4, 2), {"metric_mode": "min"}, {}, CONFIG, "metric"),
    "a class as metric": (lambda: net(4, 2), {}, {"metric": Largest}, TypeError, "Largest"),
    "unpack that is no function": (lambda: net(4, 2), {}, {"unpack": 3}, TypeError, "unpack"),
    "no module": (lambda: "net", {}, {}, TypeError, "str"),
    "a class": (lambda: Tied, {}, {}, TypeError, r"Tied\("),
    "a compiled module": (lambda: torch.compile(net(4, 2)), {}, {}, TypeError, "compile"),
    "a lazy module": (lambda: nn.LazyLinear(2), {}, {}, CONFIG, "weight"),
    "nothing to train": (lambda: net(4, 2).requires_grad_(False), {}, {}, CONFIG, "requires_grad_"),
    "half precision": (lambda: net(4, 2).half(), {}, {}, CONFIG, "float16"),
    "bfloat16 of doubles": (lambda: net(4, 2).double(), {"precision": "bfloat16"}, {}, CONFIG, "float64"),
    "cross-entropy of floats": (lambda: net(4, 3), {}, {"loss": None}, DATA, r"\[8, 3\].*loss"),
    "a dictionary without a loss": (
        lambda: seeded(Words), {}, {"loss": None, "loader": (NAMED, torch.zeros(60).long())},
        DATA, "dict.*loss",
    ),
    "no loss of a network": (lambda: net(4, 2), {}, {"loss": "network"}, DATA, r"\[8, 2\]"),
    "a loss without a graph": (
        lambda: net(4, 2), {}, {"loss": lambda output, targets: mse(output.detach(), targets)}, DATA, "graph",
    ),
    "metric of a language model": (
        lambda: pydarts.genotypes.DARTS_RNN_V2, {}, {"metric": mean_error}, CONFIG, "metric",
    ),
    "unpack of a language model": (
        lambda: pydarts.genotypes.DARTS_RNN_V2, {}, {"unpack": lambda batch: batch}, CONFIG, "unpack",
    ),
    "a choice": (
        lambda: nn.Sequential(pydarts.nn.Choice([nn.Linear(4, 2), nn.Linear(4, 2)])), {}, {},
        CONFIG, r"'0'.*pydarts\.nn\.fix",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_what_cannot_be_trained_is_named(name: str) -> None:
    make, changes, arguments, kind, fact = CASES[name]
    with pytest.raises(kind, match=fact):
        pydarts.train(make(), **{"loader": (X, Y), "cfg": config(**changes), "loss": mse, **arguments})


def test_fields_with_their_default_values_are_accepted() -> None:
    cfg = config(epochs=1, augment="none", cutout=0, auxiliary_weight=0.4)
    assert pydarts.train(net(4, 2), (X, Y), cfg, loss=mse).status == "complete"


def test_an_exception_of_the_network_comes_out_with_its_inputs() -> None:
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as caught:
        pydarts.train(Broken(4, 2), (X, Y), config(), loss=mse)
    if hasattr(caught.value, "__notes__"):
        assert any("Broken" in note and "[8, 4]" in note for note in caught.value.__notes__)
