"""Warnings that point at the line of the user's code that called this library, and notes of exceptions."""

from __future__ import annotations

import sys
import warnings

_OURS = ("pydarts", "pydarts_cli", "contextlib")  # context managers decorate some functions
_silent = False


def hint(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn about something that is valid but probably not intended.

    A fixed `stacklevel` would depend on the function that the user called.

    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     hint("all labels are 3")
    >>> caught[0].category.__name__
    'UserWarning'
    """
    if _silent:
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def add_note(error: BaseException, text: str) -> None:
    """Add a note to an exception, where Python has notes: from 3.11."""
    add = getattr(error, "add_note", None)
    if add is not None:
        add(text)


def silence(silent: bool = True) -> bool:
    """Show no more hints, for worker processes, whose parent has shown them; return what was set before."""
    global _silent
    before, _silent = _silent, silent
    return before
