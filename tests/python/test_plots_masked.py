"""Views of tables with removed candidates, decided and removed rows, and rows of different candidates."""

import io
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pydarts
import pytest
from masked import ragged, restricted, result_of
from paths import SMALL
from pydarts import SearchResult, Trajectory, plots
from pydarts._results.diagnostics import diagnose
from pydarts._results.tables import tables_of
from pydarts._search.callbacks import StartInfo, StepInfo
from pydarts._show.live.scene import Scene
from pydarts._show.live.terminal import picture
from pydarts._show.plots.points import limits, moment
from pydarts._show.report.page import page
from pydarts._show.report.view import view
from rich.console import Console


@pytest.fixture(autouse=True)
def closed() -> Any:
    yield
    plt.close("all")


# ---- plots


def test_the_line_of_a_removed_candidate_ends_with_a_cross() -> None:
    path = restricted()
    panel = plots.alphas(path, cell="normal")[0]
    lines = [line for line in panel.lines if len(line.get_xdata()) == 6]
    assert len(lines) == 3
    known = [int(np.isfinite(line.get_ydata()).sum()) for line in lines]
    assert known == [6, 3, 6]
    (cross,) = [line for line in panel.lines if line.get_marker() == "x"]
    assert cross.get_xdata()[0] == 2 and cross.get_ydata()[0] == path.weights("normal", 2)[0, 1]
    assert not any(line.get_marker() == "x" for line in plots.alphas(path, cell="reduce")[0].lines)


def test_panels_say_which_rows_are_decided_and_from_when() -> None:
    panels = plots.alphas(restricted(), cell="normal")
    said = [panel.get_title() for panel in panels]
    assert ["decided" in text for text in said] == [False, True, False, False, False]
    assert ["removed" in text for text in said] == [False, False, False, True, False]
    spans = [[patch.get_x() for patch in panel.patches] for panel in panels]
    assert spans == [[], [4.0], [], [5.0], []]


def test_padding_is_not_drawn() -> None:
    panels = plots.alphas(ragged())
    curves = [sum(len(line.get_xdata()) == 4 for line in panel.lines) for panel in panels]
    assert curves == [2, 3, 1]
    level = [panel.lines[-1].get_ydata()[0] for panel in panels]  # the weight of equal logits
    assert level == pytest.approx([1 / 2, 1 / 3, 1.0])


def test_a_heat_map_has_a_column_per_name_and_crosses() -> None:
    path = restricted()
    (ax,) = plots.weights(path, cell="normal")
    shown = np.ma.filled(ax.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, path.shown("normal", -1))
    assert sum(line.get_marker() == "x" for line in ax.lines) == 1 and len(ax.texts) == 14
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert "decided" in labels[1] and "removed" in labels[3]
    (ax,) = plots.weights(ragged())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c", "$c$"]
    assert len(ax.texts) == 6 and not any(line.get_marker() == "x" for line in ax.lines)


def test_the_cell_of_the_search_network_shows_removed_edges() -> None:
    (ax,) = plots.supernet(restricted(), cell="normal")
    assert [text.get_text() for text in ax.texts if "removed" in text.get_text()] == ["removed"]
    with pytest.raises(TypeError, match="mine"):
        plots.supernet(ragged())


def test_curves_mark_decisions_and_the_largest_entropy() -> None:
    path = restricted()
    for ax in (plots.entropy(path).ax, plots.skips(path).ax):
        vertical = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"]
        assert vertical == [3.0, 4.0, 5.0]
        legend = ax.get_legend()
        assert legend and any("2 skip connections" in text.get_text() for text in legend.get_texts())
    level = [
        line.get_ydata()[0] for line in plots.entropy(ragged()).ax.lines if line.get_label() == "all alike"
    ]
    assert level == pytest.approx([(np.log(2) + np.log(3)) / 3])


@pytest.mark.parametrize("path", [restricted(), ragged()], ids=["cells", "no cells"])
def test_an_animation_takes_what_plots_take(path: Trajectory, tmp_path: Path) -> None:
    assert plots.animate(path, tmp_path / "a.gif", frames=2).stat().st_size > 0


def test_ranges_contain_weights_that_are_no_shares() -> None:
    path = ragged(relaxation="identity")
    low, high = limits([path.shown("mine")])
    assert low < np.nanmin(path.shown("mine")) < 0 and high > np.nanmax(path.shown("mine"))
    assert limits([np.array([np.nan])])[0] <= 0
    for panel in plots.alphas(path):
        assert panel.get_ylim() == (low, high)


def test_titles_name_the_relaxation_and_what_is_scheduled() -> None:
    assert moment(restricted(), 5) == "epoch 5"
    schedule = {"name": "linear", "start": 4.0, "end": 1.0}
    warm = restricted(relaxation={"name": "softmax", "temperature": schedule}, total_epochs=7)
    assert moment(warm, 3) == "epoch 3, temperature 3"
    assert moment(restricted(relaxation="identity"), 3) == "epoch 3, identity"


# ---- report


def test_the_data_of_the_report_have_no_weight_where_there_is_no_candidate() -> None:
    path = restricted()
    seen = view(path).data
    normal = seen["tables"][0]
    assert normal["weights"][2][0][1] is not None and normal["weights"][3][0][1] is None
    assert normal["masked"] == [[], [], [], [[0, 1]], [[0, 1]], [[0, 1]]]
    assert ["decided" in state for state in normal["states"][-1]] == [False, True, False, False, False]
    table = view(ragged()).data["tables"][0]
    assert table["rows"] == ["first", "second", "third"] and table["masked"] == [[]] * 4
    assert [[weight is None for weight in row] for row in table["weights"][0]] == [
        [False, False, True, True], [False, False, False, True], [True, True, True, False],
    ]  # fmt: skip
    assert table["cells"] == [] and not view(ragged()).pictures


def test_a_report_lists_decisions_and_leaves_out_cells_that_are_not_there(tiny_result: SearchResult) -> None:
    said = page(result_of(tiny_result, restricted()), None)
    assert "epoch 5: stopped: 2 skip connections" in said and 'id="genotype"' in said
    said = page(result_of(tiny_result, ragged()), None)
    assert 'id="genotype"' not in said and 'id="plan"' not in said and "second" in said


def test_a_card_has_decisions(tiny_result: SearchResult) -> None:
    assert "2 skip connections" in result_of(tiny_result, restricted())._repr_html_()


# ---- live view


@pytest.mark.parametrize("make", [restricted, ragged])
def test_the_terminal_draws_every_table(make: Any) -> None:
    path = make()
    config = pydarts.SearchConfig(space=SMALL, epochs=6)
    scene = Scene(StartInfo(config, 0, 10, path.tables))
    for step in range(len(path)):
        alphas = {name: values[step] for name, values in path.alphas.items()}
        strengths = {name: values[step] for name, values in path.strengths.items()}
        scene.step(StepInfo(0, step, step, 10, 1.0, 1.0, 0.5, 0.1, alphas, strengths))
    text = io.StringIO()
    Console(file=text, width=120, height=60).print(picture(scene, 120, 60))
    for table in path.tables.values():
        assert table.name in text.getvalue()
        assert all(table.words(row).replace(" ", "") in text.getvalue() for row in range(len(table.rows)))
    assert (scene.genotype is None) == (path.space is None)


# ---- diagnostics


def test_weights_that_are_no_shares_have_moved_or_not() -> None:
    still = {name: np.full((3, len(SMALL.edges), 3), 1.0) for name in SMALL.tables}
    moved = {name: values.copy() for name, values in still.items()}
    moved["normal"][-1, 0, 1] = 1.2
    for alphas, warns in ((still, {"normal", "reduce"}), (moved, {"reduce"})):
        path = Trajectory(alphas, range(3), SMALL, 2, relaxation="identity")
        found = diagnose(_Outcome(path))  # type: ignore[arg-type]
        assert {f.table for f in found.warnings if f.topic == "entropy"} == warns


class _Outcome:
    """A result as far as the diagnostics of α read it."""

    def __init__(self, path: Trajectory) -> None:
        self.trajectory, self.genotype = path, path.genotypes[-1]
        self.status, self.history, self.steps, self.loss, self.class_counts = "complete", (), (2,), None, None
        self.config, self.decisions = pydarts.SearchConfig(space=SMALL), ()


# ---- spaces whose edges differ


def s1_path() -> Trajectory:
    space = pydarts.Space.preset("s1")
    tables = tables_of(space)
    rng = np.random.default_rng(0)
    alphas = {}
    for name, table in tables.items():
        alphas[name] = rng.normal(size=(3, len(table.rows), table.columns))
        alphas[name][:, table.padding] = np.nan
    return Trajectory(alphas, range(3), space, 2)


def test_views_of_a_space_whose_edges_differ_name_the_candidates_of_each(tiny_result: SearchResult) -> None:
    path = s1_path()
    for name, table in path.tables.items():
        assert table.candidates == path.space.columns(name)  # type: ignore[union-attr]
        assert np.isfinite(path.shown(name)).sum() == 3 * sum(map(len, table.candidates))
        assert not path.masked(name).any()
        panels = plots.alphas(path, cell=name)
        drawn = [sum(len(line.get_xdata()) == 3 for line in panel.lines) for panel in panels]
        assert drawn == list(map(len, table.candidates))
    assert {margin.chosen for margin in path.margins()} <= set(path.space.all_operations)  # type: ignore[union-attr]
    plots.weights(path), plots.supernet(path), plots.entropy(path)
    assert 'id="genotype"' in page(result_of(tiny_result, path), None)
