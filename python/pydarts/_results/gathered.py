"""One table for the choices of a network whose tables have one row each, for everything that shows α."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .tables import AlphaTable
from .trajectory import Trajectory

TOGETHER = "choices"
"""The name of the common table."""


def gathered(path: Trajectory, most: int | None = None) -> Trajectory:
    """Return a trajectory in which all tables of one row are the rows of one table.

    A user-defined network has one table per choice, each of one row, so that panels per table would be as
    many figures. Strengths are those of `path`. Cells, and trajectories with fewer than two such tables, are
    returned as they are.

    Args:
        path: α over time.
        most: number of rows to which tables that are not cells are cut; None: all of them.

    >>> two = {name: AlphaTable(name, ("0",), (names,)) for name, names in (("a", "xy"), ("b", "xyz"))}
    >>> alphas = {"a": np.zeros((1, 1, 2)), "b": np.zeros((1, 1, 3))}
    >>> found = gathered(Trajectory(alphas, (0,), None, 0, tables=two))
    >>> found.tables["choices"].rows, found.weights("choices").shape
    (('a', 'b'), (1, 2, 3))
    """
    single = [name for name, table in path.tables.items() if table.single]
    cut = most is not None and any(
        not table.edges and len(table.rows) > most for table in path.tables.values()
    )
    if path.space is not None or (len(single) < 2 and not cut):
        return path
    found, strengths = dict(path.tables), path.strengths
    alphas: dict[str, npt.NDArray[Any]] = {name: np.asarray(path.alphas[name]) for name in path.tables}
    rows: dict[str, tuple[str, int]] = {}
    if len(single) >= 2:
        rest = [name for name in path.tables if name not in single]
        name = TOGETHER if TOGETHER not in rest else f"single {TOGETHER}"
        rows = {table: (name, row) for row, table in enumerate(single)}
        parts = [found[table] for table in single]
        one = AlphaTable(
            name,
            tuple(part.place_of(0) for part in parts),
            tuple(_named(part) for part in parts),
            keeps=tuple(part.keep(0) for part in parts),
        )
        found = {name: one, **{other: found[other] for other in rest}}
        alphas, strengths = (
            {
                name: np.concatenate([_padded(values[table], one.columns, blank) for table in single], 1),
                **{other: values[other] for other in rest},
            }
            for values, blank in ((alphas, np.nan), (strengths, 0.0))
        )
    if most is not None:
        found = {
            name: replace(
                table,
                rows=table.rows[:most],
                candidates=table.candidates[:most],
                choices=table.choices[:most],
                keeps=table.keeps[:most],
            )
            for name, table in found.items()
        }
        alphas = {name: values[:, :most, : found[name].columns] for name, values in alphas.items()}
        strengths = {name: values[:, :most, : found[name].columns] for name, values in strengths.items()}
    decisions = [(epoch, _moved(decision, rows)) for epoch, decision in path.decisions]
    kept = [entry for entry in decisions if _held(entry[1], found)]
    return replace(path, alphas=alphas, tables=found, given=strengths, decisions=kept)


class ChoiceMargin(NamedTuple):
    """The margin by which candidates of a choice are the strongest, as a difference of mixing weights."""

    choice: str
    """The name of the choice; of choices that share a row of a table, the first."""
    chosen: str
    """The strongest candidate, or the strongest inputs."""
    next: str
    """The strongest other candidate."""
    by: float
    """The weight of the weakest that is chosen minus that of `next`."""
    modules: tuple[str, ...]
    """All choices that share the row."""


def choice_margins(path: Trajectory, at: int = -1) -> list[ChoiceMargin]:
    """Return the margins of the choices of a user-defined network that have another candidate left."""
    found = []
    for name, table in path.tables.items():
        weights = np.where(np.isnan(path.alphas[name][at]), -np.inf, path.weights(name, at))
        order = np.argsort(-weights, axis=-1, kind="stable").tolist()
        for row, candidates in enumerate(table.candidates):
            last = table.keep(row) - 1
            if last + 1 >= len(candidates) or not np.isfinite(weights[row, order[row][last + 1]]):
                continue
            chosen = [candidates[column] for column in sorted(order[row][: last + 1])]
            text = f"inputs {', '.join(chosen)}" if table.indices else ", ".join(chosen)
            following = order[row][last + 1]
            by = float(weights[row, order[row][last]] - weights[row, following])
            modules = table.names_of(row)
            found.append(ChoiceMargin(table.place_of(row), text, candidates[following], by, modules))
    return found


def _named(table: AlphaTable) -> tuple[str, ...]:
    """Return the candidates of a table of one row; inputs are called so among other candidates."""
    (candidates,) = table.candidates
    return tuple(f"input {name}" for name in candidates) if table.indices else candidates


def _padded(values: npt.NDArray[Any], columns: int, blank: float) -> npt.NDArray[Any]:
    """Return values [T, 1, candidates] with as many columns as the widest row."""
    width = ((0, 0), (0, 0), (0, columns - values.shape[-1]))
    return np.pad(values, width, constant_values=blank)


def _moved(decision: Mapping[str, Any], rows: Mapping[str, tuple[str, int]]) -> Mapping[str, Any]:
    """Return a decision about a table with the place of its row in the common table."""
    if decision.get("table") not in rows:
        return decision
    table, row = rows[decision["table"]]
    return {**decision, "table": table, "row": row}


def _held(decision: Mapping[str, Any], tables: Mapping[str, AlphaTable]) -> bool:
    """Return whether the row of a decision is among those that are left."""
    return "table" not in decision or decision["row"] < len(tables[decision["table"]].rows)
