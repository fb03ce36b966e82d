"""The architecture strings of NAS-Bench-201."""

from __future__ import annotations

from collections.abc import Sequence

from .._core import GenotypeError, unknown_name
from .words import shown

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The candidates of every edge, in the order of the benchmark."""
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""The edges (source, target) of a cell, in the order of the string; node 0 is the input of the cell."""
COUNT = len(OPERATIONS) ** len(EDGES)
"""The number of architectures, 15,625."""
FORM = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
"""One part per target node, 1 to 3, and in it one entry per source."""

_NODES = (1, 2, 3)


def string_of(operations: Sequence[str]) -> str:
    """Return the string of the six operations of a cell, which are in the order of `EDGES`.

    Raises:
        GenotypeError: there are not six operations, or one is unknown.

    >>> string_of(["nor_conv_3x3"] * 3 + ["skip_connect", "none", "avg_pool_3x3"])
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|'
    """
    if len(operations) != len(EDGES):
        raise GenotypeError(
            f"a cell of NAS-Bench-201 has {len(EDGES)} operations, one per edge, got {len(operations)}: "
            f"{shown(operations)}"
        )
    entries = [
        f"{_known(operation, edge)}~{edge[0]}" for operation, edge in zip(operations, EDGES, strict=True)
    ]
    return "+".join(f"|{'|'.join(entries[_first(node) : _first(node + 1)])}|" for node in _NODES)


def operations_of(string: str) -> tuple[str, ...]:
    """Return the six operations of a string, in the order of `EDGES`.

    The string is read strictly, without white space: every cell has one string.

    Raises:
        GenotypeError: the string has another form, or an operation is unknown.

    >>> operations_of("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    ('none', 'none', 'none', 'skip_connect', 'none', 'none')
    """
    parts = string.split("+")
    if len(parts) != len(_NODES):
        raise GenotypeError(
            f"expected {len(_NODES)} parts separated by '+', as in {FORM}, got {len(parts)} in "
            f"{shown(string)}"
        )
    operations = []
    for node, part in zip(_NODES, parts, strict=True):
        before, *entries, after = part.split("|") if "|" in part else (part, "")
        if before or after or len(entries) != node:
            raise GenotypeError(
                f"part {node} of {shown(string)} is {shown(part)}; expected one entry per source, as in "
                f"{FORM.split('+')[node - 1]}"
            )
        for source, entry in enumerate(entries):
            operation, _, number = entry.rpartition("~")
            if number != str(source):
                raise GenotypeError(
                    f"entry {source + 1} in part {node} of {shown(string)} is {shown(entry)}; expected "
                    f"an operation and '~{source}', the source"
                )
            operations.append(_known(operation, (source, node)))
    return tuple(operations)


def _known(operation: object, edge: tuple[int, int]) -> str:
    if not isinstance(operation, str):
        raise GenotypeError(
            f"edge {edge}: an operation must be one of {', '.join(OPERATIONS)}, got {shown(operation)}"
        )
    if operation not in OPERATIONS:
        raise GenotypeError(f"edge {edge}: {unknown_name('operation', operation, list(OPERATIONS))}")
    return operation


def _first(node: int) -> int:
    """Return the index of the first edge into a node."""
    return node * (node - 1) // 2
