"""The search network of TransNAS-Bench-101 (Duan et al., 2021), as a classifier: stages without blocks.

Node 0 of the cell is its input, node j the sum of its edges from all lower nodes, the last node its output.
The edges that leave node 0 of the first cell of a stage change the channels and have the stride of the stage:
`none` gives zeros of the new shape, `skip_connect` a factorized reduction, which also with stride 1 joins a
convolution of the image and one of the image shifted by one pixel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .operations import BatchNorm
from .residual import Pool
from .searched import Searched
from .supernet import MixedOp, Supernet

TRANSNAS_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")


def macro(code: str) -> tuple[tuple[int, int], ...]:
    """The stages of the digits of a network: even ones double the channels, 3 and 4 have stride 2."""
    return tuple((1 if int(digit) % 2 else 2, 2 if int(digit) > 2 else 1) for digit in code)


class Zero(nn.Module):
    """Zeros [N, out, ⌈H/stride⌉, ⌈W/stride⌉]."""

    def __init__(self, out: int, stride: int) -> None:
        super().__init__()
        self.out, self.stride = out, stride

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        return x.new_zeros(n, self.out, -(-height // self.stride), -(-width // self.stride))


class Skip(nn.Module):
    """Two 1x1 convolutions to half of the channels each, the second of the image shifted by one pixel."""

    def __init__(self, channels: int, out: int, stride: int, affine: bool, bias: bool) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels, out // 2, 1, stride, bias=bias)
        self.conv_2 = nn.Conv2d(channels, out - out // 2, 1, stride, bias=bias)
        self.bn = BatchNorm(out, affine)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(shifted)], dim=1))


class Convolution(nn.Module):
    """ReLU, convolution, batch norm."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, affine: bool, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=bias)
        self.bn = BatchNorm(out, affine)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(F.relu(x)))


class Separable(nn.Module):
    """Twice ReLU, depthwise and pointwise convolution, batch norm; the second pointwise one widens."""

    def __init__(self, channels: int, out: int, stride: int, affine: bool, bias: bool) -> None:
        super().__init__()
        c = channels
        self.dw1 = nn.Conv2d(c, c, 3, stride, padding=1, groups=c, bias=bias)
        self.pw1 = nn.Conv2d(c, c, 1, bias=bias)
        self.bn1 = BatchNorm(c, affine)
        self.dw2 = nn.Conv2d(c, c, 3, padding=1, groups=c, bias=bias)
        self.pw2 = nn.Conv2d(c, out, 1, bias=bias)
        self.bn2 = BatchNorm(out, affine)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.pw1(self.dw1(F.relu(x))))
        return self.bn2(self.pw2(self.dw2(F.relu(x))))


class Dilated(nn.Module):
    """ReLU, depthwise convolution with dilation 2, pointwise convolution to other channels, batch norm."""

    def __init__(self, channels: int, out: int, stride: int, affine: bool, bias: bool) -> None:
        super().__init__()
        c = channels
        self.dw = nn.Conv2d(c, c, 3, stride, padding=2, dilation=2, groups=c, bias=bias)
        self.pw = nn.Conv2d(c, out, 1, bias=bias)
        self.bn = BatchNorm(out, affine)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.pw(self.dw(F.relu(x))))


class Crossed(nn.Module):
    """ReLU, 1x7 convolution to other channels, 7x1 convolution, batch norm."""

    def __init__(self, channels: int, out: int, stride: int, affine: bool, bias: bool) -> None:
        super().__init__()
        self.conv_1x7 = nn.Conv2d(channels, out, (1, 7), (1, stride), (0, 3), bias=bias)
        self.conv_7x1 = nn.Conv2d(out, out, (7, 1), (stride, 1), (3, 0), bias=bias)
        self.bn = BatchNorm(out, affine)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv_7x1(self.conv_1x7(F.relu(x))))


def operation(name: str, channels: int, out: int, stride: int, affine: bool, bias: bool) -> nn.Module:
    """One candidate of an edge."""
    if name == "none":
        return Zero(out, stride)
    if name == "skip_connect":
        same = stride == 1 and channels == out
        return nn.Identity() if same else Skip(channels, out, stride, affine, bias)
    if name.endswith("pool_3x3"):
        assert stride == 1 and channels == out
        return Pool(name)
    if name == "sep_conv_3x3":
        return Separable(channels, out, stride, affine, bias)
    if name == "dil_conv_3x3":
        return Dilated(channels, out, stride, affine, bias)
    if name == "conv_7x1_1x7":
        return Crossed(channels, out, stride, affine, bias)
    return Convolution(channels, out, int(name[-1]), stride, affine, bias)


class StageCell(nn.Module):
    """The searched cell, with the channels of its input and the stride of the edges that leave it."""

    def __init__(self, names: Any, nodes: int, into: int, out: int, stride: int, options: Any) -> None:
        super().__init__()
        self.nodes, self.edges = nodes, nn.ModuleDict()
        for j in range(1, nodes + 1):
            for i in range(j):
                of_edge = names[len(self.edges)]
                entered, steps = (out, 1) if i else (into, stride)
                edge = MixedOp((), out, steps)
                for name in of_edge:
                    edge[name] = operation(name, entered, out, steps, *options)
                self.edges[f"{i}_{j}"] = edge

    def forward(self, x: Tensor, weights: Any) -> Tensor:
        states, rows = [x], iter(weights)
        for j in range(1, self.nodes + 1):
            mixed = []
            for i in range(j):
                edge = self.edges[f"{i}_{j}"]
                mixed.append(edge(states[i], next(rows)[: len(edge)]))
            states.append(sum(mixed))
        return states[-1]


class StridedStem(nn.Module):
    """Two convolutions of stride 2 with batch norms, a ReLU between them."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.conv_a = nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False)
        self.bn_a = BatchNorm(half, affine=True)
        self.conv_b = nn.Conv2d(half, channels, 3, stride=2, padding=1, bias=False)
        self.bn_b = BatchNorm(channels, affine=True)

    @property
    def bn(self) -> BatchNorm:
        return self.bn_b

    def forward(self, x: Tensor) -> Tensor:
        return self.bn_b(self.conv_b(F.relu(self.bn_a(self.conv_a(x)))))


class TransNasSupernet(Supernet):
    """Strided stem, `layers` cells in each of the `stages` (channels, stride), classifier."""

    def __init__(
        self,
        *,
        channels: int = 64,
        layers: int = 2,
        stages: tuple[tuple[int, int], ...] = macro("41414"),
        num_classes: int = 10,
        in_channels: int = 3,
        nodes: int = 3,
        operations: Any = TRANSNAS_OPERATIONS,
        affine: bool = False,
        bias: bool = False,
        seed: int = 0,
    ) -> None:
        Searched.__init__(self)
        self.nodes = nodes
        self.operations = None if isinstance(operations, dict) else tuple(operations)
        each = [tuple(operations)] * (nodes * (nodes + 1) // 2)
        rows = operations["cell"] if isinstance(operations, dict) else each
        self.candidates = {"cell": [tuple(row) for row in rows]}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem = StridedStem(in_channels, channels)
            self.cells = nn.ModuleList()
            for widen, stride in stages:
                for layer in range(layers):
                    into, channels = channels, channels * (1 if layer else widen)
                    cell = StageCell(
                        self.candidates["cell"],
                        nodes,
                        into,
                        channels,
                        1 if layer else stride,
                        (affine, bias),
                    )
                    self.cells.append(cell)
            self.classifier = nn.Linear(channels, num_classes)
            mask = self.mask("cell")
            self.alphas = {"cell": (mask * 1e-3 * torch.randn(mask.shape)).requires_grad_()}
        self._norms = [module for module in self.modules() if isinstance(module, BatchNorm)]
        self.to(torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        x, weights = self.stem(x), self.mixing_weights("cell")
        for cell in self.cells:
            x = cell(x, weights)
        return self.classifier(self.pooled(x))
