"""What pictures of a trajectory share: which tables, which point, which range."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..._results.trajectory import Trajectory


def checked(path: Trajectory) -> Trajectory:
    """What pictures of α over time are drawn of. Raises TypeError where it is something else."""
    if not isinstance(path, Trajectory):
        raise TypeError(f"give α over time, result.trajectory, not a {type(path).__name__}")
    return path


def tables(path: Trajectory, cell: str | None) -> list[str]:
    """Names of the tables to draw. Raises ValueError where there is none of this name."""
    checked(path)
    if cell is not None and cell not in path.alphas:
        raise ValueError(f"no table {cell!r}; there is {', '.join(path.alphas)}")
    return list(path.alphas) if cell is None else [cell]


def point(path: Trajectory, at: int) -> int:
    """A point of the trajectory, counted from the first.

    Raises IndexError where there is none, TypeError where it is no whole number.
    """
    at = operator.index(at)
    if not -len(path) <= at < len(path):
        raise IndexError(f"at is {at}; the trajectory has {len(path)} points, 0 to {len(path) - 1}")
    return at % len(path)


def moment(path: Trajectory, at: int) -> str:
    """A point of the trajectory in words, as "epoch 12"."""
    times, unit = path.time
    return f"{unit} {times[at]:g}"


def limits(weights: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """One range for all panels, so that they compare; not so narrow that noise looks big."""
    low, high = min(float(w.min()) for w in weights), max(float(w.max()) for w in weights)
    margin = max(0.06 * (high - low), 0.0002)
    return max(0.0, low - margin), min(1.0, high + margin)


def decimals(weights: Sequence[npt.NDArray[np.float64]]) -> int:
    """The decimals, 3 to 5, that tell apart weights a twentieth of their spread from each other.

    >>> [decimals([np.array([0.125, 0.125 + spread])]) for spread in (0.3, 0.01, 0.001, 0.0)]
    [3, 4, 5, 3]
    """
    spread = max(float(w.max()) for w in weights) - min(float(w.min()) for w in weights)
    return min(5, max(3, math.ceil(-math.log10(spread / 20)))) if spread > 1e-9 else 3
