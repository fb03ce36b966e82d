"""What the exact second-order term costs: `unrolled_exact` over `unrolled`, both ours.

For each choice of `memory` both methods take the same steps: a few in a process each, for the peak memory,
then in alternation in this process. The ratios are those to `unrolled` with the same choice: above 1, the row
takes more. That of memory compares the peaks of the whole processes.
"""

from __future__ import annotations

from statistics import median

from common import (
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
from sides import Setting, build, prepare, timed

METHODS = ("unrolled", "unrolled_exact")
CHOICES = ("keep", "recompute")


def main() -> None:
    made = parser("exact", __doc__)
    network_options(made, batch=16)
    timing_options(made)
    made.add_argument("--steps", type=int, default=3, help="steps of a memory process (%(default)s)")
    given = made.parse_args()
    prepare(Setting.of(given))
    about = provenance(
        f"{Setting.of(given).words}; n = {given.rounds} alternations after {given.warm} to warm up, "
        f"1 process of {given.steps} steps for memory; milliseconds, GiB"
    )
    settings = {
        f"{method}, {memory}": Setting.of(given, method=method, memory=memory)
        for memory in CHOICES
        for method in METHODS
    }
    readings = {}
    for name, setting in settings.items():
        reading = measure("ours", setting, given.steps)
        if isinstance(reading, str):
            raise SystemExit(f"{name}: {reading}")
        readings[name] = reading
        print(f"{name}: {gibibytes(reading.peak)} GiB", flush=True)
    against = {name: f"{setting.method}, {CHOICES[0]}" for name, setting in settings.items()}
    steps = {name: build("ours", setting) for name, setting in settings.items()}
    times = timed(steps, against, given.rounds, given.warm, Setting.of(given))

    rows = []
    for name, setting in settings.items():
        base = f"{METHODS[0]}, {setting.memory}"
        of_times = [f"{ratio:.2f}" for ratio in ratios(times[name], times[base])]
        reading = readings[name]
        row = [name, milliseconds(median(times[name])), milliseconds(min(times[name])), *of_times]
        row += [gibibytes(reading.peak), gibibytes(reading.before)]
        beyond = [(one.peak - one.before) for one in (reading, readings[base])]
        rows.append([*row, f"{reading.peak / readings[base].peak:.2f}", f"{beyond[0] / beyond[1]:.2f}"])
    header = ["step, memory", "median", "minimum", "ratio of medians", "ratio of minima"]
    header += ["peak", "before", "ratio of peaks", "beyond before"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


if __name__ == "__main__":
    main()
