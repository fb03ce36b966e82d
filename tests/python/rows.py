"""Tables of bad input: in each row what is done, and the exception that must come of it."""

from collections.abc import Callable
from pathlib import Path

Attempt = Callable[[Path], object]


class Rows(dict[str, tuple[type[BaseException], str, Attempt]]):
    """Rows by the names of their functions."""

    def row(self, kind: type[BaseException], message: str) -> Callable[[Attempt], Attempt]:
        """Enter a function that must raise `kind` with a message that matches."""

        def enter(function: Attempt) -> Attempt:
            self[function.__name__.replace("_", " ")] = (kind, message, function)
            return function

        return enter
