"""`pydarts derive`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .answer import USAGE, Answer, Problem, cut
from .command import command
from .sources import about, cells_of, genotype_of, is_run, is_text, picks, run_of

if TYPE_CHECKING:
    from pydarts import Genotype, SearchResult

Notation = Literal["paper", "json", "nni", "nasbench201", "nasbench301", "dot"]

_WRITE: dict[str, Callable[[Genotype], str]] = {
    "paper": str,
    "json": lambda genotype: genotype.to_json(),
    "nni": lambda genotype: json.dumps(genotype.to_nni(), indent=1),
    "nasbench201": lambda genotype: genotype.to_nasbench201(),
    "nasbench301": lambda genotype: json.dumps(genotype.to_nasbench301(), indent=1),
    "dot": lambda genotype: genotype.to_dot(),
}


@command()
def derive(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE",
            help="folder of a search; .npz with one array of α per table, \\[edges, operations] or "
            "\\[T, edges, operations]; or any genotype (name, file or text), to convert it",
            show_default=False,
        ),
    ],
    notation: Annotated[
        Notation,
        typer.Option("--notation", help="paper: as printed by the paper's code; dot: for Graphviz"),
    ] = "paper",
    at: Annotated[
        int | None,
        typer.Option("--at", help="point in time: 0 is the initial α, -1 the last", show_default="-1"),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "-k", min=1, metavar="INT", help="edges kept per node", show_default="2, in recurrent cells 1"
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option("--space", help="search space of the α in an .npz", show_default="from its tables"),
    ] = None,
) -> Answer:
    """Derive the genotype from α and print it in the chosen notation; for a network of your own, the choices.

    Examples:

    $ pydarts derive run --notation json > genotype.json
    $ pydarts derive run --at 10
    $ pydarts derive DARTS_V2 --notation nni
    """
    if source and is_run(source) and not hasattr(result := run_of(Path(source)), "genotype"):
        return _architecture(result, notation, {"--at": at, "-k": k, "--space": space})
    genotype = _genotype(source, at, k, space)
    written = _WRITE[notation](genotype)
    return Answer(about(genotype) | {"notation": written}, [written])


def _architecture(result: SearchResult, notation: Notation, options: dict[str, Any]) -> Answer:
    """The architecture of a user-defined network: one choice per line, or JSON."""
    refused = [option for option, value in options.items() if value is not None]
    if refused or notation not in ("paper", "json"):
        what = ", ".join([*refused, *([] if notation in ("paper", "json") else [f"--notation {notation}"])])
        raise Problem(f"{what}: applies to cells, and this is a network of your own; leave it out", USAGE)
    written = "\n".join(picks(result)) if notation == "paper" else json.dumps(result.architecture)
    return Answer({"architecture": result.architecture, "notation": written}, [written])


def _genotype(source: str, at: int | None, k: int | None, space: str | None) -> Genotype:
    import pydarts

    path = Path(source)
    if source and os.path.isdir(path) and not (path / "network.safetensors").is_file():
        if space is not None:
            raise Problem("--space applies to .npz files only; a run has its own space", USAGE)
        result = cells_of(path)
        if at is None and k is None:
            return result.genotype
        tables = _tables(result.alphas, at, source)  # checks `at`
        if k is None:
            return result.trajectory.genotype(-1 if at is None else at)
        return pydarts.derive(tables, result.config.resolved_space, k, result.config.relaxation)
    if path.suffix == ".npz" and not is_text(source):
        from pydarts._values.files import read_npz

        points = ("steps", "epochs")  # of a run's alphas.npz
        arrays = {name: values for name, values in read_npz(path).items() if name not in points}
        default = "darts-rnn" if "recurrent" in arrays else "darts"
        return pydarts.derive(_tables(arrays, at, source), space or default, k)
    if at is not None or k is not None or space is not None:
        raise Problem(f"--at, -k and --space require α, but {cut(source)!r} has none; leave them out", USAGE)
    return genotype_of(source)


def _tables(arrays: Any, at: int | None, source: str) -> dict[str, Any]:
    """Return the tables of α at a point in time."""
    found = {}
    for name, values in arrays.items():
        if values.ndim == 2 and at not in (None, 0, -1):
            raise Problem(f"--at {at}: {name} in {source} has only one point in time", USAGE)
        if values.ndim == 3:
            point = -1 if at is None else at
            if not -len(values) <= point < len(values):
                raise Problem(
                    f"--at {at}: {source} has {len(values)} points; choose from 0 to {len(values) - 1}", USAGE
                )
            values = values[point]
        found[name] = values
    return found
