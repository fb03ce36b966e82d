"""`Trajectory`: α over time, with the strengths, genotypes and margins that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _core
from .._values.genotype import Genotype
from .._values.space import Space
from .._values.variants import plain
from .._values.words import shown
from .tables import EDGES, AlphaTable, all_names, in_effect, tables_of

Weights = npt.NDArray[np.float64]


class Margin(NamedTuple):
    """The margin by which an operation and an edge were chosen, as a difference of mixing weights.

    Nodes are numbered as in `space.edges` and in genotypes. In a convolutional cell, 0 and 1 are the inputs;
    2 to n + 1 are the intermediate nodes, which the paper's figure 4 calls 0 to n - 1.
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
    """The logits α at T points of a search, with the strengths, genotypes and margins that follow from them.

    The strengths of candidates are the mean mixing weights that the relaxation makes of α. Masked logits are
    NaN; their strength is 0.

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
    """Table name -> logits [T, edges, operations]; NaN where masked. Logits of edges, such as `normal.beta`,
    may be included; they are moved to `edges`."""
    steps: Sequence[int] = field(repr=False)
    """The number of completed steps at each of the T points."""
    space: Space | None
    """The search space of α; None if α does not belong to cells. Then `tables` is required."""
    epochs: int
    """The number of completed epochs at the last point."""
    relaxation: Any = "softmax"
    """The relaxation of the search: its name, its value or a dictionary, as in `SearchConfig`."""
    selection: Any = "strongest"
    """The rule by which the genotype is selected from the strengths, given like `relaxation`."""
    parameter_epochs: Sequence[int] | None = field(default=None, repr=False)
    """For each point, the epoch of its last step, whose parameters, such as a temperature, apply. None: the
    epochs of points that were recorded by epoch, otherwise 0."""
    total_epochs: int | None = field(default=None, repr=False)
    """The planned number of epochs, to which schedules refer; None: `epochs`."""
    decisions: Sequence[tuple[int, Mapping[str, Any]]] = field(default=(), repr=False)
    """Decisions about the search, each with the number of the epoch at whose end it was taken."""
    tables: Mapping[str, AlphaTable] = field(default_factory=dict, repr=False)
    """The names of rows and columns by table; empty: those of `space`."""
    given: Mapping[str, Weights] | None = field(default=None, repr=False)
    """The strengths by table, from the events of a search; None: computed from the fields above."""
    edges: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict, repr=False)
    """The logits of edges, [T, edges, 1], by the name of their table, such as `normal.beta`."""

    def __post_init__(self) -> None:
        if not self.tables:
            if self.space is None:
                raise TypeError("a Trajectory requires a space, or tables with names of rows and columns")
            object.__setattr__(self, "tables", tables_of(self.space))
        if self.space is not None:
            names = {table + EDGES for table in self.tables}
            edges = {name: logits for name, logits in self.alphas.items() if name in names}
            rest = {name: alphas for name, alphas in self.alphas.items() if name not in names}
            if edges:
                object.__setattr__(self, "edges", {**self.edges, **edges})
                object.__setattr__(self, "alphas", rest)
        if self.parameter_epochs is None:
            by_epoch = range(-1, self.epochs) if len(self) == self.epochs + 1 else [0] * len(self)
            object.__setattr__(self, "parameter_epochs", [max(epoch, 0) for epoch in by_epoch])

    def __len__(self) -> int:
        return len(next(iter(self.alphas.values())))

    @cached_property
    def time(self) -> tuple[npt.NDArray[np.float64], str]:
        """The coordinates of the points, and their unit: "epoch" if α was recorded per epoch, else "step"."""
        if len(self) == self.epochs + 1:
            return np.arange(len(self), dtype=np.float64), "epoch"
        return np.asarray(self.steps, dtype=np.float64), "step"

    @property
    def strengths(self) -> dict[str, Weights]:
        """Table name -> the strengths of all candidates, [T, edges, operations]: see `weights`.

        The weights of edges follow, [T, edges, 1], by the names of their tables.
        """
        weighted = filter(self.weighted, self.alphas)
        edges = {table + EDGES: self.edge_weights(table)[..., None] for table in weighted}
        return {table: self.weights(table) for table in self.alphas} | edges

    def weighted(self, table: str) -> bool:
        """Return whether the edges of a table have weights."""
        return table + EDGES in self.edges

    def edge_weights(self, table: str, at: int | slice = slice(None)) -> Weights:
        """Return the weights of the edges, [T, edges]: a softmax over the edges into each node.

        Raises:
            ValueError: the table has no logits of edges.
        """
        if not self.weighted(table):
            raise ValueError(f"no logits of edges for {shown(table)}; the search had no edge_normalization")
        logits = np.asarray(self.edges[table + EDGES][at], np.float64)[..., 0]
        targets = [target for _, target in self.tables[table].edges]
        groups = [[row for row, to in enumerate(targets) if to == node] for node in sorted(set(targets))]
        found = _core.edge_weights(np.ascontiguousarray(logits.reshape(-1, len(targets))), groups)
        return found.reshape(logits.shape)

    def weights(self, table: str, at: int | slice = slice(None)) -> Weights:
        """Return the strengths of the candidates, [T, edges, operations], or those at the point `at`.

        They are the mean mixing weights of the relaxation; for softmax, those of the paper's equation 2. They
        are 0 where α is masked, and constant in rows that are decided. If edges have weights, each strength
        is multiplied by the weight of its edge.

        Raises:
            ValueError: there is no such table.
        """
        if self.given is not None:
            return np.array(self.given[self._known(table)][at], np.float64)
        alphas, points = np.asarray(self.alphas[self._known(table)], np.float64), np.arange(len(self))[at]
        chosen, fixed = np.atleast_1d(points), self._fixed(table)
        epochs = np.asarray(self.parameter_epochs)[chosen].tolist()
        found: Weights = _core.strengths(
            plain(self.relaxation),
            np.ascontiguousarray(alphas[chosen]),
            np.full_like(alphas[chosen], np.nan) if fixed is None else fixed[chosen],
            epochs,
            self._total,
        )
        found = found.reshape(alphas[points].shape)
        return found * self.edge_weights(table, at)[..., None] if self.weighted(table) else found

    def shown(self, table: str, at: int | slice = slice(None)) -> Weights:
        """Return the strengths by name, [T, rows, names], NaN where masked or where a row lacks the name."""
        strengths = self.weights(table, at)
        strengths[np.isnan(self.alphas[table][at])] = np.nan
        return self.tables[table].place(strengths)

    def masked(self, table: str, at: int | slice = slice(None)) -> npt.NDArray[np.bool_]:
        """Return where a candidate is masked, by name: [T, rows, names]."""
        return self.tables[self._known(table)].place(np.isnan(self.alphas[table][at]), False)

    def frozen(self, table: str, at: int | slice = slice(None)) -> npt.NDArray[np.bool_]:
        """Return which rows are decided or removed: [T, rows]."""
        fixed, shape = self._fixed(self._known(table)), self.alphas[table].shape[:-1]
        found = np.asarray(np.zeros(shape, bool) if fixed is None else ~np.isnan(fixed).all(-1))
        return np.asarray(found[at])

    def dropped(self, table: str, at: int | slice = slice(None)) -> npt.NDArray[np.bool_]:
        """Return which rows are removed: [T, rows]."""
        frozen = self.frozen(table, at)
        return np.asarray(frozen & (self.weights(table, at) == 0).all(-1)) if frozen.any() else frozen

    def equal(self, table: str) -> Weights:
        """Return the strength of every row's candidates if all its logits are 0: [rows]."""
        names = self.tables[self._known(table)]
        zeros = np.where(names.padding, np.nan, 0.0)[None]
        found: Weights = _core.strengths(
            plain(self.relaxation), zeros, np.full_like(zeros, np.nan), [0], self._total
        )
        if self.weighted(table):
            targets = [target for _, target in names.edges]
            found = found / np.array([targets.count(target) for target in targets])[:, None]
        return found[0, :, 0]

    @cached_property
    def genotypes(self) -> tuple[Genotype, ...]:
        """The genotype at each of the T points (paper, section 2.4).

        Raises:
            AttributeError: α does not belong to cells.
        """
        return tuple(self.genotype(point) for point in range(len(self)))

    def genotype(self, at: int = -1) -> Genotype:
        """Return the genotype at a point."""
        point = range(len(self))[at]
        if point not in self._genotypes:
            self._genotypes[point] = self._genotype(point)
        return self._genotypes[point]

    @cached_property
    def _genotypes(self) -> dict[int, Genotype]:
        return {}

    def _genotype(self, at: int) -> Genotype:
        if self.space is None:
            raise AttributeError(
                "a trajectory without a space has no genotype and no skip connections: its tables do not "
                "belong to cells; `SearchResult.architecture` has the candidates that were picked"
            )
        available = {}
        for table, alphas in self.alphas.items():
            strengths, frozen = self.weights(table, at), self.frozen(table, at)[:, None]
            lost = np.isnan(alphas[at]) | (frozen & (strengths == 0))
            available[table] = np.where(lost, np.nan, strengths)
        return Genotype._of(_core.select(self.space, available, plain(self.selection)))

    def kept(self, table: str, at: int = -1) -> set[tuple[int, str]]:
        """Return the rows and candidates that the genotype at a point keeps.

        For a network of your own, the strongest of every row; empty unless "strongest" or "argmax" selects.
        """
        if self.space is None:
            return self._strongest(table, at)
        edges = self.tables[table].edges
        return {(edges.index((i, j)), name) for name, i, j in self.genotype(at).edges(table)}

    def _strongest(self, table: str, at: int) -> set[tuple[int, str]]:
        if self._rule not in ("strongest", "argmax"):
            return set()
        weights = np.where(np.isnan(self.alphas[table][at]), -np.inf, self.weights(table, at))
        names = self.tables[self._known(table)]
        order = np.argsort(-weights, axis=-1, kind="stable")  # ties to the lower index
        return {
            (row, candidates[column])
            for row, candidates in enumerate(names.candidates)
            for column in order[row, : names.keep(row)].tolist()
            if np.isfinite(weights[row, column])
        }

    @property
    def last_change(self) -> int:
        """The point of the last change of the genotype; 0 if it never changed.

        Genotypes with the same operations on the same edges count as equal, whatever their order. For a
        network of your own, it is the last change of the strongest candidates.
        """
        cells: list[Any] = (
            [{table: self.kept(table, at) for table in self.alphas} for at in range(len(self))]
            if self.space is None
            else [genotype.edge_set for genotype in self.genotypes]
        )
        return next((point for point in range(len(cells) - 1, 0, -1) if cells[point] != cells[point - 1]), 0)

    def entropy(self, table: str) -> Weights:
        """Return the entropy of the strengths in nats, averaged over the edges: [T].

        It is at most the mean of log(operations). If the mixing weights of an edge do not add up to 1, their
        magnitudes are first divided by their sum.
        """
        weights = self.weights(table)
        if self.weighted(table):
            sums = weights.sum(-1, keepdims=True)
            weights = weights / np.where(sums == 0, 1.0, sums)
        return _core.entropy(plain(self.relaxation), weights)

    @property
    def learns(self) -> bool:
        """Whether the search moves α; the relaxation "random" draws candidates without it."""
        return bool(self.about["name"] != "random")

    @property
    def selects(self) -> bool:
        """Whether α decides what is selected; "sampled" compares networks instead."""
        return bool(self._rule != "sampled")

    @property
    def counts_skips(self) -> bool:
        """Whether a candidate of the cells is a skip connection."""
        return self.space is not None and not {"skip_connect", "identity"}.isdisjoint(all_names(self.tables))

    @property
    def skips(self) -> npt.NDArray[np.int64]:
        """The number of skip connections in the genotype at each point: [T]."""
        return np.array([genotype.skip_connections for genotype in self.genotypes], dtype=np.int64)

    def margins(self, at: int = -1) -> tuple[Margin, ...]:
        """Return the margins of the selected edges and operations at a point, ordered by table and edge.

        Nodes are numbered as in `space.edges`.
        """
        return tuple(margin for table in self.alphas for margin in self._margins(table, at))

    def _margins(self, table: str, at: int) -> Iterator[Margin]:
        edges, candidates = self.tables[table].edges, self.tables[table].candidates
        kept = dict(self.kept(table, at))
        weights = np.where(np.isnan(self.alphas[table][at]), np.nan, self.weights(table, at))
        found = [
            {
                name: weight
                for name, weight in zip(names, row, strict=False)
                if weight == weight and name != self.tables[table].unselectable
            }
            for names, row in zip(candidates, weights.tolist(), strict=True)
        ]
        strength = [max(row.values(), default=0.0) for row in found]
        for row, chosen in sorted(kept.items()):
            others = {name: weight for name, weight in found[row].items() if name != chosen}
            following = max(others, key=others.__getitem__, default="")  # the first among equals
            rest = [strength[k] for k, (_, j) in enumerate(edges) if j == edges[row][1] and k not in kept]
            yield Margin(
                table,
                edges[row][1],
                edges[row],
                chosen,
                following,
                found[row][chosen] - others[following] if others else math.nan,
                strength[row] - max(rest) if rest else math.nan,
            )

    @cached_property
    def about(self) -> dict[str, Any]:
        """The relaxation's `name`, whether its weights are `shares` of 1, and its `scheduled` parameters."""
        return _core.relaxation_at(plain(self.relaxation), 0, self._total)

    def parameters(self, at: int = -1) -> dict[str, float]:
        """Return the parameters of the relaxation at a point, such as its temperature."""
        assert self.parameter_epochs is not None
        about = _core.relaxation_at(plain(self.relaxation), self.parameter_epochs[at], self._total)
        found: dict[str, float] = about["parameters"]
        return found

    def relaxation_in_words(self, at: int | None = None) -> list[str]:
        """Name the relaxation unless it is softmax and, at a point, the parameters that have a schedule."""
        name, scheduled = self.about["name"], self.about["scheduled"]
        now = {} if at is None or not scheduled else self.parameters(at)
        changing = [f"{parameter} {now[parameter]:.3g}" for parameter in scheduled if now]
        return [*([] if name == "softmax" else [name]), *changing]

    def decided(self) -> list[tuple[float, int, Mapping[str, Any]]]:
        """Return the decisions with their positions in time, and the epochs at whose ends they were taken."""
        epochs, (time, unit) = np.asarray(self.parameter_epochs), self.time
        if unit == "epoch":
            return [(epoch + 1.0, epoch, decision) for epoch, decision in self.decisions]
        until = [int((epochs <= epoch).sum()) - 1 for epoch, _ in self.decisions]
        return [(float(time[at]), *entry) for at, entry in zip(until, self.decisions, strict=True)]

    @property
    def _rule(self) -> str:
        return str(rule["name"] if isinstance(rule := plain(self.selection), Mapping) else rule)

    @property
    def _total(self) -> int:
        return max(self.epochs, 1) if self.total_epochs is None else self.total_epochs

    def _known(self, table: str) -> str:
        if table not in self.alphas:
            raise ValueError(f"no table {shown(table)}; choose from {', '.join(self.alphas)}")
        return table

    def _fixed(self, table: str) -> Weights | None:
        """Return the mixing weights of decided rows over time, NaN elsewhere; None if no row is decided.

        A decision holds for points of later epochs, and for the last point.
        """
        rows = [
            (epoch, decision)
            for epoch, decision in in_effect(self.decisions)
            if decision["decision"] in ("freeze", "drop") and decision["table"] == table
        ]
        if not rows:
            return None
        fixed, epochs = np.full(self.alphas[table].shape, np.nan), np.asarray(self.parameter_epochs)
        for epoch, decision in rows:
            later = epochs > epoch
            later[-1] = True
            fixed[later, decision["row"]] = 0.0
            if decision["decision"] == "freeze":
                fixed[later, decision["row"], decision["column"]] = 1.0
        return fixed
