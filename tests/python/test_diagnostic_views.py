"""Diagnostics of epochs in everything that shows a search: names, values, counts; nothing for plain DARTS."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from conftest import make_arrays, make_config
from pydarts import EpochInfo, EpochRecord, History, LiveView, SearchResult, StartInfo, loggers, plots
from pydarts._results import measured
from pydarts._search.progress import Progress, values
from pydarts._show.live.notebook import moving
from pydarts._show.live.scene import Scene
from pydarts.algorithms import Curvature, Gumbel, Linear
from rich.console import Console
from scenes import on_screen, scene_of, text_of

NAN = math.nan
ALL = {
    "temperature": [10.0, 5.0, 2.5, 1.0],
    "epsilon": [0.03, 0.1, 0.2, 0.3],
    "term.entropy": [0.5, 0.25, 0.125, 0.0625],
    "term.flops": [0.1, 0.2, 0.3, 0.4],
    "cost.flops": [5e6, 4e6, 3e6, 2e6],
    "sample_entropy": [1.5, 1.25, 1.0, 0.75],
    "curvature": [0.5, None, 0.75, None],
    "probe.cosine": [None, 0.9, NAN, 0.7],
    "probe.error": [None, 0.4, NAN, 0.8],
    "mine": [None, None, None, 7.0],
}


def records(given: Mapping[str, Sequence[float | None]], epochs: int = 4) -> list[EpochRecord]:
    """Records of epochs with these diagnostics; None: not measured in the epoch."""
    return [
        EpochRecord(
            epoch, 1.5, 1.4, 0.5, 0.55, 0.025, {"normal": 1.0, "reduce": 1.0}, 1, 1.0,
            diagnostics={name: value for name, row in given.items() if (value := row[epoch]) is not None},
        )
        for epoch in range(epochs)
    ]  # fmt: skip


def result_of(
    base: SearchResult, given: Mapping[str, Sequence[float | None]], **changes: Any
) -> SearchResult:
    config = base.config.replace(epochs=4, **changes)
    return replace(base, history=History(records(given)), config=config, epochs=())


# ---- names and values


def test_known_diagnostics_come_first_and_those_of_a_group_together() -> None:
    found = measured.names_of(records({"mine": [1.0] * 4, "term.b": [1.0] * 4, **ALL}))
    assert found[:2] == ["temperature", "epsilon"]
    assert found[-4:] == ["term.b", "term.entropy", "term.flops", "mine"]
    groups = [names for _, names in measured.grouped(found)]
    assert ["probe.cosine", "probe.error"] in groups and ["term.b", "term.entropy", "term.flops"] in groups
    assert sorted(name for group in groups for name in group) == sorted(found)


def test_epochs_without_a_finite_value_are_no_points() -> None:
    assert measured.points(records(ALL), "probe.cosine") == ([2, 4], [0.9, 0.7])
    assert measured.points(records(ALL), "curvature") == ([1, 3], [0.5, 0.75])
    assert measured.latest(records(ALL))["probe.error"] == 0.8


def test_the_limit_of_the_curvature_is_that_of_the_decider() -> None:
    given: list[float | None] = [1.0, 2.0, 3.0, 4.0]
    stop = Curvature(window=1, back=1, ratio=1.5)
    limit = measured.curvature_limit(records({"curvature": given}), stop)
    assert limit is not None and limit.averages == [1.0, 2.0, 3.0, 4.0]
    assert math.isnan(limit.limits[0]) and limit.limits[1:] == [1.5, 3.0, 4.5]
    # A window of 3 takes 2 values at the beginning, and one value is not more than half of it.
    wide = measured.curvature_limit(records({"curvature": given}), Curvature(window=3, back=2, ratio=2))
    assert wide is not None and wide.averages[1:] == [1.5, 2.0, 3.0] and math.isnan(wide.averages[0])
    assert wide.limits[3] == 3.0 and all(map(math.isnan, wide.limits[:3]))
    assert measured.curvature_limit(records({"curvature": given}), None) is None


# ---- loggers


def log_epochs(log: Any, config: pydarts.SearchConfig, found: Sequence[EpochRecord], first: int = 0) -> None:
    """Give a logger the events of a search with these records."""
    log.on_start(StartInfo(config, first, 2))
    space = config.resolved_space
    alphas = {name: np.zeros((len(space.edges), len(space.operations))) for name in space.tables}
    genotype = pydarts.derive(alphas, space)
    for record in found:
        log.on_epoch(EpochInfo(**record.__dict__, genotype=genotype, alphas=alphas))


def resumed(folder: Path) -> pydarts.SearchConfig:
    return make_config(resume=True, checkpoint_dir=str(folder))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_gets_a_column_when_a_diagnostic_is_first_measured(
    tmp_path: Path, tiny_result: SearchResult
) -> None:
    log, found = loggers.CSV(tmp_path / "log.csv"), records(ALL)
    log_epochs(log, make_config(), found)
    log.on_end(tiny_result)
    rows = rows_of(tmp_path / "log.csv")
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    for name, row in ALL.items():
        wanted = ["" if value is None else repr(value) for value in row]
        assert [entry[name] for entry in rows] == wanted, name
    assert list(rows[0])[-1] == "genotype" and len({row["genotype"] for row in rows}) == 1
    assert pydarts.Genotype.from_notation(rows[0]["genotype"]) is not None


def test_a_resumed_table_keeps_and_adds_columns_of_diagnostics(
    tmp_path: Path, tiny_result: SearchResult
) -> None:
    path, found = tmp_path / "log.csv", records(ALL)
    log_epochs(log := loggers.CSV(path), make_config(), found[:2])
    log.on_end(tiny_result)
    log_epochs(log := loggers.CSV(path), resumed(tmp_path), found[1:], first=1)
    log.on_end(tiny_result)
    rows = rows_of(path)
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert [row["probe.cosine"] for row in rows] == ["", "0.9", "nan", "0.7"]
    assert [row["mine"] for row in rows] == ["", "", "", "7.0"]


@pytest.mark.parametrize("other", ["entropy_recurrent", "train_perplexity"])
def test_the_table_of_another_kind_of_search_is_refused(tmp_path: Path, other: str) -> None:
    path = tmp_path / "log.csv"
    log_epochs(loggers.CSV(path), make_config(), records({})[:1])
    path.write_text(path.read_text().replace("genotype", f"{other},genotype"))
    with pytest.raises(ValueError, match=other):
        log_epochs(loggers.CSV(path), resumed(tmp_path), [])


def test_a_file_of_alpha_has_no_further_columns(tmp_path: Path) -> None:
    path = tmp_path / "alphas.csv"
    log_epochs(loggers.CSV(tmp_path / "log.csv", path), make_config(), records({})[:1])
    (tmp_path / "log.csv").unlink()
    path.write_text(path.read_text().replace("weight", "mine,weight", 1))
    with pytest.raises(ValueError, match="mine"):
        log_epochs(loggers.CSV(tmp_path / "log.csv", path), resumed(tmp_path), [])


def test_tensorboard_has_every_diagnostic_under_its_name(tmp_path: Path, tiny_result: SearchResult) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log_epochs(log := loggers.TensorBoard(tmp_path), make_config(), records(ALL))
    log.on_end(tiny_result)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    for name, row in ALL.items():
        points = [(event.step, event.value) for event in events.Scalars(f"search/{name}")]
        wanted = [(epoch, value) for epoch, value in enumerate(row) if value is not None]
        assert [step for step, _ in points] == [step for step, _ in wanted], name
        assert np.allclose([value for _, value in points], [value for _, value in wanted], equal_nan=True)


def test_logs_have_a_scheduled_temperature_once_and_no_constant_one(tmp_path: Path) -> None:
    for place, temperature, wanted in (("a", Linear(4, 1), ["4.0", "1.0"]), ("b", 0.5, None)):
        path = tmp_path / place
        config = make_config(relaxation=Gumbel(temperature=temperature))
        pydarts.search(make_arrays(), config, loggers.CSV(path))
        header = path.read_text().splitlines()[0].split(",")
        assert header.count("temperature") == (wanted is not None)
        assert wanted is None or [row["temperature"] for row in rows_of(path)] == wanted


# ---- while it runs


def with_diagnostics(scene: Scene, given: Mapping[str, Sequence[float | None]]) -> Scene:
    found = [record.diagnostics for record in records(given)]
    scene.records = [
        replace(record, diagnostics=more) for record, more in zip(scene.records, found, strict=False)
    ]
    return scene


def test_a_bar_shows_at_most_two_of_the_most_important_diagnostics() -> None:
    info = EpochInfo(**records(ALL)[0].__dict__, genotype=None, alphas={})
    space = pydarts.Space()
    alphas = {name: np.zeros((14, 8)) for name in space.tables}
    info = replace(info, alphas=alphas, genotype=pydarts.derive(alphas, space))
    config = pydarts.SearchConfig()
    plain = values(config, info, "")
    assert set(plain) == {"train", "valid", "acc", "entropy", "skips"}
    found = values(config, info, "", diagnostics=info.diagnostics)
    assert {name: found[name] for name in found if name not in plain} == {
        "temperature": "10", "epsilon": "0.03",
    }  # fmt: skip
    whole = values(config, info, "", diagnostics=info.diagnostics, most=None)
    assert set(info.diagnostics) <= set(whole)
    # A diagnostic never replaces another value.
    assert values(config, info, "", diagnostics={"entropy": 3.0}, most=None)["entropy"] == plain["entropy"]


def test_the_bar_keeps_what_was_measured_in_an_earlier_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    config = pydarts.SearchConfig()
    alphas = {name: np.zeros((14, 8)) for name in config.resolved_space.tables}
    genotype = pydarts.derive(alphas, config.resolved_space)
    bar = Progress(config)
    bar.begin(4, 0, 2)
    for record in records({"curvature": [0.5, None, None, None]}):
        bar.epoch(EpochInfo(**record.__dict__, genotype=genotype, alphas=alphas))
        assert bar._bar.values["curvature"] == "0.5"
    bar.close()
    assert "curvature 0.5" in capsys.readouterr().err


def test_a_live_view_in_a_log_has_all_diagnostics() -> None:
    text = io.StringIO()
    config = make_config(relaxation=Gumbel(temperature=Linear(4, 1)))
    console = Console(file=text, width=200, _environ={})
    pydarts.search(make_arrays(), config, LiveView(console=console))
    assert [line for line in text.getvalue().splitlines() if "temperature 4" in line]
    assert [line for line in text.getvalue().splitlines() if "temperature 1" in line]


def drawn(scene: Scene, width: int = 120) -> str:
    from pydarts._show.live.terminal import picture

    console = on_screen(width, 80)
    console.print(picture(scene, width, 80))
    return text_of(console)


def test_a_live_view_in_a_terminal_has_a_curve_per_diagnostic() -> None:
    text = drawn(with_diagnostics(scene_of(), ALL))
    for name in ("temperature", "term.entropy", "cost.flops", "curvature", "probe.cosine"):
        assert re.search(rf"{re.escape(name)} +[▁-█]", text), name
    assert "0.125" in text and "3e+06" in text
    assert "mine" not in text  # measured in the fourth epoch


@pytest.mark.parametrize("width", [40, 70, 120])
def test_the_terminal_of_plain_darts_has_no_diagnostics_and_old_columns(width: int) -> None:
    text = drawn(scene_of(), width)
    assert "temperature" not in text and re.search(r"^train loss [▁-█]", text, re.MULTILINE)


def test_the_view_of_a_notebook_has_a_panel_per_group() -> None:
    plain, scene = scene_of(), with_diagnostics(scene_of(), ALL)
    groups = measured.grouped(measured.names_of(scene.records))
    more = moving(scene).axes[len(moving(plain).axes) :]
    assert len(more) == len(groups)
    terms = next(ax for ax, (_, names) in zip(more, groups, strict=True) if "term.entropy" in names)
    assert [line.get_label() for line in terms.lines] == ["term.entropy", "term.flops"]


# ---- plots


def test_a_plot_has_a_panel_per_diagnostic_with_its_finite_values(tiny_result: SearchResult) -> None:
    result = result_of(tiny_result, ALL)
    panels = result.plot_diagnostics()
    titles = [panel.get_title(loc="left") for panel in panels]
    assert sorted(titles) == sorted(ALL)
    for panel, name in zip(panels, titles, strict=True):
        finite = [
            (epoch + 1, value)
            for epoch, value in enumerate(ALL[name])
            if value is not None and value == value
        ]
        assert [*zip(*panel.lines[0].get_data(), strict=True)] == finite, name


def test_a_plot_draws_the_names_that_it_is_given(tiny_result: SearchResult) -> None:
    result = result_of(tiny_result, ALL)
    (one,) = result.plot_diagnostics(names="curvature")
    two = result.plot_diagnostics(names=["mine", "epsilon"])
    assert one.get_title(loc="left") == "curvature" and [p.get_title(loc="left") for p in two] == [
        "mine", "epsilon",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="curvature"):
        plots.diagnostics(result.history, "curvatur")


def test_a_plot_of_plain_darts_says_that_there_is_nothing(tiny_result: SearchResult) -> None:
    (panel,) = tiny_result.plot_diagnostics()
    assert not panel.lines and [text.get_text() for text in panel.texts] == ["no diagnostics"]


def test_a_plot_of_the_curvature_has_the_value_that_ends_the_search(tiny_result: SearchResult) -> None:
    given = {"curvature": [1.0, 2.0, 3.0, 4.0]}
    stop = Curvature(window=1, back=1, ratio=1.5, start=0)
    (panel,) = result_of(tiny_result, given, stop=stop, curvature_every=1).plot_diagnostics()
    limit = next(line for line in panel.lines if line.get_label() == "ends the search")
    assert limit.get_ydata()[1:].tolist() == [1.5, 3.0, 4.5]
    (panel,) = result_of(tiny_result, given).plot_diagnostics()
    assert len(panel.lines) == 1


# ---- report and card


def page_of(result: SearchResult, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    pytest.importorskip("plotly")
    text = result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    return text, json.loads(data[1])["figures"]


def test_a_report_has_a_curve_per_group_and_the_limit(tmp_path: Path, tiny_result: SearchResult) -> None:
    stop = Curvature(window=1, back=1, ratio=1.5, start=0)
    result = result_of(tiny_result, ALL, stop=stop, curvature_every=2)
    _, figures = page_of(result, tmp_path)
    found = [figure for name, figure in figures.items() if name.startswith("diagnostic-")]
    traces = [[trace["name"] for trace in figure["data"]] for figure in found]
    assert len(traces) == len(measured.grouped(measured.names_of(result.history)))
    assert ["probe.cosine", "probe.error"] in traces
    curvature = next(figure for figure in found if figure["data"][0]["name"] == "curvature")
    assert [trace["name"] for trace in curvature["data"]][1:] == ["local average", "ends the search"]
    assert curvature["data"][0]["x"] == [1, 3] and curvature["data"][2]["y"] == [None, 0.75]


def test_a_report_of_plain_darts_has_no_curves_of_diagnostics(
    tmp_path: Path, tiny_result: SearchResult
) -> None:
    text, figures = page_of(tiny_result, tmp_path)
    assert not [name for name in figures if name.startswith(("diagnostic-", "edges-"))]
    assert "<h3>Algorithm</h3>" not in text and "first_order, seed 0" in text


def test_a_card_has_the_last_values(tiny_result: SearchResult) -> None:
    card = result_of(tiny_result, ALL)._repr_html_()
    assert "probe cosine" not in card and "probe.cosine" in card and "0.0625" in card
    assert "temperature" not in tiny_result._repr_html_()
