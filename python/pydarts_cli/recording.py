"""`--logger NAME[:WHERE]`: loggers of a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .answer import USAGE, Problem, nearest

if TYPE_CHECKING:
    from pydarts import Callback

# name -> class in pydarts.loggers, and what stands after the colon
_LOGGERS = {
    "csv": ("CSV", "FILE"),
    "tensorboard": ("TensorBoard", "DIR"),
    "mlflow": ("MLflow", "EXPERIMENT"),
    "wandb": ("WeightsAndBiases", "PROJECT"),
}
_FILES = {"csv": "log.csv", "tensorboard": "events"}  # in the folder of the run, unless a place is given

LoggerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--logger",
        metavar="NAME[:WHERE]",
        help=f"write every epoch to {', '.join(f'{name}:{where}' for name, (_, where) in _LOGGERS.items())}; "
        "without a colon: log.csv or events/ in the run's folder, or the name pydarts; may be repeated",
        autocompletion=lambda: [*_LOGGERS],
        rich_help_panel="Run",
    ),
]


def check(texts: list[str]) -> None:
    """Check the names of loggers before PyTorch is loaded.

    Raises:
        Problem: an unknown logger.
    """
    for text in texts:
        name = text.partition(":")[0]
        if name not in _LOGGERS:
            meant = nearest(name, _LOGGERS)
            remedy = f"did you mean {meant!r}?" if meant else f"choose from {', '.join(_LOGGERS)}"
            raise Problem(f"--logger {text}: no logger {name!r}; {remedy}", USAGE)


def loggers(texts: list[str], out: Path) -> list[Callback]:
    """Create the loggers of a search, whose result goes to the folder `out`.

    Raises:
        ImportError: a logger's package is not installed.
    """
    from pydarts import loggers as known

    made: list[Any] = []
    for text in texts:
        name, _, where = text.partition(":")
        if name in _FILES:
            out.mkdir(parents=True, exist_ok=True)
        given = where or (str(out / _FILES[name]) if name in _FILES else "")
        kind = getattr(known, _LOGGERS[name][0])
        made.append(kind(given) if given else kind())
    return made
