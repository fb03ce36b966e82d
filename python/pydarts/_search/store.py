"""Requests to the store of a process group with a timeout, which some of torch's lack."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from .._core import RankError

_ANSWER = 30.0  # seconds
T = TypeVar("T")


class NoAnswer(RankError):
    """The store does not answer: its machine or process is gone or stopped."""


def asked(request: Callable[[], T]) -> T:
    """Return what a request returns, or raise what it raises.

    Raises:
        NoAnswer: there was none within half a minute.
    """
    found: list[T] = []
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            found.append(request())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=ask, name="pydarts store", daemon=True)
    thread.start()
    thread.join(_ANSWER)
    if failed:
        raise failed[0]
    if not found:
        raise NoAnswer("the store of the process group does not answer; start all ranks again")
    return found[0]
