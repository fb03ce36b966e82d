"""Time of a search step: pydarts against plain eager PyTorch.

Both sides take the same step (α, then w) on the same batches from the same weights, in one process and on
the same threads: `pydarts.Supernet.step`, and `reference.Search(published=True).step` of tests/reference,
which differentiates every loss by `backward()` as the published code does. The losses of the first step must
agree before anything is timed. Then the sides alternate, A B A B, and the table has medians, minima and the
ratios of both: above 1, pydarts is faster.
"""

from __future__ import annotations

from statistics import median

import torch
from common import METHODS, alternate, network_options, parser, provenance, publish, random_batch, ratios, table
from common import reference, twin
from pydarts import SearchConfig, Supernet

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # relative, of the first step's losses


def main() -> None:
    made = parser("step", __doc__)
    network_options(made, batch=16)
    made.add_argument("--methods", nargs="+", choices=METHODS, default=["first_order", "unrolled"])
    made.add_argument("--rounds", type=int, default=9, help="alternations that count (%(default)s)")
    made.add_argument("--warm", type=int, default=2, help="alternations before that (%(default)s)")
    made.add_argument("--dtype", choices=sorted(TOLERANCE), default="float32")
    made.add_argument("--device", default="cpu", help='"cpu", "cuda", "cuda:1" (%(default)s)')
    made.add_argument("--tf32", action="store_true", help="let the GPU multiply float32 in TensorFloat-32")
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    if given.device.startswith("cuda"):
        allowed = "tf32" if given.tf32 else "ieee"
        torch.backends.cuda.matmul.fp32_precision = allowed
        torch.backends.cudnn.conv.fp32_precision = allowed
    precision = "tf32" if given.tf32 else given.dtype
    where = f"{given.threads} threads" if given.device == "cpu" else given.device
    about = provenance(
        f"{given.channels} channels, {given.layers} cells, {given.size}x{given.size}, batch {given.batch}, "
        f"{precision}, {where}; n = {given.rounds} alternations after {given.warm} to warm up; milliseconds",
        given.device,
    )

    rows = []
    for method in given.methods:
        ours, plain = measure(method, given)
        of_medians, of_minima = ratios(plain, ours)
        times = [f"{1e3 * value:.0f}" for value in (median(ours), min(ours), median(plain), min(plain))]
        rows.append([method, *times, f"{of_medians:.2f}", f"{of_minima:.2f}"])
        print(f"{method}: ratio of medians {of_medians:.2f}, of minima {of_minima:.2f}", flush=True)
    header = ["step", "ours, median", "minimum", "plain, median", "minimum", "ratio of medians", "of minima"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def measure(method, given):  # type: ignore[no-untyped-def]
    ...


if __name__ == "__main__":
    main()
