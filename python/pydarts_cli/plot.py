"""`pydarts plot`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .answer import USAGE, Answer, Problem
from .command import command
from .sources import BenchmarkOption, benchmark_of, run_of

if TYPE_CHECKING:
    from pydarts import SearchResult, TrainResult
    from pydarts.plots import Plot

Ending = Literal["png", "svg", "pdf"]

# name -> function that draws the plot; `at` is a point in time
_SEARCH: dict[str, Callable[[SearchResult, int, str | None], Any]] = {
    "alphas": lambda result, at, cell: result.plot_alphas(cell=cell),
    "weights": lambda result, at, cell: result.plot_weights(at=at, cell=cell),
    "cells": lambda result, at, cell: result.trajectory.genotypes[at].plot(),
    "supernet": lambda result, at, cell: result.plot_supernet(at=at, cell=cell),
    "entropy": lambda result, at, cell: result.plot_entropy(),
    "skips": lambda result, at, cell: result.plot_skips(),
    "losses": lambda result, at, cell: result.plot_losses(),
    "accuracies": lambda result, at, cell: result.plot_accuracies(),
    "metrics": lambda result, at, cell: result.plot_metrics(),
    "diagnostics": lambda result, at, cell: result.plot_diagnostics(),
    "edges": lambda result, at, cell: result.plot_edges(cell=cell),
}
_TRAINING: dict[str, Callable[[TrainResult], Any]] = {
    "losses": lambda result: result.plot_losses(),
    "accuracies": lambda result: result.plot_accuracies(),
    "metrics": lambda result: result.plot_metrics(),
    "cells": lambda result: result.network.genotype.plot(),
}
_MOVIE, _BENCHMARK = "animation", "benchmark"
_NEED_EPOCHS = ("losses", "accuracies", "metrics", "diagnostics")  # these require at least one epoch
_OF_CELLS = ("cells", "supernet", "skips")  # those that a user-defined network does not have
_PER_POINT = ("weights", "cells", "supernet")
_PER_TABLE = ("alphas", "weights", "supernet", "edges", _MOVIE)


@command()
def plot(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="folder of a search or of a training", show_default=False)
    ],
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WHAT",
            help=f"plots to draw: {', '.join(_SEARCH)}, {_BENCHMARK} (with --benchmark), {_MOVIE} (a GIF); "
            f"default: all except {_MOVIE}",
            autocompletion=lambda: [*_SEARCH, _BENCHMARK, _MOVIE],
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="folder for the plots", show_default="RUN")
    ] = None,
    ending: Annotated[
        Ending, typer.Option("--format", help="file format of all plots except animation")
    ] = "png",
    at: Annotated[
        int | None,
        typer.Option(
            "--at",
            metavar="INT",
            help="point in time for weights, cells and supernet: 0 is the initial α, -1 the last",
            show_default="-1",
        ),
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option("--cell", help="α table (normal or reduce) for the plots that show one table"),
    ] = None,
    benchmark: BenchmarkOption = None,
    dpi: Annotated[
        int, typer.Option("--dpi", min=20, metavar="INT", help="resolution of a PNG, in pixels per inch")
    ] = 110,
) -> Answer:
    """Plot a search or a training, one file per plot.

    Examples:

    $ pydarts plot run
    $ pydarts plot run cells weights --at 10 --format svg --out pictures
    $ pydarts plot run animation
    """
    folder = run if out is None else out
    drawn = _drawn(run, what or [], at, cell, benchmark)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, make in drawn.items():
        try:
            files.append(make(folder) if name == _MOVIE else draw(make, folder / f"{name}.{ending}", dpi))
        except (ValueError, IndexError) as error:  # no such table or point in time
            raise Problem(f"{name}: {error}", USAGE) from error
    return Answer({"files": [str(file) for file in files]}, files)


def _drawn(
    run: Path, what: list[str], at: int | None, cell: str | None, benchmark: Path | None
) -> dict[str, Callable[..., Any]]:
    """Return the functions that draw the chosen plots, by name."""
    trained = (run / "training.json").is_file()
    for option, value, plots in (
        ("--at", at, _PER_POINT),
        ("--cell", cell, _PER_TABLE),
        ("--benchmark", benchmark, (_BENCHMARK,)),
    ):
        if value is not None and (trained or (what and not set(what) & set(plots))):
            raise Problem(f"{option} applies to {', '.join(plots)} of a search only; leave it out", USAGE)
    if _BENCHMARK in what and benchmark is None:
        raise Problem(f"the plot {_BENCHMARK} requires --benchmark, the table of NAS-Bench-201", USAGE)
    history: Sequence[Any]
    if trained:
        import pydarts

        training = pydarts.TrainResult.load(run)
        history, cells = training.history, hasattr(training.network, "genotype")
        every: dict[str, Callable[..., Any]] = {
            name: (lambda draw=draw: draw(training))
            for name, draw in _TRAINING.items()
            if cells or name not in _OF_CELLS
        }
    else:
        result = run_of(run)
        points, at = len(result.trajectory), -1 if at is None else at
        if not -points <= at < points:
            raise Problem(f"--at {at}: {run} has {points} points; choose from 0 to {points - 1}", USAGE)
        cells = hasattr(result, "genotype")
        every = {
            name: (lambda draw=draw: draw(result, at, cell))
            for name, draw in _SEARCH.items()
            if cells or name not in _OF_CELLS
        }
        every[_MOVIE] = lambda folder: result.animate(folder / f"{_MOVIE}.gif", cell=cell)
        if not any(map(result.trajectory.weighted, result.trajectory.alphas)):
            del every["edges"]
        bench = benchmark_of(benchmark)
        if bench is not None:
            every[_BENCHMARK] = lambda: _plots().benchmark(bench, result)
        history = result.history
    epochs = len(history)
    if not any(record.metrics for record in history):
        del every["metrics"]
    elif all(record.valid_accuracy is None for record in history):
        del every["accuracies"]
    if not any(getattr(record, "diagnostics", None) for record in history):
        every.pop("diagnostics", None)
    unknown = [name for name in what if name not in every]
    if unknown:
        raise Problem(f"{run} has no plot {', '.join(unknown)}; choose from {', '.join(every)}", USAGE)
    if not what:
        what = [name for name in every if name != _MOVIE and (epochs or name not in _NEED_EPOCHS)]
    elif not epochs and set(what) & set(_NEED_EPOCHS):
        raise Problem(f"{', '.join(set(what) & set(_NEED_EPOCHS))}: {run} has no completed epoch to plot")
    return {name: every[name] for name in what}


def _plots() -> Any:
    """Import the module of plots, which takes a second."""
    from pydarts import plots

    return plots


def draw(make: Callable[[], Any], file: Path, dpi: int = 110) -> Path:
    """Save the plot that `make` returns."""
    import matplotlib

    matplotlib.use("Agg")  # no window is shown
    import matplotlib.pyplot as plt

    plot: Plot = make()
    plot.savefig(file, dpi=dpi)
    plt.close(plot.figure)
    return file
