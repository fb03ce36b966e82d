"""Search cells on handwritten digits and compare them with random cells after the same short training.

python examples/digits.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from pydarts import SearchConfig, SearchResult, TrainConfig, compare, datasets, search


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a first-order and an unrolled search, then train their cells and random cells alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/digits"), help="output folder (%(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="epochs, first order (%(default)s)")
    parser.add_argument("--unrolled-epochs", type=int, default=5, help="epochs, unrolled (%(default)s)")
    parser.add_argument("--train-epochs", type=int, default=10, help="training epochs (%(default)s)")
    parser.add_argument("--random", type=int, default=6, help="number of random cells (%(default)s)")
    args = parser.parse_args(arguments)

    X, y = datasets.digits()
    print("two searches, then the training of their cells and of random cells: minutes on two CPU cores")
    print(f"{len(X)} digits of 8x8 pixels: one half trains the weights, the other half trains α\n")
    small = SearchConfig(channels=8, layers=5, batch_size=64)
    configs = {
        "first_order": small.replace(hypergradient="first_order", epochs=args.epochs, seed=0),
        "unrolled": small.replace(hypergradient="unrolled", epochs=args.unrolled_epochs, seed=1),
    }
    results = {}
    for name, config in configs.items():
        print(f"{name}: {config.epochs} epochs, seed {config.seed}")
        started = time.perf_counter()
        result = search((X, y), config)
        print(f"{result.genotype}\nsearched for {time.perf_counter() - started:.1f} s")
        save(result, args.out / name)
        if result.status != "complete":
            print("the search was interrupted; the partial result is saved")
            return 130
        results[name] = result

    print(f"training both cells and {args.random} random cells on one half of the digits,")
    print("validating them on the other half\n")
    # At this size, two processes with one thread each are twice as fast as one with two threads.
    training = TrainConfig.quick(epochs=args.train_epochs, train_portion=0.5)
    table = compare(results, (X, y), training, random=args.random, workers=2)
    print(table)
    table.save(args.out / "table.csv")
    figure = Figure(figsize=(4.4, 3.4), layout="tight")
    table.plot(ax=figure.subplots())
    figure.savefig(args.out / "table.png", dpi=110)
    print(f"saved table.csv and table.png in {args.out}")
    return {"interrupted": 130, "failed": 1}.get(table.status, 0)


def save(result: SearchResult, folder: Path) -> None:
    """Print the accuracies of a search; save its result and two plots."""
    best = result.best
    if best is not None:
        last = result.history[-1]
        print(
            f"validation accuracy {last.valid_accuracy:.1%} (best {best.valid_accuracy:.1%} in epoch "
            f"{best.epoch + 1}), training accuracy {last.train_accuracy:.1%}"
        )
    result.save(folder)
    alphas, cells = Figure(figsize=(16, 6)), Figure(figsize=(13, 8))
    result.plot_alphas(ax=alphas.add_axes((0, 0, 1, 1)))
    alphas.savefig(folder / "alphas.png", dpi=110)
    result.plot_cells(ax=cells.add_axes((0.01, 0, 0.98, 0.96)))
    cells.savefig(folder / "cells.png", dpi=110)
    print(f"saved in {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}\n")


if __name__ == "__main__":
    raise SystemExit(main())
