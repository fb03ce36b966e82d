"""Peak memory of a search step, by the method of α's gradient.

Every row is a process of its own (see peaks.py) that imports pydarts, builds the network and takes three
steps on one pair of batches. "Before" is the same reading just before the first step; the estimate is what
the network itself says. A row that does not fit into the free memory says so.
"""

from __future__ import annotations

from common import METHODS, gibibytes, network_options, parser, provenance, publish, table
from peaks import measure
from sides import SIDES, Setting


def main() -> None:
    made = parser("memory", __doc__)
    network_options(made, batch=64)
    made.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    made.add_argument("--sides", nargs="+", choices=SIDES, default=["ours"])
    made.add_argument("--steps", type=int, default=3, help="steps of a process (%(default)s)")
    given = made.parse_args()
    about = provenance(
        f"{Setting.of(given).words}; n = 1 process of {given.steps} steps a row; GiB",
    )

    rows = []
    for side in given.sides:
        base = None
        for method in given.methods:
            reading = measure(side, Setting.of(given, method=method), given.steps)
            row = [f"{method}, {side}"]
            if isinstance(reading, str):
                row += [reading, "", "", ""]
            else:
                base = reading.peak if method == "first_order" else base
                ratio = f"{reading.peak / base:.3f}" if base else ""
                row += [gibibytes(reading.peak), gibibytes(reading.before), ratio]
                row += [gibibytes(reading.estimate) if side == "ours" else ""]
            rows.append(row)
            print(", ".join(row), flush=True)
    header = ["step", "peak", "before", "peak / first_order", "estimate"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


if __name__ == "__main__":
    main()
