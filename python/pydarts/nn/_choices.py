"""The choices in a module, and their tables of logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .._core import ConfigError
from .._values.words import listed, shown
from ._choice import Choice, InputChoice

ROOT = "choice"
"""The name of a choice that is the whole network."""
RESERVED = ("steps", "epochs", "file", "allow_pickle")
"""Names that a table cannot have: the other arrays of a saved result, and arguments of `numpy.savez`."""


@dataclass(frozen=True, eq=False)
class Found:
    """A choice in a module."""

    name: str
    """The qualified name of the module; of a shared one the first."""
    module: Choice | InputChoice
    table: str
    """The name of its table of logits."""

    @property
    def row(self) -> int:
        """The row of the table."""
        return self.module.row

    @property
    def candidates(self) -> tuple[str, ...]:
        """The names of the candidates."""
        return self.module.names

    @property
    def keep(self) -> int:
        """The number of candidates that are picked."""
        return self.module.keep if isinstance(self.module, InputChoice) else 1


@dataclass(frozen=True, eq=False)
class ChoiceRow:
    """A row of a table of logits: the choices that share it."""

    choices: tuple[Found, ...]
    initial: Tensor | None
    """The initial logits; None: drawn."""

    @property
    def label(self) -> str:
        """The name of the first choice."""
        return self.choices[0].name


@dataclass(frozen=True, eq=False)
class ChoiceTable:
    """A table of logits of a module."""

    name: str
    rows: tuple[ChoiceRow, ...]

    @property
    def keep(self) -> int:
        """The number of candidates that are picked from each row."""
        return self.rows[0].choices[0].keep


def choices_of(module: nn.Module) -> tuple[Found, ...]:
    """Return the choices in a module, in the order of `named_modules`.

    >>> net = nn.Sequential(Choice([nn.Identity(), nn.Tanh()]), Choice([nn.ReLU()], alpha="shared"))
    >>> [(found.name, found.table, found.candidates) for found in choices_of(net)]
    [('0', '0', ('0', '1')), ('1', 'shared', ('0',))]
    """
    found = []
    for name, part in module.named_modules():
        if isinstance(part, (Choice, InputChoice)):
            found.append(Found(name or ROOT, part, part.table or name or ROOT))
    return tuple(found)


def paths_of(module: nn.Module, choices: Sequence[Found]) -> dict[str, list[list[int]]]:
    """Return when each parameter is used, by its first name: one of several paths must be open.

    A path is a list of places in the mixing weights of all tables, row by row, padded to equal rows. It is
    open if none of them is 0.

    >>> net = nn.Sequential(Choice([nn.Linear(2, 2, bias=False), nn.Identity()]), nn.Linear(2, 2, bias=False))
    >>> paths_of(net, choices_of(net))
    {'0.candidates.0.weight': [[0]], '1.weight': [[]]}
    """
    starts: dict[tuple[str, int], int] = {}
    start = 0
    for table in tables_of_choices(choices):
        columns = max(len(row.choices[0].candidates) for row in table.rows)
        for row in range(len(table.rows)):
            starts[table.name, row] = start
            start += columns
    first = {id(found.module): starts[found.table, found.row] for found in choices}
    found: dict[int, list[list[int]]] = {}
    seen: set[tuple[int, tuple[int, ...]]] = set()

    def walk(part: nn.Module, path: tuple[int, ...]) -> None:
        if (id(part), path) in seen:
            return
        seen.add((id(part), path))
        for parameter in part._parameters.values():
            if parameter is not None:
                found.setdefault(id(parameter), []).append(list(path))
        for child in part._modules.values():
            if isinstance(part, Choice) and child is part.candidates:
                for index, candidate in enumerate(part.candidates.values()):
                    walk(candidate, (*path, first[id(part)] + index))
            elif child is not None:
                walk(child, path)

    walk(module, ())
    logits = {id(choice.module.alpha) for choice in choices}
    return {name: found[id(one)] for name, one in module.named_parameters() if id(one) not in logits}


def tables_of_choices(choices: Sequence[Found]) -> tuple[ChoiceTable, ...]:
    """Return the tables of choices, in the order of their first rows.

    Raises:
        ConfigError: choices that share a row differ, a row is missing, or a name is impossible.
    """
    by_table: dict[str, dict[int, list[Found]]] = {}
    for found in choices:
        by_table.setdefault(found.table, {}).setdefault(found.row, []).append(found)
    tables = []
    for name, rows in by_table.items():
        if name in RESERVED:
            raise ConfigError(
                f"a table cannot be named {name!r}, which saved results use; pass another alpha"
            )
        if "\0" in name or name != name.encode(errors="replace").decode():
            raise ConfigError(f"a table is named {shown(name)}, which files cannot hold; pass another alpha")
        missing = sorted({*range(max(rows) + 1)} - {*rows})
        if missing:
            raise ConfigError(
                f"the table {name!r} has the rows {listed(sorted(rows))}, but not {missing[0]}; "
                "number the rows from 0"
            )
        table = ChoiceTable(name, tuple(_row(name, row, rows[row]) for row in sorted(rows)))
        for row in table.rows:
            if row.choices[0].keep != table.keep:
                raise ConfigError(
                    f"{table.rows[0].label!r} and {row.label!r} are rows of the table {name!r}, but keep "
                    f"{table.keep} and {row.choices[0].keep}; all rows of a table must keep the same number"
                )
        tables.append(table)
    return tuple(tables)


def _row(table: str, row: int, choices: list[Found]) -> ChoiceRow:
    first, initial = choices[0], None
    for found in choices:
        if (found.module.table is None) != (first.module.table is None):
            raise ConfigError(
                f"{first.name!r} and {found.name!r} both use the table {table!r}, but one of them does not "
                "set alpha; pass alpha= to both, or use another name"
            )
        if type(found.module) is not type(first.module) or found.candidates != first.candidates:
            raise ConfigError(
                f"{first.name!r} and {found.name!r} share row {row} of the table {table!r}, but have the "
                f"candidates {listed(first.candidates)} and {listed(found.candidates)}; they must be equal, "
                "in the same order"
            )
        if found.keep != first.keep:
            raise ConfigError(
                f"{first.name!r} and {found.name!r} share row {row} of the table {table!r}, but keep "
                f"{first.keep} and {found.keep}"
            )
        if found.module.given:
            given = found.module.alpha.detach()
            if initial is not None and not torch.equal(initial.cpu(), given.cpu()):
                raise ConfigError(
                    f"choices that share row {row} of the table {table!r} have different `init`, "
                    f"{initial.tolist()} and {given.tolist()}"
                )
            initial = given
    return ChoiceRow(tuple(choices), initial)
