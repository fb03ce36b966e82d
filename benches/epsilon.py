"""Error of `unrolled`'s second-order term against `unrolled_exact`'s, over ε.

Both estimate ∇α L_val(w'(α), α) = ∇α L_val(w', α) - ξ·H, one by a finite difference of scale ε, the other by
double backward. The first term is the same in both and is taken by itself, as the first-order gradient of a
network that holds w'. The table has, for every ε, the norm of the difference of the second terms relative to
that of the exact one, and the cosine between the two: at the initial weights, and after a number of search
steps (first order, with their momentum). Everything is float64, so what is seen is the finite difference and
the kinks of ReLU and max pooling, not rounding. Medians over several pairs of batches.

Data: CIFAR-10 with `--cifar FILE` (an npz of JPEG bytes, see benches/README.md), else scikit-learn's digits.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
from common import (
    Batch,
    cifar_images,
    network_options,
    parser,
    provenance,
    publish,
    reference,
    standardized,
    table,
    twin,
)
from pydarts import SearchConfig, Supernet, datasets
from torch import Tensor

EPSILONS = (1.0, 0.1, 0.01, 0.001)


def main() -> None:
    made = parser("epsilon", __doc__)
    network_options(made, batch=24, size=None)
    made.add_argument("--cifar", type=Path, metavar="FILE", help="CIFAR-10 as an npz of JPEG bytes")
    made.add_argument(
        "--steps", type=int, default=24, help="search steps before the second point (%(default)s)"
    )
    made.add_argument("--pairs", type=int, default=3, help="pairs of batches at each point (%(default)s)")
    made.add_argument("--xi", type=float, default=0.025, help="length of the virtual step (%(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of weights, α and batches (%(default)s)")
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    x, y = load(given)
    about = provenance(
        f"{'CIFAR-10' if given.cifar else 'digits'}, {given.channels} channels, {given.layers} cells, "
        f"{x.shape[2]}×{x.shape[3]}, batch {given.batch}, float64, ξ = {given.xi:g}; n = {given.pairs} pairs "
        "of batches at each point, medians; error relative to the exact second-order term"
    )

    config = SearchConfig(weight_lr=given.xi, seed=given.seed)
    net = Supernet(
        channels=given.channels,
        layers=given.layers,
        in_channels=x.shape[1],
        image_size=tuple(x.shape[2:]),
        precision="float64",
        config=config,
    )
    draws = batches(x, y, given.batch, given.seed)
    points = {}
    for steps in (0, given.steps):
        for _ in range(steps):
            net.step(next(draws), next(draws))
        found = [compare(net, next(draws), next(draws), given.xi) for _ in range(given.pairs)]
        points[steps] = found
        for line in found:
            print(f"after {steps} steps: {line}", flush=True)

    rows = []
    for index, epsilon in enumerate(EPSILONS):
        row = [f"{epsilon:g}" + (" (default)" if epsilon == config.epsilon else "")]
        for found in points.values():
            errors, cosines = zip(*(pair[index] for pair in found), strict=True)
            row += [f"{median(errors):.2g}", f"{median(cosines):.2f}"]
        rows.append(row)
    header = ["ε"] + [
        f"{what}, {when}" for when in ("start", f"{given.steps} steps") for what in ("error", "cosine")
    ]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def load(given: argparse.Namespace) -> Batch:
    """Standardized images and labels."""
    if given.cifar:
        needed = given.batch * 2 * (given.steps + 2 * given.pairs)
        images, labels = cifar_images(given.cifar, needed, given.seed)
    else:
        images, labels = datasets.digits()
    return standardized(images, torch.float64), torch.from_numpy(labels)


def batches(x: Tensor, y: Tensor, size: int, seed: int) -> Iterator[Batch]:
    """Batches without replacement, shuffled anew at the end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(x), generator=generator)
        for begin in range(0, len(x) - size + 1, size):
            chosen = order[begin : begin + size]
            yield x[chosen], y[chosen]


def compare(net: Supernet, train: Batch, valid: Batch, xi: float) -> list[tuple[float, float]]:
    """For every ε the error and the cosine of the second-order term."""
    momentum = net.optimizer_state()["momentum"]

    def gradient(method: str, epsilon: float | None = None) -> Tensor:
        return flat(net.arch_gradient(train, valid, method, xi, epsilon, momentum))  # type: ignore[arg-type]

    first = flat(virtual(net, train, xi, momentum).arch_gradient(valid=valid, hypergradient="first_order"))
    exact = gradient("unrolled_exact") - first
    found = []
    for epsilon in EPSILONS:
        estimate = gradient("unrolled", epsilon) - first
        error = (estimate - exact).norm() / exact.norm()
        found.append((float(error), float(torch.cosine_similarity(estimate, exact, dim=0))))
    return found


def virtual(net: Supernet, train: Batch, xi: float, momentum: dict[str, Tensor]) -> Supernet:
    """A network at w' = w - ξ(μ·buf + ∇L_train + λw), the gradient from plain PyTorch."""
    plain = twin(net, torch.float64)
    weights = plain.weights()
    gradients = reference().hypergradient.gradients(plain.loss(*train), list(weights.values()))
    config, state = net.config, net.state_dict()
    for (name, w), g in zip(weights.items(), gradients, strict=True):
        step = config.weight_momentum * momentum[name] + g + config.weight_decay * w.detach()
        state[name] = w.detach() - xi * step
    other = Supernet(precision="float64", config=config)
    other.load_state_dict(state)
    other.set_alphas(net.alphas)
    return other


def flat(gradient: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradient[name].flatten() for name in sorted(gradient)])


if __name__ == "__main__":
    main()
