"""What an executor costs: a table of searches in Ray and in processes, over bare loops in as many processes.

Every side does the same searches and short trainings, one thread each, with two workers that are warm. A bare
loop is `search`, `build` and `train` for one seed after the other, in each of two processes that share
nothing. The sides alternate. The benchmark also prints how long one search takes.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import Any

import pydarts
import torch
from common import alternate, parser, provenance, publish, ratios, table

WORKERS = 2


def config(epochs: int, **changes: Any) -> pydarts.SearchConfig:
    return pydarts.SearchConfig(
        channels=8, layers=4, epochs=epochs, batch_size=64, progress=False, device="cpu", **changes
    )


SELECT = pydarts.TrainConfig.quick(epochs=1, batch_size=64, device="cpu", progress=False)


def data() -> Any:
    return pydarts.datasets.digits()


def loop(seeds: list[int], epochs: int) -> float:
    """Search and train for one seed after the other; return the seconds of one search."""
    torch.set_num_threads(1)
    loader, seconds = data(), 0.0
    for seed in seeds:
        result = pydarts.search(loader, config(epochs, seed=seed))
        net = pydarts.build(result.genotype, channels=8, layers=4, num_classes=10, in_channels=1)
        pydarts.train(net, loader, SELECT)
        seconds = sum(record.seconds for record in result.history)
    return seconds


def main() -> None:
    made = parser("executors", __doc__)
    made.add_argument("--epochs", type=int, default=14, help="epochs per search (%(default)s)")
    made.add_argument("--searches", type=int, default=4, help="searches per table (%(default)s)")
    made.add_argument("--rounds", type=int, default=3, help="alternations that count (%(default)s)")
    given = made.parse_args()
    import ray

    about = provenance(
        f"{given.searches} searches of {given.epochs} epochs on the digits and as many trainings of "
        f"one epoch, {WORKERS} workers of one thread; n = {given.rounds} alternations; seconds"
    )
    seeds = list(range(given.searches))
    shares = [seeds[worker::WORKERS] for worker in range(WORKERS)]
    ray.init("local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        one: list[float] = []

        def bare(epochs: int = given.epochs) -> None:
            one.extend(pool.map(loop, shares, [epochs] * WORKERS))

        def many(epochs: int = given.epochs, **where: Any) -> None:
            found = pydarts.search_many(data, config(epochs), seeds, SELECT, **where)
            assert found.status == "complete", found

        bare(1)
        many(1, executor="ray")
        one.clear()
        sides = {
            "bare loops": bare,
            "Ray": lambda: many(executor="ray"),
            "processes": lambda: many(workers=WORKERS, cpus=1),
        }
        times = alternate(sides, given.rounds, 0)
    ray.shutdown()
    rows = [
        [
            name,
            f"{median(found):.1f}",
            f"{min(found):.1f}",
            *(f"{r:.3f}" for r in ratios(found, times["bare loops"])),
        ]
        for name, found in times.items()
    ]
    header = ["executor", "median", "minimum", "median over bare", "minimum over bare"]
    text = f"{about} One search takes {median(one):.0f} s.\n\n{table(header, rows)}"
    publish(given.section, text, given.write)


if __name__ == "__main__":
    main()
