"""Options at the value that turns them off equal DARTS; equal searches give equal numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._search.search import search
from ..._search.supernet import Supernet
from ..._values.algorithms import Neumann
from ..._values.config import SearchConfig
from ..._values.perturbations import Uniform
from ..._values.relaxations import Softmax
from ..._values.terms import BetaDecay
from .check import Check, Value

_OPERATIONS = ["none", "skip_connect", "max_pool_3x3", "sep_conv_3x3"]
# (name, changes of the configuration, what they equal, tolerance, source)
_OFF: tuple[tuple[str, dict[str, Any], str, float, str], ...] = (
    (
        "partial_channels",
        {"partial_channels": 1},
        "k = 1, all channels",
        0.0,
        "PC-DARTS (Xu et al., 2020)",
    ),
    ("temperature", {"relaxation": Softmax(temperature=1.0)}, "τ = 1, softmax", 0.0, "DARTS, eq. 2"),
    (
        "perturbation",
        {"perturbation": Uniform(epsilon=0.0)},
        "ε = 0, no perturbation",
        1e-12,
        "SDARTS (Chen and Hsieh, 2020)",
    ),
    (
        "term",
        {"arch_terms": BetaDecay(weight=0.0)},
        "λ = 0, no term",
        0.0,
        "β-DARTS (Ye et al., 2022)",
    ),
)


def checks() -> list[Check]:
    """Return the checks of reductions and repeated searches."""
    return [
        *(
            Check(
                f"equal.{name}",
                f"difference in two steps: {compared}",
                source,
                0.0,
                partial(_off, changes),
                tolerance,
            )
            for name, changes, compared, tolerance, source in _OFF
        ),
        Check(
            "equal.neumann",
            "gradients: Neumann series of one term, T1–T2",
            "Lorraine et al. (2020); Luketina et al. (2016)",
            0.0,
            _neumann,
        ),
        Check(
            "equal.unrolled",
            "gradients: unrolled with ξ = 0, first order",
            "DARTS, section 2.3: ξ = 0 is the first-order approximation",
            0.0,
            _unrolled,
            1e-12,
        ),
        Check(
            "repeat.search",
            "difference of two searches with the same seed",
            "a search is a function of its data, configuration and seed, ours",
            0.0,
            _repeated,
        ),
    ]


def _config(**changes: Any) -> SearchConfig:
    return SearchConfig(
        channels=4,
        layers=3,
        nodes=2,
        operations=_OPERATIONS,
        num_classes=3,
        in_channels=1,
        image_size=8,
        arch_lr=0.01,
        hypergradient="unrolled",
        **changes,
    )


def _net(**changes: Any) -> Supernet:
    return Supernet(config=_config(**changes), precision="float64", device="cpu")


def _batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 1, 8, 8, generator=generator, dtype=torch.float64)
    return [(images, torch.arange(6) % 3) for images in x]


def _largest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    if one.keys() != other.keys():
        raise KeyError(min(one.keys() ^ other.keys()))
    # Unlike Python's maximum, that of PyTorch keeps NaN.
    return float(torch.stack([(one[name] - other[name]).abs().max().double() for name in one]).max())


def _off(changes: dict[str, Any]) -> Value:
    states = []
    for options in ({}, changes):
        net = _net(**options)
        for _ in range(2):
            net.step(*_batches())
        states.append({**net.state_dict(), **net.alphas})
    return _largest(*states)


def _neumann() -> Value:
    net, (train, valid) = _net(), _batches()
    other = net.arch_gradient(train, valid, "t1_t2", 0.1)
    return _largest(net.arch_gradient(train, valid, Neumann(terms=0), 0.1), other)


def _unrolled() -> Value:
    net, (train, valid) = _net(), _batches()
    exact = net.arch_gradient(train, valid, "unrolled_exact", 0.0)
    return _largest(exact, net.arch_gradient(train, valid, "first_order"))


def _repeated() -> Value:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (24, 1, 8, 8)).astype(np.uint8)
    data = images, np.arange(24) % 3
    config = _config(epochs=1, batch_size=6, seed=3, device="cpu", precision="float32", progress=False)
    states = []
    for _ in range(2):
        result = search(data, config)
        alphas = {name: torch.from_numpy(values) for name, values in result.alphas.items()}
        states.append({**result.state_dict, **alphas})
    return _largest(*states)
