"""Two searches on handwritten digits: `python -m pydarts.demo [--out FOLDER]`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from . import SearchConfig, SearchResult, datasets, search


def main(arguments: Sequence[str] | None = None) -> int:
    """Search first order, then unrolled, and leave a folder for each."""
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
    given = parser.parse_args(arguments)

    X, y = datasets.digits()
    print(f"{len(X)} digits of 8x8 pixels: half of them train the weights, half train α\n")
    small = SearchConfig(channels=8, layers=5, batch_size=64)
    runs = {
        "first_order": small.replace(hypergradient="first_order", epochs=given.epochs, seed=0),
        "unrolled": small.replace(hypergradient="unrolled", epochs=given.unrolled_epochs, seed=1),
    }
    seconds = 0.0
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
    print(f"searched for {seconds:.1f} s")
    return 0


def report(result: SearchResult, seconds: float) -> None:
    """Print what came out."""
    print(result.genotype)
    if result.best is not None:
        last, best = result.history[-1], next(r for r in result.history if r.epoch == result.best)
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
