"""Tables and searches scored by a benchmark: columns, trajectories, the plot, the report, the commands."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydarts
import pytest
from commands import answered, refused
from conftest import make_arrays
from functions import A, W, X, Y, config, regression
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from pydarts import ConfigError, Genotype, SearchConfig, SearchResult, SearchRow, SearchTable
from pydarts._values.nas_bench_201 import COUNT, OPERATIONS, string_of
from pydarts.benchmarks import BenchmarkScore, NASBench201
from tabulated import ARRAYS, BEST, DATASETS, STRINGS, column, published_table, write_npz

PLACE = {string: place for place, string in enumerate(STRINGS)}
FIELDS = ("accuracy", "rank", "regret")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("benchmark") / "table.npz", ARRAYS)


@pytest.fixture(scope="module")
def bench(path: Path) -> NASBench201:
    return NASBench201(path)


def searched(**changes: Any) -> SearchResult:
    """A search whose α is set at every point, so that its cell changes."""
    fields = {"channels": 2, "layers": 1, "epochs": 3, "batch_size": 8, "device": "cpu", "progress": False}
    cfg = SearchConfig(**({"space": "nas-bench-201"} | fields | changes))
    result = pydarts.search(make_arrays(), cfg)
    shape = result.alphas["cell"].shape
    alphas = np.random.default_rng(cfg.seed).normal(size=shape)
    return replace(result, alphas={"cell": alphas}, genotype=cell_at(alphas[-1]))


@pytest.fixture(scope="module")
def result() -> SearchResult:
    return searched()


def cell_at(alphas: npt.NDArray[Any]) -> Genotype:
    """The cell of the largest logits, which NAS-Bench-201 derives."""
    return Genotype.from_nasbench201(string_of([OPERATIONS[at] for at in alphas.argmax(-1)]))


def expected(genotype: Genotype, dataset: str, split: str = "test") -> BenchmarkScore:
    """Accuracy, rank and regret, straight from the invented table."""
    values, place = column(dataset, split), PLACE[genotype.to_nasbench201()]
    rank = 1 + int((values > values[place]).sum())
    return BenchmarkScore(float(values[place]), rank, float(values.max() - values[place]))


def row(name: str, string: str | None = BEST, **changes: Any) -> SearchRow:
    fields: dict[str, Any] = {
        "name": name,
        "origin": "random" if name.startswith("random") else "searched",
        "status": "complete",
        "accuracy": 0.5,
        "loss": 0.5,
        "genotype": None if string is None else Genotype.from_nasbench201(string),
    }
    return SearchRow(**(fields | changes))


FAILED = {"status": "failed", "accuracy": None, "loss": None, "error": "NumericalError: NaN"}
TABLE = SearchTable(
    [
        row("seed 0", STRINGS[7]),
        row("seed 1", None, **FAILED),
        row("seed 2", STRINGS[70], **FAILED),
        row("seed 3", STRINGS[700]),
        row("random 0"),
        row("random 1", STRINGS[70], **FAILED),
    ]
)
SCORED = [0, 3, 4, 5]  # a random cell has a score whatever became of its training


# ---- Tables


def test_every_cell_gets_accuracy_rank_and_regret(bench: NASBench201) -> None:
    before = list(TABLE)
    table = bench.score(TABLE)
    assert list(TABLE) == before and all(not row.benchmark for row in TABLE)
    for at, (old, new) in enumerate(zip(TABLE, table, strict=True)):
        assert replace(new, benchmark={}) == old
        if at not in SCORED:
            assert new.benchmark == {}
            continue
        assert old.genotype is not None
        assert new.benchmark == {f"{name}_test": expected(old.genotype, name) for name in DATASETS}
    assert table[0].benchmark["cifar10_test"].rank == bench.rank(STRINGS[7], "cifar10")
    assert table.best == table[0], "the table is compared by the short training as before"


def test_data_sets_and_splits_can_be_chosen_and_added(bench: NASBench201) -> None:
    assert [*bench.score(TABLE, "cifar100")[0].benchmark] == ["cifar100_test"]
    one = bench.score(TABLE, ["cifar10"], split="valid")
    assert one == bench.score(TABLE, split="valid"), "the other data sets have no such split"
    assert one[0].benchmark == {"cifar10_valid": expected(TABLE[0].genotype, "cifar10", "valid")}  # type: ignore[arg-type]
    both = bench.score(one, "cifar10")
    assert [*both[0].benchmark] == ["cifar10_valid", "cifar10_test"]
    for arguments, fact in (
        ({"datasets": "cifar11"}, "cifar10"),
        ({"split": "tset"}, "test"),
        ({"datasets": "cifar100", "split": "valid"}, "valid"),
        ({"datasets": []}, "datasets"),
    ):
        with pytest.raises(ConfigError, match=fact):
            bench.score(TABLE, **arguments)  # type: ignore[arg-type]


def test_columns_survive_files_and_pandas(bench: NASBench201, tmp_path: Path) -> None:
    table = bench.score(TABLE)
    table.save(tmp_path / "table.csv")
    assert SearchTable.load(tmp_path / "table.csv") == table
    names = [f"{dataset}_test_{field}" for dataset in DATASETS for field in FIELDS]
    frame = table.to_pandas()
    assert list(frame.columns[-9:]) == names
    assert frame[names[0]].isna().tolist() == [at not in SCORED for at in range(len(TABLE))]
    assert frame["cifar100_test_rank"][0] == table[0].benchmark["cifar100_test"].rank
    read = pd.read_csv(tmp_path / "table.csv")
    assert np.array_equal(read["cifar10_test_regret"], frame["cifar10_test_regret"], equal_nan=True)
    TABLE.save(tmp_path / "plain.csv")
    assert "cifar" not in (tmp_path / "plain.csv").read_text()
    mixed = SearchTable([*bench.score(TABLE[:1], "cifar100"), *bench.score(TABLE[4:], "cifar10")])
    mixed.save(tmp_path / "mixed.csv")
    assert SearchTable.load(tmp_path / "mixed.csv") == mixed


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("cifar10_test_accuracy", "100.5"),
        ("cifar10_test_accuracy", "nan"),
        ("cifar10_test_rank", "0"),
        ("cifar10_test_rank", "1.5"),
        ("cifar10_test_rank", ""),
        ("cifar10_test_regret", "-1"),
        ("cifar10_test_regret", None),
    ],
)
def test_impossible_scores_in_a_file_are_refused(
    bench: NASBench201, tmp_path: Path, column: str, value: str | None
) -> None:
    path = tmp_path / "table.csv"
    bench.score(TABLE, "cifar10").save(path)
    frame = pd.read_csv(path, dtype=str).drop(columns="crc32")
    frame.to_csv(path, index=False)
    assert SearchTable.load(path)[0].benchmark
    if value is None:
        frame = frame.drop(columns=column)
    else:
        frame.loc[0, column] = value
    frame.to_csv(path, index=False)
    with pytest.raises(pydarts.CheckpointError, match=r"table\.csv"):
        SearchTable.load(path)


def test_mean_and_deviation_of_a_column(bench: NASBench201) -> None:
    table = bench.score(TABLE)
    for field in FIELDS:
        values = [getattr(table[at].benchmark["cifar10_test"], field) for at in (0, 3)]
        found = table.summary("searched", column=f"cifar10_test_{field}")
        wanted = statistics.fmean(values), statistics.stdev(values), 2
        assert found == pytest.approx(wanted)
    assert table.summary("searched") == TABLE.summary("searched")
    assert table.summary("given", column="cifar10_test_rank").n == 0
    assert math.isnan(table[:1].summary("searched", column="cifar10_test_rank").deviation)
    for name in ("cifar10_test", "accuracy", "cifar10_valid_rank"):
        with pytest.raises(ValueError, match=f"{name}.*cifar10_test_accuracy"):
            table.summary("searched", column=name)


def test_the_printed_table_has_a_column_and_lines_per_data_set(bench: NASBench201) -> None:
    table = bench.score(TABLE, ["cifar10", "cifar100"])
    lines = str(table).splitlines()
    assert lines[0].split()[-3:] == ["cifar10_test", "cifar100_test", "error"]
    score = table[0].benchmark["cifar10_test"]
    assert f"{score.accuracy:.2f}%, rank {score.rank:,}" in lines[1]
    assert "rank" not in lines[2] and lines[2].endswith("NumericalError: NaN")
    mean = table.summary("searched", column="cifar10_test_accuracy").mean
    said = [line for line in lines if line.startswith("searched") and "cifar10_test" in line]
    assert len(said) == 1 and f"{mean:.2f}%" in said[0] and "n = 2 of 4" in said[0]
    assert any(line.startswith("random") and "cifar100_test" in line for line in lines)
    assert "cifar" not in str(TABLE)
    assert "cifar100_test" in table._repr_html_()
    named = SearchTable([replace(table[0], algorithm="gdas"), *table[1:]])
    head, *rest = str(named).splitlines()
    assert head.split()[1:3] == ["algorithm", "status"]
    assert rest[1].endswith("–  NumericalError: NaN"), "figures end where their column does"
    by_gdas = [line for line in rest if line.startswith("searched by gdas") and "cifar10_test" in line]
    assert len(by_gdas) == 1 and f"{score.accuracy:.2f}%, rank" in by_gdas[0] and "n = 1" in by_gdas[0]


@pytest.mark.parametrize(
    "wrong",
    [
        row("seed 9", genotype=pydarts.genotypes.DARTS_V2),
        row("seed 9", genotype=pydarts.genotypes.DARTS_RNN_V2),
        row("seed 9", None, architecture={"a": "b"}),
        row("seed 9", genotype=pydarts.genotypes.DARTS_V2, **FAILED),
    ],
    ids=["convolutional", "recurrent", "own", "failed"],
)
def test_a_row_of_another_space_is_named(bench: NASBench201, wrong: SearchRow) -> None:
    with pytest.raises(ConfigError, match="seed 9"):
        bench.score(SearchTable([*TABLE, wrong]))


def test_only_tables_are_scored(bench: NASBench201, result: SearchResult) -> None:
    for wrong in (result, list(TABLE), None):
        with pytest.raises(TypeError, match="SearchTable"):
            bench.score(wrong)  # type: ignore[arg-type]


def test_the_table_of_search_many_is_scored(bench: NASBench201) -> None:
    cfg = SearchConfig(space="nas-bench-201", channels=2, layers=1, epochs=1, batch_size=8, progress=False)
    brief = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    more: dict[str, Any] = {"network": {"channels": 2, "layers": 1}, "random": 1, "workers": 0}
    table = bench.score(pydarts.search_many(make_arrays(), cfg, seeds=1, select=brief, **more))
    assert [row.origin for row in table] == ["searched", "random"]
    for found in table:
        assert found.genotype is not None and found.score is not None
        assert found.benchmark["imagenet16-120_test"] == expected(found.genotype, "imagenet16-120")
        assert found.result is None or found.result.genotype == found.genotype


# ---- Trajectories


def test_the_trajectory_has_the_accuracy_of_the_cell_at_every_epoch(
    bench: NASBench201, result: SearchResult
) -> None:
    cells = [cell_at(alphas) for alphas in result.alphas["cell"]]
    assert len(set(cells)) == len(cells) == 4
    for dataset, split in (("cifar10", "test"), ("cifar10", "valid"), ("imagenet16-120", "test")):
        times, unit, accuracies = bench.trajectory(result, dataset, split)
        assert times.tolist() == [0, 1, 2, 3] and unit == "epoch" and accuracies.dtype == np.float64
        assert accuracies.tolist() == [expected(cell, dataset, split).accuracy for cell in cells]
    assert np.array_equal(bench.trajectory(result).accuracies, bench.trajectory(result, "cifar10").accuracies)
    with pytest.raises(ConfigError, match="cifar100"):
        bench.trajectory(result, "cifar101")


def test_the_trajectory_of_a_search_recorded_by_step(bench: NASBench201) -> None:
    result = searched(record="step", epochs=2)
    times, unit, accuracies = bench.trajectory(result)
    assert unit == "step" and times.tolist() == list(result.steps) == [*range(len(times))]
    cells = [cell_at(alphas) for alphas in result.alphas["cell"]]
    assert accuracies.tolist() == [expected(cell, "cifar10").accuracy for cell in cells]


def sampled() -> SearchResult:
    cfg = SearchConfig(
        space="nas-bench-201", channels=2, layers=1, epochs=2, batch_size=8, device="cpu", progress=False,
        relaxation="random", selection=pydarts.algorithms.Sampled(samples=2),
    )  # fmt: skip
    return pydarts.search(make_arrays(), cfg)


def test_a_search_that_does_not_select_by_alpha_has_its_end_only(bench: NASBench201) -> None:
    result = sampled()
    times, unit, accuracies = bench.trajectory(result)
    assert times.tolist() == [2] and unit == "epoch"
    assert accuracies.tolist() == [expected(result.genotype, "cifar10").accuracy]


def test_searches_without_an_architecture_of_the_benchmark_are_refused(
    bench: NASBench201, tiny_result: SearchResult
) -> None:
    with pytest.raises(ConfigError, match="nas-bench-201"):
        bench.trajectory(tiny_result)
    cfg = config(epochs=1, batch_size=4, weight_lr=1e-5, weight_lr_min=0.0)
    own = pydarts.search((X, Y), cfg, network=pydarts.nn.FunctionNetwork(regression, W, A))
    with pytest.raises(ConfigError, match="genotype"):
        bench.trajectory(own)
    with pytest.raises(TypeError, match="SearchResult"):
        bench.trajectory(TABLE)  # type: ignore[arg-type]


# ---- The plot


def curves(ax: Any) -> dict[str, Any]:
    """The lines of a panel by their labels."""
    return {line.get_label(): line for line in ax.lines}


def test_the_plot_has_a_panel_per_data_set_with_best_and_median(
    bench: NASBench201, result: SearchResult, tmp_path: Path
) -> None:
    ax = Figure(figsize=(8, 3)).subplots()
    panels = pydarts.plots.benchmark(bench, result, ax=ax)
    assert [panel.get_title(loc="left") for panel in panels] == [*DATASETS]
    for panel, dataset in zip(panels, DATASETS, strict=True):
        lines, values = curves(panel), column(dataset)
        assert set(lines["best"].get_ydata()) == {values.max()}
        assert set(lines["median"].get_ydata()) == {np.median(values)}
        assert lines["search"].get_ydata().tolist() == bench.trajectory(result, dataset).accuracies.tolist()
        assert lines["search"].get_xdata().tolist() == [0, 1, 2, 3]
        assert "%" in panel.get_ylabel() and panel.get_xlabel() == "epoch"
    for ending in ("png", "svg", "pdf"):
        ax.figure.savefig(tmp_path / f"picture.{ending}")
        assert (tmp_path / f"picture.{ending}").stat().st_size > 2000
    (panel,) = pydarts.plots.benchmark(bench, [result, result], "cifar10", "valid")
    assert {"run 0", "run 1"} < set(curves(panel)) and "valid" in panel.get_ylabel()


def test_several_results_of_one_name_are_a_median_and_a_range(
    bench: NASBench201, result: SearchResult
) -> None:
    three = [result, searched(seed=1), searched(seed=2)]
    (panel,) = pydarts.plots.benchmark(bench, {"all": three, "the first": result}, "cifar10")
    values = np.stack([bench.trajectory(one).accuracies for one in three])
    assert curves(panel)["all"].get_ydata().tolist() == np.median(values, 0).tolist()
    (area,) = [made for made in panel.collections if isinstance(made, PolyCollection)]
    heights = area.get_paths()[0].vertices[:, 1]  # type: ignore[index]
    assert (heights.min(), heights.max()) == (values.min(), values.max())
    for other in (searched(epochs=2), searched(epochs=1, record="step")):  # of three and of four points
        with pytest.raises(ValueError, match="mixed"):
            pydarts.plots.benchmark(bench, {"mixed": [result, other]})


def test_searches_by_epoch_and_by_step_share_an_axis_in_steps(
    bench: NASBench201, result: SearchResult
) -> None:
    by_step, end = searched(record="step", epochs=2), sampled()
    (panel,) = pydarts.plots.benchmark(bench, {"e": result, "s": by_step, "end": end}, "cifar10")
    lines = curves(panel)
    assert panel.get_xlabel() == "step"
    assert lines["e"].get_xdata().tolist() == list(result.steps)
    assert lines["s"].get_xdata().tolist() == list(by_step.steps)
    assert lines["end"].get_xdata().tolist() == [end.steps[-1]]


@pytest.mark.parametrize(
    ("call", "kind", "fact"),
    [
        (lambda plot, bench, result: plot(bench, []), ValueError, "at least one"),
        (lambda plot, bench, result: plot(bench, {}), ValueError, "at least one"),
        (lambda plot, bench, result: plot(bench, {"a": []}), ValueError, "at least one"),
        (lambda plot, bench, result: plot(bench, {"a": 3}), TypeError, "int"),
        (lambda plot, bench, result: plot(bench, [3]), TypeError, "int"),
        (lambda plot, bench, result: plot(result, bench), TypeError, "SearchResult"),
        (lambda plot, bench, result: plot(bench, result, "cifar"), ConfigError, "cifar10"),
        (lambda plot, bench, result: plot(bench, result, split="x"), ConfigError, "x"),
    ],
)
def test_what_cannot_be_plotted_is_named(
    bench: NASBench201, result: SearchResult, call: Callable[..., object], kind: type[Exception], fact: str
) -> None:
    with pytest.raises(kind, match=fact):
        call(pydarts.plots.benchmark, bench, result)


# ---- Reports and commands


def figures_in(text: str) -> dict[str, Any]:
    """The figures of a report by the names of their elements."""
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    figures: dict[str, Any] = json.loads(found[1])["figures"]
    assert set(re.findall(r'data-figure="([\w-]+)"', text)) == set(figures)
    return figures


def test_the_report_has_a_section_with_scores_and_curves(
    bench: NASBench201, result: SearchResult, tmp_path: Path
) -> None:
    text = result.report(tmp_path / "with.html", benchmark=bench).read_text(encoding="utf-8")
    section = re.search(r'<section id="benchmark".*?</section>', text, re.DOTALL)
    assert section is not None and '<a href="#benchmark">' in text
    figures = figures_in(text)
    for number, dataset in enumerate(DATASETS):
        score = expected(result.genotype, dataset)
        for said in (f"{score.accuracy:.2f}%", f"{score.rank:,}", f"{score.regret:.2f}"):
            assert f'<td class="number">{said}</td>' in section[0]
        lines = {line["name"]: line["y"] for line in figures[f"benchmark-{number}"]["data"]}
        assert lines["this search"] == bench.trajectory(result, dataset).accuracies.tolist()
        assert set(lines["best architecture"]) == {column(dataset).max()}
        assert set(lines["median of all"]) == {np.median(column(dataset))}
    assert not any(name.startswith("benchmark") for name in figures_in(plain(result, tmp_path)))


def plain(result: SearchResult, folder: Path) -> str:
    """A report without a benchmark."""
    text = result.report(folder / "plain.html").read_text(encoding="utf-8")
    assert 'id="benchmark"' not in text
    return text


def test_a_report_refuses_another_space_and_another_value(
    bench: NASBench201, result: SearchResult, tiny_result: SearchResult, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="nas-bench-201"):
        tiny_result.report(tmp_path / "a.html", benchmark=bench)
    with pytest.raises(TypeError, match="benchmark"):
        result.report(tmp_path / "a.html", benchmark="table.npz")  # type: ignore[arg-type]
    assert not (tmp_path / "a.html").exists()


@pytest.mark.usefixtures("somewhere")
def test_commands_take_the_file_of_a_benchmark(result: SearchResult, places: Path, path: Path) -> None:
    result.save("run")
    answered("plot", "run", "benchmark", "--benchmark", path, "--format", "svg")
    assert Path("run/benchmark.svg").stat().st_size > 2000
    answered("report", "run", "--benchmark", path)
    assert 'id="benchmark"' in Path("run/report.html").read_text(encoding="utf-8")
    assert "--benchmark" in refused(2, "plot", "run", "benchmark")
    assert "--benchmark" in refused(2, "plot", "run", "skips", "--benchmark", path)
    assert "none.npz" in refused(1, "report", "run", "--benchmark", "none.npz")
    assert "nas-bench-201" in refused(2, "report", places / "run", "--benchmark", path)


# ---- The published table


def test_the_best_cell_of_the_published_table_has_no_regret(result: SearchResult, tmp_path: Path) -> None:
    bench = published_table()
    table = bench.score(SearchTable([row("seed 0", BEST)]))
    scores = table[0].benchmark
    assert scores["cifar10_test"] == BenchmarkScore(94.3733, 1, 0.0)
    assert [scores[f"{name}_test"].accuracy for name in DATASETS] == pytest.approx(
        [94.373, 73.220, 46.711], abs=1e-3
    )
    table.save(tmp_path / "table.csv")
    assert SearchTable.load(tmp_path / "table.csv") == table
    assert len(bench) == COUNT
    found = bench.trajectory(result).accuracies
    assert found.tolist() == [bench.accuracy(cell_at(one), "cifar10") for one in result.alphas["cell"]]
