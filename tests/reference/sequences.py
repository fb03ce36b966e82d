"""The search network of sequences [N, C, L], from 1-D layers of PyTorch.

Causal networks have all padding before the first position: position i of a value with stride s depends on
positions 0 to s·i of the sequence. Their pooling is stated window by window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .operations import BatchNorm, Noise
from .supernet import Cell, MixedOp, Supernet


class Conv(nn.Conv1d):
    """A convolution without bias that keeps the length, or divides it by the stride, rounded up."""

    def __init__(
        self, c: int, out: int, kernel: int, stride: int, causal: bool, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__(c, out, kernel, stride, dilation=dilation, groups=groups, bias=False)
        reach = dilation * (kernel - 1)
        self.sides = (reach, 0) if causal else (reach // 2, reach // 2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.sides))


def windows(x: Tensor, kernel: int, stride: int, causal: bool) -> Iterator[Tensor]:
    """The part of each window that is inside the sequence."""
    after = 1 if causal else kernel // 2 + 1
    for position in range(0, x.shape[2], stride):
        yield x[:, :, max(position + after - kernel, 0) : position + after]


class Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride].mul(0.0)


class FactorizedReduction(nn.Module):
    """Halves the length by two strided 1x1 convolutions, the second shifted by one position.

    It reads the position after that of the first one, in a causal network the one before it.
    """

    def __init__(self, in_channels: int, channels: int, causal: bool) -> None:
        super().__init__()
        half, self.causal = channels // 2, causal
        self.conv_1 = nn.Conv1d(in_channels, half, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv1d(in_channels, channels - half, 1, stride=2, bias=False)
        self.bn = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        other = F.pad(x, (1, -1)) if self.causal else F.pad(x, (-1, x.shape[2] % 2))
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(other)], dim=1))


class ReluConvBn(nn.Module):
    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, causal: bool) -> None:
        super().__init__()
        self.conv = Conv(in_channels, channels, kernel, stride, causal)
        self.bn = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(F.relu(x)))


class Pool(nn.Module):
    def __init__(self, largest: bool, channels: int, kernel: int, stride: int, causal: bool) -> None:
        super().__init__()
        self.largest, self.window = largest, (kernel, stride, causal)
        self.bn = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = windows(x, *self.window)
        return self.bn(torch.stack([p.max(2).values if self.largest else p.mean(2) for p in parts], dim=2))


class SepConv(nn.Module):
    def __init__(self, c: int, kernel: int, stride: int, causal: bool) -> None:
        super().__init__()
        self.dw1, self.pw1 = Conv(c, c, kernel, stride, causal, groups=c), Conv(c, c, 1, 1, causal)
        self.bn1 = BatchNorm(c)
        self.dw2, self.pw2 = Conv(c, c, kernel, 1, causal, groups=c), Conv(c, c, 1, 1, causal)
        self.bn2 = BatchNorm(c)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.pw1(self.dw1(F.relu(x))))
        return self.bn2(self.pw2(self.dw2(F.relu(x))))


class DilConv(nn.Module):
    def __init__(self, c: int, kernel: int, stride: int, causal: bool) -> None:
        super().__init__()
        self.dw = Conv(c, c, kernel, stride, causal, dilation=2, groups=c)
        self.pw, self.bn = Conv(c, c, 1, 1, causal), BatchNorm(c)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.pw(self.dw(F.relu(x))))


def operation(name: str, c: int, stride: int, causal: bool) -> nn.Module:
    """The module of an operation, by its name: "sep_conv_5" has a kernel of 5 points."""
    if name == "none":
        return Zero(stride)
    if name == "noise":
        return Noise(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduction(c, c, causal)
    sort, _, size = name.rpartition("_")
    kernel = int(size)
    made: dict[str, Callable[[], nn.Module]] = {
        "max_pool": lambda: Pool(True, c, kernel, stride, causal),
        "avg_pool": lambda: Pool(False, c, kernel, stride, causal),
        "sep_conv": lambda: SepConv(c, kernel, stride, causal),
        "dil_conv": lambda: DilConv(c, kernel, stride, causal),
        "conv": lambda: ReluConvBn(c, c, kernel, stride, causal),
    }
    return made[sort]()


SIZES = {"max_pool": (3, 5, 7), "avg_pool": (3, 5, 7), "sep_conv": (3, 5, 7, 15, 31), "dil_conv": (3, 5, 7)}
SIZES["conv"] = (1, 3, 5, 7)
SEQUENCE_OPERATIONS = (
    "none",
    "skip_connect",
    *(f"{sort}_{size}" for sort, sizes in SIZES.items() for size in sizes),
)

# the preset "darts-1d", in the order of α's columns
DARTS_1D_OPERATIONS = (
    "none",
    "max_pool_3",
    "avg_pool_3",
    "skip_connect",
    "sep_conv_3",
    "sep_conv_5",
    "dil_conv_3",
    "dil_conv_5",
)


class SequenceStem(nn.Module):
    def __init__(self, causal: bool, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = Conv(in_channels, channels, 3, 1, causal)
        self.bn = BatchNorm(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class SequenceMixedOp(MixedOp):
    def __init__(self, operations: Sequence[str], channels: int, stride: int, causal: bool) -> None:
        nn.ModuleDict.__init__(self, {name: operation(name, channels, stride, causal) for name in operations})


class SequenceCell(Cell):
    def __init__(
        self,
        causal: bool,
        operations: Sequence[Sequence[str]],
        nodes: int,
        concat: Sequence[int],
        in_channels: tuple[int, int],
        channels: int,
        reduction: bool,
        after_reduction: bool,
    ) -> None:
        nn.Module.__init__(self)
        self.nodes, self.concat, self.reduction = nodes, tuple(concat), reduction
        if after_reduction:
            self.pre0: nn.Module = FactorizedReduction(in_channels[0], channels, causal)
        else:
            self.pre0 = ReluConvBn(in_channels[0], channels, 1, 1, causal)
        self.pre1 = ReluConvBn(in_channels[1], channels, 1, 1, causal)
        pairs = [(i, j) for j in range(2, nodes + 2) for i in range(j)]
        self.edges = nn.ModuleDict(
            {
                f"{i}_{j}": SequenceMixedOp(names, channels, 2 if reduction and i < 2 else 1, causal)
                for (i, j), names in zip(pairs, operations, strict=True)
            }
        )


class SequenceSupernet(Supernet):
    """As `Supernet`, for x [N, C, L]."""

    def __init__(self, *, causal: bool = False, **sizes: Any) -> None:
        self.__dict__["make_stem"] = partial(SequenceStem, causal)
        self.__dict__["make_cell"] = partial(SequenceCell, causal)
        super().__init__(**({"operations": DARTS_1D_OPERATIONS} | sizes))

    def pooled(self, x: Tensor) -> Tensor:
        """The mean over all positions."""
        return x.mean(2)
