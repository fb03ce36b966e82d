"""The live view in terminals: bars of the weights of every edge, curves, and the genotype."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..._results.gathered import gathered
from ..._results.history import known
from ..._results.measured import names_of, points
from ..._results.tables import AlphaTable, all_names
from ..._results.trajectory import Trajectory
from ..._values.genotype import Genotype
from ..._values.words import count, tail
from ..palette import Look, looks_of
from ..plots.points import limits, widened
from .blocks import columns, sparkline
from .budget import TimeBudget
from .scene import Scene

_GAP = 2  # columns between blocks
_BLOCKS = 4  # columns of blocks per table
_SPAN = 0.004  # smallest range of weights that a bar covers
_WHOLE = 1000  # lines, more than any view has
_DIM = "dim"
_NAMES = 16  # names in the legend; a line of weights names the strongest candidate anyway
_LONGEST = 18  # letters of the name of a curve
_LABEL = 28  # letters of the name of a row


class TerminalView:
    """Draws in place, below all other output."""

    def __init__(self, console: Console, share: float) -> None:
        self._console, self._budget = console, TimeBudget(share)
        # The output of callbacks goes above the view, or to a file if it is redirected.
        prints_here = sys.stdout is not None and sys.stdout.isatty()
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=prints_here)

    def draw(self, scene: Scene, *, last: bool = False) -> None:
        """Draw if it is due; always draw the last view, and completely."""
        if not (last or self._budget.due()):
            return
        with self._budget.drawing():
            if not self._live.is_started:
                self._live.start()
            height = _WHOLE if last else self._console.height - 1
            # `close` draws the last view without cutting it to the height of the terminal.
            self._live.update(picture(scene, self._console.width, height), refresh=not last)

    def close(self) -> None:
        """Leave the view on screen, and restore the terminal."""
        self._live.stop()


def picture(scene: Scene, width: int, height: int) -> RenderableType:
    """Return the whole view; if space is short, omit the genotype first, then edges that are not kept."""
    parts: list[RenderableType] = [_progress(scene, width)]
    left = height - 1
    path, genotype = scene.trajectory, scene.genotype
    if path is None:
        return Group(*parts)
    curves = _curves(scene, path, genotype, width)
    path = gathered(path)
    low, high = _bounds(path)
    about = "".join(f"{text}, " for text in path.relaxation_in_words(-1))
    legend = Text.assemble((f"{about}bars from {low:.3f} to {high:.3f}:", _DIM))
    looks = looks_of(all_names(path.tables))
    for operation, look in looks.items() if len(looks) <= _NAMES else ():
        legend.append(f" {operation}", style=look.color)
    below = [_wrapped(legend, width)]
    if scene.decided:
        below.append(_wrapped(Text(scene.decided), width))
    if genotype is not None:
        below.append(_wrapped(Text(str(genotype)), width))
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
    free = width - len(title) - 1
    if free < 8 or scene.result is not None:
        return Text(title, style="bold", no_wrap=True, overflow="ellipsis")
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row(
        Text(title, style="bold", no_wrap=True), ProgressBar(scene.total or 1, scene.done, width=free)
    )
    return line


# ---- curves


def _curves(scene: Scene, path: Trajectory, genotype: Genotype | None, width: int) -> Table:
    _, train, valid = scene.losses
    entropy = np.mean([path.entropy(name) for name in path.alphas], axis=0)
    said: list[tuple[str, Sequence[float], str]] = [
        ("train loss", train, _number(train)),
        ("α loss", valid, _number(valid)),
        *_rights(scene),
        ("entropy", entropy.tolist(), f"{entropy[-1]:.3f}"),
    ]
    if genotype is not None and path.counts_skips:
        counts = [record.skip_connections or 0 for record in scene.records]
        skips = [float(count) for count in (*counts, genotype.skip_connections)]
        said.append(("skips", skips, f"{skips[-1]:.0f}"))
    said += _diagnostics(scene)
    across = 2 if width >= 60 else 1
    longest = min(max(10, *(len(label) for label, _, _ in said)), _LONGEST)
    free = width // across - longest - 12
    made = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(across):
        made.add_column(width=longest, style=_DIM, no_wrap=True)
        made.add_column(width=max(free, 4), style="cyan", no_wrap=True)
        made.add_column(width=8, no_wrap=True)
    cells = [(label, sparkline(values, max(free, 4)), value) for label, values, value in said]
    for at in range(0, len(cells), across):
        made.add_row(*(text for cell in cells[at : at + across] for text in cell))
    return made


def _rights(scene: Scene) -> list[tuple[str, list[float], str]]:
    """Return accuracies by epoch, or perplexities of text; and metrics."""
    if scene.words:
        name, said = "perplexity", "{:.1f}"
        label = "ppl"
    else:
        name, said = "accuracy", "{:.1%}"
        label = "acc."
    found = []
    for part in ("train", "valid"):
        values = [known(getattr(record, f"{part}_{name}")) for record in scene.records]
        if not values or any(map(math.isfinite, values)):
            found.append((f"{part} {label}", values, said.format(values[-1]) if values else "–"))
    for name in scene.records[-1].metrics if scene.records else ():
        values = [record.metrics.get(name, math.nan) for record in scene.records]
        found.append((name, values, f"{values[-1]:.4g}"))
    return found


def _diagnostics(scene: Scene) -> list[tuple[str, list[float], str]]:
    """Return the diagnostics by epoch."""
    found = {name: points(scene.records, name)[1] for name in names_of(scene.records)}
    return [(name, values, f"{values[-1]:.4g}") for name, values in found.items() if values]


def _number(values: Sequence[float]) -> str:
    return "–" if not values or math.isnan(values[-1]) else f"{values[-1]:.3f}"


# ---- weights


class _Row(NamedTuple):
    """An edge or a choice: its name, whether the genotype has it (None: there are no cells), its operations,
    their weights, and the one to name."""

    edge: str
    kept: bool | None
    names: Sequence[str]
    weights: Sequence[float]
    operation: int


def _bounds(path: Trajectory) -> tuple[float, float]:
    """Return the weights at both ends of a bar, far enough apart that noise does not look large."""
    low, high = limits([path.shown(name, -1) for name in path.alphas])
    return widened(low, high, max(0.0, _SPAN - (high - low)) / 2)


def _weights(
    path: Trajectory, genotype: Genotype | None, bounds: tuple[float, float], width: int, height: int
) -> tuple[Table, int] | None:
    """Return the edges of all tables in blocks, and the height; None if not even the kept edges fit.

    Where there are no cells, the first rows that fit.
    """
    rows = {name: _rows(path, genotype, name) for name in path.alphas}
    looks = looks_of(all_names(path.tables))
    wide = max(map(len, looks))
    label = max(len(row.edge) for part in rows.values() for row in part)
    most = max(table.columns for table in path.tables.values())
    some = {name: [row for row in part if row.kept is not False] for name, part in rows.items()}
    for chosen, name_width, bar in product((rows, some), (wide, 0), (2, 1)):
        row_format = _RowFormat(looks, most, label, name_width, bar, *bounds)
        for blocks in range(1, _BLOCKS + 1):
            lines = 1 + max(math.ceil(len(part) / blocks) for part in chosen.values())
            fits = len(rows) * blocks * (row_format.width + _GAP) - _GAP <= width
            if fits and lines <= height:
                return _grid(chosen, blocks, row_format.line), lines
    if genotype is None and height > 2:
        return _first(rows, _RowFormat(looks, most, label, wide, 1, *bounds), width, height)
    return None


def _first(rows: dict[str, list[_Row]], row_format: _RowFormat, width: int, height: int) -> tuple[Table, int]:
    """Return as many rows of the first tables as fit, and their height; the last line counts the others."""
    blocks = max(1, (width + _GAP) // (row_format.width + _GAP))
    parts = dict(list(rows.items())[:blocks])
    each = blocks // len(parts)
    found = {name: part[: each * (height - 2)] for name, part in parts.items()}
    left = sum(map(len, rows.values())) - sum(map(len, found.values()))
    made = Table.grid()
    made.add_row(_grid(found, each, row_format.line))
    made.add_row(Text(f"and {count(left, 'other row')}", style=_DIM))
    return made, 2 + max(math.ceil(len(part) / each) for part in found.values())


def _rows(path: Trajectory, genotype: Genotype | None, table: str) -> list[_Row]:
    names = path.tables[table]
    kept = dict(path.kept(table)) if genotype is not None else {}
    found = []
    for row, candidates in enumerate(names.candidates):
        # A removed operation is a blank.
        logits, strengths = path.alphas[table][-1, row], path.weights(table, -1)[row]
        weights = np.where(np.isnan(logits), np.nan, strengths)[: len(candidates)]
        chosen = candidates.index(kept[row]) if row in kept else int(np.nanargmax(weights))
        name = names.words(row).replace(" ", "") if genotype is not None else _label(names, row)
        found.append(_Row(name, row in kept if genotype else None, candidates, weights.tolist(), chosen))
    return found


def _label(names: AlphaTable, row: int) -> str:
    """Name a row of a table that is no cell; a table of one choice has its name above."""
    return "" if names.single else tail(names.words(row), _LABEL)


class _RowFormat(NamedTuple):
    """Formats a row as a line."""

    looks: Mapping[str, Look]
    most: int  # operations of an edge
    label: int  # width of the name of an edge
    name: int  # width of the name of an operation; 0: omitted
    bar: int  # width of a bar
    low: float
    high: float

    @property
    def width(self) -> int:
        """Width of a line."""
        return self.label + 1 + self.bar * self.most + (self.name and self.name + 1) + 6

    def line(self, row: _Row) -> Text:
        """Return `edge• bars operation weight`; the dot marks edges of the genotype."""
        text = Text(no_wrap=True)
        text.append(f"{row.edge:>{self.label}}", style=_DIM if row.kept is False else "")
        text.append("•" if row.kept else " ")
        for name, level in zip(row.names, columns(row.weights, self.low, self.high), strict=True):
            text.append(self.bar * level, style=self.looks[name].color)
        text.append(self.bar * (self.most - len(row.names)) * " ")
        name = row.names[row.operation]
        if self.name:
            text.append(f" {name:<{self.name}}", style=_DIM if row.kept is False else self.looks[name].color)
        value = row.weights[row.operation]
        weight = (f"{value:.4f}".removeprefix("0") if 0 <= value <= 1 else f"{value:.2f}")[:5]
        text.append(f" {weight}", style=_DIM if row.kept is False else "")
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
