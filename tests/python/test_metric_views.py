"""Metrics where runs are shown: plots, cards, reports, bars, live views, diagnostics, loggers, commands."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from best import best_epoch
from commands import answered
from measured import RMSE, Given, config, net, searched
from pydarts import Callback, LiveView, SearchResult, loggers, plots
from pydarts._search.progress import values
from pydarts_cli.search import summary
from rich.console import Console
from scenes import on_screen, text_of

NAN = math.nan
RUNS: dict[str, Any] = {
    "a metric": RMSE,
    "a metric that is NaN once": [{"rmse": NAN}, {"rmse": 0.125}, {"rmse": NAN}],
    "a metric that is always NaN": [{"rmse": NAN}] * 3,
    "no metric": [{}] * 3,
    "strange names": [{"_cost in $": 1.0, "val/f1": 0.5, "a,b": 2.0}] * 3,
}


@pytest.fixture(params=RUNS)
def any_run(request: pytest.FixtureRequest) -> SearchResult:
    values = RUNS[request.param]
    return searched(values, metric_mode="min" if any(values) else "max")


@pytest.fixture
def run() -> SearchResult:
    return searched(RMSE, metric_mode="min")


def test_nothing_shows_what_there_is_not(any_run: SearchResult, tmp_path: Path) -> None:
    any_run.save(tmp_path / "run")
    said = [
        summary(any_run),
        str(any_run.diagnostics()),
        *answered("compare", tmp_path / "run").out.splitlines(),
    ]
    for text in said:
        assert "None" not in text and "nan%" not in text and "images" not in text, text
    page = any_run._repr_html_()
    assert "nan%" not in page and ">None<" not in page and ">nan<" not in page
    for draw in (any_run.plot_metrics, any_run.plot_accuracies, any_run.plot_losses):
        draw().figure.canvas.draw()


def test_a_plot_of_one_metric_is_titled_with_its_name() -> None:
    result = searched([{"rmse": value} for value in (0.5, 0.125, 0.75)], metric_mode="min")
    ax = result.plot_metrics().ax
    line, ring = ax.lines
    assert ax.get_ylabel() == "rmse" and line.get_ydata().tolist() == [0.5, 0.125, 0.75]
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert (ring.get_xdata().tolist(), ring.get_ydata().tolist()) == ([2], [0.125])
    highest = plots.metrics(result.history).ax.lines[-1]
    assert highest.get_ydata().tolist() == [0.75]


def test_a_plot_of_several_metrics_names_them_and_rings_the_first(run: SearchResult) -> None:
    ax = run.plot_metrics().ax
    assert [line.get_label() for line in ax.lines[:2]] == ["rmse", "mae"]
    assert ax.lines[1].get_ydata().tolist() == [0.25, 0.5, 0.0625]
    assert ax.lines[2].get_ydata().tolist() == [0.125]


def test_searches_with_the_same_metric_are_compared_by_it(
    run: SearchResult, tiny_result: SearchResult
) -> None:
    panel = plots.compare({"one": run, "other": run})[0]
    assert panel.get_ylabel() == "validation rmse" and panel.lines[0].get_ydata().tolist() == [
        0.5,
        0.125,
        0.75,
    ]
    assert plots.compare([run, tiny_result])[0].get_ylabel() == "validation accuracy, %"


def test_cards_and_reports_show_the_metric(run: SearchResult, tmp_path: Path) -> None:
    card = run._repr_html_()
    assert "validation rmse" in card and "0.75" in card and "0.125" in card and "train accuracy" not in card
    assert "measured:Given" in card
    page = run.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "validation rmse" in page and "best 0.125 in epoch 2" in page
    assert '"metric-0"' in page and '"metric-1"' in page and "metric_mode" in page


def test_diagnostics_are_about_the_metric(run: SearchResult) -> None:
    (found,) = (finding for finding in run.diagnostics() if finding.topic == "learning")
    assert found.values == {"metric": 0.75, "best": 0.125, "best_epoch": 1} and "rmse" in found.text
    without = searched(RUNS["a metric that is always NaN"]).diagnostics()
    (found,) = (finding for finding in without if finding.topic == "learning")
    assert found.level == "warning" and "rmse" in found.text


def test_a_run_with_accuracies_and_a_metric_shows_both() -> None:
    data = (np.ones((12, 3)), np.arange(12) % 3)
    result = pydarts.search(data, config(), network=net(3), metric=Given(RMSE))
    assert all(record.valid_accuracy is not None for record in result.history)
    assert best_epoch(result) == 2
    card = result._repr_html_()
    assert "validation rmse" in card and "validation accuracy" in card and "valid accuracy" in card
    found = [finding.values for finding in result.diagnostics() if finding.topic == "learning"]
    assert [*found[0]] == ["metric", "best", "best_epoch"]
    assert found[1]["valid_accuracy"] == result.history[-1].valid_accuracy


# ---- while it runs


class Keep(Callback):
    def __init__(self) -> None:
        self.said: list[dict[str, str]] = []

    def on_epoch(self, info: pydarts.EpochInfo) -> None:
        self.said.append(values(pydarts.SearchConfig(), info, "", self.tables, info.metrics))

    def on_start(self, info: pydarts.StartInfo) -> None:
        self.tables = info.tables


def test_the_bar_shows_the_metrics_of_the_last_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    keep = Keep()
    searched([{"rmse": 0.5, "entropy": 2.0}] * 3, keep, progress=True)
    assert keep.said[0]["rmse"] == "0.5" and keep.said[0]["metric entropy"] == "2"
    assert "acc" not in keep.said[0]
    assert "rmse 0.5" in capsys.readouterr().err


def test_a_live_view_in_a_log_has_the_metric() -> None:
    text = io.StringIO()
    searched(RMSE, LiveView(console=Console(file=text, width=200, _environ={})))
    lines = text.getvalue().splitlines()
    assert "rmse 0.5" in lines[0] and "mae 0.0625" in lines[2]


def test_a_live_view_in_a_terminal_has_curves_of_metrics() -> None:
    console = on_screen()
    searched(RMSE, LiveView(console=console))
    text = text_of(console)
    assert "rmse" in text and "0.75" in text and "acc." not in text.rpartition("rmse")[2]


def test_the_view_of_a_notebook_draws_metrics_instead_of_accuracies(run: SearchResult) -> None:
    from pydarts._show.live.notebook import moving
    from pydarts._show.live.scene import Scene

    scene = Scene(pydarts.StartInfo(run.config, 0, 2, run.tables))
    scene.end(run)
    labels = [ax.get_ylabel() for ax in moving(scene).axes]
    assert "metrics" in labels and "accuracy, %" not in labels


# ---- loggers


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_file_has_columns_of_metrics(tmp_path: Path) -> None:
    searched(RUNS["strange names"], loggers.CSV(tmp_path / "log.csv"))
    rows = rows_of(tmp_path / "log.csv")
    assert len(rows) == 3 and rows[2]["metric_a,b"] == "2.0" and rows[0]["metric_val/f1"] == "0.5"
    assert rows[0]["train_accuracy"] == "nan" and rows[0]["genotype"] == ""


def test_a_csv_file_of_a_resumed_search_keeps_its_columns(tmp_path: Path) -> None:
    path, run = tmp_path / "log.csv", str(tmp_path / "run")
    searched(RMSE[:1], loggers.CSV(path), epochs=1, checkpoint_dir=run)
    with pytest.warns(UserWarning, match="epochs"):
        searched(RMSE[1:2], loggers.CSV(path), epochs=2, checkpoint_dir=run, resume=True)
    assert [row["metric_rmse"] for row in rows_of(path)] == ["0.5", "0.125"]
    with pytest.raises(ValueError, match="metric_other"), pytest.warns(UserWarning, match="epochs"):
        searched([{"other": 1.0}], loggers.CSV(path), epochs=3, checkpoint_dir=run, resume=True)
    assert len(rows_of(path)) == 2


def test_tensorboard_has_the_metrics_and_the_best_one(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    searched(RMSE, loggers.TensorBoard(tmp_path), metric_mode="min")
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in events.Scalars("search/metric_mae")] == [0.25, 0.5, 0.0625]
    assert events.Scalars("best/valid_rmse")[0].value == 0.125


def test_mlflow_gets_names_that_it_accepts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow")
    address = (tmp_path / "mlruns").as_uri()
    searched(RUNS["strange names"], loggers.MLflow(tracking_uri=address))
    client = mlflow.MlflowClient(tracking_uri=address)
    (run,) = client.search_runs([client.get_experiment_by_name("pydarts").experiment_id])
    found = {name: value for name, value in run.data.metrics.items() if name.startswith("metric_")}
    assert found == {"metric__cost in _": 1.0, "metric_val/f1": 0.5, "metric_a_b": 2.0}


# ---- commands


def test_commands_show_the_metric(run: SearchResult, tmp_path: Path, tiny_result: SearchResult) -> None:
    line = summary(run)
    assert "rmse 0.75" in line and "0.125" in line and "epoch 2" in line
    for name, result in (("mine", run), ("cells", tiny_result)):
        result.save(tmp_path / name)
    mine, cells = answered("compare", tmp_path / "mine", tmp_path / "cells", "--json").json["runs"]
    assert (mine["measure"], mine["validation"], mine["best"]) == ("rmse", 0.75, 0.125)
    assert (cells["measure"], cells["validation"]) == ("accuracy", tiny_result.history[-1].valid_accuracy)
    table = answered("compare", tmp_path / "mine", tmp_path / "cells").out
    assert "rmse" in table and "0.125" in table and "%" in table
    files = answered("plot", tmp_path / "mine", "--out", tmp_path, "--json").json["files"]
    assert "metrics" in {Path(file).stem for file in files}
    assert "accuracies" not in {Path(file).stem for file in files}
    assert json.loads((tmp_path / "mine" / "history.json").read_text())[0]["metrics"] == RMSE[0]
