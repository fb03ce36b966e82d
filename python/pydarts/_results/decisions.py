"""Decisions and architectures of a search as plain Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .._values.genotype import Genotype
from .._values.space import Space
from .._values.words import shown
from .tables import AlphaTable

Decision: TypeAlias = Mapping[str, Any]
Architecture: TypeAlias = Mapping[str, Any]
"""Table name -> for each row, the names of the picked candidates. Of modules with choices: the name of each
-> the picked candidate, or for an `InputChoice` a tuple of indices."""


def architecture_of(genotype: Genotype, space: Space) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return the operations of a genotype by table and row.

    >>> found = architecture_of(Genotype(recurrent=[("tanh", 0), ("relu", 1)], concat=[1, 2]),
    ...                         Space(kind="recurrent", nodes=2))
    >>> found["recurrent"]
    (('tanh',), (), ('relu',))
    """
    found = {}
    for table in space.tables:
        rows: dict[tuple[int, int], list[str]] = {edge: [] for edge in space.edges}
        for operation, source, target in genotype.edges(table):
            rows[source, target].append(operation)
        found[table] = tuple(tuple(names) for names in rows.values())
    return found


def architecture_in(rows: Mapping[str, Any], tables: Mapping[str, AlphaTable]) -> dict[str, Any]:
    """Return the architecture that the names of the picked candidates by table and row make.

    >>> table = AlphaTable("t", ("0",), (("a", "b"),), choices=(("first", "second"),))
    >>> architecture_in({"t": (("b",),)}, {"t": table})
    {'first': 'b', 'second': 'b'}
    """
    found: dict[str, Any] = {}
    for name in [name for name in tables if name in rows] or rows:
        table, picked = tables.get(name), rows[name]
        if table is None or not table.choices:
            found[name] = tuple(map(tuple, picked))
            continue
        for modules, names in zip(table.choices, picked, strict=True):
            entry = tuple(sorted(map(int, names))) if table.indices else names[0]
            found |= dict.fromkeys(modules, entry)
    return found


def architecture_from(values: Any, tables: Mapping[str, AlphaTable]) -> dict[str, Any]:
    """Return an architecture from JSON.

    Raises:
        ValueError: it is not one of these tables.
    """
    if any(table.choices for table in tables.values()):
        return _of_modules(values, tables)
    if not isinstance(values, dict) or sorted(values) != sorted(tables):
        raise ValueError(f"architecture must have the tables {', '.join(tables)}, got {shown(values)}")
    for table, found in values.items():
        rows = len(tables[table].rows)
        lists = isinstance(found, list) and len(found) == rows and all(isinstance(row, list) for row in found)
        if not lists or not all(isinstance(name, str) for row in found for name in row):
            raise ValueError(f"architecture of {table} must be {rows} lists of names, got {shown(found)}")
    return {table: tuple(tuple(row) for row in values[table]) for table in tables}


def picked(architecture: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what an architecture of a user-defined network picked, by choice, in words.

    >>> picked({"layers.0.block": "conv", "inputs": (0, 2), "table": (("relu",), ("tanh", "gelu"))})
    [('layers.0.block', 'conv'), ('inputs', 'inputs 0, 2'), ('table 0', 'relu'), ('table 1', 'tanh, gelu')]
    """
    found = []
    for name, value in architecture.items():
        if isinstance(value, str):
            found.append((name, value))
        elif all(isinstance(part, int) for part in value):
            found.append((name, f"inputs {', '.join(map(str, value))}" if value else "nothing"))
        else:
            for row, names in enumerate(value):
                label = name if len(value) == 1 else f"{name} {row}"
                found.append((label, ", ".join(map(str, names)) or "nothing"))
    return found


def _of_modules(values: Any, tables: Mapping[str, AlphaTable]) -> dict[str, Any]:
    known = {
        module: (table, row)
        for table in tables.values()
        for row, modules in enumerate(table.choices)
        for module in modules
    }
    if not isinstance(values, dict) or sorted(values) != sorted(known):
        raise ValueError(f"architecture must have the choices {', '.join(known)}, got {shown(values)}")
    found: dict[str, Any] = {}
    for module, (table, row) in known.items():
        entry = values[module]
        names = list(map(str, entry)) if table.indices and isinstance(entry, list) else [entry]
        if not names or not all(name in table.candidates[row] for name in names):
            raise ValueError(f"architecture of {module} must be one of its candidates, got {shown(entry)}")
        found[module] = tuple(map(int, names)) if table.indices else entry
    return found


def decisions_from(values: Any) -> tuple[tuple[int, Decision], ...]:
    """Return decisions from JSON.

    Raises:
        ValueError: they are not pairs of an epoch and a decision.
    """
    for pair in values if isinstance(values, Sequence) else [values]:
        sound = isinstance(pair, (list, tuple)) and len(pair) == 2 and type(pair[0]) is int and pair[0] >= 0
        if not sound or not isinstance(pair[1], dict) or not isinstance(pair[1].get("decision"), str):
            raise ValueError(f"decisions must be pairs of an epoch and a decision, got {shown(pair)}")
    return tuple((epoch, decision) for epoch, decision in values)


def epochs_of(steps: Sequence[int], epochs: int) -> tuple[int, ...]:
    """Return the epoch of each point of an earlier version's trajectory, as if all epochs had as many steps.

    >>> epochs_of((0, 2, 4, 6), epochs=3), epochs_of((0, 1, 2, 3, 4), epochs=2)
    ((0, 0, 1, 2), (0, 0, 0, 1, 1))
    """
    each = max(1, -(-steps[-1] // max(1, epochs))) if steps else 1
    return tuple(max(0, step - 1) // each for step in steps)
