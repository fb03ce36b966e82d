"""Two searches on handwritten digits, and what they found beside chance.

`python -m pydarts.demo [--out FOLDER]`
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from . import SearchConfig, SearchResult, TrainConfig, compare, datasets, search


def main(arguments: Sequence[str] | None = None) -> int:
    """Search first order, then unrolled; train both cells and random ones alike; leave a folder for each."""
    parser = argparse.ArgumentParser(prog="python -m pydarts.demo", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/digits"), help="folder for the results (%(default)s)"
    )
    parser.add_argument(
        "--epochs", type=int, default=10, help="epochs of the first-order search (%(default)s)"
    )
    parser.add_argument(
        "--unrolled-epochs", type=int, default=2, help="epochs of the unrolled search (%(default)s)"
    )
    parser.add_argument(
        "--train-epochs", type=int, default=10, help="epochs of the short training (%(default)s)"
    )
    parser.add_argument("--random", type=int, default=6, help="cells drawn by chance (%(default)s)")
    given = parser.parse_args(arguments)

    X, y = datasets.digits()
    print(f"{len(X)} digits of 8x8 pixels: half of them train the weights, half train α\n")
    small = SearchConfig(channels=8, layers=5, batch_size=64)
    runs = {
        "first_order": small.replace(hypergradient="first_order", epochs=given.epochs, seed=0),
        "unrolled": small.replace(hypergradient="unrolled", epochs=given.unrolled_epochs, seed=1),
    }
    seconds, found = 0.0, {}
    for name, config in runs.items():
        print(f"{name}: {config.epochs} epochs, seed {config.seed}")
        begun = time.perf_counter()
        result = search((X, y), config)
        took = time.perf_counter() - begun
        seconds += took
        report(result, took)
        if result.status != "complete":
            print("interrupted: the partial result is kept")
        keep(result, given.out / name)
        if result.status != "complete":
            return 130
        found[name] = result
    print(f"searched for {seconds:.1f} s\n")

    print(f"both cells and {given.random} drawn by chance, each trained from scratch on half of the digits,")
    print("validated on the other half\n")
    begun = time.perf_counter()
    # At these sizes two processes of one thread do twice as much as one of two threads.
    short = TrainConfig.quick(epochs=given.train_epochs, train_portion=0.5)
    table = compare(found, (X, y), short, random=given.random, workers=2)
    print(table)
    print("a difference smaller than the deviation means nothing: another seed may turn it round")
    table.save(given.out / "table.csv")
    figure = Figure(figsize=(4.4, 3.4), layout="tight")
    table.plot(ax=figure.subplots())
    figure.savefig(given.out / "table.png", dpi=110)
    print(f"kept in {given.out}: table.csv, table.png")
    print(f"compared for {time.perf_counter() - begun:.1f} s")
    return {"interrupted": 130, "failed": 1}.get(table.status, 0)


def report(result: SearchResult, seconds: float) -> None:
    """Print what came out."""
    print(result.genotype)
    if result.best is not None:
        last, best = result.history[-1], result.history[result.best]
        print(
            f"validation accuracy {last.valid_accuracy:.1%} (best {best.valid_accuracy:.1%} in epoch "
            f"{best.epoch + 1}), "
            f"training accuracy {last.train_accuracy:.1%}, {last.skip_connections} skip connections, "
            f"{seconds:.1f} s"
        )


def keep(result: SearchResult, folder: Path) -> None:
    """Save the result and its pictures."""
    result.save(folder)
    alphas, cells = Figure(figsize=(16, 6)), Figure(figsize=(13, 8))
    result.plot_alphas(ax=alphas.add_axes((0, 0, 1, 1)))
    alphas.savefig(folder / "alphas.png", dpi=110)
    result.plot_cells(ax=cells.add_axes((0.01, 0, 0.98, 0.96)))
    cells.savefig(folder / "cells.png", dpi=110)
    print(f"kept in {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}\n")


if __name__ == "__main__":
    raise SystemExit(main())
