"""`pydarts train`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .answer import USAGE, Answer, Problem, cut, quoted, say, waiting
from .choices import NETWORK, TRAINING
from .command import command
from .data import (
    PYTHON,
    DataOption,
    DownloadOption,
    GrayOption,
    SideOption,
    Spec,
    WordsOption,
    WorkersOption,
    read,
)
from .outcome import NO_CHECKPOINTS, ended, keep, refuse_results
from .sources import GenotypeArgument, about, cells_of, genotype_of, is_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydarts import Genotype, SearchResult, TrainConfig, TrainResult

Preset = Literal["quick", "cifar10", "imagenet"]

PresetOption = Annotated[
    Preset | None,
    typer.Option(
        "--preset",
        help="quick: ten epochs, for comparisons and experiments; cifar10, imagenet: the published training "
        "and network; other options take precedence",
    ),
]

# Published arguments of the networks (A.2.1, A.2.3).
NETWORKS: dict[str, dict[str, Any]] = {
    "cifar10": {"auxiliary": True, "drop_path": 0.2},
    "imagenet": {"channels": 48, "layers": 14, "stem": "imagenet", "auxiliary": True},
}


@command(choices=TRAINING, network=NETWORK)
def train(
    genotype: GenotypeArgument,
    data: DataOption,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="folder for the trained network and its history")
    ] = Path("trained"),
    preset: PresetOption = None,
    inherit: Annotated[
        bool,
        typer.Option(
            "--inherit",
            help="start from the weights of the search where shapes match; GENOTYPE must be the folder of a "
            "search",
        ),
    ] = False,
    download: DownloadOption = False,
    loader_workers: WorkersOption = None,
    grayscale: GrayOption = False,
    image_size: SideOption = None,
    words: WordsOption = None,
    *,
    choices: dict[str, Any],
    network: dict[str, Any],
) -> Answer:
    """Train the network of a genotype.

    Ctrl-C stops the training and saves its result; the same command with --resume continues from the last
    epoch. The defaults are the published values for images or, for a recurrent genotype, for text. The cell
    of a search is trained in a network of the same size as in the search, unless a preset sets the published
    size.

    Examples:

    $ pydarts train run --data digits --preset quick --out trained
    $ pydarts train DARTS_V2 --data cifar10:data --preset cifar10 --out cifar
    """
    check_choices(data, preset, image_size)
    refuse_results(out, ("training.json", "checkpoints/*.safetensors"), bool(choices.get("resume")))
    with waiting("loading PyTorch …"):
        import pydarts
        import torch

    fields: dict[str, Any] = {
        "checkpoint_dir": str(out / "checkpoints"),
        "progress": sys.stderr.isatty(),
        **choices,
    }
    config = preset_of(preset)(**fields)
    searched = cells_of(Path(genotype)) if is_run(genotype) else None
    cell = genotype_of(genotype) if searched is None else searched.genotype
    check_cell(genotype, cell, data)
    if searched is not None and data.kind == "folder" and image_size is None:
        side = searched.config.image_size
        image_size = side[0] if isinstance(side, tuple) and len(set(side)) == 1 else None
    if inherit and searched is None:
        raise Problem(f"--inherit requires the folder of a search, got {cut(genotype)!r}", USAGE)
    with waiting(f"reading {data} …"):
        found = read(
            data,
            image_size=image_size,
            batch_size=config.batch_size,
            download=download,
            workers=loader_workers,
            grayscale=grayscale,
            words=words,
            dimensions=searched.config.resolved_space.dimensions if searched else cell.dimensions,
        )
    config = preset_of(preset)(**{**found.settings, **fields})
    torch.manual_seed(config.seed)
    sizes = sizes_of(searched, preset, network)
    net = pydarts.build(
        searched or cell, **{**NETWORKS.get(preset or "", {}), **found.sizes, **sizes, **network}
    )
    if inherit and searched is not None:
        say(str(searched.inherit(net)))
    say(f"training a network of {sum(weight.numel() for weight in net.parameters()):,} weights")
    try:
        result = pydarts.train(net, found.train, config)
    except BaseException as error:
        keep(getattr(error, "result", None), out)
        raise
    keep(result, out)
    return _answer(result, out)


def sizes_of(searched: SearchResult | None, preset: str | None, network: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of the search that are not given, unless a preset has the published ones; say so."""
    if searched is None or preset in NETWORKS:
        return {}
    names = ("units",) if searched.genotype.kind == "recurrent" else ("channels", "layers")
    sizes = {name: getattr(searched.config, name) for name in names if name not in network}
    if sizes:
        say(f"{' and '.join(f'{value} {name}' for name, value in sizes.items())}, as in the search")
    return sizes


def check_choices(data: Spec, preset: str | None, image_size: int | None) -> None:
    """Check, before the data are read, that the options apply to them.

    Raises:
        Problem: a preset was given for text, a size for images that are not in folders, or a Python file.
    """
    if data.kind == PYTHON:
        raise Problem(f"--data {data}: data from Python files are for `pydarts search`; use npz:FILE", USAGE)
    if data.words and preset is not None:
        raise Problem(
            f"--preset {preset} applies to images only; leave it out to train on text as published",
            USAGE,
        )
    if image_size is not None and data.kind != "folder":
        raise Problem(f"--image-size applies to images in folders only; the size of {data} is fixed", USAGE)


def check_cell(source: str, cell: Genotype, data: Spec) -> None:
    """Check that a cell fits the data.

    Raises:
        Problem: the cell is recurrent and the data are images, or it is convolutional and they are text.
    """
    if (cell.kind == "recurrent") != data.words:
        other = "text (corpus:…)" if cell.kind == "recurrent" else "images"
        raise Problem(f"{cut(source)} is a {cell.kind} cell, which requires {other}, got {data}", USAGE)


def preset_of(name: str | None) -> Callable[..., TrainConfig]:
    """Return the function that creates the configuration."""
    from pydarts import TrainConfig

    return TrainConfig if name is None else getattr(TrainConfig, name)


def _answer(result: TrainResult, out: Path) -> Answer:
    if result.status == "complete":
        say(f"next: pydarts export {quoted(out)} network.onnx")
    elif result.config.checkpoint_dir is None:
        say(NO_CHECKPOINTS)
    elif result.history:
        say("to continue from the last epoch, repeat the command with --resume")
    else:
        say("stopped in the first epoch; repeat the command with --resume to start again")
    network = result.network
    return ended(result, out, {"network": network.arguments, **about(network.genotype)}, [_summary(result)])


def _summary(result: TrainResult) -> str:
    from pydarts._results.ending import reached

    text = f"{result.status} after {reached(result)}"
    best = result.best
    if best is None:
        return text
    last = result.history[-1]
    if result.network.genotype.kind == "recurrent":
        score = (
            f"validation perplexity {last.valid_perplexity:.1f} (best {best.valid_perplexity:.1f} in epoch"
        )
    else:
        score = f"validation accuracy {last.valid_accuracy:.1%} (best {best.valid_accuracy:.1%} in epoch"
    seconds = sum(record.seconds for record in result.history)
    return f"{text}, {seconds:.1f} s: {score} {best.epoch + 1})"
