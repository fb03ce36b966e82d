"""Animation of α and the cell of the search network."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont
from tqdm.auto import tqdm

from ..._results.trajectory import Trajectory
from ..._values.files import user_path, write_atomically
from . import curves, supernet
from . import heat_map as heat
from .points import Edges, cut_of, decimals, drawn, limits, moment, state_of
from .style import INK, title

_DPI = 80


def animate(
    trajectory: Trajectory,
    file: str | os.PathLike[str],
    *,
    cell: str | None = None,
    edges: Edges | None = None,
    fps: int = 8,
    frames: int = 40,
    progress: bool = True,
) -> Path:
    """Write an animation of α as a GIF: mixing weights, the cell of the search network, and the entropy.

    A frame shows what `plots.weights`, `plots.supernet` and `plots.entropy` draw for one point; the
    colour scale is the same in all frames.

    Args:
        trajectory: α over time, `result.trajectory`.
        file: name of the file, ending in `.gif`, in an existing folder; the file is replaced atomically.
        cell: name of one table; None: all tables.
        edges: rows to draw: edges as pairs of nodes, numbered as in `space.edges`, or names of choices; None:
            all.
        fps: frames per second.
        frames: maximal number of frames; if there are more points, evenly spaced ones are shown, including
            the first and the last.
        progress: show a progress bar.

    Returns:
        The path of the file.

    Raises:
        ValueError: no such table or edge, another ending, or `fps` or `frames` not positive.

    >>> import tempfile
    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> space = Space(kind="recurrent", nodes=2)
    >>> alpha = Trajectory({"recurrent": np.zeros((3, 3, 5))}, range(3), space, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plots.animate(alpha, f"{folder}/alpha.gif", progress=False).name
    'alpha.gif'
    """
    file = user_path(file)
    if file.suffix.lower() != ".gif":
        raise ValueError(f"the name of an animation must end in .gif, got {file.name!r}")
    if fps <= 0 or frames < 1:
        raise ValueError(f"fps and frames must be positive, got fps={fps} and frames={frames}")
    points = np.unique(np.linspace(len(trajectory) - 1, 0, min(frames, len(trajectory))).round().astype(int))
    movie = _Movie(trajectory, cell, edges)
    bar = tqdm(points.tolist(), desc="animation", unit="frame", leave=False, disable=not progress)
    first, *rest = _with_one_palette([movie.frame(at) for at in bar])
    with io.BytesIO() as content:
        first.save(content, "GIF", save_all=True, append_images=rest, duration=1000 // fps, loop=0)
        write_atomically(file, content.getvalue())
    return file


def _with_one_palette(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """Return pictures with the colours of some of them, which is faster than colours for each."""
    some = [pictures[number] for number in {0, len(pictures) // 2, len(pictures) - 1}]
    width, height = some[0].size
    together = Image.new("RGB", (width, height * len(some)))
    for number, picture in enumerate(some):
        together.paste(picture, (0, number * height))
    palette = together.quantize(256)
    colors = np.reshape(palette.getpalette() or [], (-1, 3))
    colors[colors.min(1) >= 248] = 255  # the background is white, not the mean of what is nearly white
    palette.putpalette(colors.ravel().tolist())
    palette.load()
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


class _Movie:
    """A figure with one row per table and the entropy below.

    What never moves is drawn once: a picture behind the weights and the edges of a point, which are drawn for
    each frame, and one of the nodes in front of them. Whole figures would take five times as long.
    """

    def __init__(self, trajectory: Trajectory, cell: str | None, edges: Edges | None) -> None:
        path, self.chosen = drawn(trajectory, cell, heat.ROWS, edges)
        self.path, self.whole, names = path, trajectory, list(self.chosen)
        width, height = (0.0, 0.0) if path.space is None else supernet.size_of(path)
        left, right, below, above = heat.margins(path, self.chosen)
        columns, rows = heat.size_of(path, self.chosen)
        row = max(height + 0.3, 0.16 * rows + below + above)
        wide = heat.width_of(path, names) if any(path.tables[n].sparse for n in names) else 0.3
        map_size = wide * columns, row - below - above
        cell_left, foot = left + right + map_size[0], 1.3
        # Without cells, wide enough for the entropy below.
        size = max(cell_left + width, 0.0 if path.space is not None else 4.5), row * len(names) + foot + 0.35
        self.figure = Figure(size, dpi=_DPI)
        self.canvas: Any = FigureCanvasAgg(self.figure)  # much of it has no types
        self.corner = 0.1 / size[0], 1 - 0.08 / size[1]

        def box(x: float, y: float, w: float, h: float) -> Axes:
            return self.figure.add_axes((x / size[0], y / size[1], w / size[0], h / size[1]))

        self.maps: dict[str, Axes] = {}
        self.cells: dict[str, Axes] = {}
        for number, name in enumerate(names):
            bottom = foot + (len(names) - 1 - number) * row
            self.maps[name] = box(left, bottom + below, *map_size)
            if path.space is not None:
                tall = min(height, row - 0.3)
                self.cells[name] = box(cell_left, bottom + (row - 0.3 - tall) / 2, width, tall)
        self.entropy = box(left, 0.45, size[0] - left - 0.2, foot - 0.6)
        self.shown = limits([path.shown(name)[:, rows] for name, rows in self.chosen.items()])
        cells = {name: supernet.strongest(path, name)[:, self.chosen[name]] for name in self.cells}
        self.digits = decimals(list(cells.values())) if cells else 3
        self.moving: list[tuple[Axes, Artist]] = []
        self.states: list[str] | None = None

    def frame(self, at: int) -> Image.Image:
        """Return the picture of a point."""
        path = self.path
        states = [state_of(path, name, row, at) for name, rows in self.chosen.items() for row in rows]
        if states != self.states:  # they are in the names of rows
            self.states = states
            self._draw_the_rest(at)
        labels = self._draw_what_moves(at)
        self.canvas.restore_region(self.behind)
        for ax, artist in sorted(self.moving, key=lambda it: it[1].get_zorder()):
            ax.draw_artist(artist)
        pixels = np.asarray(self.canvas.buffer_rgba())[..., :3].copy()
        here, colors, opacity = self.front
        pixels[here] = colors * opacity + pixels[here] * (1 - opacity)
        picture = Image.fromarray(pixels)
        draw = ImageDraw.Draw(picture)
        for x, y, label in sorted(labels, key=lambda it: it[2].chosen):
            _write(draw, x, picture.height - y, label)
        return picture

    def _draw_what_moves(self, at: int) -> list[tuple[float, float, supernet.Label]]:
        """Draw weights and edges of a point into the axes, instead of those of the last one.

        Returns the labels of the edges with their positions in pixels.
        """
        for _, artist in self.moving:
            artist.remove()
        known = {ax: set(ax.get_children()) for ax in self.figure.axes}
        labels = []
        for name, rows in self.chosen.items():
            heat.fill(self.maps[name], self.path, name, at, self.shown, rows)
            if name in self.cells:
                ax = self.cells[name]
                for label in supernet.draw_edges(ax, self.path, name, at, self.digits, rows):
                    labels.append((*ax.transData.transform((label.x, label.y)), label))
        self.entropy.axvline(float(self.path.time[0][at]), color=INK, linewidth=1)
        self.entropy.annotate(
            moment(self.path, at), self.corner, xycoords="figure fraction", va="top", fontsize=12, color=INK
        )
        self.moving = [(ax, it) for ax in known for it in ax.get_children() if it not in known[ax]]
        return labels

    def _draw_the_rest(self, at: int) -> None:
        """Draw what is behind, and the nodes in front."""
        self.moving = []
        for ax in self.figure.axes:
            ax.clear()
        front = []
        for name, ax in self.cells.items():
            supernet.draw_nodes(ax, self.path)
            title(ax, name)
            front += [it for it in ax.get_children() if it.get_zorder() >= supernet.NODES]
        curves.entropy(self.whole, ax=self.entropy)
        self.entropy.set_ylabel("entropy, nats", fontsize=8, color=INK)
        self._draw_what_moves(at)
        for name, rows in self.chosen.items():
            heat.label(self.maps[name], self.path, name, at, rows)
            if name not in self.cells:
                title(self.maps[name], name + cut_of(self.whole, self.path, name))
        for artist in [*front, *(it for _, it in self.moving)]:
            artist.set_visible(False)
        self.canvas.draw()
        self.behind = self.canvas.copy_from_bbox(self.figure.bbox)
        for artist in [*front, *(it for _, it in self.moving)]:
            artist.set_visible(True)
        renderer = self.canvas.get_renderer()
        renderer.clear()
        for artist in sorted(front, key=Artist.get_zorder):
            artist.draw(renderer)
        nodes = np.asarray(self.canvas.buffer_rgba())
        here = nodes[..., 3] > 0
        self.front = here, nodes[here, :3].astype(float), nodes[here, 3:] / 255


def _write(draw: ImageDraw.ImageDraw, x: float, y: float, label: supernet.Label) -> None:
    """Write a label in a box, with its middle at a pixel. Pillow takes a tenth of the time of matplotlib."""
    font = _font(label.size, label.chosen)
    box = draw.multiline_textbbox((x, y), label.text, font, "mm", spacing=1, align="center")
    pad = 0.25 * label.size * _DPI / 72
    around = box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad
    draw.rounded_rectangle(around, pad, fill=label.color if label.chosen else "white", outline=label.color)
    draw.multiline_text((x, y), label.text, label.ink, font, "mm", spacing=1, align="center")


@lru_cache
def _font(size: float, bold: bool) -> ImageFont.FreeTypeFont:
    """Return matplotlib's font in a size in points."""
    file = findfont(FontProperties(weight="bold" if bold else "normal"))
    return ImageFont.truetype(file, size * _DPI / 72)
