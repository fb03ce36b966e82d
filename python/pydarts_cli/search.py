"""`pydarts search`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .answer import USAGE, Answer, Problem, quoted, say, waiting
from .choices import SEARCH
from .command import command
from .data import PYTHON, DataOption, DownloadOption, GrayOption, Spec, WordsOption, WorkersOption, read
from .options import named
from .outcome import NO_CHECKPOINTS, ended, keep, refuse_results
from .own import (
    LossOption,
    MetricOption,
    NetworkOption,
    Place,
    UnpackOption,
    given,
    network_from,
    place,
    placed,
    refuse_alone,
)
from .recording import LoggerOption, check, loggers
from .sources import about, picks

if TYPE_CHECKING:
    from pydarts import SearchResult

_OF_SPACES = ("Space and search network", "Recurrent cells (text)")
_OUT = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="RUN",
        help="folder for the result and, in checkpoints/, the checkpoints for --resume",
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="the published settings of an algorithm, such as gdas; other options take precedence",
    ),
]
LikeOption = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="SPACE",
        help="with --preset: use the settings for SPACE if there are none for the searched space",
    ),
]


@command(choices=SEARCH)
def search(
    data: DataOption,
    out: _OUT = Path("run"),
    download: DownloadOption = False,
    loader_workers: WorkersOption = None,
    grayscale: GrayOption = False,
    words: WordsOption = None,
    network: NetworkOption = None,
    loss: LossOption = None,
    metric: MetricOption = None,
    unpack: UnpackOption = None,
    preset: PresetOption = None,
    like: LikeOption = None,
    logger: LoggerOption = None,
    *,
    choices: dict[str, Any],
) -> Answer:
    """Search for a cell or, with --network, for the choices of a network, and save the result to a folder.

    Ctrl-C stops the search after the current step and saves its result; the same command with --resume
    continues it. The defaults are the published values for images. Text (corpus:) uses the space darts-rnn,
    which has its own defaults: see pydarts.SearchConfig. Parentheses after an option name its
    source: a section of the paper, the published code, or this library ("ours").

    Examples:

    $ pydarts search --data digits --channels 8 --layers 5 --epochs 10 --out run
    $ pydarts search --data cifar10:data --hypergradient unrolled --out cifar
    $ pydarts search --data cifar10:data --preset pc_darts --epochs 20 --out pc --logger tensorboard
    $ pydarts search --data corpus:bundled --units 64 --batch-size 16 --bptt 20 --epochs 2 --out english
    $ pydarts search --network net.py:Net --loss net.py:error --data net.py:loader --epochs 10 --out own
    """
    parts = {"loss": loss, "metric": metric, "unpack": unpack}
    if network is None:
        refuse_alone(parts, "a network of your own")
    else:
        _check_own(data, choices)
    check(logger or [])
    refuse_results(out, ("result.json", "checkpoints/*.safetensors"), bool(choices.get("resume")))
    with waiting("loading PyTorch …"):
        import pydarts

    fields: dict[str, Any] = {
        "checkpoint_dir": str(out / "checkpoints"),
        "progress": sys.stderr.isatty(),
        **({"space": "darts-rnn"} if data.words else {}),
        **choices,
    }
    fields = _with_preset(fields, preset, like)
    config = pydarts.SearchConfig.from_dict(fields)  # reports errors before the data are read
    with waiting(f"reading {data} …"):
        found = read(
            data,
            image_size=config.image_size,
            batch_size=config.batch_size,
            download=download,
            workers=loader_workers,
            grayscale=grayscale,
            words=words,
            dimensions=config.resolved_space.dimensions,
        )
    arguments: dict[str, Any] = {}
    if network is None:
        config = pydarts.SearchConfig.from_dict({**found.settings, **fields})
    else:
        arguments = {"network": network_from(network), **given(metric, loss, unpack)}
    if config.resume and not any(Path(config.checkpoint_dir or "").glob("*.safetensors")):
        say(f"no checkpoint in {config.checkpoint_dir}; starting from the beginning")
    files = [part.file for part in (network, *parts.values()) if isinstance(part, Place)]
    own = {*files, *([place(data.where).file] if data.kind == PYTHON else [])}
    try:
        with placed(own):
            if logger:
                arguments["callbacks"] = loggers(logger, out)
            result = pydarts.search(found.search, config, **arguments)
    except BaseException as error:
        keep(getattr(error, "result", None) or getattr(error.__cause__, "result", None), out)
        raise
    keep(result, out)
    return _answer(result, out)


def _with_preset(fields: dict[str, Any], preset: str | None, like: str | None) -> dict[str, Any]:
    """Return the fields of a configuration, with those of a preset.

    Raises:
        Problem: --like without --preset.
    """
    import pydarts

    if preset is None:
        if like is not None:
            raise Problem("--like: applies to --preset; leave it out", USAGE)
        return fields
    return pydarts.SearchConfig.preset(preset, like=like, **fields)._not_default()


def _check_own(data: Spec, choices: dict[str, Any]) -> None:
    """Check, before the data are read, that the options apply to a user-defined network.

    Raises:
        Problem: an option of spaces or images was given, or the data are text.
    """
    foreign = [name for panel in _OF_SPACES for name in SEARCH.panels[panel] if name in choices]
    if foreign:
        raise Problem(f"{named(foreign)}: applies to spaces, not to --network; leave it out", USAGE)
    if data.words:
        raise Problem(
            f"--data {data}: text is for recurrent cells; pass batches of it: --data FILE.py:NAME", USAGE
        )


def _answer(result: SearchResult, out: Path) -> Answer:
    if result.status == "complete":
        say(f"next: pydarts report {quoted(out)}, pydarts plot {quoted(out)}")
    elif result.config.checkpoint_dir is None:
        say(NO_CHECKPOINTS)
    elif any(Path(result.config.checkpoint_dir).glob("*.safetensors")):
        say("to continue from the last checkpoint, repeat the command with --resume")
    else:
        say("stopped before the first step; repeat the command to start again")
    decisions = [{"epoch": epoch, **decision} for epoch, decision in result.decisions]
    if hasattr(result, "genotype"):
        found, lines = about(result.genotype), [str(result.genotype)]
    else:
        found, lines = {"architecture": result.architecture}, picks(result)
    return ended(result, out, {**found, "decisions": decisions}, [summary(result), *decided(result), *lines])


def decided(result: SearchResult) -> list[str]:
    """Describe the decisions of a search, one per line."""
    from pydarts._results.tables import decisions_in_words

    return [decisions_in_words([entry], result.tables) for entry in result.decisions]


def summary(result: SearchResult) -> str:
    """Summarise a search in one or two lines."""
    from pydarts._results.ending import reached
    from pydarts._results.measured import in_words, latest
    from pydarts._results.score import score_of
    from pydarts._values.words import count

    algorithm = f", {result.config.algorithm}" if result.config.algorithm else ""
    text = f"{result.status} after {reached(result)}{algorithm}"
    best = result.best
    if best is None:
        return text
    last = result.history[-1]
    if hasattr(result, "genotype") and result.config.resolved_space.kind == "recurrent":
        said = f"validation perplexity {last.valid_perplexity:.1f}, training {last.train_perplexity:.1f}"
    else:
        score = score_of(result.history, result.config.metric_mode)
        now, most = (score.text(score.valid(record), number=".4g") for record in (last, best))
        said = f"validation {score.name} {now} (best {most} in epoch {best.epoch + 1})"
        if score.train is not None:
            said += f", training {score.text(score.train(last), number='.4g')}"
    seconds = sum(record.seconds for record in result.history)
    skips = "" if last.skip_connections is None else f", {count(last.skip_connections, 'skip connection')}"
    measured = "".join(f", {name} {value}" for name, value in in_words(latest(result.history), 2).items())
    return f"{text}, {seconds:.1f} s: {said}{skips}{measured}"
