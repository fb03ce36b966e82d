"""Checks of the edges of a cell before a network is built from them."""

from __future__ import annotations

from collections.abc import Sequence

from .._core import GenotypeError
from .._values.genotype import targets
from .._values.notations import Genes


def check_genes(cell: str, genes: Genes, concat: Sequence[int], *, first: int, edges: int) -> None:
    """Refuse a cell without exactly `edges` edges into each node, from earlier nodes.

    Args:
        cell: name of the cell.
        genes: (operation, source) of each edge, in the order of the nodes.
        concat: nodes whose states are the output.
        first: number of the first intermediate node.
        edges: number of edges into each node.

    Raises:
        GenotypeError: another number of edges, an output node that does not exist, or a source that is not an
            earlier node.

    >>> check_genes("normal", (("skip_connect", 0), ("skip_connect", 1)), (2,), first=2, edges=2)
    """
    takes = (
        f"`build` requires {edges} per node, in the order of the nodes, as `derive` returns with k={edges}"
    )
    nodes, rest = divmod(len(genes), edges)
    last = first + nodes - 1
    if rest or not all(first <= node <= last for node in concat):
        output = ", ".join(map(str, concat))
        raise GenotypeError(
            f"cell `{cell}` has {len(genes)} edges, output nodes {output} and first node {first}: {takes}"
        )
    for index, (operation, source) in enumerate(genes):
        node = first + index // edges
        if not 0 <= source < node:
            raise GenotypeError(
                f"cell `{cell}`: {operation} enters node {node} from node {source}, which is not an earlier "
                f"node: {takes}"
            )
    other = other_k(len(genes), max(concat), first=first, edges=edges)
    if other is not None:
        raise GenotypeError(
            f"cell `{cell}` has {len(genes)} edges and output nodes up to {max(concat)}, as `derive` returns "
            f"with k={other}: {takes} (if you mean nodes up to {last}, remove the edges into nodes after the "
            "last output node, which have no effect)"
        )


def other_k(count: int, last: int, *, first: int, edges: int) -> int | None:
    """Return the k other than `edges` with which nodes `first` to `last` have `count` edges, if there is one.

    A genotype lists edges without separators, and nodes after the last output node are possible: four nodes
    of two edges, the last one unused, look like three nodes of up to three edges.

    >>> other_k(8, 4, first=2, edges=2), other_k(8, 5, first=2, edges=2)
    (3, None)
    """
    if count == edges * (last + 1 - first):
        return None
    targets_by_k = {k: targets(count, first, k) for k in range(1, last + 1) if k != edges}
    return next((k for k, ends in targets_by_k.items() if len(ends) == count and ends[-1] == last), None)
