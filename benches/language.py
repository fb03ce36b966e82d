"""A search step of the recurrent network, time against plain eager PyTorch.

Same weights, same segments, same masks, one process, alternating; the losses of the first step are checked to
agree. `ours`: `pydarts.Supernet.step`. `unfused`: the same on the plan as it was lowered. `plain`: the plain
PyTorch of tests/reference, written as the published code is (the states that enter a node side by side,
activation after activation), which differentiates every loss by `backward()`.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from statistics import median

import torch
from common import (
    METHODS,
    alternate,
    milliseconds,
    parser,
    provenance,
    publish,
    ratios,
    reference,
    table,
    timing_options,
)
from pydarts import SearchConfig, Supernet
from torch import Tensor

SIDES = ("ours", "unfused", "plain")
TOLERANCE = 1e-4  # relative, for the losses of the first step


def main() -> None:
    made = parser("language", __doc__)
    made.add_argument("--words", type=int, default=10_000, help="size of the vocabulary (%(default)s)")
    made.add_argument("--units", type=int, default=300, help="units (%(default)s)")
    made.add_argument("--batch", type=int, default=64, help="sequences side by side (%(default)s)")
    made.add_argument("--bptt", type=int, default=35, help="tokens of a segment (%(default)s)")
    made.add_argument("--device", default="cpu", help='"cpu", "cuda" (%(default)s)')
    made.add_argument("--methods", nargs="+", choices=METHODS, default=["first_order", "unrolled"])
    made.add_argument("--sides", nargs="+", choices=SIDES, default=["ours", "plain"])
    timing_options(made)
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    about = provenance(
        f"{given.units} units, {given.words} words, batch {given.batch}, {given.bptt} tokens, float32, "
        f"{given.threads} threads; n = {given.rounds} alternations after {given.warm} to warm up; "
        "milliseconds",
        given.device,
    )
    rows = []
    for method in given.methods:
        sides = {side: build(side, method, given) for side in given.sides}
        first = {side: step() for side, step in sides.items()}
        for side, losses in first.items():
            for mine, theirs in zip(losses, first["plain"], strict=True):
                if abs(mine - theirs) > TOLERANCE * abs(theirs):
                    raise SystemExit(f"{method}: {side} has losses {losses}, plain {first['plain']}")
        times = alternate(sides, given.rounds, given.warm, given.device)
        for side in given.sides:
            of_times = [f"{ratio:.2f}" for ratio in ratios(times["plain"], times[side])]
            row = [f"{method}, {side}", milliseconds(median(times[side])), milliseconds(min(times[side]))]
            rows.append([*row, *of_times])
    header = ["step", "median", "minimum", "ratio of medians", "ratio of minima"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def build(side: str, method: str, given: Namespace) -> Callable[[], tuple[float, float]]:
    """The step of a side."""
    changes = {} if side != "unfused" else {"passes": ()}
    config = SearchConfig.from_dict(
        {
            "space": "darts-rnn",
            "hypergradient": method,
            "batch_size": given.batch,
            "bptt": given.bptt,
            "weight_lr": 1.0,
            "weight_lr_min": 1.0,
            **changes,
        }
    )
    net = Supernet(vocabulary=given.words, units=given.units, device=given.device, config=config)
    train, valid = (segment(given, seed) for seed in (1, 2))
    if side != "plain":
        return lambda: net.step(train, valid)
    plain = reference()
    model = plain.LanguageModel(vocabulary=given.words, units=given.units, dtype=torch.float32)
    model.load_state_dict(net.state_dict())
    model.set_alphas(net.alphas)
    model.train().to(given.device)
    model.alphas = {
        name: value.detach().to(given.device).requires_grad_() for name, value in model.alphas.items()
    }
    model.masks = {"rows": torch.ones(1, 1, device=given.device)} | net.masks()
    search = plain.Search(
        model,
        method=method,
        weight_momentum=0.0,
        weight_decay=config.weight_decay,
        grad_clip=config.grad_clip,
        virtual_clip=config.grad_clip,
        arch_lr=config.arch_lr,
        arch_betas=config.arch_betas,
    )
    streams = [plain.Stream(torch.zeros(given.batch, given.units, device=given.device)) for _ in range(2)]

    def step() -> tuple[float, float]:
        losses: tuple[float, float] = search.step(
            (*train, streams[0]), (*valid, streams[1]), config.weight_lr
        )
        for stream in streams:
            stream.go_on()
        return losses

    return step


def segment(given: Namespace, seed: int) -> tuple[Tensor, Tensor]:
    """Random tokens, and those one further on."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(given.words, (given.bptt + 1, given.batch), generator=generator)
    text = text.to(given.device)
    return text[:-1], text[1:]


if __name__ == "__main__":
    main()
