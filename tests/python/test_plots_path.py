"""Pictures of a trajectory: heat map, whole cell, curves over time, several runs, animation."""

import dataclasses
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.text import Text
from paths import RECURRENT, SMALL, make_path
from PIL import Image
from pydarts import SearchResult, Space, Trajectory, plots
from pydarts._show.palette import look_of, run_look, text_on

SPACES = [Space(), SMALL, Space(nodes=1), Space.preset("darts-rnn"), RECURRENT]


def canvas(width: float = 6, height: float = 4) -> Axes:
    """Axes of no window and no pyplot."""
    figure = Figure((width, height))
    FigureCanvasAgg(figure)
    return figure.add_axes((0, 0, 1, 1))


def boxes(ax: Axes, texts: list[Text]) -> list[Any]:
    """What labels cover, with their frames, in pixels."""
    ax.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    found = []
    for text in texts:
        patch = text.get_bbox_patch()
        found.append(text.get_window_extent() if patch is None else patch.get_window_extent())
    return found


# ---- heat map


@pytest.mark.parametrize("space", SPACES)
def test_the_heat_map_says_every_weight_and_frames_what_is_kept(space: Space) -> None:
    path = make_path(space)
    panels = plots.weights(path, at=2)
    assert len(panels) == len(space.tables)
    for table, ax in zip(space.tables, panels, strict=True):
        weights = path.weights(table, 2)
        assert [text.get_text() for text in ax.texts] == [f"{value:.3f}" for value in weights.ravel()]
        np.testing.assert_array_equal(ax.images[0].get_array(), weights)
        frames = {
            (round(patch.get_x() + 0.46), round(patch.get_y() + 0.44)): to_hex(patch.get_edgecolor())
            for patch in ax.patches
            if isinstance(patch, Rectangle)
        }
        kept = [margin for margin in path.margins(2) if margin.table == table]
        assert frames == {
            (space.operations.index(m.chosen), space.edges.index(m.edge)): look_of(m.chosen).color
            for m in kept
        }
        bold = [text for text in ax.texts if text.get_fontweight() == "bold"]
        assert len(bold) == len(kept)
        assert [label.get_text() for label in ax.get_xticklabels()] == list(space.operations)
        assert len(ax.get_yticklabels()) == len(space.edges)


@pytest.mark.parametrize("space", SPACES)
def test_nothing_of_a_heat_map_is_cut_off(space: Space) -> None:
    panels = plots.weights(make_path(space))
    figure = panels[0].figure
    for ax in panels:
        outer = [*ax.get_xticklabels(), *ax.get_yticklabels(), ax._left_title]
        found = boxes(ax, [*outer, *ax.texts])
        for box in found[: len(outer)]:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        cell = ax.bbox.width / len(space.operations)
        assert all(box.width < cell for box in found[len(outer) :])


def test_all_heat_maps_of_a_picture_have_one_scale() -> None:
    one, other = plots.weights(make_path())
    assert one.images[0].get_clim() == other.images[0].get_clim()


@pytest.mark.parametrize("space", [Space(), RECURRENT, Space.preset("darts-rnn")])
@pytest.mark.parametrize("scale, digits", [(1.0, 3), (5e-3, 4), (5e-4, 5)])
def test_weights_are_written_with_digits_that_tell_them_apart(
    space: Space, scale: float, digits: int
) -> None:
    whole = make_path(space)
    path = dataclasses.replace(whole, alphas={name: scale * alpha for name, alpha in whole.alphas.items()})
    for ax in plots.weights(path):
        said = [text.get_text() for text in ax.texts]
        assert {len(text) for text in said} == {2 + digits}
        assert len(set(said)) > 10
        cell = ax.bbox.width / len(space.operations)
        assert all(box.width < 0.98 * cell for box in boxes(ax, list(ax.texts)))
    for ax in plots.supernet(path):
        labels = [text.get_text().split("\n") for text in ax.texts if "\n" in text.get_text()]
        assert {len(weight) for _, weight in labels} <= {2 + digits, min(3 + digits, 7)}
        assert len({weight for _, weight in labels}) > len(labels) // 2
        for one, other in combinations(boxes(ax, list(ax.texts)), 2):
            assert not one.overlaps(other)


# ---- whole cell


@pytest.mark.parametrize("space", SPACES)
def test_the_whole_cell_has_an_arc_and_a_label_for_every_edge(space: Space) -> None:
    path = make_path(space)
    for table, ax in zip(space.tables, plots.supernet(path, at=1), strict=True):
        weights = path.weights(table, 1)
        labels = {text.get_position(): text for text in ax.texts if "\n" in text.get_text()}
        arcs = [patch for patch in ax.patches if type(patch) is PathPatch]
        assert len(labels) == len(space.edges) and len(arcs) == len(space.edges) + len(space.concat)
        kept = {margin.edge: margin.chosen for margin in path.margins(1) if margin.table == table}
        real = [column for column, name in enumerate(space.operations) if name != "none"]
        for row, (i, j) in enumerate(space.edges):
            column = max(real, key=lambda column: weights[row, column])
            operation = space.operations[column]
            label = labels[((i + j) / 2, j - i)]
            assert label.get_text() == f"{operation}\n{weights[row, column]:.3f}"
            filled = to_hex(label.get_bbox_patch().get_facecolor())
            assert filled == (look_of(operation).color if (i, j) in kept else "#ffffff")
            assert (i, j) not in kept or kept[i, j] == operation
            assert arcs[row].get_linewidth() == pytest.approx(9 * weights[row, column])
            assert to_hex(arcs[row].get_edgecolor()) == look_of(operation).color


@pytest.mark.parametrize("space", SPACES)
def test_labels_of_the_whole_cell_keep_apart_and_inside(space: Space) -> None:
    for ax in plots.supernet(make_path(space)):
        found = boxes(ax, list(ax.texts))
        for one, other in combinations(found, 2):
            assert not one.overlaps(other)
        assert all(
            box.x0 >= ax.bbox.x0 - 1 and box.x1 <= ax.bbox.x1 + 1 and box.y1 <= ax.bbox.y1 + 1
            for box in found
        )


def test_small_axes_make_small_labels() -> None:
    (ax,) = plots.supernet(make_path(Space.preset("darts-rnn")), ax=canvas(6, 3))
    for one, other in combinations(boxes(ax, list(ax.texts)), 2):
        assert not one.overlaps(other)


# ---- what they share


@pytest.mark.parametrize("draw", [plots.weights, plots.supernet])
def test_one_table_at_one_point_in_given_axes(draw: Any) -> None:
    path, ax = make_path(), canvas()
    (panel,) = draw(path, at=-4, cell="reduce", ax=ax)
    assert panel.figure is ax.figure and panel.get_title(loc="left") == "reduce, epoch 0"


@pytest.mark.parametrize("draw", [plots.weights, plots.supernet])
def test_points_and_tables_that_are_not_there_are_named(draw: Any) -> None:
    for at in (4, -5):
        with pytest.raises(IndexError, match=rf"^at is {at};.* 3$"):
            draw(make_path(), at=at)
    with pytest.raises(ValueError, match=r"'cell'; .*normal, reduce"):
        draw(make_path(), cell="cell")


@pytest.mark.parametrize("draw", [plots.alphas, plots.weights, plots.supernet, plots.entropy, plots.skips])
def test_given_axes_are_drawn_without_pyplot(draw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    for name in ("figure", "subplots", "gcf", "gca", "show"):
        monkeypatch.setattr(plt, name, None)
    ax = canvas()
    drawn = draw(make_path(), ax=ax)
    assert np.atleast_1d(drawn)[0].figure is ax.figure and not plt.get_fignums()


def luminance(color: str) -> float:
    """As WCAG 2 has it."""
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in to_rgb(color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_is_read_on_every_colour_of_an_operation() -> None:
    for name in (*Space().operations, *Space.preset("darts-rnn").operations):
        color = look_of(name).color
        low, high = sorted((luminance(color), luminance(text_on(color))))
        assert (high + 0.05) / (low + 0.05) > 4, name


# ---- over time


def test_entropies_are_drawn_with_the_most_there_can_be() -> None:
    path = make_path()
    ax = plots.entropy(path).ax
    normal, reduce, most = ax.lines
    np.testing.assert_array_equal(normal.get_ydata(), path.entropy("normal"))
    np.testing.assert_array_equal(reduce.get_ydata(), path.entropy("reduce"))
    assert most.get_ydata()[0] == pytest.approx(math.log(3)) and ax.get_xlabel() == "epoch"
    assert normal.get_linestyle() != reduce.get_linestyle() and normal.get_color() != reduce.get_color()


def test_entropies_that_hardly_move_are_not_drawn_as_if_they_did() -> None:
    path = Trajectory({"recurrent": np.zeros((3, 6, 5))}, (0, 5, 9), RECURRENT, 1)
    ax = plots.entropy(path).ax
    low, high = ax.get_ylim()
    assert high - low >= 0.0199 and ax.get_xlabel() == "step"
    assert ax.yaxis.get_major_formatter().get_useOffset() is False


def test_skip_connections_are_drawn_as_they_are_counted() -> None:
    path = make_path(points=6)
    (line,) = plots.skips(path).ax.lines
    assert line.get_ydata().tolist() == path.skips.tolist() and line.get_drawstyle() == "steps-post"
    assert line.get_color() == look_of("skip_connect").color


# ---- several runs


def test_runs_are_compared_in_three_panels_by_name(tiny_result: SearchResult) -> None:
    other = dataclasses.replace(tiny_result, alphas={k: v * 3000 for k, v in tiny_result.alphas.items()})
    accuracy, entropy, skips = plots.compare({"first": tiny_result, "other": other})
    assert accuracy.get_ylabel() == "validation accuracy, %"
    told = [100 * record.valid_accuracy for record in tiny_result.history]
    assert accuracy.lines[0].get_ydata().tolist() == told
    assert accuracy.lines[0].get_xdata().tolist() == [1, 2] and entropy.lines[0].get_xdata().tolist() == [
        0,
        1,
        2,
    ]
    for line, result in zip(entropy.lines, (tiny_result, other), strict=True):
        path = result.trajectory
        np.testing.assert_allclose(line.get_ydata(), (path.entropy("normal") + path.entropy("reduce")) / 2)
    for line, result in zip(skips.lines, (tiny_result, other), strict=True):
        assert np.round(line.get_ydata()).tolist() == result.trajectory.skips.tolist()
    (host,) = [ax for ax in accuracy.figure.axes if ax.get_legend() is not None]
    assert [text.get_text() for text in host.get_legend().get_texts()] == ["first", "other"]
    assert [line.get_color() for line in entropy.lines] == [run_look(0).color, run_look(1).color]


def test_unnamed_runs_are_numbered_and_long_names_stay_inside(tiny_result: SearchResult) -> None:
    ax = canvas(12, 4)
    plots.compare([tiny_result] * 9, ax=ax)
    legend = ax.get_legend()
    assert legend is not None and legend.get_texts()[8].get_text() == "run 8"
    panels = plots.compare({f"a search of a rather long name, {n}": tiny_result for n in range(9)})
    figure = panels[0].figure
    figure.canvas.draw()
    (legend,) = [ax.get_legend() for ax in figure.axes if ax.get_legend() is not None]
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert all(box.y1 <= panel.get_window_extent().y0 for panel in panels)


def test_runs_of_other_recordings_are_compared_in_steps(tiny_result: SearchResult) -> None:
    dense = dataclasses.replace(
        tiny_result,
        alphas={name: np.repeat(values, 2, 0) for name, values in tiny_result.alphas.items()},
        steps=tuple(range(2 * len(tiny_result.steps))),
    )
    _, entropy, _ = plots.compare([tiny_result, dense])
    assert entropy.get_xlabel() == "step"
    assert entropy.lines[0].get_xdata().tolist() == list(tiny_result.steps)


def test_what_cannot_be_compared_is_named(tiny_result: SearchResult) -> None:
    with pytest.raises(TypeError, match="got a SearchResult"):
        plots.compare(tiny_result)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^results\['b'\] .*int"):
        plots.compare({"a": tiny_result, "b": 3})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="at least one"):
        plots.compare([])


# ---- animation


@pytest.mark.parametrize("space", [SMALL, RECURRENT])
def test_an_animation_moves_and_has_no_more_frames_than_asked_for(space: Space, tmp_path: Path) -> None:
    path = make_path(space, points=9)
    file = plots.animate(path, tmp_path / "alpha.gif", fps=5, frames=3, cell=space.tables[-1])
    assert file == tmp_path / "alpha.gif" and [kept.name for kept in tmp_path.iterdir()] == ["alpha.gif"]
    with Image.open(file) as movie:
        assert movie.n_frames == 3 and movie.info["duration"] == 200  # type: ignore[attr-defined]
        pictures = []
        for frame in range(3):
            movie.seek(frame)
            pictures.append(np.asarray(movie.convert("L"), dtype=float))
    for one, other in combinations(pictures, 2):
        assert np.abs(one - other).max() > 100


def test_few_points_are_all_shown_once(tiny_result: SearchResult, tmp_path: Path) -> None:
    with Image.open(tiny_result.animate(tmp_path / "a.gif", cell="normal")) as movie:
        assert movie.n_frames == len(tiny_result.steps)  # type: ignore[attr-defined]


def test_animations_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.gif.*'alpha\.mp4'"):
        plots.animate(make_path(), tmp_path / "alpha.mp4")
    with pytest.raises(ValueError, match="frames=0"):
        plots.animate(make_path(), tmp_path / "alpha.gif", frames=0)
    with pytest.raises(ValueError, match="'recurrent'"):
        plots.animate(make_path(), tmp_path / "alpha.gif", cell="recurrent")
    with pytest.raises(FileNotFoundError):
        plots.animate(make_path(points=1), tmp_path / "nowhere" / "alpha.gif", cell="normal")


# ---- of results


def test_a_result_draws_what_the_functions_draw(tiny_result: SearchResult) -> None:
    assert len(tiny_result.plot_weights(at=0)) == len(tiny_result.plot_supernet(cell="normal")) + 1
    assert tiny_result.plot_weights(at=0)[0].get_title(loc="left") == "normal, epoch 0"
    assert tiny_result.plot_entropy().ax.get_ylabel().startswith("mean entropy")
    assert tiny_result.plot_skips().ax.get_ylabel().startswith("skip connections")


def test_the_module_lists_what_it_has() -> None:
    assert set(plots.__all__) == {
        "accuracies", "alphas", "animate", "benchmark", "cells", "compare", "diagnostics", "edges", "entropy",
        "losses", "metrics", "Plot", "skips", "supernet", "weights",
    }  # fmt: skip
    assert all(getattr(plots, name).__doc__ for name in plots.__all__) and "plots" in pydarts.__all__
