"""`Space`: the operations and nodes of a cell, as an immutable value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .. import _core
from .record import Record, differences, freeze


class Space(Record, _core.Space):
    """A search space: the cell's graph and the operations on its edges (paper, section 2.1).

    Every field has a default, that of the published convolutional space `"darts"`, or of `"darts-rnn"` where
    `kind` or the operations are recurrent. A space is immutable; `replace(...)` makes another.

    Args:
        name: the name of the space in results and messages.
        operations: names of the candidates, in the order of α's columns. Convolutional: `none`,
            `skip_connect`, `max_pool_3x3`, `avg_pool_3x3`, `sep_conv_3x3`, `sep_conv_5x5`, `sep_conv_7x7`,
            `dil_conv_3x3`, `dil_conv_5x5`, `conv_1x1`, `conv_3x3`, `conv_7x1_1x7`. Recurrent: `none`, `tanh`,
            `relu`, `sigmoid`, `identity`.
        nodes: intermediate nodes of a cell (4; recurrent 8).
        concat: numbers of the nodes that form the output of the cell; default: all intermediate nodes.
            Convolutional cells number their two inputs 0 and 1, so these are 2 … nodes + 1.
        reductions: positions of the reduction cells; default: layers // 3 and 2 · layers // 3.
        stem_multiplier: channels of the stem over channels of the cells (3).
        kind: `"convolutional"` or `"recurrent"`.

    Raises:
        SpaceError: an unknown operation, a duplicate, an empty or impossible space.

    >>> space = Space(operations=["none", "skip_connect", "conv_3x3"], nodes=2)
    >>> space.edges
    ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    >>> space.replace(nodes=1).concat
    (2,)
    """

    __slots__ = ()
    _error = _core.SpaceError
    name: str
    operations: tuple[str, ...]
    nodes: int
    concat: tuple[int, ...]
    reductions: tuple[int, ...] | None
    stem_multiplier: int
    kind: Literal["convolutional", "recurrent"]

    def __init__(
        self,
        *,
        name: str | None = None,
        operations: Sequence[str] | None = None,
        nodes: int | None = None,
        concat: Sequence[int] | None = None,
        reductions: Sequence[int] | None = None,
        stem_multiplier: int | None = None,
        kind: Literal["convolutional", "recurrent"] | None = None,
    ) -> None:
        pass  # `__new__` of the core's class reads the fields; None means "not given"

    @classmethod
    def preset(cls, name: str) -> Space:
        """A published space by its name: `"darts"` or `"darts-rnn"`.

        Raises:
            ConfigError: an unknown name; the message suggests the nearest one.

        >>> Space.preset("darts").operations[:3]
        ('none', 'max_pool_3x3', 'avg_pool_3x3')
        """
        return cls._of(name)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Space:
        """The space of a dictionary as `to_dict` gives it; missing fields take their defaults.

        >>> Space.from_dict(Space.preset("darts").to_dict()) == Space.preset("darts")
        True
        """
        return cls._of(values)

    def replace(self, **changes: Any) -> Space:
        """A space like this one except for `changes`. A `concat` of all nodes follows a change of `nodes`."""
        values = self.to_dict() | changes
        if "nodes" in changes and "concat" not in changes and len(self.concat) == self.nodes:
            values["concat"] = None
        return Space.from_dict(values)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Edges (i, j) from node i to node j, in the order of α's rows: by j, then i."""
        return super().edges

    @property
    def inputs(self) -> int:
        """The number of inputs of a cell: 2, in recurrent cells 1. They are the first nodes.

        >>> Space().inputs, Space.preset("darts-rnn").inputs
        (2, 1)
        """
        return super().inputs

    @property
    def edges_kept(self) -> int:
        """The number of edges into each node of a genotype: 2, in recurrent cells 1 (paper, section 2.4).

        >>> Space().edges_kept, Space.preset("darts-rnn").edges_kept
        (2, 1)
        """
        return super().edges_kept

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the α tables: `("normal", "reduce")`, or `("recurrent",)`."""
        return super().tables

    def __repr__(self) -> str:
        base = Space.preset("darts-rnn" if self.kind == "recurrent" else "darts").to_dict()
        shown = differences(self.to_dict(), base)
        if self.kind == "recurrent":
            shown = {"kind": "recurrent"} | shown
        return f"Space({', '.join(f'{name}={freeze(value)!r}' for name, value in shown.items())})"


def as_space(space: str | Space) -> Space:
    """A space from its name or itself.

    >>> as_space("darts").nodes
    4
    """
    return space if isinstance(space, Space) else Space.preset(space)
