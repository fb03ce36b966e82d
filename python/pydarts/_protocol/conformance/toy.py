"""Networks whose gradients are known in closed form: the toy of figure 2 of DARTS, and a quadratic."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..._search.search_module import SearchModule
from ..._values.algorithms import ConjugateGradient, Hypergradient, MixedLevel, Neumann
from ..._values.config import SearchConfig
from ..._values.fields import Method
from ...nn._function import FunctionNetwork
from .check import Check, Value

Named = dict[str, Tensor]

XI = 0.1
STEPS = 200
_FIGURE = "DARTS, figure 2: L_val = αw − 2α + 1, L_train = w² − 2αw + α²"
_SERIES = "Neumann series (Lorraine et al., 2020)"
_POINTS: tuple[tuple[str, Method | Hypergradient, float, str], ...] = (
    ("first_order", "first_order", 2.0, ""),
    ("unrolled", "unrolled", 2 / (1 + 2 * XI), "2/(1 + 2ξ)"),
    ("unrolled_exact", "unrolled_exact", 2 / (1 + 2 * XI), "2/(1 + 2ξ)"),
    ("implicit", ConjugateGradient(terms=1, damping=0.0), 1.0, "min (α − 1)²"),
)
# Gradients of the toy: (name, method, step, w, value); α = 2.
_GRADIENTS: tuple[tuple[str, Method | Hypergradient, float, float, float, str], ...] = (
    ("first_order", "first_order", 0.1, -2.0, -4.0, "w − 2"),
    (
        "mixed_level",
        MixedLevel(weight=1.0),
        0.1,
        -2.0,
        4.0,
        "MiLeNAS (He et al., 2020): w − 2 − 2w + 2α",
    ),
    ("neumann_0", Neumann(terms=0), 0.1, 2.0, 0.4, _SERIES),
    ("neumann_5", Neumann(terms=5), 0.1, 2.0, 1.475712, _SERIES),
    ("neumann_50", Neumann(terms=50), 0.1, 2.0, 1.999977, _SERIES),
    ("implicit", ConjugateGradient(terms=1, damping=0.0), 0.1, 2.0, 2.0, "Implicit function theorem: 2α − 2"),
)
# L_train = ½wᵀAw − αbᵀw, L_val = ½‖w − (1, 0)‖², α = 0.7, at w* = (0.6, −1), with η = 0.3.
_QUADRATIC: tuple[tuple[str, Hypergradient, float], ...] = (
    ("neumann_0", Neumann(terms=0), 0.18),
    ("neumann_1", Neumann(terms=1), 0.369),
    ("neumann_2", Neumann(terms=2), 0.53055),
    ("neumann_5", Neumann(terms=5), 0.837079),
    ("neumann_20", Neumann(terms=20), 1.081483),
    ("conjugate_1", ConjugateGradient(terms=1, damping=0.0), 0.404651),
    ("conjugate_2", ConjugateGradient(terms=2, damping=0.0), 1.085714),
)
_TRAIN, _VALID = (torch.ones(1), torch.zeros(1)), (torch.zeros(1), torch.zeros(1))


def checks() -> list[Check]:
    """Return the checks of fixed points and closed forms."""
    return [
        *(
            Check(
                f"toy.{name}",
                f"α after {STEPS} steps from (2, −2)" + (f": {formula}" if formula else ""),
                _FIGURE,
                point,
                partial(_fixed_point, method),
                1e-3,
            )
            for name, method, point, formula in _POINTS
        ),
        *(
            Check(
                f"gradient.toy.{name}",
                f"gradient by α at (2, {w:g})",
                source if source[0].isupper() else f"{_FIGURE}; {source}",
                value,
                partial(_gradient, method, xi, w),
                1e-6,
            )
            for name, method, xi, w, value, source in _GRADIENTS
        ),
        *(
            Check(
                f"gradient.quadratic.{name}",
                "implicit gradient of a quadratic at its optimum",
                _SERIES if isinstance(method, Neumann) else "Conjugate gradients on Hq = v",
                value,
                partial(_quadratic, method),
                1e-6,
            )
            for name, method, value in _QUADRATIC
        ),
    ]


def _toy_loss(w: Named, m: Named, batch: Any) -> Tensor:
    weight, alpha = w["w"], m["alpha"]
    if batch[0][0] == 0:  # the validation batch
        return alpha * weight - 2 * alpha + 1
    return weight**2 - 2 * alpha * weight + alpha**2


def _config(method: Method | Hypergradient = "first_order", **changes: Any) -> SearchConfig:
    """Return plain gradient descent by w, without decay or clipping, and logits that are mixing weights."""
    return SearchConfig(
        hypergradient=method,
        relaxation="identity",
        weight_momentum=0.0,
        weight_decay=0.0,
        grad_clip=0.0,
        arch_weight_decay=0.0,
        **changes,
    )


def _module(loss: Any, w: float | Tensor, alpha: float, config: SearchConfig) -> SearchModule:
    network = FunctionNetwork(loss, {"w": w}, {"alpha": alpha})
    return SearchModule(network, config, precision="float64", device="cpu")


def _fixed_point(method: Method | Hypergradient) -> Value:
    config = _config(method, weight_lr=XI, weight_lr_min=XI, arch_lr=0.03, arch_betas=(0.0, 0.999))
    net = _module(_toy_loss, -2.0, 2.0, config)
    for _ in range(STEPS):
        net.step(_TRAIN, _VALID)
    return float(net.alphas["alpha"])


def _gradient(method: Method | Hypergradient, xi: float, w: float) -> Value:
    net = _module(_toy_loss, w, 2.0, _config())
    return float(net.arch_gradient(_TRAIN, _VALID, method, xi)["alpha"])


def _quadratic_loss(w: Named, m: Named, batch: Any) -> Tensor:
    matrix = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    vector = torch.tensor([1.0, -1.0], dtype=torch.float64)
    target = torch.tensor([1.0, 0.0], dtype=torch.float64)
    if batch[0][0] == 0:  # the validation batch
        return 0.5 * ((w["w"] - target) ** 2).sum() + 0 * m["alpha"]
    return 0.5 * w["w"] @ matrix @ w["w"] - m["alpha"] * (vector @ w["w"])


def _quadratic(method: Hypergradient) -> Value:
    optimum = torch.tensor([0.6, -1.0], dtype=torch.float64)
    net = _module(_quadratic_loss, optimum, 0.7, _config())
    return float(net.arch_gradient(_TRAIN, _VALID, method, 0.3)["alpha"])
