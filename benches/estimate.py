"""The estimate of a step's memory against what processes took.

Each row is a process that takes three steps of pydarts. Measured is its highest memory less that just before
the first step; a ratio below 1 means that the estimate promised too little. The configurations differ from
the first in what the row names, and are large enough that a process's own noise, some MiB, does not show.
"""

from __future__ import annotations

from common import parser, provenance, publish, table
from peaks import MIB, measure
from sides import Setting

Values = dict[str, int | str]
BASE: Values = {"channels": 16, "layers": 8, "size": 32, "batch": 16}
BASE |= {"method": "first_order", "memory": "keep"}
CHANGES: list[Values] = [
    {},
    {"batch": 48},
    {"channels": 8, "batch": 32},
    {"channels": 32, "batch": 8},
    {"layers": 5, "batch": 32},
    {"layers": 12, "batch": 8},
    {"size": 64, "batch": 4},
    {"method": "unrolled"},
    {"method": "unrolled_exact"},
    {"memory": "recompute", "batch": 48},
]
UNITS = {"channels": "{} channels", "layers": "{} cells", "size": "{0}×{0}", "batch": "batch {}"}


def main() -> None:
    made = parser("estimate", __doc__)
    made.add_argument("--steps", type=int, default=3, help="steps of a process (%(default)s)")
    made.add_argument("--rows", type=int, default=len(CHANGES), help="how many of the rows (%(default)s)")
    given = made.parse_args()
    about = provenance(
        f"The first row is {words(BASE)}, float32, {given.threads} threads; "
        f"n = 1 process of {given.steps} steps a row; MiB"
    )
    rows = []
    for changes in CHANGES[: given.rows]:
        reading = measure("ours", Setting.of(given, **BASE | changes), given.steps)
        row = [words(changes) or "as above"]
        if isinstance(reading, str):
            row += ["", reading, ""]
        else:
            row += [f"{reading.estimate / MIB:.0f}", f"{reading.steps / MIB:.0f}"]
            row += [f"{reading.estimate / reading.steps:.2f}"]
        rows.append(row)
        print(", ".join(row), flush=True)
    header = ["configuration", "estimate", "measured", "estimate / measured"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def words(values: Values) -> str:
    """Values with their units."""
    return ", ".join(UNITS.get(name, "{}").format(value) for name, value in values.items())


if __name__ == "__main__":
    main()
