"""`--config FILE.toml`: options from a file. What is given on the command line wins."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from .answer import nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load(context: typer.Context, path: Path | None) -> Path | None:
    """Take the file's values as the defaults of the command's options, before these are read.

    Keys are options without their dashes in front (`weight_lr` or `weight-lr`), at the top of the file or in
    a table of the command's name (`[search]`, `[train]`): with such tables one file serves several commands.

    Raises:
        typer.BadParameter: no such file, not TOML, or a key that is no option.
    """
    if path is None or context.resilient_parsing:
        return path
    try:
        with path.open("rb") as file:
            values = _section(tomllib.load(file), context)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} is not TOML: {error}") from error
    known = {
        option.removeprefix("--").replace("-", "_"): parameter.name
        for parameter in context.command.params
        if parameter.param_type_name == "option" and parameter.name not in ("config", "help")
        for option in parameter.opts
        if option.startswith("--")
    }
    found = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            meant = nearest(name, known)
            remedy = f"; did you mean {meant!r}?" if meant else ""
            raise typer.BadParameter(f"{path}: {context.info_name} has no option {name!r}{remedy}")
        found[known[name]] = value
    context.default_map = {**(context.default_map or {}), **found}
    return path


def _section(document: dict[str, Any], context: typer.Context) -> dict[str, Any]:
    commands = set(getattr(context.parent.command, "commands", ())) if context.parent else set()
    if not commands & {key for key, value in document.items() if isinstance(value, dict)}:
        return document
    stray = [key for key in document if key not in commands]
    if stray:
        raise typer.BadParameter(
            f"{', '.join(stray)}: beside the tables of commands; put it into one, as [{context.info_name}]"
        )
    section: dict[str, Any] = document.get(str(context.info_name), {})
    return section
