"""How long the forms of the default network are measured, from an empty cache.

A row a batch size: seconds that building the network takes with `tune="full"` beyond those with `tune="off"`,
how many groups there are, and for how many a form other than the rule's was chosen. Each run has a cache of
its own.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from statistics import median
from time import perf_counter

from common import parser, provenance, publish, table
from sides import Setting, network, prepare

METHOD = "unrolled"


def main() -> None:
    made = parser("tuning", __doc__)
    made.add_argument("--batches", type=int, nargs="+", default=[16, 64], help="batch sizes (%(default)s)")
    made.add_argument("--rounds", type=int, default=3, help="runs of each (%(default)s)")
    given = made.parse_args()
    base = Setting(method=METHOD, threads=given.threads)
    prepare(base)
    about = provenance(f"{base.words.rsplit(', batch', 1)[0]}, {METHOD}; n = {given.rounds} runs; seconds")
    rows = []
    for batch in given.batches:
        times: dict[str, list[float]] = {"off": [], "full": []}
        chosen: dict[str, dict[str, str]] = {}
        for _ in range(given.rounds):
            for tune, of_tune in times.items():
                with tempfile.TemporaryDirectory() as folder:
                    os.environ["PYDARTS_CACHE_DIR"] = folder
                    begun = perf_counter()
                    net = network(replace(base, batch=batch, tune=tune))
                    of_tune.append(perf_counter() - begun)
                    chosen[tune] = forms(net.explain())
        took = [full - median(times["off"]) for full in times["full"]]
        changed = sum(form != chosen["off"][site] for site, form in chosen["full"].items())
        rows.append(
            [str(batch), f"{median(took):.1f}", f"{max(took):.1f}", str(len(chosen["full"])), str(changed)]
        )
        print(", ".join(rows[-1]), flush=True)
    header = ["batch", "median", "maximum", "groups", "other than the rule's"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def forms(explanation: str) -> dict[str, str]:
    """The form of each group, by its site, as `explain()` lists them."""
    return {site: form for form, site in re.findall(r"(edges|grouped) +(\d+ x .+)", explanation)}


if __name__ == "__main__":
    main()
