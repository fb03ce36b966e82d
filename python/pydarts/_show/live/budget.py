"""The schedule of plots that may take a limited share of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TimeBudget:
    """Grants plots a share of the time, given the duration of the last one; one is reserved for the end.

    >>> now = iter([0.0, 1.0, 1.0, 1.5, 149.0, 151.0])
    >>> budget = TimeBudget(0.01, clock=lambda: next(now))
    >>> budget.due()
    True
    >>> with budget.drawing():
    ...     pass  # takes half a second
    >>> budget.due(), budget.due()
    (False, True)
    """

    def __init__(
        self, share: float, *, guess: float = 0.0, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._share, self._clock = share, clock
        self._begun = clock()
        self._last = guess  # seconds per plot
        self._spent = 0.0

    def due(self) -> bool:
        """Return whether a plot as long as the last one, and the final plot, fit into the share."""
        return self._spent + 2 * self._last <= self._share * (self._clock() - self._begun)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Measure the duration of a plot."""
        begun = self._clock()
        try:
            yield
        finally:
            self._last = self._clock() - begun
            self._spent += self._last
