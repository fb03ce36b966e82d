"""`pydarts compare`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .answer import USAGE, Answer, Problem, code_of, cut, quoted, say, waiting
from .choices import NETWORK, TRAINING
from .command import command
from .data import (
    DATA_HELP,
    DownloadOption,
    GrayOption,
    SideOption,
    Spec,
    WordsOption,
    WorkersOption,
    read,
    spec,
)
from .options import named
from .output import path_text
from .plot import draw
from .sources import cells_of, genotype_of, is_run, is_text, run_of
from .train import NETWORKS, PresetOption, check_cell, check_choices, preset_of

if TYPE_CHECKING:
    from pydarts import Genotype, SearchResult, SearchTable
    from pydarts._results.score import Score

_TRAINED = "Training of the cells (with --data)"


_Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="folders of searches; with --data, also genotypes (name or file)",
        show_default=False,
    ),
]
_Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="file for a plot: .png, .svg or .pdf")
]
_Data = Annotated[
    Any,
    typer.Option(
        "--data",
        metavar="KIND:WHERE",
        parser=spec,
        help=f"train every cell on these data with the same settings: {DATA_HELP}",
        rich_help_panel=_TRAINED,
    ),
]
_Random = Annotated[
    int,
    typer.Option(
        "--random",
        min=0,
        metavar="INT",
        help="number of random cells to train in addition",
        rich_help_panel=_TRAINED,
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="folder for the trainings and table.csv",
        show_default="compared",
        rich_help_panel=_TRAINED,
    ),
]
_Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        metavar="INT",
        help="number of training processes; 0: train in this process",
        show_default="one for every two threads",
        rich_help_panel=_TRAINED,
    ),
]


@command(choices=TRAINING, network=NETWORK)
def compare(
    runs: _Runs,
    plot: _Plot = None,
    data: _Data = None,
    random: _Random = 0,
    out: _Out = None,
    workers: _Workers = None,
    preset: PresetOption = None,
    download: DownloadOption = False,
    loader_workers: WorkersOption = None,
    grayscale: GrayOption = False,
    image_size: SideOption = None,
    words: WordsOption = None,
    *,
    choices: dict[str, Any],
    network: dict[str, Any],
) -> Answer:
    """Compare searches, one row each. With --data, train their cells and random cells with the same settings.

    Trainings on images use --preset quick by default.

    Examples:

    $ pydarts compare run-0 run-1 run-2 --plot compared.png
    $ pydarts compare run DARTS_V2 --data digits --random 6 --channels 8 --layers 5 --epochs 10
    """
    if data is None:
        for_training = {
            "random": random or None,
            "out": out,
            "workers": workers,
            "preset": preset,
            "download": download or None,
            "loader_workers": loader_workers,
            "grayscale": grayscale or None,
            "image_size": image_size,
            "words": words,
        }
        given = [*choices, *network, *(name for name, value in for_training.items() if value is not None)]
        if given:
            raise Problem(f"{named(given)}: used only to train the cells; add --data", USAGE)
        _check_plot(plot)
        return _side_by_side({name: run_of(Path(run)) for name, run in _names(runs).items()}, plot)
    check_choices(data, preset, image_size)
    if preset is None and not data.words:
        preset = "quick"
    elif data.words and "epochs" not in choices:
        raise Problem("training on text requires --epochs; the published number is 8000", USAGE)
    _check_plot(plot)
    with waiting("loading PyTorch …"):
        import pydarts

    out = Path("compared") if out is None else out
    fields: dict[str, Any] = {"checkpoint_dir": str(out), "progress": sys.stderr.isatty(), **choices}
    config = preset_of(preset)(**fields)
    cells = _cells(runs, data)
    found = read(
        data,
        image_size=image_size,
        batch_size=config.batch_size,
        download=download,
        workers=loader_workers,
        grayscale=grayscale,
        words=words,
        dimensions=next((cell.dimensions for cell in map(_genotype, cells.values())), None),
    )
    table = pydarts.compare(
        cells,
        found.train,
        preset_of(preset)(**{**found.settings, **fields}),
        random=random,
        network={**NETWORKS.get(preset or "", {}), **found.sizes, **network},
        workers=workers,
    )
    out.mkdir(parents=True, exist_ok=True)
    return _trained(table, out, plot)


def _names(runs: list[str]) -> dict[str, str]:
    """Name each run by the last part of its path, with as many parent folders as make the name unique."""
    for run in runs:
        if not run or is_text(run):
            raise Problem(f"{cut(run)!r} is a genotype without a name for its row; save it in a file", USAGE)
    paths = [Path(run).resolve() for run in runs]
    if len(set(paths)) < len(paths):
        repeated = next(run for run, path in zip(runs, paths, strict=True) if paths.count(path) > 1)
        raise Problem(f"{repeated!r} is given more than once; leave out the repetition", USAGE)
    depths = [1] * len(runs)
    for _ in range(max(len(path.parts) for path in paths)):
        names = [" ".join(path.parts[-depth:]) for path, depth in zip(paths, depths, strict=True)]
        if len(set(names)) == len(names):
            return dict(zip(names, runs, strict=True))
        depths = [depth + (names.count(name) > 1) for name, depth in zip(names, depths, strict=True)]
    raise Problem("two runs have the same name; copy one of them to another folder", USAGE)


def _cells(runs: list[str], data: Spec) -> dict[str, Genotype | SearchResult]:
    """The cells to train, each checked to fit the data."""
    cells: dict[str, Genotype | SearchResult] = {}
    for name, source in _names(runs).items():
        if is_run(source):
            result = cells_of(Path(source))
            cells[name], genotype = result, result.genotype
        else:
            cells[name] = genotype = genotype_of(source)
        check_cell(name, genotype, data)
    return cells


def _genotype(cell: Genotype | SearchResult) -> Genotype:
    return cell.genotype if hasattr(cell, "genotype") else cell


def _side_by_side(results: dict[str, SearchResult], plot: Path | None) -> Answer:
    from rich.table import Table
    from rich.text import Text

    scores = {name: _score(result) for name, result in results.items()}
    rows = [_row(name, result, scores[name]) for name, result in results.items()]
    columns = (
        "run",
        "status",
        "space",
        *(["algorithm"] if any(row["algorithm"] for row in rows) else []),
        "method",
        "seed",
        "epochs",
        "validation",
        "best",
        *(
            ["measure"]
            if any(score.name not in ("accuracy", "perplexity") for score in scores.values())
            else []
        ),
        "entropy",
        "skips",
        "settled",
        "seconds",
    )
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(Text(_text(name, row, scores[row["run"]])) for name in columns))
    genotypes = {name: result.genotype for name, result in results.items() if hasattr(result, "genotype")}
    cells = {genotype.edge_set for genotype in genotypes.values()}
    picked = {name: one.architecture for name, one in results.items() if name not in genotypes}
    counts = {"cells": len(cells), "architectures": len({json.dumps(one) for one in picked.values()})}
    notes = ["; ".join(f"distinct {what}: {number}" for what, number in counts.items() if number)]
    notes[0] += "; settled: the point in time of the last change"
    if plot is not None:
        import pydarts

        draw(lambda: pydarts.plots.compare(results), plot)
        notes.append(str(plot))
    file = None if plot is None else str(plot)
    written = {name: genotype.to_dict() for name, genotype in genotypes.items()}
    data = {"runs": rows, **counts, "genotypes": written, "picked": picked, "plot": file}
    return Answer(data, [table, *notes])


def _score(result: SearchResult) -> Score:
    """What a search is judged by: its metric, perplexity, accuracy or loss."""
    from pydarts._results.score import score_of

    words = hasattr(result, "genotype") and result.config.resolved_space.kind == "recurrent"
    return score_of(result.history, result.config.metric_mode, words=words)


def _row(name: str, result: SearchResult, score: Score) -> dict[str, Any]:
    from pydarts._results.algorithm import in_words

    path, config, cells = result.trajectory, result.config, hasattr(result, "genotype")
    scores = [score.valid(record) for record in result.history]
    entropies = [float(path.entropy(table)[-1]) for table in path.alphas]
    return {
        "run": name,
        "status": result.status,
        "space": config.resolved_space.name if cells else None,
        "algorithm": config.algorithm,
        "method": in_words(config.hypergradient),
        "seed": config.seed,
        "epochs": len(result.history),
        "measure": score.name if scores or score.name == "perplexity" else "accuracy",
        "validation": scores[-1] if scores else None,
        "best": score.valid(score.best(result.history)) if scores else None,
        "entropy": sum(entropies) / len(entropies),
        "skips": result.genotype.skip_connections if cells else None,
        "settled": path.last_change if cells or any(map(path.kept, path.alphas)) else None,
        "seconds": sum(record.seconds for record in result.history),
    }


def _text(column: str, row: dict[str, Any], score: Score) -> str:
    value = row[column]
    if value is None:
        return "–"
    if column in ("validation", "best"):
        number = ".1f" if score.name == "perplexity" and not score.metric else ".4g"
        return score.text(value, number=number)
    return {"entropy": "{:.3f}", "seconds": "{:.1f}"}.get(column, "{}").format(value)


def _check_plot(file: Path | None) -> None:
    """Check that the plot can be written, before the trainings start."""
    if file is None:
        return
    if file.suffix not in (".png", ".svg", ".pdf"):
        raise Problem(f"--plot {file}: the name must end in .png, .svg or .pdf", USAGE)
    if not file.parent.is_dir():
        raise Problem(f"--plot {file}: no folder {str(file.parent)!r}")


def _trained(table: SearchTable, out: Path, plot: Path | None) -> Answer:
    table.save(out / "table.csv")
    if plot is not None:
        draw(table.plot, plot)
    file = quoted(out / "table.csv")
    said = path_text(out, sys.stderr)
    say(f"saved to {said}: table.csv; to add it to a report: pydarts report RUN --table {file}")
    rows = [
        {
            "name": row.name,
            "origin": row.origin,
            "status": row.status,
            "score": row.score,
            "weights": row.weights,
            "seconds": row.seconds,
            "error": row.error,
            "genotype": None if row.genotype is None else row.genotype.to_dict(),
        }
        for row in table
    ]
    best = None if table.best is None else table.best.name
    return Answer({"status": table.status, "best": best, "rows": rows}, [str(table)], code_of(table.status))
