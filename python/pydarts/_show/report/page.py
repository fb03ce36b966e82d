"""Assembles the report and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

try:
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError("SearchResult.report requires plotly; install it with: pip install plotly") from error

from ..._benchmarks.nas_bench_201 import NASBench201
from ..._protocol.table import SearchTable
from ..._results.algorithm import named
from ..._results.decisions import picked
from ..._results.diagnostics import diagnose
from ..._results.diagnostics.finding import weight
from ..._results.gathered import choice_margins
from ..._results.score import score_of
from ..._results.tables import decision_in_words
from ..._results.trajectory import Margin, Trajectory
from ..._values.files import write_atomically
from ..._values.space import Space
from ..._values.words import NodeNames, duration
from ..render import render
from . import facts
from .baseline import baseline
from .benchmark import tabulated
from .curves import curves
from .notations import notations
from .pictures import cell_picture
from .view import View, view

if TYPE_CHECKING:
    from ..._results.result import SearchResult


@dataclass(frozen=True)
class Figure:
    """A key figure in the head of the page."""

    name: str
    value: str
    note: str = ""


def write(
    result: SearchResult, path: Path, table: SearchTable | None, benchmark: NASBench201 | None = None
) -> Path:
    """See `SearchResult.report`."""
    if table is not None and not isinstance(table, SearchTable):
        raise TypeError(
            f"table must be a SearchTable of search_many or compare, got a {type(table).__name__}"
        )
    if benchmark is not None and not isinstance(benchmark, NASBench201):
        raise TypeError(
            f"benchmark must be a NASBench201 of pydarts.benchmarks, got a {type(benchmark).__name__}"
        )
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; pass a file, such as {path / 'report.html'}")
    text = page(result, table, benchmark)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    return path


def page(result: SearchResult, table: SearchTable | None, benchmark: NASBench201 | None = None) -> str:
    """Return the page as text."""
    trajectory = result.trajectory
    space = trajectory.space
    seen = view(trajectory)
    plots = curves(result, trajectory)
    chance = None if table is None else baseline(result, table)
    scores = None if benchmark is None else tabulated(result, benchmark)
    every = plots if scores is None else [*plots, *scores.curves]
    figures = {plot.name: plot.figure for plot in every}
    if chance is not None:
        figures["chance"] = chance.figure
    return render(
        "report/page.html",
        result=result,
        name=space.name if space is not None else _name(result),
        written=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        numbers=_numbers(result, trajectory),
        diagnostics=diagnose(result, trajectory),
        margins=_margins(trajectory.margins(), space) if space is not None and trajectory.selects else [],
        decisions=decided(trajectory),
        relaxation=", ".join(trajectory.relaxation_in_words()),
        view=seen,
        final=_final(seen, result, space),
        picked=[] if space is not None else _picked(result, trajectory),
        shown=len(seen.data["times"]),
        points=len(trajectory),
        curves=plots,
        notations=[] if space is None else notations(result.genotype),
        chance=chance,
        benchmark=scores,
        algorithm=named(result.config),
        axes=facts.algorithm(result.config),
        selects=trajectory.selects,
        configuration=facts.configuration(result.config, space is not None),
        kept=facts.kept_environment(result),
        environment=facts.environment(),
        plan=None if space is None else facts.plan(result),
        data={"alpha": seen.data, "figures": figures},
        plotly=Markup(get_plotlyjs()),  # a script, embedded as plotly itself does
    )


def _numbers(result: SearchResult, path: Trajectory) -> list[Figure]:
    config = result.config
    found = [
        Figure("epochs", f"{len(result.history):,} of {config.epochs:,}", f"{result.steps[-1]:,} steps"),
    ]
    if result.history:
        last = result.history[-1]
        words = path.space is not None and path.space.kind == "recurrent"
        score = score_of(result.history, config.metric_mode, words=words)
        best = score.best(result.history)
        which = "best" if score.highest or score.metric else "lowest"
        note = f"{which} {score.text(score.valid(best))} in epoch {best.epoch + 1}"
        found.append(Figure(f"validation {score.name}", score.text(score.valid(last)), note))
        found.append(Figure("time of all epochs", duration(sum(record.seconds for record in result.history))))
    if path.space is None:
        return found
    genes = sum(len(result.genotype.edges(table)) for table in path.alphas)
    if path.counts_skips:
        skips = str(result.genotype.skip_connections)
        found.append(Figure("skip connections", skips, f"of {genes} operations"))
    time, unit = path.time
    if len(path) > 1 and path.selects and path.learns:
        found.append(
            Figure("genotype last changed", f"{unit} {time[path.last_change]:g}", f"of {time[-1]:g}")
        )
    return found


def _margins(margins: Sequence[Margin], space: Space) -> list[dict[str, Any]]:
    """Return the rows of the table of margins, with a dash for a missing margin."""
    return [
        {
            "cell": margin.table,
            "edge": NodeNames(space.inputs, space.kind == "recurrent").edge(margin.edge),
            "chosen": margin.chosen,
            "next": margin.next or "–",
            "operation": _weight(margin.operation),
            "edges": _weight(margin.edges),
        }
        for margin in margins
    ]


def _name(result: SearchResult) -> str:
    """Name a user-defined network: by its class, otherwise by its loss."""
    named = result.fingerprint.get("network", "").partition(" ")[0].rpartition(":")[2]
    return named if named not in ("", "FunctionNetwork") else result.loss or "a network"


def _picked(result: SearchResult, path: Trajectory) -> list[tuple[str, str, str, str]]:
    """Return for every choice what was picked, the strongest other candidate, and the margin."""
    margins = {name: margin for margin in choice_margins(path) for name in margin.modules}
    found = []
    for name, value in picked(result.architecture):
        margin = margins.get(name)
        if margin is None or margin.chosen != value:
            found.append((name, value, "–", "–"))
        else:
            found.append((name, value, margin.next, weight(margin.by)))
    return found


def _final(seen: View, result: SearchResult, space: Space | None) -> list[tuple[str, Markup]]:
    """Return the cells of the genotype, by table: those of the last point, where α decides."""
    if space is not None and not result.trajectory.selects:
        return [
            (table, cell_picture(table, tuple(result.genotype.edges(table)), space.concat, space))
            for table in space.tables
        ]
    pictures = dict(seen.pictures)
    return [(table["name"], pictures[table["cells"][-1]]) for table in seen.data["tables"] if table["cells"]]


def decided(path: Trajectory) -> list[tuple[int, str]]:
    """Return the decisions in words, each with its epoch, counted from 1."""
    return [(epoch + 1, decision_in_words(decision, path.tables)) for epoch, decision in path.decisions]


def _weight(value: float) -> str:
    return "–" if value != value else weight(value)
