"""Draw the pictures of the README: `python docs/picture.py` writes docs/pictures/search.gif and cells.png."""

from __future__ import annotations

from pathlib import Path

import pydarts
import torch
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent / "pictures"


def main() -> None:
    """Run the search of the README's first example, recording α at every step, and draw it."""
    torch.set_num_threads(1)  # with more, the last bits of gradients differ
    X, y = pydarts.datasets.digits()
    cfg = pydarts.SearchConfig(channels=4, layers=3, epochs=8, batch_size=64, arch_lr=0.02)
    result = pydarts.search((X, y), cfg.replace(record="step", progress=False))
    FOLDER.mkdir(exist_ok=True)
    result.animate(FOLDER / "search.gif", cell="normal", frames=20, fps=5)
    figure = Figure(figsize=(10, 6))
    result.plot_cells(ax=figure.add_axes((0.01, 0, 0.98, 0.96)))
    figure.savefig(FOLDER / "cells.png", dpi=80)
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
