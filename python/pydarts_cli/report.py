"""`pydarts report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .answer import Answer, Problem, quoted
from .command import command
from .sources import BenchmarkOption, RunArgument, benchmark_of, run_of


@command()
def report(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.html", help="file to write", show_default="report.html in RUN"),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            metavar="DIR",
            help="folder written by `pydarts compare`, to add its comparison with random cells",
        ),
    ] = None,
    benchmark: BenchmarkOption = None,
    show: Annotated[bool, typer.Option("--open", help="open the report in the browser")] = False,
) -> Answer:
    """Write a report of a search as one HTML file that works offline.

    Example:

    $ pydarts report run --open
    """
    result = run_of(run)
    to = run / "report.html" if out is None else out
    if table is not None and table.is_dir():
        table = table / "table.csv"
    if table is not None and not table.is_file():
        raise Problem(
            f"no table {str(table)!r}; create one with "
            f"`pydarts compare {quoted(run)} --data digits --random 6`"
        )
    import pydarts

    cells = None if table is None else pydarts.SearchTable.load(table)
    result.report(to, table=cells, benchmark=benchmark_of(benchmark))
    if show:
        typer.launch(str(to))
    return Answer({"file": str(to), "bytes": to.stat().st_size}, [to])
