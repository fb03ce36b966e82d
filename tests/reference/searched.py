"""What every search network states alike: α and its relaxation, and statistics that move when told to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .relaxation import Relaxation
from .sparse import SAMPLES_ONE

Noise = dict[str, dict[str, Tensor]]
"""The noise of a step, by role and table: "alpha" for the validation loss, "weight" for all others."""


class Searched(nn.Module):
    """A network with `alphas`, name -> leaf tensor, and `_norms`, modules with a flag `moves`.

    In training mode the mixing weights see the `noise` of the role whose loss is computed, if there is any;
    in evaluation mode they are the mean.
    """

    alphas: dict[str, Tensor]
    _norms: list[Any]
    relaxation = Relaxation()
    noise: Noise | None = None
    perturbed: dict[str, Tensor] | None = None
    """Mixing weights that replace those of the logits."""
    _role = "weight"

    @property
    def samples(self) -> bool:
        """Whether the mixing weights of training are one-hot."""
        return self.relaxation.name in SAMPLES_ONE

    def mixing(self, table: str) -> Tensor:
        """The mixing weights of a table."""
        if self.perturbed is not None:
            return self.perturbed[table]
        noise = self.noise[self._role][table] if self.noise and self.training else None
        return self.relaxation.weights(table, self.alphas[table], noise)

    @contextmanager
    def of_role(self, role: str) -> Iterator[None]:
        """Within the block, losses see the noise of another role."""
        before, self._role = self._role, role
        try:
            yield
        finally:
            self._role = before

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Searched":
        """Lets `to`, `double`, `cuda` carry the alphas along with the weights."""
        super()._apply(fn, recurse)
        for alpha in self.alphas.values():
            alpha.data = fn(alpha.data)
        return self

    def weights(self) -> dict[str, Tensor]:
        """Name -> weight, in the order of the state dict."""
        return dict(self.named_parameters())

    def weight_count(self) -> int:
        return sum(weight.numel() for weight in self.parameters())

    def set_alphas(self, alphas: dict[str, Tensor]) -> None:
        """Copies values into the leaf tensors, which stay the same objects."""
        with torch.no_grad():
            for name, value in alphas.items():
                self.alphas[name].copy_(value)

    @contextmanager
    def moving_statistics(self, flag: bool = True) -> Iterator[None]:
        """Within the block, training-mode forward passes move the running statistics, or do not."""
        earlier = [norm.moves for norm in self._norms]
        for norm in self._norms:
            norm.moves = flag
        try:
            yield
        finally:
            for norm, moves in zip(self._norms, earlier, strict=True):
                norm.moves = moves
