"""Metrics of the user: values over batches, objects with a state, seeds, errors; the default accuracy."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydarts._search.metrics import Metric, check_metric, correct, counter_of, metric_name
from torch import Tensor, nn
from torch.nn import functional as F


def mae(output: Tensor, targets: Tensor) -> Tensor:
    return (output - targets).abs().mean()


class Counting:
    """Counts and sums, as metrics of torchmetrics do."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.sum, self.n = 0.0, 0

    def update(self, output: Tensor, targets: Tensor) -> None:
        assert not output.requires_grad and not torch.is_grad_enabled()
        self.calls.append("update")
        self.sum, self.n = self.sum + float((output - targets).square().sum()), self.n + len(output)

    def compute(self) -> Tensor:
        self.calls.append("compute")
        return torch.tensor(self.sum / self.n).sqrt()

    def reset(self) -> None:
        self.calls.append("reset")
        self.sum, self.n = 0.0, 0


def over(metric: Any, *batches: tuple[Any, Any], seed: int = 0, step: int = 0) -> dict[str, float]:
    bound = Metric(metric, seed)
    bound.begin(step)
    for output, targets in batches:
        bound.add(output, targets, len(targets))
    return bound.measured()


# ---- functions


@given(st.lists(st.lists(st.floats(-9, 9), min_size=1, max_size=5), min_size=1, max_size=4))
def test_the_mean_of_a_function_is_weighted_by_examples(batches: list[list[float]]) -> None:
    pairs = [(torch.tensor(part), torch.zeros(len(part))) for part in batches]
    found = over(mae, *pairs)
    every = torch.tensor([value for part in batches for value in part])
    assert list(found) == ["mae"]
    assert found["mae"] == pytest.approx(float(every.abs().mean()), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2), np.array([2]), torch.tensor(2), torch.tensor([[2.0]]), True + 1]
)
def test_a_value_is_any_kind_of_number(value: Any) -> None:
    assert over(lambda output, targets: value, (torch.zeros(3), torch.zeros(3))) == {"metric": 2.0}


def test_a_function_may_return_several_values_and_their_order_is_kept() -> None:
    def both(output: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"val/rmse": (output - targets).square().mean(), "mae": mae(output, targets)}

    found = over(both, (torch.ones(1), torch.zeros(1)), (torch.full((3,), 3.0), torch.zeros(3)))
    assert list(found.items()) == [("val/rmse", 7.0), ("mae", 2.5)]


@pytest.mark.parametrize("value", [math.nan, math.inf, torch.tensor(-math.inf)])
def test_a_value_that_is_not_finite_is_recorded_as_nan(value: Any) -> None:
    assert math.isnan(over(lambda output, targets: value, (torch.zeros(1), torch.zeros(1)))["metric"])


def test_outputs_and_targets_arrive_as_they_are_without_graphs() -> None:
    seen: list[Any] = []

    def keep(output: Any, targets: Any) -> float:
        seen.append((output, targets))
        return 0.0

    output = {"a": (torch.ones(2, requires_grad=True) * 2, "text"), "b": [torch.zeros(2)]}
    targets = {"y": torch.zeros(2), "ids": None}
    over(keep, (output, targets))
    (found, wanted), a = seen[0], seen[0][0]["a"][0]
    assert set(found) == {"a", "b"} and isinstance(found["a"], tuple) and found["a"][1] == "text"
    assert a.tolist() == [2.0, 2.0] and not a.requires_grad
    assert wanted["ids"] is None and torch.equal(wanted["y"], torch.zeros(2))


def test_what_a_metric_draws_is_a_function_of_seed_step_and_batch() -> None:
    def drawn(output: Tensor, targets: Tensor) -> Tensor:
        return torch.rand(()) + np.random.rand()

    pairs = [(torch.zeros(1), torch.zeros(1))] * 2
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = over(drawn, *pairs, seed=3, step=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert over(drawn, *pairs, seed=3, step=5) == first
    assert over(drawn, *pairs, seed=3, step=6) != first and over(drawn, *pairs, seed=4, step=5) != first
    assert over(drawn, pairs[0], seed=3, step=5) != first


# ---- objects with a state


def test_an_object_is_reset_updated_and_computed_in_every_evaluation() -> None:
    metric = Counting()
    bound = Metric(metric, seed=0)
    for value in (3.0, 4.0):
        bound.begin(step=0)
        for n in (1, 2):
            bound.add(torch.full((n,), value, requires_grad=True), torch.zeros(n), n)
        assert bound.measured() == {"Counting": value}
    assert metric.calls == ["reset", "update", "update", "compute"] * 2


def test_an_evaluation_that_did_not_end_leaves_nothing() -> None:
    bound = Metric(mae, seed=0)
    bound.begin(step=0)
    bound.add(torch.full((1,), 9.0), torch.zeros(1), 1)
    bound.begin(step=0)
    bound.add(torch.ones(1), torch.zeros(1), 1)
    assert bound.measured() == {"mae": 1.0}
    bound.add(torch.full((1,), 9.0), torch.zeros(1), 1)  # a loss outside of an evaluation
    assert bound.measured() == {"mae": 1.0}


class Module(nn.Module):
    """A metric as torchmetrics has them: a module, callable, with a device."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(()))

    def to(self, *arguments: Any, **names: Any) -> Any:
        self.moved_to = arguments
        return self

    def update(self, output: Tensor, targets: Tensor) -> None:
        self.total += (output == targets).sum()

    def compute(self) -> dict[str, Tensor]:
        return {"hits": self.total, "half": self.total / 2}

    def reset(self) -> None:
        self.total = torch.zeros(())

    def forward(self, output: Tensor, targets: Tensor) -> Tensor:
        raise AssertionError("its methods are used instead")


def test_a_module_is_moved_to_the_device_of_the_outputs_and_may_give_several_values() -> None:
    metric = Module()
    assert over(metric, (torch.zeros(3), torch.zeros(3))) == {"hits": 3.0, "half": 1.5}
    assert metric.moved_to == (torch.device("cpu"),)


# ---- names and errors


def test_names_are_those_of_functions_and_classes() -> None:
    assert metric_name(mae) == "mae" and metric_name(Counting()) == "Counting"
    assert metric_name(functools.partial(F.mse_loss, reduction="mean")) == "mse_loss"
    assert metric_name(lambda output, targets: 0.0) == "metric"


@pytest.mark.parametrize("metric", [3, "f1", [mae], object()])
def test_what_is_no_metric_is_refused(metric: Any) -> None:
    with pytest.raises(TypeError, match=type(metric).__name__):
        check_metric(metric)


def test_a_class_is_refused_with_its_name() -> None:
    with pytest.raises(TypeError, match=r"metric=Counting\(\)"):
        check_metric(Counting)


def test_a_mode_without_a_metric_is_refused() -> None:
    check_metric(None)
    check_metric(mae, "min")
    with pytest.raises(pydarts.ConfigError, match="metric_mode"):
        check_metric(None, "min")


@pytest.mark.parametrize(("better", "mode"), [(False, "max"), (True, "min")])
def test_a_mode_against_what_the_metric_says_is_hinted_at(better: bool, mode: str) -> None:
    class Said(Counting):
        higher_is_better = better

    with pytest.warns(UserWarning, match="metric_mode"):
        check_metric(Said(), mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_metric(Said(), "max" if mode == "min" else "min")


@pytest.mark.parametrize(
    ("value", "error", "fact"),
    [
        (torch.zeros(3), pydarts.DataError, r"\[3\]"),
        (np.zeros((2, 2)), pydarts.DataError, r"\[2, 2\]"),
        (torch.tensor(1j), pydarts.DataError, "complex"),
        (None, TypeError, "None"),
        ("0.5", TypeError, "0.5"),
        ([0.5], TypeError, "0.5"),
        ({}, pydarts.DataError, "empty"),
        ({3: 0.5}, pydarts.DataError, "3"),
        ({" f1": 0.5}, pydarts.DataError, "f1"),
        ({"f1": torch.zeros(2)}, pydarts.DataError, "f1"),
    ],
)
def test_what_is_no_number_is_refused_with_what_it_is(value: Any, error: Any, fact: str) -> None:
    with pytest.raises(error, match=fact):
        over(lambda output, targets: value, (torch.zeros(1), torch.zeros(1)))


def test_names_must_stay_the_same() -> None:
    values = iter([{"a": 1.0}, {"b": 1.0}])
    with pytest.raises(pydarts.DataError, match="b"):
        over(lambda output, targets: next(values), *[(torch.zeros(1), torch.zeros(1))] * 2)


def test_an_exception_of_the_metric_comes_out_unchanged() -> None:
    def wrong(output: Tensor, targets: Tensor) -> float:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        over(wrong, (torch.zeros(1), torch.zeros(1)))


# ---- the default accuracy


@given(st.data())
def test_correct_predictions_are_counted_with_any_trailing_dimensions(data: Any) -> None:
    n, c = data.draw(st.integers(1, 4)), data.draw(st.integers(2, 4))
    rest = data.draw(st.lists(st.integers(1, 3), max_size=3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    output = torch.from_numpy(rng.normal(size=(n, c, *rest)))
    targets = torch.from_numpy(rng.integers(0, c, (n, *rest)))
    hits = (output.argmax(1) == targets).double().mean() * n
    assert float(correct(output, targets)) == pytest.approx(float(hits))
    soft = torch.from_numpy(rng.random((n, c, *rest)))
    hits = (output.argmax(1) == soft.argmax(1)).double().mean() * n
    assert float(correct(output, soft)) == pytest.approx(float(hits))


def test_the_count_of_classes_is_exact() -> None:
    output, targets = torch.eye(3).repeat(7, 1), torch.arange(21) % 3
    targets[0] = 2
    found = correct(output, targets)
    assert found is not None and found.dtype == torch.float64 and float(found) == 20.0


def test_ignored_positions_are_not_counted() -> None:
    output = torch.tensor([[[9.0, 0.0, 9.0, 0.0], [0.0, 9.0, 0.0, 9.0]]])  # classes 0, 1, 0, 1
    targets = torch.tensor([[0, 0, -100, -100]])
    assert float(correct(output, targets)) == 0.5
    assert float(correct(output, torch.tensor([[0, 7, 7, 1]]), ignore_index=7)) == 1.0


@pytest.mark.parametrize(
    ("output", "targets"),
    [
        (torch.zeros(4), torch.zeros(4)),  # a regression
        (torch.zeros(4, 1), torch.zeros(4, 1)),
        (torch.zeros(4, 1), torch.zeros(4, dtype=torch.long)),  # one class
        (torch.zeros(4, 3), torch.zeros(4, 3, dtype=torch.long)),  # several labels as whole numbers
        (torch.zeros(4, 3), torch.zeros(4, 2)),
        (torch.zeros(4, 3), torch.zeros(4, dtype=torch.bool)),
        (torch.zeros(4, 3, 5), torch.zeros(4, 6, dtype=torch.long)),
        (torch.zeros(4, 3, dtype=torch.long), torch.zeros(4, dtype=torch.long)),
        ((torch.zeros(4, 3),), torch.zeros(4, dtype=torch.long)),
        (torch.zeros(4, 3), {"y": torch.zeros(4)}),
    ],
)
def test_there_is_no_accuracy_where_shapes_do_not_mean_classes(output: Any, targets: Any) -> None:
    assert correct(output, targets) is None


def test_accuracy_is_counted_where_the_loss_is_a_cross_entropy() -> None:
    output, targets = torch.eye(2), torch.tensor([0, 7])
    for loss in (
        nn.CrossEntropyLoss(ignore_index=7, label_smoothing=0.1),
        functools.partial(F.cross_entropy, ignore_index=7),
    ):
        counter = counter_of(loss)
        assert counter is not None and float(counter(output, targets)) == 2.0
    for loss in (None, F.cross_entropy, nn.CrossEntropyLoss()):
        counter = counter_of(loss)
        assert counter is not None and float(counter(output, torch.tensor([0, 0]))) == 1.0
    for loss in (F.mse_loss, mae, nn.BCEWithLogitsLoss(), functools.partial(F.mse_loss), "network"):
        assert counter_of(loss) is None
