"""What shows α with a user-defined network that has many tables of one row each."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pydarts
import pytest
from choices import CHOICES, chosen, network, result_of
from pydarts._results.decisions import picked
from pydarts._results.gathered import TOGETHER, choice_margins, gathered
from pydarts._results.tables import AlphaTable
from pydarts._results.trajectory import Trajectory
from pydarts._show.live.notebook import moving
from pydarts._show.live.scene import Scene
from pydarts._show.live.terminal import picture
from pydarts._show.palette import looks_of
from pydarts.loggers import CSV, TensorBoard
from scenes import on_screen


@pytest.fixture(scope="module")
def result() -> pydarts.SearchResult:
    return result_of(20)


@pytest.fixture(scope="module")
def path(result: pydarts.SearchResult) -> Trajectory:
    return result.trajectory


def test_choices_are_the_rows_of_one_table(path: Trajectory) -> None:
    found = gathered(path)
    assert list(found.tables) == [TOGETHER]
    table = found.tables[TOGETHER]
    assert table.rows == tuple(path.tables) and len(table.rows) == 20
    assert table.candidates == tuple(path.tables[name].candidates[0] for name in table.rows)
    for row, name in enumerate(table.rows):
        size = len(table.candidates[row])
        assert np.array_equal(found.alphas[TOGETHER][:, row, :size], path.alphas[name][:, 0])
        assert np.array_equal(found.weights(TOGETHER)[:, row, :size], path.weights(name)[:, 0])
        assert np.isnan(found.alphas[TOGETHER][:, row, size:]).all()
        assert not found.weights(TOGETHER)[:, row, size:].any()
    assert found.entropy(TOGETHER) == pytest.approx(np.mean([path.entropy(name) for name in path.alphas], 0))


def test_decisions_move_with_their_rows(path: Trajectory) -> None:
    name = list(path.tables)[3]
    decisions = [
        (0, {"decision": "freeze", "table": name, "row": 0, "column": 1}),
        (0, {"decision": "stop", "reason": "enough"}),
    ]
    whole = Trajectory(path.alphas, path.steps, None, path.epochs, decisions=decisions, tables=path.tables)
    found = gathered(whole)
    assert found.decisions[0] == (0, {"decision": "freeze", "table": TOGETHER, "row": 3, "column": 1})
    assert found.decisions[1] == decisions[1]
    assert found.frozen(TOGETHER)[-1].nonzero()[0].tolist() == [3]
    assert found.weights(TOGETHER)[-1, 3, :2].tolist() == [0.0, 1.0]
    assert gathered(whole, 2).decisions == [decisions[1]]


def test_cells_and_single_tables_stay_as_they_are(path: Trajectory) -> None:
    cells = Trajectory(
        {"recurrent": np.zeros((3, 3, 5))}, range(3), pydarts.Space(kind="recurrent", nodes=2), 2
    )
    assert gathered(cells) is cells and gathered(cells, 1) is cells
    one = next(iter(path.tables))
    alone = Trajectory({one: path.alphas[one]}, path.steps, None, path.epochs, tables={one: path.tables[one]})
    assert gathered(alone) is alone
    rows = AlphaTable("deep", ("0", "1", "2"), (("a", "b"),) * 3)
    several = Trajectory({"deep": np.zeros((2, 3, 2))}, (0, 1), None, 1, tables={"deep": rows})
    assert gathered(several) is several
    assert gathered(several, 2).alphas["deep"].shape == (2, 2, 2)


def test_a_table_with_the_name_of_the_common_one_keeps_it() -> None:
    tables = {
        TOGETHER: AlphaTable(TOGETHER, ("0", "1"), (("a", "b"),) * 2),
        "x": AlphaTable("x", ("0",), (("a", "b"),)),
        "y": AlphaTable("y", ("0",), (("a", "b"),)),
    }
    alphas = {name: np.zeros((1, len(table.rows), 2)) for name, table in tables.items()}
    found = gathered(Trajectory(alphas, (0,), None, 0, tables=tables))
    assert len(found.tables) == 2 and found.tables[TOGETHER] is tables[TOGETHER]


def test_there_is_a_panel_per_choice_with_the_names_of_its_lines(path: Trajectory) -> None:
    panels = pydarts.plots.alphas(path)
    assert len(panels) == 20
    assert [panel.get_title() for panel in panels] == list(path.tables)
    for panel, table in zip(panels, path.tables.values(), strict=True):
        assert {text.get_text() for text in panel.texts} == set(table.candidates[0])
    figure = panels[0].figure
    assert max(figure.get_size_inches()) < 15
    assert all(axes.get_legend() is None for axes in figure.axes)


@pytest.mark.parametrize(
    ("draw", "shown"), [(pydarts.plots.alphas, 40), (pydarts.plots.weights, 60)], ids=["alphas", "weights"]
)
def test_very_many_choices_are_cut_and_counted(draw: Any, shown: int) -> None:
    names = [f"backbone.encoder.layers.{number}.mixer" for number in range(90)]
    tables = {name: AlphaTable(name, ("0",), ((f"a{name[-9:]}", "b"),)) for name in names}
    long = Trajectory({name: np.zeros((2, 1, 2)) for name in names}, (0, 1), None, 1, tables=tables)
    panels = draw(long)
    figure = panels[0].figure
    assert max(figure.get_size_inches()) < 20
    said = [text.get_text() for text in figure.findobj(mpl.text.Text)]
    assert any(f"first {shown} of 90" in text for text in said)
    assert len(draw(long, cell=names[-1])) == 1


def test_a_heat_map_has_a_row_per_choice_and_names_in_its_boxes(path: Trajectory) -> None:
    (panel,) = pydarts.plots.weights(path)
    assert [label.get_text() for label in panel.get_yticklabels()] == list(path.tables)
    texts = {(text.get_position()): text.get_text() for text in panel.texts}
    for row, table in enumerate(path.tables.values()):
        for column, name in enumerate(table.candidates[0]):
            weight = path.weights(table.name, -1)[0, column]
            said = texts[column, row].split()
            assert said[0] == name and float(said[1]) == pytest.approx(weight, abs=1e-3)
    assert len(texts) == sum(len(table.candidates[0]) for table in path.tables.values())
    bold = [text.get_text().split()[0] for text in panel.texts if text.get_fontweight() == "bold"]
    assert bold == [name for ((name,),) in (path_architecture(path)[table] for table in path.tables)]


def path_architecture(path: Trajectory) -> dict[str, Any]:
    """The strongest candidates."""
    return {
        name: ((table.candidates[0][int(np.argmax(path.alphas[name][-1, 0]))],),)
        for name, table in path.tables.items()
    }


def test_what_is_kept_is_what_the_search_picked(result: pydarts.SearchResult) -> None:
    path = result.trajectory
    for name in path.tables:
        ((candidate,),) = result.architecture[name]
        assert path.kept(name) == {(0, candidate)}
    other = Trajectory(path.alphas, path.steps, None, 1, tables=path.tables, selection="sampled")
    assert not other.kept(next(iter(path.tables)))


def test_equal_candidates_stay_in_columns() -> None:
    names = ("a", "b", "c")
    tables = {f"t{number}": AlphaTable(f"t{number}", ("0",), (names,)) for number in range(5)}
    path = Trajectory({name: np.zeros((2, 1, 3)) for name in tables}, (0, 1), None, 1, tables=tables)
    (panel,) = pydarts.plots.weights(path)
    assert [label.get_text() for label in panel.get_xticklabels()] == list(names)
    panels = pydarts.plots.alphas(path)
    assert not panels[0].texts and any(axes.get_legend() for axes in panels[0].figure.axes)


def test_candidates_of_a_choice_have_different_looks() -> None:
    looks = looks_of(("relu", "gelu", "tanh", "mine", "skip_connect", "other"))
    assert len(set(looks.values())) == len(looks)


def test_entropies_of_many_tables_are_thin_lines_and_their_mean(path: Trajectory) -> None:
    ax = pydarts.plots.entropy(path).ax
    assert len(ax.get_legend().get_texts()) == 2
    (mean,) = [line for line in ax.lines if "20" in str(line.get_label())]
    assert mean.get_ydata() == pytest.approx(np.mean([path.entropy(name) for name in path.alphas], 0))
    assert ax.get_xlabel() == "epoch"
    assert len(pydarts.plots.entropy(result_of(3).trajectory).ax.get_legend().get_texts()) >= 4


def test_an_animation_of_many_choices_is_small(result: pydarts.SearchResult, tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(result.animate(tmp_path / "a.gif", frames=2)) as movie:
        assert movie.n_frames == 2
        assert max(movie.size) < 1200


@pytest.mark.parametrize(("width", "height"), [(100, 30), (60, 14), (30, 9), (200, 20)])
def test_a_terminal_shows_the_choices_that_fit(width: int, height: int) -> None:
    scene = scene_of(20)
    console = on_screen(width, height)
    console.print(picture(scene, width, height - 1))
    lines = console.export_text().splitlines()
    assert len(lines) < height and max(map(len, lines)) <= width
    text = "\n".join(lines)
    named = sum(re.search(rf"\b{re.escape(name)}\b", text) is not None for name in CHOICES(20))
    left = re.search(r"and (\d+) other", text)
    assert named + int(left[1] if left else 0) == 20 or (named == 0 and width < 40)
    assert not re.search(r"\b(cell|edge|genotype|skips)\b", text)


def scene_of(count: int) -> Scene:
    """The scene of a search."""

    class Follow(pydarts.Callback):
        scene: Scene

        def on_start(self, info: pydarts.StartInfo) -> None:
            self.scene = Scene(info)

        def on_step(self, info: pydarts.StepInfo) -> None:
            self.scene.step(info)

        def on_epoch(self, info: pydarts.EpochInfo) -> None:
            self.scene.epoch(info)

    follow = Follow()
    result_of(count, callbacks=follow)
    return follow.scene


@pytest.mark.parametrize("count", [1, 2, 20, 60])
def test_a_notebook_has_a_tile_per_choice(count: int) -> None:
    figure = moving(scene_of(count))
    assert max(figure.get_size_inches()) <= 11
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    tiles = [text for text in said if text.startswith("layers.")]
    assert len(tiles) == min(count, 40)
    if count >= 2:
        assert all(": " in text for text in tiles)
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    assert ("choices, first 40 of 60" in titles) == (count == 60)


def test_the_report_has_one_table_of_choices(result: pydarts.SearchResult, tmp_path: Path) -> None:
    page = result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    script = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.DOTALL)
    assert script is not None
    alpha = json.loads(script[1])["alpha"]
    (table,) = alpha["tables"]
    assert table["rows"] == list(result.tables)
    names = [operation["name"] for operation in alpha["operations"]]
    for row, (name, own) in enumerate(zip(table["rows"], table["own"], strict=True)):
        assert tuple(names[number] for number in own) == result.tables[name].candidates[0]
        ((picked_one,),) = result.architecture[name]
        assert [row, [names[number] for number in own].index(picked_one)] in table["kept"][-1]
        weights = [weight for weight in table["weights"][-1][row] if weight is not None]
        assert weights == pytest.approx(result.strengths[name][-1, 0], abs=1e-5)
    body = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL)
    shown = re.sub(r"<[^>]*>", " ", body)
    assert not re.search(r"\b([Cc]ells?|[Ee]dges?|[Gg]enotype|images?)\b", shown)
    section = page[page.index('id="architecture"') :]
    assert all(name in section for name in result.tables)


def test_the_card_counts_the_tables_and_lists_the_architecture(result: pydarts.SearchResult) -> None:
    card = result._repr_html_()
    facts = card[: card.index("<details")]
    assert "20: " in facts and list(result.tables)[-1] not in facts.partition("entropy")[0]
    for name, candidate in picked(result.architecture):
        assert re.search(rf"{re.escape(name)}</th><td>{re.escape(candidate)}<", card)


def test_one_finding_says_what_many_entropies_are(result: pydarts.SearchResult) -> None:
    (finding,) = [finding for finding in result.diagnostics() if finding.topic == "entropy"]
    last = [result.trajectory.entropy(name)[-1] for name in result.tables]
    assert finding.values["last"] == pytest.approx(np.mean(last)) and finding.values["of"] == 20
    few = result_of(3).diagnostics()
    assert [finding.table for finding in few if finding.topic == "entropy"] == list(CHOICES(3))
    said = f"{result.diagnostics()} {few}"
    assert not re.search(r"\b(cells?|edges?|genotype|images?)\b", said)


def test_tables_that_have_not_moved_are_counted() -> None:
    path = result_of(20, arch_lr=1e-9)
    (finding,) = [finding for finding in path.diagnostics() if finding.topic == "entropy"]
    assert finding.level == "warning" and finding.values["unmoved"] == 20


def test_the_narrowest_choice_is_named(result: pydarts.SearchResult) -> None:
    path = result.trajectory
    ahead = {name: np.diff(np.sort(path.weights(name, -1)[0]))[-1] for name in path.tables}
    found = {margin.choice: margin.by for margin in choice_margins(path)}
    assert found == pytest.approx(ahead)
    (finding,) = [finding for finding in result.diagnostics() if finding.topic == "margins"]
    assert finding.values["operation"] == pytest.approx(min(ahead.values()))
    assert min(ahead, key=ahead.__getitem__) in finding.text


def test_loggers_name_choices_without_their_only_row(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = CSV(tmp_path / "log.csv", tmp_path / "alphas.csv")
    result = result_of(20, callbacks=[log, TensorBoard(tmp_path / "board")])
    with (tmp_path / "alphas.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.history) * sum(len(names) for names in CHOICES(20).values())
    assert {row["table"] for row in rows} == set(CHOICES(20))
    last = {(row["table"], row["candidate"]): float(row["weight"]) for row in rows}
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    for name, candidates in CHOICES(20).items():
        for column, candidate in enumerate(candidates):
            weight = result.strengths[name][-1, 0, column]
            assert last[name, candidate] == pytest.approx(weight)
            assert board.Scalars(f"alpha/{name}/{candidate}")[-1].value == pytest.approx(weight)


def test_the_subject_has_the_tables_it_says() -> None:
    assert [table.name for table in network(20).tables] == list(CHOICES(20))
    assert chosen(result_of(2)) == dict(picked(result_of(2).architecture))
