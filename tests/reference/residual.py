"""The search network of NAS-Bench-201 (Dong and Yang, 2020): stages of one cell, and residual blocks.

Node 0 of the cell is its input, node j the sum of its edges from all lower nodes, the last node its output.
A block between two stages is (ReLU, 3x3 convolution of stride 2, batch norm), (ReLU, 3x3 convolution, batch
norm), plus a shortcut of 2x2 average pooling (ceil mode) and a 1x1 convolution. Its batch norms, that of the
stem and the last one are affine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .operations import AvgPool, BatchNorm, MaxPool, ReluConvBn, Zero
from .searched import Searched
from .supernet import MixedOp, Stem, Supernet

NAS_BENCH_201_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


class Pool(nn.Module):
    """3x3 pooling over the pixels inside the image, without batch norm."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "max_pool_3x3":
            return F.max_pool2d(x, 3, 1, padding=1)
        return F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)


def operation(name: str, channels: int, pooling_norm: bool, affine: bool, bias: bool) -> nn.Module:
    """One candidate; those of stride 1 alone are needed."""
    if name == "none":
        return Zero(channels, 1)
    if name == "skip_connect":
        return nn.Identity()
    if name.endswith("pool_3x3"):
        made: nn.Module = Pool(name)
        if pooling_norm:
            made = (MaxPool if name.startswith("max") else AvgPool)(channels, 1)
            made.bn = BatchNorm(channels, affine)
        return made
    kernel = int(name[-1])
    made = ReluConvBn(channels, channels, kernel)
    made.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=bias)
    made.bn = BatchNorm(channels, affine)
    return made


class ResidualCell(nn.Module):
    """The searched cell."""

    def __init__(self, operations: Any, nodes: int, channels: int, make: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.nodes, self.edges = nodes, nn.ModuleDict()
        for j in range(1, nodes + 1):
            for i in range(j):
                names = operations[len(self.edges)]
                edge = MixedOp(names, channels, 1)
                for name in names:
                    edge[name] = make(name, channels)
                self.edges[f"{i}_{j}"] = edge

    def forward(self, x: Tensor, weights: Any) -> Tensor:
        states, rows = [x], iter(weights)
        for j in range(1, self.nodes + 1):
            states.append(sum(self.edges[f"{i}_{j}"](states[i], next(rows)) for i in range(j)))
        return states[-1]


class ResidualBlock(nn.Module):
    """The block between two stages: it halves the size and doubles the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        out = 2 * channels
        self.conv_a = nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False)
        self.bn_a = BatchNorm(out, affine=True)
        self.conv_b = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn_b = BatchNorm(out, affine=True)
        self.shortcut = nn.Conv2d(channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn_a(self.conv_a(F.relu(x)))
        y = self.bn_b(self.conv_b(F.relu(y)))
        return y + self.shortcut(F.avg_pool2d(x, 2, 2, ceil_mode=True))


class Last(nn.Module):
    """Batch norm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = BatchNorm(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(x))


class ResidualSupernet(Supernet):
    """Stem, `stages` of `layers` cells with residual blocks between them, batch norm, classifier."""

    def __init__(
        self,
        *,
        channels: int = 16,
        layers: int = 5,
        stages: int = 3,
        num_classes: int = 10,
        in_channels: int = 3,
        nodes: int = 3,
        operations: Any = NAS_BENCH_201_OPERATIONS,
        stem_multiplier: int = 1,
        pooling_norm: bool = False,
        affine: bool = False,
        bias: bool = False,
        seed: int = 0,
    ) -> None:
        Searched.__init__(self)
        edges = nodes * (nodes + 1) // 2
        self.nodes = nodes
        self.operations = None if isinstance(operations, dict) else tuple(operations)
        rows = operations["cell"] if isinstance(operations, dict) else [tuple(operations)] * edges
        self.candidates = {"cell": [tuple(row) for row in rows]}

        def make(name: str, channels: int) -> nn.Module:
            return operation(name, channels, pooling_norm, affine, bias)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            assert stem_multiplier == 1
            self.stem = Stem(in_channels, channels)
            self.cells = nn.ModuleList()
            for stage in range(stages):
                if stage:
                    self.cells.append(ResidualBlock(channels))
                    channels *= 2
                for _ in range(layers):
                    self.cells.append(ResidualCell(self.candidates["cell"], nodes, channels, make))
            self.last = Last(channels)
            self.classifier = nn.Linear(channels, num_classes)
            mask = self.mask("cell")
            self.alphas = {"cell": (mask * 1e-3 * torch.randn(mask.shape)).requires_grad_()}
        self._norms = [module for module in self.modules() if isinstance(module, BatchNorm)]
        self.to(torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.modules():
            if isinstance(module, MixedOp):
                module.sparse = self.samples
        x, weights = self.stem(x), self.mixing_weights("cell")
        for cell in self.cells:
            x = cell(x, weights) if isinstance(cell, ResidualCell) else cell(x)
        return self.classifier(self.pooled(self.last(x)))
