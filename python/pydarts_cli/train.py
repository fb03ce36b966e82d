"""`pydarts train`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .answer import USAGE, Answer, Problem, say, waiting
from .choices import NETWORK, TRAINING
from .command import command
from .data import DataOption, DownloadOption, SideOption, Spec, WordsOption, WorkersOption, read
from .outcome import NO_CHECKPOINTS, ended, keep, refuse_results
from .sources import GenotypeArgument, about, genotype_of, run_of

if TYPE_CHECKING:
    from pydarts import Genotype, TrainConfig, TrainResult

Preset = Literal["quick", "cifar10", "imagenet"]

PresetOption = Annotated[
    Preset | None,
    typer.Option(
        "--preset",
        help="quick: ten epochs, to compare or try out; cifar10, imagenet: as published, network and all; "
        "other options win over it",
    ),
]

# What is published of the networks beside their trainings (A.2.1, A.2.3).
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
            "--inherit", help="begin with the weights of the search, where they fit; GENOTYPE is its folder"
        ),
    ] = False,
    download: DownloadOption = False,
    loader_workers: WorkersOption = None,
    image_size: SideOption = None,
    words: WordsOption = None,
    *,
    choices: dict[str, Any],
    network: dict[str, Any],
) -> Answer:
    """Train the network that a genotype stands for.

    Ctrl-C keeps what was reached; the same command with --resume goes on from the last epoch. Defaults are
    the published ones, of images or, for a recurrent genotype, of words.

    Examples:

    $ pydarts train run --data digits --preset quick --channels 8 --layers 5 --out trained
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
    searched = run_of(Path(genotype)) if (Path(genotype) / "result.json").is_file() else None
    cell = genotype_of(genotype) if searched is None else searched.genotype
    check_cell(genotype, cell, data)
    if searched is not None and data.kind == "folder" and image_size is None:
        side = searched.config.image_size
        image_size = side[0] if isinstance(side, tuple) and len(set(side)) == 1 else None
    if inherit and searched is None:
        raise Problem(
            f"--inherit takes the weights of a search: {genotype!r} is not the folder of one", USAGE
        )
    with waiting(f"reading {data} …"):
        found = read(
            data,
            image_size=image_size,
            batch_size=config.batch_size,
            download=download,
            workers=loader_workers,
            words=words,
        )
    config = preset_of(preset)(**{**found.settings, **fields})
    torch.manual_seed(config.seed)
    net = pydarts.build(cell, **{**NETWORKS.get(preset or "", {}), **found.sizes, **network})
    if inherit and searched is not None:
        say(str(searched.inherit(net)))
    say(f"{sum(weight.numel() for weight in net.parameters()):,} weights")
    try:
        result = pydarts.train(net, found.train, config)
    except BaseException as error:
        keep(getattr(error, "result", None), out)
        raise
    keep(result, out)
    return _answer(result, out)


def check_choices(data: Spec, preset: str | None, image_size: int | None) -> None:
    """Refuse what is not for these data, before they are read.

    Raises:
        Problem: a preset of images with text, a size with images that have theirs.
    """
    if data.words and preset is not None:
        raise Problem(f"--preset {preset}: of images; without it text is trained as published", USAGE)
    if image_size is not None and data.kind != "folder":
        raise Problem(f"--image-size: of images in folders; those of {data} have theirs", USAGE)


def check_cell(source: str, cell: Genotype, data: Spec) -> None:
    """Refuse a cell for other data.

    Raises:
        Problem: a recurrent cell and images, or a convolutional one and text.
    """
    if bool(cell.recurrent) != data.words:
        kind, other = ("recurrent", "text (corpus:…)") if cell.recurrent else ("convolutional", "images")
        raise Problem(f"{source} is a {kind} cell, which is of {other}; {data} is not", USAGE)


def preset_of(name: str | None) -> Callable[..., TrainConfig]:
    """What makes the configuration."""
    from pydarts import TrainConfig

    return TrainConfig if name is None else getattr(TrainConfig, name)


def _answer(result: TrainResult, out: Path) -> Answer:
    if result.status == "complete":
        say(f"for other tools: pydarts export {out} network.onnx")
    elif result.config.checkpoint_dir is None:
        say(NO_CHECKPOINTS)
    elif result.history:
        say("the same command with --resume goes on from the last epoch")
    else:
        say("before the end of the first epoch: the same command with --resume begins anew")
    network = result.network
    return ended(result, out, {"network": network.arguments, **about(network.genotype)}, [_summary(result)])


def _summary(result: TrainResult) -> str:
    from pydarts._results.ending import reached

    text = f"{result.status} after {reached(result)}"
    if not result.history or result.best is None:
        return text
    last, best = result.history[-1], result.history[result.best]
    if result.network.genotype.recurrent:
        score = (
            f"validation perplexity {last.valid_perplexity:.1f} (best {best.valid_perplexity:.1f} in epoch"
        )
    else:
        score = f"validation accuracy {last.valid_accuracy:.1%} (best {best.valid_accuracy:.1%} in epoch"
    seconds = sum(record.seconds for record in result.history)
    return f"{text}, {seconds:.1f} s: {score} {best.epoch + 1})"
