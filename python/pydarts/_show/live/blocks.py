"""Numbers as columns of block characters, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

_LEVELS = "▁▂▃▄▅▆▇█"


def columns(values: Sequence[float], low: float, high: float) -> str:
    """A column a number, from the lowest level at `low` to the full one at `high`; NaN is a blank.

    >>> columns([0.0, 0.5, 1.0, float("nan")], 0.0, 1.0)
    '▁▅█ '
    """
    top = len(_LEVELS) - 1
    scale = top / (high - low) if high > low else 0.0
    return "".join(
        " " if math.isnan(value) else _LEVELS[min(top, max(0, round(scale * (value - low))))]
        for value in values
    )


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve in at most `width` columns, each the mean of its part, between the lowest and the highest.

    >>> sparkline([3.0, 2.0, 1.0], 10), sparkline([4.0, 2.0, 1.0, 1.0], 2), sparkline([], 4)
    ('█▅▁', '█▁', '')
    """
    count = min(width, len(values))
    cuts = [round(k * len(values) / count) for k in range(count + 1)] if count else []
    means = [_mean(values[a:b]) for a, b in pairwise(cuts)]
    known = [mean for mean in means if math.isfinite(mean)]
    return columns(means, min(known), max(known)) if known else ""


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
