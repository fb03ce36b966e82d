"""Vectors of every relaxation: m = R(α), its transposed Jacobian times g = (1, 2, 3), and what it draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..._values.relaxations import Dirichlet, GumbelHard, Relaxation
from .check import Check, Value

Row = tuple[float, float, float]

ROW: Row = (0.2, -0.1, 0.5)
GRADIENT: Row = (1.0, 2.0, 3.0)
# −log(−log u) of the uniform numbers 0.7, 0.3 and 0.5.
GUMBEL: Row = (1.0309304331, -0.1856267, 0.3665129206)
SAMPLE: Row = (0.5, 0.2, 0.3)
DRAWS = 40_000


@dataclass(frozen=True)
class Vector:
    """Mixing weights of `ROW`, or their transposed Jacobian times `GRADIENT`."""

    weights: Row | None = None
    backward: Row | None = None
    noise: Row | None = None
    """What a search would draw; None: the mean."""
    temperature: float | None = None


_SOFTMAX: Row = (0.323554, 0.239694, 0.436752)
# By name: the source of the formula, and vectors that were computed from it without the engine.
VECTORS: dict[str, tuple[str, tuple[Vector, ...]]] = {
    "softmax": (
        "DARTS, eq. 2; with a temperature ASAP (Noy et al., 2019)",
        (
            Vector(_SOFTMAX, (-0.360180, -0.027133, 0.387313)),
            Vector((0.329461, 0.273133, 0.397406), temperature=1.6),
            Vector((0.296654, 0.162807, 0.540539), temperature=0.5),
            Vector((0.047314, 0.002356, 0.950330), temperature=0.1),
        ),
    ),
    "gumbel": (
        "SNAS (Xie et al., 2019); SNAS-Series, model_search.py",
        (
            Vector((0.522448, 0.114660, 0.362893), (-0.439089, 0.018295, 0.420794), GUMBEL),
            Vector((0.354171, 0.304333, 0.341496), None, GUMBEL, 10.0),
            Vector((0.974523, 0.0, 0.025477), None, GUMBEL, 0.1),
            Vector(_SOFTMAX),
        ),
    ),
    "gdas": (
        "GDAS (Dong and Yang, 2019); D-X-Y/AutoDL-Projects, gdas_v1",
        (
            Vector((1.0, 0.0, 0.0), (0.249496, -0.059904, -0.189592), GUMBEL),
            Vector((1.0, 0.0, 0.0), None, GUMBEL, 10.0),
            Vector(_SOFTMAX),
        ),
    ),
    "dirichlet": (
        "DrNAS (Chen et al., 2021); xiangning-chen/DrNAS, utils.py",
        (
            Vector((0.332886, 0.251006, 0.416108)),
            Vector(SAMPLE, (-0.343369, 0.063925 * math.exp(-0.1), 0.341055), SAMPLE),
        ),
    ),
    "sigmoid": (
        "FairDARTS (Chu et al., 2020); model_search.py",
        (Vector((0.549834, 0.475021, 0.622459), (0.247517, 0.498752, 0.705011)),),
    ),
    "identity": ("m = α, ours", (Vector(ROW, GRADIENT),)),
    "random": (
        "Li and Talwalkar (2019): uniform, without α",
        (
            Vector((1 / 3, 1 / 3, 1 / 3), (0.0, 0.0, 0.0)),
            Vector((0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        ),
    ),
}


def checks() -> list[Check]:
    """Return the checks of all relaxations that the engine has; one without vectors fails."""
    return [check for name in Relaxation._classes for check in _of(name)] + _draws()


def _of(name: str) -> list[Check]:
    relaxation, (source, vectors) = f"relaxation.{name}", VECTORS.get(name, ("none", ()))
    found = [
        Check(
            f"{relaxation}.derivative",
            "largest difference from central differences",
            "definition of the derivative",
            0.0,
            partial(_difference, name),
            1e-6,
        )
    ]
    for kind in ("weights", "backward"):
        if not any(getattr(vector, kind) for vector in vectors):
            found.append(
                Check(f"{relaxation}.{kind}", "vectors of this function", source, "a vector", lambda: "none")
            )
    for vector in vectors:
        case = "" if vector.temperature is None else f".tau={vector.temperature:g}"
        case += "" if name not in ("gumbel", "gdas", "dirichlet", "random") or vector.noise else ".mean"
        for kind, expected in (("weights", vector.weights), ("backward", vector.backward)):
            if expected is not None:
                what = "m" if kind == "weights" else "derivative of (1, 2, 3)·m"
                what += " at (0.2, -0.1, 0.5)"
                find: Callable[[], Value] = partial(_value, name, vector, kind)
                found.append(Check(f"{relaxation}.{kind}{case}", what, source, expected, find, 1e-6))
    return found


def _value(name: str, vector: Vector, kind: str) -> Value:
    relaxation = Relaxation._classes[name]()
    assert isinstance(relaxation, Relaxation)
    state = None if vector.temperature is None else {"temperature": vector.temperature}
    found = relaxation.weights(ROW, state, vector.noise)
    if kind == "backward":
        found = relaxation.backward(ROW, found, GRADIENT, state, vector.noise)
    return tuple(found.tolist())


def _difference(name: str) -> Value:
    """Compare `backward` with central differences of `weights` on two rows."""
    relaxation: Any = Relaxation._classes[name]()
    alpha = torch.tensor([ROW, (0.9, -0.3, -1.2)], dtype=torch.float64)
    gradient = torch.tensor([GRADIENT, (-0.7, 0.4, 1.1)], dtype=torch.float64)
    noise = torch.tensor([GUMBEL, GUMBEL], dtype=torch.float64) if name == "gumbel" else None
    m = relaxation.weights(alpha, noise=noise)
    found = relaxation.backward(alpha, m, gradient, noise=noise)
    step, differences = 1e-5, torch.zeros_like(alpha)
    for row, column in torch.ones_like(alpha).nonzero().tolist():
        moved = torch.zeros_like(alpha)
        moved[row, column] = step
        up, down = (relaxation.weights(alpha + sign * moved, noise=noise) for sign in (1, -1))
        differences[row, column] = ((up - down) * gradient).sum() / (2 * step)
    return float((found - differences).abs().max())


def _draws() -> list[Check]:
    compares = f"in {DRAWS:,} draws at (0.2, -0.1, 0.5)"
    mean = (0.332886, 0.251006, 0.416108)  # κ/Σκ with κ = (1.2, 0.904837, 1.5), Σκ = 3.604837
    variance = tuple(share * (1 - share) / 4.604837 for share in mean)
    # Four standard errors or more; the seed is fixed.
    return [
        Check(
            "relaxation.gdas.draws",
            f"frequencies {compares}",
            "GDAS (Dong and Yang, 2019); the Gumbel-max trick: softmax(α)",
            _SOFTMAX,
            lambda: tuple(_drawn(GumbelHard()).mean(0).tolist()),
            0.01,
        ),
        Check(
            "relaxation.dirichlet.draws",
            f"means {compares}",
            "DrNAS (Chen et al., 2021): κ/Σκ with κ = elu(α) + 1",
            mean,
            lambda: tuple(_drawn(Dirichlet()).mean(0).tolist()),
            0.005,
        ),
        Check(
            "relaxation.dirichlet.variances",
            f"variances {compares}",
            "DrNAS (Chen et al., 2021): m(1 − m)/(Σκ + 1) for the mean m",
            variance,
            lambda: tuple(_drawn(Dirichlet()).var(0).tolist()),
            0.002,
        ),
    ]


def _drawn(relaxation: Relaxation) -> torch.Tensor:
    alpha = torch.tensor(ROW, dtype=torch.float64).expand(DRAWS, 3)
    return relaxation.weights(alpha, noise=relaxation.sample(alpha))
