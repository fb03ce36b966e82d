"""Error of `unrolled`'s second-order term against `unrolled_exact`'s on a recurrent cell, over ε.

As `epsilon.py`, on Python's own help texts: the norm of the difference of the second terms relative to that
of the exact one, and the cosine between the two, with all activations and without relu. Everything is
float64, and the masks of a step are shared by all its losses, so what is seen is the finite difference and
the kinks of relu. Medians over several pairs of segments, after some search steps.
"""

from __future__ import annotations

import argparse
from statistics import median

import torch
from common import parser, provenance, publish, reference, table
from epsilon import EPSILONS, flat
from pydarts import SearchConfig, Supernet, datasets
from pydarts._data.corpus import bundled_english, split_words
from torch import Tensor

OPERATIONS = {
    "all activations": ("none", "tanh", "relu", "sigmoid", "identity"),
    "without relu": ("none", "tanh", "sigmoid", "identity"),
}
Segment = tuple[Tensor, Tensor]


def main() -> None:
    made = parser("epsilon-rnn", __doc__)
    made.add_argument("--units", type=int, default=64, help="units (%(default)s)")
    made.add_argument("--batch", type=int, default=16, help="sequences side by side (%(default)s)")
    made.add_argument("--bptt", type=int, default=20, help="tokens of a segment (%(default)s)")
    made.add_argument("--rate", type=float, default=2.0, help="learning rate of w, and ξ (%(default)s)")
    made.add_argument("--steps", type=int, default=50, help="search steps before (%(default)s)")
    made.add_argument("--pairs", type=int, default=5, help="pairs of segments (%(default)s)")
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    about = provenance(
        f"Python's help texts, 2000 words, {given.units} units, batch {given.batch}, {given.bptt} tokens, "
        f"float64, ξ = {given.rate:g}, after {given.steps} steps; n = {given.pairs} pairs of segments, "
        "medians; error relative to the exact second-order term"
    )
    text = torch.from_numpy(datasets.corpus(bundled_english(), vocabulary=2000, split=split_words).train)
    columns = text[: len(text) // given.batch * given.batch].view(given.batch, -1).T.contiguous()
    found = {name: measure(columns, operations, given) for name, operations in OPERATIONS.items()}
    rows = []
    for index, epsilon in enumerate(EPSILONS):
        row = [f"{epsilon:g}" + (" (default)" if epsilon == SearchConfig().epsilon else "")]
        for pairs in found.values():
            errors, cosines = zip(*(pair[index] for pair in pairs), strict=True)
            row += [f"{median(errors):.2g}", f"{median(cosines):.3f}"]
        rows.append(row)
    header = ["ε"] + [f"{what}, {name}" for name in found for what in ("error", "cosine")]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def measure(
    columns: Tensor, operations: tuple[str, ...], given: argparse.Namespace
) -> list[list[tuple[float, float]]]:
    """For every pair of segments and every ε the error and the cosine of the second-order term."""
    config = SearchConfig(
        space="darts-rnn",
        operations=operations,
        batch_size=given.batch,
        bptt=given.bptt,
        weight_lr=given.rate,
        weight_lr_min=given.rate,
    )
    net = Supernet(vocabulary=2000, units=given.units, precision="float64", config=config)
    segments = iter(
        (columns[begin : begin + given.bptt], columns[begin + 1 : begin + 1 + given.bptt])
        for begin in range(0, len(columns) - given.bptt, given.bptt)
    )
    for _ in range(given.steps):
        net.step(next(segments), next(segments))
    found = []
    for _ in range(given.pairs):
        train, valid = next(segments), next(segments)
        first, exact = (
            first_term(net, train, valid, given),
            gradient(net, train, valid, "unrolled_exact", given),
        )
        term, line = exact - first, []
        for epsilon in EPSILONS:
            estimate = gradient(net, train, valid, "unrolled", given, epsilon) - first
            cosine = torch.cosine_similarity(estimate, term, dim=0)
            line.append((float((estimate - term).norm() / term.norm()), float(cosine)))
        print(f"{', '.join(operations)}: {line}", flush=True)
        found.append(line)
    return found


def gradient(
    net: Supernet,
    train: Segment,
    valid: Segment,
    method: str,
    given: argparse.Namespace,
    epsilon: float | None = None,
) -> Tensor:
    return flat(net.arch_gradient(train, valid, method, given.rate, epsilon))  # type: ignore[arg-type]


def first_term(net: Supernet, train: Segment, valid: Segment, given: argparse.Namespace) -> Tensor:
    """∇_α L_val(w′, α), which both estimates share, from plain PyTorch."""
    plain = reference()
    units = int(net.state_dict()["encoder.weight"].shape[1])
    model = plain.LanguageModel(
        vocabulary=2000, units=units, nodes=net.space.nodes, operations=net.space.operations
    )
    model.load_state_dict(net.state_dict())
    model.set_alphas(net.alphas)
    model.train()
    model.masks = {"rows": torch.ones(1, 1, dtype=torch.float64)} | net.masks()
    weights = dict(model.named_parameters())
    stream = plain.Stream(torch.zeros(given.batch, units, dtype=torch.float64))
    grads = torch.autograd.grad(model.loss(*train, stream), list(weights.values()))
    norm = float(torch.cat([grad.flatten() for grad in grads]).norm())
    c = min(1.0, net.config.grad_clip / (norm + 1e-6))
    moved = {
        name: (w - given.rate * (c * grad + net.config.weight_decay * w)).detach()
        for (name, w), grad in zip(weights.items(), grads, strict=True)
    }
    loss = model.loss_at(moved, *valid, stream)
    return torch.autograd.grad(loss, model.alphas["recurrent"])[0].flatten()


if __name__ == "__main__":
    main()
