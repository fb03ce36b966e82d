"""A search for a recurrent cell on English that every Python has.

`python -m pydarts.demo_rnn [--out FOLDER]`
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from pydoc_data import topics

from . import SearchConfig, datasets, search
from .demo import keep

_WORD = re.compile(r"[a-z]+|\d+|[^\w\s]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print genotype and perplexities, and leave a folder."""
    parser = argparse.ArgumentParser(prog="python -m pydarts.demo_rnn", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/english"), help="folder for the result (%(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the search (%(default)s)")
    given = parser.parse_args(arguments)

    text = datasets.corpus(english(), vocabulary=2000, split=words)
    print(f"{text}\n")
    config = SearchConfig(
        space="darts-rnn",
        units=64,
        batch_size=16,
        bptt=20,
        epochs=given.epochs,
        # So small a text is read a few times only: short steps with momentum, and nothing dropped.
        weight_lr=2.0,
        weight_lr_min=2.0,
        weight_momentum=0.9,
        dropout_embedded=0.0,
        dropout_input=0.0,
        dropout_hidden=0.0,
        dropout_output=0.0,
    )
    begun = time.perf_counter()
    result = search((text.train, text.valid), config)
    took = time.perf_counter() - begun
    print(result.genotype)
    if result.history:
        last = result.history[-1]
        print(
            f"perplexity: validation {last.valid_perplexity:.0f}, training "
            f"{last.train_perplexity:.0f}; of the words' frequencies alone {unigram(text):.0f}"
        )
    keep(result, given.out)
    if result.status != "complete":
        print("interrupted: the partial result is kept")
        return 130
    print(f"searched for {took:.1f} s")
    return 0


def english() -> str:
    """Python's own help texts, a paragraph a line."""
    paragraphs = (part for name in sorted(topics.topics) for part in topics.topics[name].split("\n\n"))
    return "\n".join(" ".join(part.split()) for part in paragraphs if part.strip())


def words(line: str) -> list[str]:
    """Words in small letters, numbers, signs."""
    return _WORD.findall(line.lower())


def unigram(text: datasets.Corpus) -> float:
    """The validation part's perplexity for one who knows how frequent each word is there, and no more."""
    counts = Counter(text.valid.tolist()).values()
    total = sum(counts)
    return math.exp(-sum(count / total * math.log(count / total) for count in counts))


if __name__ == "__main__":
    raise SystemExit(main())
