"""`pydarts cost`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .answer import USAGE, Answer, Problem
from .choices import NETWORK, SEARCH
from .command import command
from .explain import PLANNED
from .options import Group
from .sources import genotype_of, network_of

_BOTH = {field.name for field in NETWORK.fields} | {"image_size"}
_ALONE = Group(
    tuple(field for field in NETWORK.fields if field.name not in {field.name for field in SEARCH.fields}),
    {"Network of a genotype": [field.name for field in NETWORK.fields]},
)


@command(choices=PLANNED, network=_ALONE)
def cost(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="GENOTYPE|NETWORK",
            help="a genotype (name, file, folder of a search) or a trained network (file, folder of a "
            "training); without it the search network",
        ),
    ] = None,
    *,
    choices: dict[str, Any],
    network: dict[str, Any],
) -> Answer:
    """Count weights, multiply-adds and memory, without computing anything.

    Of a genotype those of its network: 36 channels and 20 layers unless told otherwise; without one those of
    a search network, with the peak of memory of a step.

    Examples:

    $ pydarts cost DARTS_V2 --channels 36 --layers 20
    $ pydarts cost --batch-size 16 --hypergradient unrolled
    """
    import pydarts

    given = {**choices, **network}
    if source is None:
        if network:
            raise Problem(f"{_options(network)}: of the network of a genotype; name one", USAGE)
        net = pydarts.Supernet(config=pydarts.SearchConfig().replace(**choices))
        found = net.cost()
        return Answer(found, [_lines(found, f"search network, batches of {net.config.batch_size}")])
    strange = {name: value for name, value in given.items() if name not in _BOTH}
    if strange:
        raise Problem(f"{_options(strange)}: of a search network; leave out {source!r} to ask for one", USAGE)
    image_size = given.pop("image_size", None)
    trained = network_of(Path(source))
    if trained is not None and given:
        raise Problem(f"{_options(given)}: {source!r} is a network already", USAGE)
    built = pydarts.build(genotype_of(source), **given) if trained is None else trained
    found = pydarts.cost(built, image_size=image_size)
    title = ", ".join(f"{name} {value}" for name, value in built.arguments.items())
    return Answer(found | {"network": built.arguments}, [_lines(found, title)])


def _options(fields: dict[str, Any]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in fields)


def _lines(found: dict[str, int], title: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, show_header=False)
    for name, value in found.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    return table
