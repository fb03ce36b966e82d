"""Search a recurrent cell on English text: the help texts that every Python installation contains.

python examples/text.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from matplotlib.figure import Figure
from pydarts import SearchConfig, datasets, search


def main(arguments: Sequence[str] | None = None) -> int:
    """Search; print the genotype and the perplexities; save the result and two plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/text"), help="output folder (%(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the search (%(default)s)")
    args = parser.parse_args(arguments)

    text = datasets.corpus(english(), vocabulary=2000, split=split_words)
    print(f"{text}\n")
    config = SearchConfig(
        space="darts-rnn",
        units=64,
        batch_size=16,
        bptt=20,
        epochs=args.epochs,
        # The text is small and is read only a few times: use momentum, a low learning rate and no dropout.
        weight_lr=2.0,
        weight_lr_min=2.0,
        weight_momentum=0.9,
        dropout_embedded=0.0,
        dropout_input=0.0,
        dropout_hidden=0.0,
        dropout_output=0.0,
    )
    started = time.perf_counter()
    result = search((text.train, text.valid), config)
    print(f"{result.genotype}\nsearched for {time.perf_counter() - started:.1f} s")
    if result.history:
        last = result.history[-1]
        frequencies = np.unique(text.valid, return_counts=True)[1] / len(text.valid)
        unigram = np.exp(-np.sum(frequencies * np.log(frequencies)))
        print(
            f"perplexity: validation {last.valid_perplexity:.0f}, training {last.train_perplexity:.0f}, "
            f"unigram model {unigram:.0f}"
        )
    result.save(args.out)
    alphas, cells = Figure(figsize=(16, 6)), Figure(figsize=(13, 8))
    result.plot_alphas(ax=alphas.add_axes((0, 0, 1, 1)))
    alphas.savefig(args.out / "alphas.png", dpi=110)
    result.plot_cells(ax=cells.add_axes((0.01, 0, 0.98, 0.96)))
    cells.savefig(args.out / "cells.png", dpi=110)
    print(f"saved in {args.out}: {', '.join(sorted(path.name for path in args.out.iterdir()))}")
    return 0 if result.status == "complete" else 130


def english() -> str:
    """Python's help texts, one paragraph per line."""
    paragraphs = (part for name in sorted(topics) for part in topics[name].split("\n\n"))
    return "\n".join(" ".join(part.split()) for part in paragraphs if part.strip())


def split_words(line: str) -> list[str]:
    """Lower-case words, numbers and punctuation marks."""
    return re.findall(r"[a-z]+|\d+|[^\w\s]", line.lower())


if __name__ == "__main__":
    raise SystemExit(main())
