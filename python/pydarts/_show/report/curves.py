"""The curves of a search as plotly figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from ..._results.history import known
from ..._results.measured import curvature_limit, grouped, names_of, quantity
from ..._results.measured import points as measured_at
from ..._results.trajectory import Trajectory
from ..palette import series_look
from ..plots.curves import LINES
from .view import dash, thin

if TYPE_CHECKING:
    from ..._results.result import SearchResult

# Points of a curve: more than a plot has horizontal pixels; about 15 kB.
POINTS = 600


@dataclass(frozen=True)
class Curve:
    """One plot."""

    name: str
    """Identifier of its element on the page."""
    title: str
    note: str
    """Alternative text, with first and last values."""
    end: float
    """The last value of the horizontal axis."""
    figure: dict[str, Any]
    """Data and layout, as plain data."""


@dataclass(frozen=True)
class Line:
    """One line of a plot."""

    name: str
    look: str
    """The series that determines colour and style."""
    x: Sequence[float]
    y: Sequence[float]


def curves(result: SearchResult, path: Trajectory) -> list[Curve]:
    """Return the plots for which there are data."""
    words = path.space is not None and path.space.kind == "recurrent"
    found = []
    if result.history:
        records = [result.history[point] for point in thin(len(result.history), POINTS)]
        epochs = [record.epoch + 1 for record in records]

        def pair(name: str, factor: float = 1.0) -> list[Line]:
            return [
                Line(
                    text,
                    part,
                    epochs,
                    [factor * known(getattr(record, f"{part}_{name}")) for record in records],
                )
                for part, text in (("train", "training"), ("valid", "validation"))
            ]

        found.append(curve("loss", "Loss", "nats", "epoch", pair("loss")))
        if words:
            found.append(curve("perplexity", "Perplexity", "words", "epoch", pair("perplexity"), log=True))
        elif not all(math.isnan(known(record.valid_accuracy)) for record in records):
            found.append(curve("accuracy", "Accuracy", "%", "epoch", pair("accuracy", 100.0)))
        for number, name in enumerate(dict.fromkeys(name for record in records for name in record.metrics)):
            values = [record.metrics.get(name, math.nan) for record in records]
            found.append(curve(f"metric-{number}", name, "", "epoch", [Line(name, "valid", epochs, values)]))
        rate = Line("learning rate", "valid", epochs, [record.learning_rate for record in records])
        found.append(curve("rate", "Learning rate of the weights", "", "epoch", [rate], zero=True))
        found += _diagnostics(result)
    if len(path) > 1:
        points = thin(len(path), POINTS)
        time, unit = path.time
        x = time[points].tolist()
        entropies = _entropies(path, x, points)
        most = max(table.most for table in path.tables.values())
        sizes = {len(row) for table in path.tables.values() for row in table.candidates}
        at_most = f"at most log {max(sizes)}" if len(sizes) == 1 else "at most, with equal weights"
        found.append(
            curve(
                "entropy", "Entropy of the mixing weights", "nats", unit, entropies,
                level=most, level_name=at_most,
            )
        )  # fmt: skip
        if path.counts_skips and path.selects:
            skips = Line("skip connections", "skip_connect", x, path.skips[points].tolist())
            found.append(curve("skips", "Skip connections in the genotype", "", unit, [skips], zero=True))
        found += _edges(path, x, points)
    for drawn in found:
        _mark(drawn, path)
    return found


def _diagnostics(result: SearchResult) -> list[Curve]:
    """Return a plot per group of diagnostics; that of the curvature has the limit of the stop."""
    found = []
    for number, (title, names) in enumerate(grouped(names_of(result.history))):
        lines = []
        for name in names:
            x, y = measured_at(result.history, name)
            kept = thin(len(x), POINTS)
            look = "valid" if len(names) == 1 else name
            lines.append(Line(name, look, [x[at] for at in kept], [y[at] for at in kept]))
        limit = curvature_limit(result.history, result.config.stop) if "curvature" in names else None
        if limit is not None:
            lines.append(Line("local average", "train", limit.epochs, limit.averages))
            lines.append(Line("ends the search", "limit", limit.epochs, limit.limits))
        lines = [line for line in lines if line.x]
        if lines:
            found.append(curve(f"diagnostic-{number}", title, quantity(names[0]).unit, "epoch", lines))
    return found


def _edges(path: Trajectory, x: Sequence[float], points: Sequence[int]) -> list[Curve]:
    """Return a plot per table of the weights of its edges."""
    found = []
    for table in filter(path.weighted, path.alphas):
        values, names = path.edge_weights(table)[points], path.tables[table]
        lines = [
            Line(names.words(row), str(row), x, values[:, row].tolist()) for row in range(len(names.rows))
        ]
        title = f"Weights of the edges, {table}"
        found.append(curve(f"edges-{table}", title, "share of the node", path.time[1], lines))
    return found


def _entropies(path: Trajectory, x: Sequence[float], points: Sequence[int]) -> list[Line]:
    """Return a line per table; of very many their mean, and the ones that end lowest and highest."""
    found = {table: path.entropy(table)[points] for table in path.alphas}
    if len(found) <= LINES:
        return [Line(table, table, x, values.tolist()) for table, values in found.items()]
    low, high = (which(found, key=lambda table: found[table][-1]) for which in (min, max))
    named = {
        f"mean of {len(found)}": np.mean(list(found.values()), axis=0),
        f"lowest: {low}": found[low],
        f"highest: {high}": found[high],
    }
    return [Line(name, name, x, values.tolist()) for name, values in named.items()]


def _mark(drawn: Curve, path: Trajectory) -> None:
    """Draw a vertical line at every decision; over epochs they count from 1, as records do."""
    over_epochs = drawn.figure["layout"]["xaxis"]["title"]["text"] == "epoch"
    times = {epoch + 1.0 if over_epochs else at for at, epoch, _ in path.decided()}
    drawn.figure["layout"]["shapes"] = [
        {
            "type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "layer": "below",
            "line": {"color": "#808080", "dash": "dot", "width": 1},
        }
        for at in sorted(times)
    ]  # fmt: skip


def curve(
    name: str,
    title: str,
    label: str,
    unit: str,
    lines: Iterable[Line],
    *,
    log: bool = False,
    zero: bool = False,
    level: float | None = None,
    level_name: str = "",
) -> Curve:
    """Return a plot of lines over time, with a dotted one at `level`."""
    figure = go.Figure(layout_template="none")
    notes = []
    for number, line in enumerate(lines):
        look = series_look(line.look, number)
        few = len(line.x) <= 60
        figure.add_trace(
            go.Scatter(
                x=list(line.x),
                y=[value if math.isfinite(value) else None for value in line.y],
                name=line.name,
                mode="lines+markers" if few else "lines",
                line={"color": look.color, "dash": dash(look.style), "width": 2},
                marker={"size": 5},
                hovertemplate="%{y:.5g}",
            )
        )
        ends = [value for value in line.y if math.isfinite(value)] or [math.nan]
        notes.append(f"{line.name} from {ends[0]:.4g} to {ends[-1]:.4g}")
    if level is not None:
        across = [line.x[0], line.x[-1]] if (line := figure.data[0]) else []
        figure.add_trace(
            go.Scatter(
                x=across, y=[level, level], name=level_name, mode="lines", hovertemplate="%{y:.5g}",
                line={"color": "#808080", "dash": "dot", "width": 1.5},
            )
        )  # fmt: skip
    figure.update_layout(
        xaxis={"title": {"text": unit}},
        yaxis={
            "title": {"text": label},
            **(_logarithmic([value for trace in figure.data for value in trace.y if value]) if log else {}),
            "rangemode": "tozero" if zero else "normal",
        },
        showlegend=len(figure.data) > 1,
        hovermode="x unified",
    )
    plain: dict[str, Any] = json.loads(figure.to_json())
    return Curve(name, title, f"{title} over {unit}s: {'; '.join(notes)}.", figure.data[0].x[-1], plain)


def _logarithmic(values: Sequence[float]) -> dict[str, Any]:
    """Return a logarithmic axis; over a few powers of ten with uniform ticks at 1, 2, 5, 10, ....

    >>> _logarithmic([80.0, 420.0])["tickvals"]
    [50.0, 100.0, 200.0, 500.0]
    """
    low, high = min(values, default=1.0), max(values, default=1.0)
    if high > 1e4 * low:
        return {"type": "log"}
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return {"type": "log", "tickvals": [tick for tick in ticks if low / 2 <= tick <= 2 * high]}
