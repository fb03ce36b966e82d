"""The comparison with random cells: a `SearchTable` in the report."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go  # type: ignore[import-untyped]

from ..palette import color_of

if TYPE_CHECKING:
    from ..._protocol.row import Origin, SearchRow
    from ..._protocol.table import SearchTable
    from ..._results.result import SearchResult


@dataclass(frozen=True)
class Row:
    """A cell of the table."""

    name: str
    origin: str
    status: str
    search: str
    trained: str
    weights: str
    mine: bool
    """Whether this is the cell of the report."""


@dataclass(frozen=True)
class Baseline:
    """The table, its summary, and its plot."""

    measure: str
    rows: tuple[Row, ...]
    verdicts: tuple[str, ...]
    note: str
    """Alternative text of the plot."""
    figure: dict[str, Any]
    what: str = "cell"
    """What the rows are: cells, or architectures of a user-defined network."""


def baseline(result: SearchResult, table: SearchTable) -> Baseline:
    """Return the table with this search's cell marked."""
    words, measured = result.config.resolved_space.kind == "recurrent", table.measure
    what = "cell" if hasattr(result, "genotype") else "architecture"
    if any(row.genotype is not None if what == "architecture" else row.architecture for row in table):
        other = "architecture" if what == "cell" else "cell"
        raise ValueError(f"the search has found {what}s, but the table has {other}s; pass its own table")
    if any(row.genotype is not None and row.words != words for row in table):
        mine, theirs = ("recurrent", "convolutional") if words else ("convolutional", "recurrent")
        raise ValueError(f"the search has {mine} cells, but the table has {theirs} ones; pass its own table")
    origins: list[Origin] = [
        origin for origin in ("searched", "given", "random") if any(row.origin == origin for row in table)
    ]
    sums = []
    for origin in origins:
        found = table.summary(origin)
        mean, deviation = measured.text(found.mean), measured.text(found.deviation)
        sums.append(f"{origin}: {mean} ± {deviation}, n = {found.n}")
    rows = tuple(
        Row(
            row.name,
            row.origin,
            row.status,
            measured.text(row.search_score),
            measured.text(row.score),
            "–" if row.weights is None else f"{row.weights:,}",
            _is_mine(row, result),
        )
        for row in table
    )
    said = [*sums, *table.verdicts, *_mine(result, table)]
    measure = f"validation {measured.name}"
    note = f"One point per {what}, by {measure} after the short training. {'; '.join(sums)}."
    return Baseline(measure, rows, tuple(said), note, _figure(table, origins, measure), what)


def _is_mine(row: SearchRow, result: SearchResult) -> bool:
    """Return whether a row has the cell, or the architecture, of the search."""
    if hasattr(result, "genotype"):
        return row.genotype == result.genotype
    return row.architecture is not None and dict(row.architecture) == dict(result.architecture)


def _mine(result: SearchResult, table: SearchTable) -> list[str]:
    """Compare the cell or architecture of this report with the random ones."""
    what = "cell" if hasattr(result, "genotype") else "architecture"
    if not any(row.origin == "random" for row in table):
        return [f"The table has no random {what}s; search_many(..., random=8) adds some."]
    mine = next((row for row in table if _is_mine(row, result)), None)
    if mine is None:
        return [f"The table does not contain the {what} of this report."]
    own = mine.score
    if own is None:
        return [f"The table has no complete training of the {what} of this report ({mine.name})."]
    others = [row.score for row in table if row.origin == "random" and row.score is not None]
    worse = sum(other < own if table.measure.highest else other > own for other in others)
    return [
        f"The {what} of this report ({mine.name}) has {table.measure.text(own)}: better than {worse} of "
        f"{len(others)} random {what}s."
    ]


def _figure(table: SearchTable, origins: list[Origin], measure: str) -> dict[str, Any]:
    figure = go.Figure(layout_template="none")
    percent = table.measure.percent
    scale = 100.0 if percent else 1.0
    for origin in origins:
        rows: list[SearchRow] = [row for row in table if row.origin == origin and row.score is not None]
        found = table.summary(origin)
        if not rows:
            continue
        figure.add_trace(
            go.Scatter(
                x=[scale * (row.score or 0.0) for row in rows],
                y=[origin] * len(rows),
                text=[row.name for row in rows],
                mode="markers",
                marker={"color": color_of(origin), "size": 11, "opacity": 0.75},
                hovertemplate="%{text}: %{x:.2f}<extra></extra>",
            )
        )
        deviation = 0.0 if math.isnan(found.deviation) else found.deviation
        figure.add_trace(
            go.Scatter(
                x=[scale * found.mean],
                y=[origin],
                mode="markers",
                marker={
                    "symbol": "line-ns-open",
                    "size": 18,
                    "color": color_of(origin),
                    "line": {"width": 3},
                },
                error_x={"type": "data", "array": [scale * deviation], "thickness": 1.5},
                hovertemplate="mean %{x:.2f}<extra></extra>",
            )
        )
    figure.update_layout(
        xaxis={"title": {"text": f"{measure}, %" if percent else measure}},
        yaxis={"type": "category", "autorange": "reversed"},
        showlegend=False,
        hovermode="closest",
    )
    plain: dict[str, Any] = json.loads(figure.to_json())
    return plain
