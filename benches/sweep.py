"""How time and memory of a search step grow: pydarts and plain PyTorch along six axes.

From one small base, one size at a time is varied. At every point both sides take a few steps in a process
each, whose highest memory less that before the first step is the memory of a step; then they alternate in
this process. The ratios are plain PyTorch's over ours: above 1, pydarts takes less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from common import (
    milliseconds,
    network_options,
    parser,
    provenance,
    publish,
    ratios,
    table,
    timing_options,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from peaks import MIB, measure
from plots import COLORS, MARKERS, save
from pydarts import Space
from sides import Setting, build, prepare, timed

SIDES = ("ours", "plain")
# Operations in the order in which they join: of every kind one first.
JOINING = (
    *("sep_conv_3x3", "skip_connect", "dil_conv_3x3", "max_pool_3x3"),
    *("sep_conv_5x5", "avg_pool_3x3", "dil_conv_5x5", "none"),
)


@dataclass(frozen=True)
class Axis:
    """What is varied, and how it is drawn."""

    label: str
    values: tuple[int, ...]
    scale: str = "linear"


AXES = {
    "batch": Axis("images a batch", (4, 8, 16, 32, 64), "log"),
    "channels": Axis("channels of the first cells", (4, 8, 16, 32), "log"),
    "layers": Axis("cells", (3, 5, 8, 12)),
    "size": Axis("side of an image (pixels)", (8, 16, 24, 32)),
    "nodes": Axis("intermediate nodes of a cell", (2, 3, 4, 5)),
    "operations": Axis("operations of an edge", (2, 4, 6, 8)),
}


@dataclass(frozen=True)
class Point:
    """Seconds of all steps and bytes of one, by side."""

    times: dict[str, list[float]]
    memory: dict[str, int]


def main() -> None:
    made = parser("sweep", __doc__)
    network_options(made, batch=16, size=16)
    timing_options(made)
    made.add_argument("--axes", nargs="+", choices=list(AXES), default=list(AXES))
    made.add_argument("--steps", type=int, default=3, help="steps of a memory process (%(default)s)")
    made.set_defaults(channels=8, layers=5, rounds=5, warm=1)
    given = made.parse_args()
    base = Setting.of(given, nodes=4, operations=tuple(Space.preset("darts").operations))
    prepare(base)
    about = provenance(
        f"first_order; base {base.words}, {base.nodes} nodes, {len(JOINING)} operations; n = {given.rounds} "
        f"alternations after {given.warm} to warm up, 1 process of {given.steps} steps for memory; "
        "milliseconds, medians; MiB"
    )

    seen: dict[Setting, Point] = {}  # the base lies on every axis
    curves: dict[str, list[Point]] = {}
    tables = []
    for name in given.axes:
        axis = AXES[name]
        for value in axis.values:
            setting = varied(base, name, value)
            if setting not in seen:
                seen[setting] = point(setting, given.rounds, given.warm, given.steps)
            curves.setdefault(name, []).append(seen[setting])
        rows = [row_of(value, found) for value, found in zip(axis.values, curves[name], strict=True)]
        header = ["time, ours", "time, plain", "ratio", "memory, ours", "memory, plain", "ratio"]
        tables.append(table([axis.label, *header], rows))
        print(f"\n{tables[-1]}", flush=True)
    picture = save(panels(curves), given.section, "Time and memory of a step along each axis", given.write)
    publish(given.section, "\n\n".join([about, picture, *tables]), given.write)


def varied(base: Setting, name: str, value: int) -> Setting:
    """The base with one size changed."""
    if name != "operations":
        return Setting(**{**vars(base), name: value})
    chosen = [operation for operation in base.operations or () if operation in JOINING[:value]]
    return replace(base, operations=tuple(chosen))


def point(setting: Setting, rounds: int, warm: int, count: int) -> Point:
    """Measure both sides."""
    memory = {}
    for side in SIDES:
        reading = measure(side, setting, count)
        if isinstance(reading, str):
            raise SystemExit(f"{side}, {setting.words}: {reading}")
        memory[side] = reading.steps
    steps = {side: build(side, setting) for side in SIDES}
    return Point(timed(steps, dict.fromkeys(SIDES, "plain"), rounds, warm, setting), memory)


def row_of(value: int, found: Point) -> list[str]:
    """Medians, memory, and the ratios of both."""
    ours, plain = (found.memory[side] for side in SIDES)
    row = [str(value), *(milliseconds(median(found.times[side])) for side in SIDES)]
    row.append(f"{ratios(found.times['plain'], found.times['ours'])[0]:.2f}")
    return [*row, f"{ours / MIB:.0f}", f"{plain / MIB:.0f}", f"{plain / ours:.2f}"]


def panels(curves: dict[str, list[Point]]) -> Figure:
    """A column an axis: time above, memory below."""
    figure = Figure(figsize=(2.6 * len(curves) + 0.6, 5.2), layout="constrained")
    grid = figure.subplots(2, len(curves), sharex="col", sharey="row", squeeze=False)
    for column, (name, points) in enumerate(curves.items()):
        above, below = grid[:, column]
        for side in SIDES:
            draw(above, side, AXES[name], [1e3 * median(found.times[side]) for found in points])
            draw(below, side, AXES[name], [found.memory[side] / MIB for found in points])
        below.set_xlabel(AXES[name].label)
    grid[0, 0].set_ylabel("time of a step, median (ms)")
    grid[1, 0].set_ylabel("memory of a step (MiB)")
    grid[0, 0].legend(frameon=False)
    return figure


def draw(panel: Axes, side: str, axis: Axis, values: Sequence[float]) -> None:
    """One side's line."""
    panel.plot(axis.values, values, color=COLORS[side], marker=MARKERS[side], markersize=5, label=side)
    panel.set_xscale(axis.scale)
    panel.set_yscale("log")
    panel.set_xticks(axis.values, [str(value) for value in axis.values])
    panel.minorticks_off()
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
