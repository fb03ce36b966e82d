"""Tables of NAS-Bench-201 for the tests: an invented one and, where available, the published one."""

from __future__ import annotations

import csv
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pages import ROOT
from pydarts._values.nas_bench_201 import COUNT, OPERATIONS, string_of
from pydarts.benchmarks import NASBench201

NONE, SKIP, CONV1, CONV3, POOL = OPERATIONS
DATASETS = ("cifar10", "cifar100", "imagenet16-120")
ALL = list(itertools.product(OPERATIONS, repeat=6))
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"

# ---- An invented table, in another order than that of `itertools.product`, with many ties

_rng = np.random.default_rng(1)
ORDER = _rng.permutation(COUNT)
EDGE_INDICES = np.array(list(itertools.product(range(5), repeat=6)), np.uint8)[ORDER]
STRINGS = [string_of(ALL[place]) for place in ORDER]
SET = frozenset(STRINGS)
TEST = np.round(_rng.uniform(0, 100, (COUNT, 3)), 1).astype(np.float32)
VALID = _rng.uniform(0, 100, COUNT)
ARRAYS: dict[str, npt.NDArray[Any]] = {
    "ops": np.array(OPERATIONS),
    "edges": EDGE_INDICES,
    "acc200": TEST,
    "cifar10_valid": VALID,
    "acc12": np.zeros((COUNT, 6)),  # not read
}
HEADER = ["index", "architecture", *(f"{name}_test" for name in DATASETS), "cifar10_valid"]
ROWS = [
    [place, string, *map(str, tests), repr(valid)]
    for place, (string, tests, valid) in enumerate(zip(STRINGS, TEST, VALID.tolist(), strict=True))
]


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_npz(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


def column(dataset: str, split: str = "test") -> npt.NDArray[np.float64]:
    """The accuracies of the invented table: the decimals that its float32 print as."""
    return VALID if split == "valid" else TEST[:, DATASETS.index(dataset)].astype(np.float64).round(1)


# ---- The published table

REAL = Path(os.environ.get("PYDARTS_NASBENCH201", ROOT.parent / "shared" / "data" / "nasbench201.npz"))


def published_table() -> NASBench201:
    """The published table; skips the test where there is none."""
    if not REAL.is_file():
        pytest.skip(f"no {REAL.name} in {REAL.parent}; PYDARTS_NASBENCH201 names another file")
    return NASBench201(REAL)
