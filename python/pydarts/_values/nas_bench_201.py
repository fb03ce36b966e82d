"""The architectures of NAS-Bench-201."""

from __future__ import annotations

from collections.abc import Sequence

from .. import _core
from .genotype import Genotype
from .space import Space

SPACE = Space.preset("nas-bench-201")
OPERATIONS: tuple[str, ...] = SPACE.operations
"""The candidates of every edge, in the order of the benchmark."""
EDGES = SPACE.edges
"""The edges (source, target) of a cell, in the order of the string; node 0 is the input of the cell."""
COUNT = len(OPERATIONS) ** len(EDGES)
"""The number of architectures, 15,625."""
FORM = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
"""One part per target node, 1 to 3, and in it one entry per source."""


def string_of(architecture: str | Sequence[str] | Genotype) -> str:
    """Return the string of an architecture: of a string, of its six operations, or of a genotype.

    Raises:
        GenotypeError: not an architecture of the benchmark.

    >>> string_of(["nor_conv_3x3"] * 3 + ["skip_connect", "none", "avg_pool_3x3"])
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|'
    """
    if isinstance(architecture, str):
        genotype = Genotype.from_nasbench201(architecture)
    elif isinstance(architecture, Genotype):
        genotype = architecture
    elif len(architecture) != len(EDGES):
        raise _core.GenotypeError(
            f"a cell of NAS-Bench-201 has {len(EDGES)} operations, one per edge, got {len(architecture)}"
        )
    else:
        genes = [(name, source) for name, (source, _) in zip(architecture, EDGES, strict=True)]
        genotype = Genotype(cell=genes, cell_concat=SPACE.concat)
    genotype.validate(SPACE)
    return genotype.to_nasbench201()
