"""Fields of configurations as command-line options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from .answer import say
from .fields import Field

_OTHERS = "Other options"


@dataclass(frozen=True)
class Group:
    """Fields that are options of a command, and the help panels that show them."""

    fields: tuple[Field, ...]
    panels: Mapping[str, Sequence[str]]
    """Title -> names of fields; fields without a title are shown in a last panel."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Earlier names of fields -> present names; they are accepted, and not in the help."""

    def without(self, *names: str) -> Group:
        """Return a group without the given fields."""
        return Group(
            tuple(field for field in self.fields if field.name not in names), self.panels, self.renamed
        )

    def parameters(self) -> list[inspect.Parameter]:
        """Return the options, sorted by panel, as parameters of a function for typer."""
        titles = {name: title for title, names in self.panels.items() for name in names}
        order = [*self.panels, _OTHERS]
        ordered = sorted(self.fields, key=lambda field: order.index(titles.get(field.name, _OTHERS)))
        found = [_parameter(field, titles.get(field.name, _OTHERS)) for field in ordered]
        return [*found, *(_earlier(name) for name in self.renamed)]

    def given(self, values: dict[str, Any], is_given: Callable[[str], bool]) -> dict[str, Any]:
        """Take the fields out of the values of all options; return those that were given."""
        fields = {field.name: values.pop(field.name) for field in self.fields}
        found = {name: value for name, value in fields.items() if is_given(name)}
        for name, present in self.renamed.items():
            text = values.pop(name)
            if is_given(name):
                said = {True: "bfloat16", False: "auto"}.get(text, text)
                say(f"{named([name])} is now {named([present])} {said}")
                kind = next(field.kind for field in self.fields if field.name == present)
                found.setdefault(present, kind.read(str(said)))
        return found


def named(fields: Iterable[str]) -> str:
    """Join fields as they are written on the command line.

    >>> named(["batch_size", "k"])
    '--batch-size, --k'
    """
    return ", ".join(f"--{name.replace('_', '-')}" for name in fields)


def _earlier(name: str) -> inspect.Parameter:
    """Return an option of earlier versions."""
    option = name.replace("_", "-")
    flag = f"--{option}/--no-{option}" if name == "bfloat16" else f"--{option}"
    kind: Any = bool | None if name == "bfloat16" else str | None
    annotation: Any = Annotated[kind, typer.Option(flag, hidden=True)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _parameter(field: Field, panel: str) -> inspect.Parameter:
    option = field.name.replace("_", "-")
    meaning = (
        field.meaning.rstrip(".").replace("`", "").replace("[", "\\[")
    )  # rich would read "[N, C]" as markup
    if field.kind.flag:
        default: Any = field.default == "True"
        annotation: Any = Annotated[
            bool, typer.Option(f"--{option}/--no-{option}", help=meaning, rich_help_panel=panel)
        ]
    else:
        default = field.default
        names = [*field.kind.names, *field.kind.variants]
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
