"""Time of a search step of two installed versions of pydarts, alternating.

Each version runs in a process of its own, which imports it from the folder it was installed into
(`pip install --no-deps --target FOLDER WHEEL`). Both take the same steps on the same random batches from the
same initial weights. The processes wait for each other, so only one computes at any time. With `--exact` the
losses of all steps must be equal to the last bit. Ratios are new to old: at 1.03 the new one is 3 % slower.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from common import METHODS, milliseconds, parser, provenance, publish, ratios, table

NETWORKS = {
    "step": {"channels": 16, "layers": 8, "image_size": 32, "batch": 16},
    "small": {"channels": 8, "layers": 5, "image_size": 8, "batch": 32},
}

WORKER = """
import json, sys, time
import torch
setting = json.loads(sys.argv[1])
torch.set_num_threads(setting["threads"])
import pydarts
config = pydarts.SearchConfig(hypergradient=setting["method"], batch_size=setting["batch"])
net = pydarts.Supernet(channels=setting["channels"], layers=setting["layers"],
                       image_size=setting["image_size"], num_classes=10, in_channels=3, config=config)
def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    size = (setting["batch"], 3, setting["image_size"], setting["image_size"])
    return torch.randn(size, generator=generator), torch.randint(10, size[:1], generator=generator)
train, valid = batch(1), batch(2)
print(pydarts.__file__, flush=True)
for line in sys.stdin:
    begun = time.perf_counter()
    losses = net.step(train, valid)
    print(json.dumps([time.perf_counter() - begun, *losses]), flush=True)
"""


class Version:
    """One installed version, in a process that takes a step when it is asked to."""

    def __init__(self, folder: str, setting: dict[str, Any]) -> None:
        environment = os.environ | {"PYTHONPATH": str(Path(folder).resolve())}
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(setting)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        found = Path(self._line())
        if Path(folder).resolve() not in found.parents:
            raise SystemExit(f"{folder} was to be measured, but the process imported {found}")

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended with exit code {self._process.wait()}")
        return line.strip()

    def step(self) -> list[float]:
        """Seconds, training loss and validation loss of the next step."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: list[float] = json.loads(self._line())
        return found

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    made = parser("versions", __doc__)
    made.add_argument("--old", required=True, metavar="FOLDER", help="where the old version is installed")
    made.add_argument("--new", required=True, metavar="FOLDER", help="where the new version is installed")
    made.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    made.add_argument("--methods", nargs="+", choices=METHODS, default=["first_order", "unrolled"])
    made.add_argument("--rounds", type=int, default=15, help="alternations that count (%(default)s)")
    made.add_argument("--warm", type=int, default=2, help="alternations before those (%(default)s)")
    made.add_argument("--exact", action="store_true", help="the losses must agree to the last bit")
    given = made.parse_args()
    about = provenance(
        f"float32, {given.threads} threads; n = {given.rounds} alternations after {given.warm} to warm up; "
        "milliseconds; ratios new to old"
    )
    rows = [row(given, network, method) for network in given.networks for method in given.methods]
    header = ["step", "old, median", "new, median", "ratio of medians", "old, minimum", "new, minimum"]
    publish(given.section, f"{about}\n\n{table([*header, 'ratio of minima'], rows)}", given.write)


def row(given: argparse.Namespace, network: str, method: str) -> Sequence[str]:
    """The row of one network and method."""
    setting = NETWORKS[network] | {"method": method, "threads": given.threads}
    versions = [Version(folder, setting) for folder in (given.old, given.new)]
    times: list[list[float]] = [[], []]
    try:
        for turn in range(given.warm + given.rounds):
            found = [version.step() for version in versions]
            if given.exact and found[0][1:] != found[1][1:]:
                raise SystemExit(f"{network}, {method}: the losses of step {turn} differ: {found}")
            if turn >= given.warm:
                for kept, step in zip(times, found, strict=True):
                    kept.append(step[0])
    finally:
        for version in versions:
            version.close()
    old, new = times
    medians, minima = ratios(new, old)
    cells = [milliseconds(median(old)), milliseconds(median(new)), f"{medians:.3f}"]
    cells += [milliseconds(min(old)), milliseconds(min(new)), f"{minima:.3f}"]
    print(", ".join([f"{network}, {method}", *cells]), flush=True)
    return [f"{network}, {method}", *cells]


if __name__ == "__main__":
    main()
