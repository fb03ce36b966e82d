"""Peak resident memory of a search step, by the method of α's gradient.

Every row is a process of its own that imports pydarts, builds the network and takes three steps on one pair
of batches; its peak is what Linux reports as VmHWM. "Before" is the same reading just before the first step.
The plan's estimate is `Supernet.cost()`'s bytes an image, of the costlier of the two losses, times the batch.
A process may use no more than the memory free at its start, so that a row that does not fit says so.
`--plain` adds the plain PyTorch of tests/reference.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import torch
from common import (
    METHODS,
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

GIB = 2**30


def main() -> None:
    made = parser("memory", __doc__)
    network_options(made, batch=64)
    made.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    made.add_argument("--steps", type=int, default=3, help="steps of a process (%(default)s)")
    made.add_argument("--plain", action="store_true", help="measure plain PyTorch as well")
    made.add_argument("--child", choices=METHODS, help=argparse.SUPPRESS)
    made.add_argument("--child-plain", action="store_true", help=argparse.SUPPRESS)
    given = made.parse_args()
    if given.child:
        print(json.dumps(child(given)))
        return
    about = provenance(
        f"{given.channels} channels, {given.layers} cells, {given.size}×{given.size}, batch {given.batch}, "
        f"float32, {given.threads} threads; n = 1 process of {given.steps} steps a row; GiB"
    )

    rows = []
    for side in ("ours", "plain") if given.plain else ("ours",):
        base = None
        for method in given.methods:
            seen = spawn(method, side)
            row = [f"{method}, {side}"]
            if isinstance(seen, str):
                row += [seen, "", "", ""]
            else:
                base = seen["peak"] if method == "first_order" else base
                ratio = f"{seen['peak'] / base:.3f}" if base else ""
                row += [f"{seen['peak'] / GIB:.2f}", f"{seen['before'] / GIB:.2f}", ratio]
                row += [f"{seen['plan'] / GIB:.2f}"]
            rows.append(row)
            print(", ".join(row), flush=True)
    header = ["step", "peak", "before", "peak / first_order", "plan's estimate"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def spawn(method: str, side: str) -> dict[str, int] | str:
    """Run one row; its readings in bytes, or what went wrong in a few words."""
    command = [sys.executable, __file__, *sys.argv[1:], "--child", method]
    command += ["--child-plain"] if side == "plain" else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        read: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
        return read
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    if re.search(r"out of memory|can't allocate memory|MemoryError", done.stderr):
        return "does not fit"
    raise SystemExit(f"{method}, {side}: {lines[-1]}")


def child(given: argparse.Namespace) -> dict[str, int]:
    """Take the steps in this process."""
    available = status("MemAvailable", Path("/proc/meminfo"))
    if available is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        free = int(0.95 * available)
        resource.setrlimit(
            resource.RLIMIT_DATA, (free if soft == resource.RLIM_INFINITY else min(soft, free), hard)
        )
    torch.set_num_threads(given.threads)
    train, valid = (random_batch(given.batch, given.size, seed=seed) for seed in (1, 2))
    config = SearchConfig.from_dict({"hypergradient": given.child})
    net = Supernet(channels=given.channels, layers=given.layers, image_size=given.size, config=config)
    cost = net.cost()
    if given.child_plain:
        peer = reference().Search(twin(net, torch.float32), method=given.child, published=True)
    before = peak()
    for _ in range(given.steps):
        if given.child_plain:
            peer.step(train, valid, config.weight_lr)
        else:
            net.step(train, valid)
    image = max(cost["bytes_per_image_arch"], cost["bytes_per_image_weight"])
    return {"before": before, "peak": peak(), "plan": image * given.batch}


def peak() -> int:
    """Highest resident size of this process so far, in bytes."""
    highest = status("VmHWM", Path("/proc/self/status"))
    if highest is not None:
        return highest
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on Linux this remembers the parent's too
    return used if sys.platform == "darwin" else used * 1024


def status(name: str, file: Path) -> int | None:
    """A size in bytes from a file of /proc; None where there is no such file."""
    try:
        found = re.search(rf"^{name}:\s*(\d+) kB$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None


if __name__ == "__main__":
    main()
