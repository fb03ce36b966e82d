"""The operations of a discrete convolutional cell.

Submodules have the names of the search network, so that its weights fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._layers import IMAGES, Layers


class ReluConvBn(nn.Module):
    """ReLU, one square convolution and batch norm; with a 1x1 kernel also the preprocessing of a cell."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, stride: int = 1, layers: Layers = IMAGES
    ) -> None:
        super().__init__()
        self._halves, self._layers = kernel == 1 and stride == 2, layers
        self.conv = layers.conv(in_channels, channels, kernel, 1 if self._halves else stride)
        self.bn = layers.norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        x = F.relu(self._layers.every_second(x) if self._halves else x)
        out: Tensor = self.bn(self.conv(x))
        return out


class FactorizedReduction(nn.Module):
    """Halve height and width by two 1x1 convolutions of every second pixel, the second shifted by one pixel.

    An odd height or width is rounded up: the shifted image is padded with a row or column of zeros. In a
    causal network the second convolution reads the position before that of the first, not the one after it.
    With stride 1 both read every pixel, and the size stays.
    """

    def __init__(self, in_channels: int, channels: int, layers: Layers = IMAGES, stride: int = 2) -> None:
        super().__init__()
        half, self._layers, self._stride = channels // 2, layers, stride
        self.conv_1 = layers.conv(in_channels, half, 1)
        self.conv_2 = layers.conv(in_channels, channels - half, 1)
        self.bn = layers.norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        x = F.relu(x)
        if self._stride == 1:
            first, second = x, self._layers.shifted(x)
        else:
            first, second = self._layers.every_second(x), self._layers.other_half(x)
        halves = self.conv_1(first), self.conv_2(second)
        out: Tensor = self.bn(torch.cat(halves, dim=1))
        return out


class Pool(nn.Module):
    """Pooling over a square of pixels inside the image; `norm` adds the search's batch norm."""

    def __init__(
        self, kind: str, channels: int, stride: int, norm: bool, kernel: int = 3, layers: Layers = IMAGES
    ) -> None:
        super().__init__()
        self.pool = (layers.max_pool if kind == "max" else layers.avg_pool)(kernel, stride)
        self.bn = layers.norm(channels, affine=False) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
        out: Tensor = self.bn(self.pool(x))
        return out


class SepConv(nn.Module):
    """Twice: ReLU, depthwise convolution, pointwise convolution, batch norm; the first one has the stride.

    The second pointwise convolution changes the channels to `out`.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int, layers: Layers = IMAGES) -> None:
        super().__init__()
        c = channels
        self.dw1 = layers.conv(c, c, kernel, stride, groups=c)
        self.pw1 = layers.conv(c, c, 1)
        self.bn1 = layers.norm(c)
        self.dw2 = layers.conv(c, c, kernel, groups=c)
        self.pw2 = layers.conv(c, out, 1)
        self.bn2 = layers.norm(out)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, out, ⌈H/stride⌉, ⌈W/stride⌉]."""
        x = self.bn1(self.pw1(self.dw1(F.relu(x))))
        out: Tensor = self.bn2(self.pw2(self.dw2(F.relu(x))))
        return out


class DilConv(nn.Module):
    """ReLU, depthwise convolution with dilation 2, pointwise convolution to `out` channels and batch norm."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, layers: Layers = IMAGES) -> None:
        super().__init__()
        c = channels
        self.dw = layers.conv(c, c, kernel, stride, dilation=2, groups=c)
        self.pw = layers.conv(c, out, 1)
        self.bn = layers.norm(out)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, out, ⌈H/stride⌉, ⌈W/stride⌉]."""
        out: Tensor = self.bn(self.pw(self.dw(F.relu(x))))
        return out


class Conv7x1After1x7(nn.Module):
    """ReLU, a 1x7 convolution to `out` channels, a 7x1 convolution, and batch norm."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        s = stride
        self.conv_1x7 = nn.Conv2d(channels, out, (1, 7), stride=(1, s), padding=(0, 3), bias=False)
        self.conv_7x1 = nn.Conv2d(out, out, (7, 1), stride=(s, 1), padding=(3, 0), bias=False)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, out, ⌈H/stride⌉, ⌈W/stride⌉]."""
        out: Tensor = self.bn(self.conv_7x1(self.conv_1x7(F.relu(x))))
        return out


class Zero(nn.Module):
    """Zeros: the operation `none`; `channels` are those of its output where its input has others."""

    def __init__(self, stride: int, layers: Layers = IMAGES, channels: int | None = None) -> None:
        super().__init__()
        self.stride, self._layers, self._channels = stride, layers, channels

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> zeros [N, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        return self._layers.zeros(x, self.stride, self._channels)


class Noise(nn.Module):
    """Standard normal numbers, whatever the input is: the operation `noise`.

    They are drawn from torch's generator in each forward pass, in evaluation too, as published.
    """

    def __init__(self, stride: int, layers: Layers = IMAGES) -> None:
        super().__init__()
        self.stride, self._layers = stride, layers

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> numbers [N, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
        return self._layers.noise(x, self.stride)


def _skip(c: int, out: int, stride: int, layers: Layers) -> nn.Module:
    if stride == 1 and c == out:
        return nn.Identity()
    return FactorizedReduction(c, out, layers, stride)


Constructor: TypeAlias = Callable[[int, int, int, bool, Layers], nn.Module]

# The operations that have a window: those of images end with "3x3", those of sequences with "3".
_WINDOWS: dict[str, Callable[[int, int, int, int, bool, Layers], nn.Module]] = {
    "max_pool": lambda k, c, out, s, norm, layers: Pool("max", c, s, norm, k, layers),
    "avg_pool": lambda k, c, out, s, norm, layers: Pool("avg", c, s, norm, k, layers),
    "sep_conv": lambda k, c, out, s, norm, layers: SepConv(c, out, k, s, layers),
    "dil_conv": lambda k, c, out, s, norm, layers: DilConv(c, out, k, s, layers),
    "conv": lambda k, c, out, s, norm, layers: ReluConvBn(c, out, k, s, layers),
}
_SQUARES = {"max_pool": (3,), "avg_pool": (3,), "sep_conv": (3, 5, 7), "dil_conv": (3, 5), "conv": (1, 3)}
_LENGTHS = {
    "max_pool": (3, 5, 7),
    "avg_pool": (3, 5, 7),
    "sep_conv": (3, 5, 7, 15, 31),
    "dil_conv": (3, 5, 7),
    "conv": (1, 3, 5, 7),
}

# name -> constructor of the module from (channels, channels of its output, stride, batch norm after pooling,
# layers). Pooling keeps the channels.
OPERATIONS: dict[str, Constructor] = {
    "none": lambda c, out, s, norm, layers: Zero(s, layers, None if c == out else out),
    "noise": lambda c, out, s, norm, layers: Noise(s, layers),
    "skip_connect": lambda c, out, s, norm, layers: _skip(c, out, s, layers),
    "conv_7x1_1x7": lambda c, out, s, norm, layers: Conv7x1After1x7(c, out, s),
}
for _sort, _made in _WINDOWS.items():
    OPERATIONS |= {f"{_sort}_{k}x{k}": partial(_made, k) for k in _SQUARES[_sort]}
    OPERATIONS |= {f"{_sort}_{k}": partial(_made, k) for k in _LENGTHS[_sort]}
# The names of NAS-Bench-201.
OPERATIONS |= {f"nor_{name}": OPERATIONS[name] for name in ("conv_1x1", "conv_3x3")}
