"""Search cells on handwritten digits with every preset, and compare them with random cells.

python examples/presets.py [NAME ...] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydarts import SearchConfig, TrainConfig, algorithms, compare, datasets, search


def main(arguments: Sequence[str] | None = None) -> int:
    """Search with each preset and seed, then train all cells and random ones alike."""
    known = [preset.name for preset in algorithms.presets()]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=known, metavar="NAME", help="presets (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs/presets"), help="output folder (%(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="searches per preset (%(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of a search (%(default)s)")
    parser.add_argument("--train-epochs", type=int, default=5, help="training epochs (%(default)s)")
    parser.add_argument("--random", type=int, default=6, help="number of random cells (%(default)s)")
    args = parser.parse_args(arguments)

    X, y = datasets.digits()
    # The published settings, but for the sizes: digits have 8x8 pixels.
    small = {"channels": 8, "layers": 5, "batch_size": 64, "epochs": args.epochs, "progress": False}
    results = {}
    for name in args.names:
        more: dict[str, Any] = {}
        if name == "random_ws":  # the published 1000 samples take longer than the search
            more["selection"] = algorithms.Sampled(samples=50, batches=5, finalists=5)
        if name == "fair_darts":  # in so short a search no weight reaches the published threshold
            more["selection"] = "strongest"
        for seed in range(args.seeds):
            config = SearchConfig.preset(name, **small, **more, seed=seed)
            result = results[f"{name} seed {seed}"] = search((X, y), config)
            last, seconds = result.history[-1], sum(record.seconds for record in result.history)
            print(
                f"{name}, seed {seed}: {result.status}, validation accuracy {last.valid_accuracy:.1%}, ",
                end="",
            )
            print(f"skip connections {last.skip_connections}, {seconds:.0f} s")

    training = TrainConfig.quick(epochs=args.train_epochs, train_portion=0.5, progress=False)
    table = compare(results, (X, y), training, random=args.random, workers=2)
    print(table)
    args.out.mkdir(parents=True, exist_ok=True)
    table.save(args.out / "table.csv")
    return {"interrupted": 130, "failed": 1}.get(table.status, 0)


if __name__ == "__main__":
    raise SystemExit(main())
