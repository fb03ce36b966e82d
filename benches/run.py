"""Measures every row and plot of RESULTS.md that a CPU can give, one script after the other.

Each script runs in a process of its own with `--write`; the first that fails ends the run. Those that need
CIFAR-10 or a text run only with `--cifar FILE` or `--text SOURCE`. `--list` prints what would run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Job:
    """A section of RESULTS.md: its script, the options, and about how long it takes on two cores."""

    section: str
    script: str
    options: tuple[str, ...]
    minutes: int


SMALL = ("--size", "8", "--channels", "8", "--layers", "5", "--batch", "32")
BENCHMARK = ("--space", "nas-bench-201", "--layers", "5", "--batch", "64")
TRAINED = ("--channels", "8", "--layers", "5", "--batch", "16")
EAGER = ("--sides", "ours", "unfused", "plain", "needed")
JOBS = (
    # Without `compiled`: torch.compile was not through with this network after ten minutes on two cores.
    Job("step", "compare", EAGER, 26),
    Job("small", "compare", (*SMALL, *EAGER), 6),
    Job("nas-bench-201", "compare", (*BENCHMARK, *EAGER), 12),
    Job("exact", "exact", (), 9),
    Job("sweep", "sweep", (), 15),
    # What the exact method takes stands in the section exact.
    Job("memory", "memory", ("--sides", "ours", "plain", "--methods", "first_order", "unrolled"), 8),
    Job("estimate", "estimate", (), 4),
    Job("host", "host", (), 7),
    Job("launches", "launches", (), 2),
    Job("forms", "forms", (), 1),
    Job("loader", "loader", ("--rounds", "5", "--steps", "8"), 4),
    Job("liveview", "liveview", (), 16),
    Job("training", "training", (*TRAINED, "--rounds", "5", "--steps", "6"), 4),
    Job("language", "language", (), 8),
    Job("own-networks", "own_networks", (), 4),
    Job("sampled", "sampled", (), 3),
    Job("family", "family", (), 6),
    Job("partial-channels", "partial_channels", (), 6),
    Job("epsilon-rnn", "epsilon_rnn", (), 3),
    Job("executors", "executors", (), 20),
    Job("ranks", "ranks", (), 6),
    Job("scale", "scale", (), 3),
)


def with_cifar(file: str) -> tuple[Job, ...]:
    """Those that need CIFAR-10."""
    return (
        Job("epsilon", "epsilon", ("--cifar", file), 5),
        Job("cifar10", "cifar10", ("--data", file), 10),
    )


def with_text(source: str) -> tuple[Job, ...]:
    """Those that need a text in parts."""
    return (Job("text", "text", ("--data", source), 10),)


def main() -> None:
    made = argparse.ArgumentParser(
        prog="benches/run.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--cifar", metavar="FILE", help="CIFAR-10 as an npz of JPEG bytes, see README.md")
    made.add_argument("--text", metavar="FOLDER|ZIP", help="a text in parts, Penn Treebank for one")
    made.add_argument("--only", nargs="+", metavar="SECTION", help="only these sections")
    made.add_argument("--list", action="store_true", help="print what would run, and run nothing")
    given = made.parse_args()
    jobs = [*JOBS]
    for source, add in ((given.cifar, with_cifar), (given.text, with_text)):
        jobs += add(str(Path(source).resolve())) if source else ()
    if given.only:
        unknown = sorted(set(given.only) - {job.section for job in jobs})
        if unknown:
            made.error(f"no section {', '.join(unknown)}; there is {', '.join(job.section for job in jobs)}")
        jobs = [job for job in jobs if job.section in given.only]

    print(f"{len(jobs)} sections, about {sum(job.minutes for job in jobs)} minutes on two cores")
    for job in jobs:
        command = [f"{job.script}.py", *job.options, "--section", job.section, "--write"]
        print(f"\n=== {job.section}, about {job.minutes} min: benches/{' '.join(command)}", flush=True)
        if given.list:
            continue
        begun = perf_counter()
        done = subprocess.run([sys.executable, str(FOLDER / command[0]), *command[1:]])
        if done.returncode != 0:
            raise SystemExit(f"{job.section} failed with exit code {done.returncode}; the rest was not run")
        print(f"=== {job.section}: {(perf_counter() - begun) / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main()
