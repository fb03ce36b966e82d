"""The algorithm of a search in cards, reports, tables and commands, and findings that fit it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from commands import answered, refused
from conftest import make_arrays, make_config
from pydarts import EpochRecord, History, SearchResult, SearchRow, SearchTable, Space, Trajectory, plots
from pydarts._protocol.job import Job
from pydarts._results.algorithm import applicable, axes, in_words, named
from pydarts.algorithms import Cosine, Gumbel, Linear, Sampled, Softmax, Threshold
from pydarts_cli.search import summary
from reports import moving

EDGES = 5


def topics(result: SearchResult) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for finding in result.diagnostics():
        found.setdefault(finding.topic, []).append(finding)
    return found


# ---- in words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Gumbel(temperature=Linear(10, 0.1)), "gumbel(temperature=10:0.1)"),
        (Gumbel(temperature=Cosine(10, 0.1)), "gumbel(temperature=cosine(10, 0.1))"),
        (Gumbel(), "gumbel"),
        (Softmax(temperature=0.5), "softmax(temperature=0.5)"),
        (Threshold(value=0.8), "threshold(value=0.8)"),
        ("unrolled", "unrolled"),
        (True, "True"),
    ],
)
def test_values_of_options_are_written_as_the_command_line_reads_them(value: Any, text: str) -> None:
    assert in_words(value) == text
    if "(" in text:
        from pydarts_cli.variants import read

        assert type(value).from_dict(read(text)) == value


def test_axes_are_what_differs_from_first_order_darts() -> None:
    assert axes(pydarts.SearchConfig(epochs=3, weight_lr=0.1, weight_decay=1e-3, seed=4)) == {}
    assert axes(pydarts.SearchConfig(space="darts-rnn")) == {}
    config = pydarts.SearchConfig(
        hypergradient="unrolled", order="weights_first", weight_decay=Linear(3e-4, 1e-3), drop_path=0.2
    )
    assert axes(config) == {
        "hypergradient": "unrolled", "order": "weights_first", "weight_decay": "0.0003:0.001",
        "drop_path": "0.2",
    }  # fmt: skip


def test_an_algorithm_has_the_name_of_its_preset_or_of_its_parts() -> None:
    assert named(pydarts.SearchConfig()) == "first_order"
    assert named(pydarts.SearchConfig(relaxation="sigmoid", hypergradient="unrolled")) == "sigmoid, unrolled"
    assert named(pydarts.SearchConfig(relaxation="sigmoid", algorithm="fair_darts")) == "fair_darts"


def test_options_that_do_not_apply_are_left_out() -> None:
    images, words = (applicable(pydarts.SearchConfig(space=name), True) for name in ("darts", "darts-rnn"))
    own = applicable(pydarts.SearchConfig(), False)
    assert "units" not in images and "cutout" in images and "space" in images
    assert "units" in words and "cutout" not in words and "channels" not in words
    assert not {"space", "channels", "units", "passes"} & set(own) and "arch_lr" in own
    assert all("relaxation" in one and "seed" in one for one in (images, words, own))


# ---- card, report, commands


def family(base: SearchResult, **changes: Any) -> SearchResult:
    options: dict[str, Any] = {"algorithm": "mine", "relaxation": Gumbel(temperature=0.5)} | changes
    return replace(moving(base), config=base.config.replace(**options))


def test_cards_name_the_algorithm_and_its_axes(tiny_result: SearchResult) -> None:
    result = family(tiny_result)
    for card in (result._repr_html_(), result.config._repr_html_()):
        assert "mine" in card and "0.5" in card
    assert "gumbel(temperature=0.5)" in result._repr_html_()
    assert "algorithm" not in tiny_result._repr_html_().partition("<details")[0]


def test_a_report_names_the_algorithm_and_leaves_out_foreign_options(
    tiny_result: SearchResult, tmp_path: Path
) -> None:
    pytest.importorskip("plotly")
    text = family(tiny_result).report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h3>Algorithm</h3>" in text and "mine, seed 0" in text
    assert "gumbel(temperature=0.5)" in text
    fields = text.partition('id="configuration"')[2].partition('id="plan"')[0]
    assert ">channels<" in fields and ">units<" not in fields and ">bptt<" not in fields


def test_commands_name_the_algorithm(tiny_result: SearchResult, tmp_path: Path) -> None:
    replace(tiny_result, config=family(tiny_result).config).save(tmp_path / "a")
    tiny_result.save(tmp_path / "b")
    both = answered("compare", tmp_path / "a", tmp_path / "b", "--json").json
    assert [row["algorithm"] for row in both["runs"]] == ["mine", None]
    assert [row["method"] for row in both["runs"]] == ["first_order", "first_order"]


def test_commands_draw_and_say_diagnostics(tiny_result: SearchResult, tmp_path: Path) -> None:
    history = [
        replace(record, diagnostics={"temperature": 0.25, "mine": 2.0}) for record in tiny_result.history
    ]
    result = replace(
        tiny_result, history=History(history), config=tiny_result.config.replace(algorithm="mine")
    )
    result.save(tmp_path / "a")
    tiny_result.save(tmp_path / "b")
    answered("plot", tmp_path / "a", "diagnostics")
    assert (tmp_path / "a" / "diagnostics.png").stat().st_size
    assert not (tmp_path / "a" / "edges.png").exists()
    refused(2, "plot", tmp_path / "b", "diagnostics")
    refused(2, "plot", tmp_path / "b", "edges")
    said = summary(result)
    assert "mine" in said and "temperature 0.25" in said
    assert "temperature" not in summary(tiny_result)


# ---- tables of several searches


def job(config: pydarts.SearchConfig | None) -> Job:
    training = pydarts.TrainConfig(epochs=1)
    return Job(
        name="seed 0", origin="searched", training=training, network={}, image_size=None, search=config
    )


@pytest.mark.parametrize(
    ("options", "wanted"),
    [({}, None), ({"relaxation": "sigmoid"}, "sigmoid, first_order"), ({"algorithm": "mine"}, "mine")],
)
def test_a_row_has_the_algorithm_of_its_search(options: dict[str, Any], wanted: str | None) -> None:
    assert job(make_config(**options)).row("waiting").algorithm == wanted
    assert job(None).row("failed").algorithm is None


def rows() -> list[SearchRow]:
    def row(name: str, accuracy: float, algorithm: str | None, origin: Any = "searched") -> SearchRow:
        return SearchRow(
            name=name, origin=origin, status="complete", accuracy=accuracy, loss=1.0, algorithm=algorithm
        )

    return [
        row("seed 0", 0.5, None), row("seed 0", 0.75, "mine"), row("seed 1", 1.0, "mine"),
        row("random 0", 0.25, None, "random"),
    ]  # fmt: skip


def test_a_table_tells_algorithms_apart(tmp_path: Path) -> None:
    table = SearchTable(rows())
    head, *lines = str(table).splitlines()
    assert head.split()[:2] == ["name", "algorithm"]
    assert [("mine" in line, "darts" in line) for line in lines[:4]] == [
        (False, True), (True, False), (True, False), (False, False),
    ]  # fmt: skip
    assert table.summary("searched", "mine").mean == 0.875 and table.summary("searched", "darts").n == 1
    assert table.summary("searched").n == 3 and "87.50%" in str(table)
    assert "algorithm" in table._repr_html_()
    table.save(tmp_path / "table.csv")
    assert SearchTable.load(tmp_path / "table.csv") == table


def test_a_table_of_darts_has_no_column_of_algorithms(tmp_path: Path) -> None:
    table = SearchTable([rows()[0], rows()[3]])
    table.save(tmp_path / "table.csv")
    assert "algorithm" not in str(table) + (tmp_path / "table.csv").read_text()
    assert SearchTable.load(tmp_path / "table.csv") == table


# ---- findings


def probed(base: SearchResult, cosines: list[float], **changes: Any) -> SearchResult:
    history = [
        EpochRecord(
            epoch, 1.5, 1.4, 0.5, 0.55, 0.025, {}, 1, 1.0,
            diagnostics={"probe.cosine": cosine, "probe.error": 1.0},
        )
        for epoch, cosine in enumerate(cosines)
    ]  # fmt: skip
    return replace(base, history=History(history), config=base.config.replace(**changes), epochs=())


@pytest.mark.parametrize(
    ("cosines", "level", "mean"),
    [
        ([0.9, 0.7], "note", 0.8),
        ([0.3, 0.0], "warning", 0.15),
        ([0.1, float("nan")], "warning", 0.1),
        ([-1.0, -0.5], "warning", -0.75),
        ([0.2, 0.2], "note", 0.2),
    ],
)
def test_a_gradient_that_points_elsewhere_is_a_warning(
    tiny_result: SearchResult, cosines: list[float], level: str, mean: float
) -> None:
    (finding,) = topics(probed(tiny_result, cosines, hypergradient="unrolled"))["probe"]
    assert finding.level == level and finding.values["cosine"] == pytest.approx(mean)
    assert finding.values["error"] == 1.0 and "unrolled" in finding.text


def test_without_a_probe_there_is_no_finding(tiny_result: SearchResult) -> None:
    assert "probe" not in topics(tiny_result)
    assert "probe" not in topics(probed(tiny_result, [float("nan")] * 2))


def test_findings_about_alpha_are_left_out_where_it_does_not_decide(tiny_result: SearchResult) -> None:
    plain = topics(moving(tiny_result))
    assert {"entropy", "change", "margins"} <= set(plain)
    sampled = topics(family(tiny_result, selection=Sampled()))
    assert "entropy" in sampled and not {"change", "margins"} & set(sampled)
    drawn = topics(family(tiny_result, relaxation="random", selection=Sampled()))
    assert not {"entropy", "zero", "change", "margins"} & set(drawn)
    skips = {finding.table: finding.values for finding in drawn["skips"]}
    assert set(skips) == {"normal", "reduce"} and all(set(found) == {"now", "of"} for found in skips.values())


def test_a_report_of_a_sampled_genotype_shows_that_genotype(
    tiny_result: SearchResult, tmp_path: Path
) -> None:
    pytest.importorskip("plotly")
    result = family(tiny_result, relaxation="random", selection=Sampled())
    chosen = pydarts.random_genotypes(result.config.resolved_space, 5, seed=2)[4]
    assert chosen != result.trajectory.genotype()
    result = replace(result, genotype=chosen, architecture={})
    text = result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    section = text.partition('id="genotype"')[2].partition("</section>")[0]
    label = section.partition('aria-label="The normal cell')[2].partition('"')[0]
    for operation in {operation for operation, *_ in chosen.edges("normal")}:
        assert operation in label
    assert "genotype last changed" not in text


def last_epoch(base: SearchResult, relaxation: str, **measured: float) -> dict[str, list[Any]]:
    """The findings of a search whose last epoch has these measurements."""
    record = replace(base.history[-1], **measured)
    result = replace(base, history=History([base.history[0], record]))
    return topics(replace(result, config=base.config.replace(relaxation=relaxation)))


@pytest.mark.parametrize("relaxation", ["gdas", "random", "softmax", "gumbel"])
@pytest.mark.parametrize("accuracy", [0.1, 0.9])
def test_the_mean_of_drawn_candidates_is_not_judged_as_what_was_trained(
    tiny_result: SearchResult, relaxation: str, accuracy: float
) -> None:
    losses = {"train_loss": 0.5, "valid_loss": 80.0}
    found = last_epoch(tiny_result, relaxation, train_accuracy=0.9, valid_accuracy=accuracy, **losses)
    level = "note" if relaxation in ("gdas", "random") else "warning"
    assert [found[topic][0].level for topic in ("learning", "gap")] == [level, level]
    # What has not learned in training either is still a warning.
    losses["train_loss"] = 3.0
    found = last_epoch(tiny_result, relaxation, train_accuracy=0.1, valid_accuracy=accuracy, **losses)
    assert found["learning"][0].level == "warning"


@pytest.mark.parametrize("relaxation", ["sigmoid", "gdas", "dirichlet"])
def test_other_relaxations_have_findings_that_can_be_printed(
    tiny_result: SearchResult, relaxation: str
) -> None:
    found = topics(family(tiny_result, relaxation=relaxation))
    assert {"entropy", "change", "margins", "skips"} <= set(found)
    assert all(np.isfinite(list(one.values.values())).all() for part in found.values() for one in part)


# ---- spaces without skip connections


def test_where_no_candidate_is_a_skip_connection_nothing_counts_them(
    tiny_result: SearchResult, tmp_path: Path
) -> None:
    config = make_config(operations=("none", "max_pool_3x3", "sep_conv_3x3"), epochs=1)
    result = pydarts.search(make_arrays(), config)
    assert result.history[0].skip_connections is None
    assert "skips" not in topics(result) and "skip connections" not in result._repr_html_()
    pytest.importorskip("plotly")
    text = result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert '"skips"' not in text and "<dt>skip connections</dt>" not in text


# ---- weights of edges


def weighted(points: int = 4) -> Trajectory:
    """A trajectory of recurrent cells of 2 nodes: the edge 0 -> 2 gets all weight of its node."""
    beta = np.zeros((points, 3, 1))
    beta[:, 1, 0] = np.linspace(0, 3, points)
    alphas = {"recurrent": np.zeros((points, 3, 5)), "recurrent.beta": beta}
    return Trajectory(alphas, range(points), Space(kind="recurrent", nodes=2), points - 1)


def test_plots_of_alpha_show_the_weights_of_edges() -> None:
    path = weighted()
    wanted = path.edge_weights("recurrent", -1).tolist()
    assert wanted[0] == 1.0 and wanted[1] > 0.9
    titles = [panel.get_title() for panel in plots.alphas(path)]
    assert [title.rpartition(", ")[2] for title in titles] == [f"β {weight:.2f}" for weight in wanted]
    (panel,) = plots.weights(path)
    labels = [label.get_text() for label in panel.get_xticklabels()]
    assert labels[-1] == "edge" and len(labels) == 6
    numbers = [text.get_text() for text in panel.texts]
    assert numbers[-3:] == [f"{weight:.2f}" for weight in wanted]


def test_weights_of_edges_are_drawn_over_time_one_panel_per_node() -> None:
    path = weighted()
    first, second = plots.edges(path)
    assert first.lines[0].get_ydata().tolist() == [1.0] * 4
    for place, row in enumerate((1, 2)):
        assert second.lines[place].get_ydata().tolist() == path.edge_weights("recurrent")[:, row].tolist()
    assert second.lines[-1].get_ydata()[0] == 0.5


def test_without_weights_of_edges_plots_are_as_before(tiny_result: SearchResult) -> None:
    (panel,) = plots.edges(tiny_result.trajectory)
    assert not panel.lines
    heat = tiny_result.plot_weights()[0]
    assert "edge" not in [label.get_text() for label in heat.get_xticklabels()]


def test_a_search_with_weights_of_edges_is_shown_by_everything(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    config = make_config(edge_normalization=True, epochs=2)
    live = pydarts.LiveView(where="terminal")
    result = pydarts.search(
        make_arrays(), config, [live, pydarts.loggers.CSV(tmp_path / "a.csv", tmp_path / "b.csv")]
    )
    assert {"normal.beta", "reduce.beta"} <= set(result.alphas)
    text = result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "edges-normal" in text and "edges-reduce" in text
    result.animate(tmp_path / "alpha.gif", frames=2)
    for draw in (result.plot_alphas, result.plot_weights, result.plot_supernet, result.plot_edges):
        draw()
    assert result._repr_html_() and topics(result)["entropy"]
    assert len(topics(result)["entropy"]) == 2
