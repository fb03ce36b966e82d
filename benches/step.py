"""Time of a search step: pydarts against plain eager PyTorch.

Both sides take the same step (α, then w) on the same batches from the same weights, in one process and on
the same threads: `pydarts.Supernet.step`, and `reference.Search(published=True).step` of tests/reference,
which differentiates every loss by `backward()` as the published code does. The losses of the first step must
agree before anything is timed. Then the sides alternate, A B A B, and the table has medians, minima and the
ratios of both: above 1, pydarts is faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch
from common import (
    METHODS,
    alternate,
    network_options,
    parser,
    provenance,
    publish,
    random_batch,
    ratios,
    reference,
    table,
    twin,
)
from pydarts import SearchConfig, Supernet

DTYPES = {"float32": torch.float32, "float64": torch.float64}
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # relative, for the losses of the first step


def main() -> None:
    made = parser("step", __doc__)
    network_options(made, batch=16)
    made.add_argument("--methods", nargs="+", choices=METHODS, default=["first_order", "unrolled"])
    made.add_argument("--rounds", type=int, default=9, help="alternations that count (%(default)s)")
    made.add_argument("--warm", type=int, default=2, help="alternations before those (%(default)s)")
    made.add_argument("--dtype", choices=list(DTYPES), default="float32")
    made.add_argument("--device", default="cpu", help='"cpu", "cuda", "cuda:1" (%(default)s)')
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    where = f"{given.threads} threads"
    if given.device.startswith("cuda"):  # PyTorch's own default lets cuDNN use TensorFloat-32
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        where = given.device
    about = provenance(
        f"{given.channels} channels, {given.layers} cells, {given.size}×{given.size}, batch {given.batch}, "
        f"{given.dtype}, {where}; n = {given.rounds} alternations after {given.warm} to warm up; "
        "milliseconds",
        given.device,
    )

    rows = []
    for method in given.methods:
        ours, plain = measure(method, given)
        times = [f"{1e3 * value:.0f}" for value in (median(ours), median(plain), min(ours), min(plain))]
        rows.append([method, *times, *(f"{ratio:.2f}" for ratio in ratios(plain, ours))])
        print(f"{method}: {', '.join(rows[-1][1:])}", flush=True)
    header = ["step", "ours, median", "plain, median", "ours, minimum", "plain, minimum"]
    header += ["ratio of medians", "ratio of minima"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def measure(method: str, given: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Seconds of every step, ours and plain."""
    dtype, device = DTYPES[given.dtype], given.device
    train, valid = (
        random_batch(given.batch, given.size, seed=seed, dtype=dtype, device=device) for seed in (1, 2)
    )
    config = SearchConfig.from_dict({"hypergradient": method})
    net = Supernet(
        channels=given.channels,
        layers=given.layers,
        image_size=given.size,
        dtype=given.dtype,
        device=device,
        config=config,
    )
    peer = reference().Search(twin(net, dtype, device), method=method, published=True)
    sides: dict[str, Callable[[], tuple[float, float]]] = {
        "ours": lambda: net.step(train, valid),
        "plain": lambda: peer.step(train, valid, config.weight_lr),
    }
    agree(sides["ours"](), sides["plain"](), TOLERANCE[given.dtype])
    times = alternate(sides, given.rounds, given.warm, device)
    return times["ours"], times["plain"]


def agree(ours: tuple[float, float], plain: tuple[float, float], tolerance: float) -> None:
    """Stop unless training and validation loss are the same on both sides."""
    for what, a, b in zip(("training", "validation"), ours, plain, strict=True):
        if not abs(a - b) <= tolerance * abs(b):
            raise SystemExit(f"the {what} losses of the first step differ: {a!r} ours, {b!r} plain")


if __name__ == "__main__":
    main()
