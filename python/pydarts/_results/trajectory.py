"""`Trajectory`: α over time, with the mixing weights, genotypes and margins derived from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _core
from .._values.derive import derive
from .._values.genotype import Genotype
from .._values.space import Space
from .._values.words import shown

Weights = npt.NDArray[np.float64]


class Margin(NamedTuple):
    """The margin by which an operation and an edge were chosen, as a difference of softmax weights.

    Nodes are numbered as in `space.edges` and in genotypes. In a convolutional cell, 0 and 1 are the inputs;
    2 to n + 1 are the intermediate nodes, called 0 to n - 1 in plots and reports (paper, figure 4).
    """

    table: str
    """The name of the α table."""
    node: int
    """The node that the edge leads to."""
    edge: tuple[int, int]
    """The selected edge as (from node, to node)."""
    chosen: str
    """The operation selected for the edge."""
    next: str
    """The strongest other operation on the edge except `none`; empty if there is no other."""
    operation: float
    """The weight of `chosen` minus that of `next`; NaN if there is no next."""
    edges: float
    """The strength of this edge minus that of the strongest discarded edge into `node`; NaN if none is
    discarded."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The logits α at T points of a search, with the weights, genotypes and margins that follow from them.

    >>> import numpy as np
    >>> alphas = {"normal": np.zeros((3, 14, 8)), "reduce": np.zeros((3, 14, 8))}
    >>> alphas["normal"][2, 0, 4] = 1.0
    >>> path = Trajectory(alphas, steps=(0, 10, 20), space=Space(), epochs=2)
    >>> path.weights("normal").shape, path.last_change
    ((3, 14, 8), 2)
    >>> path.genotypes[2].normal[0]
    ('sep_conv_3x3', 0)
    """

    alphas: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    """Table name -> logits [T, edges, operations]."""
    steps: Sequence[int] = field(repr=False)
    """The number of completed steps at each of the T points."""
    space: Space
    """The search space of α."""
    epochs: int
    """The number of completed epochs at the last point."""

    def __len__(self) -> int:
        return len(next(iter(self.alphas.values())))

    @cached_property
    def time(self) -> tuple[npt.NDArray[np.float64], str]:
        """The coordinates of the points, and their unit: "epoch" if α was recorded per epoch, else "step"."""
        if len(self) == self.epochs + 1:
            return np.arange(len(self), dtype=np.float64), "epoch"
        return np.asarray(self.steps, dtype=np.float64), "step"

    def weights(self, table: str, at: int | slice = slice(None)) -> Weights:
        """Return the mixing weights softmax(α) (paper, equation 2): [T, edges, operations], or those at `at`.

        Raises:
            ValueError: there is no such table.
        """
        if table not in self.alphas:
            raise ValueError(f"no table {shown(table)}; choose from {', '.join(self.alphas)}")
        return softmax(self.alphas[table][at])

    @cached_property
    def genotypes(self) -> tuple[Genotype, ...]:
        """The genotype at each of the T points (paper, section 2.4)."""
        tables = {name: np.asarray(values, dtype=np.float64) for name, values in self.alphas.items()}
        return tuple(
            derive({name: values[point] for name, values in tables.items()}, self.space)
            for point in range(len(self))
        )

    @property
    def last_change(self) -> int:
        """The point of the last change of the genotype; 0 if it never changed.

        Genotypes with the same operations on the same edges count as equal, whatever their order.
        """
        cells = [genotype.edge_set for genotype in self.genotypes]
        return next((point for point in range(len(cells) - 1, 0, -1) if cells[point] != cells[point - 1]), 0)

    def entropy(self, table: str) -> Weights:
        """Return the entropy of softmax(α) in nats, averaged over the edges: [T]. At most log(operations)."""
        weights = self.weights(table)
        terms = np.where(weights > 0, -weights * np.log(np.where(weights > 0, weights, 1.0)), 0.0)
        mean: Weights = terms.sum(-1).mean(-1)
        return mean

    @property
    def skips(self) -> npt.NDArray[np.int64]:
        """The number of skip connections in the genotype at each point: [T]."""
        return np.array([genotype.skip_connections for genotype in self.genotypes], dtype=np.int64)

    def margins(self, at: int = -1) -> tuple[Margin, ...]:
        """Return the margins of the selected edges and operations at a point, ordered by table and edge.

        Nodes are numbered as in `space.edges`: node 5 of a convolutional cell is called 3 in plots.
        """
        k = self.space.edges_kept
        names = self.space.operations
        candidates = [column for column, name in enumerate(names) if name != "none"]
        found = []
        for table in self.alphas:
            weights = self.weights(table)[at][:, candidates]
            strength = weights.max(-1)
            for node in sorted({j for _, j in self.space.edges}):
                rows = [row for row, (_, j) in enumerate(self.space.edges) if j == node]
                ranked = sorted(rows, key=lambda row: (-strength[row], row))
                left = strength[ranked[k]] if len(ranked) > k else np.nan
                for row in sorted(ranked[:k]):
                    order = sorted(range(len(candidates)), key=lambda column: (-weights[row, column], column))
                    ahead = weights[row, order[0]] - weights[row, order[1]] if len(order) > 1 else np.nan
                    found.append(
                        Margin(
                            table,
                            node,
                            self.space.edges[row],
                            names[candidates[order[0]]],
                            names[candidates[order[1]]] if len(order) > 1 else "",
                            float(ahead),
                            float(strength[row] - left),
                        )
                    )
        return tuple(found)


def softmax(alpha: npt.ArrayLike) -> Weights:
    """Return the softmax over the last axis, bit-identical to the strengths that `derive` compares.

    >>> softmax(np.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """
    return _core.softmax(np.asarray(alpha, dtype=np.float64))
