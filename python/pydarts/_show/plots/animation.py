"""Animation of α and the cell of the search network."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..._results.trajectory import Trajectory
from ..._values.files import user_path, write_atomically
from . import curves, supernet
from . import heat_map as heat
from .points import cut_of, decimals, drawn, limits, moment
from .style import INK, title

_DPI = 80


def animate(
    path: Trajectory,
    file: str | os.PathLike[str],
    *,
    cell: str | None = None,
    fps: int = 8,
    frames: int = 40,
) -> Path:
    """Write an animation of α as a GIF: mixing weights, the cell of the search network, and the entropy.

    A frame shows what `plots.weights`, `plots.supernet_cell` and `plots.entropy` draw for one point; the
    colour scale is the same in all frames.

    Args:
        path: α over time, `result.trajectory`.
        file: name of the file, ending in `.gif`, in an existing folder; the file is replaced atomically.
        cell: name of one table; None: all tables.
        fps: frames per second.
        frames: maximal number of frames; if there are more points, evenly spaced ones are shown, including
            the first and the last. A frame takes about half a second to draw.

    Returns:
        The path of the file.

    Raises:
        ValueError: no such table, another ending, or `fps` or `frames` not positive.

    >>> import tempfile
    >>> import numpy as np
    >>> from pydarts import Space, Trajectory, plots
    >>> space = Space(kind="recurrent", nodes=2)
    >>> alpha = Trajectory({"recurrent": np.zeros((3, 3, 5))}, range(3), space, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plots.animate(alpha, f"{folder}/alpha.gif").name
    'alpha.gif'
    """
    (shown, names), file = drawn(path, cell, heat.ROWS), user_path(file)
    if file.suffix.lower() != ".gif":
        raise ValueError(f"the name of an animation must end in .gif, got {file.name!r}")
    if fps <= 0 or frames < 1:
        raise ValueError(f"fps and frames must be positive, got fps={fps} and frames={frames}")
    points = np.unique(np.linspace(len(path) - 1, 0, min(frames, len(path))).round().astype(int)).tolist()
    movie = _Movie(shown, names, path)
    writer = PillowWriter(fps=fps)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "movie.gif"
        with writer.saving(movie.figure, made, dpi=_DPI):
            for at in points:
                movie.draw(at)
                writer.grab_frame()
        write_atomically(file, made.read_bytes())
    return file


class _Movie:
    """A figure that is redrawn for each point: one row per table, and the entropy below."""

    def __init__(self, path: Trajectory, names: list[str], whole: Trajectory) -> None:
        self.path, self.names, self.whole = path, names, whole
        width, height = (0.0, 0.0) if path.space is None else supernet.size_of(path)
        self.margins = left, right, below, above = heat.margins(path, names)
        columns, rows = heat.size_of(path, names)
        self.row = max(height + 0.3, 0.16 * rows + below + above)
        width_of_column = heat.width_of(path, names) if any(path.tables[n].sparse for n in names) else 0.3
        self.map = width_of_column * columns, self.row - below - above
        self.left = left + right + self.map[0]
        self.cell = width, min(height, self.row - 0.3)
        self.foot = 1.3
        # Without cells, wide enough for the entropy below.
        size = (
            max(self.left + width, 0.0 if path.space is not None else 4.5),
            self.row * len(names) + self.foot + 0.35,
        )
        self.figure = Figure(size, dpi=_DPI)
        FigureCanvasAgg(self.figure)
        self.shown = limits([path.shown(name) for name in names])
        cells = path.space is not None
        self.digits = decimals([supernet.strongest(path, name) for name in names]) if cells else 3

    def draw(self, at: int) -> None:
        figure, path = self.figure, self.path
        width, height = figure.get_size_inches()
        figure.clear()

        def box(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
            return x / width, y / height, w / width, h / height

        figure.text(0.1 / width, 1 - 0.08 / height, moment(path, at), va="top", fontsize=12, color=INK)
        for number, name in enumerate(self.names):
            bottom = self.foot + (len(self.names) - 1 - number) * self.row
            ax = figure.add_axes(box(self.margins[0], bottom + self.margins[2], *self.map))
            heat.heat_map(ax, path, name, at, self.shown)
            if path.space is None:
                title(ax, name + cut_of(self.whole, path, name))
                continue
            ax = figure.add_axes(box(self.left, bottom + (self.row - 0.3 - self.cell[1]) / 2, *self.cell))
            supernet.draw_supernet(ax, path, name, at, self.digits)
            title(ax, name)
        ax = figure.add_axes(box(self.margins[0], 0.45, width - self.margins[0] - 0.2, self.foot - 0.6))
        curves.entropy(self.whole, ax=ax)
        ax.set_ylabel("entropy, nats", fontsize=8, color=INK)
        ax.axvline(float(path.time[0][at]), color=INK, linewidth=1)
