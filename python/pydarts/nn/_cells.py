"""What discrete cells have in common: operations on edges, and nodes that add what enters them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from .._values.notations import Edges
from ._layers import Layers
from ._operations import Zero


class GraphCell(nn.Module):
    """A cell whose nodes are the sums of their edges: the base class.

    An edge with the operation `none` carries zeros. A node that no edge enters, or only such edges, is zeros
    of the same size as the other nodes.
    """

    _layers: Layers
    _stride: int
    _channels: int | None = None
    """Channels of the nodes where the inputs have others."""

    def _add_edges(
        self, edges: Edges, inputs: int, nodes: int, make: Callable[[str, int], nn.Module]
    ) -> None:
        """Add the modules of all edges; `make` gets the operation and the source of an edge."""
        self.edges = nn.ModuleDict()
        # For each node the edges that are added: the source, and the two keys of the operation.
        self._nodes: list[list[tuple[int, str, str]]] = [[] for _ in range(nodes)]
        for name, source, target in edges:
            edge = f"{source}_{target}"
            candidates = self.edges[edge] if edge in self.edges else nn.ModuleDict()
            assert isinstance(candidates, nn.ModuleDict)
            own = name
            while own in candidates:
                own += "_again"
            candidates[own] = make(name, source)
            self.edges[edge] = candidates
            self._nodes[target - inputs].append((source, edge, own))
        # Zeros are added only where there is nothing else to add.
        self._nodes = [[edge for edge in into if not self._is_zero(edge)] or into[:1] for into in self._nodes]

    def _states(self, inputs: list[Tensor], drop_path: Tensor | None) -> list[Tensor]:
        """Return the inputs and all nodes; training drops the fraction `drop_path` of the paths."""
        states = list(inputs)
        for edges in self._nodes:
            terms = []
            for source, edge, name in edges:
                operation = self.edges[edge][name]  # type: ignore[index]
                term = operation(states[source])
                if drop_path is not None and self.training and not isinstance(operation, (nn.Identity, Zero)):
                    term = dropped(term, drop_path)
                terms.append(term)
            if terms:
                states.append(reduce(add, terms))
            else:
                states.append(self._layers.zeros(states[0], self._stride, self._channels))
        return states

    def _is_zero(self, edge: tuple[int, str, str]) -> bool:
        return isinstance(self.get_submodule(f"edges.{edge[1]}.{edge[2]}"), Zero)


@torch.fx.wrap
def dropped(x: Tensor, share: Tensor) -> Tensor:
    """Set whole examples to zero with probability `share` and scale the others to keep the mean."""
    kept = torch.rand(x.shape[0], *[1] * (x.dim() - 1), device=x.device) >= share
    return x * (kept / (1.0 - share)).to(x.dtype)
