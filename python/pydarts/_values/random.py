"""`random_genotypes`: random cells, the baseline of a search."""

from __future__ import annotations

from itertools import combinations
from math import prod
from random import Random
from typing import Any

from .. import _core
from .checks import whole
from .genotype import Genotype
from .space import Space, as_space


def random_genotypes(space: str | Space = "darts", n: int = 1, seed: int = 0) -> list[Genotype]:
    """Draw genotypes uniformly from a space, as random search does (paper, section 3.3).

    Every node has edges from two distinct nodes before it (in a recurrent cell one), each with an operation
    other than `none`. All genotypes are distinct; the order of the edges into a node does not distinguish
    cells, and edges are listed by source.

    Args:
        space: a name or a `Space`.
        n: number of genotypes.
        seed: the same seed gives the same genotypes; a larger `n` extends the list.

    Raises:
        ConfigError: an unknown space, an `n` below 1 or above the number of cells, a seed below 0.

    >>> first, second = random_genotypes("darts", n=2, seed=0)
    >>> first == second
    False
    >>> random_genotypes("darts", n=5, seed=0)[:2] == [first, second]
    True
    """
    space = as_space(space)
    n, seed = whole("n", n), whole("seed", seed, least=0, most=2**128 - 1)
    nodes = _nodes(space)
    cells = prod(len(choices) for choices in nodes) ** len(space.tables)
    if n > cells:
        raise _core.ConfigError(f"n is {n}, but space {space.name!r} has {cells} genotypes; lower n")
    # The first n entries of a shuffle of the numbers of all cells; only entries that moved are stored.
    generator, moved = Random(seed), dict[int, int]()
    drawn = []
    for index in range(n):
        chosen = generator.randrange(index, cells)
        drawn.append(_genotype(space, nodes, moved.get(chosen, chosen)))
        moved[chosen] = moved.get(index, index)
    return drawn


class _Choices:
    """All sets of edges that may enter a node, numbered: by sources, then by the operation of each edge."""

    def __init__(self, space: Space, node: int) -> None:
        before = [source for source, target in space.edges if target == node]
        self.sources = list(combinations(before, space.edges_kept))
        self.operations = [name for name in space.operations if name != "none"]

    def __len__(self) -> int:
        return len(self.sources) * int(len(self.operations) ** len(self.sources[0]))

    def __getitem__(self, number: int) -> list[tuple[str, int]]:
        number, index = divmod(number, len(self.sources))
        edges = []
        for source in self.sources[index]:
            number, operation = divmod(number, len(self.operations))
            edges.append((self.operations[operation], source))
        return edges


def _nodes(space: Space) -> list[_Choices]:
    return [_Choices(space, node) for node in sorted({target for _, target in space.edges})]


def _genotype(space: Space, nodes: list[_Choices], number: int) -> Genotype:
    fields: dict[str, Any] = {}
    for table in space.tables:
        edges = []
        for choices in nodes:
            number, index = divmod(number, len(choices))
            edges.append(choices[index])
        fields |= {table: edges, "concat" if table == "recurrent" else f"{table}_concat": list(space.concat)}
    return Genotype(**fields)
