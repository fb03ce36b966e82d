"""The weights of a training, and their average where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class Weights:
    """A network's weights and running statistics; `average` says how, if they are to be averaged."""

    def __init__(self, network: nn.Module, **average: Any) -> None:
        self.network = network
        self._how = average
        self._average: AveragedModel | None = None

    @property
    def averaged(self) -> bool:
        """Whether they are averaged by now."""
        return self._average is not None

    @property
    def evaluated(self) -> nn.Module:
        """What is evaluated: the network, or one with the averaged weights."""
        return self.network if self._average is None else self._average.module

    def begin_average(self) -> None:
        """Average the weights after each step from now on."""
        self._average = AveragedModel(self.network, **self._how)

    def stepped(self) -> None:
        """Called after every step."""
        if self._average is not None:
            self._average.update_parameters(self.network)

    def copy(self) -> dict[str, Tensor]:
        """A copy of what is evaluated."""
        return {name: value.detach().clone() for name, value in self.evaluated.state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        """All of it, by name."""
        state = {f"weight/{name}": value for name, value in self.network.state_dict().items()}
        if self._average is not None:
            averaged = self._average.module.state_dict()
            state |= {f"average/{name}": value for name, value in averaged.items()}
            state["averaged"] = self._average.n_averaged
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self.network.load_state_dict(under("weight/", state))
        if "averaged" in state:
            self.begin_average()
            assert self._average is not None
            self._average.module.load_state_dict(under("average/", state))
            self._average.n_averaged.copy_(state["averaged"])


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """For `AveragedModel`: an exponential moving average whose memory grows to what `decay` says.

    After n steps the decay is min(decay, (1 + n) / (10 + n)): with the full one from the beginning a short
    training would end with an average of what the network was before it had learnt anything.
    """

    @torch.no_grad()
    def update(averages: list[Tensor], weights: list[Tensor], steps: Tensor) -> None:
        if not averages[0].is_floating_point():  # batch norm's count of batches
            for average, weight in zip(averages, weights, strict=True):
                average.copy_(weight)
            return
        n = steps.double()
        share = 1 - ((1 + n) / (10 + n)).clamp(max=decay)  # stays on the device: no step waits for it
        moves = torch._foreach_sub(weights, averages)
        torch._foreach_mul_(moves, share.to(averages[0].dtype))
        torch._foreach_add_(averages, moves)

    return update


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What stands under a prefix, by the rest of its name."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
