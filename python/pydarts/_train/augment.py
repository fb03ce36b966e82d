"""Augmentation of a whole batch at a time, from numbers drawn beforehand: the engine's, in PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .._data.passes import stream

PADDING = 4
NUMBERS = 5  # an image: offsets down and across, flip, and the two coordinates of the cutout's centre


def draws(seed: int, index: int, batch: int, images: int) -> Tensor:
    """Numbers from [0, 1), [images, 5], a function of seed, pass and batch.

    >>> torch.equal(draws(0, 1, 2, 3), draws(0, 1, 2, 3))
    True
    """
    bits = stream(seed, f"augment.{batch}", index).random_raw(images * NUMBERS)
    numbers = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return torch.from_numpy(numbers.reshape(images, NUMBERS))


def crop_and_flip(x: Tensor, numbers: Tensor) -> Tensor:
    """Images [N, C, H, W] padded by 4 with zeros, cropped anywhere in that, and half of them mirrored.

    Images and numbers lie on one device.

    >>> crop_and_flip(torch.ones(2, 3, 6, 5), draws(0, 0, 0, 2)).shape
    torch.Size([2, 3, 6, 5])
    """
    n, channels, height, width = x.shape
    top, left = (numbers[:, :2] * (2 * PADDING + 1)).long().unbind(1)
    down, across, images, planes = (torch.arange(k, device=x.device) for k in (height, width, n, channels))
    across = torch.where(numbers[:, 2:3] < 0.5, width - 1 - across, across)
    rows = (top[:, None] + down).view(n, 1, height, 1)
    columns = (left[:, None] + across).view(n, 1, 1, width)
    return F.pad(x, [PADDING] * 4)[images.view(n, 1, 1, 1), planes.view(1, channels, 1, 1), rows, columns]


def cutout(x: Tensor, side: int, numbers: Tensor) -> Tensor:
    """Images [N, C, H, W] with a square of `side` pixels around any pixel set to 0 (DeVries and Taylor 2017).

    Images and numbers lie on one device.

    >>> int((cutout(torch.ones(1, 1, 8, 8), 2, torch.full((1, 5), 0.5)) == 0).sum())
    4
    """
    _, _, height, width = x.shape

    def outside(centres: Tensor, length: int) -> Tensor:
        first = (centres * length).long()[:, None] - side // 2
        place = torch.arange(length, device=x.device)
        return (place < first) | (place >= first + side)

    rows, columns = outside(numbers[:, 3], height), outside(numbers[:, 4], width)
    kept = rows[:, None, :, None] | columns[:, None, None, :]
    return x * kept.to(x.dtype)
