"""Pictures: they need no display, take and return axes, and are readable by anyone."""

import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from pydarts import SearchConfig, SearchResult, Space, Trajectory, derive, genotypes, plots
from pydarts._results.tables import AlphaTable
from pydarts._show.layout import depths, layout
from pydarts._show.palette import look_of
from pydarts._show.plots.cells import cell_graph
from pydarts._values.words import NodeNames


def drawn(axes: Any, tmp_path: Path) -> None:
    """Draw for real, and see that something came out."""
    figure = axes[0].figure
    path = tmp_path / "picture.png"
    figure.savefig(path, dpi=50)
    assert path.stat().st_size > 2000


def test_the_trajectories_have_a_panel_an_edge_and_a_line_an_operation(
    tiny_result: SearchResult, tmp_path: Path
) -> None:
    panels = tiny_result.plot_alphas()
    assert len(panels) == 2 * 5 and all(isinstance(panel, Axes) for panel in panels)
    lines = [line for line in panels[0].lines if len(line.get_xdata()) == 3]
    assert [line.get_color() for line in lines] == [
        look_of(name).color for name in tiny_result.config.operations or ()
    ]
    total = sum(np.asarray(line.get_ydata()) for line in lines)
    np.testing.assert_allclose(total, 1.0)
    drawn(panels, tmp_path)


def test_one_table_and_given_axes_are_enough(tiny_result: SearchResult, tmp_path: Path) -> None:
    ax = Figure().subplots()
    panels = tiny_result.plot_alphas(ax=ax, cell="reduce")
    assert len(panels) == 5 and panels[0].figure is ax.figure
    drawn(panels, tmp_path)
    with pytest.raises(ValueError, match="reduced"):
        tiny_result.plot_alphas(cell="reduced")


@pytest.mark.parametrize("style", [None, "paper"])
@pytest.mark.parametrize("cell", [None, "normal"])
@pytest.mark.parametrize("nodes", [1, 2, 3, 4])
def test_nothing_in_a_plot_of_trajectories_covers_anything_else(
    nodes: int, cell: str | None, style: Any
) -> None:
    space = Space(nodes=nodes)
    alphas = {name: np.zeros((3, len(space.edges), 8)) for name in space.tables}
    panels = plots.alphas(Trajectory(alphas, range(3), space, 2), cell=cell, style=style)
    figure = panels[0].figure
    figure.canvas.draw()
    host = figure.axes[0]
    legend = host.get_legend()
    assert legend is not None and len(legend.get_texts()) == 8
    boxes = [legend.get_window_extent(), *(text.get_window_extent() for text in host.texts)]
    # With the numbers and the title of the panels.
    boxes += [panel.get_tightbbox() for panel in panels]
    for index, box in enumerate(boxes):
        assert figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1)
        assert figure.bbox.containsy(box.y0) and figure.bbox.containsy(box.y1)
        covered = [other for other in boxes[:index] if box.overlaps(other)]
        if index > len(host.texts):  # numbers of panels may meet those of their neighbours
            covered = [other for other in covered if other in boxes[: len(host.texts) + 1]]
        assert not covered


def test_tables_of_choices_may_have_different_numbers_of_rows() -> None:
    tables = {
        name: AlphaTable(name, tuple(f"{name}.{row}" for row in range(rows)), (("a", "b"),) * rows)
        for name, rows in (("body", 9), ("head", 2))
    }
    alphas = {name: np.zeros((3, len(table.rows), 2)) for name, table in tables.items()}
    path = Trajectory(alphas, range(3), None, 2, tables=tables)
    for figsize in (None, (1.2, 1.0), (4.0, 3.0)):
        assert len(plots.alphas(path, figsize=figsize)) == 11


def test_trajectories_recorded_by_step_are_drawn_over_steps() -> None:
    alphas = {"recurrent": np.random.default_rng(0).normal(size=(7, 36, 5))}
    config = SearchConfig(space="darts-rnn")
    panels = plots.alphas(Trajectory(alphas, range(0, 14, 2), config.resolved_space, 2))
    assert len(panels) == 36
    assert panels[0].lines[0].get_xdata().tolist() == list(range(0, 14, 2))


def test_the_cells_are_drawn_one_below_the_other(tiny_result: SearchResult, tmp_path: Path) -> None:
    axes = tiny_result.plot_cells()
    assert [ax.get_title(loc="left") for ax in axes] == ["normal", "reduce"]
    drawn(axes, tmp_path)
    ax = Figure().subplots()
    assert all(inner.figure is ax.figure for inner in tiny_result.plot_cells(ax=ax))


@pytest.mark.parametrize("name", genotypes.__all__)
def test_every_operation_of_a_published_cell_stands_in_its_picture(name: str, tmp_path: Path) -> None:
    genotype = getattr(genotypes, name)
    axes = plots.cells(genotype)
    texts = [text.get_text() for ax in axes for text in ax.texts]
    for cell in (genotype.normal, genotype.reduce, genotype.recurrent):
        for operation, _ in cell:
            texts.remove(operation)
    drawn(axes, tmp_path)


@given(seed=st.integers(0, 10**6), nodes=st.integers(1, 6), value=st.sampled_from([0.0, 0.3, 0.9]))
@settings(max_examples=30, deadline=None)
def test_boxes_and_lines_of_any_cell_keep_apart(seed: int, nodes: int, value: float) -> None:
    space = Space(nodes=nodes)
    rng = np.random.default_rng(seed)
    shape = (len(space.edges), len(space.operations))
    selection = {"name": "threshold", "value": value}  # nodes without edges too
    genotype = derive({name: rng.normal(size=shape) for name in space.tables}, space, selection=selection)
    graph = cell_graph(genotype.edges("normal"), genotype.normal_concat, NodeNames(2), nodes)
    assert graph.number_of_edges() == len(genotype.edges("normal")) + nodes
    plan = layout(graph)
    places: dict[int, list[float]] = {}
    for edge, lanes in plan.lanes.items():
        for layer, lane in enumerate(lanes, plan.layer[edge[0]] + 1):
            if layer < plan.layer[edge[1]] or graph.edges[edge]["operation"] is not None:
                places.setdefault(layer, []).append(lane)
    for lanes in places.values():
        ordered = sorted(lanes)
        assert all(b - a >= 0.5 for a, b in pairwise(ordered))
    depth = depths(graph)
    assert all(depth[i] < depth[j] for i, j in graph.edges())
    assert all(depth[node] > 0 for node in range(2, 2 + nodes))


def test_every_operation_has_a_look_of_its_own_within_its_space() -> None:
    convolutional = (
        "none", "skip_connect", "max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3", "sep_conv_5x5",
        "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5", "conv_1x1", "conv_3x3", "conv_7x1_1x7", "noise",
    )  # fmt: skip
    for names in (convolutional, reference.SEQUENCE_OPERATIONS, Space.preset("darts-rnn").operations):
        for one, other in combinations(names, 2):
            assert look_of(one) != look_of(other)


def test_colours_differ_in_lightness_or_hue_for_every_kind_of_eye() -> None:
    blind = np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]])  # protanopia
    names = Space.preset("darts").operations
    for one, other in combinations(names, 2):
        if look_of(one).style != look_of(other).style:
            continue
        distance = np.linalg.norm(
            blind @ (np.array(to_rgb(look_of(one).color)) - np.array(to_rgb(look_of(other).color)))
        )
        assert distance > 0.12, (one, other)


@pytest.mark.parametrize("draw", ["alphas", "weights", "supernet", "entropy", "skips", "losses", "cells"])
def test_what_cannot_be_drawn_is_refused_with_what_to_give(draw: str, tiny_result: SearchResult) -> None:
    with pytest.raises(TypeError, match="SearchResult"):
        getattr(plots, draw)(tiny_result)
    with pytest.raises(TypeError, match="integer"):
        plots.weights(tiny_result.trajectory, at=1.0)  # type: ignore[arg-type]


def test_pictures_need_no_display() -> None:
    code = "import pydarts\npydarts.plots.cells(pydarts.genotypes.DARTS_V2)[0].figure.canvas.draw()\n"
    house = str(Path(pydarts.__file__).parents[1])
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "PYTHONPATH": house}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


def test_plots_do_not_change_the_users_settings() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plots.cells(pydarts.genotypes.DARTS_V1)
    assert dict(mpl.rcParams) == before
