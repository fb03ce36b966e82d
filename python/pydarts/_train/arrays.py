"""Batches of images given as arrays: the data lie on the device, a batch is one gather."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .._data.arrays import ArrayData
from .._data.loaders import evaluation_size
from .._data.memory import batch_size
from .._data.passes import permutation
from .._data.sizes import search_dtype
from .._values.config import SearchConfig
from .augment import crop_and_flip, cutout, draws


class ArrayBatches:
    """What `PythonSource` is for loaders, for some examples of arrays; its passes read as the engine's do.

    In training examples are shuffled by (seed, pass) and augmented, and a partial last batch is left out; in
    the evaluation they are taken in order, all of them.
    """

    def __init__(
        self, x: Tensor, y: Tensor, indices: list[int] | None, role: str, config: SearchConfig
    ) -> None:
        self._x, self._y, self._config = x, y, config
        self._indices = np.arange(len(x)) if indices is None else np.asarray(indices)
        self._training = role == "train"
        self._size = batch_size(config) if self._training else evaluation_size(config)
        self._scale = [
            None if values is None else torch.tensor(values, dtype=search_dtype(config)).to(x.device)
            for values in (config.mean, config.std)
        ]
        self._augmentation = (config.augment == "cifar", config.cutout) if self._training else (False, 0)
        self._order = torch.empty(0, dtype=torch.int64)
        self._pass = self._batch = 0

    def batches(self) -> int:
        """Number of batches of a pass."""
        whole, rest = divmod(len(self._indices), self._size)
        return whole if self._training or not rest else whole + 1

    @property
    def smallest(self) -> int:
        """Images of the smallest batch of a pass."""
        return (
            self._size if self._training else min(self._size, len(self._indices) % self._size or self._size)
        )

    def start(self, index: int, skip: int) -> None:
        """Begin pass number `index`, skipping its first `skip` batches."""
        order = self._indices
        if self._training:
            order = order[permutation(self._config.seed, "train", index, len(order))]
        self._order = torch.from_numpy(order).to(self._x.device)
        self._pass, self._batch = index, skip

    def next(self) -> tuple[Tensor, Tensor] | None:
        """The next images [N, C, H, W] and labels [N], or None at the end of the pass."""
        if self._batch >= self.batches():
            return None
        chosen = self._order[self._batch * self._size : (self._batch + 1) * self._size]
        x = self._inputs(self._x[chosen])
        self._batch += 1
        return x, self._y[chosen]

    def close(self) -> None:
        """Nothing is held."""

    def _inputs(self, images: Tensor) -> Tensor:
        x = images.to(search_dtype(self._config))
        if images.dtype == torch.uint8:
            x = x.div(255)
        augment, hole = self._augmentation
        if augment or hole:
            numbers = draws(self._config.seed, self._pass, self._batch, len(x))
            if x.is_cuda:  # from pageable memory the upload would wait for the steps before it
                numbers = numbers.pin_memory()
            numbers = numbers.to(x.device, non_blocking=True)
        if augment:
            x = crop_and_flip(x, numbers)
        mean, std = self._scale
        if mean is not None:
            x = x - mean.view(1, -1, 1, 1)
        if std is not None:
            x = x / std.view(1, -1, 1, 1)
        return cutout(x, hole, numbers) if hole else x


class OnDevice:
    """Makes `ArrayBatches`, with each data set on the device once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._there: list[tuple[ArrayData, Tensor, Tensor]] = []

    def __call__(
        self, data: ArrayData, indices: list[int] | None, role: str, config: SearchConfig
    ) -> ArrayBatches:
        for known, x, y in self._there:
            if known is data:
                return ArrayBatches(x, y, indices, role, config)
        self._there.append((data, data.x.to(self._device), data.y.to(self._device)))
        return self(data, indices, role, config)
