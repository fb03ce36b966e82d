"""The operation `noise`, whose numbers are those of the engine by its specification.

They come from ChaCha8 keyed by the seed, by "noise", the role and the part of the loss and the edge, and by
the step; in an evaluation by the seed, the edge and the number of the batch. They are in the order of
examples, rows, columns and channels.
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from .noise import normal
from .operations import Noise
from .partial import PartialSupernet
from .sequences import SequenceSupernet
from .supernet import Supernet


@lru_cache(maxsize=1000)
def drawn(seed: int, purpose: str, index: int, count: int) -> Tensor:
    """The first normal numbers of a stream."""
    return torch.tensor(list(islice(normal(seed, purpose, index), count)), dtype=torch.float64)


class _Noisy(Supernet):
    """What is added to a network: the numbers of the loss behind every `noise`."""

    step, part, batch = 0, 0, 0
    """The step and the part of the loss, and the number of the batch of an evaluation."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.seed = sizes["seed"]
        for name, module in self.named_modules():
            if isinstance(module, Noise):
                module.register_forward_hook(partial(self._noise, name))

    def _noise(self, name: str, module: Noise, inputs: Any, value: Tensor) -> Tensor:
        """The numbers of a place, of the shape of its value."""
        shape = value.movedim(1, -1).shape
        purpose, index = f"noise.evaluation.{name}", self.batch
        if self.training:
            purpose, index = f"noise.{self._role}.{self.part}.{name}", self.step
        return drawn(self.seed, purpose, index, shape.numel()).view(shape).movedim(-1, 1).to(value.dtype)


class Noisy(_Noisy, Supernet):
    """A search network with `noise`."""


class NoisySequences(_Noisy, SequenceSupernet):
    """The same for sequences [N, C, L]."""


class NoisyPartial(_Noisy, PartialSupernet):
    """The same with partial channels."""
