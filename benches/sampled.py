"""Time of a search step that samples operations ("gdas"), against the step that mixes all ("softmax").

Compiled: the search network of the published space, first order. A step of "gdas" computes two draws, one for
α and one for the weights, and draws differ in time, so its figure is the mean over many at α = 0. Choice: a
network of `pydarts.nn.Choice` with seven equal candidates each. Both sides take whole steps with optimisers;
they alternate.

The bounds: compiled at most 0.35 of the softmax step, a choice of seven at least 3 times as fast.
"""

from __future__ import annotations

from statistics import fmean, median
from typing import Any

import pydarts
import torch
from common import (
    alternate,
    milliseconds,
    network_options,
    parser,
    provenance,
    publish,
    random_batch,
    table,
)
from torch import nn

HEADER = ["network", "softmax", "gdas, mean", "fastest", "slowest", "gdas / softmax", "bound"]


class Blocks(nn.Module):
    """Three choices among seven convolutions, between a stem and a head."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def conv() -> nn.Module:
            made = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            return nn.Sequential(made, nn.BatchNorm2d(channels), nn.ReLU())

        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(pydarts.nn.Choice([conv() for _ in range(7)]) for _ in range(3)))
        self.head = nn.Linear(channels, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def config(relaxation: str, given: Any) -> pydarts.SearchConfig:
    """α stays 0, so that all draws are alike."""
    return pydarts.SearchConfig(
        relaxation=relaxation,
        arch_lr=0.0,
        channels=given.channels,
        layers=given.layers,
        image_size=given.size,
        device="cpu",
        precision="float32",
    )


def compiled(relaxation: str, given: Any) -> pydarts.Supernet:
    """The search network of the published space."""
    net = pydarts.Supernet(config=config(relaxation, given))
    net.set_alphas({name: torch.zeros_like(alpha) for name, alpha in net.alphas.items()})
    return net


def choices(relaxation: str, given: Any) -> pydarts.SearchModule:
    """The network with choices."""
    torch.manual_seed(0)
    net = pydarts.SearchModule(Blocks(given.channels), config(relaxation, given))
    net.set_alphas({name: torch.zeros_like(alpha) for name, alpha in net.alphas.items()})
    return net


def row(name: str, make: Any, given: Any, bound: float) -> list[str]:
    """Times of one network: `given.draws` steps of "gdas" and as many rounds of both as they need."""
    sides = {relaxation: make(relaxation, given) for relaxation in ("softmax", "gdas")}
    batches = [random_batch(given.batch, given.size, seed=seed) for seed in range(2)]
    each = max(1, given.draws // given.rounds)
    sampled: list[float] = []

    def draws() -> None:
        for _ in range(each):
            times = alternate({"step": lambda: sides["gdas"].step(*batches)}, 1, 0)
            sampled.extend(times["step"])

    times = alternate(
        {"softmax": lambda: sides["softmax"].step(*batches), "gdas": draws}, given.rounds, given.warm
    )
    sampled = sampled[given.warm * each :]
    whole, mean = median(times["softmax"]), fmean(sampled)
    ratio = mean / whole
    figures = [
        milliseconds(whole),
        milliseconds(mean),
        milliseconds(min(sampled)),
        milliseconds(max(sampled)),
    ]
    met = f"≤ {bound:.2f}" if ratio <= bound else f"≤ {bound:.2f}: missed"
    return [name, *figures, f"{ratio:.3f}", met]


def main() -> None:
    made = parser("sampled", __doc__)
    network_options(made, batch=16)
    made.add_argument("--draws", type=int, default=50, help="steps of gdas that count (%(default)s)")
    made.add_argument("--rounds", type=int, default=10, help="alternations that count (%(default)s)")
    made.add_argument("--warm", type=int, default=1, help="alternations before those (%(default)s)")
    made.add_argument("--networks", nargs="+", choices=("compiled", "choice"), default=["compiled", "choice"])
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    about = provenance(
        f"{given.channels} channels, {given.layers} cells, {given.size}×{given.size}, batch {given.batch}, "
        f"float32, first order, {given.threads} threads; choice: three choices of seven convolutions; "
        f"the median of {given.rounds} softmax steps, the mean of {given.draws} draws, {given.warm} round to "
        "warm up; milliseconds"
    )
    rows = []
    for name, make, bound in (("compiled", compiled, 0.35), ("choice", choices, 1 / 3)):
        if name in given.networks:
            rows.append(row(name, make, given, bound))
            print(", ".join(rows[-1]), flush=True)
    publish(given.section, f"{about}\n\n{table(HEADER, rows)}", given.write)


if __name__ == "__main__":
    main()
