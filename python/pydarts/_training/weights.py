"""The weights of a training, and their average where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What stands under a prefix, by the rest of its name."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
