"""`pydarts explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .answer import Answer, say
from .choices import SEARCH
from .command import command
from .sources import cells_of

# These options do not affect the plan.
PLANNED = SEARCH.without("resume", "checkpoint_dir", "checkpoint_every", "progress", "record", "log_every")


@command(choices=PLANNED)
def explain(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="folder of a search, whose options are the defaults"),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="list every instruction of the plan")] = False,
    *,
    choices: dict[str, Any],
) -> Answer:
    """Show the compiled plan of a search network: the size of its parts, the passes, and its cost.

    The sizes of the data are those of CIFAR-10 by default: 10 classes, 3 channels, 32 pixels.

    Examples:

    $ pydarts explain --layers 3 --nodes 2
    $ pydarts explain --layers 3 --nodes 2 --full
    $ pydarts explain run --hypergradient unrolled
    """
    import pydarts

    config = pydarts.SearchConfig() if run is None else cells_of(run).config
    if run is not None and "device" not in choices and not _available(config.device):
        say(f"{run} was searched on {config.device}, which is not available; showing the plan for the CPU")
        choices = {"precision": "auto", **choices, "device": "cpu"}  # "tf32" requires a GPU
    net = pydarts.Supernet(config=config.replace(**choices))
    plan = net.explain(full=full)
    return Answer({"config": net.config.to_dict(), "cost": net.cost(), "plan": plan}, [plan])


def _available(device: str) -> bool:
    import torch

    return not device.startswith("cuda") or torch.cuda.is_available()
