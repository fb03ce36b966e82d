"""Trajectories with removed candidates, decided and removed rows, and rows of different candidates."""

from dataclasses import replace
from typing import Any

import numpy as np
from paths import SMALL
from pydarts import SearchResult, Trajectory
from pydarts._results.tables import AlphaTable

FREEZE: dict[str, Any] = {"decision": "freeze", "table": "normal", "row": 1, "column": 2}
DROP: dict[str, Any] = {"decision": "drop", "table": "normal", "row": 3}
STOP: dict[str, Any] = {"decision": "stop", "reason": "2 skip connections"}


def restricted(**more: Any) -> Trajectory:
    """A search by epoch in which a candidate is masked from point 3 on, a row decided and another removed."""
    rng = np.random.default_rng(0)
    alphas = {name: rng.normal(size=(6, len(SMALL.edges), 3)) for name in SMALL.tables}
    alphas["normal"][3:, 0, 1] = np.nan
    decisions = [(2, FREEZE), (3, DROP), (4, STOP)]
    return Trajectory(alphas, range(0, 60, 10), SMALL, 5, decisions=decisions, **more)


def ragged(**more: Any) -> Trajectory:
    """Tables of no cell; rows have 2, 3 and 1 candidates."""
    table = AlphaTable("mine", ("first", "second", "third"), (("a", "b"), ("b", "c", "a"), ("$c$",)))
    alpha = np.random.default_rng(0).normal(size=(4, 3, 3))
    alpha[:, table.padding] = np.nan
    return Trajectory({"mine": alpha}, range(4), None, 3, tables={"mine": table}, **more)


def result_of(result: SearchResult, path: Trajectory) -> SearchResult:
    """A result with another trajectory."""
    space = result.config.resolved_space if path.space is None else path.space
    config = result.config.replace(space=space, nodes=space.nodes, operations=None)
    return replace(
        result, alphas=dict(path.alphas), steps=tuple(path.steps), tables=dict(path.tables), epochs=(),
        config=config, decisions=tuple(path.decisions), history=result.history[:0], architecture={},
        genotype=result.genotype if path.space is None else path.genotypes[-1],
    )  # fmt: skip
