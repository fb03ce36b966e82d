"""Weight counts of the published search networks, and of the networks of the published genotypes."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from ... import _core
from ..._search.supernet import Supernet
from ..._values.genotype import Genotype
from ...nn._build import build
from ...nn._cost import number_of_weights
from .check import Check

_CIFAR: dict[str, Any] = {"channels": 36, "layers": 20, "num_classes": 10}
_IMAGENET: dict[str, Any] = {"channels": 48, "layers": 14, "num_classes": 1000, "stem": "imagenet"}
_WORDS: dict[str, Any] = {"vocabulary": 10_000, "units": 850}
_CODE = "network of quark0/darts, cnn/model.py; "

_SEARCHED: tuple[tuple[str, dict[str, Any], int, str], ...] = (
    (
        "darts",
        {},
        1_930_618,
        "network of quark0/darts, cnn/model_search.py; automl/NASLib, tests: 1.930618 M",
    ),
    (
        "darts-rnn",
        {"vocabulary": 10_000, "units": 300},
        4_810_000,
        "network of quark0/darts, rnn/model_search.py; 10,000·300 + 10,000 + 600·600 + 8·300·600",
    ),
    (
        "nas-bench-201",
        {"channels": 16, "layers": 5},
        1_686_106,
        "D-X-Y/AutoDL-Projects, cell_searchs; without biases: 15 cells of 60·C², two blocks, stem and head",
    ),
)
_BUILT = (
    ("DARTS_V1", "CIFAR-10", _CIFAR, 3_169_414, _CODE + "DARTS, table 1 prints 3.3 M"),
    ("DARTS_V2", "CIFAR-10", _CIFAR, 3_349_342, _CODE + "DARTS, table 1: 3.3 M"),
    ("PC_DARTS_CIFAR", "CIFAR-10", _CIFAR, 3_634_678, _CODE + "PC-DARTS, table 1: 3.6 M"),
    ("DARTS_V1", "ImageNet", _IMAGENET, 4_510_432, _CODE + "no figure in print"),
    ("DARTS_V2", "ImageNet", _IMAGENET, 4_718_752, _CODE + "DARTS, table 3: 4.7 M"),
    ("PC_DARTS_CIFAR", "ImageNet", _IMAGENET, 5_270_560, _CODE + "PC-DARTS, table 2: 5.3 M"),
    ("PC_DARTS_IMAGENET", "ImageNet", _IMAGENET, 5_342_464, _CODE + "PC-DARTS, table 2: 5.3 M"),
    (
        "DARTS_RNN_V2",
        "Penn Treebank",
        _WORDS,
        22_960_000,
        "DARTS, table 2: 23 M; 10,000·850 + 10,000 + 1700·1700 + 8·850·1700",
    ),
)
_AUXILIARY = 476_426


def checks() -> list[Check]:
    """Return the checks of weight counts."""
    return [
        *(
            Check(
                f"weights.{space}",
                f"weights of the search network {space!r}",
                source,
                count,
                partial(_searched, space, sizes),
            )
            for space, sizes, count, source in _SEARCHED
        ),
        *(
            Check(
                f"weights.{name}.{data.lower().replace(' ', '-')}",
                f"weights of {name} for {data}",
                source,
                count,
                partial(_built, name, sizes),
            )
            for name, data, sizes, count, source in _BUILT
        ),
        Check(
            "weights.auxiliary",
            "weights of the auxiliary head for CIFAR-10",
            "quark0/darts, cnn/model.py, AuxiliaryHeadCIFAR",
            _AUXILIARY,
            lambda: _built("DARTS_V2", _CIFAR | {"auxiliary": True}) - _built("DARTS_V2", _CIFAR),
        ),
    ]


def _searched(space: str, sizes: dict[str, Any]) -> int:
    state = Supernet(space, **sizes).state_dict()
    kept = (".running_mean", ".running_var", ".num_batches_tracked")
    return sum(value.numel() for name, value in state.items() if not name.endswith(kept))


def _built(name: str, sizes: dict[str, Any]) -> int:
    genotype = Genotype._of(_core.published_genotypes()[name])
    # The meta device draws no weights; for the uniform ones of words it is slower than drawing them.
    with torch.device("cpu" if sizes is _WORDS else "meta"):
        return number_of_weights(build(genotype, **sizes))
