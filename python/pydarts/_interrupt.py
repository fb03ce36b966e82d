"""Remembers Ctrl-C: Python can lose a KeyboardInterrupt, and worker processes die of the same signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class InterruptWatch:
    """While entered, notes that SIGINT came; what the handler before it does still happens."""

    def __init__(self) -> None:
        self.seen = False
        self._before: object = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        if callable(self._before):
            self._before(number, frame)

    def __enter__(self) -> InterruptWatch:
        here = threading.current_thread() is threading.main_thread()  # only there may handlers be set
        before = signal.getsignal(signal.SIGINT) if here else None
        if callable(before):
            self._before = before
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if callable(self._before):
            signal.signal(signal.SIGINT, self._before)


@contextmanager
def sheltered() -> Iterator[None]:
    """Processes started inside never see Ctrl-C: they end when the loader that owns them says so.

    A terminal sends SIGINT to the whole group, and a worker that dies of it takes seconds to be missed. The
    signal mask is inherited; one that comes meanwhile is delivered to us at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
