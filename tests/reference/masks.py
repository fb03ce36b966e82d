"""Drop path and skip dropout in the search network, by masks that are given.

Drop path (Zela et al., 2020) multiplies the whole sum of an edge by 0 or 1/(1 - p), image by image: its
mixture, what bypasses it, and its auxiliary skip connection. Skip dropout (Chen et al., 2019) does the same
with the elements behind a skip connection that keeps the size; one that halves the size is a convolution, of
which nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from .partial import PartialEdge, PartialSupernet
from .sequences import SequenceSupernet
from .supernet import MixedOp, Supernet


class _Dropped(Supernet):
    """What is added to a network: a mask behind every edge and every skip connection that keeps the size."""

    masks: Mapping[str, Tensor] = {}
    """Those of the engine, by role, part and place."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        for name, module in self.named_modules():
            skip = isinstance(module, nn.Identity) and name.endswith("skip_connect")
            if skip or isinstance(module, MixedOp | PartialEdge):
                module.register_forward_hook(partial(self._drop, name))

    def _drop(self, name: str, module: nn.Module, inputs: Any, value: Tensor) -> Tensor:
        """The value behind a place; as it is in an evaluation, and where nothing is dropped."""
        mask = self.masks.get(f"{self._role}.0.{name}") if self.training else None
        return value if mask is None else value * mask.reshape(*mask.shape, *[1] * (value.dim() - mask.dim()))


class Masked(_Dropped, Supernet):
    """A search network that is dropped by `masks`."""


class MaskedSequences(_Dropped, SequenceSupernet):
    """The same for sequences [N, C, L]."""


class MaskedPartial(_Dropped, PartialSupernet):
    """The same with partial channels, weighted edges and an auxiliary skip connection."""
