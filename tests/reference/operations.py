"""The candidate operations of a convolutional cell, each a module that keeps the number of channels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.Module):
    """Batch norm whose running statistics move in training mode only while `moves` is true.

    They begin as 0 and 1, and after t batches 0.9^t of that is left. Evaluation divides it out.
    """

    def __init__(self, channels: int, affine: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.moves = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(x, *self.seen(), self.weight, self.bias, eps=1e-5)
        mean, var = (self.running_mean, self.running_var) if self.moves else (None, None)
        self.num_batches_tracked += int(self.moves)
        return F.batch_norm(x, mean, var, self.weight, self.bias, training=True, momentum=0.1, eps=1e-5)

    def seen(self) -> tuple[Tensor, Tensor]:
        """Mean and variance without their initial values; 0 and 1 before the first batch."""
        steps = int(self.num_batches_tracked)
        left = 0.9**steps if steps else 0.0
        return self.running_mean / (1 - left), (self.running_var - left) / (1 - left)


class Zero(nn.Module):
    """`none`: nothing, at the size the stride asks for."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride].mul(0.0)


class Noise(nn.Module):
    """`noise`: normal numbers, at the size the stride asks for; zeros until a hook replaces them."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        every = [slice(None, None, self.stride)] * (x.dim() - 2)
        return torch.zeros_like(x[(slice(None), slice(None), *every)])


class FactorizedReduction(nn.Module):
    """Halves height and width by two strided 1x1 convolutions, the second shifted by one pixel."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv_1 = nn.Conv2d(in_channels, half, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(in_channels, channels - half, 1, stride=2, bias=False)
        self.bn = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        height, width = x.shape[2:]
        shifted = x[:, :, 1:, 1:]
        if height % 2 or width % 2:  # one zero row or column keeps both halves at the rounded-up size
            shifted = F.pad(shifted, (0, width % 2, 0, height % 2))
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(shifted)], dim=1))


class ReluConvBn(nn.Module):
    """ReLU, one square convolution, batch norm; with a 1x1 kernel also the preprocessing of a cell."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(F.relu(x)))


class MaxPool(nn.Module):
    """3x3 max pooling, then batch norm."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.bn = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(F.max_pool2d(x, 3, self.stride, padding=1))


class AvgPool(nn.Module):
    """3x3 average pooling over the pixels inside the image, then batch norm."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.bn = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(F.avg_pool2d(x, 3, self.stride, padding=1, count_include_pad=False))


class SepConv(nn.Module):
    """Twice ReLU, depthwise convolution, pointwise convolution, batch norm; the stride in the first."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        c, pad = channels, kernel // 2
        self.dw1 = nn.Conv2d(c, c, kernel, stride, padding=pad, groups=c, bias=False)
        self.pw1 = nn.Conv2d(c, c, 1, bias=False)
        self.bn1 = BatchNorm(c)
        self.dw2 = nn.Conv2d(c, c, kernel, 1, padding=pad, groups=c, bias=False)
        self.pw2 = nn.Conv2d(c, c, 1, bias=False)
        self.bn2 = BatchNorm(c)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.pw1(self.dw1(F.relu(x))))
        return self.bn2(self.pw2(self.dw2(F.relu(x))))


class DilConv(nn.Module):
    """ReLU, depthwise convolution of dilation 2, pointwise convolution, batch norm."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        c = channels
        self.dw = nn.Conv2d(c, c, kernel, stride, padding=kernel - 1, dilation=2, groups=c, bias=False)
        self.pw = nn.Conv2d(c, c, 1, bias=False)
        self.bn = BatchNorm(c)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.pw(self.dw(F.relu(x))))


class Conv7x1After1x7(nn.Module):
    """ReLU, a 1x7 convolution along the width, a 7x1 along the height, batch norm."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        c, s = channels, stride
        self.conv_1x7 = nn.Conv2d(c, c, (1, 7), stride=(1, s), padding=(0, 3), bias=False)
        self.conv_7x1 = nn.Conv2d(c, c, (7, 1), stride=(s, 1), padding=(3, 0), bias=False)
        self.bn = BatchNorm(c)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv_7x1(self.conv_1x7(F.relu(x))))


# name -> module from (channels, stride)
OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "none": Zero,
    "noise": lambda c, s: Noise(s),
    "max_pool_3x3": MaxPool,
    "avg_pool_3x3": AvgPool,
    "skip_connect": lambda c, s: nn.Identity() if s == 1 else FactorizedReduction(c, c),
    "sep_conv_3x3": lambda c, s: SepConv(c, 3, s),
    "sep_conv_5x5": lambda c, s: SepConv(c, 5, s),
    "sep_conv_7x7": lambda c, s: SepConv(c, 7, s),
    "dil_conv_3x3": lambda c, s: DilConv(c, 3, s),
    "dil_conv_5x5": lambda c, s: DilConv(c, 5, s),
    "conv_1x1": lambda c, s: ReluConvBn(c, c, 1, s),
    "conv_3x3": lambda c, s: ReluConvBn(c, c, 3, s),
    "conv_7x1_1x7": Conv7x1After1x7,
    "nor_conv_1x1": lambda c, s: ReluConvBn(c, c, 1, s),
    "nor_conv_3x3": lambda c, s: ReluConvBn(c, c, 3, s),
}

# the published search space, in the order of α's columns
DARTS_OPERATIONS: tuple[str, ...] = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
