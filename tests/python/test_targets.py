"""Targets of any shape and dtype, metrics and `unpack` in spaces of images and sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from best import best_epoch
from conftest import make_arrays, make_config
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

IMAGES, LABELS = (torch.as_tensor(part) for part in make_arrays())
X = IMAGES.float() / 255
MEANS = X.mean((1, 2, 3))
HOT = F.one_hot(LABELS.long(), 4).float()
ROWS = [{"image": X[row], "label": int(LABELS[row]), "id": row} for row in range(len(X))]
V2 = pydarts.genotypes.DARTS_V2


def mse(output: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(output[:, 0], targets)


def mae(output: Tensor, targets: Tensor) -> Tensor:
    return F.l1_loss(output[:, 0], targets)


def searched(data: Any, loss: Any = None, metric: Any = None, unpack: Any = None, **changes: Any) -> Any:
    return pydarts.search(data, make_config(**changes), loss=loss, metric=metric, unpack=unpack)


def trained(data: Any, classes: int = 4, **arguments: Any) -> Any:
    changes = arguments.pop("changes", {})
    given: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 8,
        "progress": False,
        "seed": 1,
        "auxiliary_weight": 0.3,
    }
    torch.manual_seed(0)
    network = pydarts.build(V2, channels=2, layers=3, num_classes=classes, in_channels=1)
    if not arguments.pop("auxiliary", False):
        del given["auxiliary_weight"]
    return pydarts.train(network, data, pydarts.TrainConfig(**(given | changes)), **arguments)


def as_loader(x: Tensor, y: Tensor) -> Any:
    return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)


def as_lists(x: Tensor, y: Tensor) -> Any:
    half = len(x) // 2
    batches = [(x[row : row + 8], y[row : row + 8]) for row in range(0, len(x), 8)]
    return batches[: half // 8], batches[half // 8 :]


SOURCES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "arrays": lambda x, y: (x, y),
    "numpy": lambda x, y: (x.numpy(), y.numpy()),
    "pair": lambda x, y: ((x[:24], y[:24]), (x[24:], y[24:])),
    "loader": as_loader,
    "lists": as_lists,
}
TARGETS: dict[str, tuple[Tensor, torch.dtype]] = {
    "a number": (MEANS, torch.float32),
    "float64": (MEANS.double(), torch.float32),
    "several numbers": (torch.stack([MEANS, -MEANS], 1), torch.float32),
    "several labels": (HOT + HOT.roll(1, 1), torch.float32),
    "whole numbers": ((HOT + HOT.roll(1, 1)).int(), torch.int32),
    "booleans": (MEANS.median() < MEANS, torch.bool),
    "masks": ((X[:, 0] > 0.5).byte(), torch.uint8),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", TARGETS)
def test_a_loss_reads_targets_of_any_shape_and_dtype(kind: str, source: str) -> None:
    targets, dtype = TARGETS[kind]
    seen = set()

    def loss(output: Tensor, y: Tensor) -> Tensor:
        seen.add((y.dtype, tuple(y.shape[1:])))
        assert len(y) == len(output) and output.shape[1] == 3
        return (
            (output.mean(1) - y.float().flatten(1 if y.ndim > 1 else 0).view(len(y), -1).mean(1))
            .square()
            .mean()
        )

    data = SOURCES[source](X, targets)
    result = searched(data, loss, num_classes=3, epochs=1)
    record = result.history[-1]
    assert result.status == "complete" and seen == {(dtype, tuple(targets.shape[1:]))}
    assert record.train_accuracy is record.valid_accuracy is result.class_counts is None
    assert np.isfinite(record.valid_loss)
    assert result.diagnostics()


def test_micro_batches_divide_targets_by_rows() -> None:
    seen = set()

    def loss(output: Tensor, y: Tensor) -> Tensor:
        seen.add((torch.is_grad_enabled() and output.requires_grad, tuple(y.shape)))
        return F.mse_loss(output, y)

    targets = torch.stack([MEANS, -MEANS], 1)
    searched((X, targets), loss, num_classes=2, epochs=1, micro_batch=4, hypergradient="first_order")
    assert (True, (4, 2)) in seen and (True, (8, 2)) not in seen


def test_evaluations_are_measured_with_running_statistics() -> None:
    held: list[tuple[Tensor, Tensor]] = []

    def kept(output: Tensor, y: Tensor) -> Tensor:
        assert not output.requires_grad
        held.append((output.clone(), y.clone()))
        return F.cross_entropy(output, y)

    data = (X[:24], LABELS[:24]), (X[24:], LABELS[24:])
    result = searched(data, metric=kept, metric_mode="min", epochs=1, precision="float64")
    output, y = (torch.cat(parts) for parts in zip(*held, strict=True))
    assert torch.equal(y, LABELS[24:].long())
    net = pydarts.Supernet(config=result.config, precision="float64")
    net.load_state_dict(result.state_dict)
    net.set_alphas({name: values[-1] for name, values in result.alphas.items()})
    loss, correct = net.evaluate(X[24:].double(), LABELS[24:])
    record = result.history[0]
    assert record.metrics == {"kept": pytest.approx(loss)} and record.valid_loss == pytest.approx(loss)
    assert float(F.cross_entropy(output, y)) == pytest.approx(loss)
    assert record.valid_accuracy == correct / 24


class Given:
    """A metric with a state, whose values are given."""

    def __init__(self) -> None:
        self.values = [3.0, 1.0, 2.0]

    def update(self, output: Tensor, targets: Tensor) -> None: ...

    def compute(self) -> float:
        return self.values.pop(0)

    def reset(self) -> None: ...


@pytest.mark.parametrize(("mode", "best"), [("max", 0), ("min", 1)])
def test_best_follows_the_metric(mode: str, best: int) -> None:
    changes = {"metric_mode": mode, "epochs": 3}
    result = searched((X, LABELS), metric=Given(), **changes)
    assert [record.metrics for record in result.history] == [{"Given": value} for value in (3.0, 1.0, 2.0)]
    assert best_epoch(result) == best
    found = trained((X, LABELS), metric=Given(), changes=changes | {"keep": "best"})
    assert [record.metrics for record in found.history] == [record.metrics for record in result.history]
    assert best_epoch(found) == best


def test_a_metric_changes_nothing_else() -> None:
    plain, measured = searched((X, LABELS)), searched((X, LABELS), metric=lambda output, y: torch.rand(()))
    for one, other in zip(plain.history, measured.history, strict=True):
        assert one.valid_loss == other.valid_loss and not one.metrics and list(other.metrics) == ["metric"]
    assert all(np.array_equal(values, measured.alphas[name]) for name, values in plain.alphas.items())


# ---- probabilities


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("loss", [None, nn.CrossEntropyLoss()])
def test_one_hot_probabilities_are_labels(loss: Any, source: str) -> None:
    changes = {"precision": "float64", "epochs": 1} | ({} if loss is None else {"num_classes": 4})
    make = SOURCES[source]
    one = searched(make(X, LABELS), loss, **changes).history[0]
    result = searched(make(X, HOT), loss, **changes)
    other = result.history[0]
    assert result.config.num_classes == 4 and result.class_counts is None
    assert (one.train_accuracy, one.valid_accuracy) == (other.train_accuracy, other.valid_accuracy)
    assert other.valid_loss == pytest.approx(one.valid_loss, rel=1e-9)


def test_a_supernet_takes_probabilities() -> None:
    net = pydarts.Supernet(
        channels=2, layers=3, num_classes=4, in_channels=1, image_size=8, precision="float64"
    )
    x, soft = X[:8].double(), torch.softmax(torch.arange(32.0).view(8, 4).double() % 5, 1)
    assert net.loss(x, soft) == pytest.approx(float(F.cross_entropy(net.logits(x), soft)), rel=1e-12)
    one, other = (net.arch_gradient(valid=(x, y), hypergradient="first_order") for y in (LABELS[:8], HOT[:8]))
    assert all(torch.allclose(one[name], other[name], rtol=1e-9, atol=1e-14) for name in one)
    with pytest.raises(pydarts.DataError, match=r"\[8, 3\]"):
        net.loss(x, soft[:, :3])


def test_a_training_takes_probabilities_and_an_auxiliary_head_too() -> None:
    one, other = (trained((X, y)).history for y in (LABELS, HOT))
    for before, after in zip(one, other, strict=True):
        assert (before.train_accuracy, before.valid_accuracy) == (after.train_accuracy, after.valid_accuracy)
        assert after.valid_loss == pytest.approx(before.valid_loss, rel=1e-5)
    smooth = trained((X, HOT), changes={"label_smoothing": 0.1, "epochs": 1}).history[0]
    hard = trained((X, LABELS), changes={"label_smoothing": 0.1, "epochs": 1}).history[0]
    assert smooth.train_loss == pytest.approx(hard.train_loss, rel=1e-5)


# ---- trainings and sequences


def test_a_network_of_a_genotype_learns_a_regression() -> None:
    result = trained((X, MEANS), 1, loss=mse, metric=mse, changes={"metric_mode": "min", "keep": "best"})
    for record in result.history:
        assert record.metrics == {"mse": pytest.approx(record.valid_loss)}
        assert record.train_accuracy is record.valid_accuracy is record.valid_top5 is None
    lowest = min(result.history, key=lambda record: record.valid_loss)
    assert result.best is lowest


def test_sequences_have_targets_of_any_kind() -> None:
    lines = X[:, :, 0].repeat(1, 1, 2)
    result = searched(
        (lines, lines.mean((1, 2))), mse, mae, space="darts-1d", operations=None, nodes=None, num_classes=1,
        epochs=1, metric_mode="min",
    )  # fmt: skip
    assert list(result.history[0].metrics) == ["mae"]


@pytest.mark.long
def test_cells_are_compared_by_a_regression() -> None:
    select = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    network = {"num_classes": 1, "channels": 2, "layers": 3}
    table = pydarts.compare({"a": V2}, (X, MEANS), select, loss=mse, network=network, random=0)
    assert [row.name for row in table] == ["a"]


# ---- unpack


def pair_of(batch: Any) -> Any:
    return batch["image"], batch["label"]


UNPACKED: dict[str, tuple[Any, Any]] = {
    "dictionaries": (lambda: DataLoader(ROWS, batch_size=8, shuffle=True), pair_of),
    "triples": (
        lambda: DataLoader(TensorDataset(X, LABELS, MEANS), batch_size=8, shuffle=True),
        lambda batch: batch[:2],
    ),
    "workers": (lambda: DataLoader(ROWS, batch_size=8, shuffle=True, num_workers=1), pair_of),
}


@pytest.mark.parametrize("name", UNPACKED)
def test_unpack_makes_pairs_of_batches(name: str) -> None:
    make, unpack = UNPACKED[name]
    pairs = DataLoader(TensorDataset(X, LABELS), batch_size=8, shuffle=True)
    one, other = searched(pairs), searched(make(), unpack=unpack)
    assert other.config.num_classes == one.config.num_classes == 4
    assert [record.valid_loss for record in one.history] == [record.valid_loss for record in other.history]
    assert all(np.array_equal(values, other.alphas[name]) for name, values in one.alphas.items())
    one, other = trained(pairs), trained(make(), unpack=unpack)
    assert [record.train_loss for record in one.history] == [record.train_loss for record in other.history]


def test_what_unpack_draws_is_seeded() -> None:
    def noisy(batch: Any) -> Any:
        return batch["image"] + torch.rand(()), batch["label"]

    first, second = (searched(DataLoader(ROWS, batch_size=8), unpack=noisy, epochs=1) for _ in range(2))
    assert first.history[0].valid_loss == second.history[0].valid_loss


# ---- resume and errors


@pytest.mark.parametrize("run", [searched, trained])
def test_other_targets_functions_are_refused_in_a_resumed_run(run: Any, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"num_classes": 1} if run is searched else {}

    def again(targets: Tensor, metric: Any = mae, resume: bool = True) -> Any:
        changes = {"checkpoint_dir": str(tmp_path), "resume": resume, "metric_mode": "min"} | sizes
        given = changes if run is searched else {"changes": changes, "classes": 1}
        return run((X, targets), loss=mse, metric=metric, **given)

    whole = again(MEANS, resume=False)
    assert [record.metrics for record in again(MEANS).history] == [record.metrics for record in whole.history]
    for targets, metric, fact in (
        (MEANS + 1, mae, "labels"),
        (MEANS[:, None].repeat(1, 2), mae, "targets"),
        (MEANS, mse, "metric"),
    ):
        with pytest.raises(pydarts.CheckpointError, match=fact):
            again(targets, metric)


def rows() -> Any:
    return DataLoader(ROWS, batch_size=8)


def with_nan(row: int) -> Tensor:
    found = MEANS.clone()
    found[row] = torch.nan
    return found


CONFIG, DATA = pydarts.ConfigError, pydarts.DataError
ERRORS: dict[str, tuple[Any, str, Callable[[], Any]]] = {
    "no number of outputs": (CONFIG, "num_classes", lambda: searched((X, MEANS), mse)),
    "no number of outputs in a loader": (CONFIG, "num_classes", lambda: searched(as_loader(X, MEANS), mse)),
    "floats without a loss": (DATA, "loss", lambda: searched((X, MEANS))),
    "several labels without a loss": (DATA, r"number 0 .*loss", lambda: searched((X, HOT + HOT.roll(1, 1)))),
    "negative probabilities": (DATA, "number 0", lambda: searched((X, HOT * 3 - HOT.roll(1, 1) * 2))),
    "other probabilities": (DATA, "4.*num_classes is 5", lambda: searched((X, HOT), num_classes=5)),
    "other probabilities in a loader": (
        DATA, "4.*num_classes is 5", lambda: searched(as_loader(X, HOT), num_classes=5),
    ),
    "NaN": (DATA, "number 7", lambda: searched((X, with_nan(7)), mse, num_classes=1)),
    "too few": (DATA, r"\[40\].*48", lambda: searched((X, MEANS[:40]), mse, num_classes=1)),
    "labels with a loss": (
        DATA, "num_classes=2", lambda: searched((X, LABELS), F.cross_entropy, num_classes=2),
    ),
    "a dictionary": (DATA, r'unpack=.*batch\["image"\], batch\["label"\]', lambda: searched(rows())),
    "unpack makes no pair": (DATA, "unpack.*image", lambda: searched(rows(), unpack=lambda b: b)),
    "unpack of arrays": (CONFIG, "unpack", lambda: searched((X, LABELS), unpack=pair_of)),
    "a class as unpack": (TypeError, "dict", lambda: searched(rows(), unpack=dict)),
    "metric_mode alone": (CONFIG, "metric_mode", lambda: searched((X, LABELS), metric_mode="min")),
    "a class as metric": (TypeError, "Given", lambda: searched((X, LABELS), metric=Given)),
    "metric of a text": (CONFIG, "metric", lambda: text(metric=mae)),
    "unpack of a text": (CONFIG, "unpack", lambda: text(unpack=pair_of)),
}  # fmt: skip


def text(**arguments: Any) -> Any:
    tokens = torch.arange(400) % 7
    cfg = pydarts.SearchConfig(space="darts-rnn", units=4, epochs=1, progress=False)
    return pydarts.search((tokens, tokens), cfg, **arguments)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_to_do(name: str) -> None:
    kind, pattern, call = ERRORS[name]
    with pytest.raises(kind, match=pattern):
        call()
