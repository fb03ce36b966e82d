"""Time and memory of a search step: pydarts against plain eager and compiled PyTorch.

All sides (see sides.py) take the same step, α and then w, on the same batches from the same weights. First
each takes a few steps in a process of its own, which gives its peak memory; where it cannot, or `compiled` is
not done within its limit, the row says so. Then they run in this process, on the same threads. The losses of
the first step must agree before anything is timed. The sides alternate, A B C A B C ...; the ratios are those
of plain PyTorch's medians and minima to the side's: above 1, the side is faster than plain PyTorch.

"before" is the memory just before the first step, "peak" the highest of all steps; for `compiled` of those
after the first, in which it compiles. "compile" is what the steps of its process took beyond the fastest one,
with an empty cache.
"""

from __future__ import annotations

import argparse
import os
from statistics import median
from tempfile import TemporaryDirectory

from common import (
    METHODS,
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
from matplotlib.figure import Figure
from peaks import Reading, measure
from plots import COLORS, INK, save
from sides import DTYPES, SIDES, Setting, build, prepare, timed

HEADER = ["step", "median", "minimum", "ratio of medians", "ratio of minima", "peak", "before", "compile"]


def main() -> None:
    made = parser("compare", __doc__)
    network_options(made, batch=16)
    made.add_argument("--space", default="darts", help="a space of images (%(default)s)")
    timing_options(made)
    made.add_argument("--methods", nargs="+", choices=METHODS, default=["first_order", "unrolled"])
    made.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    made.add_argument("--steps", type=int, default=3, help="steps of a memory process (%(default)s)")
    made.add_argument(
        "--compile-limit", type=float, default=600, help="seconds that `compiled` may take (%(default)s)"
    )
    made.add_argument("--dtype", choices=list(DTYPES), default="float32")
    made.add_argument("--device", default="cpu", help='"cpu", "cuda", "cuda:1" (%(default)s)')
    made.add_argument("--tf32", action="store_true", help="TensorFloat-32 products on all sides")
    made.set_defaults(section="step")
    given = made.parse_args()
    setting = Setting.of(given)
    prepare(setting)
    about = provenance(
        f"{setting.words}; n = {given.rounds} alternations after {given.warm} to warm up, 1 process of "
        f"{given.steps} steps for memory; milliseconds, GiB, seconds to compile",
        given.device,
    )

    rows, medians = [], {}
    given.hopeless = {}
    for method in given.methods:
        with TemporaryDirectory() as cache:  # else the time to compile would be that of an earlier cache
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
            found, medians[method] = compare(Setting.of(given, method=method), given)
        rows += found
    picture = save(bars(medians), given.section, "Medians of a step by side and method", given.write)
    publish(given.section, f"{about}\n\n{table(HEADER, rows)}\n\n{picture}", given.write)


def compare(setting: Setting, given: argparse.Namespace) -> tuple[list[list[str]], dict[str, float]]:
    """The rows of a method, and the medians by side."""
    readings: dict[str, Reading | str] = {}
    for side in given.sides:
        limit = given.compile_limit if side == "compiled" else None
        reading = given.hopeless.get(side) or measure(side, setting, given.steps, limit)
        if isinstance(reading, str) and reading.startswith("not within"):
            given.hopeless[side] = reading  # another method asks no less of the compiler
        readings[side] = reading
        print(f"{setting.method}, {side}: {readings[side]}", flush=True)
    steps = {side: build(side, setting) for side, found in readings.items() if isinstance(found, Reading)}
    against = dict.fromkeys(steps, "plain" if "plain" in steps else next(iter(steps), ""))
    times = timed(steps, against, given.rounds, given.warm, setting)
    rows = [row_of(setting.method, side, reading, times) for side, reading in readings.items()]
    for row in rows:
        print(", ".join(row), flush=True)
    return rows, {side: median(taken) for side, taken in times.items()}


def row_of(method: str, side: str, reading: Reading | str, times: dict[str, list[float]]) -> list[str]:
    """A row; one that was not measured says why."""
    name = f"{method}, {side}"
    if isinstance(reading, str):
        return [name, reading, *[""] * (len(HEADER) - 2)]
    taken = times[side]
    row = [name, milliseconds(median(taken)), milliseconds(min(taken))]
    row += [f"{ratio:.2f}" for ratio in ratios(times["plain"], taken)] if "plain" in times else ["", ""]
    row += [gibibytes(reading.peak), gibibytes(reading.before)]
    return [*row, f"{reading.compiling:.0f}" if side == "compiled" else ""]


def bars(medians: dict[str, dict[str, float]]) -> Figure:
    """A panel a method, a bar a side."""
    height = 0.9 + 0.32 * max(len(sides) for sides in medians.values())
    figure = Figure(figsize=(4.2 * len(medians), height), layout="constrained")
    panels = figure.subplots(1, len(medians), squeeze=False)[0]
    for panel, (method, sides) in zip(panels, medians.items(), strict=True):
        values = [1e3 * seconds for seconds in sides.values()]
        drawn = panel.barh(list(sides), values, color=[COLORS[side] for side in sides], height=0.7)
        panel.bar_label(drawn, [milliseconds(s) for s in sides.values()], padding=3, color=INK, fontsize=8)
        panel.set_title(method, fontsize=10, loc="left")
        panel.set_xlabel("time of a step, median (ms)")
        panel.locator_params(axis="x", nbins=5)
        panel.invert_yaxis()
        panel.margins(x=0.15)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
