"""Vectors of the terms of α, and of the schedules that algorithms publish."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from ..._values.algorithms import Cosine, Exponential, Linear, Schedule
from ..._values.terms import BetaDecay, Entropy, Flops, KlAnchor, Term, ZeroOne
from .check import Check, Value

_ROW = (0.2, -0.1, 0.5)


@dataclass(frozen=True)
class Vector:
    """The value of a term for the logits (0.2, -0.1, 0.5), and its derivative."""

    name: str
    term: Term
    relaxation: str
    source: str
    value: float
    gradient: tuple[float, ...]


_VECTORS = (
    Vector(
        "beta_decay", BetaDecay(weight=1), "softmax", "β-DARTS (Ye et al., 2022): logsumexp(α)",
        1.328390, (0.323554, 0.239694, 0.436752),
    ),
    Vector(
        "zero_one", ZeroOne(weight=1), "sigmoid", "FairDARTS (Chu et al., 2020): −mean (σ(α) − ½)²",
        -0.006035, (-0.008223, 0.004153, -0.019186),
    ),
    Vector(
        "kl_anchor", KlAnchor(weight=1), "dirichlet", "DrNAS (Chen et al., 2021): KL(Dir(κ) ‖ Dir(1))",
        0.112253, (0.060298, -0.339014, 0.274223),
    ),
    Vector(
        "entropy", Entropy(weight=1), "softmax", "−Σ m ln m of the softmax, ours",
        1.069273, (0.019128, 0.086078, -0.105206),
    ),
)  # fmt: skip

# A loss of 2, an expected cost of 120 and a reference of 100.
_COSTS = (
    ("add", Flops(weight=0.2, reference=100), 2.04, "mit-han-lab/proxylessnas, add#linear: L + λ(E − R)/R"),
    (
        "multiply_log",
        Flops(weight=0.2, form="multiply_log", reference=100, exponent=0.3),
        0.404686,
        "mit-han-lab/proxylessnas, mul#log: L·λ(ln E/ln R)^b",
    ),
    (
        "fbnet",
        Flops(weight=0.2, form="multiply_log", reference=math.e, exponent=0.6),
        1.023587,
        "FBNet (Wu et al., 2019): L·0.2·(ln E)^0.6",
    ),
    (
        "multiply",
        Flops(weight=1, form="multiply", reference=100, exponent=0.07),
        2.025689,
        "microsoft/nni, profiler.py: L·(E/R)^0.07",
    ),
)

# (name, schedule, epochs of the search, epochs that are compared, their values, source)
_SCHEDULES: tuple[tuple[str, Schedule, int, tuple[int, ...], tuple[float, ...], str], ...] = (
    (
        "linear",
        Linear(10, 0.1),
        250,
        (0, 1, 249),
        (10, 9.960241, 0.1),
        "GDAS (Dong and Yang, 2019): τ from 10 to 0.1 in 250 epochs",
    ),
    (
        "epsilon",
        Linear(0.03, 0.03 + 0.27 * 49 / 50),
        50,
        (0, 25, 49),
        (0.03, 0.165, 0.2946),
        "SDARTS (Chen and Hsieh, 2020), code: ε = 0.03 + 0.27·e/E",
    ),
    (
        "cosine",
        Cosine(1, 0),
        51,
        (0, 25, 49),
        (1, 0.5, 0.000987),
        "DARTS− (Chu et al., 2021), code: (1 + cos(πe/50))/2",
    ),
    (
        "exponential",
        Exponential(1.6, 1.6 * 0.95**49),
        50,
        (0, 9, 10, 49),
        (1.6, 1.008399, 0.957979, 0.129592),
        "ASAP (Noy et al., 2019): T = 1.6·0.95^e",
    ),
)


def checks() -> list[Check]:
    """Return the checks of terms and schedules."""
    return [
        *(
            Check(
                f"term.{vector.name}",
                "value and derivative at (0.2, -0.1, 0.5)",
                vector.source,
                (vector.value, *vector.gradient),
                partial(_applied, vector),
                1e-6,
            )
            for vector in _VECTORS
        ),
        *(
            Check(
                f"term.cost.{name}",
                "loss 2, expected cost 120, reference 100",
                source,
                value,
                partial(_cost, term),
                1e-6,
            )
            for name, term, value, source in _COSTS
        ),
        *(
            Check(
                f"schedule.{name}",
                f"values in the epochs {', '.join(map(str, compared))}",
                source,
                values,
                partial(_at, schedule, epochs, compared),
                1e-6,
            )
            for name, schedule, epochs, compared, values, source in _SCHEDULES
        ),
    ]


def _applied(vector: Vector) -> Value:
    value, gradient = vector.term.apply(_ROW, relaxation=vector.relaxation)
    return (value, *gradient.tolist())


def _cost(term: Term) -> Value:
    return term.apply([0.0], loss=2.0, costs=[20.0], constant=100.0)[0]


def _at(schedule: Schedule, epochs: int, compared: tuple[int, ...]) -> Value:
    return tuple(schedule.at(epoch, epochs) for epoch in compared)
