"""What ranks cost: a step of the default network by two ranks, over one process and over their own work.

Each rank and the process alone have one thread. A rank's own work is the time of a step without what it
spends in sums, which is also time in which it waits for a slower rank. The sides alternate.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from itertools import pairwise
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import numpy as np
import pydarts
import torch
import torch.distributed as dist
from common import network_options, parser, provenance, publish, table
from pydarts._search.ranks import Ranks

_AGREEMENT = (7,)  # the shape of a row that ranks exchange before a step


def searched(given: Any, batch: int) -> list[float]:
    """Search for some steps; return the times at which they were done."""
    images = 2 * batch * given.steps
    x = np.random.default_rng(0).random((images, 3, given.size, given.size), np.float32)
    config = pydarts.SearchConfig(
        channels=given.channels,
        layers=given.layers,
        epochs=1,
        batch_size=batch,
        hypergradient=given.method,
        progress=False,
        device="cpu",
    )
    done: list[float] = []

    class Clock(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            done.append(time.perf_counter())

    pydarts.search((x, np.arange(images) % 10), config, Clock())
    return done


def alone(wire: Connection, given: Any) -> None:
    """Search with a batch size whenever one is received; send the seconds of a step."""
    torch.set_num_threads(1)
    while batch := wire.recv():
        done = searched(given, batch)
        wire.send(median(np.diff(done)))


def rank(wire: Connection, given: Any, number: int, port: int) -> None:
    """As `alone`, as one of two ranks; send seconds of a step, of own work, and bytes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=number, world_size=2)
    sums: list[tuple[float, float, int, tuple[int, ...]]] = []
    plain = Ranks.sum

    def timed(self: Ranks, tensor: torch.Tensor) -> None:
        begun = time.perf_counter()
        plain(self, tensor)
        sums.append((begun, time.perf_counter(), tensor.nbytes, tuple(tensor.shape[1:])))

    Ranks.sum = timed  # type: ignore[method-assign]
    while batch := wire.recv():
        sums.clear()
        searched(given, batch)
        # Each step begins with an agreement; the first one and the last, which ends the pass, are left out.
        begins = [place for place, (*_, shape) in enumerate(sums) if shape == _AGREEMENT]
        steps = [sums[one:other] for one, other in pairwise(begins[2:])][: given.steps - 2]
        ends = [sums[place][0] for place in begins[2 : 3 + len(steps)]]
        whole = np.diff(ends)
        waited = [sum(end - begun for begun, end, *_ in step) for step in steps]
        wire.send((median(whole), median(whole - waited), median(sum(s[2] for s in step) for step in steps)))
    dist.destroy_process_group()


def main() -> None:
    made = parser("ranks", __doc__)
    network_options(made, batch=16)
    made.add_argument("--method", default="first_order", help="the hypergradient (%(default)s)")
    made.add_argument("--steps", type=int, default=7, help="steps per search (%(default)s)")
    made.add_argument("--rounds", type=int, default=9, help="alternations that count (%(default)s)")
    given = made.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    about = provenance(
        f"default network, {given.method}, batch {given.batch}; median step of {given.steps}; "
        f"n = {given.rounds} alternations; seconds"
    )
    context = multiprocessing.get_context("spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wires = []
    for target, arguments in ((alone, ()), (rank, (0, port)), (rank, (1, port))):
        wire, other = context.Pipe()
        context.Process(target=target, args=(other, given, *arguments), daemon=True).start()
        wires.append(wire)

    def ask(batch: int, *some: Connection) -> list[Any]:
        for wire in some:
            wire.send(batch)
        return [wire.recv() for wire in some]

    seen: dict[str, list[float]] = {"one": [], "two": [], "over": [], "own": [], "speed": []}
    for round_ in range(given.rounds + 1):
        [one] = ask(given.batch, wires[0])
        first, second = ask(given.batch, *wires[1:])
        if round_:
            own = max(first[1], second[1])
            values = (one, first[0], first[0] / own, own, first[0] / one)
            for name, value in zip(seen, values, strict=True):
                seen[name].append(value)
    for wire in wires:
        wire.send(0)
    rows = [
        ["one process, one thread", f"{median(seen['one']):.3f}", ""],
        ["slower rank's own work", f"{median(seen['own']):.3f}", ""],
        ["two ranks, one thread each", f"{median(seen['two']):.3f}", f"{median(seen['speed']):.2f}"],
    ]
    found = (
        f"A step of two ranks takes {median(seen['over']):.3f} times the slower rank's own work; each rank "
        f"sums {first[2]:,.0f} bytes."
    )
    publish(
        given.section,
        f"{about} {found}\n\n{table(['', 'step', 'over one process'], rows)}",
        given.write,
    )


if __name__ == "__main__":
    main()
