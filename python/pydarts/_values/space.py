"""`Space`: the graph of a cell and the candidates of its edges, as an immutable value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .. import _core
from .operation import Operation, named
from .record import Record, differences, freeze

if TYPE_CHECKING:
    from typing_extensions import Self

Kind: TypeAlias = Literal["convolutional", "recurrent"]
Output: TypeAlias = Literal["concat", "mean", "last"]
Stages: TypeAlias = int | Sequence[tuple[int, int]]
SpaceStem: TypeAlias = Literal["convolution", "strided"]
Candidate: TypeAlias = str | Operation
Candidates: TypeAlias = (
    Sequence[Candidate] | Mapping[str, Sequence[Candidate] | Sequence[Sequence[Candidate]]]
)
Names: TypeAlias = tuple[str, ...]


class Space(Record, _core.Space):
    """A search space: the cell's graph and the operations on its edges (paper, section 2.1).

    Every field has a default: that of the preset `name`, if there is one. Otherwise the defaults are those of
    `"darts-1d"` if the operations are those of sequences, of `"darts-rnn"` if `kind` or the operations are
    recurrent, of `"nas-bench-201"` if `stages` is a number, of `"transnas-bench-101"` if it is a list, and
    else of the published convolutional space `"darts"`. A space is immutable; `replace(...)` makes another.

    Args:
        name: the name of the space in results and messages; the name of a preset gives the defaults of the
            other fields.
        operations: names of the candidates, in the order of α's columns: one list for all edges, or a mapping
            from each table to a list, or to one list per edge in the order of `edges`. Convolutional: `none`,
            `skip_connect`, `max_pool_3x3`, `avg_pool_3x3`, `sep_conv_3x3`, `sep_conv_5x5`, `sep_conv_7x7`,
            `dil_conv_3x3`, `dil_conv_5x5`, `conv_1x1`, `conv_3x3`, `conv_7x1_1x7`, `noise`, and
            `nor_conv_1x1` and `nor_conv_3x3`, the names of NAS-Bench-201 for the same as `conv_1x1` and
            `conv_3x3`. On sequences: `none`, `skip_connect`, `noise`, `max_pool_k` and `avg_pool_k` with k =
            3, 5, 7, `sep_conv_k` with k = 3, 5, 7, 15, 31, `dil_conv_k` (dilation 2) with k = 3, 5, 7,
            `conv_k` with k = 1, 3, 5, 7. `noise` outputs standard normal numbers and ignores its input.
            Recurrent: `none`, `tanh`, `relu`, `sigmoid`, `identity`. Convolutional cells may have operations
            of your own, each given as a `pydarts.Operation` instead of a name.
        nodes: intermediate nodes of a cell (4; recurrent 8).
        concat: numbers of the nodes that form the output of the cell; default: all intermediate nodes.
            Convolutional cells number their two inputs 0 and 1, so these are 2 … nodes + 1. With `stages`
            node 0 is the only input.
        reductions: positions of the reduction cells; default: layers // 3 and 2 · layers // 3.
        stem_multiplier: channels of the stem over channels of the cells (3).
        kind: `"convolutional"` or `"recurrent"`.
        output: `"concat"`: the nodes of `concat`, concatenated (convolutional cells); `"mean"`: their mean
            (recurrent cells); `"last"`: the last node alone.
        keep: the edges into a node that a genotype keeps: their number (2; recurrent 1), `"every_edge"`, or
            `{"threshold": t}`: those whose strength is at least t.
        none_selectable: whether `none` may be selected (False).
        dimensions: 2 for images [N, C, H, W], 1 for sequences [N, C, L]; default: that of the operations.
            None in a recurrent space.
        causal: for sequences, whether all padding is before the first position (False). Position i of a layer
            with total stride s then depends only on positions 0 to s·i of the sequence. This holds for every
            convolution, pooling and reduction, but not for layers that read all positions: batch norm while
            it uses the statistics of the batch, and the mean before the classifier.
        stages: the number of stages of a network whose cells are all the same cell, `"cell"`, with node 0 as
            its only input (None; 3 in `"nas-bench-201"`). Each stage has `layers` cells. Between two stages a
            residual block, which is not searched, halves the size and doubles the channels; batch norm and a
            ReLU precede the classifier. Or a list with one pair (factor, stride) per stage. There are then no
            blocks; in the first cell of a stage, the edges that leave the input multiply the channels by the
            factor and have the stride, 1 or 2. A skip connection there is a factorized reduction; pooling and
            operations of your own are possible only if the factor is 1.
        pooling_norm: whether batch norm follows pooling (True; with `stages` False).
        affine: with `stages`, whether batch norms in the cells of the search network have weights (False).
        bias: with `stages`, whether convolutions in the cells of the search network have a bias (False);
            the batch norm after them cancels it.
        stem: with `stages`, `"convolution"`, one 3x3 convolution, or `"strided"`, two with stride 2, the
            first to half of the channels (`"convolution"`; with a list of `stages` `"strided"`).
        own_operations: facts about operations of your own, if `operations` lists them by name, as in a saved
            space; leave it out if `operations` holds the `Operation`s themselves.

    Raises:
        SpaceError: an unknown operation or table, a duplicate, a wrong number of lists, an empty or
            impossible space.

    >>> space = Space(operations=["none", "skip_connect", "conv_3x3"], nodes=2)
    >>> space.edges
    ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    >>> space.replace(nodes=1).concat
    (2,)

    Different candidates per cell, and per edge:

    >>> reduce = [["max_pool_3x3"], ["avg_pool_3x3", "skip_connect"]]
    >>> space = Space(operations={"normal": ["none", "conv_3x3"], "reduce": reduce}, nodes=1)
    >>> space.columns("reduce")
    (('max_pool_3x3',), ('avg_pool_3x3', 'skip_connect'))

    Sequences, with all padding in the past:

    >>> space = Space(name="darts-1d", causal=True)
    >>> space.dimensions, space.operations[:3]
    (1, ('none', 'max_pool_3', 'avg_pool_3'))

    A cell of five nodes in a network of two stages:

    >>> space = Space(stages=2, nodes=4, operations=["none", "skip_connect", "conv_3x3"])
    >>> space.tables, space.inputs, len(space.edges), space.output
    (('cell',), 1, 10, 'last')
    """

    __slots__ = ()
    _error = _core.SpaceError
    name: str
    operations: Any
    """Names of the candidates; where edges differ, a dictionary: table -> names, or names per edge."""
    nodes: int
    concat: tuple[int, ...]
    reductions: tuple[int, ...] | None
    stem_multiplier: int
    kind: Kind
    output: Output
    keep: int | Literal["every_edge"] | dict[str, float]
    none_selectable: bool
    dimensions: Literal[1, 2] | None
    causal: bool
    stages: int | tuple[tuple[int, int], ...] | None
    pooling_norm: bool
    affine: bool
    bias: bool
    stem: SpaceStem | None
    own_operations: dict[str, str]
    """The operations of your own: name -> "module:qualname" of the factory, with a hash of its code."""

    def __new__(cls, **fields: Any) -> Self:
        """Read the fields; None means "not given"."""
        return cls._of({name: value for name, value in fields.items() if value is not None})

    @classmethod
    def _of(cls, value: object) -> Self:
        if isinstance(value, Mapping) and "operations" in value:
            own: dict[str, str] = {}
            operations = named(value["operations"], own)
            value = {**value, "operations": operations}
            if own:
                value["own_operations"] = {**(value.get("own_operations") or {}), **own}
        return super()._of(value)

    def __init__(
        self,
        *,
        name: str | None = None,
        operations: Candidates | None = None,
        nodes: int | None = None,
        concat: Sequence[int] | None = None,
        reductions: Sequence[int] | None = None,
        stem_multiplier: int | None = None,
        kind: Kind | None = None,
        output: Output | None = None,
        keep: int | Literal["every_edge"] | Mapping[str, float] | None = None,
        none_selectable: bool | None = None,
        dimensions: Literal[1, 2] | None = None,
        causal: bool | None = None,
        own_operations: Mapping[str, str] | None = None,
        stages: Stages | None = None,
        pooling_norm: bool | None = None,
        affine: bool | None = None,
        bias: bool | None = None,
        stem: SpaceStem | None = None,
    ) -> None:
        pass  # `__new__` has read the fields

    @classmethod
    def preset(cls, name: str) -> Space:
        """Return the space with this name.

        The names are `"darts"`, `"darts-rnn"`, `"darts-1d"`, `"nas-bench-201"`, `"transnas-bench-101"`,
        `"s1"`, `"s2"`, `"s3"` and `"s4"`.

        `"darts-1d"` has the cells and candidates of `"darts"` for sequences [N, C, L], with kernels of 3 and
        5 points. `"nas-bench-201"` is the space of NAS-Bench-201 (Dong and Yang, 2020), the topology space of
        NATS-Bench, whose 15,625 cells have known accuracies. `"transnas-bench-101"` is the cell-level space
        of TransNAS-Bench-101 (Duan et al., 2021), 4,096 cells, as a classifier. The last four have the cells
        of `"darts"` with two or three candidates per edge, on which searches often fail (Zela et al.,
        "Understanding and Robustifying Differentiable Architecture Search", 2020); in `"s4"` one of the two
        is `noise`.

        Raises:
            ConfigError: an unknown name; the message suggests the nearest one.

        >>> Space.preset("darts").operations[:3]
        ('none', 'max_pool_3x3', 'avg_pool_3x3')
        >>> Space.preset("s1").columns("normal")[:2]
        (('skip_connect', 'dil_conv_3x3'), ('skip_connect', 'dil_conv_5x5'))
        """
        return cls._of(name)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Space:
        """Create a space from a dictionary such as `to_dict` returns; missing fields take their defaults.

        >>> Space.from_dict(Space.preset("darts").to_dict()) == Space.preset("darts")
        True
        """
        return cls._of(values)

    def replace(self, **changes: Any) -> Space:
        """Return a copy with `changes`. A `concat` that holds all nodes follows a change of `nodes`."""
        values = self.to_dict() | changes
        every = len(self.concat) == self.nodes or changes.get("output", self.output) == "last"
        if every and "concat" not in changes and {"nodes", "output"} & changes.keys():
            values["concat"] = None
        return Space.from_dict(values)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Edges (i, j) from node i to node j, in the order of α's rows: by j, then i."""
        return super().edges

    @property
    def inputs(self) -> int:
        """The number of inputs of a cell: 2; 1 in recurrent cells and with `stages`. They come first.

        >>> Space().inputs, Space.preset("darts-rnn").inputs
        (2, 1)
        """
        return super().inputs

    @property
    def edges_kept(self) -> int | None:
        """The number of edges into each node of a genotype: 2, in recurrent cells 1 (paper, section 2.4).

        None where `keep` is not a number.

        >>> Space().edges_kept, Space.preset("darts-rnn").edges_kept
        (2, 1)
        """
        return super().edges_kept

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the α tables: `("normal", "reduce")`, `("recurrent",)`, or with `stages` `("cell",)`."""
        return super().tables

    @property
    def all_operations(self) -> Names:
        """Names of the candidates of all edges, each once.

        >>> Space.preset("s1").all_operations[:3]
        ('skip_connect', 'dil_conv_3x3', 'dil_conv_5x5')
        """
        return super().all_operations

    def columns(self, table: str) -> tuple[Names, ...]:
        """Names of the candidates of each row of an α table, in the order of its columns.

        Rows may differ in length; the table has as many columns as the longest, and the rest is padding.

        Raises:
            ValueError: a table that the space does not have.

        >>> Space(nodes=1, operations=["none", "conv_1x1"]).columns("normal")
        (('none', 'conv_1x1'), ('none', 'conv_1x1'))
        """
        return super().columns(table)

    def operations_of(self, table: str, row: int) -> Names:
        """Names of the candidates of one row of an α table.

        Raises:
            ValueError: a table that the space does not have.
            IndexError: a row beyond the last edge.

        >>> Space.preset("s1").operations_of("reduce", 0)
        ('max_pool_3x3', 'avg_pool_3x3')
        """
        return self.columns(table)[row]

    def __repr__(self) -> str:
        base = Space(kind=self.kind, stages=self.stages).to_dict()
        shown = differences(self.to_dict(), base)
        if self.kind == "recurrent":
            shown = {"kind": "recurrent"} | shown
        if self.stages is not None:
            shown = {"stages": self.stages} | shown
        return f"Space({', '.join(f'{name}={freeze(value)!r}' for name, value in shown.items())})"


def as_space(space: str | Space) -> Space:
    """A space from its name or itself.

    >>> as_space("darts").nodes
    4
    """
    return space if isinstance(space, Space) else Space.preset(space)
