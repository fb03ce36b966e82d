"""What the edges of a cell must be for a network to be made of them."""

from __future__ import annotations

from collections.abc import Sequence

from .._core import GenotypeError
from .._values.genotype import targets
from .._values.notations import Genes


def check_genes(cell: str, genes: Genes, concat: Sequence[int], *, first: int, edges: int) -> None:
    """Refuse a cell that has not `edges` edges into each node, from nodes below it.

    Args:
        cell: its name.
        genes: (operation, source) of each edge, node after node.
        concat: nodes whose states are the output.
        first: number of the first node.
        edges: how many each node takes.

    Raises:
        GenotypeError: another number of edges, an output that is none of the nodes', or a source that is not
            below its node.

    >>> check_genes("normal", (("skip_connect", 0), ("skip_connect", 1)), (2,), first=2, edges=2)
    """
    takes = (
        f"`build` takes {edges} into each node, one node after the other, as `derive` gives with k={edges}"
    )
    nodes, rest = divmod(len(genes), edges)
    last = first + nodes - 1
    if rest or not all(first <= node <= last for node in concat):
        output = ", ".join(map(str, concat))
        raise GenotypeError(
            f"cell `{cell}` has {len(genes)} edges and an output of nodes {output}, the first being {first}: "
            f"{takes}"
        )
    for place, (operation, source) in enumerate(genes):
        node = first + place // edges
        if not 0 <= source < node:
            raise GenotypeError(
                f"cell `{cell}`: {operation} would enter node {node} from node {source}, which is not below "
                f"it: {takes}"
            )
    other = other_reading(len(genes), max(concat), first=first, edges=edges)
    if other is not None:
        raise GenotypeError(
            f"cell `{cell}` has {len(genes)} edges and an output of nodes up to {max(concat)}, as `derive` "
            f"gives with k={other}: {takes} (if nodes up to {last} are meant, leave out the edges of those "
            "after the output's last, which go nowhere)"
        )


def other_reading(count: int, last: int, *, first: int, edges: int) -> int | None:
    """The k other than `edges` with which nodes `first` to `last` have so many edges, if there is one.

    A genotype lists edges and does not say where a node ends, and nodes after the last one of the output are
    possible: four nodes of two edges, the last one unused, look like three nodes of up to three.

    >>> other_reading(8, 4, first=2, edges=2), other_reading(8, 5, first=2, edges=2)
    (3, None)
    """
    if count == edges * (last + 1 - first):
        return None
    readings = {k: targets(count, first, k) for k in range(1, last + 1) if k != edges}
    return next((k for k, ends in readings.items() if len(ends) == count and ends[-1] == last), None)
