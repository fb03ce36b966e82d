"""`AlphaTable`: the names of the rows and columns of a table of logits, for everything that shows α."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .._values.space import Space
from .._values.words import NodeNames, count, shown

EDGES = ".beta"
"""The end of the name of a table that holds the logits of edges."""


@dataclass(frozen=True)
class AlphaTable:
    """The names of the rows and columns of a table of logits.

    Rows may have different candidates. Shorter rows are padded; the padding holds no candidate.

    >>> table = AlphaTable("choices", ("first", "second"), (("conv", "skip"), ("skip", "pool", "conv")))
    >>> table.names
    ('conv', 'skip', 'pool')
    >>> table.place(np.array([[0.4, 0.6, 0.0], [0.1, 0.2, 0.7]])).tolist()
    [[0.4, 0.6, nan], [0.7, 0.1, 0.2]]
    """

    name: str
    """The name of the table."""
    rows: tuple[str, ...]
    """The label of every row; in a cell space `source->target`."""
    candidates: tuple[tuple[str, ...], ...]
    """The names of the candidates of every row, in the order of the columns."""
    edges: tuple[tuple[int, int], ...] = ()
    """The edge of every row; empty if rows are not edges of a cell."""
    inputs: int = 0
    """The number of inputs of the cell."""
    unselectable: str | None = None
    """The candidate that is never selected: `none` in the published spaces."""
    choices: tuple[tuple[str, ...], ...] = ()
    """The names of the modules that each row decides; empty unless the table belongs to modules."""
    indices: bool = False
    """Whether the candidates are inputs, which an architecture lists by their indices."""
    keeps: tuple[int, ...] = ()
    """The number of candidates that are picked from each row; empty: one."""

    @property
    def columns(self) -> int:
        """The number of columns, which is the largest number of candidates of a row."""
        return max(map(len, self.candidates), default=0)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The different names of candidates, by their first occurrence."""
        return tuple(dict.fromkeys(name for row in self.candidates for name in row))

    @cached_property
    def most(self) -> float:
        """The largest possible entropy in nats: the mean over the rows of log(candidates)."""
        return sum(math.log(len(row)) for row in self.candidates) / max(len(self.candidates), 1)

    @property
    def single(self) -> bool:
        """Whether the table is one choice of a user-defined network: a single row, which is not an edge."""
        return not self.edges and len(self.rows) == 1

    @property
    def sparse(self) -> bool:
        """Whether candidates differ so much between rows that one column per name would be mostly empty.

        >>> AlphaTable("mine", ("a", "b"), (("conv", "skip"), ("relu", "tanh"))).sparse
        True
        """
        return not self.edges and 2 * len(self.names) > 3 * self.columns

    @cached_property
    def _columns_of_names(self) -> npt.NDArray[np.int64]:
        """The column of every name in every row, [rows, names]; past the last column where a row lacks it."""
        columns = [
            [row.index(name) if name in row else self.columns for name in self.names]
            for row in self.candidates
        ]
        return np.array(columns, dtype=np.int64).reshape(len(self.rows), len(self.names))

    def place(self, values: npt.NDArray[Any], missing: Any = np.nan) -> npt.NDArray[Any]:
        """Arrange values [..., rows, columns] by name: [..., rows, names]; `missing` where a row lacks it."""
        padded = np.full((*values.shape[:-1], self.columns + 1), missing, dtype=values.dtype)
        padded[..., : self.columns] = values[..., : self.columns]
        places = np.broadcast_to(self._columns_of_names, (*values.shape[:-1], len(self.names)))
        return np.take_along_axis(padded, places, axis=-1)

    @property
    def padding(self) -> npt.NDArray[np.bool_]:
        """Where there is no candidate: [rows, columns]."""
        sizes = np.array([len(row) for row in self.candidates], dtype=np.int64)[:, None]
        return np.asarray(np.arange(self.columns)[None] >= sizes)

    def words(self, row: int) -> str:
        """Name a row for running text.

        >>> AlphaTable("normal", ("0->2",), (("none",),), ((0, 2),), 2).words(0)
        'cₖ₋₂ → 2'
        """
        return self.nodes.edge(self.edges[row]) if self.edges else self.rows[row]

    @property
    def nodes(self) -> NodeNames:
        """The names of the nodes of the cell."""
        return NodeNames(self.inputs, self.name == "recurrent")

    def place_of(self, row: int) -> str:
        """Name a row and its table for running text; a choice has the name of its table.

        >>> AlphaTable("normal", ("0->2",), (("none",),), ((0, 2),), 2).place_of(0)
        'normal cₖ₋₂ → 2'
        >>> AlphaTable("layers.0.block", ("0",), (("conv", "skip"),)).place_of(0)
        'layers.0.block'
        """
        if self.choices:
            return self.rows[row]
        return self.name if self.single else f"{self.name} {self.words(row)}"

    def keep(self, row: int) -> int:
        """Return the number of candidates that are picked from a row."""
        return self.keeps[row] if self.keeps else 1

    def names_of(self, row: int) -> tuple[str, ...]:
        """Return the modules that a row decides, or its place where there are none."""
        return self.choices[row] if self.choices else (self.place_of(row),)

    def tag(self, row: int) -> str:
        """Name a row for loggers: `source_target`, or its label; nothing if it is the only one.

        >>> AlphaTable("normal", ("0->2",), (("none",),), ((0, 2),), 2).tag(0)
        '0_2'
        """
        if self.single:
            return ""
        return "{}_{}".format(*self.edges[row]) if self.edges else self.rows[row]


def tables_of(space: Space) -> dict[str, AlphaTable]:
    """Return the tables of a space by name.

    >>> tables_of(Space())["reduce"].rows[:2]
    ('0->2', '1->2')
    """
    rows = tuple(f"{i}->{j}" for i, j in space.edges)
    never = None if space.none_selectable else "none"
    return {
        name: AlphaTable(name, rows, space.columns(name), space.edges, space.inputs, never)
        for name in space.tables
    }


def is_cells(tables: Mapping[str, AlphaTable]) -> bool:
    """Return whether the rows of tables are edges of cells."""
    return all(table.edges for table in tables.values())


def to_plain(tables: Mapping[str, AlphaTable]) -> dict[str, Any]:
    """Return the names of tables that do not belong to cells as plain data."""
    return {
        name: {"rows": table.rows, "candidates": table.candidates}
        | ({"choices": table.choices, "indices": table.indices} if table.choices else {})
        | ({"keeps": table.keeps} if table.keeps else {})
        for name, table in tables.items()
    }


def from_plain(values: Any) -> dict[str, AlphaTable]:
    """Return tables from plain data.

    >>> from_plain({"mine": {"rows": ["0"], "candidates": [["a", "b"]]}})["mine"].names
    ('a', 'b')

    Raises:
        ValueError: they are not names of rows and candidates.
    """
    if not isinstance(values, dict):
        raise ValueError(f"tables must be an object, got {shown(values)}")
    found = {}
    for name, table in values.items():
        given = table if isinstance(table, dict) else {}
        rows, candidates = given.get("rows", ()), given.get("candidates", ())
        lists = isinstance(rows, list) and isinstance(candidates, list) and len(rows) == len(candidates)
        if not lists or not all(isinstance(row, list) and row for row in candidates):
            raise ValueError(f"table {name} must have rows and, for each, candidates, got {shown(table)}")
        names = tuple(tuple(map(str, row)) for row in candidates)
        choices = given.get("choices", [])
        if choices and (not isinstance(choices, list) or len(choices) != len(rows) or not all(choices)):
            raise ValueError(f"choices of table {name} must name modules for each row, got {shown(choices)}")
        modules = tuple(tuple(map(str, row)) for row in choices)
        indices = bool(given.get("indices", False))
        keeps = given.get("keeps", [])
        sizes = list(map(len, names)) if keeps else []
        if (
            not isinstance(keeps, list)
            or len(keeps) != len(sizes)
            or not all(
                type(keep) is int and 1 <= keep <= size for keep, size in zip(keeps, sizes, strict=True)
            )
        ):
            raise ValueError(f"keeps of table {name} must be a number for each row, got {shown(keeps)}")
        found[name] = AlphaTable(
            name, tuple(map(str, rows)), names, choices=modules, indices=indices, keeps=tuple(keeps)
        )
    return found


def all_names(tables: Mapping[str, AlphaTable]) -> tuple[str, ...]:
    """Return the different names of candidates of several tables, by their first occurrence."""
    return tuple(dict.fromkeys(name for table in tables.values() for name in table.names))


def decision_in_words(decision: Mapping[str, Any], tables: Mapping[str, AlphaTable]) -> str:
    """Describe a decision about a search.

    >>> freeze = {"decision": "freeze", "table": "normal", "row": 1, "column": 3}
    >>> decision_in_words(freeze, tables_of(Space()))
    'normal cₖ₋₁ → 2: decided for skip_connect'
    """
    kind = decision["decision"]
    if kind == "stop":
        return f"stopped: {decision['reason']}"
    if kind == "roll_back":
        return f"returned to the state after epoch {decision['epoch']}"
    table, row = tables[decision["table"]], decision["row"]
    names = table.candidates[row]
    place = table.place_of(row)
    if kind == "mask":
        return f"{place}: removed {', '.join(names[column] for column in decision['columns'])}"
    return f"{place}: removed" if kind == "drop" else f"{place}: decided for {names[decision['column']]}"


def decisions_in_words(
    decisions: Sequence[tuple[int, Mapping[str, Any]]], tables: Mapping[str, AlphaTable], most: int = 1
) -> str:
    """Describe the first `most` decisions of an epoch, and count the others; epochs are counted from 1.

    >>> decisions_in_words([(11, {"decision": "stop", "reason": "2 skip connections"})], {})
    'epoch 12: stopped: 2 skip connections'
    """
    said = "; ".join(decision_in_words(decision, tables) for _, decision in decisions[:most])
    more = len(decisions) - most
    return f"epoch {decisions[0][0] + 1}: {said}" + (f"; {count(more, 'other')}" if more > 0 else "")


def in_effect(decisions: Sequence[tuple[int, Mapping[str, Any]]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the decisions that hold at the end: returning to an earlier state undoes later ones.

    >>> drop = {"decision": "drop", "table": "normal", "row": 0}
    >>> [epoch for epoch, _ in in_effect([(0, drop), (4, drop), (5, {"decision": "roll_back", "epoch": 2})])]
    [0]
    """
    held: list[tuple[int, Mapping[str, Any]]] = []
    for epoch, decision in decisions:
        if decision["decision"] == "roll_back":
            held = [entry for entry in held if entry[0] < decision["epoch"]]
        else:
            held.append((epoch, decision))
    return held
