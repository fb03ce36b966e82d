"""`--config FILE.toml`: options from a file. The command line takes precedence."""

from __future__ import annotations

import os
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
    """Make the values of a file the defaults of the command's options.

    Keys are options without leading dashes (`weight_lr` or `weight-lr`). They are at the top level of the
    file, or in a table with the command's name (`[search]`, `[train]`) if several commands share the file.

    Raises:
        typer.BadParameter: the file does not exist or is not TOML, or a key is not an option.
    """
    if path is None or context.resilient_parsing:
        return path
    path = Path(os.path.expanduser(path))
    try:
        # With the byte-order mark that some editors write.
        values = _section(tomllib.loads(path.read_text(encoding="utf-8-sig")), context)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
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
            f"{', '.join(stray)}: not in a command's table; move it into one, such as [{context.info_name}]"
        )
    section: dict[str, Any] = document.get(str(context.info_name), {})
    return section
