"""Counts the networks of the published genotypes: `python docs/networks.py` writes docs/networks.md anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydarts
import torch

CIFAR: dict[str, Any] = {"channels": 36, "layers": 20, "num_classes": 10, "auxiliary": True}
IMAGENET: dict[str, Any] = {
    "channels": 48, "layers": 14, "num_classes": 1000, "auxiliary": True, "stem": "imagenet",
}  # fmt: skip
WORDS: dict[str, Any] = {"vocabulary": 10_000, "units": 850}

# (genotype, data, arguments of `build`, weights and multiply-adds as the papers print them)
NETWORKS: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("DARTS_V1", "CIFAR-10", CIFAR, "3.3M", ""),
    ("DARTS_V2", "CIFAR-10", CIFAR, "3.3M", ""),
    ("PC_DARTS_CIFAR", "CIFAR-10", CIFAR, "3.6M", ""),
    ("DARTS_V1", "ImageNet", IMAGENET, "", ""),
    ("DARTS_V2", "ImageNet", IMAGENET, "4.7M", "574M"),
    ("PC_DARTS_CIFAR", "ImageNet", IMAGENET, "5.3M", "586M"),
    ("PC_DARTS_IMAGENET", "ImageNet", IMAGENET, "5.3M", "597M"),
    ("DARTS_RNN_V1", "Penn Treebank", WORDS, "23M", ""),
    ("DARTS_RNN_V2", "Penn Treebank", WORDS, "23M", ""),
]

PAGE = """# What the published networks cost

Written by `python docs/networks.py`, which counts them with `pydarts.cost`; a test counts them again. Weights
exclude the auxiliary head, which has its own column. Multiply-adds are those of convolutions, products
and linear layers in the evaluation of one image (32×32 for CIFAR-10, 224×224 for ImageNet) or one word. The
networks are those of the papers: 36 channels and 20 cells for CIFAR-10, 48 channels and 14 cells for
ImageNet, 850 units and 10,000 words for Penn Treebank.

| genotype | data | weights | published | auxiliary head | multiply-adds | published |
|---|---|--:|--:|--:|--:|--:|
{rows}

The published numbers are from tables 1 to 3 of the DARTS paper and tables 1 and 2 of the PC-DARTS paper. The
weights agree. The published multiply-adds are 3 to 8 % higher than those of the networks of the published
code; the papers do not say what else was counted, and the 574M of DARTS_V2 do not fit 48 channels.
"""


@dataclass(frozen=True)
class Row:
    """A published network, counted."""

    genotype: str
    data: str
    weights: int
    auxiliary: int
    multiply_adds: int
    printed_weights: str
    printed_multiply_adds: str

    def __str__(self) -> str:
        numbers = f"{self.weights:,} | {self.printed_weights} | {self.auxiliary:,} | {self.multiply_adds:,}"
        return f"| `{self.genotype}` | {self.data} | {numbers} | {self.printed_multiply_adds} |"


def rows() -> list[Row]:
    """Every published network; no weight is drawn and nothing computed."""
    found = []
    for name, data, arguments, weights, multiply_adds in NETWORKS:
        with torch.device("meta"):
            network = pydarts.build(getattr(pydarts.genotypes, name), **arguments)
        cost = pydarts.cost(network)
        counted = (cost["weights"], cost["auxiliary_weights"], cost["multiply_adds"])
        found.append(Row(name, data, *counted, weights, multiply_adds))
    return found


def page(counted: list[Row]) -> str:
    """docs/networks.md."""
    return PAGE.format(rows="\n".join(str(row) for row in counted))


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(rows()), encoding="utf-8")
