"""Helpers of plots of a trajectory: tables, points and ranges."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..._results.trajectory import Trajectory
from ..._values.words import shown


def checked(path: Trajectory) -> Trajectory:
    """Return a trajectory; raise TypeError for any other value."""
    if not isinstance(path, Trajectory):
        raise TypeError(f"expected a Trajectory such as result.trajectory, got a {type(path).__name__}")
    return path


def tables(path: Trajectory, cell: str | None) -> list[str]:
    """Return the names of the tables to draw; raise ValueError for an unknown name."""
    checked(path)
    if cell is not None and cell not in path.alphas:
        raise ValueError(f"no table {shown(cell)}; choose from {', '.join(path.alphas)}")
    return list(path.alphas) if cell is None else [cell]


def point(path: Trajectory, at: int) -> int:
    """Return the index of a point of the trajectory, counted from the first.

    Raises IndexError for a point that does not exist, TypeError for a value that is not an integer.
    """
    at = operator.index(at)
    if not -len(path) <= at < len(path):
        raise IndexError(f"at is {at}; the trajectory has {len(path)} points, 0 to {len(path) - 1}")
    return at % len(path)


def moment(path: Trajectory, at: int) -> str:
    """Describe a point of the trajectory, for example "epoch 12"."""
    times, unit = path.time
    return f"{unit} {times[at]:g}"


def limits(weights: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """Return one range for all panels, wide enough that noise does not look large."""
    low, high = min(float(w.min()) for w in weights), max(float(w.max()) for w in weights)
    margin = max(0.06 * (high - low), 0.0002)
    return max(0.0, low - margin), min(1.0, high + margin)


def decimals(weights: Sequence[npt.NDArray[np.float64]]) -> int:
    """Return the number of decimals, 3 to 5, that shows a twentieth of the spread of the weights.

    >>> [decimals([np.array([0.125, 0.125 + spread])]) for spread in (0.3, 0.01, 0.001, 0.0)]
    [3, 4, 5, 3]
    """
    spread = max(float(w.max()) for w in weights) - min(float(w.min()) for w in weights)
    return min(5, max(3, math.ceil(-math.log10(spread / 20)))) if spread > 1e-9 else 3
