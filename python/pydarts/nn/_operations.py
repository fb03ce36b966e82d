"""The operations of a discrete convolutional cell; each keeps the number of channels.

Submodules have the names of the search network, so that its weights fit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def every_second(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, ⌈H/2⌉, ⌈W/2⌉], the pixels that a 1x1 convolution of stride 2 uses.

    The convolution itself does not stride, because oneDNN's strided 1x1 kernels write past their buffers for
    few channels in channels-last memory (observed with PyTorch 2.11, weight gradient).
    """
    return x[:, :, ::2, ::2]


def zeros(x: Tensor, stride: int) -> Tensor:
    """[N, C, H, W] -> zeros [N, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
    return torch.zeros_like(x if stride == 1 else every_second(x))


class ReluConvBn(nn.Module):
    """ReLU, one square convolution and batch norm; with a 1x1 kernel also the preprocessing of a cell."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self._halves = kernel == 1 and stride == 2
        self.conv = nn.Conv2d(
            in_channels, channels, kernel, 1 if self._halves else stride, padding=kernel // 2, bias=False
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        x = F.relu(every_second(x) if self._halves else x)
        out: Tensor = self.bn(self.conv(x))
        return out


class FactorizedReduction(nn.Module):
    """Halve height and width by two 1x1 convolutions of every second pixel, the second shifted by one pixel.

    An odd height or width is rounded up: the shifted image is padded with a row or column of zeros.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv_1 = nn.Conv2d(in_channels, half, 1, bias=False)
        self.conv_2 = nn.Conv2d(in_channels, channels - half, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, channels, ⌈H/2⌉, ⌈W/2⌉]."""
        x = F.relu(x)
        height, width = x.shape[2:]
        # Without a branch on the size, so that torch.fx can trace it.
        shifted = F.pad(x[:, :, 1::2, 1::2], (0, width % 2, 0, height % 2))
        out: Tensor = self.bn(torch.cat([self.conv_1(every_second(x)), self.conv_2(shifted)], dim=1))
        return out


class Pool(nn.Module):
    """3x3 pooling that averages over pixels inside the image only; `norm` adds the search's batch norm."""

    def __init__(self, kind: str, channels: int, stride: int, norm: bool) -> None:
        super().__init__()
        self.pool: nn.Module
        if kind == "max":
            self.pool = nn.MaxPool2d(3, stride, padding=1)
        else:
            self.pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        self.bn = nn.BatchNorm2d(channels, affine=False) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
        out: Tensor = self.bn(self.pool(x))
        return out


class SepConv(nn.Module):
    """Twice: ReLU, depthwise convolution, pointwise convolution, batch norm; the first one has the stride."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        c, pad = channels, kernel // 2
        self.dw1 = nn.Conv2d(c, c, kernel, stride, padding=pad, groups=c, bias=False)
        self.pw1 = nn.Conv2d(c, c, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.dw2 = nn.Conv2d(c, c, kernel, 1, padding=pad, groups=c, bias=False)
        self.pw2 = nn.Conv2d(c, c, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
        x = self.bn1(self.pw1(self.dw1(F.relu(x))))
        out: Tensor = self.bn2(self.pw2(self.dw2(F.relu(x))))
        return out


class DilConv(nn.Module):
    """ReLU, depthwise convolution with dilation 2, pointwise convolution and batch norm."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        c = channels
        self.dw = nn.Conv2d(c, c, kernel, stride, padding=kernel - 1, dilation=2, groups=c, bias=False)
        self.pw = nn.Conv2d(c, c, 1, bias=False)
        self.bn = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
        out: Tensor = self.bn(self.pw(self.dw(F.relu(x))))
        return out


class Conv7x1After1x7(nn.Module):
    """ReLU, a 1x7 convolution along the width, a 7x1 convolution along the height, and batch norm."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        c, s = channels, stride
        self.conv_1x7 = nn.Conv2d(c, c, (1, 7), stride=(1, s), padding=(0, 3), bias=False)
        self.conv_7x1 = nn.Conv2d(c, c, (7, 1), stride=(s, 1), padding=(3, 0), bias=False)
        self.bn = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
        out: Tensor = self.bn(self.conv_7x1(self.conv_1x7(F.relu(x))))
        return out


class Zero(nn.Module):
    """Zeros: the operation `none`."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> zeros [N, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
        return zeros(x, self.stride)


# name -> constructor of the module from (channels, stride, batch norm after pooling)
OPERATIONS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "none": lambda c, s, norm: Zero(s),
    "max_pool_3x3": lambda c, s, norm: Pool("max", c, s, norm),
    "avg_pool_3x3": lambda c, s, norm: Pool("avg", c, s, norm),
    "skip_connect": lambda c, s, norm: nn.Identity() if s == 1 else FactorizedReduction(c, c),
    "sep_conv_3x3": lambda c, s, norm: SepConv(c, 3, s),
    "sep_conv_5x5": lambda c, s, norm: SepConv(c, 5, s),
    "sep_conv_7x7": lambda c, s, norm: SepConv(c, 7, s),
    "dil_conv_3x3": lambda c, s, norm: DilConv(c, 3, s),
    "dil_conv_5x5": lambda c, s, norm: DilConv(c, 5, s),
    "conv_1x1": lambda c, s, norm: ReluConvBn(c, c, 1, s),
    "conv_3x3": lambda c, s, norm: ReluConvBn(c, c, 3, s),
    "conv_7x1_1x7": lambda c, s, norm: Conv7x1After1x7(c, s),
}
