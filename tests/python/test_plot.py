"""What plot functions return, and the options that all of them have."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pydarts
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from pydarts import Space, Trajectory, genotypes, plots

DRAWN = {
    "alphas": plots.alphas,
    "weights": plots.weights,
    "supernet": plots.supernet,
    "entropy": plots.entropy,
    "skips": plots.skips,
}


@pytest.fixture(scope="module")
def path() -> Trajectory:
    rng = np.random.default_rng(0)
    alphas = {name: rng.normal(0, 0.3, (6, 14, 8)).cumsum(0) for name in ("normal", "reduce")}
    return Trajectory(alphas, range(6), Space(), 2)


def test_a_plot_is_the_sequence_of_its_axes(path: Trajectory) -> None:
    plot = plots.alphas(path)
    assert len(plot) == len(plot.axes) == 28 and [*plot] == [*plot.axes]
    assert plot[0] is plot.axes[0] and plot[-2:] == plot.axes[-2:]
    assert isinstance(plot[0], Axes) and isinstance(plot.figure, Figure)
    with pytest.raises(ValueError, match="28"):
        _ = plot.ax
    assert plots.entropy(path).ax.get_ylabel()
    assert "28" in repr(plot)


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_written_and_shown(name: str, path: Trajectory, tmp_path: Path) -> None:
    before = plt.get_fignums()
    plot = DRAWN[name](path, path=tmp_path / "one.png")
    assert plt.get_fignums() == before, "a plot that is written opens no window"
    assert plot.savefig(tmp_path / "two.svg").read_text().startswith("<?xml")
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width > 300
    png, size = plot._repr_png_()  # type: ignore[misc]
    with Image.open(io.BytesIO(png)) as picture:
        assert abs(picture.width - 2 * size["width"]) <= 1, "two pixels for each of the screen"


def test_a_notebook_shows_a_plot_once(path: Trajectory) -> None:
    plot = plots.entropy(path)
    number = plot.figure.number  # type: ignore[attr-defined]
    assert plt.fignum_exists(number)
    plot._repr_png_()
    assert not plt.fignum_exists(number), "matplotlib would show it again at the end of the cell"


def test_figures_have_the_size_that_is_asked_for(path: Trajectory) -> None:
    for draw in DRAWN.values():
        assert draw(path, figsize=(4.0, 3.0)).figure.get_size_inches().tolist() == [4.0, 3.0]
    cells = genotypes.DARTS_V2.plot(figsize=(5.0, 2.0))
    assert cells.figure.get_size_inches().tolist() == [5.0, 2.0]


@pytest.mark.parametrize("name", [*DRAWN, "cells"])
def test_figures_for_papers_are_narrow_and_legible_without_colour(
    name: str, path: Trajectory, tmp_path: Path
) -> None:
    file = tmp_path / "paper.pdf"
    if name == "cells":
        plot = genotypes.DARTS_V2.plot(style="paper", path=file)
    else:
        plot = DRAWN[name](path, style="paper", path=file)
    width = plot.figure.get_size_inches()[0]
    assert width == 3.4 or width == 7.0
    assert min(float(text.get_fontsize()) for text in plot.figure.findobj(Text)) >= 7  # type: ignore[union-attr]
    content = file.read_bytes()
    assert b"/Type3" not in content and b"/CIDFontType2" in content
    for ax in plot:
        dashes = {
            str(line._unscaled_dash_pattern)  # type: ignore[attr-defined]
            for line in ax.get_lines()
            if line.get_color() not in ("#b8b8b8", "#333333") and line.get_clip_on() and ax.axison
        }
        curves = {
            line.get_color()
            for line in ax.get_lines()
            if line.get_color() not in ("#b8b8b8", "#333333") and line.get_clip_on() and ax.axison
        }
        assert len(dashes) == len(curves)


def test_legends_of_papers_have_the_dashes_of_the_curves(path: Trajectory) -> None:
    plot = plots.alphas(path, style="paper")
    curves = {line.get_color(): line._unscaled_dash_pattern for line in plot[0].get_lines()}  # type: ignore[attr-defined]
    (legend,) = (ax.get_legend() for ax in plot.figure.axes if ax.get_legend())
    for entry in legend.get_lines():
        assert entry._unscaled_dash_pattern == curves[entry.get_color()]  # type: ignore[attr-defined]


def test_some_edges_are_drawn(path: Trajectory) -> None:
    some: Any = [(0, 2), (2, 5)]
    panels = plots.alphas(path, edges=some)
    assert [ax.get_title() for ax in panels] == ["$c_{k-2}$ → $2$", "$2$ → $5$"] * 2
    every = plots.alphas(path)
    last = path.tables["normal"].edges.index((2, 5))
    for one, whole in ((panels[1], every[last]), (panels[2], every[14])):
        for ours, theirs in zip(one.get_lines(), whole.get_lines(), strict=True):
            assert np.array_equal(ours.get_ydata(), theirs.get_ydata())
    (rows, _) = plots.weights(path, edges=some)
    assert len(rows.get_yticks()) == 2 and len(rows.texts) == 16
    (cell,) = plots.supernet(path, edges=some, cell="reduce")
    assert sum("\n" in text.get_text() for text in cell.texts) == 2
    with pytest.raises(ValueError, match=r"no edge \(5, 2\)"):
        plots.alphas(path, edges=[(5, 2)])


def test_choices_are_drawn_by_their_names() -> None:
    torch = pytest.importorskip("torch")
    layers = [pydarts.nn.Choice({"tanh": torch.nn.Tanh(), "relu": torch.nn.ReLU()}) for _ in range(3)]
    net = torch.nn.Sequential(torch.nn.Linear(4, 2), *layers)
    X, y = torch.randn(32, 4), torch.arange(32) % 2
    cfg = pydarts.SearchConfig(epochs=1, batch_size=8, progress=False)
    result = pydarts.search((X, y), cfg, network=net)
    assert [ax.get_title() for ax in result.plot_alphas(edges=["2", "3"])] == ["2", "3"]
    with pytest.raises(ValueError, match="no edge '4'"):
        result.plot_alphas(edges=["4"])


def test_what_a_plot_cannot_be_is_refused(path: Trajectory, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="paper"):
        plots.alphas(path, style="grey")  # type: ignore[arg-type]
    ax = Figure().subplots()
    for options in ({"figsize": (3, 3)}, {"style": "paper"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            plots.entropy(path, ax=ax, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nothing"):
        plots.entropy(path).savefig(tmp_path / "a.nothing")
    with pytest.raises(FileNotFoundError):
        plots.entropy(path, path=tmp_path / "missing" / "a.png")
    assert [*tmp_path.iterdir()] == []


def test_frames_of_an_animation_are_those_of_their_points(path: Trajectory, tmp_path: Path) -> None:
    whole = plots.animate(path, tmp_path / "a.gif", progress=False)
    alphas = {name: values[:4] for name, values in path.alphas.items()}
    shorter = plots.animate(Trajectory(alphas, range(4), Space(), 2), tmp_path / "b.gif", progress=False)
    some = plots.animate(path, tmp_path / "c.gif", progress=False, edges=[(0, 2)], cell="normal")
    with Image.open(whole) as one, Image.open(shorter) as other, Image.open(some) as few:
        assert one.n_frames == few.n_frames == 6 and other.n_frames == 4  # type: ignore[attr-defined]
        assert one.convert("RGB").getpixel((2, one.height // 2)) == (255, 255, 255)
        assert few.height < one.height
        pictures = []
        for number in range(6):
            one.seek(number)
            pictures.append(np.asarray(one.convert("RGB")))
    assert all((before != after).any() for before, after in itertools.pairwise(pictures))
