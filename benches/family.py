"""Time of a search step of each algorithm, against a first-order step with the softmax.

The search network of the published space. Every side takes whole steps with its optimisers; in a round,
each takes one, in turns. The ratio is that of minima, for which the bounds are given.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import pydarts
import torch
from common import alternate, milliseconds, network_options, parser, provenance, publish, random_batch, table
from pydarts.algorithms import Adversarial, BetaDecay, Flops, Neumann, Uniform

HEADER = ["step", "median", "minimum", "ratio of minima", "bound"]
SIDES: dict[str, tuple[dict[str, Any], float | None]] = {
    "softmax, first order": ({}, None),
    "gumbel": ({"relaxation": "gumbel"}, 1.03),
    "dirichlet": ({"relaxation": "dirichlet"}, 1.03),
    "sigmoid": ({"relaxation": "sigmoid"}, 1.03),
    "β decay": ({"arch_terms": [BetaDecay(weight=5)]}, 1.03),
    "expected FLOPs": ({"arch_terms": [Flops(weight=0.1)]}, 1.03),
    "perturbation, uniform": ({"perturbation": Uniform(epsilon=0.1)}, 1.05),
    "perturbation, adversarial": ({"perturbation": Adversarial(epsilon=0.1)}, None),
    "auxiliary skip": ({"auxiliary_skip": 0.5}, None),
    "mixed level": ({"hypergradient": "mixed_level"}, None),
    "single level": ({"hypergradient": "single_level"}, None),
    "Neumann, K = 3": ({"hypergradient": Neumann(terms=3)}, 7.0),
}


def main() -> None:
    made = parser("family", __doc__)
    network_options(made, batch=16)
    made.add_argument("--rounds", type=int, default=9, help="rounds that count (%(default)s)")
    made.add_argument("--warm", type=int, default=1, help="rounds before those (%(default)s)")
    made.add_argument("--only", nargs="+", choices=tuple(SIDES)[1:], default=list(SIDES)[1:], metavar="STEP")
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    batches = [random_batch(given.batch, given.size, seed=seed) for seed in range(2)]
    nets = {}
    for name in (next(iter(SIDES)), *given.only):
        config = pydarts.SearchConfig(
            channels=given.channels,
            layers=given.layers,
            image_size=given.size,
            device="cpu",
            precision="float32",
            **SIDES[name][0],
        )
        nets[name] = pydarts.Supernet(config=config)
    times = alternate(
        {name: lambda net=net: net.step(*batches) for name, net in nets.items()}, given.rounds, given.warm
    )
    base = min(next(iter(times.values())))
    rows = []
    for name, taken in times.items():
        ratio, bound = min(taken) / base, SIDES[name][1]
        met = "" if bound is None else f"≤ {bound:.2f}" if ratio <= bound else f"≤ {bound:.2f}: missed"
        figures = [milliseconds(median(taken)), milliseconds(min(taken))]
        rows.append([name, *figures, "" if taken is times[next(iter(SIDES))] else f"{ratio:.3f}", met])
    about = provenance(
        f"{given.channels} channels, {given.layers} cells, {given.size}×{given.size}, batch {given.batch}, "
        f"float32, {given.threads} threads; {given.rounds} rounds, {given.warm} to warm up; milliseconds"
    )
    publish(given.section, f"{about}\n\n{table(HEADER, rows)}", given.write)


if __name__ == "__main__":
    main()
