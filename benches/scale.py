"""What docs/scale.md is computed from: the costs of many rows, of many ranks and of checkpoints.

- the process with the table, per row, in a table of 1,000 rows that workers finish at once;
- a request to the store in which ranks give signs of life, with two clients at a time;
- a checkpoint of the default network;
- the sums of a step of two ranks, by their number and bytes.
"""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pydarts
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from common import parser, provenance, publish, table
from pydarts._search.ranks import Ranks

REQUESTS = 5000


def config(**changes: Any) -> pydarts.SearchConfig:
    return pydarts.SearchConfig(epochs=1, batch_size=4, progress=False, device="cpu", **changes)


def images(count: int, size: int) -> Any:
    x = np.random.default_rng(0).random((count, 3, size, size), np.float32)
    return x, np.arange(count) % 10


class Finished(Executor):
    """Returns the same row for every job, without work."""

    def __init__(self, row: pydarts.SearchRow) -> None:
        self.row = row

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        jobs = [argument for argument in arguments if hasattr(argument, "origin")]
        future.set_result(replace(self.row, name=jobs[0].name, origin=jobs[0].origin) if jobs else None)
        return future


def seconds_per_row(rows: int) -> float:
    """Return what the process with the table spends per row."""
    given, small = images(32, 8), config(channels=2, layers=3)
    select = pydarts.TrainConfig.quick(epochs=1, batch_size=4, progress=False, device="cpu")
    row = pydarts.search_many(given, small, 1, select, random=0, workers=0)[0]
    with tempfile.TemporaryDirectory() as folder:
        begun = perf_counter()
        pydarts.search_many(
            given, small.replace(checkpoint_dir=folder), rows, select, random=0, executor=Finished(row)
        )
        return (perf_counter() - begun) / rows


def seconds_per_request() -> float:
    """Return the time of a request to a store that answers two clients."""
    made: Any = torch.distributed
    store = made.TCPStore("127.0.0.1", 0, 1, True, timedelta(seconds=60))
    clients = [store.clone() for _ in range(2)]

    def ask(client: Any) -> None:
        for _ in range(REQUESTS):
            client.add("beat", 1)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    begun = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (perf_counter() - begun) / (2 * REQUESTS)


def checkpoint() -> tuple[float, float]:
    """Return megabytes of a checkpoint of the default network, and the seconds that one takes."""
    given = images(32, 32)
    with tempfile.TemporaryDirectory() as folder:
        seconds = {}
        for every in (1, None):
            each = Path(folder) / str(every)
            begun = perf_counter()
            pydarts.search(given, config(checkpoint_dir=each, checkpoint_every=every))
            seconds[every] = perf_counter() - begun
        sizes = [path.stat().st_size for path in each.rglob("*.safetensors")]
        return max(sizes) / 1e6, (
            seconds[1] - seconds[None]
        ) / 3  # four steps, of which the last one ends an epoch


def count_sums(rank: int, store: str, found: Any) -> None:
    """Search as one of two ranks; put the sums of a step: number and bytes of each."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    sizes: list[int] = []
    plain = Ranks.sum

    def counted(self: Ranks, tensor: torch.Tensor) -> None:
        sizes.append(tensor.nbytes)
        plain(self, tensor)

    class Steps(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            steps.append(len(sizes))

    steps: list[int] = []
    Ranks.sum = counted  # type: ignore[method-assign]
    pydarts.search(images(32, 32), config(), Steps())
    if rank == 0:
        found.put(sizes[steps[0] : steps[1]])
    dist.destroy_process_group()


def sums() -> list[int]:
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        both = [
            context.Process(target=count_sums, args=(rank, f"{folder}/store", found)) for rank in range(2)
        ]
        for process in both:
            process.start()
        sizes: list[int] = found.get(timeout=300)
        for process in both:
            process.join()
    return sizes


def main() -> None:
    made = parser("scale", __doc__)
    made.add_argument("--rows", type=int, default=1000, help="rows of the table (%(default)s)")
    made.add_argument("--rounds", type=int, default=3, help="repetitions (%(default)s)")
    given = made.parse_args()
    about = provenance(f"medians of {given.rounds}")
    row = median(seconds_per_row(given.rows) for _ in range(given.rounds))
    request = median(seconds_per_request() for _ in range(given.rounds))
    saved = [checkpoint() for _ in range(given.rounds)]
    step = sums()
    rows = [
        [f"a finished row, in a table of {given.rows:,}", f"{1e3 * row:.1f} ms"],
        ["a request to the store", f"{1e6 * request:.0f} µs"],
        ["a checkpoint of the default network", f"{saved[0][0]:.1f} MB"],
        ["to write one, over a step without", f"{1e3 * median(s for _, s in saved):.0f} ms"],
        ["sums of a step, first order", f"{len(step)}"],
        ["of which larger than 1 kB", f"{sum(size > 1000 for size in step)}"],
        ["bytes of all", f"{sum(step):,}"],
    ]
    publish(given.section, f"{about}\n\n{table(['cost', ''], rows)}", given.write)


if __name__ == "__main__":
    main()
