"""`pydarts cost`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .answer import USAGE, Answer, Problem, cut
from .choices import NETWORK, SEARCH
from .command import command
from .explain import PLANNED
from .options import Group, named
from .sources import cells_of, genotype_of, network_of

if TYPE_CHECKING:
    from pydarts import SearchConfig

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
            help="genotype (name, file, folder of a search) or trained network (file, folder of a training); "
            "default: the search network",
        ),
    ] = None,
    *,
    choices: dict[str, Any],
    network: dict[str, Any],
) -> Answer:
    """Count the weights, multiply-adds and memory of a network without running it.

    The network of a genotype has 36 channels and 20 layers by default. If the folder of a search is given,
    classes, input channels and image size, or the number of words, are those of the search. Without a
    genotype, the search network is counted, including the peak memory of one step.

    Examples:

    $ pydarts cost DARTS_V2 --channels 36 --layers 20
    $ pydarts cost run --channels 8 --layers 5
    $ pydarts cost --batch-size 16 --hypergradient unrolled
    """
    import pydarts

    given = {**choices, **network}
    if source is None:
        if network:
            raise Problem(f"{named(network)}: for the network of a genotype only; add a genotype", USAGE)
        net = pydarts.Supernet(config=pydarts.SearchConfig().replace(**choices))
        found = _sized(net.cost(), net.config.image_size)
        return Answer(found, [f"search network, batches of {net.config.batch_size}", _table(found)])
    foreign = {name: value for name, value in given.items() if name not in _BOTH}
    if foreign:
        raise Problem(f"{named(foreign)}: for a search network only; leave out {cut(source)!r}", USAGE)
    image_size = given.pop("image_size", None)
    built = network_of(Path(source))
    if built is not None and given:
        raise Problem(
            f"{named(given)}: {source!r} is a trained network, whose sizes are fixed; leave them out", USAGE
        )
    if built is None and source and os.path.isdir(source):
        result = cells_of(Path(source))
        built = pydarts.build(result, **{**_sizes(result.config), **given})
        image_size = result.config.image_size if image_size is None else image_size
    elif built is None:
        built = pydarts.build(genotype_of(source), **given)
    found = pydarts.cost(built, image_size=image_size)
    if built.genotype.kind == "convolutional":
        from pydarts.nn._examples import example

        found = _sized(found, example(built, image_size, None, batch=1)[0].shape[2:])
    title = ", ".join(f"{name} {value}" for name, value in built.arguments.items())
    return Answer(found | {"network": built.arguments}, [title, _table(found)])


def _sizes(config: SearchConfig) -> dict[str, Any]:
    """Return the arguments of `build` that depend on the data of a search."""
    if config.resolved_space.kind == "recurrent":
        return {"vocabulary": config.num_classes}
    return {"num_classes": config.num_classes, "in_channels": config.in_channels}


def _sized(found: dict[str, int], image_size: Sequence[int] | None) -> dict[str, Any]:
    """Add height and width of the images to the counts; for text, `image_size` is None."""
    return found if image_size is None else found | {"image_size": list(image_size)}


def _table(found: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, show_header=False)
    for name, value in found.items():
        shown = "x".join(map(str, value)) if isinstance(value, list) else f"{value:,}"
        table.add_row(name.replace("_", " "), shown)
    return table
