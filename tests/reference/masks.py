"""Drop path and skip dropout in the search network, by masks that are given.

Drop path (Zela et al., 2020) multiplies the whole sum of a mixed edge by 0 or 1/(1 - p), image by image. Skip
dropout (Chen et al., 2019) does the same with the elements behind a skip connection that keeps the size; one
that halves the size is a convolution, of which nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .sequences import SequenceSupernet
from .supernet import Cell, Supernet


class Masked(Supernet):
    """A search network that is dropped by `masks`: those of the engine, by role, part and place."""

    masks: Mapping[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        before = previous = self.stem(x)
        for number, cell in enumerate(self.cells):
            assert isinstance(cell, Cell)
            weights = self.mixing_weights("reduce" if cell.reduction else "normal")
            before, previous = previous, self.masked_cell(number, cell, (before, previous), weights)
        return self.classifier(self.pooled(previous))

    def masked_cell(
        self, number: int, cell: Cell, inputs: tuple[Tensor, Tensor], weights: Sequence[Tensor]
    ) -> Tensor:
        states = [cell.pre0(inputs[0]), cell.pre1(inputs[1])]
        rows = iter(weights)
        for j in range(2, cell.nodes + 2):
            total = 0.0
            for i in range(j):
                name = f"cells.{number}.edges.{i}_{j}"
                mixed = 0.0
                for weight, operation in zip(next(rows), cell.edges[f"{i}_{j}"].values(), strict=True):
                    value = operation(states[i])
                    if isinstance(operation, nn.Identity):
                        value = value * self.drawn(f"{name}.skip_connect", value)
                    mixed = mixed + weight * value
                total = total + mixed * self.drawn(name, mixed)
            states.append(total)
        return torch.cat([states[j] for j in cell.concat], dim=1)

    def drawn(self, name: str, value: Tensor) -> Tensor | float:
        """The mask of a place for the current loss; 1 in an evaluation, and where nothing is dropped."""
        mask = self.masks.get(f"{self._role}.0.{name}") if self.training else None
        return 1.0 if mask is None else mask.reshape(*mask.shape, *[1] * (value.dim() - mask.dim()))


class MaskedSequences(Masked, SequenceSupernet):
    """The same for sequences [N, C, L]."""
