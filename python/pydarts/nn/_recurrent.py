"""The discrete recurrent cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import _core
from .._values.genotype import Genotype
from .._values.notations import Genes

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}
BOUND = 0.04
"""The published bound of the initial weights."""


class RecurrentCell(nn.Module):
    """A discrete recurrent cell: s_i = s_j + σ(c)·(f(u) − s_j), [c, u] = s_j·w_i, with one edge per node.

    The first state s_0 is computed from [x, h]·w_0 in the same way, with h for s_j and f = tanh; the output
    is the mean of the states in `concat` (paper, section 3.1.2 and figure 6). There is no batch norm: only
    the search uses it. A node without an edge, or whose edge holds `none`, is zeros and has no weights: in
    the published search too, `none` adds nothing to a node.

    Args:
        genotype: a genotype with a recurrent cell.
        units: size of an input and of a state.

    Raises:
        GenotypeError: the genotype has no recurrent cell, or a node of the cell has several edges.

    >>> from pydarts import genotypes
    >>> cell = RecurrentCell(genotypes.DARTS_RNN_V2, units=4)
    >>> cell(torch.zeros(7, 3, 4), torch.zeros(3, 4)).shape
    torch.Size([7, 3, 4])
    """

    def __init__(self, genotype: Genotype, *, units: int) -> None:
        super().__init__()
        if genotype.kind != "recurrent":
            raise _core.GenotypeError(f"{genotype} has no recurrent cell; use pydarts.build")
        nodes = genotype.nodes("recurrent")
        if max(map(len, nodes)) > 1:
            targets = [target for *_, target in genotype.edges("recurrent")]
            raise _core.GenotypeError(
                f"a recurrent cell takes one edge per node, got edges into {targets}; derive it with k=1"
            )
        # One edge per node; `none` of the initial state where there is no edge.
        self.genes: Genes = tuple(into[0] if into else ("none", 0) for into in nodes)
        self.concat, self.units = tuple(genotype.concat), units
        for node in range(len(self.genes) + 1):
            if node and self.genes[node - 1][0] == "none":
                continue
            rows = units if node else 2 * units
            weight = torch.empty(rows, 2 * units).uniform_(-BOUND, BOUND)
            self.register_parameter(f"w{node}", nn.Parameter(weight))

    def forward(
        self,
        inputs: Tensor,
        hidden: Tensor,
        input_mask: Tensor | None = None,
        hidden_mask: Tensor | None = None,
    ) -> Tensor:
        """Process a segment.

        Args:
            inputs: [tokens, batch, units].
            hidden: [batch, units], the state before the first token.
            input_mask: [batch, units], multiplies every input; None: ones.
            hidden_mask: [batch, units], multiplies every state before its product; None: ones.

        Returns:
            The states after each token, [tokens, batch, units].
        """
        weights: list[Any] = [getattr(self, f"w{node}", None) for node in range(len(self.genes) + 1)]
        above, below = weights[0].chunk(2)
        # The input's share of the first product does not depend on the state: one product for all tokens.
        ready = _masked(inputs, input_mask) @ above
        states: Tensor = _states(ready, hidden, hidden_mask, [below, *weights[1:]], self.genes, self.concat)
        return states

    def extra_repr(self) -> str:
        """Describe the cell for `print(network)`."""
        return f"{', '.join(f'{name} of {source}' for name, source in self.genes)}; units={self.units}"


@torch.fx.wrap  # the number of tokens is not known when torch.fx traces the network
def _states(
    ready: Tensor,
    hidden: Tensor,
    mask: Tensor | None,
    weights: Sequence[Tensor | None],
    genes: Genes,
    concat: Sequence[int],
) -> Tensor:
    """Return the states after each token; `ready` is the input's share of the first product."""
    first, outputs = weights[0], []
    assert first is not None
    for part in ready.unbind(0):
        c, u = (part + _masked(hidden, mask) @ first).chunk(2, -1)
        states = [torch.lerp(hidden, u.tanh(), c.sigmoid())]
        for (operation, source), weight in zip(genes, weights[1:], strict=True):
            before = states[source]
            if weight is None:  # `none`
                states.append(torch.zeros_like(before))
                continue
            c, u = (_masked(before, mask) @ weight).chunk(2, -1)
            states.append(torch.lerp(before, ACTIVATIONS[operation](u), c.sigmoid()))
        hidden = torch.stack([states[node] for node in concat]).mean(0)
        outputs.append(hidden)
    return torch.stack(outputs)


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask
