"""The search network: cells whose edges carry weighted sums of all candidate operations."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from .operations import DARTS_OPERATIONS, OPERATIONS, BatchNorm, FactorizedReduction, ReluConvBn, Zero
from .searched import Searched
from .sparse import mixed

Criterion = Callable[[Tensor, Tensor], Tensor]
Operations: TypeAlias = Sequence[str] | Mapping[str, Sequence[Sequence[str]]]
"""The candidates of every edge, or for each table those of each edge."""

DEFAULT_WEIGHT_COUNT = 1_930_618


class MixedOp(nn.ModuleDict):
    """One edge: the candidates' outputs, weighted by the edge's mixing weights, summed."""

    sparse = False
    """Whether candidates of weight 0 are not computed."""

    def __init__(self, operations: Sequence[str], channels: int, stride: int) -> None:
        super().__init__({name: OPERATIONS[name](channels, stride) for name in operations})
        self._zero = [Zero(channels, stride)]  # no part of the module

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        if self.sparse:
            return mixed(self.values(), list(weights), x, self._zero[0])
        return sum(w * op(x) for w, op in zip(weights, self.values(), strict=True))


class Stem(nn.Module):
    """3x3 convolution and affine batch norm before the first cell."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn = BatchNorm(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class Cell(nn.Module):
    """A DAG of `nodes` intermediate nodes over two inputs; every earlier node feeds every later one."""

    def __init__(
        self,
        operations: Sequence[Sequence[str]],
        nodes: int,
        concat: Sequence[int],
        in_channels: tuple[int, int],
        channels: int,
        reduction: bool,
        after_reduction: bool,
    ) -> None:
        super().__init__()
        self.nodes, self.concat, self.reduction = nodes, tuple(concat), reduction
        if after_reduction:  # node 0 comes from before the reduction, at twice the size
            self.pre0 = FactorizedReduction(in_channels[0], channels)
        else:
            self.pre0 = ReluConvBn(in_channels[0], channels, 1)
        self.pre1 = ReluConvBn(in_channels[1], channels, 1)
        self.edges = nn.ModuleDict()
        for j in range(2, nodes + 2):
            for i in range(j):
                stride = 2 if reduction and i < 2 else 1
                self.edges[f"{i}_{j}"] = MixedOp(operations[len(self.edges)], channels, stride)

    def forward(self, before: Tensor, previous: Tensor, weights: Sequence[Tensor]) -> Tensor:
        states = [self.pre0(before), self.pre1(previous)]
        row = 0
        for j in range(2, self.nodes + 2):
            states.append(sum(self.edges[f"{i}_{j}"](states[i], weights[row + i]) for i in range(j)))
            row += j
        return torch.cat([states[j] for j in self.concat], dim=1)


class Supernet(Searched):
    """Stem, cells, global average pooling, linear classifier.

    `alphas` maps "normal" and "reduce" to leaf tensors [edges, operations]; they are no part of the
    state dict. Where edges have fewer candidates than others, the last columns of their rows are 0 and
    take no part in anything. In training mode batch statistics are used, and the running ones stay where
    they are unless the forward pass runs inside `moving_statistics()`. In evaluation mode the running
    statistics are used. Weights and alphas are drawn in float32 from `seed`, then cast to `dtype`.
    """

    make_stem: Callable[..., nn.Module] = Stem
    make_cell: Callable[..., nn.Module] = Cell

    def __init__(
        self,
        *,
        channels: int = 16,
        layers: int = 8,
        num_classes: int = 10,
        in_channels: int = 3,
        nodes: int = 4,
        operations: Operations = DARTS_OPERATIONS,
        concat: Sequence[int] | None = None,
        reductions: Sequence[int] | None = None,
        stem_multiplier: int = 3,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.nodes, edges = nodes, sum(range(2, nodes + 2))
        self.operations = None if isinstance(operations, Mapping) else tuple(operations)
        self.candidates = {
            name: [tuple(row) for row in operations[name]]
            if isinstance(operations, Mapping)
            else [tuple(operations)] * edges
            for name in ("normal", "reduce")
        }
        assert all(len(rows) == edges for rows in self.candidates.values())
        self.concat = tuple(range(2, nodes + 2)) if concat is None else tuple(concat)
        for row in chain.from_iterable(self.candidates.values()):
            if len(set(row)) != len(row):
                raise ValueError(f"an operation is listed twice: {row}")
        if not self.concat or not set(self.concat) <= set(range(2, nodes + 2)):
            raise ValueError(f"concat must name nodes 2 to {nodes + 1}, got {self.concat}")
        placed = {layers // 3, 2 * layers // 3} if reductions is None else set(reductions)
        self.reductions = tuple(sorted(placed))

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            width = stem_multiplier * channels
            self.stem = self.make_stem(in_channels, width)
            self.cells = nn.ModuleList()
            before, previous, current, after_reduction = width, width, channels, False
            for c in range(layers):
                reduction = c in placed
                current *= 2 if reduction else 1
                self.cells.append(
                    self.make_cell(
                        self.candidates["reduce" if reduction else "normal"],
                        nodes,
                        self.concat,
                        (before, previous),
                        current,
                        reduction,
                        after_reduction,
                    )
                )
                before, previous, after_reduction = previous, len(self.concat) * current, reduction
            self.classifier = nn.Linear(previous, num_classes)
            self.alphas: dict[str, Tensor] = {
                name: (self.mask(name) * 1e-3 * torch.randn(self.mask(name).shape)).requires_grad_()
                for name in self.candidates
            }
        self._norms = [module for module in self.modules() if isinstance(module, BatchNorm)]
        self.to(dtype)

        chosen = (channels, layers, num_classes, in_channels, nodes, self.operations, stem_multiplier)
        if chosen == (16, 8, 10, 3, 4, DARTS_OPERATIONS, 3) and concat is None and reductions is None:
            assert self.weight_count() == DEFAULT_WEIGHT_COUNT

    def mask(self, name: str) -> Tensor:
        """1 where a table has a candidate, 0 where it is padded."""
        rows = self.candidates[name]
        columns = max(len(row) for row in rows)
        return torch.tensor([[float(column < len(row)) for column in range(columns)] for row in rows])

    def mixing_weights(self, name: str) -> Sequence[Tensor]:
        """The mixing weights of a table; of a ragged one the softmax of each row over its own candidates."""
        alpha = self.alphas[name]
        if self.operations is not None:
            return self.mixing(name)
        return [F.softmax(row[: len(own)], -1) for row, own in zip(alpha, self.candidates[name], strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        for module in self.modules():
            if isinstance(module, MixedOp):
                module.sparse = self.samples
        before = previous = self.stem(x)
        for cell in self.cells:
            weights = self.mixing_weights("reduce" if cell.reduction else "normal")
            before, previous = previous, cell(before, previous, weights)
        return self.classifier(self.pooled(previous))

    def pooled(self, x: Tensor) -> Tensor:
        """The mean over all positions."""
        return F.adaptive_avg_pool2d(x, 1).flatten(1)

    def loss(self, x: Tensor, y: Tensor, criterion: Criterion = F.cross_entropy) -> Tensor:
        return criterion(self(x), y)

    def loss_at(
        self, weights: dict[str, Tensor], x: Tensor, y: Tensor, criterion: Criterion = F.cross_entropy
    ) -> Tensor:
        """The loss with other weights than its own."""
        return criterion(functional_call(self, weights, (x,)), y)

    def training_loss(
        self, x: Tensor, y: Tensor, criterion: Criterion = F.cross_entropy
    ) -> tuple[Tensor, Tensor]:
        """What the weight step differentiates, and the loss that it reports: the same."""
        loss = self.loss(x, y, criterion)
        return loss, loss
