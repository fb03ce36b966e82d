"""The convolutional search network as a user would write it: plain PyTorch, every edge a choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .operations import DARTS_OPERATIONS, OPERATIONS, BatchNorm, FactorizedReduction, ReluConvBn

MakeChoice = Callable[..., nn.Module]
"""(candidates, alpha=table, row=row) -> a module."""


class ChoiceCell(nn.Module):
    """A DAG over two inputs, whose edges are choices."""

    def __init__(
        self,
        choice: MakeChoice,
        table: str,
        operations: Sequence[Sequence[str]],
        nodes: int,
        in_channels: tuple[int, int],
        channels: int,
        after_reduction: bool,
    ) -> None:
        super().__init__()
        self.nodes = nodes
        if after_reduction:
            self.pre0: nn.Module = FactorizedReduction(in_channels[0], channels)
        else:
            self.pre0 = ReluConvBn(in_channels[0], channels, 1)
        self.pre1 = ReluConvBn(in_channels[1], channels, 1)
        self.edges = nn.ModuleDict()
        for j in range(2, nodes + 2):
            for i in range(j):
                row, stride = len(self.edges), 2 if table == "reduce" and i < 2 else 1
                candidates = {name: OPERATIONS[name](channels, stride) for name in operations[row]}
                self.edges[f"{i}_{j}"] = choice(candidates, alpha=table, row=row)

    def forward(self, before: Tensor, previous: Tensor) -> Tensor:
        states = [self.pre0(before), self.pre1(previous)]
        for j in range(2, self.nodes + 2):
            states.append(sum(self.edges[f"{i}_{j}"](states[i]) for i in range(j)))  # type: ignore[arg-type]
        return torch.cat(states[2:], dim=1)


class ChoiceSupernet(nn.Module):
    """Stem, cells, global average pooling, classifier; rows of "normal" and "reduce" are shared over cells.

    `choice` makes the choices. `operations` are the candidates of every edge, or for each table those of
    each edge. Batch norms are PyTorch's. `name_here` maps names of `reference.Supernet` to those here.
    """

    def __init__(
        self,
        choice: MakeChoice,
        *,
        channels: int = 16,
        layers: int = 8,
        num_classes: int = 10,
        in_channels: int = 3,
        nodes: int = 4,
        operations: Sequence[str] | Mapping[str, Sequence[Sequence[str]]] = DARTS_OPERATIONS,
        stem_multiplier: int = 3,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        edges = sum(range(2, nodes + 2))
        rows = (
            operations
            if isinstance(operations, Mapping)
            else dict.fromkeys(("normal", "reduce"), [tuple(operations)] * edges)
        )
        width = stem_multiplier * channels
        self.stem = nn.Module()
        self.stem.conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.stem.bn = BatchNorm(width, affine=True)
        self.cells = nn.ModuleList()
        before, previous, current, after_reduction = width, width, channels, False
        for c in range(layers):
            table = "reduce" if c in (layers // 3, 2 * layers // 3) else "normal"
            current *= 2 if table == "reduce" else 1
            cell = ChoiceCell(choice, table, rows[table], nodes, (before, previous), current, after_reduction)
            self.cells.append(cell)
            before, previous, after_reduction = previous, nodes * current, table == "reduce"
        self.classifier = nn.Linear(previous, num_classes)
        _use_norms_of_pytorch(self)
        self.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        before = previous = self.stem.bn(self.stem.conv(x))  # type: ignore[operator]
        for cell in self.cells:
            before, previous = previous, cell(before, previous)
        return self.classifier(F.adaptive_avg_pool2d(previous, 1).flatten(1))

    @staticmethod
    def name_here(name: str) -> str:
        """The name of a weight or running statistic in this module.

        >>> ChoiceSupernet.name_here("cells.0.edges.0_2.dil_conv_3x3.dw.weight")
        'cells.0.edges.0_2.candidates.dil_conv_3x3.dw.weight'
        """
        parts = name.split(".")
        return ".".join([*parts[:4], "candidates", *parts[4:]] if parts[2:3] == ["edges"] else parts)

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Copy weights and running statistics under the names of `reference.Supernet`; logits stay."""
        named: dict[str, Any] = {self.name_here(name): value for name, value in state.items()}
        own = self.state_dict()
        expected = {name for name in own if not name.endswith(".alpha")}
        assert named.keys() == expected, sorted(named.keys() ^ expected)[:5]
        self.load_state_dict(own | named)


def _use_norms_of_pytorch(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, BatchNorm):
            affine = child.weight is not None
            setattr(module, name, nn.BatchNorm2d(len(child.running_mean), affine=affine))  # type: ignore[arg-type]
        else:
            _use_norms_of_pytorch(child)
