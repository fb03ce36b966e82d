"""Seconds a step of `pydarts.search`: device-resident arrays against a DataLoader with two workers.

Both give the same images, random bytes of CIFAR-10's size: as arrays, which the engine gathers and scales
in Rust, and as a DataLoader whose dataset turns one image after the other into floats. Whole searches of one
epoch alternate, A B A B. Timed is what lies between two `on_step` callbacks; the first step of a search,
which waits for the workers to start, and the evaluation after the last are left out. The last column has
them: seconds of a whole search, in which workers start for every pass. Above 1, the loader costs time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import numpy.typing as npt
import pydarts
import torch
from common import METHODS, network_options, parser, provenance, publish, ratios, table
from pydarts import Callback, SearchConfig, StepInfo
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10


class Images(Dataset[tuple[Tensor, int]]):
    """Bytes to standardized floats, an image at a time."""

    def __init__(self, x: npt.NDArray[np.uint8], y: npt.NDArray[np.int64]) -> None:
        self.x, self.y = x, y
        self.mean, self.std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self.x[index]).float().div_(255)
        return image.sub_(self.mean).div_(self.std), int(self.y[index])


class Clock(Callback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step(self, info: StepInfo) -> None:
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Duration of every step but the first."""
        return np.diff(self.ends).tolist()


def main() -> None:
    made = parser("loader", __doc__)
    network_options(made, batch=16)
    made.add_argument("--method", choices=METHODS, default="first_order")
    made.add_argument("--workers", type=int, default=2, help="of the DataLoader (%(default)s)")
    made.add_argument("--steps", type=int, default=12, help="timed steps of a search (%(default)s)")
    made.add_argument("--rounds", type=int, default=9, help="searches of each kind that count (%(default)s)")
    made.add_argument("--warm", type=int, default=1, help="searches of each kind before those (%(default)s)")
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    about = provenance(
        f"{given.method}, {given.channels} channels, {given.layers} cells, {given.size}×{given.size}, batch "
        f"{given.batch}, float32, {given.threads} threads, {given.workers} workers; n = {given.rounds} "
        f"searches of {given.steps} steps a side after {given.warm} to warm up; "
        "milliseconds a step, seconds a search"
    )

    config = SearchConfig.from_dict(
        {
            "channels": given.channels,
            "layers": given.layers,
            "batch_size": given.batch,
            "hypergradient": given.method,
            "num_classes": 10,
            "mean": MEAN,
            "std": STD,
            "epochs": 1,
            "device": "cpu",
            "progress": False,
        }
    )
    rng = np.random.default_rng(0)
    count = 2 * given.batch * (given.steps + 1)  # half for w, half for α
    x = rng.integers(0, 256, (count, 3, given.size, given.size), dtype=np.uint8)
    y = rng.integers(0, 10, count, dtype=np.int64)
    loader = DataLoader(Images(x, y), batch_size=given.batch, shuffle=True, num_workers=given.workers)
    floats = config.replace(mean=None, std=None)  # the loader's images are standardized already
    sides: dict[str, Callable[[Clock], object]] = {
        "arrays": lambda clock: pydarts.search((x, y), config, clock),
        "loader": lambda clock: pydarts.search(loader, floats, clock),
    }
    times: dict[str, list[float]] = {side: [] for side in sides}
    wholes: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(given.warm + given.rounds):
        for side, run in sides.items():
            clock, begun = Clock(), time.perf_counter()
            run(clock)
            if turn >= given.warm:
                wholes[side].append(time.perf_counter() - begun)
                times[side] += clock.seconds
                print(f"{turn} {side}: {1e3 * median(clock.seconds):.0f} ms a step", flush=True)
    of_medians, of_minima = ratios(times["loader"], times["arrays"])
    rows = [
        [side, f"{1e3 * median(kept):.0f}", f"{1e3 * min(kept):.0f}", f"{median(wholes[side]):.1f}"]
        for side, kept in times.items()
    ]
    of_wholes, _ = ratios(wholes["loader"], wholes["arrays"])
    rows.append(["loader / arrays", f"{of_medians:.3f}", f"{of_minima:.3f}", f"{of_wholes:.3f}"])
    header = ["data", "step, median", "step, minimum", "whole search, median"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


if __name__ == "__main__":
    main()
