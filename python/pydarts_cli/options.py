"""Fields as options of a command."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from .fields import Field

_OTHERS = "Other choices"


@dataclass(frozen=True)
class Group:
    """Fields that a command takes, in the panels of its help."""

    fields: tuple[Field, ...]
    panels: Mapping[str, Sequence[str]]
    """Title -> names; a field that none of them names stands in a panel of its own kind."""

    def without(self, *names: str) -> Group:
        """All but these."""
        return Group(tuple(field for field in self.fields if field.name not in names), self.panels)

    def parameters(self) -> list[inspect.Parameter]:
        """The options, panel by panel, as parameters of a function for typer."""
        titles = {name: title for title, names in self.panels.items() for name in names}
        order = [*self.panels, _OTHERS]
        places = sorted(self.fields, key=lambda field: order.index(titles.get(field.name, _OTHERS)))
        return [_parameter(field, titles.get(field.name, _OTHERS)) for field in places]


def named(fields: Iterable[str]) -> str:
    """Fields as one writes them on the command line.

    >>> named(["batch_size", "k"])
    '--batch-size, --k'
    """
    return ", ".join(f"--{name.replace('_', '-')}" for name in fields)


def _parameter(field: Field, panel: str) -> inspect.Parameter:
    option = field.name.replace("_", "-")
    meaning = field.meaning.rstrip(".").replace("`", "").replace("[", "\\[")  # "[N, C]" is no markup
    if field.kind.flag:
        default: Any = field.default == "True"
        annotation: Any = Annotated[
            bool, typer.Option(f"--{option}/--no-{option}", help=meaning, rich_help_panel=panel)
        ]
    else:
        default = field.default
        names = list(field.kind.names)
        annotation = Annotated[
            Any,
            typer.Option(
                f"--{option}",
                help=meaning,
                metavar=field.kind.metavar,
                parser=field.kind.read,
                autocompletion=(lambda: names) if names else None,
                rich_help_panel=panel,
            ),
        ]
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
