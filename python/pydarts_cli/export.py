"""`pydarts export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .answer import Answer, Problem, say
from .command import command
from .sources import network_of
from .values import Kind

_SIZE = Kind(whole=True, items=Kind(whole=True))


@command()
def export(
    network: Annotated[
        Path,
        typer.Argument(
            metavar="NETWORK",
            help="folder of a training, or a .safetensors file of a network",
            show_default=False,
        ),
    ],
    to: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="file to write; its extension selects the format: .onnx, .pt2 or .safetensors",
            show_default=False,
        ),
    ],
    image_size: Annotated[
        str | None,
        typer.Option(
            "--image-size",
            metavar=_SIZE.metavar,
            help="side in pixels or height,width of the input images, for .onnx and .pt2",
            show_default="that of the training; else 32, or 224 with the stem imagenet",
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            metavar="INT",
            min=1,
            help="tokens per segment of a language model, for .onnx and .pt2",
            show_default="1",
        ),
    ] = None,
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize/--no-normalize",
            help="whether the graph of an .onnx or .pt2 file normalises its inputs as the training did",
        ),
    ] = True,
) -> Answer:
    """Export a trained network to a file for other tools.

    Examples:

    $ pydarts export trained digits.onnx --image-size 8
    $ pydarts export trained network.pt2
    """
    import pydarts
    from pydarts.nn._examples import example

    found = network_of(network)
    if found is None:
        raise Problem(
            f"{str(network)!r} is neither the folder of a training nor a .safetensors file of a network"
        )
    graph_of_images = to.suffix != ".safetensors" and found.genotype.kind == "convolutional"
    size = None if image_size is None else _SIZE.read(image_size)
    pydarts.export(found, to, image_size=size, tokens=tokens, normalize=normalize)
    size_of = to.stat().st_size
    if graph_of_images:
        *_, height, width = example(found, size, None, batch=1)[0].shape
        known = getattr(found, "normalization", None) is not None
        values = "values from 0 to 1" if known and normalize else "prepared as in the training"
        say(f"inputs: images of {height}x{width}, {values}")
    data = {"file": str(to), "bytes": size_of, "network": found.arguments}
    return Answer(data, [f"{to}: {size_of:,} bytes"])
