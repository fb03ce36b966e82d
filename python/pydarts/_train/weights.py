"""The weights of a training, and their average where there is one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def mean_share(steps: int) -> float:
    """For `Weights`: what the next weights are of the mean of all, after so many.

    >>> mean_share(0), mean_share(3)
    (1.0, 0.25)
    """
    return 1 / (steps + 1)


def moving_share(decay: float) -> Callable[[int], float]:
    """For `Weights`: an exponential moving average whose memory grows to what `decay` says.

    After n steps the decay is min(decay, (1 + n) / (10 + n)): with the full one from the beginning a short
    training would end with an average of what the network was before it had learnt anything.

    >>> moving_share(0.99)(0), round(moving_share(0.99)(10**6), 2)
    (1.0, 0.01)
    """
    return lambda steps: 1 - min(decay, (1 + steps) / (10 + steps)) if steps else 1.0


class Weights:
    """A network's weights and running statistics, and their average when there is to be one.

    `share(n)` is what the weights after a step are of the average, when those of n steps are in it: a number
    of the host, so that no step waits for the device.
    """

    def __init__(self, network: nn.Module, share: Callable[[int], float] = mean_share) -> None:
        self.network = network
        self._share = share
        self._average: nn.Module | None = None
        self._steps = 0
        # Averages and what they are of: weights and statistics, and counts.
        self._real: list[list[Tensor]] = []
        self._counts: list[list[Tensor]] = []

    @property
    def averaged(self) -> bool:
        """Whether they are averaged by now."""
        return self._average is not None

    @property
    def evaluated(self) -> nn.Module:
        """What is evaluated: the network, or one with the averaged weights."""
        return self.network if self._average is None else self._average

    def begin_average(self) -> None:
        """Average the weights after each step from now on."""
        self._average, self._steps = copy.deepcopy(self.network), 0
        # Of the state alone: the share of drop path, which no network keeps, is none of the average's.
        states = [list(network.state_dict().values()) for network in (self._average, self.network)]
        self._real, self._counts = (
            [[value for value in values if value.is_floating_point() is real] for values in states]
            for real in (True, False)
        )

    @torch.no_grad()
    def stepped(self) -> None:
        """Called after every step."""
        if self._average is None:
            return
        averages, weights = self._real
        torch._foreach_lerp_(averages, weights, self._share(self._steps))
        averages, counts = self._counts
        if counts:  # batch norm's, of batches
            torch._foreach_copy_(averages, counts)
        self._steps += 1

    def copy(self) -> dict[str, Tensor]:
        """A copy of what is evaluated."""
        return {name: value.detach().clone() for name, value in self.evaluated.state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        """All of it, by name."""
        state = {f"weight/{name}": value for name, value in self.network.state_dict().items()}
        if self._average is not None:
            state |= {f"average/{name}": value for name, value in self._average.state_dict().items()}
            state["averaged"] = torch.tensor(self._steps)
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self.network.load_state_dict(under("weight/", state))
        if "averaged" in state:
            if self._average is None:
                self.begin_average()
            self.evaluated.load_state_dict(under("average/", state))
            self._steps = int(state["averaged"])


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What stands under a prefix, by the rest of its name."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
