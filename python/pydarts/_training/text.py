"""Training of a language model: segments of text, SGD, then an average of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel

from .. import _core
from .._texts import columns, tokens_of
from ..nn import LanguageModel
from .config import TextSettings
from .task import Evaluation, Step

HALVED = 0.05  # how often the length of a segment is drawn around half of `bptt`


class TextTask:
    """The published training (A.2.2 of the paper).

    SGD, whose step is in proportion to the length of the segment. From the epoch on whose validation loss is
    above the lowest of those before the last `patience`, the weights after each step are averaged, and the
    average is what is evaluated.
    """

    def __init__(
        self, network: LanguageModel, texts: Any, settings: TextSettings, device: torch.device
    ) -> None:
        self.network = network.to(device)
        self._settings = settings
        vocabulary = int(network.arguments["vocabulary"])
        least = settings.bptt + 1
        train, valid = tokens_of(texts)
        for name, part in (("training", train), ("validation", valid)):
            low, high = int(part.min()), int(part.max())
            if low < 0 or high >= vocabulary:
                raise _core.DataError(
                    f"the {name} tokens go from {low} to {high}; those of a network of {vocabulary} words go "
                    f"from 0 to {vocabulary - 1}"
                )
        self._train = columns(train, settings.batch_size, least, "training").to(device)
        self._valid = columns(valid, settings.eval_batch_size, 2, "validation").to(device)
        self._optimizer = torch.optim.SGD(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._average: AveragedModel | None = None

    @property
    def averaged(self) -> bool:
        """Whether the weights are averaged by now."""
        return self._average is not None

    @property
    def learning_rate(self) -> float:
        """That of a segment of `bptt` tokens."""
        return self._settings.learning_rate

    def step_count(self, epoch: int) -> int:
        """How many steps an epoch has."""
        return len(segments(len(self._train), self._settings, epoch))

    def steps(self, epoch: int) -> Iterator[Step]:
        """Each step of an epoch, as it is done."""
        self.network.train()
        hidden = None
        for index, (begin, end) in enumerate(segments(len(self._train), self._settings, epoch)):
            torch.manual_seed(_seed(self._settings.seed, epoch, index))
            logits, states = self.network(self._train[begin:end], hidden)
            step = _measured(logits, self._train[begin + 1 : end + 1])
            self._optimizer.param_groups[0]["lr"] = (
                self._settings.learning_rate * (end - begin) / self._settings.bptt
            )
            self._optimizer.zero_grad(set_to_none=True)
            (step.loss + self._penalty(states)).backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(self.network.parameters(), self._settings.grad_clip)
            self._optimizer.step()
            if self._average is not None:
                self._average.update_parameters(self.network)
            hidden = states[-1].detach()
            yield Step(step.loss.detach(), step.correct, step.count)

    def evaluate(self) -> Evaluation:
        """Loss and accuracy over the validation text, read once from its beginning."""
        network = self._evaluated().eval()
        hidden, steps, bptt = None, [], self._settings.bptt
        with torch.no_grad():
            for begin in range(0, len(self._valid) - 1, bptt):
                end = min(begin + bptt, len(self._valid) - 1)
                logits, states = network(self._valid[begin:end], hidden)
                steps.append(_measured(logits, self._valid[begin + 1 : end + 1]))
                hidden = states[-1]
        return Evaluation.of(steps)

    def after(self, valid_losses: list[float]) -> None:
        """Begin to average where the validation loss of the last epoch says so."""
        earlier = valid_losses[: -1 - self._settings.patience]
        if self._average is None and earlier and valid_losses[-1] > min(earlier):
            self._average = AveragedModel(self.network)

    def weights(self) -> dict[str, Tensor]:
        """A copy of what is evaluated."""
        return {name: value.detach().clone() for name, value in self._evaluated().state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        """All that the next epoch depends on, by name."""
        state = {f"weight/{name}": value for name, value in self.network.state_dict().items()}
        if self._average is not None:
            averaged = self._average.module.state_dict()
            state |= {f"average/{name}": value for name, value in averaged.items()}
            state["averaged"] = self._average.n_averaged
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self.network.load_state_dict(_under("weight/", state))
        if "averaged" in state:
            self._average = AveragedModel(self.network)
            self._average.module.load_state_dict(_under("average/", state))
            self._average.n_averaged.copy_(state["averaged"])

    def _evaluated(self) -> torch.nn.Module:
        return self.network if self._average is None else self._average.module

    def _penalty(self, states: Tensor) -> Tensor:
        """States are to change slowly."""
        if len(states) < 2:
            return states.new_zeros(())
        return self._settings.slowness * (states[1:] - states[:-1]).square().mean()


def segments(length: int, settings: TextSettings, epoch: int) -> list[tuple[int, int]]:
    """Beginning and end of each segment of an epoch over columns of `length` tokens.

    Lengths are drawn from a normal distribution around `bptt`, or around half of it once in twenty, so that
    they do not end at the same words each time: a seventh of `bptt` is its deviation and the least, 11
    sevenths the most (published: 5, 5 and 55 at 35). The last token is only a target.

    >>> segments(100, TextSettings(), epoch=0)[0][0], segments(100, TextSettings(), epoch=0)[-1][1]
    (0, 99)
    """
    draws = np.random.default_rng([settings.seed, epoch])
    spread = settings.bptt / 7
    found, begin = [], 0
    while begin < length - 1:
        around = settings.bptt / 2 if draws.random() < HALVED else settings.bptt
        drawn = int(draws.normal(around, spread))
        tokens = min(max(drawn, int(spread), 1), int(settings.bptt + 4 * spread))
        found.append((begin, min(begin + tokens, length - 1)))
        begin = found[-1][1]
    return found


def _measured(logits: Tensor, targets: Tensor) -> Step:
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return Step(loss, (logits.detach().argmax(-1) == targets).sum(), targets.numel())


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
