"""Decisions and architectures of a search as plain Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .._values.genotype import Genotype
from .._values.space import Space
from .._values.words import shown
from .tables import AlphaTable

Decision: TypeAlias = Mapping[str, Any]
Architecture: TypeAlias = Mapping[str, tuple[tuple[str, ...], ...]]


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


def architecture_from(
    values: Any, tables: Mapping[str, AlphaTable]
) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return an architecture from JSON.

    Raises:
        ValueError: it is not one of these tables.
    """
    if not isinstance(values, dict) or sorted(values) != sorted(tables):
        raise ValueError(f"architecture must have the tables {', '.join(tables)}, got {shown(values)}")
    for table, found in values.items():
        rows = len(tables[table].rows)
        lists = isinstance(found, list) and len(found) == rows and all(isinstance(row, list) for row in found)
        if not lists or not all(isinstance(name, str) for row in found for name in row):
            raise ValueError(f"architecture of {table} must be {rows} lists of names, got {shown(found)}")
    return {table: tuple(tuple(row) for row in values[table]) for table in tables}


def picked(architecture: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what an architecture of a network of one's own picked, by choice, in words.

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
