"""`Genotype`: a discrete cell as the search leaves it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt

from .. import _core
from . import notations, views
from .notations import Genes
from .record import Record
from .space import INPUTS, KEPT, Space, as_space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Edges: TypeAlias = tuple[tuple[str, int, int], ...]


class Genotype(Record):
    """The operations kept: for every intermediate node its incoming edges as (operation, source node).

    `normal` and `reduce` are flat: with k = 2 edges a node, entries 0 and 1 belong to node 2, entries 2 and 3
    to node 3, and so on. Node 0 is c_{k-2}, node 1 is c_{k-1}. `normal_concat` and `reduce_concat` list the
    nodes whose outputs are concatenated. A recurrent genotype has `recurrent` and `concat` instead; what a
    genotype has not is empty. `str()` prints the paper's notation, which is also a Python expression.

    Raises:
        GenotypeError: an unknown operation, one of another kind of cell, a cell without edges or output.
            Which nodes edges go to depends on their number a node: sources are checked by `build`, for two
            (recurrent: one), and by `validate`, for a space.

    >>> genotype = Genotype(
    ...     normal=[("sep_conv_3x3", 1), ("skip_connect", 0)], normal_concat=range(2, 3),
    ...     reduce=[("max_pool_3x3", 0), ("skip_connect", 1)], reduce_concat=range(2, 3),
    ... )
    >>> genotype.skip_connections
    2
    >>> Genotype.from_notation(str(genotype)) == genotype
    True
    """

    __slots__ = ()
    _error = _core.GenotypeError
    normal: Genes
    normal_concat: tuple[int, ...]
    reduce: Genes
    reduce_concat: tuple[int, ...]
    recurrent: Genes
    concat: tuple[int, ...]

    def __init__(
        self,
        *,
        normal: Iterable[tuple[str, int]] | None = None,
        normal_concat: Iterable[int] | None = None,
        reduce: Iterable[tuple[str, int]] | None = None,
        reduce_concat: Iterable[int] | None = None,
        recurrent: Iterable[tuple[str, int]] | None = None,
        concat: Iterable[int] | None = None,
    ) -> None:
        fields = {
            "normal": normal,
            "normal_concat": normal_concat,
            "reduce": reduce,
            "reduce_concat": reduce_concat,
            "recurrent": recurrent,
            "concat": concat,
        }
        self._fill({name: list(value) for name, value in fields.items() if value is not None})

    @staticmethod
    def _resolve(text: str) -> str:
        return _core.check_genotype(text, None)

    if not TYPE_CHECKING:  # checkers see the annotated fields only

        def __getattr__(self, name: str) -> Any:
            if name in _ORDER:
                return self._read(name, self._values.get(name, []))
            raise AttributeError(f"a Genotype has no field {name!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Genotype:
        """The genotype of a dictionary as `to_dict` gives it: genes as [operation, node]."""
        return cls._of(values)

    @classmethod
    def from_json(cls, text: str) -> Genotype:
        """The genotype of a JSON object as `to_json` gives it.

        Raises:
            GenotypeError: not JSON, or not a genotype.
        """
        return cls._of_json(text)

    def to_json(self, indent: int | None = None) -> str:
        """As a JSON object: `{"normal": [[operation, node], ...], "normal_concat": [...], ...}`."""
        return json.dumps(self._values, indent=indent)

    @classmethod
    def from_notation(cls, text: str) -> Genotype:
        """The genotype of the paper's notation, `Genotype(normal=[('sep_conv_3x3', 1), ...], ...)`.

        Raises:
            GenotypeError: malformed text; the message gives the position.
        """
        return cls.from_json(_core.genotype_from_notation(text))

    @classmethod
    def from_nni(cls, values: Mapping[str, Any]) -> Genotype:
        """The genotype of a dictionary of NNI's hub, as `to_nni` gives it.

        Sources may be numbers (NNI 2) or lists of one (NNI 3). Keys of neither cell, such as the width of
        NNI's network, are passed over: they are arguments of `build`.

        Raises:
            GenotypeError: a key that is missing or says nothing, an operation that no network here has, a
                source that is not below its node; the message names the key.

        >>> from pydarts import genotypes
        >>> Genotype.from_nni(genotypes.DARTS_V1.to_nni()) == genotypes.DARTS_V1
        True
        """
        return cls.from_dict(notations.from_nni(values))

    def to_nni(self) -> dict[str, str | list[int]]:
        """As the dictionary that NNI's hub takes (`nni.nas.hub.pytorch.DARTS.frozen_factory`, NNI 3).

        For each edge k (0 or 1) into node j of a cell: `"normal/op_j_k"`, its operation, and
        `"normal/input_j_k"`, a list of its source; `"reduce/..."` alike. Nodes and operations bear the
        numbers and names that they have here. The output of NNI's cells is of all nodes.

        Raises:
            GenotypeError: recurrent, not two edges a node, or an output that is not of all nodes.

        >>> from pydarts import genotypes
        >>> values = genotypes.DARTS_V2.to_nni()
        >>> values["normal/op_5_1"], values["normal/input_5_1"]
        ('dil_conv_3x3', [2])
        """
        return notations.to_nni(self)

    @classmethod
    def from_nasbench301(cls, values: Mapping[str, Any]) -> Genotype:
        """The genotype of a NAS-Bench-301 dictionary, as `to_nasbench301` or ConfigSpace gives it.

        Of the two edges into a node that from the lower one comes first. Keys of neither cell, such as those
        of the optimiser, are passed over: they are about the training.

        Raises:
            GenotypeError: a key that is missing or says nothing, an operation or a choice of sources that the
                space has not; the message names the key.

        >>> from pydarts import genotypes
        >>> values = genotypes.DARTS_V2.to_nasbench301()
        >>> Genotype.from_nasbench301(values).to_nasbench301() == values
        True
        """
        return cls.from_dict(notations.from_nasbench301(values))

    def to_nasbench301(self) -> dict[str, str]:
        """As the ConfigSpace dictionary that NAS-Bench-301 takes (`representation="configspace"`).

        `"NetworkSelectorDatasetInfo:darts:edge_normal_r"`: the operation on the edge of α's row r;
        `"NetworkSelectorDatasetInfo:darts:inputs_node_normal_j"`: the two sources of node j > 2, as `"0_2"`;
        `reduce` alike. This does not tell which of a node's two edges was the stronger, the first of the
        two here: the network is the same.

        Raises:
            GenotypeError: not a genotype of the space `"darts"`, or an output that is not of all nodes.

        >>> from pydarts import genotypes
        >>> values = genotypes.DARTS_V2.to_nasbench301()
        >>> values["NetworkSelectorDatasetInfo:darts:inputs_node_normal_5"]
        '0_2'
        >>> values["NetworkSelectorDatasetInfo:darts:edge_normal_11"]
        'dil_conv_3x3'
        """
        return notations.to_nasbench301(self)

    def validate(self, space: str | Space) -> None:
        """Check that this genotype is one of `space`.

        Raises:
            GenotypeError: another number of edges, an operation that the space has not, two edges from one
                node.

        >>> from pydarts import genotypes
        >>> genotypes.DARTS_V2.validate("darts")
        """
        _core.check_genotype(self.to_json(), json.dumps(as_space(space)._values))

    def plot(self, ax: Axes | None = None) -> npt.NDArray[Any]:
        """Draw the cells as graphs: `plots.cells`."""
        return views.cells.cells(self, ax=ax)

    def to_dot(self) -> str:
        """The cells in the DOT language of Graphviz, which lays them out: a cluster a cell.

        >>> from pydarts import genotypes
        >>> 'recurrent_0 -> recurrent_1 [label="sigmoid"' in genotypes.DARTS_RNN_V2.to_dot()
        True
        """
        return views.export.to_dot(self)

    def to_svg(self) -> str:
        """The picture of `plot` as an SVG document, with its text as text.

        The same genotype gives the same bytes, whatever matplotlib is set to.

        >>> from pydarts import genotypes
        >>> genotypes.DARTS_V2.to_svg().count("sep_conv_3x3")
        5
        """
        return views.export.to_svg(self)

    def edges(self, table: str) -> Edges:
        """The edges of a cell as (operation, source node, target node), in the order of its genes.

        Genes do not say where a node ends. Two of them belong to each node, in a recurrent cell one, as
        `build` takes them (`Space.edges_kept`), the first to the first intermediate node. Where that leaves a
        node of the output without edges, or an edge would come from above, another number of edges into each
        node is looked for: `derive` can be asked for it.

        Args:
            table: "normal", "reduce" or "recurrent"; a cell that the genotype has not has no edges.

        Raises:
            ValueError: another name.
            GenotypeError: genes that are no cell with so many edges into each node.

        >>> from pydarts import genotypes
        >>> genotypes.DARTS_V2.edges("normal")[-2:]
        (('skip_connect', 0, 5), ('dil_conv_3x3', 2, 5))
        >>> genotypes.DARTS_RNN_V2.edges("recurrent")[:2]
        (('sigmoid', 0, 1), ('relu', 1, 2))
        """
        if table not in _CELLS:
            raise ValueError(f"no cell {table!r}; there is {', '.join(_CELLS)}")
        kind = "recurrent" if table == "recurrent" else "convolutional"
        genes = getattr(self, table)
        if not genes:
            return ()
        concat = self.concat if table == "recurrent" else getattr(self, f"{table}_concat")
        last = max(concat)
        for kept in (KEPT[kind], *range(1, last + 1)):
            ends = targets(len(genes), INPUTS[kind], kept)
            # Nodes after the output's last may be there, but are not what another number is looked for by.
            reaches = ends[-1] >= last if kept == KEPT[kind] else ends[-1] == last
            edges = tuple((name, source, end) for (name, source), end in zip(genes, ends, strict=False))
            if reaches and len(ends) == len(genes) and all(source < end for _, source, end in edges):
                return edges
        raise _core.GenotypeError(
            f"cell `{table}`: its {len(genes)} edges are not equally many into each node, from nodes "
            f"below it, up to node {last} of the output"
        )

    @property
    def edge_set(self) -> frozenset[tuple[str, str, int, int]]:
        """All edges as (table, operation, source node, target node), without an order.

        Two genotypes of a space that have the same stand for the same network, however each ranks the edges
        into a node.

        >>> from pydarts import Genotype
        >>> one = Genotype(recurrent=[("tanh", 0)], concat=[1])
        >>> one.edge_set
        frozenset({('recurrent', 'tanh', 0, 1)})
        >>> genes = [("sep_conv_3x3", 0), ("skip_connect", 1)]
        >>> one = Genotype(normal=genes, normal_concat=[2], reduce=genes, reduce_concat=[2])
        >>> other = Genotype(normal=genes[::-1], normal_concat=[2], reduce=genes, reduce_concat=[2])
        >>> one == other, one.edge_set == other.edge_set
        (False, True)
        """
        return frozenset((table, *edge) for table in _CELLS for edge in self.edges(table))

    @property
    def skip_connections(self) -> int:
        """How many edges are skip connections (`identity` in a recurrent cell), in all cells together."""
        genes = (*self.normal, *self.reduce, *self.recurrent)
        return sum(operation in ("skip_connect", "identity") for operation, _ in genes)

    def __str__(self) -> str:
        return _core.genotype_to_notation(self.to_json())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return views.cards.of_genotype(self)


def targets(count: int, first: int, kept: int) -> list[int]:
    """The nodes that so many edges enter, `kept` into each or as many as there are nodes below it.

    Where the last node has fewer, the list goes on to its end.

    >>> targets(4, 2, 2), targets(5, 2, 3), targets(4, 2, 3)
    ([2, 2, 3, 3], [2, 2, 3, 3, 3], [2, 2, 3, 3, 3])
    """
    found: list[int] = []
    node = first
    while len(found) < count:
        found += [node] * min(kept, node)
        node += 1
    return found


_CELLS = ("normal", "reduce", "recurrent")
_ORDER = ("normal", "normal_concat", "reduce", "reduce_concat", "recurrent", "concat")
