"""The auxiliary head: a classifier in the middle of the network, for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import _core
from ._layers import Layers


class AuxiliaryHead(nn.Module):
    """A classifier in the middle of the network; its loss helps to train the cells before it (as published).

    For 32x32 images pooling has stride 3 and both convolutions have batch norm; for 224x224 images pooling
    has stride 2 and only the first convolution has batch norm.

    Raises:
        DataError: when called on an input smaller than 8x8 (`imagenet`: 7x7), the size in the published nets.
    """

    def __init__(self, in_channels: int, num_classes: int, *, imagenet: bool, dimensions: int = 2) -> None:
        super().__init__()
        layers = self._layers = Layers(dimensions)
        self.least = 7 if imagenet else 8
        self.pool = layers.avg_pool(5, stride=2 if imagenet else 3, padding=0)
        self.conv_1 = layers.conv(in_channels, 128, 1)
        self.bn_1 = layers.norm(128)
        self.conv_2 = layers.conv(128, 768, 2)
        self.bn_2 = nn.Identity() if imagenet else layers.norm(768)
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> logits [N, classes]."""
        _check_size(x, self.least)
        x = F.relu(self.bn_1(self.conv_1(self.pool(F.relu(x)))))
        x = F.relu(self.bn_2(self.conv_2(x)))
        out: Tensor = self.classifier(self._layers.mean(x))
        return out


@torch.fx.wrap
def _check_size(x: Tensor, least: int) -> None:
    sides = tuple(x.shape[2:])
    if min(sides) < least:
        needed, got = ("x".join(map(str, size)) for size in ([least] * len(sides), sides))
        what = ("pixels", "images") if len(sides) == 2 else ("positions", "sequences")
        raise _core.DataError(
            f"the auxiliary head requires {needed} {what[0]}, got {got}: use larger {what[1]}, or build the "
            "network with auxiliary=False"
        )
