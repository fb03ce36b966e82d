"""`pydarts explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .answer import Answer, say
from .choices import SEARCH
from .command import command
from .sources import run_of

# A plan has no epochs and no folder.
PLANNED = SEARCH.without("resume", "checkpoint_dir", "checkpoint_every", "progress", "record", "log_every")


@command(choices=PLANNED)
def explain(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="folder of a search, whose choices hold where none are given"),
    ] = None,
    *,
    choices: dict[str, Any],
) -> Answer:
    """Show the plan that a search network is compiled to: its instructions, what each pass did, and the cost.

    Sizes of the data that are not given are those of CIFAR-10: 10 classes, 3 channels, 32 pixels.

    Examples:

    $ pydarts explain --layers 3 --nodes 2
    $ pydarts explain run --hypergradient unrolled
    """
    import pydarts

    config = pydarts.SearchConfig() if run is None else run_of(run).config
    if run is not None and "device" not in choices and not _is_here(config.device):
        say(f"{run} was searched on {config.device}, which is not here: this is its plan on the CPU")
        choices = {"precision": "auto", **choices, "device": "cpu"}  # "tf32" is of GPUs alone
    net = pydarts.Supernet(config=config.replace(**choices))
    plan = net.explain()
    return Answer({"config": net.config.to_dict(), "cost": net.cost(), "plan": plan}, [plan])


def _is_here(device: str) -> bool:
    import torch

    return not device.startswith("cuda") or torch.cuda.is_available()
