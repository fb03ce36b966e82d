"""`pydarts conformance`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from .answer import FAILED, Answer, waiting
from .command import command


@command()
def conformance(
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            help="name of a check, or a pattern such as 'toy.*'; may be repeated; default: all checks",
        ),
    ] = None,
) -> Answer:
    """Check on this machine that pydarts agrees with published facts.

    The checks cover weight counts of networks, derivations of genotypes, test vectors of every relaxation,
    fixed points of the toy problem of DARTS, exact second derivatives against finite differences, and
    searches that must equal DARTS because an option is off. They need no data and take less than three
    minutes. The exit code is 1 if a check fails. `--json` adds the source of each fact.

    Examples:

    $ pydarts conformance
    $ pydarts conformance --only 'relaxation.*' --only 'toy.*' --json
    """
    from pydarts._protocol.conformance import conformance as run

    with waiting("checking"):
        outcomes = run(only or ())
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    seconds = sum(outcome.seconds for outcome in outcomes)
    count = f"{len(outcomes)} check{'s' * (len(outcomes) != 1)}"
    lines = [f"{one.name}: {one.compares} ({one.source})" for one in outcomes if not one.passed]
    verdict = (
        f"failed: {len(failed)} of {count}, {seconds:.1f} s"
        if failed
        else f"passed: {count}, {seconds:.1f} s"
    )
    data = {"passed": not failed, "seconds": seconds, "checks": [asdict(outcome) for outcome in outcomes]}
    return Answer(data, [_table(outcomes), *lines, verdict], FAILED if failed else 0)


def _table(outcomes: list[Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("", "check", "compares", "expected", "found"):
        table.add_column(title, overflow="fold")
    for title in ("tolerance", "seconds"):
        table.add_column(title, justify="right", no_wrap=True)
    for outcome in outcomes:
        state = Text("passed", style="green") if outcome.passed else Text("FAILED", style="red bold")
        names = (Text(outcome.name), Text(outcome.compares))
        values = (Text(written(outcome.expected)), Text(written(outcome.found)))
        tolerance = f"{outcome.tolerance:g}" if outcome.tolerance else "equal"
        table.add_row(state, *names, *values, tolerance, f"{outcome.seconds:.1f}")
    return table


def written(value: str | float | tuple[float, ...]) -> str:
    """Write a value of a check, numbers with six decimals.

    >>> written(1930618), written((0.3235537, 2.5)), written(1.23456e-9), written("DARTS_V2")
    ('1,930,618', '0.323554, 2.5', '1.23e-09', 'DARTS_V2')
    """
    if isinstance(value, tuple):
        return ", ".join(map(written, value))
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    decimals = f"{value:.6f}".rstrip("0").rstrip(".")
    return decimals if abs(value) >= 1e-3 or not value else f"{value:.3g}"
