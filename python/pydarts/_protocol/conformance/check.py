"""`Check`: a published fact as data, and the function that finds it on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = str | float | tuple[float, ...]
"""A text, a number, or the numbers of a vector."""


@dataclass(frozen=True)
class Outcome:
    """The result of one check."""

    name: str
    """The name of the check; names are dotted, such as "toy.first_order"."""
    compares: str
    """What the check compares, in a few words."""
    source: str
    """The publication or code that states the fact."""
    expected: Value
    """The published value."""
    found: Value
    """The value on this machine; if the check raised an exception, its type and message."""
    tolerance: float
    """The largest difference of a number from its expected value; with 0 they must be equal."""
    seconds: float
    """The duration of the check."""
    passed: bool
    """Whether the found value agrees with the expected one."""


@dataclass(frozen=True)
class Check:
    """A fact that can be checked; the fields that it shares with `Outcome` have the same meaning."""

    name: str
    compares: str
    source: str
    expected: Value
    find: Callable[[], Value]
    """The function that computes the value on this machine."""
    tolerance: float = 0.0

    def run(self) -> Outcome:
        """Find the value and compare it. An exception is a failed check."""
        begin = time.perf_counter()
        found: Value
        try:
            found = self.find()
            passed = agree(self.expected, found, self.tolerance)
        except Exception as error:
            found, passed = f"{type(error).__name__}: {error}", False
        seconds = time.perf_counter() - begin
        return Outcome(
            self.name, self.compares, self.source, self.expected, found, self.tolerance, seconds, passed
        )


def agree(expected: Value, found: Value, tolerance: float) -> bool:
    """Return whether two values are equal, or numbers that differ by at most `tolerance`; NaN never agrees.

    >>> agree(2.0, 2.0005, 1e-3), agree((1.0, 2.0), (1.0,), 1.0), agree("none", 0.0, 1.0)
    (True, False, False)
    """
    if isinstance(expected, str) or isinstance(found, str):
        return expected == found
    one, other = numbers(expected), numbers(found)
    return len(one) == len(other) and all(
        abs(left - right) <= tolerance for left, right in zip(one, other, strict=True)
    )


def numbers(value: float | tuple[float, ...]) -> tuple[float, ...]:
    """Return the numbers of a value."""
    return value if isinstance(value, tuple) else (value,)
