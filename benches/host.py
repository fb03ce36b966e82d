"""Host time of a search step outside libtorch's kernels, as a share of the step.

torch.profiler hooks into libtorch's dispatcher, so it sees operations that Rust dispatches like those that
Python does, backward included, which on the CPU runs on the calling thread. A range around each step splits
its wall time into the self time of operations (`aten::`), of autograd (its nodes and its loop over them), and
what lies outside of both: the engine.

The profiler itself costs a microsecond or two an event, which it spends before the event's clock starts and
after it has stopped: in the self time of the event's parent. So the raw shares are upper bounds. Steps with
and without it alternate here; the difference of their medians is what it cost, and each class of parents
bears it in proportion to the events that it encloses. The last column is the host's share with that taken
off, over the time of a step without profiler. Plain PyTorch (tests/reference) is measured in the same way.
`--top 15` also prints each side's costliest operations.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from statistics import median
from time import perf_counter

from common import METHODS, network_options, parser, provenance, publish, table
from sides import Setting, build, prepare
from torch.autograd.profiler_util import FunctionEvent
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
    prepare(Setting.of(given))
    about = provenance(
        f"{Setting.of(given).words}; n = {given.rounds} steps with and as many without profiler, in turn"
    )

    rows = []
    for method in given.methods:
        for side in ("ours", "plain"):
            step = build(side, Setting.of(given, method=method))
            bare, events = alternated(step, given.rounds, given.warm)
            rows.append([f"{method}, {side}", *shares(bare, events)])
            if given.top:
                print(f"\n{method}, {side}\n{costliest(events, given.top)}", flush=True)
    header = [
        "step",
        "ms",
        "ms, profiled",
        "in operations",
        "in autograd",
        "outside",
        "both",
        "both, corrected",
    ]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def alternated(
    step: Callable[[], object], rounds: int, warm: int
) -> tuple[list[float], list[list[FunctionEvent]]]:
    """Seconds of the steps without profiler, and the events of those with it."""
    bare, seen = [], []
    for turn in range(warm + rounds):
        start = perf_counter()
        step()
        took = perf_counter() - start
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as made, record_function(STEP):
            step()
        if turn >= warm:
            bare.append(took)
            seen.append(list(made.events()))
    return bare, seen


def kind(event: FunctionEvent) -> str:
    """Whose time an event is: an operation's, autograd's, or the engine's (and Python's optimizers')."""
    if event.name.startswith("aten::"):
        return "operation"
    return "autograd" if AUTOGRAD.search(event.name) else "outside"


def shares(bare: list[float], seen: list[list[FunctionEvent]]) -> list[str]:
    """Milliseconds of a step, and the shares of its wall time."""
    own: Counter[str] = Counter()
    enclosed: Counter[str] = Counter()
    walls = []
    for events in seen:
        step = next(event for event in events if event.name == STEP)
        walls.append(1e-6 * step.cpu_time_total)
        for event in events:
            if event.thread != step.thread:
                raise SystemExit(f"{event.name} ran on another thread: self times do not add up to the step")
            own[kind(event)] += 1e-6 * event.self_cpu_time_total
            if event.cpu_parent is not None:
                enclosed[kind(event.cpu_parent)] += 1
    raw = {part: own[part] / sum(walls) for part in ("operation", "autograd", "outside")}
    cost = (median(walls) - median(bare)) * (1 - enclosed["operation"] / enclosed.total())
    host = (raw["autograd"] + raw["outside"]) * median(walls) - cost
    parts = (*raw.values(), raw["autograd"] + raw["outside"], host / median(bare))
    return [f"{1e3 * median(bare):.0f}", f"{1e3 * median(walls):.0f}", *(f"{part:.1%}" for part in parts)]


def costliest(seen: list[list[FunctionEvent]], count: int) -> str:
    """The operations with the most self time, a step."""
    own: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in (event for events in seen for event in events):
        own[event.name] += event.self_cpu_time_total / len(seen)
        calls[event.name] += 1
    wall = own.total()
    rows = []
    for name, micros in own.most_common(count):
        each = calls[name] / len(seen)
        shown = "(outside operations)" if name == STEP else name
        rows.append(
            [shown, f"{micros / 1e3:.1f}", f"{micros / wall:.1%}", f"{each:.0f}", f"{micros / each:.0f}"]
        )
    return table(["operation", "self, ms a step", "share", "calls a step", "µs a call"], rows)


if __name__ == "__main__":
    main()
