"""The weights of a training, and their average."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..nn._module import load_tensors, tensors_in
from ..nn._state import CheckedModule


def mean_share(steps: int) -> float:
    """The share of the next weights in the mean of all, after `steps` steps; for `Weights`.

    >>> mean_share(0), mean_share(3)
    (1.0, 0.25)
    """
    return 1 / (steps + 1)


def moving_share(decay: float) -> Callable[[int], float]:
    """The share of the next weights in an exponential moving average with increasing decay; for `Weights`.

    After n steps the decay is min(decay, (1 + n) / (10 + n)): with the full decay from the beginning, the
    average of a short training would be dominated by the initial weights.

    >>> moving_share(0.99)(0), round(moving_share(0.99)(10**6), 2)
    (1.0, 0.01)
    """
    return lambda steps: 1 - min(decay, (1 + steps) / (10 + steps)) if steps else 1.0


class Weights:
    """A network's weights and running statistics, and optionally their average.

    `share(n)` is the share of the weights after a step in the average, when the average contains n steps. It
    is a Python number, so that no step waits for the device.
    """

    def __init__(self, network: nn.Module, share: Callable[[int], float] = mean_share) -> None:
        self.network = network
        self._share = share
        self._average: nn.Module | None = None
        self._steps = 0
        self._pairs: list[list[list[Tensor]]] = []
        self._copied: set[str] = set()  # not averaged: counts, and buffers such as masks with -infinity

    @property
    def averaged(self) -> bool:
        """Whether the weights are averaged."""
        return self._average is not None

    @property
    def evaluated(self) -> nn.Module:
        """The module to evaluate: the network, or one with the averaged weights."""
        return self.network if self._average is None else self._average

    @property
    def buffers(self) -> list[Tensor]:
        """The buffers of the network and of the average, such as running statistics."""
        modules = [self.network] if self._average is None else [self.network, self._average]
        return [buffer for module in modules for buffer in module.buffers()]

    def begin_average(self) -> None:
        """Average the weights after each of the following steps."""
        self._average, self._steps = copy.deepcopy(self.network), 0
        weights = {name for name, _ in self.network.named_parameters()}
        self._copied = {
            name
            for name, value in tensors_in(self.network).items()
            if not value.is_floating_point() or (name not in weights and not bool(value.isfinite().all()))
        }
        self._pairs = self._paired()

    def _paired(self) -> list[list[list[Tensor]]]:
        """Return averages and their sources: those that are averaged, then those that are copied."""
        assert self._average is not None
        # Average the state only: the current drop path rate is not part of it.
        averages, sources = tensors_in(self._average), tensors_in(self.network)
        # A module of your own may create buffers, or assign other tensors to them.
        new = {
            name: value
            for name, value in sources.items()
            if name not in averages or averages[name].shape != value.shape
        }
        if new:
            load_tensors(self._average, averages | new)
            averages = tensors_in(self._average)
            self._copied |= {name for name, value in new.items() if not value.is_floating_point()}
        return [
            [
                [tensors[name] for name in sources if (name in self._copied) is copied]
                for tensors in (averages, sources)
            ]
            for copied in (False, True)
        ]

    @torch.no_grad()
    def stepped(self) -> None:
        """Called after every step."""
        if self._average is None:
            return
        if not isinstance(self.network, CheckedModule):
            self._pairs = self._paired()
        averages, weights = self._pairs[0]
        torch._foreach_lerp_(averages, weights, self._share(self._steps))
        averages, counts = self._pairs[1]
        if counts:  # batch norm's counts of batches
            torch._foreach_copy_(averages, counts)
        self._steps += 1

    def copy(self) -> dict[str, Tensor]:
        """Return a copy of the weights that are evaluated."""
        return {name: value.detach().clone() for name, value in tensors_in(self.evaluated).items()}

    def keep(self, weights: Mapping[str, Tensor]) -> None:
        """Give the network weights that `copy` returned."""
        load_tensors(self.network, weights)

    def state(self) -> dict[str, Tensor]:
        """Return weights and average by name."""
        state = {f"weight/{name}": value for name, value in tensors_in(self.network).items()}
        if self._average is not None:
            state |= {f"average/{name}": value for name, value in tensors_in(self._average).items()}
            state["averaged"] = torch.tensor(self._steps)
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        load_tensors(self.network, under("weight/", state))
        if "averaged" in state:
            if self._average is None:
                self.begin_average()
            load_tensors(self.evaluated, under("average/", state))
            self._steps = int(state["averaged"])
            self._pairs = self._paired()


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries under a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
