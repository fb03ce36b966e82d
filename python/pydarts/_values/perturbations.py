"""Perturbations of the mixing weights in the weight step. Each class is public in `pydarts.algorithms`."""

from __future__ import annotations

from .algorithms import Linear, Schedule
from .variants import Variant


class Perturbation(Variant, axis="perturbation"):
    """The point near the mixing weights m at which the weight step trains w. SDARTS (Chen & Hsieh, 2020).

    The α step uses m itself. The published radius in epoch e of E is 0.03 + 0.27·e/E, which does not reach
    0.3; a `Linear` schedule reaches its end in the last epoch, so the published one is
    `Linear(0.03, 0.03 + 0.27 * (E - 1) / E)`.
    """


class Uniform(Perturbation):
    """Independent uniform noise: SDARTS-RS.

    m + δ with δ ~ U(−ε, ε) is clipped to [0, 1], and rows are divided by their sums. If all entries of a
    row are 0 after the clip, the entry that was largest before it becomes 1. With the relaxation "sigmoid",
    rows are clipped only.

    Attributes:
        epsilon: ε, a number from 0 to 1 or a schedule.

    >>> Uniform(epsilon=0.1)
    Uniform(epsilon=0.1)
    """

    epsilon: float | Schedule = Linear(0.03, 0.3)


class Adversarial(Perturbation):
    """Projected gradient ascent on the training loss: SDARTS-ADV.

    From a random start as in `Uniform`, each step moves m by 2ε/n times the sign of the gradient of the
    training loss, with running statistics, and keeps every entry within ±ε of its value in m. If the loss at
    the end is below that at m, m itself is used. A weight step costs n + 2 more passes.

    Attributes:
        epsilon: ε, a number from 0 to 1 or a schedule.
        steps: n, the number of ascent steps, at least 1.

    >>> Adversarial(steps=3)
    Adversarial(epsilon=Linear(start=0.03, end=0.3), steps=3)
    """

    epsilon: float | Schedule = Linear(0.03, 0.3)
    steps: int = 7
