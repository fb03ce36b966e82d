"""The picture in a terminal: bars of the weights of every edge, curves, the genotype."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..._results.trajectory import Trajectory
from ..._values.genotype import Genotype
from ..._values.words import edge_in_words
from ..palette import look_of
from ..plots.points import limits
from .blocks import columns, sparkline
from .pace import Pace
from .scene import Scene

_GAP = 2  # columns between blocks
_BLOCKS = 4  # beside each other, of one table
_SPAN = 0.004  # between the lowest weight of a bar and the highest, at least
_WHOLE = 1000  # lines, more than any picture has
_DIM = "dim"


class TerminalView:
    """Draws in place, below what else is printed."""

    def __init__(self, console: Console, share: float) -> None:
        self._console, self._pace = console, Pace(share)
        # What a callback prints goes above the picture; where it goes into a file, it stays there.
        prints_here = sys.stdout is not None and sys.stdout.isatty()
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=prints_here)

    def draw(self, scene: Scene, *, last: bool = False) -> None:
        """Draw if it is time; the last picture always, and whole."""
        if not (last or self._pace.due()):
            return
        with self._pace.drawing():
            if not self._live.is_started:
                self._live.start()
            height = _WHOLE if last else self._console.height - 1
            # The last one is drawn by `close`, which does not cut it to the height of the terminal.
            self._live.update(picture(scene, self._console.width, height), refresh=not last)

    def close(self) -> None:
        """Leave the picture where it is, and the terminal as it was."""
        self._live.stop()


def picture(scene: Scene, width: int, height: int) -> RenderableType:
    """The whole picture; what does not fit is left out: the genotype first, then edges that are not kept."""
    parts: list[RenderableType] = [_progress(scene, width)]
    left = height - 1
    path, genotype = scene.trajectory, scene.genotype
    if path is None or genotype is None:
        return Group(*parts)
    curves = _curves(scene, path, genotype, width)
    low, high = _bounds(path)
    legend = Text.assemble((f"bars from {low:.3f} to {high:.3f}:", _DIM))
    for operation in scene.space.operations:
        legend.append(f" {operation}", style=look_of(operation).color)
    notation = Text(str(genotype))
    below = [_wrapped(legend, width), _wrapped(notation, width)]
    if left >= curves.row_count:
        parts.append(curves)
        left -= curves.row_count
    found = _weights(path, genotype, (low, high), width, left)
    if found is not None:
        weights, lines = found
        parts.append(weights)
        left -= lines
        for text in below:
            if left >= len(text):
                parts += text
                left -= len(text)
    return Group(*parts)


def _wrapped(text: Text, width: int) -> list[Text]:
    return list(text.wrap(Console(width=width), width))


def _progress(scene: Scene, width: int) -> RenderableType:
    title = scene.title
    room = width - len(title) - 1
    if room < 8 or scene.result is not None:
        return Text(title, style="bold", no_wrap=True, overflow="ellipsis")
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row(
        Text(title, style="bold", no_wrap=True), ProgressBar(scene.total or 1, scene.done, width=room)
    )
    return line


# ---- curves


def _curves(scene: Scene, path: Trajectory, genotype: Genotype, width: int) -> Table:
    _, train, valid = scene.losses
    skips = [float(record.skip_connections) for record in scene.records] + [float(genotype.skip_connections)]
    entropy = np.mean([path.entropy(name) for name in path.alphas], axis=0)
    said: list[tuple[str, Sequence[float], str]] = [
        ("train loss", train, _number(train)),
        ("α loss", valid, _number(valid)),
        *_rights(scene),
        ("entropy", entropy.tolist(), f"{entropy[-1]:.3f}"),
        ("skips", skips, f"{skips[-1]:.0f}"),
    ]
    across = 2 if width >= 60 else 1
    room = width // across - 22
    made = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(across):
        made.add_column(width=10, style=_DIM, no_wrap=True)
        made.add_column(width=max(room, 4), style="cyan", no_wrap=True)
        made.add_column(width=8, no_wrap=True)
    cells = [(label, sparkline(values, max(room, 4)), value) for label, values, value in said]
    for at in range(0, len(cells), across):
        made.add_row(*(text for cell in cells[at : at + across] for text in cell))
    return made


def _rights(scene: Scene) -> list[tuple[str, list[float], str]]:
    """Accuracies by epoch; of words, perplexities."""
    if scene.space.kind == "recurrent":
        name, said = "perplexity", "{:.1f}"
        label = "ppl"
    else:
        name, said = "accuracy", "{:.1%}"
        label = "acc."
    found = []
    for part in ("train", "valid"):
        values = [float(getattr(record, f"{part}_{name}")) for record in scene.records]
        found.append((f"{part} {label}", values, said.format(values[-1]) if values else "–"))
    return found


def _number(values: Sequence[float]) -> str:
    return "–" if not values or math.isnan(values[-1]) else f"{values[-1]:.3f}"


# ---- weights


class _Row(NamedTuple):
    """An edge: its name, whether the genotype has it, a weight an operation, and the operation to name."""

    edge: str
    kept: bool
    weights: Sequence[float]
    operation: int


def _bounds(path: Trajectory) -> tuple[float, float]:
    """The weights that bars begin and end at; not so near each other that noise looks big."""
    low, high = limits([path.weights(name, -1) for name in path.alphas])
    spare = max(0.0, _SPAN - (high - low)) / 2
    return max(0.0, low - spare), min(1.0, high + spare)


def _weights(
    path: Trajectory, genotype: Genotype, bounds: tuple[float, float], width: int, height: int
) -> tuple[Table, int] | None:
    """The edges of all tables in blocks, and the height; None where not even those that are kept fit."""
    rows = {name: _rows(path, genotype, name) for name in path.alphas}
    operations = path.space.operations
    wide = max(len(name) for name in operations)
    label = max(len(row.edge) for part in rows.values() for row in part)
    some = {name: [row for row in part if row.kept] for name, part in rows.items()}
    for chosen, name_width, bar in product((rows, some), (wide, 0), (2, 1)):
        writer = _Writer(operations, label, name_width, bar, *bounds)
        for blocks in range(1, _BLOCKS + 1):
            lines = 1 + max(math.ceil(len(part) / blocks) for part in chosen.values())
            fits = len(rows) * blocks * (writer.width + _GAP) - _GAP <= width
            if fits and lines <= height:
                return _grid(chosen, blocks, writer.line), lines
    return None


def _rows(path: Trajectory, genotype: Genotype, table: str) -> list[_Row]:
    weights = path.weights(table, -1)
    first, operations = path.space.inputs, path.space.operations
    kept = {(source, target): name for name, source, target in genotype.edges(table)}
    return [
        _Row(
            edge_in_words((i, j), first).replace(" ", ""),
            (i, j) in kept,
            row.tolist(),
            operations.index(kept[i, j]) if (i, j) in kept else int(row.argmax()),
        )
        for (i, j), row in zip(path.space.edges, weights, strict=True)
    ]


class _Writer(NamedTuple):
    """Writes a row as a line."""

    operations: Sequence[str]
    label: int  # width of the edge's name
    name: int  # width of the operation's name; 0: without
    bar: int  # width of a bar
    low: float
    high: float

    @property
    def width(self) -> int:
        """Of a line."""
        return self.label + 1 + self.bar * len(self.operations) + (self.name and self.name + 1) + 6

    def line(self, row: _Row) -> Text:
        """`edge• bars operation weight`: a point behind the edge says that the genotype has it."""
        text = Text(no_wrap=True)
        text.append(f"{row.edge:>{self.label}}", style="" if row.kept else _DIM)
        text.append("•" if row.kept else " ")
        for name, level in zip(self.operations, columns(row.weights, self.low, self.high), strict=True):
            text.append(self.bar * level, style=look_of(name).color)
        name = self.operations[row.operation]
        if self.name:
            text.append(f" {name:<{self.name}}", style=look_of(name).color if row.kept else _DIM)
        weight = f"{row.weights[row.operation]:.4f}".removeprefix("0")[:5]
        text.append(f" {weight}", style="" if row.kept else _DIM)
        return text


def _grid(rows: dict[str, list[_Row]], blocks: int, line: Callable[[_Row], Text]) -> Table:
    made = Table.grid(padding=(0, _GAP, 0, 0))
    titles, texts = [], []
    for name, part in rows.items():
        size = math.ceil(len(part) / blocks)
        for block in range(blocks):
            titles.append(Text("" if block else name, style="bold"))
            texts.append(Text("\n").join(line(row) for row in part[block * size : (block + 1) * size]))
    made.add_row(*titles)
    made.add_row(*texts)
    return made
