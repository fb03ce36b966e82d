"""`Trajectory`: α over time, and what can be read off it."""

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

Weights = npt.NDArray[np.float64]


class Margin(NamedTuple):
    """How clearly an operation or an edge was chosen: by the softmax weight that it is ahead.

    Nodes are numbered as in `space.edges` and in genotypes: of a convolutional cell 0 and 1 are the inputs,
    2 … n + 1 the intermediate nodes, which pictures, report and diagnostics name 0 … n - 1 (paper, figure 4).
    """

    table: str
    """Name of the α table."""
    node: int
    """The node that the edge leads to."""
    edge: tuple[int, int]
    """The edge that is kept, from node to node."""
    chosen: str
    """What is kept on it."""
    next: str
    """The strongest other operation on the edge, `none` apart; empty where there is none."""
    operation: float
    """Weight of `chosen` less that of `next`; NaN where there is no next."""
    edges: float
    """Strength of this edge less that of the strongest edge into `node` that is left out; NaN where all are
    kept."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The logits α at T points of a search, and the mixing weights, genotypes and margins they stand for.

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
    """For each of the T points the number of steps done by then."""
    space: Space
    """The space that α belongs to."""
    epochs: int
    """Epochs that are over at the last point."""

    def __len__(self) -> int:
        return len(next(iter(self.alphas.values())))

    @cached_property
    def time(self) -> tuple[npt.NDArray[np.float64], str]:
        """The points on an axis, and its name: "epoch" where α was recorded by epoch, else "step"."""
        if len(self) == self.epochs + 1:
            return np.arange(len(self), dtype=np.float64), "epoch"
        return np.asarray(self.steps, dtype=np.float64), "step"

    def weights(self, table: str, at: int | slice = slice(None)) -> Weights:
        """The mixing weights softmax(α) (paper, equation 2): [T, edges, operations], or of the points `at`.

        Raises:
            ValueError: no such table.
        """
        if table not in self.alphas:
            raise ValueError(f"no table {table!r}; there is {', '.join(self.alphas)}")
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
        """The point since which the genotype has been what it is at the end; 0 if it never changed.

        Genotypes that keep the same operations on the same edges are the same, however they rank them.
        """
        cells = [genotype.edge_set for genotype in self.genotypes]
        return next((point for point in range(len(cells) - 1, 0, -1) if cells[point] != cells[point - 1]), 0)

    def entropy(self, table: str) -> Weights:
        """Mean over the edges of the entropy of softmax(α), in nats: [T]. At most log(operations)."""
        weights = self.weights(table)
        terms = np.where(weights > 0, -weights * np.log(np.where(weights > 0, weights, 1.0)), 0.0)
        mean: Weights = terms.sum(-1).mean(-1)
        return mean

    @property
    def skips(self) -> npt.NDArray[np.int64]:
        """Skip connections in the genotype at each point: [T]."""
        return np.array([genotype.skip_connections for genotype in self.genotypes], dtype=np.int64)

    def margins(self, at: int = -1) -> tuple[Margin, ...]:
        """How far ahead what is kept at a point was of what came next, in the order of edges.

        Nodes are numbered as in `space.edges`: node 5 of a convolutional cell is the 3 of its pictures.
        """
        k = self.space.edges_kept
        names = self.space.operations
        real = [column for column, name in enumerate(names) if name != "none"]
        found = []
        for table in self.alphas:
            weights = self.weights(table)[at][:, real]
            strength = weights.max(-1)
            for node in sorted({j for _, j in self.space.edges}):
                rows = [row for row, (_, j) in enumerate(self.space.edges) if j == node]
                ranked = sorted(rows, key=lambda row: (-strength[row], row))
                left = strength[ranked[k]] if len(ranked) > k else np.nan
                for row in sorted(ranked[:k]):
                    order = sorted(range(len(real)), key=lambda column: (-weights[row, column], column))
                    ahead = weights[row, order[0]] - weights[row, order[1]] if len(order) > 1 else np.nan
                    found.append(
                        Margin(
                            table,
                            node,
                            self.space.edges[row],
                            names[real[order[0]]],
                            names[real[order[1]]] if len(order) > 1 else "",
                            float(ahead),
                            float(strength[row] - left),
                        )
                    )
        return tuple(found)


def softmax(alpha: npt.ArrayLike) -> Weights:
    """Softmax over the last axis, with the bits of the strengths that `derive` compares.

    >>> softmax(np.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """
    return _core.softmax(np.asarray(alpha, dtype=np.float64))
