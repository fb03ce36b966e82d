"""Training of a language model: segments of text, SGD, then an average of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from .. import _core
from .._data.draws import Masks, SeededLoss
from .._data.fingerprint import of_tokens
from .._data.texts import columns, tokens_of
from .._values.callables import Loss, fact_of
from .._values.genotype import Genotype
from ..nn import LanguageModel
from .config import TrainConfig
from .criterion import criterion
from .parallel import Parallel
from .settings import TextSettings
from .task import Evaluation, Step, step_seed
from .weights import Weights

HALVED = 0.05  # probability that the length of a segment is drawn around half of `bptt`


class TextTask:
    """The published training (A.2.2 of the paper).

    SGD with steps proportional to the length of the segment. Once the validation loss of an epoch exceeds the
    lowest of those before the last `patience` epochs, the weights after each step are averaged, and the
    average is evaluated.
    """

    from_arrays = False

    def __init__(
        self,
        network: LanguageModel,
        texts: Any,
        settings: TextSettings,
        device: torch.device,
        loss: Loss | None = None,
        poll: Callable[[], None] | None = None,
    ) -> None:
        self.network = network.to(device)
        self.settings = settings
        self.parallel = Parallel(self.network)
        self.weights = Weights(self.network)
        vocabulary = int(network.arguments["vocabulary"])
        self._poll, self._epoch = poll, 0
        self._user = None if loss is None else SeededLoss(loss, settings.seed, poll)
        self._loss = criterion(self._user)
        least = settings.bptt + 1
        train, valid = tokens_of(texts)
        self.facts = of_tokens(train, "train") | of_tokens(valid, "valid") | {"loss": fact_of(loss)}
        for name, part in (("training", train), ("validation", valid)):
            low, high = int(part.min()), int(part.max())
            if low < 0 or high >= vocabulary:
                raise _core.DataError(
                    f"expected {name} tokens from 0 to {vocabulary - 1} for a network of {vocabulary} words, "
                    f"got tokens from {low} to {high}"
                )
        share = self.parallel.share
        read = columns(train, settings.batch_size, least, "training")
        self._train = share.part(read.T).T.contiguous().to(device)
        read = columns(valid, settings.eval_batch_size, 2, "validation")
        self._valid = share.part(read.T).T.contiguous().to(device)
        self._optimizer = torch.optim.SGD(
            network.parameters(), lr=settings.weight_lr, weight_decay=settings.weight_decay
        )

    @classmethod
    def open(
        cls,
        network: LanguageModel | Genotype,
        texts: Any,
        config: TrainConfig,
        device: torch.device,
        loss: Loss | None = None,
        poll: Callable[[], None] | None = None,
    ) -> TextTask:
        """Create the task of a configuration; a genotype's network is built for the words of the texts."""
        settings = TextSettings.of(config)
        if isinstance(network, Genotype):
            words = max(int(part.max()) for part in tokens_of(texts)) + 1
            with Masks(settings.seed, poll):
                network = LanguageModel(network, vocabulary=words)
        return cls(network, texts, settings, device, loss, poll)

    @property
    def scheduled(self) -> bool:
        """Whether an epoch depends on the total number of epochs."""
        return False

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of a segment of `bptt` tokens."""
        return self.settings.weight_lr

    def step_count(self, epoch: int) -> int:
        """Return the number of steps of an epoch."""
        return len(segments(len(self._train), self.settings, epoch))

    def steps(self, epoch: int) -> Iterator[Step]:
        """Do the steps of an epoch, one by one."""
        self.network.train()
        hidden, self._epoch = None, epoch + 1
        for index, (begin, end) in enumerate(segments(len(self._train), self.settings, epoch)):
            if self._user is not None:
                self._user.begin(epoch, index)
            seed = step_seed(self.settings.seed, epoch, index, *self.parallel.numbers)
            with Masks(seed, self._poll):
                logits, states = self.network(self._train[begin:end], hidden)
                step = self._measured(logits, self._train[begin + 1 : end + 1])
            self._optimizer.param_groups[0]["lr"] = (
                self.settings.weight_lr * (end - begin) / self.settings.bptt
            )
            self._optimizer.zero_grad(set_to_none=True)
            (step.loss + self._penalty(states)).backward()  # type: ignore[no-untyped-call]
            self.parallel.average_gradients(step.count)
            if self.settings.grad_clip:
                clip_grad_norm_(self.network.parameters(), self.settings.grad_clip)
            self._optimizer.step()
            self.weights.stepped()
            hidden = states[-1].detach()
            yield Step(step.loss.detach(), step.correct, step.count)

    def evaluate(self) -> Evaluation:
        """Evaluate loss and accuracy over the validation text, in one pass."""
        self.parallel.average(self.weights.buffers)
        network = self.weights.evaluated.eval()
        hidden, steps, bptt = None, [], self.settings.bptt
        with torch.no_grad():
            for begin in range(0, len(self._valid) - 1 if self._valid.shape[1] else 0, bptt):
                end = min(begin + bptt, len(self._valid) - 1)
                if self._user is not None:
                    self._user.begin(self._epoch, -1 - begin)
                logits, states = network(self._valid[begin:end], hidden)
                steps.append(self._measured(logits, self._valid[begin + 1 : end + 1]))
                hidden = states[-1]
        return Evaluation.of(steps)

    def after(self, valid_losses: list[float]) -> None:
        """Start the averaging if the last validation loss requires it."""
        earlier = valid_losses[: -1 - self.settings.patience]
        if not self.weights.averaged and earlier and valid_losses[-1] > min(earlier):
            self.weights.begin_average()

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next epoch depends on, by name."""
        return self.weights.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self.weights.load_state(state)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _measured(self, logits: Tensor, targets: Tensor) -> Step:
        loss = self._loss(logits.flatten(0, 1), targets.flatten())
        return Step(loss, (logits.detach().argmax(-1) == targets).sum(), targets.numel())

    def _penalty(self, states: Tensor) -> Tensor:
        """Return the penalty for fast changes of the state."""
        if len(states) < 2:
            return states.new_zeros(())
        return self.settings.slowness * (states[1:] - states[:-1]).square().mean()


def segments(length: int, settings: TextSettings, epoch: int) -> list[tuple[int, int]]:
    """Return start and end of each segment of an epoch over columns of `length` tokens.

    Lengths are drawn from a normal distribution around `bptt`, or in one of twenty cases around half of it,
    so that segments end at other words in every epoch: the standard deviation and the minimum are a seventh
    of `bptt`, the maximum 11 sevenths (published: 5, 5 and 55 at 35). The last token is only a target.

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
