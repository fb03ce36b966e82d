"""What trainings by SGD with a schedule share: optimiser, learning rate, state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from .parallel import Parallel
from .settings import SgdSettings
from .weights import Weights, moving_share, under

N = TypeVar("N", bound=nn.Module)
S = TypeVar("S", bound=SgdSettings)


class Descent(Generic[N, S]):
    """A network with its optimiser: SGD with momentum, clipped gradients, optionally averaged weights."""

    def __init__(self, network: N, settings: S, device: torch.device) -> None:
        self.network = network.to(device)
        if settings.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.settings = settings
        self.parallel = Parallel(self.network)
        self.weights = Weights(self.network, moving_share(settings.ema))
        if settings.ema:
            self.weights.begin_average()
        self._optimizer = torch.optim.SGD(
            [weight for weight in network.parameters() if weight.requires_grad],
            lr=settings.weight_lr,
            momentum=settings.weight_momentum,
            weight_decay=settings.weight_decay,
        )

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch."""
        return self.settings.rate(epoch)

    def after(self, valid_losses: list[float]) -> None:
        """Do nothing: the averaging starts at the beginning of the training, if there is any."""

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next epoch depends on, by name."""
        momentum = {
            f"momentum/{name}": self._optimizer.state[weight]["momentum_buffer"]
            for name, weight in self.network.named_parameters()
            if self._optimizer.state[weight].get("momentum_buffer") is not None
        }
        return self.weights.state() | momentum

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self.weights.load_state(state)
        momentum = under("momentum/", state)
        for name, weight in self.network.named_parameters():
            if name in momentum:
                buffer = torch.empty_like(weight).copy_(momentum[name])
                self._optimizer.state[weight]["momentum_buffer"] = buffer

    def _begin_epoch(self, epoch: int) -> None:
        """Set the learning rate of an epoch."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate(epoch)

    def _descend(self, objective: Tensor, examples: int) -> None:
        """Do a step that lowers the objective, a mean over examples."""
        self._optimizer.zero_grad(set_to_none=True)
        objective.backward()  # type: ignore[no-untyped-call]
        self.parallel.average_gradients(examples)
        if self.settings.grad_clip:
            clip_grad_norm_(self.network.parameters(), self.settings.grad_clip)
        self._optimizer.step()
        self.weights.stepped()
