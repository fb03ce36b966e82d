"""The search space as a value: which operations stand on which edges of a cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from .. import _core
from .record import Record, differences, plain

# By kind: what cells are built of (`build`), what genotypes list (`Genotype.edges`) and spaces derive.
INPUTS = {"convolutional": 2, "recurrent": 1}
KEPT = {"convolutional": 2, "recurrent": 1}


class Space(Record):
    """A search space: the cell's graph and the operations on its edges (paper, section 2.1).

    Every field has a default, that of the published convolutional space `"darts"`, or of `"darts-rnn"` where
    `kind` or the operations are recurrent. A space cannot be changed; `replace(...)` makes another.

    Args:
        name: what the space is called in results and messages.
        operations: names of the candidates, in the order of α's columns. Convolutional: `none`,
            `skip_connect`, `max_pool_3x3`, `avg_pool_3x3`, `sep_conv_3x3`, `sep_conv_5x5`, `sep_conv_7x7`,
            `dil_conv_3x3`, `dil_conv_5x5`, `conv_1x1`, `conv_3x3`, `conv_7x1_1x7`. Recurrent: `none`, `tanh`,
            `relu`, `sigmoid`, `identity`.
        nodes: intermediate nodes of a cell (4; recurrent 8).
        concat: numbers of the nodes whose outputs make the cell's output; default: all intermediate nodes.
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
        fields = {
            "name": name,
            "kind": kind,
            "operations": operations,
            "nodes": nodes,
            "concat": concat,
            "reductions": reductions,
            "stem_multiplier": stem_multiplier,
        }
        self._fill({field: value for field, value in fields.items() if value is not None})

    @staticmethod
    def _resolve(text: str) -> str:
        return _core.resolve_space(text)

    @classmethod
    def preset(cls, name: str) -> Space:
        """A published space by its name: `"darts"` or `"darts-rnn"`.

        Raises:
            ConfigError: no space has this name; the message says which come near.

        >>> Space.preset("darts").operations[:3]
        ('none', 'max_pool_3x3', 'avg_pool_3x3')
        """
        return cls._of_json(json.dumps(plain("space", name, _core.ConfigError)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Space:
        """The space of a dictionary as `to_dict` gives it; left-out fields take their defaults.

        >>> Space.from_dict(Space.preset("darts").to_dict()) == Space.preset("darts")
        True
        """
        return cls._of(values)

    def replace(self, **changes: Any) -> Space:
        """A space like this one but for `changes`; a `concat` of all nodes stays one of all."""
        values = self._values | changes
        if "nodes" in changes and "concat" not in changes and len(self.concat) == self.nodes:
            values["concat"] = None
        return Space.from_dict(values)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Edges (i, j) from node i to node j, in the order of α's rows: by j, then i."""
        return _edges(json.dumps(self._values))

    @property
    def inputs(self) -> int:
        """How many inputs a cell has: 2, in recurrent cells 1. They are the first nodes; `nodes` more follow.

        >>> Space().inputs, Space.preset("darts-rnn").inputs
        (2, 1)
        """
        return INPUTS[self.kind]

    @property
    def edges_kept(self) -> int:
        """How many edges a genotype keeps into each node: 2, in recurrent cells 1 (paper, section 2.4).

        >>> Space().edges_kept, Space.preset("darts-rnn").edges_kept
        (2, 1)
        """
        return KEPT[self.kind]

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the α tables: `("normal", "reduce")`, or `("recurrent",)`."""
        return tuple(_core.space_tables(json.dumps(self._values)))

    def __repr__(self) -> str:
        base = Space.preset("darts-rnn" if self.kind == "recurrent" else "darts")._values
        shown = differences(self._values, base)
        if self.kind == "recurrent":
            shown = {"kind": "recurrent"} | shown
        return f"Space({', '.join(f'{name}={self._read(name, value)!r}' for name, value in shown.items())})"


@lru_cache(maxsize=64)
def _edges(space: str) -> tuple[tuple[int, int], ...]:
    return tuple((int(i), int(j)) for i, j in _core.space_edges(space))


def as_space(space: str | Space) -> Space:
    """A space from its name or itself.

    >>> as_space("darts").nodes
    4
    """
    return space if isinstance(space, Space) else Space.preset(space)
