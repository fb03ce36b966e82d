"""What partial channels save: a step with k = 4 against the same step with k = 1, both ours.

At each batch size all sides take the same steps: a few in a process each, for the peak memory, then in
alternation in this process. Ratios are those to k = 1: below 1, the row takes less. The ratio of memory
compares what the steps took beyond the process before them; the estimate is the network's own.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from common import (
    alternate,
    gibibytes,
    milliseconds,
    network_options,
    parser,
    provenance,
    publish,
    ratios,
    table,
    timing_options,
)
from peaks import measure
from sides import Setting, build, prepare


def main() -> None:
    made = parser("partial-channels", __doc__)
    network_options(made, batch=None)
    timing_options(made)
    made.add_argument(
        "--batches", type=int, nargs="+", default=[16, 64], help="images per batch (%(default)s)"
    )
    made.add_argument("--k", type=int, default=4, help="partial_channels (%(default)s)")
    made.add_argument("--steps", type=int, default=3, help="steps of a memory process (%(default)s)")
    given = made.parse_args()
    base = Setting.of(given, batch=given.batches[0])
    prepare(base)
    about = provenance(
        f"{base.words} and more; n = {given.rounds} alternations after {given.warm} to warm up, "
        f"1 process of {given.steps} steps for memory; milliseconds, GiB"
    )
    rows = []
    for batch in given.batches:
        plain = replace(base, batch=batch)
        partial = replace(plain, partial_channels=given.k)
        settings = {
            f"k = 1, batch {batch}": plain,
            f"k = {given.k}, batch {batch}": partial,
            f"k = {given.k}, edge normalisation, batch {batch}": replace(partial, edge_normalization=True),
        }
        readings = {}
        for name, setting in settings.items():
            reading = measure("ours", setting, given.steps)
            if isinstance(reading, str):
                raise SystemExit(f"{name}: {reading}")
            readings[name] = reading
        sides = {name: build("ours", setting) for name, setting in settings.items()}
        times = alternate(sides, given.rounds, given.warm)
        first = next(iter(settings))
        for name, reading in readings.items():
            row = [name, milliseconds(median(times[name])), milliseconds(min(times[name]))]
            row += [f"{ratio:.2f}" for ratio in ratios(times[name], times[first])]
            row += [gibibytes(reading.steps), f"{reading.steps / readings[first].steps:.2f}"]
            rows.append([*row, f"{reading.estimate / reading.steps:.2f}"])
            print(", ".join(rows[-1]), flush=True)
    header = ["step", "median", "minimum", "ratio of medians", "ratio of minima", "memory", "ratio of memory"]
    publish(given.section, f"{about}\n\n{table([*header, 'estimate / measured'], rows)}", given.write)


if __name__ == "__main__":
    main()
