"""The stream of events of a search with a module: callbacks, loggers, views, exceptions and Ctrl-C."""

from __future__ import annotations

import csv
import io
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from own_resume import STEPS, Drawing, config, data
from pydarts import Callback, LiveView, SearchResult
from pydarts._results.decisions import picked
from pydarts.loggers import CSV
from rich.console import Console
from searches import Listener
from torch import Tensor

TABLES = {"block": ("deep", "skip"), "block.candidates.deep.1": ("tanh", "relu"), "inputs": ("0", "1", "2")}


def right(output: Tensor, targets: Tensor) -> Tensor:
    return (output.argmax(1) == targets).double().mean()


def search(callbacks: Any = (), network: Any = Drawing, **changes: Any) -> SearchResult:
    arguments = {name: changes.pop(name) for name in ("loss", "metric") if name in changes}
    return pydarts.search(data(), config(**changes), callbacks, network=network, **arguments)


def test_events_come_in_order_and_name_the_choices() -> None:
    order: list[str] = []

    class Order(Listener):
        def on_start(self, info: pydarts.StartInfo) -> None:
            super().on_start(info)
            order.append("start")

        def on_step(self, info: pydarts.StepInfo) -> None:
            super().on_step(info)
            order.append("step")

        def on_epoch(self, info: pydarts.EpochInfo) -> None:
            super().on_epoch(info)
            order.append("epoch")

        def on_end(self, result: SearchResult) -> None:
            super().on_end(result)
            order.append("end")

    listener = Order()
    result = search(listener, metric=right)
    assert order == ["start", *(["step"] * STEPS + ["epoch"]) * 3, "end"]
    (start,) = listener.starts
    assert {name: table.candidates[0] for name, table in start.tables.items()} == TABLES
    assert start.steps_per_epoch == STEPS and start.first_epoch == 0
    assert [info.step for info in listener.steps] == list(range(3 * STEPS))
    for info, point in zip(listener.steps, range(1, 3 * STEPS + 1), strict=True):
        assert list(info.alphas) == list(info.strengths) == list(TABLES)
        for name, values in info.alphas.items():
            assert np.array_equal(values, result.alphas[name][point])
            assert info.strengths[name].sum(1) == pytest.approx([1.0])
        assert np.isfinite(info.train_loss) and info.train_accuracy is not None
    for info in listener.epochs:
        assert info.genotype is None and info.skip_connections is None
        assert info.architecture.keys() == TABLES.keys()
        assert info.architecture["block"] in TABLES["block"] and len(info.architecture["inputs"]) == 2
        assert set(info.entropy) == set(TABLES)
        assert info.metrics.keys() == {"right"} and info.metrics["right"] == info.valid_accuracy
    assert listener.epochs[-1].architecture == result.architecture
    assert listener.ends == [result]
    assert [info.metrics for info in listener.epochs] == [record.metrics for record in result.history]


def test_callbacks_do_not_change_a_search_and_see_their_own_generators() -> None:
    class Draws(Callback):
        def __init__(self) -> None:
            self.found: list[float] = []

        def on_step(self, info: pydarts.StepInfo) -> None:
            self.found.append(float(torch.rand(())))
            for values in (*info.alphas.values(), *info.strengths.values()):
                values.fill(9.0)

    expected = search()
    torch.manual_seed(5)
    draws = Draws()
    found = search(draws)
    for name, values in expected.alphas.items():
        assert np.array_equal(found.alphas[name], values)
    torch.manual_seed(5)
    assert draws.found == [float(torch.rand(())) for _ in draws.found]


@pytest.mark.parametrize("where", ["on_start", "on_step", "on_epoch", "on_end"])
def test_an_exception_of_a_callback_has_the_partial_result(where: str) -> None:
    class Fails(Callback):
        pass

    def fail(*_: Any) -> None:
        raise LookupError(where)

    listener, fails = Listener(), Fails()
    setattr(fails, where, fail)
    with pytest.raises(LookupError, match=where) as caught:
        search([fails, listener])
    result = caught.value.result  # type: ignore[attr-defined]
    steps = {"on_start": 0, "on_step": 1, "on_epoch": STEPS, "on_end": 3 * STEPS}[where]
    assert result.steps[-1] == steps
    assert result.status == ("complete" if where == "on_end" else "failed")
    assert len(listener.ends) == 1
    assert result.architecture.keys() == TABLES.keys()
    assert result.fixed_network()(data()[0]).shape == (64, 2)


class Counts(Drawing):
    """Calls `act` in the n-th forward pass."""

    def __init__(self, at: int, act: Any) -> None:
        super().__init__()
        self.at, self.act, self.passes = at, act, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        if self.passes == self.at:
            self.act()
        return super().forward(x)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def broken() -> None:
    raise LookupError("in the forward pass")


@pytest.mark.parametrize("at", [1, 2, 9, 20])
def test_ctrl_c_in_a_forward_pass_brings_the_partial_result(at: int) -> None:
    listener = Listener()
    result = search(listener, network=lambda: Counts(at, interrupt))
    assert result.status == "interrupted"
    assert result.steps[-1] < 3 * STEPS and len(listener.ends) == 1
    assert all(np.isfinite(values).all() for values in result.alphas.values())
    fixed: Any = result.fixed_network()
    fixed.at = 0  # a copy counts from the beginning
    assert fixed(data()[0]).shape == (64, 2)
    expected = search()
    for name, values in result.alphas.items():
        assert np.array_equal(values, expected.alphas[name][: len(values)])


@pytest.mark.parametrize("where", ["loss", "metric", "callback"])
def test_ctrl_c_elsewhere_brings_the_partial_result(where: str) -> None:
    calls = iter(range(1000))

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        if where == "loss" and next(calls) == 7:
            interrupt()
        return torch.nn.functional.cross_entropy(output, targets)

    def metric(output: Tensor, targets: Tensor) -> Tensor:
        if where == "metric" and next(calls) == 1:
            interrupt()
        return right(output, targets)

    class Stops(Callback):
        def on_epoch(self, info: pydarts.EpochInfo) -> None:
            if where == "callback":
                raise KeyboardInterrupt

    result = search(Stops(), loss=loss, metric=metric)
    assert result.status == "interrupted" and 0 < result.steps[-1] < 3 * STEPS


def test_an_exception_of_the_network_comes_back_as_it_is() -> None:
    with pytest.raises(LookupError, match="forward pass") as caught:
        search(network=lambda: Counts(9, broken))
    result = caught.value.result  # type: ignore[attr-defined]
    assert result.status == "failed" and 0 < result.steps[-1] < 3 * STEPS
    assert result.fixed_network()(data()[0]).shape == (64, 2)


def test_loggers_and_the_view_follow_a_module(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200, _environ={})
    view = LiveView(where="lines", console=console)
    result = search([CSV(tmp_path / "log.csv", tmp_path / "alphas.csv"), view], metric=right)
    with (tmp_path / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row, record in zip(rows, result.history, strict=True):
        assert float(row["metric_right"]) == record.metrics["right"]
        assert float(row["entropy_block"]) == pytest.approx(record.entropy["block"])
    with (tmp_path / "alphas.csv").open(newline="", encoding="utf-8") as file:
        last = [row for row in csv.DictReader(file) if row["epoch"] == "2"]
    assert [(row["table"], row["candidate"]) for row in last] == [
        (name, candidate) for name, names in TABLES.items() for candidate in names
    ]
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("epoch ") >= 3 and "genotype" not in text and "skips" not in text
    assert dict(picked(result.architecture)).keys() == TABLES.keys()


def test_the_bar_shows_no_skip_connections(capsys: pytest.CaptureFixture[str]) -> None:
    search(progress=True)
    shown = capsys.readouterr().err
    assert "epoch 3/3" in shown and "entropy" in shown and "skips" not in shown
    assert "12/12" in shown
