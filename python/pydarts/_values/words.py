"""Counts, times and scores in words, said alike wherever they are read."""

from __future__ import annotations

import math


def count(number: float, unit: str, form: str = "") -> str:
    """A number of things; `form` is how it is written.

    >>> count(1, "epoch"), count(0, "epoch"), count(1200.0, "step", ",.0f")
    ('1 epoch', '0 epochs', '1,200 steps')
    """
    return f"{number:{form}} {unit}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """Seconds as one reads them.

    >>> duration(59.94), duration(75), duration(7325)
    ('59.9 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def score(value: float | None, words: bool) -> str:
    """What cells are compared by: an accuracy, of `words` a perplexity; a dash where there is none.

    >>> score(0.98765, False), score(75.125, True), score(None, False)
    ('98.77%', '75.12', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.2f}" if words else f"{value:.2%}"
