"""`Genotype`: the discrete cells of a network, as an immutable value."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from .. import _core
from . import notations, views
from .notations import Edges, Genes
from .operation import Operation, named
from .plot import Plot, PlotOptions
from .record import Record, without_mark
from .space import Space, as_space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Self, Unpack

Gene: TypeAlias = tuple[str | Operation, int]
Given: TypeAlias = Iterable[Gene] | Iterable[Iterable[Gene]]


class Genotype(Record, _core.Genotype):
    """The operations kept: for every intermediate node its incoming edges as (operation, source node).

    A cell is given as a list of nodes, each a list of edges, or as one flat list of the edges of all nodes,
    as it is published: with two edges per node, or one in a recurrent cell. `normal`, `reduce` and
    `recurrent` are flat; `nodes` lists the edges of each node, and `edges` has the target of each edge too. A
    node may have no edges: it is zeros. A flat list cannot express that, so `normal`, `reduce` and
    `recurrent` then raise a GenotypeError. Node 0 is c_{k-2}, node 1 is c_{k-1}.
    `normal_concat` and `reduce_concat` list the nodes whose outputs are concatenated. A recurrent genotype
    has `recurrent` and `concat` instead; the other fields are empty. A genotype of the space
    `"nas-bench-201"` has `cell` and `cell_concat`, and its node 0 is the input; a flat list has the edges
    from all lower nodes into each node, in order. An edge may hold `none`, which carries zeros; `derive`
    selects it only where the space says so, but cells of other tools contain it. `str()` prints the published
    notation, which is also a Python expression; a cell whose flat list would not be read back is printed
    as a list of nodes.

    Raises:
        GenotypeError: an unknown operation, one of another kind of cell, a cell without nodes or output, an
            edge from a node that is not below its target, or a flat list that does not have the published
            number of edges per node.

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
    cell: Genes
    cell_concat: tuple[int, ...]
    __signature__: ClassVar[inspect.Signature]

    def __init__(
        self,
        *,
        normal: Given | None = None,
        normal_concat: Iterable[int] | None = None,
        reduce: Given | None = None,
        reduce_concat: Iterable[int] | None = None,
        recurrent: Given | None = None,
        concat: Iterable[int] | None = None,
        cell: Given | None = None,
        cell_concat: Iterable[int] | None = None,
    ) -> None:
        pass  # `__new__` has read the fields

    def __new__(cls, **fields: Iterable[Any] | None) -> Self:
        """Read the fields, iterators among them; None means "not given"."""
        return cls._of(
            {
                name: named(list(map(_listed, value)), {})
                for name, value in fields.items()
                if value is not None
            }
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Genotype:
        """Create a genotype from a dictionary such as `to_dict` returns, with edges [operation, source]."""
        return cls._of(values)

    @classmethod
    def from_json(cls, text: str) -> Genotype:
        """Create a genotype from a JSON object such as `to_json` returns.

        Raises:
            GenotypeError: not JSON, or not a genotype.
        """
        return cls._of_json(text)

    def to_json(self, indent: int | None = None) -> str:
        """Return JSON: `{"normal": [[[operation, source], ...], ...], "normal_concat": [...], ...}`."""
        return self._json(indent)

    @classmethod
    def from_notation(cls, text: str) -> Genotype:
        """Read a genotype in the published notation, `Genotype(normal=[('sep_conv_3x3', 1), ...], ...)`.

        It also reads values without names; one list per node (pt.darts); a weight after each source, and a
        dictionary (AutoDL); comments; lists and numbers as NumPy and PyTorch print them; a genotype in
        quotes, in a Markdown fence, or after other text, such as an assignment or the beginning of a log
        line; and a cell of NAS-Bench-201. The text is parsed, never evaluated.

        Raises:
            GenotypeError: malformed text, or the text of several genotypes; the message gives the position.

        >>> line = "2019-12-30 04:54:12 genotype = Genotype([('relu', 0), ('tanh', 1)], range(1, 3))"
        >>> Genotype.from_notation(line)
        Genotype(recurrent=[('relu', 0), ('tanh', 1)], concat=[1, 2])
        """
        return cls._of(_core.Genotype._parse_notation(without_mark(text)))

    @classmethod
    def from_nasbench201(cls, text: str) -> Genotype:
        """Read a cell of NAS-Bench-201, `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.

        The groups are the edges into nodes 1, 2 and 3; `~0` is their source. The output is the last node.

        Raises:
            GenotypeError: malformed text; the message gives the position.

        >>> cell = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
        >>> genotype = Genotype.from_nasbench201(cell)
        >>> genotype.nodes("cell")[1]
        (('none', 0), ('nor_conv_3x3', 1))
        >>> genotype.to_nasbench201() == cell
        True
        """
        return cls._of(_core.Genotype._parse_nasbench201(without_mark(text)))

    def to_nasbench201(self) -> str:
        """Return the string of a cell of NAS-Bench-201.

        Raises:
            GenotypeError: a genotype of another space, or a node without an edge from every lower node.
        """
        return super().to_nasbench201()

    @classmethod
    def from_transnas101(cls, text: str) -> Genotype:
        """Read a cell of TransNAS-Bench-101, `1_02_333`; the code of its network may precede it.

        The groups are the edges into nodes 1, 2 and 3; each digit is the number of an operation of the space.

        Raises:
            GenotypeError: malformed text.

        >>> Genotype.from_transnas101("64-41414-1_02_333").nodes("cell")[1]
        (('none', 0), ('nor_conv_1x1', 1))
        """
        return cls.from_dict(notations.from_transnas101(text))

    def to_transnas101(self, network: str | None = None) -> str:
        """Return a cell of TransNAS-Bench-101, after the code of its network if one is given (`"64-41414"`).

        Raises:
            GenotypeError: a genotype of another space, or a malformed code.
        """
        return notations.to_transnas101(self, network)

    @classmethod
    def from_nni(cls, values: Mapping[str, Any]) -> Genotype:
        """Create a genotype from a dictionary of NNI's hub, such as `to_nni` returns.

        Sources may be numbers (NNI 2) or lists of one number (NNI 3). Keys that belong to neither cell, such
        as the width of NNI's network, are ignored; `build` has arguments for them.

        Raises:
            GenotypeError: a missing or superfluous key, an unknown operation, or a source that is not below
                its node; the message names the key.

        >>> from pydarts import genotypes
        >>> Genotype.from_nni(genotypes.DARTS_V1.to_nni()) == genotypes.DARTS_V1
        True
        """
        return cls.from_dict(notations.from_nni(values))

    def to_nni(self) -> dict[str, str | list[int]]:
        """Return the dictionary that NNI's hub takes (`nni.nas.hub.pytorch.DARTS.frozen_factory`, NNI 3).

        For each edge k (0 or 1) into node j of a cell: `"normal/op_j_k"`, its operation, and
        `"normal/input_j_k"`, a list of its source; the same for `"reduce/..."`. Numbers of nodes and names of
        operations are those of pydarts. The output of NNI's cells consists of all nodes.

        Raises:
            GenotypeError: a recurrent genotype, a node without exactly two edges, an edge with the operation
                `none`, or an output that does not consist of all nodes.

        >>> from pydarts import genotypes
        >>> values = genotypes.DARTS_V2.to_nni()
        >>> values["normal/op_5_1"], values["normal/input_5_1"]
        ('dil_conv_3x3', [2])
        """
        return notations.to_nni(self)

    @classmethod
    def from_nasbench301(cls, values: Mapping[str, Any]) -> Genotype:
        """Create a genotype from a NAS-Bench-301 dictionary of `to_nasbench301` or ConfigSpace.

        The edges into a node are sorted by source. Keys that belong to neither cell, such as those of the
        optimiser, are ignored.

        Raises:
            GenotypeError: a missing or superfluous key, or an operation or a choice of sources that is not in
                the space; the message names the key.

        >>> from pydarts import genotypes
        >>> values = genotypes.DARTS_V2.to_nasbench301()
        >>> Genotype.from_nasbench301(values).to_nasbench301() == values
        True
        """
        return cls.from_dict(notations.from_nasbench301(values))

    def to_nasbench301(self) -> dict[str, str]:
        """Return the ConfigSpace dictionary that NAS-Bench-301 takes (`representation="configspace"`).

        `"NetworkSelectorDatasetInfo:darts:edge_normal_r"`: the operation on the edge of α's row r;
        `"NetworkSelectorDatasetInfo:darts:inputs_node_normal_j"`: the two sources of node j > 2, as `"0_2"`;
        the same for `reduce`. The order of the two edges into a node, the stronger first, is lost; the
        network is the same.

        Raises:
            GenotypeError: not a genotype of the space `"darts"`, an edge with the operation `none`, or an
                output that does not consist of all nodes.

        >>> from pydarts import genotypes
        >>> values = genotypes.DARTS_V2.to_nasbench301()
        >>> values["NetworkSelectorDatasetInfo:darts:inputs_node_normal_5"]
        '0_2'
        >>> values["NetworkSelectorDatasetInfo:darts:edge_normal_11"]
        'dil_conv_3x3'
        """
        return notations.to_nasbench301(self)

    def validate(self, space: str | Space) -> None:
        """Check that this genotype belongs to `space`.

        Raises:
            GenotypeError: another number of nodes, an operation that is not in the space, or two edges from
                one node. The number of edges depends on the selection; a node may have any.

        >>> from pydarts import genotypes
        >>> genotypes.DARTS_V2.validate("darts")
        """
        self._validate_in(as_space(space))

    def plot(
        self,
        ax: Axes | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw the cells as graphs: `plots.cells`."""
        return views.plots.cells(self, ax=ax, **options)

    def to_dot(self) -> str:
        """Return the cells in the DOT language of Graphviz, one cluster per cell.

        >>> from pydarts import genotypes
        >>> 'recurrent_0 -> recurrent_1 [label="sigmoid"' in genotypes.DARTS_RNN_V2.to_dot()
        True
        """
        return views.export.to_dot(self)

    def to_svg(self) -> str:
        """The picture of `plot` as an SVG document, in which text stays text.

        Equal genotypes give equal bytes; settings of matplotlib have no effect.

        >>> from pydarts import genotypes
        >>> genotypes.DARTS_V2.to_svg().count("sep_conv_3x3")
        5
        """
        return views.export.to_svg(self)

    def edges(self, table: str) -> Edges:
        """The edges of a cell as (operation, source node, target node), node by node.

        Args:
            table: "normal", "reduce", "recurrent" or "cell"; empty if this genotype has no such cell.

        Raises:
            ValueError: another name.

        >>> from pydarts import genotypes
        >>> genotypes.DARTS_V2.edges("normal")[-2:]
        (('skip_connect', 0, 5), ('dil_conv_3x3', 2, 5))
        >>> genotypes.DARTS_RNN_V2.edges("recurrent")[:2]
        (('sigmoid', 0, 1), ('relu', 1, 2))
        """
        return super().edges(table)

    def nodes(self, table: str) -> tuple[Genes, ...]:
        """The edges into each node of a cell as (operation, source node).

        Args:
            table: "normal", "reduce", "recurrent" or "cell"; empty if this genotype has no such cell.

        Raises:
            ValueError: another name.

        >>> Genotype(recurrent=[[], [("tanh", 0)]], concat=[1, 2]).nodes("recurrent")
        ((), (('tanh', 0),))
        """
        return super().nodes(table)

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the cells: `("normal", "reduce")`, `("recurrent",)` or `("cell",)`.

        >>> from pydarts import genotypes
        >>> genotypes.DARTS_V2.tables
        ('normal', 'reduce')
        """
        return super().tables

    @property
    def kind(self) -> Literal["convolutional", "recurrent"]:
        """The kind of the cells.

        >>> from pydarts import genotypes
        >>> genotypes.DARTS_V2.kind
        'convolutional'
        """
        return super().kind

    @property
    def dimensions(self) -> int | None:
        """2 if the operations are those of images, 1 if of sequences; None if they are neither.

        `none`, `skip_connect` and the operations of recurrent cells are neither.

        >>> from pydarts import genotypes
        >>> genotypes.DARTS_V2.dimensions, genotypes.DARTS_RNN_V2.dimensions
        (2, None)
        """
        return super().dimensions

    @property
    def edge_set(self) -> frozenset[tuple[str, str, int, int]]:
        """The set of all edges as (table, operation, source node, target node).

        Genotypes of a space with equal sets describe the same network; the order of the edges into a node
        may differ.

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
        return frozenset((table, *edge) for table in self.tables for edge in self.edges(table))

    @property
    def skip_connections(self) -> int:
        """The number of skip connections (`identity` in a recurrent cell) in all cells."""
        return super().skip_connections

    def __str__(self) -> str:
        return super().__str__()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return views.cards.of_genotype(self)


def _listed(item: Any) -> Any:
    """Return a node as a list of edges; an edge or a number is returned as it is."""
    lists = isinstance(item, Iterable) and not isinstance(item, (str, Mapping, np.ndarray))
    return list(item) if lists else item


# `__new__` takes any name, so that the core refuses unknown ones; `__init__` has the names.
_WITHOUT_SELF = list(inspect.signature(Genotype.__init__).parameters.values())[1:]
Genotype.__signature__ = inspect.Signature(_WITHOUT_SELF)
