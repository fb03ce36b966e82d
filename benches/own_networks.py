"""Time of a search step of a user's network: `search(network=)` against loops written by hand in PyTorch.

First order: against a loop with `torch.optim` that asks autograd for the gradients of α alone in the α step.
`unrolled`: against the published way, in which a second network is copied from the first, loaded with the
weights of the virtual step, and differentiated by `backward()`; the finite difference moves the weights in
place. Both sides take the same steps on the same batches from the same weights, of the same modules, mixed by
`pydarts.nn.Choice` on one side and by a softmax in Python on the other.

The clock is in the network: it reads the time when a forward pass begins, and a step lasts from its first
pass to that of the next step, so that evaluation and the start of a search are not counted. The sides
alternate, some steps each; every step but the first of a round counts, after the rounds to warm up. The mean
training losses of some steps must agree before anything is timed.

`excess` is the median of `search` less that of the loop. The bounds: first order at most 5 % slower than the
loop where its step takes at least 50 ms, else at most 1.5 ms; `unrolled` at least 1.3 times as fast as the
published way. A row that misses its bound says so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from time import perf_counter
from typing import Any, ClassVar

import pydarts
import torch
from common import (
    Batch,
    milliseconds,
    parser,
    provenance,
    publish,
    random_batch,
    ratios,
    reference,
    table,
    timing_options,
)
from torch import Tensor, nn
from torch.nn import functional as F

LR, MOMENTUM, DECAY, CLIP, EPSILON = 0.025, 0.9, 3e-4, 5.0, 0.01
PASSES = {"first_order": 2, "unrolled": 5}
"""Forward passes in training mode per step, on both sides."""
HEADER = [
    "network, method",
    "loop",
    "search",
    "excess",
    "search / loop",
    "of minima",
    "loop / search",
    "bound",
]

Choice = Callable[..., nn.Module]
ZEROS = torch.zeros(4)
"""Initial logits on both sides; a search would draw them."""


class Timed(nn.Module):
    """Reads the clock when a pass in training mode begins; copies share the readings."""

    stamps: ClassVar[list[float]] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.stamps.append(perf_counter())
        return x


def layers(choice: Choice) -> nn.Module:
    """Six choices of activations and layers on vectors of 64 features: a step takes some milliseconds."""
    blocks = [
        choice(
            {
                "relu": nn.Sequential(nn.Linear(64, 64), nn.ReLU()),
                "tanh": nn.Sequential(nn.Linear(64, 64), nn.Tanh()),
                "norm": nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()),
                "skip": nn.Identity(),
            },
            init=ZEROS,
        )
        for _ in range(6)
    ]
    return nn.Sequential(Timed(), nn.Flatten(), *blocks, nn.Linear(64, 10))


def convolutions(choice: Choice) -> nn.Module:
    """Six choices of convolutions on 16 channels: a step takes over 50 ms."""

    def conv(kernel: int, groups: int = 1) -> nn.Module:
        c = 16
        made = nn.Conv2d(c, c, kernel, padding=kernel // 2, groups=groups, bias=False)
        return nn.Sequential(made, nn.BatchNorm2d(c), nn.ReLU())

    blocks = [
        choice(
            {"conv3": conv(3), "conv5": conv(5), "depthwise": conv(3, 16), "skip": nn.Identity()}, init=ZEROS
        )
        for _ in range(6)
    ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    return nn.Sequential(Timed(), nn.Conv2d(1, 16, 3, padding=1), *blocks, *head)


NETWORKS: dict[str, tuple[Callable[[Choice], nn.Module], int, int]] = {
    "small": (layers, 8, 64),
    "large": (convolutions, 24, 32),
}
"""The network, the side of its images and the examples of a batch."""


@dataclass
class Loop:
    """The search by hand: α by Adam, then the weights by SGD, with the published settings."""

    net: nn.Module

    def __post_init__(self) -> None:
        named = dict(self.net.named_parameters())
        self.alphas = [p for name, p in named.items() if name.endswith(".alpha")]
        self.weights = [p for name, p in named.items() if not name.endswith(".alpha")]
        self.adam = torch.optim.Adam(self.alphas, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        self.sgd = torch.optim.SGD(self.weights, lr=LR, momentum=MOMENTUM, weight_decay=DECAY)

    def first_order(self, train: Batch, valid: Batch) -> float:
        """A step that asks for no gradient that it does not use."""
        loss = F.cross_entropy(self.net(valid[0]), valid[1])
        for alpha, grad in zip(self.alphas, torch.autograd.grad(loss, self.alphas), strict=True):
            alpha.grad = grad
        self.adam.step()
        loss = F.cross_entropy(self.net(train[0]), train[1])
        for weight, grad in zip(self.weights, torch.autograd.grad(loss, self.weights), strict=True):
            weight.grad = grad
        nn.utils.clip_grad_norm_(self.weights, CLIP)
        self.sgd.step()
        return loss.item()

    def unrolled(self, train: Batch, valid: Batch) -> float:
        """A step of the published second order: a second network, and a finite difference in place."""
        self.adam.zero_grad()
        other = Loop(self._second(train))
        F.cross_entropy(other.net(valid[0]), valid[1]).backward()
        direct = [_gradient(alpha) for alpha in other.alphas]
        implicit = self._difference([_gradient(weight) for weight in other.weights], train)
        for alpha, one, two in zip(self.alphas, direct, implicit, strict=True):
            alpha.grad = one - LR * two
        self.adam.step()
        self.sgd.zero_grad()
        loss = F.cross_entropy(self.net(train[0]), train[1])
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, CLIP)
        self.sgd.step()
        return loss.item()

    def _second(self, train: Batch) -> nn.Module:
        """A copy of the network with the weights of the virtual step."""
        loss = F.cross_entropy(self.net(train[0]), train[1])
        theta = _concat(self.weights).detach()
        states = [self.sgd.state.get(weight, {}).get("momentum_buffer") for weight in self.weights]
        moment = torch.zeros_like(theta) if states[0] is None else MOMENTUM * _concat(states)  # type: ignore[arg-type]
        gradient = _concat(torch.autograd.grad(loss, self.weights)) + DECAY * theta
        virtual = theta - LR * (moment + gradient)
        for parameter in self.net.parameters():
            parameter.grad = None
        other, state = copy.deepcopy(self.net), self.net.state_dict()
        names = [name for name, _ in self.net.named_parameters() if not name.endswith(".alpha")]
        parts = virtual.split([weight.numel() for weight in self.weights])
        for name, weight, part in zip(names, self.weights, parts, strict=True):
            state[name] = part.view(weight.shape)
        other.load_state_dict(state)
        return other

    def _difference(self, vector: Sequence[Tensor], train: Batch) -> list[Tensor]:
        """The product of eq. 8, with the weights moved to both sides and back."""
        radius = EPSILON / _concat(vector).norm()
        sides = []
        for move in (radius, -2 * radius):
            with torch.no_grad():
                for weight, part in zip(self.weights, vector, strict=True):
                    weight.add_(move * part)
            loss = F.cross_entropy(self.net(train[0]), train[1])
            sides.append(torch.autograd.grad(loss, self.alphas))
        with torch.no_grad():
            for weight, part in zip(self.weights, vector, strict=True):
                weight.add_(radius * part)
        return [(plus - minus) / (2 * radius) for plus, minus in zip(*sides, strict=True)]


def _concat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


class Case:
    """A network and a method, with batches and equal weights for both sides."""

    def __init__(self, name: str, method: Any, steps: int) -> None:
        make, size, batch = NETWORKS[name]
        self.method, self.steps = method, steps
        torch.manual_seed(0)
        self.plain, self.ours = make(reference().PlainChoice), make(pydarts.nn.Choice)
        self.ours.load_state_dict(self.plain.state_dict())
        images = [random_batch(batch, size, seed=seed, channels=1) for seed in range(2 * steps)]
        self.train, self.valid = images[::2], images[1::2]

    def search(self) -> tuple[list[float], float]:
        """Seconds of the steps of a search, and its mean training loss."""
        config = pydarts.SearchConfig(
            epochs=1,
            hypergradient=self.method,
            device="cpu",
            precision="float32",
            progress=False,
            weight_lr=LR,
        )
        Timed.stamps.clear()
        # A last validation batch alone: the evaluation after the epoch is in evaluation mode.
        result = pydarts.search((self.train, self.valid), config, network=self.ours)
        if result.status != "complete":
            raise SystemExit(f"the search is {result.status}")
        return self._steps(), result.history[0].train_loss

    def loop(self) -> tuple[list[float], float]:
        """Seconds of the steps of the loop, and its mean training loss."""
        loop = Loop(copy.deepcopy(self.plain))
        step = getattr(loop, self.method)
        Timed.stamps.clear()
        losses = [step(train, valid) for train, valid in zip(self.train, self.valid, strict=True)]
        return self._steps(), fmean(losses)

    def _steps(self) -> list[float]:
        """Seconds between the beginnings of steps, without the first: a search allocates in it."""
        begun = Timed.stamps[:: PASSES[self.method]]
        if len(Timed.stamps) != self.steps * PASSES[self.method]:
            raise SystemExit(f"{len(Timed.stamps)} passes in {self.steps} steps of {self.method}")
        return [end - begin for begin, end in pairwise(begun[1:])]


def main() -> None:
    made = parser("own_networks", __doc__)
    timing_options(made)
    made.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    made.add_argument("--methods", nargs="+", choices=PASSES, default=list(PASSES))
    made.add_argument("--seconds", type=float, default=1.5, help="of a side per round, about (%(default)s)")
    made.set_defaults(section="own-networks")
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    (_, _, vectors), (_, size, images) = NETWORKS.values()
    about = provenance(
        f"float32, {given.threads} threads; small: batches of {vectors} vectors of 64 features, large: of "
        f"{images} images of {size}×{size}; six choices of four candidates; n = {given.rounds} alternations "
        f"after {given.warm} to warm up; milliseconds"
    )
    rows = []
    for name in given.networks:
        for method in given.methods:
            row = compare(name, method, given.rounds, given.warm, given.seconds)
            print(", ".join(row), flush=True)
            rows.append(row)
    publish(given.section, f"{about}\n\n{table(HEADER, rows)}", given.write)


def compare(name: str, method: str, rounds: int, warm: int, seconds: float) -> list[str]:
    """The row of a network and a method."""
    short = Case(name, method, 5)
    (took, loss), (_, expected) = short.loop(), short.search()
    if not abs(loss - expected) <= 1e-3 * abs(loss):
        raise SystemExit(f"{name}, {method}: training losses {loss} by hand, {expected} in the search")
    case = Case(name, method, max(5, min(500, int(seconds / median(took)))))
    times: dict[str, list[float]] = {"loop": [], "search": []}
    for turn in range(warm + rounds):
        for side, found in times.items():
            taken, _ = getattr(case, side)()
            found += taken if turn >= warm else []
    loop, ours = median(times["loop"]), median(times["search"])
    slower, of_minima = ratios(times["search"], times["loop"])
    excess, faster = ours - loop, loop / ours
    if method == "unrolled":
        bound, good = "loop / search ≥ 1.3", faster >= 1.3
    elif loop >= 0.05:
        bound, good = "search / loop ≤ 1.05", slower <= 1.05
    else:
        bound, good = "excess ≤ 1.5 ms", excess <= 1.5e-3
    figures = [
        milliseconds(loop),
        milliseconds(ours),
        f"{1e3 * excess:.2f}",
        f"{slower:.3f}",
        f"{of_minima:.3f}",
        f"{faster:.2f}",
    ]
    return [f"{name}, {method}", *figures, bound if good else f"{bound}: missed"]


if __name__ == "__main__":
    main()
