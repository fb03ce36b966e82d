"""Metrics in records, events, files and tables; which epoch is the best; scores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from best import best_epoch
from measured import RMSE, searched
from pydarts import EpochRecord, History, SearchResult, SearchRow, SearchTable, TrainRecord
from pydarts._protocol.job import _found
from pydarts._results.history import record_from
from pydarts._results.score import best_of, score_of
from searches import Listener

NAN = math.nan
pytestmark = pytest.mark.filterwarnings("ignore:epochs rises")


def record(epoch: int, loss: float = 1.0, accuracy: float | None = None, **metrics: float) -> EpochRecord:
    return EpochRecord(epoch, loss, loss, accuracy, accuracy, 0.1, {"a": 1.0}, None, 0.5, metrics=metrics)


def test_records_and_events_hold_the_metrics_in_their_order() -> None:
    listener = Listener()
    result = searched(RMSE, listener)
    assert [[*record.metrics.items()] for record in result.history] == [[*row.items()] for row in RMSE]
    assert [info.metrics for info in listener.epochs] == [record.metrics for record in result.history]
    table = result.history.to_pandas()
    assert [name for name in table if name.startswith("metric_")] == ["metric_rmse", "metric_mae"]
    assert table["metric_mae"].tolist() == [0.25, 0.5, 0.0625]
    assert "rmse 0.75" in repr(result.history) and "mae 0.0625" in repr(result.history)


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 1)])
def test_the_best_epoch_follows_the_first_metric(mode: Any, best: int, tmp_path: Path) -> None:
    result = searched(RMSE, metric_mode=mode)
    assert best_epoch(result) == best
    result.save(tmp_path)
    assert json.loads((tmp_path / "result.json").read_text())["best"] == best
    assert best_epoch(SearchResult.load(tmp_path)) == best


@pytest.mark.parametrize(
    ("records", "mode", "best"),
    [
        ([record(0, f1=0.5), record(1, f1=0.5), record(2, f1=0.25)], "max", 0),
        ([record(0, f1=NAN), record(1, f1=0.5), record(2, f1=0.75)], "min", 1),
        ([record(0, 3.0, 0.5, f1=0.5), record(1, 1.0, 0.9, f1=0.25)], "max", 0),
        ([record(0, 3.0, 0.5, f1=NAN), record(1, 4.0, 0.9, f1=NAN)], "max", 1),
        ([record(0, 3.0, f1=NAN), record(1, 2.0, f1=NAN)], "min", 1),
        ([record(0, 3.0, 0.5), record(1, 2.0, 0.25)], "min", 0),
        ([record(0, 3.0), record(1, NAN), record(2, 2.0)], "max", 2),
        ([record(0, NAN), record(1, NAN)], "max", 0),
        ([record(0), record(1, f1=0.5)], "max", 1),
    ],
)
def test_the_best_is_by_metric_then_accuracy_then_loss(
    records: list[EpochRecord], mode: str, best: int
) -> None:
    assert best_of(records, mode).epoch == best


def test_a_score_has_name_values_and_format() -> None:
    metric = score_of([record(0, 1.0, 0.5, accuracy_=0.25)])
    assert (metric.name, metric.percent, metric.train) == ("accuracy_", False, None)
    accuracy = score_of([record(0, 1.0, 0.5)])
    assert (accuracy.name, accuracy.text(0.25), accuracy.label) == (
        "accuracy",
        "25.0%",
        "validation accuracy, %",
    )
    loss = score_of([record(0, 1.5)])
    assert (loss.name, loss.highest, loss.text(1234.5678), loss.text(NAN)) == ("loss", False, "1,235", "–")
    words = score_of([record(0, 0.0, 0.5)], words=True)
    assert (words.name, words.valid(record(0, 0.0))) == ("perplexity", 1.0)


def test_a_metric_named_accuracy_is_not_taken_for_per_cent() -> None:
    epoch = EpochRecord(0, 1.0, 1.0, None, None, 0.1, {}, None, 1.0, metrics={"accuracy": 93.0})
    score = score_of([epoch])
    assert score.metric and score.text(score.valid(epoch)) == "93"


def test_nan_survives_files_and_checkpoints(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    searched([{"rmse": NAN, "mae": 1.0}], epochs=1, checkpoint_dir=run)
    result = searched([{"rmse": 0.5, "mae": 2.0}], epochs=2, checkpoint_dir=run, resume=True)
    first, second = result.history
    assert math.isnan(first.metrics["rmse"]) and [*first.metrics] == ["rmse", "mae"]
    assert second.metrics == {"rmse": 0.5, "mae": 2.0} and best_epoch(result) == 1
    result.save(tmp_path / "saved")
    loaded = SearchResult.load(tmp_path / "saved")
    assert math.isnan(loaded.history[0].metrics["rmse"]) and loaded.history[1] == second


def test_the_mode_may_change_when_a_search_is_resumed(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert best_epoch(searched(RMSE, checkpoint_dir=run)) == 2
    again = searched(RMSE, checkpoint_dir=run, resume=True, metric_mode="min")
    assert best_epoch(again) == 1


def test_without_metrics_histories_are_written_as_before(tmp_path: Path, tiny_result: SearchResult) -> None:
    assert all(record.metrics == {} for record in tiny_result.history)
    tiny_result.save(tmp_path)
    rows = json.loads((tmp_path / "history.json").read_text())
    assert all("metrics" not in row for row in rows)
    assert not any("metric" in name for name in tiny_result.history.to_pandas())
    assert SearchResult.load(tmp_path).history == tiny_result.history


def test_records_of_earlier_versions_are_read_and_wrong_ones_refused() -> None:
    plain = History([record(0, 1.0, 0.5)]).to_dicts()[0]
    assert record_from(plain, EpochRecord) == record(0, 1.0, 0.5)
    found = record_from({**plain, "metrics": {"f1": None, "mae": 1}}, EpochRecord)
    assert math.isnan(found.metrics["f1"]) and found.metrics["mae"] == 1.0
    with pytest.raises((TypeError, ValueError)):
        record_from({**plain, "metrics": {"f1": [0.5]}}, EpochRecord)
    trained = TrainRecord(0, 1.0, 1.0, None, None, 0.1, averaged=False, seconds=1.0, metrics={"f1": 0.5})
    assert record_from(History([trained]).to_dicts()[0], TrainRecord) == trained
    assert hash(trained) == hash(trained)


# ---- tables of cells


def rows(mode: Any = "max") -> SearchTable:
    values = {"seed 0": 0.5, "seed 1": NAN, "random 0": 0.25, "random 1": 0.125}
    return SearchTable(
        SearchRow(
            name=name, origin="random" if "random" in name else "searched", status="complete", loss=1.0,
            metric="rmse", metric_mode=mode, search_value=2 * value, value=value,
        )
        for name, value in values.items()
    )  # fmt: skip


def test_rows_are_compared_by_the_metric(tmp_path: Path) -> None:
    table = rows()
    assert table.best is table[0] and table.summary("searched").n == 1
    assert table.summary("random").mean == pytest.approx(0.1875)
    text = str(table)
    assert "nan" not in text and "None" not in text and "%" not in text
    assert "rmse" in text and "0.5" in text
    ax = table.plot().ax
    assert ax.get_ylabel() == "validation rmse"
    assert sorted(y for line in ax.lines if line.get_marker() == "o" for y in line.get_ydata())[-1] == 0.5
    table.save(tmp_path / "table.csv")
    found = SearchTable.load(tmp_path / "table.csv")
    assert str(found) == text and found[0] == table[0]
    assert "rmse" in table._repr_html_()


def test_small_values_are_the_best_in_mode_min() -> None:
    first = SearchRow(name="a", origin="given", status="complete", loss=1.0, metric="rmse", value=0.5)
    table = SearchTable([first, *rows("min")])
    both = [SearchRow(**{**vars(row), "metric_mode": "min"}) for row in table]
    both[0] = SearchRow(**{**vars(both[0]), "value": 0.25})
    assert SearchTable(both).best == both[0]


def test_tables_without_metrics_have_the_columns_of_before(tmp_path: Path) -> None:
    table = SearchTable([SearchRow(name="a", origin="given", status="complete", accuracy=0.5, loss=1.0)])
    table.save(tmp_path / "table.csv")
    head = (tmp_path / "table.csv").read_text().splitlines()[0].split(",")
    assert "metric" not in head and head[-1] == "crc32"
    assert SearchTable.load(tmp_path / "table.csv") == table
    assert "metric" not in table.to_pandas()


def test_rows_without_accuracy_and_metric_are_compared_by_loss() -> None:
    given = [
        SearchRow(name=str(loss), origin="given", status="complete", loss=loss, search_loss=2.0)
        for loss in (0.5, 0.25)
    ]
    table = SearchTable(given)
    assert table.best is not None and table.best.name == "0.25" and table.measure.name == "loss"
    assert "%" not in str(table)


def test_a_search_fills_its_row(tiny_result: SearchResult) -> None:
    last = EpochRecord(0, 1.0, 2.0, None, None, 0.1, {}, None, 1.0, metrics={"rmse": 0.5, "mae": 1.0})
    config = tiny_result.config.replace(metric_mode="min")
    result = SearchResult(
        genotype=tiny_result.genotype, alphas=tiny_result.alphas, steps=tiny_result.steps,
        history=History([last]), config=config, status="complete", state_dict={},
    )  # fmt: skip
    row = _found(SearchRow(name="a", origin="searched", status="complete"), result)
    assert (row.metric, row.metric_mode, row.search_value) == ("rmse", "min", 0.5)
    assert row.search_score == 0.5 and row.score is None and not row.measure.highest
    row = _found(SearchRow(name="a", origin="searched", status="complete"), tiny_result)
    assert row.metric is None and row.search_score == tiny_result.history[-1].valid_accuracy
    assert np.isfinite(row.seconds)
