"""A search on a subset of CIFAR-10, first order and unrolled.

Half of the images train the weights, half α, with crops and flips. The first table has a row an epoch: mean
training loss, mean validation loss of the α steps (batch statistics, w or w'), loss and accuracy over the
whole validation half after the epoch (running statistics), and how far α has come: its distance from the
initial α (‖α - α₀‖₂ of both tables), and the mean entropy of its edges (ln 8 = 2.0794 at the uniform start).
Then the genotypes, and the time of a step. Data: `--data FILE`, an npz of JPEG bytes, see benches/README.md.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from statistics import fmean, median

import numpy as np
import pydarts
import torch
from common import METHODS, cifar_images, network_options, parser, provenance, publish, table
from pydarts import Callback, SearchConfig, SearchResult, StepInfo


class Steps(Callback):
    """Keeps what every step said, and when."""

    def __init__(self) -> None:
        self.infos: list[StepInfo] = []
        self.ends: list[float] = []

    def on_step(self, info: StepInfo) -> None:
        self.infos.append(info)
        self.ends.append(time.perf_counter())
        print(
            f"epoch {info.epoch + 1} step {info.step_in_epoch + 1}/{info.steps_per_epoch}: "
            f"train {info.train_loss:.4f}, valid {info.valid_loss:.4f}",
            flush=True,
        )

    @property
    def seconds(self) -> list[float]:
        """Time from step to step within an epoch."""
        times = zip(self.infos[1:], np.diff(self.ends), strict=True)
        return [float(taken) for info, taken in times if info.step_in_epoch]


def main() -> None:
    made = parser("cifar10", __doc__)
    network_options(made, batch=64, size=None)
    made.add_argument(
        "--data", type=Path, required=True, metavar="FILE", help="CIFAR-10 as an npz of JPEG bytes"
    )
    made.add_argument(
        "--images", type=int, default=2000, help="images drawn from the training set (%(default)s)"
    )
    made.add_argument("--epochs", type=int, default=2, help="epochs of each search (%(default)s)")
    made.add_argument("--methods", nargs="+", choices=METHODS, default=["first_order", "unrolled"])
    made.add_argument("--device", default="cpu", help='"cpu", "cuda" (%(default)s)')
    made.add_argument("--precision", default="float32", help="of the search (%(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of subset and search (%(default)s)")
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    about = provenance(
        f"{given.images} images, {given.channels} channels, {given.layers} cells, batch {given.batch}, "
        f"{given.precision}, {given.threads} threads, seed {given.seed}; n = 1 search a method",
        given.device,
    )

    images = cifar_images(given.data, given.images, given.seed)
    rows, genotypes, times = [], [], []
    for method in given.methods:
        config = SearchConfig.from_dict(
            {
                "channels": given.channels,
                "layers": given.layers,
                "batch_size": given.batch,
                "epochs": given.epochs,
                "hypergradient": method,
                "augment": "cifar",
                "num_classes": 10,
                "device": given.device,
                "precision": given.precision,
                "seed": given.seed,
                "progress": False,
            }
        )
        steps = Steps()
        result = pydarts.search(images, config, steps)
        rows += epochs(method, result, steps)
        genotypes.append(f"`{method}`: `{result.genotype}`")
        seconds, whole = steps.seconds, sum(record.seconds for record in result.history)
        times.append([method, f"{median(seconds):.2f}", f"{min(seconds):.2f}", f"{whole:.0f}"])
    header = [
        "method",
        "epoch",
        "train loss",
        "train accuracy",
        "loss of α steps",
        "valid loss",
        "valid accuracy",
    ]
    header += ["α moved", "entropy normal", "entropy reduce", "skips"]
    timing = table(["method", "seconds a step, median", "minimum", "seconds in all"], times)
    listed = "\n\n".join(genotypes)
    publish(given.section, f"{about}\n\n{table(header, rows)}\n\n{listed}\n\n{timing}", given.write)


def epochs(method: str, result: SearchResult, steps: Steps) -> list[list[str]]:
    """A row an epoch."""
    rows = []
    for record in result.history:
        moved = math.sqrt(
            sum(float(((a[record.epoch + 1] - a[0]) ** 2).sum()) for a in result.alphas.values())
        )
        found = [info.valid_loss for info in steps.infos if info.epoch == record.epoch]
        rows.append(
            [
                method,
                str(record.epoch + 1),
                f"{record.train_loss:.4f}",
                f"{record.train_accuracy:.1%}",
                f"{fmean(loss for loss in found if loss is not None):.4f}",
                f"{record.valid_loss:.4f}",
                f"{record.valid_accuracy:.1%}",
                f"{moved:.4f}",
                *(f"{record.entropy[name]:.5f}" for name in ("normal", "reduce")),
                str(record.skip_connections),
            ]
        )
    return rows


if __name__ == "__main__":
    main()
