"""The table of several searches: its statistics, and how it is printed, kept and drawn."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydarts
import pytest
from conftest import make_arrays
from matplotlib.figure import Figure
from pydarts import SearchRow, SearchTable
from pydarts._protocol.job import Given, Job, run


def row(name: str, accuracy: float | None, **changes: Any) -> SearchRow:
    fields: dict[str, Any] = {
        "name": name,
        "origin": "random" if name.startswith("random") else "searched",
        "status": "failed" if accuracy is None else "complete",
        "accuracy": accuracy,
        "loss": None if accuracy is None else 1 - accuracy,
        "genotype": pydarts.genotypes.DARTS_V2,
        "weights": 12_345,
        "seconds": 1.25,
    }
    return SearchRow(**(fields | changes))


MIXED = SearchTable(
    [
        row("seed 0", 0.97, search_accuracy=0.91, search_loss=0.3),
        row("seed 1", None, error='NumericalError: "NaN", at once\nand more', genotype=None, weights=None),
        row("seed 2", 0.99),
        row("random 0", 0.99),
        row("random 1", 0.95),
        row("random 2", 0.96),
    ]
)


def test_mean_and_deviation_are_those_of_a_sample() -> None:
    assert MIXED.summary("searched")[:] == (
        pytest.approx(0.98), pytest.approx(statistics.stdev([0.97, 0.99])), 2
    )  # fmt: skip
    assert MIXED.summary("random").deviation == pytest.approx(statistics.stdev([0.99, 0.95, 0.96]))
    one, none = MIXED[:1].summary("searched"), MIXED.summary("given")
    assert one.mean == 0.97 and math.isnan(one.deviation)
    assert math.isnan(none.mean) and none.n == 0
    assert MIXED.best is MIXED[2]
    assert MIXED[:4:3].best is MIXED[0], "the random one is better and does not count"
    assert SearchTable([]).best is None and SearchTable([MIXED[1]]).best is None


def test_the_printed_table_is_aligned_and_says_what_a_difference_means() -> None:
    lines = str(MIXED).splitlines()
    assert lines[0].split() == ["name", "status", "search", "trained", "weights", "seconds", "error"]
    assert lines[1].split() == ["seed", "0", "complete", "91.00%", "97.00%", "12,345", "1.2"]
    assert lines[2].endswith('NumericalError: "NaN", at once')
    ends = {line.index("97.00%") + 6 for line in lines[1:2]} | {
        line.index("95.00%") + 6 for line in lines[5:6]
    }
    assert ends == {lines[0].index("trained") + 7}, "figures end where their column does"
    assert lines[7:] == [
        "",
        "searched  98.00% ± 1.41%  n = 2 of 3",
        "random    96.67% ± 2.08%  n = 3",
        MIXED.verdicts[0],
    ]
    assert "+1.33 points" in lines[10] and "(2.08)" in lines[10] and "not significant" in lines[10]
    far = SearchTable([row("seed 0", 0.9), row("seed 1", 0.91), row("random 0", 0.5)])
    assert str(far).endswith(far.verdicts[-1]) and "+40.50 points" in far.verdicts[0]
    assert "not significant" in far.verdicts[0] and "n = 1" in far.verdicts[0]
    enough = SearchTable([*far, row("random 1", 0.5)])
    assert "+40.50 points" in enough.verdicts[0] and "(0.71)" in enough.verdicts[0]
    assert "not significant" not in enough.verdicts[0]
    assert "random −" not in str(MIXED[:3])
    assert repr(MIXED) == "<SearchTable: 98.00% ± 1.41%  n = 2 searched; 96.67% ± 2.08%  n = 3 random>"


def test_a_file_gives_the_rows_back(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    MIXED.save(path)
    assert SearchTable.load(path) == MIXED
    assert [found.name for found in tmp_path.iterdir()] == ["table.csv"]
    whole = path.read_text()
    frame = MIXED.to_pandas()
    assert [*frame.columns, "crc32"] == whole.splitlines()[0].split(",")
    assert pd.read_csv(path)["accuracy"].round(6).equals(frame["accuracy"].round(6))
    assert frame["accuracy"].isna().tolist() == [False, True, False, False, False, False]
    assert pydarts.Genotype.from_notation(frame["genotype"][0]) == pydarts.genotypes.DARTS_V2
    with pytest.raises(FileNotFoundError, match=r"other\.csv"):
        SearchTable.load(tmp_path / "other.csv")
    for broken in (
        whole[:-9],
        whole.replace("accuracy", "accurracy"),
        whole.replace("failed", "fallen"),
        whole.replace("0.97", "much"),
        whole.replace("sep_conv_3x3", "sep_conv_3x4"),
        "",
    ):
        path.write_text(broken)
        with pytest.raises(pydarts.CheckpointError, match=r"table\.csv"):
            SearchTable.load(path)


def change_row(path: Path, change: Callable[[list[str]], object]) -> None:
    """Change the lines of a table."""
    lines = path.read_text().splitlines(keepends=True)
    change(lines)
    path.write_text("".join(lines))


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines.__setitem__(1, lines[1].replace("0.97", "0.79")),
        lambda lines: lines.pop(),
        lambda lines: lines.pop(1),
        lambda lines: lines.append(lines[-1]),
        lambda lines: lines.insert(-1, lines.pop()),
    ],
    ids=["figure", "cut", "row less", "row more", "order"],
)
def test_a_changed_table_is_refused(tmp_path: Path, change: Callable[[list[str]], object]) -> None:
    path = tmp_path / "table.csv"
    MIXED.save(path)
    change_row(path, change)
    with pytest.raises(pydarts.CheckpointError, match="crc32"):
        SearchTable.load(path)


def test_a_table_without_checksums_is_read_if_its_figures_are_possible(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    MIXED.save(path)
    frame = pd.read_csv(path).drop(columns="crc32")
    frame["weights"] = frame["multiply_adds"] = 7
    frame.to_csv(path, index=False)
    assert SearchTable.load(path)[0].weights == 7
    for column, values in {
        "accuracy": ("7.5", "-3.0", "inf", "nan", "1e999"),
        "search_accuracy": ("1.01",),
        "seconds": ("-1", "inf", "nan"),
        "weights": ("-5", "9" * 5000),
        "multiply_adds": ("-1",),
    }.items():
        for value in values:
            text = frame.astype(object)
            text.loc[0, column] = value
            text.to_csv(path, index=False)
            with pytest.raises(pydarts.CheckpointError) as caught:
                SearchTable.load(path)
            assert len(str(caught.value)) < 1000
            assert column in str(caught.value) or len(value) > 1000


def test_the_table_of_a_failure_with_a_long_message_can_be_read(tmp_path: Path) -> None:
    def loss(*_: object) -> Any:
        raise ValueError("x" * 150_000)

    training = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False, device="cpu")
    job = Job(
        name="a",
        origin="given",
        training=training,
        network={"channels": 2, "layers": 3, "num_classes": 4, "in_channels": 1},
        image_size=(8, 8),
        genotype=pydarts.genotypes.DARTS_V2,
    )
    failed = run(job, Given(make_arrays(), loss), lambda *_: None)
    assert failed.status == "failed" and failed.error is not None and "xxx" in failed.error
    SearchTable([failed]).save(tmp_path / "table.csv")
    assert SearchTable.load(tmp_path / "table.csv")[0].error == failed.error


def test_the_plot_has_a_point_a_cell_and_needs_no_display(tmp_path: Path) -> None:
    ax = Figure().subplots()
    assert MIXED.plot(ax=ax).ax is ax
    points = [sorted(np.asarray(line.get_ydata()).tolist()) for line in ax.lines if line.get_marker() == "o"]
    assert points == [pytest.approx([97.0, 99.0]), pytest.approx([95.0, 96.0, 99.0])]
    bars = [container.lines[2][0].get_segments()[0] for container in ax.containers]
    assert [bar[1, 1] - bar[0, 1] for bar in bars] == pytest.approx([2 * 1.4142, 2 * 2.0817], abs=1e-3)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["searched\nn = 2", "random\nn = 3"]
    for table in (MIXED, MIXED[1:3], MIXED[1:2], SearchTable([])):
        table.plot().figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 2000
