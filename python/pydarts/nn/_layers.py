"""Layers over two dimensions, of images, and over one, of sequences: one statement for both.

Submodules are those of PyTorch, so that their state dicts load into user-defined networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CausalConv1d(nn.Conv1d):
    """A convolution [N, C, L] whose zeros of both sides are all before the first position."""

    def forward(self, x: Tensor) -> Tensor:
        """Position i depends on positions 0 to stride·i."""
        before = 2 * int(self.padding[0])
        x = F.pad(x, (before, 0))
        return F.conv1d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class CausalMaxPool1d(nn.Module):
    """The maximum of position stride·i and of the kernel - 1 positions before it."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, L] -> [N, C, ⌈L/stride⌉]."""
        x = F.pad(x, (self.kernel - 1, 0), value=float("-inf"))
        return F.max_pool1d(x, self.kernel, self.stride)


class CausalAvgPool1d(nn.Module):
    """The mean of position stride·i and of those of the kernel - 1 positions before it that exist."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, L] -> [N, C, ⌈L/stride⌉]."""
        sums = F.avg_pool1d(F.pad(x, (self.kernel - 1, 0)), self.kernel, self.stride)
        last = torch.arange(sums.shape[2], device=x.device, dtype=x.dtype) * self.stride
        return sums * (self.kernel / (last + 1).clamp(max=self.kernel))


@dataclass(frozen=True)
class Layers:
    """Constructors of layers for images (`dimensions` 2) or sequences (1), which may be causal.

    Convolutions and poolings keep the size, or divide it by the stride, rounded up.
    """

    dimensions: int = 2
    causal: bool = False

    def conv(
        self, c: int, out: int, kernel: int, stride: int = 1, *, dilation: int = 1, groups: int = 1
    ) -> nn.Module:
        """Make a convolution without bias."""
        options: Any = {"padding": dilation * (kernel - 1) // 2, "dilation": dilation, "groups": groups}
        if self.dimensions == 2:
            return nn.Conv2d(c, out, kernel, stride, bias=False, **options)
        made = CausalConv1d if self.causal and kernel > 1 else nn.Conv1d
        return made(c, out, kernel, stride, bias=False, **options)

    def norm(self, channels: int, affine: bool = True) -> nn.Module:
        """Make a batch norm."""
        made = nn.BatchNorm2d if self.dimensions == 2 else nn.BatchNorm1d
        return made(channels, affine=affine)

    def max_pool(self, kernel: int, stride: int) -> nn.Module:
        """Make a max pooling."""
        if self.causal:
            return CausalMaxPool1d(kernel, stride)
        made = nn.MaxPool2d if self.dimensions == 2 else nn.MaxPool1d
        return made(kernel, stride, padding=kernel // 2)

    def avg_pool(self, kernel: int, stride: int, padding: int | None = None) -> nn.Module:
        """Make an average pooling over what is inside."""
        if self.causal and padding is None:
            return CausalAvgPool1d(kernel, stride)
        made = nn.AvgPool2d if self.dimensions == 2 else nn.AvgPool1d
        return made(kernel, stride, kernel // 2 if padding is None else padding, count_include_pad=False)

    def every_second(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, ⌈H/2⌉, ⌈W/2⌉], the pixels that a 1x1 convolution of stride 2 uses.

        The convolution itself does not stride, because oneDNN's strided 1x1 kernels write past their buffers
        for few channels in channels-last memory (observed with PyTorch 2.11, weight gradient).
        """
        return x[:, :, ::2] if self.dimensions == 1 else x[:, :, ::2, ::2]

    def other_half(self, x: Tensor) -> Tensor:
        """Return as many pixels as `every_second`: those between them, with zeros where there are none."""
        if self.causal:
            return F.pad(x, (1, 0))[:, :, :-1:2]
        if self.dimensions == 1:
            return F.pad(x[:, :, 1::2], (0, x.shape[2] % 2))
        height, width = x.shape[2:]
        # Without a branch on the size, so that torch.fx can trace it.
        return F.pad(x[:, :, 1::2, 1::2], (0, width % 2, 0, height % 2))

    def shifted(self, x: Tensor) -> Tensor:
        """Return the image moved by one pixel: each is the one after it, zeros at the end."""
        if self.causal:
            return F.pad(x, (1, 0))[:, :, :-1]
        if self.dimensions == 1:
            return F.pad(x[:, :, 1:], (0, 1))
        return F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))

    def zeros(self, x: Tensor, stride: int, channels: int | None = None) -> Tensor:
        """[N, C, H, W] -> zeros [N, channels, ⌈H/stride⌉, ⌈W/stride⌉]; None: as many channels as x."""
        made = torch.zeros_like(x if stride == 1 else self.every_second(x))
        return made if channels is None else made[:, :1].repeat(1, channels, *[1] * self.dimensions)

    def noise(self, x: Tensor, stride: int) -> Tensor:
        """[N, C, H, W] -> standard normal numbers [N, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
        return torch.randn_like(x if stride == 1 else self.every_second(x))

    def mean(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C], the mean over all pixels."""
        return x.mean((2, 3) if self.dimensions == 2 else 2)


IMAGES = Layers()
