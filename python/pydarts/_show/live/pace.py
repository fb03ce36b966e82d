"""How often a picture may be drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Pace:
    """Grants a picture a share of the time, by how long it took so far, with one more for the end kept back.

    >>> now = iter([0.0, 1.0, 1.0, 1.5, 149.0, 151.0])
    >>> pace = Pace(0.01, clock=lambda: next(now))
    >>> pace.due()
    True
    >>> with pace.drawing():
    ...     pass  # takes half a second
    >>> pace.due(), pace.due()
    (False, True)
    """

    def __init__(
        self, share: float, *, guess: float = 0.0, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._share, self._clock = share, clock
        self._begun = clock()
        self._last = guess  # seconds that a picture takes
        self._spent = 0.0

    def due(self) -> bool:
        """Whether a picture as long as the last one, and one more, are within the share."""
        return self._spent + 2 * self._last <= self._share * (self._clock() - self._begun)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Measure a picture."""
        begun = self._clock()
        try:
            yield
        finally:
            self._last = self._clock() - begun
            self._spent += self._last
