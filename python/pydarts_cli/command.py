"""The decorator that turns a function into a command with options, `--json`, `--debug` and exit codes."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from . import config_file
from .answer import Answer, perform, say
from .options import Group

Function = Callable[..., Answer]

_OUTPUT = "Output"
_JSON = Annotated[
    bool,
    typer.Option("--json", help="print only JSON to standard output", rich_help_panel=_OUTPUT),
]
_DEBUG = Annotated[
    bool,
    typer.Option(
        "--debug", help="show tracebacks of errors; PYDARTS_DEBUG=1 does the same", rich_help_panel=_OUTPUT
    ),
]
_CONFIG = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="file with options (weight_lr = 0.1 for --weight-lr 0.1); the command line takes precedence",
        is_eager=True,
        callback=config_file.load,
    ),
]


_FORCE = Annotated[
    bool,
    typer.Option(
        "--force",
        help="like --resume, even if the data or the loss differ from those of the checkpoint",
        rich_help_panel="Run",
    ),
]


def _ignored(value: str | None) -> None:
    if value is not None:
        say("tune has no effect; leave it out")


# An option of earlier versions, on the command line or in a file.
_TUNE = Annotated[str | None, typer.Option("--tune", hidden=True, callback=_ignored)]


def command(**groups: Group) -> Callable[[Function], Callable[..., None]]:
    """Turn a function that returns an `Answer` into a command for typer.

    For each group, the function receives a dictionary of the fields that were set on the command line or in
    the file of `--config`, as the argument with the group's name. pydarts has the defaults of the others.
    """

    def decorate(function: Function) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())
        for parameter in own:
            kind, *infos = get_args(parameter.annotation)
            if Path in (kind, *get_args(kind)):
                infos[0].parser = _path

        @wraps(function)
        def run(context: typer.Context, as_json: bool, debug: bool, **values: Any) -> None:
            values = {name: _expanded(value) for name, value in values.items()}
            values.pop("config", None)
            values.pop("tune", None)
            force = values.pop("force", False)
            for key, group in groups.items():
                values[key] = group.given(values, partial(_is_given, context))
                if force and any(field.name == "resume" for field in group.fields):
                    values[key]["resume"] = "force"
            debug = debug or os.environ.get("PYDARTS_DEBUG", "0") not in ("", "0")
            raise typer.Exit(perform(lambda: function(**values), as_json=as_json, debug=debug))

        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter("context", keyword, annotation=typer.Context),
            *(parameter.replace(kind=keyword) for parameter in own if parameter.name not in groups),
        ]
        if groups:
            parameters.append(inspect.Parameter("config", keyword, default=None, annotation=_CONFIG))
        for group in groups.values():
            parameters += group.parameters()
        if any(parameter.name == "resume" for parameter in parameters):
            parameters.append(inspect.Parameter("force", keyword, default=False, annotation=_FORCE))
        if any(parameter.name == "hypergradient" for parameter in parameters):
            parameters.append(inspect.Parameter("tune", keyword, default=None, annotation=_TUNE))
        parameters += [
            inspect.Parameter("as_json", keyword, default=False, annotation=_JSON),
            inspect.Parameter("debug", keyword, default=False, annotation=_DEBUG),
        ]
        run.__doc__ = _joined(function.__doc__ or "")
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _path(text: str | Path) -> Path:
    """Read a path; an empty one would be the current folder."""
    if not os.fspath(text):
        raise typer.BadParameter("the path is empty; give the name of a file or folder")
    return Path(text)


def _expanded(value: Any) -> Any:
    """Expand `~` in paths, which a shell does not do in `--out=~/run` and in files.

    >>> _expanded(Path("~/run")) == Path.home() / "run", _expanded(["~nobody-here/run"]), _expanded("a~b")
    (True, ['~nobody-here/run'], 'a~b')
    """
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    if isinstance(value, Path):
        return Path(os.path.expanduser(value))
    return os.path.expanduser(value) if isinstance(value, str) else value


def _joined(doc: str) -> str:
    """Join the lines of each paragraph of a docstring, except examples, which start with "$".

    >>> _joined("One\\n    two.\\n\\n    $ a\\n    $ b\\n")
    'One two.\\n\\n$ a\\n$ b'
    """
    paragraphs = inspect.cleandoc(doc).split("\n\n")
    return "\n\n".join(text if text.startswith("$") else " ".join(text.split()) for text in paragraphs)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
