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

    Every node gets as many edges from distinct earlier nodes as the space keeps: two, or one in a recurrent
    cell. Each edge gets one of its candidates, but `none` only if the space may select it. If the space keeps
    every edge, all edges get a candidate; if it keeps edges by a threshold, any number of them does. All
    genotypes are distinct; the order of the edges into a node does not distinguish cells, and edges are
    listed by source.

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
    nodes = {table: _nodes(space, table) for table in space.tables}
    cells = prod(len(choices) for table in nodes.values() for choices in table)
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
    """All sets of edges that may enter a node, numbered: by operations, then by sources."""

    def __init__(self, space: Space, table: str, node: int) -> None:
        columns = space.columns(table)
        self.operations = {
            source: [name for name in columns[row] if name != "none" or space.none_selectable]
            for row, (source, target) in enumerate(space.edges)
            if target == node
        }
        before = [source for source, names in self.operations.items() if names]
        kept = space.edges_kept
        sizes = range(len(before) + 1) if isinstance(space.keep, dict) else [min(kept or node, len(before))]
        self.sources = [sources for size in sizes for sources in combinations(before, size)]
        self.counts = [prod(len(self.operations[source]) for source in sources) for sources in self.sources]

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, number: int) -> list[tuple[str, int]]:
        # The first choice of operations of every set of sources, then the second of those that have one, …
        first, sets = 0, list(range(len(self.sources)))
        for count in sorted(set(self.counts)):
            if number < (count - first) * len(sets):
                break
            number -= (count - first) * len(sets)
            first, sets = count, [index for index in sets if self.counts[index] > count]
        number, index = divmod(number, len(sets))
        number += first
        edges = []
        for source in self.sources[sets[index]]:
            number, operation = divmod(number, len(self.operations[source]))
            edges.append((self.operations[source][operation], source))
        return edges


def _nodes(space: Space, table: str) -> list[_Choices]:
    return [_Choices(space, table, node) for node in sorted({target for _, target in space.edges})]


def _genotype(space: Space, nodes: dict[str, list[_Choices]], number: int) -> Genotype:
    fields: dict[str, Any] = {}
    for table in space.tables:
        edges = []
        for choices in nodes[table]:
            number, index = divmod(number, len(choices))
            edges.append(choices[index])
        fields |= {table: edges, "concat" if table == "recurrent" else f"{table}_concat": list(space.concat)}
    return Genotype(**fields)
