"""Host time of a search step outside libtorch's kernels, as a share of the step.

torch.profiler hooks into libtorch's dispatcher, so it sees operations that Rust dispatches like those that
Python does, backward included, which on the CPU runs on the calling thread. A range around each step splits
its wall time into the self time of operations (`aten::`), of autograd (its nodes and its loop over them), and
what lies outside of both: the engine. The profiler's own cost, a microsecond or two an event, falls into all
three, so the shares are upper bounds; the time of a step without it stands beside. Plain PyTorch
(tests/reference) is measured in the same way. `--top 15` also prints each side's costliest operations.
"""

from __future__ import annotations

import re
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
    reference,
    table,
    twin,
)
from pydarts import SearchConfig, Supernet
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile, record_function

STEP = "search step"
AUTOGRAD = re.compile(r"^autograd::|^torch::autograd::|Backward\d*$")


def main() -> None:
    made = parser("host", __doc__)
    network_options(made, batch=16)
    made.add_argument("--methods", nargs="+", choices=METHODS, default=["first_order"])
    made.add_argument(
        "--rounds", type=int, default=5, help="steps with, and steps without profiler (%(default)s)"
    )
    made.add_argument("--warm", type=int, default=2, help="steps before those (%(default)s)")
    made.add_argument("--top", type=int, default=0, help="operations to print a side (%(default)s)")
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    about = provenance(
        f"{given.channels} channels, {given.layers} cells, {given.size}×{given.size}, batch {given.batch}, "
        f"float32, {given.threads} threads; n = {given.rounds} steps under the profiler"
    )

    rows = []
    train, valid = (random_batch(given.batch, given.size, seed=seed) for seed in (1, 2))
    for method in given.methods:
        config = SearchConfig.from_dict({"hypergradient": method})
        net = Supernet(channels=given.channels, layers=given.layers, image_size=given.size, config=config)
        peer = reference().Search(twin(net, torch.float32), method=method, published=True)

        def ours(net: Supernet = net) -> object:
            return net.step(train, valid)

        def plain(peer: object = peer, lr: float = config.weight_lr) -> object:
            return peer.step(train, valid, lr)  # type: ignore[attr-defined]

        times = alternate({"ours": ours, "plain": plain}, given.rounds, given.warm)
        for side, step in (("ours", ours), ("plain", plain)):
            events = profiled(step, given.rounds)
            rows.append(
                [f"{method}, {side}", f"{1e3 * median(times[side]):.0f}", *shares(events, given.rounds)]
            )
            if given.top:
                print(f"\n{method}, {side}\n{costliest(events, given.top, given.rounds)}", flush=True)
    header = ["step", "ms", "ms, profiled", "in operations", "in autograd", "outside", "autograd + outside"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def profiled(step: Callable[[], object], rounds: int) -> EventList:
    """What `rounds` steps were made of, summed by name."""
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        for _ in range(rounds):
            with record_function(STEP):
                step()
    events: EventList = seen.key_averages()
    return events


def shares(events: EventList, rounds: int) -> list[str]:
    """Milliseconds of a step, and the shares of its wall time."""
    wall = next(event.cpu_time_total for event in events if event.key == STEP)
    operations = sum(event.self_cpu_time_total for event in events if event.key.startswith("aten::"))
    autograd = sum(event.self_cpu_time_total for event in events if AUTOGRAD.search(event.key))
    outside = (
        wall - operations - autograd
    )  # the self time of the step's own range, and of Python's optimizers
    if outside < 0:
        raise SystemExit("operations ran on another thread beside the step: their times do not add up")
    parts = (operations, autograd, outside, autograd + outside)
    return [f"{wall / rounds / 1e3:.0f}", *(f"{part / wall:.1%}" for part in parts)]


def costliest(events: EventList, count: int, rounds: int) -> str:
    """The operations with the most self time, a step."""
    wall = next(event.cpu_time_total for event in events if event.key == STEP)
    ordered = sorted(events, key=lambda event: event.self_cpu_time_total, reverse=True)[:count]
    rows = []
    for event in ordered:
        own, calls = event.self_cpu_time_total / rounds, event.count / rounds
        name = "(outside operations)" if event.key == STEP else event.key
        rows.append(
            [name, f"{own / 1e3:.1f}", f"{own * rounds / wall:.1%}", f"{calls:.0f}", f"{own / calls:.0f}"]
        )
    return table(["operation", "self, ms a step", "share", "calls a step", "µs a call"], rows)


if __name__ == "__main__":
    main()
