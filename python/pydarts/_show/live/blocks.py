"""Numbers as columns of block characters, for terminals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

_LEVELS = "▁▂▃▄▅▆▇█"


def columns(values: Sequence[float], low: float, high: float) -> str:
    """Format one column per number, lowest at `low` and full at `high`; NaN is a blank.

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
    """Format a curve in at most `width` columns, each the mean of its values, scaled to their range.

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
